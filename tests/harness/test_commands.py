"""What commands say before and after a run: from the plan and the store alone, in one sentence each."""

from __future__ import annotations

import dataclasses

import pytest

from harness.cli.from_scratch import refuse_part
from harness.cli.listing import counted
from harness.cli.session import Session
from harness.cli.stages import _has_failed
from harness.errors import ConfigurationError, Unavailable
from harness.registry import load_parameters
from harness.running import Chosen, nothing_to_run
from harness.running.execution import preload
from harness.spec import Status
from harness.store.records import LOST, LOST_LIMIT
from tasks.inspection import write_phantom
from tests.harness import project


@pytest.fixture
def session(tmp_path):
    root = project.copy(tmp_path)
    return Session(root, load_parameters(root, {"profile": "miniature", "repeats": 2}))


def leave(session, item, status, error=None):
    """Leave the record of an attempt that did not end ok."""
    with session.store.driver() as driver:
        attempt = session.store.lease(item, driver)
        session.store.close(attempt, status, error or {"type": "E", "message": "m"})


def test_a_trial_whose_process_was_lost_three_times_has_failed_in_the_plan_too(session):
    item = next(iter(session.plan.trials().values()))
    for times in range(1, LOST_LIMIT + 1):
        leave(session, item, Status.INTERRUPTED, {"type": LOST, "message": "killed"})
        counts = counted(session)
        assert counts.failed == (1 if times == LOST_LIMIT else 0)
        assert counts.missing + counts.failed == counts.runnable


def test_what_needs_a_failed_item_has_failed_and_what_needs_a_missing_one_has_not(session):
    trials = session.plan.trials(lambda cell: cell.key.method == "moco_v2")
    item = next(iter(trials.values()))
    assert not _has_failed(session, item, set())
    cohort, phase = (session.plan.items[need] for need in item.needs)
    leave(session, phase, Status.FAILED)
    assert _has_failed(session, item, {cohort.id})
    assert not _has_failed(session, cohort, set())


def test_a_profile_without_data_says_why_nothing_can_run(session, monkeypatch):
    for name in ("", "_CHESTXRAY14", "_MONTGOMERY"):
        monkeypatch.delenv(f"DIRA_BENCH_DATA{name}", raising=False)
    planned = project.plan(session.root, profile="paper")
    error = nothing_to_run(planned, Chosen(tasks=("montgomery",)))
    assert isinstance(error, Unavailable)
    lines = str(error).splitlines()
    assert "none of" in lines[0]
    assert sum("no data root for montgomery" in line for line in lines) == 1
    assert "no cell" in str(nothing_to_run(planned, Chosen(block="added", methods=("moco_v2",), tasks=("montgomery",))))


@pytest.mark.parametrize(
    ("chosen", "trial", "repeats", "found"),
    [
        (Chosen(block="published"), None, None, "--block"),
        (Chosen(methods=("random",)), None, None, "--method"),
        (Chosen(tasks=("montgomery",)), "abc", None, "--trial and --task"),
        (Chosen(), None, 3, "--repeats"),
    ],
)
def test_a_run_from_scratch_is_whole(chosen, trial, repeats, found):
    with pytest.raises(ConfigurationError, match=f"found {found} with --from-scratch"):
        refuse_part("miniature", chosen, trial, repeats)


def test_the_fork_server_imports_our_own_modules_alone(session):
    """What a module of anybody else's changes at import would reach every item through the server."""
    own = next(item for item in session.plan.items.values() if item.kind == "phase")
    foreign = dataclasses.replace(own, run="my_package.work:run")
    assert preload([own, foreign]) == ["torch", "torchvision", own.run.partition(":")[0]]


def test_a_run_from_scratch_has_the_profile_that_dvc_assembles():
    with pytest.raises(ConfigurationError, match='write "profile: smoke" into params.yaml first'):
        refuse_part("smoke", Chosen(), None, None)


def test_a_cohort_without_a_generator_has_no_phantom(tmp_path):
    with pytest.raises(Unavailable, match='adapter "mine" names no generator'):
        split = {"rule": "official", "validation_fraction": 0.1, "seed": 0}
        cohort = {"source": "phantom", "adapter": "mine", "split": split, "versions": {}}
        write_phantom(cohort, tmp_path / "new", "SYNTHETIC")
    assert not (tmp_path / "new").exists()
