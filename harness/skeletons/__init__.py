"""Commented beginnings of a method, a task and a metric of one's own: ``dira-bench new``.

A skeleton is whole: its entry passes ``dira-bench check`` as it is written. Files go to ``methods/own`` and
``tasks/own``, which this repository keeps empty, so that an update never meets them.
"""

from __future__ import annotations

import keyword
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Literal

import yaml

from harness.errors import ConfigurationError
from harness.metrics.registered import KNOWN
from harness.registry import Entries, load_registry
from harness.spec import KEY, LONGEST_NAME, MethodEntry, TaskEntry
from harness.whole_files import write_whole
from harness.yaml_files import read_otherwise

Kind = Literal["method", "task", "metric"]


@dataclass(frozen=True)
class _Skeleton:
    """What is written for a kind of entry.

    Attributes:
        folder: Of its modules.
        modules: File name → template.
        registry, entry: Registry and template of the entry; empty where a line of somebody else's entry names it.
    """

    folder: str
    modules: Mapping[str, str]
    registry: str = ""
    entry: str = ""


SKELETONS: Mapping[Kind, _Skeleton] = {
    "method": _Skeleton(
        "methods/own",
        {"$name.py": "term.py.txt", "bound_$name.py": "bound_term.py.txt"},
        "methods/registry.yaml",
        "method.yaml.txt",
    ),
    "task": _Skeleton(
        "tasks/own",
        {"$name.py": "adapter.py.txt", "${name}_phantom.py": "phantom.py.txt"},
        "tasks/registry.yaml",
        "task.yaml.txt",
    ),
    "metric": _Skeleton("tasks/own", {"$name.py": "metric.py.txt"}),
}


def write_skeleton(root: Path, kind: Kind, name: str) -> list[Path]:
    """Write the files of a new entry, and the entry at the end of its registry.

    Args:
        root: Project folder.
        kind: ``method``, ``task`` or ``metric``.
        name: Of the entry: ``[a-z][a-z0-9_]*``.

    Returns:
        What was written, the registry last.

    Raises:
        ConfigurationError: If the name is no name, is taken, or a file of it is there already; nothing is written.
    """
    skeleton = SKELETONS[kind]
    _check_name(root, kind, name)
    words = {"name": name, "class": _class(skeleton, name), "label": _label(root, kind, name)}
    folder = root / skeleton.folder
    modules = {folder / _filled(path, words): _template(template, words) for path, template in skeleton.modules.items()}
    entered = _entered(root, kind, name, words)
    taken = [path for path in modules if path.exists()]
    if taken:
        raise ConfigurationError(f"{taken[0]} exists already; expected a new name; choose another or remove the file.")
    folder.mkdir(exist_ok=True)
    if not (folder / "__init__.py").exists():
        modules = {folder / "__init__.py": '"""Code of your own."""\n', **modules}
    for path, text in modules.items():
        write_whole(path, text.encode())
    for path, text in entered.items():
        write_whole(path, text.encode())
    return [*modules, *entered]


def _entered(root: Path, kind: Kind, name: str, words: Mapping[str, str]) -> dict[Path, str]:
    """Return the registry with the new entry at its end; nothing of a kind that has none.

    Raises:
        ConfigurationError: If the end of the file is not where the entries are.
    """
    skeleton = SKELETONS[kind]
    if not skeleton.registry:
        return {}
    path = root / skeleton.registry
    text = f"{path.read_text(encoding='utf-8').rstrip()}\n{_template(skeleton.entry, words)}"
    try:
        entries = yaml.safe_load(text)[f"{kind}s"]
        whole = isinstance(entries[name], dict) and len(entries) > 1
    except (yaml.YAMLError, KeyError, TypeError):
        whole = False
    if not whole:
        raise ConfigurationError(
            f'{path} does not end with the entries of "{kind}s:", indented by two blanks, where one could be added; '
            f"put them at its end, or write the entry by hand (docs/adding-a-{kind}.md)."
        )
    return {path: text}


def _class(skeleton: _Skeleton, name: str) -> str:
    """Return a class's name that no line of the skeleton means something else by."""
    made = "".join(word.title() for word in name.split("_"))
    source = " ".join(_read(template) for template in skeleton.modules.values())
    taken = set(re.findall(r"\w+", source))
    return f"Own{made}" if {made, f"Bound{made}"} & taken else made


def _check_name(root: Path, kind: Kind, name: str) -> None:
    if not re.fullmatch(KEY, name) or not name[0].isalpha() or len(name) > LONGEST_NAME:
        raise ConfigurationError(
            f'"{name[:60]}" is no name of a {kind}; expected a small letter, then small letters, digits and "_", at '
            f"most {LONGEST_NAME} in all; choose another."
        )
    otherwise = read_otherwise(name)
    python = "a keyword" if keyword.iskeyword(name) else "a module" if name in sys.stdlib_module_names else ""
    if otherwise or python:
        why = f"YAML reads it as {otherwise}" if otherwise else f"it is {python} of Python's own"
        raise ConfigurationError(f'"{name}" is no name of a {kind}: {why}; expected another name; choose one.')
    if name in (KNOWN if kind == "metric" else _entries(root, kind).known_names()):
        raise ConfigurationError(f'the {kind} "{name}" is registered already; expected a new name; choose another.')


def _entries(root: Path, kind: Kind) -> Entries[MethodEntry] | Entries[TaskEntry]:
    registry = load_registry(root)
    return registry.methods if kind == "method" else registry.tasks


def _label(root: Path, kind: Kind, name: str) -> str:
    """Return a label that no other entry has, as a reader tells labels apart."""
    label = " ".join(word for word in name.split("_") if word).capitalize()
    taken = set() if kind == "metric" else {entry.label.casefold() for entry in _entries(root, kind)}
    return label if label.casefold() not in taken else f"{label} ({name})"


def _template(name: str, words: Mapping[str, str]) -> str:
    return _filled(_read(name), words)


def _read(name: str) -> str:
    return (files(__name__) / name).read_text(encoding="utf-8")


def _filled(text: str, words: Mapping[str, str]) -> str:
    return Template(text).substitute(words)
