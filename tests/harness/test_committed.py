"""What vouches for a results file, through every step of its writing, and what becomes of one that was edited."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil

import pytest
import yaml

from harness.errors import StoreError
from harness.store import committed
from harness.store.committed import Standing, judge, listed_sums, replace, standing_content, trusted


def place(root, name="trials/random.csv"):
    return root / "results" / "miniature" / name


def lock(root, path):
    out = {"path": path.relative_to(root).as_posix(), "md5": hashlib.md5(path.read_bytes()).hexdigest()}
    (root / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": {"trials": {"outs": [out]}}}))


def forget(root):
    """Become a clone elsewhere: what was written here is not known."""
    committed.ledger(root).unlink()


def test_a_file_is_listed_beside_its_profile_and_provenance_apart(tmp_path):
    for name in ("trials/random.csv", "cells.csv", "provenance/random.csv"):
        replace(tmp_path, place(tmp_path, name), name)
    assert set(listed_sums(place(tmp_path, "SHA256SUMS"))) == {"trials/random.csv", "cells.csv"}
    assert set(listed_sums(place(tmp_path, "provenance/SHA256SUMS"))) == {"random.csv"}


@pytest.mark.parametrize("witnesses", ["lock", "sums", "both", "neither"])
def test_each_committed_witness_alone_finds_an_edit(tmp_path, witnesses):
    path = place(tmp_path)
    replace(tmp_path, path, "0.5")
    if witnesses in ("lock", "both"):
        lock(tmp_path, path)
    if witnesses in ("lock", "neither"):
        place(tmp_path, "SHA256SUMS").unlink()
    forget(tmp_path)
    assert judge(tmp_path, path).standing is (Standing.UNKNOWN if witnesses == "neither" else Standing.VOUCHED)
    assert (trusted(tmp_path, path) == b"0.5") is (witnesses in ("lock", "both")), "adoption asks for the lock"
    path.write_text("0.6")
    expected = {"lock": "dvc.lock says", "sums": "SHA256SUMS says", "both": "dvc.lock and SHA256SUMS say"}
    if witnesses in expected:
        verdict = judge(tmp_path, path)
        assert verdict.standing is Standing.EDITED
        assert verdict.sentence.endswith(f"is not what {expected[witnesses]}")
        assert standing_content(tmp_path, path) is None
        assert trusted(tmp_path, path) is None


def test_what_this_checkout_writes_stands_while_the_lock_is_of_before(tmp_path):
    path = place(tmp_path)
    replace(tmp_path, path, "0.5")
    lock(tmp_path, path)
    replace(tmp_path, path, "0.6")
    assert judge(tmp_path, path).standing is Standing.VOUCHED
    assert trusted(tmp_path, path) == b"0.5", "the copy that the lock vouches for"
    path.write_text("0.7")
    assert judge(tmp_path, path).standing is Standing.EDITED


@pytest.mark.parametrize("step", ["write_whole", "_list"])
def test_a_file_stands_wherever_its_writing_is_killed(tmp_path, monkeypatch, step):
    path = place(tmp_path)
    replace(tmp_path, path, "0.5")
    lock(tmp_path, path)

    def killed(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(committed, step, killed)
        with pytest.raises(KeyboardInterrupt):
            replace(tmp_path, path, "0.6")
    assert judge(tmp_path, path).standing is Standing.VOUCHED
    replace(tmp_path, path, "0.6")
    forget(tmp_path)
    lock(tmp_path, path)
    assert judge(tmp_path, path).standing is Standing.VOUCHED


def test_an_edited_file_is_kept_and_named_before_it_is_written_anew(tmp_path, caplog):
    path = place(tmp_path)
    replace(tmp_path, path, "0.5")
    lock(tmp_path, path)
    path.write_text("0.6")
    with caplog.at_level(logging.WARNING):
        replace(tmp_path, path, "0.5")
    (kept,) = (tmp_path / ".trials" / "replaced").rglob("*.csv")
    assert kept.read_text() == "0.6"
    assert "is not what dvc.lock and SHA256SUMS say" in caplog.text
    assert kept.relative_to(tmp_path).as_posix() in caplog.text
    assert judge(tmp_path, path).standing is Standing.VOUCHED


def test_a_file_that_nobody_knows_is_kept_too(tmp_path):
    path = place(tmp_path)
    path.parent.mkdir(parents=True)
    path.write_text("by hand")
    replace(tmp_path, path, "0.5")
    (kept,) = (tmp_path / ".trials" / "replaced").rglob("*.csv")
    assert kept.read_text() == "by hand"


@pytest.mark.parametrize(
    "line", ["<<<<<<< HEAD", f"{'0' * 63}  a.csv", f"{'0' * 64} a.csv", f"{'g' * 64}  a.csv", f"{'0' * 64}  ", "é"]
)
def test_a_damaged_list_is_named_with_its_line(tmp_path, line):
    path = place(tmp_path)
    replace(tmp_path, path, "0.5")
    sums = place(tmp_path, "SHA256SUMS")
    sums.write_text(f"{sums.read_text()}{line}\n")
    with pytest.raises(StoreError, match=r"SHA256SUMS, line 2: found"):
        judge(tmp_path, path)


def test_a_file_that_was_removed_leaves_the_list_with_the_next_writing(tmp_path):
    for name in ("trials/random.csv", "trials/gone.csv"):
        replace(tmp_path, place(tmp_path, name), "0.5")
    place(tmp_path, "trials/gone.csv").unlink()
    assert judge(tmp_path, place(tmp_path, "trials/gone.csv")).sentence.endswith("absent although SHA256SUMS has it")
    replace(tmp_path, place(tmp_path), "0.6")
    assert set(listed_sums(place(tmp_path, "SHA256SUMS"))) == {"trials/random.csv"}


def lock_folder(root, *, sums=True):
    """Write the lock of a stage whose output is the folder ``trials``, and of one that depends on the list of sums."""
    folder, listed = place(root, "trials"), place(root, "SHA256SUMS")
    entries = [
        {"md5": hashlib.md5(path.read_bytes()).hexdigest(), "relpath": path.name} for path in sorted(folder.iterdir())
    ]
    digest = hashlib.md5(json.dumps(entries).encode()).hexdigest()
    stages = {"trials": {"outs": [{"path": folder.relative_to(root).as_posix(), "md5": f"{digest}.dir"}]}}
    if sums:
        of = {"path": listed.relative_to(root).as_posix(), "md5": hashlib.md5(listed.read_bytes()).hexdigest()}
        stages["report"] = {"deps": [of]}
    (root / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))


@pytest.fixture
def folder(tmp_path):
    """Two files of a folder that a stage wrote, in a clone elsewhere."""
    for name in ("a", "b"):
        replace(tmp_path, place(tmp_path, f"trials/{name}.csv"), f"0.5 of {name}")
    return tmp_path


def test_an_edit_in_a_locked_folder_is_that_files_alone(folder):
    lock_folder(folder)
    forget(folder)
    a, b = place(folder, "trials/a.csv"), place(folder, "trials/b.csv")
    assert trusted(folder, a) == b"0.5 of a"
    a.write_text("0.6 of a")
    assert judge(folder, a).sentence.endswith("trials/a.csv is not what dvc.lock and SHA256SUMS say")
    assert (trusted(folder, a), trusted(folder, b)) == (None, b"0.5 of b")
    a.unlink()
    assert judge(folder, a).sentence.endswith("trials/a.csv is absent although dvc.lock has it")


def test_an_edit_with_its_sum_computed_anew_is_found_by_the_lock(folder):
    lock_folder(folder)
    forget(folder)
    a, sums = place(folder, "trials/a.csv"), place(folder, "SHA256SUMS")
    old = hashlib.sha256(a.read_bytes()).hexdigest()
    a.write_text("0.6 of a")
    sums.write_text(sums.read_text().replace(old, hashlib.sha256(a.read_bytes()).hexdigest()))
    verdict = judge(folder, a)
    assert verdict.standing is Standing.EDITED
    assert verdict.sentence.endswith("vouched for by nobody: results/miniature/SHA256SUMS is not what dvc.lock says")
    assert trusted(folder, a) is None


def test_a_locked_folder_stands_while_the_list_is_newer_than_the_lock(folder):
    """As after a stage that ended and was committed although the last one never ran."""
    lock_folder(folder)
    replace(folder, place(folder, "trials/a.csv"), "0.7 of a")
    lines = (folder / "dvc.lock").read_text()
    lock_folder(folder)
    newer = yaml.safe_load((folder / "dvc.lock").read_text())
    newer["stages"]["report"] = yaml.safe_load(lines)["stages"]["report"]
    (folder / "dvc.lock").write_text(yaml.safe_dump(newer))
    forget(folder)
    shutil.rmtree(folder / ".trials")
    a, b = place(folder, "trials/a.csv"), place(folder, "trials/b.csv")
    assert (trusted(folder, a), trusted(folder, b)) == (b"0.7 of a", b"0.5 of b")
    a.write_text("0.8 of a")
    assert trusted(folder, a) is None
    assert judge(folder, a).standing is Standing.EDITED


@pytest.mark.parametrize("sums", [True, False])
def test_what_is_written_beside_locked_files_leaves_them_trusted(folder, sums):
    lock_folder(folder, sums=sums)
    forget(folder)
    a, b, new = (place(folder, f"trials/{name}.csv") for name in ("a", "b", "new"))
    assert trusted(folder, a) == b"0.5 of a"
    replace(folder, new, "0.1 of new")
    replace(folder, a, "0.6 of a")
    assert (trusted(folder, a), trusted(folder, b)) == (b"0.5 of a", b"0.5 of b")
    assert trusted(folder, new) is None, "no lock has it"
    assert {judge(folder, path).standing for path in (a, b, new)} == {Standing.VOUCHED}
