"""From a results folder to cells.csv and comparisons.csv: every answer, every missing trial, and stable bytes."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from harness.errors import ConfigurationError, DataError
from harness.published import CellKey, OwnFamily, load_families
from harness.spec import Parameters
from harness.statistics.design import Lineage
from harness.statistics.margins import read_margins
from harness.statistics.paper import read_paper
from harness.statistics.summary import (
    MethodFacts,
    TaskFacts,
    read_cells,
    read_comparisons,
    summarise,
    write,
)
from harness.statistics.trials import TrialIndex

ROOT = Path(__file__).parents[2]
FAMILIES = load_families(ROOT / "reports" / "families.yaml")
MARGINS = read_margins(ROOT / "reports" / "margins.yaml")
PAPER = read_paper(ROOT / "results" / "published" / "paper.csv")
METHODS = {
    "random": MethodFacts(label="Random", reinitialised=True),
    "imagenet": MethodFacts(label="ImageNet", unavailable="no ImageNet weights for resnet_w16"),
    "moco_v2": MethodFacts(label="MoCo-v2"),
    "moco_v2_dir": MethodFacts(label="MoCo-v2 + res"),
    "dira_moco_v2": MethodFacts(label="DiRA (MoCo-v2)"),
}
TASKS = {
    "chestxray14": TaskFacts(
        label="ChestX-ray14", metric="auc", metrics=("auc", "scored_classes"), label_fractions=(0.01, 1.0)
    ),
    "montgomery": TaskFacts(label="Montgomery", metric="dice", metrics=("dice", "dice_positive")),
}


def parameters(**changes) -> Parameters:
    values = {"profile": "paper", "repeats": 10, "pretrain_seeds": 1, "base_seed": 0, "alpha": 0.05}
    return Parameters(**(values | changes))


class Folder:
    """A results folder that a test fills: ``cell`` adds a cell's trials, ``write`` leaves the files."""

    def __init__(self, root: Path, synthetic: bool = False) -> None:
        self.root = root
        self.rows: dict[str, list[dict]] = {}
        self.resamples: dict[str, dict[str, np.ndarray]] = {}
        stamp = "SYNTHETIC: analytic phantoms" if synthetic else ""
        self.cohorts = {
            task: {"synthetic": synthetic, "stamp": stamp, "test_cases_published": task == "chestxray14"}
            for task in TASKS
        }

    def cell(self, method, task, values, fraction=1.0, metric=None, statuses=None, seed=0, classes=14):
        """Add one pretraining seed's trials; ``values`` in points, None where a trial has none."""
        metric = metric or TASKS[task].metric
        for repeat, value in enumerate(values):
            status = (statuses or {}).get(repeat, "ok" if value is not None else "failed")
            base = {
                "method": method, "task": task, "label_fraction": repr(fraction), "pretrain_seed": seed,
                "repeat": repeat, "metric": metric, "value": "", "status": status, "cohort": "c", "trial_id": "t",
            }  # fmt: skip
            text = "" if value is None else repr(float(value) / 100)
            self.rows.setdefault(method, []).append({**base, "metric": metric, "value": text})
            if metric == "auc":
                self.rows[method].append(
                    {**base, "metric": "scored_classes", "value": "" if value is None else repr(float(classes))}
                )

    def patients(self, method, task, vector, fraction=1.0, seed=0):
        metric = TASKS[task].metric
        self.resamples.setdefault(method, {})[f"{task}|{fraction!r}|{seed}|{metric}"] = np.asarray(vector) / 100

    def summarise(self, methods=METHODS, tasks=TASKS, lineages=None, families=FAMILIES, **changes):
        for folder in ("trials", "resamples", "cohorts"):
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        columns = list(next(iter(self.rows.values()))[0])
        for method, rows in self.rows.items():
            with (self.root / "trials" / f"{method}.csv").open("w", newline="") as stream:
                writer = csv.DictWriter(stream, columns, lineterminator="\n")
                writer.writeheader()
                writer.writerows(rows)
        for method, arrays in self.resamples.items():
            np.savez(self.root / "resamples" / f"{method}.npz", **arrays)
        for task, manifest in self.cohorts.items():
            (self.root / "cohorts" / f"{task}.json").write_text(json.dumps(manifest))
        return summarise(self.root, methods, tasks, parameters(**changes), families, MARGINS, PAPER, lineages=lineages)[
            :2
        ]


SAMPLE = {"configuration": {"split": {"sample": True}}}


def around(mean: float, sd: float, n: int = 10) -> list[float]:
    """Values with exactly this mean and this sd (ddof 1)."""
    values = np.random.default_rng(n).normal(size=n)
    return list(mean + sd * (values - values.mean()) / values.std(ddof=1))


def contrast(comparisons, family, task="chestxray14", fraction=1.0, method=None, reference=None):
    found = [
        row
        for row in comparisons
        if (row.family, row.task, row.label_fraction) == (family, task, fraction)
        and method in (None, row.method)
        and reference in (None, row.reference)
    ]
    assert len(found) == 1, found
    return found[0]


def cell_of(cells, method, task="chestxray14", fraction=1.0, metric=None):
    metric = metric or TASKS[task].metric
    (found,) = [c for c in cells if (c.method, c.task, c.label_fraction, c.metric) == (method, task, fraction, metric)]
    return found


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path)


def test_a_complete_contrast_is_tested_as_scipy_tests_it(folder):
    a, b = around(81.2, 0.3), around(80.3, 0.4)
    folder.cell("dira_moco_v2", "chestxray14", a)
    folder.cell("moco_v2", "chestxray14", b)
    cells, comparisons = folder.summarise()
    row = contrast(comparisons, "fig4")
    assert row.effect == pytest.approx(0.9)
    assert row.p == pytest.approx(stats.ttest_ind(a, b).pvalue)
    assert row.p_welch == pytest.approx(stats.ttest_ind(a, b, equal_var=False).pvalue)
    assert row.p_holm == pytest.approx(min(1, 12 * row.p))
    assert row.smallest_detectable == pytest.approx(1.325 * np.sqrt((0.3**2 + 0.4**2) / 2), rel=1e-3)
    assert (row.finding, row.family_size, row.missing) == ("better", 12, "")
    assert row.published_effect == pytest.approx(0.76)
    assert row.published_p == pytest.approx(3.9e-7, rel=0.02)
    assert row.agreement == "reproduced"
    cell = cell_of(cells, "dira_moco_v2")
    assert (cell.mean, cell.sd, cell.sd_ddof0) == pytest.approx((81.2, 0.3, 0.3 * np.sqrt(0.9)))
    assert (cell.planned, cell.done, cell.scored_classes, cell.tables) == (10, 10, 14, "tab2;tab4")
    assert cell.published_mean == pytest.approx(81.12)


@pytest.mark.parametrize(
    ("mean", "sd", "expected"),
    [
        (81.4, 0.1, "better"),
        (79.4, 0.1, "worse"),
        (80.4, 0.1, "equivalent"),
        (80.4, 2.0, "unresolved"),
    ],
)
def test_each_finding_can_be_reached(folder, mean, sd, expected):
    folder.cell("dira_moco_v2", "chestxray14", around(mean, sd))
    folder.cell("moco_v2", "chestxray14", around(80.3, sd))
    _, comparisons = folder.summarise()
    assert contrast(comparisons, "fig4").finding == expected


@pytest.mark.parametrize(
    ("effect", "sd", "expected"),
    [
        (0.76, 0.1, "reproduced"),
        (2.5, 0.1, "different (higher)"),
        (-1.0, 0.1, "different (lower)"),
        (0.8, 2.0, "inconclusive"),
    ],
)
def test_each_agreement_can_be_reached(folder, effect, sd, expected):
    folder.cell("dira_moco_v2", "chestxray14", around(80.3 + effect, sd))
    folder.cell("moco_v2", "chestxray14", around(80.3, sd))
    _, comparisons = folder.summarise()
    row = contrast(comparisons, "fig4")
    assert row.agreement == expected
    assert row.difference == pytest.approx(effect - 0.76, abs=1e-9)


def test_phantoms_have_findings_but_nothing_is_set_against_the_paper(tmp_path):
    folder = Folder(tmp_path, synthetic=True)
    folder.cell("dira_moco_v2", "chestxray14", around(81.1, 0.1))
    folder.cell("moco_v2", "chestxray14", around(80.3, 0.1))
    cells, comparisons = folder.summarise(profile="miniature")
    row = contrast(comparisons, "fig4")
    assert row.finding == "better"
    assert (row.agreement, row.agreement_reason, row.difference) == ("not comparable", "synthetic", None)
    assert {(c.agreement, c.agreement_reason) for c in cells} == {("not comparable", "synthetic")}
    assert all(entry.synthetic and entry.stamp.startswith("SYNTHETIC") for entry in [*cells, *comparisons])


def test_agreement_is_claimed_for_the_papers_own_protocol_alone(folder):
    folder.cell("dira_moco_v2", "chestxray14", around(81.1, 0.1))
    folder.cell("moco_v2", "chestxray14", around(80.3, 0.1))
    cells, comparisons = folder.summarise(profile="paper_matched")
    assert contrast(comparisons, "fig4").agreement_reason == "the profile paper_matched is not the paper's protocol"
    assert {cell.agreement for cell in cells} == {"not comparable"}


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"scale": "small", "image_px": 64, "counts": {"images": 1000}, **SAMPLE}, "64 px, sample of 1,000"),
        ({"scale": "small", "image_px": 64, "counts": {"images": 1000}}, "64 px"),
        ({"scale": "8 mm", "image_px": [16, 16, 8]}, "8 mm"),
        ({"image_px": 224, "counts": {"images": 500}, **SAMPLE}, "sample of 500"),
        (SAMPLE, "a sample"),
    ],
)
@pytest.mark.parametrize("profile", ["paper", "own"])
def test_another_scale_or_a_sample_is_not_comparable_and_says_which_under_any_profile(folder, profile, facts, words):
    folder.cell("dira_moco_v2", "chestxray14", around(81.1, 0.1))
    folder.cell("moco_v2", "chestxray14", around(80.3, 0.1))
    folder.cohorts["chestxray14"] |= facts
    cells, comparisons = folder.summarise(profile=profile)
    found = [cell_of(cells, "moco_v2"), contrast(comparisons, "fig4")]
    assert {(row.agreement, row.agreement_reason) for row in found} == {("not comparable", words)}
    folder.cohorts["chestxray14"] |= {"synthetic": True}
    assert contrast(folder.summarise(profile=profile)[1], "fig4").agreement_reason == "synthetic"


def test_an_absolute_number_is_compared_only_where_the_test_set_is_published(folder):
    for task, mean in (("chestxray14", 81.12), ("montgomery", 98.24)):
        folder.cell("dira_moco_v2", task, around(mean, 0.1))
    cells, _ = folder.summarise()
    assert cell_of(cells, "dira_moco_v2").agreement == "reproduced"
    other = cell_of(cells, "dira_moco_v2", "montgomery")
    assert (other.agreement, other.agreement_reason) == ("not comparable", "not the published test cases")


def test_numbers_printed_without_a_spread_are_judged_at_ours_and_say_so(folder):
    folder.cell("dira_moco_v2", "chestxray14", around(59.4, 0.3), fraction=0.01)
    folder.cell("moco_v2", "chestxray14", around(53.0, 0.3), fraction=0.01)
    _, comparisons = folder.summarise()
    row = contrast(comparisons, "tab1", fraction=0.01)
    assert row.published_sd_assumed
    assert row.published_p is None
    assert row.published_effect == pytest.approx(6.40)
    assert (row.published_low + row.published_high) / 2 == pytest.approx(6.40)
    ours, theirs = 0.3**2 * 2 / 10, 0.3**2 * 2 / 3
    assert row.difference_df == pytest.approx((ours + theirs) ** 2 / (ours**2 / 18 + theirs**2 / 18), rel=1e-5)
    assert row.agreement == "reproduced"
    assert row.agreement_reason == "σ assumed, number of runs unstated and taken as 3"  # Tab. 1: "multiple runs"


def test_a_diverged_trial_leaves_the_contrast_unresolved_with_worst_case_bounds(folder):
    folder.cell("dira_moco_v2", "chestxray14", around(82.0, 0.1))
    folder.cell("moco_v2", "chestxray14", [*around(84.0, 0.1, 9), None], statuses={9: "diverged"})
    cells, comparisons = folder.summarise()
    cell = cell_of(cells, "moco_v2")
    assert (cell.planned, cell.done, cell.missing) == (10, 9, "1 diverged")
    assert (cell.worst_low, cell.worst_high) == pytest.approx((75.6, 85.6))
    assert not cell.best  # the runs that survived would put it first
    assert cell_of(cells, "dira_moco_v2").best
    row = contrast(comparisons, "fig4")
    assert (row.finding, row.p, row.effect, row.p_holm) == ("unresolved", None, None, None)
    assert row.missing == "reference: 1 diverged"
    assert "the effect lies between -3.60 and +6.40 points" in row.finding_note
    assert row.agreement == "not comparable"
    assert "1 diverged" in row.agreement_reason


def test_a_diverged_trial_that_was_scored_counts_and_is_flagged(folder):
    folder.cell("dira_moco_v2", "chestxray14", around(82.0, 0.1), statuses={3: "diverged_scored"})
    folder.cell("moco_v2", "chestxray14", around(80.0, 0.1))
    cells, comparisons = folder.summarise()
    cell = cell_of(cells, "dira_moco_v2")
    assert (cell.done, cell.missing) == (10, "")
    assert cell.flags == "1 diverged, scored at its best validation checkpoint"
    row = contrast(comparisons, "fig4")
    assert row.finding == "better"
    assert "method: 1 diverged, scored" in row.finding_note


def test_a_trial_lost_for_another_reason_is_told_and_the_rest_is_tested_at_its_actual_number(folder):
    folder.cell("dira_moco_v2", "chestxray14", around(82.0, 0.1))
    folder.cell("moco_v2", "chestxray14", [*around(80.0, 0.1, 8), None, None], statuses={8: "oom", 9: "timeout"})
    cells, comparisons = folder.summarise()
    row = contrast(comparisons, "fig4")
    assert cell_of(cells, "moco_v2").missing == "1 out of memory, 1 timed out"
    welch = stats.ttest_ind(around(82.0, 0.1), around(80.0, 0.1, 8), equal_var=False)
    assert (row.n_method, row.n_reference, row.design) == (10, 8, "Welch")
    assert row.df == pytest.approx(welch.df, rel=1e-5)
    assert "reference: 8 of 10 runs" in row.finding_note


def test_cells_that_were_never_run_stay_in_their_closed_list(folder):
    folder.cell("dira_moco_v2", "chestxray14", around(81.0, 0.1))
    folder.cell("imagenet", "chestxray14", [None] * 10, statuses=dict.fromkeys(range(10), "unavailable"))
    cells, comparisons = folder.summarise()
    assert cell_of(cells, "imagenet").missing == "10 unavailable: no ImageNet weights for resnet_w16"
    assert cell_of(cells, "imagenet", "montgomery").missing.startswith("10 unavailable: no ImageNet")
    several, _ = folder.summarise(pretrain_seeds=3)
    assert cell_of(several, "imagenet").missing.startswith("30 unavailable: no ImageNet")
    row = contrast(comparisons, "tab2_imagenet")
    assert (row.finding, row.family_size) == ("unresolved", 12)
    assert row.finding_note == "reference: 10 unavailable: no ImageNet weights for resnet_w16"
    assert cell_of(cells, "moco_v2", "montgomery").missing == "10 not run"
    assert "barlow_twins" not in {row.method for row in comparisons}


def test_a_pair_without_spread_is_identical_or_flagged_and_never_significant(folder):
    folder.cell("dira_moco_v2", "montgomery", [77.7] * 10)
    folder.cell("moco_v2", "montgomery", [77.7] * 10)
    folder.cell("moco_v2_dir", "montgomery", [78.9] * 10)
    _, comparisons = folder.summarise()
    same = contrast(comparisons, "fig4", "montgomery")
    assert (same.finding, same.p, same.hedges_g, same.effect) == ("identical", None, None, 0.0)
    constant = contrast(comparisons, "res", "montgomery")
    assert (constant.finding, constant.p, constant.p_holm) == ("unresolved", None, None)
    assert "constant difference of +1.20 points" in constant.finding_note


def test_runs_that_are_equal_one_by_one_are_identical(folder):
    folder.cell("dira_moco_v2", "chestxray14", around(80.0, 0.5))
    folder.cell("moco_v2", "chestxray14", around(80.0, 0.5))
    _, comparisons = folder.summarise()
    assert contrast(comparisons, "fig4").finding == "identical"


def test_a_gain_over_runs_that_patients_could_undo_gets_a_dagger(folder):
    rng = np.random.default_rng(0)
    folder.cell("dira_moco_v2", "chestxray14", around(81.0, 0.1))
    folder.cell("moco_v2", "chestxray14", around(80.2, 0.1))
    folder.patients("dira_moco_v2", "chestxray14", rng.normal(81.0, 1.5, 2000))
    folder.patients("moco_v2", "chestxray14", rng.normal(80.2, 1.5, 2000))
    cells, comparisons = folder.summarise()
    row = contrast(comparisons, "fig4")
    assert row.p < 0.05
    assert row.patient_low < 0 < row.patient_high
    assert row.dagger
    assert cell_of(cells, "moco_v2").patient_low == pytest.approx(80.2 - 1.96 * 1.5, abs=0.25)


def test_patients_are_resampled_alike_for_both_methods_so_the_difference_is_paired(folder):
    shared = np.random.default_rng(1).normal(0, 3.0, 2000)
    folder.cell("dira_moco_v2", "chestxray14", around(81.0, 0.1))
    folder.cell("moco_v2", "chestxray14", around(80.2, 0.1))
    folder.patients("dira_moco_v2", "chestxray14", 81.0 + shared)
    folder.patients("moco_v2", "chestxray14", 80.2 + shared)
    _, comparisons = folder.summarise()
    row = contrast(comparisons, "fig4")
    assert (row.patient_low, row.patient_high) == pytest.approx((0.8, 0.8))
    assert not row.dagger


def test_resamples_of_different_number_are_refused(folder):
    for method, count in (("dira_moco_v2", 2000), ("moco_v2", 100)):
        folder.cell(method, "chestxray14", around(81.0, 0.1))
        folder.patients(method, "chestxray14", np.full(count, 81.0))
    with pytest.raises(DataError, match="found 2000 and 100 patient resamples"):
        folder.summarise()


def test_aucs_over_different_numbers_of_classes_are_never_compared(folder):
    folder.cell("dira_moco_v2", "chestxray14", around(82.0, 0.1), classes=14)
    folder.cell("moco_v2", "chestxray14", around(80.0, 0.1), classes=12)
    _, comparisons = folder.summarise()
    row = contrast(comparisons, "fig4")
    assert (row.finding, row.effect) == ("unresolved", None)
    assert "12 and 14 scored classes" in row.finding_note


def lineage_of(*, subset="", draws="", encoder=lambda method, seed: f"{method} {seed}"):
    """What the plan would say of the cells of Fig. 4, run by run."""
    return {
        CellKey(method, "chestxray14", 1.0): {
            TrialIndex(seed, repeat): Lineage(
                encoder(method, seed),
                frozenset({encoder(method, seed)}),
                subset and f"{subset} {repeat}",
                draws and f"{draws} {repeat}",
            )
            for seed in range(3)
            for repeat in range(10)
        }
        for method in ("dira_moco_v2", "moco_v2")
    }


@pytest.mark.parametrize("what", ["subset", "draws"])
def test_repeats_that_share_a_label_subset_or_seeds_are_paired_whatever_the_seed_plan_is_called(folder, what):
    shared = np.random.default_rng(2).normal(0, 1, 10)
    noise = np.random.default_rng(3).normal(0, 0.1, (2, 10))
    a, b = 80.3 + shared + noise[0], 80 + shared + noise[1]
    folder.cell("dira_moco_v2", "chestxray14", a)
    folder.cell("moco_v2", "chestxray14", b)
    _, comparisons = folder.summarise()
    independent = contrast(comparisons, "fig4")
    assert (independent.design, independent.correlation) == ("Student", None)
    _, comparisons = folder.summarise(lineages=lineage_of(**{what: "shared"}))
    row = contrast(comparisons, "fig4")
    assert row.design == "paired by repeat"
    assert row.p == pytest.approx(stats.ttest_rel(a, b).pvalue, rel=1e-5)
    assert row.p_student == pytest.approx(stats.ttest_ind(a, b).pvalue, rel=1e-5)
    assert row.correlation == pytest.approx(np.corrcoef(a, b)[0, 1])
    assert row.p < 0.001 < row.p_student


def test_with_several_pretraining_seeds_the_crossed_design_decides(folder):
    rng = np.random.default_rng(4)
    for method, levels in (("dira_moco_v2", (83.0, 80.0, 81.0)), ("moco_v2", (80.2, 79.0, 81.3))):
        for seed, level in enumerate(levels):
            folder.cell(method, "chestxray14", level + rng.normal(0, 0.3, 10), seed=seed)
    cells, comparisons = folder.summarise(pretrain_seeds=3)
    row = contrast(comparisons, "fig4")
    assert cell_of(cells, "moco_v2").planned == row.n_method == 30
    assert row.design == "crossed"
    assert row.p_student < 0.05 < row.p  # thirty runs a side call it significant, six encoders do not
    assert row.finding == "unresolved"
    assert row.ci_low < 0 < row.ci_high
    assert row.df_pretraining == 4
    between = (np.var([83, 80, 81], ddof=1) + np.var([80.2, 79, 81.3], ddof=1)) / 2
    assert row.sd_pretraining == pytest.approx(np.sqrt(between), rel=0.1)
    assert row.sd_repeat == pytest.approx(0.3, rel=0.3)


def test_a_planned_pretraining_seed_without_a_run_leaves_the_contrast_unresolved(folder):
    for seed in range(2):
        folder.cell("dira_moco_v2", "chestxray14", around(82.0, 0.1), seed=seed)
    folder.cell("moco_v2", "chestxray14", around(80.0, 0.1), seed=0)
    folder.cell("moco_v2", "chestxray14", [None] * 10, seed=1, statuses=dict.fromkeys(range(10), "failed"))
    row = contrast(folder.summarise(pretrain_seeds=2)[1], "fig4")
    assert (row.finding, row.p) == ("unresolved", None)
    assert row.finding_note == "reference: 1 of 2 pretraining seeds without a run"


def test_one_checkpoint_a_side_is_said_to_be_one(folder):
    folder.cell("dira_moco_v2", "chestxray14", around(82.0, 0.1))
    folder.cell("moco_v2", "chestxray14", around(80.0, 0.1))
    row = contrast(folder.summarise()[1], "fig4")
    assert row.design_note == "one checkpoint a side: not separable from pretraining noise"


def test_one_resample_that_cannot_be_scored_is_counted_and_does_not_hide_the_patients(folder):
    vector = np.random.default_rng(1).normal(0, 3.0, 2000)
    folder.cell("dira_moco_v2", "chestxray14", around(81.0, 0.1))
    folder.cell("moco_v2", "chestxray14", around(80.2, 0.1))
    vector[7] = np.nan
    folder.patients("dira_moco_v2", "chestxray14", 81.0 + vector)
    folder.patients("moco_v2", "chestxray14", 80.2 + np.random.default_rng(2).normal(0, 3.0, 2000))
    cells, comparisons = folder.summarise()
    row = contrast(comparisons, "fig4")
    assert (row.resamples_lost, row.dagger) == (1, True)
    assert cell_of(cells, "dira_moco_v2").resamples_lost == 1
    runs = 0.1**2 * 2 / 10
    patients = np.nanvar(vector, ddof=1) + 9
    half = (row.joint_high - row.joint_low) / 2
    assert half == pytest.approx(1.96 * np.sqrt(runs + patients), rel=0.05)


def test_random_draws_an_encoder_for_each_repeat_and_counts_so(folder):
    methods = METHODS | {"control": MethodFacts(label="Control")}
    folder.cell("random", "chestxray14", around(78.0, 1.0))
    for seed in range(3):
        folder.cell("control", "chestxray14", around(80.0 + seed, 0.3), seed=seed)
    cells, comparisons = folder.summarise(methods=methods, pretrain_seeds=3)
    assert cell_of(cells, "random").planned == 10
    row = contrast(comparisons, "added.control", method="control")
    means, runs = [80.0, 81.0, 82.0], around(78.0, 1.0)
    assert row.p_pretraining == pytest.approx(stats.ttest_ind(means, runs, equal_var=False).pvalue, rel=1e-6)


def test_the_best_and_second_of_each_column_are_ranked_table_by_table(folder):
    means = {"random": 80.3, "imagenet": 81.7, "dira_moco_v2": 81.1, "moco_v2": 81.4, "moco_v2_dir": 80.7}
    for method, mean in means.items():
        folder.cell(method, "chestxray14", around(mean, 0.1))
    cells, _ = folder.summarise()
    ranks = {name: (cell.best_in, cell.second_in) for name in METHODS if (cell := cell_of(cells, name))}
    assert ranks == {
        "random": ("", ""),
        "imagenet": ("tab2", ""),
        "dira_moco_v2": ("", "tab2;tab4"),
        "moco_v2": ("tab4", ""),
        "moco_v2_dir": ("", ""),
    }


def test_other_metrics_are_summarised_but_not_contrasted(folder):
    folder.cell("moco_v2", "montgomery", around(98.0, 0.1))
    folder.cell("moco_v2", "montgomery", around(97.0, 0.2), metric="dice_positive")
    cells, comparisons = folder.summarise()
    cell = cell_of(cells, "moco_v2", "montgomery", metric="dice_positive")
    assert cell.mean == pytest.approx(97.0)
    assert (cell.published_mean, cell.tables) == (None, "")
    assert {row.metric for row in comparisons if row.task == "montgomery"} == {"dice"}


def full(folder: Folder) -> None:
    """Fill every published cell of the registered methods, and Random at 1 %."""
    rng = np.random.default_rng(9)
    for task, levels in (("chestxray14", 80.0), ("montgomery", 95.0)):
        for name in METHODS:
            for fraction in TASKS[task].label_fractions:
                if not (fraction < 1 and name in {"imagenet", "moco_v2_dir"}):
                    folder.cell(name, task, levels + rng.normal(0, 0.5, 10), fraction=fraction)
                    folder.patients(name, task, levels + rng.normal(0, 1, 200), fraction=fraction)


def published_lines(path: Path) -> bytes:
    lines = path.read_bytes().splitlines(keepends=True)
    block = lines[0].decode().strip().split(",").index("block")
    rows = csv.reader(path.read_text(encoding="utf-8").splitlines())
    return b"".join(line for line, row in zip(lines, rows, strict=True) if row[block] in ("block", "published"))


def test_adding_a_method_leaves_every_published_byte_as_it_was(folder):
    full(folder)
    write(folder.root, *folder.summarise())
    before = {name: published_lines(folder.root / name) for name in ("cells.csv", "comparisons.csv")}
    assert all(content.count(b"\n") > 8 for content in before.values())
    methods = {"aaa": MethodFacts(label="New, first of all", compare_with=("moco_v2", "nobody")), **METHODS}
    for task in TASKS:
        folder.cell("aaa", task, around(99.0, 0.1))
    cells, comparisons = folder.summarise(methods=methods)
    write(folder.root, cells, comparisons)
    assert {name: published_lines(folder.root / name) for name in before} == before
    added = [row for row in comparisons if row.family == "added.aaa"]
    assert {(row.method, row.reference) for row in added} == {("aaa", "random"), ("aaa", "moco_v2")}
    assert {row.family_size for row in added} == {len(added)} == {4}
    assert all(row.agreement == "not comparable" for row in added)
    blocks = [row.block for row in comparisons]
    assert blocks == sorted(blocks, reverse=True)  # published first
    assert cell_of(cells, "aaa").best_in == "added"


def corrected(comparisons):
    """Every contrast with its family, how many that has, and its corrected p."""
    bare = {(row.method, row.reference, row.task, row.label_fraction, row.metric): row for row in comparisons}
    assert len(bare) == len(comparisons)  # a contrast is corrected once
    return {key: (row.family, row.family_size, row.p_holm) for key, row in bare.items()}


def test_entering_a_method_moves_no_p_value_of_another(folder):
    """The families of added methods share nothing: whoever is entered later, and whatever he is compared with."""
    full(folder)
    methods = dict(METHODS)
    before = corrected(folder.summarise(methods=methods)[1])
    for number, name in enumerate(("first", "second", "third")):
        methods = {name: MethodFacts(label=name, compare_with=("moco_v2", *list(methods)[:number])), **methods}
        for task, facts in TASKS.items():
            for fraction in facts.label_fractions:
                folder.cell(name, task, around(80.0 + number, 0.4), fraction=fraction)
        after = corrected(folder.summarise(methods=methods)[1])
        assert {key: after[key] for key in before} == before
        assert {found[0] for key, found in after.items() if key not in before} == {f"added.{name}"}
        assert {found[1] for key, found in after.items() if key[0] == name} == {len(after) - len(before)}
        before = after


def with_own(**families):
    return FAMILIES.model_copy(update={"own": {name: OwnFamily(**keys) for name, keys in families.items()}})


def test_a_family_of_ones_own_is_corrected_within_itself_and_takes_its_contrasts_from_the_methods_list(folder):
    full(folder)
    methods = METHODS | {"control": MethodFacts(label="Control", compare_with=("moco_v2", "moco_v2_dir"))}
    for task in TASKS:
        folder.cell("control", task, around(80.5, 0.4))
    before = corrected(folder.summarise(methods=methods)[1])
    mine = with_own(mine={"label": "Is it the loss?", "pairs": [("control", "moco_v2"), ("control", "moco_v2_dir")]})
    after = corrected(folder.summarise(methods=methods, families=mine)[1])
    assert {key[:2] for key, found in after.items() if found[0] == "mine"} == {
        ("control", "moco_v2"), ("control", "moco_v2_dir"),
    }  # fmt: skip
    assert {found[1] for found in after.values() if found[0] == "mine"} == {4}
    others = {key for key in before if key[0] != "control"}
    assert {key: after[key] for key in others} == {key: before[key] for key in others}
    assert {key[1] for key, found in after.items() if found[0] == "added.control"} == {"random"}


def test_a_family_of_ones_own_never_holds_a_contrast_of_the_papers(folder):
    full(folder)
    everywhere = with_own(mine={"label": "All of it", "pairs": [("dira_moco_v2", "moco_v2")]})
    assert not [row for row in folder.summarise(families=everywhere)[1] if row.family == "mine"]


def test_random_at_label_fractions_is_an_added_cell_with_a_family_of_its_own(folder):
    full(folder)
    cells, comparisons = folder.summarise()
    assert cell_of(cells, "random", fraction=0.01).block == "added"
    rows = [row for row in comparisons if row.family == "added_random"]
    assert {(row.method, row.reference, row.label_fraction) for row in rows} == {
        ("moco_v2", "random", 0.01), ("dira_moco_v2", "random", 0.01),
    }  # fmt: skip
    assert {row.block for row in rows} == {"added"}


def test_the_papers_pairs_are_tested_on_a_task_of_ones_own(folder):
    full(folder)
    tasks = {**TASKS, "mine": TaskFacts(label="Mine", metric="dice", metrics=("dice",))}
    manifest = {**folder.cohorts["chestxray14"], "task": "mine"}
    folder.cohorts["mine"] = manifest
    before = folder.summarise()[1]
    folder.cell("moco_v2", "mine", around(80.0, 0.5), metric="dice")
    folder.cell("dira_moco_v2", "mine", around(82.0, 0.5), metric="dice")
    after = folder.summarise(tasks=tasks)[1]
    assert [row for row in after if row.block == "published"] == [row for row in before if row.block == "published"]
    (row,) = [row for row in after if row.family == "added_dira"]
    assert (row.method, row.reference, row.task, row.block) == ("dira_moco_v2", "moco_v2", "mine", "added")
    assert (row.finding, row.agreement, row.family_size) == ("better", "not comparable", 1)


def test_each_question_of_the_paper_has_a_list_of_its_own_on_added_tasks(folder):
    full(folder)
    pair = ("localization_10", "localization_30")
    tasks = {
        **TASKS,
        "mine": TaskFacts(label="Mine", metric="auc", metrics=("auc", *pair), label_fractions=(0.1, 1.0)),
        "yours": TaskFacts(label="Yours", metric="dice", metrics=("dice",)),
    }
    methods = {**METHODS, "moco_v2_dir": MethodFacts(label="MoCo-v2 + res")}
    folder.cohorts |= dict.fromkeys(("mine", "yours"), folder.cohorts["chestxray14"])
    before = folder.summarise(methods=methods)[1]
    for place, method in enumerate(("random", "moco_v2", "moco_v2_dir", "dira_moco_v2")):
        for fraction in (0.1, 1.0):
            folder.cell(method, "mine", around(80.0 + place, 0.5), fraction, metric="auc")
        folder.cell(method, "yours", around(90.0 + place, 0.5), metric="dice")
        for metric in pair:  # measured with all labels alone
            folder.cell(method, "mine", around(40.0 + place, 2.0), metric=metric)
            folder.cell(method, "mine", [None] * 10, 0.1, metric, statuses=dict.fromkeys(range(10), "ok"))
    comparisons = folder.summarise(methods=methods, tasks=tasks)[1]
    assert [row for row in comparisons if row.task not in ("mine", "yours")] == before
    lists: dict[str, list] = {}
    for row in comparisons:
        if row.task in ("mine", "yours"):
            lists.setdefault(row.family, []).append(row)
    assert {name: len(rows) for name, rows in lists.items()} == {
        "added_dira": 3, "added_res": 3, "added_adv": 3, "added_localization": 2, "added_tasks_random": 9,
    }  # fmt: skip
    assert {(row.method, row.reference) for row in lists["added_res"]} == {("moco_v2_dir", "moco_v2")}
    assert {(row.method, row.reference) for row in lists["added_adv"]} == {("dira_moco_v2", "moco_v2_dir")}
    assert {row.reference for row in lists["added_tasks_random"]} == {"random"}
    assert [row.metric for row in lists["added_localization"]] == list(pair)
    for rows in lists.values():  # each is corrected within itself: Holm's smallest p times the length of its list
        assert {row.family_size for row in rows} == {len(rows)}
        smallest = min(rows, key=lambda row: row.p)
        assert smallest.p_holm == pytest.approx(min(1.0, smallest.p * len(rows)))


def test_a_method_pretrained_on_phantoms_is_stamped_on_real_images_too(folder):
    folder.cell("dira_moco_v2", "chestxray14", around(81.2, 0.3))
    folder.cell("moco_v2", "chestxray14", around(80.3, 0.4))
    methods = {**METHODS, "moco_v2": METHODS["moco_v2"].model_copy(update={"stamp": "SYNTHETIC: phantoms"})}
    cells, comparisons = folder.summarise(methods=methods)
    assert not cell_of(cells, "dira_moco_v2").synthetic
    assert (cell_of(cells, "moco_v2").synthetic, cell_of(cells, "moco_v2").stamp) == (True, "SYNTHETIC: phantoms")
    row = contrast(comparisons, "fig4")
    assert (row.synthetic, row.agreement, row.agreement_reason) == (True, "not comparable", "synthetic")


def test_intervals_are_of_95_percent_whatever_the_level_of_the_tests(folder):
    folder.cell("dira_moco_v2", "chestxray14", around(81.2, 0.3))
    folder.cell("moco_v2", "chestxray14", around(80.3, 0.4))
    ends = [(row.ci_low, row.ci_high) for alpha in (0.05, 0.01) for row in folder.summarise(alpha=alpha)[1][:1]]
    assert ends[0] == ends[1]


def test_the_same_runs_give_the_same_bytes_and_survive_a_round_trip(folder, tmp_path):
    full(folder)
    results = folder.summarise()
    paths = write(tmp_path / "one", *results)
    again = write(tmp_path / "two", read_cells(paths[0]), read_comparisons(paths[1]))
    third = write(tmp_path / "three", *folder.summarise())
    for first, second, other in zip(paths, again, third, strict=True):
        assert first.read_bytes() == second.read_bytes() == other.read_bytes()
    assert b"nan" not in paths[1].read_bytes().lower().replace(b"unavailable", b"")


def test_small_p_values_keep_their_digits_in_the_file(folder):
    folder.cell("dira_moco_v2", "chestxray14", around(84.0, 0.1))
    folder.cell("moco_v2", "chestxray14", around(80.0, 0.1))
    cells, comparisons = folder.summarise()
    row = contrast(comparisons, "fig4")
    stored = contrast(read_comparisons(write(folder.root, cells, comparisons)[1]), "fig4")
    assert 0 < row.p < 1e-20
    for column in ("p", "p_welch", "p_holm", "published_p"):
        assert getattr(stored, column) == pytest.approx(getattr(row, column), rel=1e-5, abs=0)


def test_holm_runs_over_the_closed_list_while_contrasts_are_missing(folder):
    full(folder)
    _, comparisons = folder.summarise()
    rows = [row for row in comparisons if row.family == "tab1"]
    assert len(rows) == 1 and rows[0].family_size == 27
    assert rows[0].p_holm == pytest.approx(min(1.0, 27 * rows[0].p))


def test_a_localization_threshold_is_contrasted_when_the_task_measures_it(folder):
    metrics = ("auc", "scored_classes", "localization_10")
    measured = TASKS | {"chestxray14": TASKS["chestxray14"].model_copy(update={"metrics": metrics})}
    for method, mean in (("dira_moco_v2", 58.1), ("moco_v2", 54.9)):
        folder.cell(method, "chestxray14", around(81.0, 0.1))
        folder.cell(method, "chestxray14", around(mean, 1.0), metric="localization_10")
    cells, comparisons = folder.summarise(tasks=measured)
    (row,) = [row for row in comparisons if row.family == "tab5"]
    assert (row.metric, row.margin, row.family_size) == ("localization_10", 2.0, 18)
    assert row.published_effect == pytest.approx(3.24)
    assert cell_of(cells, "moco_v2", metric="localization_10").tables == "tab5"
    assert not [r for r in folder.summarise()[1] if r.family == "tab5"]


def test_a_metric_that_does_not_apply_is_left_out_and_one_that_could_not_be_computed_is_undefined(folder):
    metrics = ("auc", "scored_classes", "localization_10", "localization_boxes")
    measured = TASKS | {"chestxray14": TASKS["chestxray14"].model_copy(update={"metrics": metrics})}
    nothing = dict.fromkeys(range(10), "ok")
    for fraction in (0.01, 1.0):
        folder.cell("moco_v2", "chestxray14", around(80.0, 0.1), fraction=fraction)
        folder.cell("moco_v2", "chestxray14", [300.0] * 10, metric="localization_boxes", fraction=fraction)
    folder.cell("moco_v2", "chestxray14", [None] * 10, metric="localization_10", fraction=0.01, statuses=nothing)
    values = [*around(50.0, 1.0)[:9], float("nan")]
    folder.cell("moco_v2", "chestxray14", values, metric="localization_10", statuses=nothing)
    cells, _ = folder.summarise(tasks=measured)
    shown = {(c.label_fraction, c.metric) for c in cells if c.method == "moco_v2" and c.task == "chestxray14" and c.n}
    assert shown == {(0.01, "auc"), (1.0, "auc"), (1.0, "localization_10")}
    assert not [c for c in cells if c.metric == "localization_10" and c.label_fraction < 1 and c.method == "moco_v2"]
    cell = cell_of(cells, "moco_v2", metric="localization_10")
    assert (cell.done, cell.missing) == (9, "1 undefined")
    assert cell_of(cells, "moco_v2", fraction=0.01).missing == ""


def test_rows_of_methods_and_tasks_that_are_no_longer_registered_are_dropped(folder):
    full(folder)
    methods, tasks = {"moco_v2": METHODS["moco_v2"]}, {"montgomery": TASKS["montgomery"]}
    cells, comparisons = folder.summarise(methods=methods, tasks=tasks)
    assert {(cell.method, cell.task) for cell in cells} == {("moco_v2", "montgomery")}
    assert comparisons == []


def test_values_without_a_manifest_that_says_whether_they_are_synthetic_are_refused(folder):
    folder.cell("moco_v2", "montgomery", around(98.0, 0.1))
    del folder.cohorts["montgomery"]
    with pytest.raises(DataError, match="whether its images are synthetic"):
        folder.summarise()


def test_a_metric_that_was_undefined_is_missing_not_zero(folder):
    folder.cell("moco_v2", "montgomery", [*around(98.0, 0.1, 9), float("nan")])
    cells, _ = folder.summarise()
    cell = cell_of(cells, "moco_v2", "montgomery")
    assert (cell.done, cell.missing) == (9, "1 undefined")
    assert cell.mean == pytest.approx(98.0)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("0.98", "high", 'found value "high'),
        ("moco_v2,", "moco,", 'found method "moco"'),
        (",value", ",score", "no column value"),
    ],
)
def test_a_damaged_trials_file_is_named_with_its_line(folder, old, new, expected):
    folder.cell("moco_v2", "montgomery", [98.0] * 10)
    folder.summarise()
    path = folder.root / "trials" / "moco_v2.csv"
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(DataError, match=expected):
        summarise(folder.root, METHODS, TASKS, parameters(), FAMILIES, MARGINS, PAPER)


def test_a_table_of_another_version_is_refused_with_what_to_do(tmp_path):
    path = tmp_path / "cells.csv"
    path.write_text("block,method\npublished,moco_v2\n")
    with pytest.raises(ConfigurationError, match="run `dvc repro statistics`"):
        read_cells(path)


def test_what_a_methods_gates_come_to_stands_beside_its_numbers_and_moves_none(folder, tmp_path):
    folder.cell("dira_moco_v2", "chestxray14", around(81.1, 0.1))
    folder.cell("moco_v2", "chestxray14", around(80.3, 0.1))
    plain = folder.summarise()
    words = {"moco_v2": "not learnt", "dira_moco_v2": "learnt"}
    gated = {name: facts.model_copy(update={"gate": words.get(name, "")}) for name, facts in METHODS.items()}
    cells, comparisons = folder.summarise(methods=gated)
    assert {cell.method: cell.gate for cell in cells if cell.done} == words
    assert contrast(comparisons, "fig4").gate == "reference not learnt"
    bare = [[row.model_copy(update={"gate": ""}) for row in rows] for rows in (cells, comparisons)]
    assert bare == list(plain)
    words |= {"dira_moco_v2": "not learnt"}
    gated = {name: facts.model_copy(update={"gate": words.get(name, "")}) for name, facts in METHODS.items()}
    _, comparisons = folder.summarise(methods=gated)
    assert contrast(comparisons, "fig4").gate == "method not learnt; reference not learnt"


def test_tables_from_before_there_were_gates_are_read_and_lack_nothing_else(folder, tmp_path):
    full(folder)
    paths = write(tmp_path / "older", *folder.summarise())
    for path, reader in zip(paths, (read_cells, read_comparisons), strict=True):
        rows = list(csv.DictReader(path.open(newline="")))

        def without(*names, rows=rows, path=path):
            with path.open("w", newline="") as stream:
                kept = [name for name in rows[0] if name not in names]
                writer = csv.DictWriter(stream, kept, extrasaction="ignore", lineterminator="\n")
                writer.writeheader()
                writer.writerows(rows)

        without("gate")
        assert {row.gate for row in reader(path)} == {""}
        without("gate", "stamp")
        with pytest.raises(ConfigurationError, match="columns that this version does not write"):
            reader(path)


def test_device_classes_are_marked_where_they_are_known(folder):
    folder.cell("moco_v2", "montgomery", around(98.0, 0.1))
    folder.summarise()
    devices = {CellKey("moco_v2", "montgomery", 1.0): "cpu+cuda"}
    cells, *_ = summarise(folder.root, METHODS, TASKS, parameters(), FAMILIES, MARGINS, PAPER, devices)
    assert cell_of(cells, "moco_v2", "montgomery").device_classes == "cpu+cuda"


def test_the_whole_published_block_is_summarised(tmp_path):
    rng = np.random.default_rng(10)
    methods = {name: MethodFacts(label=name) for name in sorted(FAMILIES.published_methods())}
    metric = {number.task: number.metric for number in PAPER.numbers if number.delta is None}
    fractions = (0.01, 0.25, 0.5, 1.0)
    tasks = {
        task: TaskFacts(label=task, metric=name, metrics=(name,), label_fractions=fractions)
        for task, name in metric.items()
    }
    folder = Folder(tmp_path)
    folder.cohorts = {task: {"synthetic": False} for task in tasks}
    for cell in FAMILIES.cell_order():
        name, fraction = metric[cell.task], cell.label_fraction
        folder.cell(cell.method, cell.task, rng.normal(80, 1, 10), fraction=fraction, metric=name)
        vectors = folder.resamples.setdefault(cell.method, {})
        vectors[f"{cell.task}|{fraction!r}|0|{name}"] = rng.normal(0.8, 0.01, 2000)
    cells, comparisons = folder.summarise(methods=methods, tasks=tasks)
    assert len(cells) == 116
    assert len(comparisons) == 107 - 18  # localization is not measured here
    assert all(row.p is not None for row in comparisons)
