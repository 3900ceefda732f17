"""Writes a table as Markdown and as LaTeX; HTML is written by the templates.

Both begin with the published block. Its lines depend on published rows alone, so that adding a method leaves them as
they were, byte for byte; the added block follows below a rule with its own marks and notes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import groupby

from tabulate import tabulate

from harness.statistics.schema import Comparison
from reports.render import wording
from reports.render.gains import Gain
from reports.render.tables import Column, Entry, Row, Table

_MARKDOWN = {character: "\\" + character for character in "\\`*_{}[]|#~$"} | {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "\u00a0": "~",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "≡": r"$\equiv$",
    "⊥": r"$\bot$",
    "⊤": r"$\top$",
    "†": r"$\dagger$",
    "±": r"$\pm$",
    "−": "$-$",
    "–": "--",
    "×": r"$\times$",
    "✓": r"$\surd$",
    "δ": r"$\delta$",
    "α": r"$\alpha$",
    "σ": r"$\sigma$",
    "·": r"$\cdot$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "’": "'",
}
CONTRAST_HEADINGS = (
    "Contrast", "Effect [95 % CI]", "p", "Finding", "Paper's effect [95 % CI]", "Ours − paper [95 % CI]", "Agreement",
    "Reason",
)  # fmt: skip
GAIN_HEADINGS = ("Pair", "Average over", "Gain [95 % CI]", "Paper prints")


WIDEST = 4  # columns of a LaTeX table side by side, unless one task has more
CONTRASTS_A_FLOAT = 15  # more do not fit a page
_CONTRAST_WIDTHS = (0.16, 0.11, 0.05, 0.13, 0.11, 0.11, 0.08, 0.11)  # of the text, less the gaps between columns


def markdown_text(text: str) -> str:
    """Escape text for a Markdown table cell: no markup, no raw HTML, one line."""
    return "".join(_MARKDOWN.get(character, character) for character in " ".join(text.split()))


def latex_text(text: str) -> str:
    """Escape text for LaTeX; signs the field uses become math, control characters vanish.

    The end of a row and a rule take a ``[`` or ``*`` that follows for an argument of theirs: nothing in braces parts
    them.
    """
    clean = re.sub(r"[\x00-\x1f\x7f]", " ", text)
    apart = "{}" if clean.lstrip().startswith(("[", "*")) else ""
    return apart + "".join(_LATEX.get(character, character) for character in clean)


def effect(value: float | None, low: float | None, high: float | None) -> str:
    """Write an effect with its interval; a dash alone where there is none."""
    return wording.NONE if value is None else f"{wording.signed(value)} {wording.interval(low, high)}".strip(" –")


def contrast_words(contrast: Comparison) -> tuple[str, ...]:
    """Say all of a contrast in eight texts, under ``CONTRAST_HEADINGS``."""
    finding = contrast.finding + (wording.DAGGER if contrast.dagger else "")
    if why := wording.why(contrast):
        finding += f" ({why})"
    paper = effect(contrast.published_effect, contrast.published_low, contrast.published_high)
    if contrast.published_sd_assumed and contrast.published_effect is not None:
        paper += ", σ assumed"
    return (
        wording.contrast_title(contrast),
        effect(contrast.effect, contrast.ci_low, contrast.ci_high),
        wording.probability(contrast.p),
        finding,
        paper,
        effect(contrast.difference, contrast.difference_low, contrast.difference_high),
        contrast.agreement,
        contrast.agreement_reason,
    )


def _markdown_entry(entry: Entry) -> str:
    cell = entry.cell
    if cell is None:
        return wording.NONE
    if cell.mean is None:
        text = wording.absent(cell)
    else:
        mean = wording.number(cell.mean)
        mean = f"**{mean}**" if entry.best else f"<u>{mean}</u>" if entry.second else mean
        text = mean if cell.sd is None else f"{mean} ± {wording.number(cell.sd)}"
        if short := wording.count(cell):
            text += f" ({short})"
        if entry.marks:
            text += " " + markdown_text(entry.marks)
            text += "<br>" + ", ".join(c.finding for c in entry.tested)
    if paper := wording.published(cell):
        text += f"<br>paper: {paper}"
    return text


def _markdown_rows(rows: Iterable[Row], facts: int) -> list[list[str]]:
    written = []
    for row in rows:
        label = markdown_text(row.label) + (f"<br>**{row.gate}**" if row.gate else "")
        if row.against:
            label += "<br>marks vs " + markdown_text(", ".join(row.against))
        written.append([label, *map(markdown_text, row.facts[:facts]), *map(_markdown_entry, row.entries)])
    return written


def markdown_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a Markdown table from texts that are escaped already."""
    return tabulate(rows, headers=list(headings), tablefmt="pipe", disable_numparse=True)


def _markdown_contrasts(contrasts: Sequence[Comparison]) -> list[str]:
    if not contrasts:
        return []
    rows = [[markdown_text(word) for word in contrast_words(c)] for c in contrasts]
    unit = wording.units(c.metric for c in contrasts)
    return ["", f"Contrasts (method − reference, in {unit}):", "", markdown_table(CONTRAST_HEADINGS, rows)]


def gain_words(gain: Gain) -> tuple[str, str, str, str]:
    """Say an average gain in four texts, under ``GAIN_HEADINGS``."""
    where = gain.where + (f" ({gain.note})" if gain.note else "")
    return gain.pair, where, effect(gain.effect, gain.low, gain.high), gain.published or wording.NONE


def _markdown_gains(gains: Sequence[Gain]) -> list[str]:
    if not gains:
        return []
    rows = [[markdown_text(word) for word in gain_words(gain)] for gain in gains]
    return ["", f"Average gains, in {_unit(gains)}:", "", markdown_table(GAIN_HEADINGS, rows)]


def _units(table: Table) -> str:
    """Say what the numbers of a table are in."""
    return wording.units(column.metric for column in table.columns)


def _unit(gains: Sequence[Gain]) -> str:
    """Say what average gains are in; each is of one unit."""
    found = dict.fromkeys(gain.unit for gain in gains)
    return " or ".join(found)


def markdown(table: Table, alpha: float) -> str:
    """Write a table as Markdown.

    Args:
        table: What stands in it.
        alpha: Level of the tests, for the legend.
    """

    def heading(column: Column) -> str:
        labels = f"<br>{markdown_text(column.labels)}" if column.labels else ""
        return markdown_text(column.heading) + labels + ("<br>**SYNTHETIC**" if column.stamp else "")

    columns = [heading(column) for column in table.columns]
    lines = [f"# {markdown_text(table.title)}", "", markdown_text(table.caption)]
    if table.stamp:
        lines += ["", f"**{markdown_text(table.stamp)}**"]
    if table.setting:
        lines += ["", f"**{markdown_text(table.setting)}**"]
    if table.published:
        headings = ["Method", *map(markdown_text, table.fact_headings), *columns]
        lines += ["", markdown_table(headings, _markdown_rows(table.published, len(table.fact_headings)))]
        lines += _markdown_contrasts(table.contrasts)
        lines += _markdown_gains(table.gains)
        for note in (*table.notes, *table.remarks, *table.absent):
            lines += ["", markdown_text(note)]
    if table.added:
        if table.published:
            lines += ["", "---"]
        lines += ["", "## Not in the paper's table", "", "Ranked and marked among themselves."]
        lines += ["", markdown_table(["Method", *columns], _markdown_rows(table.added, 0))]
        lines += _markdown_contrasts(table.added_contrasts)
        for note in table.added_notes:
            lines += ["", markdown_text(note)]
    lines += [
        "",
        "---",
        "",
        f"Mean ± standard deviation over trials, in {_units(table)}; best bold, second underlined. Marks:",
        "",
    ]
    lines += [f"- {markdown_text(sign)} {markdown_text(meaning)}" for sign, meaning in wording.legend(alpha)]
    return "\n".join(lines) + "\n"


def _latex_entry(entry: Entry) -> tuple[str, str]:
    """Return the number, and the smaller line below it."""
    cell = entry.cell
    if cell is None:
        return "--", ""
    paper = wording.published(cell)
    below = [latex_text(f"paper {paper}")] if paper else []
    if cell.mean is None:
        return rf"\emph{{{wording.absent(cell)}}}", ", ".join(below)
    mean = latex_text(wording.number(cell.mean))
    mean = rf"\textbf{{{mean}}}" if entry.best else rf"\underline{{{mean}}}" if entry.second else mean
    text = mean if cell.sd is None else rf"{mean} $\pm$ {latex_text(wording.number(cell.sd))}"
    if entry.marks:
        text += " " + latex_text(entry.marks)
        below = [*(c.finding for c in entry.tested), *below]
    if short := wording.count(cell):
        below = [short, *below]
    return text, "; ".join(below)


def _latex_rows(rows: Iterable[Row], facts: int, padding: int) -> list[str]:
    lines = []
    for row in rows:
        pairs = [_latex_entry(entry) for entry in row.entries]
        beside = [*map(latex_text, row.facts[:facts]), *[""] * (padding - facts)]
        against = latex_text("marks vs " + ", ".join(row.against)) if row.against else ""
        small = [
            rf"{{\scriptsize {text}}}" if text else ""
            for text in (against, *("" for _ in beside), *(b for _, b in pairs))
        ]
        label = latex_text(row.label) + (rf" \emph{{({row.gate})}}" if row.gate else "")
        lines.append(" & ".join([label, *beside, *(text for text, _ in pairs)]) + r" \\")
        if any(small):
            lines.append(" & ".join(small) + r" \\[2pt]")
    return lines


def _latex_contrasts(contrasts: Sequence[Comparison], caption: str, label: str) -> list[str]:
    lines = []
    for start in range(0, len(contrasts), CONTRASTS_A_FLOAT):
        goes_on = " (continued)" if start else ""
        lines += [
            r"\begin{table*}",
            r"\centering\scriptsize",
            rf"\caption{{{caption}{goes_on}}}",
            rf"\label{{{label}{f'-{start // CONTRASTS_A_FLOAT + 1}' if start else ''}}}",
            r"\begin{tabular}{" + "".join(rf"p{{{width}\textwidth}}" for width in _CONTRAST_WIDTHS) + "}",
            r"\toprule",
            " & ".join(map(latex_text, CONTRAST_HEADINGS)) + r" \\",
            r"\midrule",
            *(
                " & ".join(map(latex_text, contrast_words(contrast))) + r" \\"
                for contrast in contrasts[start : start + CONTRASTS_A_FLOAT]
            ),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table*}",
        ]
    return lines


def _latex_gains(gains: Sequence[Gain], caption: str, label: str) -> list[str]:
    if not gains:
        return []
    return [
        r"\begin{table*}",
        r"\centering\small",
        rf"\caption{{{caption}}}",
        rf"\label{{{label}}}",
        r"\begin{tabular}{p{0.22\textwidth}p{0.42\textwidth}cc}",
        r"\toprule",
        " & ".join(map(latex_text, GAIN_HEADINGS)) + r" \\",
        r"\midrule",
        *(" & ".join(map(latex_text, gain_words(gain))) + r" \\" for gain in gains),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table*}",
    ]


def side_by_side(columns: Sequence[Column]) -> list[list[int]]:
    """Part a wide table: at most ``WIDEST`` columns side by side, and those of one task never apart.

    Returns:
        Positions of columns, part by part, top to bottom.
    """
    parts: list[list[int]] = []
    for _, group in groupby(range(len(columns)), key=lambda place: columns[place].task):
        places = list(group)
        if parts and len(parts[-1]) + len(places) <= WIDEST:
            parts[-1] += places
        else:
            parts.append(places)
    return parts


def _latex_part(table: Table, places: Sequence[int]) -> list[str]:
    """Write some columns of a table as one ``tabular``; an added row with nothing in them is left out.

    So are rows that are there for orientation alone: a table for the paper has the paper's rows and one's own.
    """

    def within(rows: Iterable[Row]) -> list[Row]:
        return [replace(row, entries=tuple(row.entries[place] for place in places)) for row in rows]

    columns = [table.columns[place] for place in places]
    blank = [""] * (1 + len(table.fact_headings))
    facts, width = len(table.fact_headings), len(blank) + len(columns)
    lines = [
        rf"\begin{{tabular}}{{l{'c' * (width - 1)}}}",
        r"\toprule",
        " & ".join(map(latex_text, ("Method", *table.fact_headings, *(c.heading for c in columns)))) + r" \\",
    ]
    if any(column.labels for column in columns):
        labels = [rf"{{\scriptsize {latex_text(column.labels)}}}" for column in columns]
        lines.append(" & ".join([*blank, *labels]) + r" \\")
    if any(column.stamp for column in columns):
        stamps = [r"{\scriptsize\textbf{SYNTHETIC}}" if column.stamp else "" for column in columns]
        lines.append(" & ".join([*blank, *stamps]) + r" \\")
    lines += [r"\midrule", *_latex_rows(within(table.published), facts, facts)]
    own = [row for row in within(table.added) if not row.orientation]
    if added := [row for row in own if any(entry.cell for entry in row.entries)]:
        if table.published:
            lines.append(r"\midrule")
        lines.append(rf"\multicolumn{{{width}}}{{l}}{{\emph{{Not in the paper's table}}}} \\")
        lines += _latex_rows(added, 0, facts)
    return [*lines, r"\bottomrule", r"\end{tabular}"]


def latex(table: Table, alpha: float) -> str:
    """Write a table as LaTeX: ``table*`` floats that need the ``booktabs`` package and nothing else.

    Args:
        table: What stands in it.
        alpha: Level of the tests, for the legend.
    """
    stamp = rf" \textbf{{{latex_text(table.stamp)}.}}" if table.stamp else ""
    if table.setting:
        stamp += rf" \textbf{{{latex_text(table.setting)}}}"
    legend = "; ".join(f"{latex_text(sign)} {latex_text(meaning)}" for sign, meaning in wording.legend(alpha))
    lines = [
        r"% needs \usepackage{booktabs}",
        r"\begin{table*}",
        r"\centering\small",
        rf"\caption{{{latex_text(table.caption)}{stamp} Mean $\pm$ standard deviation over trials, in {_units(table)}; "
        rf"best bold, second underlined. {legend}.}}",
        rf"\label{{tab:dira-bench-{table.name}}}",
    ]
    parts = [_latex_part(table, places) for places in side_by_side(table.columns)]
    lines += [line for place, part in enumerate(parts) for line in ([r"\par\smallskip"] if place else []) + part]
    if notes := (*table.notes, *table.remarks, *table.absent, *table.added_notes):
        lines.append(rf"\par\smallskip\parbox{{\textwidth}}{{\footnotesize {' '.join(map(latex_text, notes))}}}")
    lines.append(r"\end{table*}")
    title = latex_text(table.title)
    lines += _latex_contrasts(
        table.contrasts, f"{title}: its contrasts, in {_units(table)}.{stamp}", f"tab:dira-bench-{table.name}-contrasts"
    )
    lines += _latex_gains(
        table.gains, f"{title}: average gains, in {_unit(table.gains)}.{stamp}", f"tab:dira-bench-{table.name}-gains"
    )
    lines += _latex_contrasts(
        table.added_contrasts, f"{title}: contrasts of the added block.{stamp}", f"tab:dira-bench-{table.name}-added"
    )
    return "\n".join(lines) + "\n"
