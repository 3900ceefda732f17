"""What a page of docs/ says in its tables, as data."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes:
        headings: The titles above it, outermost first, without the page's own.
        header: The table's first row.
        cells: As written, without the outer blanks.
        line: Its number on the page, from 1.
    """

    headings: tuple[str, ...]
    header: tuple[str, ...]
    cells: tuple[str, ...]
    line: int


def read_lines(page: str) -> list[tuple[tuple[str, ...], str]]:
    """Return every line of a page with the titles above it."""
    headings: list[str] = []
    lines = []
    for line in (ROOT / "docs" / page).read_text(encoding="utf-8").splitlines():
        title = re.match(r"(#{2,6}) (.*)", line)
        if title:
            headings = [*headings[: len(title[1]) - 2], title[2]]
        lines.append((tuple(headings), line))
    return lines


def split_cells(line: str) -> tuple[str, ...]:
    """Return the cells of a table's line."""
    return tuple(cell.strip() for cell in line.strip().strip("|").split("|"))


def read_tables(page: str) -> list[Row]:
    """Return the rows of every table of a page, without header and rule."""
    lines = read_lines(page)
    rows, header = [], ()
    for number, (headings, line) in enumerate(lines, start=1):
        if not line.startswith("|"):
            header = ()
        elif not header:
            header = split_cells(line)
        elif not re.fullmatch(r"[|\s:-]+", line):
            rows.append(Row(headings, header, split_cells(line), number))
    return rows
