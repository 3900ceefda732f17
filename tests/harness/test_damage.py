"""Whatever of a store is damaged, and however: reading goes on, running makes it whole, and nothing else is lost."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.errors import StoreError
from harness.runner import status
from harness.spec import Status
from harness.store import State, Store
from harness.store.committed import keep, trusted
from harness.store.files import parse_json, read_arrays
from harness.store.records import LATEST
from harness.whole_files import is_temporary
from tests.harness.test_store import finish
from tests.harness.works import item

DONE, BEGUN = item("add", a=1, name="done"), item("add", a=2, name="begun")


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        for inner in path.iterdir():
            remove(inner)
        path.rmdir()
    else:
        path.unlink(missing_ok=True)


def a_folder(path: Path) -> None:
    path.mkdir(parents=True)
    (path / "inside").write_text("x")


DAMAGE: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "garbage": lambda path: path.write_bytes(bytes(range(256))),
    "a list": lambda path: path.write_text("[1, 2]\n"),
    "text": lambda path: path.write_text('"text"\n'),
    "nothing in it": lambda path: path.write_text("{}\n"),
    "wrong types": lambda path: path.write_text(
        json.dumps(dict.fromkeys(("driver", "machine", "pid", "start", "done", "total", "since", "seconds"), "soon"))
        + "\n"
    ),
    "lists within": lambda path: path.write_text(json.dumps({key: [] for key in ("driver", "pid", "kind", "id")})),
    "huge numbers": lambda path: path.write_text(
        json.dumps({"kind": "trial", "id": DONE.id, "ordinal": 10**400, "size": 1e308, "date": -1, "seconds": 10**400})
    ),
    "deeply nested": lambda path: path.write_text("[" * 100_000),
    "a folder": a_folder,
    "a dead link": lambda path: path.symlink_to("nowhere"),
    "a loop": lambda path: path.symlink_to(path.name),
    "a link to its own folder": lambda path: path.symlink_to("."),
    "a pipe": lambda path: os.mkfifo(path),
}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with one item that is done and one whose driver was lost."""
    store = Store(tmp_path / "trials", tmp_path / "cohorts", notify=lambda sentence: None)
    finish(store, DONE, values={"sum": 1.0}, curve=[{"step": 0}], provenance={"duration_seconds": 1.0})
    assert store.done_ids("trial") == {DONE.id}
    driver = store.driver()
    driver.__enter__()
    attempt = store.lease(BEGUN, driver)
    assert attempt is not None
    (attempt.folder / "progress.json").write_text(json.dumps({"machine": "elsewhere", "pid": 1, "done": 1}))
    os.utime(attempt.folder / "progress.json", (1, 1))
    driver.__exit__(None, None, None)
    (store.resume_folder(BEGUN.id) / "checkpoint").write_text("1")
    return store


def places(store: Store) -> dict[str, Path]:
    done, begun = store.item_folder("trial", DONE.id), store.item_folder("trial", BEGUN.id)
    return {
        "record": done / "0000" / "record.json",
        "curve": done / "0000" / "curve.jsonl",
        "lease of a finished attempt": done / "0000" / "claim.json",
        "lease": begun / "0000" / "claim.json",
        "progress": begun / "0000" / "progress.json",
        "record to be": begun / "0000" / "record.json",
        "attempt": begun / "0000",
        "finished attempt": done / "0000",
        "item": begun,
        "group of items": begun.parent,
        "kind": begun.parent.parent,
        "checkpoints of an item": store.root / "resume" / BEGUN.id,
        "checkpoints": store.root / "resume",
        "a driver": store.root / "drivers" / "somebody",
        "drivers": store.root / "drivers",
        "index": store.root / "index.jsonl",
    }


PLACES = (
    "record", "curve", "lease of a finished attempt", "lease", "progress", "record to be", "attempt",
    "finished attempt", "item", "group of items", "kind", "checkpoints of an item", "checkpoints", "a driver",
    "drivers", "index",
)  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("place", PLACES)
def test_a_damaged_store_is_read_and_becomes_whole_by_running(store: Store, place: str, damage: str) -> None:
    path = places(store)[place]
    remove(path)
    DAMAGE[damage](path)
    for one in (DONE, BEGUN):  # nothing that only reads stops
        assert store.state("trial", one.id) in State
        store.progress("trial", one.id)
        store.attempts("trial", one.id)
        store.last("trial", one.id)
        store.next_ordinal("trial", one.id)
    assert set(store.measured("trial")) <= {DONE.id}
    status(store, [DONE, BEGUN])
    for one in (DONE, BEGUN):
        record = store.ok("trial", one.id)
        if record is not None and not store.verify(record):
            record = None
        if record is None:
            store.resume_folder(one.id)
            finish(store, one, values={"sum": 1.0})
        assert store.state("trial", one.id) is State.DONE
    store.sweep()
    fresh = Store(store.root, store.cohorts, notify=lambda sentence: None)
    assert fresh.done_ids("trial") == {DONE.id, BEGUN.id}
    for one in (DONE, BEGUN):
        found = fresh.ok("trial", one.id)
        assert found is not None and found.values == {"sum": 1.0} and fresh.verify(found)
    assert fresh.notices == []  # what was wrong has been put away


@pytest.mark.parametrize("place", ["item", "attempt"])
def test_a_link_to_another_items_folder_undoes_nothing_there(store: Store, place: str) -> None:
    path = places(store)[place]
    remove(path)
    path.symlink_to(store.item_folder("trial", DONE.id) / ("0000" if place == "attempt" else ""))
    store.state("trial", BEGUN.id)
    finish(store, BEGUN, values={"sum": 2.0})
    found = store.ok("trial", DONE.id)
    assert found is not None and found.values == {"sum": 1.0} and store.verify(found)


def test_attempts_that_were_moved_to_another_disk_and_linked_still_count(store: Store, tmp_path: Path) -> None:
    attempt = places(store)["finished attempt"]
    moved = attempt.rename(tmp_path / "elsewhere")
    attempt.symlink_to(moved)
    assert store.ok("trial", DONE.id) is not None


def test_a_lease_that_names_a_file_outside_the_store_is_no_driver(store: Store) -> None:
    lease = places(store)["lease"]
    alive = store.root / "alive.json"
    from harness.store.leases import myself

    alive.write_text(json.dumps(myself()))
    lease.write_text(json.dumps({"driver": "../alive.json"}))
    assert store.state("trial", BEGUN.id) is State.INTERRUPTED


def test_damaged_copies_of_committed_files_are_passed_over(tmp_path: Path) -> None:
    import hashlib

    path = tmp_path / "results" / "smoke" / "trials" / "a.csv"
    path.parent.mkdir(parents=True)
    path.write_text("a\n")
    digest = hashlib.md5(b"a\n", usedforsecurity=False).hexdigest()
    out = {"path": "results/smoke/trials/a.csv", "md5": digest}
    (tmp_path / "dvc.lock").write_text(json.dumps({"stages": {"s": {"outs": [out]}}}))
    keep(tmp_path, path)
    (copy,) = (tmp_path / ".trials" / "adopted").rglob("*.csv")
    path.write_text("b\n")
    assert trusted(tmp_path, path) == b"a\n"
    copy.unlink()
    copy.mkdir()
    assert trusted(tmp_path, path) is None


@pytest.mark.parametrize("content", [b"", b"PK", b"\x93NUMPY", bytes(range(256))])
def test_an_archive_that_is_none_is_one_sentence_with_its_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "arrays.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="arrays.npz is no archive of arrays"):
        read_arrays(path)


def test_json_that_is_nested_too_deeply_is_no_json_and_no_recursion_error() -> None:
    for text in ("[" * 3000 + "]" * 3000, '{"a":' * 100_000):
        with pytest.raises(ValueError, match="nested|Expecting"):
            parse_json(text)


# ------------------------------------------------------------------------- many attempts


def copies(store: Store, one, count: int) -> None:
    """Leave many more attempts like the first, which must have failed."""
    home = store.item_folder("trial", one.id)
    content = json.loads((home / "0000" / "record.json").read_text())
    (home / "0000" / "record.json").unlink()
    (home / "0000" / "claim.json").unlink()
    (home / "0000").rmdir()
    template = json.dumps({**content, "ordinal": 987654321}, indent=1, sort_keys=True)
    for ordinal in range(count):
        (home / f"{ordinal:04d}").mkdir()
        (home / f"{ordinal:04d}" / "record.json").write_text(template.replace("987654321", str(ordinal)))


def test_thousands_of_attempts_at_an_item_are_looked_through_in_moments(tmp_path: Path, monkeypatch) -> None:
    """Whole records are read of the latest attempts alone, so state and status do not grow with their number."""
    store = Store(tmp_path / "trials", tmp_path / "cohorts", notify=lambda sentence: None)
    one = item("add", a=3)
    finish(store, one, Status.INTERRUPTED, error={"type": "DriverLost", "message": "gone"})
    copies(store, one, 3000)
    read: list[int] = []
    load = store._load
    monkeypatch.setattr(store, "_load", lambda *words: read.append(1) or load(*words))
    begun = time.perf_counter()
    states = [store.state("trial", one.id) for _ in range(4)]
    status(store, [one])
    taken = time.perf_counter() - begun
    assert len(set(states)) == 1 and len(read) <= 12 * LATEST
    assert taken < 8.0  # 10,000 records of 30 KB took 60 s when each was read whole, 1.5 s now
    finish(store, one, values={"sum": 1.0})
    assert store.state("trial", one.id) is State.DONE


def test_an_early_ok_attempt_counts_however_many_came_after_it(tmp_path: Path) -> None:
    store = Store(tmp_path / "trials", tmp_path / "cohorts", notify=lambda sentence: None)
    one = item("add", a=4)
    finish(store, one, values={"sum": 4.0})
    home = store.item_folder("trial", one.id)
    for ordinal in range(1, 3 * LATEST):
        (home / f"{ordinal:04d}").mkdir()
    assert store.state("trial", one.id) is State.DONE
    found = store.ok("trial", one.id)
    assert found is not None and found.ordinal == 0


# ------------------------------------------------------------------------- leftovers


def test_what_ended_runs_left_is_swept_and_what_may_still_be_needed_is_not(store: Store) -> None:
    failed, running = item("add", a=5), item("add", a=6)
    finish(store, failed, Status.FAILED)
    done = store.item_folder("trial", DONE.id)
    hidden = "0123456789ab"
    swept = [
        done / "0000" / f".progress.json.{hidden}", done / "0000" / f".record.json.{hidden}",
        done / "0000" / "progress.json", done / f".new-{hidden}", store.root / f".index.jsonl.{hidden}",
        store.root / "drivers" / f".token.{hidden}", store.resume_folder(DONE.id) / "checkpoint",
        store.resume_folder(failed.id),
    ]  # fmt: skip
    for path in swept:
        if path.name.startswith(".new-"):
            path.mkdir()
        elif not path.exists():
            path.write_text("{}")
        os.utime(path, (1, 1))
    with store.driver() as driver:
        attempt = store.lease(running, driver)
        assert attempt is not None
        kept = [
            attempt.folder / "progress.json", attempt.folder / f".progress.json.{hidden}",
            store.root / "drivers" / f".fresh.{hidden}", store.resume_folder(running.id),
            store.resume_folder(BEGUN.id) / "checkpoint", attempt.folder / "claim.json", driver.path,
        ]  # fmt: skip
        for path in kept:
            if not path.exists():
                path.write_text("{}")
        count = store.sweep()
        assert [path for path in swept if path.exists()] == []
        assert [path for path in kept if not path.exists()] == []
        assert count == len(swept)
        assert store.sweep() == 0
    assert store.state("trial", DONE.id) is State.DONE and store.state("trial", failed.id) is State.FAILED


@pytest.mark.parametrize("name", [".record.json.0123456789ab", ".new-0123456789ab", "..x.0123456789ab"])
def test_names_of_what_is_being_prepared_are_known(name: str) -> None:
    assert is_temporary(name)


@pytest.mark.parametrize("name", ["record.json", ".gitignore", "0000", ".new-x", "record.json.damaged-01234567"])
def test_other_names_are_not_taken_for_them(name: str) -> None:
    assert not is_temporary(name)


def test_a_store_that_is_a_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "trials").write_text("x")
    store = Store(tmp_path / "trials", tmp_path / "cohorts", notify=lambda sentence: None)
    assert store.state("trial", DONE.id) is State.MISSING
    with pytest.raises(StoreError, match="cannot write"), store.driver():
        pass
