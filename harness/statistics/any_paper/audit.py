"""The audit of a table from elsewhere: the evaluation of this project's paper, with the runs it may rest on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from harness.errors import ConfigurationError
from harness.statistics.any_paper.claims import ClaimLine
from harness.statistics.any_paper.table import PrintedTable, TableNumber
from harness.statistics.audit import Answer, AuditedClaim, Evidence, adjusted_within, evaluate, row
from harness.statistics.claims import Claim


class TableClaim(AuditedClaim):
    """One claim about a table with the table's answer; one row of ``audit.csv``.

    Attributes:
        metric, unit, better: How the two numbers are measured, and which values are better.
        mean_method, sd_method, n_method, mean_reference, sd_reference, n_reference: As printed; n is empty where the
            paper does not state it, and counts as 3 in every other column.
        p_n3, p_n5, p_n10: ``p_value`` if each unstated number of runs were 3, 5 or 10.
        enough_runs: From how many runs on ``p_value`` would be below α; empty if it is not even at 1,000.
    """

    metric: str
    unit: str
    better: str
    mean_method: float | None
    sd_method: float | None
    n_method: int | None
    mean_reference: float | None
    sd_reference: float | None
    n_reference: int | None
    p_n3: float | None
    p_n5: float | None
    p_n10: float | None
    enough_runs: int | None


def audit_table(
    table: PrintedTable, lines: Sequence[ClaimLine], margins: Mapping[str, float], alpha: float = 0.05
) -> list[TableClaim]:
    """Evaluate every claim about a table.

    Args:
        table: The printed numbers.
        lines: The claims; those of one row are one closed list for Holm's correction.
        margins: Equivalence margin by metric, in the metric's unit.
        alpha: Level of every test.

    Raises:
        ConfigurationError: If an equivalence is claimed under a metric without a margin.
    """
    _need_margins(table, lines, margins)
    evidence = Evidence(table, margins, {}, alpha)
    rows = []
    for line in lines:
        within = replace(evidence, adjusted=adjusted_within(evidence, [line.terms]))
        rows += [_row(claim, _answer(claim, within), within) for claim in line.claims]
    return rows


def without_margin(table: PrintedTable, margins: Mapping[str, float]) -> list[str]:
    """Name the metrics of a table that have no margin."""
    return sorted({number.metric for number in table.numbers} - set(margins))


def _need_margins(table: PrintedTable, lines: Sequence[ClaimLine], margins: Mapping[str, float]) -> None:
    """Refuse a claim of equivalence that no margin makes testable, once a metric."""
    asked: dict[str, int] = {}
    for line in lines:
        for claim in line.claims:
            number = _numbers(claim, table)[0] if claim.type == "equivalence" else None
            if number is not None and number.metric not in margins:
                asked.setdefault(number.metric, line.line)
    if asked:
        raise ConfigurationError(
            "\n".join(
                f'no margin for the metric "{name}", and line {line} of the claims says equivalent; say how large a '
                f"difference must be to matter: --margin {name}=NUMBER."
                for name, line in asked.items()
            )
        )


def _numbers(claim: Claim, table: PrintedTable) -> tuple[TableNumber | None, TableNumber | None]:
    (term,) = claim.terms
    where = term.task, term.label_fraction
    return table.score(term.method, *where), table.score(term.reference, *where)


def _answer(claim: Claim, evidence: Evidence) -> Answer:
    (term,) = claim.terms
    sides = zip((term.method, term.reference), evidence.sides(term), strict=True)
    lacking = [name for name, number in sides if number is None]
    if lacking:
        return Answer("not testable", remarks=(f"the table prints no number of {' or '.join(lacking)} here",))
    answer, method = evaluate(claim, evidence), evidence.sides(term)[0]
    return replace(answer, remarks=(*answer.remarks, "less is better")) if method and method.lower_is_better else answer


def _row(claim: Claim, answer: Answer, evidence: Evidence) -> TableClaim:
    method, reference = evidence.sides(claim.terms[0])
    measured = method or reference
    return TableClaim(
        **row(claim, answer),
        **_side("method", method),
        **_side("reference", reference),
        metric=measured.metric if measured else "",
        unit=measured.unit if measured else "",
        better="lower" if measured and measured.lower_is_better else "higher",
        p_n3=answer.p_by_runs.get(3),
        p_n5=answer.p_by_runs.get(5),
        p_n10=answer.p_by_runs.get(10),
        enough_runs=answer.enough_runs,
    )


def _side(name: str, number: object) -> dict[str, object]:
    """Return one side's columns; None where the table has no such number."""
    return {f"{field}_{name}": getattr(number, field, None) for field in ("mean", "sd", "n")}
