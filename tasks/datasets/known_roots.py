"""What a large data root was found to hold, remembered while every file below it is as it was.

To look at the names, sizes and dates of 112,120 files takes a tenth of what an adapter needs to make sense of them. So
a fact that depends on nothing else is kept in the user's cache folder (``XDG_CACHE_HOME``), and asked for again as soon
as a file is added, removed, resized or written to. ``dira-bench data verify`` forgets what is kept and asks anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.identity import digest
from harness.whole_files import write_whole
from tasks.layouts.adapter import Adapter
from tasks.specs import CohortConfiguration

MANY = 1000  # files below which asking is as quick
SETTLED = 2_000_000_000  # nanoseconds that must lie between the last change of a file and our look at it


@dataclass(frozen=True)
class Seen:
    """A data root as it lay on the disk.

    Attributes:
        stamp: Digest of every path, size and date of change below it.
        files: How many files.
        newest: The latest of these dates, in nanoseconds since the epoch.
    """

    stamp: str
    files: int
    newest: int


def look_at(root: Path) -> Seen:
    """Look at everything below a folder without opening a file; links are followed, a folder is looked into once."""
    whole, files, newest = hashlib.blake2b(digest_size=16), 0, 0
    waiting, entered = [os.fspath(root)], set[tuple[int, int]]()
    while waiting:
        folder = waiting.pop()
        status = os.stat(folder)  # noqa: PTH116
        if (status.st_dev, status.st_ino) in entered:
            continue
        entered.add((status.st_dev, status.st_ino))
        with os.scandir(folder) as entries:
            lines, below = [], []
            for entry in entries:
                try:
                    if entry.is_dir():
                        below.append(entry.path)
                        lines.append(f"{entry.name}/")
                        continue
                    found = entry.stat()
                except OSError:  # a dangling link, which adapters pass over
                    lines.append(f"{entry.name}?")
                    continue
                changed = max(found.st_mtime_ns, found.st_ctime_ns)
                newest, files = max(newest, changed), files + 1
                lines.append(f"{entry.name} {found.st_size} {found.st_mtime_ns} {found.st_ctime_ns} {found.st_ino}")
        waiting += sorted(below)  # these alone: whatever waits already comes before them
        whole.update("\0".join([os.path.relpath(folder, root), *sorted(lines), ""]).encode(errors="surrogateescape"))
    return Seen(whole.hexdigest(), files, newest)


def fingerprint(adapter: Adapter, root: Path, options: Mapping[str, object] | None) -> str:
    """Return ``adapter.fingerprint(root)``, remembered.

    Args:
        adapter: Of the data set.
        root: The data root.
        options: Those of the adapter.

    Raises:
        DataError: As the adapter says.
    """
    return remembered(root, adapter, {"options": dict(options or {})}, lambda: adapter.fingerprint(root))


def remembered(root: Path, adapter: Adapter, about: Mapping[str, object], ask: Callable[[], str]) -> str:
    """Return what ``ask`` says of a data root, from the cache where nothing below the root has changed since.

    Args:
        root: The data root.
        adapter: What reads it; an edit of its module asks anew.
        about: What else the answer depends on, as JSON values.
        ask: Finds the answer.
    """
    try:
        seen = look_at(root)
    except OSError:
        return ask()
    if seen.files < MANY:
        return ask()
    path = _folder() / digest([os.path.realpath(root), adapter.name, _written(adapter), dict(about)])
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        known = json.loads(path.read_text())
        if known["stamp"] == seen.stamp:
            return str(known["answer"])
    answer = ask()
    if seen.newest + SETTLED < time.time_ns():  # else a change in the same instant would not show
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, json.dumps({"stamp": seen.stamp, "answer": answer}).encode(), durable=False)
    return answer


def forget() -> None:
    """Remove whatever is remembered."""
    with contextlib.suppress(OSError):
        for path in _folder().iterdir():
            path.unlink(missing_ok=True)


def about_cohort(cohort: CohortConfiguration) -> dict[str, object]:
    """Return what the cases of a cohort depend on besides the files."""
    return {"cohort": cohort.model_copy(update={"fingerprint": None, "stamp": None}).dump()}


def _folder() -> Path:
    given = os.environ.get("XDG_CACHE_HOME")
    return (Path(given) if given else Path.home() / ".cache") / "dira-bench" / "roots"


def _written(adapter: Adapter) -> list[object]:
    """Say which code an adapter is, so that an edit of it is noticed."""
    try:
        path = Path(inspect.getfile(type(adapter)))
        return [type(adapter).__qualname__, path.name, path.stat().st_mtime_ns]
    except (OSError, TypeError):
        return [type(adapter).__qualname__]
