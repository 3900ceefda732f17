"""Alter copies of the nine data sets and count what they came to; fails for a number that changed in silence."""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.tasks.altered.judging import FAULT, READ, REFUSED, WARNED, Content, DataSet, Verdict, judge, read
from tests.tasks.altered.sets import data_sets


def cases(data: DataSet, count: int, seed: int) -> Iterator[tuple[str, int]]:
    """Yield (alteration, seed): each alteration in turn, so that every one is met before any is met again."""
    names = sorted(data.alterations)
    for number in range(count):
        yield names[(number + seed) % len(names)], seed + number


def prepared(data: DataSet, folder: Path) -> Content:
    """Write a phantom and return what it holds; nothing is wrong with it."""
    folder.mkdir()
    data.write(folder)
    return read(data, folder)


Judged = list[tuple[str, int, Verdict]]


def run(count: int, seed: int, only: list[str]) -> Iterator[tuple[str, Judged]]:
    """Judge ``count`` altered copies, shared evenly; yields each data set with what its copies came to."""
    logging.disable(logging.ERROR)  # the libraries' remarks on what was altered
    chosen = {name: data for name, data in data_sets().items() if not only or name in only}
    with tempfile.TemporaryDirectory() as temporary:
        for at, (name, data) in enumerate(chosen.items()):
            share = count // len(chosen) + (at < count % len(chosen))
            pristine = Path(temporary) / name
            before = prepared(data, pristine)
            todo = cases(data, share, seed)
            yield name, [(change, number, judge(data, pristine, before, change, number)) for change, number in todo]


def main() -> int:
    """Print counts by data set and outcome, and every fault."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=1200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", default=[], help="a data set; may be given again")
    parser.add_argument("--show", action="store_true", help="print what was said of every case")
    asked = parser.parse_args()
    outcomes, total = (READ, REFUSED, WARNED, FAULT), Counter[str]()
    print(f"{'data set':12}" + "".join(f"{outcome:>12}" for outcome in outcomes))
    for name, found in run(asked.cases, asked.seed, asked.only):
        counts = Counter(verdict.outcome for _, _, verdict in found)
        total += counts
        print(f"{name:12}" + "".join(f"{counts[outcome]:12}" for outcome in outcomes), flush=True)
        for change, number, verdict in found:
            if verdict.outcome == FAULT or asked.show:
                print(f"  {change} {number}: {verdict.outcome}: {' | '.join(verdict.said)[:400]}", flush=True)
    print(f"{'all':12}" + "".join(f"{total[outcome]:12}" for outcome in outcomes))
    return int(total[FAULT] > 0)


if __name__ == "__main__":
    sys.exit(main())
