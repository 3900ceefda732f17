"""The claims: ``type, method, reference, task``, one sentence or column of marks of the paper a row.

``*`` means every method, task or label fraction of the table. A claim of type ``marks`` holds the table's own
marks to the rule that the paper states for them: each cell that carries the mark makes the claim, and with an empty
mark each cell that carries none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.errors import ConfigurationError, unknown
from harness.statistics.any_paper.csv_files import Columns, Line, decimal, read_lines, refuse
from harness.statistics.any_paper.table import Cell, PrintedTable, TableNumber
from harness.statistics.claims import Claim, ClaimType, Says, Term

ALL = "*"
COLUMNS = Columns(
    required=("type", "method", "reference", "task"),
    optional=("words", "where", "label_fraction", "printed", "mark", "rule", "column"),
    template="docs/examples/claims-template.csv",
)


@dataclass(frozen=True)
class Sort:
    """A type of claim: how it is evaluated, and how it reads before the reference's name."""

    type: ClaimType
    says: Says
    words: str


SORTS = {
    "better": Sort("significance", "better", "is significantly better than"),
    "not worse": Sort("significance", "not worse", "is not significantly worse than"),
    "not different": Sort("significance", "not different", "is not significantly different from"),
    "improves": Sort("direction", "higher", "has a better mean than"),
    "equivalent": Sort("equivalence", "equivalent", "is equivalent to"),
    "gain": Sort("arithmetic", "equals", "is better by the printed number than"),
}
MARKS = "marks"
RULES = tuple(name for name in SORTS if name != "gain")


@dataclass(frozen=True)
class ClaimLine:
    """One row of the file with the claims it comes to.

    Attributes:
        line: Line of the file.
        claims: One a contrast, in the table's order.
    """

    line: int
    claims: tuple[Claim, ...]

    @property
    def terms(self) -> tuple[Term, ...]:
        """The contrasts: the closed list that Holm's correction runs over."""
        return tuple(claim.terms[0] for claim in self.claims)


def read_claim_lines(path: Path, table: PrintedTable) -> list[ClaimLine]:
    """Read a file of claims about a table and expand it.

    Raises:
        ConfigurationError: If it is malformed, or names what the table does not hold: one sentence a row.
    """
    found: list[ClaimLine] = []
    problems: list[str] = []
    for line in read_lines(path, COLUMNS):
        try:
            found.append(ClaimLine(line.number, tuple(_expand(line, table))))
        except ConfigurationError as error:
            problems.append(str(error))
    refuse(problems)
    return found


def _expand(line: Line, table: PrintedTable) -> Iterator[Claim]:
    name, sort = _sort(line)
    _check_names(line, table)
    cells = _cells(line, table)
    if name == MARKS:
        cells = _marked(line, cells, table)
    for index, cell in enumerate(cells, start=1):
        yield _claim(line, f"{line.number}.{index}", sort, name, cell, table)


def _sort(line: Line) -> tuple[str, Sort]:
    name = line.get("type").lower()
    if name not in (*SORTS, MARKS):
        raise unknown("type of claim", name, (*SORTS, MARKS), str(line))
    if (name == "gain") != bool(line.get("printed")):
        raise ConfigurationError(
            f"{line}: the column printed belongs to claims of type gain, and each of them has one; move or fill it."
        )
    if name != MARKS and (line.get("mark") or line.get("rule") or line.get("column")):
        raise ConfigurationError(
            f"{line}: the columns mark, rule and column belong to claims of type marks; empty them."
        )
    rule = line.get("rule").lower()
    if name == MARKS and rule not in RULES:
        raise ConfigurationError(
            f'{line}, column rule: found "{rule}"; expected what the mark says: one of {", ".join(RULES)}.'
        )
    return name, SORTS[rule if name == MARKS else name]


def _check_names(line: Line, table: PrintedTable) -> None:
    for column, known in (("method", table.methods), ("reference", table.methods), ("task", table.tasks)):
        name = line.get(column)
        if not name:
            everything = "" if column == "reference" else f' or "{ALL}" for every {column}'
            raise ConfigurationError(f"{line}, column {column} is empty; expected a name of the table{everything}.")
        if name not in known and not (name == ALL and column != "reference"):
            raise unknown(column, name, known, f"{table.path}, which {line} names")
    if line.get("method") == line.get("reference"):
        raise ConfigurationError(f"{line} compares {line.get('method')} with itself; name another reference.")


def _cells(line: Line, table: PrintedTable) -> list[Cell]:
    """List the cells a row is about: with a named method those of which one side is printed, else the method's own."""
    methods = table.methods if line.get("method") == ALL else (line.get("method"),)
    tasks = table.tasks if line.get("task") == ALL else (line.get("task"),)
    reference = line.get("reference")
    asked = [
        Cell(method, task, fraction)
        for method in methods
        if method != reference
        for task in tasks
        for fraction in _fractions(line, table, task)
    ]
    beside = {cell: cell._replace(method=reference) for cell in asked}
    if ALL not in (line.get("method"), line.get("task")):
        refuse([_absent(line, side, table) for cell in asked for side in (cell, beside[cell])])
    either = line.get("method") != ALL
    cells = [c for c in asked if table.score(*c) or (either and table.score(*beside[c]))]
    if not cells:
        raise ConfigurationError(f"{line} comes to no contrast of {table.path}; correct its names.")
    return cells


def _absent(line: Line, cell: Cell, table: PrintedTable) -> str:
    if table.score(*cell) is not None:
        return ""
    return f"{line}: {table.path} has no row for {cell}; add the row or correct the claim."


def _fractions(line: Line, table: PrintedTable, task: str) -> tuple[float, ...]:
    text = line.get("label_fraction")
    if text in ("", ALL):
        return table.fractions(task)
    fraction = float(decimal(line, "label_fraction"))
    if fraction not in table.fractions(task):
        known = ", ".join(f"{known:g}" for known in table.fractions(task))
        raise ConfigurationError(
            f"{line}, column label_fraction: found {text}, which {table.path} does not hold for {task}; expected one "
            f"of {known}, or {ALL}."
        )
    return (fraction,)


def _marked(line: Line, cells: list[Cell], table: PrintedTable) -> list[Cell]:
    """Keep the cells that carry the mark; with an empty one, those that carry none."""
    column, mark = line.get("column").lower() or "mark", line.get("mark")
    if column not in table.mark_columns:
        known = ", ".join(table.mark_columns) or "none"
        raise ConfigurationError(
            f'{line} reads the marks of a column "{column}"; {table.path} has {known}; add a column that begins with '
            "mark, with what is printed beside each number."
        )
    numbers = {cell: table.score(*cell) for cell in cells}
    kept = [cell for cell, number in numbers.items() if number is not None and _carries(number, column, mark)]
    if not kept:
        what = f'the mark "{mark}"' if mark else "no mark"
        raise ConfigurationError(f"{line}: no cell that it names carries {what} in the column {column}; correct one.")
    return kept


def _carries(number: TableNumber, column: str, mark: str) -> bool:
    printed = number.marks[column].split()
    return mark in printed if mark else not printed


def _claim(line: Line, name: str, sort: Sort, type_name: str, cell: Cell, table: PrintedTable) -> Claim:
    reference, words = line.get("reference"), line.get("words")
    says = f"{cell.method} {sort.words} {reference}"
    if type_name == MARKS:
        says = f'{cell.method} is marked "{line.get("mark")}": ' if line.get("mark") else f"{cell.method} has no mark: "
        says += f"it {sort.words} {reference}"
    number = table.score(*cell)
    printed = decimal(line, "printed") if line.get("printed") else None
    if printed is not None and table.scale == "fractions" and number is not None and number.measure.in_points:
        printed = printed.scaleb(2)
    return Claim(
        id=name,
        source=line.get("where") or (number.place if number else "") or "the table",
        type=sort.type,
        where=f'"{words}"' if words else "",
        claim=says,
        says=sort.says,
        terms=(Term(**cell._asdict(), reference=reference),),
        printed=printed,
    )
