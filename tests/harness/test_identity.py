"""Ids cover exactly what changes numbers; code digests ignore what does not."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.identity import ItemIds, canonical_json, code_digest, digest, item_id
from harness.seeding import SeedsBelow, seed, subset_seed


@dataclass(frozen=True)
class Restoration:
    pass


@dataclass(frozen=True)
class Adversary:
    pass


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def test_two_terms_without_fields_have_different_digests():
    assert digest(Restoration()) != digest(Adversary())


@given(st.dictionaries(st.text(), JSON, max_size=6))
def test_the_order_of_keys_is_not_identity(mapping):
    assert digest(mapping) == digest(dict(reversed(list(mapping.items()))))


@given(JSON, JSON)
def test_different_values_have_different_canonical_forms(a, b):
    same = canonical_json(a) == canonical_json(b)
    assert same == (repr(a) == repr(b)) or a == b


def test_an_integer_and_a_float_are_different_configuration():
    assert digest({"weight": 1}) != digest({"weight": 1.0})


def test_nan_and_paths_have_no_identity(tmp_path):
    for value in (float("nan"), float("inf"), tmp_path, {1: 2}):
        with pytest.raises(TypeError):
            digest(value)


def test_the_kind_is_part_of_an_id():
    assert item_id("trial", {"a": 1}) != item_id("phase", {"a": 1})


@given(st.dictionaries(st.text(), JSON, max_size=6))
def test_a_mapping_of_any_class_has_the_form_of_a_plain_one(mapping):
    """A plain value is written as it is, any other is reduced first: two ways to one text."""
    assert canonical_json(MappingProxyType({"a": [mapping]})) == canonical_json({"a": [mapping]})


@given(st.dictionaries(st.text(), JSON, min_size=1, max_size=6), st.data())
def test_ids_of_many_items_are_the_digests_of_their_specs(spec, data):
    own = data.draw(st.lists(st.sampled_from(sorted(spec)), unique=True))
    shared = {key: canonical_json(value) for key, value in spec.items() if key not in own}
    assert ItemIds("trial", shared, own).id({key: canonical_json(spec[key]) for key in own}) == item_id("trial", spec)


@given(st.lists(st.text() | st.integers(), min_size=2), st.integers(min_value=0))
def test_a_seed_does_not_depend_on_where_its_names_are_parted(names, place):
    place %= len(names)
    assert SeedsBelow(*names[:place]).seed(*names[place:]) == seed(*names)


def test_comments_docstrings_and_layout_do_not_change_a_code_digest():
    plain = "def f(x):\n    return x * 0.2\n"
    dressed = '"""Module."""\n\n# why\ndef f(x):\n    """Say."""\n\n    return (x   *\n        0.2)  # τ\n'
    assert code_digest({"m.py": plain}) == code_digest({"m.py": dressed})


def test_a_changed_constant_changes_a_code_digest():
    assert code_digest({"m.py": "T = 0.2\n"}) != code_digest({"m.py": "T = 0.07\n"})


def test_a_string_that_is_not_a_docstring_counts():
    assert code_digest({"m.py": "def f():\n    x = 'l2'\n"}) != code_digest({"m.py": "def f():\n    x = 'l1'\n"})


def test_code_digests_are_the_same_in_another_process():
    source = "class A:\n    x: int = 1\n    def f(self, *a, **k):\n        return {**k, 'a': [*a]}\n"
    code = f"from harness.identity import code_digest; print(code_digest({{'m.py': {source!r}}}))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert shown == code_digest({"m.py": source})


def test_seeds_depend_on_names_their_order_and_their_types():
    seeds = {
        seed(2022, "a", "b"),
        seed(2022, "b", "a"),
        seed(2022, "ab"),
        seed(2022, "a", 1),
        seed(2022, "a", "1"),
        seed(2023, "a", "b"),
    }
    assert len(seeds) == 6
    assert all(0 <= s < 2**63 for s in seeds)


def test_the_label_subset_is_the_same_for_every_method_and_drawn_per_repeat_only_if_asked():
    assert subset_seed(2022, "montgomery", None) == subset_seed(2022, "montgomery", None)
    assert subset_seed(2022, "montgomery", 0) != subset_seed(2022, "montgomery", 1)
