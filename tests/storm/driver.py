"""One driver of a storm: ``python -m tests.storm.driver ROOT SECONDS_AN_ITEM``; it ends when all items are done."""

from __future__ import annotations

import sys
from pathlib import Path

import tests.storm.weather  # noqa: F401
from harness.environment import device_slots
from harness.errors import DiraBenchError
from harness.executors import LocalExecutor
from harness.runner import RetryPolicy, run
from harness.spec import Item
from harness.store import Store
from tests.harness.works import item

ITEMS = 300


def items(seconds: float, count: int = ITEMS) -> list[Item]:
    """Return stub items; the value of each follows from its number."""
    return [item("add", name=str(number), a=number, seconds=seconds) for number in range(count)]


def main() -> int:
    """Run all items; a full disk or another error of the store ends this driver with 2."""
    root, seconds, count = Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
    store = Store(root / "trials", root / "cohorts", notify=print)
    executor = LocalExecutor(device_slots(2, "cpu"), ["tests.storm.weather"])
    try:
        summary = run(
            items(seconds, count), store, executor, retry=RetryPolicy(backoff=0.05, retry_failed=True), grace=0.5
        )
    except DiraBenchError as error:
        print(f"driver ends: {error}")
        return 2
    finally:
        executor.close()
    print(f"driver ends: {len(summary.done)} done, {len(summary.failed)} failed")
    return 0 if len(summary.done) == count else 3


if __name__ == "__main__":
    sys.exit(main())
