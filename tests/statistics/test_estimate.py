"""Tests, intervals, power and corrections against textbooks, other implementations, simulation and algebra."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestIndPower
from statsmodels.stats.weightstats import ttost_ind

from harness.statistics.estimate import (
    Estimate,
    Group,
    difference,
    hedges_g,
    holm,
    mean_interval,
    pooled_sd,
    smallest_detectable,
    student,
    welch,
)

# Student 1908, "The probable error of a mean", Biometrika 6: extra hours of sleep under two drugs. The answers below
# are those that the documentation of R's t.test prints for this data set.
SLEEP_1 = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
SLEEP_2 = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]

groups = st.builds(Group, n=st.integers(2, 40), mean=st.floats(0, 100), sd=st.floats(0.01, 20))


def test_student_agrees_with_the_sleep_data_of_student_1908():
    estimate = student(Group.of(SLEEP_1), Group.of(SLEEP_2))
    assert estimate.t == pytest.approx(-1.8608, abs=5e-5)
    assert estimate.df == 18
    assert estimate.p == pytest.approx(0.07919, abs=5e-6)


def test_welch_agrees_with_the_sleep_data_of_student_1908():
    estimate = welch(Group.of(SLEEP_1), Group.of(SLEEP_2))
    assert estimate.df == pytest.approx(17.776, abs=5e-4)
    assert estimate.p == pytest.approx(0.07939, abs=5e-6)
    assert estimate.interval() == pytest.approx((-3.3654832, 0.2054832), abs=5e-7)


def test_hedges_g_agrees_with_the_worked_example_of_borenstein_2009():
    # Borenstein, Hedges, Higgins & Rothstein 2009, Introduction to Meta-Analysis, ch. 4: d = 0.5970, g = 0.5924.
    method, reference = Group(50, 103.0, 5.5), Group(50, 100.0, 4.5)
    assert pooled_sd(method, reference) == pytest.approx(5.0249, abs=5e-5)
    assert hedges_g(method, reference) == pytest.approx(0.5924, abs=1e-4)


@settings(max_examples=50, deadline=None)
@given(groups, groups)
def test_student_and_welch_agree_with_scipy_for_any_two_groups(a, b):
    for estimate, equal in ((student(a, b), True), (welch(a, b), False)):
        reference = stats.ttest_ind_from_stats(a.mean, a.sd, a.n, b.mean, b.sd, b.n, equal_var=equal)
        assert estimate.t == pytest.approx(reference.statistic, rel=1e-9, abs=1e-12)
        assert estimate.p == pytest.approx(reference.pvalue, rel=1e-7, abs=1e-300)


def test_samples_printed_numbers_and_raw_values_give_the_same_test():
    rng = np.random.default_rng(1)
    a, b = rng.normal(80, 1, 10), rng.normal(81, 2, 10)
    assert student(Group.of(a), Group.of(b)).p == pytest.approx(stats.ttest_ind(a, b).pvalue, rel=1e-10)


def test_the_equivalence_test_agrees_with_statsmodels():
    rng = np.random.default_rng(2)
    for margin in (0.2, 0.5, 3.0):
        a, b = rng.normal(80, 1, 10), rng.normal(80.2, 1, 12)
        expected, _, _ = ttost_ind(a, b, -margin, margin)
        assert student(Group.of(a), Group.of(b)).p_tost(margin) == pytest.approx(expected, rel=1e-9)


@settings(max_examples=50, deadline=None)
@given(groups, groups, st.floats(-50, 50))
def test_swapping_negates_t_and_shifting_both_changes_nothing(a, b, shift):
    estimate, swapped = student(a, b), student(b, a)
    assert swapped.t == pytest.approx(-estimate.t, rel=1e-12, abs=1e-12)
    assert swapped.p == estimate.p
    moved = student(Group(a.n, a.mean + shift, a.sd), Group(b.n, b.mean + shift, b.sd))
    assert moved.effect == pytest.approx(estimate.effect, abs=1e-9)
    assert moved.standard_error == estimate.standard_error


@settings(max_examples=30, deadline=None)
@given(groups, groups, st.floats(0.1, 5))
def test_the_interval_at_twice_alpha_lies_inside_the_margin_exactly_when_equivalence_is_shown(a, b, margin):
    estimate = student(a, b)
    low, high = estimate.interval(0.10)
    if min(abs(low + margin), abs(high - margin)) > 1e-9:
        assert (estimate.p_tost(margin) < 0.05) == (-margin < low and high < margin)


def test_the_smallest_detectable_effect_is_the_one_found_with_power_eighty():
    def detectable(n, m, alpha=0.05):
        return smallest_detectable(student(Group(n, 0.0, 1.0), Group(m, 0.0, 1.0)), alpha)

    assert detectable(10, 10) == pytest.approx(1.325, abs=5e-4)
    assert detectable(10, 10, 0.05 / 9) == pytest.approx(1.813, abs=5e-4)
    assert detectable(10, 10) == pytest.approx(TTestIndPower().solve_power(nobs1=10, alpha=0.05, power=0.8), abs=1e-5)
    for n, m, alpha in ((10, 10, 0.05), (9, 10, 0.05), (10, 10, 0.05 / 9), (4, 7, 0.01)):
        noncentrality = detectable(n, m, alpha) / math.sqrt(1 / n + 1 / m)
        critical, df = stats.t.isf(alpha / 2, n + m - 2), n + m - 2
        power = stats.nct.sf(critical, df, noncentrality) + stats.nct.cdf(-critical, df, noncentrality)
        assert power == pytest.approx(0.80, abs=1e-4)


def test_holm_steps_down_as_holm_1979_describes():
    # m = 4: 4·.005, 3·.01, 2·.03 and 1·.04, each at least as large as the one before.
    assert holm([0.01, 0.04, 0.03, 0.005], 4) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(0, 1) | st.sampled_from([0.01, 0.02]), min_size=1, max_size=27))
def test_holm_agrees_with_statsmodels(p_values):
    assert holm(p_values, len(p_values)) == pytest.approx(list(multipletests(p_values, method="holm")[1]))


def test_holm_counts_missing_contrasts_of_a_closed_list_as_p_one():
    p_values = [0.001, None, 0.02]
    adjusted = holm(p_values, 5)
    expected = multipletests([0.001, 1.0, 0.02, 1.0, 1.0], method="holm")[1]
    assert adjusted[0] == pytest.approx(expected[0])
    assert adjusted[1] is None
    assert adjusted[2] == pytest.approx(expected[2])
    assert holm([0.01], 27) == pytest.approx([0.27])


def test_holm_refuses_more_contrasts_than_the_closed_list_holds():
    with pytest.raises(ValueError, match="3 p values in a closed list of 2"):
        holm([0.1, 0.2, 0.3], 2)


def test_the_equivalence_test_keeps_its_size_at_the_margin():
    rng = np.random.default_rng(3)
    draws, margin = 3000, 1.0
    a, b = rng.normal(margin, 0.6, (draws, 10)), rng.normal(0, 0.6, (draws, 10))
    shown = np.mean([student(Group.of(x), Group.of(y)).p_tost(margin) < 0.05 for x, y in zip(a, b, strict=True)])
    assert shown == pytest.approx(0.05, abs=3.3 * math.sqrt(0.05 * 0.95 / draws))


@pytest.mark.parametrize("margin", [0.5, 0.9, 1.5])
def test_the_power_of_the_equivalence_test_is_what_simulation_finds(margin):
    rng = np.random.default_rng(4)
    draws, n, sd = 40_000, 10, 0.8
    a, b = rng.normal(0, sd, (draws, n)), rng.normal(0, sd, (draws, n))
    error = np.sqrt((a.var(1, ddof=1) + b.var(1, ddof=1)) / n)
    shown = np.abs(a.mean(1) - b.mean(1)) < margin - stats.t.isf(0.05, 2 * n - 2) * error
    power = Estimate(0.3, sd * math.sqrt(2 / n), 2 * n - 2).tost_power(margin)
    assert power == pytest.approx(shown.mean(), abs=4 * math.sqrt(0.25 / draws))


def test_the_difference_of_effects_covers_the_truth_over_four_unequal_groups():
    rng = np.random.default_rng(5)
    draws, sizes, spreads, means = 2500, (10, 9, 10, 10), (0.2, 1.5, 0.6, 0.1), (81.0, 80.0, 83.0, 81.5)
    truth = (means[0] - means[1]) - (means[2] - means[3])
    held = 0
    for _ in range(draws):
        four = [Group.of(rng.normal(m, s, n)) for m, s, n in zip(means, spreads, sizes, strict=True)]
        low, high = difference(welch(*four[:2]), welch(*four[2:])).interval()
        held += low <= truth <= high
    assert held / draws == pytest.approx(0.95, abs=0.015)


def test_four_equal_groups_pool_their_degrees_of_freedom():
    group = Group(10, 80.0, 0.5)
    estimate = difference(student(group, group), student(group, group))
    assert estimate.df == pytest.approx(36)
    assert estimate.standard_error == pytest.approx(0.5 * math.sqrt(4 / 10))


def test_cells_without_spread_give_neither_nan_nor_significance():
    constant = Group.of([77.7] * 10)
    assert constant.sd == 0
    for other in (constant, Group.of([77.8] * 10)):
        for estimate in (student(constant, other), welch(constant, other)):
            assert not estimate.testable
            assert (estimate.t, estimate.p, estimate.interval(), estimate.p_tost(1.0)) == (None, None, None, None)
            assert estimate.tost_power(1.0) is None
    assert hedges_g(constant, constant) is None
    assert mean_interval(constant) is None


def test_one_constant_cell_against_a_varying_one_is_still_tested():
    constant, varying = Group.of([77.7] * 10), Group.of(np.linspace(80, 81, 10))
    expected = stats.ttest_ind_from_stats(77.7, 0, 10, varying.mean, varying.sd, 10)
    assert student(constant, varying).p == pytest.approx(expected.pvalue)
    assert welch(constant, varying).df == pytest.approx(9)


def test_reading_a_printed_sd_as_ddof_zero_recovers_the_sample_sd():
    values = np.random.default_rng(7).normal(80, 1, 10)
    printed = Group(10, values.mean(), values.std())
    assert printed.from_population_sd().sd == pytest.approx(values.std(ddof=1))


@pytest.mark.parametrize("bad", [(1, 80.0, 0.1), (10, math.nan, 0.1), (10, 80.0, -0.1), (10, 80.0, math.inf)])
def test_a_group_that_cannot_be_tested_is_refused_with_what_was_found(bad):
    with pytest.raises(ValueError, match=f"found a group of n = {bad[0]}"):
        Group(*bad)


def test_the_interval_of_a_mean_is_the_t_interval():
    low, high = mean_interval(Group.of(SLEEP_1))
    expected = stats.t.interval(0.95, 9, np.mean(SLEEP_1), stats.sem(SLEEP_1))
    assert (low, high) == pytest.approx(expected)
