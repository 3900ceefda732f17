"""Writes a table as LaTeX for an article of two columns, as CVPR's: text 6.875 in wide, 8.875 in high.

A table of numbers is a ``table*`` of one line a row, as the paper prints its tables: mean, spread and marks. Every
column is a box of a fixed share of the text's width, and text breaks inside it: no label can push the table over the
margin. What is too high for a page is a ``longtable``. What does not belong into a printed table (the effects, the
paper's numbers beside ours) stands in a second file of longtables, for a supplement.

Widths are counted in characters of the footnote size, by a rule, so that no LaTeX is needed to write a table that fits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from reports.render import wording
from reports.render.formats import (
    CONTRAST_HEADINGS,
    GAIN_HEADINGS,
    contrast_words,
    gain_words,
    ranks_of,
    unit_of_gains,
    units_of,
)
from reports.render.latex_text import breakable, latex_text, lines_of, unset
from reports.render.tables import Column, Entry, Row, Table

LINE = 120  # characters of \footnotesize in 6.875 in, at 4.1 pt each
GAP = 1.5  # characters between two columns
LINES = 58  # rows of \footnotesize that a page holds beside a caption
NOTE = 118  # characters of \footnotesize prose in a line
LABEL, FACT, NUMBER = (14, 24), (4, 14), (12, 24)  # least and largest width of a column of each kind
PACKAGES = r"% needs \usepackage{array,booktabs,longtable}"
ONE_COLUMN = r"% longtable wants one column: \onecolumn before, \twocolumn after"
_CONTRAST_WIDTHS = (22, 12, 7, 14, 12, 12, 10, 0)  # characters; the last takes what is left
_GAIN_WIDTHS = (26, 40, 18, 0)


@dataclass(frozen=True)
class Cells:
    """A grid ready to be written.

    Attributes:
        widths: Of each column, characters. centred: From which column on text stands in the middle.
        heads: Lines above the rule. body: Lines below it, each written but for its end.
        height: Lines of print that the body takes.
    """

    widths: Sequence[float]
    centred: int
    heads: Sequence[str]
    body: Sequence[str]
    height: int

    @property
    def layout(self) -> str:
        """The columns' specification: shares of the text's width that never come to more than one."""
        gaps = GAP * (len(self.widths) - 1)
        line = max(float(LINE), sum(self.widths) + gaps)
        return "@{}" + "".join(
            rf">{{\{'centering' if place >= self.centred else 'raggedright'}\arraybackslash}}"
            rf"p{{{int(1000 * width / line) / 1000:.3f}\textwidth}}"
            for place, width in enumerate(self.widths)
        ) + "@{}"  # fmt: skip


def _bounded(length: int, bounds: tuple[int, int]) -> int:
    return max(bounds[0], min(length, bounds[1]))


def _words(entry: Entry) -> str:
    """Return all that an entry prints, as text; its length is the width that it needs."""
    cell = entry.cell
    if cell is None:
        return wording.NONE
    if cell.mean is None:
        return wording.absent(cell)
    marks = entry.marks.replace(" ", "")  # a dagger follows the mark it belongs to
    parts = [wording.spread(cell.mean, cell.sd), marks, f"({short})" if (short := wording.count(cell)) else ""]
    return " ".join(part for part in parts if part)


def _entry(entry: Entry) -> str:
    """Write an entry on one line: the mean bold or underlined, its spread, its marks."""
    cell, text = entry.cell, _words(entry)
    if cell is None:
        return latex_text(text)
    if cell.mean is None:
        return rf"\emph{{{text}}}"
    mean = wording.number(cell.mean)
    command = r"\textbf" if entry.best else r"\underline" if entry.second else ""
    return (f"{command}{{{latex_text(mean)}}}" if command else latex_text(mean)) + latex_text(text.removeprefix(mean))


def _within(rows: Iterable[Row], places: Sequence[int]) -> list[Row]:
    return [replace(row, entries=tuple(row.entries[place] for place in places)) for row in rows]


def _shown(table: Table) -> list[Row]:
    """List the rows of one's own; those for orientation alone are left out: a table for the paper has the paper's."""
    return [row for row in table.added if not row.orientation]


def _longest_label(table: Table) -> int:
    rows = (*table.published, *_shown(table))
    return max((len(row.label) + (len(row.gate) + 3 if row.gate else 0) for row in rows), default=0)


def _frame(table: Table) -> tuple[int, list[int], int]:
    """Measure a table: the widths of the labels, of each fact, and of every number."""
    rows = [*table.published, *_shown(table)]
    facts = [
        _bounded(max(len(text) for text in (heading, *(row.facts[place] for row in rows if row.facts))), FACT)
        for place, heading in enumerate(table.fact_headings)
    ]
    number = max((len(_words(entry)) for row in rows for entry in row.entries), default=0)
    return _bounded(_longest_label(table), LABEL), facts, _bounded(number, NUMBER)


def side_by_side(columns: Sequence[Column], most: int) -> list[list[int]]:
    """Part a wide table: at most ``most`` columns side by side; those of one task stay together where they can.

    Returns:
        Positions of columns, part by part, top to bottom.
    """
    parts: list[list[int]] = []
    for _, group in groupby(range(len(columns)), key=lambda place: columns[place].task):
        places = list(group)
        if parts and len(parts[-1]) + len(places) <= most:
            parts[-1] += places
        else:
            parts += [places[start : start + most] for start in range(0, len(places), most)]
    return parts


def _parts(table: Table) -> list[Cells]:
    """Lay out a table: as many columns side by side as fit, the others below."""
    label, facts, number = _frame(table)
    left = LINE - label - sum(width + GAP for width in facts)
    most = max(1, int(left / (number + GAP)))
    return [_part(table, places, (label, facts, number)) for places in side_by_side(table.columns, most)]


def _part(table: Table, places: Sequence[int], frame: tuple[int, list[int], int]) -> Cells:
    """Write some columns of a table; a row of one's own with nothing in them is left out."""
    label, facts, number = frame
    used = label + sum(width + GAP for width in facts) + len(places) * (number + GAP)
    label = _bounded(
        _longest_label(table), (label, int(max(label, label + LINE - used)))
    )  # what is left is the labels'
    columns = [table.columns[place] for place in places]
    widths = [label, *facts, *[number] * len(columns)]
    blank = [""] * (1 + len(facts))
    heads = [" & ".join(map(breakable, ("Method", *table.fact_headings, *(c.heading for c in columns))))]
    if any(column.labels for column in columns):
        heads.append(" & ".join([*blank, *(rf"\scriptsize {latex_text(column.labels)}" for column in columns)]))
    if any(column.stamp for column in columns) and not all(column.stamp for column in table.columns):
        heads.append(" & ".join([*blank, *(r"\scriptsize SYNTHETIC" if c.stamp else "" for c in columns)]))
    body = [_row(row, len(facts)) for row in _within(table.published, places)]
    own = [row for row in _within(_shown(table), places) if any(entry.cell for entry in row.entries)]
    if own:
        above = [r"\midrule"] if table.published else []
        title = rf"\multicolumn{{{len(widths)}}}{{@{{}}l}}{{\emph{{Not in the paper's table}}}}"
        body += [*above, title, *(_row(row, 0, len(facts)) for row in own)]
    rows = [*_within(table.published, places), *own]
    head = max(lines_of(column.heading, number) for column in columns)
    height = head + len(heads) + 2 + sum(lines_of(f"{row.label} {row.gate}", label) for row in rows)
    return Cells(widths, 1, heads, body, height)


def _row(row: Row, facts: int, padding: int = 0) -> str:
    label = breakable(row.label) + (rf" \emph{{({row.gate})}}" if row.gate else "")
    beside = [*map(breakable, row.facts[:facts]), *[""] * padding]
    return " & ".join([label, *beside, *map(_entry, row.entries)])


def _lines(body: Iterable[str]) -> list[str]:
    return [line if line == r"\midrule" else rf"{line} \\" for line in body]


def _tabular(cells: Cells) -> list[str]:
    return [
        rf"\begin{{tabular}}{{{cells.layout}}}",
        r"\toprule",
        *_lines(cells.heads),
        r"\midrule",
        *_lines(cells.body),
        r"\bottomrule",
        r"\end{tabular}",
    ]


def _longtable(cells: Cells, caption: str, label: str, *, goes_on: bool = False) -> list[str]:
    """Write a grid that goes on over pages, its head on each; one that continues another takes no number of its own."""
    heads = [r"\toprule", *_lines(cells.heads), r"\midrule"]
    return [
        rf"\begin{{longtable}}{{{cells.layout}}}",
        rf"\caption{'*' if goes_on else ''}{{{caption}}}{label} \\",
        *heads,
        r"\endfirsthead",
        *heads,
        r"\endhead",
        r"\bottomrule",
        r"\endfoot",
        *_lines(cells.body),
        r"\end{longtable}" + (r"\addtocounter{table}{-1}" if goes_on else ""),
    ]


def _stamp(table: Table) -> str:
    stamp = rf" \textbf{{{latex_text(table.stamp)}.}}" if table.stamp else ""
    return stamp + (rf" \textbf{{{latex_text(table.setting)}}}" if table.setting else "")


def _legend(table: Table, alpha: float) -> str:
    """Explain the marks that stand in a table, and no other."""
    there = {sign for row in (*table.published, *_shown(table)) for entry in row.entries for sign in entry.marks}
    said = [(sign, meaning) for sign, meaning in wording.legend(alpha) if there & {*sign} - {" "}]
    return "".join(f" {latex_text(sign)}: {latex_text(meaning)}." for sign, meaning in said)


def _references(table: Table) -> list[str]:
    """Say what the marks of each row refer to, rows with the same references together."""
    against: dict[tuple[str, ...], list[str]] = {}
    for row in (*table.published, *_shown(table)):
        if row.against:
            against.setdefault(row.against, []).append(row.label)
    return [f"{', '.join(labels)} against {', then '.join(others)}" for others, labels in against.items()]


def _notes(table: Table) -> list[str]:
    marks = [f"Marks: {'; '.join(references)}."] if (references := _references(table)) else []
    return [*marks, *table.notes, *table.remarks, *table.absent, *table.added_notes]


def latex(table: Table, alpha: float) -> str:
    """Write a table of numbers: one ``table*``, or longtables where a page does not hold it.

    Args:
        table: What stands in it.
        alpha: Level of the tests, for the legend.
    """
    caption = (
        rf"{latex_text(table.caption)}{_stamp(table)} Mean $\pm$ standard deviation over trials, in "
        rf"{units_of(table)}; {latex_text(ranks_of(table, _shown(table)))}.{_legend(table, alpha)}"
    )
    parts, notes = _parts(table), _notes(table)
    label = rf"\label{{tab:dira-bench-{table.name}}}"
    written = " ".join(map(latex_text, notes))
    style = r"\footnotesize\setlength{\tabcolsep}{3pt}"
    if sum(part.height for part in parts) + len(caption) // NOTE > LINES:
        lines = [PACKAGES, ONE_COLUMN, rf"\begingroup\setlength{{\LTcapwidth}}{{\textwidth}}{style}"]
        for place, part in enumerate(parts):
            again = rf"{latex_text(table.title)} (continued).{_stamp(table)}"
            lines += _longtable(part, again if place else caption, "" if place else label, goes_on=place > 0)
        return _file([*lines, rf"\noindent {written}\par" if notes else "", r"\endgroup"])
    lines = [PACKAGES, r"\begin{table*}", rf"\centering{style}", rf"\caption{{{caption}}}", label]
    for place, part in enumerate(parts):
        lines += [*([r"\par\smallskip"] if place else []), *_tabular(part)]
    if sum(part.height for part in parts) + (len(caption) + len(written)) // NOTE > LINES:
        written = f"Notes on single numbers stand in the supplement ({latex_text(table.name)}\\_details.tex)."
    if notes:
        lines.append(rf"\par\smallskip\parbox{{\textwidth}}{{{written}}}")
    return _file([*lines, r"\end{table*}"])


def _file(lines: Sequence[str]) -> str:
    """Put a file together; at its head stands which characters LaTeX has no letter for."""
    text = "\n".join(lines) + "\n"
    named = "".join(f"% {one}\n" for one in unset(text))
    return (f"% written as code points, because LaTeX has no letter for them:\n{named}" if named else "") + text


def _prose(widths: Sequence[int], headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Cells:
    """Lay out rows of words, the last column taking what is left of the line."""
    left = LINE - sum(widths) - GAP * (len(widths) - 1)
    body = [" & ".join(map(breakable, row)) for row in rows]
    return Cells([*widths[:-1], left], len(widths), [" & ".join(map(breakable, headings))], body, len(rows))


def latex_details(table: Table) -> str:
    """Write what stands behind the marks as longtables, for a supplement of one column.

    Args:
        table: Its contrasts with effect, Finding and Agreement; the paper's numbers beside ours; average gains; notes.

    Returns:
        The text; empty where a table has nothing behind it.
    """
    title, name, stamp = latex_text(table.title), table.name, _stamp(table)
    found: list[tuple[Sequence[int], Sequence[str], Sequence[Sequence[str]], str, str]] = [
        (_CONTRAST_WIDTHS, CONTRAST_HEADINGS, [contrast_words(c) for c in table.contrasts],
         f"{title}: its contrasts, in {units_of(table)}.", "contrasts"),
        ((30, 34, 18, 0), ("Method", "Column", "Here", "Paper"), _beside(table),
         f"{title}: the paper's numbers beside these, in {units_of(table)}.", "paper"),
        (_GAIN_WIDTHS, GAIN_HEADINGS, [gain_words(gain) for gain in table.gains],
         f"{title}: average gains, in {unit_of_gains(table.gains)}.", "gains"),
        (_CONTRAST_WIDTHS, CONTRAST_HEADINGS, [contrast_words(c) for c in table.added_contrasts],
         f"{title}: contrasts of the added block.", "added"),
    ]  # fmt: skip
    lines = []
    for widths, headings, rows, caption, kind in found:
        if rows:
            label = rf"\label{{tab:dira-bench-{name}-{kind}}}"
            lines += _longtable(_prose(widths, headings, rows), caption + stamp, label)
    if notes := _notes(table):
        lines.append(rf"\noindent {' '.join(map(latex_text, notes))}\par")
    if not lines:
        return ""
    style = r"\begingroup\setlength{\LTcapwidth}{\textwidth}\scriptsize\setlength{\tabcolsep}{3pt}"
    return _file([PACKAGES, ONE_COLUMN, style, *lines, r"\endgroup"])


def _beside(table: Table) -> list[tuple[str, ...]]:
    """List the paper's numbers beside ours, where the paper prints one."""
    return [
        (row.label, column.heading, _words(entry), paper)
        for row in table.published
        for entry, column in zip(row.entries, table.columns, strict=True)
        if entry.cell is not None and (paper := wording.published(entry.cell))
    ]
