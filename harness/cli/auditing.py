"""``audit``: the paper's own printed numbers, recomputed. No GPU, no data, no torch."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from harness.cli.listing import AsJson
from harness.cli.session import Session, console, open_session, print_json, shown
from harness.results import replace

if TYPE_CHECKING:
    from harness.statistics.audit import AuditedClaim


def audit(as_json: AsJson = False) -> None:
    """Hold the paper's printed numbers against its claims, claim by claim."""
    session = open_session()
    claims = run_audit(session)
    if as_json:
        print_json([claim.model_dump() for claim in claims])
        return
    colours = {"supported": "green", "contradicted": "red", "not shown": "yellow", "not testable": "dim"}
    for claim in claims:
        colour = colours[claim.outcome]
        p = "" if claim.p_value is None else f"  p = {claim.p_value:.3g}"
        fragile = "" if claim.robust else "  [yellow]not robust[/]"
        console.print(f"[{colour}]{claim.outcome:12s}[/] {claim.source}  {shown(claim.claim)}{p}{fragile}")
        if claim.note:
            console.print(f"             [dim]{shown(claim.note)}[/]")
    console.print()
    for kind, tally in tallies(claims).items():
        console.print(f"{kind}: " + ", ".join(f"{count} {outcome}" for outcome, count in tally.items()))


def run_audit(session: Session) -> list[AuditedClaim]:
    """Evaluate every claim and write ``results/published/audit.csv``."""
    from harness.statistics.audit import AuditedClaim
    from harness.statistics.audit import audit as evaluate
    from harness.statistics.claims import read_claims
    from harness.statistics.margins import read_margins
    from harness.statistics.paper import read_paper
    from harness.statistics.tables import table_text

    published = session.root / "results" / "published"
    paper = read_paper(published / "paper.csv")
    claims = read_claims(published / "claims.yaml", paper)
    margins = read_margins(session.root / "reports" / "margins.yaml")
    audited = evaluate(paper, claims, margins, session.families, session.parameters.alpha)
    replace(session.root, published / "audit.csv", table_text(AuditedClaim, audited))
    return audited


def tallies(claims: list[AuditedClaim]) -> dict[str, Counter[str]]:
    """Count outcomes by source and type of claim."""
    counted: dict[str, Counter[str]] = {}
    for claim in claims:
        counted.setdefault(f"{claim.source} {claim.type}", Counter())[claim.outcome] += 1
    return counted
