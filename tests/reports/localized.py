"""Leaves, in a store, trials of stand-in networks on a phantom cohort, and what the report makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.contracts import Context
from harness.plan import Plan
from harness.results import adopt, write_cohort, write_localization, write_trials
from harness.store import Store
from tasks.cohorts.build import build
from tasks.transfer.run import run_trial

TASK = "chestxray14"
PAIR = ("moco_v2", "dira_moco_v2")


def finish(store: Store, item: Any, inputs: dict[str, Path], **changes: Any) -> Any:
    """Run an item in this process and leave its record."""
    with store.driver() as driver:
        attempt = store.lease(item, driver)
        assert attempt is not None
        context = Context(device="cpu", folder=attempt.folder, inputs=inputs, resume=attempt.folder)
        work = build if item.kind == "cohort" else run_trial
        outcome = work({**item.spec, **changes}, context)
        provenance = {"device_class": "cpu", "duration_seconds": 1.0}
        return store.finish(
            attempt,
            outcome.status,
            values=outcome.values,
            facts=outcome.facts,
            arrays=outcome.arrays,
            curve=outcome.curve,
            provenance=provenance,
        )


def localize(root: Path, plan: Plan, methods: tuple[str, ...] = PAIR, encoder: str = "tests.tasks.standins:obtain"):
    """Fill a store with the trials of some methods on the boxed task, and write their results; return the store."""
    store = Store(root / ".trials", root / ".cohorts")
    cohort = plan.cohorts[TASK]
    folder = store.folder(finish(store, cohort, {}))
    for cell in plan.cells.values():
        fractions = (0.5, 1.0) if cell.key.method == methods[0] else (1.0,)
        if cell.key.method in methods and cell.key.task == TASK and cell.key.label_fraction in fractions:
            for item in cell.trials.values():
                finish(store, item, {cohort.id: folder}, encoder={"obtain": encoder}, phase=None)
    write_cohort(plan, root, store, TASK)
    for method in methods:
        write_trials(plan, root, store, adopt(plan, root), method)
        write_localization(plan, root, store, method)
    return store
