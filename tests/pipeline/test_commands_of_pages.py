"""Every block of commands of README and docs/ that does not say why not is run, in a clone whose pipeline has run.

A block is run as it stands, but for what stands for something: ``IN_PLACE_OF`` has all of it.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.pipeline.clone import ROOT, Clone
from tests.repository.blocks import Block, blocks, commands_to_run

PACKAGE = ROOT / "tests" / "outside_package" / "src"
QUICK = ("docs/quick-start.md", "docs/sharing-results.md")  # the rest is in `nox -s thorough`
# What a page says → what is there in the clone: its profile, one of its methods, one of its trials.
IN_PLACE_OF = {
    r"--profile \w+": "--profile smoke",
    r"results/radiographs": "results/smoke",
    r"\bdira_moco_v2\b": "moco_v2_dir",
    r"show ID": "show {trial}",
    r"check NAME": "check moco_v2_dir",
    r"export NAME --layout L": "export moco_v2_dir --layout monai",
    r"data verify TASK \[DIR\]": "data phantom chestxray14 chest && dira-bench data verify chestxray14 chest",
    r"--sample 20": "--sample 1",
    r"--trial 1f3a": "--trial {trial}",
    r"\. \.nox/smoke/bin/activate": ":",
    r"\bFOLDER\b|/data/my_task": "written",
}


@pytest.fixture(scope="module")
def trial(clone: Clone) -> str:
    """The first digits of a trial that is done."""
    records = sorted(clone.root.glob(".trials/trial/*/*/*/record.json"))
    return str(json.loads(records[0].read_text())["id"])[:12]


def prepare(clone: Clone, page: str) -> None:
    """Do what a page asks for before its commands: write its modules, enter its entries."""
    for body in blocks(page, "python"):
        named = re.match(r"# (my_package/\w+\.py)\n", body)
        if named:
            path = clone.root / named[1]
            path.parent.mkdir(exist_ok=True)
            path.write_text(body)
    for body in blocks(page, "yaml"):
        if "my_package" in body and body.startswith("# tasks/registry.yaml, appended\n"):
            registry = clone.root / "tasks" / "registry.yaml"
            registry.write_text(registry.read_text() + body)


def script(block: Block, trial: str) -> str:
    """Return what the shell is given for a block."""
    text = block.body
    for pattern, instead in IN_PLACE_OF.items():
        text = re.sub(pattern, instead.format(trial=trial), text)
    return text


def run_page(page: str, clone: Clone, trial: str, folder: Path) -> None:
    """Run a page's blocks, one after another, in a copy of the clone."""
    own = Clone.copied(clone.root, folder / "clone")
    prepare(own, page)
    for block in [block for block in commands_to_run() if block.page == page]:
        done = subprocess.run(
            ["bash", "-euxo", "pipefail", "-c", script(block, trial)],
            cwd=own.root,
            env={**own.environment, "PYTHONPATH": f"{own.root}:{PACKAGE}"},
            capture_output=True,
            text=True,
            check=False,
            timeout=400,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"


@pytest.mark.parametrize("page", QUICK)
def test_the_commands_of_a_page_end_well(page: str, clone: Clone, trial: str, tmp_path: Path) -> None:
    run_page(page, clone, trial, tmp_path)


@pytest.mark.thorough
@pytest.mark.parametrize("page", sorted({block.page for block in commands_to_run()} - set(QUICK)))
def test_the_commands_of_every_other_page_end_well(page: str, clone: Clone, trial: str, tmp_path: Path) -> None:
    run_page(page, clone, trial, tmp_path)


def test_what_stands_for_something_stands_on_some_page() -> None:
    every = "".join(block.body for block in commands_to_run())
    assert [pattern for pattern in IN_PLACE_OF if not re.search(pattern, every)] == []
