"""Tables of one's own: keys under ``own`` in ``reports/tables.yaml``, read and checked where a plan is made."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from harness.errors import unknown
from harness.spec import Frozen
from harness.typed import read
from harness.yaml_files import load_yaml

FILE = "reports/tables.yaml"


class OwnTable(Frozen):
    """A table of one's own: a row a method, a column a task and label fraction.

    Attributes:
        title, caption: As printed.
        methods: Rows, in this order.
        tasks: Columns, in this order.
        label_fractions: Those that form columns; empty: all that a task has.
        metric: What the numbers are; empty: each task's primary metric.
        against: References whose contrasts are printed as marks, in this order; a family must hold them.
    """

    title: str = Field(min_length=1)
    caption: str = ""
    methods: tuple[str, ...] = Field(min_length=1)
    tasks: tuple[str, ...] = Field(min_length=1)
    label_fractions: tuple[Annotated[float, Field(gt=0.0, le=1.0)], ...] = ()
    metric: str = ""
    against: tuple[str, ...] = ()

    def named_methods(self) -> tuple[str, ...]:
        """Return every method that the table names, once."""
        return tuple(dict.fromkeys((*self.methods, *self.against)))


class _OwnPart(Frozen):
    own: dict[str, OwnTable] = Field(default_factory=dict)


@dataclass(frozen=True)
class Known:
    """What a table may name.

    Attributes:
        methods, tasks: Every registered name, of other profiles too.
        label_fractions: Task of this profile → those it has.
        metrics: Available task of this profile → what it measures.
    """

    methods: Collection[str]
    tasks: Collection[str]
    label_fractions: Mapping[str, Collection[float]]
    metrics: Mapping[str, Collection[str]]


def read_own_tables(root: Path) -> Mapping[str, OwnTable]:
    """Read the tables of one's own of a project; a project without the file has none.

    Raises:
        ConfigurationError: With every mistake in them at once.
    """
    path = root / FILE
    document = load_yaml(path) if path.is_file() else {}
    return read(_OwnPart, {key: value for key, value in document.items() if key == "own"}, f"{FILE}, ").own


def mistakes(own: Mapping[str, OwnTable], known: Known) -> Iterator[str]:
    """Yield a sentence for each thing that a table names and that does not exist."""
    for name, table in own.items():
        where = f"{FILE}, own.{name}"
        for method in table.named_methods():
            if method not in known.methods:
                yield str(unknown("method", method, known.methods, where))
        for task in table.tasks:
            if task not in known.tasks:
                yield str(unknown("task", task, known.tasks, where))
        yield from _without_cells(table, known, where)


def _without_cells(table: OwnTable, known: Known, where: str) -> Iterator[str]:
    """Yield what leaves a table or a column empty; a task that this profile has not may have it elsewhere."""
    if all(task in known.label_fractions for task in table.tasks):
        there = sorted({fraction for task in table.tasks for fraction in known.label_fractions[task]})
        for fraction in table.label_fractions:
            if fraction not in there:
                yield (
                    f"{where}.label_fractions: no task of the table has a cell at label fraction {fraction:g}; "
                    f"expected one of {', '.join(f'{one:g}' for one in there)}; correct it, or add it to the entry of "
                    "a task."
                )
    if table.metric and all(task in known.metrics for task in table.tasks):
        measured = {metric for task in table.tasks for metric in known.metrics[task]}
        if table.metric not in measured:
            yield str(unknown("metric", table.metric, measured, where))
