"""The table: ``method, task, metric, mean, sd, n``, one printed number a row, as the paper prints it."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Literal, NamedTuple

from harness.errors import ConfigurationError
from harness.metrics import Metric
from harness.statistics.any_paper.csv_files import Columns, Line, decimal, read_lines, refuse
from harness.statistics.any_paper.metrics import KNOWN, metric_name, of_unknown

Scale = Literal["points", "fractions"]
UNSTATED = "unstated"
MOST_RUNS = 100_000
COLUMNS = Columns(
    required=("method", "task", "metric", "mean", "sd", "n"),
    optional=("place", "label_fraction", "better", "mark", "note"),
    template="docs/examples/table-template.csv",
    prefix="mark",
)


class Cell(NamedTuple):
    """Where a number stands."""

    method: str
    task: str
    label_fraction: float

    def __str__(self) -> str:
        return f"{self.method} on {self.task}" + (f" at {self.label_fraction:g}" if self.label_fraction != 1 else "")


@dataclass(frozen=True)
class TableNumber:
    """One printed number: a ``PrintedNumber`` with its place.

    Attributes:
        cell: Method, task and label fraction.
        measure: Its metric.
        mean, sd: In the metric's unit, with the decimals as printed; ``sd`` is None where none is printed.
        n: Runs; None where the paper does not state them.
        place: Where the paper prints it; may be empty.
        marks: What is printed beside it, by column.
        line: Line of the file.
    """

    cell: Cell
    measure: Metric
    mean: Decimal
    sd: Decimal | None
    n: int | None
    place: str
    marks: Mapping[str, str]
    line: int

    @property
    def metric(self) -> str:
        """Name of its metric."""
        return self.measure.name

    @property
    def unit(self) -> str:
        """Unit of its metric."""
        return self.measure.unit

    @property
    def lower_is_better(self) -> bool:
        """Whether less is better."""
        return not self.measure.higher_is_better


class PrintedTable:
    """The numbers of a table, by cell.

    Args:
        path: The file.
        numbers: Every row, in the file's order.
        scale: How shares are printed.
    """

    def __init__(self, path: Path, numbers: Iterable[TableNumber], scale: Scale = "points") -> None:
        self.path = path
        self.scale = scale
        self.numbers = tuple(numbers)
        self._by_cell = {number.cell: number for number in self.numbers}
        self.methods = tuple(dict.fromkeys(cell.method for cell in self._by_cell))
        self.tasks = tuple(dict.fromkeys(cell.task for cell in self._by_cell))
        self.mark_columns = tuple(self.numbers[0].marks) if self.numbers else ()

    def score(self, method: str, task: str, label_fraction: float, delta: float | None = None) -> TableNumber | None:
        """Return a cell, or None where the table has no such row."""
        return self._by_cell.get(Cell(method, task, label_fraction))

    def fractions(self, task: str) -> tuple[float, ...]:
        """List the label fractions of a task, in the file's order."""
        return tuple(dict.fromkeys(cell.label_fraction for cell in self._by_cell if cell.task == task))


def read_table(path: Path, scale: Scale = "points") -> PrintedTable:
    """Read a table.

    Args:
        path: The CSV file.
        scale: Whether shares (Dice, AUC …) are printed in points, 95.74, or as fractions, 0.9574.

    Raises:
        ConfigurationError: If it is malformed: one sentence for each row that is.
    """
    lines = read_lines(path, COLUMNS)
    numbers: list[TableNumber] = []
    problems: list[str] = []
    for line in lines:
        try:
            numbers.append(_number(line, scale))
        except ConfigurationError as error:
            problems.append(str(error))
    refuse(problems)
    refuse([*_twice(path, numbers), *_mixed(path, numbers), *_small(path, numbers, scale)])
    return PrintedTable(path, numbers, scale)


def _number(line: Line, scale: Scale) -> TableNumber:
    for column in ("method", "task", "metric"):
        if not line.get(column):
            raise ConfigurationError(f"{line}, column {column} is empty; expected its name as the paper prints it.")
    if line.get("method") == "*" or line.get("task") == "*":
        raise ConfigurationError(f'{line}: found "*" as a name; expected a method and a task; "*" is for claims.')
    measure = _measure(line)
    mean = decimal(line, "mean")
    sd = decimal(line, "sd") if line.get("sd") else None
    _within(line, measure, mean, sd, scale)
    if scale == "fractions" and measure.in_points:
        mean, sd = mean.scaleb(2), None if sd is None else sd.scaleb(2)
    marks = {name: text for name, text in line.cells.items() if name.startswith("mark")}
    cell = Cell(line.get("method"), line.get("task"), _label_fraction(line))
    return TableNumber(cell, measure, mean, sd, _runs(line), line.get("place"), marks, line.number)


def _measure(line: Line) -> Metric:
    name, better = metric_name(line.get("metric")), line.get("better").lower()
    if better not in ("", "higher", "lower"):
        raise ConfigurationError(f'{line}, column better: found "{better}"; expected higher or lower.')
    known = KNOWN.get(name)
    if known is not None and better in ("", known.better):
        return known
    if known is not None:
        raise ConfigurationError(
            f'{line}: of {name} {known.better} values are better, and the column better says "{better}"; correct it, '
            "or give a metric of your own another name."
        )
    if better:
        return of_unknown(name, higher_is_better=better == "higher")
    near = difflib.get_close_matches(name, KNOWN, n=1)
    hint = f'did you mean "{near[0]}"? If not, add' if near else "add"
    raise ConfigurationError(
        f'{line}: the metric "{line.get("metric")}" is not known here; {hint} a column better that says higher '
        "or lower."
    )


def _within(line: Line, measure: Metric, mean: Decimal, sd: Decimal | None, scale: Scale) -> None:
    """Refuse what lies outside the metric's bounds, where it enters."""
    one = Decimal(100) if scale == "fractions" and measure.in_points else Decimal(1)
    low, high = (None if math.isinf(bound) else Decimal(f"{bound:g}") / one for bound in measure.bounds)
    if (low is not None and mean < low) or (high is not None and mean > high):
        bounds = f"at least {low}" if high is None else f"a value from {low} to {high}"
        how = "; a table of fractions is read with --scale fractions" if scale == "points" and measure.in_points else ""
        how = "; a table in points is read with --scale points" if scale == "fractions" and measure.in_points else how
        raise ConfigurationError(f"{line}, column mean: found {mean} for {measure.name}; expected {bounds}{how}.")
    if sd is not None and sd < 0:
        raise ConfigurationError(
            f"{line}, column sd: found {sd}; expected 0 or more, or nothing where the paper prints no spread."
        )
    if sd is not None and low is not None and high is not None and sd > high - low:
        raise ConfigurationError(
            f"{line}, column sd: found {sd} for {measure.name}, more than all of its range; expected the standard "
            "deviation in the unit of the mean."
        )


def _runs(line: Line) -> int | None:
    text = line.get("n")
    if text.lower() == UNSTATED:
        return None
    if re.fullmatch(r"\d{1,9}", text, re.ASCII) and 2 <= int(text) <= MOST_RUNS:
        return int(text)
    why = "one run has no spread; " if text == "1" else ""
    raise ConfigurationError(
        f'{line}, column n: found "{text}"; {why}expected a number of runs from 2 on, or the word {UNSTATED} where the '
        "paper does not give it."
    )


def _label_fraction(line: Line) -> float:
    if not line.get("label_fraction"):
        return 1.0
    fraction = decimal(line, "label_fraction")
    if not 0 < fraction <= 1:
        raise ConfigurationError(
            f"{line}, column label_fraction: found {fraction}; expected a fraction above 0, at most 1; 10 % is 0.1."
        )
    return float(fraction)


def _twice(path: Path, numbers: Iterable[TableNumber]) -> Iterator[str]:
    first: dict[Cell, int] = {}
    for number in numbers:
        if number.cell in first:
            yield (
                f"{path}, line {number.line}: {number.cell} stands in line {first[number.cell]} already; expected one "
                "row; remove or rename one."
            )
        first.setdefault(number.cell, number.line)


def _mixed(path: Path, numbers: Iterable[TableNumber]) -> Iterator[str]:
    first: dict[str, TableNumber] = {}
    for number in numbers:
        known = first.setdefault(number.cell.task, number)
        if known.measure != number.measure:
            task = number.cell.task
            yield (
                f"{path}, line {number.line}: {task} is measured by {number.metric}, and by {known.metric} in line "
                f'{known.line}; expected one metric a task; name the task after it, such as "{task} ({number.metric})".'
            )


def _small(path: Path, numbers: Iterable[TableNumber], scale: Scale) -> Iterator[str]:
    """Find shares that are fractions by all appearances: every mean of a metric is 1 or less."""
    if scale == "fractions":
        return
    largest: dict[str, Decimal] = {}
    for number in numbers:
        if number.measure.in_points:
            largest[number.metric] = max(abs(number.mean), largest.get(number.metric, Decimal(0)))
    for name, most in largest.items():
        if most <= 1:
            yield (
                f"{path}: no {name} is larger than {most}, so these look like fractions; expected points (95.74); read "
                "fractions with --scale fractions."
            )
