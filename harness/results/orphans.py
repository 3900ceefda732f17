"""Results files of entries that no registry holds any more."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.registry import Entries, Registry
from harness.spec import MethodEntry, TaskEntry
from harness.whole_files import is_temporary

OF_METHODS = {
    "trials": ".csv", "resamples": ".npz", "localization": ".npz", "pretraining": ".json", "curves": ".csv",
    "provenance": ".csv",
}  # fmt: skip
OF_TASKS = {"cohorts": ".json"}
NO_PROFILE = frozenset({"published"})


@dataclass(frozen=True)
class Orphan:
    """A file or folder under ``results/`` that nothing planned can fill, and why."""

    path: Path
    reason: str


def orphans(root: Path, registry: Registry) -> list[Orphan]:
    """List what stays behind under ``results/`` after an entry or a profile was removed, and half-written files.

    An entry that is unavailable is still an entry: its files stay.
    """
    found: list[Orphan] = []
    for folder in _folders(root / "results"):
        if folder.name in NO_PROFILE:
            continue
        if folder.name not in registry.profiles:
            found.append(
                Orphan(folder, f'no profile "{folder.name}" is in methods/profiles.yaml and tasks/profiles.yaml')
            )
            continue
        for kind, names, parts in (
            ("method", _known(registry.methods), OF_METHODS),
            ("task", _known(registry.tasks), OF_TASKS),
        ):
            for part, suffix in parts.items():
                found += _strangers(folder / part, suffix, kind, names)
    return found


def _known(entries: Entries[MethodEntry] | Entries[TaskEntry]) -> set[str]:
    return {*entries.by_name, *(broken.name for broken in entries.broken)}


def _strangers(folder: Path, suffix: str, kind: str, names: Collection[str]) -> Iterator[Orphan]:
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if is_temporary(path.name):
            yield Orphan(path, "a file that was never written to its end")
        elif path.suffix == suffix and not path.name.startswith(".") and path.stem not in names:
            yield Orphan(path, f'no {kind} "{path.stem}" is registered')


def _folders(folder: Path) -> list[Path]:
    return sorted(
        path for path in folder.iterdir() if (path.is_dir() or path.is_symlink()) and not path.name.startswith(".")
    )
