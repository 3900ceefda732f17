"""Pairing, patients, pretraining seeds and missing trials."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from harness.statistics.estimate import Group, student
from harness.statistics.runs import correlation, percentile_interval, pretraining_test, variance_split, worst_case

SLEEP_1 = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
SLEEP_2 = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]


def test_the_correlation_is_pearson_s_and_none_without_spread():
    assert correlation(SLEEP_1, SLEEP_2) == pytest.approx(stats.pearsonr(SLEEP_1, SLEEP_2).statistic)
    assert correlation([1.0, 1.0, 1.0], [80.1, 80.7, 79.9]) is None
    assert correlation([1.0], [2.0]) is None


def test_the_variance_split_is_the_crossed_analysis_of_variance():
    values = np.random.default_rng(1).normal(80, 1, (4, 10)) + np.random.default_rng(2).normal(0, 3, (4, 1))
    frame = pd.DataFrame(
        [(k, r, values[k, r]) for k in range(4) for r in range(10)], columns=["seed", "repeat", "value"]
    )
    squares = anova_lm(ols("value ~ C(seed) + C(repeat)", frame).fit())["mean_sq"]
    pretraining = (squares["C(seed)"] - squares["Residual"]) / 10
    repeat = max(0, (squares["C(repeat)"] - squares["Residual"]) / 4) + squares["Residual"]
    split = variance_split(values)
    assert split.pretraining == pytest.approx(math.sqrt(pretraining))
    assert split.repeat == pytest.approx(math.sqrt(repeat))


def test_the_variance_split_recovers_the_components_that_made_the_values():
    rng = np.random.default_rng(3)
    squares = []
    for _ in range(400):
        values = 80 + rng.normal(0, 1.4, (5, 1)) + rng.normal(0, 0.5, (1, 10)) + rng.normal(0, 1.0, (5, 10))
        split = variance_split(values)
        squares.append((split.pretraining**2, split.repeat**2))
    assert np.mean(squares, axis=0) == pytest.approx([1.4**2, 0.5**2 + 1.0**2], rel=0.15)


def test_the_variance_split_needs_two_seeds_and_two_repeats():
    assert variance_split(np.ones((1, 10))) is None
    assert variance_split(np.ones((3, 1))) is None


def test_the_pretraining_test_has_the_degrees_of_freedom_of_seeds_not_runs():
    estimate = pretraining_test([80.0, 81.0, 82.0], [79.0, 80.5, 80.0])
    assert estimate.df == 4
    assert estimate.p == pytest.approx(stats.ttest_ind([80.0, 81.0, 82.0], [79.0, 80.5, 80.0]).pvalue)
    unequal = pretraining_test([80.0, 81.0, 82.0], list(np.linspace(79, 81, 10)))
    expected = stats.ttest_ind([80.0, 81.0, 82.0], np.linspace(79, 81, 10), equal_var=False)
    assert unequal.p == pytest.approx(expected.pvalue)
    assert pretraining_test([80.0], [79.0, 80.0]) is None


def test_runs_that_share_an_encoder_do_not_make_seeds_significant():
    # Three seeds a side, far apart within each method: thirty runs a side call it significant, six encoders do not.
    rng = np.random.default_rng(4)
    method = np.array([[83.0], [80.0], [81.0]]) + rng.normal(0, 0.3, (3, 10))
    reference = np.array([[80.2], [79.0], [81.3]]) + rng.normal(0, 0.3, (3, 10))
    assert student(Group.of(method.ravel()), Group.of(reference.ravel())).p < 0.001
    assert pretraining_test(method.mean(1), reference.mean(1)).p > 0.05


def test_the_patient_interval_is_the_percentile_interval():
    resamples = np.random.default_rng(5).normal(0.4, 0.3, 2000)
    low, high = percentile_interval(resamples)
    assert np.mean(resamples < low) == pytest.approx(0.025, abs=0.001)
    assert np.mean(resamples > high) == pytest.approx(0.025, abs=0.001)


def test_worst_case_bounds_hold_whatever_the_missing_runs_would_have_scored():
    values = [80.0, 82.0, 81.0]
    low, high = worst_case(values, 2, 0.0, 100.0)
    assert (low, high) == pytest.approx((243 / 5, 443 / 5))
    for extra in ([0, 100], [50, 60], [100, 100]):
        assert low <= np.mean([*values, *extra]) <= high
    assert worst_case(values, 0, 0.0, 100.0) == pytest.approx((81.0, 81.0))
