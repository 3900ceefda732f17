"""Ending what engines still have of a plan: jobs that wait or run, whether or not a driver watches over them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass

from harness.errors import DiraBenchError
from harness.executors.factory import cancel as cancel_job
from harness.spec import Item, Status
from harness.store import EngineJob, State, Store
from harness.store.records import PROGRESS


@dataclass(frozen=True)
class Cancelled:
    """What came of it.

    Attributes:
        jobs: Those that were ended.
        refused: Job → why its engine could not be told; its attempt is closed, so it does nothing if it begins.
        watched: Items that run on some machine without an engine's job: they end with their driver.
    """

    jobs: tuple[EngineJob, ...]
    refused: dict[EngineJob, str]
    watched: tuple[Item, ...]


def cancel(store: Store, items: Iterable[Item]) -> Cancelled:
    """End the jobs of items that are not over.

    The attempt is closed first, then the engine is told: so neither a driver nor the job itself can take the end for an
    accident, and a job that cannot be reached finds its attempt over.

    Args:
        store: Where their claims are.
        items: Which.
    """
    ended: list[EngineJob] = []
    refused: dict[EngineJob, str] = {}
    watched: list[Item] = []
    for item in items:
        found = store.entrusted(item)
        if found is None:
            if store.state(item.kind, item.id) is State.RUNNING:
                watched.append(item)
            continue
        attempt, job, _ = found
        store.close(attempt, Status.INTERRUPTED, {"type": "Stopped", "message": "the job was cancelled"})
        try:
            cancel_job(job)
        except DiraBenchError as error:
            refused[job] = str(error)
        else:
            ended.append(job)
        with contextlib.suppress(OSError):  # which it may have written anew while it was ended
            (attempt.folder / PROGRESS).unlink(missing_ok=True)
    return Cancelled(tuple(ended), refused, tuple(watched))
