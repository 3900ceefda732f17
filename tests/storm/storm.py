"""The storm itself, and what must be true after it."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from harness.spec import Status
from harness.store import Store
from harness.store.records import RECORD
from harness.whole_files import is_temporary
from tests.storm.driver import items

ROOT = Path(__file__).resolve().parents[2]
BALLAST = "ballast"
DRIVERS = 2


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """Mount a file system of 16 MB on a folder where that is allowed; say whether it was."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    try:
        yield mounted.returncode == 0
    finally:
        if mounted.returncode == 0:
            subprocess.run(["umount", "--lazy", str(folder)], check=False)


class Storm:
    """Two drivers over one store, and what happens to them.

    Args:
        root: Where the store and the drivers' logs lie.
        seed: Of everything that is drawn.
        seconds: How long things are killed; then the drivers finish in peace.
        count: Items.
    """

    def __init__(self, root: Path, seed: int, seconds: float, count: int) -> None:
        self.root, self.seconds, self.count = root, seconds, count
        self.random = random.Random(seed)
        self.mark = f"{seed}-{os.getpid()}"
        self.each = (
            2.0 * seconds * DRIVERS / count
        )  # two slots a driver: in peace the work would last as long as the storm
        self.did: Counter[str] = Counter()
        self.drivers: list[subprocess.Popen[bytes]] = []
        self.finished = False  # a driver has seen all items done

    def run(self) -> list[str]:
        """Rage, let the drivers finish, and return what is wrong: a sentence each."""
        try:
            end = time.monotonic() + self.seconds
            while time.monotonic() < end and not self.finished:
                self._keep_drivers()
                self._strike()
                time.sleep(self.random.uniform(0.1, 1.0))
            (self.root / BALLAST).unlink(missing_ok=True)
            self._calm()
        finally:
            self._end_all()
        return list(self._faults())

    def summary(self) -> str:
        """Say what was done to the drivers."""
        return ", ".join(f"{count} {what}" for what, count in sorted(self.did.items()))

    def _keep_drivers(self) -> None:
        for driver in [one for one in self.drivers if one.poll() is not None]:
            self.drivers.remove(driver)
            self.did[f"drivers ended with {driver.returncode}"] += 1
            self.finished = self.finished or driver.returncode == 0
        while len(self.drivers) < DRIVERS:
            self.drivers.append(self._start())

    def _start(self) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "STORM": self.mark, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        words = [sys.executable, "-m", "tests.storm.driver", str(self.root), repr(self.each), str(self.count)]
        nowhere = subprocess.DEVNULL  # a log on the small disk would fill it
        return subprocess.Popen(words, cwd=ROOT, env=environment, stdout=nowhere, stderr=nowhere)

    def _strike(self) -> None:
        what = self.random.choices(("child", "driver", "disk", "nothing"), (0.5, 0.12, 0.06, 0.32))[0]
        if what == "child":
            others = sorted(self._processes() - {driver.pid for driver in self.drivers})
            if others:
                _kill(self.random.choice(others))
                self.did["children killed"] += 1
        elif what == "driver":
            driver = self.random.choice(self.drivers)
            driver.kill()
            driver.wait()
            self.did["drivers killed"] += 1
        elif what == "disk" and os.path.ismount(self.root):
            self._fill()

    def _fill(self) -> None:
        """Leave no room for some seconds."""
        ballast = self.root / BALLAST
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as stream:
            while True:
                stream.write(bytes(65536))
        self.did["disks filled"] += 1
        time.sleep(self.random.uniform(0.5, 2.0))
        ballast.unlink(missing_ok=True)

    def _processes(self) -> set[int]:
        """Return every process of this storm: drivers, fork servers and children."""
        found = set()
        for folder in Path("/proc").iterdir():
            if folder.name.isdecimal():
                with contextlib.suppress(OSError):
                    if f"STORM={self.mark}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                        found.add(int(folder.name))
        return found

    def _calm(self) -> None:
        """Let drivers finish; the wait is generous, because the machine may be busy."""
        end = time.monotonic() + 120 + 20 * self.each * self.count
        while time.monotonic() < end and not self.finished:
            self._keep_drivers()
            time.sleep(0.2)
        for driver in self.drivers:
            with contextlib.suppress(subprocess.TimeoutExpired):
                driver.wait(60)

    def _end_all(self) -> None:
        for driver in self.drivers:
            driver.kill()
            driver.wait()
        time.sleep(1.0)  # children end with their driver
        for process in self._processes():
            self.did["processes left"] += 1
            _kill(process)

    def _faults(self) -> Iterator[str]:
        if self.did["processes left"]:
            yield f"{self.did['processes left']} processes outlived their driver"
        store = Store(self.root / "trials", self.root / "cohorts", notify=lambda sentence: None)
        now = store.clock.now
        store.clock.now = lambda: now() + 1000.0  # what was being prepared is old by now
        store.sweep()
        for one in items(self.each, self.count):
            records = store.attempts("trial", one.id)
            ok = [record for record in records if record.status is Status.OK]
            if len(ok) != 1:
                how = ", ".join(record.status.value for record in records) or "none"
                yield f"item {one.title}: {len(ok)} ok records among {how}"
            elif ok[0].values != {"sum": float(one.spec["a"])} or not store.verify(ok[0]):
                yield f"item {one.title}: its value or its files are not what it left"
        yield from self._left()

    def _left(self) -> Iterator[str]:
        for path in sorted(self.root.rglob("*")):
            place = path.relative_to(self.root).as_posix()
            if is_temporary(path.name) or path.parent.name == "drivers" or place.startswith("trials/resume/"):
                yield f"left behind: {place}"
            elif path.name.startswith(f"{RECORD}.damaged"):
                yield f"a damaged record: {place}"
            elif path.name == "progress.json":
                yield f"left behind: {place}"


def _kill(process: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)
