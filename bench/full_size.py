"""The paper's scale on a disk: commands over data roots of full size, and decoding against one process of Pillow.

Each command is a process of its own: wall seconds, processor seconds (of it and the children that it waited for), and
the largest anonymous memory of it and all below it. ``data prepare`` is interrupted after a part of the images and run
again for as many more; the whole is extrapolated from its rate and says so. Nothing stays but what ``--keep`` names.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.full_roots import ROOTS
from bench.measuring import finish, in_turn, one_thread, parser, ratio, words
from bench.pictures import pictures, write_png
from harness.environment import cores
from tasks.cohorts.decode import to_square
from tasks.cohorts.filling import Array, Filling, Unit, fill
from tasks.layouts import images

HERE = Path(__file__).resolve().parents[1]
SIDE = 512


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
    arguments: list[str], environment: Mapping[str, str], folder: Path, stop: Callable[[], bool] = lambda: False
) -> Ran:
    """Run a command, and interrupt it as Ctrl-C does once ``stop`` says so."""
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
                    process.send_signal(signal.SIGINT)
                    stopped = True

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        over.set()
        watcher.join()
        output.seek(0)
        said = output.read().strip().splitlines()
    spent = usage.ru_utime + usage.ru_stime
    return Ran(time.monotonic() - begun, spent, most, process.returncode, "\n".join(said[-60:]))


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


def progress(checkout: Path) -> tuple[int, str]:
    """Return how many images a running preparation says are done, and what it does."""
    for path in sorted((checkout / ".cohorts").glob("*/*/progress.json")):
        try:
            said = json.loads(path.read_text())
            return int(said["done"]), str(said["what"])
        except (OSError, ValueError, KeyError):
            continue
    return 0, ""


class Until:
    """Says stop once a preparation has decoded so many images; keeps when decoding began and ended, for its rate."""

    def __init__(self, checkout: Path, images_done: int) -> None:
        self._checkout, self._goal = checkout, images_done
        self.marks: list[tuple[float, int]] = []

    def __call__(self) -> bool:
        """Look, and say whether it is time to stop."""
        done, what = progress(self._checkout)
        if what == "decoding" and done and (not self.marks or self.marks[-1][1] != done):
            self.marks.append((time.monotonic(), done))
        return what == "decoding" and done >= self._goal

    def rate(self, above: int = 0) -> float:
        """Return images a second beyond the first ``above``, which an earlier attempt left."""
        marks = [mark for mark in self.marks if mark[1] > above]
        (begun, first), (ended, last) = marks[0], marks[-1]
        return (last - first) / max(ended - begun, 1e-9)


def commands(task: str, root: Path, checkout: Path, sample: int, share: float) -> Iterator[tuple[str, Any]]:
    """Run the commands over one root."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(checkout),
        "XDG_CACHE_HOME": str(checkout.parent / "cache"),
        f"DIRA_BENCH_DATA_{task.upper()}": str(root),
        "COLUMNS": "160",
    }

    def cli(name: str, *arguments: str, stop: Callable[[], bool] = lambda: False) -> Ran:
        return show(f"{task}: {name}", run(list(arguments), environment, checkout, stop))

    some = ["--sample", str(sample)]
    yield "verify_sample", asdict(cli(f"data verify --sample {sample}", "data", "verify", task, str(root), *some))
    yield "plan_first", asdict(cli("plan, first", "plan", "--profile", "paper"))
    later = cli("plan, again", "plan", "--profile", "paper")
    yield "plan_again", asdict(later)
    print("\n".join(line for line in later.said.splitlines() if "disk:" in line))
    if task != "chestxray14" or not share:
        return
    images_in_all = sum(1 for _ in root.glob("images_*/images/*"))
    part = round(images_in_all * share)
    first, second = Until(checkout, part), Until(checkout, 2 * part)
    prepare = ["data", "prepare", task, "--profile", "paper"]
    yield "prepare", asdict(cli(f"data prepare, interrupted at {share:.0%}", *prepare, stop=first))
    begun = time.monotonic()
    resumed = cli(f"data prepare, resumed, interrupted at {2 * share:.0%}", *prepare, stop=second)
    print("\n".join(resumed.said.splitlines()[-6:]))
    passed = next((at for at, done in second.marks if done > part), begun) - begun
    whole = images_in_all / second.rate(part)
    rates = {"first": first.rate(), "second": second.rate(part), "seconds_until_new_images": passed, "whole": whole}
    print(
        f"{'':46} {rates['first']:.0f} and {rates['second']:.0f} images/s on {cores()} cores; the resumed one decoded"
    )
    print(
        f"{'':46} new images {passed:.0f} s after its start; all {images_in_all:,}: {whole / 60:.0f} min (extrapolated)"
    )
    yield "resumed", {**asdict(resumed), **rates}


def processor() -> float:
    """Return the processor seconds of this process and of the children that it has waited for."""
    here, below = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return here.ru_utime + here.ru_stime + below.ru_utime + below.ru_stime


def decoding(repeats: int, folder: Path) -> dict[str, Any]:
    """Time decoding to the cached size: against Pillow alone in one process, and several processes against one."""
    one_thread()
    paths = write_png(pictures(16, 1024), folder)
    quick = images.read_plain

    def decode(reader: Callable[[Path], np.ndarray | None]) -> list[np.ndarray]:
        images.read_plain = reader
        try:
            return [to_square(images.read_grey(path), SIDE, "area") for path in paths]
        finally:
            images.read_plain = quick

    ours, plain = decode(quick), decode(lambda _: None)
    equal = all(np.array_equal(a, b) for a, b in zip(ours, plain, strict=True))
    seconds = in_turn(
        {"ours": lambda: decode(quick), "Pillow": lambda: decode(lambda _: None)}, repeats, time.process_time
    )
    speed_up = ratio(seconds["Pillow"], seconds["ours"])
    each_ms = {name: 1000 * float(np.median(taken)) / len(paths) for name, taken in seconds.items()}
    print(f"1024 px PNG to {SIDE} px, a core: {words(speed_up)} times Pillow's speed; {each_ms}; bytes equal: {equal}")
    many = paths * 20

    def filled(workers: int) -> None:
        def make(row: int, into: Mapping[str, np.ndarray]) -> None:
            into["pixels.npy"][row] = to_square(images.read_grey(many[row]), SIDE, "area")

        place = Path(tempfile.mkdtemp(dir=folder))
        units = [Unit((row,), (path,)) for row, path in enumerate(many)]
        fill(
            Filling(place, place / "kept", workers),
            {"pixels.npy": Array(np.uint8, (len(many), SIDE, SIDE))},
            units,
            make,
            "",
        )
        shutil.rmtree(place)

    spent = in_turn({"one": lambda: filled(1), "all": lambda: filled(cores())}, repeats, processor)
    efficiency = ratio(spent["one"], spent["all"])
    walls = in_turn({"one": lambda: filled(1), "all": lambda: filled(cores())}, repeats, time.perf_counter)
    linear = {name: value / cores() for name, value in ratio(walls["one"], walls["all"]).items()}
    print(f"{cores()} processes: {words(efficiency)} of the work of one done in the same processor time; by the wall")
    print(f"  clock {words(linear)} of linear, where whatever else runs on the machine counts")
    return {
        "speed_up": speed_up,
        "ms": each_ms,
        "bytes_equal": equal,
        "of_linear_processor": efficiency,
        "of_linear_wall": linear,
        "cores": cores(),
    }


def main() -> None:
    """Measure, print and write."""
    options = parser(__doc__ or "", repeats=5)
    options.add_argument(
        "--tasks", default="chestxray14,chexpert,luna16", help="which roots, by commas; none: decoding"
    )
    options.add_argument("--sample", type=int, default=2000, help="images that data verify opens")
    options.add_argument(
        "--share", type=float, default=0.05, help="share of images that each preparation decodes; 0: none"
    )
    options.add_argument("--folder", type=Path, help="a disk with room; default the temporary folder")
    options.add_argument("--keep", action="store_true", help="leave the roots there")
    asked = options.parse_args()
    place = Path(tempfile.mkdtemp(prefix="full-size-", dir=asked.folder))
    found: dict[str, Any] = {}
    try:
        (place / "png").mkdir()
        found["decoding"] = decoding(asked.repeats, place / "png")
        checkout = copied(place)
        print(f"{'command':46} {'wall s':>8} {'CPU s':>9} {'MB':>7}")
        for task in filter(None, asked.tasks.split(",")):
            root = place / task
            root.mkdir()
            begun = time.monotonic()
            ROOTS[task](root)
            print(f"{task}: root written in {time.monotonic() - begun:.0f} s")
            found[task] = dict(commands(task, root, checkout, asked.sample, asked.share))
    finally:
        if not asked.keep:
            shutil.rmtree(place, ignore_errors=True)
    finish({"bench": "full_size", **found}, asked.out)


if __name__ == "__main__":
    main()
