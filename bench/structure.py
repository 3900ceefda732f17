"""How the tree is built, in figures: ``python -m bench.structure [COMMIT …]``, the working tree first.

Nothing is run but import-linter and mypy. Each figure has its rule in the docstring of the function that counts it.
"""

from __future__ import annotations

import argparse
import ast
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("commands", "harness", "methods", "tasks", "reports")
LONG = 50  # lines of a function
# Names under which a specification, or a part of one, is handed around.
SPECS = frozenset({
    *("spec", "configuration", "configured", "settings", "options", "plan", "planned", "resolved", "encoder", "phase"),
    *("network", "views", "term", "budget", "optimiser", "schedule", "validation", "transfer", "cohort", "subset"),
    *("seeds", "uses", "augmentation", "normalisation", "how", "of", "about", "autoencoder", "generator"),
    *("generator_options", "adapter_options", "protocol"),
})  # fmt: skip

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Found:
    """Where something stands.

    Attributes:
        place: ``file:line``.
        what: The function, or the expression.
        lines: Length of the function; 0 for an expression.
    """

    place: str
    what: str
    lines: int = 0


def modules(tree: Path) -> Iterator[tuple[str, ast.Module]]:
    """Yield every module of the packages, by its path inside the tree."""
    for package in PACKAGES:
        for path in sorted((tree / package).rglob("*.py")):
            yield str(path.relative_to(tree)), ast.parse(path.read_text(encoding="utf-8"))


def functions(tree: Path) -> Iterator[tuple[str, Function]]:
    """Yield every function and method, nested ones too."""
    for name, module in modules(tree):
        for node in ast.walk(module):
            if isinstance(node, Function):
                yield name, node


def found(name: str, node: Function) -> Found:
    """Say where a function stands."""
    return Found(f"{name}:{node.lineno}", node.name, (node.end_lineno or node.lineno) - node.lineno + 1)


def untyped_signatures(tree: Path) -> list[Found]:
    """List the functions whose arguments or result are annotated with ``Any``, ``dict[str, Any]`` included."""
    listed = []
    for name, node in functions(tree):
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        arguments += [one for one in (node.args.vararg, node.args.kwarg) if one is not None]
        annotations = [one.annotation for one in arguments] + [node.returns]
        if any(_names_any(annotation) for annotation in annotations if annotation is not None):
            listed.append(found(name, node))
    return listed


def _names_any(annotation: ast.expr) -> bool:
    return any(isinstance(part, ast.Name) and part.id == "Any" for part in ast.walk(annotation))


def key_reads(tree: Path) -> list[Found]:
    """List the reads of a specification by a constant key: ``spec["phase"]`` and ``spec.get("phase")``.

    What is read must be called one of ``SPECS``: a variable, an attribute (an underscore before it does not count), or
    the value of such a key. So ``spec["encoder"]["obtain"]`` is two reads.
    """
    listed = []
    for name, module in modules(tree):
        for node in ast.walk(module):
            of = _read_by_key(node)
            if of is not None and _called(of) in SPECS:
                listed.append(Found(f"{name}:{node.lineno}", ast.unparse(node)[:80]))  # type: ignore[attr-defined]
    return listed


def _read_by_key(node: ast.AST) -> ast.expr | None:
    """Return what is read if the node is a read by a constant text."""
    if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load) and _is_text(node.slice):
        return node.value
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get":
        return node.func.value if node.args and _is_text(node.args[0]) else None
    return None


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _called(node: ast.expr) -> str:
    """Return what an expression is called: its variable, its attribute, or the key it is the value of."""
    if isinstance(node, ast.Name):
        return node.id.lstrip("_")
    if isinstance(node, ast.Attribute):
        return node.attr.lstrip("_")
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        return str(node.slice.value)
    return ""


def long_functions(tree: Path) -> list[Found]:
    """List the functions of more than ``LONG`` lines, signature and docstring included, the longest first."""
    listed = [found(name, node) for name, node in functions(tree)]
    return sorted((one for one in listed if one.lines > LONG), key=lambda one: -one.lines)


def atomic_writes(tree: Path) -> list[Found]:
    """List the functions that rename a file: by ``path.replace(to)``, ``path.rename(to)`` or ``os.replace``.

    A text's ``replace`` has two arguments, a table's and a date's have names.
    """
    return _with_call(tree, _renames)


def _renames(call: ast.Call) -> bool:
    if not isinstance(call.func, ast.Attribute) or call.func.attr not in ("replace", "rename") or call.keywords:
        return False
    module = isinstance(call.func.value, ast.Name) and call.func.value.id == "os"
    return len(call.args) == (2 if module else 1)


def dotted_imports(tree: Path) -> list[Found]:
    """List the functions that call ``import_module``."""
    return _with_call(tree, lambda call: _called(call.func) == "import_module")


def error_sentences(tree: Path) -> list[Found]:
    """List the functions that take pydantic's errors apart: that call ``.errors(…)``."""
    return _with_call(tree, lambda call: isinstance(call.func, ast.Attribute) and call.func.attr == "errors")


def _with_call(tree: Path, is_one: Callable[[ast.Call], bool]) -> list[Found]:
    return [
        found(name, node)
        for name, node in functions(tree)
        if any(isinstance(part, ast.Call) and is_one(part) for part in ast.walk(node))
    ]


CIRCLES = """
import sys, grimp
graph = grimp.build_graph(*sys.argv[1:], exclude_type_checking_imports=True, cache_dir=None)
users = {module: graph.find_downstream_modules(module) for module in graph.modules}
circles = {frozenset({one, *(other for other in users[one] if one in users[other])}) for one in users}
print("\\n".join(sorted(" ".join(sorted(circle)) for circle in circles if len(circle) > 1)))
"""


def import_circles(tree: Path) -> list[str]:
    """List the sets of modules that import each other, directly or not, imports inside functions included."""
    present = [package for package in PACKAGES if (tree / package).is_dir()]
    done = subprocess.run(
        [sys.executable, "-c", CIRCLES, *present],
        cwd=tree, env={"PYTHONPATH": str(tree), "PATH": ""}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [line for line in done.stdout.splitlines() if line]


def arrows_up(tree: Path) -> list[str]:
    """List the imports that break a contract of import-linter, as the tree's own ``pyproject.toml`` states it."""
    tool = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run([tool, "--no-cache"], cwd=tree, capture_output=True, text=True, check=False)
    if "Contracts:" not in done.stdout:
        raise RuntimeError(done.stdout + done.stderr)
    return [line.strip() for line in done.stdout.splitlines() if " -> " in line]


def type_errors(tree: Path, mypy: str | None) -> int | None:
    """Count what ``mypy --strict`` says of the packages, under the tree's own settings; None without mypy."""
    if not mypy:
        return None
    present = [package for package in PACKAGES if (tree / package).is_dir()]
    words = [mypy, "--strict", "--no-error-summary", "--hide-error-context", "--no-color-output", *present]
    done = subprocess.run(words, cwd=tree, capture_output=True, text=True, check=False)
    return sum(": error:" in line for line in done.stdout.splitlines())


def report(tree: Path, title: str, mypy: str | None, every: bool) -> None:
    """Print the figures of a tree; with ``every``, where each thing stands."""
    total = sum(1 for _ in functions(tree))
    untyped, long = untyped_signatures(tree), long_functions(tree)
    longest = f"; the longest {long[0].lines}: {long[0].what} ({long[0].place})" if long else ""
    errors = type_errors(tree, mypy)
    rows: list[tuple[str, str, list[Found] | list[str]]] = [
        ("functions", str(total), []),
        ("signatures with Any", f"{len(untyped)} ({len(untyped) / total:.1%})", untyped),
        ("reads of a specification by key", str(len(reads := key_reads(tree))), reads),
        (f"functions over {LONG} lines", f"{len(long)} ({len(long) / total:.1%}){longest}", long),
        ("import circles", str(len(circles := import_circles(tree))), circles),
        ("imports against the layers", str(len(arrows := arrows_up(tree))), arrows),
        ("functions that rename a file", str(len(writes := atomic_writes(tree))), writes),
        ("functions that import by dotted path", str(len(dotted := dotted_imports(tree))), dotted),
        ("functions that word validation errors", str(len(worded := error_sentences(tree))), worded),
        ("errors of mypy --strict", "–" if errors is None else str(errors), []),
    ]
    print(title)
    for name, figure, places in rows:
        print(f"  {name:40}{figure}")
        for place in places if every else []:
            print(f"      {place if isinstance(place, str) else f'{place.place}  {place.what}'}")


def main() -> None:
    """Print the figures of the working tree and of each commit that is named."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("commits", nargs="*", help="commits, branches or tags to print as well")
    options.add_argument("--mypy", default=shutil.which("mypy"), help="the mypy to ask; left out where there is none")
    options.add_argument("--every", action="store_true", help="print where each thing stands, too")
    asked = options.parse_args()
    report(ROOT, "working tree", asked.mypy, asked.every)
    for commit in asked.commits:
        with tempfile.TemporaryDirectory(prefix="structure-") as temporary:
            archive = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=True).stdout
            subprocess.run(["tar", "-x", "-C", temporary], input=archive, check=True)
            report(Path(temporary), commit, asked.mypy, asked.every)


if __name__ == "__main__":
    main()
