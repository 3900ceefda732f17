"""Attempts and their records: leasing, finishing, reading, and setting aside what is damaged."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from harness.errors import StoreError
from harness.identity import file_sha256, item_id
from harness.spec import RECORD_VERSION, Item, Kind, Record, Status
from harness.store.files import (
    ARRAYS,
    CURVE,
    Irregular,
    json_line,
    make_way,
    parse_json,
    plain,
    read_arrays,
    read_regular,
    remove,
    set_aside,
    write_arrays,
    writing,
)
from harness.store.hashed import HashedFiles, sha256_once
from harness.store.leases import (
    SILENT_SECONDS,
    Driver,
    EngineJob,
    FileClock,
    driver_alive,
    machine,
    myself,
    owner_alive,
    process_id,
    read_object,
)
from harness.store.seals import SEAL, record_seal
from harness.typed import sentences
from harness.whole_files import beside, is_temporary, sync_files, sync_folder, write_new, write_whole

if TYPE_CHECKING:
    import numpy as np

LOGGER = logging.getLogger(__name__)
RECORD = "record.json"
LEASE = "claim.json"  # its name since the first version, so that every store can be read
PROGRESS = "progress.json"
OUTPUT = "output.log"
JOB = "job.json"  # what a process on another machine is to run (``harness.executors.jobs``)
BOOKKEEPING = frozenset({RECORD, LEASE, PROGRESS, OUTPUT, JOB})
LOST = "WorkerLost"  # error type of an attempt whose process was killed although nobody asked for it
TAKEN = "DriverLost"  # error type of an attempt that another driver closed, since the one at it was gone
PREEMPTED = "Preempted"  # error type of an attempt that was asked to leave, and may go on later
UNSTARTED = "NotStarted"  # error type of an attempt whose process never reached its work
PATIENCE = "DIRA_BENCH_GONE_SECONDS"  # environment: how long a remote owner must have been gone
USUAL_PATIENCE = 75.0  # NFS clients may not see a new file for up to a minute
LOST_LIMIT = 3  # an item whose last so many attempts all lost their process has failed
LATEST = 16  # attempts that are read whole; of earlier ones only the word for how they ended
STATUS = re.compile(rb'"status"\s*:\s*"(\w{1,20})"')
KINDS: tuple[Kind, ...] = ("cohort", "phase", "trial")


class State(StrEnum):
    """Where an item stands, by its records."""

    DONE = "done"
    FAILED = "failed"  # terminally: run again only if asked to
    INTERRUPTED = "interrupted"  # begun, not finished, and it will be run again
    RUNNING = "running"
    MISSING = "missing"


@dataclass(frozen=True)
class Attempt:
    """One leased execution of an item; its folder belongs to whoever holds this."""

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
        hashed: The digests of large files that were read before.
        ask: Whether an engine still knows a job (``harness.executors.factory.alive``); None where nobody can ask. A
            job that cannot be asked about counts as alive: it may begin at any time.
        patience: Seconds for which the owner of an attempt on another machine, or of a cluster's job, must have been
            seen to be gone before the attempt is closed: its record may be written and not be seen here yet. An owner
            on this machine is closed at once.
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
        self.clock = FileClock(self.root / "drivers")
        self.hashed = HashedFiles(self.root)
        self.ask: Callable[[EngineJob], bool | None] | None = None
        self.patience = _patience()
        self._gone: dict[Path, float] = {}  # attempt → when its owner was first seen to be gone
        self._notify = notify
        self._ends: dict[Path, frozenset[str]] = {}  # attempt → words for how it ended: a record stays as it is

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
            self._make_way(self.root, folder)
            folder.mkdir(parents=True, exist_ok=True)
        return folder

    def has_checkpoint(self, id: str) -> bool:
        """Say whether an attempt at the item left something to resume from."""
        try:
            return any((self.root / "resume" / id).iterdir())
        except OSError:
            return False

    def _folders(self, kind: Kind, id: str) -> list[tuple[int, Path]]:
        home = self.item_folder(kind, id)
        if home.is_symlink() and self._holds(home) and set_aside(home):
            self._say(f"{home} is a link to another item's folder; it was set aside")
        try:
            with os.scandir(home) as entries:
                found = [entry for entry in entries if entry.name.isdecimal() and entry.name.isascii()]
                return sorted((int(entry.name), Path(entry.path)) for entry in found if self._is_attempt(entry))
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):  # whatever is there, a lease makes way
                return []
            raise StoreError(f"cannot read the store at {error.filename}: {error.strerror}") from error

    def _is_attempt(self, entry: os.DirEntry[str]) -> bool:
        """Say whether an entry is the folder of an attempt; a file, or a link that leads to no other disk, is not.

        Such a one is set aside: through a link to its own folder, or to another item's, one item would undo another.
        """
        if entry.is_dir(follow_symlinks=False):
            return True
        if Path(entry.path).is_dir() and not self._holds(Path(entry.path)):
            return True
        if set_aside(Path(entry.path)):
            self._say(f"{entry.path} is no folder of an attempt; it was set aside")
        return False

    def _holds(self, path: Path) -> bool:
        place = Path(os.path.realpath(path))  # unlike Path.resolve it raises for no loop
        return any(place.is_relative_to(os.path.realpath(root)) for root in (self.root, self.cohorts))

    def _make_way(self, root: Path, folder: Path) -> None:
        for place in make_way(root, folder):
            self._say(f"{place} is no folder although one belongs there; it was set aside")

    # ---------------------------------------------------------------- reading

    def ok(self, kind: Kind, id: str) -> Record | None:
        """Return the record of the earliest ok attempt, the only one a table may use, or None."""
        return next(self.ended(kind, id, Status.OK), None)

    def ended(self, kind: Kind, id: str, status: Status) -> Iterator[Record]:
        """Yield the records of the attempts that ended so, oldest first."""
        folders = self._folders(kind, id)
        for place, (ordinal, folder) in enumerate(folders):
            if place < len(folders) - LATEST and status.value not in self._how_ended(folder):
                continue
            record = self._load(kind, id, ordinal, folder)
            if record is not None and record.status is status:
                yield record

    def _how_ended(self, folder: Path) -> frozenset[str]:
        """Return the words that may say how an attempt ended, without reading its record whole; none without one."""
        if folder not in self._ends:
            try:
                words = STATUS.findall(read_regular(folder / RECORD))
            except OSError:
                return frozenset()
            self._ends[folder] = frozenset(word.decode() for word in words)
        return self._ends[folder]

    def attempts(self, kind: Kind, id: str) -> list[Record]:
        """Return the records of all finished attempts, oldest first."""
        records = (self._load(kind, id, ordinal, folder) for ordinal, folder in self._folders(kind, id))
        return [record for record in records if record is not None]

    def last(self, kind: Kind, id: str) -> Record | None:
        """Return the record of the latest finished attempt, or None."""
        for ordinal, folder in reversed(self._folders(kind, id)):
            record = self._load(kind, id, ordinal, folder)
            if record is not None:
                return record
        return None

    def attempt(self, kind: Kind, id: str, ordinal: int) -> Record | None:
        """Return the record of one attempt, or None while it has none."""
        return self._load(kind, id, ordinal, self.item_folder(kind, id) / f"{ordinal:04d}")

    def has_begun(self, attempt: Attempt) -> bool:
        """Say whether a process of an attempt without a record has reached its work: it says so before all else."""
        with contextlib.suppress(OSError):
            return any(path.name == PROGRESS for path in attempt.folder.iterdir())
        return False

    def state(self, kind: Kind, id: str) -> State:
        """Say where an item stands: done, failed, interrupted, running or missing."""
        lost = 0
        state = State.MISSING
        folders = self._folders(kind, id)
        if len(folders) > LATEST and self.ok(kind, id) is not None:
            return State.DONE
        for ordinal, folder in folders[-LATEST:]:
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
            how = (record.error or {}).get("type") if record.status is Status.INTERRUPTED else None
            if how not in (PREEMPTED, UNSTARTED):  # these say nothing of the item
                lost = lost + 1 if how == LOST else 0
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
        return {id: entry["seconds"] for (k, id), entry in self._index().items() if k == kind}

    def progress(self, kind: Kind, id: str) -> Progress | None:
        """Return what the running attempt at an item last said, or None if none is running."""
        folders = self._folders(kind, id)
        if not folders or (folders[-1][1] / RECORD).exists() or not self._alive(folders[-1][1]):
            return None
        said = read_object(folders[-1][1] / PROGRESS) or {}
        return Progress(
            done=int(_number(said.get("done"))),
            total=int(_number(said.get("total"))),
            what=str(said.get("what", "")),
            slot=str(said.get("slot", "")),
            since=_number(said.get("since")),
            process=process_id(said) if said.get("machine") == machine() else None,
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

    def verify(self, record: Record, *, again: bool = True) -> bool:
        """Check every file of a record against its SHA-256; on a difference set the record aside and return False.

        Args:
            record: Whose files.
            again: Read large files that were hashed before and are as they were then (``harness.store.hashed``).
        """
        folder = self.folder(record)
        for name, expected in record.files.items():
            fault = _fault(folder / name, expected, file_sha256 if again else self.hashed.sha256)
            if fault:
                self._set_aside(folder, f"{folder / name} {fault}")
                return False
        return True

    def checked(self, record: Record, name: str) -> Path:
        """Return the path of one of a record's files after checking its bytes, of a large one once.

        Raises:
            StoreError: If they are not the bytes the record vouches for; the record is set aside.
        """
        path = self.folder(record) / name
        fault = _fault(path, record.files[name], self.hashed.sha256)
        if fault:
            self._set_aside(path.parent, f"{path} {fault}")
            raise StoreError(f"{path} {fault}; its record was set aside: run again and the item is redone")
        return path

    def _load(self, kind: Kind, id: str, ordinal: int, folder: Path) -> Record | None:
        path = folder / RECORD
        try:
            data = read_regular(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except Irregular as error:
            self._set_aside(folder, f"{path} {error}")
            return None
        except OSError as error:
            raise StoreError(f"cannot read {path} ({error.strerror}): check its permissions and its disk") from error
        try:
            record = Record.model_validate_json(data)
        except ValidationError as error:
            self._set_aside(folder, f"{path} is no record ({sentences(error, Record)[0].rstrip('.')})")
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
        self._ends.pop(folder, None)
        self._say(f"{found}; it was set aside and its item counts as missing: run again to redo it")

    def _say(self, sentence: str) -> None:
        self.notices.append(sentence)
        self._notify(sentence)

    # ---------------------------------------------------------------- leasing and finishing

    def driver(self) -> Driver:
        """Return a driver of this store, to be entered with ``with`` before anything is leased."""
        return Driver(self.root)

    def next_ordinal(self, kind: Kind, id: str) -> int:
        """Return the ordinal the next attempt at an item will have."""
        folders = self._folders(kind, id)
        return folders[-1][0] + 1 if folders else 0

    def lease(self, item: Item, driver: Driver, ordinal: int | None = None) -> Attempt | None:
        """Lease the next attempt at an item.

        Attempts whose owner is gone are closed as ``interrupted`` first.

        Args:
            item: What is to be run.
            driver: Who will see to it.
            ordinal: Lease this attempt or none, so that a decision taken on what was there before still holds.

        Returns:
            The attempt, or None if the item is already ok, somebody alive is at it, or somebody else made the attempt
            ``ordinal`` meanwhile (``state`` tells which).

        Raises:
            StoreError: If the store cannot be written.
        """
        home = self.item_folder(item.kind, item.id)
        with writing(home):
            self._make_way(self.cohorts if item.kind == "cohort" else self.root, home)
            home.mkdir(parents=True, exist_ok=True)
            while True:
                last = -1
                folders = self._folders(item.kind, item.id)
                for place, (last, folder) in enumerate(folders):
                    if place < len(folders) - LATEST and Status.OK.value not in (self._how_ended(folder) or {"ok"}):
                        continue  # long over, and not well
                    _look(folder)
                    record = self._load(item.kind, item.id, last, folder)
                    if record is None and not self._ended(folder):
                        if self._alive(folder, driver):
                            return None
                        record = self.close(
                            Attempt(item, last, folder),
                            Status.INTERRUPTED,
                            {"type": TAKEN, "message": "the driver that ran this attempt is gone"},
                        )
                    if record is not None and record.status is Status.OK:
                        return None
                if ordinal is not None and ordinal != last + 1:
                    return None
                attempt = self._take(item, last + 1, home, driver)
                if attempt is not None:
                    return attempt

    def _take(self, item: Item, ordinal: int, home: Path, driver: Driver) -> Attempt | None:
        """Make the folder of an attempt together with its lease, in one step that only one driver can do."""
        prepared = home / f".new-{uuid.uuid4().hex[:12]}"
        folder = home / f"{ordinal:04d}"
        prepared.mkdir()
        try:
            lease = {"driver": driver.token, "token": prepared.name, **myself()}
            (prepared / LEASE).write_text(json_line(lease) + "\n")
            try:
                prepared.rename(folder)  # fails if the name is taken: a folder there is never empty
            except OSError:  # also, on NFS, of a rename that was made and asked for again
                _look(folder)
                if (read_object(folder / LEASE) or {}).get("token") == prepared.name:
                    return Attempt(item, ordinal, folder)
                if folder.exists():
                    return None
                raise
        finally:
            if prepared.exists():
                shutil.rmtree(prepared, ignore_errors=True)
        return Attempt(item, ordinal, folder)

    def entrust(self, attempt: Attempt, job: EngineJob, driver: Driver) -> None:
        """Write into the claim of an attempt that an engine's job runs it, and that ``driver`` watches over it.

        Raises:
            StoreError: If it cannot be written.
        """
        with writing(attempt.folder):
            claim = {"driver": driver.token, **myself(), **job.claimed()}
            write_whole(attempt.folder / LEASE, (json_line(claim) + "\n").encode())

    def entrusted(self, item: Item) -> tuple[Attempt, EngineJob, bool] | None:
        """Return the newest attempt at an item if it has no record and an engine's job was to run it.

        Returns:
            The attempt, the job, and whether a driver watches over it; or None.
        """
        folders = self._folders(item.kind, item.id)
        if not folders or (folders[-1][1] / RECORD).exists():
            return None
        ordinal, folder = folders[-1]
        claim = read_object(folder / LEASE) or {}
        job = EngineJob.of(claim)
        if job is None:
            return None
        return Attempt(item, ordinal, folder), job, driver_alive(self.root, str(claim.get("driver", "")), self.clock)

    def finish(
        self,
        attempt: Attempt,
        status: Status,
        *,
        values: Mapping[str, float] | None = None,
        facts: Mapping[str, object] | None = None,
        arrays: Mapping[str, np.ndarray] | None = None,
        curve: Iterable[Mapping[str, object]] = (),
        error: Mapping[str, str] | None = None,
        provenance: Mapping[str, object] | None = None,
        keep_files: bool = True,
    ) -> Record:
        """Write what an attempt left; the record comes last, in one step.

        Whoever writes first wins: if the attempt already has a record, that one stays and is returned.

        Raises:
            StoreError: If the disk is full or cannot be written; then the attempt has no record.
            TypeError: If facts or curve hold something that is not JSON, or an array holds Python objects.
        """
        item, folder = attempt.item, attempt.folder
        winner = self._winner(attempt)
        if winner is not None:  # nothing may be written over what a record vouches for
            return winner
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
            files = _keep_files(folder, arrays, points) if keep_files else {}
            plain_content = json.loads(json.dumps(Record(**content, files=files).model_dump(mode="python")))
            record = Record(**content, files=files, seal=record_seal(plain_content))
            text = json.dumps({**plain_content, SEAL: record.seal}, sort_keys=True, indent=1) + "\n"
            first = write_new(folder / RECORD, text.encode())
            if not first:
                return self._winner(attempt) or record
            if not keep_files:  # only now: until the record was won, these were the files of whoever would win it
                _clear(folder)
            sync_folder(folder.parent)
            remove(folder / PROGRESS)
            remove(folder / JOB)
        if record.status is Status.OK:
            self._remember(record)
            for name, sha256 in files.items():
                self.hashed.remember(folder / name, sha256)
            _discard(self.root / "resume" / item.id)
        return record

    def close(
        self,
        attempt: Attempt,
        status: Status,
        error: Mapping[str, str],
        provenance: Mapping[str, object] | None = None,
    ) -> Record:
        """Record how an attempt ended that could not record it itself; its files are removed, what it printed stays.

        The record is won first. Whatever the attempt recorded itself meanwhile stays whole, and is returned.
        """
        return self.finish(attempt, status, error=error, provenance=provenance, keep_files=False)

    def _winner(self, attempt: Attempt) -> Record | None:
        """Return the record an attempt has already; beside one that vouches for no file, files are removed."""
        folder = attempt.folder
        _look(folder)
        winner = self._load(attempt.item.kind, attempt.item.id, attempt.ordinal, folder)
        if winner is not None and not winner.files:
            with contextlib.suppress(OSError):
                _clear(folder)
        return winner

    def _ended(self, folder: Path) -> bool:
        """Say whether a folder without a record had one that was set aside."""
        return any(folder.glob(f"{RECORD}.damaged-*"))

    def _alive(self, folder: Path, asker: Driver | None = None) -> bool:
        """Say whether an attempt may still end by itself.

        It may while its driver, its process or the engine's job is there, and, unless all of it was on this machine,
        for ``patience`` seconds after that was last seen to be so.
        """
        clock = asker.clock if asker is not None else self.clock
        lease = read_object(folder / LEASE)
        said = read_object(folder / PROGRESS)
        if self._owned(folder, lease, said, clock):
            self._gone.pop(folder, None)
            return True
        if lease is None or (EngineJob.of(lease) is None and _here(lease) and (said is None or _here(said))):
            return False
        since = self._gone.setdefault(folder, time.monotonic())
        return time.monotonic() - since < self.patience

    def _owned(
        self, folder: Path, lease: dict[str, object] | None, said: dict[str, object] | None, clock: FileClock
    ) -> bool:
        """Say whether the driver that leased an attempt, the process that runs it, or the job that will, is there."""
        if lease is not None and driver_alive(self.root, str(lease.get("driver", "")), clock):
            return True
        if said is not None and owner_alive(said, folder / PROGRESS, clock):
            return True
        job = EngineJob.of(lease) if lease is not None else None
        if job is None:
            return False
        return (self.ask(job) if self.ask is not None else None) is not False

    # ---------------------------------------------------------------- sweeping

    def sweep(self) -> int:
        """Remove what ended runs left behind and nothing reads, and return how much that was.

        Half-written files and the progress of attempts that have a record; leases that were never made; checkpoints
        and empty folders of items that are over. Nothing of an attempt that may still run is touched.
        """
        gone = 0
        for kind in KINDS:
            for id in self._ids(kind):
                gone += sum(map(remove, self._leftovers(self.item_folder(kind, id))))
        for folder in (self.root, self.root / "drivers"):
            gone += sum(map(remove, self._old_temporaries(folder)))
        gone += sum(map(remove, self._old_temporaries(self.root / "resume")))
        return gone + sum(self._spend(folder, done) for folder, done in self._spent_checkpoints())

    def _leftovers(self, home: Path) -> Iterator[Path]:
        yield from self._old_temporaries(home)
        for folder in _subfolders(home):
            with contextlib.suppress(OSError):
                if (folder / RECORD).is_file():
                    spent = (PROGRESS, JOB)
                    yield from (path for path in folder.iterdir() if path.name in spent or is_temporary(path.name))

    def _old_temporaries(self, folder: Path) -> Iterator[Path]:
        """Yield what was being prepared so long ago that nobody is at it any more."""
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                if is_temporary(entry.name) and self.clock.now() - entry.stat().st_mtime > SILENT_SECONDS:
                    yield Path(entry.path)

    def _spent_checkpoints(self) -> Iterator[tuple[Path, bool]]:
        """Yield resume folders of items that are done, with True, and empty ones of items that failed."""
        for folder in _subfolders(self.root / "resume"):
            states = {self.state(kind, folder.name) for kind in KINDS} - {State.MISSING}
            if State.DONE in states:
                yield folder, True
            elif states <= {State.FAILED} and not self.has_checkpoint(folder.name):
                yield folder, False

    def _spend(self, folder: Path, done: bool) -> bool:
        """Remove the checkpoints of a done item, or an empty folder if it is still empty; say whether it is gone."""
        if done:
            _discard(folder)
        else:
            with contextlib.suppress(OSError):
                folder.rmdir()  # refuses a folder into which somebody has put a checkpoint meanwhile
        return not folder.exists()

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
            lines = read_regular(self._index_path).splitlines()
        except Irregular as error:
            if set_aside(self._index_path):
                self._say(f"{self._index_path} {error}; it was set aside and is made anew")
            return index
        except OSError:
            return index
        damaged = False
        for line in lines:
            entry = _entry(line)
            if entry is None:
                damaged = True
            else:
                index[entry.pop("kind"), entry.pop("id")] = entry
        if damaged:  # lines lost here are found again by looking at the records
            rest = (json.dumps({"kind": kind, "id": id, **entry}) + "\n" for (kind, id), entry in index.items())
            with contextlib.suppress(OSError):
                write_whole(self._index_path, "".join(rest).encode())
        return index

    def _matches(self, kind: Kind, id: str, entry: Mapping[str, object]) -> bool:
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


def _here(owner: Mapping[str, object]) -> bool:
    """Say whether a file was written by a process of this machine: its end is known at once."""
    return owner.get("machine") == machine()


def _subfolders(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return [Path(entry.path) for entry in entries if "." not in entry.name and Path(entry.path).is_dir()]
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return []
        raise StoreError(f"cannot read the store at {folder}: {error.strerror}") from error


def _number(value: object) -> float:
    """Return a finite number that a file gives; 0 for anything else."""
    good = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 2**53
    return float(value) if good else 0.0  # type: ignore[arg-type]


def _entry(line: bytes) -> dict[str, Any] | None:
    """Read one line of the index; None if it is damaged."""
    try:
        entry = parse_json(line)
        kind, id = entry["kind"], entry["id"]
        counts = {name: entry[name] for name in ("ordinal", "size", "date")}
        seconds = entry["seconds"]
    except (ValueError, KeyError, TypeError):
        return None
    whole = all(type(count) is int and 0 <= count < 2**63 for count in counts.values())
    timed = type(seconds) in (int, float) and 0 <= seconds < 2**53
    if not (isinstance(kind, str) and isinstance(id, str) and whole and timed):
        return None
    return {"kind": kind, "id": id, **counts, "seconds": float(seconds)}


def _left(folder: Path) -> Iterator[Path]:
    """Yield the files a work left in its folder, not the store's own."""
    for path in folder.rglob("*"):
        own = path.parent == folder and (path.name in BOOKKEEPING or path.name.startswith(f".{RECORD}"))
        if path.is_file() and not own and not path.name.startswith(f".{PROGRESS}"):
            yield path


def _keep_files(folder: Path, arrays: Mapping[str, np.ndarray] | None, points: Sequence[str]) -> dict[str, str]:
    """Write arrays and curve, make everything in the folder durable, and return path → SHA-256."""
    if arrays:
        write_arrays(folder / ARRAYS, arrays)
    if points:
        (folder / CURVE).write_text("\n".join(points) + "\n")
    paths = sorted(_left(folder))
    sync_files(paths)
    return {path.relative_to(folder).as_posix(): sha256_once(path) for path in paths}


def _clear(folder: Path) -> None:
    """Remove what an attempt that does not count left; its record, its claim and what it printed stay."""
    for path in folder.iterdir():
        if path.name in {LEASE, OUTPUT, PROGRESS} or path.name.startswith(RECORD):
            continue
        remove(path)


def _look(folder: Path) -> None:
    """List a folder: an NFS client that has remembered that a file is absent then asks the server again."""
    with contextlib.suppress(OSError):
        list(folder.iterdir())


def _discard(folder: Path) -> None:
    """Remove a folder under a name of its own: whoever makes the folder anew meanwhile keeps what they put into it."""
    with contextlib.suppress(OSError):
        remove(folder.rename(beside(folder)))


def _patience() -> float:
    """Read how long a remote owner must have been gone.

    Raises:
        StoreError: If the variable holds no number of seconds.
    """
    given = os.environ.get(PATIENCE, "")
    try:
        seconds = float(given or USUAL_PATIENCE)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 1e6:
        raise StoreError(f'found {PATIENCE}="{given[:40]}"; expected seconds from 0, such as 75; correct or unset it.')
    return seconds


def _fault(path: Path, expected: str, sha256: Callable[[Path], str]) -> str | None:
    """Say what is wrong with a file that should have a given SHA-256, or None."""
    try:
        if path.exists() and not path.is_file():
            return "is no file although its record lists it as one"
        found = sha256(path)
    except FileNotFoundError:
        return "is gone although its record lists it"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return None if found == expected else f"has SHA-256 {found[:12]}…, expected {expected[:12]}… as in its record"
