"""What stands behind every number of the report: a drawer a cell, with its metrics and its trials."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.metrics import metric_of
from harness.published import CellKey
from harness.results.table import TrialRow
from harness.spec import Status
from harness.statistics.schema import CellSummary
from reports.render import wording
from reports.render.anchors import cell_anchor
from reports.render.frames import printed
from reports.render.inputs import Results


@dataclass(frozen=True)
class DrawerTrial:
    """One trial of a cell.

    Attributes:
        labelled: Training images whose labels it was trained on; None where no record says so.
        cohort: First digits of the cohort's id.
        values: Metric → its value as text.
    """

    pretrain_seed: int
    repeat: int
    status: Status
    id: str
    labelled: int | None
    cohort: str
    values: Mapping[str, str]


@dataclass(frozen=True)
class Drawer:
    """Everything behind one number: a cell's metrics and its trials.

    Attributes:
        cells: Summaries, one a metric, the primary first.
        trials: By pretraining seed and repeat.
        provenance: Address of the file that says where and when they ran.
    """

    anchor: str
    method: str
    title: str
    stamp: str
    cells: tuple[CellSummary, ...]
    metrics: tuple[str, ...]
    trials: tuple[DrawerTrial, ...]
    provenance: str


def drawers(results: Results, methods: Mapping[str, str], tasks: Mapping[str, str], provenance: str) -> list[Drawer]:
    """Gather what stands behind every number, in the order of the registries.

    Args:
        results: What was measured.
        methods: Registry name → label.
        tasks: The same for tasks.
        provenance: Relative address of ``results/<profile>/provenance``.
    """
    by_cell: dict[CellKey, list[CellSummary]] = {}
    for cell in results.cells:
        by_cell.setdefault(CellKey(cell.method, cell.task, cell.label_fraction), []).append(cell)
    trials: dict[CellKey, list[TrialRow]] = {}
    for trial in results.trials:
        trials.setdefault(trial.cell, []).append(trial)
    of_methods, of_tasks = list(methods), list(tasks)
    order = sorted(by_cell, key=lambda k: (of_methods.index(k.method), of_tasks.index(k.task), k.label_fraction))
    return [
        _drawer(key, by_cell[key], trials.get(key, []), methods[key.method], tasks[key.task], provenance)
        for key in order
    ]


def _drawer(
    key: CellKey, cells: Sequence[CellSummary], trials: Sequence[TrialRow], method: str, task: str, provenance: str
) -> Drawer:
    return Drawer(
        anchor=cell_anchor(*key),
        method=method,
        title=f"{method} on {wording.column(task, key.label_fraction)}",
        stamp=wording.stamp_of(cells),
        cells=tuple(cells),
        metrics=tuple(dict.fromkeys(trial.metric for trial in trials)),
        trials=tuple(_trials(trials)),
        provenance=f"{provenance}/{key.method}.csv",
    )


def _trials(rows: Iterable[TrialRow]) -> list[DrawerTrial]:
    """Bring the rows of each trial together; the first one's status is the trial's."""
    found: dict[tuple[int, int], list[TrialRow]] = {}
    for row in rows:
        found.setdefault((row.pretrain_seed, row.repeat), []).append(row)
    return [
        DrawerTrial(
            pretrain_seed=seed,
            repeat=repeat,
            status=own[0].status,
            id=own[0].trial_id,
            labelled=own[0].labelled,
            cohort=own[0].cohort,
            values={row.metric: _text(row) for row in own},
        )
        for (seed, repeat), own in sorted(found.items())
    ]


def _text(row: TrialRow) -> str:
    value = printed(row)
    if metric_of(row.metric).counts:
        return wording.NONE if value is None else f"{value:g}"
    return wording.number(value)
