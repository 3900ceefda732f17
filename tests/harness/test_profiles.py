"""A profile starts from the one that it extends, and from nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import ConfigurationError
from harness.profiles import ProfileFile, merge

ROOT = Path(__file__).resolve().parents[2]
VALUES = st.none() | st.integers() | st.text(max_size=3) | st.lists(st.integers(), max_size=2)
TREES = st.recursive(VALUES, lambda inner: st.dictionaries(st.sampled_from("abcd"), inner, max_size=3), max_leaves=8)
MAPPINGS = st.dictionaries(st.sampled_from("abcd"), TREES, max_size=4)


@settings(deadline=None)
@given(MAPPINGS, MAPPINGS)
def test_a_merge_says_what_the_change_says_and_elsewhere_what_the_base_says(base, change):
    merged = merge(base, change)
    assert set(merged) == set(base) | set(change)
    for key, value in merged.items():
        if key not in change:
            assert value == base[key]
        elif isinstance(change[key], dict) and isinstance(base.get(key), dict):
            assert value == merge(base[key], change[key])
        else:
            assert value == change[key]


@settings(deadline=None)
@given(MAPPINGS)
def test_a_merge_with_nothing_or_with_itself_changes_nothing(base):
    assert merge(base, {}) == merge({}, base) == merge(base, base) == base


def file_of(**profiles):
    return ProfileFile("x/profiles.yaml", profiles, {name: place for place, name in enumerate(profiles, start=2)})


def test_a_chain_is_merged_from_its_end_and_leaves_no_extends():
    found = file_of(
        a={"extends": "b", "x": {"p": 1}}, b={"extends": "c", "x": {"p": 2, "q": 2}}, c={"x": {"q": 3, "r": 3}, "y": 3}
    ).whole("a")
    assert found == {"x": {"p": 1, "q": 2, "r": 3}, "y": 3}


@pytest.mark.parametrize(
    ("profiles", "says"),
    [
        ({"a": {"extends": "b"}, "b": {"extends": "a"}}, "extends itself (a → b → a)"),
        ({"a": {"extends": "smok"}, "smoke": {}}, 'no profile "smok" in x/profiles.yaml; did you mean "smoke"?'),
        ({"a": {"extends": 3}}, 'x/profiles.yaml:2 (profile "a"): extends: found 3; expected the name of a profile.'),
        ({"a": {"extends": "b"}, "b": [1]}, 'x/profiles.yaml:3 (profile "b"): found [1]; expected a mapping of keys.'),
    ],
)
def test_what_cannot_be_extended_gets_one_sentence(profiles, says):
    with pytest.raises(ConfigurationError) as refused:
        file_of(**profiles).whole("a")
    assert says in str(refused.value) and len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("side", ["methods", "tasks"])
def test_a_file_of_profiles_has_one_way_to_say_a_thing_once(side):
    text = (ROOT / side / "profiles.yaml").read_text()
    for event in yaml.parse(text):
        where = f"{side}/profiles.yaml:{event.start_mark.line + 1}"
        assert not isinstance(event, yaml.AliasEvent), f"{where} repeats an anchor; write extends, or the value"
        assert getattr(event, "value", "") != "<<", f"{where} merges by <<; write extends"
