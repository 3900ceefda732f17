"""Every data set is one folder: what it declares is used, and a new one needs no other file of code."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import tasks.datasets
from harness.cli.application import application
from harness.contracts import Context
from harness.errors import BrokenCode, BrokenProject, ConfigurationError, UnknownName
from harness.spec import NOT_STATED, TaskEntry
from tasks.cohorts.build import build
from tasks.configuration import checked_profile, resolve
from tasks.datasets.catalogue import adapter_of, catalogue, data_set_of, phantoms, readers, terms_of
from tasks.layouts.adapter import Adapter, AdapterWithOptions, MaskedVolumes, VolumeAdapter
from tasks.layouts.data_set import DataSet
from tasks.profiles import component_versions
from tests.harness import project

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = sorted(path.parent.name for path in (ROOT / "tasks/datasets").glob("*/__init__.py"))

TOY = """
from dataclasses import dataclass

import pandas as pd

from harness.spec import Citation, DataTerms
from tasks.layouts.data_set import DataSet
from tasks.layouts.index import Finding, Index, fingerprint_of, leaks
from tasks.layouts.splits import draw_splits


@dataclass(frozen=True)
class Toy:
    name: str = "toy"
    labels: tuple[str, ...] = ("upright",)

    def read(self, root, split):
        paths = sorted(path.name for path in root.glob("*.png"))
        cases = pd.DataFrame({"case": paths, "patient": paths, "image": paths})
        cases["split"], rule = draw_splits(paths, split, "toy")
        cases["upright"] = [int(path.startswith("u")) for path in paths]
        return Index(cases, self.labels, split_rule=rule)

    def verify(self, root, split, *, published, decode):
        return leaks(self.read(root, split).cases)

    def fingerprint(self, root):
        return fingerprint_of(root, [], root.glob("*.png"))


TERMS = DataTerms(title="Toy", licence="CC0", citations=(Citation(key="me2026", text="Me, 2026."),))
DATASET = DataSet(name="toy", terms=TERMS, dimensions=2, adapter=Toy())
"""
ENTRY = """
  toy: {label: Toy, dimensions: 2, adapter: toy, transfer: classification, outputs: 1, metric: auc, split: random,
        version: 1, source: "Me 2026", options: {cohort: {split: {test_fraction: 0.2}}}}
"""
ASK = """
from pathlib import Path
from harness.registry import load_registry
from tasks.configuration import resolve
entry = next(one for one in load_registry(Path()).tasks if one.name == "toy")
plan = resolve(entry, "own", {"toy": Path("images")})
print(plan.unavailable, plan.cohort["adapter"], plan.terms.licence, len(plan.cohort["fingerprint"]))
"""


def entry(**change) -> TaskEntry:
    given = {
        "name": "mine", "label": "Mine", "dimensions": 2, "adapter": "chestxray14", "transfer": "classification",
        "outputs": 14, "metric": "auc", "split": "official", "version": 1, "source": "Me",
    }  # fmt: skip
    return TaskEntry.model_validate(given | change)


def test_every_folder_is_in_the_catalogue_and_has_a_page():
    assert list(catalogue()) == FOLDERS
    for name in FOLDERS:
        assert (ROOT / "tasks/datasets" / name / "README.md").is_file(), name


@pytest.mark.parametrize("name", sorted(readers()))
def test_every_adapter_satisfies_the_protocols_of_its_dimension(name):
    data_set = catalogue()[name]
    assert isinstance(data_set.adapter, Adapter) and data_set.adapter.name == name
    if data_set.dimensions == 3:
        assert isinstance(data_set.adapter, VolumeAdapter)
    if data_set.options is not None:
        assert isinstance(data_set.adapter, AdapterWithOptions)


def test_scans_with_masks_are_read_by_adapters_that_open_them():
    cut_themselves = {"lidc_idri"}
    segment = {"lits", "brats"}
    volumes = {name for name, one in readers().items() if isinstance(one.adapter, MaskedVolumes)}
    assert volumes == segment and not volumes & cut_themselves


def test_every_adapter_and_phantom_is_a_component_whose_edit_is_noticed():
    versions = component_versions()
    assert {f"adapter_{name}" for name in readers()} <= versions.keys()
    assert {f"generator_{name}" for name in phantoms()} <= versions.keys()


@pytest.mark.parametrize("name", FOLDERS)
def test_the_page_of_a_data_set_ends_in_the_terms_that_are_printed(name):
    lines = "".join(f"* {line.removesuffix('.')}.\n" for line in catalogue()[name].terms.lines())
    page = (ROOT / "tasks/datasets" / name / "README.md").read_text()
    assert page.endswith(f"## Terms\n\n{lines}")


@pytest.mark.parametrize("name", FOLDERS)
def test_terms_are_stated_or_said_not_to_be(name):
    terms = catalogue()[name].terms
    keys = [one.key for one in terms.citations]
    assert terms.title and terms.licence and terms.url and len(set(keys)) == len(keys)
    assert NOT_STATED in "".join(terms.lines()) or (terms.citations and terms.url.startswith("https://"))


def test_an_entry_of_a_ready_layout_names_the_data_set_whose_terms_hold():
    assert terms_of("image_folder", "mednist").licence == "CC BY-SA 4.0"
    plan = resolve(entry(data_set="mednist"), "miniature", {})
    assert plan.terms.title == "MedNIST"
    with pytest.raises(ConfigurationError, match='data_set: no data set "mednsit".*mednist'):
        resolve(entry(data_set="mednsit"), "miniature", {})


def test_the_terms_of_a_data_set_are_no_part_of_an_id():
    plain, other = (resolve(entry(data_set=name), "miniature", {}) for name in ("", "mednist"))
    assert (plain.cohort, plain.transfer) == (other.cohort, other.transfer) and plain.terms != other.terms


def test_a_path_from_outside_may_lead_to_an_adapter_or_to_a_whole_data_set(tmp_path, monkeypatch):
    (tmp_path / "elsewhere_toy.py").write_text(TOY + "ADAPTER = Toy()\nNOTHING = object()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert adapter_of("elsewhere_toy:DATASET") == adapter_of("elsewhere_toy:ADAPTER")
    assert terms_of("elsewhere_toy:DATASET").licence == "CC0" and terms_of("elsewhere_toy:ADAPTER") is None
    with pytest.raises(BrokenCode, match="has no name, labels, read, verify, fingerprint"):
        adapter_of("elsewhere_toy:NOTHING")
    with pytest.raises(UnknownName, match="chestxray14"):
        adapter_of("chestxray15")


def test_a_data_set_of_an_outside_package_is_one_file_with_its_phantom_and_its_terms(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tests/outside_package/src"))
    theirs = entry(
        adapter="outside_clusters.stripes:DATASET", outputs=1, split="random",
        options={"cohort": {"cache_px": 32, "split": {"test_fraction": 0.25}}, "versions": {"stripes": 1}},
    )  # fmt: skip
    plan = resolve(theirs, "smoke", {})
    assert plan.unavailable is None and plan.terms.licence == "CC0"
    context = Context(device="cpu", folder=tmp_path, inputs={}, resume=tmp_path)
    built = build({"task": "mine", "configuration": plan.cohort}, context)
    assert built.facts["labels"] == ["upright"] and built.values["images"] == 40.0
    wrong = theirs.model_copy(
        update={"options": {"cohort": {"generator": {"imagse": 3}, "split": {"test_fraction": 0.25}}}}
    )
    with pytest.raises(ConfigurationError, match=r"imagse.*images"):
        resolve(wrong, "smoke", {})


BROKEN = [
    ("", r"declares no DATASET; expected DATASET = DataSet\(name=\"toy\", …\); write it there"),
    ("DATASET = 3\n", r"declares a DATASET of type int; expected .*name=\"toy\""),
    ("from tasks.datasets.lits import DATASET\n", r'declares a DATASET of the name "lits"; expected .*name="toy"'),
    ("import no_such_library\n", "cannot be imported: ModuleNotFoundError: No module named 'no_such_library'"),
    ("raise SystemExit(0)\n", r"cannot be imported: it asked Python to end: SystemExit\(0\)"),
    ("DATASET = (\n", r"cannot be imported: SyntaxError: .*line 1"),
]


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """A second place for folders of data sets; nothing that was found with it is kept."""
    kept = (catalogue, readers, phantoms, data_set_of, checked_profile)
    monkeypatch.setattr(tasks.datasets, "__path__", [*tasks.datasets.__path__, str(tmp_path / "more")])
    for one in kept:
        one.cache_clear()
    yield tmp_path / "more"
    for one in kept:
        one.cache_clear()
    for name in ("toy", "bare"):
        sys.modules.pop(f"tasks.datasets.{name}", None)


@pytest.mark.parametrize(("text", "found"), BROKEN)
def test_a_broken_folder_is_one_sentence_for_all_tasks_and_names_itself(folders, tmp_path, text, found):
    (folders / "toy").mkdir(parents=True)
    (folders / "toy/__init__.py").write_text(text)
    with pytest.raises(BrokenProject, match=rf"tasks/datasets/toy/__init__.py {found}") as refused:
        project.plan(project.copy(tmp_path / "project"), profile="smoke")
    said = str(refused.value)
    assert len(said.splitlines()) == 1 and len(said) < 300 and "montgomery" not in said


def test_every_broken_folder_is_named_at_once(folders):
    for name in ("toy", "bare"):
        (folders / name).mkdir(parents=True)
        (folders / name / "__init__.py").write_text("")
    with pytest.raises(BrokenProject, match=r"(?s)^tasks/datasets/bare/\S+ declares.*\ntasks/datasets/toy/"):
        catalogue()


def test_a_data_set_inside_the_tree_is_one_folder_one_entry_and_its_version(tmp_path):
    """Copies the code, adds these three things alone, and asks for a plan on real files."""
    for name in ("harness", "methods", "tasks", "reports"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "tasks").unlink()
    subprocess.run(["cp", "-r", str(ROOT / "tasks"), str(tmp_path / "tasks")], check=True)
    for name in ("params.yaml", "pyproject.toml"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    folder = tmp_path / "tasks/datasets/toy"
    folder.mkdir()
    (folder / "__init__.py").write_text(TOY)
    with (tmp_path / "tasks/registry.yaml").open("a") as stream:
        stream.write(ENTRY)
    with (tmp_path / "tasks/versions.yaml").open("a") as stream:
        stream.write("  adapter_toy:\n    version: 1\n    modules: [tasks/datasets/toy/__init__.py]\n    code: ''\n")
    (tmp_path / "images").mkdir()
    for number in range(20):
        (tmp_path / "images" / f"{'ud'[number % 2]}{number:02d}.png").write_bytes(b"no picture is opened")
    said = subprocess.run(
        [sys.executable, "-c", ASK], cwd=tmp_path, env={"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert said.stdout.split() == ["None", "toy", "CC0", "64"], said


def test_the_type_of_a_data_set_is_frozen():
    with pytest.raises(AttributeError):
        catalogue()["lits"].name = "other"  # type: ignore[misc]
    assert isinstance(catalogue()["lits"], DataSet)


def command(*words: str) -> str:
    """Run ``dira-bench`` in this process; return what it wrote to standard output."""
    done = CliRunner().invoke(application, list(words))
    assert done.exit_code == 0, done.output
    return done.stdout


def test_terms_are_printed_where_tasks_are_listed_and_where_files_are_verified(tmp_path):
    listed = {one["name"]: one for one in json.loads(command("list", "tasks", "--json", "--profile", "smoke"))}
    lits = catalogue()["lits"].terms
    assert listed["lits"]["data_set"] == lits.model_dump(mode="json")
    assert all("data_set" in one for one in listed.values())
    assert "CC BY-NC-ND 4.0" in command("list", "tasks", "--profile", "smoke")
    phantoms()["montgomery"].write(tmp_path, {"seed": 1, "images": 6, "file_px": [64, 72]})
    said = " ".join(command("data", "verify", "montgomery", str(tmp_path), "--phantom", "--profile", "smoke").split())
    for line in catalogue()["montgomery"].terms.lines():
        assert line in said
