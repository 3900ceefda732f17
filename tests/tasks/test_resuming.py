"""A trial that is interrupted anywhere goes on, and ends to the bit as one that ran through."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.checkpoints import CHECKPOINT, Checkpoints, load_state
from harness.contracts import Context, Outcome, Preempted
from harness.spec import TaskPlan
from tasks.transfer.kept_weights import VARIABLE
from tasks.transfer.run import run_trial
from tests.tasks.conftest import built, plan_of
from tests.tasks.standins import trial_spec

# An epoch of 240 images is eight steps of 32, one of the lungs' 12 images two of 8: all but the first are mid-epoch.
PLATEAU = {"name": "plateau", "factor": 0.5, "patience": 0, "threshold": 1e-4}
PLANS: dict[str, Callable[[], TaskPlan]] = {
    "chestxray14": lambda: plan_of("chestxray14"),
    "chestxray14 by epochs": lambda: plan_of(
        "chestxray14", steps=None, epochs=2, evaluate_every=None, schedule=PLATEAU, early_stopping=5
    ),
    "montgomery": lambda: plan_of("montgomery"),
    "luna16": lambda: plan_of("luna16"),
    "lits": lambda: plan_of("lits"),
}


class Killed(BaseException):
    """What a power cut is to a trial."""


@pytest.fixture(scope="session")
def places(cohorts: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("volumes")
    return cohorts | {task: built(task, root / task) for task in ("luna16", "lits")}


@pytest.fixture
def trial(places: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    """Run a trial that leaves its weights, in a new folder each time; ``resume`` is the folder of its checkpoints."""
    monkeypatch.setenv(VARIABLE, "best")
    attempts = iter(range(100))

    def run(case: str, resume: Path, **asked: Any) -> tuple[Outcome, bytes]:
        task, folder = case.split()[0], tmp_path / f"attempt {next(attempts)}"
        folder.mkdir()
        spec = trial_spec(task, PLANS[case]())
        if spec["transfer"]["dimensions"] == 3:
            spec["encoder"] = {"obtain": "tests.tasks.standins:obtain_volume"}
        context = Context(device="cpu", folder=folder, inputs={"cohort": places[task]}, resume=resume, **asked)
        return run_trial(spec, context), (folder / "weights_best.safetensors").read_bytes()

    return run


def same(found: tuple[Outcome, bytes], whole: tuple[Outcome, bytes]) -> bool:
    (a, weights), (b, expected) = found, whole
    arrays = a.arrays.keys() == b.arrays.keys() and all(
        a.arrays[name].tobytes() == b.arrays[name].tobytes() for name in b.arrays
    )
    return arrays and (a.values, a.facts, a.curve, weights) == (b.values, b.facts, b.curve, expected)


@pytest.mark.parametrize("case", PLANS)
def test_a_trial_killed_after_any_step_ends_as_one_that_ran_through(
    case: str, trial: Callable[..., Any], tmp_path: Path, checkpoint_each_step: None
) -> None:
    steps: list[int] = []
    whole = trial(case, tmp_path / "whole", report=lambda done, total, what: steps.append(done))
    assert steps == list(range(1, whole[0].facts["steps"] + 1))
    for stop in (2, 3, steps[-1]):

        def die(done: int, total: int, what: str, stop: int = stop) -> None:
            if done == stop:
                raise Killed

        resume = tmp_path / f"killed in {stop}"
        with pytest.raises(Killed):
            trial(case, resume, report=die)
        again: list[int] = []
        found = trial(case, resume, report=lambda done, total, what, again=again: again.append(done))
        assert again == list(range(stop, steps[-1] + 1)), "only the step that was cut short is taken again"
        assert same(found, whole)


@pytest.mark.parametrize("case", ["chestxray14", "montgomery", "luna16", "lits"])
def test_a_trial_asked_to_leave_between_steps_or_within_an_evaluation_goes_on_from_there(
    case: str, trial: Callable[..., Any], tmp_path: Path
) -> None:
    asked, steps = [], [0]

    def never() -> bool:
        asked.append(steps[-1])
        return False

    whole = trial(case, tmp_path / "whole", leaving=never, report=lambda done, total, what: steps.append(done))
    assert not (tmp_path / "whole").exists(), "a trial of seconds writes no checkpoint"
    total = whole[0].facts["steps"]
    assert asked.count(1) == 1 and asked.count(2) <= 2 and asked.count(total) >= 2  # the last are validation and test
    for place in (1, 2, len(asked) - 1):
        calls, again = itertools.count(), []
        with pytest.raises(Preempted):
            trial(case, tmp_path / f"{place}", leaving=lambda place=place, calls=calls: next(calls) == place)
        assert load_state(tmp_path / f"{place}" / CHECKPOINT)["result"]["steps"] == asked[place]
        found = trial(case, tmp_path / f"{place}", report=lambda done, total, what, again=again: again.append(done))
        assert again == list(range(asked[place] + 1, total + 1)) and same(found, whole)


def test_a_training_worth_a_checkpoint_leaves_its_end_for_the_scoring(
    trial: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Checkpoints, "worthwhile", True)
    whole = trial("montgomery", tmp_path / "resume")
    monkeypatch.setattr("tasks.transfer.training.FineTuning._step", None)  # nothing can be trained any more
    assert same(trial("montgomery", tmp_path / "resume"), whole)


def test_a_checkpoint_of_another_trial_is_left_aside(
    trial: Callable[..., Any], tmp_path: Path, checkpoint_each_step: None
) -> None:
    whole = trial("luna16", tmp_path / "whole")
    trial("lits", tmp_path / "resume")
    assert same(trial("luna16", tmp_path / "resume"), whole)
    (tmp_path / "resume" / CHECKPOINT).write_bytes(b"half a checkpoint")
    assert same(trial("luna16", tmp_path / "resume"), whole)


def test_checkpoints_cost_about_a_hundredth_of_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now, written = [0.0], []
    monkeypatch.setattr("time.monotonic", lambda: now[0])

    def write(path: Path, data: object) -> None:
        written.append(now[0])
        now[0] += 7.0  # a large state on a slow disk

    monkeypatch.setattr("harness.checkpoints.write_atomically", write)
    checkpoints = Checkpoints(Context(device="cpu", folder=tmp_path, inputs={}, resume=tmp_path), {"form": 0})
    while now[0] < 7200.0:
        now[0] += 0.3
        if checkpoints.due:
            checkpoints.save({})
    assert 60.0 <= written[0] < 61.0
    assert 7.0 * len(written) / now[0] < 0.015
    assert len(written) == 1 + ((7200 - 67) // 707)
