"""What an engine must offer to run items: submit, wait, stop, close; beyond one machine also adopt and detach.

An engine carries a ``Job`` to a process somewhere and says when that process ended. What the job left is read from the
store, never from the engine, so all engines share one child entry (``harness.executors.child``) and one truth.

An engine of this machine derives from ``Executor`` and is done with four methods. One whose jobs run on machines that
the driver does not see says ``remote = True``; then

* the job travels as a file (``harness.executors.jobs``) and the child settles device, model and threads itself;
* a job may wait in a queue: it has begun once its attempt has a progress file, and no clock runs before;
* the driver may leave (``detach``), and a later one takes its jobs up (``adopt``).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from harness.environment import Slot
from harness.errors import ConfigurationError
from harness.spec import Ending, Item
from harness.store import Attempt, EngineJob

PRELOAD_VARIABLE = "DIRA_BENCH_PRELOAD"  # how the fork server is told what to import
DISK_FULL = 74  # exit status of a child that could not write its record (EX_IOERR)
LEFT = 75  # exit status of a child that was asked to leave and wrote a checkpoint (EX_TEMPFAIL)
NOT_STARTED = 78  # exit status of a child that could not begin its job (EX_CONFIG); standard error says why


@dataclass(frozen=True)
class Job:
    """Everything a child needs to run one attempt; picklable, JSON (``harness.executors.jobs``), no open file in it.

    Attributes:
        item: What to run.
        ordinal: Which attempt at it; its folder in the store is leased already.
        root, cohorts: The store.
        slot: Where it runs.
        executor: The engine's name, for the record.
        inputs: Id of each needed item → folder of its ok attempt.
        workers: Loader processes the work may start.
        data_roots: Task name → root of a real data set.
        search_path: The driver's ``sys.path``, so that the child imports what the driver can.
        preload: Modules to import before the clocks start; missing ones are skipped.
        environment: Variables that the child sets before it imports anything heavy.
    """

    item: Item
    ordinal: int
    root: Path
    cohorts: Path
    slot: Slot
    executor: str = ""
    inputs: Mapping[str, Path] = field(default_factory=dict)
    workers: int = 0
    data_roots: Mapping[str, Path] = field(default_factory=dict)
    search_path: tuple[str, ...] = ()
    preload: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)

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
        message: One sentence of the child or the engine, or "".
        ending: What the engine knows beyond the exit status; None leaves it to ``reason``.
    """

    code: int | None
    message: str = ""
    ending: Ending | None = None

    @property
    def reason(self) -> Ending:
        """Why it ended: what the engine says, else what the exit status says."""
        if self.ending is not None:
            return self.ending
        if self.code is None:
            return Ending.GONE
        special = {LEFT: Ending.PREEMPTED, NOT_STARTED: Ending.NOT_STARTED}
        return special.get(self.code, Ending.SIGNAL if self.code < 0 else Ending.EXIT)


class Executor(ABC):
    """An engine; what is no abstract method suits an engine of this machine.

    Attributes:
        name: What stands in provenance, and what ``--engine`` calls it.
        slots: Fixed; at most one job runs in each.
        remote: Whether jobs run where the driver sees neither their processes nor their devices.
        settle_seconds: After a job is gone without a record, how long the driver waits for one: other machines see a
            shared folder late.
    """

    name: str
    slots: tuple[Slot, ...]
    remote: bool = False
    settle_seconds: float = 0.0

    @abstractmethod
    def submit(self, job: Job) -> Handle:
        """Start a job in its slot, or queue it, and return at once.

        Raises:
            DiraBenchError: If the engine takes no job.
        """

    @abstractmethod
    def wait(self, timeout: float) -> list[tuple[Handle, Ended]]:
        """Wait up to ``timeout`` seconds and return the jobs that have ended since the last call."""

    @abstractmethod
    def stop(self, handle: Handle, grace: float) -> None:
        """Ask a job to end, and make it end after ``grace`` seconds; returns at once, ``wait`` sees it through.

        A job that waits in a queue is taken out of it.
        """

    @abstractmethod
    def close(self) -> None:
        """End every job that still runs and give back what the engine holds; nothing is left behind."""

    def reference(self, handle: Handle) -> EngineJob | None:
        """Return by which name the engine knows a job; None if no other driver could find it.

        It is asked after ``submit`` and after each ``wait`` until there is one, so that an engine may send several jobs
        at once; it then stands in the claim of the attempt.
        """
        return None

    def adopt(self, job: Job, reference: EngineJob) -> Handle | None:
        """Watch a job that an earlier driver submitted as if it were submitted now; None if it is not there."""
        return None

    def detach(self) -> None:
        """Let go of every job: ``close`` then ends none. Only a remote engine can.

        Raises:
            ConfigurationError: If the engine's jobs end with their driver.
        """
        raise ConfigurationError(f"engine {self.name} cannot detach: its jobs end with this command.")
