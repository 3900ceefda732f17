"""Identity: canonical JSON, digests, and the digest of code without comments.

An id is the SHA-256 of canonical JSON over an explicit allowlist of what changes numbers (an item's ``spec``).
Device, host, executor, worker count, git state and library versions are recorded, never identity.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import hashlib
import json
import math
from collections.abc import Collection, Mapping
from enum import Enum
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel


def canonical(value: object) -> object:
    """Reduce a value to JSON types, keeping the qualified type name of dataclasses and models.

    ``dataclasses.asdict`` would drop class names, and two different terms without fields would share a digest.

    Raises:
        TypeError: If the value holds something with no canonical form (a path, a tensor, NaN): it is not identity.
    """
    if value is None or isinstance(value, bool | str | int):
        return value.value if isinstance(value, Enum) else value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise TypeError(f"{value!r} has no canonical form; an identity holds finite numbers only")
        return value
    if isinstance(value, BaseModel):
        fields = {name: canonical(getattr(value, name)) for name in type(value).model_fields}
        return {"type": f"{type(value).__module__}.{type(value).__qualname__}", **fields}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: canonical(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"type": f"{type(value).__module__}.{type(value).__qualname__}", **fields}
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise TypeError(f"keys {list(value)!r} are not all strings; an identity has string keys only")
        return {key: canonical(value[key]) for key in sorted(value)}
    if isinstance(value, list | tuple):
        return [canonical(item) for item in value]
    raise TypeError(f"{type(value).__qualname__} {value!r} has no canonical form")


_JSON = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)  # made once


def canonical_json(value: object) -> str:
    """Write the canonical form as JSON: sorted keys, no spaces, shortest round-trip floats.

    Example:
        >>> canonical_json({"b": 0.10, "a": [1, None]})
        '{"a":[1,null],"b":0.1}'
    """
    if type(value) is str:
        return _JSON.encode(value)
    if type(value) is int:
        return str(value)
    if _is_plain(value):
        with contextlib.suppress(ValueError):  # a number that is not finite: ``canonical`` says which
            return _JSON.encode(value)
    return _JSON.encode(canonical(value))


def _is_plain(value: object) -> bool:
    """Say whether a value is its own canonical form but for the order of keys: what a file of JSON or YAML holds."""
    unseen = [value]
    while unseen:
        one = unseen.pop()
        kind = type(one)
        if kind is dict:
            mapping = cast("dict[object, object]", one)
            if any(type(key) is not str for key in mapping):
                return False
            unseen.extend(mapping.values())
        elif kind is list or kind is tuple:
            unseen.extend(cast("list[object]", one))
        elif kind not in _SCALARS:
            return False
    return True


_SCALARS = frozenset({str, int, float, bool, type(None)})


def digest(value: object) -> str:
    """Return the SHA-256 of the canonical JSON of ``value``, 64 hexadecimal digits.

    Example:
        >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
        True
        >>> digest({"a": 1}) == digest({"a": 1.0})
        False
    """
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def item_id(kind: str, spec: Mapping[str, object]) -> str:
    """Return the id of an item: the digest of its kind and its spec and of nothing else.

    Example:
        >>> item_id("trial", {"method": "random", "repeat": 0})[:12]
        '442351d37130'
    """
    return digest({"kind": kind, "spec": spec})


class ItemIds:
    """Ids of many items of one kind whose specs differ in a few keys: what they share is written and hashed once."""

    def __init__(self, kind: str, shared: Mapping[str, str], own: Collection[str]) -> None:
        """Put together what is shared.

        Args:
            kind: Kind of the items.
            shared: Canonical JSON of the keys of the spec that all have alike.
            own: The other keys.
        """
        pieces = [""]
        for before, key in _layout(kind, tuple(shared), tuple(own)):
            pieces[-1] += before
            if key in shared:
                pieces[-1] += shared[key]
            else:
                pieces.append("")
        pieces[-1] += "}}"
        self._own = sorted(own)
        self._begun = hashlib.sha256(pieces[0].encode())
        self._rest = "".join("%s" + piece.replace("%", "%%") for piece in pieces[1:])

    def id(self, own: Mapping[str, str]) -> str:
        """Return ``item_id`` of the whole spec; ``own`` maps each key of its own to canonical JSON."""
        return self.of(*(own[key] for key in self._own))

    def of(self, *own: str) -> str:
        """Return the same of the values alone, in the order of their keys."""
        whole = self._begun.copy()
        whole.update((self._rest % own).encode())
        return whole.hexdigest()


@lru_cache(maxsize=64)  # of all trials that a plan may have, one
def _layout(kind: str, shared: tuple[str, ...], own: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Return, in the order of canonical JSON, what is written before each value of a spec, and its key."""
    keys = sorted((*shared, *own))
    first = f'{{"kind":{canonical_json(kind)},"spec":{{'
    return tuple((f"{',' if place else first}{canonical_json(key)}:", key) for place, key in enumerate(keys))


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


class _WithoutDocstrings(ast.NodeTransformer):
    def _strip(self, node: Any) -> Any:
        self.generic_visit(node)
        body = node.body
        first = body[0].value if body and isinstance(body[0], ast.Expr) else None
        if isinstance(first, ast.Constant) and isinstance(first.value, str):
            node.body = body[1:] or [ast.Pass()]
        return node

    visit_Module = visit_ClassDef = visit_FunctionDef = visit_AsyncFunctionDef = _strip  # noqa: N815


def code_digest(sources: Mapping[str, str]) -> str:
    """Return a digest of Python sources that comments, docstrings and layout do not change.

    Args:
        sources: Module name → source text. Names count: moving code between modules is an edit.

    Returns:
        The first 16 hexadecimal digits of the SHA-256 over the dumped syntax trees.
    """
    whole = hashlib.sha256()
    for name in sorted(sources):
        tree = _WithoutDocstrings().visit(ast.parse(sources[name]))
        whole.update(f"{name}\0{_dump(tree)}\0".encode())
    return whole.hexdigest()[:16]


def _dump(node: object) -> str:
    """Write a syntax tree the same way on every Python version: empty and absent fields are left out.

    ``ast.dump`` is not stable: Python 3.12 added ``type_params`` and 3.13 leaves out empty lists.
    """
    if isinstance(node, ast.AST):
        fields = []
        for name, value in ast.iter_fields(node):
            if value is None or value == [] or name in {"kind", "type_comment"}:
                continue
            fields.append(f"{name}={_dump(value)}")
        return f"{type(node).__name__}({','.join(fields)})"
    if isinstance(node, list):
        return "[" + ",".join(_dump(item) for item in node) + "]"
    return repr(node)
