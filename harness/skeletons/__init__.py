"""Commented beginnings of a method, a task and a metric of one's own: ``dira-bench new``.

A skeleton is whole: its entry passes ``dira-bench check`` as it is written. Files go to ``methods/own`` and
``tasks/own``, which this repository keeps empty, so that an update never meets them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Literal

from harness.errors import ConfigurationError
from harness.registry import load_registry
from harness.spec import KEY
from harness.whole_files import write_whole

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
    words = {"name": name, "class": "".join(word.title() for word in name.split("_")), "label": _label(name)}
    folder = root / skeleton.folder
    modules = {folder / _filled(path, words): _template(template, words) for path, template in skeleton.modules.items()}
    taken = [path for path in modules if path.exists()]
    if taken:
        raise ConfigurationError(f"{taken[0]} exists already; expected a new name; choose another or remove the file.")
    folder.mkdir(exist_ok=True)
    if not (folder / "__init__.py").exists():
        modules = {folder / "__init__.py": '"""Code of your own."""\n', **modules}
    for path, text in modules.items():
        write_whole(path, text.encode())
    written = list(modules)
    if skeleton.registry:
        registry = root / skeleton.registry
        before = registry.read_text(encoding="utf-8")
        write_whole(registry, f"{before.rstrip()}\n{_template(skeleton.entry, words)}".encode())
        written.append(registry)
    return written


def _check_name(root: Path, kind: Kind, name: str) -> None:
    if not re.fullmatch(KEY, name) or not name[0].isalpha():
        raise ConfigurationError(
            f'"{name[:60]}" is no name of a {kind}; expected a small letter, then small letters, digits and "_"; '
            "choose another."
        )
    if kind == "metric":
        return
    entries = getattr(load_registry(root), f"{kind}s")
    if name in {*entries.by_name, *entries.elsewhere, *(broken.name for broken in entries.broken)}:
        raise ConfigurationError(f'the {kind} "{name}" is registered already; expected a new name; choose another.')


def _label(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _template(name: str, words: Mapping[str, str]) -> str:
    return _filled((files(__name__) / name).read_text(encoding="utf-8"), words)


def _filled(text: str, words: Mapping[str, str]) -> str:
    return Template(text).substitute(words)
