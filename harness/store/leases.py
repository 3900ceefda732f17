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
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from harness.store.files import make_way, parse_json, writing
from harness.whole_files import write_whole

BEAT_SECONDS = 15.0
SILENT_SECONDS = 300.0  # an owner on another machine that says nothing for so long is gone


@dataclass(frozen=True)
class EngineJob:
    """By which name an engine knows a job, also after the driver that submitted it is gone: a part of a claim.

    Attributes:
        engine: The name under which the engine was asked for (``slurm``, ``ray``, a dotted path).
        id: The engine's own id of the job, such as ``1234_7``.
        cluster: Which cluster, where an engine may speak to several.
    """

    engine: str
    id: str
    cluster: str = ""

    @classmethod
    def of(cls, claim: Mapping[str, object]) -> EngineJob | None:
        """Read it from a claim; None if the claim names no job."""
        said = [claim.get(name, "") for name in ("engine", "job", "cluster")]
        engine, id, cluster = (value if isinstance(value, str) else "" for value in said)
        return cls(engine, id, cluster) if engine and id else None

    def claimed(self) -> dict[str, object]:
        """Return what a claim says of it."""
        return {"engine": self.engine, "job": self.id, "cluster": self.cluster}


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


def myself() -> dict[str, object]:
    """Describe this process so that others can tell whether it lives."""
    return {"machine": machine(), "pid": os.getpid(), "start": process_start(os.getpid())}


def process_id(owner: Mapping[str, object]) -> int:
    """Return the process id that a file names; -1, which no process has, for anything else."""
    found = owner.get("pid")
    return found if isinstance(found, int) and not isinstance(found, bool) and 0 < found < 2**31 else -1


def owner_alive(owner: Mapping[str, object], beat: Path, clock: FileClock) -> bool:
    """Say whether a process that wrote ``myself()`` into a file lives.

    Args:
        owner: What it wrote.
        beat: The file it touches while it lives.
        clock: The time as the file system that holds ``beat`` has it, so that two machines' clocks need not agree.
    """
    if process_id(owner) < 0 or not isinstance(owner.get("machine"), str):
        return False  # a damaged file names no owner
    if owner.get("machine") == machine():
        start = owner.get("start")
        return process_alive(process_id(owner), start if isinstance(start, str) else None)
    try:
        touched = beat.stat().st_mtime
    except OSError:
        return False
    age = clock.now() - touched
    if age >= -SILENT_SECONDS:
        return age < SILENT_SECONDS
    return clock.unchanged(beat, touched) < SILENT_SECONDS  # dated in the future: its date says nothing


def read_object(path: Path) -> dict[str, object] | None:
    """Read a small JSON object that others replace at any time; None if it is absent, damaged or not one."""
    try:
        value = parse_json(path.read_bytes()) if path.is_file() else None
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


class FileClock:
    """What time it is for the file system of a store, and how long a file has stood still.

    Attributes:
        folder: Where a file may be made for a moment, to see how it is dated.
        mine: A file that may be touched instead.
    """

    FRESH = 1.0  # seconds for which an answer is good

    def __init__(self, folder: Path, mine: Path | None = None) -> None:
        self.folder, self.mine = folder, mine
        self._asked, self._offset = -self.FRESH, 0.0
        self._seen: dict[Path, tuple[float, float]] = {}

    def now(self) -> float:
        """Return the time, in seconds since 1970, as the file system dates a file now; else this machine's."""
        asked = time.monotonic()
        if asked - self._asked >= self.FRESH:
            with contextlib.suppress(OSError):
                self._offset = self._date() - asked
                self._asked = asked
        return asked + self._offset if self._asked >= 0 else time.time()

    def _date(self) -> float:
        if self.mine is not None:
            with contextlib.suppress(OSError):
                os.utime(self.mine)
                return self.mine.stat().st_mtime
        probe = self.folder / f".clock.{uuid.uuid4().hex[:12]}"
        try:
            probe.touch(exist_ok=False)
            return probe.stat().st_mtime
        finally:
            with contextlib.suppress(OSError):
                probe.unlink()

    def unchanged(self, path: Path, date: float) -> float:
        """Return for how many seconds a file has been seen with the date it has now; 0 at first sight."""
        seen, since = self._seen.get(path, (None, 0.0))
        if seen != date:
            since = time.monotonic()
            self._seen[path] = (date, since)
        return time.monotonic() - since


@dataclass
class Driver:
    """One process that hands out attempts; a context manager that beats while it is entered.

    Attributes:
        root: The store's root.
        token: Its unique name; what a lease points to.
    """

    root: Path
    token: str = ""

    def __post_init__(self) -> None:
        self.token = self.token or f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self.clock = FileClock(self.path.parent, self.path)
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def path(self) -> Path:
        """The heartbeat file."""
        return self.root / "drivers" / self.token

    def __enter__(self) -> Driver:
        with writing(self.path):
            make_way(self.root, self.path.parent)
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self.path, json.dumps(myself()).encode(), durable=False)
        for other in self.path.parent.iterdir():
            if (
                other != self.path
                and not other.name.startswith(".")
                and not driver_alive(self.root, other.name, self.clock)
            ):
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


def driver_alive(root: Path, token: str, clock: FileClock) -> bool:
    """Say whether the driver that a lease names still runs, by the file system's ``clock``."""
    path = root / "drivers" / token
    owner = read_object(path) if token == path.name else None  # a file name, and no way out of the folder
    return owner is not None and owner_alive(owner, path, clock)


def at_work(root: Path) -> list[str]:
    """Return the tokens of the drivers of a store that still run, sorted."""
    folder = root / "drivers"
    clock = FileClock(folder)
    with contextlib.suppress(OSError):
        names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
        return [name for name in names if driver_alive(root, name, clock)]
    return []
