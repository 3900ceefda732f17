"""The precedence of Finding and Agreement, each answer driven by the smallest case that yields it."""

import pytest

from harness.statistics.estimate import Estimate
from harness.statistics.verdicts import agreement, bound_of, finding

# effect, standard error, 18 degrees of freedom; the margin is 0.5 points throughout.
CASES = {
    "clearly above": Estimate(2.0, 0.2, 18),
    "clearly below": Estimate(-2.0, 0.2, 18),
    "no difference, small spread": Estimate(0.02, 0.1, 18),
    "small but significant": Estimate(0.2, 0.05, 18),
    "significant, margin not excluded": Estimate(0.6, 0.2, 18),
    "no difference, large spread": Estimate(0.1, 1.5, 18),
    "constant and equal": Estimate(0.0, 0.0, 18),
    "constant and different": Estimate(0.3, 0.0, 18),
}


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("clearly above", "better"),
        ("clearly below", "worse"),
        ("no difference, small spread", "equivalent"),
        ("small but significant", "equivalent"),
        ("significant, margin not excluded", "better"),
        ("no difference, large spread", "unresolved"),
        ("constant and equal", "identical"),
        ("constant and different", "unresolved"),
    ],
)
def test_finding_follows_the_precedence(case, expected):
    assert finding(CASES[case], 0.5, 0.05).finding == expected


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("clearly above", "different (higher)"),
        ("clearly below", "different (lower)"),
        ("no difference, small spread", "reproduced"),
        ("small but significant", "reproduced"),
        ("significant, margin not excluded", "different (higher)"),
        ("no difference, large spread", "inconclusive"),
        ("constant and equal", "inconclusive"),
        ("constant and different", "inconclusive"),
    ],
)
def test_agreement_follows_the_precedence(case, expected):
    assert agreement(CASES[case], 0.5, 0.05).agreement == expected


@pytest.mark.parametrize("case", list(CASES))
def test_an_obstacle_wins_over_every_test(case):
    assert finding(CASES[case], 0.5, 0.05, obstacle="method: 2 diverged") == ("unresolved", "method: 2 diverged")
    assert agreement(CASES[case], 0.5, 0.05, obstacle="synthetic") == ("not comparable", "synthetic")


def test_a_significant_difference_inside_the_margin_says_so():
    assert "p < .05, inside the margin of ±0.5" in finding(CASES["small but significant"], 0.5, 0.05).note
    assert "p < .05, inside the margin of ±0.5" in agreement(CASES["small but significant"], 0.5, 0.05).reason


def test_an_unresolved_answer_states_the_power_that_the_equivalence_test_had():
    estimate = Estimate(0.3, 0.25, 18)
    power = estimate.tost_power(0.5)
    assert 0 < power < 0.5
    assert finding(estimate, 0.5, 0.05).note == f"the equivalence test had a power of {power:.2f} at ±0.5"
    assert f"power of {power:.2f}" in agreement(estimate, 0.5, 0.05, remark="σ assumed").reason
    assert "σ assumed" in agreement(estimate, 0.5, 0.05, remark="σ assumed").reason


def test_an_effect_of_the_paper_inside_the_margin_is_too_small_to_be_reproduced():
    # SimSiam on Montgomery: the paper prints +0.45 at a margin of 1 point; a method that does nothing lies as near.
    nothing = Estimate(-0.45, 0.05, 18)
    answer = agreement(nothing, 1.0, 0.05, effects=(0.0, 0.45))
    assert answer.agreement == "too small to tell"
    assert answer.reason == "the paper's effect of +0.45 is no larger than the margin of ±1"
    assert agreement(Estimate(3.0, 0.2, 18), 1.0, 0.05, effects=(3.45, 0.45)).agreement == "different (higher)"


def test_opposite_signs_are_never_reproduced():
    assert agreement(Estimate(0.1, 0.01, 18), 0.5, 0.05, effects=(-0.02, 0.6)).agreement != "reproduced"
    assert agreement(Estimate(-0.1, 0.01, 18), 0.5, 0.05, effects=(0.7, 0.6)).agreement == "reproduced"


@pytest.mark.parametrize(("means", "expected"), [((0.3, 0.8), "at the floor"), ((99.1, 99.5), "at the ceiling")])
def test_cells_at_a_bound_of_the_metric_are_never_called_equivalent(means, expected):
    bound = bound_of(*means, 2.0, 0.0, 100.0)
    assert finding(Estimate(0.02, 0.1, 18), 2.0, 0.05, bound=bound).finding == expected
    assert finding(Estimate(0.9, 0.1, 18), 2.0, 0.05, bound=bound).finding == "better"
    assert bound_of(means[0], 50.0, 2.0, 0.0, 100.0) is None


def test_without_enough_runs_nothing_is_answered():
    assert finding(None, 0.5, 0.05).finding == "unresolved"
    assert agreement(None, 0.5, 0.05).agreement == "not comparable"


def test_absence_of_significance_is_never_called_equivalence_or_agreement():
    for error in (0.4, 0.6, 1.0, 5.0):
        estimate = Estimate(0.0, error, 18)
        assert estimate.p == 1.0
        assert finding(estimate, 0.5, 0.05).finding == "unresolved"
        assert agreement(estimate, 0.5, 0.05).agreement == "inconclusive"


def test_runs_equal_one_by_one_are_identical_even_if_they_vary():
    assert finding(Estimate(0.0, 0.1, 18), 0.5, 0.05, identical=True).finding == "identical"
