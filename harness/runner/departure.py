"""When a run leaves before everything is done: pilot jobs, of which many share one store, and runs that detach."""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import StrEnum


class Left(StrEnum):
    """Why a run left although something is not done."""

    NO = ""
    IDLE = "idle"  # other drivers have a slot for each item that is left
    UNTIL = "until"  # its time was over, or nothing that is left would have ended in it
    DETACHED = "detached"  # its jobs go on without it


@dataclass(frozen=True)
class Departure:
    """When a run leaves; by default only once everything is over.

    Attributes:
        until: Seconds since 1970 at which it leaves.
        when_idle: Leave once other drivers can take all that is left.
        detached: Submit what is ready, and leave; for engines whose jobs outlive their driver.
    """

    until: float | None = None
    when_idle: bool = False
    detached: bool = False

    def due(self) -> bool:
        """Say whether the time has come."""
        return self.until is not None and time.time() >= self.until

    def allows(self, seconds: float | None, span: float) -> bool:
        """Say whether an item may be started now.

        One that would not end in time is left to a later run, unless it is longer than this whole run was to be: no
        run of this length would ever end it, and it goes on in parts, from checkpoint to checkpoint.

        Args:
            seconds: How long it is expected to take; None if nothing like it was measured.
            span: Seconds from the beginning of this run to ``until``.
        """
        if self.until is None or seconds is None:
            return True
        return seconds <= self.until - time.time() or seconds > span


def idle(waiting: int, elsewhere: int) -> bool:
    """Say whether this run can do nothing more that others could not do as soon.

    While other drivers are at ``elsewhere`` items, each holds a slot, and takes up one of the ``waiting`` items when it
    is free. Where more are waiting, a part of them would wait again: so a run stays for the hundred trials that a phase
    in another driver will release, and leaves at the end, when there is nothing but what runs elsewhere.

    Args:
        waiting: Items that nobody is at, none of them ready.
        elsewhere: Items that other drivers are at.
    """
    return waiting <= elsewhere
