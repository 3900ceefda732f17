"""What an engine must offer to run items: submit, wait, stop, close.

An engine carries a ``Job`` to a process somewhere and says when that process ended. What the job left is read from the
store, never from the engine, so all engines share one child entry (``harness.executors.child``) and one truth.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from harness.environment import Slot
from harness.spec import Item
from harness.store import Attempt

PRELOAD_VARIABLE = "DIRA_BENCH_PRELOAD"  # how the fork server is told what to import
DISK_FULL = 74  # exit status of a child that could not write its record (EX_IOERR)


@dataclass(frozen=True)
class Job:
    """Everything a child needs to run one attempt; picklable, and no open file in it.

    Attributes:
        item: What to run.
        ordinal: Which attempt at it; its folder in the store is leased already.
        root, cohorts: The store.
        inputs: Id of each needed item → folder of its ok attempt.
        slot: Where it runs.
        workers: Loader processes the work may start.
        data_roots: Task name → root of a real data set.
        search_path: The driver's ``sys.path``, so that the child imports what the driver can.
        provenance: What the driver knows about machine and set-up; the child adds its own part.
    """

    item: Item
    ordinal: int
    root: Path
    cohorts: Path
    slot: Slot
    inputs: Mapping[str, Path] = field(default_factory=dict)
    workers: int = 0
    data_roots: Mapping[str, Path] = field(default_factory=dict)
    search_path: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def attempt(self) -> Attempt:
        """The attempt this job executes."""
        home = self.cohorts if self.item.kind == "cohort" else self.root / self.item.kind / self.item.id[:2]
        return Attempt(self.item, self.ordinal, home / self.item.id / f"{self.ordinal:04d}")


class Handle(Protocol):
    """A job that was submitted."""

    @property
    def job(self) -> Job:
        """What was submitted."""
        ...


@dataclass(frozen=True)
class Ended:
    """How the process of a job ended; whether the item succeeded stands in the store.

    Attributes:
        code: Exit status; negative is the signal that killed it; None if nobody knows.
        message: One sentence the child sent, or "".
    """

    code: int | None
    message: str = ""


@runtime_checkable
class Executor(Protocol):
    """An engine. ``slots`` is fixed; at most one job runs in each."""

    name: str
    slots: tuple[Slot, ...]

    def submit(self, job: Job) -> Handle:
        """Start a job in its slot and return at once."""
        ...

    def wait(self, timeout: float) -> list[tuple[Handle, Ended]]:
        """Wait up to ``timeout`` seconds and return the jobs that have ended since the last call."""
        ...

    def stop(self, handle: Handle, grace: float) -> None:
        """Ask a job to end, and make it end after ``grace`` seconds; returns at once, ``wait`` sees it through."""
        ...

    def close(self) -> None:
        """End every job that still runs and give back what the engine holds."""
        ...
