"""The pages that say how to add something are run as they stand: blocks become files, entries are planned and tried.

Blocks of commands are run by ``tests/pipeline/test_commands_of_pages.py``; one training of each entry at full length is
left to ``nox -s walks``.
"""

import importlib
import re
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import yaml

import methods.conformance
import tasks.conformance
from harness.errors import ConfigurationError
from harness.executors.slurm import SlurmOptions
from harness.identity import file_sha256
from harness.metrics import metric_of
from harness.registry import load_registry
from harness.yaml_files import load_yaml
from methods.networks import build
from methods.phases import NetworkSpec
from tests.harness import project
from tests.repository.blocks import ROOT, blocks, read_blocks

PACKAGE = Path(__file__).parents[1] / "outside_package"

MINE = """
  mine:
    label: Mine
    dimensions: 2
    recipe: random
    version: 1
    source: "Me 2026"
"""


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A copy of the project's YAML, on whose path packages of one's own lie."""
    project.copy(tmp_path, methods=("random", "moco_v2", "dira_moco_v2", "simsiam", "simsiam_dir"))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    importlib.invalidate_caches()
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_package"]:
        del sys.modules[name]


def run_here(page: str, language: str) -> list[str]:
    """Return the blocks of a page that say that this file runs them."""
    here = "run by tests/repository/test_pages_run.py"
    return [block.body for block in read_blocks(page) if block.language == language and block.note == here]


def write_modules(page: str, root: Path) -> list[str]:
    """Write each Python block to the file that its first line names."""
    written = []
    for body in run_here(page, "python"):
        named = re.match(r"# (my_package/\w+\.py)\n", body)
        assert named, f"a block of {page} names no file: {body[:60]}"
        path = root / named[1]
        path.parent.mkdir(exist_ok=True)
        path.write_text(body, encoding="utf-8")
        written.append(named[1])
    return written


def append(page: str, side: str, root: Path, **replaced: str) -> list[str]:
    """Append each entry of a page to a registry; return their names."""
    names = []
    for body in run_here(page, "yaml"):
        for old, new in replaced.items():
            body = body.replace({"digits": "0123…"}[old], new)
        entries = yaml.safe_load(body)
        if not all(isinstance(entry, dict) and "label" in entry for entry in entries.values()):
            continue
        project.append(root / side / "registry.yaml", body)
        names += entries
    load_yaml(root / side / "registry.yaml")
    return names


def passed(found) -> None:
    assert found.results and all(ok for _, ok, _ in found.results), [r for r in found.results if not r[1]]


def test_the_task_of_the_page_is_planned_built_verified_and_tried(root):
    page = "docs/adding-a-task.md"
    assert write_modules(page, root) == ["my_package/stripes.py", "my_package/stripes_phantom.py"]
    assert append(page, "tasks", root) == ["my_task"]
    for profile in ("smoke", "miniature"):
        plan = project.plan(root, profile=profile)
        assert plan.tasks["my_task"].unavailable is None and plan.tasks["my_task"].metrics[0] == "auc"
    found = tasks.conformance.check(load_registry(root, points=lambda group: []).tasks["my_task"])
    passed(found)
    assert len(found.results) >= 5  # among them: built twice alike, verified, one trial


def test_a_misspelt_option_of_the_pages_generator_is_named(root):
    page = "docs/adding-a-task.md"
    write_modules(page, root)
    append(page, "tasks", root)
    registry = root / "tasks" / "registry.yaml"
    registry.write_text(registry.read_text().replace("generator: {images: 64}", "generator: {image: 64}"))
    with pytest.raises(Exception, match=r'generator\.image: unknown key; did you mean "images"'):
        project.plan(root, profile="smoke")


def test_the_methods_of_the_page_are_planned_and_trained_two_steps(root):
    page = "docs/adding-a-method.md"
    assert len(write_modules(page, root)) == 4
    network = NetworkSpec(name="unet_resnet_w16", in_channels=3)
    (root / "weights").mkdir()
    safetensors.torch.save_file(build(network, 1).encoder.state_dict(), root / "weights/mine.safetensors")
    names = append(page, "methods", root, digits=file_sha256(root / "weights/mine.safetensors"))
    assert names == ["dira_moco_v2_bce", "simsiam_res_only_aligned", "alignment", "mine"]
    plan = project.plan(root, profile="smoke")
    assert all(plan.methods[name].unavailable is None for name in names)
    shared = [item.id for item in plan.phases["dira_moco_v2", 0]][:2]
    assert [item.id for item in plan.phases["dira_moco_v2_bce", 0]][:2] == shared  # "only the last phase is trained"
    passed(methods.conformance.check(plan.methods["alignment"]))
    passed(methods.conformance.check(plan.methods["mine"]))


def test_the_entry_of_the_readme_is_planned(root):
    (name,) = append("README.md", "methods", root)
    assert project.plan(root, profile="smoke").methods[name].unavailable is None


def test_the_checkpoint_of_the_page_is_unavailable_where_the_page_says(root):
    every = {body.split(",")[0]: body for body in blocks("docs/checkpoints.md", "yaml")}
    assert list(every) == ["# methods/registry.yaml", "# methods/profiles.yaml", "# tasks/profiles.yaml"]
    project.append(root / "methods/registry.yaml", every["# methods/registry.yaml"].replace("64 digits", "0" * 64))
    said = project.plan(root, profile="smoke").methods["my_simsiam"].unavailable
    assert "no weights of My SimSiam for resnet_w16" in said


def test_the_metric_of_the_page_is_found_by_the_line_of_the_page_and_measures_millimetres(root):
    page = "docs/adding-a-metric.md"
    assert write_modules(page, root) == ["my_package/surface.py"]
    (line,) = run_here(page, "yaml")
    metric = metric_of(yaml.safe_load(line)["metric"])
    assert (metric.unit, metric.better, metric.margin) == ("mm", "lower", 0.5)
    one, other = np.zeros((9, 9), bool), np.zeros((9, 9), bool)
    one[2:5, 2:5] = other[3:6, 2:5] = True
    assert 0 < metric.of_masks.one(one, other, (2.0, 1.0)) < 2.0


def test_the_data_roots_of_the_page_are_read(root, monkeypatch):
    page = "docs/datasets.md"
    monkeypatch.delenv("DIRA_BENCH_DATA_CHESTXRAY14", raising=False)
    (block,) = blocks(page, "yaml")
    (root / "params.local.yaml").write_text(block)
    roots = {name: str(path) for name, path in load_registry(root, points=lambda group: []).data_roots.items()}
    assert roots == {"chestxray14": "/data/nih", "montgomery": "/data/MontgomerySet"}


@pytest.mark.parametrize(("side", "place"), [("methods", 0), ("tasks", 1)])
def test_the_entries_that_a_page_explains_are_the_registrys(side, place):
    explained = yaml.safe_load(blocks("docs/architecture.md", "yaml")[place])
    registered = yaml.safe_load((ROOT / side / "registry.yaml").read_text())[side]
    for name, entry in explained.items():
        assert {key: registered[name].get(key) for key in entry} == entry


def test_the_engines_options_of_the_page_are_options(root):
    (block,) = blocks("docs/engines.md", "yaml")
    options = SlurmOptions.model_validate(yaml.safe_load(block))
    assert (options.partition, options.bundle, options.leave_seconds) == ("gpu", 8, 120)


def test_the_family_and_the_table_of_the_page_are_planned(root):
    page = "docs/statistics.md"
    family, table = blocks(page, "yaml")
    project.append(root / "methods" / "registry.yaml", MINE)
    project.append(root / "reports" / "families.yaml", family)
    (root / "reports" / "tables.yaml").write_text(table)
    assert project.plan(root, profile="smoke").methods["mine"].unavailable is None
    project.append(
        root / "reports" / "tables.yaml", table.replace("mine", "mime").partition("\n")[2].replace("small", "no")
    )
    with pytest.raises(ConfigurationError, match='"mime"'):
        project.plan(root, profile="smoke")


@pytest.mark.parametrize(
    ("page", "group"), [("docs/adding-a-method.md", "methods"), ("docs/extending/executor.md", "executors")]
)
def test_the_entry_points_of_a_page_name_the_group_that_a_package_uses(page, group):
    (block,) = blocks(page, "toml")
    (named,) = tomllib.loads(block)["project"]["entry-points"]
    used = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]["entry-points"]
    assert named == f"dira_bench.{group}" and named in used
