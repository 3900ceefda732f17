"""A driver of any engine, for the tests that kill or signal one: ``python -m tests.executors.drive ASKED.json``.

ASKED.json holds the store, the items and the engine. Prints one JSON object when the run is over.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from harness.errors import DiraBenchError
from harness.executors.factory import make_executor
from harness.executors.options import load_options
from harness.runner import Departure, RetryPolicy, run
from harness.spec import Item
from harness.store import Store


def main() -> int:
    asked = json.loads(Path(sys.argv[1]).read_text())
    items = [Item(**entry) for entry in asked["items"]]
    root = Path(asked["root"])
    store = Store(root / "trials", root / "cohorts")
    options = load_options(Path(asked["options"]) if asked["options"] else None)
    preload = ["numpy", "tests.harness.works"]
    executor = make_executor(asked["engine"], asked["slots"], "cpu", preload, options)
    departure = Departure(when_idle=asked.get("when_idle", False), detached=asked.get("detached", False))
    try:
        summary = run(items, store, executor, retry=RetryPolicy(backoff=0.05), grace=1.0, departure=departure)
    except DiraBenchError as error:
        print(json.dumps({"error": str(error)}))
        return 2
    finally:
        executor.close()
    counts = {name: len(getattr(summary, name)) for name in ("done", "reused", "failed", "blocked")}
    print(json.dumps({**counts, "attempts": summary.attempts, "left": summary.left, "detached": summary.detached}))
    return 3 if summary.interrupted else 0


if __name__ == "__main__":
    sys.exit(main())
