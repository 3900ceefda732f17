"""The folder that a fetch leaves: built beside its place, vouched for by SOURCES.csv, renamed when it is whole."""

from __future__ import annotations

import csv
import fcntl
import io
import shutil
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from harness.errors import DataError, DiraBenchError, Unavailable
from harness.identity import file_sha256
from harness.whole_files import sync_files
from tasks.fetching.clones import Watch, download, from_clones
from tasks.fetching.facts import Facts, digest_of, load_facts
from tasks.fetching.layout import Building, Row, build, check_package
from tasks.fetching.sources import Tree

SOURCES, LICENCES = "SOURCES.csv", "LICENCES.md"


def fetch(into: Path, clones: Path | None, watch: Watch, facts: Facts | None = None) -> bool:
    """Make the data root of the real radiographs, or verify the one that is there.

    What was fetched is kept beside it in ``.NAME.fetching`` until the root is whole, so the same command goes on after
    an interruption.

    Args:
        into: The data root; new, empty, or made by this function earlier.
        clones: A folder with clones of the repositories; None asks the internet.
        watch: Hears how far each part is.
        facts: Which sources; those of this project if left out.

    Returns:
        False if it was there and is whole.

    Raises:
        Unavailable: If a source cannot be had here.
        DataError: If a source or the folder is not as it should be.
    """
    facts = facts or load_facts()
    into = into.absolute()
    try:
        if _is_there(into):
            verify(into, facts)
            return False
        check_package(facts.package)
        with _workplace(into) as work:
            trees = from_clones(facts, clones) if clones else download(facts, work, watch)
            _build(trees, facts, work / "built", watch)
            _place(work / "built", into)
            shutil.rmtree(work)
        return True
    except OSError as error:
        raise DataError(
            f"{error.filename or into} cannot be read or written ({error.strerror or error}); expected a folder with "
            "some 2 GB to spare; mend that and run the same command again."
        ) from None


def _is_there(into: Path) -> bool:
    if into.is_dir() and (into / SOURCES).is_file():
        return True
    if (into.exists() and not into.is_dir()) or into.is_symlink() or (into.is_dir() and any(into.iterdir())):
        raise DataError(
            f"{into} is there and has no {SOURCES}; expected a new or empty folder; name another by --into."
        )
    return False


@contextmanager
def _workplace(into: Path) -> Iterator[Path]:
    """Open the folder beside the data root, for one command at a time; an empty one is not left behind."""
    work = into.with_name(f".{into.name}.fetching")
    work.mkdir(parents=True, exist_ok=True)
    with (work / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Unavailable(
                f"another command fetches into {into}; expected to be alone; wait until it ends."
            ) from None
        try:
            yield work
        except (DiraBenchError, OSError):
            shutil.rmtree(work / "built", ignore_errors=True)
            if not any(_kept(work)):
                shutil.rmtree(work, ignore_errors=True)
            raise


def _kept(work: Path) -> Iterator[Path]:
    """List the repositories of which something was fetched."""
    yield from work.glob("*.git/objects/pack/*.pack")


def _build(trees: Mapping[str, Tree], facts: Facts, root: Path, watch: Watch) -> None:
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    building = Building(root, watch)
    build(trees, facts, building)
    _check_digests(building.rows, facts)
    (root / SOURCES).write_text(_sources(building.rows), encoding="utf-8")
    (root / LICENCES).write_text(_licences(facts, building), encoding="utf-8")


def _place(built: Path, into: Path) -> None:
    sync_files([path for path in built.rglob("*") if path.is_file()])
    if into.is_dir():
        into.rmdir()  # empty, or this fails
    built.rename(into)


def _check_digests(rows: Iterable[Row], facts: Facts) -> None:
    """Hold the SHA-256 of all files used from each repository against the facts."""
    used = defaultdict(set)
    for row in rows:
        used[row.repository, row.commit].add((row.source_path, row.source_sha256))
    for repository in facts.repositories.values():
        files = used[repository.name, repository.commit]
        found = digest_of(files)
        if (len(files), found) != (repository.files, repository.sha256):
            raise DataError(
                f"{repository.name} at commit {repository.commit} gave {len(files):,} files with the digest {found}; "
                f"expected {repository.files:,} with {repository.sha256}; these are other files: do not use them."
            )


def verify(root: Path, facts: Facts) -> None:
    """Check a data root that ``fetch`` made: its sources are those of the facts, its files those that were written.

    Raises:
        DataError: One sentence that names the first file that is not.
    """
    rows = _read_rows(root / SOURCES)
    _check_digests(rows, facts)
    expected = {row.file: row.sha256 for row in rows}
    found = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()} - {SOURCES, LICENCES}
    for names, what in ((expected.keys() - found, "missing"), (found - expected.keys(), "not of it")):
        if names:
            raise DataError(f"{root}: {len(names)} files are {what}, {min(names)} first; {_anew(root)}")
    altered = [name for name, sha in sorted(expected.items()) if file_sha256(root / name) != sha]
    if altered:
        raise DataError(
            f"{root}: {len(altered)} files were altered since they were fetched, {altered[0]} first; {_anew(root)}"
        )


def _anew(root: Path) -> str:
    return f"expected what {SOURCES} lists; move {root} away and fetch it anew."


def _read_rows(path: Path) -> list[Row]:
    try:
        header, *rows = csv.reader(io.StringIO(path.read_text(encoding="utf-8")))
        if tuple(header) != Row._fields:
            raise ValueError(f"found the columns {header}")
        return [Row(*row) for row in rows]
    except (ValueError, TypeError) as error:
        raise DataError(f"{path} is damaged ({error}); {_anew(path.parent)}") from None


def _sources(rows: Iterable[Row]) -> str:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows([Row._fields, *sorted(rows)])
    return stream.getvalue()


def _licences(facts: Facts, building: Building) -> str:
    """Write terms and credits, source by source."""
    lines = [
        "# Terms of these images",
        "",
        f"Gathered from public sources; `{SOURCES}` says where each file came from.",
        "Whoever uses, shows or passes on an image keeps to the terms of its source.",
        "Numbers may be published; credit goes to those named here.",
    ]
    for one in facts.repositories.values():
        lines += [
            "",
            f"## {one.address}, commit {one.commit}",
            "",
            f"* Terms: {one.terms}.",
            f"* Credit: {one.credit}.",
        ]
        lines += [f"* Here: {', '.join(_folders(building.rows, one.name))}."]
    package = facts.package
    lines += ["", f"## {package.title}", "", f"* Terms: {package.terms}.", f"* Credit: {package.credit}."]
    lines += [f"* Here: {', '.join(_folders(building.rows, package.title))}.", "", "## Left out", ""]
    lines += [f"* {count} radiographs of covid_chestxray {why}." for why, count in building.left_out.items()]
    return "\n".join(lines) + "\n"


def _folders(rows: Iterable[Row], origin: str) -> list[str]:
    return sorted({"/".join(row.file.split("/")[:2]) for row in rows if row.repository == origin})
