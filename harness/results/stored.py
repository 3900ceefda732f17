"""A metric of a trial that is done, computed from the arrays that the trial stored."""

from __future__ import annotations

from harness.dotted import import_dotted
from harness.spec import Item, Record
from harness.store import Store

RESCORED = "tasks.transfer.stored:rescored"


def stored_value(metric: str, item: Item, record: Record, store: Store) -> float:
    """Return a metric as values are recorded: a fraction for a share, else in the metric's unit.

    Args:
        metric: A registered name or a dotted path.
        item: The trial.
        record: Its scored attempt.
        store: Where its arrays are, and its cohort's labels.

    Raises:
        DataError: Which part of what the metric needs the trial did not store.
    """
    cohort = store.ok("cohort", item.outline.cohort or "")
    folder = None if cohort is None else store.folder(cohort)
    value: float = import_dotted(RESCORED)(metric, item.spec, store.arrays(record), folder)
    return value
