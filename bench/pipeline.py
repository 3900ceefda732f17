"""The pipeline at its smallest, as ``nox -s smoke`` runs it: ``dvc repro``, again with nothing to do, and ``verify``.

``python -m bench.pipeline --against OTHER_CHECKOUT`` copies both trees to a temporary folder and runs the same three
commands in each, step by step in turn: processor seconds of whole processes, children included.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from bench.processes import Checkout, Cost, another_checkout, side_by_side, times

ROOT = Path(__file__).resolve().parents[1]
STEPS = (("dvc", "repro"), ("dvc", "repro"), ("dira-bench", "verify"))


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--against", type=another_checkout, help="another checkout, measured in turn with this one")
    options.add_argument("--repeats", type=times, default=1, help="how often, each time from nothing")
    options.add_argument("--cell", type=int, default=2, help="trials per cell, in both; the session has 2")
    asked = options.parse_args()
    trees = {"ours": ROOT, **({"theirs": asked.against} if asked.against else {})}
    whole: dict[str, list[Cost]] = {side: [] for side in trees}
    for _ in range(asked.repeats):
        with tempfile.TemporaryDirectory() as name:
            checkouts = {
                side: Checkout.of(tree, Path(name) / side, profile="smoke", repeats=asked.cell)
                for side, tree in trees.items()
            }
            steps: dict[str, list[Cost]] = {side: [] for side in trees}
            for words in STEPS:
                for side, checkout in checkouts.items():
                    steps[side].append(checkout.cost(*words))
                found = side_by_side([steps["ours"][-1]], [steps["theirs"][-1]] if asked.against else [])
                print(f"{' '.join(words):20s} {found}", flush=True)
            for side, costs in steps.items():
                seconds, memory = sum(cost.seconds for cost in costs), max(cost.megabytes for cost in costs)
                whole[side].append(Cost(seconds, memory))
    print(f"{'together':20s} {side_by_side(whole['ours'], whole.get('theirs', []))}")


if __name__ == "__main__":
    main()
