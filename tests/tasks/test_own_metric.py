"""A metric that came later: named by dotted path, measured on masks, or computed from what finished trials stored."""

from __future__ import annotations

import importlib
import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import yaml
from sklearn.metrics import average_precision_score
from typer.testing import CliRunner

import harness.cli.session as session_module
from harness.cli import main, rescoring
from harness.cli.application import application
from harness.cli.rescoring import Without, _without
from harness.contracts import Context
from harness.errors import ConfigurationError, DataError
from harness.metrics import Segmented, is_known, metric_of
from harness.pixels import Pixels
from harness.registry import load_registry
from harness.results import Adopted, write_trials
from harness.results.table import read_trial_rows
from harness.spec import Status, TaskEntry
from harness.statistics.margins import margin_of
from harness.store import Store
from tasks.cohorts.build import build
from tasks.configuration import resolve
from tasks.options import ScoreProtocol
from tasks.patch_options import Patches
from tasks.scoring.masks import MEASURED, spacing_of
from tasks.specs import TrialSpec
from tasks.transfer.run import run_trial
from tasks.transfer.stored import cases_of, rescored
from tests.harness import project
from tests.tasks.conftest import plan_of
from tests.tasks.standins import trial_spec

OUTSIDE = Path(__file__).parents[1] / "outside_package" / "src"
DISTANCE = "outside_clusters.surfaces:MEAN_SURFACE_DISTANCE"
SPACING = {"transfer": {"metric": {"spacing_mm": [0.8, 1.6]}}}


@pytest.fixture
def outside(monkeypatch):
    """Put the outside package on the import path, as an installation would."""
    monkeypatch.syspath_prepend(str(OUTSIDE))
    importlib.invalidate_caches()
    yield
    metric_of.cache_clear()
    for module in [name for name in sys.modules if name.partition(".")[0] == "outside_clusters"]:
        del sys.modules[module]


def montgomery(**changes) -> TaskEntry:
    entry = load_registry().tasks["montgomery"]
    return entry.model_copy(update=changes)


def ran(task: str, cohorts, folder: Path, plan=None, **changes):
    """Run a trial of the stand-in; return its spec and its outcome."""
    spec = trial_spec(task, plan or plan_of(task), **changes)
    context = Context(device="cpu", folder=folder, inputs={"cohort": cohorts[task]}, resume=folder)
    return spec, run_trial(spec, context)


def test_one_line_of_an_entry_judges_a_task_by_an_outside_metric_in_millimetres(outside, cohorts, tmp_path):
    plan = resolve(montgomery(metric=DISTANCE, options={**montgomery().options, **SPACING}), "smoke", {})
    assert plan.unavailable is None and plan.metrics[0] == DISTANCE and "dice" in plan.metrics
    assert margin_of(DISTANCE, {}) == 0.5
    spec, outcome = ran("montgomery", cohorts, tmp_path, plan)
    measured = outcome.arrays[MEASURED + "mean_surface_distance"]
    assert outcome.status is Status.OK and len(measured) == len(outcome.arrays["true"])
    assert outcome.values[DISTANCE] == measured.mean() > 0
    assert outcome.arrays["resamples"].mean() == pytest.approx(measured.mean(), rel=0.3)
    assert rescored(DISTANCE, spec, outcome.arrays, None) == outcome.values[DISTANCE]


def test_twice_the_spacing_is_twice_the_distance_and_nothing_else_moves(outside, cohorts, tmp_path):
    found = []
    for factor in (1, 2):
        options = {"transfer": {"metric": {"spacing_mm": [0.5 * factor, 0.5 * factor]}}}
        plan = resolve(montgomery(metric="hd95", options={**montgomery().options, **options}), "smoke", {})
        found.append(ran("montgomery", cohorts, tmp_path, plan)[1].values)
    assert found[1]["hd95"] == pytest.approx(2 * found[0]["hd95"])
    assert {k: v for k, v in found[0].items() if k != "hd95"} == {k: v for k, v in found[1].items() if k != "hd95"}
    plain = ran("montgomery", cohorts, tmp_path)[1]
    assert {k: plain.values[k] for k in plain.values} == {k: found[0][k] for k in plain.values}
    assert not [name for name in plain.arrays if name.startswith(MEASURED)]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"metric": "hd95"}, "metric: hd95 is in mm and nobody says how far pixels lie apart; write options"),
        ({"metric": "hd95", "options": {"transfer": {"metric": {"spacing_mm": [1.0, 1.0, 1.0]}}}}, "found 3 numbers"),
        (
            {"metric": "hd95", "options": {"transfer": {"metric": {"spacing_mm": [0.8]}}}},
            "options.transfer.metric.spacing_mm: found [0.8]; expected at least 2 items, not 1.",
        ),
        (
            {"metric": "hd95", "options": {"transfer": {"metric": {"spacing_mm": [1, 1, 1, 1]}}}},
            "options.transfer.metric.spacing_mm: found [1, 1, 1, 1]; expected at most 3 items, not 4.",
        ),
        ({"options": SPACING}, "spacing_mm: has no effect without a metric that is measured on masks"),
        ({"metric": "auc"}, 'no metric "auc" in transfer segmentation'),
        ({"metric": "pixel_average_precision"}, "has no patient resamples"),
        ({"metric": "harness.metrics.registered:AUC"}, "is not computed from segmented cases"),
        ({"metric": "harness.metrics.registered:KNOWN"}, "is a dict; expected a harness.metrics.Metric"),
    ],
)
def test_a_metric_that_cannot_be_had_is_one_sentence_at_plan_time(changes, said):
    with pytest.raises(ConfigurationError) as caught:
        resolve(montgomery(**changes), "smoke", {})
    assert said in str(caught.value)


@pytest.mark.filterwarnings("error")
def test_millimetres_are_dumped_as_a_list_and_without_a_warning():
    options = {**montgomery().options, "transfer": {"metric": {"spacing_mm": [0.8, 0.8]}}}
    plan = resolve(montgomery(metric="hd95", options=options), "smoke", {})
    assert plan.transfer["metric"]["spacing_mm"] == [0.8, 0.8]
    score = ScoreProtocol(threshold=0.5, resamples=2, spacing_mm=(0.8, 0.8))
    said = {"threshold": 0.5, "empty_score": 1.0, "resamples": 2, "spacing_mm": [0.8, 0.8]}
    assert score.model_dump() == score.model_dump(mode="json") == said


def test_a_metric_whose_module_is_not_installed_makes_its_task_unavailable_and_no_other():
    assert not is_known("nowhere_at_all.m:M") and is_known("auc")
    assert "nowhere_at_all" in (resolve(montgomery(metric="nowhere_at_all.m:M"), "smoke", {}).unavailable or "")


def test_patches_of_resampled_scans_know_their_spacing():
    shape = {"shape": (16, 16, 8), "store": "uint8"}
    assert spacing_of(None, Patches(**shape)) is None
    assert spacing_of(None, Patches(**shape, spacing_mm=3)) == (3, 3, 3)
    assert spacing_of(None, Patches(**shape, spacing_mm=3, crop=(32, 16, 8))) == (6, 3, 3)
    assert spacing_of((1.0, 2.0, 3.0), Patches(**shape, spacing_mm=3)) == (1.0, 2.0, 3.0)


@pytest.mark.parametrize("task", ["chestxray14", "montgomery"])
def test_rescoring_gives_the_recorded_numbers_bit_for_bit(task, cohorts, tmp_path):
    spec, outcome = ran(task, cohorts, tmp_path)
    kept = {name for name, value in outcome.values.items()}
    kept -= {"dice_best_threshold", "pixel_average_precision", "localization_boxes"}  # of more than was stored
    for name in kept:
        assert repr(rescored(name, spec, outcome.arrays, cohorts[task])) == repr(outcome.values[name]), name


def test_a_metric_that_the_trial_was_not_run_for_is_what_its_predictions_say(cohorts, tmp_path):
    spec, outcome = ran("chestxray14", cohorts, tmp_path)
    pixels = Pixels(cohorts["chestxray14"])
    labels = pixels.cases.set_index("row").loc[pixels.rows("test"), pixels.manifest["labels"]].to_numpy()
    pairs = zip(labels.T, outcome.arrays["predictions"].T, strict=True)
    by_class = [average_precision_score(own, scores) for own, scores in pairs if 0 < own.sum() < len(own)]
    found = rescored("average_precision", spec, outcome.arrays, cohorts["chestxray14"])
    assert found == pytest.approx(np.mean(by_class), abs=1e-12)
    assert 0 <= rescored("ece", spec, outcome.arrays, cohorts["chestxray14"]) <= 1


def test_what_is_lacking_is_said(cohorts, tmp_path):
    spec, outcome = ran("montgomery", cohorts, tmp_path)
    with pytest.raises(DataError, match="no hd95 of each case"):
        rescored("hd95", spec, outcome.arrays, None)
    with pytest.raises(DataError, match="no counts at every threshold"):
        rescored("pixel_average_precision", spec, outcome.arrays, None)
    spec, outcome = ran("chestxray14", cohorts, tmp_path)
    with pytest.raises(DataError, match="its cohort is not in the store"):
        rescored("auc", spec, outcome.arrays, None)
    outcome.arrays["case_hash"] = outcome.arrays["case_hash"][::-1]
    with pytest.raises(DataError, match="its cohort holds others"):
        cases_of(TrialSpec.model_validate(spec), outcome.arrays, cohorts["chestxray14"])


def test_what_only_a_running_trial_can_measure_is_said_without_a_stray_comma():
    counts = np.ones(2, int)
    lacking = metric_of("hd95").lacks(Segmented(counts, counts, counts, 1.0))
    (line,) = _without(metric_of("hd95"), 1, Without(lacking=Counter({f"no {lacking}": 2})))
    assert line == (
        "HD95 cannot be computed of 2 of 3 trials: 2 have no hd95 of each case, which only a running trial can "
        "measure; run these again here, with the metric in the task's entry, to have it."
    )


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("dicee", 'no metric "dicee" in harness.metrics.registered; did you mean "dice"'),
        ("xyzzyq", "sensitivity_at_specificity_<percent>"),
        ("localization_boxes", '"localization_boxes" cannot be computed from what trials stored'),
    ],
)
def test_a_metric_that_no_stored_trial_can_have_is_refused_before_any_is_read(name, said, monkeypatch, capsys):
    monkeypatch.setattr(rescoring, "_rows", lambda *_: pytest.fail("a trial was read"))
    monkeypatch.setattr(sys, "argv", ["dira-bench", "rescore", name, "--task", "montgomery"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    printed = capsys.readouterr().err.replace("\n", " ")
    assert said in printed and len(printed) < 800


def test_the_command_reproduces_what_is_recorded_and_names_what_is_lacking(tmp_path, monkeypatch):
    root = project.copy(tmp_path / "project", methods=("random",))
    parameters = yaml.safe_load((root / "params.yaml").read_text()) | {"profile": "smoke", "repeats": 1}
    (root / "params.yaml").write_text(yaml.safe_dump(parameters))
    monkeypatch.setattr(session_module, "project_root", lambda: root)
    store = Store(root / ".trials", root / ".cohorts")
    plan, recorded = project.plan(root), {}

    def done(item, work, **inputs):
        with store.driver() as driver:
            attempt = store.lease(item, driver)
            outcome = work(item.spec, Context(device="cpu", folder=attempt.folder, inputs=inputs, resume=tmp_path))
            store.finish(
                attempt, Status.OK, values=outcome.values, facts=outcome.facts, arrays=outcome.arrays,
                curve=outcome.curve,
            )  # fmt: skip
        return outcome

    (trial,) = next(
        cell for key, cell in plan.cells.items() if key.task == "chestxray14" and key.label_fraction == 1.0
    ).trials.values()
    cohort = plan.items[trial.spec["cohort"]]
    done(cohort, build)
    folder = store.folder(store.ok("cohort", cohort.id))
    recorded = done(trial, run_trial, **{cohort.id: folder}).values["auc"]
    said = CliRunner().invoke(application, ["rescore", "auc", "--json", "--out", str(tmp_path / "auc.csv")])
    assert said.exit_code == 0, said.output
    (row,) = json.loads(said.stdout)
    assert row["value"] == recorded and row["trial_id"] == trial.id
    assert repr(recorded) in (tmp_path / "auc.csv").read_text()
    (root / "reports" / "tables.yaml").write_text(
        "own: {errors: {title: Errors, methods: [random], tasks: [chestxray14], metric: ece}}"
    )
    asked = project.plan(root)
    assert asked.items.keys() == plan.items.keys()  # a table moves no id
    written = read_trial_rows(write_trials(asked, root, store, Adopted(), "random"))
    (column,) = [row for row in written if row.metric == "ece" and row.trial_id == trial.id]
    (again,) = json.loads(CliRunner().invoke(application, ["rescore", "ece", "--json"]).stdout)
    assert column.value == again["value"] > 0 and {row.metric for row in written if row.value is not None} > {"ece"}
    text = CliRunner().invoke(application, ["rescore", "ece"]).output
    assert "calibration error, points; lower is better" in text and "random on chestxray14" in text
    assert "have no scored attempt in the store" in text.replace("\n", " ")
    nothing = CliRunner().invoke(application, ["rescore", "hd95", "--task", "chestxray14"])
    assert nothing.exit_code == 1
    told = nothing.output.replace("\n", " ")
    assert "HD95 is a metric of segmentation; passed over: " in told and " trials of classification." in told
    assert "again" not in told
