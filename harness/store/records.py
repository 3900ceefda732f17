"""Attempts and their records: claiming, finishing, reading, and setting aside what is damaged."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from harness.errors import StoreError
from harness.identity import file_sha256, item_id
from harness.spec import RECORD_VERSION, Item, Kind, Record, Status
from harness.store.claims import Driver, driver_alive, machine, myself, owner_alive, read_object
from harness.store.files import (
    ARRAYS,
    CURVE,
    json_line,
    plain,
    read_arrays,
    sync_files,
    sync_folder,
    write_arrays,
    write_whole,
    writing,
)
from harness.store.seals import SEAL, record_seal

if TYPE_CHECKING:
    import numpy as np

LOGGER = logging.getLogger(__name__)
RECORD = "record.json"
CLAIM = "claim.json"
PROGRESS = "progress.json"
OUTPUT = "output.log"
BOOKKEEPING = frozenset({RECORD, CLAIM, PROGRESS, OUTPUT})
LOST = "WorkerLost"  # error type of an attempt whose process was killed although nobody asked for it
LOST_LIMIT = 3  # an item whose last so many attempts all lost their process has failed


class State(StrEnum):
    """Where an item stands, by its records."""

    DONE = "done"
    FAILED = "failed"  # terminally: run again only if asked to
    INTERRUPTED = "interrupted"  # begun, not finished, and it will be run again
    RUNNING = "running"
    MISSING = "missing"


@dataclass(frozen=True)
class Attempt:
    """One claimed execution of an item; its folder belongs to whoever holds this."""

    item: Item
    ordinal: int
    folder: Path


@dataclass(frozen=True)
class Progress:
    """What a running attempt last said; ``process`` is its process id, on this machine only."""

    done: int
    total: int
    what: str
    slot: str
    since: float
    process: int | None


class Store:
    """The records under one root.

    Attributes:
        root: Where trials and phases lie.
        cohorts: Where cohorts lie.
        notices: Every sentence about damage found so far.
    """

    def __init__(
        self,
        root: Path = Path(".trials"),
        cohorts: Path = Path(".cohorts"),
        notify: Callable[[str], None] = LOGGER.warning,
    ) -> None:
        self.root = Path(root).absolute()
        self.cohorts = Path(cohorts).absolute()
        self.notices: list[str] = []
        self._notify = notify

    # ---------------------------------------------------------------- places

    def item_folder(self, kind: Kind, id: str) -> Path:
        """Return the folder that holds all attempts at an item."""
        return self.cohorts / id if kind == "cohort" else self.root / kind / id[:2] / id

    def folder(self, record: Record) -> Path:
        """Return the folder of the attempt that left a record."""
        return self.item_folder(record.kind, record.id) / f"{record.ordinal:04d}"

    def resume_folder(self, id: str) -> Path:
        """Return (and make) the folder of an item's checkpoints, which outlive its attempts."""
        folder = self.root / "resume" / id
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        return folder

    def has_checkpoint(self, id: str) -> bool:
        """Say whether an attempt at the item left something to resume from."""
        try:
            return any((self.root / "resume" / id).iterdir())
        except OSError:
            return False

    def _folders(self, kind: Kind, id: str) -> list[tuple[int, Path]]:
        try:
            with os.scandir(self.item_folder(kind, id)) as entries:
                found = [(int(entry.name), Path(entry.path)) for entry in entries if entry.name.isdecimal()]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StoreError(f"cannot read the store at {error.filename}: {error.strerror}") from error
        return sorted(found)

    # ---------------------------------------------------------------- reading

    def ok(self, kind: Kind, id: str) -> Record | None:
        """Return the record of the earliest ok attempt, the only one a table may use, or None."""
        for ordinal, folder in self._folders(kind, id):
            record = self._load(kind, id, ordinal, folder)
            if record is not None and record.status is Status.OK:
                return record
        return None

    def attempts(self, kind: Kind, id: str) -> list[Record]:
        """Return the records of all finished attempts, oldest first."""
        records = (self._load(kind, id, ordinal, folder) for ordinal, folder in self._folders(kind, id))
        return [record for record in records if record is not None]

    def attempt(self, kind: Kind, id: str, ordinal: int) -> Record | None:
        """Return the record of one attempt, or None while it has none."""
        return self._load(kind, id, ordinal, self.item_folder(kind, id) / f"{ordinal:04d}")

    def state(self, kind: Kind, id: str) -> State:
        """Say where an item stands: done, failed, interrupted, running or missing."""
        lost = 0
        state = State.MISSING
        for ordinal, folder in self._folders(kind, id):
            record = self._load(kind, id, ordinal, folder)
            if record is None:
                if self._ended(folder):
                    state = State.MISSING
                else:
                    state = State.RUNNING if self._alive(folder) else State.INTERRUPTED
                    lost = 0
                continue
            if record.status is Status.OK:
                return State.DONE
            was_lost = record.status is Status.INTERRUPTED and (record.error or {}).get("type") == LOST
            lost = lost + 1 if was_lost else 0
            if record.status is Status.INTERRUPTED:
                state = State.FAILED if lost >= LOST_LIMIT else State.INTERRUPTED
            elif record.status is Status.TIMEOUT and self.has_checkpoint(id):
                state = State.INTERRUPTED
            else:
                state = State.FAILED
        return state

    def done_ids(self, kind: Kind) -> set[str]:
        """Return the ids of all items of a kind that have an ok attempt, fast.

        The index is a cache: an entry counts only while the record it names has the size and date it had when the
        entry was made; every other item is looked at itself, and the index told.
        """
        index = self._index()
        done: set[str] = set()
        for id in self._ids(kind):
            entry = index.get((kind, id))
            if entry is not None and self._matches(kind, id, entry):
                done.add(id)
                continue
            record = self.ok(kind, id)
            if record is not None:
                done.add(id)
                self._remember(record)
        return done

    def ids(self, kind: Kind) -> list[str]:
        """Return the ids of all items of a kind that were ever attempted, sorted."""
        return sorted(self._ids(kind))

    def touched(self, kind: Kind, id: str) -> bool:
        """Say whether a file of an attempt is newer than its record, which is written last."""
        for _, folder in self._folders(kind, id):
            with contextlib.suppress(FileNotFoundError):  # an attempt that left no record vouches for nothing
                written = (folder / RECORD).stat().st_mtime_ns
                if any(path.stat().st_mtime_ns > written for path in _left(folder)):
                    return True
        return False

    def measured(self, kind: Kind) -> dict[str, float]:
        """Return how many seconds each done item took, as far as the index knows: good for estimates only."""
        return {id: float(entry["seconds"]) for (k, id), entry in self._index().items() if k == kind}

    def progress(self, kind: Kind, id: str) -> Progress | None:
        """Return what the running attempt at an item last said, or None if none is running."""
        folders = self._folders(kind, id)
        if not folders or (folders[-1][1] / RECORD).exists() or not self._alive(folders[-1][1]):
            return None
        said = read_object(folders[-1][1] / PROGRESS) or {}
        return Progress(
            done=int(said.get("done", 0)),
            total=int(said.get("total", 0)),
            what=str(said.get("what", "")),
            slot=str(said.get("slot", "")),
            since=float(said.get("since", 0.0)),
            process=said.get("pid") if said.get("machine") == machine() else None,
        )

    def arrays(self, record: Record) -> dict[str, np.ndarray]:
        """Read the arrays of a record after checking their bytes.

        Raises:
            StoreError: If they are not the bytes the record vouches for; the record is set aside.
        """
        return read_arrays(self.checked(record, ARRAYS)) if ARRAYS in record.files else {}

    def curve(self, record: Record) -> list[dict[str, Any]]:
        """Read the curve of a record after checking its bytes.

        Raises:
            StoreError: If it is not the bytes the record vouches for; the record is set aside.
        """
        if CURVE not in record.files:
            return []
        return [json.loads(line) for line in self.checked(record, CURVE).read_text().splitlines()]

    def verify(self, record: Record) -> bool:
        """Check every file of a record against its SHA-256; on a difference set the record aside and return False."""
        folder = self.folder(record)
        for name, expected in record.files.items():
            fault = _fault(folder / name, expected)
            if fault:
                self._set_aside(folder, f"{folder / name} {fault}")
                return False
        return True

    def checked(self, record: Record, name: str) -> Path:
        """Return the path of one of a record's files after checking its bytes.

        Raises:
            StoreError: If they are not the bytes the record vouches for; the record is set aside.
        """
        path = self.folder(record) / name
        fault = _fault(path, record.files[name])
        if fault:
            self._set_aside(path.parent, f"{path} {fault}")
            raise StoreError(f"{path} {fault}; its record was set aside: run again and the item is redone")
        return path

    def _load(self, kind: Kind, id: str, ordinal: int, folder: Path) -> Record | None:
        path = folder / RECORD
        try:
            data = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise StoreError(f"cannot read {path} ({error.strerror}): check its permissions and its disk") from error
        try:
            record = Record.model_validate_json(data)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(str(part) for part in first["loc"]) or "the file"
            self._set_aside(folder, f"{path} is no record ({place}: {first['msg']})")
            return None
        fault = None
        if record.schema_version not in (1, RECORD_VERSION):
            fault = f"has schema version {record.schema_version}, expected {RECORD_VERSION}, or 1 of older versions"
        elif (record.kind, record.id, record.ordinal) != (kind, id, ordinal):
            fault = f"belongs to attempt {record.ordinal} at {record.kind} {record.id[:12]}, not to this folder"
        else:
            try:
                actual = item_id(record.kind, record.spec)
            except TypeError as error:
                actual = str(error)
            if actual != id:
                fault = f"holds a spec whose digest is {actual[:12]}, not {id[:12]}"
            elif record.schema_version > 1 and record.seal != record_seal(json.loads(data)):
                fault = "was edited: its content is not what its seal says"
        if fault:
            self._set_aside(folder, f"{path} {fault}")
            return None
        return record

    def _set_aside(self, folder: Path, found: str) -> None:
        path = folder / RECORD
        with contextlib.suppress(OSError):  # a read-only store: the record still counts as missing
            path.rename(path.with_name(f"{RECORD}.damaged-{uuid.uuid4().hex[:8]}"))
        sentence = f"{found}; it was set aside and its item counts as missing: run again to redo it"
        self.notices.append(sentence)
        self._notify(sentence)

    # ---------------------------------------------------------------- claiming and finishing

    def driver(self) -> Driver:
        """Return a driver of this store, to be entered with ``with`` before anything is claimed."""
        return Driver(self.root)

    def next_ordinal(self, kind: Kind, id: str) -> int:
        """Return the ordinal the next attempt at an item will have."""
        folders = self._folders(kind, id)
        return folders[-1][0] + 1 if folders else 0

    def claim(self, item: Item, driver: Driver, ordinal: int | None = None) -> Attempt | None:
        """Claim the next attempt at an item.

        Attempts whose owner is gone are closed as ``interrupted`` first.

        Args:
            item: What is to be run.
            driver: Who will see to it.
            ordinal: Claim this attempt or none, so that a decision taken on what was there before still holds.

        Returns:
            The attempt, or None if the item is already ok, somebody alive is at it, or somebody else made the attempt
            ``ordinal`` meanwhile (``state`` tells which).

        Raises:
            StoreError: If the store cannot be written.
        """
        home = self.item_folder(item.kind, item.id)
        with writing(home):
            home.mkdir(parents=True, exist_ok=True)
            while True:
                last = -1
                for last, folder in self._folders(item.kind, item.id):
                    record = self._load(item.kind, item.id, last, folder)
                    if record is None and not self._ended(folder):
                        if self._alive(folder, driver):
                            return None
                        record = self.close(
                            Attempt(item, last, folder),
                            Status.INTERRUPTED,
                            {"type": "DriverLost", "message": "the driver that ran this attempt is gone"},
                        )
                    if record is not None and record.status is Status.OK:
                        return None
                if ordinal is not None and ordinal != last + 1:
                    return None
                attempt = self._take(item, last + 1, home, driver)
                if attempt is not None:
                    return attempt

    def _take(self, item: Item, ordinal: int, home: Path, driver: Driver) -> Attempt | None:
        """Make the folder of an attempt together with its claim, in one step that only one driver can do."""
        prepared = home / f".new-{uuid.uuid4().hex[:12]}"
        folder = home / f"{ordinal:04d}"
        prepared.mkdir()
        try:
            claim = {"driver": driver.token, **myself()}
            (prepared / CLAIM).write_text(json_line(claim) + "\n")
            try:
                prepared.rename(folder)  # fails if the name is taken: a folder there is never empty
            except OSError:
                if folder.exists():
                    return None
                raise
        finally:
            if prepared.exists():
                shutil.rmtree(prepared, ignore_errors=True)
        return Attempt(item, ordinal, folder)

    def finish(
        self,
        attempt: Attempt,
        status: Status,
        *,
        values: Mapping[str, float] | None = None,
        facts: Mapping[str, Any] | None = None,
        arrays: Mapping[str, np.ndarray] | None = None,
        curve: Iterable[Mapping[str, Any]] = (),
        error: Mapping[str, str] | None = None,
        provenance: Mapping[str, Any] | None = None,
        keep_files: bool = True,
    ) -> Record:
        """Write what an attempt left; the record comes last, in one step.

        Whoever writes first wins: if the attempt already has a record, that one stays and is returned.

        Raises:
            StoreError: If the disk is full or cannot be written; then the attempt has no record.
            TypeError: If facts or curve hold something that is not JSON, or an array holds Python objects.
        """
        item, folder = attempt.item, attempt.folder
        content = {
            "kind": item.kind,
            "id": item.id,
            "ordinal": attempt.ordinal,
            "run": item.run,
            "title": item.title,
            "spec": item.spec,
            "needs": item.needs,
            "status": status,
            "values": {name: float(value) for name, value in (values or {}).items()},
            "facts": json.loads(json.dumps(dict(facts or {}), default=plain)),
            "error": dict(error) if error else None,
            "provenance": json.loads(json.dumps(dict(provenance or {}), default=plain)),
        }
        points = [json_line(dict(point)) for point in curve]
        with writing(folder):
            files: dict[str, str] = {}
            if keep_files:
                if arrays:
                    write_arrays(folder / ARRAYS, arrays)
                if points:
                    (folder / CURVE).write_text("\n".join(points) + "\n")
                paths = sorted(_left(folder))
                sync_files(paths)
                files = {path.relative_to(folder).as_posix(): file_sha256(path) for path in paths}
            else:
                _clear(folder)
            plain_content = json.loads(json.dumps(Record(**content, files=files).model_dump(mode="python")))
            record = Record(**content, files=files, seal=record_seal(plain_content))
            text = json.dumps({**plain_content, SEAL: record.seal}, sort_keys=True, indent=1) + "\n"
            first = write_whole(folder / RECORD, text.encode(), exclusive=True)
            sync_folder(folder.parent)
            (folder / PROGRESS).unlink(missing_ok=True)
        if not first:
            return self._load(item.kind, item.id, attempt.ordinal, folder) or record
        if record.status is Status.OK:
            self._remember(record)
            shutil.rmtree(self.root / "resume" / item.id, ignore_errors=True)
        return record

    def close(
        self,
        attempt: Attempt,
        status: Status,
        error: Mapping[str, str],
        provenance: Mapping[str, Any] | None = None,
    ) -> Record:
        """Record how an attempt ended that could not record it itself; its files are removed, what it printed stays."""
        existing = self._load(attempt.item.kind, attempt.item.id, attempt.ordinal, attempt.folder)
        if existing is not None:
            return existing
        return self.finish(attempt, status, error=error, provenance=provenance, keep_files=False)

    def _ended(self, folder: Path) -> bool:
        """Say whether a folder without a record had one that was set aside."""
        return any(folder.glob(f"{RECORD}.damaged-*"))

    def _alive(self, folder: Path, asker: Driver | None = None) -> bool:
        """Say whether the driver that claimed an attempt, or the process that runs it, is there."""
        claim = read_object(folder / CLAIM)
        if claim is None:
            return False
        if driver_alive(self.root, str(claim.get("driver", "")), asker):
            return True
        said = read_object(folder / PROGRESS)
        return said is not None and owner_alive(said, folder / PROGRESS, asker.path if asker else None)

    # ---------------------------------------------------------------- index

    @property
    def _index_path(self) -> Path:
        return self.root / "index.jsonl"

    def _ids(self, kind: Kind) -> Iterator[str]:
        tops = [self.cohorts] if kind == "cohort" else _subfolders(self.root / kind)
        for top in tops:
            for folder in _subfolders(top):
                yield folder.name

    def _index(self) -> dict[tuple[str, str], dict[str, Any]]:
        index: dict[tuple[str, str], dict[str, Any]] = {}
        try:
            lines = self._index_path.read_bytes().splitlines()
        except OSError:
            return index
        damaged = False
        for line in lines:
            try:
                entry = json.loads(line)
                index[entry["kind"], entry["id"]] = {
                    name: entry[name] for name in ("ordinal", "size", "date", "seconds")
                }
            except (ValueError, KeyError, TypeError):
                damaged = True
        if damaged:  # lines lost here are found again by looking at the records
            rest = (json.dumps({"kind": kind, "id": id, **entry}) + "\n" for (kind, id), entry in index.items())
            with contextlib.suppress(OSError):
                write_whole(self._index_path, "".join(rest).encode())
        return index

    def _matches(self, kind: Kind, id: str, entry: Mapping[str, Any]) -> bool:
        try:
            found = (self.item_folder(kind, id) / f"{entry['ordinal']:04d}" / RECORD).stat()
        except (OSError, ValueError):
            return False
        return (found.st_size, found.st_mtime_ns) == (entry["size"], entry["date"])

    def _remember(self, record: Record) -> None:
        with contextlib.suppress(OSError):  # only a cache
            found = (self.folder(record) / RECORD).stat()
            entry = {
                "kind": record.kind,
                "id": record.id,
                "ordinal": record.ordinal,
                "size": found.st_size,
                "date": found.st_mtime_ns,
                "seconds": float(record.provenance.get("duration_seconds", 0.0)),
            }
            self.root.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._index_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            try:
                os.write(descriptor, (json.dumps(entry) + "\n").encode())  # one write: lines of two drivers never mix
            finally:
                os.close(descriptor)


def _subfolders(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return [Path(entry.path) for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _left(folder: Path) -> Iterator[Path]:
    """Yield the files a work left in its folder, not the store's own."""
    for path in folder.rglob("*"):
        own = path.parent == folder and (path.name in BOOKKEEPING or path.name.startswith(f".{RECORD}"))
        if path.is_file() and not own and not path.name.startswith(f".{PROGRESS}"):
            yield path


def _clear(folder: Path) -> None:
    """Remove what an attempt that does not count left; what it printed stays for the reader."""
    for path in folder.iterdir():
        if path.name in {CLAIM, OUTPUT, PROGRESS}:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _fault(path: Path, expected: str) -> str | None:
    """Say what is wrong with a file that should have a given SHA-256, or None."""
    try:
        found = file_sha256(path)
    except FileNotFoundError:
        return "is gone although its record lists it"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return None if found == expected else f"has SHA-256 {found[:12]}…, expected {expected[:12]}… as in its record"
