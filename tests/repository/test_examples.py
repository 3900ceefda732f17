"""The examples in public docstrings are run as they stand, and the reference shows them."""

import doctest
import importlib
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PUBLIC = runpy.run_path(str(ROOT / "docs" / "conf.py"))["PUBLIC"]  # what the reference holds
WITH_EXAMPLES = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in ("harness", "methods", "tasks")
    for path in (ROOT / folder).rglob("*.py")
    if "    >>> " in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("module", WITH_EXAMPLES)
def test_the_examples_of_a_module_give_what_they_say(module):
    found = doctest.testmod(importlib.import_module(module.removesuffix(".py").replace("/", ".")))
    assert found.attempted and not found.failed


def test_the_reference_has_every_module_with_an_example():
    lost = [name for name in WITH_EXAMPLES if not any(Path(name).match(pattern) for pattern in PUBLIC)]
    assert lost == [], "add them to PUBLIC in docs/conf.py"


def test_what_people_call_first_has_an_example():
    parts = {"metrics": 5, "statistics": 2, "layouts": 4}  # modules with examples, at least
    assert {
        part: sum(part in name for name in WITH_EXAMPLES) >= least for part, least in parts.items()
    } == dict.fromkeys(parts, True)
