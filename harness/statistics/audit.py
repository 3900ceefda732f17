"""The audit: the paper's claims against the paper's own printed numbers. It needs no run of ours.

The primary reading is the paper's test as stated (independent two-sample t test, §4.2) in its usual form: two-sided,
Student, n = 10, the printed sd with ddof 1, α from ``params.yaml``. ``robust`` is False where another honest reading
changes the outcome: Welch, an sd printed with ddof 0 (as the authors' code computes it), a one-sided test, or the
interval that rounding to two decimals leaves. Outcomes:

* *supported*, *contradicted*: the printed numbers say so under the primary reading;
* *not shown*: an equivalence that the two one-sided tests do not establish, and nothing refutes either;
* *not testable*: significance claimed where no spread is printed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal
from itertools import product
from pathlib import Path
from typing import Literal, NamedTuple

from harness.published import Families
from harness.spec import Frozen
from harness.statistics.claims import Claim, ClaimType, Source, Term
from harness.statistics.estimate import Estimate, Group, holm, student, welch
from harness.statistics.paper import Paper
from harness.statistics.tables import write_rows

Outcome = Literal["supported", "contradicted", "not shown", "not testable"]
HALF_UNIT = 0.005  # means and standard deviations are printed with two decimals


class AuditedClaim(Frozen):
    """One claim with the answer of the printed numbers; one row of ``results/published/audit.csv``.

    Attributes:
        id, source, type, method, reference, task, label_fraction, delta, claim, where: The claim and its place.
        printed: The printed number an arithmetic claim is about, as printed.
        effect: method − reference of the printed means, or their average, in points.
        p_value: Under the primary reading: Student's, or the equivalence test's for an equivalence claim. For a
            direction claim it is an annotation: the paper claims no significance there.
        p_welch, p_ddof0, p_one_sided: The same under the other readings; one-sided in the claimed direction.
        p_holm: The primary p adjusted within the closed family of ``reports/families.yaml``; never decides.
        outcome, robust, note: The answer, whether every reading gives it, and which do not.
    """

    id: str
    source: Source
    type: ClaimType
    method: str
    reference: str
    task: str
    label_fraction: float
    delta: float | None
    claim: str
    where: str
    printed: str
    effect: float | None
    p_value: float | None
    p_welch: float | None
    p_ddof0: float | None
    p_one_sided: float | None
    p_holm: float | None
    outcome: Outcome
    robust: bool
    note: str


class _Pair(NamedTuple):
    method: Group
    reference: Group

    def with_population_sd(self) -> _Pair:
        return _Pair(self.method.from_population_sd(), self.reference.from_population_sd())

    def within_rounding(self) -> Iterable[_Pair]:
        """Yield the corners of what the printed decimals leave open, and equal means where they allow them."""
        effect = self.method.mean - self.reference.mean
        shifts = [-2 * HALF_UNIT, 2 * HALF_UNIT] + ([-effect] if abs(effect) <= 2 * HALF_UNIT else [])
        for shift, a, b in product(shifts, (-HALF_UNIT, HALF_UNIT), (-HALF_UNIT, HALF_UNIT)):
            yield _Pair(
                replace(self.method, mean=self.method.mean + shift, sd=max(self.method.sd + a, 0.0)),
                replace(self.reference, sd=max(self.reference.sd + b, 0.0)),
            )


@dataclass(frozen=True)
class _Answer:
    """What a claim comes to, before it is joined with the claim's own words."""

    outcome: Outcome
    changed_by: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    effect: float | None = None
    p: float | None = None
    p_welch: float | None = None
    p_ddof0: float | None = None
    p_one_sided: float | None = None
    p_holm: float | None = None


def audit(
    paper: Paper, claims: Sequence[Claim], margins: Mapping[str, float], families: Families, alpha: float = 0.05
) -> list[AuditedClaim]:
    """Evaluate every claim against the printed numbers.

    Args:
        paper: ``results/published/paper.csv``.
        claims: ``results/published/claims.yaml``, expanded.
        margins: Equivalence margin in points by metric, from ``reports/margins.yaml``.
        families: The closed lists that Holm's correction runs over.
        alpha: Level of every test.
    """
    adjusted = _holm_by_contrast(paper, families)
    rows = []
    for claim in claims:
        answer = _ANSWERS[claim.type](claim, paper, margins, adjusted, alpha)
        term = claim.terms[0]
        single = len(claim.terms) == 1
        note = "; ".join(
            part
            for part in (
                "would change under " + ", ".join(answer.changed_by) if answer.changed_by else "",
                *answer.remarks,
                claim.remark,
            )
            if part
        )
        rows.append(
            AuditedClaim(
                id=claim.id,
                source=claim.source,
                type=claim.type,
                method=term.method,
                reference=term.reference,
                task=term.task if len({t.task for t in claim.terms}) == 1 else "",
                label_fraction=term.label_fraction,
                delta=term.delta if single else None,
                claim=claim.claim,
                where=claim.where,
                printed="" if claim.printed is None else str(claim.printed),
                effect=answer.effect,
                p_value=answer.p,
                p_welch=answer.p_welch,
                p_ddof0=answer.p_ddof0,
                p_one_sided=answer.p_one_sided,
                p_holm=answer.p_holm,
                outcome=answer.outcome,
                robust=not answer.changed_by,
                note=note,
            )
        )
    return rows


def write_audit(path: Path, rows: Sequence[AuditedClaim]) -> None:
    """Write ``results/published/audit.csv``, the same bytes for the same claims."""
    write_rows(path, AuditedClaim, rows)


_Holm = Mapping[Term, float | None]


def _pair(paper: Paper, term: Term) -> _Pair | None:
    """Return both printed cells as groups; None where a spread is not printed."""
    method = paper.score(term.method, term.task, term.label_fraction, term.delta)
    reference = paper.score(term.reference, term.task, term.label_fraction, term.delta)
    if method is None or reference is None or method.group is None or reference.group is None:
        return None
    return _Pair(method.group, reference.group)


def printed_effect(paper: Paper, term: Term) -> Decimal:
    """Return method − reference of the printed means, exactly.

    Raises:
        ValueError: If the paper does not print one of the two.
    """
    method = paper.score(term.method, term.task, term.label_fraction, term.delta)
    reference = paper.score(term.reference, term.task, term.label_fraction, term.delta)
    if method is None or reference is None or method.mean is None or reference.mean is None:
        raise ValueError(
            f"the paper prints no number for {term.method} or {term.reference} on {term.task} at "
            f"{term.label_fraction:g}; mend the claim."
        )
    return method.mean - reference.mean


def _holm_by_contrast(paper: Paper, families: Families) -> dict[Term, float | None]:
    adjusted: dict[Term, float | None] = {}
    for name in families.families:
        terms = [
            Term(method=k.method, reference=k.reference, task=k.task, label_fraction=k.label_fraction, delta=k.delta)
            for k in families.families[name].contrasts(name)
        ]
        pairs = [_pair(paper, term) for term in terms]
        p_values = [None if pair is None else student(*pair).p for pair in pairs]
        adjusted.update(zip(terms, holm(p_values, len(terms)), strict=True))
    return adjusted


def _significance(claim: Claim, paper: Paper, margins: Mapping[str, float], adjusted: _Holm, alpha: float) -> _Answer:
    (term,) = claim.terms
    effect = float(printed_effect(paper, term))
    pair = _pair(paper, term)
    if pair is None:
        return _Answer("not testable", remarks=("no spread is printed",), effect=effect)

    def holds(estimate: Estimate, p: float | None) -> bool:
        significant = p is not None and p < alpha
        if claim.says == "better":
            return significant and estimate.effect > 0
        if claim.says == "not different":
            return not significant
        return not (significant and estimate.effect < 0)

    def one_sided(estimate: Estimate) -> float | None:
        return estimate.p_less if claim.says == "not worse" else estimate.p_greater

    primary, by_welch, by_ddof0 = student(*pair), welch(*pair), student(*pair.with_population_sd())
    answer = holds(primary, primary.p)
    changed = []
    if holds(by_welch, by_welch.p) != answer:
        changed.append(f"Welch (p = {by_welch.p:.2g})")
    if holds(by_ddof0, by_ddof0.p) != answer:
        changed.append(f"ddof 0 (p = {by_ddof0.p:.2g})")
    if holds(primary, one_sided(primary)) != answer:
        changed.append(f"a one-sided test (p = {one_sided(primary):.2g})")
    corners = [student(*corner) for corner in pair.within_rounding()]
    if any(holds(corner, corner.p) != answer for corner in corners):
        changed.append("the rounding of the printed numbers")
    return _Answer(
        "supported" if answer else "contradicted",
        tuple(changed),
        effect=effect,
        p=primary.p,
        p_welch=by_welch.p,
        p_ddof0=by_ddof0.p,
        p_one_sided=one_sided(primary),
        p_holm=adjusted.get(term),
    )


def _direction(claim: Claim, paper: Paper, margins: Mapping[str, float], adjusted: _Holm, alpha: float) -> _Answer:
    (term,) = claim.terms
    exact = printed_effect(paper, term)
    # Two means rounded to the same two decimals may differ either way; unequal printed means never swap.
    changed = ("the rounding of the printed numbers",) if exact == 0 else ()
    remarks = ["the printed means are equal"] if exact == 0 else []
    answer = _Answer("supported" if exact > 0 else "contradicted", changed, effect=float(exact))
    pair = _pair(paper, term)
    if pair is None:
        return replace(answer, remarks=(*remarks, "no spread is printed"))
    primary = student(*pair)
    if primary.p is not None:
        verdict = "significant" if primary.p < alpha else "not significant"
        remarks.append(f"only a direction is claimed; the difference is {verdict} (p = {primary.p:.2g})")
    return replace(
        answer,
        remarks=tuple(remarks),
        p=primary.p,
        p_welch=welch(*pair).p,
        p_ddof0=student(*pair.with_population_sd()).p,
        p_one_sided=primary.p_greater,
        p_holm=adjusted.get(term),
    )


def _equivalence(claim: Claim, paper: Paper, margins: Mapping[str, float], adjusted: _Holm, alpha: float) -> _Answer:
    (term,) = claim.terms
    effect = float(printed_effect(paper, term))
    pair, score = _pair(paper, term), paper.score(term.method, term.task, term.label_fraction, term.delta)
    if pair is None or score is None:
        return _Answer("not testable", remarks=("no spread is printed",), effect=effect)
    margin = margins[score.metric]

    def shown(estimate: Estimate, within: float) -> bool:
        p = estimate.p_tost(within)
        return p is not None and p < alpha

    primary, by_welch, by_ddof0 = student(*pair), welch(*pair), student(*pair.with_population_sd())
    answer = shown(primary, margin)
    # Equivalence is refuted, not just unshown, when the whole interval at the test's level lies outside the margin.
    low, high = primary.interval(2 * alpha) or (effect, effect)
    refuted = low > margin or high < -margin
    changed = []
    if shown(by_welch, margin) != answer:
        changed.append(f"Welch (p = {by_welch.p_tost(margin):.2g})")
    if shown(by_ddof0, margin) != answer:
        changed.append(f"ddof 0 (p = {by_ddof0.p_tost(margin):.2g})")
    if any(shown(student(*corner), margin) != answer for corner in pair.within_rounding()):
        changed.append("the rounding of the printed numbers")
    also = [
        f"{'equivalent' if shown(primary, within) else 'not shown'} at ±{within:g} (p = {primary.p_tost(within):.2g})"
        for within in claim.also_at
    ]
    return _Answer(
        "supported" if answer else "contradicted" if refuted else "not shown",
        tuple(changed),
        remarks=(f"two one-sided tests at ±{margin:g} points, {score.metric}", *also),
        effect=effect,
        p=primary.p_tost(margin),
        p_welch=by_welch.p_tost(margin),
        p_ddof0=by_ddof0.p_tost(margin),
    )


def _arithmetic(claim: Claim, paper: Paper, margins: Mapping[str, float], adjusted: _Holm, alpha: float) -> _Answer:
    if claim.printed is None:
        raise ValueError(f"the arithmetic claim {claim.id} names no printed number; give it one.")
    exact = sum((printed_effect(paper, term) for term in claim.terms), Decimal(0)) / len(claim.terms)
    unit = Decimal(1).scaleb(_exponent(claim.printed))
    rounded, truncated = exact.quantize(unit, ROUND_HALF_UP), exact.quantize(unit, ROUND_DOWN)
    effect = float(exact)
    shown = f"{exact:.4f}".rstrip("0").rstrip(".")
    if claim.printed == rounded:
        remark = f"{shown}: rounded, not truncated" if rounded != truncated else ""
        return _Answer("supported", remarks=(remark,), effect=effect)
    if claim.printed == truncated:
        tie = ", though half to even prints it too" if claim.printed == exact.quantize(unit, ROUND_HALF_EVEN) else ""
        changed = ("rounding instead of truncating",)
        return _Answer("supported", changed, (f"{shown}: truncated, not rounded{tie}",), effect=effect)
    return _Answer("contradicted", remarks=(f"the printed means give {shown}",), effect=effect)


def _exponent(number: Decimal) -> int:
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int):
        raise ValueError(f"found the printed number {number}; expected a finite one.")
    return exponent


_ANSWERS: dict[ClaimType, Callable[[Claim, Paper, Mapping[str, float], _Holm, float], _Answer]] = {
    "significance": _significance,
    "direction": _direction,
    "equivalence": _equivalence,
    "arithmetic": _arithmetic,
}
