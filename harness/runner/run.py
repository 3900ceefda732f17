"""Draining a graph of items over all slots."""

from __future__ import annotations

import contextlib
import heapq
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.environment import Slot, provenance
from harness.errors import DiraBenchError, StoreError, Unavailable
from harness.executors.factory import Seldom, alive
from harness.executors.interface import DISK_FULL, Ended, Executor, Handle, Job
from harness.executors.jobs import carried, search_path
from harness.runner.departure import Departure, Left, idle
from harness.runner.endings import Asked, fate
from harness.runner.policy import RetryPolicy
from harness.runner.progress import Progress, Silent, SlotLine, View
from harness.runner.schedule import LOOK_SECONDS, Estimate, Pace, pause_between_looks, priorities
from harness.runner.signals import Signals
from harness.spec import Ending, Item, Kind, Record, Status
from harness.store import Attempt, Driver, State, Store, resolve_full
from harness.store import Progress as ProgressSaid
from harness.store.records import TAKEN, UNSTARTED

TICK = 0.25  # seconds; how long a signal or a timeout may go unnoticed
REMOTE_SECONDS = 5.0  # how often jobs on other machines are looked at
GRACE = 5.0  # seconds between TERM and KILL
LEAVING_GRACE = 20.0  # the same where there is to be a checkpoint; Slurm kills 30 s after its own TERM

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
        left: Why the run left by itself although something is not done.
        detached: How many jobs go on without this driver.
        seconds: How long the run took.
    """

    done: set[str] = field(default_factory=set)
    reused: set[str] = field(default_factory=set)
    failed: dict[str, Record] = field(default_factory=dict)
    blocked: dict[str, str] = field(default_factory=dict)
    attempts: int = 0
    interrupted: bool = False
    left: Left = Left.NO
    detached: int = 0
    seconds: float = 0.0

    @property
    def complete(self) -> bool:
        """True if every item is done."""
        return not (self.failed or self.blocked or self.interrupted or self.left)


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
    preload: Sequence[str] = (),
    departure: Departure | None = None,
) -> Summary:
    """Run every item that is not done, longest chain first, and return how each ended.

    Running again is resuming: items with an ok attempt are not executed. Two drivers may run the same items at once:
    each item is executed by one of them, and both wait for all. A signal ends the run and leaves the store consistent.
    SIGINT ends the children after ``grace``. SIGTERM and SIGUSR2, which schedulers send, ask them to write a checkpoint
    and to leave within ``LEAVING_GRACE``. A second signal waits for nothing. Jobs of a remote engine go on.

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
        preload: Modules that a fresh child imports before its clocks start.
        departure: When the run leaves before everything is done; None for never.

    Raises:
        Unavailable: If the engine's jobs cannot start; no attempt is lost by it.
        StoreError: If the disk is full or the store cannot be written; children are ended first.
        ConfigurationError: If the items are no graph.
    """
    store.ask = store.ask or Seldom(alive)
    driver = store.driver()
    loop = _Loop(
        items, store, driver, executor, retry or RetryPolicy(), progress or Silent(), timeout, admit, workers,
        dict(data_roots or {}), grace, tuple(preload),
        departure or Departure(),
    )  # fmt: skip
    with driver:
        return loop.drain()


@dataclass
class _Running:
    item: Item
    attempt: Attempt
    handle: Handle
    slot: Slot
    begun: float | None  # None while it waits in a queue
    limit: float | None
    said: tuple[float, ProgressSaid | None] = (0.0, None)  # when its progress was read, and what it was
    asked: Asked = Asked.NO
    entrusted: bool = False  # whether its claim names the engine's job
    pace: Pace = field(default_factory=Pace)


class _Loop:
    """One run. Every item is in exactly one place: waiting, ready, running, foreign, or over (in the summary)."""

    def __init__(
        self,
        items: Sequence[Item],
        store: Store,
        driver: Driver,
        executor: Executor,
        retry: RetryPolicy,
        progress: Progress,
        timeout: Timeout,
        admit: Admit | None,
        workers: int,
        data_roots: dict[str, Path],
        grace: float,
        preload: tuple[str, ...],
        departure: Departure,
    ) -> None:
        self.items = {item.id: item for item in items}
        self.priority = priorities(items)
        self.driver = driver
        self.store, self.executor, self.retry, self.progress = store, executor, retry, progress
        self.timeout, self.admit, self.workers, self.data_roots, self.grace = (
            timeout, admit, workers, data_roots, grace,
        )  # fmt: skip
        self.preload, self.departure = preload, departure
        self.lingering: list[tuple[_Running, Ended, float]] = []  # gone; until when their records may appear
        self.proven = not executor.remote or departure.detached  # whether a job has begun: until then one at a time
        self.unstarted = 0  # jobs in a row that could not begin
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
        self.signals = Signals()
        self.hopeless = False  # whether no job of this engine can start
        self.started = time.monotonic()
        self.span = (departure.until or 0.0) - time.time()
        self.looked = self.shown = self.asked_remote = 0.0
        self.pause = LOOK_SECONDS  # between two looks at items in other drivers' hands
        self.seen: dict[str, int] = {}  # attempts at failed items before this run, which ``retry_failed`` overrules

    # ---------------------------------------------------------------- the loop

    def drain(self) -> Summary:
        self._survey()
        self.progress.begin(self._view())
        try:
            with self.signals.heard(self._stop_all):
                while not self.signals.count and self._unfinished():
                    self._wake()
                    self._look_elsewhere()
                    self._dispatch()
                    self.summary.left = self._leaves()
                    if self.summary.left:
                        break
                    self._collect(self._patience())
                    self._entrust()
                    self._show()
        finally:
            self._stop_all()
            self.summary.seconds = time.monotonic() - self.started
            self.progress.end(self._view())
        self.summary.interrupted = self.signals.count > 0 and self._unfinished_count() > 0
        return self.summary

    def _show(self) -> None:
        now = time.monotonic()
        if now - self.shown >= self.progress.interval:
            self.shown = now
            self.progress.update(self._view())

    def _unfinished(self) -> bool:
        return bool(self.ready or self.delayed or self.running or self.lingering or self.foreign)

    def _leaves(self) -> Left:
        """Say whether the run leaves now, and why; after what is ready was dispatched."""
        if self.departure.due():
            return Left.UNTIL
        if self.departure.detached and self._all_is_queued():
            return Left.DETACHED
        if self.running or self.delayed or self.lingering:
            return Left.NO
        if self.ready:  # nothing runs, and all that is ready was held back
            return Left.UNTIL if self.departure.until is not None and not self.foreign else Left.NO
        return Left.IDLE if self.departure.when_idle and self._is_idle() else Left.NO

    def _is_idle(self) -> bool:
        """Say whether nothing is left but what runs elsewhere; looked at once more before that is believed."""
        for _ in range(2):
            elsewhere = len(self.foreign)
            if not elsewhere or self.ready or not idle(self._unfinished_count() - elsewhere, elsewhere):
                return False
            self.looked = 0.0
            self._look_elsewhere()
        return True

    def _all_is_queued(self) -> bool:
        """Say whether as many jobs are queued as may be, and each could be found again."""
        queued = len(self.running) == len(self.executor.slots) or not self.ready
        return queued and all(running.entrusted for running in self.running.values())

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
            if record is not None and self.store.verify(record, again=False):
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

    def _dispatch(self) -> None:
        free = [slot for slot in self.executor.slots if slot.index not in self.running]
        if not self.proven:  # a canary: what is wrong with the set-up is found out by one job
            free = [] if self.running or self.lingering or self.delayed else free[:1]
        passed: list[tuple[float, int, str]] = []
        while free and self.ready and not self.signals.count:
            entry = heapq.heappop(self.ready)
            item = self.items[entry[2]]
            slot, reason = self._choose(item, free)
            if slot is None and reason:
                self._block(item.id, reason)
            elif slot is None or not self.departure.allows(self.estimate.seconds(item), self.span):
                passed.append(entry)
            elif self._start(item, slot):
                free.remove(slot)
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

    def _start(self, item: Item, slot: Slot) -> bool:
        ordinal = self.store.next_ordinal(item.kind, item.id)
        if ordinal != self.seen.get(item.id) and self.store.state(item.kind, item.id) is State.FAILED:
            self.foreign.add(item.id)  # another driver ran it since, and it failed: once is enough
            return False
        attempt = self.store.lease(item, self.driver, ordinal)
        if attempt is None:
            if self._adopt(item, slot):
                return True
            self.foreign.add(item.id)
            return False
        self.tries[item.id] += 1
        self.summary.attempts += 1
        try:
            handle = self.executor.submit(self._job(attempt, slot))
        except BaseException as error:
            said = {"type": UNSTARTED, "message": str(error), "reason": Ending.NOT_STARTED.value}
            with contextlib.suppress(StoreError):
                self.store.close(attempt, Status.INTERRUPTED, said)
            raise
        self._watch(attempt, handle, slot)
        self._entrust()
        return True

    def _adopt(self, item: Item, slot: Slot) -> bool:
        """Watch over the job of a driver that is gone, if this engine knows it."""
        found = self.store.entrusted(item) if self.executor.remote else None
        if found is None or found[2]:
            return False
        attempt, reference, _ = found
        handle = self.executor.adopt(self._job(attempt, slot), reference)
        if handle is None:
            return False
        self._watch(attempt, handle, slot)
        self._entrust()
        return True

    def _entrust(self) -> None:
        """Write into claims which jobs run their attempts, as soon as the engine knows: it may send several at once."""
        for running in self.running.values():
            if self.executor.remote and not running.entrusted:
                reference = self.executor.reference(running.handle)
                if reference is not None:
                    self.store.entrust(running.attempt, reference, self.driver)
                    running.entrusted = True

    def _job(self, attempt: Attempt, slot: Slot) -> Job:
        return Job(
            item=attempt.item,
            ordinal=attempt.ordinal,
            root=self.store.root,
            cohorts=self.store.cohorts,
            slot=slot,
            executor=self.executor.name,
            inputs={need: self.inputs[need] for need in attempt.item.needs},
            workers=self.workers,
            data_roots=self.data_roots,
            search_path=search_path(),
            preload=self.preload,
            environment=carried() if self.executor.remote else {},
        )

    def _watch(self, attempt: Attempt, handle: Handle, slot: Slot) -> None:
        limit = self.timeout(attempt.item) if callable(self.timeout) else self.timeout
        begun = None if self.executor.remote else time.monotonic()
        self.running[slot.index] = _Running(attempt.item, attempt, handle, slot, begun, limit)

    # ---------------------------------------------------------------- ending

    def _collect(self, patience: float) -> None:
        """Take in what has ended, and end what takes too long.

        Raises:
            StoreError: If a job could not write its record because the disk is full.
            Unavailable: If jobs cannot start.
        """
        for handle, ended in self.executor.wait(patience):
            running = self.running.pop(handle.job.slot.index)
            self.lingering.append((running, ended, time.monotonic() + self.executor.settle_seconds))
        full: StoreError | None = None
        lingering, self.lingering = self.lingering, []
        for running, ended, until in lingering:
            try:
                record = self._settle(running, ended, last=time.monotonic() >= until)
            except StoreError as error:
                full = error
                continue
            if record is None:
                self.lingering.append((running, ended, until))
            else:
                self._take_in(running, record)
        if full is not None:
            raise full
        self._look_at_remote()
        now = time.monotonic()
        for running in self.running.values():
            late = running.limit is not None and running.begun is not None and now - running.begun > running.limit
            if late and not running.asked:
                self._stop(running, Asked.TIMEOUT, self.grace)

    def _take_in(self, running: _Running, record: Record) -> None:
        """Move an item whose attempt has a record to where it belongs now.

        Raises:
            Unavailable: If it could not start, and so could not what came before it.
        """
        id = running.item.id
        if record.ending is Ending.NOT_STARTED and running.asked is not Asked.STOPPED:
            self._take_in_unstarted(id, record)
            return
        self.proven, self.unstarted = True, 0
        self.progress.ended(running.item, record)
        if record.status is Status.OK:
            self._done(id, record, ours=True)
            return
        if running.asked is Asked.STOPPED:
            return
        if (record.error or {}).get("type") == TAKEN:  # this driver was frozen, and another went on without it
            self.foreign.add(id)
            return
        checkpoint = self.store.has_checkpoint(id)
        if record.ending is Ending.PREEMPTED and checkpoint and running.asked is not Asked.TIMEOUT:
            self.tries[id] -= 1
        delay = self.retry.delay(record, self.tries[id], checkpoint)
        if delay is None:
            self._fail(id, record)
        else:
            heapq.heappush(self.delayed, (time.monotonic() + delay, id))

    def _take_in_unstarted(self, id: str, record: Record) -> None:
        """Try an item again whose process never reached it; that is no attempt, and says nothing of the item."""
        self.tries[id] -= 1
        self.summary.attempts -= 1
        self.unstarted += 1
        if not self.proven or self.unstarted > self.retry.limit:
            self.hopeless = True
            said = (record.error or {}).get("message", "")
            raise Unavailable(
                f"engine {self.executor.name} cannot start jobs. Expected a process that runs "
                f"{self.items[id].title}. Found: {said}. Fix: see docs/engines.md#a-job-that-cannot-start."
            )
        heapq.heappush(self.delayed, (time.monotonic() + self.retry.backoff, id))

    def _look_at_remote(self) -> None:
        """See which jobs have left their queue: no time is counted before."""
        now = time.monotonic()
        if not self.executor.remote or now - self.asked_remote < (REMOTE_SECONDS if self.proven else LOOK_SECONDS):
            return
        self.asked_remote = now
        for running in self.running.values():
            if running.begun is None and self.store.has_begun(running.attempt):
                running.begun = now
                self.proven, self.unstarted = True, 0

    def _stop(self, running: _Running, asked: Asked, grace: float) -> None:
        """Tell a job to end. Of a remote one it is recorded first why: its own process cannot know."""
        running.asked = asked
        if self.executor.remote:
            found = fate(Ended(None), asked, begun=True, limit=running.limit)
            self.store.close(running.attempt, found.status, found.error, self._facts(running))
        self.executor.stop(running.handle, grace)

    def _settle(self, running: _Running, ended: Ended, *, last: bool) -> Record | None:
        """Return the record a job left, or write the one it could not; None while it may still appear.

        Args:
            running: The job.
            ended: How its process ended.
            last: Whether there is no more waiting for its record.

        Raises:
            StoreError: If the job could not write its record because the disk is full.
        """
        item, attempt = running.item, running.attempt
        record = self.store.attempt(item.kind, item.id, attempt.ordinal)
        if record is not None:
            return record
        if ended.code == DISK_FULL:
            with contextlib.suppress(StoreError):
                self.store.close(attempt, Status.INTERRUPTED, {"type": "DiskFull", "message": ended.message}, None)
            raise StoreError(ended.message or str(resolve_full(attempt.folder)))
        if not last:
            return None
        found = fate(ended, running.asked, begun=self.store.has_begun(attempt), limit=running.limit)
        return self.store.close(attempt, found.status, found.error, self._facts(running))

    def _facts(self, running: _Running) -> dict[str, object]:
        """Return what this driver knows of where a job ran; of another machine only its own process could tell."""
        begun = running.begun
        return {
            **({} if self.executor.remote else provenance()),
            "duration_seconds": round(time.monotonic() - begun, 4) if begun is not None else 0.0,
            "slot": running.slot.name,
            "device_class": running.slot.device_class,
            "executor": self.executor.name,
        }

    def _look_elsewhere(self) -> None:
        """See how items in another driver's hands stand, and take back those it lost."""
        begun = time.monotonic()
        if not self.foreign or begun - self.looked < self.pause:
            return
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
        self.looked = time.monotonic()
        self.pause = pause_between_looks(self.looked - begun)

    def _stop_all(self) -> None:
        """End every child: TERM, then KILL after the grace period, or at once after a second signal.

        Jobs of a remote engine go on without this run, unless none of them can start.
        """
        if self.executor.remote and self.running and not self.hopeless:
            self._detach()
        asked, grace = self.signals.count, self.stopping_grace
        for running in self.running.values():
            self._stop(running, running.asked or Asked.STOPPED, grace)
        deadline = time.monotonic() + grace + 10.0
        while (self.running or (self.lingering and not self.executor.remote)) and time.monotonic() < deadline:
            if self.signals.count > max(1, asked):
                for running in self.running.values():
                    self.executor.stop(running.handle, 0.0)
            try:
                self._collect(TICK)
            except DiraBenchError as error:
                self.progress.note(str(error))
        self.running.clear()

    def _detach(self) -> None:
        """Leave the jobs of a remote engine to themselves; one that the engine has not sent yet could not be found."""
        self._entrust()
        for running in self.running.values():
            if not running.entrusted:
                self._stop(running, Asked.STOPPED, 0.0)
        self.summary.detached = sum(running.entrusted for running in self.running.values())
        self.executor.detach()
        self.running.clear()

    # ---------------------------------------------------------------- around it

    @property
    def stopping_grace(self) -> float:
        """Seconds that children have to leave: for a checkpoint if a scheduler asked, or the time is over."""
        return max(self.grace, LEAVING_GRACE) if self.signals.gently or self.summary.left else self.grace

    def _view(self) -> View:
        now = time.monotonic()
        lines, rests = [], dict[str, float]()
        for slot in self.executor.slots:
            running = self.running.get(slot.index)
            if running is None:
                lines.append(SlotLine(slot.name))
                continue
            said, spent = self._said(running), 0.0 if running.begun is None else now - running.begun
            if said is not None and running.item.kind == "cohort":
                rest = running.pace.rest(now, said.done, said.total, said.what)
                if rest is not None:
                    rests[running.item.id] = rest
            done, total, what = (said.done, said.total, said.what) if said else (0, 0, "")
            what = "queued" if running.begun is None else what
            lines.append(SlotLine(slot.name, running.item.title, done, total, what, spent))
        active = {r.item.id: (r.item, now - r.begun) for r in self.running.values() if r.begun is not None}
        waiting = [item for id, item in self.items.items() if not self._over(id) and id not in active]
        at_work = len(active) if self.executor.remote else len(self.executor.slots)
        return View(
            total=len(self.items),
            done=len(self.summary.done),
            failed=len(self.summary.failed),
            blocked=len(self.summary.blocked),
            elsewhere=len(self.foreign),
            elapsed=now - self.started,
            remaining=self.estimate.remaining(waiting, active, at_work, rests)
            if at_work and (waiting or active)
            else None,
            slots=tuple(lines),
        )

    def _said(self, running: _Running) -> ProgressSaid | None:
        """Return what a job last said of itself, which of another machine is read seldom."""
        if not self.progress.details:
            return None
        now = time.monotonic()
        if now - running.said[0] >= (REMOTE_SECONDS if self.executor.remote else 0.0):
            running.said = (now, self.store.progress(running.item.kind, running.item.id))
        return running.said[1]
