"""Commands that only look, as the registry grows: processor seconds and peak memory as whole processes.

``python -m bench.growth --against OTHER_CHECKOUT`` copies both trees to a temporary folder, enters made-up methods
until there are as many as asked for, and runs each command in turn in both.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from bench.processes import Checkout, Cost, another_checkout, side_by_side, times

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = (
    ("dira-bench", "--help"),
    ("dira-bench", "plan"),
    ("dira-bench", "status"),
    ("dvc", "status"),
    ("dvc", "repro"),
)
ENTRY = (
    "  variant_{number}: {{label: Variant {number}, dimensions: 2, recipe: pretext, discrimination: moco_v2, "
    "restoration: {weight}, version: 1, source: made up}}\n"
)


def enter(checkout: Checkout, methods: int, already: int) -> None:
    """Enter made-up methods, of which no two share their last phase, until there are ``methods``."""
    registry = checkout.folder / "methods" / "registry.yaml"
    new = range(already, methods)
    registry.write_text(
        registry.read_text() + "".join(ENTRY.format(number=number, weight=20 + number) for number in new)
    )


def measure(checkouts: list[Checkout], words: tuple[str, ...], repeats: int) -> list[list[Cost]]:
    """Run a command in every checkout in turn, after one run each that is not counted."""
    costs: list[list[Cost]] = [[] for _ in checkouts]
    for checkout in checkouts:
        checkout.cost(*words)
    for repeat in range(repeats):
        order = list(enumerate(checkouts))
        for index, checkout in order if repeat % 2 == 0 else order[::-1]:
            costs[index].append(checkout.cost(*words))
    return costs


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--against", type=another_checkout, help="another checkout, measured in turn with this one")
    options.add_argument("--methods", type=int, nargs="+", default=[24, 264, 2424], help="sizes of the registry")
    options.add_argument("--command", nargs="+", help="one of the commands alone, such as: dira-bench plan")
    options.add_argument("--repeats", type=times, default=3)
    asked = options.parse_args()
    chosen = [words for words in COMMANDS if not asked.command or words == tuple(asked.command)]
    with tempfile.TemporaryDirectory() as name:
        trees = {"ours": ROOT, **({"theirs": asked.against} if asked.against else {})}
        checkouts = [Checkout.of(tree, Path(name) / side, profile="miniature") for side, tree in trees.items()]
        before = 24
        for methods in asked.methods:
            for checkout in checkouts:
                enter(checkout, methods, before)
            before = max(before, methods)
            for words in chosen:
                if words == ("dvc", "repro") and methods > 24:
                    continue  # there is something to do
                ours, *theirs = measure(checkouts, words, asked.repeats)
                found = side_by_side(ours, theirs[0] if theirs else [])
                print(f"{methods:5d} methods  {' '.join(words):20s} {found}", flush=True)


if __name__ == "__main__":
    main()
