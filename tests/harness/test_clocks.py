"""Machines whose clocks disagree, dates in the future, and a driver that was frozen and woken."""

from __future__ import annotations

import json
import os
import time

import pytest

import harness.store.leases as leases
from harness.environment import Slot
from harness.executors.interface import Ended, Executor, Job
from harness.runner import run
from harness.spec import Item, Status
from harness.store import Attempt, State, Store
from tests.harness.works import item

DAY = 86_400.0


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "trials", tmp_path / "cohorts", notify=lambda sentence: None)


@pytest.fixture
def far(store, monkeypatch):
    """A driver on another machine that holds an item and beats."""
    one = item("add", a=1)
    driver = store.driver()
    with monkeypatch.context() as patch:
        patch.setattr(leases, "machine", lambda: "elsewhere")
        patch.setattr("os.getpid", lambda: 2**22 + 5)  # no such process here
        driver.__enter__()
        assert store.lease(one, driver) is not None
    yield one, driver
    driver.__exit__(None, None, None)


@pytest.mark.parametrize("ahead", [DAY, -DAY])
def test_a_live_item_runs_however_far_this_machines_clock_is_off(store, far, monkeypatch, ahead):
    """The file system's clock dates both the heartbeat and the question."""
    one, _ = far
    true = time.time
    monkeypatch.setattr(leases.time, "time", lambda: true() + ahead)
    assert store.state("trial", one.id) is State.RUNNING
    with store.driver() as driver:
        assert store.lease(one, driver) is None


def test_looking_leaves_nothing_behind(store, far):
    before = sorted(path.name for path in store.root.rglob("*"))
    store.state("trial", far[0].id)
    assert sorted(path.name for path in store.root.rglob("*")) == before


def test_a_heartbeat_dated_in_the_future_is_believed_while_it_moves_and_no_longer(store, far, monkeypatch):
    one, lost = far
    now = [1000.0]
    monkeypatch.setattr(leases.time, "monotonic", lambda: now[0])

    def beat(date: float) -> None:
        os.utime(lost.path, (date, date))

    with store.driver() as driver:
        start = driver.path.stat().st_mtime
        for step in range(40):  # ten minutes: it moves
            now[0] += leases.BEAT_SECONDS
            beat(start + DAY + 15 * step)
            assert store.lease(one, driver) is None
        now[0] += leases.SILENT_SECONDS - 1
        assert store.lease(one, driver) is None
        now[0] += 2  # it has stood still for as long as any owner may be silent, whatever its date
        attempt = store.lease(one, driver)
        assert attempt is not None and attempt.ordinal == 1


def test_a_progress_file_dated_in_the_future_holds_nothing_for_ever(store, monkeypatch):
    one = item("add", a=2)
    now = [1000.0]
    with store.driver() as driver:
        attempt = store.lease(one, driver)
        assert attempt is not None
        progress = attempt.folder / "progress.json"
        progress.write_text(json.dumps({"machine": "elsewhere", "pid": 7, "start": "1"}))
        os.utime(progress, (time.time() + DAY, time.time() + DAY))
    monkeypatch.setattr(leases.time, "monotonic", lambda: now[0])
    with store.driver() as driver:
        assert store.lease(one, driver) is None
        now[0] += leases.SILENT_SECONDS + 1
        assert store.lease(one, driver) is not None


class Frozen(Executor):
    """An engine during whose only job this driver sleeps, and another driver takes the item."""

    name = "frozen"
    slots = (Slot(0, "cpu 0", "cpu", "cpu", ""),)

    def __init__(self, meanwhile) -> None:
        self.meanwhile, self.jobs = meanwhile, []

    def submit(self, job: Job):
        handle = type("Handle", (), {"job": job})()
        self.jobs.append(handle)
        return handle

    def wait(self, timeout: float):
        ended, self.jobs = self.jobs, []
        for handle in ended:
            self.meanwhile(handle.job)
        return [(handle, Ended(-9)) for handle in ended]

    def stop(self, handle, grace: float) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.mark.parametrize("end", [Status.OK, Status.FAILED])
def test_a_driver_that_wakes_says_of_an_item_what_the_other_driver_made_of_it(store, end):
    one: Item = item("nothing", name="shared")

    def takes_over(job: Job) -> None:
        """As the other machine sees it: the first driver has been silent for too long."""
        attempt = Attempt(one, job.ordinal, job.attempt.folder)
        store.close(attempt, Status.INTERRUPTED, {"type": "DriverLost", "message": "gone"})
        with store.driver() as other:
            second = store.lease(one, other)
            assert second is not None and second.ordinal == job.ordinal + 1
            store.finish(second, end, values={"value": 1.0})

    summary = run([one], store, Frozen(takes_over), data_roots={})
    if end is Status.OK:
        assert summary.done == {one.id} and not summary.failed and summary.reused == {one.id}
    else:
        assert summary.failed[one.id].status is Status.FAILED and summary.failed[one.id].ordinal == 1
    assert summary.attempts == 1
