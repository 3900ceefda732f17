"""What ``dira-bench new`` writes is whole: it is planned, it passes the conformance check, and it is well written."""

import ast
import importlib
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import methods
import methods.conformance
import tasks
import tasks.conformance
from harness.errors import ConfigurationError
from harness.metrics import metric_of
from harness.registry import load_registry
from harness.skeletons import write_skeleton
from tests.harness import project


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A copy of the project's YAML whose ``methods/own`` and ``tasks/own`` can be imported."""
    project.copy(tmp_path)
    for package in (methods, tasks):
        folder = str(tmp_path / package.__name__)
        monkeypatch.setattr(package, "__path__", [*package.__path__, folder])
    importlib.invalidate_caches()
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith(("methods.own", "tasks.own"))]:
        del sys.modules[name]
    for package in (methods, tasks):
        vars(package).pop("own", None)


def passed(found):
    assert found.results and all(ok for _, ok, _ in found.results), [r for r in found.results if not r[1]]


def test_a_method_passes_the_check_as_it_is_written(root):
    write_skeleton(root, "method", "my_idea")
    plan = project.plan(root, profile="smoke")
    assert plan.methods["my_idea"].unavailable is None
    passed(methods.conformance.check(plan.methods["my_idea"]))


def test_a_task_passes_the_check_as_it_is_written(root):
    write_skeleton(root, "task", "my_images")
    assert project.plan(root, profile="smoke").tasks["my_images"].unavailable is None
    passed(tasks.conformance.check(load_registry(root, points=lambda group: []).tasks["my_images"]))


def test_a_metric_measures_as_it_is_written(root):
    write_skeleton(root, "metric", "my_distance")
    metric = metric_of("tasks.own.my_distance:METRIC")
    one, other = np.zeros((9, 9), bool), np.zeros((9, 9), bool)
    one[4, 4] = other[4, 6] = True
    assert metric.of_masks.one(one, other, (1.0, 0.5)) == 1.0  # two pixels of half a millimetre
    assert (metric.unit, metric.better) == ("mm", "lower")


def test_what_is_written_is_as_clean_as_the_project(root):
    for kind, name in (("method", "my_idea"), ("task", "my_images"), ("metric", "my_distance")):
        write_skeleton(root, kind, name)
    for command in (("check", "--no-cache"), ("format", "--check", "--no-cache")):
        words = [sys.executable, "-m", "ruff", *command, "--config", str(project.ROOT / "pyproject.toml")]
        done = subprocess.run([*words, str(root)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


def test_registries_keep_what_they_had(root):
    before = (root / "methods" / "registry.yaml").read_text()
    write_skeleton(root, "method", "my_idea")
    assert (root / "methods" / "registry.yaml").read_text().startswith(before.rstrip())


@pytest.mark.parametrize(("kind", "name", "said"), [
    ("method", "dira_moco_v2", 'the method "dira_moco_v2" is registered already'),
    ("task", "montgomery", 'the task "montgomery" is registered already'),
    ("method", "1st", '"1st" is no name of a method'),
    ("metric", "../up", '"../up" is no name of a metric'),
    ("metric", "dice", 'the metric "dice" is registered already'),
    ("method", "a" * 65, "at most 64 in all"),
    ("method", "null", '"null" is no name of a method: YAML reads it as nothing'),
    ("method", "yes", "YAML reads it as one thing by YAML 1.1 and another by YAML 1.2"),
    ("task", "true", "YAML reads it as true or false"),
    ("task", "class", '"class" is no name of a task: it is a keyword of Python'),
    ("metric", "import", "it is a keyword of Python"),
    ("metric", "json", "it is a module of Python"),
])  # fmt: skip
def test_a_name_that_is_taken_or_is_none_is_refused_and_nothing_is_written(root, kind, name, said):
    before = sorted(root.rglob("*"))
    with pytest.raises(ConfigurationError, match=said):
        write_skeleton(root, kind, name)
    assert sorted(root.rglob("*")) == before


NAMES = st.one_of(
    st.from_regex(r"[a-z][a-z0-9_]{0,12}", fullmatch=True),
    st.sampled_from(["index", "path", "split", "class_var", "term", "data_error", "options", "image", "f", "x_", "e1"]),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kind=st.sampled_from(["method", "task", "metric"]), name=NAMES)
def test_whatever_its_name_a_skeleton_is_python_and_its_entry_is_read(tmp_path, kind, name):
    with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
        root = project.copy(Path(folder), methods=("random",), tasks=("montgomery",))
        try:
            written = write_skeleton(root, kind, name)
        except ConfigurationError as error:
            assert f'"{name}"' in str(error) and len(str(error).splitlines()) == 1
            return
        for path in written:
            if path.suffix == ".py":
                defined = [node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)]
                assert not {*defined} & imported(path), (name, defined)
        registry = load_registry(root, points=lambda group: [])
        if kind != "metric":
            entries = registry.methods if kind == "method" else registry.tasks
            assert entries[name].label.replace(" ", "").lower() == name.replace("_", "")


def test_a_label_that_is_taken_is_not_written_again(root):
    write_skeleton(root, "method", "random_")
    assert load_registry(root, points=lambda group: []).methods["random_"].label == "Random (random_)"


def imported(path: Path) -> set[str]:
    """Return the names that a module imports."""
    found = (node.names for node in ast.parse(path.read_text()).body if isinstance(node, ast.Import | ast.ImportFrom))
    return {one.asname or one.name for names in found for one in names}


@pytest.mark.parametrize("end", ["other: 1\n", "methods: {random: {}}\n"])
def test_a_registry_that_does_not_end_with_entries_is_left_alone(root, end):
    path = root / "methods" / "registry.yaml"
    path.write_text(path.read_text().rstrip() + "\n" + end if end[0] != "m" else end)
    before = {place: place.read_bytes() for place in root.rglob("*") if place.is_file()}
    with pytest.raises(ConfigurationError):
        write_skeleton(root, "method", "my_idea")
    assert {place: place.read_bytes() for place in root.rglob("*") if place.is_file()} == before


def test_a_file_that_is_there_is_kept(root):
    path = write_skeleton(root, "metric", "my_distance")[-1]
    path.write_text("mine")
    with pytest.raises(ConfigurationError, match="exists already"):
        write_skeleton(root, "metric", "my_distance")
    assert path.read_text() == "mine"
