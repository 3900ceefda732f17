"""Sessions of nox: what they may do to an environment that is not their own."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
INSTALLING = re.findall(
    r"def (\w+)\(session: nox\.Session\).*?\n(?=\n\n)", (ROOT / "noxfile.py").read_text(), re.DOTALL
)


def test_no_session_empties_an_environment_that_is_not_its_own(tmp_path):
    assert {"tests", "lint", "types", "report", "repro", "audit", "smoke"} <= set(INSTALLING)
    called = tmp_path / "called"
    for name in ("uv", "ruff", "mypy", "pytest", "dvc", "dira-bench"):  # what a session would run, found first
        (tmp_path / name).write_text(f'#!/bin/sh\necho "{name} $*" >> {called}\n')
        (tmp_path / name).chmod(0o755)
    sessions = [name for name in INSTALLING if name != "lock"]  # which installs nothing
    done = subprocess.run(
        [sys.executable, "-m", "nox", "-f", str(ROOT / "noxfile.py"), "--no-venv", "-s", *sessions],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"},
    )
    assert done.returncode != 0
    assert not called.exists(), called.read_text()
    assert done.stderr.count("run it without --no-venv") == len(sessions)


@pytest.fixture(scope="module")
def noxfile() -> ModuleType:
    spec = importlib.util.spec_from_file_location("noxfile", ROOT / "noxfile.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tasks_of_profile_radiographs_each_have_a_folder_and_no_other_task_has(noxfile):
    tasks = yaml.safe_load((ROOT / "tasks" / "registry.yaml").read_text())["tasks"]
    named = {name for name, entry in tasks.items() if "radiographs" in entry.get("profiles", ())}
    assert set(noxfile.RADIOGRAPHS) == named


def test_a_data_root_is_asked_for_in_one_sentence_and_the_other_arguments_go_to_the_run(noxfile, tmp_path):
    for arguments in ([], ["--slots", "2"], ["--data-root"]):
        with pytest.raises(ValueError, match=r"--data-root FOLDER; \"dira-bench data fetch radiographs\""):
            noxfile.radiographs_at(arguments)
    with pytest.raises(ValueError, match="found no covid_chestxray, mednist, mednist/CXR, nih, pneumoniamnist in"):
        noxfile.radiographs_at(["--data-root", str(tmp_path)])
    for name in noxfile.RADIOGRAPHS.values():
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
    given = ["--slots", "2", "--data-root", str(tmp_path), "--method", "random"]
    assert noxfile.radiographs_at(given) == (tmp_path.resolve(), ["--slots", "2", "--method", "random"])


def test_the_parameters_are_put_back_however_the_assembly_ends(noxfile, tmp_path):
    path = tmp_path / "params.yaml"
    before = (ROOT / "params.yaml").read_text()
    path.write_text(before)
    with pytest.raises(KeyboardInterrupt), noxfile.profile_in(path, "radiographs"):
        assert yaml.safe_load(path.read_text()) == {**yaml.safe_load(before), "profile": "radiographs"}
        raise KeyboardInterrupt
    assert path.read_text() == before


def test_continuous_integration_runs_the_quick_tests_and_the_slow_ones():
    script = (ROOT / ".ci" / "run").read_text()
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "nox.yml").read_text())
    clean_clone = set(re.search(r"nox -s ([\w ]+)", script)[1].split())
    assert {"lint", "types", "tests", "thorough"} <= clean_clone
    assert clean_clone <= set(workflow["jobs"]["nox"]["strategy"]["matrix"]["session"])


def thorough(test: ast.AST) -> bool:
    """Say whether a function or a class bears the mark of the slow tests."""
    return any(ast.unparse(mark).startswith("pytest.mark.thorough") for mark in getattr(test, "decorator_list", ()))


def test_no_file_is_left_to_the_slow_session_whole():
    marked = []
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        text = path.read_text()
        if "mark.thorough" not in text or path == Path(__file__).resolve():
            continue
        marked.append(path.name)
        functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]
        tests = [function for function in functions if function.name.startswith("test_")]
        assert any(not thorough(test) for test in tests), f"{path.name} leaves no quick test of its subject"
        assert "pytestmark = pytest.mark.thorough" not in text, path.name
    assert marked
