"""What is tried again: retries are data."""

from __future__ import annotations

from dataclasses import dataclass

from harness.spec import Record, Status
from harness.store.records import LOST, PREEMPTED


@dataclass(frozen=True)
class RetryPolicy:
    """Which attempts are followed by another, and when.

    A process that was killed or lost, and a timeout that left a checkpoint, are tried again; one that was asked to
    leave and wrote a checkpoint, however often. Running out of memory, an exception and a divergence would only happen
    again: they are recorded and left, unless ``retry_failed``.

    Attributes:
        limit: Tries after the first, within one run.
        backoff: Seconds before the first of them.
        factor: By which the wait grows each time.
        retry_failed: Begin anew with items that earlier runs left as failed.
    """

    limit: int = 2
    backoff: float = 1.0
    factor: float = 4.0
    retry_failed: bool = False

    def delay(self, record: Record, tries: int, checkpoint: bool) -> float | None:
        """Return the seconds to wait before the next try, or None if there is none.

        Args:
            record: How the last attempt ended.
            tries: Attempts made in this run so far that say something of the item.
            checkpoint: Whether the item has something to resume from.
        """
        if record.status is Status.INTERRUPTED and (record.error or {}).get("type") == PREEMPTED:
            return self.backoff if checkpoint or tries <= self.limit else None
        lost = record.status is Status.INTERRUPTED and (record.error or {}).get("type") == LOST
        resumable = record.status is Status.TIMEOUT and checkpoint
        if not (lost or resumable) or tries > self.limit:
            return None
        return float(self.backoff * self.factor ** (tries - 1))
