"""Writes a table as Markdown; LaTeX is written by ``latex``, HTML by the templates.

It begins with the published block. Its lines depend on published rows alone, so that adding a method leaves them as
they were, byte for byte; the added block follows below a rule with its own marks and notes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tabulate import tabulate

from harness.statistics.schema import Comparison
from reports.render import wording
from reports.render.gains import Gain
from reports.render.tables import Column, Entry, Row, Table

_MARKDOWN = {character: "\\" + character for character in "\\`*_{}[]|#~$"} | {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
CONTRAST_HEADINGS = (
    "Contrast", "Effect [95 % CI]", "p", "Finding", "Paper's effect [95 % CI]", "Ours − paper [95 % CI]", "Agreement",
    "Reason",
)  # fmt: skip
GAIN_HEADINGS = ("Pair", "Average over", "Gain [95 % CI]", "Paper prints")


def markdown_text(text: str) -> str:
    """Escape text for a Markdown table cell: no markup, no raw HTML, one line."""
    return "".join(_MARKDOWN.get(character, character) for character in " ".join(text.split()))


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
    return ["", f"Average gains, in {unit_of_gains(gains)}:", "", markdown_table(GAIN_HEADINGS, rows)]


def units_of(table: Table) -> str:
    """Say what the numbers of a table are in."""
    return wording.units(column.metric for column in table.columns)


def unit_of_gains(gains: Sequence[Gain]) -> str:
    """Say what average gains are in; each is of one unit."""
    found = dict.fromkeys(gain.unit for gain in gains)
    return " or ".join(found)


def ranks_of(table: Table, added: Sequence[Row]) -> str:
    """Say what is bold and what is underlined, and among which rows.

    Args:
        table: What stands in it.
        added: Its rows of one's own that are shown.
    """
    words = "best of a column bold, second underlined"
    return f"{words}, the paper's rows and the others each among themselves" if table.published and added else words


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
        f"Mean ± standard deviation over trials, in {units_of(table)}; {ranks_of(table, table.added)}. Marks:",
        "",
    ]
    lines += [f"- {markdown_text(sign)} {markdown_text(meaning)}" for sign, meaning in wording.legend(alpha)]
    return "\n".join(lines) + "\n"
