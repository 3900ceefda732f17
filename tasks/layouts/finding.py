"""Where the files of a data set lie: one walk below the data root, however deep a mirror nests them.

Every adapter finds its files here, by name or by what a name says, and never by the folders above them. Left alone are
what a machine leaves beside files (``._x``, ``.DS_Store``, ``__MACOSX``, ``Thumbs.db``, hidden folders). A folder named
as a file (``volume-0.nii/volume-0.nii``) is a folder. The case of an extension does not count. Links are followed, a
folder is looked into once, so that no link leads round in circles.

Two files of one name are told, with both places: of the same content, the less nested is read; of other content, nobody
can say which is meant, and reading stops. One file under two names (a link) is one file.
"""

from __future__ import annotations

import errno
import filecmp
import os
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Generic, TypeVar

from harness.errors import DataError
from tasks.layouts.index import Finding, require_folder

K = TypeVar("K", bound=Hashable)

LITTER = {"__macosx", "thumbs.db", "desktop.ini", "lost+found", "$recycle.bin", "system volume information"}
COMPRESSED = ("gz", "bz2", "zst")  # the extension before it counts too


def is_litter(name: str) -> bool:
    """Say whether a file or folder is none of a data set's: hidden, or left there by a machine."""
    return name.startswith(".") or name.lower() in LITTER


def plain(name: str) -> str:
    """Return a name or path with its extension in lower case: ``A.PNG`` is ``A.png``, ``b.NII.GZ`` is ``b.nii.gz``."""
    stem, dot, ending = name.rpartition(".")
    if not dot or "/" in ending:
        return name
    if ending.lower() in COMPRESSED and "." in stem:
        stem, _, inner = stem.rpartition(".")
        ending = f"{inner}.{ending}"
    return f"{stem}.{ending.lower()}"


@dataclass(frozen=True)
class Double:
    """Two files where one is expected; paths relative to the root.

    Attributes:
        read: The one that counts if both hold the same.
        other: The other.
        same: Whether their content is the same.
    """

    read: str
    other: str
    same: bool


@dataclass(frozen=True)
class Choice(Generic[K]):
    """Files by what their names say.

    Attributes:
        root: The data root.
        paths: Key → path relative to the root.
        extra: Key → further paths of that key, other files than the first.
    """

    root: Path
    paths: Mapping[K, str]
    extra: Mapping[K, tuple[str, ...]]

    @cached_property
    def doubles(self) -> tuple[Double, ...]:
        """The files that are there more than once, compared byte by byte."""
        return tuple(
            Double(self.paths[key], other, _same_content(self.root / self.paths[key], self.root / other))
            for key, others in self.extra.items()
            for other in others
        )

    def findings(self) -> list[Finding]:
        """Return a warning for doubles of the same content and a failure for those of other content."""
        found = []
        for same in (False, True):
            doubles = [double for double in self.doubles if double.same == same]
            if doubles:
                found.append(Finding("warn" if same else "fail", _tell(self.root, doubles)))
        return found

    def required(self) -> dict[K, str]:
        """Return ``paths``.

        Raises:
            DataError: If a file is there twice with other content.
        """
        for finding in self.findings():
            if finding.level == "fail":
                raise DataError(finding.message)
        return dict(self.paths)


@dataclass(frozen=True)
class Files:
    """All files below a data root, as they were when ``under`` looked.

    Attributes:
        root: The data root.
        paths: Relative to it, with ``/``, the less nested first, then by name.
        folders: All folders below it, likewise.
    """

    root: Path
    paths: tuple[str, ...]
    folders: tuple[str, ...]

    @classmethod
    def under(cls, root: Path, what: str) -> Files:
        """Look at everything below a folder, once.

        Args:
            root: The data root.
            what: The data set, for the message.

        Raises:
            DataError: If there is no such folder, or one below it cannot be opened.
        """
        require_folder(root, what)
        files: list[str] = []
        folders: list[str] = []
        for path, is_folder in _walk(root):
            (folders if is_folder else files).append(path)
        return cls(root, tuple(sorted(files, key=_order)), tuple(sorted(folders, key=_order)))

    def where(self, keep: Callable[[str], bool]) -> Files:
        """Return the same with those files alone whose path ``keep`` says yes to."""
        return Files(self.root, tuple(path for path in self.paths if keep(path)), self.folders)

    @cached_property
    def _by_name(self) -> dict[str, tuple[str, ...]]:
        places: dict[str, list[str]] = {}
        for path in self.paths:
            places.setdefault(plain(_name(path)), []).append(path)
        return {name: tuple(found) for name, found in places.items()}

    def named(self, name: str) -> tuple[str, ...]:
        """Return every place of a file of that name, the less nested first."""
        return self._by_name.get(plain(name), ())

    def every(self, *suffixes: str) -> tuple[str, ...]:
        """Return every file whose name ends so, in any case: ``.png``, ``.nii.gz``."""
        endings = tuple(suffix.lower() for suffix in suffixes)
        return tuple(path for path in self.paths if path.lower().endswith(endings))

    def by(self, key: Callable[[str], K | None], *suffixes: str) -> Choice[K]:
        """Sort files by what their paths say.

        Args:
            key: Relative path → key, or None for a file that is none of those. The extension comes in lower case.
            suffixes: Endings of the files that are asked; none: all.
        """
        paths: dict[K, str] = {}
        extra: dict[K, list[str]] = {}
        for path in self.every(*suffixes) if suffixes else self.paths:
            found = key(plain(path))
            if found is None:
                continue
            if found not in paths:
                paths[found] = path
            elif not _same_file(self.root / paths[found], self.root / path):
                extra.setdefault(found, []).append(path)
        return Choice(self.root, paths, {key: tuple(others) for key, others in extra.items()})

    def by_name(self, *suffixes: str) -> Choice[str]:
        """Sort files by their names, extensions in lower case."""
        return self.by(_name, *suffixes)

    def maybe(self, *names: str) -> str | None:
        """Return where the first of these names lies, or None if none is there.

        Raises:
            DataError: If it lies in two places with other content.
        """
        for name in names:
            if self.named(name):
                return self._choice_of(name).required()[plain(name)]
        return None

    def one(self, *names: str, what: str) -> str:
        """Return where the first of these names lies.

        Args:
            names: The file's names, the preferred one first.
            what: What the file is, for the message: ``the label file of CheXpert``.

        Raises:
            DataError: If none is there, or one lies in two places with other content.
        """
        found = self.maybe(*names)
        if found is None:
            raise DataError(f"no {' or '.join(names)} below {self.root}; expected {what}; {self._remedy(names)}")
        return found

    def twice(self, *names: str) -> list[Finding]:
        """Return what ``Choice.findings`` has to say about files of these names."""
        return [finding for name in names for finding in self._choice_of(name).findings()]

    def _choice_of(self, name: str) -> Choice[str]:
        return Files(self.root, self.named(name), ()).by_name()

    def _remedy(self, names: Iterable[str]) -> str:
        """Say what to do, and that a folder bears the name, if one does."""
        wanted = {plain(name) for name in names}
        folder = next((path for path in self.folders if plain(_name(path)) in wanted), None)
        return f"{folder} is a folder without that file; unpack it there" if folder else "put it there"


def _walk(root: Path) -> Iterator[tuple[str, bool]]:
    """Yield (relative path, is a folder), each folder once; linked folders after all that really lie there."""
    real: list[str] = [""]
    linked: list[str] = []
    for path, is_folder in _walk_from(root, "", linked):
        if is_folder:
            real.append(path)
        yield path, is_folder
    if linked:  # only then does it matter which folders have been looked into
        seen = {_identity(folder) for folder in root.resolve().parents} | {_identity(root / path) for path in real}
        for path in linked:  # grows while it is read
            if _is_new(root / path, seen):
                yield path, True
                yield from _walk_from(root, path, linked, seen)


def _walk_from(
    root: Path, start: str, linked: list[str], seen: set[tuple[int, int]] | None = None
) -> Iterator[tuple[str, bool]]:
    """Yield what really lies below a folder, less the folders in ``seen``; append linked folders to ``linked``."""
    waiting = [start]
    while waiting:
        inside = waiting.pop()
        for entry in _entries(root, inside):
            path = f"{inside}/{entry.name}" if inside else entry.name
            if not _is_folder(entry):
                if entry.is_file():  # no dangling link, socket or pipe
                    yield path, False
            elif entry.is_symlink():
                linked.append(path)
            elif seen is None or _is_new(root / path, seen):
                waiting.append(path)
                yield path, True


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Say whether an entry is a folder or a link to one.

    Raises:
        DataError: If it is a link that leads to itself.
    """
    try:
        return entry.is_dir()
    except OSError as error:
        reason = "a link that leads to itself" if error.errno == errno.ELOOP else error.strerror
        raise DataError(
            f"{entry.path} cannot be looked into ({reason}); expected a file or a folder; remove or correct it"
        ) from None


def _is_new(folder: Path, seen: set[tuple[int, int]]) -> bool:
    """Say whether a folder is not in ``seen``, and add it."""
    identity = _identity(folder)
    new = identity not in seen
    seen.add(identity)
    return new


def _entries(root: Path, inside: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(root / inside) as entries:
            return sorted((e for e in entries if not is_litter(e.name)), key=lambda entry: entry.name)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise DataError(
            f"{root / inside} cannot be looked into ({reason}); expected a folder; let it be read"
        ) from None


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _order(path: str) -> tuple[int, str]:
    return path.count("/"), path


def _same_file(first: Path, second: Path) -> bool:
    return first.samefile(second)


def _same_content(first: Path, second: Path) -> bool:
    return filecmp.cmp(first, second, shallow=False)


def _tell(root: Path, doubles: list[Double]) -> str:
    first, more = doubles[0], len(doubles) - 1
    content = "the same" if first.same else "another"
    many = f" and {more} more are there twice" if more else ""
    counts = "; the first is read" if first.same else ""
    return (
        f"{first.read} and {first.other} below {root} are two files of one name with {content} content{many}{counts}; "
        "expected one; remove the other"
    )
