"""Writes the audit of a table from elsewhere: CSV, Markdown, a page and LaTeX, in a folder of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.errors import ConfigurationError
from harness.results import write_atomically
from harness.statistics.any_paper.audit import TableClaim
from harness.statistics.any_paper.table import UNSTATED, PrintedTable, TableNumber
from harness.statistics.audit import subject
from harness.typed_csv import table_text
from reports.render import pages, wording
from reports.render.latex_text import latex_text

FILES = ("audit.csv", "audit.md", "audit.html", "audit.tex")
CLAIMS_A_FLOAT = 12  # more do not fit a page
NUMBER_HEADINGS = ("Method", "Task", "Metric", "Mean ± sd", "Runs", "Where")
CLAIM_HEADINGS = ("About", "Claim", "Difference", "p", "Outcome", "Note")
_CLAIM_WIDTHS = (0.2, 0.2, 0.08, 0.06, 0.11, 0.25)  # of the text, less the gaps between columns


def write_table_audit(
    folder: Path, table: PrintedTable, claims: Sequence[TableClaim], claims_name: str, alpha: float
) -> list[Path]:
    """Write the audit of a table.

    Args:
        folder: Where the four files go; it is made.
        table: The printed numbers.
        claims: Every audited claim.
        claims_name: Name of the file the claims were read from.
        alpha: Level of the tests.

    Raises:
        ConfigurationError: If the folder holds files of these names that are no audit.
    """
    refuse_foreign(folder)
    words = _words(table, claims_name, alpha)
    texts = (
        table_text(TableClaim, claims),
        pages.audit_markdown(claims, {}, words),
        pages.audit_page(claims, {}, words),
        audit_latex(claims, words),
    )
    paths = [folder / name for name in FILES]
    for path, text in zip(paths, texts, strict=True):
        write_atomically(path, text)
    return paths


def refuse_foreign(folder: Path) -> None:
    """Refuse to write over what is no audit of a table.

    Raises:
        ConfigurationError: If a file of that name was written by something else, this project's own audit included.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigurationError(
            f"{folder} is a file; expected a folder to write the audit into; name another with --out."
        )
    there = [name for name in FILES if (folder / name).exists()]
    if there and not _ours(folder / FILES[0]):
        raise ConfigurationError(
            f"{folder} holds {', '.join(there)} that no audit of a table wrote; name another folder with --out."
        )


def _ours(path: Path) -> bool:
    header = ",".join(TableClaim.model_fields)
    return path.is_file() and path.read_bytes()[: len(header)] == header.encode()


def _words(table: PrintedTable, claims_name: str, alpha: float) -> pages.AuditWords:
    level = wording.threshold(alpha)
    return pages.AuditWords(
        title=f"Audit of {table.path.name}",
        lead="Do the printed numbers support the claims? Each is tested with the printed means and standard "
        f"deviations: an independent two-sample t-test (Student, two-sided), p < {level}.",
        intro=f"Only the numbers of {table.path.name} and the claims of {claims_name} enter here, as somebody typed "
        "them in. The audit evaluates the printed numbers, not the method: no image was read and nothing was trained.",
        level=level,
        runs=any(number.n is None for number in table.numbers),
        headings=NUMBER_HEADINGS,
        numbers=tuple(_number_words(number) for number in table.numbers),
    )


def _number_words(number: TableNumber) -> tuple[str, ...]:
    task = wording.column(number.cell.task, number.cell.label_fraction)
    spread = "" if number.sd is None else f" ± {number.sd}"
    marks = " ".join(mark for mark in number.marks.values() if mark)
    runs = UNSTATED if number.n is None else str(number.n)
    metric = f"{number.measure.label} ({number.unit}, {number.measure.better} is better)"
    return number.cell.method, task, metric, f"{number.mean}{spread} {marks}".strip(), runs, number.place


def audit_latex(claims: Sequence[TableClaim], words: pages.AuditWords) -> str:
    """Write an audit as LaTeX: ``table*`` floats that need the ``booktabs`` package and nothing else."""
    counts = _float("l" * 2 + "r" * 6, pages.COUNT_HEADINGS, pages.count_rows(claims), f"{words.title}. {words.lead}")
    lines = [r"% needs \usepackage{booktabs}", *counts]
    layout = "".join(rf"p{{{width}\textwidth}}" for width in _CLAIM_WIDTHS)
    for start in range(0, len(claims), CLAIMS_A_FLOAT):
        rows = [_claim_words(claim) for claim in claims[start : start + CLAIMS_A_FLOAT]]
        goes_on = " (continued)" if start else ""
        lines += _float(layout, CLAIM_HEADINGS, rows, f"{words.title}: claim by claim{goes_on}. {words.intro}")
    return "\n".join(lines) + "\n"


def _claim_words(claim: TableClaim) -> tuple[str, ...]:
    outcome = claim.outcome if claim.robust else f"{claim.outcome} (depends on the reading)"
    says = f"{claim.claim} ({claim.where})" if claim.where else claim.claim
    p = wording.probability(claim.p_value)
    return subject(claim), f"{claim.source}: {says}", pages.difference(claim), p, outcome, claim.note


def _float(layout: str, headings: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> list[str]:
    return [
        r"\begin{table*}",
        r"\centering\scriptsize",
        rf"\caption{{{latex_text(caption)}}}",
        rf"\begin{{tabular}}{{{layout}}}",
        r"\toprule",
        " & ".join(map(latex_text, headings)) + r" \\",
        r"\midrule",
        *(" & ".join(map(latex_text, row)) + r" \\" for row in rows),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table*}",
    ]
