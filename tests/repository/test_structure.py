"""The figures of ``bench.structure``, each on a tree so small that they can be counted by eye."""

from pathlib import Path

import pytest

from bench import structure

SOURCE = '''
import importlib, os
from typing import Any

def plain(spec, path): return path.with_name("x".replace("x", "y"))
def untyped(spec: dict[str, Any]) -> None: spec["phase"]; spec.get("seed"); spec["encoder"]["obtain"]; spec["new"] = 1
def result(self) -> list[Any]: return self._configuration["batch"] + self.rows["batch"] + self.spec[0]
def moves(path): path.replace("there"); path.rename(columns={})
def also(): os.replace("a", "b")
def dotted(): importlib.import_module("json")
def worded(error): return error.errors(include_url=False)
''' + "def long():\n" + "    0\n" * 50  # fmt: skip


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "methods").mkdir()
    (tmp_path / "methods" / "__init__.py").write_text("")
    (tmp_path / "methods" / "code.py").write_text(SOURCE)
    return tmp_path


def names(found: list[structure.Found]) -> list[str]:
    return [one.what for one in found]


def test_a_signature_counts_once_whichever_of_its_annotations_holds_any(tree):
    assert names(structure.untyped_signatures(tree)) == ["untyped", "result"]


def test_a_read_of_a_specification_is_by_constant_text_and_no_assignment(tree):
    assert sorted(names(structure.key_reads(tree))) == [
        "self._configuration['batch']",
        "spec.get('seed')",
        "spec['encoder']",
        "spec['encoder']['obtain']",
        "spec['phase']",
    ]


def test_a_function_of_fifty_one_lines_is_long(tree):
    assert [(one.what, one.lines) for one in structure.long_functions(tree)] == [("long", 51)]


def test_what_renames_a_file_imports_by_path_or_words_errors_is_listed_and_a_text_that_changes_is_not(tree):
    assert names(structure.atomic_writes(tree)) == ["moves", "also"]
    assert names(structure.dotted_imports(tree)) == ["dotted"]
    assert names(structure.error_sentences(tree)) == ["worded"]


def test_a_circle_is_named_by_its_modules(tree):
    (tree / "methods" / "one.py").write_text("import methods.two")
    (tree / "methods" / "two.py").write_text("def later():\n    import methods.three")
    (tree / "methods" / "three.py").write_text("import methods.one")
    assert structure.import_circles(tree) == ["methods.one methods.three methods.two"]
