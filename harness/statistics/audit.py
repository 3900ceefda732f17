"""The audit: a paper's claims against the paper's own printed numbers. It needs no run of ours.

The primary reading is the paper's test as stated (independent two-sample t test, §4.2) in its usual form: two-sided,
Student, n = 10, the printed sd with ddof 1, α from ``params.yaml``. ``robust`` is False where another honest reading
changes the outcome: Welch, an sd printed with ddof 0 (as the authors' code computes it), a one-sided test, the
interval that rounding to the printed decimals leaves, or more runs where the paper does not state how many. Outcomes:

* *supported*, *contradicted*: the printed numbers say so under the primary reading;
* *not shown*: an equivalence that the two one-sided tests do not establish, and nothing refutes either;
* *not testable*: significance claimed where no spread is printed.

``evaluate`` answers one claim from any printed numbers; ``harness.statistics.any_paper`` calls it for a table from
elsewhere.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any, Literal

from harness.published import Families
from harness.spec import Frozen, percent
from harness.statistics.claims import Claim, ClaimType, Term
from harness.statistics.estimate import Estimate, holm
from harness.statistics.paper import Paper
from harness.statistics.printed import MOST_RUNS, RUNS_TRIED, Pair, Printed, PrintedNumber, Side
from harness.typed_csv import write_rows

Outcome = Literal["supported", "contradicted", "not shown", "not testable"]
OUTCOMES: tuple[Outcome, ...] = ("supported", "contradicted", "not shown", "not testable")


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
    source: str
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


@dataclass(frozen=True)
class Answer:
    """What a claim comes to, before it is joined with the claim's own words.

    Attributes:
        outcome: The answer under the primary reading.
        changed_by: Readings that would give another.
        remarks: What a reader must know besides.
        effect: method − reference, as printed.
        p, p_welch, p_ddof0, p_one_sided, p_holm: As in ``AuditedClaim``.
        p_by_runs: The primary p at each of ``RUNS_TRIED``, where a number of runs is not stated.
        enough_runs: From how many runs on that p is below α; None if from none, or if all runs are stated.
    """

    outcome: Outcome
    changed_by: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    effect: float | None = None
    p: float | None = None
    p_welch: float | None = None
    p_ddof0: float | None = None
    p_one_sided: float | None = None
    p_holm: float | None = None
    p_by_runs: Mapping[int, float] = field(default_factory=dict)
    enough_runs: int | None = None


@dataclass(frozen=True)
class Evidence:
    """What claims are evaluated by.

    Attributes:
        printed: The printed numbers.
        margins: Equivalence margin by metric, in the metric's unit.
        adjusted: Holm's p by contrast, within its closed family.
        alpha: Level of every test.
    """

    printed: Printed
    margins: Mapping[str, float]
    adjusted: Mapping[Term, float | None]
    alpha: float = 0.05

    def sides(self, term: Term) -> tuple[PrintedNumber | None, PrintedNumber | None]:
        """Return the printed numbers of a contrast: method, reference."""
        where = term.task, term.label_fraction, term.delta
        return self.printed.score(term.method, *where), self.printed.score(term.reference, *where)

    def pair(self, term: Term) -> Pair | None:
        """Return both printed cells with their spreads; None where one is not printed."""
        method, reference = self.sides(term)
        sides = Side.of(method) if method else None, Side.of(reference) if reference else None
        return None if sides[0] is None or sides[1] is None else Pair(sides[0], sides[1])

    def effect(self, term: Term) -> Decimal:
        """Return method − reference of the printed means, exactly.

        Raises:
            ValueError: If the paper does not print one of the two.
        """
        method, reference = self.sides(term)
        if method is None or reference is None or method.mean is None or reference.mean is None:
            raise ValueError(
                f"the paper prints no number for {term.method} or {term.reference} on {term.task} at "
                f"{term.label_fraction:g}; correct the claim."
            )
        return method.mean - reference.mean

    def gain(self, term: Term) -> Decimal:
        """Return by how much the method's printed mean is better, exactly."""
        effect, method = self.effect(term), self.sides(term)[0]
        return -effect if method and method.lower_is_better else effect

    def margin(self, term: Term) -> _Margin | None:
        """Return the equivalence margin of a contrast's metric, or None where it has none."""
        method = self.sides(term)[0]
        points = None if method is None else self.margins.get(method.metric)
        return None if method is None or points is None else _Margin(points, method.unit, method.metric)


@dataclass(frozen=True)
class _Margin:
    size: float
    unit: str
    metric: str

    def __str__(self) -> str:
        return f"±{self.size:g} {self.unit}, {self.metric}"


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
    bare = Evidence(paper, margins, {}, alpha)
    evidence = replace(bare, adjusted=adjusted_within(bare, _families(families)))
    return [AuditedClaim(**row(claim, evaluate(claim, evidence))) for claim in claims]


def evaluate(claim: Claim, evidence: Evidence) -> Answer:
    """Answer one claim from the printed numbers."""
    return _ANSWERS[claim.type](claim, evidence)


def row(claim: Claim, answer: Answer) -> dict[str, Any]:
    """Join a claim and its answer: the fields of an ``AuditedClaim``."""
    term = claim.terms[0]
    changed = "would change under " + ", ".join(answer.changed_by) if answer.changed_by else ""
    return {
        **claim.model_dump(include={"id", "source", "type", "claim", "where"}),
        **term.model_dump(include={"method", "reference", "label_fraction"}),
        "task": term.task if len({t.task for t in claim.terms}) == 1 else "",
        "delta": term.delta if len(claim.terms) == 1 else None,
        "printed": "" if claim.printed is None else str(claim.printed),
        "effect": answer.effect,
        "p_value": answer.p,
        "p_welch": answer.p_welch,
        "p_ddof0": answer.p_ddof0,
        "p_one_sided": answer.p_one_sided,
        "p_holm": answer.p_holm,
        "outcome": answer.outcome,
        "robust": not answer.changed_by,
        "note": "; ".join(part for part in (changed, *answer.remarks, claim.remark) if part),
    }


def write_audit(path: Path, rows: Sequence[AuditedClaim]) -> None:
    """Write ``results/published/audit.csv``, the same bytes for the same claims."""
    write_rows(path, AuditedClaim, rows)


def subject(claim: AuditedClaim, labels: Mapping[str, str] | None = None) -> str:
    """Say what a claim is about: ``dira_simsiam − simsiam, siim_acr``; by label where there are labels."""
    known = labels or {}
    sides = " − ".join(known.get(name, name) for name in (claim.method, claim.reference) if name)
    if not claim.task:
        return sides
    where = known.get(claim.task, claim.task)
    where += "" if claim.label_fraction == 1.0 else f", {percent(claim.label_fraction)}".replace(" %", "\u00a0%")
    where += "" if claim.delta is None else f", δ = {claim.delta:g}"
    return ", ".join(part for part in (sides, where) if part)


def adjusted_within(evidence: Evidence, families: Sequence[Sequence[Term]]) -> dict[Term, float | None]:
    """Return Holm's p of each contrast, within the closed list that it belongs to."""
    adjusted: dict[Term, float | None] = {}
    for terms in families:
        pairs = [evidence.pair(term) for term in terms]
        p_values = [None if pair is None else pair.student().p for pair in pairs]
        adjusted.update(zip(terms, holm(p_values, len(terms)), strict=True))
    return adjusted


def _families(families: Families) -> list[list[Term]]:
    return [
        [
            Term(method=k.method, reference=k.reference, task=k.task, label_fraction=k.label_fraction, delta=k.delta)
            for k in family.contrasts(name)
        ]
        for name, family in families.families.items()
    ]


def _without_spread(effect: Decimal, pair: Pair | None) -> Answer:
    """Answer what no spread can be tested for."""
    remark = "no spread is printed" if pair is None else "both printed spreads are zero"
    return Answer("not testable", remarks=(remark,), effect=float(effect))


def _significance(claim: Claim, evidence: Evidence) -> Answer:
    (term,) = claim.terms
    effect, pair = evidence.effect(term), evidence.pair(term)
    if pair is None or not pair.student().testable:
        return _without_spread(effect, pair)

    def holds(estimate: Estimate, p: float | None) -> bool:
        significant = p is not None and p < evidence.alpha
        if claim.says == "better":
            return significant and estimate.effect > 0
        if claim.says == "not different":
            return not significant
        return not (significant and estimate.effect < 0)

    primary = pair.student()
    one_sided = primary.p_less if claim.says == "not worse" else primary.p_greater
    answer = holds(primary, primary.p)
    aside = f"a one-sided test (p = {one_sided:.2g})" if holds(primary, one_sided) != answer else ""
    return Answer(
        "supported" if answer else "contradicted",
        _changes(pair, _p, lambda estimate: holds(estimate, estimate.p), aside),
        remarks=(_both(evidence, term, pair), _runs(pair, _p, evidence.alpha).remark),
        effect=float(effect),
        p_one_sided=one_sided,
        **_p_values(evidence, term, pair),
    )


def _direction(claim: Claim, evidence: Evidence) -> Answer:
    (term,) = claim.terms
    gain, pair = evidence.gain(term), evidence.pair(term)
    # Two means rounded to the same decimals may differ either way; unequal printed means never swap.
    changed = ("the rounding of the printed numbers",) if gain == 0 else ()
    remarks = ["the printed means are equal"] if gain == 0 else []
    answer = Answer("supported" if gain > 0 else "contradicted", changed, effect=float(evidence.effect(term)))
    if pair is None:
        return replace(answer, remarks=(*remarks, "no spread is printed"))
    primary = pair.student()
    if primary.p is not None:
        verdict = "significant" if primary.p < evidence.alpha else "not significant"
        remarks.append(f"only a direction is claimed; the difference is {verdict} (p = {primary.p:.2g})")
    return replace(
        answer,
        remarks=(*remarks, _both(evidence, term, pair), _runs(pair, _p, evidence.alpha).remark),
        p_one_sided=primary.p_greater,
        **_p_values(evidence, term, pair),
    )


def _equivalence(claim: Claim, evidence: Evidence) -> Answer:
    (term,) = claim.terms
    effect, pair, alpha, margin = evidence.effect(term), evidence.pair(term), evidence.alpha, evidence.margin(term)
    if pair is None or not pair.student().testable:
        return _without_spread(effect, pair)
    if margin is None:
        raise ValueError(f"the equivalence claim {claim.id} is about a metric without a margin; give it one.")

    def p_of(estimate: Estimate) -> float | None:
        return estimate.p_tost(margin.size)

    def shown(estimate: Estimate, within: float) -> bool:
        p = estimate.p_tost(within)
        return p is not None and p < alpha

    primary = pair.student()
    answer = shown(primary, margin.size)
    # Equivalence is refuted, not just unshown, when the whole interval at the test's level lies outside the margin.
    low, high = primary.interval(2 * alpha) or (float(effect), float(effect))
    refuted = low > margin.size or high < -margin.size
    also = [
        f"{'equivalent' if shown(primary, within) else 'not shown'} at ±{within:g} (p = {primary.p_tost(within):.2g})"
        for within in claim.also_at
    ]
    runs = _runs(pair, p_of, alpha)
    return Answer(
        "supported" if answer else "contradicted" if refuted else "not shown",
        _changes(pair, p_of, lambda estimate: shown(estimate, margin.size)),
        remarks=(f"two one-sided tests at {margin}", *also, _both(evidence, term, pair), runs.remark),
        effect=float(effect),
        p=p_of(primary),
        p_welch=p_of(pair.welch()),
        p_ddof0=p_of(pair.ddof0()),
        p_by_runs=runs.p_values,
        enough_runs=runs.enough,
    )


_PValue = Callable[[Estimate], float | None]


def _p(estimate: Estimate) -> float | None:
    return estimate.p


def _p_values(evidence: Evidence, term: Term, pair: Pair) -> dict[str, Any]:
    """Return the two-sided p under every reading: fields of an ``Answer``."""
    runs = _runs(pair, _p, evidence.alpha)
    return {
        "p": pair.student().p,
        "p_welch": pair.welch().p,
        "p_ddof0": pair.ddof0().p,
        "p_holm": evidence.adjusted.get(term),
        "p_by_runs": runs.p_values,
        "enough_runs": runs.enough,
    }


def _changes(pair: Pair, p_of: _PValue, holds: Callable[[Estimate], bool], aside: str = "") -> tuple[str, ...]:
    """Name the readings under which the outcome is another one; ``aside`` is one that is not of this kind."""
    primary = holds(pair.student())
    readings = [("Welch", pair.welch()), ("ddof 0", pair.ddof0())]
    more = [(f"{runs} runs a side", pair.student(runs)) for runs in RUNS_TRIED if pair.unstated]
    first, last = (
        [f"{name} (p = {p_of(other):.2g})" for name, other in some if holds(other) != primary]
        for some in (readings, more)
    )
    rounding = any(holds(corner) != primary for corner in pair.corners())
    changed = (*first, aside, "the rounding of the printed numbers" if rounding else "", *last)
    return tuple(name for name in changed if name)


def _both(evidence: Evidence, term: Term, pair: Pair) -> str:
    """Say of a difference that is significant and shown to lie inside the margin that it is both."""
    primary, margin = pair.student(), evidence.margin(term)
    within = None if margin is None else primary.p_tost(margin.size)
    if primary.p is None or within is None or max(primary.p, within) >= evidence.alpha:
        return ""
    return (
        f"both significant and inside the margin ({margin}): a difference, and too small to matter (p = {within:.2g})"
    )


@dataclass(frozen=True)
class _Runs:
    """What follows for a p value from a number of runs that is not stated; empty where all are.

    Attributes:
        p_values: p at each of ``RUNS_TRIED``.
        enough: From how many runs on p is below α; None if it is not at ``MOST_RUNS``.
        remark: Both in words.
    """

    p_values: Mapping[int, float] = field(default_factory=dict)
    enough: int | None = None
    remark: str = ""


def _runs(pair: Pair, p_of: _PValue, alpha: float) -> _Runs:
    found = {runs: p_of(pair.student(runs)) for runs in RUNS_TRIED} if pair.unstated else {}
    p_values = {runs: p for runs, p in found.items() if p is not None}
    if not p_values:
        return _Runs()
    enough = _enough_runs(pair, p_of, alpha)
    whose = "" if len(pair.unstated) == 2 else f" of the {pair.unstated[0]}"
    readings = ", ".join(f"{p:.2g} at {runs}" for runs, p in p_values.items())
    ending = f"from {enough} runs on" if enough else f"not even at {MOST_RUNS}"
    return _Runs(p_values, enough, f"the runs{whose} are not stated: p = {readings}; p < {alpha:g} {ending}")


def _enough_runs(pair: Pair, p_of: _PValue, alpha: float) -> int | None:
    """Return from how many runs on p is below α.

    With both sides unstated p only falls as runs are added. With one side stated it may rise again, because a pooled
    variance moves towards the side that grows, so every number is tried.
    """

    def below(runs: int) -> bool:
        p = p_of(pair.student(runs))
        return p is not None and p < alpha

    numbers = range(2, MOST_RUNS + 1)
    if not below(MOST_RUNS):
        return None
    if len(pair.unstated) == 2:
        return numbers[bisect_left(numbers, True, key=below)]
    return next((runs + 1 for runs in reversed(numbers) if not below(runs)), numbers[0])


def _arithmetic(claim: Claim, evidence: Evidence) -> Answer:
    if claim.printed is None:
        raise ValueError(f"the arithmetic claim {claim.id} names no printed number; give it one.")
    exact = sum((evidence.gain(term) for term in claim.terms), Decimal(0)) / len(claim.terms)
    unit = Decimal(1).scaleb(_exponent(claim.printed))
    rounded, truncated = exact.quantize(unit, ROUND_HALF_UP), exact.quantize(unit, ROUND_DOWN)
    effect = float(sum((evidence.effect(term) for term in claim.terms), Decimal(0)) / len(claim.terms))
    shown = f"{exact:.4f}".rstrip("0").rstrip(".")
    if claim.printed == rounded:
        remark = f"{shown}: rounded, not truncated" if rounded != truncated else ""
        return Answer("supported", remarks=(remark,), effect=effect)
    if claim.printed == truncated:
        tie = ", though half to even prints it too" if claim.printed == exact.quantize(unit, ROUND_HALF_EVEN) else ""
        changed = ("rounding instead of truncating",)
        return Answer("supported", changed, (f"{shown}: truncated, not rounded{tie}",), effect=effect)
    return Answer("contradicted", remarks=(f"the printed means give {shown}",), effect=effect)


def _exponent(number: Decimal) -> int:
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int):
        raise ValueError(f"found the printed number {number}; expected a finite one.")
    return exponent


_ANSWERS: dict[ClaimType, Callable[[Claim, Evidence], Answer]] = {
    "significance": _significance,
    "direction": _direction,
    "equivalence": _equivalence,
    "arithmetic": _arithmetic,
}
