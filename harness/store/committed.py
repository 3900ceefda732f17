"""Whether a results file is what was written: one judgement for everything that reads or replaces one.

Three witnesses are asked about the bytes of a file under ``results/``:

* ``dvc.lock``, which has the MD5 of the outputs of a pipeline stage and of ``SHA256SUMS`` (committed; see
  ``harness.store.pipeline_lock``);
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
from types import MappingProxyType

from harness.advice import command
from harness.errors import StoreError
from harness.store.files import content_of, writing
from harness.store.pipeline_lock import LOCK, Lock, locked_listing, md5_of, read_lock
from harness.whole_files import append_line, write_whole

LOGGER = logging.getLogger(__name__)
SUMS = "SHA256SUMS"


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


@dataclass(frozen=True)
class _Expected:
    """What ``dvc.lock`` says of one file: one of its digests, or nothing.

    Attributes:
        md5, sha256: The digest; empty where the lock has none of that kind.
        doubt: Why the lock cannot be asked about this file although it should know it; empty if it can.
    """

    md5: str = ""
    sha256: str = ""
    doubt: str = ""

    def __bool__(self) -> bool:
        return bool(self.md5 or self.sha256)

    def fits(self, content: bytes) -> bool:
        """Say whether these are the bytes that the lock means."""
        if self.md5:
            return md5_of(content) == self.md5
        return bool(self.sha256) and hashlib.sha256(content).hexdigest() == self.sha256


@dataclass(frozen=True)
class Witnesses:
    """What all witnesses say of one list of sums, read once; good as long as nothing is written.

    Attributes:
        root: The project.
        sums: Place of the list, ``SHA256SUMS``.
        lock: What ``dvc.lock`` says.
        listed: The list as it stands.
        locked: The list as the lock means it; None if the lock means none, or if it is lost.
        written: What this checkout wrote: name → SHA-256.
    """

    root: Path
    sums: Path
    lock: Lock
    listed: Mapping[str, str]
    locked: Mapping[str, str] | None
    written: Mapping[str, frozenset[str]]

    @classmethod
    def of(cls, root: Path, path: Path) -> Witnesses:
        """Ask the witnesses of a results file, which are those of every file in its list.

        Raises:
            ConfigurationError: If ``dvc.lock`` cannot be read.
            StoreError: If ``SHA256SUMS`` cannot be read.
        """
        lock, sums = read_lock(root), _sums_path(root, path)
        return cls(root, sums, lock, listed_sums(sums), _locked_sums(root, sums, lock), _written(root))


def _expected(path: Path, asked: Witnesses) -> _Expected:
    """Ask ``dvc.lock`` about one results file.

    The lock has the file itself, or it has the list that the file stands in, or it has the folder that the file is in.
    The list comes before the folder: it says of each file by itself whether it was edited.
    """
    lock, name = asked.lock, path.relative_to(asked.root).as_posix()
    if name in lock.outs:
        return _Expected(md5=lock.outs[name])
    if asked.locked is not None:
        return _Expected(sha256=asked.locked.get(_listed_name(path, asked), ""))
    folder, names = name.rpartition("/")[0], asked.sums.relative_to(asked.root).as_posix()
    if folder not in lock.outs:
        return _Expected()
    listing = locked_listing(path.parent, lock.outs[folder])
    if listing is not None:
        return _Expected(md5=listing.get(path.name, ""))
    own = hashlib.sha256(content_of(asked.sums) or b"").hexdigest() in asked.written.get(names, ())
    return _Expected(doubt="" if own else f"{names if names in lock.deps else folder} is not what {LOCK} says")


def _listed_name(path: Path, asked: Witnesses) -> str:
    return path.relative_to(asked.sums.parent).as_posix()


def _locked_sums(root: Path, sums: Path, lock: Lock) -> Mapping[str, str] | None:
    """Return the list of sums that ``dvc.lock`` means, from its place or from the store's copy; None if it is lost."""
    name = sums.relative_to(root).as_posix()
    digest = lock.deps.get(name)
    if digest is None:
        return None
    for place in (sums, _copy(root, "adopted", name, digest)):
        content = content_of(place)
        if content is not None and md5_of(content) == digest:
            return _parse_sums(place, content)
    return None


def judge(root: Path, path: Path, asked: Witnesses | None = None) -> Verdict:
    """Ask the witnesses about one results file.

    Args:
        root: The project.
        path: The file.
        asked: Its witnesses, where many files of one list are judged and nothing is written meanwhile.

    Raises:
        ConfigurationError: If ``dvc.lock`` cannot be read.
        StoreError: If ``SHA256SUMS`` cannot be read.
    """
    name = path.relative_to(root).as_posix()
    asked = asked or Witnesses.of(root, path)
    expected, listed = _expected(path, asked), asked.listed.get(_listed_name(path, asked), "")
    try:
        content = content_of(path)
    except StoreError as error:
        return Verdict(Standing.EDITED, f"{name} is not what was written: {error}")
    if content is None:
        has = LOCK if expected else SUMS if listed else ""
        return Verdict(Standing.ABSENT, f"{name} is absent although {has} has it" if has else "")
    sha256, locked = hashlib.sha256(content).hexdigest(), expected.fits(content)
    if sha256 in asked.written.get(name, ()):
        return Verdict(Standing.VOUCHED, "", content, locked)
    against = [LOCK] if expected and not locked else []
    against += [SUMS] if listed and listed != sha256 else []
    if against:
        says = f"{' and '.join(against)} {'say' if len(against) > 1 else 'says'}"
        return Verdict(Standing.EDITED, f"{name} is not what {says}", content)
    if expected.doubt:
        return Verdict(Standing.EDITED, f"{name} is vouched for by nobody: {expected.doubt}", content)
    return Verdict(Standing.VOUCHED if expected or listed else Standing.UNKNOWN, "", content, locked)


def standing_content(root: Path, path: Path) -> bytes | None:
    """Return the bytes of a results file unless it is absent or was edited."""
    verdict = judge(root, path)
    return None if verdict.standing is Standing.EDITED else verdict.content


def trusted(root: Path, path: Path, asked: Witnesses | None = None) -> bytes | None:
    """Return what ``dvc.lock`` says a results file holds: from its place, else from the store's copy, else None.

    ``asked`` as for ``judge``.
    """
    name = path.relative_to(root).as_posix()
    expected = _expected(path, asked or Witnesses.of(root, path))
    if not expected:
        return None
    with contextlib.suppress(StoreError):  # what cannot be read vouches for nothing
        content = content_of(path)
        if content is not None and expected.fits(content):
            return content
        copy = content_of(_copy(root, "adopted", name, expected.md5 or expected.sha256))
        return copy if copy is not None and expected.fits(copy) else None
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
        if content_of(path) != data:
            keep(root, path)
        _remember(root, path.relative_to(root).as_posix(), sha256)
        with writing(path):
            if content_of(path) != data:
                path.parent.mkdir(parents=True, exist_ok=True)
                write_whole(path, data)
        _list(root, path, sha256)


def keep(root: Path, path: Path) -> None:
    """Copy a results file into the store before it is replaced, unless this checkout can write it again.

    Raises:
        StoreError: If the copy cannot be written.
    """
    asked = Witnesses.of(root, path)
    verdict = judge(root, path, asked)
    own = verdict.standing is Standing.VOUCHED and not verdict.locked
    if verdict.content is None or own:
        return
    name, digest = path.relative_to(root).as_posix(), md5_of(verdict.content)
    if verdict.locked:
        expected = _expected(path, asked)
        digest = expected.md5 or expected.sha256
    copy = _copy(root, "adopted" if verdict.locked else "replaced", name, digest)
    _keep_copy(copy, verdict.content)
    if verdict.standing is Standing.EDITED:
        LOGGER.warning("%s; it is written anew, and was kept as %s", verdict.sentence, copy.relative_to(root))


def without_lock(root: Path) -> str:
    """Say that there is no ``dvc.lock``; empty if there is one."""
    return "" if (root / LOCK).is_file() else f"there is no {LOCK}, so no committed row is reused"


def _keep_copy(copy: Path, content: bytes) -> None:
    if content_of(copy) != content:
        with writing(copy):
            copy.parent.mkdir(parents=True, exist_ok=True)
            write_whole(copy, content)


# -------------------------------------------------------------------- SHA256SUMS


def _sums_path(root: Path, path: Path) -> Path:
    """Return the list that a results file stands in: its profile's; provenance, which holds times, has its own."""
    parts = path.relative_to(root / "results").parts
    own = parts[:2] if parts[1] == "provenance" else parts[:1]
    return root.joinpath("results", *own, SUMS)


def listed_sums(path: Path) -> Mapping[str, str]:
    """Read a ``SHA256SUMS``: name, relative to its folder → SHA-256; empty if it is absent.

    Raises:
        StoreError: If a line is not a digest and a name.
    """
    return _parse_sums(path, content_of(path) or b"")


@functools.lru_cache(maxsize=16)
def _parse_sums(path: Path, content: bytes) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for number, line in enumerate(content.decode(errors="replace").splitlines(), start=1):
        digest, _, name = line.partition("  ")
        if len(digest) != 64 or set(digest) - set("0123456789abcdef") or not name or name in found:
            raise StoreError(
                f"{path}, line {number}: found {line[:80]!r}; expected a SHA-256, two spaces and a name that stands "
                f"once; restore the file with git, or remove it and write it anew with {command('report')}."
            )
        found[name] = digest
    return MappingProxyType(found)


def _list(root: Path, path: Path, sha256: str) -> None:
    """Enter a file in its list; files that are no longer there leave it."""
    target = _sums_path(root, path)
    listed = {**listed_sums(target), path.relative_to(target.parent).as_posix(): sha256}
    there = {name: digest for name, digest in listed.items() if (target.parent / name).is_file()}
    data = "".join(f"{digest}  {name}\n" for name, digest in sorted(there.items())).encode()
    before = content_of(target)
    if before == data:
        return
    name = target.relative_to(root).as_posix()
    if before is not None and md5_of(before) == read_lock(root).deps.get(name):
        _keep_copy(_copy(root, "adopted", name, md5_of(before)), before)
    _remember(root, name, hashlib.sha256(data).hexdigest())
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
    for line in (content_of(path) or b"").splitlines():
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
