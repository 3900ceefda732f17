"""Which record represents an item, and the status that is printed for it."""

from __future__ import annotations

from harness.plan import Plan
from harness.spec import Item, Kind, Record, Status
from harness.store import Store


def representing(store: Store, kind: Kind, identity: str) -> Record | None:
    """Return the record that represents an item.

    It is the earliest ok one, else one that diverged with a score, else the last.
    """
    found = store.ok(kind, identity)
    if found is not None:
        return found
    scored = (record for record in store.ended(kind, identity, Status.DIVERGED) if record.values)
    return next(scored, None) or store.last(kind, identity)


def trial_status(record: Record | None) -> Status:
    """Return the status that ``trials.csv`` prints for the record that represents a trial."""
    if record is None:
        return Status.MISSING
    if record.status is Status.DIVERGED and record.values:
        return Status.DIVERGED_SCORED
    return record.status


def missing_status(plan: Plan, store: Store, item: Item) -> Status:
    """Return the status of a trial that has no record: how the phase ended that kept it from being run, if one did."""
    for need in item.needs:
        needed = plan.items[need]
        record = representing(store, "phase", need) if needed.kind == "phase" else None
        if record is not None and record.status is not Status.OK:
            return record.status  # never scored, whatever values a diverged phase left
        if needed.kind == "phase" and record is None:
            return missing_status(plan, store, needed)
    return Status.MISSING
