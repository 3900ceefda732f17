"""What it means for an item that its process ended and left no record."""

from __future__ import annotations

import contextlib
import signal
from dataclasses import dataclass
from enum import StrEnum

from harness.executors.interface import Ended
from harness.spec import Ending, Status
from harness.store.records import LOST, PREEMPTED, UNSTARTED


class Asked(StrEnum):
    """Why this driver told a job to end."""

    NO = ""
    TIMEOUT = "timeout"  # it took longer than an attempt may
    STOPPED = "stopped"  # the run ends


@dataclass(frozen=True)
class Fate:
    """What the record of such an attempt says.

    Attributes:
        status: How the attempt ended.
        type: The error's type; retries and the store tell by it.
        message: One sentence.
        reason: Why the process ended.
    """

    status: Status
    type: str
    message: str
    reason: Ending

    @property
    def error(self) -> dict[str, str]:
        """What stands in the record."""
        return {"type": self.type, "message": self.message, "reason": self.reason.value}


def fate(ended: Ended, asked: Asked, *, begun: bool, limit: float | None = None) -> Fate:
    """Say what became of an attempt whose process ended without a record.

    Args:
        ended: How.
        asked: Whether this driver told it to end.
        begun: Whether the process had reached the work.
        limit: Seconds that an attempt may take.
    """
    how, reason = describe(ended), ended.reason
    if asked is Asked.TIMEOUT:
        return Fate(Status.TIMEOUT, "Timeout", f"took longer than {limit:g} s and was ended ({how})", reason)
    if reason is Ending.PREEMPTED:
        return Fate(Status.INTERRUPTED, PREEMPTED, f"it was asked to leave ({how})", reason)
    if asked is Asked.STOPPED:
        return Fate(Status.INTERRUPTED, "Stopped", f"the run was stopped ({how})", reason)
    if reason is Ending.NOT_STARTED or not begun:
        return Fate(Status.INTERRUPTED, UNSTARTED, f"the process did not start ({how})", Ending.NOT_STARTED)
    if reason is Ending.OUT_OF_MEMORY:
        return Fate(Status.OUT_OF_MEMORY, "OutOfMemory", f"the process was ended for its memory ({how})", reason)
    if reason is Ending.TIME_LIMIT:
        return Fate(Status.TIMEOUT, "TimeLimit", f"the engine's time limit came ({how})", reason)
    return Fate(Status.INTERRUPTED, LOST, f"the process ended without a record ({how})", reason)


def describe(ended: Ended) -> str:
    """Write how a process ended."""
    if ended.ending is not None or ended.code is None:
        known = "its process is gone" if ended.reason is Ending.GONE else ended.reason.value
    elif ended.code >= 0:
        known = f"exit status {ended.code}"
    else:
        known = f"killed by signal {-ended.code}"
        with contextlib.suppress(ValueError):
            known = f"killed by {signal.Signals(-ended.code).name}"
    said = " ".join(ended.message.split())
    return f"{known}: {said}" if said else known
