"""The store: what counts is whole, what is damaged is noticed, and nobody's work is done twice."""

from __future__ import annotations

import errno
import json
import math
import os
import random
import re
import resource
import socket
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import harness.store.leases as leases
from harness.errors import StoreError
from harness.identity import file_sha256
from harness.spec import Item, Record, Status
from harness.store import State, Store, records
from harness.store.files import write_arrays
from harness.store.seals import record_seal
from harness.whole_files import write_new, write_whole
from tests.harness.works import item


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "trials", tmp_path / "cohorts", notify=lambda sentence: None)


def finish(store: Store, one: Item, status: Status = Status.OK, **what: object) -> Record:
    with store.driver() as driver:
        attempt = store.lease(one, driver)
        assert attempt is not None
        return store.finish(attempt, status, **what)  # type: ignore[arg-type]


def test_what_was_written_is_read_back_equal_even_where_it_is_not_a_number(store: Store) -> None:
    one = item("add", a=1)
    written = finish(
        store,
        one,
        values={"auc": math.nan, "dice": 0.1 + 0.2},
        facts={"classes": np.int64(3), "share": np.float32(0.5)},
        arrays={"p": np.arange(4.0), "file": np.array(["a", "b"])},
        curve=[{"step": 0, "loss": np.float64(0.25)}],
        provenance={"duration_seconds": 1.5},
    )
    read = store.ok("trial", one.id)
    assert read is not None
    assert math.isnan(read.values["auc"])
    assert read.values["dice"] == 0.1 + 0.2
    assert read.facts == {"classes": 3, "share": 0.5}
    assert read.spec == one.spec and read.provenance == {"duration_seconds": 1.5}
    arrays = store.arrays(read)
    np.testing.assert_array_equal(arrays["p"], np.arange(4.0))
    assert arrays["file"].tolist() == ["a", "b"]
    assert store.curve(read) == [{"loss": 0.25, "step": 0}]
    assert set(written.files) == {"arrays.npz", "curve.jsonl"}
    assert written.files["arrays.npz"] == file_sha256(store.folder(read) / "arrays.npz")


def test_equal_arrays_are_equal_bytes_whatever_their_order_and_the_date(tmp_path: Path) -> None:
    a, b = np.arange(5), np.eye(2, dtype=np.float32)
    write_arrays(tmp_path / "1.npz", {"a": a, "b": b})
    write_arrays(tmp_path / "2.npz", {"b": b.copy(), "a": a.copy()})
    assert (tmp_path / "1.npz").read_bytes() == (tmp_path / "2.npz").read_bytes()
    with zipfile.ZipFile(tmp_path / "1.npz") as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    with np.load(tmp_path / "1.npz") as loaded:  # the ordinary reader reads it
        np.testing.assert_array_equal(loaded["b"], b)


def test_an_array_of_objects_is_refused_because_only_pickle_could_hold_it(store: Store) -> None:
    with pytest.raises(TypeError, match="Python objects"):
        finish(store, item("add", a=1), arrays={"p": np.array([{}], dtype=object)})


def test_the_earliest_ok_attempt_is_the_one_that_counts(store: Store) -> None:
    one = item("add", a=1)
    finish(store, one, Status.FAILED, error={"type": "E", "message": "m"})
    finish(store, one, values={"sum": 1.0})
    late = store.item_folder("trial", one.id) / "0002"
    late.mkdir()
    data = json.loads((late.parent / "0001" / "record.json").read_text())
    data |= {"ordinal": 2, "values": {"sum": 9.0}}
    (late / "record.json").write_text(json.dumps({**data, "seal": record_seal(data)}))
    counted = store.ok("trial", one.id)
    assert counted is not None and (counted.ordinal, counted.values) == (1, {"sum": 1.0})
    assert [record.status for record in store.attempts("trial", one.id)] == ["failed", "ok", "ok"]
    with store.driver() as driver:
        assert store.lease(one, driver) is None


def test_files_of_an_attempt_that_failed_are_removed_and_those_of_an_ok_one_are_kept(store: Store) -> None:
    one = item("add", a=1)
    with store.driver() as driver:
        attempt = store.lease(one, driver)
        assert attempt is not None
        (attempt.folder / "deep").mkdir()
        (attempt.folder / "deep" / "half").write_text("x")
        (attempt.folder / "output.log").write_text("printed")
        failed = store.finish(attempt, Status.FAILED, keep_files=False)
        assert failed.files == {} and not (attempt.folder / "deep").exists()
        assert (attempt.folder / "output.log").read_text() == "printed"
        attempt = store.lease(one, driver)
        assert attempt is not None
        (attempt.folder / "deep").mkdir()
        (attempt.folder / "deep" / "whole").write_text("x")
        (attempt.folder / "output.log").write_text("printed")
        kept = store.finish(attempt, Status.OK)
    assert set(kept.files) == {"deep/whole"}


def test_a_checkpoint_outlives_failed_attempts_and_goes_when_the_item_is_ok(store: Store) -> None:
    one = item("add", a=1)
    (store.resume_folder(one.id) / "checkpoint").write_text("3")
    finish(store, one, Status.TIMEOUT)
    assert store.has_checkpoint(one.id)
    assert store.state("trial", one.id) is State.INTERRUPTED
    finish(store, one)
    assert not store.has_checkpoint(one.id)
    assert store.state("trial", one.id) is State.DONE


# ------------------------------------------------------------------------- damage


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (lambda text: text[: len(text) // 2], "is no record"),
        (lambda text: "", "is no record"),
        (lambda text: text.replace('"schema_version": 2', '"schema_version": 7'), "schema version 7"),
        (lambda text: text.replace('"status": "ok"', '"status": "splendid"'), "is no record (status"),
        (
            lambda text: text.replace('"status": "ok"', '"status": "failed"'),
            "was edited: its content is not what its seal",
        ),
        (lambda text: text.replace('"sum": 0.5', '"sum": 0.99'), "was edited: its content is not what its seal says"),
        (lambda text: text.replace('"sum": 0.5', '"sum": 1e400'), "was edited: its content is not what its seal says"),
        (lambda text: text.replace('"seal": "', '"seal": "0'), "was edited: its content is not what its seal says"),
        (lambda text: re.sub(r'"seal": "\w+",', "", text), "was edited: its content is not what its seal says"),
        (
            lambda text: text.replace('"title": "add"', '"title": "add "'),
            "was edited: its content is not what its seal",
        ),
        (lambda text: text.replace('"a": 1', '"a": 2'), "holds a spec whose digest is"),
        (lambda text: text.replace('"ordinal": 0', '"ordinal": 1'), "belongs to attempt 1"),
    ],
)
def test_a_damaged_record_is_set_aside_said_once_and_its_item_runs_again(store: Store, damage, found: str) -> None:
    one = item("add", a=1)
    record = finish(store, one, values={"sum": 0.5})
    path = store.folder(record) / "record.json"
    whole = path.read_text()
    path.write_text(damage(whole))
    assert path.read_text() != whole
    assert store.done_ids("trial") == set()
    assert store.ok("trial", one.id) is None
    assert store.state("trial", one.id) is State.MISSING
    assert len(store.notices) == 1 and found in store.notices[0] and str(path) in store.notices[0]
    assert "\n" not in store.notices[0]
    assert [p.read_text() for p in path.parent.glob("record.json.damaged-*")] == [damage(whole)]  # nothing is lost
    assert finish(store, one).ordinal == 1
    assert store.done_ids("trial") == {one.id}


def test_damaged_arrays_and_files_are_noticed_when_they_are_used(store: Store) -> None:
    one, two = item("add", a=1), item("add", a=2)
    first, second = finish(store, one, arrays={"p": np.arange(9)}), finish(store, two, curve=[{"loss": 1}])
    assert store.verify(first) and store.verify(second)
    path = store.folder(first) / "arrays.npz"
    data = bytearray(path.read_bytes())
    data[-100] ^= 1  # one bit, same size
    path.write_bytes(data)
    with pytest.raises(StoreError, match=r"arrays\.npz has SHA-256 .* expected"):
        store.arrays(first)
    assert store.ok("trial", one.id) is None
    (store.folder(second) / "curve.jsonl").unlink()
    assert not store.verify(second)
    assert "is gone although" in store.notices[-1]
    assert store.done_ids("trial") == set()


def test_the_index_is_never_trusted_over_the_records(store: Store) -> None:
    ids = {finish(store, item("add", a=number)).id for number in range(6)}
    index = store.root / "index.jsonl"
    assert store.done_ids("trial") == ids
    index.write_bytes(index.read_bytes()[:-25] + b'\n{"kind": "trial", "id"\n\xff\xfe\n')
    assert store.done_ids("trial") == ids
    for line in index.read_text().splitlines():
        json.loads(line)  # rebuilt
    index.write_text("")
    assert store.done_ids("trial") == ids
    assert len(index.read_text().splitlines()) == 6
    index.unlink()
    gone = sorted(ids)[0]
    (store.item_folder("trial", gone) / "0000" / "record.json").unlink()
    assert store.done_ids("trial") == ids - {gone}
    ghost = {"kind": "trial", "id": "f" * 64, "ordinal": 0, "size": 1, "date": 1, "seconds": 1}
    index.write_text(json.dumps(ghost) + "\n")
    assert store.done_ids("trial") == ids - {gone}


def test_cohorts_lie_apart_and_kinds_do_not_mix(store: Store) -> None:
    cohort, trial = item("add", kind="cohort", a=1), item("add", a=1)
    record = finish(store, cohort)
    assert cohort.id != trial.id
    assert store.folder(record) == store.cohorts / cohort.id / "0000"
    assert store.done_ids("cohort") == {cohort.id} and store.done_ids("trial") == set()


# ------------------------------------------------------------------------- leases


def test_only_one_driver_gets_an_attempt_and_a_dead_ones_is_free_at_once(store: Store) -> None:
    one = item("add", a=1)
    code = (
        "import sys, os; from pathlib import Path; from harness.store import Store; from tests.harness.works import item;"
        f"s = Store(Path({str(store.root)!r}), Path({str(store.cohorts)!r})); d = s.driver(); d.__enter__();"
        "print(s.lease(item('add', a=1), d).ordinal, flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None and other.stdout.readline() == "0\n"
    with store.driver() as driver:
        assert store.lease(one, driver) is None
        assert store.state("trial", one.id) is State.RUNNING
        other.kill()
        while leases.process_start(other.pid) is not None:  # killed; not waited for: it stays a zombie
            pass
        assert store.state("trial", one.id) is State.INTERRUPTED
        attempt = store.lease(one, driver)
        assert attempt is not None and attempt.ordinal == 1
        assert store.lease(one, driver) is None  # our own is no more free than another's
    other.communicate()
    (record,) = store.attempts("trial", one.id)
    assert record.status is Status.INTERRUPTED and record.error is not None
    assert record.error["type"] == "DriverLost"


def test_a_driver_on_another_machine_is_believed_until_its_heartbeat_stops(store: Store, monkeypatch) -> None:
    one = item("add", a=1)
    far = store.driver()
    with monkeypatch.context() as patch:
        patch.setattr(leases, "machine", lambda: "elsewhere")
        patch.setattr("os.getpid", lambda: 2**22 + 5)  # no such process here
        far.__enter__()
        assert store.lease(one, far) is not None
    with store.driver() as driver:
        assert store.lease(one, driver) is None
        silent = driver.path.stat().st_mtime - leases.SILENT_SECONDS - 1
        os.utime(far.path, (silent, silent))
        attempt = store.lease(one, driver)
        assert attempt is not None and attempt.ordinal == 1
    far.__exit__(None, None, None)


def test_a_process_id_that_is_used_again_is_not_taken_for_the_old_process() -> None:
    start = leases.process_start(os.getpid())
    assert start is not None
    assert leases.process_alive(os.getpid(), start)
    assert not leases.process_alive(os.getpid(), str(int(start) - 1))


def test_a_decision_on_an_old_ordinal_leases_nothing(store: Store) -> None:
    one = item("add", a=1)
    finish(store, one, Status.FAILED)
    with store.driver() as driver:
        assert store.lease(one, driver, ordinal=0) is None
        assert store.lease(one, driver, ordinal=1) is not None


def test_the_first_record_of_an_attempt_stays(store: Store) -> None:
    one = item("add", a=1)
    with store.driver() as driver:
        attempt = store.lease(one, driver)
        assert attempt is not None
        store.finish(attempt, Status.OK, values={"sum": 1.0}, arrays={"p": np.ones(1)})
        late = store.close(attempt, Status.INTERRUPTED, {"type": "E", "message": "m"})
    assert late.status is Status.OK
    record = store.ok("trial", one.id)
    assert record is not None and store.verify(record)


# ------------------------------------------------------------------------- full disk


def test_a_full_disk_is_one_sentence_and_nothing_half_written_counts(store: Store, monkeypatch) -> None:
    one = item("add", a=1)
    for number in (errno.ENOSPC, errno.EDQUOT):
        with store.driver() as driver:
            attempt = store.lease(one, driver)
            assert attempt is not None

            def full(descriptor: int, number: int = number) -> None:
                raise OSError(number, os.strerror(number))

            with monkeypatch.context() as patch:
                patch.setattr(os, "fsync", full)
                with pytest.raises(StoreError, match=r"is full .*; nothing half-written counts") as error:
                    store.finish(attempt, Status.OK, arrays={"p": np.ones(10)})
            assert "\n" not in str(error.value)
            assert not (attempt.folder / "record.json").exists()
        assert store.done_ids("trial") == set()
    assert finish(store, one).ordinal == 2
    assert [record.status for record in store.attempts("trial", one.id)] == ["interrupted", "interrupted", "ok"]


def test_a_real_file_size_limit_leaves_no_file_behind(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(OSError):
            write_whole(tmp_path / "file", bytes(8192))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "trials").write_text("a file where the store should be")
    store = Store(tmp_path / "trials", tmp_path / "cohorts")
    with pytest.raises(StoreError, match="cannot write"), store.driver():
        pass


def test_a_finished_matrix_is_resumed_without_torch_pandas_or_numpy(store: Store) -> None:
    finish(store, item("add", a=1))
    code = (
        "import sys; from pathlib import Path; from harness.store import Store;"
        f"print(len(Store(Path({str(store.root)!r}), Path({str(store.cohorts)!r})).done_ids('trial')));"
        "print([m for m in ('torch', 'pandas', 'numpy') if m in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout == "1\n[]\n"


def test_the_name_of_this_machine_tells_containers_of_one_host_apart() -> None:
    assert leases.machine().startswith(socket.gethostname())
    if Path("/proc/self/ns/pid").exists():
        assert "pid:" in leases.machine()


def test_no_change_of_a_character_of_a_record_changes_what_it_says_in_silence(store: Store) -> None:
    """600 records with one character replaced, put in or left out: set aside, or read as they were."""
    one = item("add", a=1)
    record = finish(store, one, values={"auc": 0.5349, "undefined": float("nan")}, facts={"step": 3})
    path, rng = store.folder(record) / "record.json", random.Random(0)
    text, set_aside = path.read_text(), 0
    for _ in range(600):
        place, letter = rng.randrange(len(text)), rng.choice("0123456789abcdefnrt_.,-+ \"'\n:{}[]")
        kind = rng.choice(("replace", "insert", "delete"))
        edited = text[:place] + ("" if kind == "delete" else letter) + text[place + (kind != "insert") :]
        path.write_text(edited)
        found = store.attempt("trial", one.id, 0)
        if found is None:
            set_aside += 1
            for damaged in path.parent.glob("record.json.damaged-*"):
                damaged.unlink()
        else:
            assert repr(found) == repr(record), (kind, place, letter)
    assert set_aside > 450
    assert len(store.notices) == set_aside


def test_a_record_of_an_older_version_has_no_seal_and_counts(store: Store) -> None:
    one = item("add", a=1)
    record = finish(store, one, values={"sum": 0.5})
    path = store.folder(record) / "record.json"
    old = {key: value for key, value in json.loads(path.read_text()).items() if key != "seal"}
    path.write_text(json.dumps({**old, "schema_version": 1}))
    found = store.ok("trial", one.id)
    assert found is not None and (found.seal, found.values) == ("", record.values)
    assert store.notices == []


# ------------------------------------------------------------------------- what one stale look must not destroy


def test_a_result_that_a_closer_has_not_seen_yet_stays_whole(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """On NFS a client may believe for a minute that record.json is absent: closing then must not clear the folder."""
    one = item("add", a=1)
    with store.driver() as driver:
        attempt = store.lease(one, driver)
        assert attempt is not None
        (attempt.folder / "weights").write_text("weights")
        done = store.finish(attempt, Status.OK, values={"auc": 0.5})
        late = Store(store.root, store.cohorts, notify=lambda sentence: None)
        with monkeypatch.context() as patch:
            stale = iter([None])  # the first look finds nothing; the next one asks the server
            load = late._load
            patch.setattr(late, "_load", lambda *where: next(stale, load(*where)))
            found = late.close(attempt, Status.INTERRUPTED, {"type": "E", "message": "gone"})
    assert found == done
    assert (attempt.folder / "weights").read_text() == "weights"
    assert store.state("trial", one.id) is State.DONE and store.verify(done)


@pytest.mark.parametrize("moment", ["before", "between"])
def test_a_process_that_finishes_a_closed_attempt_changes_nothing_and_leaves_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """A job that was taken for gone may come back: before its look at the record, or between look and link."""
    one = item("add", a=1)
    other = Store(store.root, store.cohorts, notify=lambda sentence: None)
    with store.driver() as driver:
        attempt = store.lease(one, driver)
        assert attempt is not None

        def close() -> Record:
            return other.close(attempt, Status.INTERRUPTED, {"type": "E", "message": "gone"})

        keep = records._keep_files

        def late(folder: Path, *left: Any) -> dict[str, str]:
            if moment == "between" and left != (None, []):
                close()
            return keep(folder, *left)

        (attempt.folder / "weights").write_text("weights")
        if moment == "before":
            close()
            (attempt.folder / "weights").write_text("written on")
        monkeypatch.setattr(records, "_keep_files", late)
        found = store.finish(attempt, Status.OK, values={"auc": 0.5}, arrays={"total": np.array(1.0)})
    assert found.status is Status.INTERRUPTED
    assert store.state("trial", one.id) is State.INTERRUPTED
    assert sorted(path.name for path in attempt.folder.iterdir()) == ["claim.json", "record.json"]


def test_a_link_that_was_made_and_is_said_to_exist_has_won(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """NFS sends a link again when the answer was lost, and then hears that the name exists."""
    link = os.link

    def twice(source: Path, target: Path) -> None:
        link(source, target)
        link(source, target)

    monkeypatch.setattr(os, "link", twice)
    assert write_new(tmp_path / "record.json", b"mine")
    assert not write_new(tmp_path / "record.json", b"other")
    assert (tmp_path / "record.json").read_bytes() == b"mine"


def test_a_rename_that_was_made_and_is_said_to_have_failed_is_a_lease(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.rename

    def twice(self: Path, target: Path) -> Path:
        rename(self, target)
        return rename(self, target)  # fails: what was renamed is no longer there

    one = item("add", a=1)
    with store.driver() as driver:
        with monkeypatch.context() as patch:
            patch.setattr(Path, "rename", twice)
            attempt = store.lease(one, driver)
        assert attempt is not None and attempt.ordinal == 0
        assert store.lease(one, driver) is None


def test_an_owner_elsewhere_must_have_been_gone_for_a_while(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    one, far = item("add", a=1), store.driver()
    now = 1000.0
    monkeypatch.setattr("harness.store.records.time.monotonic", lambda: now)
    store.patience = 60.0
    with monkeypatch.context() as patch:
        patch.setattr("harness.store.records.myself", lambda: {"machine": "elsewhere", "pid": 1, "start": "1"})
        with far:
            assert store.lease(one, far) is not None
    with store.driver() as driver:
        assert store.lease(one, driver) is None  # its driver is gone, and perhaps its record is not seen yet
        now += 61.0
        attempt = store.lease(one, driver)
        assert attempt is not None and attempt.ordinal == 1


def test_checkpoints_that_are_made_while_old_ones_are_removed_stay(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at an item and the removal of its checkpoints, somebody may begin anew."""
    one = item("add", a=1)
    finish(store, one, Status.FAILED)
    store.resume_folder(one.id)
    spent = list(store._spent_checkpoints())
    (store.resume_folder(one.id) / "checkpoint").write_text("new")
    monkeypatch.setattr(store, "_spent_checkpoints", lambda: iter(spent))
    store.sweep()
    assert (store.resume_folder(one.id) / "checkpoint").read_text() == "new"


@pytest.mark.parametrize("given", ["soon", "-1", "nan", "inf"])
def test_a_patience_that_is_no_number_of_seconds_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    monkeypatch.setenv("DIRA_BENCH_GONE_SECONDS", given)
    with pytest.raises(StoreError, match="expected seconds from 0"):
        Store(tmp_path / "trials", tmp_path / "cohorts")
