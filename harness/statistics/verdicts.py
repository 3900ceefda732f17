"""The two answers and their precedence: Finding (ours alone) and Agreement (with the paper). Never mixed.

Both are functions of tests that were already computed, so that the precedence can be read here in one page:

1. not comparable, or not testable at all → say so, with the reason;
2. the equivalence test passes → equivalent / reproduced, also where the difference is significant
   ("p < .05, inside the margin");
3. the t test rejects → better, worse / different (higher), different (lower);
4. else unresolved / inconclusive, with the power that the equivalence test had.

p ≥ α alone is never called agreement or equivalence. Two guards keep a word from saying more than its test:

* *equivalent* needs a margin that means something where the cells lie: where both means are within one margin of the
  metric's floor or ceiling, no two methods could differ by it, and the word is *at the floor* or *at the ceiling*;
* *reproduced* needs an effect of the paper that the margin can tell from nothing: where the margin is as large as the
  paper's effect, a method that does nothing would pass too, and the word is *too small to tell*. Beyond the margin the
  equivalence test itself asks for the paper's direction; opposite signs are never *reproduced*.
"""

from __future__ import annotations

from typing import NamedTuple

from harness.metrics import Metric
from harness.statistics.estimate import Estimate
from harness.statistics.schema import Agreement, Bound, Finding

SHARE = Metric("share", "share")  # a share of 1, printed in points; more is better


class FindingAnswer(NamedTuple):
    """What our own runs say, and what a reader must know with it."""

    finding: Finding
    note: str


class AgreementAnswer(NamedTuple):
    """What our runs say about the paper's number, and why."""

    agreement: Agreement
    reason: str


def finding(
    estimate: Estimate | None,
    margin: float,
    alpha: float,
    *,
    obstacle: str = "",
    identical: bool = False,
    bound: Bound | None = None,
    metric: Metric = SHARE,
) -> FindingAnswer:
    """Answer whether the method is better, worse or equivalent, from our runs alone.

    Args:
        estimate: Method − reference, Student; None if it could not be formed.
        margin: Equivalence margin as printed.
        alpha: Level of both tests.
        obstacle: Why no test may be read (``2 diverged``, class counts differ); it wins over everything.
        identical: Both cells hold the same values run by run.
        bound: ``at the floor`` or ``at the ceiling`` where both means lie within one margin of it.
        metric: Says which way is better, and the unit of what is printed.
    """
    if obstacle:
        return FindingAnswer("unresolved", obstacle)
    if estimate is None:
        return FindingAnswer("unresolved", "fewer than two runs a side")
    if identical or (not estimate.testable and estimate.effect == 0):
        return FindingAnswer("identical", "the same value in every run")
    p, p_tost = estimate.p, estimate.p_tost(margin)
    if p is None or p_tost is None:
        return FindingAnswer(
            "unresolved",
            f"constant difference of {estimate.effect:+.2f} {metric.unit}: no run varied, so no test applies",
        )
    if p_tost < alpha and bound is None:
        note = f"p < {_level(alpha)}, inside the margin of ±{margin:g}" if p < alpha else ""
        return FindingAnswer("equivalent", note)
    if p < alpha:
        return FindingAnswer("better" if metric.sign * estimate.effect > 0 else "worse", _bound_note(bound, margin))
    if bound is not None:
        return FindingAnswer(bound, _bound_note(bound, margin))
    return FindingAnswer("unresolved", _power_note(estimate, margin, alpha))


def bound_of(mean_method: float, mean_reference: float, margin: float, low: float, high: float) -> Bound | None:
    """Say whether both means, as printed, lie within one margin of the metric's least or largest value."""
    if max(mean_method, mean_reference) <= low + margin:
        return "at the floor"
    if min(mean_method, mean_reference) >= high - margin:
        return "at the ceiling"
    return None


def _bound_note(bound: Bound | None, margin: float) -> str:
    return f"both means lie within the margin of ±{margin:g} of the metric's {bound.split()[-1]}" if bound else ""


def agreement(
    difference: Estimate | None,
    margin: float,
    alpha: float,
    *,
    obstacle: str = "",
    remark: str = "",
    effects: tuple[float, float] | None = None,
) -> AgreementAnswer:
    """Answer whether our number agrees with the paper's.

    Args:
        difference: Ours − the paper's: of effects (four groups), or of a cell's means (two groups).
        margin: Equivalence margin in points.
        alpha: Level of both tests.
        obstacle: Why the two must not be compared (``synthetic``, ``not the published test cases``, …); it wins.
        remark: Said with any answer, e.g. ``σ assumed``.
        effects: Our effect and the paper's, in points; None where means are compared and not effects.
    """
    if obstacle:
        return AgreementAnswer("not comparable", obstacle)
    if difference is None:
        return AgreementAnswer("not comparable", "the paper prints no number for it")
    p, p_tost = difference.p, difference.p_tost(margin)
    if p is None or p_tost is None:
        return AgreementAnswer("inconclusive", _joined("no spread to judge the difference by", remark))
    small = effects is not None and abs(effects[1]) <= margin
    opposite = effects is not None and effects[0] * effects[1] <= 0
    if p_tost < alpha and not small and not opposite:
        inside = f"p < {_level(alpha)}, inside the margin of ±{margin:g}" if p < alpha else ""
        return AgreementAnswer("reproduced", _joined(inside, remark))
    if p < alpha and p_tost >= alpha:
        return AgreementAnswer("different (higher)" if difference.effect > 0 else "different (lower)", remark)
    if effects is not None and small:
        why = f"the paper's effect of {effects[1]:+.2f} is no larger than the margin of ±{margin:g}"
        return AgreementAnswer("too small to tell", _joined(why, remark))
    return AgreementAnswer("inconclusive", _joined(_power_note(difference, margin, alpha), remark))


def _power_note(estimate: Estimate, margin: float, alpha: float) -> str:
    power = estimate.tost_power(margin, alpha) or 0.0
    return f"the equivalence test had a power of {power:.2f} at ±{margin:g}"


def _level(alpha: float) -> str:
    return f"{alpha:g}".removeprefix("0")


def _joined(*parts: str) -> str:
    return "; ".join(part for part in parts if part)
