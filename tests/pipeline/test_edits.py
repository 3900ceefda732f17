"""An edit of what is stored or committed is named at every door, and no door prints from it.

The doors are those through which a number can leave: both stages behind ``nox -s report``, ``report``, ``verify`` and
``show``. Each is tried with each edit on a clone whose pipeline has run.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from harness import versions
from harness.results import read_rows
from harness.store.seals import record_seal
from tests.pipeline.clone import inside

METHOD = "random"
DOORS = (
    ("stage", "statistics", "smoke"),
    ("stage", "report", "smoke"),
    ("report",),
    ("verify",),
    ("show", "ID"),
)


@pytest.fixture(scope="module")
def whole(clone):
    """The clone as it was, beside it."""
    for component in versions.stale(clone.root):  # an edit that is being made while this runs is not what is tried
        versions.write_digest(clone.root, component)
    aside = clone.root.with_name("whole")
    shutil.copytree(clone.root, aside, symlinks=True)
    return aside


@pytest.fixture(autouse=True)
def restored(clone, whole):
    """Undo what a test did to the results, the reports, the lock and the store."""
    yield
    restore(clone.root, whole)


def restore(root: Path, whole: Path) -> None:
    for name in ("results", "reports", ".trials", "dvc.lock"):
        path = root / name
        if path.is_dir():
            shutil.rmtree(path)
            shutil.copytree(whole / name, path, symlinks=True)
        else:
            shutil.copy2(whole / name, path)


def results(root: Path) -> Path:
    return root / "results" / "smoke"


def trial(root: Path) -> dict[str, str]:
    """The first scored row of the method under test."""
    return next(row for row in read_rows(results(root) / "trials" / f"{METHOD}.csv") if row["status"] == "ok")


def attempt(root: Path) -> Path:
    id = trial(root)["trial_id"]
    return root / ".trials" / "trial" / id[:2] / id / "0000"


def other(value: str) -> str:
    """A number that could be this one, and is not."""
    return repr(round(1 - float(value) / 2, 16))


def a_value(root: Path) -> str:
    row, path = trial(root), results(root) / "trials" / f"{METHOD}.csv"
    text = path.read_text()
    path.write_text(text.replace(f",{row['metric']},{row['value']},", f",{row['metric']},{other(row['value'])},", 1))
    assert path.read_text() != text
    return f"trials/{METHOD}.csv"


def a_status(root: Path) -> str:
    path = results(root) / "trials" / f"{METHOD}.csv"
    lines = path.read_text().splitlines(keepends=True)
    id = trial(root)["trial_id"]
    columns = [line.split(",") for line in lines]
    path.write_text(
        "".join(
            ",".join([*row[:6], "", "failed", *row[8:]]) if row[10] == id else line
            for row, line in zip(columns, lines, strict=True)
        )
    )
    return f"trials/{METHOD}.csv"


def a_row_left_out(root: Path) -> str:
    path = results(root) / "trials" / f"{METHOD}.csv"
    id = trial(root)["trial_id"]
    path.write_text("".join(line for line in path.read_text().splitlines(keepends=True) if id not in line))
    return f"trials/{METHOD}.csv"


def a_resample(root: Path) -> str:
    path = results(root) / "resamples" / f"{METHOD}.npz"
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    name = next(name for name in arrays if not name.startswith("count|"))
    arrays[name] = arrays[name] / 2
    np.savez_compressed(path, **arrays)
    return f"resamples/{METHOD}.npz"


def a_summary(root: Path) -> str:
    path = results(root) / "cells.csv"
    text = path.read_text()
    mean = next(row["mean"] for row in read_rows(path) if row["mean"])
    path.write_text(text.replace(f",{mean},", ",99.9,", 1))
    return "cells.csv"


def a_finding(root: Path) -> str:
    path = results(root) / "comparisons.csv"
    path.write_text(path.read_text().replace(",unresolved,", ",better,", 1))
    return "comparisons.csv"


def a_pretraining(root: Path) -> str:
    path = results(root) / "pretraining" / "moco_v2.json"
    path.write_text(path.read_text().replace('"ok"', '"diverged"', 1))
    return "pretraining/moco_v2.json"


def a_stamp(root: Path) -> str:
    path = results(root) / "cohorts" / "montgomery.json"
    path.write_text(path.read_text().replace('"synthetic": true', '"synthetic": false', 1))
    return "cohorts/montgomery.json"


def a_device(root: Path) -> str:
    path = results(root) / "provenance" / f"{METHOD}.csv"
    path.write_text(path.read_text().replace(",cpu,", ",cuda,", 1))
    return f"provenance/{METHOD}.csv"


def an_audited_claim(root: Path) -> str:
    path = root / "results" / "published" / "audit.csv"
    path.write_text(path.read_text().replace(",contradicted,", ",supported,", 1))
    return "published/audit.csv"


def a_record(root: Path) -> str:
    path = attempt(root) / "record.json"
    document = json.loads(path.read_text())
    document["values"] = dict.fromkeys(document["values"], 0.99)
    path.write_text(json.dumps(document, sort_keys=True, indent=1) + "\n")
    return str(path)


def a_byte_of_an_array(root: Path) -> str:
    path = attempt(root) / "arrays.npz"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    return str(path)


def an_absent_file(root: Path) -> str:
    (results(root) / "resamples" / f"{METHOD}.npz").unlink()
    return f"resamples/{METHOD}.npz"


COMMITTED = (
    a_value, a_status, a_row_left_out, a_resample, a_summary, a_finding, a_pretraining, a_stamp, a_device,
    an_audited_claim,
)  # fmt: skip
STORED = (a_record, a_byte_of_an_array)


@pytest.mark.parametrize("edit", [*COMMITTED, *STORED], ids=lambda edit: edit.__name__)
def test_every_door_names_an_edit_and_writes_nothing(clone, whole, edit):
    """All doors for one edit of each kind of witness, and two for its neighbours: each door asks the same function."""
    before = clone.results()
    for words in DOORS if edit in (a_value, a_resample, a_summary, *STORED) else (DOORS[1], DOORS[2]):
        id = trial(whole)["trial_id"]
        named = edit(clone.root)
        edited = clone.results()
        assert edit in (*STORED, a_device, an_audited_claim) or edited != before
        code, said = inside(clone.root, *(id if word == "ID" else word for word in words))
        assert code == 2, (words, said)
        assert named in said, (words, said)
        assert "Traceback" not in said
        assert clone.results() == edited, f"{words} wrote from what was edited"
        restore(clone.root, whole)


def test_what_was_not_edited_passes_every_door(clone, whole):
    before = clone.results()
    for words in DOORS:
        id = trial(whole)["trial_id"]
        code, said = inside(clone.root, *(id if word == "ID" else word for word in words))
        assert code == 0, (words, said)
        assert "note:" not in said
    assert clone.results() == before


def test_an_edited_number_is_not_among_what_show_prints(clone):
    id = trial(clone.root)["trial_id"]
    a_record(clone.root)
    _, said = inside(clone.root, "show", id)
    assert "0.99" not in said.replace("0.99)", "")
    code, said = inside(clone.root, "show", id)
    assert code == 0, "it was set aside, so the item is missing and the committed row stands"
    assert f"= {trial(clone.root)['value']}" in said


def test_a_disk_that_turns_a_bit_without_a_date_is_found_by_verify(clone):
    path = attempt(clone.root) / "arrays.npz"
    date = path.stat()
    a_byte_of_an_array(clone.root)
    os.utime(path, ns=(date.st_atime_ns, date.st_mtime_ns))
    code, said = inside(clone.root, "verify")
    assert (code, str(path) in said) == (2, True)


def test_what_a_stage_writes_need_not_be_there_and_what_it_reads_must(clone):
    before = clone.results()
    for name in ("cells.csv", "comparisons.csv"):
        (results(clone.root) / name).unlink()
    assert inside(clone.root, "stage", "report", "smoke")[0] == 2
    assert inside(clone.root, "stage", "statistics", "smoke")[0] == 0
    assert clone.results() == before
    named = an_absent_file(clone.root)
    code, said = inside(clone.root, "stage", "statistics", "smoke")
    assert code == 2
    assert f"{named} is absent although dvc.lock has it" in said


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (lambda text: f"<<<<<<< HEAD\n{text}=======\n{text}>>>>>>> other\n", "marks of a merge"),
        (lambda text: "schema: '2.0'\nstages: [1, 2]\n", "is no lock of DVC"),
        (lambda text: text[: len(text) // 2] + '\n  "', "dvc.lock is not YAML"),
    ],
    ids=["merge", "shape", "cut"],
)
def test_a_damaged_lock_is_said_in_one_sentence(clone, damage, found):
    lock = clone.root / "dvc.lock"
    lock.write_text(damage(lock.read_text()))
    for words in (("verify",), ("plan",), ("stage", "report", "smoke")):
        code, said = inside(clone.root, *words)
        assert code == 2
        assert len([line for line in said.splitlines() if found in line]) == 1, said
        assert "Traceback" not in said


def test_a_lock_that_is_absent_is_said(clone):
    (clone.root / "dvc.lock").unlink()
    shutil.rmtree(clone.root / ".trials")
    code, said = inside(clone.root, "plan")
    assert code == 0
    assert "there is no dvc.lock, so no committed row is reused" in said
    assert "(0 reused" in said
    assert inside(clone.root, "stage", "report", "smoke")[0] == 0, "SHA256SUMS vouches"
    a_value(clone.root)
    code, said = inside(clone.root, "stage", "report", "smoke")
    assert (code, "is not what SHA256SUMS says" in said) == (2, True)


def test_a_forged_list_does_not_outvote_the_lock_nor_a_forged_lock_the_list(clone):
    shutil.rmtree(clone.root / ".trials")  # a clone elsewhere
    import hashlib

    path = results(clone.root) / "cells.csv"
    a_summary(clone.root)
    sums = results(clone.root) / "SHA256SUMS"
    kept = sums.read_text()
    forged = [line for line in kept.splitlines() if not line.endswith("  cells.csv")]
    sums.write_text("\n".join([*forged, f"{hashlib.sha256(path.read_bytes()).hexdigest()}  cells.csv"]) + "\n")
    code, said = inside(clone.root, "stage", "report", "smoke")
    assert (code, "cells.csv is not what dvc.lock says" in said) == (2, True)
    sums.write_text(kept)
    lock = clone.root / "dvc.lock"
    stages = yaml.safe_load(lock.read_text())
    for stage in stages["stages"].values():
        for out in stage.get("outs", []):
            if out["path"].endswith("smoke/cells.csv"):
                out["md5"] = hashlib.md5(path.read_bytes()).hexdigest()
    lock.write_text(yaml.safe_dump(stages))
    code, said = inside(clone.root, "stage", "report", "smoke")
    assert (code, "cells.csv is not what SHA256SUMS says" in said) == (2, True)


def test_a_row_whose_seal_was_computed_anew_does_not_pass_for_another_trial(clone, whole):
    """Two trials' names exchanged, with right seals and right sums: the plan knows which id is whose."""
    from harness.results.table import read_trial_rows, trials_csv
    from harness.store.committed import replace

    path = results(clone.root) / "trials" / f"{METHOD}.csv"
    rows = [dataclasses.replace(row, repeat={0: 1, 1: 0}.get(row.repeat, row.repeat)) for row in read_trial_rows(path)]
    replace(clone.root, path, trials_csv(rows))
    code, said = inside(clone.root, "verify")
    assert (code, "not of this row's trial" in said) == (2, True)


def test_a_stage_that_refuses_leaves_what_was_there_and_locks_nothing(clone, whole):
    """What ``nox -s report`` runs; DVC removes the outs of a stage before it runs unless they persist."""
    a_value(clone.root)
    edited, lock = clone.results(), (clone.root / "dvc.lock").read_bytes()
    words = ("dvc", "repro", "--single-item", "statistics", "audit", "report")
    assert f"trials/{METHOD}.csv is not what dvc.lock and SHA256SUMS say" in clone.run(*words, code=255)
    assert clone.results() == edited
    assert (clone.root / "dvc.lock").read_bytes() == lock
    pages = clone.root / "reports" / "smoke"
    assert {path.name for path in pages.iterdir()} == {path.name for path in (whole / "reports" / "smoke").iterdir()}


def test_a_folder_that_persists_is_cleared_of_what_the_stage_does_not_write(clone, whole):
    tables = clone.root / "reports" / "smoke" / "tables"
    for name in ("gone.html", "tab4.md.partial", "stray"):
        (tables / name).write_text("left by an earlier or a killed build")
    assert inside(clone.root, "stage", "report", "smoke")[0] == 0
    expected = {path.name for path in (whole / "reports" / "smoke" / "tables").iterdir()}
    assert {path.name for path in tables.iterdir()} == expected


def test_every_out_of_the_pipeline_persists(clone):
    stages = yaml.safe_load((clone.root / "dvc.yaml").read_text())["stages"]
    outs = [out for stage in stages.values() for out in stage["outs"] + stage.get("metrics", [])]
    assert len(outs) == 19
    assert all(options == {"cache": False, "persist": True} for out in outs for options in out.values())


def test_sums_are_those_of_sha256sum(clone):
    for folder in (results(clone.root), results(clone.root) / "provenance"):
        clone.run("sh", "-c", f"cd {folder} && sha256sum --check --quiet --strict SHA256SUMS")


def test_old_results_pass_by_the_lock_alone_and_that_is_said(clone):
    """As older versions left them: no seals, no sums, records of schema 1, and each file an out of its own stage."""
    import hashlib

    for path in results(clone.root).glob("trials/*.csv"):
        path.write_text("".join(f"{line.rpartition(',')[0]}\n" for line in path.read_text().splitlines()))
    files = [path for path in results(clone.root).rglob("*") if path.is_file() and "provenance" not in path.parts]
    files.append(clone.root / "results" / "published" / "audit.csv")
    outs = {path.relative_to(clone.root).as_posix(): hashlib.md5(path.read_bytes()).hexdigest() for path in files}
    stages = {f"s{n}": {"outs": [{"path": path, "md5": md5}]} for n, (path, md5) in enumerate(outs.items())}
    (clone.root / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))
    for sums in results(clone.root).rglob("SHA256SUMS"):
        sums.unlink()
    (clone.root / ".trials" / "written.jsonl").unlink()
    for path in (clone.root / ".trials").rglob("record.json"):
        document = {key: value for key, value in json.loads(path.read_text()).items() if key != "seal"}
        path.write_text(json.dumps({**document, "schema_version": 1}))
    code, said = inside(clone.root, "verify")
    assert code == 0, said
    for part in ("carry no seals", "records of the store carry no seal", "nothing vouches for"):
        assert part in said
    a_value(clone.root)
    assert inside(clone.root, "stage", "statistics", "smoke")[0] == 2


def test_a_record_keeps_its_seal_through_a_copy(clone):
    document = json.loads((attempt(clone.root) / "record.json").read_text())
    again = json.loads(json.dumps(document))
    assert document["seal"] == record_seal(again)
    assert record_seal({**again, "ordinal": 1}) != document["seal"]
