"""Registries: every mistake is one sentence, all of them at once; a broken plug-in breaks nobody else."""

from __future__ import annotations

import sys
from contextlib import suppress
from importlib.metadata import EntryPoint

import pytest

from harness import registry as registry_module
from harness import yaml_files
from harness.dotted import import_dotted
from harness.errors import BrokenCode, ConfigurationError, DiraBenchError, UnknownName
from harness.plan import make_plan
from harness.registry import load_parameters, load_registry
from tests.harness import project


@pytest.fixture
def root(tmp_path):
    return project.copy(tmp_path)


def load(root, points=()):
    return load_registry(root, points=lambda group: [p for p in points if p.group == group])


def test_each_file_is_parsed_once_for_what_it_says_and_for_its_lines(root, monkeypatch):
    parsed = []
    whole = yaml_files._named
    monkeypatch.setattr(yaml_files, "_named", lambda text, path: parsed.append(path) or whole(text, path))
    registry = load(root)
    assert registry.methods["random"].origin == "methods/registry.yaml:2"
    assert len(parsed) == len(set(parsed)) == 2


@pytest.mark.parametrize(
    ("body", "watched"),
    [
        ("", False),
        (", discrimination: mine.loss:Loss", True),
        (", options: {term: {scale: [{by: mine.loss:scale}]}}", True),
        (", options: {term: {note: 'none: at all'}}", False),
    ],
)
def test_an_entry_that_names_code_is_run_as_a_guest_and_ours_as_it_is(root, body, watched, monkeypatch):
    guests = []
    whole = registry_module.guest
    monkeypatch.setattr(registry_module, "guest", lambda: guests.append(1) or whole())
    path = root / "methods/registry.yaml"
    project.append(path, "  mine: {label: X, dimensions: 2, recipe: pretext, version: 1, source: 'a: b'" + body + "}\n")
    with suppress(DiraBenchError):
        load(root).resolve_method("mine", "miniature")
    assert bool(guests) == watched


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
    assert any("version: found 0" in s for s in sentences)
    assert any("colour: unknown key" in s and "tasks/registry.yaml:" in s for s in sentences)


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
        text = "".join(f"{name} = { ({**body, 'label': name})!r}\n" for name, body in entries.items())
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


def test_our_own_entry_whose_code_is_absent_or_raises_is_unavailable_with_its_reason(root, outside):
    outside()
    recipes = {
        "own_raises": ("outside_code:Raises", "KeyError: 'absent'"),
        "own_syntax": ("outside_syntax:Recipe", "SyntaxError"),
        "own_absent": ("no_such_module:Recipe", "no_such_module"),
        "own_unnamed": ("outside_code:NoSuchName", "NoSuchName"),
    }
    for name, (recipe, _) in recipes.items():
        project.append(
            root / "methods/registry.yaml",
            f'  {name}: {{label: {name}, dimensions: 2, recipe: "{recipe}", version: 1, source: s}}\n',
        )
    plan = project.plan(root)
    for name, (_, said) in recipes.items():
        assert said in plan.methods[name].unavailable, name
    assert plan.methods["moco_v2"].unavailable is None


@pytest.mark.parametrize("term", ["outside_syntax:Term", "no_such_module:Term"])
def test_a_term_whose_module_is_absent_or_raises_makes_its_method_unavailable(root, outside, term):
    outside()
    project.append(
        root / "methods/registry.yaml",
        f'  mine: {{label: X, dimensions: 2, recipe: pretext, discrimination: "{term}", version: 1, source: s}}\n',
    )
    assert term in project.plan(root).methods["mine"].unavailable


def test_a_dotted_path_whose_module_raises_is_one_sentence(outside):
    outside()
    with pytest.raises(BrokenCode, match="outside_syntax:Recipe.*SyntaxError"):
        import_dotted("outside_syntax:Recipe")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('version: "1"', "version: found '1'; expected a whole number"),
        ("version: true", "version: found True; expected a whole number"),
        (f"version: {'9' * 400}", "version: found 99"),
        (f"version: {'9' * 5000}", "holds a value that cannot be read"),
        ('label: "a\\e[31mb"', "expected one line of text without control characters"),
        ('label: "a\\u202Eb"', "expected one line of text without control characters"),
        (f"deep: {'[' * 3000}{']' * 3000}", "nested more than 50 deep"),
        (f"deep: {'{a: ' * 100_000}1{'}' * 100_000}", "nested more than 50 deep"),
        ("? [a, b]\n    : 1", "registry.yaml"),
        ("date: 2024-13-45", "found 2024-13-45, which YAML 1.1 and 1.2 read differently"),
        ("label: random", 'label "random" is that of "random"'),
    ],
)
def test_a_value_that_no_entry_can_have_is_one_short_sentence(root, body, said):
    """A terminal's commands, a number of 5,000 digits and 100,000 brackets are text in a file, and stay so."""
    usual = {"label": "X", "dimensions": 2, "recipe": "random", "version": 1, "source": "s"}
    key = body.partition(":")[0]
    lines = [f"    {name}: {value}" for name, value in usual.items() if name != key] + [f"    {body}"]
    project.append(root / "methods/registry.yaml", "\n".join(["  mine:", *lines]) + "\n")
    with pytest.raises(ConfigurationError) as caught:
        project.plan(root)
    text = str(caught.value)
    assert said in text and len(text.splitlines()) == 1 and len(text) < 600
    assert "\x1b" not in text


def test_a_name_of_300_letters_is_refused_before_a_file_has_it(root):
    body = "{label: X, dimensions: 2, recipe: random, version: 1, source: s}"
    project.append(root / "methods/registry.yaml", f"  {'a' * 300}: {body}\n")
    with pytest.raises(ConfigurationError, match="at most 64 characters") as caught:
        load(root)
    assert len(str(caught.value)) < 500


def test_two_methods_of_one_label_are_refused_and_a_package_is_told_which_label_is_taken(root, outside):
    points = outside(twin=METHOD_BODY)
    registry = load(root, points)
    assert "twin" in registry.methods  # its label is its name
    project.append(
        root / "methods/registry.yaml",
        "  again: {label: TWIN, dimensions: 2, recipe: random, version: 1, source: s}\n",
    )
    (broken,) = load(root, points).methods.broken
    assert broken.name == "twin" and 'label "twin" is that of "again"' in broken.reason
    project.append(
        root / "methods/registry.yaml", "  third: {label: Twin, dimensions: 2, recipe: random, version: 1, source: s}\n"
    )
    with pytest.raises(ConfigurationError, match='"third".*label "Twin" is that of "again"'):
        load(root, points)


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


@pytest.mark.parametrize(
    ("name", "reads"),
    [("null", "nothing"), ("true", "true or false"), ("2024", "a number"), ("1e3", "a number"), ("yes", "1.1"), ('"no"', "1.1"), ('"7"', "a number")],
)  # fmt: skip
def test_a_name_that_yaml_reads_as_another_type_is_refused_with_its_line(tmp_path, name, reads):
    root = project.copy(tmp_path)
    path = root / "methods" / "registry.yaml"
    project.append(path, f"  {name}: {{label: Mine, dimensions: 2, recipe: pretext, version: 1, source: s}}\n")
    with pytest.raises(ConfigurationError) as refused:
        load_registry(root, points=lambda group: [])
    (line,) = str(refused.value).splitlines()
    assert reads in line
    assert f"{len(path.read_text().splitlines())}" in line
