"""``clean``: name what stays behind after an entry was removed, and take it away when told to."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.session import console, open_session, shown
from harness.errors import many
from harness.results import orphans


def clean(
    yes: Annotated[bool, typer.Option("--yes", help="Remove what is listed; without it nothing is removed.")] = False,
) -> None:
    """List results files of entries and profiles that are no longer registered; with --yes remove them.

    With --yes, leftovers of killed runs in the store (half-written files, empty folders) go as well, as in each run.
    """
    session = open_session()
    if yes and (swept := session.store.sweep()):
        console.print(f"swept {many(swept, 'leftover')} of ended runs out of the store")
    found = orphans(session.root, session.whole_registry)
    tracked = _tracked(session.root, [orphan.path for orphan in found])
    for orphan in found:
        name = orphan.path.relative_to(session.root).as_posix()
        note = ", tracked by git" if orphan.path in tracked else ""
        console.print(f"{'removed' if yes else 'orphan'}  {shown(name)}  ({shown(orphan.reason)}{note})")
        if yes:
            _remove(orphan.path)
    if not found:
        console.print("no orphan under results/: no file there is of an entry or a profile that was removed.")
    elif yes:
        console.print(f"{len(found)} removed; those that git tracks come back with git checkout.")
    else:
        console.print(f'{len(found)} to remove; "dira-bench clean --yes" removes them.')


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _tracked(root: Path, paths: list[Path]) -> set[Path]:
    """Return those of the paths that git tracks, or that hold something it tracks; none without git."""
    if not paths:
        return set()
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--", *(path.relative_to(root).as_posix() for path in paths)],
            cwd=root, capture_output=True, text=True, check=False,
        )  # fmt: skip
    except OSError:
        return set()
    known = [root / name for name in listed.stdout.split("\0") if name]
    return {path for path in paths if any(path == one or path in one.parents for one in known)}
