"""What stands in a table: which rows and columns, whose marks, which number is best; no format yet.

A table has the paper's shape and two blocks. The *published* block holds the paper's cells and nothing that a new
method could touch: its columns, its ranking and its notes come from published rows alone. The *added* block, below a
rule, holds rows of one's own and rows repeated for orientation, ranked and marked among themselves.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from harness.gates import NOT_LEARNT, Verdict
from harness.metrics import metric_of
from harness.metrics.registered import LOCALIZATION_BOXES
from harness.published import Families, in_families
from harness.published import Table as Shape
from harness.spec import percent
from harness.statistics.schema import CellSummary, Comparison
from reports.render import wording
from reports.render.gains import Gain, average_gains
from reports.render.inputs import Layouts, Results, TableLayout
from reports.render.setting import boxes_of, setting

Summarised = TypeVar("Summarised", CellSummary, Comparison)
ADDED = "added"  # the block, and the place of its ranks in cells.csv


@dataclass(frozen=True)
class Column:
    """One column: a task at a label fraction under a metric.

    Attributes:
        stamp: What to print above its numbers; empty unless one comes from made-up images.
        labels: How many labels were there to train on and to choose the epoch by, where a table has label fractions.
    """

    task: str
    label_fraction: float
    metric: str
    heading: str
    stamp: str
    labels: str = ""

    def holds(self, row: CellSummary | Comparison) -> bool:
        """Say whether a cell or a contrast belongs to this column."""
        return (row.task, row.label_fraction, row.metric) == (self.task, self.label_fraction, self.metric)


@dataclass(frozen=True)
class Entry:
    """One number of a table.

    Attributes:
        cell: Its summary, or None where the table has no such cell.
        contrasts: Contrasts of this table in which it is the method (not the reference), in the order of the marks.
        best, second: Ranked within its column and block.
    """

    cell: CellSummary | None
    contrasts: tuple[Comparison, ...] = ()
    best: bool = False
    second: bool = False

    @property
    def marks(self) -> str:
        """The marks behind the number, one a contrast; a dot holds the place of one that could not be tested."""
        if not self.tested:
            return ""
        return " ".join("·" if contrast.effect is None else wording.mark(contrast) for contrast in self.contrasts)

    @property
    def tested(self) -> tuple[Comparison, ...]:
        """The contrasts that could be tested."""
        return tuple(contrast for contrast in self.contrasts if contrast.effect is not None)


@dataclass(frozen=True)
class Row:
    """One method's numbers.

    Attributes:
        facts: What the paper writes beside the method; empty strings in the added block.
        against: Labels of the references its marks refer to.
        gate: ``not learnt`` if its encoder failed a gate, else empty.
        orientation: Repeated here because every table has it; a LaTeX twin of a table of the paper leaves it out.
    """

    method: str
    label: str
    facts: tuple[str, ...]
    against: tuple[str, ...]
    entries: tuple[Entry, ...]
    gate: str = ""
    orientation: bool = False


@dataclass(frozen=True)
class Table:
    """One table, ready to be written in any format.

    Attributes:
        name: File name without suffix. title, caption: Ours, after the paper's.
        published, added: Its two blocks. contrasts: Every contrast that its published marks report;
            added_contrasts: those of the added block.
        absent: Sentences naming rows and columns of the paper that are not registered here.
        notes: Why a number is missing or short, one sentence each, published block only; added_notes likewise.
        stamp: What to print in its caption; empty for real images.
        gains: Average gains of the pairs, where the paper puts such averages into its text.
        remarks: What a reader must know besides, published rows only.
        setting: Scale and sample of its real images; empty for made-up ones.
    """

    name: str
    title: str
    caption: str
    fact_headings: tuple[str, ...]
    columns: tuple[Column, ...]
    published: tuple[Row, ...]
    added: tuple[Row, ...]
    contrasts: tuple[Comparison, ...]
    added_contrasts: tuple[Comparison, ...]
    absent: tuple[str, ...]
    notes: tuple[str, ...]
    added_notes: tuple[str, ...]
    stamp: str
    gains: tuple[Gain, ...] = ()
    remarks: tuple[str, ...] = ()
    setting: str = ""


def primary_metrics(results: Results) -> dict[str, str]:
    """Return task → the metric that its contrasts are about, else the first that its cells list."""
    found: dict[str, str] = {}
    for cell in results.cells:
        found.setdefault(cell.task, cell.metric)
    for contrast in reversed(results.contrasts):
        if metric_of(contrast.metric).delta is None:
            found[contrast.task] = contrast.metric
    return found


def _ranked(entries: Sequence[Entry], place: str) -> list[Entry]:
    """Take over the ranks that statistics gave a column; none where fewer than two numbers can be compared.

    Means over different numbers of scored classes are not the same quantity, so such a column has no ranks.
    """
    cells = [entry.cell for entry in entries if entry.cell is not None and entry.cell.mean is not None]
    if len(cells) < 2 or len({cell.scored_classes for cell in cells}) > 1:
        return list(entries)
    return [
        replace(entry, best=place in entry.cell.best_in.split(";"), second=place in entry.cell.second_in.split(";"))
        if entry.cell
        else entry
        for entry in entries
    ]


def block(
    methods: Iterable[str],
    labels: Mapping[str, str],
    columns: Sequence[Column],
    cells: Sequence[CellSummary],
    contrasts: Sequence[Comparison],
    layout: TableLayout,
    verdicts: Mapping[str, Verdict],
    *,
    place: str,
    orientation: Collection[str] = (),
) -> tuple[Row, ...]:
    """Build one block."""
    unlearnt = {name for name, verdict in verdicts.items() if verdict.word == NOT_LEARNT}
    names = list(methods)
    grid: list[list[Entry]] = []
    for column in columns:
        entries = []
        for name in names:
            cell = next((c for c in cells if c.method == name and column.holds(c)), None)
            own = tuple(c for c in contrasts if c.method == name and column.holds(c)) if cell else ()
            entries.append(Entry(cell, own))
        grid.append(_ranked(entries, place))
    rows = []
    for index, name in enumerate(names):
        entries = [column[index] for column in grid]
        against = tuple(
            dict.fromkeys(
                c.reference_label + (f" ({NOT_LEARNT})" if c.reference in unlearnt else "")
                for entry in entries
                for c in entry.contrasts
            )
        )
        blank = ("",) * len(layout.facts.headings)
        rows.append(
            Row(
                method=name,
                label=labels[name],
                facts=blank if place == ADDED else layout.facts.rows.get(name, blank),
                against=against,
                entries=tuple(entries),
                gate=NOT_LEARNT if name in unlearnt else "",
                orientation=name in orientation,
            )
        )
    return tuple(rows)


def gate_notes(rows: Iterable[Row], verdicts: Mapping[str, Verdict]) -> tuple[str, ...]:
    """Say which gates the rows failed that are marked."""
    return tuple(
        f"{row.label}: {NOT_LEARNT}. Its pretraining failed {verdicts[row.method].why}. This row, and every contrast "
        "with it, is about an encoder that did not learn its pretext task."
        for row in rows
        if row.gate
    )


def notes(rows: Iterable[Row], columns: Sequence[Column]) -> tuple[str, ...]:
    """Say why numbers are missing or flagged, once for all columns that share a reason."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        for entry, column in zip(row.entries, columns, strict=True):
            for reason in (entry.cell.missing, entry.cell.flags) if entry.cell else ():
                if reason:
                    reasons.setdefault((row.label, reason), []).append(column.heading)
    every = {column.heading for column in columns}
    return tuple(
        f"{label}{'' if set(where) == every else ' on ' + '; '.join(dict.fromkeys(where))}: {reason}."
        for (label, reason), where in reasons.items()
    )


def _named(names: Iterable[str], labels: Mapping[str, str]) -> str:
    return ", ".join(labels.get(name, name) for name in names)


def paper_table(
    name: str,
    layouts: Layouts,
    families: Families,
    results: Results,
    methods: Mapping[str, str],
    tasks: Mapping[str, str],
) -> Table | None:
    """Build one of the paper's tables from the rows that exist.

    Args:
        name: Its key in ``families.yaml`` and ``tables.yaml``.
        layouts: How it is shown.
        families: Which cells it has.
        results: What was measured.
        methods: Registry name → label.
        tasks: The same for tasks.

    Returns:
        The table, or None if none of its cells was planned here.
    """
    layout, shape = layouts.tables[name], families.tables[name]
    printed = [method for method in shape.methods if method in methods]
    own_cells = [c for c in results.cells if name in c.tables.split(";") and c.method in printed]
    columns = _paper_columns(layout, shape, own_cells, results, tasks)
    if not columns:
        return None
    contrasts = _marked(layout, results, columns)
    gates = results.verdicts
    published = block(printed, methods, columns, own_cells, contrasts, layout, gates, place=name)
    added = _beside_the_papers(layouts, layout, printed, results, methods, columns)
    added_contrasts = _of_columns([c for c in results.contrasts if c.block == "added"], columns)
    names = {row.method for row in added}
    in_columns = _of_columns(results.cells, columns)
    return Table(
        name=name,
        title=layout.title,
        caption=layout.caption,
        fact_headings=layout.facts.headings,
        columns=tuple(columns),
        published=published,
        added=added,
        contrasts=tuple(contrasts),
        added_contrasts=tuple(c for c in added_contrasts if c.method in names),
        absent=_absent(shape, layouts, methods, tasks),
        notes=(*gate_notes(published, gates), *notes(published, columns)),
        added_notes=(*gate_notes(added, gates), *notes(added, columns), *_boxes_remark(added, columns, results)),
        stamp=wording.stamp_of([c for c in in_columns if c.block == "published" or c.method in names]),
        gains=average_gains(layout.averages, families, results, layout.metrics, methods, tasks)
        if layout.averages
        else (),
        remarks=(*_empty_masks(columns, results, tasks), *_boxes_remark(published, columns, results)),
        setting=setting(results.cohorts, tasks, (column.task for column in columns)),
    )


def _marked(layout: TableLayout, results: Results, columns: Sequence[Column]) -> list[Comparison]:
    """List the contrasts whose Findings are a table's marks, family by family."""
    of_families = (c for family in layout.marks for c in results.contrasts if in_families(c.family, (family,)))
    return _of_columns(of_families, columns)


def _of_columns(rows: Iterable[Summarised], columns: Sequence[Column]) -> list[Summarised]:
    """Return the cells or contrasts that belong to any of the columns."""
    return [row for row in rows if any(column.holds(row) for column in columns)]


def _paper_columns(
    layout: TableLayout, shape: Shape, cells: Sequence[CellSummary], results: Results, tasks: Mapping[str, str]
) -> list[Column]:
    """List the columns of a table of the paper that have a cell here, in the paper's order."""
    primary, columns = primary_metrics(results), []
    for task in shape.tasks:
        for fraction in shape.label_fractions:
            for metric in layout.metrics or (primary.get(task, ""),):
                inside = [c for c in cells if (c.task, c.label_fraction, c.metric) == (task, fraction, metric)]
                if inside:
                    heading = f"{wording.column(tasks[task], fraction)} ({wording.metric(metric)})"
                    if layout.metrics:  # the caption names the task that all columns share
                        heading = wording.variant(metric)
                    columns.append(Column(task, fraction, metric, heading, wording.stamp_of(inside)))
    if any(column.label_fraction < 1.0 for column in columns):
        return [replace(column, labels=labels_of(results, column)) for column in columns]
    return columns


def _beside_the_papers(
    layouts: Layouts,
    layout: TableLayout,
    printed: Collection[str],
    results: Results,
    methods: Mapping[str, str],
    columns: Sequence[Column],
) -> tuple[Row, ...]:
    """Build the added block of a table of the paper: rows repeated for orientation, then every added method."""
    repeated = dict.fromkeys((*layout.beside, *layouts.everywhere))
    beside = [method for method in repeated if method in methods and method not in printed]
    cells = [c for c in _of_columns(results.cells, columns) if c.block == "added" or c.method in beside]
    contrasts = _of_columns([c for c in results.contrasts if c.block == "added"], columns)
    names = dict.fromkeys([*beside, *(c.method for c in cells if c.block == "added")])
    there = {cell.method for cell in cells}
    return block(
        [name for name in names if name not in printed and name in there],
        methods,
        columns,
        cells,
        contrasts,
        layout,
        results.verdicts,
        place=ADDED,
        orientation=set(layouts.everywhere) - set(layout.beside),
    )


def _absent(shape: Shape, layouts: Layouts, methods: Mapping[str, str], tasks: Mapping[str, str]) -> tuple[str, ...]:
    """Name the rows and columns of the paper that are not registered here, a sentence each."""
    labels = {**layouts.labels, **tasks, **methods}
    said = []
    if missing := [m for m in shape.methods if m not in methods]:
        said.append(f"Rows of the paper whose method is not registered in this suite: {_named(missing, labels)}.")
    if missing := [t for t in shape.tasks if t not in tasks]:
        said.append(f"Columns of the paper whose task is not registered in this suite: {_named(missing, labels)}.")
    return tuple(said)


def labels_of(results: Results, column: Column) -> str:
    """Say how many labels a column's models were trained on and chosen by: ``30 + 400 labels``.

    Trials of one column may differ in their number: subsets of patients do not all have as many images.
    """
    cohort = results.cohort(column.task)
    validation = cohort.validation_units
    counts = results.labelled.get((column.task, column.label_fraction))
    if not counts or validation is None:
        return ""
    thinned = cohort.validation_labels == "same_fraction" and column.label_fraction < 1.0
    chosen_by = f"{percent(column.label_fraction)} of {validation:,}" if thinned else f"{validation:,}"
    least, most = min(counts), max(counts)
    return f"{least:,}{f'–{most:,}' if most > least else ''} + {chosen_by} labels"


def _empty_masks(columns: Sequence[Column], results: Results, tasks: Mapping[str, str]) -> tuple[str, ...]:
    """Say what a model scores that never finds anything, where test images have empty masks."""
    remarks = []
    for task, metric in dict.fromkeys((column.task, column.metric) for column in columns):
        facts = results.cohort(task).always_empty
        if facts.empty_masks and metric in facts.scores:
            score = wording.number(metric_of(metric).printed(facts.scores[metric]))
            remarks.append(
                f"{tasks[task]}: {facts.empty_masks} of {wording.counted(facts.test_images, 'test mask')} "
                f"{'is' if facts.empty_masks == 1 else 'are'} empty, so a model "
                f"that never finds anything scores {score} in {wording.metric(metric)}; "
                "Dice of the images with a finding, pooled Dice and pixel average precision stand among the cells"
            )
    return tuple(remark + "." for remark in remarks)


def _boxes_remark(rows: Sequence[Row], columns: Sequence[Column], results: Results) -> tuple[str, ...]:
    """Say how many boxes a model proposes: when any of them may hit, many boxes are an advantage."""
    where = {(c.task, c.label_fraction) for c in columns if metric_of(c.metric).delta is not None}
    means = []
    for row in rows:
        counts = [
            t.value
            for t in results.trials
            if t.method == row.method
            and (t.task, t.label_fraction) in where
            and t.metric == LOCALIZATION_BOXES.name
            and t.value is not None
        ]
        if counts:
            means.append(f"{row.label} {wording.number(sum(counts) / len(counts), 1)}")
    if not means:
        return ()
    return (
        "Mean number of predicted boxes of an annotated pair, any of which may hit (a map nowhere positive gives "
        f"none): {', '.join(means)}.",
    )


def columns_of(
    cells: Sequence[CellSummary], results: Results, tasks: Mapping[str, str], metrics: Sequence[str] = ()
) -> list[Column]:
    """List the columns that cells come to: tasks in the order of the registry, label fractions upwards.

    Args:
        cells: What the table holds.
        results: Where the cohorts stand.
        tasks: Registry name → label.
        metrics: Metrics that form a column each, named in the heading.
    """
    primary, columns = primary_metrics(results), []
    for task in (name for name in tasks if any(cell.task == name for cell in cells)):
        for fraction in sorted({cell.label_fraction for cell in cells if cell.task == task}):
            for metric in metrics or (primary[task],):
                inside = [c for c in cells if (c.task, c.label_fraction, c.metric) == (task, fraction, metric)]
                if inside:
                    heading = f"{wording.column(tasks[task], fraction)} ({wording.variant(metric)})"
                    columns.append(Column(task, fraction, metric, heading, wording.stamp_of(inside)))
    return columns


def task_table(
    name: str,
    layout: TableLayout,
    families: Families,
    results: Results,
    methods: Mapping[str, str],
    tasks: Mapping[str, str],
) -> Table | None:
    """Build a table of the tasks that the paper does not have: every method, in the order of the registry.

    Args:
        name: File name without suffix.
        layout: How it is shown; its ``metrics`` form the columns, else each task's primary metric.
        families: Which tasks the paper has.
        results: What was measured.
        methods: Registry name → label.
        tasks: The same for tasks.

    Returns:
        The table, in one block, or None if no such task has a cell of these metrics.
    """
    primary, known = primary_metrics(results), families.tasks()
    cells = [
        c
        for c in results.cells
        if c.task not in known and (c.metric in layout.metrics if layout.metrics else c.metric == primary[c.task])
    ]
    if not cells:
        return None
    columns = [replace(c, labels=labels_of(results, c)) for c in columns_of(cells, results, tasks, layout.metrics)]
    contrasts = _marked(layout, results, columns)
    present = {cell.method for cell in cells}
    gates = results.verdicts
    rows = block([m for m in methods if m in present], methods, columns, cells, contrasts, layout, gates, place=ADDED)
    rows = tuple(replace(row, facts=_facts(layout, row.method)) for row in rows)
    return Table(
        name=name,
        title=layout.title,
        caption=layout.caption,
        fact_headings=layout.facts.headings,
        columns=tuple(columns),
        published=rows,
        added=(),
        contrasts=(),
        added_contrasts=(),
        absent=(),
        notes=(*gate_notes(rows, gates), *notes(rows, columns)),
        added_notes=(),
        stamp=wording.stamp_of(cells),
        remarks=(
            *_agreement(cells),
            *(_boxes(columns, results, tasks) if layout.metrics else ()),
            *_empty_masks(columns, results, tasks),
            *_boxes_remark(rows, columns, results),
        ),
        setting=setting(results.cohorts, tasks, (column.task for column in columns)),
    )


def _boxes(columns: Sequence[Column], results: Results, tasks: Mapping[str, str]) -> list[str]:
    """Say how many annotated boxes each task of a table has."""
    every = dict.fromkeys(column.task for column in columns)
    return [text for task in every if (text := boxes_of(results.cohort(task), tasks[task]))]


def _facts(layout: TableLayout, method: str) -> tuple[str, ...]:
    return layout.facts.rows.get(method, ("",) * len(layout.facts.headings))


def _agreement(cells: Sequence[CellSummary]) -> tuple[str, ...]:
    """Say why no number of a table is set against the paper, once for all cells that share a reason."""
    reasons: dict[str, list[str]] = {}
    for cell in cells:
        if cell.agreement == "not comparable":
            reasons.setdefault(cell.agreement_reason, []).append(cell.task_label)
    everywhere = len(reasons) == 1
    return tuple(
        f"Agreement with the paper{'' if everywhere else ' on ' + ', '.join(dict.fromkeys(where))}: "
        f"not comparable ({reason})."
        for reason, where in reasons.items()
    )


def added_table(
    families: Families,
    results: Results,
    methods: Mapping[str, str],
    tasks: Mapping[str, str],
    everywhere: Sequence[str] = (),
) -> Table | None:
    """Build the table of the added block: every cell that the paper does not print of the tasks that it has.

    Args:
        families: Which tasks the paper has.
        results: What was measured.
        methods: Registry name → label.
        tasks: The same for tasks.
        everywhere: Methods that every table repeats, first.

    Returns:
        The table, with an empty published block, or None if there is no added cell.
    """
    primary, known = primary_metrics(results), families.tasks()
    cells = [c for c in results.cells if c.block == "added" and c.metric == primary[c.task] and c.task in known]
    if not cells:
        return None
    columns = columns_of(cells, results, tasks)
    contrasts = _of_columns([c for c in results.contrasts if c.block == "added"], columns)
    own = {*everywhere, *(c.method for c in cells)}
    # A row's published cells in these columns (Random with all labels) complete it for the eye.
    cells += [c for c in _of_columns(results.cells, columns) if c.block == "published" and c.method in own]
    layout = TableLayout(title="Added", caption="")
    there = dict.fromkeys(c.method for c in cells)
    names_of_rows = dict.fromkeys([*(name for name in everywhere if name in there), *there])
    gates = results.verdicts
    rows = block(names_of_rows, methods, columns, cells, contrasts, layout, gates, place=ADDED)
    return Table(
        name="added",
        title="Added block",
        caption="Every cell that the paper does not print: controls, Random at label fractions, methods of one's own. "
        "Bold and underlined are the best and second of these within a column; cells that the paper prints stand "
        "beside them for orientation and have no rank here.",
        fact_headings=(),
        columns=tuple(columns),
        published=(),
        added=rows,
        contrasts=(),
        added_contrasts=tuple(contrasts),
        absent=(),
        notes=(),
        added_notes=(*gate_notes(rows, gates), *notes(rows, columns)),
        stamp=wording.stamp_of(cells),
        setting=setting(results.cohorts, tasks, (column.task for column in columns)),
    )
