"""``audit``: a paper's own printed numbers, recomputed. No GPU, no data, no torch.

Without a table it is this project's paper; with one it is any other, and nothing of a checkout is read or written.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.listing import AsJson
from harness.cli.numbers import level
from harness.cli.session import Session, console, notes, open_session, output, print_json, shown
from harness.errors import ConfigurationError, many
from harness.results import replace

if TYPE_CHECKING:
    from harness.statistics.any_paper.audit import TableClaim
    from harness.statistics.any_paper.table import PrintedTable, Scale
    from harness.statistics.audit import AuditedClaim

COLOURS = {"supported": "green", "contradicted": "red", "not shown": "yellow", "not testable": "dim"}
DEFAULT_LEVEL = 0.05
OWN_FOLDERS = ("results", "reports", "methods", "tasks", "harness")  # of a checkout, where nothing is written


def audit(
    table: Annotated[
        Path | None, typer.Argument(help="A table of another paper (CSV); without it, this project's paper.")
    ] = None,
    claims: Annotated[Path | None, typer.Option(help="The claims about the table (CSV).")] = None,
    margin: Annotated[
        list[str] | None,
        typer.Option(help="METRIC=NUMBER: the smallest difference that matters. Can be repeated."),
    ] = None,
    scale: Annotated[str, typer.Option(help="How the table prints Dice, AUC and their like: points or fractions.")] = (
        "points"
    ),
    alpha: Annotated[
        float | None,
        typer.Option(callback=level("--alpha"), help="Level of every test of the table; 0.05 if not given."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder to write into; audit-<table>/ beside the table.")] = None,
    as_json: AsJson = False,
) -> None:
    """Hold printed numbers against the claims made about them, claim by claim.

    It ends with code 0 whatever the claims come to, and with 2 if a file is not as expected.
    """
    audited: Sequence[AuditedClaim]
    paths: list[Path] = []
    if table is not None:
        audited, paths = _audit_table(table, claims, margin or [], scale, alpha, out)
    elif claims or margin or scale != "points" or alpha is not None or out:
        raise ConfigurationError(
            "found options for a table, and no table; expected: dira-bench audit TABLE.csv --claims CLAIMS.csv; see "
            "docs/auditing-a-table.md."
        )
    else:
        audited = run_audit(open_session())
    if as_json:
        print_json([claim.model_dump() for claim in audited])
        return
    print_audit(audited)
    for path in paths:
        console.print(f"written: {shown(path)}")


def print_audit(audited: Sequence[AuditedClaim]) -> None:
    """Print every claim by method and task with its outcome, then the tallies."""
    from harness.statistics.audit import subject

    for claim in audited:
        numbers = "" if claim.effect is None else f"  {claim.effect:+.4g}"
        numbers += "" if claim.p_value is None else f"  p = {claim.p_value:.3g}"
        fragile = "" if claim.robust else "  [yellow]not robust[/]"
        head = f"[{COLOURS[claim.outcome]}]{claim.outcome:12s}[/] {shown(claim.source)}  {shown(subject(claim))}"
        console.print(f"{head}: {shown(claim.claim)}{numbers}{fragile}")
        if claim.note:
            console.print(f"             [dim]{shown(claim.note)}[/]")
    console.print()
    for kind, tally in tallies(audited).items():
        console.print(f"{shown(kind)}: " + ", ".join(f"{count} {outcome}" for outcome, count in tally.items()))
    total = Counter(claim.outcome for claim in audited)
    fragile_ones = sum(not claim.robust for claim in audited)
    counts = ", ".join(f"{count} {outcome}" for outcome, count in total.items())
    console.print(f"{many(len(audited), 'claim')}: {counts}; {fragile_ones} not robust")


def run_audit(session: Session) -> list[AuditedClaim]:
    """Evaluate every claim of this project's paper and write ``results/published/audit.csv``."""
    from harness.statistics.audit import AuditedClaim
    from harness.statistics.audit import audit as evaluate
    from harness.statistics.claims import read_claims
    from harness.statistics.margins import read_margins
    from harness.statistics.paper import read_paper
    from harness.typed_csv import table_text

    published = session.root / "results" / "published"
    paper = read_paper(published / "paper.csv")
    claims = read_claims(published / "claims.yaml", paper)
    margins = read_margins(session.root / "reports" / "margins.yaml")
    audited = evaluate(paper, claims, margins, session.families, session.parameters.alpha)
    replace(session.root, published / "audit.csv", table_text(AuditedClaim, audited))
    return audited


def tallies(claims: Sequence[AuditedClaim]) -> dict[str, Counter[str]]:
    """Count outcomes by source and type of claim."""
    counted: dict[str, Counter[str]] = {}
    for claim in claims:
        counted.setdefault(f"{claim.source} {claim.type}", Counter())[claim.outcome] += 1
    return counted


def _audit_table(
    path: Path, claims: Path | None, margin: list[str], scale: str, alpha: float | None, out: Path | None
) -> tuple[list[TableClaim], list[Path]]:
    """Audit a table from elsewhere and write its files."""
    from harness.statistics.any_paper.audit import audit_table
    from harness.statistics.any_paper.claims import read_claim_lines
    from harness.statistics.any_paper.table import read_table

    output.take()
    if claims is None:
        raise ConfigurationError(
            f"found no claims about {path}; expected --claims CLAIMS.csv; start from docs/examples/claims-template.csv."
        )
    chosen = DEFAULT_LEVEL if alpha is None else alpha
    folder = out or path.with_name(f"audit-{path.stem}")
    _refuse_own(folder)
    table = read_table(path, _scale(scale))
    margins = _margins(margin, table)
    audited = audit_table(table, read_claim_lines(claims, table), margins, chosen)
    _tell(table, margins)

    from reports.render.audited import write_table_audit  # draws in matplotlib: a refusal need not wait for it

    return audited, write_table_audit(folder, table, audited, claims.name, chosen)


def _tell(table: PrintedTable, margins: dict[str, float]) -> None:
    """Say on standard error what the audit cannot know."""
    from harness.statistics.any_paper.audit import without_margin
    from harness.statistics.printed import UNSTATED_RUNS

    for name in without_margin(table, margins):
        notes.print(
            f'[yellow]note:[/] no margin for the metric "{shown(name)}", so nothing is said about which of its '
            f"differences are large enough to matter; give one with --margin {shown(name)}=NUMBER."
        )
    unstated = sum(number.n is None for number in table.numbers)
    if unstated:
        notes.print(
            f"[yellow]note:[/] {unstated} of {len(table.numbers)} rows do not state their runs: {UNSTATED_RUNS} are "
            "taken, p is given at 5 and 10 as well, and an outcome that depends on it is not robust."
        )


def _scale(text: str) -> Scale:
    known: dict[str, Scale] = {"points": "points", "fractions": "fractions"}
    if text in known:
        return known[text]
    raise ConfigurationError(f"found --scale {text}; expected one of {', '.join(known)}.")


def _margins(given: list[str], table: PrintedTable) -> dict[str, float]:
    """Join this project's margins and those given; a fraction counts as points where the table is in fractions."""
    import reports
    from harness.statistics.any_paper.metrics import KNOWN, metric_name
    from harness.statistics.margins import read_margins

    margins = read_margins(Path(reports.__file__).with_name("margins.yaml"))
    measured = {number.metric for number in table.numbers}
    for text in given:
        name, _, value = text.partition("=")
        name, size = metric_name(name.strip()), _size(value)
        if size is None:
            raise ConfigurationError(f"found --margin {text}; expected METRIC=NUMBER above 0, such as hd95=2.")
        if name not in measured:
            known = ", ".join(sorted(measured))
            raise ConfigurationError(f"found --margin {text}; {table.path} measures {known}; correct the name.")
        in_fractions = table.scale == "fractions" and name in KNOWN and KNOWN[name].in_points
        margins[name] = KNOWN[name].printed(size) if in_fractions else size
    return margins


def _size(text: str) -> float | None:
    try:
        size = float(text)
    except ValueError:
        return None
    return size if math.isfinite(size) and size > 0 else None


def _refuse_own(folder: Path) -> None:
    """Refuse to write into a checkout's own folders: an audit of another paper stands beside them."""
    place = folder.resolve()
    for root in place.parents:
        inside = place.relative_to(root).parts[0]
        if inside in OWN_FOLDERS and (root / "methods" / "registry.yaml").is_file():
            raise ConfigurationError(
                f"{folder} lies in {root / inside}, which holds this project's own; name another folder with --out."
            )
