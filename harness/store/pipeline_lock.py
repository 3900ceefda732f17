"""What ``dvc.lock`` says: digests of the outputs of the pipeline's stages, and of what they depend on.

An output may be a file, or a folder whose digest is over its files' (``folder_digest``). The lock names no file of a
folder. But the last stage depends on ``SHA256SUMS``, so the lock vouches for that list, and the list for each file.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, Field, ValidationError

from harness.errors import StoreError
from harness.store.files import content_of
from harness.typed import sentences
from harness.yaml_files import load_yaml

LOCK = "dvc.lock"


@dataclass(frozen=True)
class Lock:
    """Path, relative to the project → MD5, of everything that the stages wrote and depend on.

    Attributes:
        outs: Of outputs; that of a folder ends in ``.dir``.
        deps: Of dependencies.
    """

    outs: Mapping[str, str] = field(default_factory=dict)
    deps: Mapping[str, str] = field(default_factory=dict)


class _Digested(BaseModel):
    path: str
    md5: str = ""


class _Stage(BaseModel):
    outs: list[_Digested] = Field(default_factory=list)
    deps: list[_Digested] = Field(default_factory=list)


class _LockFile(BaseModel):
    stages: dict[str, _Stage] = Field(default_factory=dict)


def read_lock(root: Path) -> Lock:
    """Read ``dvc.lock``; one without an entry if there is none.

    Raises:
        ConfigurationError: If it is no YAML.
        StoreError: If it cannot be read, holds merge markers, or is no lock.
    """
    content = content_of(root / LOCK)
    return Lock() if content is None else _parse(root / LOCK, content)


@functools.lru_cache(maxsize=4)
def _parse(path: Path, content: bytes) -> Lock:
    advice = f'restore it with git ("git checkout HEAD -- {LOCK}"), then run "dvc repro"'
    if b"\n<<<<<<< " in b"\n" + content:
        raise StoreError(f"{path} holds the marks of a merge that was not finished; expected one lock; {advice}.")
    try:
        found = _LockFile.model_validate({key: value or {} for key, value in load_yaml(path).items()})
    except ValidationError as error:
        found_there = sentences(error, _LockFile)[0].rstrip(".")
        raise StoreError(f"{path} is no lock of DVC ({found_there}); {advice}.") from None
    stages = found.stages.values()
    return Lock(
        {out.path: out.md5 for stage in stages for out in stage.outs},
        {dep.path: dep.md5 for stage in stages for dep in stage.deps},
    )


def locked_listing(folder: Path, digest: str) -> Mapping[str, str] | None:
    """Return name → MD5 of the files of a folder, if they are those that a digest of the lock is over; else None.

    Once found, a listing belongs to its digest whatever happens to the files.
    """
    if (folder, digest) not in _LISTINGS:
        listing = _listing(folder)
        if folder_digest(listing) != digest:
            return None
        _LISTINGS[folder, digest] = listing
    return _LISTINGS[folder, digest]


_LISTINGS: dict[tuple[Path, str], Mapping[str, str]] = {}


def _listing(folder: Path) -> dict[str, str]:
    """Read the files of a folder. Names that begin with a dot are being written; ``.dvcignore`` leaves them out."""
    files = sorted(path for path in folder.iterdir() if not path.name.startswith(".")) if folder.is_dir() else []
    return {path.name: md5_of(content_of(path) or b"") for path in files if path.is_file()}


def folder_digest(listing: Mapping[str, str]) -> str:
    """Return the digest that DVC gives a folder: the MD5 of the JSON list of its files' MD5s, sorted by name."""
    listed = [{"md5": md5, "relpath": name} for name, md5 in sorted(listing.items())]
    return f"{md5_of(json.dumps(listed).encode())}.dir"


def md5_of(content: bytes) -> str:
    """Return the MD5 of bytes, as DVC writes it."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
