"""A row a trial and metric, from its record or from the committed row that stands for it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from harness.plan import Cell, Plan
from harness.results.adoption import Adopted
from harness.results.files import profile_folder, table
from harness.results.provenance import write_provenance
from harness.results.resamples import mean_resamples
from harness.results.standing import SCORED, missing_status, speaks_for, trial_status
from harness.results.table import TRIAL_COLUMNS, sealed
from harness.store import Store
from harness.store.committed import assembling, replace


def write_trials(plan: Plan, root: Path, store: Store, adopted: Adopted, method: str) -> Path:
    """Write ``trials/<method>.csv``, ``resamples/<method>.npz`` and ``provenance/<method>.csv``; return the first."""
    folder = profile_folder(root, plan.profile)
    path = folder / "trials" / f"{method}.csv"
    cells = [cell for cell in plan.cells.values() if cell.key.method == method and not cell.skipped]
    with assembling(root):
        rows: list[dict[str, str]] = []
        for cell in cells:
            rows += _unavailable_rows(plan, cell) if cell.unavailable else _cell_rows(plan, cell, store, adopted)
        replace(root, folder / "resamples" / f"{method}.npz", mean_resamples(plan, method, cells, store, adopted))
        write_provenance(root, folder / "provenance" / f"{method}.csv", cells, store)
        replace(root, path, table(TRIAL_COLUMNS, sealed(rows)))
    return path


def _cell_rows(plan: Plan, cell: Cell, store: Store, adopted: Adopted) -> Iterable[dict[str, str]]:
    metrics = plan.tasks[cell.key.task].metrics
    for key, item in cell.trials.items():
        base = {
            "method": key.method,
            "task": key.task,
            "label_fraction": repr(key.label_fraction),
            "pretrain_seed": str(key.pretrain_seed),
            "repeat": str(key.repeat),
            "cohort": item.spec["cohort"][:12],
            "trial_id": item.id,
        }
        record = speaks_for(store, "trial", item.id)
        status = trial_status(record)
        if status not in SCORED and item.id in adopted.rows:
            yield from adopted.rows[item.id]
            continue
        if record is None:
            status = missing_status(plan, store, item)
        for metric in metrics:
            value = record.values.get(metric) if record is not None and status in SCORED else None
            yield {**base, "metric": metric, "value": "" if value is None else repr(float(value)), "status": status}


def _unavailable_rows(plan: Plan, cell: Cell) -> Iterable[dict[str, str]]:
    for repeat in range(plan.parameters.repeats):
        for metric in plan.tasks[cell.key.task].metrics:
            yield {
                "method": cell.key.method,
                "task": cell.key.task,
                "label_fraction": repr(cell.key.label_fraction),
                "pretrain_seed": "0",
                "repeat": str(repeat),
                "metric": metric,
                "value": "",
                "status": "unavailable",
                "cohort": "",
                "trial_id": "",
            }
