"""Local slots: a fresh process per item, forked from a server that has the heavy libraries in memory.

Forking from a warm server costs about 0.01 s where imports cost seconds. Not ``ProcessPoolExecutor``: there one killed
worker breaks every pending future. The server may be killed too: its children live on, are watched by their process
ids, and the next submission starts a new server.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import time
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.environment import Device, Slot, device_slots
from harness.errors import DiraBenchError
from harness.executors import child
from harness.executors.interface import PRELOAD_VARIABLE, Ended, Executor, Handle, Job
from harness.executors.jobs import KEEP_MEMORY, ONE_THREAD
from harness.executors.options import EngineOptions, NoOptions
from harness.store.leases import process_alive, process_start

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.context import ForkServerProcess

LOST_SERVER = 255  # what multiprocessing answers when the server that watched the child is gone


@dataclass
class LocalHandle:
    """A job in a process of this machine."""

    job: Job
    process: ForkServerProcess
    leash: Connection
    pid: int
    start: str | None
    kill_at: float | None = None
    orphan: bool = False


class LocalExecutor(Executor):
    """Runs jobs in processes of this machine.

    Args:
        slots: Where; see ``harness.environment.device_slots``.
        preload: Modules the server imports once; missing ones are skipped. Takes effect when the first executor of
            this process submits its first job.
    """

    name = "local"

    def __init__(self, slots: Sequence[Slot], preload: Sequence[str] = ()) -> None:
        self.slots = tuple(slots)
        self._preload = tuple(preload)
        self._context = multiprocessing.get_context("forkserver")
        self._running: list[LocalHandle] = []

    def submit(self, job: Job) -> LocalHandle:
        """Start a job in its slot and return at once.

        Raises:
            DiraBenchError: If no process can be started.
        """
        for last in (False, True):
            ours, theirs = self._context.Pipe(duplex=True)
            process = self._context.Process(target=child.enter, args=(job, theirs), daemon=False)
            try:
                with _for_the_server(self._preload):
                    self._context.set_forkserver_preload(["harness.executors.preload"])
                    process.start()
            except (OSError, EOFError) as error:  # the server died a moment ago: a second start makes a new one
                ours.close()
                if last:
                    raise DiraBenchError(f"cannot start a process for {job.item.title}: {error}") from error
                time.sleep(0.1)
                continue
            finally:
                theirs.close()
            break
        pid = process.pid or -1
        handle = LocalHandle(job, process, ours, pid, process_start(pid))
        self._running.append(handle)
        return handle

    def wait(self, timeout: float) -> list[tuple[Handle, Ended]]:
        """Wait up to ``timeout`` seconds and return the jobs that have ended since the last call."""
        now = time.monotonic()
        limits = [handle.kill_at - now for handle in self._running if handle.kill_at is not None]
        if any(handle.orphan for handle in self._running):
            limits.append(0.05)
        sentinels = [handle.process.sentinel for handle in self._running if not handle.orphan]
        rest = max(0.0, min([timeout, *limits]))
        if sentinels:
            multiprocessing.connection.wait(sentinels, rest)
        else:
            time.sleep(rest)
        ended: list[tuple[Handle, Ended]] = []
        for handle in list(self._running):
            code = self._ended(handle)
            if code is _RUNNING:
                if handle.kill_at is not None and time.monotonic() >= handle.kill_at:
                    _signal(handle, signal.SIGKILL)
                    handle.kill_at = time.monotonic() + 5.0
                continue
            self._running.remove(handle)
            _sweep(handle)
            ended.append((handle, Ended(code, _message(handle.leash))))
            handle.leash.close()
            with contextlib.suppress(ValueError):
                handle.process.close()
        return ended

    def _ended(self, handle: LocalHandle) -> int | None:
        if not handle.orphan:
            code = handle.process.exitcode
            if code is None:
                return _RUNNING
            if code != LOST_SERVER:
                return code
            handle.orphan = True  # the server is gone, the child perhaps not
        return _RUNNING if process_alive(handle.pid, handle.start) else None

    def stop(self, handle: Handle, grace: float) -> None:
        """Send TERM to the job, and KILL to its process group after ``grace`` seconds; ``wait`` sees it through.

        Its loaders hear nothing of TERM: they must live on while the work reaches its checkpoint.
        """
        for running in self._running:
            if running is handle and (running.kill_at is None or grace <= 0):
                running.kill_at = time.monotonic() + (grace if grace > 0 else 1.0)
                _signal(running, signal.SIGTERM if grace > 0 else signal.SIGKILL)

    def close(self) -> None:
        """End every job that still runs, at once."""
        for handle in self._running:
            _signal(handle, signal.SIGKILL)
        deadline = time.monotonic() + 10.0
        while self._running and time.monotonic() < deadline:
            self.wait(0.2)


_RUNNING = -(10**6)  # no exit status


def _signal(handle: LocalHandle, number: signal.Signals) -> None:
    """Signal the job's process; with KILL its whole group, once it has opened its session."""
    if not process_alive(handle.pid, handle.start):
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if number == signal.SIGKILL and os.getpgid(handle.pid) == handle.pid:
            os.killpg(handle.pid, number)
        else:
            os.kill(handle.pid, number)


def _sweep(handle: LocalHandle) -> None:
    """End what the job left running in its group: loader processes of a killed work."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(handle.pid, signal.SIGKILL)


def _message(leash: Connection) -> str:
    try:
        return leash.recv_bytes().decode(errors="replace") if leash.poll() else ""
    except (EOFError, OSError):
        return ""


def start(slots: int | None, device: Device, preload: Sequence[str], options: EngineOptions) -> LocalExecutor:
    """Make the executor of this machine (``harness.executors.factory``); it has no options.

    Raises:
        ConfigurationError: If ``slots`` is below 1, or there are options.
        Unavailable: If ``cuda`` was asked for and no GPU is visible.
    """
    options.read(NoOptions)
    return LocalExecutor(device_slots(slots, device), preload)


@contextlib.contextmanager
def _for_the_server(preload: Sequence[str]) -> Iterator[None]:
    """Give the fork server its environment, and keep children from importing the driver's main module again.

    The server is started by the first submission and inherits the environment of that moment: one thread (a library
    reads that once, at import), an allocator that keeps its memory, the driver's search path, and not the current
    folder, which might hold a package of our name. ``multiprocessing`` would import the driver's
    ``__main__`` in every child: slow, and wrong for a script.
    """
    path = [str(Path(entry or ".").absolute()) for entry in sys.path]
    wanted = {
        PRELOAD_VARIABLE: ",".join(preload),
        "PYTHONPATH": os.pathsep.join(path),
        "PYTHONSAFEPATH": "1",
        **ONE_THREAD,
        "GLIBC_TUNABLES": os.environ.get("GLIBC_TUNABLES", KEEP_MEMORY),
    }
    before = {name: os.environ.get(name) for name in wanted}
    main = sys.modules["__main__"]
    os.environ.update(wanted)
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
