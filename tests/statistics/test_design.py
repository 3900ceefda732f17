"""What two cells share decides how their contrast is tested."""

import numpy as np
import pytest
from scipy import stats

from bench.statistics import Setting, simulate
from harness.statistics.design import Cell, Lineage, design, mean_squares
from harness.statistics.trials import TrialIndex


def cell(values, *, encoders=None, subset=False, ancestors=None, anew=False):
    """A cell of values shaped (seeds, repeats); ``encoders`` names each seed's."""
    values = np.atleast_2d(np.asarray(values, dtype=float))
    runs = {TrialIndex(k, r): values[k, r] for k in range(values.shape[0]) for r in range(values.shape[1])}
    names = encoders or [f"{id(values)} {k}" for k in range(values.shape[0])]
    lineage = {
        i: Lineage(
            "" if anew else names[i.pretrain_seed],
            frozenset({(ancestors or names)[i.pretrain_seed]}),
            f"subset {i.repeat}" if subset else "",
        )
        for i in runs
    }
    return Cell(runs, lineage)


RNG = np.random.default_rng(0)


def test_equal_numbers_and_spreads_are_tested_by_the_paper_s_test():
    a, b = RNG.normal(80, 1, 10), RNG.normal(81, 1.1, 10)
    found = design(cell(a), cell(b))
    assert (found.name, found.note) == ("Student", "one checkpoint a side: not separable from pretraining noise")
    assert found.estimate.p == pytest.approx(stats.ttest_ind(a, b).pvalue)


@pytest.mark.parametrize(("n", "spread"), [(6, 1.0), (10, 4.0)])
def test_unequal_numbers_or_spreads_are_tested_by_welch(n, spread):
    a, b = RNG.normal(80, 1, 10), RNG.normal(81, spread, n)
    found = design(cell(a), cell(b))
    assert found.name == "Welch"
    assert found.estimate.p == pytest.approx(stats.ttest_ind(a, b, equal_var=False).pvalue)


def test_few_runs_beside_many_are_said_to_be_few():
    assert "p is approximate" in design(cell(RNG.normal(80, 1, 3)), cell(RNG.normal(80, 1, 10))).note


def test_shared_subsets_pair_the_runs_that_both_sides_have():
    a, b = RNG.normal(80, 1, 10), RNG.normal(81, 1, 8)
    found = design(cell(a, subset=True), cell(b, subset=True))
    assert found.name == "paired by repeat"
    assert found.estimate.p == pytest.approx(stats.ttest_rel(a[:8], b).pvalue)
    assert "2 runs without a counterpart are set aside" in found.note


def test_one_checkpoint_under_many_seeds_is_one_checkpoint():
    a = cell(RNG.normal(80, 1, (3, 10)), encoders=["imagenet"] * 3)
    assert len(a.encoders) == 1
    assert len(a.encoders["imagenet"]) == 30
    assert "one checkpoint a side" in design(a, cell(RNG.normal(80, 1, 10))).note


def test_the_mean_squares_are_those_of_the_two_way_analysis_of_variance():
    import pandas as pd
    from statsmodels.formula.api import ols
    from statsmodels.stats.anova import anova_lm

    values = RNG.normal(80, 1, (4, 7)) + RNG.normal(0, 2, (4, 1))
    frame = pd.DataFrame([(k, r, values[k, r]) for k in range(4) for r in range(7)], columns=["k", "r", "y"])
    table = anova_lm(ols("y ~ C(k) + C(r)", frame).fit())["mean_sq"]
    squares = mean_squares(values)
    assert [28 * squares.encoder.variance, 28 * squares.repeat.variance, 28 * squares.rest] == pytest.approx(
        [table["C(k)"], table["C(r)"], table["Residual"]]
    )


def test_encoders_that_descend_from_one_checkpoint_are_compared_by_their_differences():
    shared = RNG.normal(0, 3, (4, 1))
    a, b = 81 + shared + RNG.normal(0, 0.3, (4, 10)), 80 + shared + RNG.normal(0, 0.3, (4, 10))
    roots = [f"root {k}" for k in range(4)]
    paired = design(cell(a, ancestors=roots), cell(b, ancestors=roots))
    apart = design(cell(a), cell(b))
    assert (paired.name, apart.name) == ("crossed, paired by encoder", "crossed")
    assert paired.estimate.standard_error < 0.3 < apart.estimate.standard_error


def test_a_crossed_side_beside_random_counts_each_of_random_s_runs_as_an_encoder():
    a, random = RNG.normal(80, 1, (3, 10)), RNG.normal(78, 1, 10)
    found = design(cell(a), cell(random, anew=True))
    assert (found.name, found.note) == ("crossed", "")
    assert found.estimate.effect == pytest.approx(a.mean() - random.mean())


def test_two_checkpoints_beside_one_are_no_twenty_runs_and_the_one_is_said_to_be_one():
    a, b = RNG.normal(80, 0.1, (2, 10)) + np.array([[-1.0], [1.0]]), RNG.normal(79, 0.1, 10)
    for method, reference, side in ((a, b, "reference"), (b, a, "method")):
        found = design(cell(method), cell(reference))
        assert found.name == "crossed"
        assert found.note == f"one checkpoint of the {side}: not separable from pretraining noise"
        assert abs(found.estimate.effect) == pytest.approx(a.mean() - b.mean())
        of_checkpoints = np.std(a.mean(1), ddof=1) / np.sqrt(2)  # about 1; as twenty runs it would be about .2
        assert found.estimate.standard_error == pytest.approx(of_checkpoints, rel=0.05)
        assert found.estimate.df <= 1.5
    apart = design(cell(a), cell(np.full((3, 10), 79.0) + RNG.normal(0, 0.1, (3, 10))))
    assert (apart.name, apart.note) == ("crossed", "")
    shared = design(cell(a, subset=True), cell(b, subset=True))
    assert shared.note.endswith("pretraining noise"), "no run of the second checkpoint is set aside"


def test_constant_cells_have_no_spread_in_any_design():
    for shape in ((1, 10), (3, 10)):
        estimate = design(cell(np.full(shape, 80.0)), cell(np.full(shape, 79.0))).estimate
        assert (estimate.p, estimate.effect) == (None, pytest.approx(1.0))


@pytest.mark.parametrize(
    "setting",
    [
        Setting("one checkpoint"),
        Setting("crossed", 2, 10, 0.8, 0.3, 0.2),
        Setting("crossed, other numbers of seeds", 4, 10, 0.8, 0.3, 0.2, beside=2),
        Setting("crossed, shared subsets", 3, 10, 0.8, 1.0, 0.2, shared=True),
        Setting("unequal spread", runs=10, ratio=4),
        Setting("missing runs", kept=6, ratio=4),
    ],
    ids=lambda setting: setting.name,
)
def test_false_marks_and_false_equivalences_stay_at_their_level(setting):
    # 400 contrasts: a true rate of 6 % exceeds 9.5 % once in 500 times; the pooled t test marks 36-40 % at K = 2.
    row = simulate(setting, 400, 1)
    assert row.marked < 9.5
    assert row.equivalent < 9.5
    assert row.covered > 90.5
