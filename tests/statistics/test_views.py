"""Probability of improvement, and the pair of checkpoints as the unit."""

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from harness.published import CellKey, load_families
from harness.statistics.views import improvement, views

ROOT = Path(__file__).parents[2]
PUBLISHED = load_families(ROOT / "reports" / "families.yaml")
FAMILIES = PUBLISHED.model_copy(update={"families": {"fig4": PUBLISHED.families["fig4"]}})
RNG = np.random.default_rng(0)
NAMES = {name for pair in FAMILIES.families["fig4"].pairs for name in pair}
TASKS = FAMILIES.families["fig4"].tasks


class Row:
    """What the views read of a contrast."""

    def __init__(self, family, method, reference, task, effect, gate="", metric="auc"):
        self.family, self.method, self.reference, self.task, self.effect = family, method, reference, task, effect
        self.label_fraction, self.metric, self.gate = 1.0, metric, gate


def fig4(runs, rows=()):
    return [view for view in views(FAMILIES, rows, runs, 2022, 0.05) if view.family == "fig4"]


def test_the_probability_of_improvement_is_mann_whitney_s():
    a, b = RNG.normal(0.5, 1, 10).round(1), RNG.normal(0, 1, 12).round(1)
    assert improvement(a, b) == pytest.approx(stats.mannwhitneyu(a, b).statistic / (10 * 12))
    assert improvement(np.array([1.0, 1.0]), np.array([1.0])) == 0.5


def test_the_example_of_agarwal_2021_three_runs_on_two_tasks():
    # Task 1: {2, 4, 6} against {1, 3, 5}: 6 of 9 pairs. Task 2: {0, 0, 9} against {0, 0, 0}: 1/3 + half of 2/3.
    runs = {("dira_moco_v2", TASKS[0], 1.0): [2, 4, 6], ("moco_v2", TASKS[0], 1.0): [1, 3, 5]}
    runs |= {("dira_moco_v2", TASKS[1], 1.0): [0, 0, 9], ("moco_v2", TASKS[1], 1.0): [0, 0, 0]}
    (view,) = fig4(runs)
    assert view.estimate == pytest.approx((6 / 9 + 2 / 3) / 2)
    assert view.units == 2
    assert view.low < view.estimate < view.high


def test_the_bootstrap_interval_covers_the_true_probability():
    held, draws = 0, 100
    truth = stats.norm.cdf(0.5 / np.sqrt(2))
    for _ in range(draws):
        runs = {
            (name, task, 1.0): list(RNG.normal(0.5 * name.startswith("dira"), 1, 10))
            for name in NAMES
            for task in TASKS
        }
        view = fig4(runs)[0]
        held += view.low <= truth <= view.high
    assert held / draws > 0.85  # a percentile bootstrap of ten runs is a little narrow: 92 % were measured


def test_the_pair_of_checkpoints_is_the_unit_of_a_gain_over_bases():
    gains = {"dira_moco_v2": 1.2, "dira_barlow_twins": 0.1, "dira_simsiam": 0.8}
    rows = [
        Row("fig4", method, reference, task, gains[method] + shift)
        for shift, task in enumerate(TASKS)
        for method, reference in FAMILIES.families["fig4"].pairs
    ]
    found = [view for view in fig4({}, rows) if view.kind == "mean gain over bases"]
    assert len(found) == len(TASKS) + 1
    assert found[0].units == 3
    expected = stats.ttest_1samp(list(gains.values()), 0).confidence_interval()
    assert (found[0].low, found[0].high) == pytest.approx((expected.low, expected.high))
    assert found[-1].task == ""
    assert found[-1].estimate == pytest.approx(np.mean(list(gains.values())) + 1.5)


def test_a_view_names_the_methods_in_it_that_were_not_learnt():
    gates = {"simsiam": "reference not learnt", "barlow_twins": ""}
    rows = [
        Row("fig4", method, reference, "chestxray14", 1.0, gates.get(reference, ""))
        for method, reference in FAMILIES.families["fig4"].pairs
    ]
    over_bases = [view.gate for view in fig4({}, rows) if view.kind == "mean gain over bases"]
    assert set(over_bases) == {"not learnt: simsiam"}
    runs = {
        CellKey(method, "chestxray14", 1.0): [1.0, 2.0] for pair in FAMILIES.families["fig4"].pairs for method in pair
    }
    pairs = {view.reference: view.gate for view in fig4(runs, rows) if view.kind == "probability of improvement"}
    assert pairs == {"moco_v2": "", "barlow_twins": "", "simsiam": "not learnt: simsiam"}


def test_the_same_names_draw_the_same_resamples():
    runs = {(name, task, 1.0): list(RNG.normal(0, 1, 10)) for name in NAMES for task in TASKS}
    assert fig4(runs) == fig4(runs)


def test_a_question_on_added_tasks_has_both_views_and_random_is_no_base():
    names = ["moco_v2", "moco_v2_dir", "barlow_twins", "barlow_twins_dir", "random"]
    runs = {(name, "mine", 1.0): RNG.normal(place, 1, 10) for place, name in enumerate(names)}
    rows = [
        Row("added_res", "moco_v2_dir", "moco_v2", "mine", 1.0),
        Row("added_res", "barlow_twins_dir", "barlow_twins", "mine", 3.0),
        Row("added_tasks_random", "moco_v2", "random", "mine", 9.0),
        Row("added_tasks_random", "moco_v2_dir", "random", "mine", 8.0),
    ]
    found = [view for view in views(PUBLISHED, rows, runs, 2022, 0.05) if view.family.startswith("added")]
    kinds = [(view.family, view.kind, view.method) for view in found]
    assert kinds == [
        ("added_res", "probability of improvement", "moco_v2_dir"),
        ("added_res", "probability of improvement", "barlow_twins_dir"),
        ("added_res", "mean gain over bases", ""),
        ("added_tasks_random", "probability of improvement", "moco_v2"),
        ("added_tasks_random", "probability of improvement", "moco_v2_dir"),
    ]
    assert found[0].estimate == pytest.approx(
        improvement(runs["moco_v2_dir", "mine", 1.0], runs["moco_v2", "mine", 1.0])
    )
    assert (found[2].estimate, found[2].units, found[2].task) == (2.0, 2, "mine|1|auc")


def test_a_fall_in_millimetres_is_a_gain_and_is_not_averaged_with_points():
    rows = []
    for method, reference in FAMILIES.families["fig4"].pairs:
        rows += [
            Row("fig4", method, reference, TASKS[0], 1.0),
            Row("fig4", method, reference, TASKS[1], -2.0, metric="hd95"),
        ]
    gains = {view.task: view.estimate for view in fig4({}, rows)}
    assert gains == {f"{TASKS[0]}|1|auc": 1.0, f"{TASKS[1]}|1|hd95": 2.0}
