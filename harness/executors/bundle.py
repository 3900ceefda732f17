"""Several short items in one job of a cluster: imports once, then a fork an item, one after another.

    python -m harness.executors.bundle FILE...

Each FILE is a job of its own (``harness.executors.jobs``). As each ends, a line ``STATUS FILE`` is printed, from which
the engine knows how; whether the item succeeded stands in the store.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

from harness.dotted import import_module
from harness.errors import StoreError
from harness.executors import child
from harness.executors.interface import LEFT
from harness.executors.jobs import read_job
from harness.store import Store

LOOK_SECONDS = 5.0  # how often it is asked whether the driver has closed an item's attempt
OVER_SECONDS = 10.0  # how long an item may go on after that: its own record is written a moment before its end


class Bundle:
    """The process that forks one item after another, and passes on the request to leave."""

    def __init__(self) -> None:
        self._asked = False
        self._running = 0

    def listen(self) -> None:
        """Hear from now on what a scheduler sends."""
        signal.signal(signal.SIGTERM, self._hear)
        signal.signal(signal.SIGUSR2, self._hear)

    def run(self, paths: Sequence[Path]) -> int:
        """Run jobs in turn; what is left when it is asked to leave does not begin.

        Returns:
            ``LEFT`` if it was asked to leave, else 0.
        """
        for path in paths:
            if self._asked:
                break
            sys.stdout.write(f"{self._fork(path)} {path}\n")
            sys.stdout.flush()
        return LEFT if self._asked else 0

    def _fork(self, path: Path) -> int:
        """Run one job in a fork of this process and return its exit status; negative is a signal."""
        self._running = os.fork()
        if not self._running:
            os._exit(_be_child(path))
        since: float | None = None
        looked = time.monotonic()
        while True:
            ended, status = os.waitpid(self._running, os.WNOHANG)
            if ended:
                self._running = 0
                return os.waitstatus_to_exitcode(status)
            now = time.monotonic()
            if now - looked >= LOOK_SECONDS:
                looked, since = now, (since or now) if _over(path) else None
                if since is not None and now - since >= OVER_SECONDS:
                    os.kill(self._running, signal.SIGKILL)
            time.sleep(0.05)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self._asked = True
        if self._running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._running, number)


def _be_child(path: Path) -> int:
    code = 1
    try:
        code = child.main(path)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return code


def _over(path: Path) -> bool:
    """Say whether an attempt has a record, as after its driver gave it up."""
    try:
        job = read_job(path)
    except StoreError:
        return True  # its file goes with its record
    store = Store(job.root, job.cohorts, notify=lambda sentence: None)
    return store.attempt(job.item.kind, job.item.id, job.ordinal) is not None


def statuses(text: str) -> Mapping[str, int]:
    """Read what a bundle printed: file → exit status."""
    found: dict[str, int] = {}
    for line in text.splitlines():
        status, _, path = line.partition(" ")
        if path.startswith("/") and status.lstrip("-").isdigit():
            found[path] = int(status)
    return found


def main(paths: Sequence[Path]) -> int:
    """Run jobs in turn in forks of this process, which imports once what the first of them needs."""
    bundle = Bundle()
    bundle.listen()
    with contextlib.suppress(StoreError):  # the item that has no job says so itself
        for name in read_job(paths[0]).preload:
            with contextlib.suppress(Exception):  # so does the work that needs it
                import_module(name)
    return bundle.run(paths)


if __name__ == "__main__":
    sys.exit(main([Path(word) for word in sys.argv[1:]]))
