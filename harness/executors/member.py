"""One of the processes that run an item together: ``torchrun`` starts it, with a job of ``harness.executors.together``.

Process 0 leaves the record; the others do the same work in a temporary folder that goes with them.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from harness.contracts import Context, Preempted
from harness.dotted import import_dotted
from harness.environment import Slot
from harness.executors.child import Leaving, Terminated, execute, leave_preempted, resolve
from harness.executors.interface import LEFT, Job
from harness.spec import Status
from harness.store import Store

JOIN = "methods.together:join"  # which works can be divided is known there


def take_part(handed: Path) -> int:
    """Do this process's part of a job.

    Returns:
        0 if the item ended ok; otherwise ``torchrun`` ends the others, which would wait for ever.
    """
    threading.Thread(target=_watch, daemon=True, name="leash").start()
    leaving = Leaving()
    leaving.listen()
    job: Job = pickle.loads(handed.read_bytes())  # noqa: S301  written by our own driver, for this very run
    job = replace(job, slot=_own_device(job))
    rank = int(os.environ["RANK"])
    join: Callable[[str, str, int], bool] = import_dotted(JOIN)
    divided = join(job.item.run, job.slot.device_class, job.slot.threads)
    if rank > 0:
        if divided:
            follow(job, leaving)
        return 0
    store = Store(job.root, job.cohorts, notify=lambda sentence: None)
    try:
        execute(job, leaving)
    except (Terminated, Preempted) as end:
        leave_preempted(job, store, end)
        return LEFT
    record = store.ok(job.item.kind, job.item.id)
    return 0 if record is not None and record.status is Status.OK else 1


def _watch() -> None:
    """End this process and its loaders when the driver is gone, which holds the other end of standard input."""
    with contextlib.suppress(OSError):
        os.read(0, 1)
    os.killpg(os.getpgrp(), signal.SIGKILL)


def _own_device(job: Job) -> Slot:
    """Return the slot with this process's device alone, which CUDA must be told before it starts."""
    slot = job.slot
    if slot.device_class == "cuda":
        slot = replace(slot, visible=(slot.visible or "").split(",")[int(os.environ["LOCAL_RANK"])])
        os.environ["CUDA_VISIBLE_DEVICES"] = slot.visible or ""
    return slot


def follow(job: Job, leaving: Leaving) -> None:
    """Do the same work as process 0 and keep nothing of it; all of them were asked to leave if one was."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(job.root, job.cohorts, notify=lambda sentence: None)
        context = Context(
            device=job.slot.device,
            folder=Path(folder),
            inputs=dict(job.inputs),
            resume=store.resume_folder(job.item.id),
            workers=job.workers,
            data_roots=dict(job.data_roots),
            leaving=leaving,
        )
        with contextlib.suppress(Terminated, Preempted):
            resolve(job.item.run)(job.item.spec, context)


if __name__ == "__main__":
    sys.exit(take_part(Path(sys.argv[1])))
