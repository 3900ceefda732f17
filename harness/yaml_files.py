"""Reading YAML files: one sentence for whatever is wrong, and a key given twice is refused.

DVC reads the same files by YAML 1.2, PyYAML by 1.1. A plain scalar means the same to both here, or it is refused: 010
is 8 to one and 10 to the other, ``no`` is false to one and text to the other. The numbers that only 1.2 knows, such as
5e-2, are read as numbers, because nobody means text by them.
"""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import yaml

from harness.errors import ConfigurationError

if TYPE_CHECKING:
    from yaml import SafeLoader as FastLoader
else:  # libyaml reads dvc.lock some ten times faster; a PyYAML built without it reads the same
    FastLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

ARCHITECTURE = "docs/architecture.md"  # the page of most files here


DEEPEST = 50  # lists and mappings within each other; our files have eight


# What YAML 1.1 and 1.2 read differently: a leading zero, 0o10, 0b1, 1_000, 1:30, 2022-06-19, yes, no, on, off
# and "="; and .5e2, a number by YAML 1.2 that DVC's reader takes for text.
DISPUTED = re.compile(
    r"""[-+]?(?:0[0-9_]+|0[ob][0-9_]+|0x[0-9a-fA-F]*_[0-9a-fA-F_]*)$
    |[-+]?[0-9.]*_[0-9_.]*(?:[eE][-+]?[0-9]+)?$
    |[-+]?\.[0-9]+[eE][0-9]+$
    |[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?$
    |[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt\ ].*)?$
    |(?:yes|Yes|YES|no|No|NO|on|On|ON|off|Off|OFF|=)$""",
    re.VERBOSE,
)
NUMBER = re.compile(r"[-+]?(?:(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+)$")  # of YAML 1.2
DISPUTED_TAG = "!disputed"


class _Loader(FastLoader):
    """YAML that refuses a key given twice and names the line of each, and a scalar on which YAML 1.1 and 1.2 differ."""

    yaml_implicit_resolvers = {  # the first that fits wins  # noqa: RUF012
        first: [
            (DISPUTED_TAG, DISPUTED),
            ("tag:yaml.org,2002:float", NUMBER),
            *FastLoader.yaml_implicit_resolvers.get(first, []),
        ]
        for first in {*FastLoader.yaml_implicit_resolvers, *"-+.0123456789yYnNoO="}
    }
    depth = 0

    def descend_resolver(self, current_node: yaml.Node | None, current_index: object) -> None:
        """Refuse nesting that no file of ours has before a recursive reader meets it: libyaml ends the process there.

        Every node is announced here on its way in, and in ``ascend_resolver`` on its way out.
        """
        self.depth += 1
        if self.depth > DEEPEST + 1 and current_node is not None:  # the innermost may be a scalar
            mark = current_node.start_mark
            raise ConfigurationError(
                f"{mark.name} is nested more than {DEEPEST} deep in line {mark.line + 1}; expected a few levels; see "
                "docs/architecture.md."
            )

    def ascend_resolver(self) -> None:
        """Leave a node."""
        self.depth -= 1


def _disputed(loader: _Loader, node: yaml.ScalarNode) -> Any:
    raise ConfigurationError(
        f"{node.start_mark.name}, line {node.start_mark.line + 1}: found {node.value}, which YAML 1.1 and 1.2 read "
        "differently, so DVC and dira-bench might; expected one meaning; write a number in plain decimals, true or "
        "false, or text in quotes."
    )


_Loader.add_constructor(DISPUTED_TAG, _disputed)


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[str, Any]:
    lines: dict[Any, int] = {}
    for key_node, _ in node.value:
        if key_node.tag == "tag:yaml.org,2002:merge":
            continue
        key = loader.construct_object(key_node, deep=True)
        line = key_node.start_mark.line + 1
        if key in lines:
            raise ConfigurationError(
                f'"{key}" stands twice in {key_node.start_mark.name}, in line {lines[key]} and in line {line}; '
                "expected one entry of that name; remove or rename one."
            )
        lines[key] = line
    return cast("dict[str, Any]", loader.construct_mapping(node, deep=True))


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def _named(text: str, path: Path) -> io.StringIO:
    """Return text as a stream that has the file's name, which the reader's marks repeat."""
    stream = io.StringIO(text)
    stream.name = str(path)
    return stream


def load_yaml(path: Path, see: str = ARCHITECTURE) -> dict[str, Any]:
    """Read a YAML mapping.

    Args:
        path: The file.
        see: The page that says what such a file holds.

    Raises:
        ConfigurationError: If the file is missing, unreadable, no YAML or no mapping, or if it holds a key twice or a
            scalar on which YAML 1.1 and 1.2 differ.
    """
    return _parsed(path, see)[0]


def load_with_lines(path: Path, top: str) -> tuple[dict[str, Any], dict[str, int]]:
    """Read a YAML mapping, and the line, from 1, on which each entry under the key ``top`` begins.

    Raises:
        ConfigurationError: As ``load_yaml`` does.
    """
    loaded, node = _parsed(path)
    return loaded, {name.value: name.start_mark.line + 1 for name, _ in _below(node, top)}


def _parsed(path: Path, see: str = ARCHITECTURE) -> tuple[dict[str, Any], yaml.MappingNode]:
    """Parse a file once: return what it says, and the nodes that know where it says it."""
    node: yaml.Node | None = None
    loaded: object = None
    try:
        loader = _Loader(_named(path.read_text(encoding="utf-8"), path))
        try:
            node = loader.get_single_node()
            loaded = None if node is None else loader.construct_document(node)
        finally:
            loader.dispose()
    except FileNotFoundError:
        raise ConfigurationError(f"no file {path}; expected a YAML mapping; restore it from version control.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read ({error}); expected a YAML mapping; restore it.") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "the file"
        problem = getattr(error, "problem", None) or str(error)
        raise ConfigurationError(f"{path} is not YAML: {problem} in {where}; correct that line.") from None
    except (ValueError, TypeError) as error:  # a date that there is none, a number of 5,000 digits, a list as a key
        raise ConfigurationError(
            f"{path} holds a value that cannot be read ({error}); expected plain text, numbers, lists and mappings; "
            "write it in quotes or correct it."
        ) from None
    if not isinstance(loaded, dict) or not isinstance(node, yaml.MappingNode):
        raise ConfigurationError(f"{path} holds {type(loaded).__name__}; expected a mapping; see {see}.")
    return loaded, node


def read_otherwise(text: str) -> str:
    """Say as what YAML reads a plain text that it does not read as that text, as ``null`` and ``2024``; else "".

    Such a text has to stand in quotes wherever a file names it, and somebody will forget them.
    """
    try:
        loaded = yaml.load(text, Loader=_Loader)
    except ConfigurationError:
        return "one thing by YAML 1.1 and another by YAML 1.2"
    except (yaml.YAMLError, ValueError):
        return "no text"
    kinds = {bool: "true or false", int: "a number", float: "a number", type(None): "nothing"}
    return "" if loaded == text else kinds.get(type(loaded), "no text")


def load_with_item_lines(path: Path, top: str) -> tuple[dict[str, Any], dict[str, list[int]]]:
    """Read a YAML mapping; return also key under ``top`` → the line, from 1, of it and of each item of its list.

    Raises:
        ConfigurationError: As ``load_yaml`` does.
    """
    loaded, node = _parsed(path)
    return loaded, {name.value: [name.start_mark.line + 1, *_starts(items)] for name, items in _below(node, top)}


def _below(node: yaml.MappingNode, top: str) -> list[tuple[yaml.Node, yaml.Node]]:
    """Return the nodes of the mapping under a key, names with values; none if there is no such mapping."""
    found = (value for key, value in node.value if key.value == top)
    below = next(found, None)
    return below.value if isinstance(below, yaml.MappingNode) else []


def _starts(node: yaml.Node) -> list[int]:
    return [item.start_mark.line + 1 for item in node.value] if isinstance(node, yaml.SequenceNode) else []
