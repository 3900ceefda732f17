from __future__ import annotations

import itertools
import json
import random
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from harness.contracts import Context
from harness.errors import DataError
from harness.pixels import Pixels
from harness.spec import Status
from tasks.inputs.loading import batches, load
from tasks.options import DeformationAugmentation
from tasks.transfer.run import run_trial
from tasks.transfer.subsets import training_rows, validation_rows
from tests.tasks.conftest import plan_of
from tests.tasks.standins import trial_spec

TASKS = ("chestxray14", "montgomery")


def run(
    task: str, cohorts: dict[str, Path], tmp_path: Path, *, workers: int = 0, plan: object = None, **changes: object
):
    context = Context(device="cpu", folder=tmp_path, inputs={"cohort": cohorts[task]}, resume=tmp_path, workers=workers)
    return run_trial(trial_spec(task, plan or plan_of(task), **changes), context)


@pytest.mark.parametrize("task", TASKS)
def test_a_trial_returns_every_metric_and_is_the_same_when_run_again(
    task: str, cohorts: dict[str, Path], tmp_path: Path
) -> None:
    first, second = run(task, cohorts, tmp_path), run(task, cohorts, tmp_path)
    assert first.status is Status.OK
    assert tuple(first.values) == plan_of(task).metrics
    assert first.values == second.values and first.facts == second.facts and first.curve == second.curve
    for name, array in first.arrays.items():
        assert array.tobytes() == second.arrays[name].tobytes(), name
    json.dumps([first.facts, first.curve], allow_nan=False)
    assert first.arrays["resamples"].shape == (plan_of(task).transfer["metric"]["resamples"],)
    assert len(first.arrays["case_hash"]) == len(Pixels(cohorts[task]).rows("test"))


@pytest.mark.parametrize("task", TASKS)
def test_each_seed_reaches_what_it_names_and_nothing_else(task: str, cohorts: dict[str, Path], tmp_path: Path) -> None:
    base = trial_spec(task, plan_of(task))["seeds"]
    facts = {"": run(task, cohorts, tmp_path).facts}
    for role in base:
        facts[role] = run(task, cohorts, tmp_path, seeds={**base, role: base[role] + 1}).facts

    def same(role: str, key: str) -> bool:
        return facts[role][key] == facts[""][key]

    assert not same("init", "initial_head_sha256") and same("init", "sample_order_sha256")
    assert same("init", "first_batch_sha256")
    assert not same("order", "sample_order_sha256") and same("order", "initial_head_sha256")
    assert same("augment", "sample_order_sha256") and same("augment", "initial_head_sha256")
    if task == "montgomery":  # deformed in the loader; crops are made on the device
        assert not same("augment", "first_batch_sha256")


def test_the_augmentation_seed_changes_the_result_of_a_classification(cohorts: dict[str, Path], tmp_path: Path) -> None:
    base = trial_spec("chestxray14", plan_of("chestxray14"))["seeds"]
    other = run("chestxray14", cohorts, tmp_path, seeds={**base, "augment": 5})
    assert other.values["auc"] != run("chestxray14", cohorts, tmp_path).values["auc"]


@pytest.mark.parametrize("task", TASKS)
def test_two_loader_processes_give_the_same_trial_as_none(task: str, cohorts: dict[str, Path], tmp_path: Path) -> None:
    alone, helped = run(task, cohorts, tmp_path), run(task, cohorts, tmp_path, workers=2)
    assert alone.values == helped.values and alone.facts == helped.facts


@pytest.mark.parametrize("task", TASKS)
def test_the_state_of_the_global_generators_changes_no_number(
    task: str, cohorts: dict[str, Path], tmp_path: Path
) -> None:
    found = []
    for state in (0, 1):
        torch.manual_seed(state)
        random.seed(state)
        np.random.seed(state)  # noqa: NPY002 - the generator that must not matter
        found.append(run(task, cohorts, tmp_path))
    assert found[0].values == found[1].values and found[0].facts == found[1].facts


def test_label_fractions_are_nested_prefixes_of_training_cases_alone(cohorts: dict[str, Path]) -> None:
    cases = Pixels(cohorts["chestxray14"]).cases
    kept = {f: set(training_rows(cases, f, 9, "image")) for f in (0.001, 0.01, 0.25, 0.5, 1.0)}
    assert [len(rows) for rows in kept.values()] == [1, 2, 60, 120, 240]
    ordered = list(kept.values())
    assert all(small <= large for small, large in itertools.pairwise(ordered))
    assert ordered[-1] == set(cases.loc[cases["split"] == "train", "row"])
    assert kept[0.25] != set(training_rows(cases, 0.25, 10, "image"))


def test_validation_labels_are_all_there_or_thinned_like_the_training_labels(cohorts: dict[str, Path]) -> None:
    pixels = Pixels(cohorts["chestxray14"])
    everything = list(pixels.rows("validation"))
    assert list(validation_rows(pixels.cases, "full", 0.25, 9, "image")) == everything
    quarter = validation_rows(pixels.cases, "same_fraction", 0.25, 9, "image")
    assert set(quarter) < set(everything) and len(quarter) == len(everything) // 4
    assert set(validation_rows(pixels.cases, "same_fraction", 1.0, 9, "image")) == set(everything)


def test_a_whole_number_of_units_does_not_lose_one_to_rounding() -> None:
    cases = pd.DataFrame(
        {"row": range(100), "case": [f"{i:03d}" for i in range(100)], "patient": "p", "split": "train"}
    )
    assert [len(training_rows(cases, f, 0, "image")) for f in (0.29, 0.57, 0.58)] == [29, 57, 58]


def test_subsets_by_patient_keep_patients_whole(cohorts: dict[str, Path]) -> None:
    cases = Pixels(cohorts["chestxray14"]).cases.set_index("row")
    rows = training_rows(cases.reset_index(), 0.25, 1, "patient")
    patients = set(cases.loc[rows, "patient"])
    train = cases[cases["split"] == "train"]
    assert len(rows) == train["patient"].isin(patients).sum()
    assert len(patients) == int(0.25 * train["patient"].nunique())


def test_steps_are_exact_batches_and_epochs_are_permutations() -> None:
    steps = list(batches(10, 4, 1, steps=5, epochs=None))
    assert [len(s) for _, s in steps] == [4] * 5
    everything = np.concatenate([s for _, s in steps])
    assert sorted(everything[:10]) == list(range(10)) == sorted(everything[10:])
    assert [list(e) for e, _ in steps][2] == [0, 0, 1, 1]
    for count, sizes in ((9, [4, 5]), (10, [4, 4, 2]), (1, [1])):
        parts = list(batches(count, 4, 1, steps=None, epochs=1))
        assert [len(s) for _, s in parts] == sizes
        assert sorted(np.concatenate([s for _, s in parts])) == list(range(count))


def test_one_image_a_batch_of_sixteen_is_sixteen_augmentations_of_it(cohorts: dict[str, Path]) -> None:
    pixels = Pixels(cohorts["montgomery"])
    options = DeformationAugmentation.model_validate(plan_of("montgomery").transfer["augmentation"])
    order = batches(1, 16, 0, steps=1, epochs=None)
    (batch,) = load(order, pixels, pixels.rows("train")[:1], side=32, deformation=options, augment_seed=3, workers=0)
    assert len({image.tobytes() for image in batch.images}) > 4


@pytest.mark.parametrize("healthy", [0, 4])
def test_a_diverged_trial_scores_its_best_validated_weights_or_nothing(
    healthy: int, cohorts: dict[str, Path], tmp_path: Path
) -> None:
    encoder = {"obtain": "tests.tasks.standins:obtain_poisoned", "healthy_steps": healthy}
    found = run("chestxray14", cohorts, tmp_path, encoder=encoder)
    assert found.status is Status.DIVERGED and "not finite" in found.message
    if healthy:
        assert found.facts["selected_step"] == 3 and 0 <= found.values["auc"] <= 1
    else:
        assert found.values == {} and found.facts["selected_step"] is None


def test_the_weights_that_are_judged_are_those_of_the_best_evaluation(cohorts: dict[str, Path], tmp_path: Path) -> None:
    plan = plan_of("chestxray14", steps=45, evaluate_every=3, optimiser={"lr": 0.03})
    found = run("chestxray14", cohorts, tmp_path, plan=plan)
    losses = {point["step"]: point["validation_loss"] for point in found.curve}
    assert found.facts["selected_step"] == min(losses, key=losses.__getitem__)
    assert found.facts["selected_step"] != max(losses), "the test needs a best that is not the last"
    cut = plan_of("chestxray14", steps=45, evaluate_every=3, optimiser={"lr": 0.03}, early_stopping=2)
    assert run("chestxray14", cohorts, tmp_path, plan=cut).facts["stopped_early"]


def test_the_papers_schedule_and_ten_crops_run_in_miniature(cohorts: dict[str, Path], tmp_path: Path) -> None:
    plan = plan_of(
        "chestxray14",
        steps=None,
        evaluate_every=None,
        epochs=2,
        schedule={"name": "plateau", "factor": 0.5, "patience": 5, "threshold": 1e-4},
        resize_px=40,
        test_time_augmentation="ten_crop",
        early_stopping=10,
        precision="bfloat16",
    )
    found = run("chestxray14", cohorts, tmp_path, plan=plan)
    assert [point["step"] for point in found.curve] == [8, 16]


def test_every_primary_metric_of_segmentation_has_resamples_around_its_value(
    cohorts: dict[str, Path], tmp_path: Path
) -> None:
    for name in ("dice", "dice_positive", "dice_pooled", "iou", "iou_mean"):
        plan = plan_of("montgomery")
        spec_metrics = [name, *(m for m in plan.metrics if m != name)]
        found = run("montgomery", cohorts, tmp_path, metrics=spec_metrics)
        assert found.arrays["resamples"].mean() == pytest.approx(found.values[name], abs=0.05)


def test_validation_is_judged_in_batches_like_the_training_ones_or_as_a_whole(
    cohorts: dict[str, Path], tmp_path: Path
) -> None:
    assert len(Pixels(cohorts["montgomery"]).rows("validation")) == 3

    def first_loss(rule: str, batch: int) -> float:
        plan = plan_of("montgomery", steps=1, evaluate_every=1, batch=batch, validation_dice=rule)
        return float(run("montgomery", cohorts, tmp_path, plan=plan).curve[0]["validation_loss"])

    assert first_loss("batches", 8) == first_loss("whole", 8)
    assert first_loss("batches", 2) != first_loss("whole", 2)


def test_a_cohort_without_masks_cannot_be_segmented(cohorts: dict[str, Path], tmp_path: Path) -> None:
    context = Context("cpu", tmp_path, {"cohort": cohorts["chestxray14"]}, tmp_path)
    with pytest.raises(DataError, match="no masks"):
        run_trial(trial_spec("montgomery", plan_of("montgomery")), context)
