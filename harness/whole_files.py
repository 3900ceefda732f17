"""Files that are whole or absent: the one place that writes beside a path and renames over it.

A reader on this machine or another sees the old file or the new one, never half of one: a rename within a folder is one
step, on NFS too. Whoever is killed while writing leaves a file whose name ``is_temporary`` knows.
"""

from __future__ import annotations

import contextlib
import os
import re
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

TEMPORARY = re.compile(r"\.(?:new-|.+\.)[0-9a-f]{12}")  # what ``replacing`` and a lease prepare
MANY = 64  # files beyond which one sync of the machine is cheaper than one per file


def is_temporary(name: str) -> bool:
    """Say whether a name is that of a file or folder that was being prepared: a killed process leaves it behind."""
    return TEMPORARY.fullmatch(name) is not None


@contextlib.contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Give a path beside ``path`` to write to; it takes the place of ``path`` when the block ends.

    Args:
        path: What is replaced, or comes into being.
        durable: Wait until the content is on the disk.

    Yields:
        A path in the same folder that does not exist yet.

    Raises:
        OSError: As the operating system says; nothing is left behind, and ``path`` is what it was.
    """
    temporary = beside(path)
    try:
        yield temporary
        if durable:
            _sync(temporary)
        temporary.replace(path)
        if durable:
            sync_folder(path.parent)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_whole(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write a file that is never seen half-written.

    Args:
        path: Where to.
        data: All of it.
        durable: Wait until it is on the disk.

    Raises:
        OSError: As the operating system says; nothing is left behind.
    """
    with replacing(path, durable=durable) as temporary:
        temporary.write_bytes(data)


def write_new(path: Path, data: bytes) -> bool:
    """Write a file unless it is there already; who comes first wins, and the other one's file stays whole.

    Args:
        path: Where to.
        data: All of it.

    Returns:
        False if the file was there first.

    Raises:
        OSError: As the operating system says; nothing is left behind.
    """
    temporary = beside(path)
    try:
        temporary.write_bytes(data)
        _sync(temporary)
        try:
            os.link(temporary, path)  # the one step that fails if the name is taken
        except FileExistsError:
            return _linked(temporary, path)
        except OSError:  # a file system without hard links; NFS may also say so of a link that it made
            if _linked(temporary, path):
                return True
            if path.exists():
                return False
            temporary.replace(path)
        sync_folder(path.parent)
        return True
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _linked(temporary: Path, path: Path) -> bool:
    """Say whether both names are one file: NFS sends a request again, and answers "exists" to a link it has made."""
    try:
        return temporary.samefile(path)
    except OSError:
        return False


def append_line(path: Path, line: bytes) -> None:
    """Append a line and wait until it is on the disk; one that is cut short by a crash is the reader's to skip."""
    with path.open("ab") as stream:
        stream.write(line + b"\n")
        stream.flush()
        os.fsync(stream.fileno())


def beside(path: Path) -> Path:
    """Return a path in the same folder that nobody else has, by a name that ``is_temporary`` knows."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}")


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable; file systems that cannot are left as they are."""
    with contextlib.suppress(OSError):
        _sync(folder)


def sync_files(paths: Sequence[Path]) -> None:
    """Make the contents of files durable before a record vouches for them."""
    if len(paths) > MANY and hasattr(os, "sync"):
        os.sync()
        return
    for path in paths:
        _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
