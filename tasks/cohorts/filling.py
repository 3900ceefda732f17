"""The rows of a cohort, made by several processes and kept where they are interrupted.

Rows are made in chunks, each by one process, into memory maps that all share: no array crosses between processes, and
how many there are changes no byte. A ledger beside the maps has a line for each finished chunk: the checksum of its
rows, and what its source files were (size and date). Whoever comes next checks both and makes the rest.
"""

from __future__ import annotations

import contextlib
import shutil
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from harness.identity import digest
from harness.spec import Frozen
from harness.whole_files import append_line, replacing
from tasks.layouts.in_parallel import Report, in_processes

LEDGER = "finished.jsonl"


@dataclass(frozen=True)
class Array:
    """A file of a cohort: ``dtype`` and ``shape``, whose first axis is the rows."""

    dtype: npt.DTypeLike
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Unit:
    """What is made at once: an image, or the patches of a scan.

    Attributes:
        rows: Of the arrays, which it fills.
        sources: The files it is made from, for noticing that one was replaced meanwhile.
        files: What it makes besides rows: names in ``Filling.place``.
    """

    rows: tuple[int, ...]
    sources: tuple[Path, ...] = ()
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class Filling:
    """How a cohort is filled.

    Attributes:
        folder: Where the arrays end up.
        kept: A folder that outlives an interruption, where they lie until all rows are made; None: they are begun anew.
        workers: Processes; 1 makes everything in this one.
        report: Progress, in rows.
        units: In a chunk.
        ledger: Name of the list of what is finished, one for each call of ``fill`` with the same ``kept``.
        more: Whether another call with the same ``kept`` follows, so that what is finished waits there: in the cohort's
            folder, which an interruption discards, it would be lost.
    """

    folder: Path
    kept: Path | None = None
    workers: int = 1
    report: Report = lambda done, total, what: None
    units: int = 32
    ledger: str = LEDGER
    more: bool = False

    @property
    def place(self) -> Path:
        """Where everything lies until all is made."""
        return self.folder if self.kept is None else self.kept


class Finished(Frozen):
    """A line of the ledger: a chunk, the checksum of its rows, and the digest of its sources' sizes and dates."""

    chunk: int
    crc: int
    sources: str


@dataclass
class _Job:
    """What every process inherits."""

    arrays: Mapping[str, np.ndarray]
    chunks: Sequence[Sequence[Unit]]
    make: Callable[[int, Mapping[str, np.ndarray]], None]
    finished: Mapping[int, Finished] = field(default_factory=dict)
    place: Path | None = None  # where units make files, if what is there is checked

    def run(self, number: int) -> tuple[Finished, bool]:
        """Make a chunk unless it is there already; returns its line and whether that is new."""
        units, before = self.chunks[number], self.finished.get(number)
        sources = _described(units) if self.place else ""
        if before is not None and before.sources == sources and before.crc == self._crc(units):
            return before, False
        for unit in units:
            self.make(unit.rows[0], self.arrays)
        return Finished(chunk=number, crc=self._crc(units) if self.place else 0, sources=sources), True

    def _crc(self, units: Sequence[Unit]) -> int:
        crc = 0
        for array in self.arrays.values():
            for unit in units:
                for row in unit.rows:
                    crc = zlib.crc32(array[row].reshape(-1).view(np.uint8), crc)
        for name in (name for unit in units for name in unit.files):
            with contextlib.suppress(OSError):  # one that is not there has no checksum
                crc = zlib.crc32((self.place / name).read_bytes() if self.place else b"", crc)
        return crc


def fill(
    how: Filling,
    arrays: Mapping[str, Array],
    units: Sequence[Unit],
    make: Callable[[int, Mapping[str, np.ndarray]], None],
    what: str,
) -> None:
    """Fill arrays row by row; each has its name in the cohort's folder once all rows of all are made.

    With ``how.more`` all that is finished waits in ``how.kept`` for the call that comes last.

    Args:
        how: Where, by how many processes, and what hears about it.
        arrays: File name → what it holds.
        units: What is made at once; together they fill every row.
        make: ``make(first row of a unit, arrays)`` fills the rows of that unit. It runs in forked processes.
        what: What is being done, for progress: ``decoding``.

    Raises:
        DataError: If a process was killed.
        Exception: What ``make`` raises; of several failures that of the smallest row.
    """
    chunks = [units[start : start + how.units] for start in range(0, len(units), how.units)]
    with contextlib.ExitStack() as opened:
        place = how.kept
        if place is None:
            maps = {n: opened.enter_context(new_array(how.folder / n, a.dtype, a.shape)) for n, a in arrays.items()}
            job, ledger = _Job(maps, chunks, make), None
        else:
            place.mkdir(parents=True, exist_ok=True)
            ledger = place / how.ledger
            same = digest([[name, str(np.dtype(a.dtype)), list(a.shape)] for name, a in arrays.items()] + [how.units])
            finished = _finished(ledger, same)
            maps = {name: _reopened(place / name, array, bool(finished)) for name, array in arrays.items()}
            if not finished:
                ledger.write_text(same + "\n")
            job = _Job(maps, chunks, make, finished, place)
        _make_all(job, how, ledger, what)
    if place is not None:
        for array in maps.values():
            array.flush()  # type: ignore[attr-defined]
        if not how.more:
            _move(place, how.folder)


def _move(place: Path, folder: Path) -> None:
    """Move what was made into the cohort's folder; ledgers have served."""
    for path in sorted(place.iterdir()):
        if path.suffix != ".jsonl":
            shutil.move(path, folder / path.name)
    shutil.rmtree(place, ignore_errors=True)


def kept_beside(folder: Path, resume: Path) -> Path:
    """Return where unfinished arrays are kept: the item's own place if a move from there is a rename, else beside."""
    same_disk = folder.stat().st_dev == resume.stat().st_dev
    return resume / "rows" if same_disk else folder.parent / "unfinished"


@contextlib.contextmanager
def new_array(path: Path, dtype: npt.DTypeLike, shape: tuple[int, ...]) -> Iterator[np.ndarray]:
    """Give an array on disk to fill; the file has its name once the block has ended well."""
    with replacing(path, durable=False) as partial:
        array = np.lib.format.open_memmap(partial, mode="w+", dtype=np.dtype(dtype), shape=shape)
        yield array
        array.flush()


def _reopened(path: Path, array: Array, expected: bool) -> np.ndarray:
    """Open an array to go on with, or a new one; rows of a new one that the ledger knows fail their checksum."""
    if expected:
        with contextlib.suppress(OSError, ValueError):
            found: np.ndarray = np.lib.format.open_memmap(path, mode="r+")
            if found.dtype == np.dtype(array.dtype) and found.shape == array.shape:
                return found
    return np.lib.format.open_memmap(path, mode="w+", dtype=np.dtype(array.dtype), shape=array.shape)


def _finished(ledger: Path, same: str) -> dict[int, Finished]:
    """Return the chunks that a ledger knows; none if it is of other arrays. A line cut short by a crash is no line."""
    try:
        first, *lines = ledger.read_text().split("\n")
    except (OSError, UnicodeDecodeError):
        return {}
    found: dict[int, Finished] = {}
    for line in lines if first == same else ():
        with contextlib.suppress(ValidationError):
            known = Finished.model_validate_json(line)
            found[known.chunk] = known
    return found


def _described(units: Iterable[Unit]) -> str:
    """Return the digest of sizes and dates of source files; a source that is no file of its own counts by name."""
    said: list[list[object]] = []
    for unit in units:
        for path in unit.sources:
            said.append([path.name])
            with contextlib.suppress(OSError):
                status = path.stat()
                said[-1] += [status.st_size, status.st_mtime_ns]
    return digest(said)


def _make_all(job: _Job, how: Filling, ledger: Path | None, what: str) -> None:
    total, done = sum(len(unit.rows) for chunk in job.chunks for unit in chunk), 0
    for _, (finished, new) in in_processes(job.run, len(job.chunks), how.workers):
        if ledger is not None and new:
            append_line(ledger, finished.model_dump_json().encode())
        done += sum(len(unit.rows) for unit in job.chunks[finished.chunk])
        how.report(done, total, what)
