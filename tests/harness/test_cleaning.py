"""``clean``: what an entry left is named, is removed when asked, and nothing of a registered entry is touched."""

from __future__ import annotations

import subprocess

import pytest

import harness.cli.session as session_module
from harness.registry import load_registry
from harness.results import orphans
from tests.harness import project
from tests.harness.test_doors import bench

FILES = {
    "trials": "csv", "resamples": "npz", "localization": "npz", "pretraining": "json", "curves": "csv",
    "provenance": "csv",
}  # fmt: skip


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A project whose results hold a registered method, one that was removed, and what is neither."""
    root = project.copy(tmp_path)
    monkeypatch.setattr(session_module, "project_root", lambda: root)
    folder = root / "results" / "miniature"
    for part, suffix in FILES.items():
        (folder / part).mkdir(parents=True)
        for name in ("moco_v2", "removed"):
            (folder / part / f"{name}.{suffix}").write_text("x")
    (folder / "cohorts").mkdir()
    for name in ("montgomery", "gone"):
        (folder / "cohorts" / f"{name}.json").write_text("{}")
    (folder / "provenance" / "environments.json").write_text("{}")
    (folder / "trials" / ".removed.csv.0123456789ab").write_text("half")
    (folder / "cells.csv").write_text("x")
    (root / "results" / "published").mkdir()
    (root / "results" / "published" / "paper.csv").write_text("x")
    (root / "results" / "old_profile").mkdir()
    (root / "results" / "old_profile" / "cells.csv").write_text("x")
    for words in (["init", "-q"], ["add", "results/miniature/trials/removed.csv"]):
        subprocess.run(["git", *words], cwd=root, check=True)
    return root


EXPECTED = {f"miniature/{part}/removed.{suffix}" for part, suffix in FILES.items()} | {
    "miniature/cohorts/gone.json",
    "miniature/trials/.removed.csv.0123456789ab",
    "old_profile",
}


def test_orphans_are_what_no_registered_entry_can_fill(root):
    registry = load_registry(root, points=lambda group: [])
    found = {orphan.path.relative_to(root / "results").as_posix() for orphan in orphans(root, registry)}
    assert found == EXPECTED


def test_clean_lists_first_and_removes_only_when_told(root):
    before = sorted(root.glob("results/**/*"))
    code, said = bench("clean")
    assert code == 0 and f"{len(EXPECTED)} to remove" in said
    assert all(f"results/{name}" in said for name in EXPECTED)
    assert said.count("tracked by git") == 1
    assert sorted(root.glob("results/**/*")) == before
    code, said = bench("clean", "--yes")
    assert code == 0 and f"{len(EXPECTED)} removed" in said
    gone = {path.relative_to(root / "results").as_posix() for path in set(before) - set(root.glob("results/**/*"))}
    assert gone == EXPECTED | {"old_profile/cells.csv"}
    assert "no orphan" in bench("clean")[1]


def test_an_entry_that_is_unavailable_keeps_its_files(root, monkeypatch):
    from importlib.metadata import EntryPoint

    point = EntryPoint("removed", "no_such_package:ENTRY", "dira_bench.methods")
    registry = load_registry(root, points=lambda group: [point] if group == point.group else [])
    assert {orphan.path.stem for orphan in orphans(root, registry)} == {"gone", "old_profile", ".removed.csv"}
