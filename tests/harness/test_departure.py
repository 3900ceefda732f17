"""When a run leaves: the time it is given, the items it still starts, and what others can do without it."""

from __future__ import annotations

import signal
import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from harness.cli.moments import moment
from harness.environment import device_slots, remote_slots, settled
from harness.errors import ConfigurationError, StoreError, Unavailable
from harness.executors import Ended, EngineJob, Job, LocalExecutor
from harness.executors.child import Terminated, execute
from harness.executors.factory import alive, make_executor
from harness.executors.jobs import read_job, write_job
from harness.executors.options import load_options
from harness.runner import Departure, run
from harness.runner.departure import idle
from harness.runner.endings import Asked, fate
from harness.spec import Ending, Status
from harness.store import Store
from tests.executors.conformance import Engine, answer, running, wait_until
from tests.harness.works import item

NOW = datetime(2026, 11, 28, 22, 30).astimezone()


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("3h50m", timedelta(hours=3, minutes=50)),
        ("90m", timedelta(minutes=90)),
        ("45s", timedelta(seconds=45)),
        ("22:31", timedelta(minutes=1)),
        ("22:30", timedelta(days=1)),
        ("6:00", timedelta(hours=7, minutes=30)),
        ("2026-11-29T06:00", timedelta(hours=7, minutes=30)),
    ],
)
def test_a_time_is_a_duration_a_time_of_day_or_a_date(text, after):
    assert moment(text, NOW) == pytest.approx((NOW + after).timestamp())


@pytest.mark.parametrize("text", ["", "soon", "25:00", "0m", "2020-01-01T00:00", "3 h", "-5m"])
def test_a_time_that_is_none_or_over_is_one_sentence(text):
    with pytest.raises(ConfigurationError, match=r'^found --until ".*expected a') as refused:
        moment(text, NOW)
    assert len(str(refused.value).splitlines()) == 1


def test_an_item_that_would_not_end_is_not_started_unless_no_run_of_this_length_would_end_it():
    departure = Departure(until=time.time() + 100)
    assert departure.allows(None, 1000) and departure.allows(50, 1000)
    assert not departure.allows(200, 1000)
    assert departure.allows(2000, 1000)
    assert Departure().allows(10**9, 0)


def test_a_run_stays_while_more_items_wait_than_others_have_slots():
    """Eight pilots that find one cohort to build must not leave it, and a thousand trials after it, to one of them."""
    assert not idle(waiting=1000, elsewhere=1)
    assert idle(waiting=1, elsewhere=1) and idle(waiting=0, elsewhere=3)


def test_a_run_leaves_at_its_time_with_checkpoints_and_starts_nothing_that_would_not_end(tmp_path: Path):
    store = Store(tmp_path / "trials", tmp_path / "cohorts")
    long, later = item("leaves", steps=400, seconds=0.05, cost=9.0), item("add", a=1, seconds=0.2, cost=1.0)
    executor = LocalExecutor(device_slots(1, "cpu"), ["numpy", "tests.harness.works"])
    try:
        run([item("nothing", kind="phase")], store, executor)  # the server has started: a busy machine takes seconds
        summary = run([long, later], store, executor, departure=Departure(until=time.time() + 4.0))
        assert summary.left == "until" and not summary.interrupted and not summary.complete
        (record,) = store.attempts("trial", long.id)
        assert record.ending is Ending.PREEMPTED and store.has_checkpoint(long.id)
        assert not store.attempts("trial", later.id)
        measured = run([item("add", a=2, seconds=0.2)], store, executor)
        assert measured.complete
        slow = item("add", a=3, seconds=0.2, cost=9.0)  # nine times as long as what was measured: 1.8 s
        held = run([item("add", a=2, seconds=0.2), slow], store, executor, departure=Departure(time.time() + 0.5))
        assert held.attempts in (0, 1)
    finally:
        executor.close()


def test_pilots_share_a_store_and_the_one_with_nothing_to_do_leaves(tmp_path: Path):
    """While the base runs elsewhere more items wait than the other has slots: the pilot stays and takes its share."""
    store = Store(tmp_path / "trials", tmp_path / "cohorts")
    log = str(tmp_path / "log")
    base = item("add", a=1, seconds=1.0, name="base", log=log)
    items = [base, *(item("add", a=n, seconds=0.3, name=str(n), log=log, needs=(base.id,)) for n in range(4))]
    last = item("sleep", seconds=6.0, name="last", log=log, cost=9.0)
    drivers = [Engine("local", 1).drive([*items, last], store, when_idle=True, asked=str(n)) for n in range(2)]
    said = [answer(driver) for driver in drivers]
    assert [driver.returncode for driver in drivers] == [0, 0]
    assert sorted((tmp_path / "log").read_text().split()) == ["0", "1", "2", "3", "base", "last"]
    assert sorted(one["left"] for one in said) == ["", "idle"]
    assert [one["done"] for one in said if not one["left"]] == [6]
    assert min(one["attempts"] for one in said) >= 1, "both had their share"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR2, signal.SIGINT])
def test_a_signal_to_a_driver_lets_its_children_write_their_checkpoints(tmp_path: Path, number: signal.Signals):
    store = Store(tmp_path / "trials", tmp_path / "cohorts")
    one = item("leaves", steps=100, seconds=0.1)
    driver = Engine("local", 1).drive([one], store)
    running(store, one, 20.0)
    wait_until(lambda: (said := store.progress("trial", one.id)) and said.done > 0, 20.0)
    driver.send_signal(number)
    answer(driver)
    assert driver.returncode == 3
    (record,) = store.attempts("trial", one.id)
    assert record.ending is Ending.PREEMPTED and store.has_checkpoint(one.id)


def test_what_fails_after_a_process_was_asked_to_leave_is_no_failure_of_the_work(tmp_path: Path):
    """A scheduler's signal ends the loaders too, and the work stumbles over that."""
    store = Store(tmp_path / "trials", tmp_path / "cohorts")
    one = item("stumbles")
    with store.driver() as driver:
        attempt = store.lease(one, driver)
    assert attempt is not None
    job = Job(one, attempt.ordinal, store.root, store.cohorts, device_slots(1, "cpu")[0])
    with pytest.raises(Terminated):
        execute(job, lambda: True)
    assert store.attempts("trial", one.id) == []
    assert execute(job)[0] == 0 and store.attempts("trial", one.id)[0].status is Status.FAILED


@pytest.mark.parametrize(
    ("ended", "asked", "begun", "status", "kind", "reason"),
    [
        (Ended(-9), Asked.NO, True, Status.INTERRUPTED, "WorkerLost", Ending.SIGNAL),
        (Ended(1), Asked.NO, True, Status.INTERRUPTED, "WorkerLost", Ending.EXIT),
        (Ended(None), Asked.NO, True, Status.INTERRUPTED, "WorkerLost", Ending.GONE),
        (Ended(None, ending=Ending.NODE_LOST), Asked.NO, True, Status.INTERRUPTED, "WorkerLost", Ending.NODE_LOST),
        (Ended(1), Asked.NO, False, Status.INTERRUPTED, "NotStarted", Ending.NOT_STARTED),
        (Ended(78, "no GPU"), Asked.NO, False, Status.INTERRUPTED, "NotStarted", Ending.NOT_STARTED),
        (Ended(75), Asked.NO, True, Status.INTERRUPTED, "Preempted", Ending.PREEMPTED),
        (Ended(75), Asked.STOPPED, True, Status.INTERRUPTED, "Preempted", Ending.PREEMPTED),
        (Ended(143), Asked.STOPPED, True, Status.INTERRUPTED, "Stopped", Ending.EXIT),
        (Ended(143), Asked.TIMEOUT, True, Status.TIMEOUT, "Timeout", Ending.EXIT),
        (Ended(None, ending=Ending.OUT_OF_MEMORY), Asked.NO, True, Status.OUT_OF_MEMORY, "OutOfMemory", Ending.OUT_OF_MEMORY),
        (Ended(None, ending=Ending.TIME_LIMIT), Asked.NO, True, Status.TIMEOUT, "TimeLimit", Ending.TIME_LIMIT),
    ],
)  # fmt: skip
def test_each_way_to_end_without_a_record_has_its_reason(ended, asked, begun, status, kind, reason):
    found = fate(ended, asked, begun=begun, limit=3.0)
    assert (found.status, found.type, found.reason) == (status, kind, reason)
    assert found.error["reason"] == reason.value and ended.message in found.message


def test_an_options_file_that_the_engine_does_not_know_is_one_sentence(tmp_path: Path):
    path = tmp_path / "engine.yaml"
    path.write_text("partition: gpu\n")
    for name in ("local", "together"):
        with pytest.raises(
            ConfigurationError, match=r'engine\.yaml: found "partition", and this engine has no options'
        ):
            make_executor(name, 1, "cpu", options=load_options(path))


def test_an_engine_that_cannot_be_asked_says_neither_yes_nor_no():
    assert alive(EngineJob("no_such_engine", "7")) is None
    assert alive(EngineJob("local", "7")) is None


# ------------------------------------------------------------------------- a job as a file


def leased(store: Store, **spec) -> Job:
    one = item("add", a=0.1 + 0.2, **spec)
    with store.driver() as driver:
        attempt = store.lease(one, driver)
    assert attempt is not None
    (slot,) = remote_slots(1, "far", "cpu")
    return Job(one, attempt.ordinal, store.root, store.cohorts, slot, "far", environment={"TORCH_HOME": "/x"})


def test_a_job_goes_through_its_file_unchanged_and_the_file_is_no_part_of_the_record(tmp_path: Path):
    store = Store(tmp_path / "trials", tmp_path / "cohorts")
    job = leased(store)
    path = write_job(job)
    assert read_job(path) == job
    record = store.finish(job.attempt, Status.OK)
    assert not record.files and not path.exists()


def test_a_job_file_that_is_absent_damaged_or_edited_is_one_sentence(tmp_path: Path):
    store = Store(tmp_path / "trials", tmp_path / "cohorts")
    path = write_job(leased(store))
    text = path.read_text()
    for content in (text.replace('"ordinal":0', '"ordinal":"x"'), text.replace("0.30000000000000004", "0.3"), "{"):
        path.write_text(content)
        with pytest.raises(StoreError) as refused:
            read_job(path)
        assert len(str(refused.value).splitlines()) == 1
    path.unlink()
    with pytest.raises(StoreError, match="under the same path"):
        read_job(path)


def test_a_child_finds_its_gpu_itself_and_refuses_to_compute_on_a_processor_instead(monkeypatch):
    monkeypatch.setattr("harness.environment._present_gpus", lambda: ["A", "B"])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    (slot,) = remote_slots(1, "far", "cuda")
    found = settled(slot)
    assert (found.visible, found.model, found.device) == ("1", "B", "cuda:0")
    monkeypatch.setattr("harness.environment._present_gpus", list)
    with pytest.raises(Unavailable, match="found no GPU on"):
        settled(slot)
    (slot,) = remote_slots(1, "far", "cpu")
    assert (settled(slot).visible, settled(slot).threads) == ("", 1)
