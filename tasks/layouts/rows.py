"""Rows of a CSV of one's own: checked against its header, each with the line it stands in."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from harness.errors import DataError
from harness.typed import near
from tasks.layouts.pictures import OPTIONS


@dataclass(frozen=True)
class Row:
    """One row of the CSV; ``line`` is where it stands, for messages."""

    line: str
    cells: Mapping[str, str]


def read_rows(path: Path, wanted: Sequence[str]) -> list[Row]:
    """Read a CSV with a header; blanks around a cell do not count.

    Args:
        path: The file, UTF-8, separated by commas.
        wanted: Columns that must be there.

    Raises:
        DataError: If it cannot be read, lacks a column or has one twice, or a row is longer or shorter than the header.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            lines = list(_lines(stream))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a CSV ({error}); expected UTF-8 and commas; save it so") from None
    if not lines:
        raise DataError(f"{path} is empty; expected a header and a row an image; fill it")
    (_, header), *rows = lines
    _check_header(path, header, wanted)
    for number, cells in rows:
        if len(cells) != len(header):
            raise DataError(
                f"line {number} of {path} has {len(cells)} cells; expected {len(header)}, as its header; correct it"
            )
    if not rows:
        raise DataError(f"{path} has a header and no row; expected a row an image; fill it")
    return [Row(f"line {number} of {path}", dict(zip(header, cells, strict=True))) for number, cells in rows]


def _lines(stream: TextIO) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(stream, strict=True)
    for cells in reader:
        if any(cell.strip() for cell in cells):
            yield reader.line_num, [cell.strip() for cell in cells]


def _check_header(path: Path, header: list[str], wanted: Sequence[str]) -> None:
    if len(header) == 1 and any(mark in header[0] for mark in ";\t"):
        raise DataError(f"the header of {path} is {header[0]!r}; expected commas between columns; save it so")
    twice = next((column for column in header if header.count(column) > 1), None)
    if twice is not None:
        raise DataError(f'{path} has the column "{twice}" twice; expected each once; rename one')
    for column in wanted:
        if column not in header:
            raise DataError(f'{path} has no column "{column}"; {near(column, header)} Correct {OPTIONS}, or the file')
