"""Committed results files that ``dvc.lock`` vouches for, and the copies the store keeps of them.

A results file is trusted if its MD5 is the one ``dvc.lock`` has for it. Whatever is run afterwards rewrites the file
while the lock still names the old one, so a trusted file is copied to ``.trials/adopted/<profile>/…`` before it is
replaced. A copy is named by its MD5 and checked on use, so it vouches for nothing that the lock does not.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from harness.store.files import write_whole, writing
from harness.yaml_files import load_yaml


def locked_digests(root: Path) -> Mapping[str, str]:
    """Return path → MD5 of every output that ``dvc.lock`` records."""
    lock = root / "dvc.lock"
    try:
        return _outputs(lock, _md5(lock.read_bytes()))
    except FileNotFoundError:
        return {}


@functools.lru_cache(maxsize=1)
def _outputs(lock: Path, state: str) -> Mapping[str, str]:
    """Read the lock once a ``state``, the MD5 of its bytes."""
    stages = load_yaml(lock).get("stages") or {}
    return {
        out["path"]: out.get("md5", "")
        for stage in stages.values()
        for out in stage.get("outs", [])
        if isinstance(out, dict) and "path" in out
    }


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _copy(root: Path, name: str, digest: str) -> Path:
    path = Path(name).relative_to("results")
    return root / ".trials" / "adopted" / path.with_name(f"{path.stem}-{digest}{path.suffix}")


def trusted(root: Path, path: Path) -> bytes | None:
    """Return what ``dvc.lock`` says a results file holds: from its place, else from the store's copy, else None."""
    name = path.relative_to(root).as_posix()
    expected = locked_digests(root).get(name)
    if not expected:
        return None
    for place in (path, _copy(root, name, expected)):
        with contextlib.suppress(OSError):
            content = place.read_bytes()
            if _md5(content) == expected:
                return content
    return None


def distrust(root: Path, path: Path) -> str | None:
    """Say what is wrong with a file that ``trusted`` does not return; None if the lock does not know it."""
    name = path.relative_to(root).as_posix()
    if name not in locked_digests(root):
        return None
    return f"{name} is not what dvc.lock says" if path.is_file() else f"{name} is absent although dvc.lock has it"


def keep(root: Path, path: Path) -> None:
    """Copy a results file that is what ``dvc.lock`` says into the store, before it is replaced.

    Raises:
        StoreError: If the copy cannot be written.
    """
    name = path.relative_to(root).as_posix()
    expected = locked_digests(root).get(name)
    if not expected or not path.is_file():
        return
    copy = _copy(root, name, expected)
    content = path.read_bytes()
    if _md5(content) != expected or (copy.is_file() and _md5(copy.read_bytes()) == expected):
        return
    with writing(copy):
        copy.parent.mkdir(parents=True, exist_ok=True)
        write_whole(copy, content)


@contextlib.contextmanager
def assembling(root: Path) -> Iterator[None]:
    """Let one process at a time bring results files up to date, so that the last one has seen what all have left.

    The kernel frees the lock when its process ends, however that ends. A file system without locks goes without.
    """
    path = root / ".trials" / "results.lock"
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = path.open("a")
    with stream:
        with contextlib.suppress(OSError):
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield
