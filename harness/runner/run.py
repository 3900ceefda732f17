"""Draining a graph of items over all slots."""

from __future__ import annotations

import contextlib
import heapq
import signal
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from harness.environment import Slot, provenance
from harness.errors import StoreError
from harness.executors.interface import DISK_FULL, Ended, Executor, Handle, Job
from harness.runner.policy import RetryPolicy
from harness.runner.progress import Progress, Silent, SlotLine, View
from harness.runner.schedule import Estimate, priorities
from harness.spec import Item, Kind, Record, Status
from harness.store import Attempt, Driver, State, Store, resolve_full
from harness.store.records import LOST, TAKEN

TICK = 0.25  # seconds; how long a signal or a timeout may go unnoticed
FOREIGN_SECONDS = 0.5  # how often items in another driver's hands are looked at
GRACE = 5.0  # seconds between TERM and KILL

Admit = Callable[[Item, Slot], str | None]
Timeout = float | Callable[[Item], float | None] | None


@dataclass
class Summary:
    """What a run came to.

    Attributes:
        done: Ids that are ok now.
        reused: Those of them that were ok before, or that another driver ran.
        failed: Id → the record that ended it, or the last one before.
        blocked: Id → why it could not run.
        attempts: How many attempts this run made.
        interrupted: True if a signal ended the run before its time.
        seconds: How long the run took.
    """

    done: set[str] = field(default_factory=set)
    reused: set[str] = field(default_factory=set)
    failed: dict[str, Record] = field(default_factory=dict)
    blocked: dict[str, str] = field(default_factory=dict)
    attempts: int = 0
    interrupted: bool = False
    seconds: float = 0.0

    @property
    def complete(self) -> bool:
        """True if every item is done."""
        return not (self.failed or self.blocked or self.interrupted)


def run(
    items: Sequence[Item],
    store: Store,
    executor: Executor,
    *,
    retry: RetryPolicy | None = None,
    progress: Progress | None = None,
    timeout: Timeout = None,
    admit: Admit | None = None,
    workers: int = 0,
    data_roots: Mapping[str, Path] | None = None,
    grace: float = GRACE,
    preamble: Mapping[str, object] | None = None,
) -> Summary:
    """Run every item that is not done, longest chain first, and return how each ended.

    Running again is resuming: items with an ok attempt are not executed. Two drivers may run the same items at once:
    each item is executed by one of them, and both wait for all. SIGINT and SIGTERM end the children and the run, and
    leave the store consistent; a second signal does not wait for the grace period.

    Args:
        items: The graph; an item may need ids that are not among them if those are done in the store.
        store: Where records lie.
        executor: Where items run; the caller closes it.
        retry: What is tried again; see ``RetryPolicy``.
        progress: What hears about it.
        timeout: Seconds an attempt may take, or a function of the item, or None.
        admit: ``admit(item, slot)`` says why an item may not run on a slot, or None: how device classes are kept
            apart within a cell.
        workers: Loader processes of each work.
        data_roots: Task name → root of a real data set.
        grace: Seconds between TERM and KILL.
        preamble: Provenance of every record; default ``harness.environment.provenance()``.

    Raises:
        StoreError: If the disk is full or the store cannot be written; children are ended first.
        ConfigurationError: If the items are no graph.
    """
    loop = _Loop(
        items, store, executor, retry or RetryPolicy(), progress or Silent(), timeout, admit, workers,
        dict(data_roots or {}), grace, preamble,
    )  # fmt: skip
    with store.driver() as driver:
        return loop.drain(driver)


@dataclass
class _Running:
    item: Item
    attempt: Attempt
    handle: Handle
    slot: Slot
    begun: float
    limit: float | None
    reason: str = ""  # why it was told to stop: "timeout" or "stopped"


class _Loop:
    """One run. Every item is in exactly one place: waiting, ready, running, foreign, or over (in the summary)."""

    def __init__(
        self,
        items: Sequence[Item],
        store: Store,
        executor: Executor,
        retry: RetryPolicy,
        progress: Progress,
        timeout: Timeout,
        admit: Admit | None,
        workers: int,
        data_roots: dict[str, Path],
        grace: float,
        preamble: Mapping[str, object] | None,
    ) -> None:
        self.items = {item.id: item for item in items}
        self.priority = priorities(items)
        self.store, self.executor, self.retry, self.progress = store, executor, retry, progress
        self.timeout, self.admit, self.workers, self.data_roots, self.grace = (
            timeout, admit, workers, data_roots, grace,
        )  # fmt: skip
        self.preamble = preamble
        self.summary = Summary()
        self.estimate = Estimate()
        self.dependants: dict[str, list[str]] = defaultdict(list)
        self.open_needs: dict[str, set[str]] = {}
        self.inputs: dict[str, Path] = {}
        self.ready: list[tuple[float, int, str]] = []  # a heap: longest chain first, then the order given
        self.delayed: list[tuple[float, str]] = []  # a heap by time
        self.foreign: set[str] = set()
        self.running: dict[int, _Running] = {}  # by slot
        self.order = {id: number for number, id in enumerate(self.items)}
        self.tries: Counter[str] = Counter()
        self.signals = 0
        self.started = time.monotonic()
        self.looked = self.shown = 0.0
        self.seen: dict[str, int] = {}  # attempts at failed items before this run, which ``retry_failed`` overrules

    # ---------------------------------------------------------------- the loop

    def drain(self, driver: Driver) -> Summary:
        self._survey()
        self.progress.begin(self._view())
        try:
            with self._listening():
                while not self.signals and self._unfinished():
                    self._wake()
                    self._look_elsewhere()
                    self._dispatch(driver)
                    self._collect(self._patience())
                    self._show()
        finally:
            self._stop_all()
            self.summary.seconds = time.monotonic() - self.started
            self.progress.end(self._view())
        self.summary.interrupted = self.signals > 0 and self._unfinished_count() > 0
        return self.summary

    def _show(self) -> None:
        now = time.monotonic()
        if now - self.shown >= self.progress.interval:
            self.shown = now
            self.progress.update(self._view())

    def _unfinished(self) -> bool:
        return bool(self.ready or self.delayed or self.running or self.foreign)

    def _unfinished_count(self) -> int:
        over = len(self.summary.done) + len(self.summary.failed) + len(self.summary.blocked)
        return len(self.items) - over

    def _patience(self) -> float:
        if self.delayed and not self.running:
            return max(0.0, min(TICK, self.delayed[0][0] - time.monotonic()))
        return TICK

    # ---------------------------------------------------------------- before the first item

    def _survey(self) -> None:
        """Sort the items into done, failed, blocked and ready by what the store holds."""
        done: dict[Kind, set[str]] = {kind: self.store.done_ids(kind) for kind in ("cohort", "phase", "trial")}
        pending = {id for id, item in self.items.items() if id not in done[item.kind]}
        needed = {need for id in pending for need in self.items[id].needs}
        for need in needed - pending:  # inputs are checked before anything is built on them
            record = self._find(need, done)
            if record is not None and self.store.verify(record):
                self.inputs[need] = self.store.folder(record)
            elif need in self.items:
                pending.add(need)
        for id in pending.copy():  # a damaged input is made again, so its own inputs are checked too
            for need in self.items[id].needs:
                if need not in pending and need not in self.inputs:
                    record = self._find(need, done)
                    if record is not None:
                        self.inputs[need] = self.store.folder(record)
        for id in self.items.keys() - pending:
            self.summary.done.add(id)
            self.summary.reused.add(id)
        measured = {kind: self.store.measured(kind) for kind in ("cohort", "phase", "trial")}
        for id in self.summary.done:
            self.estimate.learn(self.items[id], measured[self.items[id].kind].get(id, 0.0))
        for id in pending:
            self.open_needs[id] = {need for need in self.items[id].needs if need not in self.inputs}
            for need in self.open_needs[id]:
                self.dependants[need].append(id)
        for id in sorted(pending, key=self.order.__getitem__):
            item = self.items[id]
            absent = [need for need in self.open_needs[id] if need not in self.items]
            if absent:
                self._block(id, f"needs {absent[0][:12]}, which is neither done nor planned")
        for id in sorted(pending, key=self.order.__getitem__):
            item = self.items[id]
            if id in self.summary.blocked:
                continue
            failed = self.store.state(item.kind, id) is State.FAILED
            record = self.store.last(item.kind, id) if failed else None
            if record is not None and not self.retry.retry_failed:
                self._fail(id, record)
                continue
            if failed:
                self.seen[id] = self.store.next_ordinal(item.kind, id)
            if not self.open_needs[id]:
                self._enqueue(id)

    def _find(self, id: str, done: Mapping[Kind, set[str]]) -> Record | None:
        for kind, ids in done.items():
            if id in ids:
                return self.store.ok(kind, id)
        return None

    # ---------------------------------------------------------------- moving items

    def _enqueue(self, id: str) -> None:
        heapq.heappush(self.ready, (-self.priority[id], self.order[id], id))

    def _over(self, id: str) -> bool:
        return id in self.summary.done or id in self.summary.failed or id in self.summary.blocked

    def _done(self, id: str, record: Record, *, ours: bool) -> None:
        self.summary.done.add(id)
        if not ours:
            self.summary.reused.add(id)
        self.inputs[id] = self.store.folder(record)
        self.estimate.learn(self.items[id], float(record.provenance.get("duration_seconds", 0.0)))
        for dependant in self.dependants[id]:
            self.open_needs[dependant].discard(id)
            if not self.open_needs[dependant] and not self._over(dependant):
                self._enqueue(dependant)

    def _fail(self, id: str, record: Record) -> None:
        self.summary.failed[id] = record
        for dependant in self.dependants[id]:
            self._block(dependant, f"needs {self.items[id].title}, which ended {record.status.value}")

    def _block(self, id: str, reason: str) -> None:
        if self._over(id):
            return
        self.summary.blocked[id] = reason
        for dependant in self.dependants[id]:
            self._block(dependant, f"needs {self.items[id].title}, which is blocked: {reason}")

    def _wake(self) -> None:
        while self.delayed and self.delayed[0][0] <= time.monotonic():
            self._enqueue(heapq.heappop(self.delayed)[1])

    # ---------------------------------------------------------------- starting

    def _dispatch(self, driver: Driver) -> None:
        idle = [slot for slot in self.executor.slots if slot.index not in self.running]
        passed: list[tuple[float, int, str]] = []
        while idle and self.ready and not self.signals:
            entry = heapq.heappop(self.ready)
            item = self.items[entry[2]]
            slot, reason = self._choose(item, idle)
            if slot is None and reason:
                self._block(item.id, reason)
            elif slot is None:
                passed.append(entry)
            elif self._start(item, slot, driver):
                idle.remove(slot)
        for entry in passed:
            heapq.heappush(self.ready, entry)

    def _choose(self, item: Item, idle: Sequence[Slot]) -> tuple[Slot | None, str]:
        """Return an idle slot for an item, or why no slot of this machine will ever take it."""
        if self.admit is None:
            return idle[0], ""
        for slot in idle:
            if self.admit(item, slot) is None:
                return slot, ""
        reasons = [self.admit(item, slot) for slot in self.executor.slots]
        return None, "" if None in reasons else str(reasons[0])

    def _start(self, item: Item, slot: Slot, driver: Driver) -> bool:
        ordinal = self.store.next_ordinal(item.kind, item.id)
        if ordinal != self.seen.get(item.id) and self.store.state(item.kind, item.id) is State.FAILED:
            self.foreign.add(item.id)  # another driver ran it since, and it failed: once is enough
            return False
        attempt = self.store.lease(item, driver, ordinal)
        if attempt is None:
            self.foreign.add(item.id)
            return False
        if self.preamble is None:
            self.preamble = provenance()
        self.tries[item.id] += 1
        self.summary.attempts += 1
        job = Job(
            item=item,
            ordinal=attempt.ordinal,
            root=self.store.root,
            cohorts=self.store.cohorts,
            slot=slot,
            inputs={need: self.inputs[need] for need in item.needs},
            workers=self.workers,
            data_roots=self.data_roots,
            search_path=tuple(str(Path(entry or ".").absolute()) for entry in sys.path),
            provenance={**self.preamble, "executor": self.executor.name},
        )
        try:
            handle = self.executor.submit(job)
        except BaseException as error:
            with contextlib.suppress(StoreError):
                self.store.close(attempt, Status.INTERRUPTED, {"type": "NotStarted", "message": str(error)})
            raise
        limit = self.timeout(item) if callable(self.timeout) else self.timeout
        self.running[slot.index] = _Running(item, attempt, handle, slot, time.monotonic(), limit)
        return True

    # ---------------------------------------------------------------- ending

    def _collect(self, patience: float) -> None:
        full: StoreError | None = None
        for handle, ended in self.executor.wait(patience):
            running = self.running.pop(handle.job.slot.index)
            try:
                record = self._settle(running, ended)
            except StoreError as error:
                full = error
                continue
            self.progress.ended(running.item, record)
            if record.status is Status.OK:
                self._done(running.item.id, record, ours=True)
                continue
            if running.reason == "stopped":
                continue
            if (record.error or {}).get("type") == TAKEN:  # this driver was frozen, and another went on without it
                self.foreign.add(running.item.id)
                continue
            tries, checkpoint = self.tries[running.item.id], self.store.has_checkpoint(running.item.id)
            delay = self.retry.delay(record, tries, checkpoint)
            if delay is None:
                self._fail(running.item.id, record)
            else:
                heapq.heappush(self.delayed, (time.monotonic() + delay, running.item.id))
        if full is not None:
            raise full
        now = time.monotonic()
        for running in self.running.values():
            if running.limit is not None and not running.reason and now - running.begun > running.limit:
                running.reason = "timeout"
                self.executor.stop(running.handle, self.grace)

    def _settle(self, running: _Running, ended: Ended) -> Record:
        """Return the record a job left, or write the one it could not.

        Raises:
            StoreError: If the job could not write its record because the disk is full.
        """
        item, attempt = running.item, running.attempt
        record = self.store.attempt(item.kind, item.id, attempt.ordinal)
        if record is not None:
            return record
        how = _how(ended)
        if ended.code == DISK_FULL:
            with contextlib.suppress(StoreError):
                self.store.close(attempt, Status.INTERRUPTED, {"type": "DiskFull", "message": ended.message}, None)
            raise StoreError(ended.message or str(resolve_full(attempt.folder)))
        facts = {
            **(self.preamble or {}),
            "duration_seconds": round(time.monotonic() - running.begun, 4),
            "slot": running.slot.name,
            "device_class": running.slot.device_class,
            "executor": self.executor.name,
        }
        if running.reason == "timeout":
            status, error = Status.TIMEOUT, ("Timeout", f"took longer than {running.limit:g} s and was ended ({how})")
        elif running.reason == "stopped":
            status, error = Status.INTERRUPTED, ("Stopped", f"the run was stopped ({how})")
        else:
            status, error = Status.INTERRUPTED, (LOST, f"the process ended without a record ({how})")
        return self.store.close(attempt, status, {"type": error[0], "message": error[1]}, facts)

    def _look_elsewhere(self) -> None:
        """See how items in another driver's hands stand, and take back those it lost."""
        if not self.foreign or time.monotonic() - self.looked < FOREIGN_SECONDS:
            return
        self.looked = time.monotonic()
        for id in sorted(self.foreign, key=self.order.__getitem__):
            item = self.items[id]
            state = self.store.state(item.kind, id)
            if state is State.RUNNING:
                continue
            self.foreign.discard(id)
            record = self.store.ok(item.kind, id)
            last = self.store.last(item.kind, id) if state is State.FAILED else None
            if record is not None:
                self._done(id, record, ours=False)
            elif last is not None:
                self._fail(id, last)
            else:
                self._enqueue(id)

    def _stop_all(self) -> None:
        """End every child: TERM, then KILL after the grace period, or at once after a second signal."""
        asked = self.signals
        for running in self.running.values():
            running.reason = running.reason or "stopped"
            self.executor.stop(running.handle, self.grace)
        deadline = time.monotonic() + self.grace + 10.0
        while self.running and time.monotonic() < deadline:
            if self.signals > max(1, asked):
                for running in self.running.values():
                    self.executor.stop(running.handle, 0.0)
            try:
                self._collect(TICK)
            except StoreError as error:
                self.progress.note(str(error))
        self.running.clear()

    # ---------------------------------------------------------------- around it

    @contextlib.contextmanager
    def _listening(self) -> Iterator[None]:
        """Turn SIGINT and SIGTERM into a request to stop; only the main thread may."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def heard(number: int, frame: FrameType | None) -> None:
            self.signals += 1

        before = {number: signal.signal(number, heard) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
            self._stop_all()  # while signals are still heard
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _view(self) -> View:
        now = time.monotonic()
        lines = []
        for slot in self.executor.slots:
            running = self.running.get(slot.index)
            if running is None:
                lines.append(SlotLine(slot.name))
                continue
            item = running.item
            said = self.store.progress(item.kind, item.id) if self.progress.interval < 1 else None
            done, total, what = (said.done, said.total, said.what) if said else (0, 0, "")
            lines.append(SlotLine(slot.name, item.title, done, total, what, now - running.begun))
        active = {r.item.id: (r.item, now - r.begun) for r in self.running.values()}
        waiting = [item for id, item in self.items.items() if not self._over(id) and id not in active]
        return View(
            total=len(self.items),
            done=len(self.summary.done),
            failed=len(self.summary.failed),
            blocked=len(self.summary.blocked),
            elsewhere=len(self.foreign),
            elapsed=now - self.started,
            remaining=self.estimate.remaining(waiting, active, len(self.executor.slots)) if waiting or active else None,
            slots=tuple(lines),
        )


def _how(ended: Ended) -> str:
    if ended.code is None:
        return "its process is gone"
    if ended.code >= 0:
        return f"exit status {ended.code}"
    with contextlib.suppress(ValueError):
        return f"killed by {signal.Signals(-ended.code).name}"
    return f"killed by signal {-ended.code}"
