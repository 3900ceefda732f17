"""A cluster in small: a remote engine whose jobs are processes of this machine that nobody's death takes along.

Stands for a scheduler where none is installed: a job has an id, outlives its driver, and begins late.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass

from harness.environment import Device, remote_slots
from harness.executors import jobs
from harness.executors.interface import Ended, Executor, Handle, Job
from harness.executors.options import EngineOptions
from harness.spec import Frozen
from harness.store import EngineJob
from harness.store.leases import process_alive, process_start

NAME = f"{__name__}:start"


class Options(Frozen):
    """What this engine can be told."""

    delay_seconds: float = 0.0
    settle_seconds: float = 2.0


@dataclass
class Queued:
    """A job, and the process it is."""

    job: Job
    pid: int
    start: str | None
    kill_at: float | None = None


class QueueOfProcesses(Executor):
    """Detached processes."""

    name = NAME
    remote = True

    def __init__(self, count: int, options: Options) -> None:
        self.slots = remote_slots(count, "queue", "cpu")
        self.settle_seconds = options.settle_seconds
        self._delay = options.delay_seconds
        self._running: list[Queued] = []

    def submit(self, job: Job) -> Queued:
        words = jobs.command(jobs.write_job(job))
        if self._delay:
            words = ["sh", "-c", f'sleep {self._delay}; exec "$@"', "sh", *words]
        process = subprocess.Popen(
            words, env={**os.environ, **jobs.environment(job)}, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        process.returncode = 0  # nobody waits for it
        self._running.append(Queued(job, process.pid, process_start(process.pid)))
        return self._running[-1]

    def reference(self, handle: Handle) -> EngineJob | None:
        return next((EngineJob(NAME, f"{q.pid}-{q.start}") for q in self._running if q is handle), None)

    def adopt(self, job: Job, reference: EngineJob) -> Queued | None:
        if reference.engine != NAME or not alive(reference):
            return None
        pid, _, start = reference.id.partition("-")
        self._running.append(Queued(job, int(pid), start))
        return self._running[-1]

    def wait(self, timeout: float) -> list[tuple[Handle, Ended]]:
        limit = time.monotonic() + timeout
        while True:
            for queued in self._running:
                if queued.kill_at is not None and time.monotonic() >= queued.kill_at:
                    _signal(queued.pid, queued.start, signal.SIGKILL)
            over = [q for q in self._running if not process_alive(q.pid, q.start)]
            if over or time.monotonic() >= limit:
                break
            time.sleep(0.05)
        self._running = [q for q in self._running if q not in over]
        return [(q, Ended(None)) for q in over]  # without accounting nobody knows how

    def stop(self, handle: Handle, grace: float) -> None:
        for queued in self._running:
            if queued is handle:
                queued.kill_at = time.monotonic() + grace
                _signal(queued.pid, queued.start, signal.SIGTERM)

    def detach(self) -> None:
        self._running = []

    def close(self) -> None:
        for queued in self._running:
            _signal(queued.pid, queued.start, signal.SIGKILL)


def alive(job: EngineJob) -> bool | None:
    pid, _, start = job.id.partition("-")
    return process_alive(int(pid), start)


def cancel(job: EngineJob) -> None:
    pid, _, start = job.id.partition("-")
    _signal(int(pid), start, signal.SIGKILL)


def start(slots: int | None, device: Device, preload: Sequence[str], options: EngineOptions) -> QueueOfProcesses:
    return QueueOfProcesses(slots or 1, options.read(Options))


def _signal(pid: int, start: str | None, number: signal.Signals) -> None:
    if process_alive(pid, start):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, number)
