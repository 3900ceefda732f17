"""Why a run from scratch may give other numbers: images that differ, and facts of the machine that do.

Both are read from two folders of results: what was committed, and what stands there now.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

IDLE = ("git", "host", "workers")  # they change no number, or are told elsewhere
NOT_RECORDED = "not recorded"


def image_differences(before: Path, after: Path) -> dict[str, str]:
    """Compare the digests in the manifests of the cohorts that both folders hold ready, under one id.

    Args:
        before: A profile's folder of results, as committed.
        after: The same folder now.

    Returns:
        Task → which of its files differ, with the beginnings of both digests.
    """
    found = {}
    for path in sorted((before / "cohorts").glob("*.json")):
        old, new = _object(path), _object(after / "cohorts" / path.name)
        if old.get("id") != new.get("id"):
            continue
        digests = [_mapping(side.get("sha256")) for side in (old, new)]
        differ = [
            f"{name} committed {str(digests[0][name])[:8]}…, now {str(digests[1][name])[:8]}…"
            for name in sorted(digests[0].keys() & digests[1].keys())
            if digests[0][name] != digests[1][name]
        ]
        if differ:
            found[path.stem] = "; ".join(differ)
    return found


def machine_differences(before: Path, after: Path) -> list[str]:
    """Compare the facts that ``provenance/environments.json`` of both folders gives of machines and libraries.

    Returns:
        A sentence a fact whose values differ: its name, what was committed, and what is there now.
    """
    old, new = (_facts(folder / "provenance" / "environments.json") for folder in (before, after))
    names = sorted(old.keys() | new.keys()) if old and new else []
    return [
        f"{name}: committed {_told(old.get(name))}, now {_told(new.get(name))}"
        for name in names
        if old.get(name) != new.get(name)
    ]


def _facts(path: Path) -> dict[str, set[str]]:
    """Return each fact of any environment in a file, with all values it has."""
    found: dict[str, set[str]] = {}
    for environment in _object(path).values():
        for name, value in _flat(_mapping(environment)):
            found.setdefault(name, set()).add(value)
    return found


def _flat(facts: Mapping[str, object], before: str = "") -> Iterator[tuple[str, str]]:
    for name, value in facts.items():
        if before or name not in IDLE:
            if isinstance(value, Mapping):
                yield from _flat(value, f"{before}{name}.")
            else:
                yield before + name, str(value)


def _told(values: set[str] | None) -> str:
    return " and ".join(sorted(values)) if values else NOT_RECORDED


def _object(path: Path) -> Mapping[str, object]:
    try:
        return _mapping(json.loads(path.read_bytes()))
    except (OSError, ValueError):
        return {}


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}
