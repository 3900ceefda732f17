"""A large file is read once while it is as it was; an edit that keeps its size and date is seen all the same."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.identity import file_sha256
from harness.store import hashed
from harness.store.hashed import LEDGER, HashedFiles


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are read, of which every one counts as large."""
    names: list[str] = []

    def reading(path: Path) -> str:
        names.append(path.name)
        return file_sha256(path)

    monkeypatch.setattr(hashed, "LARGE", 1)
    monkeypatch.setattr(hashed, "file_sha256", reading)
    monkeypatch.setattr(hashed, "_here", {})
    return names


def later(folder: Path) -> HashedFiles:
    """What the next process knows."""
    hashed._here.clear()
    return HashedFiles(folder)


def test_a_file_is_read_once_by_all_processes_until_it_is_written_to(tmp_path: Path, read: list[str]) -> None:
    path = tmp_path / "pixels.npy"
    path.write_bytes(b"many pixels")
    expected = file_sha256(path)
    assert [later(tmp_path).sha256(path) for _ in range(3)] == [expected] * 3
    assert read == ["pixels.npy"]


def test_an_edit_that_keeps_size_and_date_is_seen(tmp_path: Path, read: list[str]) -> None:
    path = tmp_path / "pixels.npy"
    path.write_bytes(b"many pixels")
    before, status = later(tmp_path).sha256(path), path.stat()
    path.write_bytes(b"many pixelz")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert later(tmp_path).sha256(path) == file_sha256(path) != before
    assert len(read) == 2


def test_another_file_of_the_same_size_and_date_is_read(tmp_path: Path, read: list[str]) -> None:
    path, other = tmp_path / "pixels.npy", tmp_path / "other.npy"
    path.write_bytes(b"many pixels")
    other.write_bytes(b"more pixels")
    status = path.stat()
    before = later(tmp_path).sha256(path)
    other.replace(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert later(tmp_path).sha256(path) == file_sha256(path) != before


def test_the_work_that_wrote_a_file_and_the_store_that_keeps_it_read_it_once(tmp_path: Path, read: list[str]) -> None:
    path = tmp_path / "pixels.npy"
    path.write_bytes(b"many pixels")
    assert hashed.sha256_once(path) == hashed.sha256_once(path) == file_sha256(path)
    HashedFiles(tmp_path).remember(path, file_sha256(path))
    assert later(tmp_path).sha256(path) == file_sha256(path)
    assert read == ["pixels.npy"]


def test_a_damaged_ledger_costs_time_and_nothing_else(tmp_path: Path, read: list[str]) -> None:
    path = tmp_path / "pixels.npy"
    path.write_bytes(b"many pixels")
    later(tmp_path).sha256(path)
    (tmp_path / LEDGER).write_bytes((tmp_path / LEDGER).read_bytes()[:40] + b"\xff\n{}\n")
    assert later(tmp_path).sha256(path) == file_sha256(path)
    assert len(read) == 2
    later(tmp_path).sha256(path)
    assert len(read) == 2


def test_a_small_file_is_always_read(tmp_path: Path, read: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashed, "LARGE", 1 << 26)
    path = tmp_path / "record.json"
    path.write_bytes(b"few")
    known = later(tmp_path)
    assert known.sha256(path) == known.sha256(path)
    assert len(read) == 2
    assert not (tmp_path / LEDGER).exists()
