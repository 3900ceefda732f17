"""Trials of every kind on the device of ``DIRA_BENCH_TEST_DEVICE``, beside the same on a CPU."""

import numpy as np
import pytest

from harness.contracts import Context
from harness.spec import Status
from tasks.transfer.run import run_trial
from tests.devices import DEVICE, on_device
from tests.tasks.conftest import built, plan_of
from tests.tasks.standins import trial_spec

SAME = ("initial_head_sha256", "first_batch_sha256", "sample_order_sha256", "subset_sha256", "steps")


def run(task, cohort, folder, device, *, workers=0, **transfer):
    folder.mkdir(exist_ok=True)
    context = Context(
        device=device, folder=folder, inputs={"cohort": cohort}, resume=folder / "resume", workers=workers
    )
    plan = plan_of(task, **transfer)
    changes = {"encoder": {"obtain": "tests.tasks.standins:obtain_volume"}} if plan.transfer["dimensions"] == 3 else {}
    return run_trial(trial_spec(task, plan, **changes), context)


def agree(task, cohort, tmp_path, **transfer):
    """Run a trial on the device and on a CPU; the same cases in the same order, and near scores."""
    there = run(task, cohort, tmp_path / "there", DEVICE, **transfer)
    here = run(task, cohort, tmp_path / "here", "cpu", **transfer)
    assert there.status is Status.OK
    assert {name: there.facts[name] for name in SAME} == {name: here.facts[name] for name in SAME}
    assert there.values.keys() == here.values.keys()
    main = next(iter(there.values))
    assert there.values[main] == pytest.approx(here.values[main], abs=0.05)
    assert np.array_equal(there.arrays["case_hash"], here.arrays["case_hash"])
    return there


@on_device
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "fp16"])
@pytest.mark.parametrize("task", ["chestxray14", "montgomery"])
def test_images_are_classified_and_segmented_there_as_on_a_cpu(task, precision, cohorts, tmp_path):
    agree(task, cohorts[task], tmp_path, precision=precision)


@on_device
def test_ten_crops_and_localization_run_there(cohorts, tmp_path):
    found = agree("chestxray14", cohorts["chestxray14"], tmp_path, test_time_augmentation="ten_crop")
    assert any(name.startswith("localization") for name in found.values)


@on_device
@pytest.mark.parametrize("task", ["luna16", "lits"])
def test_patches_are_classified_and_segmented_there(task, tmp_path):
    agree(task, built(task, tmp_path / "cohort"), tmp_path)


@on_device
def test_loader_processes_change_nothing_there(cohorts, tmp_path):
    alone, helped = (
        run("montgomery", cohorts["montgomery"], tmp_path / str(workers), DEVICE, workers=workers) for workers in (0, 2)
    )
    assert alone.facts == helped.facts
    assert alone.values == pytest.approx(helped.values, abs=1e-3)
