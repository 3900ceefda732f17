"""Digests of large files, remembered with what their file system says of them, so that 30 GB are read once.

An entry counts while the file has the inode, size, and dates of content and of change that it had when it was hashed:
whoever edits a file moves the last of these, which no program can set back. What a disk corrupts by itself moves none;
``dira-bench verify`` reads every byte all the same.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from harness.identity import file_sha256
from harness.spec import Frozen
from harness.whole_files import append_line

LARGE = 1 << 26  # bytes below which a file is hashed anew each time: it takes no time
LEDGER = "hashed.jsonl"


class Hashed(Frozen):
    """A file as it was when it was hashed; dates are in nanoseconds."""

    path: str
    inode: int
    size: int
    modified: int
    changed: int
    sha256: str = ""


_here: dict[Hashed, str] = {}  # what this process hashed: the work that wrote a file and the store that keeps it agree


def sha256_once(path: Path) -> str:
    """Return the SHA-256 of a file, which is read once in this process unless it changes."""
    before = _looked_at(path)
    if before.size < LARGE:
        return file_sha256(path)
    if before not in _here:
        found = file_sha256(path)
        if _looked_at(path) != before:  # written to meanwhile: whatever was read is not what is there
            return found
        _here[before] = found
    return _here[before]


class HashedFiles:
    """What earlier processes hashed: a cache that may be deleted at any time.

    Args:
        folder: Where its ledger lies.
    """

    def __init__(self, folder: Path) -> None:
        self._ledger = folder / LEDGER
        self._known: dict[Hashed, str] | None = None

    def sha256(self, path: Path) -> str:
        """Return the SHA-256 of a file, of which a large one is read only if it is not as it was.

        Raises:
            OSError: If it cannot be read.
        """
        before = _looked_at(path)
        if before.size < LARGE:
            return file_sha256(path)
        if self._known is None:
            self._known = dict(self._lines())
        if before not in self._known:
            found = sha256_once(path)
            if _looked_at(path) != before:
                return found
            self._remember(before, found)
        return self._known[before]

    def remember(self, path: Path, sha256: str) -> None:
        """Note the SHA-256 of a file that was hashed just now."""
        with contextlib.suppress(OSError):  # only a cache
            found = _looked_at(path)
            if found.size >= LARGE:
                self._remember(found, sha256)

    def _remember(self, found: Hashed, sha256: str) -> None:
        if self._known is not None:
            self._known[found] = sha256
        with contextlib.suppress(OSError):
            self._ledger.parent.mkdir(parents=True, exist_ok=True)
            append_line(self._ledger, found.model_copy(update={"sha256": sha256}).model_dump_json().encode())

    def _lines(self) -> Iterator[tuple[Hashed, str]]:
        try:
            lines = self._ledger.read_bytes().splitlines()
        except OSError:
            return
        for line in lines:
            with contextlib.suppress(ValidationError):  # cut short by a crash
                entry = Hashed.model_validate_json(line)
                yield entry.model_copy(update={"sha256": ""}), entry.sha256


def _looked_at(path: Path) -> Hashed:
    status = path.stat()
    return Hashed(
        path=os.path.realpath(path),
        inode=status.st_ino,
        size=status.st_size,
        modified=status.st_mtime_ns,
        changed=status.st_ctime_ns,
    )
