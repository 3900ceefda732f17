"""``python -m tests.storm --seconds 300 --seed N``: prints what happened, and the seed of a storm that lost anything."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

from tests.storm.storm import Storm, small_disk


def main() -> int:
    """Run one storm; 0 if nothing was lost."""
    parser = argparse.ArgumentParser(prog="python -m tests.storm")
    parser.add_argument("--seconds", type=float, default=300.0, help="how long things are killed")
    parser.add_argument("--items", type=int, default=300)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="storm-") as folder, small_disk(Path(folder)) as limited:
        storm = Storm(Path(folder), asked.seed, asked.seconds, asked.items)
        faults = storm.run()
    print(f"seed {asked.seed}: {storm.summary()}; disk {'a tmpfs of 16 MB' if limited else 'not limited (no mount)'}")
    for fault in faults:
        print(f"  {fault}")
    if faults:
        print(
            f"again with: python -m tests.storm --seconds {asked.seconds:g} --items {asked.items} --seed {asked.seed}"
        )
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
