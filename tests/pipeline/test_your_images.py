"""docs/your-images.md is done as it stands: a CSV and a folder of masks become two tasks, with YAML alone."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
import yaml

from tests.pipeline.clone import Clone
from tests.repository.blocks import blocks
from tests.walks.files import write_images

PAGE = "docs/your-images.md"
LONGEST = 12  # lines of an entry
STEPS = 4  # in place of the profile's, so that the test takes seconds


def entries() -> dict[str, dict[str, object]]:
    """Return the entries of the page."""
    return {name: body for block in blocks(PAGE, "yaml") for name, body in yaml.safe_load(block).items()}


def commands() -> list[list[str]]:
    """Return the commands of the block that checks, plans and runs, without the line that says where the files are."""
    (block,) = [body for body in blocks(PAGE, "bash") if "data verify" in body]
    lines = block.replace("\\\n", " ").splitlines()
    return [shlex.split(line)[1:] for line in lines if line.startswith("dira-bench")]


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clone:
    """A project of a new user: the page's entries, one method, short budgets."""
    write_images(tmp_path / "data", blocks(PAGE, "csv")[0].splitlines()[0])
    project = Clone(tmp_path / "clone", profile="own", repeats=1)
    project.keep(["random"], ["montgomery"])
    registry = project.root / "tasks" / "registry.yaml"
    text = yaml.safe_load(registry.read_text())["tasks"] | entries()
    registry.write_text(yaml.safe_dump({"tasks": text}, sort_keys=False))
    profiles = project.root / "tasks" / "profiles.yaml"
    every = yaml.safe_load(profiles.read_text())
    for transfer in every["profiles"]["own"]["transfers"].values():
        transfer |= {"length": {"count": STEPS}, "validation_every": STEPS // 2, "metric": {"resamples": 20}}
    profiles.write_text(yaml.safe_dump(every, sort_keys=False))
    places = {"my_findings": "findings", "my_organ": "organ", "my_archive": "findings"}
    roots = {task: str(tmp_path / "data" / folder) for task, folder in places.items()}
    (project.root / "params.local.yaml").write_text(yaml.safe_dump({"data_roots": roots}))
    return project


def test_an_entry_of_the_page_has_few_lines_and_names_no_code() -> None:
    found = blocks(PAGE, "yaml")
    assert list(entries()) == ["my_findings", "my_organ", "my_archive"]
    for block in found:
        assert block.startswith("# tasks/registry.yaml, appended\n")
        assert len(block.strip().splitlines()[1:]) <= LONGEST
        assert not re.search(r"\w:\w+\"?$", block, re.MULTILINE), "an entry of the page names Python"


def test_the_commands_of_the_page_make_two_tasks_of_a_csv_and_a_folder_of_masks(clone: Clone) -> None:
    outputs = [clone.bench(*words) for words in commands()]
    assert [words[0] for words in commands()] == ["data", "data", "plan", "run"]
    assert all("0 failures, 0 warnings" in output for output in outputs[:2])
    assert "runnable 2 trials" in outputs[2] and "there to pretrain on" in " ".join(outputs[2].split())
    assert "0 failed" in outputs[3]
    records = [json.loads(path.read_text()) for path in clone.root.glob(".trials/trial/*/*/*/record.json")]
    scores = {record["spec"]["task"]: record["values"] for record in records}
    assert scores["my_findings"]["scored_classes"] == 2 and 0 <= scores["my_findings"]["auc"] <= 1
    assert 0 <= scores["my_organ"]["dice"] <= 1 and len(records) == 2
    assert all(record["status"] == "ok" for record in records)
