"""Who owns an unfinished attempt, and whether its owner is still alive."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import socket
import threading
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from harness.store.files import write_whole, writing

BEAT_SECONDS = 15.0
SILENT_SECONDS = 300.0  # an owner on another machine that says nothing for so long is gone


@functools.cache
def machine() -> str:
    """Name the set of process ids this process lives among: host, boot and process namespace.

    Two containers may share a host name and still not see each other's processes.
    """
    boot = namespace = ""
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8]
    with contextlib.suppress(OSError):
        namespace = str(Path("/proc/self/ns/pid").readlink())
    return f"{socket.gethostname()} {boot} {namespace}".strip()


def process_start(pid: int) -> str | None:
    """Return when a process started, in the kernel's ticks, or None if it is gone, a zombie, or cannot be told.

    A process id is used again; together with its start it is not.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # the name before it may hold spaces and brackets
    return None if fields[0] in "ZXx" else fields[19]


def process_alive(pid: int, start: str | None) -> bool:
    """Say whether the process that was seen as ``pid`` started at ``start`` is still running here."""
    if Path("/proc/self/stat").exists():
        now = process_start(pid)
        return now is not None and (start is None or now == start)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def myself() -> dict[str, Any]:
    """Describe this process so that others can tell whether it lives."""
    return {"machine": machine(), "pid": os.getpid(), "start": process_start(os.getpid())}


def owner_alive(owner: dict[str, Any], beat: Path, clock: Path | None) -> bool:
    """Say whether a process that wrote ``myself()`` into a file lives.

    Args:
        owner: What it wrote.
        beat: The file it touches while it lives.
        clock: A file that was touched just now on the same file system, so that two machines' clocks need not
            agree; None takes this machine's clock.
    """
    if owner.get("machine") == machine():
        return process_alive(int(owner.get("pid", -1)), owner.get("start"))
    try:
        now = clock.stat().st_mtime if clock is not None else time.time()
        return now - beat.stat().st_mtime < SILENT_SECONDS
    except OSError:
        return False


def read_object(path: Path) -> dict[str, Any] | None:
    """Read a small JSON object that others replace at any time; None if it is absent or not one."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


@dataclass
class Driver:
    """One process that hands out attempts; a context manager that beats while it is entered.

    Attributes:
        root: The store's root.
        token: Its unique name; what a claim points to.
    """

    root: Path
    token: str = ""

    def __post_init__(self) -> None:
        self.token = self.token or f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def path(self) -> Path:
        """The heartbeat file."""
        return self.root / "drivers" / self.token

    def __enter__(self) -> Driver:
        with writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self.path, json.dumps(myself()).encode(), durable=False)
        for other in self.path.parent.iterdir():
            if other != self.path and not other.name.startswith(".") and not driver_alive(self.root, other.name, self):
                with contextlib.suppress(OSError):
                    other.unlink()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join(timeout=1)
        with contextlib.suppress(OSError):
            self.path.unlink()

    def _beat(self) -> None:
        while not self._ended.wait(BEAT_SECONDS):
            with contextlib.suppress(OSError):
                try:
                    os.utime(self.path)
                except FileNotFoundError:  # taken for dead by another machine, e.g. after a suspended laptop woke
                    write_whole(self.path, json.dumps(myself()).encode(), durable=False)


def driver_alive(root: Path, token: str, asker: Driver | None = None) -> bool:
    """Say whether the driver that a claim names still runs; ``asker`` lends its heartbeat file as the clock."""
    path = root / "drivers" / token
    owner = read_object(path)
    if owner is None:
        return False
    clock = None
    if asker is not None and owner.get("machine") != machine():
        with contextlib.suppress(OSError):
            os.utime(asker.path)
            clock = asker.path
    return owner_alive(owner, path, clock)
