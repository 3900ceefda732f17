"""A table as CSV: one row a number, as typed as the tables of statistics."""

from __future__ import annotations

from collections.abc import Iterator

from harness.spec import Frozen
from harness.statistics.schema import Block
from reports.render.tables import Column, Entry, Row, Table


class PrintedCell(Frozen):
    """One number of a table.

    Attributes:
        block: In which of the table's blocks it stands.
        method, label, task, label_fraction, metric: Names as in the registries; fraction in (0, 1].
        planned, done: Trials planned, and those that count.
        mean, sd: As printed, in the metric's unit; sd with ddof 1.
        best, second: Ranked within the table's column and block.
        published_mean, published_sd: What the paper prints.
        references, effects, findings: Of its marks, in their order, joined by ``;``.
        stamp: What to print beside it; empty for real images.
    """

    block: Block
    method: str
    label: str
    task: str
    label_fraction: float
    metric: str
    planned: int
    done: int
    mean: float | None
    sd: float | None
    best: bool
    second: bool
    published_mean: float | None
    published_sd: float | None
    references: str
    effects: str
    findings: str
    stamp: str


def printed_cells(table: Table) -> Iterator[PrintedCell]:
    """Yield the numbers of a table, block by block, row by row; a place without a cell has none."""
    blocks: tuple[tuple[Block, tuple[Row, ...]], ...] = (("published", table.published), ("added", table.added))
    for block, rows in blocks:
        for row in rows:
            for column, entry in zip(table.columns, row.entries, strict=True):
                yield from _printed(block, row, column, entry)


def _printed(block: Block, row: Row, column: Column, entry: Entry) -> Iterator[PrintedCell]:
    cell = entry.cell
    if cell is None:
        return
    yield PrintedCell(
        block=block,
        method=row.method,
        label=row.label,
        task=column.task,
        label_fraction=column.label_fraction,
        metric=column.metric,
        planned=cell.planned,
        done=cell.done,
        mean=cell.mean,
        sd=cell.sd,
        best=entry.best,
        second=entry.second,
        published_mean=cell.published_mean,
        published_sd=cell.published_sd,
        references=";".join(c.reference for c in entry.tested),
        effects=";".join(f"{c.effect:.6g}" for c in entry.tested),
        findings=";".join(c.finding for c in entry.tested),
        stamp=cell.stamp if cell.synthetic else "",
    )
