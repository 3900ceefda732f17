"""What a large data root needs and holds: room on the disk, facts that are asked once, files that many processes open."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from bench import full_size
from bench.full_roots import chestxray14
from harness.errors import DataError
from harness.runner.schedule import Pace
from tasks.cohorts.decode import write_pixels
from tasks.cohorts.filling import Filling
from tasks.cohorts.need import BESIDE, bytes_of, gigabytes, occupied, require_room
from tasks.configuration import resolve
from tasks.datasets import known_roots
from tasks.datasets.chestxray14.adapter import ADAPTER
from tasks.datasets.chestxray14.phantom import write
from tasks.datasets.known_roots import fingerprint, forget, look_at
from tasks.datasets.opening import read_index
from tasks.layouts import in_parallel
from tasks.layouts.in_parallel import Effort, each, looking
from tasks.specs import CohortConfiguration
from tests.tasks.test_configuration import entry


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small copy of ChestX-ray14 in its layout."""
    folder = tmp_path / "root"
    folder.mkdir()
    write(folder, {"seed": 5, "train": 40, "validation": 10, "test": 20, "file_px": 32})
    return folder


def test_the_bytes_that_are_foreseen_are_those_of_the_array(root: Path) -> None:
    plan = resolve(entry(options={"cohort": {"cache_px": 48}}), "paper", {"mine": root})
    cohort = CohortConfiguration.model_validate(plan.cohort)
    index = read_index(ADAPTER, root, cohort)
    assert bytes_of(cohort, index, ADAPTER, root) - BESIDE == np.zeros((len(index.cases), 48, 48), np.uint8).nbytes


def test_a_disk_without_room_is_one_sentence_before_the_first_byte(tmp_path: Path) -> None:
    require_room("mine", 10, tmp_path)
    with pytest.raises(DataError) as refusal:
        require_room("mine", 10**18, tmp_path, there=4 * 10**17)
    expected = r"the images of mine take 600000000\.0 GB more on the disk of .*, where .* are free; expected room"
    assert re.match(expected, str(refusal.value))
    assert [gigabytes(count) for count in (29_391_585_280, 5_000_000)] == ["29.4 GB", "5.0 MB"]


def test_what_a_sparse_file_lacks_is_not_counted_as_there(tmp_path: Path) -> None:
    with (tmp_path / "pixels.npy").open("wb") as stream:
        stream.seek(1 << 26)
        stream.write(b"\0" * 4096)
    assert occupied(tmp_path) < 1 << 20
    assert occupied(tmp_path / "nowhere") == 0


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Path]:
    """Roots whose adapter was asked, where every root counts as large and settled."""
    calls: list[Path] = []
    usual = type(ADAPTER).fingerprint

    def asking(self: object, folder: Path) -> str:
        calls.append(folder)
        return usual(ADAPTER, folder)

    monkeypatch.setattr(type(ADAPTER), "fingerprint", asking)
    monkeypatch.setattr(known_roots, "MANY", 1)
    monkeypatch.setattr(known_roots, "SETTLED", -(10**12))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return calls


def test_a_root_is_asked_once_while_every_file_is_as_it_was(root: Path, asked: list[Path]) -> None:
    first = fingerprint(ADAPTER, root, None)
    assert [fingerprint(ADAPTER, root, None) for _ in range(3)] == [first] * 3
    assert len(asked) == 1
    forget()
    assert fingerprint(ADAPTER, root, None) == first
    assert len(asked) == 2


def test_every_change_below_a_root_asks_anew_and_a_change_of_a_name_or_size_changes_the_answer(
    root: Path, asked: list[Path]
) -> None:
    image = sorted((root / "images").iterdir())[3]
    before = [fingerprint(ADAPTER, root, None)]
    os.utime(image, ns=(1, 1))
    assert fingerprint(ADAPTER, root, None) == before[0]
    image.write_bytes(image.read_bytes() + b"\0")
    before.append(fingerprint(ADAPTER, root, None))
    image.rename(image.with_name("renamed.png"))
    before.append(fingerprint(ADAPTER, root, None))
    (root / "test_list.txt").write_text((root / "test_list.txt").read_text() + "\n")
    before.append(fingerprint(ADAPTER, root, None))
    assert len(set(before)) == 4
    assert len(asked) == 5


def test_a_root_that_is_being_written_to_is_not_remembered(
    root: Path, asked: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_roots, "SETTLED", 10**12)
    fingerprint(ADAPTER, root, None)
    fingerprint(ADAPTER, root, None)
    assert len(asked) == 2


def test_a_damaged_memory_costs_time_and_nothing_else(root: Path, asked: list[Path], tmp_path: Path) -> None:
    first = fingerprint(ADAPTER, root, None)
    for path in (tmp_path / "cache" / "dira-bench" / "roots").iterdir():
        path.write_bytes(b"{")
    assert fingerprint(ADAPTER, root, None) == first
    assert len(asked) == 2


def test_a_listing_sorts_each_folder_once_however_many_there_are(tmp_path: Path, monkeypatch) -> None:
    compared = 0

    class Counted(str):
        def __lt__(self, other: str) -> bool:
            nonlocal compared
            compared += 1
            return str(self) < str(other)

    class Entry:
        def __init__(self, entry: os.DirEntry[str]) -> None:
            self.name, self.path, self.is_dir, self.stat = entry.name, Counted(entry.path), entry.is_dir, entry.stat

    @contextmanager
    def scandir(folder: str):
        with listed(folder) as entries:
            yield map(Entry, entries)

    listed = os.scandir
    for number in range(200):
        (tmp_path / f"patient{number:03d}" / "study1").mkdir(parents=True)
    plain = look_at(tmp_path)
    monkeypatch.setattr(known_roots.os, "scandir", scandir)
    assert look_at(tmp_path) == plain
    assert compared < 200 * 10  # a sort of all that waits, folder by folder, compares some 20,000 times


def test_links_that_lead_round_in_circles_are_followed_once(root: Path) -> None:
    (root / "images" / "back").symlink_to(root)
    (root / "lost").symlink_to(root / "nowhere")
    assert look_at(root) == look_at(root)
    assert look_at(root).files > 70


def test_how_far_the_index_is_is_told(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_parallel, "MANY", 30)
    heard: list[tuple[int, int, str]] = []
    with looking(Effort(report=lambda *words: heard.append(words))):
        found = ADAPTER.fingerprint(root)
    assert heard == [(done, 70, "reading names and sizes") for done in (0, 30, 60, 70)]
    assert found == ADAPTER.fingerprint(root)


def halves(number: int) -> float:
    if number == 77:
        raise DataError("seventy-seven")
    return number / 2


@pytest.mark.parametrize("workers", [1, 3])
def test_files_are_told_in_their_order_however_many_processes_open_them(workers: int) -> None:
    heard: list[tuple[int, int, str]] = []
    with looking(Effort(workers, report=lambda *words: heard.append(words))) as effort:
        assert list(each(halves, range(70), "opening")) == [(n, n / 2) for n in range(70)]
        with pytest.raises(DataError, match="seventy-seven"):
            list(each(halves, range(90), "opening"))
    assert heard[heard.index((70, 70, "opening")) + 1][1] == 90
    assert (effort.opened >= 70, effort.of) == (True, 160)


@pytest.mark.parametrize(("workers", "count", "parts"), [(2, 10, 10), (2, 32, 16), (2, 1000, 63), (1, 40, 8)])
def test_a_few_scans_are_shared_among_all_processes(workers: int, count: int, parts: int) -> None:
    heard: list[int] = []
    with looking(Effort(workers, report=lambda done, total, what: heard.append(done))):
        list(each(abs, range(count), "opening"))
    assert (len(heard), heard[-1]) == (parts, count)


def test_a_sample_is_drawn_once_and_for_all_and_says_how_much_it_is() -> None:
    seen = []
    for workers in (1, 2):
        with looking(Effort(workers, sample=10)) as effort:
            seen.append([key for key, _ in each(halves, range(70), "opening")])
        assert (effort.opened, effort.of) == (10, 70)
    assert seen[0] == seen[1] == sorted(set(seen[0]))
    assert len(seen[0]) == 10


def test_the_time_left_is_of_the_rate_now_and_not_of_what_was_there_before() -> None:
    pace = Pace()
    assert pace.rest(0.0, 0, 1000, "decoding") is None
    pace.rest(1.0, 500, 1000, "decoding")  # an interrupted attempt's half, passed over in a second
    found = [pace.rest(second, 500 + int(second), 1000, "decoding") for second in np.arange(2.0, 120.0)]
    assert found[-1] == pytest.approx(1000 - 619, rel=0.02)  # one a second
    assert pace.rest(121.0, 5, 10, "cutting") is None  # another thing is done at another rate


def test_a_root_of_links_passes_its_verifier_and_a_row_of_another_picture_is_counted(tmp_path: Path) -> None:
    root, cohort = tmp_path / "root", tmp_path / "checkout" / ".cohorts" / "id" / "0000"
    root.mkdir()
    chestxray14(root, images=200, px=64)
    plan = resolve(entry(options={"cohort": {"cache_px": 16}}), "paper", {"mine": root})
    configuration = CohortConfiguration.model_validate(plan.cohort)
    findings = ADAPTER.verify(root, configuration.split, published=False)
    assert [found.message for found in findings if found.level == "fail"] == []
    cohort.mkdir(parents=True)
    write_pixels(Filling(cohort), root, read_index(ADAPTER, root, configuration), 16, "area")
    place = full_size.Place("chestxray14", root, tmp_path / "checkout")
    assert full_size.rows_of_other_pictures(place, 16) == 0
    rows = np.load(cohort / "pixels.npy", mmap_mode="r+")
    rows[[3, 77]] += 1
    assert full_size.rows_of_other_pictures(place, 16) == 2


def test_the_progress_that_a_killed_attempt_left_is_not_that_of_the_next(tmp_path: Path) -> None:
    said = tmp_path / ".cohorts" / "id" / "0000" / "progress.json"
    said.parent.mkdir(parents=True)
    said.write_text('{"since": 1.0, "done": 9, "total": 10, "what": "decoding"}')
    assert not full_size.Until(tmp_path, 5)()
    (tmp_path / ".cohorts" / "id" / "0001").mkdir()
    text = '{"since": 1e12, "done": 5, "total": 10, "what": "decoding"}'
    (tmp_path / ".cohorts" / "id" / "0001" / "progress.json").write_text(text)
    assert full_size.Until(tmp_path, 5)()
