"""Registries: every mistake is one sentence, all of them at once; a broken plug-in breaks nobody else."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint

import pytest

from harness.errors import ConfigurationError, UnknownName
from harness.plan import make_plan
from harness.registry import import_dotted, load_parameters, load_registry
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


TASK_BODY = {
    "label": "T", "dimensions": 2, "adapter": "outside_code:Adapter", "transfer": "segmentation", "outputs": 1,
    "metric": "dice", "split": "random", "version": 1, "source": "a package",
}  # fmt: skip
METHOD_BODY = {"label": "M", "dimensions": 2, "recipe": "random", "version": 1, "source": "a package"}


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """A package whose entries load and break later, each in a way of its own."""

    def write(**entries: object):
        folder = tmp_path / "outside"
        folder.mkdir()
        text = "".join(f"{name} = {body!r}\n" for name, body in entries.items())
        recipe = (
            "from pydantic import BaseModel\nfrom harness.spec import MethodPlan, PhasePlan\n"
            "class Raises(BaseModel):\n    def resolve(self, entry, profile):\n        return {}['absent']\n"
            "class Unprintable(BaseModel):\n    def resolve(self, entry, profile):\n"
            "        return MethodPlan(encoder={'obtain': object()})\n"
            "class Nowhere(BaseModel):\n    def resolve(self, entry, profile):\n"
            "        phase = PhasePlan(name='x', run='a:b', configuration={}, cohort='nowhere')\n"
            "        return MethodPlan(encoder={}, phases=(phase,))\n"
        )
        (folder / "outside_code.py").write_text(recipe + text)
        (folder / "outside_syntax.py").write_text("def broken(:\n")
        monkeypatch.syspath_prepend(folder)
        return [
            EntryPoint(name, f"outside_code:{name}", f"dira_bench.{'tasks' if 'adapter' in body else 'methods'}")
            for name, body in entries.items()
        ]

    yield write
    sys.modules.pop("outside_code", None)


def test_whatever_a_package_does_when_resolved_it_alone_is_unavailable(root, outside):
    points = outside(
        raises={**METHOD_BODY, "recipe": "outside_code:Raises"},
        unprintable={**METHOD_BODY, "recipe": "outside_code:Unprintable"},
        nowhere={**METHOD_BODY, "recipe": "outside_code:Nowhere"},
        syntax={**METHOD_BODY, "recipe": "outside_syntax:Recipe"},
        misspelt={**METHOD_BODY, "recipe": "pretexts"},
        dangling={**METHOD_BODY, "compare_with": ["moco_v3"]},
        odd_task={**TASK_BODY, "adapter": "no_such_adapter"},
        outside_task=TASK_BODY,
    )
    before = project.plan(root)
    registry = load(root, points)
    plan = make_plan(registry, before.parameters, before.families)
    named = {"raises": "KeyError", "unprintable": "canonical form", "nowhere": '"nowhere"', "syntax": "SyntaxError"}
    for name, reason in {**named, "misspelt": 'did you mean "pretext"'}.items():
        assert reason in plan.methods[name].unavailable, name
        assert "\n" not in plan.methods[name].unavailable
    assert "no_such_adapter" in plan.tasks["odd_task"].unavailable
    assert plan.tasks["outside_task"].unavailable
    (dangling,) = registry.methods.broken
    assert 'did you mean "moco_v2"' in dangling.reason
    assert {key: item.id for key, item in plan.trials().items()} == {
        key: item.id for key, item in before.trials().items()
    }


def test_our_own_entry_whose_code_raises_is_one_sentence(root, outside):
    outside()
    for recipe, said in (("outside_code:Raises", "KeyError: 'absent'"), ("outside_syntax:Recipe", "SyntaxError")):
        project.append(
            root / "methods/registry.yaml",
            f'  own_{said[0].lower()}: {{label: X, dimensions: 2, recipe: "{recipe}", version: 1, source: s}}\n',
        )
    with pytest.raises(ConfigurationError) as caught:
        project.plan(root)
    sentences = str(caught.value).splitlines()
    assert len(sentences) == 2
    assert "KeyError: 'absent'" in sentences[0] and "SyntaxError" in sentences[1]
    assert all("methods/registry.yaml:" in sentence for sentence in sentences)


def test_a_dotted_path_whose_module_raises_is_one_sentence(outside):
    outside()
    with pytest.raises(ConfigurationError, match="outside_syntax:Recipe.*SyntaxError"):
        import_dotted("outside_syntax:Recipe")


def test_data_roots_that_are_no_mapping_are_refused(root):
    (root / "params.local.yaml").write_text("data_roots: [here, there]\n")
    with pytest.raises(
        ConfigurationError, match=r"data_roots in .*params.local.yaml is \['here', 'there'\]; expected a"
    ):
        _ = load(root).data_roots


def test_labels_of_an_unknown_task_are_refused(root):
    project.append(
        root / "methods/registry.yaml",
        "  mine: {label: X, dimensions: 2, recipe: random, version: 1, source: s, saw_labels_of: [montgomry]}\n",
    )
    with pytest.raises(ConfigurationError, match='no task "montgomry" in saw_labels_of.*did you mean "montgomery"'):
        load(root)


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
