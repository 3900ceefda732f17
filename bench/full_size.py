"""The paper's scale on a disk: commands over data roots of full size, and a preparation interrupted until it is whole.

Each command is a process of its own: wall seconds, processor seconds of it and of all that descend from it, and the
largest anonymous memory of it and all below it. ``data prepare`` of ChestX-ray14 is interrupted at the shares that
``--interrupt-at`` names, in turn by SIGTERM, SIGKILL and SIGINT, and then runs to its end; every row is held against
its picture. The same at 128 px to 32 px, where an uninterrupted preparation beside it must give equal files. Nothing
stays unless ``--keep`` says so.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from bench.full_roots import IMAGES, ROOTS, chestxray14
from bench.measuring import finish, parser
from bench.processes import inherit_orphans
from harness.identity import file_sha256
from tasks.cohorts.decode import to_square

HERE = Path(__file__).resolve().parents[1]
COHORT_FILES = ("pixels.npy", "cases.csv", "boxes.csv")


@dataclass
class Ran:
    """What a command took: seconds, MB, and the last lines of what it printed."""

    wall: float
    processor: float
    memory_mb: float
    status: int
    said: str


def descendants(pid: int) -> set[int]:
    """Return a process and all below it."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, IndexError, ValueError):
                continue
    found, size = {pid}, 0
    while len(found) > size:
        size = len(found)
        found |= {child for child, parent in parents.items() if parent in found}
    return found


def anonymous_mb(pids: set[int]) -> float:
    """Return the anonymous memory of processes; a page that forks share counts once."""
    total = 0
    for pid in pids:
        try:
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss_Anon:"):
                    total += int(line.split()[1])
        except OSError:
            continue
    return total / 1024


def run(
    arguments: list[str],
    environment: Mapping[str, str],
    folder: Path,
    stop: Callable[[], bool] = lambda: False,
    by: int = signal.SIGINT,
) -> Ran:
    """Run a command, and send it the signal ``by`` once ``stop`` says so; wait for whatever it leaves."""
    inherit_orphans()
    begun, most = time.monotonic(), 0.0
    command = [sys.executable, "-m", "harness.cli", *arguments]
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, cwd=folder, env=dict(environment), stdout=output, stderr=output)
        over = threading.Event()

        def watch() -> None:
            nonlocal most
            stopped = False
            while not over.wait(1.0):
                most = max(most, anonymous_mb(descendants(process.pid)))
                if not stopped and stop():
                    process.send_signal(by)
                    stopped = True

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        wall, spent = time.monotonic() - begun, usage.ru_utime + usage.ru_stime
        with contextlib.suppress(ChildProcessError):  # none is left
            while True:
                _, _, usage = os.wait4(-1, 0)
                spent += usage.ru_utime + usage.ru_stime
        over.set()
        watcher.join()
        output.seek(0)
        said = output.read().strip().splitlines()
    return Ran(wall, spent, most, process.returncode, "\n".join(said[-60:]))


def show(name: str, ran: Ran) -> Ran:
    """Print a line of the table."""
    print(f"{name:46} {ran.wall:8.1f} {ran.processor:9.1f} {ran.memory_mb:7.0f}  exit {ran.status}", flush=True)
    return ran


def copied(folder: Path) -> Path:
    """Copy this checkout without results of its own, so that commands run in a store that goes away."""
    target = folder / "checkout"
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=HERE, capture_output=True, check=True)
    for name in listed.stdout.decode().splitlines():
        if (HERE / name).is_file() and not name.startswith(("docs/", "results/miniature", "results/radiographs")):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(HERE / name, target / name)
    return target


def started_since(moment: float, checkout: Path) -> tuple[int, str]:
    """Return how many images a preparation that began after a moment says are done, and what it does."""
    for path in sorted((checkout / ".cohorts").glob("*/*/progress.json")):
        try:
            said = json.loads(path.read_text())
            if float(said["since"]) >= moment:
                return int(said["done"]), str(said["what"])
        except (OSError, ValueError, KeyError):
            continue
    return 0, ""


class Until:
    """Says stop once a preparation has decoded so many images; keeps how many were decoded when, for its rate.

    Args:
        checkout: Where it runs.
        images_done: How many.
    """

    def __init__(self, checkout: Path, images_done: float = math.inf) -> None:
        self._checkout, self._goal, self._moment = checkout, images_done, time.time()
        self.marks: list[tuple[float, int]] = []

    def __call__(self) -> bool:
        """Look, and say whether it is time to stop."""
        done, what = started_since(self._moment, self._checkout)
        if what == "decoding" and done and (not self.marks or self.marks[-1][1] != done):
            self.marks.append((time.monotonic(), done))
        return what == "decoding" and done >= self._goal

    def rate(self, above: int) -> float | None:
        """Return images a second beyond the first ``above``, which an earlier attempt left; None before two marks."""
        marks = [mark for mark in self.marks if mark[1] > above]
        if len(marks) < 2:
            return None
        (begun, first), (ended, last) = marks[0], marks[-1]
        return (last - first) / max(ended - begun, 1e-9)


@dataclass(frozen=True)
class Place:
    """A data root, and a checkout in which commands read it.

    Attributes:
        task: The data set.
        root: Its folder.
        checkout: The code, with a store of its own.
    """

    task: str
    root: Path
    checkout: Path

    @property
    def environment(self) -> Mapping[str, str]:
        """The environment of its commands."""
        own = {
            "PYTHONPATH": str(self.checkout),
            "XDG_CACHE_HOME": str(self.checkout.parent / "cache"),
            f"DIRA_BENCH_DATA_{self.task.upper()}": str(self.root),
            "COLUMNS": "160",
        }
        return {**os.environ, **own}

    def cli(self, name: str, *arguments: str, stop: Callable[[], bool] = lambda: False, by: int = signal.SIGINT) -> Ran:
        """Run a command and print its line."""
        return show(f"{self.task}: {name}", run(list(arguments), self.environment, self.checkout, stop, by))

    def prepare(self, name: str, stop: Callable[[], bool], by: int = signal.SIGINT) -> Ran:
        """Prepare its cohort."""
        return self.cli(name, "data", "prepare", self.task, "--profile", "paper", stop=stop, by=by)

    def cohort(self) -> Path:
        """Return the folder of its prepared cohort."""
        (found,) = (path.parent for path in (self.checkout / ".cohorts").glob("*/*/pixels.npy"))
        return found


def commands(place: Place, sample: int, published: bool = True) -> dict[str, Any]:
    """Verify a root by sample and plan over it, first and later."""
    words = ["data", "verify", place.task, str(place.root), "--sample", str(sample)]
    found = {
        "verify": asdict(place.cli(f"data verify --sample {sample}", *words, *([] if published else ["--phantom"])))
    }
    found["plan_first"] = asdict(place.cli("plan, first", "plan", "--profile", "paper"))
    later = place.cli("plan, later", "plan", "--profile", "paper")
    print("\n".join(line for line in later.said.splitlines() if "disk:" in line))
    return {**found, "plan_later": asdict(later)}


INTERRUPTED = 130  # what a command that was interrupted and may go on ends with
SIGNALS = (signal.SIGTERM, signal.SIGKILL, signal.SIGINT)


def prepared(place: Place, images_in_all: int, shares: Sequence[float]) -> list[dict[str, Any]]:
    """Prepare a cohort to its end, interrupted at shares of its images, in turn by each of the signals."""
    found, before = [], 0
    for number, share in enumerate([*shares, 1.0]):
        last = number == len(shares)
        by = SIGNALS[number % len(SIGNALS)]
        until = Until(place.checkout, math.inf if last else share * images_in_all)
        name = "data prepare, to its end" if last else f"data prepare, {signal.Signals(by).name} at {share:.0%}"
        ran = place.prepare(name, until, by)
        reached = until.marks[-1][1] if until.marks else 0
        rate = until.rate(before)
        print(f"{'':46} {reached:,} rows, {before:,} of them from before; {rate or math.nan:.0f} new images/s")
        found.append({"share": share, "reached": reached, "images_a_second": rate, **asdict(ran)})
        before = reached
        if ran.status != (0 if last else {signal.SIGKILL: -signal.SIGKILL}.get(signal.Signals(by), INTERRUPTED)):
            raise SystemExit(f"{name} ended with {ran.status}:\n{ran.said}")
    return found


def rows_of_other_pictures(place: Place, side: int) -> int:
    """Count the rows of a prepared cohort that are not what decoding the row's picture by Pillow alone gives."""
    few = {path.stat().st_ino: path for path in (place.root / ".few").iterdir()}
    decoded = {inode: to_square(np.asarray(Image.open(path).convert("L")), side, "area") for inode, path in few.items()}
    where = {path.name: path.stat().st_ino for path in place.root.glob("images_*/images/*")}
    rows = np.load(place.cohort() / "pixels.npy", mmap_mode="r")
    names = pd.read_csv(place.cohort() / "cases.csv", usecols=["case"])["case"]
    if len(names) != len(rows) or len(names) != len(where):
        raise SystemExit(f"{len(rows)} rows, {len(names)} cases and {len(where)} files; expected as many of each")
    return sum(not np.array_equal(row, decoded[where[name]]) for row, name in zip(rows, names, strict=True))


def whole(place: Place, shares: Sequence[float], side: int, sample: int) -> dict[str, Any]:
    """Run everything over ChestX-ray14: its commands, and its preparation with interruptions."""
    caching(place.checkout, side)
    images_in_all = sum(1 for _ in place.root.glob("images_*/images/*"))
    found = commands(place, sample, images_in_all == IMAGES)
    found["prepare"] = prepared(place, images_in_all, shares)
    found["wrong_rows"] = rows_of_other_pictures(place, side)
    print(f"{'':46} rows that are not their picture: {found['wrong_rows']} of {images_in_all:,}")
    return found


def compared(root: Path, checkouts: Mapping[str, Path], images_in_all: int, shares: Sequence[float]) -> dict[str, Any]:
    """Prepare a root of 128 px pictures at 32 px, once with interruptions and once without; compare the files."""
    root.mkdir()
    chestxray14(root, images_in_all, px=128)
    found: dict[str, Any] = {}
    digests = {}
    for name, at in (("interrupted", shares), ("uninterrupted", ())):
        place = Place("chestxray14", root, checkouts[name])
        caching(place.checkout, 32)
        found[name] = prepared(place, images_in_all, at)
        digests[name] = {
            path.name: file_sha256(path) for path in sorted(place.cohort().iterdir()) if path.name in COHORT_FILES
        }
    found["equal"] = digests["interrupted"] == digests["uninterrupted"]
    names = ", ".join(digests["interrupted"])
    print(f"{'':46} interrupted and uninterrupted, 128 px to 32 px: {names} equal: {found['equal']}")
    return {**found, "sha256": digests}


def caching(checkout: Path, side: int) -> None:
    """Let a copied checkout cache ChestX-ray14 at another size than the paper profile's."""
    path = checkout / "tasks" / "registry.yaml"
    usual = "options: {transfer: {localization: {}}}"
    text = path.read_text()
    if text.count(usual) != 1:
        raise SystemExit(f"{path} has no single {usual}; expected ChestX-ray14's entry there; correct bench.full_size")
    path.write_text(text.replace(usual, f"options: {{transfer: {{localization: {{}}}}, cohort: {{cache_px: {side}}}}}"))


def share(text: str) -> float:
    """Read a share between 0 and 1."""
    value = float(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"found {text}; expected a share between 0 and 1, as 0.5")
    return value


def main() -> None:
    """Measure, print and write."""
    options = parser(__doc__ or "", repeats=1)
    options.add_argument("--tasks", default="chestxray14,chexpert,luna16", help="which roots, by commas")
    options.add_argument("--sample", type=int, default=2000, help="images or scans that data verify opens")
    options.add_argument("--images", type=int, default=IMAGES, help="of ChestX-ray14; fewer for a trial of this script")
    options.add_argument("--side", type=int, default=256, help="px at which ChestX-ray14 is cached; 512 takes 29 GB")
    options.add_argument(
        "--interrupt-at", type=share, nargs="*", default=[0.45, 0.55, 0.65], metavar="SHARE",
        help="shares of the images at which data prepare is ended, in turn by TERM, KILL and INT",
    )  # fmt: skip
    options.add_argument("--folder", type=Path, help="a disk with room; default the temporary folder")
    options.add_argument("--keep", action="store_true", help="leave the roots there")
    asked = options.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="full-size-", dir=asked.folder))
    found: dict[str, Any] = {}
    try:
        checkouts = {name: copied(folder / name) for name in ("whole", "interrupted", "uninterrupted")}
        print(f"{'command':46} {'wall s':>8} {'CPU s':>9} {'MB':>7}")
        for task in filter(None, asked.tasks.split(",")):
            root = folder / task
            root.mkdir()
            begun = time.monotonic()
            ROOTS[task](root, *([asked.images] if task == "chestxray14" else []))
            print(f"{task}: root written in {time.monotonic() - begun:.0f} s", flush=True)
            place = Place(task, root, checkouts["whole"])
            if task == "chestxray14":
                found[task] = whole(place, asked.interrupt_at, asked.side, asked.sample)
                found["small"] = compared(folder / "small", checkouts, asked.images, asked.interrupt_at)
            else:
                found[task] = commands(place, asked.sample)
    finally:
        if not asked.keep:
            shutil.rmtree(folder, ignore_errors=True)
    finish({"bench": "full_size", "side": asked.side, **found}, asked.out)


if __name__ == "__main__":
    main()
