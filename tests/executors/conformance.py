"""What every engine must do, as tests of a class: derive from ``Claims`` and give the fixture ``engine``.

``RemoteClaims`` are those of an engine whose jobs outlive their driver. Works are stubs of ``tests.harness.works``.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness.errors import Unavailable
from harness.executors import Executor
from harness.executors.factory import make_executor
from harness.executors.options import load_options
from harness.runner import RetryPolicy, run
from harness.runner.run import Summary
from harness.spec import Ending, Item, Status
from harness.store import State, Store
from harness.store.leases import process_start
from tests.harness.works import item


@dataclass(frozen=True)
class Engine:
    """An engine under test.

    Attributes:
        name: As ``--engine`` takes it.
        slots: As ``--slots`` takes it.
        options: Its options file, or None.
        seconds: Within which a job has begun, and a dead one is noticed.
    """

    name: str
    slots: int
    options: Path | None = None
    seconds: float = 20.0

    @contextmanager
    def started(self) -> Iterator[Executor]:
        preload = ["numpy", "tests.harness.works"]
        executor = make_executor(self.name, self.slots, "cpu", preload, load_options(self.options))
        try:
            yield executor
        finally:
            executor.close()

    def run(self, items: list[Item], store: Store, **options: Any) -> Summary:
        options.setdefault("retry", RetryPolicy(backoff=0.05))
        with self.started() as executor:
            return run(items, store, executor, grace=options.pop("grace", 1.0), **options)

    def drive(self, items: list[Item], store: Store, **asked: Any) -> subprocess.Popen[str]:
        """Start a driver of its own, which a test may kill."""
        path = store.root.parent / f"asked{asked.pop('asked', '')}.json"
        said = {
            "root": str(store.root.parent),
            "items": [one.dump() for one in items],
            "engine": self.name,
            "slots": self.slots,
            "options": str(self.options) if self.options else None,
            **asked,
        }
        path.write_text(json.dumps(said))
        words = [sys.executable, "-m", "tests.executors.drive", str(path)]
        return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def answer(driver: subprocess.Popen[str], seconds: float = 120.0) -> dict[str, Any]:
    out, _ = driver.communicate(timeout=seconds)
    said: dict[str, Any] = json.loads(out)
    return said


def wait_until(true: Callable[[], object], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def process_of(store: Store, one: Item) -> int | None:
    """The process that runs an item, on this machine; None while it does not run."""
    said = store.progress(one.kind, one.id)
    return said.process if said is not None else None


def running(store: Store, one: Item, seconds: float) -> int:
    """Wait until an item runs, and return its process."""
    wait_until(lambda: process_of(store, one), seconds)
    process = process_of(store, one)
    assert process is not None
    return process


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "trials", tmp_path / "cohorts", notify=lambda sentence: None)


class Claims:
    """Of every engine."""

    def test_ids_and_values_are_those_of_any_engine_and_the_record_says_where_it_was_made(
        self, engine: Engine, store: Store
    ) -> None:
        first = item("add", a=1, kind="phase")
        items = [first, item("add", a=10, needs=(first.id,)), item("raises")]
        summary = engine.run(items, store)
        record = store.ok("trial", items[1].id)
        assert record is not None and store.verify(record)
        assert (record.id, record.values, record.facts) == (items[1].id, {"sum": 11.0}, {"a": 10})
        assert set(record.files) == {"arrays.npz", "curve.jsonl", "note.txt"}
        assert summary.failed.keys() == {items[2].id} and summary.attempts == 3
        made = record.provenance
        assert made["executor"] == engine.name and made["device_class"] == "cpu"
        assert {"host", "processor", "instruction_set", "libraries", "git", "device_model"} <= made.keys()
        assert made["duration_seconds"] < 1.0, "the clock starts after the imports"

    def test_no_two_items_are_on_one_slot_at_a_time(self, engine: Engine, store: Store) -> None:
        items = [item("add", a=number, seconds=0.2) for number in range(2 * engine.slots)]
        assert engine.run(items, store).complete
        spans: dict[str, list[tuple[float, float]]] = {}
        for one in items:
            record = store.ok("trial", one.id)
            assert record is not None
            begun = time.mktime(time.strptime(record.provenance["started"][:19], "%Y-%m-%dT%H:%M:%S"))
            begun += float(record.provenance["started"][19:23])
            spans.setdefault(record.provenance["slot"], []).append(
                (begun, begun + record.provenance["duration_seconds"])
            )
        for on_one in spans.values():
            on_one.sort()
            assert all(end <= begun + 0.01 for (_, end), (begun, _) in itertools.pairwise(on_one)), on_one

    def test_a_killed_process_is_tried_again_and_one_that_is_always_killed_holds_nobody_up(
        self, engine: Engine, store: Store, tmp_path: Path
    ) -> None:
        once = item("dies", times=1, name="once", log=str(tmp_path / "once"))
        poison = item("dies", times=99, name="poison", log=str(tmp_path / "poison"), cost=9.0)
        after, other = item("add", a=1, needs=(poison.id,)), item("add", a=2)
        summary = engine.run([poison, once, after, other], store)
        assert summary.done == {once.id, other.id} and set(summary.failed) == {poison.id}
        assert summary.blocked == {after.id: "needs dies poison, which ended interrupted"}
        assert [record.status for record in store.attempts("trial", once.id)] == ["interrupted", "ok"]
        lost = store.attempts("trial", poison.id)
        assert len(lost) == 3 and store.state("trial", poison.id) is State.FAILED
        for record in lost:
            assert (record.error or {})["type"] == "WorkerLost"
            assert record.ending in (Ending.SIGNAL, Ending.EXIT, Ending.GONE, Ending.NODE_LOST)
            assert not (store.folder(record) / "half").exists()

    def test_a_job_that_is_asked_to_leave_goes_on_from_its_checkpoint_and_that_is_no_lost_worker(
        self, engine: Engine, store: Store
    ) -> None:
        one = item("leaves", steps=40, seconds=0.1)
        driver = engine.drive([one], store)
        for ended in range(2):
            wait_until(lambda so_many=ended: len(store.attempts("trial", one.id)) == so_many, engine.seconds)
            process = running(store, one, engine.seconds)
            wait_until(lambda: (store.progress("trial", one.id) or _NOTHING).done > 0, engine.seconds)
            os.kill(process, signal.SIGTERM)
            wait_until(lambda gone=process: process_start(gone) is None, engine.seconds)
            wait_until(lambda so_many=ended: len(store.attempts("trial", one.id)) > so_many, engine.seconds)
        said = answer(driver)
        assert said["done"] == 1 and said["failed"] == 0
        *left, last = store.attempts("trial", one.id)
        assert [(record.status, record.ending) for record in left] == [(Status.INTERRUPTED, Ending.PREEMPTED)] * 2
        assert last.values == {"steps": 40.0} and last.facts == {"resumed": True}
        assert not store.has_checkpoint(one.id)

    def test_a_killed_driver_costs_no_result_and_the_next_run_finishes(
        self, engine: Engine, store: Store, tmp_path: Path
    ) -> None:
        quick, slow = item("add", a=1), item("sleep", seconds=4.0, log=str(tmp_path / "log"), cost=0.1)
        driver = engine.drive([quick, slow], store)
        process = running(store, slow, 2 * engine.seconds)
        driver.kill()
        driver.wait()
        self.after_the_driver(store, slow, process, engine.seconds)
        assert engine.run([quick, slow], store).complete
        for one in (quick, slow):
            records = store.attempts("trial", one.id)
            assert [record.status for record in records].count(Status.OK) == 1

    def after_the_driver(self, store: Store, one: Item, process: int, seconds: float) -> None:
        """Here a job ends with its driver."""
        wait_until(lambda: process_start(process) is None, seconds)
        assert store.state(one.kind, one.id) is State.INTERRUPTED

    def test_ended_by_a_signal_a_run_leaves_no_process_and_no_driver(self, engine: Engine, store: Store) -> None:
        one = item("sleep", seconds=60)
        driver = engine.drive([one], store)
        process = running(store, one, engine.seconds)
        driver.send_signal(signal.SIGTERM)
        answer(driver)
        assert driver.returncode == 3
        self.after_a_signal(engine, store, one, process)
        assert not any((store.root / "drivers").iterdir())

    def after_a_signal(self, engine: Engine, store: Store, one: Item, process: int) -> None:
        """Here a job ends with its driver."""
        wait_until(lambda: process_start(process) is None, 5.0)
        assert store.state(one.kind, one.id) is State.INTERRUPTED


class RemoteClaims(Claims):
    """Of an engine whose jobs outlive their driver."""

    def after_the_driver(self, store: Store, one: Item, process: int, seconds: float) -> None:
        """The job goes on, and nobody starts another."""
        assert process_start(process) is not None
        assert store.state(one.kind, one.id) is State.RUNNING

    def after_a_signal(self, engine: Engine, store: Store, one: Item, process: int) -> None:
        """The job goes on until it is cancelled."""
        assert process_start(process) is not None
        self.cancel(engine, store, [one])
        wait_until(lambda: process_start(process) is None, engine.seconds)
        assert store.state(one.kind, one.id) is State.INTERRUPTED

    def cancel(self, engine: Engine, store: Store, items: list[Item]) -> None:
        """End the jobs of these items, as ``dira-bench cancel`` does."""
        from harness.running.cancelling import cancel

        assert len(cancel(store, items).jobs) == len(items)

    def break_set_up(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        """Let no job reach its work from now on."""
        monkeypatch.setattr(
            "harness.executors.jobs.command", lambda path, python="": [sys.executable, "-c", "import no_such_module"]
        )

    def test_a_set_up_that_cannot_start_is_said_once_and_burns_no_attempt(
        self, engine: Engine, store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        self.break_set_up(monkeypatch, tmp_path)
        items = [item("add", a=number) for number in range(4)]
        with pytest.raises(Unavailable, match=f"engine {engine.name} cannot start jobs"):
            engine.run(items, store)
        assert sum(len(store.attempts("trial", one.id)) for one in items) == 1
        assert [store.state("trial", one.id) for one in items].count(State.FAILED) == 0
        monkeypatch.undo()
        assert engine.run(items, store).complete

    def test_a_driver_that_detaches_is_followed_by_one_that_adopts(
        self, engine: Engine, store: Store, tmp_path: Path
    ) -> None:
        items = [item("sleep", seconds=6.0, name=str(number), log=str(tmp_path / "log")) for number in range(2)]
        said = answer(engine.drive(items, store, detached=True))
        assert said["left"] == "detached" and said["detached"] == 2 and said["done"] == 0
        assert engine.run(items, store).complete
        assert [len(store.attempts("trial", one.id)) for one in items] == [1, 1], "each ran once"


class _Nothing:
    done = 0


_NOTHING = _Nothing()
