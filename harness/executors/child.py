"""The child entry: one process, one attempt, one record.

The child writes its own record, so a driver that dies afterwards loses nothing, and every engine shares this code.
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
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from harness.contracts import Context, Outcome
from harness.dotted import import_work
from harness.environment import arithmetic
from harness.errors import ConfigurationError, DiraBenchError, StoreError
from harness.executors.interface import DISK_FULL, Job
from harness.foreign import OwnEnd
from harness.metrics import out_of_bounds
from harness.spec import Item, Status
from harness.store import Store, is_full, resolve_full
from harness.store.leases import myself
from harness.store.records import OUTPUT, PROGRESS
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
    signal.signal(signal.SIGTERM, _terminate)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's business
    try:
        code, message = execute(job)
    except Terminated:
        code, message = ENDED_BY_REQUEST, ""
    if message:
        with contextlib.suppress(OSError, ValueError):
            leash.send_bytes(message.encode())
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # no atexit of libraries the server preloaded; the record is on the disk


def execute(job: Job) -> tuple[int, str]:
    """Run one attempt in this process and leave its record.

    Returns:
        The exit status and one sentence for the driver: 0 if a record was written, whatever it says;
        ``DISK_FULL`` if it could not be.
    """
    _take_slot(job)
    store = Store(job.root, job.cohorts, notify=lambda sentence: None)
    attempt, clocks = job.attempt, Clocks(time.time(), time.perf_counter(), time.process_time())
    try:
        with _redirected(attempt.folder / OUTPUT):
            ended = _attempt(job, store, clocks)
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


@dataclass(frozen=True)
class Clocks:
    """When an attempt began: seconds since the epoch, of a steady clock, and of this process's processor time."""

    started: float
    steady: float
    processor: float


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


def _attempt(job: Job, store: Store, clocks: Clocks) -> Finished:
    """Run the work; whatever it raises is an outcome.

    Raises:
        Terminated: If the driver ended this process.
        StoreError: If the disk is full.
    """
    folder = job.attempt.folder
    report = Reporter(folder / PROGRESS, job.slot.name, clocks.started)
    try:
        work = resolve(job.item.run)
        returned = work(job.item.spec, _context(job, store, report))
        if not isinstance(returned, Outcome):
            raise TypeError(f"{job.item.run} returned {type(returned).__name__}, expected an Outcome")
        _check_bounds(job.item, returned)
    except Terminated:
        raise
    except BaseException as failure:  # a work that ends Python has failed, and says so in its record
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
        provenance=_provenance(job, clocks.started, clocks.steady, clocks.processor),
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
    os.environ["CUDA_VISIBLE_DEVICES"] = slot.visible
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


def _context(job: Job, store: Store, report: Reporter) -> Context:
    return Context(
        device=job.slot.device,
        folder=job.attempt.folder,
        inputs=dict(job.inputs),
        resume=store.resume_folder(job.item.id),
        workers=job.workers,
        data_roots=dict(job.data_roots),
        report=report,
    )


def _provenance(job: Job, started: float, clock: float, processor: float) -> dict[str, object]:
    return {
        **job.provenance,
        "started": datetime.fromtimestamp(started, UTC).isoformat(timespec="milliseconds"),
        "duration_seconds": round(time.perf_counter() - clock, 4),
        "processor_seconds": round(time.process_time() - processor, 4),
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


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise Terminated
