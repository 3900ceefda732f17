"""Tables of one's own: a key under ``own`` in ``reports/tables.yaml`` names rows, columns, metric and references.

Such a table stands in the added block: its rows are ranked and marked among themselves, and nothing of it enters a
table of the paper.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from harness.errors import ConfigurationError, unknown
from harness.metrics import metric_of
from harness.own_tables import OwnTable
from harness.statistics.schema import CellSummary, Comparison
from reports.render import wording
from reports.render.inputs import Results, TableLayout
from reports.render.setting import setting
from reports.render.tables import (
    Column,
    Entry,
    Row,
    Table,
    block,
    columns_of,
    gate_notes,
    labels_of,
    notes,
    primary_metrics,
)

HERE = "own"  # no rank of statistics has this place: the rows are ranked here


def own_table(
    name: str, layout: OwnTable, results: Results, methods: Mapping[str, str], tasks: Mapping[str, str]
) -> Table | None:
    """Build a table of one's own.

    Args:
        name: Its key, and its file name without suffix.
        layout: What it holds.
        results: What was measured.
        methods: Registry name → label, under this profile.
        tasks: The same for tasks.

    Returns:
        The table, or None if this profile has none of its cells.

    Raises:
        ConfigurationError: If none of its tasks measures the metric.
    """
    there = [cell for cell in results.cells if _inside(layout, cell)]
    if not there:
        return None
    cells = _under_its_metric(name, layout, there, primary_metrics(results))
    shown = {task: tasks[task] for task in layout.tasks if task in tasks}
    columns = columns_of(cells, results, shown, (layout.metric,) if layout.metric else ())
    if any(column.label_fraction < 1.0 for column in columns):
        columns = [replace(column, labels=labels_of(results, column)) for column in columns]
    contrasts = _contrasts(layout, results.contrasts, columns)
    names = [method for method in layout.methods if any(cell.method == method for cell in cells)]
    plain = TableLayout(title=layout.title, caption=layout.caption)
    rows = block(names, methods, columns, cells, contrasts, plain, results.verdicts, place=HERE)
    rows = _ranked(rows, columns)
    return Table(
        name=name,
        title=layout.title,
        caption=layout.caption,
        fact_headings=(),
        columns=tuple(columns),
        published=(),
        added=rows,
        contrasts=(),
        added_contrasts=tuple(contrasts),
        absent=(),
        notes=(),
        added_notes=_notes(layout, rows, columns, contrasts, results),
        stamp=wording.stamp_of(cells),
        setting=setting(results.cohorts, tasks, (column.task for column in columns)),
    )


def _inside(layout: OwnTable, cell: CellSummary) -> bool:
    fraction = not layout.label_fractions or cell.label_fraction in layout.label_fractions
    return cell.method in layout.methods and cell.task in layout.tasks and fraction


def _under_its_metric(
    name: str, layout: OwnTable, cells: Sequence[CellSummary], primary: Mapping[str, str]
) -> list[CellSummary]:
    found = [cell for cell in cells if cell.metric == (layout.metric or primary[cell.task])]
    if not found:
        measured = dict.fromkeys(cell.metric for cell in cells)
        where = f"reports/tables.yaml, own.{name}"
        raise ConfigurationError(str(unknown("metric", layout.metric, measured, where)))
    return found


def _contrasts(layout: OwnTable, contrasts: Iterable[Comparison], columns: Sequence[Column]) -> list[Comparison]:
    """List the contrasts that are printed as marks: rows against the references, in their order, each once."""
    found: dict[tuple[str, str, str, float], Comparison] = {}
    rows = [c for c in contrasts if c.method in layout.methods and any(column.holds(c) for column in columns)]
    for reference in layout.against:
        for c in rows:
            if c.reference == reference:
                found.setdefault((c.method, c.reference, c.task, c.label_fraction), c)
    return list(found.values())


def _ranked(rows: Sequence[Row], columns: Sequence[Column]) -> tuple[Row, ...]:
    """Mark the best and the second mean of each column among these rows.

    A column has no ranks where fewer than two means can be compared, or where they average over different classes. A
    cell with diverged trials is not ranked: its mean is over the runs that survived.
    """
    grid = [[row.entries[place] for row in rows] for place in range(len(columns))]
    ranked = [_ranked_column(entries, column.metric) for entries, column in zip(grid, columns, strict=True)]
    return tuple(replace(row, entries=tuple(column[place] for column in ranked)) for place, row in enumerate(rows))


def _ranked_column(entries: Sequence[Entry], metric: str) -> list[Entry]:
    cells = [entry.cell for entry in entries if entry.cell is not None and entry.cell.mean is not None]
    means = {cell.mean for cell in cells if cell.worst_low is None and cell.mean is not None}
    if len(cells) < 2 or len({cell.scored_classes for cell in cells}) > 1:
        return list(entries)
    order = sorted(means, reverse=metric_of(metric).higher_is_better)
    best, second = [*order, None, None][:2]
    return [replace(entry, best=_has(entry, best), second=_has(entry, second)) for entry in entries]


def _has(entry: Entry, mean: float | None) -> bool:
    cell = entry.cell
    return mean is not None and cell is not None and cell.worst_low is None and cell.mean == mean


def _notes(
    layout: OwnTable,
    rows: Sequence[Row],
    columns: Sequence[Column],
    contrasts: Sequence[Comparison],
    results: Results,
) -> tuple[str, ...]:
    """Say what a reader must know of the rows, and what the table could not show."""
    names = [row.method for row in rows]
    return (
        *gate_notes(rows, results.verdicts),
        *notes(rows, columns),
        *_left_out(layout, names, [column.task for column in columns]),
        *_unmarked(layout, names, contrasts),
    )


def _left_out(layout: OwnTable, rows: Collection[str], tasks: Collection[str]) -> list[str]:
    """Say which rows and columns this profile has no cell of."""
    absent = [name for name in layout.methods if name not in rows]
    absent += [name for name in layout.tasks if name not in tasks]
    return [f"Without a cell under this profile: {', '.join(absent)}."] if absent else []


def _unmarked(layout: OwnTable, rows: Iterable[str], contrasts: Iterable[Comparison]) -> list[str]:
    """Say which pairs have no mark, because no family of contrasts holds them."""
    marked = {(c.method, c.reference) for c in contrasts}
    lacking = [
        f"{method} − {reference}"
        for reference in layout.against
        for method in rows
        if method != reference and (method, reference) not in marked
    ]
    if not lacking:
        return []
    return [
        f"No mark for {', '.join(lacking)}: no family of contrasts holds such a pair under this metric. "
        "Families of one's own stand under own in reports/families.yaml."
    ]
