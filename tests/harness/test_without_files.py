"""Where the real files are not: the committed cohort says which they were, and what needs them says so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from harness.plan import Plan
from tasks.inspection import write_phantom
from tests.harness import project

VARIABLE = "DIRA_BENCH_DATA_MONTGOMERY"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copied project with one task on files that are a phantom, given as its data root."""
    copied = project.copy(tmp_path, methods=("random",), tasks=("montgomery",))
    (tmp_path / "files").mkdir()
    phantom = project.plan(copied, profile="smoke").tasks["montgomery"]
    write_phantom(phantom.cohort, tmp_path / "files", phantom.stamp)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "files"))
    return copied


def plan(root: Path) -> Plan:
    return project.plan(root, profile="own", repeats=1)


def commit(root: Path, planned: Plan, **more: object) -> Path:
    """Write the manifest that results of this plan would have."""
    path = root / "results" / "own" / "cohorts" / "montgomery.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"configuration": planned.tasks["montgomery"].cohort, "id": planned.cohorts["montgomery"].id, **more}
    path.write_text(json.dumps(content))
    return path


def test_the_committed_cohort_gives_the_ids_that_the_files_gave(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = plan(root)
    commit(root, there)
    monkeypatch.delenv(VARIABLE)
    without = plan(root)
    assert set(without.items) == set(there.items)
    assert without.tasks["montgomery"].stamp == there.tasks["montgomery"].stamp != ""
    trial = next(iter(without.trials().values()))
    reason = without.without_images(trial, set())
    assert reason is not None and VARIABLE in reason
    assert without.without_images(trial, {trial.id}) is None
    assert without.without_images(trial, {without.cohorts["montgomery"].id}) is None
    assert (without.notes, there.notes) == ([reason], [])


def test_nothing_is_taken_from_a_manifest_of_other_options_or_none(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = commit(root, plan(root))
    monkeypatch.delenv(VARIABLE)
    manifest = json.loads(path.read_text())
    for edit in ({"adapter": "image_folder"}, {"adapter_options": {"a": 1}}, {"lists": {"train": {"file": "f"}}}):
        path.write_text(json.dumps({**manifest, "configuration": {**manifest["configuration"], **edit}}))
        assert plan(root).items == {}
    for content in ("", "[1]", '{"configuration": 3}', '{"status": "unavailable"}'):
        path.write_text(content)
        assert "no data root for montgomery" in (plan(root).tasks["montgomery"].unavailable or "")


def test_another_version_changes_the_id_and_leaves_the_files_known(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = plan(root)
    commit(root, there)
    monkeypatch.delenv(VARIABLE)
    registry = root / "tasks" / "registry.yaml"
    entries = yaml.safe_load(registry.read_text())
    entries["tasks"]["montgomery"]["options"] = {"cohort": {"cache_px": 16}}
    registry.write_text(yaml.safe_dump(entries))
    moved = plan(root)
    assert len(moved.items) == len(there.items) and not set(moved.items) & set(there.items)


def test_other_files_are_other_data_and_are_used(root: Path) -> None:
    there = plan(root)
    commit(root, there)
    assert plan(root).notes == []
    next(path for path in sorted((root / "files").rglob("*.png"))).write_bytes(b"longer than it was or shorter")
    other = plan(root)
    assert not set(other.items) & set(there.items)
    (note,) = other.notes
    assert "holds other files than the committed results are of" in note
