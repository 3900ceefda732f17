"""A row a trial and metric, from its record or from the committed row that represents it.

Its columns are those of ``harness.results.table``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from harness.errors import DataError
from harness.plan import Cell, Plan
from harness.results.adoption import Adopted
from harness.results.files import profile_folder
from harness.results.provenance import write_provenance
from harness.results.resamples import mean_resamples
from harness.results.standing import missing_status, representing, trial_status
from harness.results.stored import stored_value
from harness.results.table import TrialRow, trials_csv
from harness.spec import Item, Record, Status
from harness.store import Store
from harness.store.committed import assembling, replace


def write_trials(plan: Plan, root: Path, store: Store, adopted: Adopted, method: str) -> Path:
    """Write ``trials/<method>.csv``, ``resamples/<method>.npz`` and ``provenance/<method>.csv``; return the first."""
    folder = profile_folder(root, plan.profile)
    path = folder / "trials" / f"{method}.csv"
    cells = [cell for cell in plan.cells.values() if cell.key.method == method and not cell.skipped]
    with assembling(root):
        rows: list[TrialRow] = []
        for cell in cells:
            rows += _unavailable_rows(plan, cell) if cell.unavailable else _cell_rows(plan, cell, store, adopted)
        replace(root, folder / "resamples" / f"{method}.npz", mean_resamples(plan, method, cells, store, adopted))
        write_provenance(root, folder / "provenance" / f"{method}.csv", cells, store)
        replace(root, path, trials_csv(rows))
    return path


def _cell_rows(plan: Plan, cell: Cell, store: Store, adopted: Adopted) -> Iterator[TrialRow]:
    for key, item in cell.trials.items():
        record = representing(store, "trial", item.id)
        status = trial_status(record)
        if not status.scored and item.id in adopted.rows:
            yield from adopted.rows[item.id]
            continue
        if record is None:
            status = missing_status(plan, store, item)
        for metric in plan.measured(cell.key.task):
            value = _value(metric, item, record, store, plan) if record is not None and status.scored else None
            yield TrialRow(
                method=key.method,
                task=key.task,
                label_fraction=key.label_fraction,
                pretrain_seed=key.pretrain_seed,
                repeat=key.repeat,
                metric=metric,
                value=None if value is None else float(value),
                status=status,
                labelled=_labelled(record),
                cohort=(item.outline.cohort or "")[:12],
                trial_id=item.id,
            )


def _value(metric: str, item: Item, record: Record, store: Store, plan: Plan) -> float | None:
    """Return what a trial recorded, or what a metric that came later makes of its arrays; None if they do not do."""
    if metric not in plan.later.get(item.outline.task or "", ()):
        return record.values.get(metric)
    with contextlib.suppress(DataError):
        return stored_value(metric, item, record, store)
    return None


def _labelled(record: Record | None) -> int | None:
    """Return how many training images had labels, as the trial counted them; None if it did not come so far."""
    found = None if record is None else record.facts.get("labelled")
    return found if isinstance(found, int) else None


def _unavailable_rows(plan: Plan, cell: Cell) -> Iterator[TrialRow]:
    for repeat in range(plan.parameters.repeats):
        for metric in plan.measured(cell.key.task):
            yield TrialRow(
                method=cell.key.method,
                task=cell.key.task,
                label_fraction=cell.key.label_fraction,
                pretrain_seed=0,
                repeat=repeat,
                metric=metric,
                value=None,
                status=Status.UNAVAILABLE,
                labelled=None,
                cohort="",
                trial_id="",
            )
