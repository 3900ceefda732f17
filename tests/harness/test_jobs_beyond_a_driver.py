"""Jobs that wait in a queue, outlive their driver, or come too late."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from harness.environment import remote_slots
from harness.executors import NOT_STARTED, EngineJob, Job
from harness.executors.factory import Seldom, alive
from harness.executors.jobs import command, write_job
from harness.running.cancelling import cancel
from harness.spec import Item, Status
from harness.store import State, Store
from tests.executors.conformance import Engine
from tests.executors.queue_of_processes import NAME
from tests.harness.works import item


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "trials", tmp_path / "cohorts", notify=lambda sentence: None)


def leased(store: Store, one: Item, device: str = "cpu") -> Job:
    with store.driver() as driver:
        attempt = store.lease(one, driver)
    assert attempt is not None
    (slot,) = remote_slots(1, "far", device)
    return Job(one, attempt.ordinal, store.root, store.cohorts, slot, "far", search_path=tuple(sys.path))


def begin(job: Job) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(write_job(job)), capture_output=True, text=True, check=False, timeout=60)


def test_no_clock_runs_while_a_job_waits_in_its_queue(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "engine.yaml"
    path.write_text("delay_seconds: 6.0\nsettle_seconds: 1.0\n")
    one = item("sleep", seconds=0.2)
    summary = Engine(NAME, 1, path).run([one], store, timeout=5.0)
    assert summary.complete and summary.attempts == 1 and summary.seconds > 6.0
    record = store.ok("trial", one.id)
    assert record is not None and record.provenance["duration_seconds"] < 2.0


def test_a_job_that_begins_after_its_attempt_was_closed_does_nothing(store: Store, tmp_path: Path) -> None:
    log = tmp_path / "log"
    one = item("add", a=1, log=str(log))
    job = leased(store, one)
    store.close(job.attempt, Status.INTERRUPTED, {"type": "DriverLost", "message": "gone"})
    assert begin(job).returncode == 0 and not log.exists()
    late = leased(store, one)
    assert late.ordinal == 1 and begin(late).returncode == 0
    assert begin(late).returncode == 0  # as a scheduler that requeues it would
    assert log.read_text().splitlines() == [""], "it ran once"
    assert [record.status for record in store.attempts("trial", one.id)] == [Status.INTERRUPTED, Status.OK]


def test_a_gpu_job_on_a_machine_without_one_does_not_start_and_says_why(store: Store, monkeypatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    job = leased(store, item("add", a=1), "cuda")
    said = begin(job)
    assert said.returncode == NOT_STARTED and "found no GPU on" in said.stderr
    assert len(said.stderr.splitlines()) == 1
    assert not store.has_begun(job.attempt) and store.attempts("trial", job.item.id) == []


def test_a_job_of_an_engine_that_cannot_be_asked_counts_as_alive_until_it_is_cancelled(store: Store) -> None:
    one = item("add", a=1)
    store.ask = alive
    with store.driver() as driver:
        attempt = store.lease(one, driver)
        assert attempt is not None
        store.entrust(attempt, EngineJob("no_such_engine", "7", "north"), driver)
    found = store.entrusted(one)
    assert found is not None and found[1:] == (EngineJob("no_such_engine", "7", "north"), False)
    with store.driver() as other:
        assert store.state("trial", one.id) is State.RUNNING and store.lease(one, other) is None
        cancelled = cancel(store, [one])
        assert list(cancelled.refused) == [found[1]] and not cancelled.jobs
        assert store.state("trial", one.id) is State.INTERRUPTED and store.entrusted(one) is None
        assert store.lease(one, other) is not None


def test_an_engine_is_asked_seldom(monkeypatch) -> None:
    asked: list[EngineJob] = []
    now = [100.0]
    monkeypatch.setattr("harness.executors.factory.time.monotonic", lambda: now[0])

    def ask(job: EngineJob) -> bool:
        asked.append(job)
        return True

    seldom, job = Seldom(ask), EngineJob("slurm", "7")
    assert [seldom(job) for _ in range(20)] == [True] * 20 and len(asked) == 1
    now[0] += Seldom.SECONDS
    assert seldom(job) and len(asked) == 2
