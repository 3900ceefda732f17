"""The child entry: one process, one attempt, one record.

The child writes its own record, so a driver that dies afterwards loses nothing, and every engine shares this code.
The local executor forks into ``enter``; any other engine starts ``python -m harness.executors FILE``, where a
driver has written the job (``harness.executors.jobs``).
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from harness.contracts import Context, Outcome, Preempted
from harness.dotted import import_module, import_work
from harness.environment import arithmetic, provenance, settled
from harness.errors import ConfigurationError, DiraBenchError, StoreError
from harness.executors.interface import DISK_FULL, LEFT, NOT_STARTED, Job
from harness.executors.jobs import read_job
from harness.foreign import OwnEnd
from harness.metrics import out_of_bounds
from harness.spec import Ending, Item, Status
from harness.store import Store, is_full, resolve_full
from harness.store.leases import myself
from harness.store.records import OUTPUT, PREEMPTED, PROGRESS
from harness.whole_files import write_whole

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

REPORT_SECONDS = 0.5
BEAT_SECONDS = 30.0
ENDED_BY_REQUEST = 128 + signal.SIGTERM


class Terminated(OwnEnd):
    """The driver asked this process to end; not an ``Exception``, so that no work swallows it."""


def enter(job: Job, leash: Connection) -> None:
    """Be the process of one job under the local executor.

    A child of a fork server shares the driver's process group and the server's environment, and outlives a killed
    driver; so before anything else it opens its own session, takes its own device, and watches the pipe the driver
    holds: when that ends, the whole group ends.
    """
    os.setsid()
    threading.Thread(target=_watch, args=(leash, job.attempt.folder / PROGRESS), daemon=True, name="leash").start()
    leaving = Leaving()
    leaving.listen()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's business
    try:
        code, message = execute(job, leaving)
    except Terminated:
        code, message = ENDED_BY_REQUEST, ""
    except Preempted:
        code, message = LEFT, ""
    if message:
        with contextlib.suppress(OSError, ValueError):
            leash.send_bytes(message.encode())
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # no atexit of libraries the server preloaded; the record is on the disk


def main(path: Path) -> int:
    """Be the process of the job in a file; return its exit status. A sentence goes to standard error."""
    code, message = run_file(path)
    if message:
        sys.stderr.write(f"{message}\n")
    return code


def run_file(path: Path) -> tuple[int, str]:
    """Run the job in a file, on whatever machine an engine started this process.

    No driver holds a leash here: the process shows by itself that it lives, and does nothing if its attempt is over
    or another one has followed, as after the death of a driver whose job waited in a queue.

    Returns:
        The exit status, as of ``execute``, ``LEFT`` or ``NOT_STARTED``; and one sentence, or "".
    """
    leaving = Leaving()
    leaving.listen()
    try:
        job = read_job(path)
        job = replace(job, slot=settled(job.slot))
        store = Store(job.root, job.cohorts, notify=lambda sentence: None)
        if not _is_open(job, store):
            return 0, ""
    except DiraBenchError as error:
        return NOT_STARTED, str(error)
    except Terminated:
        return NOT_STARTED, ""
    progress = job.attempt.folder / PROGRESS
    threading.Thread(target=_beat, args=(progress,), daemon=True, name="heartbeat").start()
    try:
        return execute(job, leaving)
    except (Terminated, Preempted) as end:
        return LEFT, leave_preempted(job, store, end)


def _is_open(job: Job, store: Store) -> bool:
    """Say whether a job's attempt is the newest at its item, and has no record."""
    item = job.item
    newest = store.next_ordinal(item.kind, item.id) - 1
    return newest == job.ordinal and store.attempt(item.kind, item.id, job.ordinal) is None


def leave_preempted(job: Job, store: Store, end: Terminated | Preempted) -> str:
    """Record that this attempt was asked to leave, since perhaps no driver is there to do it; return the sentence."""
    said = f"it was asked to leave; it left {'a' if isinstance(end, Preempted) else 'no'} checkpoint"
    error = {"type": PREEMPTED, "message": said, "reason": Ending.PREEMPTED.value}
    with contextlib.suppress(StoreError):
        store.close(job.attempt, Status.INTERRUPTED, error, _provenance(job, None))
    return said


def execute(job: Job, leaving: Callable[[], bool] = lambda: False) -> tuple[int, str]:
    """Run one attempt in this process and leave its record.

    Args:
        job: What to run.
        leaving: See ``harness.contracts.Context``.

    Returns:
        The exit status and one sentence for the driver: 0 if a record was written, whatever it says;
        ``DISK_FULL`` if it could not be.

    Raises:
        Terminated: If the process was asked to end, and the work does not ask for it.
        Preempted: If it was, and the work has left a checkpoint.
    """
    _take_slot(job)
    store = Store(job.root, job.cohorts, notify=lambda sentence: None)
    attempt = job.attempt
    try:
        with _redirected(attempt.folder / OUTPUT):
            ended, clocks = _attempt(job, store, leaving)
            try:
                _leave(job, store, ended, clocks)
            except StoreError:
                raise
            except Exception as failure:  # facts that are not JSON, an array of objects: the work's mistake
                _leave(job, store, Finished(Outcome(status=Status.FAILED), _describe(failure)), clocks)
    except StoreError as full:
        return DISK_FULL, str(full)
    except OSError as failure:
        return DISK_FULL, str(resolve_full(attempt.folder) if is_full(failure) else failure)
    return 0, ""


class Leaving:
    """Whether this process was asked to leave: by SIGTERM or SIGUSR2, of a driver, a scheduler or a person.

    A work that asks, leaves by itself at its next step boundary. One that never did could not save anything: it is
    ended at once.
    """

    def __init__(self) -> None:
        self._asked = self._heeded = False
        self._process = os.getpid()

    def __call__(self) -> bool:
        """Say whether it was; from now on it is the work that leaves."""
        self._heeded = True
        return self._asked

    def listen(self) -> None:
        """Hear the signals from now on."""
        signal.signal(signal.SIGTERM, self._hear)
        signal.signal(signal.SIGUSR2, self._hear)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # a loader: the process that it serves decides
            return
        again, self._asked = self._asked, True
        if not (self._heeded or again):  # a scheduler may signal every process, and its parent pass it on
            raise Terminated


@dataclass(frozen=True)
class Clocks:
    """When a work began: seconds since the epoch, of a steady clock, and of this process's processor time.

    They are read once everything is imported, so that a fresh process and one of a warm server measure the same.
    """

    started: float
    steady: float
    processor: float

    @classmethod
    def read(cls) -> Clocks:
        """Read them now."""
        return cls(time.time(), time.perf_counter(), time.process_time())


@dataclass(frozen=True)
class Finished:
    """What an attempt came to.

    Attributes:
        outcome: What the work returned, or a failure.
        error: What went wrong, if anything.
        keep: Whether the files that it left count.
    """

    outcome: Outcome
    error: dict[str, str] | None = None
    keep: bool = False


def _attempt(job: Job, store: Store, leaving: Callable[[], bool]) -> tuple[Finished, Clocks]:
    """Run the work; whatever it raises is an outcome.

    Returns:
        What it came to, and when it began.

    Raises:
        Terminated: If this process was asked to end.
        Preempted: If the work left a checkpoint because of that.
        StoreError: If the disk is full.
    """
    clocks = Clocks.read()
    report = Reporter(job.attempt.folder / PROGRESS, job.slot.name, clocks.started)
    try:
        work = _import(job)
    except Exception as failure:
        return Finished(Outcome(status=_judge(failure)), _describe(failure)), clocks
    clocks = Clocks.read()
    return _carry_out(job, work, _context(job, store, report, leaving)), clocks


def _import(job: Job) -> Callable[[Mapping[str, Any], Context], Outcome]:
    """Import what a job needs, which under a fork server is there already, and return its work.

    Raises:
        ConfigurationError: See ``resolve``.
    """
    for name in job.preload:
        if name in sys.modules:
            continue
        with contextlib.suppress(Exception):  # the work that needs it will say so itself
            import_module(name)
    return resolve(job.item.run)


def _carry_out(job: Job, work: Callable[[Mapping[str, Any], Context], Outcome], context: Context) -> Finished:
    folder = context.folder
    try:
        returned = work(job.item.spec, context)
        if not isinstance(returned, Outcome):
            raise TypeError(f"{job.item.run} returned {type(returned).__name__}, expected an Outcome")
        _check_bounds(job.item, returned)
    except (Terminated, Preempted):
        raise
    except BaseException as failure:  # a work that ends Python has failed, and says so in its record
        if context.leaving():  # a scheduler's signal ends loaders too, and the work stumbles over that
            raise Terminated from failure
        if is_full(failure) or _no_space(folder):
            raise resolve_full(folder) from failure
        ended = Finished(Outcome(status=_judge(failure)), _describe(failure))
        _forget(failure)
        return ended
    if returned.status is Status.OK:
        return Finished(returned, keep=True)
    return Finished(returned, {"type": returned.status.value.capitalize(), "message": returned.message}, keep=True)


def _leave(job: Job, store: Store, ended: Finished, clocks: Clocks) -> None:
    """Write the record."""
    outcome = ended.outcome
    store.finish(
        job.attempt,
        outcome.status,
        values=outcome.values,
        facts=outcome.facts,
        arrays=outcome.arrays,
        curve=outcome.curve,
        error=ended.error,
        provenance=_provenance(job, clocks),
        keep_files=ended.keep,
    )


def _check_bounds(item: Item, outcome: Outcome) -> None:
    """Raise ValueError if a trial's metric has a value that it cannot have, before a record vouches for it."""
    for metric in item.outline.metrics or ():
        wrong = out_of_bounds(metric, outcome.values[metric]) if metric in outcome.values else ""
        if wrong:
            raise ValueError(f"{item.run} returned a value out of its metric's bounds: {wrong}")


def resolve(path: str) -> Callable[[Mapping[str, Any], Context], Outcome]:
    """Find the work that a dotted path names.

    Raises:
        ConfigurationError: If the path is malformed, or the module or a function of that name is not there.
    """
    found = import_work(path)
    if not callable(found):
        raise ConfigurationError(f'found run path "{path}", which is no function; expected "module:function"')
    work: Callable[[Mapping[str, Any], Context], Outcome] = found
    return work


class Reporter:
    """Writes progress for other processes to read, at most twice a second, whole or not at all."""

    def __init__(self, path: Path, slot: str, since: float) -> None:
        self._path = path
        self._fixed = {"slot": slot, "since": since, **myself()}
        self._next = 0.0
        self(0, 0, "starting")

    def __call__(self, done: int, total: int, what: str) -> None:
        """Say that ``done`` of ``total`` steps of ``what`` are over; cheap enough for every step."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + REPORT_SECONDS
        with contextlib.suppress(OSError):  # progress is worth no trial
            text = json.dumps({**self._fixed, "done": int(done), "total": int(total), "what": str(what)})
            write_whole(self._path, text.encode(), durable=False)


def _take_slot(job: Job) -> None:
    slot = job.slot
    os.environ.update(job.environment)
    os.environ["CUDA_VISIBLE_DEVICES"] = slot.visible or ""
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # else cuBLAS is not deterministic
    os.environ["OPENCV_FOR_THREADS_NUM"] = "1"  # for an OpenCV that is imported later
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(slot.threads)
    os.environ.pop("PYTHONSAFEPATH", None)
    for entry in job.search_path:
        if entry not in sys.path:
            sys.path.append(entry)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(slot.threads)
    if "cv2" in sys.modules:
        sys.modules["cv2"].setNumThreads(0)


def _context(job: Job, store: Store, report: Reporter, leaving: Callable[[], bool]) -> Context:
    return Context(
        device=job.slot.device,
        folder=job.attempt.folder,
        inputs=dict(job.inputs),
        resume=store.resume_folder(job.item.id),
        workers=job.workers,
        data_roots=dict(job.data_roots),
        report=report,
        leaving=leaving,
    )


def _provenance(job: Job, clocks: Clocks | None) -> dict[str, object]:
    """Return where and how long this process ran a job; without clocks only where."""
    spent: dict[str, object] = {}
    if clocks is not None:
        spent = {
            "started": datetime.fromtimestamp(clocks.started, UTC).isoformat(timespec="milliseconds"),
            "duration_seconds": round(time.perf_counter() - clocks.steady, 4),
            "processor_seconds": round(time.process_time() - clocks.processor, 4),
        }
    return {
        **provenance(),
        "executor": job.executor,
        **spent,
        "slot": job.slot.name,
        "device": job.slot.device,
        "device_class": job.slot.device_class,
        "device_model": job.slot.model,
        "threads": job.slot.threads,
        "workers": job.workers,
        "arithmetic": arithmetic(),
    }


def _judge(failure: BaseException) -> Status:
    """Tell running out of memory from every other exception, without importing torch."""
    torch = sys.modules.get("torch")
    kind = getattr(torch, "OutOfMemoryError", None)
    if isinstance(failure, MemoryError) or (isinstance(kind, type) and isinstance(failure, kind)):
        return Status.OUT_OF_MEMORY
    if isinstance(failure, RuntimeError) and "can't allocate memory" in str(failure):
        return Status.OUT_OF_MEMORY  # torch's allocator for the CPU
    return Status.FAILED


def _describe(failure: BaseException) -> dict[str, str]:
    """Write an exception down; a mistake that its author can fix needs its sentence only."""
    said = str(failure) if isinstance(failure, Exception) else f"the work asked Python to end: {failure!r}"
    described = {"type": type(failure).__name__, "message": said}
    if not isinstance(failure, DiraBenchError):
        described["traceback"] = "".join(traceback.format_exception(failure))
    return described


def _forget(failure: BaseException) -> None:
    """Drop the frames of an exception: they hold the tensors that filled the memory."""
    traceback.clear_frames(failure.__traceback__)


def _no_space(folder: Path) -> bool:
    """Say whether the disk has no room left: libraries hide the reason their writing failed."""
    with contextlib.suppress(OSError):
        return shutil.disk_usage(folder).free < 65536
    return False


@contextlib.contextmanager
def _redirected(path: Path) -> Iterator[None]:
    """Send what the work, its libraries and their crashes print into a file; an empty one is removed."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    faulthandler.enable(2)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        for target, copy in zip((1, 2), saved, strict=True):
            os.dup2(copy, target)
            os.close(copy)
        with contextlib.suppress(OSError):
            if path.stat().st_size == 0:
                path.unlink()


def _watch(leash: Connection, progress: Path) -> None:
    """End this process group when the driver is gone; meanwhile show other machines that it runs."""
    while True:
        try:
            if leash.poll(BEAT_SECONDS):
                leash.recv_bytes()  # the driver never writes: what arrives is the end
            else:
                with contextlib.suppress(OSError):
                    os.utime(progress)
        except (EOFError, OSError):
            os.killpg(os.getpgrp(), signal.SIGKILL)


def _beat(progress: Path) -> None:
    """Show for as long as this process lives that it does."""
    while True:
        time.sleep(BEAT_SECONDS)
        with contextlib.suppress(OSError):
            os.utime(progress)
