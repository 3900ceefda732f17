"""From trials to ``cells.csv`` and ``comparisons.csv``: every cell summarised, every contrast tested and answered.

Published rows come first, in the order of ``reports/families.yaml``, and depend on nothing that a further method or
task could change. Only a task's primary metric, and the localization thresholds of Tab. 5, are contrasted; other
metrics are summarised.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from harness.errors import ConfigurationError
from harness.gates import NOT_LEARNT
from harness.metrics import metric_of
from harness.metrics.registered import localization
from harness.published import CellKey, ContrastKey, Families, OwnFamily, method_family
from harness.spec import Frozen, Parameters
from harness.statistics.contrast import Side, compare
from harness.statistics.design import Lineage
from harness.statistics.estimate import Estimate, Group, holm, mean_interval, welch
from harness.statistics.margins import margin_of
from harness.statistics.paper import Paper
from harness.statistics.runs import percentile_interval, worst_case
from harness.statistics.schema import Block, CellSummary, Comparison, View
from harness.statistics.trials import Planned, Runs, TrialIndex, Trials
from harness.statistics.verdicts import AgreementAnswer, agreement
from harness.statistics.views import views
from harness.typed_csv import read_rows, write_rows

ADDED = "added"
ADDED_RANDOM = "added_random"


class MethodFacts(Frozen):
    """What statistics needs of a method entry.

    Attributes:
        label: As printed in tables.
        compare_with: Methods that an added method asks to be compared with.
        reinitialised: The encoder is drawn anew for each repeat (Random), so it has one pretraining seed only.
        pretrain_seeds: Encoders that the profile asks of it; the larger of this and the parameters' counts.
        unavailable: Why it cannot run here, or empty.
        stamp: That of the images it was pretrained on, where a program made them; empty for real ones and for none.
        gate: ``learnt``, ``not learnt`` or ``not gated`` (``harness.gates``).
    """

    label: str
    compare_with: tuple[str, ...] = ()
    reinitialised: bool = False
    pretrain_seeds: int = 1
    unavailable: str = ""
    stamp: str = ""
    gate: str = ""

    def seeds(self, parameters: Parameters) -> int:
        """Return how many encoders it has."""
        return 1 if self.reinitialised else max(parameters.pretrain_seeds, self.pretrain_seeds)


class TaskFacts(Frozen):
    """What statistics needs of a task entry and its plan.

    Attributes:
        label: As printed in tables.
        metric: The primary metric.
        metrics: Every value a trial returns, the primary one first.
        label_fractions: What the task is evaluated at, each in (0, 1].
        unavailable: Why it cannot run here, or empty.
    """

    label: str
    metric: str
    metrics: tuple[str, ...]
    label_fractions: tuple[float, ...] = (1.0,)
    unavailable: str = ""


@dataclass(frozen=True)
class _Inputs:
    """Everything the rows are made from."""

    trials: Trials
    methods: Mapping[str, MethodFacts]
    tasks: Mapping[str, TaskFacts]
    parameters: Parameters
    families: Families
    margins: Mapping[str, float]
    paper: Paper
    devices: Mapping[CellKey, str]
    lineages: Mapping[CellKey, Mapping[TrialIndex, Lineage]]

    def seeds(self, method: str) -> int:
        return self.methods[method].seeds(self.parameters)

    @property
    def untrained(self) -> tuple[str, ...]:
        """The methods whose encoder is drawn anew: what every added method is compared with, where it shares a cell."""
        return tuple(name for name, facts in self.methods.items() if facts.reinitialised)

    def runs(self, cell: CellKey, metric: str) -> Runs:
        seeds = self.seeds(cell.method)
        reason = self.methods[cell.method].unavailable or self.tasks[cell.task].unavailable
        return self.trials.runs(cell, metric, self.parameters.repeats * seeds, reason)

    def stamp(self, task: str, *methods: str) -> tuple[bool, str]:
        """Say whether a program made any image behind a number, to pretrain on or to test with; and what to print."""
        cohort = self.trials.cohort(task)
        stamps = [*((cohort.stamp,) if cohort.synthetic else ()), *(self.methods[method].stamp for method in methods)]
        return cohort.synthetic or any(stamps), "; ".join(dict.fromkeys(stamp for stamp in stamps if stamp))

    def gate(self, method: str, reference: str) -> str:
        """Say whose encoder was not learnt; empty if neither is known to be so."""
        sides = (("method", method), ("reference", reference))
        return "; ".join(f"{side} {NOT_LEARNT}" for side, name in sides if self.methods[name].gate == NOT_LEARNT)

    def not_the_papers(self, task: str, *methods: str) -> str:
        """Say why no number of these methods on this task may be set against the paper's; empty if it may."""
        if self.stamp(task, *methods)[0]:
            return "synthetic"
        if setting := self.trials.cohort(task).setting:
            return setting
        if self.parameters.profile != self.families.profile:
            return f"the profile {self.parameters.profile} is not the paper's protocol"
        return ""


class Summary(NamedTuple):
    """What statistics leave of a profile."""

    cells: list[CellSummary]
    comparisons: list[Comparison]
    views: list[View]


def summarise(
    results: Path,
    methods: Mapping[str, MethodFacts],
    tasks: Mapping[str, TaskFacts],
    parameters: Parameters,
    families: Families,
    margins: Mapping[str, float],
    paper: Paper,
    devices: Mapping[CellKey, str] | None = None,
    lineages: Mapping[CellKey, Mapping[TrialIndex, Lineage]] | None = None,
) -> Summary:
    """Summarise every cell and answer every contrast of a profile.

    Args:
        results: ``results/<profile>``.
        methods: The registry of methods, in its order; rows of other methods are dropped.
        tasks: The registry of tasks, in its order.
        parameters: ``params.yaml``.
        families: ``reports/families.yaml``.
        margins: ``reports/margins.yaml``.
        paper: ``results/published/paper.csv``.
        devices: Which device classes ran a cell: ``cpu``, ``cuda`` or ``cpu+cuda``; left empty where unknown.
        lineages: Where each planned trial's encoder, labels and draws come from, by cell; what they share decides how
            a contrast is tested.

    Returns:
        Rows of ``cells.csv`` and ``comparisons.csv``, published block first.

    Raises:
        DataError: If a file of results is malformed or edited, or holds a trial that no plan has.
    """
    planned = Planned(
        parameters.repeats,
        {name: facts.seeds(parameters) for name, facts in methods.items()},
        {name: facts.label_fractions for name, facts in tasks.items()},
    )
    trials = Trials(results, methods, tasks, planned)
    inputs = _Inputs(
        trials, methods, tasks, parameters, families, margins, paper, dict(devices or {}), dict(lineages or {})
    )
    comparisons = _comparisons(inputs)
    return Summary(_cells(inputs), comparisons, _views(inputs, comparisons))


def _views(inputs: _Inputs, comparisons: Sequence[Comparison]) -> list[View]:
    runs = {
        cell: _towards_better(inputs, cell)
        for cell in inputs.trials.cells()
        if cell.method in inputs.methods and cell.task in inputs.tasks
    }
    return views(inputs.families, comparisons, runs, inputs.parameters.base_seed, inputs.parameters.alpha)


def _towards_better(inputs: _Inputs, cell: CellKey) -> list[float]:
    """Return a cell's runs under the primary metric, the larger the better: a distance has its sign turned."""
    metric = inputs.tasks[cell.task].metric
    return [metric_of(metric).sign * value for value in inputs.runs(cell, metric).array()]


def write(results: Path, cells: Sequence[CellSummary], comparisons: Sequence[Comparison]) -> tuple[Path, Path]:
    """Write ``cells.csv`` and ``comparisons.csv`` under ``results/<profile>``: the same bytes for the same rows."""
    paths = results / "cells.csv", results / "comparisons.csv"
    write_rows(paths[0], CellSummary, cells)
    write_rows(paths[1], Comparison, comparisons)
    return paths


def read_cells(path: Path) -> list[CellSummary]:
    """Read ``cells.csv``; raises ``ConfigurationError`` if it is absent or malformed."""
    return read_rows(path, CellSummary)


def read_comparisons(path: Path) -> list[Comparison]:
    """Read ``comparisons.csv``; raises ``ConfigurationError`` if it is absent or malformed."""
    return read_rows(path, Comparison)


def _cells(inputs: _Inputs) -> list[CellSummary]:
    published = [
        cell
        for cell in inputs.families.cell_order()
        if cell.method in inputs.methods
        and cell.task in inputs.tasks
        and cell.label_fraction in inputs.tasks[cell.task].label_fractions
    ]
    known = inputs.families.published_cells()
    methods, tasks = list(inputs.methods), list(inputs.tasks)
    added = sorted(
        (cell for cell in inputs.trials.cells() if cell not in known),
        key=lambda cell: (methods.index(cell.method), tasks.index(cell.task), cell.label_fraction),
    )
    rows: list[CellSummary] = []
    blocks: tuple[tuple[Block, list[CellKey]], ...] = (("published", published), ("added", added))
    for block, cells in blocks:
        rows += [_cell(inputs, block, cell, metric) for cell in cells for metric in _metrics(inputs, cell)]
    return _ranked(inputs, rows)


def _metrics(inputs: _Inputs, cell: CellKey) -> tuple[str, ...]:
    task = inputs.tasks[cell.task]
    if not inputs.trials.has(cell):
        return (task.metric,)
    return tuple(dict.fromkeys((task.metric, *(name for name in task.metrics if _summarised(inputs, cell, name)))))


def _summarised(inputs: _Inputs, cell: CellKey, metric: str) -> bool:
    """Leave out counts and what does not apply; of a cell that was never scored, thresholds that nobody prints."""
    measure = metric_of(metric)
    if measure.counts or not inputs.trials.applies(cell, metric):
        return False
    delta = measure.delta
    return delta is None or inputs.trials.scored(cell) or inputs.paper.score(*cell, delta) is not None


def _cell(inputs: _Inputs, block: Block, cell: CellKey, metric: str) -> CellSummary:
    runs = inputs.runs(cell, metric)
    values = runs.array()
    group = Group.of(values) if len(values) > 1 else None
    interval = mean_interval(group) if group else None
    resamples = inputs.trials.resamples(cell, metric) if values else None
    scored = resamples[np.isfinite(resamples)] if resamples is not None else np.empty(0)
    patient = percentile_interval(scored) if scored.size > 1 else None
    measure = metric_of(metric)
    bounds = worst_case(values, runs.planned - len(values), *measure.bounds) if runs.diverged else None
    task = inputs.tasks[cell.task]
    synthetic, stamp = inputs.stamp(cell.task, cell.method)
    delta = measure.delta
    printed = inputs.paper.score(*cell, delta) if metric == task.metric or delta is not None else None
    answer = _absolute_agreement(inputs, cell, metric, runs, group)
    classes = next(iter(runs.scored_classes)) if len(runs.scored_classes) == 1 else None
    return CellSummary(
        block=block,
        tables=inputs.paper.places(*cell, delta) if printed else "",
        method=cell.method,
        method_label=inputs.methods[cell.method].label,
        task=cell.task,
        task_label=task.label,
        label_fraction=cell.label_fraction,
        metric=metric,
        scored_classes=classes,
        planned=runs.planned,
        done=len(values),
        n=len(values),
        missing=runs.missing,
        mean=float(np.mean(values)) if values else None,
        sd=group.sd if group else None,
        sd_ddof0=float(np.std(values)) if group else None,
        ci_low=interval[0] if interval else None,
        ci_high=interval[1] if interval else None,
        patient_low=patient[0] if patient else None,
        patient_high=patient[1] if patient else None,
        resamples_lost=0 if resamples is None else resamples.size - scored.size,
        worst_low=bounds[0] if bounds else None,
        worst_high=bounds[1] if bounds else None,
        published_mean=float(printed.mean) if printed and printed.mean is not None else None,
        published_sd=float(printed.sd) if printed and printed.sd is not None else None,
        published_place=inputs.paper.places(*cell, delta) if printed else "",
        agreement=answer.agreement,
        agreement_reason=answer.reason,
        best=False,
        second=False,
        synthetic=synthetic,
        stamp=stamp,
        device_classes=inputs.devices.get(cell, ""),
        flags=runs.flags,
        gate=inputs.methods[cell.method].gate,
    )


def _absolute_agreement(
    inputs: _Inputs, cell: CellKey, metric: str, runs: Runs, group: Group | None
) -> AgreementAnswer:
    """Compare a mean with the printed one; only where the test cases read are the published ones."""
    delta = metric_of(metric).delta
    margin_metric = metric == inputs.tasks[cell.task].metric or delta is not None
    margin = margin_of(metric, inputs.margins) if margin_metric else 0.0
    printed = inputs.paper.score(*cell, delta) if margin_metric else None
    obstacle = inputs.not_the_papers(cell.task, cell.method)
    if not obstacle and printed is None:
        obstacle = "the paper prints no number for it"
    if not obstacle and not inputs.trials.cohort(cell.task).test_cases_published:
        obstacle = "not the published test cases"
    if not obstacle and (runs.diverged or group is None):
        obstacle = runs.missing or "fewer than two runs"
    if obstacle or printed is None or printed.mean is None or group is None:
        return agreement(None, margin, inputs.parameters.alpha, obstacle=obstacle)
    if printed.group is not None:
        return agreement(welch(group, printed.group), margin, inputs.parameters.alpha)
    error = group.sd * (1 / group.n + 1 / printed.runs) ** 0.5
    estimate = Estimate(group.mean - float(printed.mean), error, group.n - 1)
    return agreement(
        estimate,
        margin,
        inputs.parameters.alpha,
        remark="σ assumed" if printed.n else f"σ assumed, number of runs unstated and taken as {printed.runs}",
    )


def _ranked(inputs: _Inputs, rows: list[CellSummary]) -> list[CellSummary]:
    """Mark the best and second mean of every table column, the way its metric is better.

    A cell with diverged trials is not ranked: its mean is over the runs that survived.
    """
    columns: dict[tuple[object, ...], list[float]] = {}

    def places(row: CellSummary) -> tuple[str, ...]:
        if row.mean is None or row.worst_low is not None:
            return ()
        if row.block == "added":
            return (ADDED,) if row.metric == inputs.tasks[row.task].metric else ()
        return tuple(row.tables.split(";")) if row.tables else ()

    for row in rows:
        for place in places(row):
            column = (place, row.task, row.label_fraction, row.metric)
            columns.setdefault(column, []).append(row.mean or 0.0)
    ranked = []
    for row in rows:
        best, second = [], []
        for place in places(row):
            distinct = sorted(
                set(columns[place, row.task, row.label_fraction, row.metric]),
                reverse=metric_of(row.metric).higher_is_better,
            )
            if row.mean == distinct[0]:
                best.append(place)
            elif row.mean == distinct[1]:
                second.append(place)
        ranked.append(
            row.model_copy(
                update={
                    "best": bool(best),
                    "second": bool(second),
                    "best_in": ";".join(best),
                    "second_in": ";".join(second),
                }
            )
        )
    return ranked


def _comparisons(inputs: _Inputs) -> list[Comparison]:
    rows: list[Comparison] = []
    for name, family in inputs.families.families.items():
        keys = [key for key in family.contrasts(name) if _stands(inputs, key)]
        rows += _family(inputs, "published", keys, family.label, inputs.families.size(name))
    for name, own in inputs.families.added.items():
        keys = _added_task_contrasts(inputs, name)
        rows += _family(inputs, "added", keys, own.label, len(keys))
    random = _random_contrasts(inputs)
    rows += _family(inputs, "added", random, "Published methods against Random at label fractions", len(random))
    held: dict[tuple[object, ...], str] = {key[1:]: key.family for key in _keys(rows)}
    for name, mine in inputs.families.own.items():
        keys = _own_contrasts(inputs, name, mine, held)
        held |= {key[1:]: name for key in keys}
        rows += _family(inputs, "added", keys, mine.label, len(keys))
    for method in inputs.methods:
        keys = [key for key in _method_contrasts(inputs, method) if key[1:] not in held]
        rows += _family(inputs, "added", keys, f"Added method: {inputs.methods[method].label}", len(keys))
    return rows


def _keys(rows: Sequence[Comparison]) -> list[ContrastKey]:
    """Return what contrasts are of, those of a task's primary metric alone."""
    return [
        ContrastKey(row.family, row.method, row.reference, row.task, row.label_fraction)
        for row in rows
        if metric_of(row.metric).delta is None
    ]


def _own_contrasts(
    inputs: _Inputs, name: str, family: OwnFamily, held: Mapping[tuple[object, ...], str]
) -> list[ContrastKey]:
    """List the planned contrasts of a family of one's own.

    Raises:
        ConfigurationError: If it names one that a family on added tasks holds already.
    """
    keys = [
        key
        for method, reference in family.pairs
        for task in family.tasks or inputs.tasks
        if task in inputs.tasks
        for fraction in family.label_fractions or sorted(inputs.tasks[task].label_fractions)
        if _planned(inputs, key := ContrastKey(name, method, reference, task, fraction))
    ]
    for key in keys:
        if family.tasks and key[1:] in held:
            raise ConfigurationError(
                f"reports/families.yaml, own.{name}: {key.method} − {key.reference} on {key.task} at "
                f"{key.label_fraction:g} already belongs to {held[key[1:]]}; a contrast has one family, because it is "
                "corrected once; remove it from one of them."
            )
    return [key for key in keys if key[1:] not in held]


def _stands(inputs: _Inputs, key: ContrastKey) -> bool:
    """Say whether the registries hold a published contrast: its methods, task, label fraction and metric."""
    if not {key.method, key.reference} <= set(inputs.methods) or key.task not in inputs.tasks:
        return False
    task = inputs.tasks[key.task]
    measured = key.delta is None or localization(key.delta).name in task.metrics
    return key.label_fraction in task.label_fractions and measured


def _random_contrasts(inputs: _Inputs) -> list[ContrastKey]:
    """List the published cells that have Random beside them only in the added block: Random at label fractions."""
    known = inputs.families.published_cells()
    keys = []
    for cell in inputs.families.cell_order():
        for reference in inputs.untrained:
            beside = cell._replace(method=reference)
            if (
                cell.method != reference
                and beside not in known
                and inputs.trials.has(cell)
                and inputs.trials.has(beside)
            ):
                keys.append(ContrastKey(ADDED_RANDOM, cell.method, reference, cell.task, cell.label_fraction))
    return keys


def _method_contrasts(inputs: _Inputs, method: str) -> list[ContrastKey]:
    """List the contrasts of a method that no table prints: against Random and what its entry names."""
    if method in inputs.families.published_methods() or method in inputs.untrained:
        return []
    return [
        key
        for reference in dict.fromkeys((*inputs.untrained, *inputs.methods[method].compare_with))
        if reference in inputs.methods and reference != method
        for task, facts in inputs.tasks.items()
        for fraction in sorted(facts.label_fractions)
        if _planned(inputs, key := ContrastKey(method_family(method), method, reference, task, fraction))
    ]


def _added_task_contrasts(inputs: _Inputs, family: str) -> list[ContrastKey]:
    """List the contrasts of an added family on every task that the paper has not."""
    families = inputs.families
    known = families.tasks()
    return [
        key
        for task, facts in inputs.tasks.items()
        if task not in known
        for method, reference in families.added_pairs(family, inputs.methods)
        for fraction in sorted(facts.label_fractions)
        for delta in families.added_deltas(family)
        if _planned(inputs, key := ContrastKey(family, method, reference, task, fraction, delta))
    ]


def _planned(inputs: _Inputs, key: ContrastKey) -> bool:
    """Say whether the plan holds both cells of a contrast, and its metric is one that they measure."""
    cells = [CellKey(name, key.task, key.label_fraction) for name in (key.method, key.reference)]
    if not all(inputs.trials.has(cell) for cell in cells):
        return False
    if key.delta is None:
        return True
    metric = localization(key.delta).name
    return metric in inputs.tasks[key.task].metrics and all(inputs.trials.applies(cell, metric) for cell in cells)


def _family(inputs: _Inputs, block: Block, keys: Sequence[ContrastKey], label: str, size: int) -> list[Comparison]:
    rows = [_comparison(inputs, block, key, label, size) for key in keys]
    adjusted = holm([row.p for row in rows], size)
    return [row.model_copy(update={"p_holm": p}) for row, p in zip(rows, adjusted, strict=True)]


def _comparison(inputs: _Inputs, block: Block, key: ContrastKey, label: str, size: int) -> Comparison:
    task = inputs.tasks[key.task]
    metric = task.metric if key.delta is None else localization(key.delta).name

    def side(name: str) -> Side:
        cell = CellKey(name, key.task, key.label_fraction)
        return Side(
            runs=inputs.runs(cell, metric),
            resamples=inputs.trials.resamples(cell, metric),
            reinitialised=inputs.methods[name].reinitialised,
            printed=inputs.paper.score(*cell, key.delta),
            lineage=inputs.lineages.get(cell, {}),
            planned_seeds=inputs.seeds(name),
        )

    synthetic, stamp = inputs.stamp(key.task, key.method, key.reference)
    return compare(
        side(key.method),
        side(key.reference),
        margin=margin_of(metric, inputs.margins),
        parameters=inputs.parameters,
        not_the_papers=inputs.not_the_papers(key.task, key.method, key.reference),
        names={
            "family": key.family,
            "family_label": label,
            "family_size": size,
            "block": block,
            "method": key.method,
            "method_label": inputs.methods[key.method].label,
            "reference": key.reference,
            "reference_label": inputs.methods[key.reference].label,
            "task": key.task,
            "task_label": task.label,
            "label_fraction": key.label_fraction,
            "metric": metric,
            "gate": inputs.gate(key.method, key.reference),
            "synthetic": synthetic,
            "stamp": stamp,
        },
    )
