"""A driver for the tests that kill one: ``python -m tests.harness.drive STORE PLAN.json SLOTS [PRELOAD,…]``.

PLAN.json holds a list of items. Prints one JSON object when the run is over.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from harness.environment import device_slots
from harness.errors import DiraBenchError
from harness.executors import LocalExecutor
from harness.runner import RetryPolicy, run
from harness.spec import Item
from harness.store import Store


def main() -> int:
    root, plan, slots, *preload = sys.argv[1:]
    items = [Item(**entry) for entry in json.loads(Path(plan).read_text())]
    store = Store(Path(root) / "trials", Path(root) / "cohorts")
    executor = LocalExecutor(device_slots(int(slots), "cpu"), preload[0].split(",") if preload else [])
    try:
        summary = run(items, store, executor, retry=RetryPolicy(backoff=0.05), grace=1.0)
    except DiraBenchError as error:
        print(json.dumps({"error": str(error)}))
        return 2
    finally:
        executor.close()
    print(
        json.dumps(
            {
                "done": len(summary.done),
                "reused": len(summary.reused),
                "failed": len(summary.failed),
                "blocked": len(summary.blocked),
                "attempts": summary.attempts,
                "interrupted": summary.interrupted,
                "torch": "torch" in sys.modules,
            }
        )
    )
    return 3 if summary.interrupted else 0


if __name__ == "__main__":
    sys.exit(main())
