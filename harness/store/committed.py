"""Whether a results file is what was written: one judgement for everything that reads or replaces one.

Three witnesses are asked about the bytes of a file under ``results/``:

* ``dvc.lock``, which has the MD5 of every output of a pipeline stage (committed);
* ``SHA256SUMS`` in the profile's folder, written together with the files (committed; ``sha256sum -c`` reads it);
* ``.trials/written.jsonl``, the bytes that this checkout wrote itself since ``dvc.lock`` was (not committed).

A file stands if this checkout wrote it, or if each committed witness that lists it agrees; it counts as edited if one
disagrees. A file that nobody lists was left by an older version, or put there by hand: nothing vouches for it, and that
is said. Whoever edits a number and both committed witnesses in one commit is found by Git's history alone.

**Adoption** asks for more: rows are reused for planned work only if ``dvc.lock`` has them. Whatever is run afterwards
rewrites the file while the lock still names the old one, so a locked file is copied to ``.trials/adopted/<profile>/…``
before it is replaced. A copy is named by its MD5 and checked on use, so it vouches for nothing that the lock does not.
A file that was edited is copied to ``.trials/replaced/…`` instead, and that is said.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, Field, ValidationError

from harness.errors import StoreError
from harness.store.files import writing
from harness.typed import sentences
from harness.whole_files import append_line, write_whole
from harness.yaml_files import load_yaml

LOGGER = logging.getLogger(__name__)
SUMS = "SHA256SUMS"
LOCK = "dvc.lock"


class Standing(StrEnum):
    """What the witnesses say of a results file."""

    VOUCHED = "vouched"
    UNKNOWN = "unknown"  # nobody lists it
    EDITED = "edited"
    ABSENT = "absent"


@dataclass(frozen=True)
class Verdict:
    """What is known of a results file.

    Attributes:
        standing: In one word.
        sentence: What is wrong with it, without an end; empty if it stands.
        content: Its bytes; None if it is absent.
        locked: It is there and is what ``dvc.lock`` says.
    """

    standing: Standing
    sentence: str = ""
    content: bytes | None = None
    locked: bool = False


def judge(root: Path, path: Path) -> Verdict:
    """Ask the witnesses about one results file.

    Raises:
        ConfigurationError: If ``dvc.lock`` cannot be read.
        StoreError: If ``SHA256SUMS`` cannot be read.
    """
    name = path.relative_to(root).as_posix()
    lock = locked_digests(root).get(name, "")
    listed = listed_sums(_sums_path(root, path)).get(_listed_name(root, path), "")
    try:
        content = _content(path)
    except StoreError as error:
        return Verdict(Standing.EDITED, f"{name} is not what was written: {error}")
    if content is None:
        has = LOCK if lock else SUMS if listed else ""
        return Verdict(Standing.ABSENT, f"{name} is absent although {has} has it" if has else "")
    sha256, locked = hashlib.sha256(content).hexdigest(), _md5(content) == lock
    if sha256 in _written(root).get(name, ()):
        return Verdict(Standing.VOUCHED, "", content, locked)
    against = [LOCK] if lock and not locked else []
    against += [SUMS] if listed and listed != sha256 else []
    if against:
        says = f"{' and '.join(against)} {'say' if len(against) > 1 else 'says'}"
        return Verdict(Standing.EDITED, f"{name} is not what {says}", content)
    return Verdict(Standing.VOUCHED if lock or listed else Standing.UNKNOWN, "", content, locked)


def standing_content(root: Path, path: Path) -> bytes | None:
    """Return the bytes of a results file unless it is absent or was edited."""
    verdict = judge(root, path)
    return None if verdict.standing is Standing.EDITED else verdict.content


def trusted(root: Path, path: Path) -> bytes | None:
    """Return what ``dvc.lock`` says a results file holds: from its place, else from the store's copy, else None."""
    name = path.relative_to(root).as_posix()
    expected = locked_digests(root).get(name)
    if not expected:
        return None
    verdict = judge(root, path)
    if verdict.locked:
        return verdict.content
    with contextlib.suppress(StoreError):  # a copy that cannot be read vouches for nothing
        copy = _content(_copy(root, "adopted", name, expected))
        return copy if copy is not None and _md5(copy) == expected else None
    return None


def replace(root: Path, path: Path, content: str | bytes) -> None:
    """Write a results file whole, and tell the witnesses; what stood there and is worth keeping is kept.

    The checkout's own list is told first and ``SHA256SUMS`` last, so that a file is vouched for whenever this ends.
    An unchanged file is left alone.

    Raises:
        StoreError: If something cannot be written.
    """
    data = content.encode() if isinstance(content, str) else content
    sha256 = hashlib.sha256(data).hexdigest()
    with _locked(root / ".trials" / "written.lock"):
        if _content(path) != data:
            keep(root, path)
        _remember(root, path.relative_to(root).as_posix(), sha256)
        with writing(path):
            if _content(path) != data:
                path.parent.mkdir(parents=True, exist_ok=True)
                write_whole(path, data)
        _list(root, path, sha256)


def keep(root: Path, path: Path) -> None:
    """Copy a results file into the store before it is replaced, unless this checkout can write it again.

    Raises:
        StoreError: If the copy cannot be written.
    """
    verdict = judge(root, path)
    own = verdict.standing is Standing.VOUCHED and not verdict.locked
    if verdict.content is None or own:
        return
    name, digest = path.relative_to(root).as_posix(), _md5(verdict.content)
    copy = _copy(root, "adopted" if verdict.locked else "replaced", name, digest)
    if _content(copy) != verdict.content:
        with writing(copy):
            copy.parent.mkdir(parents=True, exist_ok=True)
            write_whole(copy, verdict.content)
    if verdict.standing is Standing.EDITED:
        LOGGER.warning("%s; it is written anew, and was kept as %s", verdict.sentence, copy.relative_to(root))


# -------------------------------------------------------------------- dvc.lock


class _Out(BaseModel):
    path: str
    md5: str = ""


class _Stage(BaseModel):
    outs: list[_Out] = Field(default_factory=list)


class _Lock(BaseModel):
    stages: dict[str, _Stage] = Field(default_factory=dict)


def locked_digests(root: Path) -> Mapping[str, str]:
    """Return path → MD5 of every output that ``dvc.lock`` records; empty if there is none.

    Raises:
        ConfigurationError: If it is no YAML.
        StoreError: If it cannot be read, holds merge markers, or is no lock.
    """
    lock = root / LOCK
    content = _content(lock)
    return {} if content is None else _outputs(lock, _md5(content), b"\n<<<<<<< " in b"\n" + content)


@functools.lru_cache(maxsize=4)
def _outputs(lock: Path, state: str, conflict: bool) -> Mapping[str, str]:
    """Read the lock once a ``state``, the MD5 of its bytes."""
    advice = f'restore it with git ("git checkout HEAD -- {LOCK}"), then run "dvc repro"'
    if conflict:
        raise StoreError(f"{lock} holds the marks of a merge that was not finished; expected one lock; {advice}.")
    try:
        found = _Lock.model_validate({key: value or {} for key, value in load_yaml(lock).items()})
    except ValidationError as error:
        found_there = sentences(error, _Lock)[0].rstrip(".")
        raise StoreError(f"{lock} is no lock of DVC ({found_there}); {advice}.") from None
    return {out.path: out.md5 for stage in found.stages.values() for out in stage.outs}


def without_lock(root: Path) -> str:
    """Say that there is no ``dvc.lock``; empty if there is one."""
    return "" if (root / LOCK).is_file() else f"there is no {LOCK}, so no committed row is reused"


# -------------------------------------------------------------------- SHA256SUMS


def _sums_path(root: Path, path: Path) -> Path:
    """Return the list that a results file stands in: its profile's; provenance, which holds times, has its own."""
    parts = path.relative_to(root / "results").parts
    own = parts[:2] if parts[1] == "provenance" else parts[:1]
    return root.joinpath("results", *own, SUMS)


def _listed_name(root: Path, path: Path) -> str:
    return path.relative_to(_sums_path(root, path).parent).as_posix()


def listed_sums(path: Path) -> dict[str, str]:
    """Read a ``SHA256SUMS``: name, relative to its folder → SHA-256; empty if it is absent.

    Raises:
        StoreError: If a line is not a digest and a name.
    """
    content = _content(path)
    found: dict[str, str] = {}
    for number, line in enumerate((content or b"").decode(errors="replace").splitlines(), start=1):
        digest, _, name = line.partition("  ")
        if len(digest) != 64 or set(digest) - set("0123456789abcdef") or not name or name in found:
            raise StoreError(
                f"{path}, line {number}: found {line[:80]!r}; expected a SHA-256, two spaces and a name that stands "
                'once; restore the file with git, or remove it and write it anew with "dira-bench report".'
            )
        found[name] = digest
    return found


def _list(root: Path, path: Path, sha256: str) -> None:
    """Enter a file in its list; files that are no longer there leave it."""
    target = _sums_path(root, path)
    listed = {**listed_sums(target), _listed_name(root, path): sha256}
    there = {name: digest for name, digest in listed.items() if (target.parent / name).is_file()}
    data = "".join(f"{digest}  {name}\n" for name, digest in sorted(there.items())).encode()
    if _content(target) != data:
        with writing(target):
            write_whole(target, data)


# -------------------------------------------------------------------- what this checkout wrote


def ledger(root: Path) -> Path:
    """Return the list of what this checkout wrote."""
    return root / ".trials" / "written.jsonl"


def _written(root: Path) -> Mapping[str, frozenset[str]]:
    """Return name → SHA-256 of everything that this checkout wrote under that name."""
    try:
        found = ledger(root).stat()
    except OSError:
        return {}
    return _read_ledger(ledger(root), found.st_mtime_ns, found.st_size)


@functools.lru_cache(maxsize=1)
def _read_ledger(path: Path, date: int, size: int) -> Mapping[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for line in (_content(path) or b"").splitlines():
        with contextlib.suppress(ValueError, TypeError):  # a line that was cut short vouches for nothing
            name, sha256 = json.loads(line)
            found.setdefault(name, set()).add(sha256)
    return {name: frozenset(digests) for name, digests in found.items()}


def _remember(root: Path, name: str, sha256: str) -> None:
    path = ledger(root)
    if sha256 in _written(root).get(name, ()):
        return
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        append_line(path, json.dumps([name, sha256]).encode())


# -------------------------------------------------------------------- small


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _content(path: Path) -> bytes | None:
    """Read a file; None if it is absent."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StoreError(f"cannot read {path} ({error.strerror}): check its permissions and its disk") from error


def _copy(root: Path, folder: str, name: str, digest: str) -> Path:
    path = Path(name).relative_to("results")
    return root / ".trials" / folder / path.with_name(f"{path.stem}-{digest}{path.suffix}")


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let one process at a time in; the kernel frees the lock when its process ends, however that ends.

    A file system without locks goes without.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = path.open("a")
    with stream:
        with contextlib.suppress(OSError):
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def assembling(root: Path) -> Iterator[None]:
    """Let one process at a time bring results files up to date, so that the last one has seen what all have left."""
    with _locked(root / ".trials" / "results.lock"):
        yield
