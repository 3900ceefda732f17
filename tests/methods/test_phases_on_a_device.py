"""Phases of every kind on the device of ``DIRA_BENCH_TEST_DEVICE``: they run, resume, and come near to a CPU's."""

import math
import sys
import time

import pytest
import torch

from harness.contracts import Preempted
from harness.environment import device_slots
from harness.executors import Job, LocalExecutor
from harness.seeding import seed
from harness.spec import Status
from harness.store import Store
from methods.configuration import resolve
from methods.supervised import run_phase
from tests.devices import DEVICE, on_device
from tests.harness.works import item
from tests.methods import volumes
from tests.methods.conftest import registered
from tests.methods.pretraining import Context, configurations, train


@on_device
@pytest.mark.parametrize("options", [{}, {"precision": "bf16"}, {"precision": "fp16"}, {"norm_splits": 4}])
def test_a_phase_of_every_precision_ends_with_finite_losses(options, cohort, tmp_path):
    outcome = train(configurations(4, options=options)["dis+res+adv"], tmp_path, cohort, device=DEVICE)
    assert outcome.status is Status.OK and math.isfinite(outcome.values["validation_loss"])


@on_device
@pytest.mark.parametrize("base", ["barlow_twins", "simsiam"])
def test_the_other_bases_run_there(base, cohort, tmp_path):
    outcome = train(configurations(4, discrimination=base)["dis+res+adv"], tmp_path, cohort, device=DEVICE)
    assert outcome.status is Status.OK and math.isfinite(outcome.values["validation_loss"])


@on_device
def test_labels_are_learnt_there(tmp_path):
    configured = resolve(registered()["supervised_photo"], "smoke").phases[0].configuration
    context = Context(device=DEVICE, folder=tmp_path, inputs={}, resume=tmp_path / "resume")
    outcome = run_phase({"phase": "s", "configuration": configured, "cohort": None, "seed": seed("a")}, context)
    assert outcome.status is Status.OK and math.isfinite(outcome.values["validation_loss"])


@on_device
def test_cubes_are_learnt_there(tmp_path):
    found = volumes.phases()
    scans = volumes.write_scans(tmp_path / "scans")
    discovered = tmp_path / "discovered"
    volumes.run(found["discovery"], discovered, {"cohort": scans}, device=DEVICE)
    inputs = {"discovery": discovered, "parent": discovered}
    outcome = volumes.run(found["dis+res"], tmp_path / "phase", inputs, device=DEVICE)
    assert outcome.status is Status.OK and math.isfinite(outcome.values["validation_loss"])


@on_device
def test_a_phase_that_was_asked_to_leave_goes_on_there_as_if_it_had_not_been(cohort, tmp_path):
    configured = configurations(6)["dis+res+adv"]
    asked = iter([False, False, True])
    with pytest.raises(Preempted):
        train(
            configured,
            tmp_path / "left",
            cohort,
            resume=tmp_path / "resume",
            device=DEVICE,
            leaving=lambda: next(asked),
        )
    assert (tmp_path / "resume" / "checkpoint.pt").is_file()
    resumed = train(configured, tmp_path / "resumed", cohort, resume=tmp_path / "resume", device=DEVICE)
    whole = train(configured, tmp_path / "whole", cohort, device=DEVICE)
    assert resumed.facts["steps"] == whole.facts["steps"] == 6
    assert resumed.values["validation_loss"] == pytest.approx(whole.values["validation_loss"], rel=1e-3)


@on_device
def test_a_child_of_the_fork_server_finds_its_slots_device(tmp_path):
    slots = device_slots(1, torch.device(DEVICE).type)
    store = Store(tmp_path / "trials", tmp_path / "cohorts", notify=lambda sentence: None)
    executor = LocalExecutor(slots, ["torch", "tests.harness.works"])
    what = item("on_device")
    try:
        with store.driver() as driver:
            attempt = store.lease(what, driver)
        executor.submit(Job(what, attempt.ordinal, store.root, store.cohorts, slots[0], search_path=tuple(sys.path)))
        end = time.monotonic() + 60
        while time.monotonic() < end and not executor.wait(1.0):
            pass
    finally:
        executor.close()
    record = store.attempt(what.kind, what.id, attempt.ordinal)
    assert record is not None and record.status is Status.OK
    assert record.values == {"sum": 6.0} and record.facts["device"] == slots[0].device
