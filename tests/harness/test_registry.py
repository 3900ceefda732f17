"""Registries: every mistake is one sentence, all of them at once; a broken plug-in breaks nobody else."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

from harness.errors import ConfigurationError, UnknownName
from harness.registry import load_parameters, load_registry
from tests.harness import project


@pytest.fixture
def root(tmp_path):
    return project.copy(tmp_path)


def load(root, points=()):
    return load_registry(root, points=lambda group: [p for p in points if p.group == group])


def test_all_errors_of_both_registries_are_listed_at_once(root):
    project.append(
        root / "methods/registry.yaml", "  broken: {label: X, dimensions: 4, recipe: pretext, version: 0, source: s}\n"
    )
    project.append(
        root / "tasks/registry.yaml",
        "  odd: {label: X, dimensions: 2, adapter: a, transfer: t, outputs: 1, metric: auc, split: s, version: 1, source: s, colour: red}\n",
    )
    with pytest.raises(ConfigurationError) as caught:
        load(root)
    sentences = str(caught.value).splitlines()
    assert len(sentences) == 3
    assert any("dimensions" in s and "4" in s and "methods/registry.yaml:" in s for s in sentences)
    assert any('"version" is 0' in s for s in sentences)
    assert any('"colour" is unknown' in s and "tasks/registry.yaml:" in s for s in sentences)


def test_a_doubled_entry_names_both_lines(root):
    path = root / "methods/registry.yaml"
    before = len(path.read_text().rstrip("\n").splitlines())
    first = next(i for i, line in enumerate(path.read_text().splitlines(), 1) if line.strip().startswith("random:"))
    project.append(path, "  random: {label: Again, dimensions: 2, recipe: random, version: 1, source: s}\n")
    with pytest.raises(ConfigurationError, match=f'"random" stands twice in .*line {first} and in line {before + 1}'):
        load(root)


def test_malformed_yaml_says_where(root):
    project.append(root / "methods/registry.yaml", "  bad: {label: [}\n")
    with pytest.raises(ConfigurationError, match=r"is not YAML: .* line \d+, column \d+"):
        load(root)


def test_an_unknown_name_suggests_near_ones(root):
    with pytest.raises(UnknownName, match='did you mean "dira_moco_v2"'):
        load(root).methods["dira_moco"]
    with pytest.raises(UnknownName, match='did you mean "miniature"'):
        load(root).check_profile("minature")


def test_a_key_that_dvc_cannot_expand_is_refused(root):
    project.append(
        root / "methods/registry.yaml",
        '  "my@method": {label: X, dimensions: 2, recipe: random, version: 1, source: s}\n',
    )
    with pytest.raises(ConfigurationError, match="my@method"):
        load(root)


def test_a_plug_in_that_breaks_is_unavailable_and_stops_nobody(root):
    points = [
        EntryPoint("ghost", "no_such_package:entry", "dira_bench.methods"),
        EntryPoint("random", "json:loads", "dira_bench.methods"),
    ]
    registry = load(root, points)
    assert "moco_v2" in registry.methods
    reasons = {broken.name: broken for broken in registry.methods.broken}
    assert "no_such_package" in reasons["ghost"].reason
    assert "already taken by methods/registry.yaml" in reasons["random"].reason
    assert "entry point json:loads" in reasons["random"].origin


def test_a_recipe_refuses_keys_it_does_not_know_and_contradictions(root):
    project.append(
        root / "methods/registry.yaml",
        "  odd: {label: X, dimensions: 2, recipe: pretext, discriminaton: moco_v2, adversary: -1, version: 1, source: s}\n",
    )
    registry = load(root)
    with pytest.raises(ConfigurationError) as caught:
        registry.resolve_method("odd", "smoke")
    text = str(caught.value)
    assert "discriminaton" in text
    assert "discrimination" in text.replace("discriminaton", "")
    assert "adversary" in text


def test_parameters_list_every_problem(root):
    (root / "params.yaml").write_text(
        "profile: miniature\nrepeats: 0\nbase_seed: 1\npretrain_seeds: 1\nalpha: 2\nmethods: []\n"
    )
    with pytest.raises(ConfigurationError) as caught:
        load_parameters(root)
    assert len(str(caught.value).splitlines()) == 3


def test_a_method_compared_with_nothing_known_is_refused(root):
    project.append(
        root / "methods/registry.yaml",
        "  mine: {label: X, dimensions: 2, recipe: random, version: 1, source: s, compare_with: [moco_v3]}\n",
    )
    with pytest.raises(ConfigurationError, match='no method "moco_v3".*did you mean "moco_v2"'):
        load(root)
