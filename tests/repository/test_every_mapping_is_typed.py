"""A misspelt key or a value of the wrong kind, at every place of profiles and registries, is one sentence at plan time.

The files are walked as they are, so that a key that is added tomorrow is tried as well.
"""

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import methods.configuration
import methods.profiles
import tasks.configuration
import tasks.profiles
from harness.errors import ConfigurationError
from harness.profiles import ProfileFile
from harness.registry import load_registry
from harness.spec import MethodEntry, TaskEntry
from harness.typed import read
from harness.yaml_files import load_yaml

ROOT = Path(__file__).resolve().parents[2]
METHODS = load_yaml(ROOT / "methods/profiles.yaml")["profiles"]
TASKS = load_yaml(ROOT / "tasks/profiles.yaml")["profiles"]
ENTRIES = {side: load_yaml(ROOT / side / "registry.yaml")[side] for side in ("methods", "tasks")}
Place = tuple[str | int, ...]
# Names of tasks, which an outside package may bring; an unused one trains nothing.
FREE = {("supervised",)}


def nodes(value: Any, place: Place = ()) -> Iterator[tuple[Place, Any]]:
    """List every value with its place, mappings and lists included."""
    yield place, value
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from nodes(inner, (*place, key))


def changed(whole: Any, place: Place, value: Any) -> Any:
    whole = copy.deepcopy(whole)
    if not place:
        return value
    here = whole
    for key in place[:-1]:
        here = here[key]
    here[place[-1]] = value
    return whole


def refusal(resolve: Callable[[Any], object], raw: Any, what: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        resolve(raw)
        pytest.fail(f"accepted: {what}")
    text = str(caught.value)
    assert text.strip() and "Traceback" not in text and len(text) < 6000, what
    return text


def misspelt(value: dict[Any, Any]) -> Iterator[tuple[dict[Any, Any], str, str]]:
    """Return the mapping with a key too many, that key, and the one it stands for."""
    right = next(iter(value), "learning_rate")
    wrong = f"{right}x" if isinstance(right, str) else right * 11
    yield {**value, wrong: value.get(right)}, str(wrong), str(right)


def wrong_kinds(value: Any) -> list[Any]:
    """Return values of other kinds than this one."""
    if value is None:
        return [{"a": {"b": 1}}]
    if isinstance(value, bool):
        return [1, "true", [value], {"a": value}]
    if isinstance(value, int | float):
        return [True, "seven", str(value), [value], {"a": value}, float("nan"), float("inf")]
    if isinstance(value, str):
        return [True, 7, [value], {"a": value}]
    return [True, 7, "text", {"a": value}] if isinstance(value, list) else [True, 7, "text", [1]]


@pytest.fixture
def methods_profile(monkeypatch):
    def load(raw: Any) -> object:
        given = ProfileFile("methods/profiles.yaml", {**METHODS, "mine": raw}, {})
        monkeypatch.setattr(methods.profiles, "_file", lambda: given)
        methods.profiles.load_profile.cache_clear()
        return methods.profiles.load_profile("mine")

    yield load
    methods.profiles.load_profile.cache_clear()


@pytest.fixture
def tasks_profile(monkeypatch):
    def load_as(name: str) -> Callable[[Any], object]:
        def load(raw: Any) -> object:
            given = ProfileFile("tasks/profiles.yaml", {**TASKS, name: raw}, {})
            monkeypatch.setattr(tasks.profiles, "_profiles", lambda: given)
            tasks.profiles.load_profile.cache_clear()
            tasks.configuration.checked_profile.cache_clear()
            return tasks.configuration.checked_profile(name)

        return load

    yield load_as
    monkeypatch.undo()
    tasks.profiles.load_profile.cache_clear()
    tasks.configuration.checked_profile.cache_clear()


def resolve_entry(side: str, name: str) -> Callable[[Any], object]:
    def resolve(body: Any) -> object:
        if side == "methods":
            return methods.configuration.resolve(read(MethodEntry, {**body, "name": name}), "smoke")
        return tasks.configuration.resolve(read(TaskEntry, {**body, "name": name}), "smoke", {})

    return resolve


def try_keys(whole: Any, resolve: Callable[[Any], object]) -> int:
    """Misspell every key at every mapping; return how many were tried."""
    tried = 0
    for place, value in nodes(whole):
        if not isinstance(value, dict) or place in FREE:
            continue
        for body, wrong, right in misspelt(value):
            text = refusal(resolve, changed(whole, place, body), f"{place}: {wrong}")
            (said,) = [line for line in text.splitlines() if wrong in line][:1] or [""]
            assert said, f"{place}: {wrong} is not named in {text}"
            near = f'did you mean "{right}"' in said or f'or "{right}"' in said
            assert near or "expected" in said, f"{place}: no near name in {said}"
            tried += 1
    return tried


def try_kinds(whole: Any, resolve: Callable[[Any], object]) -> int:
    """Put a value of another kind at every place; return how many were tried."""
    tried = 0
    for place, value in nodes(whole):
        if not place:
            continue
        kinds = wrong_kinds(value)
        wrong = kinds[tried % len(kinds)]  # each kind in its turn
        named = [part for part in place if isinstance(part, str)][-1]
        text = refusal(resolve, changed(whole, place, wrong), f"{place}: {wrong!r} for {value!r}")
        assert named in text, f"{place}: {named} is not named in {text}"
        tried += 1
    return tried


@pytest.mark.parametrize("name", METHODS)
def test_every_misspelt_key_of_a_methods_profile_is_one_sentence(name, methods_profile):
    assert try_keys(METHODS[name], methods_profile) > (0 if "extends" in METHODS[name] else 20)


@pytest.mark.parametrize("name", ["smoke", "paper"])
def test_every_value_of_another_kind_in_a_methods_profile_is_one_sentence(name, methods_profile):
    assert try_kinds(METHODS[name], methods_profile) > 100


@pytest.mark.parametrize("name", [name for name in TASKS if len(TASKS[name]) > 1])
def test_every_misspelt_key_of_a_tasks_profile_is_one_sentence(name, tasks_profile):
    assert try_keys(TASKS[name], tasks_profile(name)) > 0


@pytest.mark.parametrize("name", ["paper", "miniature", "anatomy"])
def test_every_value_of_another_kind_in_a_tasks_profile_is_one_sentence(name, tasks_profile):
    assert try_kinds(TASKS[name], tasks_profile(name)) > 0


@pytest.mark.parametrize("side", ENTRIES)
def test_every_misspelt_key_of_an_entry_is_one_sentence(side):
    for name, body in ENTRIES[side].items():
        assert try_keys(body, resolve_entry(side, name)) > 0


@pytest.mark.parametrize("side", ENTRIES)
def test_every_value_of_another_kind_in_an_entry_is_one_sentence(side):
    for name, body in ENTRIES[side].items():
        assert try_kinds(body, resolve_entry(side, name)) > 0


def test_the_profiles_as_they_are_are_accepted(methods_profile, tasks_profile):
    for raw in METHODS.values():
        methods_profile(raw)
    for name, raw in TASKS.items():
        tasks_profile(name)(raw)


def test_the_entries_as_they_are_are_accepted():
    for side, entries in ENTRIES.items():
        for name, body in entries.items():
            resolve_entry(side, name)(body)
    assert len(load_registry().methods) == len(ENTRIES["methods"])
