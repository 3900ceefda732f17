"""A profile on real files: entries of other profiles leave no number, and a clone without the files still answers.

The real files are a phantom in the data set's layout, given as a data root; it stays stamped SYNTHETIC.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest
import yaml

from harness import versions
from tests.pipeline.clone import Clone, ran

STEPS = 4  # in place of the profile's, so that the test takes seconds
NONE = {"status": "not of this profile"}


def edit(path: Path, name: str, **keys: object) -> None:
    """Lay keys over an entry of a registry."""
    document = yaml.safe_load(path.read_text())
    (entries,) = document.values()
    entries[name] |= keys
    path.write_text(yaml.safe_dump(document, sort_keys=False, width=1000))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A project whose pipeline ran under ``own`` on a data root; one method and one task are of another profile."""
    folder = tmp_path_factory.mktemp("real")
    clone = Clone(folder / "clone", profile="own", repeats=2)
    clone.keep(["random", "moco_v2"], ["chestxray14", "montgomery"])
    edit(clone.root / "methods" / "registry.yaml", "moco_v2", profiles=["smoke"])
    edit(clone.root / "tasks" / "registry.yaml", "montgomery", profiles=["own", "smoke"])
    profiles = clone.root / "tasks" / "profiles.yaml"
    every = yaml.safe_load(profiles.read_text())
    every["profiles"]["own"]["closed"] = True  # so chestxray14, which names no profile, is not of it
    for transfer in every["profiles"]["own"]["transfers"].values():
        transfer |= {"length": {"count": STEPS}, "validation_every": STEPS // 2, "metric": {"resamples": 20}}
    profiles.write_text(yaml.safe_dump(every, sort_keys=False))
    for component in versions.stale(clone.root):  # while a module is being edited; not what is tested here
        versions.write_digest(clone.root, component)
    clone.bench("data", "phantom", "montgomery", str(folder / "files"), "--profile", "smoke")
    given = {"data_roots": {"montgomery": str(folder / "files")}}
    (clone.root / "params.local.yaml").write_text(yaml.safe_dump(given))
    clone.run("dvc", "repro", "statistics@own", timeout=1800)
    clone.git("add", "-A")
    clone.git("-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", "Results")
    return clone


@pytest.fixture
def without(project: Clone, tmp_path: Path) -> Clone:
    """A fresh clone of its repository: no store, no data root."""
    project.git("clone", "-q", str(project.root), str(tmp_path / "fresh"))
    fresh = object.__new__(Clone)
    fresh.root = tmp_path / "fresh"
    assert not (fresh.root / "params.local.yaml").exists()
    return fresh


def counts(clone: Clone) -> dict[str, object]:
    output = clone.bench("plan", "--json")
    return json.loads(output[output.index("{") :])


def test_entries_of_another_profile_leave_files_that_hold_no_row_and_no_door_speaks_of_them(project: Clone) -> None:
    results = project.root / "results" / "own"
    assert json.loads((results / "cohorts/chestxray14.json").read_text()) == {"task": "chestxray14", **NONE}
    assert json.loads((results / "pretraining/moco_v2.json").read_text()) == {"method": "moco_v2", **NONE}
    for name in ("trials/moco_v2.csv", "curves/moco_v2.csv"):
        assert len((results / name).read_text().splitlines()) == 1
    for name in ("cells.csv", "comparisons.csv"):
        assert "moco_v2" not in (results / name).read_text()
        assert "chestxray14" not in (results / name).read_text()
    listed = project.bench("list", "methods") + project.bench("list", "tasks") + project.bench("plan")
    assert "moco_v2" not in listed and "chestxray14" not in listed
    refused = project.bench("run", "--method", "moco_v2", code=2)
    assert 'method "moco_v2" is not of profile own' in refused and "its entry names smoke" in refused
    assert "that profile is closed" in project.bench("check", "chestxray14", "--profile", "own", code=2)
    assert ran(project.run("dvc", "repro", "statistics@own")) == set()


@pytest.mark.thorough
def test_a_clone_without_the_files_has_the_same_ids_and_verifies_and_reports(project: Clone, without: Clone) -> None:
    assert counts(project)["notes"] == []
    found = counts(without)
    assert found["missing"] == 0 and found["adopted"] == found["runnable"] == counts(project)["runnable"] > 0
    (note,) = found["notes"]
    assert "no data root for montgomery" in note and "DIRA_BENCH_DATA_MONTGOMERY" in note
    before = without.results("own")
    assert "0 committed rows are no longer planned" in without.bench("verify")
    assert "all are done" in without.bench("run")
    assert ran(without.run("dvc", "repro", "statistics@own")) == set()
    without.bench("report")
    for stage in ("cohorts", "pretrain", "trials", "statistics", "report"):
        without.bench("stage", stage, "own")
    after = without.results("own")
    assert {name: after[name] for name in before} == before
    assert (without.root / "reports/own/report.html").is_file()
    assert json.loads(before["cohorts/montgomery.json"])["stamp"].startswith("SYNTHETIC")


@pytest.mark.thorough
def test_what_is_missing_cannot_be_run_without_the_files_and_says_so(without: Clone) -> None:
    without.set_parameter("repeats", 3)
    committed = (without.root / "results/own/cohorts/montgomery.json").read_bytes()
    output = without.bench("run", code=1)
    assert "no data root for montgomery" in output and "0 attempts" in output
    assert "no data root for montgomery" in without.bench("stage", "trials", "own", code=2)
    edit(without.root / "tasks" / "versions.yaml", "cohorts", version=999)
    assert counts(without)["adopted"] == 0
    assert "no data root for montgomery" in without.bench("stage", "cohorts", "own", code=2)
    without.bench("report")
    assert (without.root / "results/own/cohorts/montgomery.json").read_bytes() == committed


@pytest.mark.thorough
def test_other_files_at_the_data_root_are_other_data_and_that_is_said(project: Clone, without: Clone) -> None:
    other = without.root.parent / "other"
    shutil.copytree(project.root.parent / "files", other)
    next(path for path in sorted(other.rglob("*.png"))).unlink()
    (without.root / "params.local.yaml").write_text(yaml.safe_dump({"data_roots": {"montgomery": os.fspath(other)}}))
    found = counts(without)
    assert found["adopted"] == 0 and found["missing"] == found["runnable"]
    assert any("holds other files than the committed results are of" in note for note in found["notes"])
    assert "holds other files" in without.bench("verify")


@pytest.mark.thorough
def test_an_edited_manifest_says_nothing_of_the_files(without: Clone) -> None:
    path = without.root / "results/own/cohorts/montgomery.json"
    path.write_text(path.read_text().replace('"fingerprint": "', '"fingerprint": "0'))
    found = counts(without)
    assert found["runnable"] == 0
    assert {cell["task"] for cell in found["unavailable"]} == {"montgomery"}
    assert "montgomery.json is not what" in without.bench("verify", code=2)


@pytest.mark.thorough
def test_a_sample_that_is_repeated_is_bit_equal(project: Clone) -> None:
    said = project.bench("run", "--again", "--sample", "1")
    assert "repeated 0 phases and 1 trial:" in said
    assert re.search(r"([1-9]\d*) of \1 values? bit-equal, ([1-9]\d*) of \2 files?", said), said
