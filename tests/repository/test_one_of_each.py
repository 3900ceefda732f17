"""What every part needs exists once: writing a file whole, importing a dotted path, a sentence for a pydantic error."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("harness", "methods", "tasks", "reports", "bench")
TRACKED = subprocess.run(
    ["git", "ls-files", "--cached", "--others", "--exclude-standard", *(f"{folder}/*.py" for folder in FOLDERS)],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=True,
).stdout.split()


@cache
def every_call(source: str) -> tuple[ast.Call, ...]:
    """Parse a module once for all rules."""
    return tuple(node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))


def calls(source: str) -> Iterator[tuple[str, ast.Call]]:
    """Give every call by the last part of what is called."""
    for node in every_call(source):
        if isinstance(node.func, ast.Attribute):
            yield f".{node.func.attr}", node
        elif isinstance(node.func, ast.Name):
            yield node.func.id, node


def renames_over(source: str) -> bool:
    """Whether a file is put in another's place: ``Path.replace`` takes one argument, text's and arrays' take others."""
    return any(
        (name == ".replace" and len(call.args) == 1 and not call.keywords and not isinstance(call.args[0], ast.Dict))
        or (name in (".replace", ".rename") and ast.unparse(call.func).startswith("os."))
        or name in (".fsync", ".mkstemp", ".NamedTemporaryFile")
        for name, call in calls(source)
    )


def imports_by_name(source: str) -> bool:
    return any(name in (".import_module", "import_module", "__import__", ".resolve_name") for name, _ in calls(source))


def reads_pydantic_errors(source: str) -> bool:
    return any(name == ".errors" for name, _ in calls(source))


ONE_PLACE = {
    "harness/whole_files.py": renames_over,
    "harness/dotted.py": imports_by_name,
    "harness/typed.py": reads_pydantic_errors,
}


@pytest.mark.parametrize(("place", "does"), ONE_PLACE.items(), ids=list(ONE_PLACE))
def test_one_module_does_it_and_everybody_else_calls_that(place, does):
    found = {path for path in TRACKED if (ROOT / path).is_file() and does((ROOT / path).read_text())}
    assert place in found, "the rule has lost sight of what it looks for"
    others = {path for path in found - {place} if does is not imports_by_name or not from_the_one_place(path)}
    assert others == set(), f"found {sorted(others)} doing what {place} is for; expected calls of it"


def from_the_one_place(path: str) -> bool:
    """Whether a module's ``import_module`` is that of ``harness.dotted``."""
    tree = ast.parse((ROOT / path).read_text())
    return any(
        isinstance(node, ast.ImportFrom) and node.module == "harness.dotted" for node in ast.walk(tree)
    ) and not any(
        isinstance(node, ast.Import) and any(alias.name == "importlib" for alias in node.names)
        for node in ast.walk(tree)
    )


@pytest.mark.parametrize(
    ("does", "source"),
    [
        (renames_over, "partial.replace(path)"),
        (renames_over, "os.replace(a, b)"),
        (renames_over, "os.fsync(stream.fileno())"),
        (imports_by_name, "importlib.import_module(name)"),
        (reads_pydantic_errors, "found = error.errors(include_url=False)[0]"),
    ],
)
def test_a_second_copy_would_be_found(does, source):
    assert does(source)


@pytest.mark.parametrize("source", ["text.replace('a', 'b')", "replace(self, options=made)", "series.replace({1: 2})"])
def test_what_only_looks_like_it_is_left_alone(source):
    assert not renames_over(source)
