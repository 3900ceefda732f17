"""``bundle`` and ``unbundle``: the results of one profile as one archive that can be trusted or refused.

The archive is a ZIP. Its first member, ``bundle.json``, lists every other member with its size and SHA-256; what is
not listed is not taken, and what is listed must be there, of that size and with that digest. Names are relative, made
of plain parts, and below ``results/<profile>``. Nothing is written before all of that is known, and members are read no
further than their listed size. The archive's comment is its seal: the SHA-256 of every byte before it, so that no
byte can change unseen. The bytes of an archive depend on its content alone.

The report is no part of it: a page from somebody else could hold any script, and ``dira-bench report`` makes it anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Literal

from pydantic import Field, ValidationError

from harness.errors import ConfigurationError, DataError, DiraBenchError
from harness.foreign import describe_error
from harness.results.table import ADVICE as ADVICE_AT_HOME
from harness.results.table import parse_trial_rows
from harness.sharing.folders import ResultsFolder, open_results, refuse_code
from harness.spec import KEY, Frozen
from harness.store.committed import SUMS
from harness.store.files import writing
from harness.typed import sentences
from harness.whole_files import is_temporary, write_whole

MANIFEST = "bundle.json"
FORM: Literal[1] = 1
MOST_BYTES = 2 * 2**30  # of all members together; results of the paper's size are some tens of megabytes
MOST_MEMBERS = 100_000
MOST_MANIFEST = 64 * 2**20
MOST_RATIO = 1100  # DEFLATE cannot pack more tightly than about 1,032 to 1
DATE = (1980, 1, 1, 0, 0, 0)  # the first that a ZIP can hold
SEAL_DIGITS = 64  # of a SHA-256
ENCRYPTED = 0x1  # of the flags of a member
SUFFIXES = frozenset({".csv", ".json", ".npz"})
ADVICE = "get the archive anew from whoever made it"


class Member(Frozen):
    """One file of an archive.

    Attributes:
        name: Relative, ``/`` between parts.
        size: In bytes.
        sha256: Of its bytes.
    """

    name: str
    size: int = Field(ge=0, le=MOST_BYTES)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Manifest(Frozen):
    """What an archive says of itself.

    Attributes:
        form: Of this manifest.
        made_by: ``dira-bench`` and its version.
        profile: Whose results.
        members: Every other file, in the order of names.
    """

    form: Literal[1] = FORM
    made_by: str
    profile: str = Field(pattern=KEY)
    members: tuple[Member, ...]


def bundle(root: Path, profile: str, target: Path, made_by: str) -> Manifest:
    """Write the results of a profile as one archive.

    Args:
        root: Project folder.
        profile: Whose.
        target: The archive; it is replaced.
        made_by: Program and version.

    Raises:
        ConfigurationError: If the profile has no results.
        StoreError: If the archive cannot be written where it is wanted.
        DataError: If a results file was edited or damaged.
    """
    if not (root / "results" / profile).is_dir():
        raise ConfigurationError(
            f"profile {profile} has no results ({root / 'results' / profile} is not there); expected those of a run; "
            f'run it first ("dira-bench run --profile {profile}"), or name another --profile.'
        )
    open_results(root / "results" / profile)
    files = {path.relative_to(root).as_posix(): path.read_bytes() for path in _files(root, profile)}
    members = tuple(
        Member(name=name, size=len(content), sha256=hashlib.sha256(content).hexdigest())
        for name, content in files.items()
    )
    manifest = Manifest(made_by=made_by, profile=profile, members=members)
    text = json.dumps(manifest.model_dump(), indent=1, sort_keys=True).encode() + b"\n"
    with tempfile.TemporaryDirectory(prefix="dira-bench-bundle-") as folder:
        made = Path(folder) / "archive"
        with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.comment = b"0" * SEAL_DIGITS
            for name, content in {MANIFEST: text, **files}.items():
                archive.writestr(_entry(name), content, zipfile.ZIP_DEFLATED, 6)
        with writing(target):
            write_whole(target, sealed(made.read_bytes()))
    return manifest


def sealed(archive: bytes) -> bytes:
    """Return an archive, whose comment has ``SEAL_DIGITS`` bytes, with its seal in their place."""
    return archive[:-SEAL_DIGITS] + hashlib.sha256(archive[:-SEAL_DIGITS]).hexdigest().encode()


def _files(root: Path, profile: str) -> Iterator[Path]:
    """Yield what belongs to a profile, in the order of names; links and half-written files do not."""
    for path in sorted((root / "results" / profile).rglob("*")):
        if path.is_file() and not path.is_symlink() and not is_temporary(path.name) and _of_results(path.name):
            yield path


def _of_results(name: str) -> bool:
    return name == SUMS or (PurePosixPath(name).suffix in SUFFIXES and not name.startswith("."))


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, DATE)
    entry.external_attr = (stat.S_IFREG | 0o644) << 16
    entry.create_system = 3  # Unix, wherever it is made
    return entry


def unbundle(source: Path, target: Path, own_metrics: Collection[str] = ()) -> Manifest:
    """Check an archive and write its files into a folder, all of them or none.

    Args:
        source: The archive.
        target: A folder that does not exist yet, or is empty.
        own_metrics: Dotted paths of metrics that may be imported: an archive could name any module.

    Raises:
        ConfigurationError: If the target holds anything, or the source is no file.
        DataError: If the archive is refused; the sentence says why.
        StoreError: If the target cannot be written.
    """
    with writing(target):
        if target.is_symlink() or (target.exists() and (not target.is_dir() or any(target.iterdir()))):
            raise ConfigurationError(f"{target} holds something already; expected a new or empty folder; name another.")
    if not source.is_file():
        what = "is no file" if os.path.lexists(source) else "does not exist"
        raise ConfigurationError(f'{source} {what}; expected what "dira-bench bundle" wrote; correct the path.')
    with _reading(source), source.open("rb") as stream:
        if not zipfile.is_zipfile(stream):
            raise DataError(f"{source} is no whole ZIP archive; {ADVICE}.")
        _check_seal(source, stream)
        archive = zipfile.ZipFile(stream)
        manifest = _manifest(source, archive)
        entries = _entries(source, archive, manifest)
    with source.open("rb") as stream, zipfile.ZipFile(stream) as archive:
        _unpack(source, archive, target, manifest, entries, own_metrics)
    return manifest


@contextlib.contextmanager
def _reading(source: Path) -> Iterator[None]:
    """Turn whatever is raised of a damaged archive into one sentence: zipfile raises some ten kinds."""
    try:
        yield
    except DiraBenchError:
        raise
    except Exception as error:
        raise DataError(f"{source} cannot be read as a ZIP archive ({describe_error(error)}); {ADVICE}.") from None


def _check_seal(source: Path, stream: BinaryIO) -> None:
    """Compare the comment with the digest of all that stands before it."""
    left = stream.seek(0, os.SEEK_END) - SEAL_DIGITS
    stream.seek(0)
    digest = hashlib.sha256()
    while left > 0 and (part := stream.read(min(left, 2**20))):
        digest.update(part)
        left -= len(part)
    if stream.read() != digest.hexdigest().encode():
        raise DataError(
            f'{source} is damaged, or "dira-bench bundle" did not write it: its last {SEAL_DIGITS} bytes are not the '
            f"SHA-256 of the others; {ADVICE}."
        )


def _unpack(
    source: Path, archive: zipfile.ZipFile, target: Path, manifest: Manifest, entries: Mapping[str, zipfile.ZipInfo],
    own_metrics: Collection[str],
) -> None:  # fmt: skip
    """Write the members beside the target, check them as results, and give them its name."""
    beside = next(folder for folder in target.absolute().parents if folder.exists())
    with writing(target), tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=beside) as folder:
        fresh = Path(folder) / "fresh"
        for member in manifest.members:
            with _reading(source):
                content = _read(source, archive, entries[member.name], member.size)
            if hashlib.sha256(content).hexdigest() != member.sha256:
                raise DataError(f"{source}, {member.name}: its bytes are not what {MANIFEST} says; {ADVICE}.")
            path = fresh / member.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        _check_results(source, fresh, manifest, own_metrics)
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            target.rmdir()
        shutil.move(fresh, target)


def _manifest(source: Path, archive: zipfile.ZipFile) -> Manifest:
    entries = archive.infolist()
    if len(entries) > MOST_MEMBERS:
        raise DataError(f"{source} has {len(entries)} members; expected at most {MOST_MEMBERS}; {ADVICE}.")
    first = next((entry for entry in entries if entry.filename == MANIFEST), None)
    if first is None:
        raise DataError(f'{source} has no {MANIFEST}; expected an archive that "dira-bench bundle" wrote; {ADVICE}.')
    text = _read(source, archive, first, min(first.file_size, MOST_MANIFEST))
    try:
        document = json.loads(text)
        form = document.get("form") if isinstance(document, Mapping) else None
        if isinstance(form, int) and form > FORM:
            raise DataError(f"{source} has form {form}, and this version reads form {FORM}; update dira-bench.")
        return Manifest.model_validate(document)
    except ValidationError as error:
        raise DataError(f"{source}, {MANIFEST}: {sentences(error, Manifest)[0].rstrip('.')}; {ADVICE}.") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{source}, {MANIFEST} is no JSON ({error}); {ADVICE}.") from None


def _entries(source: Path, archive: zipfile.ZipFile, manifest: Manifest) -> dict[str, zipfile.ZipInfo]:
    """Check names, kinds and sizes of all members; return name → entry."""
    entries: dict[str, zipfile.ZipInfo] = {}
    for entry in archive.infolist():
        if entry.filename in entries:
            raise DataError(f"{source} holds {_shown(entry.filename)} twice; {ADVICE}.")
        entries[entry.filename] = entry
    for name, entry in entries.items():
        if name != MANIFEST:
            _check_name(source, name, manifest.profile)
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if entry.is_dir() or kind not in (0, stat.S_IFREG):
            raise DataError(
                f"{source}, {_shown(name)}: found a link, a folder or a device; expected files alone; {ADVICE}."
            )
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or entry.flag_bits & ENCRYPTED:
            raise DataError(f"{source}, {_shown(name)}: packed in a way that no bundle is, or encrypted; {ADVICE}.")
        if entry.file_size > MOST_RATIO * max(entry.compress_size, 1):
            raise DataError(
                f"{source}, {_shown(name)}: {entry.compress_size} bytes claim to hold {entry.file_size}; expected at "
                f"most {MOST_RATIO} times as many; {ADVICE}."
            )
    listed = [member.name for member in manifest.members]
    odd = sorted(set(listed) ^ (entries.keys() - {MANIFEST})) or [name for name in listed if listed.count(name) > 1]
    if odd:
        raise DataError(
            f"{source}: {_shown(odd[0])} stands in the archive or in {MANIFEST} and not once in both; {ADVICE}."
        )
    total = sum(member.size for member in manifest.members)
    if total > MOST_BYTES:
        raise DataError(f"{source} would take {total} bytes; expected at most {MOST_BYTES}; {ADVICE}.")
    return entries


def _check_name(source: Path, name: str, profile: str) -> None:
    """Refuse a name that could lead out of the folder, or that no profile's results have."""
    parts = name.split("/")
    plain = all(part and part not in (".", "..") and part.isprintable() for part in parts)
    if not plain or "\\" in name or ":" in name or PurePosixPath(name).is_absolute():
        raise DataError(f"{source}: found the name {_shown(name)}; expected one that stays in its folder; {ADVICE}.")
    if len(parts) < 3 or parts[:2] != ["results", profile]:
        raise DataError(f"{source}: found {_shown(name)}; expected names below results/{profile}; {ADVICE}.")
    if not _of_results(parts[-1]):
        raise DataError(f"{source}: found {_shown(name)}, a kind of file that no results have; {ADVICE}.")


def _read(source: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo, size: int) -> bytes:
    """Read one member, and no byte more than it may have."""
    with archive.open(entry) as stream:
        content = stream.read(size + 1)
    if len(content) != size:
        raise DataError(
            f"{source}, {_shown(entry.filename)}: found {'more' if len(content) > size else 'fewer'} than the {size} "
            f"bytes that it should have; {ADVICE}."
        )
    return content


def _check_results(source: Path, fresh: Path, manifest: Manifest, own_metrics: Collection[str]) -> None:
    """Read the results as everything else does, so that what is malformed is refused here and not later."""
    folder = fresh / "results" / manifest.profile
    try:
        refuse_code(folder, own_metrics)
        results: ResultsFolder = open_results(folder)
        for path in sorted((folder / "trials").glob("*.csv")):
            parse_trial_rows(path.read_text(encoding="utf-8"), path)
        for cell in results.rows:
            results.cohort(cell.task)
            results.drawn_anew(cell.method)
    except (ConfigurationError, DataError, UnicodeDecodeError) as error:
        said = str(error).replace(f"{fresh}/", "").replace(ADVICE_AT_HOME, ADVICE)
        raise DataError(f"{source} holds no sound results: {said}") from None


def _shown(name: str) -> str:
    return ascii(name)[:120]
