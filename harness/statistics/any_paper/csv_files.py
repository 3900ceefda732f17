"""Reads a CSV file that a person typed or a spreadsheet saved: one sentence for whatever is wrong with it."""

from __future__ import annotations

import csv
import difflib
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from harness.errors import ConfigurationError
from harness.foreign import has_commands

LARGEST = 10_000_000  # bytes; a table of a paper has a few thousand
FEW = 12  # sentences at a time: more would push the first off the screen
_SPREADSHEETS = {b"PK\x03\x04": "an xlsx or ods spreadsheet", b"\xd0\xcf\x11\xe0": "an xls spreadsheet"}
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_NUMBER = re.compile(r"[+-]?\d{1,12}(\.\d{1,12})?", re.ASCII)


@dataclass(frozen=True)
class Columns:
    """Which columns a file has.

    Attributes:
        required, optional: Their names.
        prefix: Names that begin with it are optional too; empty for none.
        template: A file to start from, for the sentences.
    """

    required: tuple[str, ...]
    optional: tuple[str, ...]
    template: str
    prefix: str = ""

    def known(self, name: str) -> bool:
        """Say whether a column may stand in the file."""
        return name in (*self.required, *self.optional) or bool(self.prefix and name.startswith(self.prefix))


@dataclass(frozen=True)
class Line:
    """One row: where it stands, and its cells by column, without blanks around them."""

    path: Path
    number: int
    cells: dict[str, str]

    def __str__(self) -> str:
        return f"{self.path}, line {self.number}"

    def get(self, column: str) -> str:
        """Return a cell; empty where the file has no such column."""
        return self.cells.get(column, "")


def read_lines(path: Path, columns: Columns) -> list[Line]:
    """Read the rows of a CSV file; empty ones are passed over.

    Raises:
        ConfigurationError: If it is no CSV file, or its columns or rows are not as expected: one sentence each.
    """
    text = _text(path, columns)
    try:
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        rows = [(reader.line_num, [" ".join(cell.split()) for cell in row]) for row in reader]
    except csv.Error as error:
        raise ConfigurationError(
            f"{path} is not CSV ({error}); expected values between commas, text with commas in double quotes; see "
            f"{columns.template}."
        ) from None
    rows = _narrow([(number, row) for number, row in rows if any(row)])
    if not rows:
        raise ConfigurationError(f"{path} is empty; expected a header and one row a line; see {columns.template}.")
    _refuse_other_marks(path, text, rows[0][1])
    header = _header(path, rows[0][1], columns)
    if len(rows) == 1:
        raise ConfigurationError(f"{path} has a header and no row; expected one row a line; see {columns.template}.")
    refuse([_ragged(path, number, row, header) for number, row in rows[1:]])
    return [Line(path, number, dict(zip(header, row, strict=False))) for number, row in rows[1:]]


def refuse(problems: Sequence[str]) -> None:
    """Raise the sentences among ``problems`` that are not empty, the first few of them.

    Raises:
        ConfigurationError: If there is any.
    """
    found = [problem for problem in problems if problem]
    if len(found) > FEW:
        found = [*found[:FEW], f"and {len(found) - FEW} more like these."]
    if found:
        raise ConfigurationError("\n".join(found))


def decimal(line: Line, column: str) -> Decimal:
    """Read a cell as a plain number, with the decimals it was printed with.

    Raises:
        ConfigurationError: If it is anything else.
    """
    text = line.get(column).replace("\u2212", "-")  # a minus sign as papers print it
    if _NUMBER.fullmatch(text):
        return Decimal(text)
    raise ConfigurationError(f'{line}, column {column}: found "{line.get(column)}"; expected {_advice(text)}.')


def _advice(text: str) -> str:
    if re.fullmatch(r"[+-]?\d+,\d+", text, re.ASCII):
        return f"a decimal point; write {text.replace(',', '.')}"
    if "±" in text or "+/-" in text:
        return "the mean and the standard deviation each in its own column; split it"
    if text.endswith("%"):
        return "points without a sign; leave out the %"
    if not text:
        return "a number; leave the row out where the paper prints none"
    return "a plain number such as 95.74; write it so"


def _text(path: Path, columns: Columns) -> str:
    try:
        if path.is_file() and path.stat().st_size > LARGEST:
            raise ConfigurationError(f"{path} is larger than {LARGEST} bytes; expected a table of a paper as CSV.")
        content = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be read ({error.strerror}); expected a CSV file; see {columns.template}."
        ) from None
    for start, kind in _SPREADSHEETS.items():
        if content.startswith(start):
            raise ConfigurationError(f"{path} is {kind}; expected CSV; save it as CSV (UTF-8) and name that file.")
    try:
        if content.startswith(_UTF16) or b"\x00" in content:
            raise ValueError
        return content.decode("utf-8-sig")  # Excel puts a byte-order mark before UTF-8
    except ValueError:
        raise ConfigurationError(f"{path} is not UTF-8 text; expected CSV; save it as CSV (UTF-8).") from None


def _narrow(rows: list[tuple[int, list[str]]]) -> list[tuple[int, list[str]]]:
    """Leave out empty columns at the right, which spreadsheets add."""
    width = max((len(row) for _, row in rows), default=0)
    while width and not any("".join(row[width - 1 :]) for _, row in rows):
        width -= 1
    return [(number, row[:width]) for number, row in rows]


def _refuse_other_marks(path: Path, text: str, header: list[str]) -> None:
    first = next((line for line in text.splitlines() if line.strip()), "")
    for mark, word in ((";", "semicolons"), ("\t", "tabs")):
        if len(header) == 1 and mark in first:
            raise ConfigurationError(
                f"{path} separates its values by {word}; expected commas, and a decimal point in numbers; save it so."
            )


def _header(path: Path, row: list[str], columns: Columns) -> list[str]:
    names = [name.lower() for name in row]
    missing = [name for name in columns.required if name not in names]
    problems = [f"{path} has no column {_listed(missing)}; {_expected(columns)}."] if missing else []
    problems += [_unknown(path, name, columns) for name in names if not columns.known(name)]
    twice = sorted({name for name in names if names.count(name) > 1})
    problems += [f"{path} has the column {_listed(twice)} twice; remove one."] if twice else []
    refuse(problems)
    return names


def _unknown(path: Path, name: str, columns: Columns) -> str:
    near = difflib.get_close_matches(name, [*columns.required, *columns.optional], n=1)
    advice = f'did you mean "{near[0]}"?' if near else f"{_expected(columns)}; remove it."
    return f'{path} has a column "{name}" that means nothing here; {advice}'


def _expected(columns: Columns) -> str:
    more = [*columns.optional, *([f"{columns.prefix}_…"] if columns.prefix else [])]
    return f"expected {_listed(columns.required)} and, if need be, {_listed(more)}; see {columns.template}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)


def _ragged(path: Path, number: int, row: list[str], header: list[str]) -> str:
    if any(has_commands(cell) for cell in row):
        return f"{path}, line {number} holds a control character; expected plain text; type the cell anew."
    if len(row) == len(header):
        return ""
    return (
        f"{path}, line {number} has {len(row)} values and the header {len(header)}; expected as many; look for a "
        "decimal comma (write a point) or a name with a comma (write it in double quotes)."
    )
