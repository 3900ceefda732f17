"""The tree's own rules: layers, torch-free parts, one list in one place, nothing private in it."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import yaml

from harness.registry import load_registry
from harness.results.shown import PANELS, read_shown

ROOT = Path(__file__).resolve().parents[2]
TRACKED = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
HEAVY = ("torch", "torchvision", "lightly", "segmentation_models_pytorch", "captum", "albumentations", "monai")


def run(*words: str, **kwargs: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, **kwargs)  # type: ignore[call-overload]


def test_layers_are_kept():
    done = run(str(Path(sys.executable).parent / "lint-imports"), "--no-cache")
    assert done.returncode == 0, done.stdout[-3000:]


def test_the_architecture_page_shows_the_layers_that_are_checked():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    checked = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    section = (ROOT / "docs" / "architecture.md").read_text().partition("### Layers\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"^```text\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    shown = [[re.split(r" {2,}", line)[0] for line in block.splitlines()] for block in blocks]
    assert shown == checked


@pytest.mark.parametrize(
    "words",
    [["plan", "--json"], ["audit", "--json"], ["list", "methods", "--json"], ["list", "tasks", "--json"]],
    ids=lambda words: " ".join(words),
)
def test_a_command_that_trains_nothing_imports_no_torch(words):
    done = run(sys.executable, "-X", "importtime", "-m", "harness.cli", *words)
    assert done.returncode == 0, done.stderr[-2000:]
    imported = {
        line.rpartition("|")[2].strip().split(".")[0] for line in done.stderr.splitlines() if "import time:" in line
    }
    assert "harness" in imported
    assert not imported & set(HEAVY)
    json.loads(done.stdout)


def test_every_registered_component_exists_and_every_module_of_numbers_has_a_component():
    listed: dict[str, set[str]] = {}
    for side in ("methods", "tasks"):
        for body in yaml.safe_load((ROOT / side / "versions.yaml").read_text())["components"].values():
            listed.setdefault(side, set()).update(body["modules"])
    for side, modules in listed.items():
        assert all((ROOT / module).is_file() for module in modules), sorted(
            m for m in modules if not (ROOT / m).is_file()
        )
        python = {path for path in TRACKED if path.startswith(f"{side}/") and path.endswith(".py")}
        # What is neither a number nor a component: configuration enters identities by value, conformance judges only, leakage is counted beside the numbers.
        free = {
            p
            for p in python
            if re.search(
                r"(configuration|conformance|profiles|options|recipes/\w+|fetching/\w+|weight_files|export|export_card|export_layouts|together|probe|views_pil|inspection|leakage|sample_lists|stand_in|stored|catalogue|layouts/adapter|data_set|specs|__init__)\.py$",
                p,
            )
        }
        # A term's configuration is a value too; its network part is a component.
        free |= {p for p in python if re.match(r"methods/terms/(?!bound)\w+\.py$", p)}
        assert python - free <= modules, (
            f"no component in {side}/versions.yaml covers {sorted(python - free - modules)}"
        )


def test_a_stage_that_runs_items_depends_on_all_that_their_ids_come_from():
    """The registry and versions of its side, whole, and the profiles; a stage reads no entry, so a new one needs no edit."""
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    sides = {"cohorts": ("tasks",), "pretrain": ("methods",), "trials": ("methods", "tasks")}
    for stage, of in sides.items():
        for side in of:
            assert f"{side}/registry.yaml" in stages[stage]["deps"]
    for stage, side in (("cohorts", "tasks"), ("pretrain", "methods"), ("trials", "tasks")):
        assert {f"{side}/versions.yaml", f"{side}/profiles.yaml"} <= set(stages[stage]["deps"])
    for stage, before in (("pretrain", "cohorts"), ("trials", "cohorts"), ("trials", "pretraining")):
        assert f"results/${{item.profile}}/{before}" in stages[stage]["deps"]
    names = [*load_registry(ROOT, points=lambda group: []).methods.by_name, "chestxray14", "montgomery"]
    commands = " ".join(stage["cmd"] for stage in stages.values())
    assert not [name for name in names if re.search(rf"\b{name}\b", commands)]


def test_the_lock_holds_every_dependency_and_names_no_host():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    whole = ROOT / "requirements.txt"
    groups = {
        name: [one for one in group if isinstance(one, str)] for name, group in project["dependency-groups"].items()
    }
    for part, wanted in {"": project["project"]["dependencies"], **groups}.items():
        own = ROOT / "requirements" / f"{part}.txt"  # a session of its own has a part of the lock
        lock = (own if own.is_file() else whole).read_text()
        pinned = {n.lower() for n in re.findall(r"^([a-z0-9][a-z0-9._-]*)==", lock, re.MULTILINE | re.IGNORECASE)}
        names = {re.split(r"[\s\[<>=!~;]", entry)[0].lower().replace("_", "-") for entry in wanted}
        assert names <= pinned, (part, sorted(names - pinned))
    for part in [ROOT / "requirements.txt", *sorted((ROOT / "requirements").glob("*.txt"))]:
        text = part.read_text()
        assert "://" not in text
        assert text.count("--hash=sha256:") >= len(re.findall(r"^[a-z0-9].*==", text, re.MULTILINE | re.IGNORECASE))


def test_results_hold_data_only():
    assert not [path for path in TRACKED if path.startswith("results/") and path.endswith(".py")]


def test_no_tracked_file_is_large():
    big = [path for path in TRACKED if (ROOT / path).is_file() and (ROOT / path).stat().st_size > 2_000_000]
    assert big == []


def test_readme_gives_the_commands_that_ci_runs():
    readme = (ROOT / "README.md").read_text()
    assert 'python -m pip install "nox[uv]" && nox -s repro' in readme
    assert 'python -m pip install "nox[uv]" && nox -s tests' in readme


def test_registry_entries_are_short():
    for side in ("methods", "tasks"):
        text = (ROOT / side / "registry.yaml").read_text()
        starts = [m.start() for m in re.finditer(r"^  [a-z0-9_]+:", text, re.MULTILINE)] + [len(text)]
        for begin, end in itertools.pairwise(starts):
            assert len(text[begin:end].strip().splitlines()) <= 13


def test_no_picture_of_real_images_is_committed_but_for_the_few_that_their_terms_allow():
    allowed, found = read_shown(ROOT), {}
    for path in (ROOT / name for name in TRACKED if re.match(r"results/\w+/localization/\w+\.npz", name)):
        with np.load(path) as arrays:
            for name in arrays.files:
                task, _, what = name.partition("|")
                cohort = json.loads((path.parents[1] / "cohorts" / f"{task}.json").read_text())
                if what in ("pixels", "shown") and not cohort["synthetic"]:
                    found[task] = found.get(task, 0) + len(arrays[name])
    assert set(found) <= set(allowed)
    assert all(count <= allowed[task].pictures for task, count in found.items())
    panels = 0
    for path in (ROOT / name for name in TRACKED if re.match(r"reports/\w+/figures/\w+\.svg", name)):
        text = path.read_text()
        panels += text.count("<image") if any(terms.credit in text for terms in allowed.values()) else 0
    assert sum(found.values()) + panels <= PANELS
