"""How fast a core decodes radiographs, against another checkout and over the cores.

SYNTHETIC pictures: 1024 px grey PNGs that compress about as those of ChestX-ray14. A repeat is a fresh process of each
checkout in turn; it warms up on every picture once and then says what processor time it took for reading a file,
resizing it and writing its row, as that checkout's own code does it. Starting Python is not counted.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench.measuring import finish, in_turn, one_thread, parser, ratio, words
from bench.pictures import pictures, write_png
from bench.processes import another_checkout
from harness.environment import cores
from tasks.cohorts.decode import to_square
from tasks.cohorts.filling import Array, Filling, Unit, fill
from tasks.layouts.images import read_grey

HERE = Path(__file__).resolve().parents[1]
FROM, SIDE = 1024, 512  # px: of a published picture, and of the paper profile's cache
FEW = 16  # pictures
OFTEN = 20  # times that each is decoded in a repeat

# Runs in either checkout, so it asks only for what both have.
SCRIPT = """
import hashlib, json, sys, time
from pathlib import Path
import cv2, numpy as np
cv2.setNumThreads(0)
from tasks.cohorts.decode import to_square
from tasks.layouts.images import read_grey
paths, side, often = [Path(p) for p in sys.argv[3:]], int(sys.argv[1]), int(sys.argv[2])
rows = np.zeros((len(paths), side, side), np.uint8)
def decode():
    for row, path in enumerate(paths):
        rows[row] = to_square(read_grey(path), side, "area")
decode()
begun = time.process_time()
for _ in range(often):
    decode()
spent = time.process_time() - begun
print(json.dumps({"ms": 1000 * spent / often / len(paths), "sha256": hashlib.sha256(rows.tobytes()).hexdigest()}))
"""


class Decoded(NamedTuple):
    """What one process of a checkout says: milliseconds of processor time an image, and the digest of its rows."""

    ms: float
    sha256: str


def decoded_by(tree: Path, paths: list[Path], side: int, often: int) -> Decoded:
    """Decode pictures in a process of a checkout.

    Args:
        tree: The checkout, whose code comes first.
        paths: Pictures.
        side: Of the rows, in pixels.
        often: How often each is decoded.

    Raises:
        subprocess.CalledProcessError: If that checkout cannot.
    """
    environment = {**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", SCRIPT, str(side), str(often), *map(str, paths)]
    said = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=True).stdout
    return Decoded(**json.loads(said))


def against(other: Path, paths: list[Path], repeats: int) -> dict[str, Any]:
    """Time this checkout and another in turn, and hold their rows against each other."""
    trees = {"ours": HERE, "theirs": other}
    found: dict[str, list[Decoded]] = {name: [] for name in trees}
    for repeat in range(repeats):
        for name in list(trees) if repeat % 2 == 0 else list(trees)[::-1]:
            found[name].append(decoded_by(trees[name], paths, SIDE, OFTEN))
    ms = {name: [one.ms for one in each] for name, each in found.items()}
    speed_up = ratio(ms["theirs"], ms["ours"])
    equal = len({one.sha256 for each in found.values() for one in each}) == 1
    medians = {name: float(np.median(each)) for name, each in ms.items()}
    print(
        f"{FROM} px PNG to {SIDE} px, a core: {words(speed_up)} times the other checkout's speed; "
        f"{medians['theirs']:.2f} to {medians['ours']:.2f} ms an image; bytes equal: {equal}"
    )
    return {"speed_up": speed_up, "ms": ms, "bytes_equal": equal}


def over_cores(paths: list[Path], repeats: int, folder: Path) -> dict[str, Any]:
    """Time how a cohort is filled by one process and by one a core: shares of linear by processor and wall clock."""
    many = paths * OFTEN

    def make(row: int, into: Mapping[str, np.ndarray]) -> None:
        into["pixels.npy"][row] = to_square(read_grey(many[row]), SIDE, "area")

    def filled(workers: int) -> None:
        place = Path(tempfile.mkdtemp(dir=folder))
        units = [Unit((row,), (path,)) for row, path in enumerate(many)]
        arrays = {"pixels.npy": Array(np.uint8, (len(many), SIDE, SIDE))}
        fill(Filling(place, place / "kept", workers), arrays, units, make, "")
        shutil.rmtree(place)

    spent: dict[str, list[float]] = {"one": [], "all": []}

    def measured(name: str, workers: int) -> None:
        begun = processor()
        filled(workers)
        spent[name].append(processor() - begun)

    variants = {"one": lambda: measured("one", 1), "all": lambda: measured("all", cores())}
    walls = in_turn(variants, repeats, time.perf_counter)
    by_processor = ratio(*(spent[name][1:] for name in ("one", "all")))  # the first of each was to warm up
    by_wall = {name: value / cores() for name, value in ratio(walls["one"], walls["all"]).items()}
    print(
        f"{cores()} processes: {words(by_processor)} of the work of one done in the same processor time; by the wall "
        f"clock {words(by_wall)} of linear, where whatever else runs on the machine counts"
    )
    return {"of_linear_processor": by_processor, "of_linear_wall": by_wall, "cores": cores(), "images": len(many)}


def processor() -> float:
    """Return the processor seconds of this process and of the children that it has waited for."""
    here, below = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return here.ru_utime + here.ru_stime + below.ru_utime + below.ru_stime


def main() -> None:
    """Measure, print and write."""
    options = parser(__doc__ or "", repeats=7)
    options.add_argument("--against", type=another_checkout, help="without, only the cores are compared")
    options.add_argument("--folder", type=Path, help="a disk with 200 MB of room; default the temporary folder")
    asked = options.parse_args()
    one_thread()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="decoding-", dir=asked.folder) as name:
        paths = write_png(pictures(FEW, FROM), Path(name))
        if asked.against is not None:
            found["against"] = against(asked.against.resolve(), paths, asked.repeats)
        found["cores"] = over_cores(paths, asked.repeats, Path(name))
    finish({"bench": "decoding", **found}, asked.out)


if __name__ == "__main__":
    main()
