"""Entries that exist under some profiles alone, closed profiles, and pretraining seeds of a method's own."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from harness.errors import ConfigurationError, UnknownName
from harness.registry import load_registry
from tests.harness import project


def edit(path: Path, name: str, **keys: object) -> None:
    """Lay keys over an entry of a registry, or over a profile."""
    document = yaml.safe_load(path.read_text())
    (entries,) = document.values()
    entries[name] = {**entries[name], **keys}
    path.write_text(yaml.safe_dump(document, sort_keys=False, width=1000))


def test_an_entry_without_profiles_has_the_same_ids_as_ever_and_one_of_another_profile_leaves_no_trace(
    tmp_path: Path,
) -> None:
    root = project.copy(tmp_path)
    before = project.plan(root)
    edit(root / "methods" / "registry.yaml", "moco_v2_dir", profiles=["anatomy"])
    edit(root / "tasks" / "registry.yaml", "montgomery", profiles=["anatomy", "smoke"])
    after = project.plan(root)
    assert set(after.items) < set(before.items)
    assert "moco_v2_dir" not in after.methods and "montgomery" not in after.tasks
    assert {key.method for key in after.cells} == {"random", "moco_v2", "dira_moco_v2"}
    assert {key.task for key in after.cells} == {"chestxray14"}
    assert after.counts()["published"]["distinct_cells"] == sum(
        cell.block == "published" for cell in after.cells.values()
    )
    there = project.plan(root, profile="anatomy")
    assert {"moco_v2_dir"} <= set(there.methods) and {"montgomery"} <= set(there.tasks)


def test_profiles_are_no_part_of_any_id(tmp_path: Path) -> None:
    root = project.copy(tmp_path)
    before = set(project.plan(root).items)
    edit(root / "methods" / "registry.yaml", "dira_moco_v2", profiles=["miniature"])
    edit(root / "tasks" / "registry.yaml", "chestxray14", profiles=["miniature", "smoke"])
    assert set(project.plan(root).items) == before


def test_a_closed_profile_has_only_the_tasks_that_name_it_and_so_has_one_that_extends_it(tmp_path: Path) -> None:
    root = project.copy(tmp_path)
    edit(root / "tasks" / "profiles.yaml", "miniature", closed=True)
    edit(root / "tasks" / "registry.yaml", "chestxray14", profiles=["miniature", "smoke"])
    assert set(project.plan(root).tasks) == {"chestxray14"}
    registry = load_registry(root, points=lambda group: [])
    extends = yaml.safe_load((root / "tasks" / "profiles.yaml").read_text())["profiles"]["smoke"]["extends"]
    assert extends == "miniature"
    assert list(registry.under("smoke").tasks.by_name) == ["chestxray14"]
    edit(root / "tasks" / "profiles.yaml", "smoke", closed=False)
    reopened = load_registry(root, points=lambda group: []).under("smoke")
    assert list(reopened.tasks.by_name) == ["chestxray14", "montgomery"]


def test_a_name_of_another_profile_says_where_it_exists_and_what_is_left_of_compare_with(tmp_path: Path) -> None:
    root = project.copy(tmp_path)
    edit(root / "methods" / "registry.yaml", "moco_v2_dir", profiles=["anatomy"])
    edit(root / "methods" / "registry.yaml", "dira_moco_v2", compare_with=["moco_v2_dir", "moco_v2"])
    registry = load_registry(root, points=lambda group: [])
    here = registry.under("miniature")
    assert here.methods["dira_moco_v2"].compare_with == ("moco_v2",)
    assert registry.methods["dira_moco_v2"].compare_with == ("moco_v2_dir", "moco_v2")
    with pytest.raises(UnknownName, match=r'"moco_v2_dir" is not of profile miniature .*names anatomy; choose'):
        raise here.methods.unknown("moco_v2_dir")
    assert here.under("miniature").methods.elsewhere == here.methods.elsewhere


def test_an_unknown_profile_in_an_entry_is_refused_with_near_names(tmp_path: Path) -> None:
    root = project.copy(tmp_path)
    edit(root / "methods" / "registry.yaml", "moco_v2", profiles=["miniatur"])
    edit(root / "tasks" / "registry.yaml", "montgomery", profiles=["papr"])
    with pytest.raises(ConfigurationError) as refused:
        load_registry(root, points=lambda group: [])
    assert 'no profile "miniatur" in profiles of moco_v2' in str(refused.value)
    assert 'did you mean "miniature"' in str(refused.value)
    assert 'no profile "papr" in profiles of montgomery' in str(refused.value)


def test_a_method_that_pretrains_on_a_task_of_another_profile_is_refused_in_one_sentence(tmp_path: Path) -> None:
    root = project.copy(tmp_path)
    edit(root / "tasks" / "registry.yaml", "chestxray14", profiles=["smoke"])
    with pytest.raises(ConfigurationError, match=r'pretrains on "chestxray14", which is not of profile miniature'):
        project.plan(root)


def test_a_profile_may_ask_more_encoders_of_one_base_and_the_larger_number_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from methods import profiles

    root = project.copy(tmp_path, methods=("random", "moco_v2", "dira_moco_v2", "simsiam"))
    once = project.plan(root)
    asked = profiles.load_profile("miniature").model_copy(update={"pretrain_seeds": {"moco_v2": 2}})
    monkeypatch.setattr("methods.recipes.pretext.load_profile", lambda name: asked)
    plan = project.plan(root)
    assert {name: plan.seeds(name) for name in plan.methods} == {
        "random": 1, "moco_v2": 2, "dira_moco_v2": 2, "simsiam": 1,
    }  # fmt: skip
    assert {index for name, index in plan.phases if name == "dira_moco_v2"} == {0, 1}
    for cell in plan.cells.values():
        assert len(cell.trials) == (0 if cell.skipped else 10 * plan.seeds(cell.key.method))
    assert set(once.items) < set(plan.items), "the first seed's ids stay what they were"
    assert sum(block["distinct_trials"] for block in plan.counts().values()) == len(plan.trials())
    more = project.plan(root, pretrain_seeds=3)
    assert {name: more.seeds(name) for name in more.methods} == {
        "random": 1, "moco_v2": 3, "dira_moco_v2": 3, "simsiam": 3,
    }  # fmt: skip
