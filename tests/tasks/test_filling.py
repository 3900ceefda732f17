"""Rows made by several processes are those of one, and what an interruption finished is neither lost nor trusted."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.errors import DataError
from tasks.cohorts.filling import LEDGER, Array, Filling, Unit, fill, kept_beside
from tasks.layouts.in_parallel import in_processes

COUNT = 40
ARRAYS = {"pixels.npy": Array(np.uint8, (COUNT, 5, 5)), "masks.npy": Array(np.float16, (COUNT, 2))}


class Interruption(Exception):
    pass


class Making:
    """Fills a row with what its source holds, and notes in a file that it did: other processes are watched too."""

    def __init__(self, folder: Path, stop_at: int | None = None, kill_at: int | None = None) -> None:
        self.sources, self.made = folder / "sources", folder / "made"
        self.stop_at, self.kill_at = stop_at, kill_at
        if not self.sources.exists():
            self.sources.mkdir()
            for row in range(COUNT):
                self.source(row).write_bytes(bytes([row]))
        self.made.write_text("")

    def source(self, row: int) -> Path:
        return self.sources / str(row)

    def __call__(self, row: int, into: Mapping[str, np.ndarray]) -> None:
        if row == self.stop_at:
            raise Interruption
        if row == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        value = self.source(row).read_bytes()[0]
        into["pixels.npy"][row] = value
        into["masks.npy"][row] = value / 2
        with self.made.open("a") as stream:
            stream.write(f"{row}\n")

    @property
    def rows(self) -> list[int]:
        return sorted(map(int, self.made.read_text().split()))

    @property
    def units(self) -> list[Unit]:
        return [Unit((row,), (self.source(row),)) for row in range(COUNT)]


def filled(tmp_path: Path, making: Making, workers: int = 1) -> list[tuple[int, int, str]]:
    said: list[tuple[int, int, str]] = []
    folder = tmp_path / "cohort"
    folder.mkdir(exist_ok=True)
    how = Filling(folder, tmp_path / "kept", workers, lambda *words: said.append(words), units=4)
    fill(how, ARRAYS, making.units, making, "decoding")
    return said


def assert_whole(tmp_path: Path) -> None:
    rows = np.arange(COUNT)
    assert (np.load(tmp_path / "cohort" / "pixels.npy") == rows[:, None, None]).all()
    assert (np.load(tmp_path / "cohort" / "masks.npy") == rows[:, None] / 2).all()
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize("workers", [1, 3])
def test_every_row_is_made_once_whoever_makes_it_and_progress_counts_them(workers: int, tmp_path: Path) -> None:
    making = Making(tmp_path)
    said = filled(tmp_path, making, workers)
    assert_whole(tmp_path)
    assert making.rows == list(range(COUNT))
    assert said[-1] == (COUNT, COUNT, "decoding")
    assert [done for done, _, _ in said] == list(range(4, COUNT + 1, 4))


@pytest.mark.parametrize("workers", [1, 2])
def test_what_was_finished_before_an_interruption_is_not_made_again(workers: int, tmp_path: Path) -> None:
    with pytest.raises(Interruption):
        filled(tmp_path, Making(tmp_path, stop_at=21), workers)
    assert not list((tmp_path / "cohort").iterdir()), "a cohort has its files only when they are whole"
    finished = len((tmp_path / "kept" / LEDGER).read_text().splitlines()) - 1
    assert finished >= (5 if workers == 1 else 1)
    making = Making(tmp_path)
    filled(tmp_path, making, workers)
    assert_whole(tmp_path)
    assert len(making.rows) == COUNT - 4 * finished


def test_a_process_that_is_killed_is_one_sentence_and_costs_its_own_rows_alone(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="was killed, most likely for want of memory"):
        filled(tmp_path, Making(tmp_path, kill_at=38), 2)
    making = Making(tmp_path)
    filled(tmp_path, making, 2)
    assert_whole(tmp_path)
    assert len(making.rows) < COUNT


def test_a_source_that_was_replaced_meanwhile_is_read_again(tmp_path: Path) -> None:
    with pytest.raises(Interruption):
        filled(tmp_path, Making(tmp_path, stop_at=21))
    making = Making(tmp_path)
    making.source(9).write_bytes(bytes([9]))
    os.utime(making.source(9), ns=(1, 1))
    filled(tmp_path, making)
    assert_whole(tmp_path)
    assert making.rows == [8, 9, 10, 11, *range(20, COUNT)]


def test_rows_that_a_crash_of_the_machine_did_not_write_are_made_again(tmp_path: Path) -> None:
    with pytest.raises(Interruption):
        filled(tmp_path, Making(tmp_path, stop_at=21))
    kept = np.load(tmp_path / "kept" / "pixels.npy", mmap_mode="r+")
    kept[2] = 0
    kept.flush()
    with (tmp_path / "kept" / LEDGER).open("a") as stream:
        stream.write('{"chunk": 7, "crc"')  # cut short
    making = Making(tmp_path)
    filled(tmp_path, making)
    assert_whole(tmp_path)
    assert making.rows == [0, 1, 2, 3, *range(20, COUNT)]


def test_arrays_of_another_shape_are_begun_anew(tmp_path: Path) -> None:
    with pytest.raises(Interruption):
        filled(tmp_path, Making(tmp_path, stop_at=21))
    other = np.lib.format.open_memmap(tmp_path / "kept" / "pixels.npy", mode="w+", dtype=np.uint8, shape=(3,))
    other.flush()
    making = Making(tmp_path)
    filled(tmp_path, making)
    assert_whole(tmp_path)
    assert making.rows == list(range(COUNT))


def test_unfinished_rows_lie_where_a_rename_moves_them(tmp_path: Path) -> None:
    (tmp_path / "resume").mkdir()
    (tmp_path / "item" / "0000").mkdir(parents=True)
    assert kept_beside(tmp_path / "item" / "0000", tmp_path / "resume") == tmp_path / "resume" / "rows"
    other_disk = Path("/dev/shm")
    if other_disk.is_dir() and other_disk.stat().st_dev != tmp_path.stat().st_dev:
        assert kept_beside(tmp_path / "item" / "0000", other_disk) == tmp_path / "item" / "unfinished"


def test_what_a_first_call_finished_outlives_an_interruption_of_the_second(tmp_path: Path) -> None:
    """The patches of a cohort, then its whole scans: files of their own, in the same place."""
    (tmp_path / "cohort").mkdir()
    how = Filling(tmp_path / "cohort", tmp_path / "kept", more=True, units=4)
    made: list[int] = []

    def keep(row: int, into: Mapping[str, np.ndarray]) -> None:
        if row == stop_at:
            raise Interruption
        (tmp_path / "kept" / f"{row}.bin").write_bytes(bytes([row]))
        made.append(row)

    last = replace(how, more=False, units=1, ledger="second.jsonl")
    units = [Unit((row,), files=(f"{row}.bin",)) for row in range(6)]
    first, stop_at = Making(tmp_path), 4
    fill(how, ARRAYS, first.units, first, "decoding")
    with pytest.raises(Interruption):
        fill(last, {}, units, keep, "keeping")
    assert not list((tmp_path / "cohort").iterdir())
    (tmp_path / "kept" / "1.bin").write_bytes(b"cut")
    again, stop_at = Making(tmp_path), -1
    fill(how, ARRAYS, again.units, again, "decoding")
    fill(last, {}, units, keep, "keeping")
    assert again.rows == [] and made == [0, 1, 2, 3, 1, 4, 5]
    assert_whole(tmp_path)
    assert [(tmp_path / "cohort" / f"{row}.bin").read_bytes() for row in range(6)] == [bytes([n]) for n in range(6)]


def test_who_stops_waiting_ends_the_processes_at_once() -> None:
    """A request to leave is such an end: a scan that nobody waits for would take a minute more."""

    def slow(number: int) -> int:
        time.sleep(0 if number == 0 else 600)
        return number

    before, begun = set(multiprocessing.active_children()), time.monotonic()
    for number, _ in in_processes(slow, 4, 2):
        assert number == 0 and set(multiprocessing.active_children()) > before
        break
    while set(multiprocessing.active_children()) > before:
        assert time.monotonic() - begun < 60
        time.sleep(0.05)
