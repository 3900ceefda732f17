"""Pretrain on several GPUs of one machine: ``python -m methods.distributed METHOD --processes 4 --profile paper``.

Fills the same store as ``dira-bench run``: every phase of the method that is not done is claimed as one attempt, and
``torchrun`` starts the processes that train it together (``methods.training.processes``). Process 0 leaves the record;
the others' files go with their temporary folders. Whatever else a method needs (a cohort, a supervised phase, words and
volumes in 3D) cannot be divided: process 0 does it alone. ``dira-bench run`` itself keeps one process to a slot: the
first choice where there are more pretrainings than GPUs, since nothing has to be exchanged.
"""

from __future__ import annotations

import argparse
import os
import pickle
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

from harness.contracts import Context
from harness.environment import Slot, gpus
from harness.errors import ConfigurationError, unknown
from harness.executors.child import execute, resolve
from harness.executors.interface import Ended, Handle, Job
from harness.plan import make_plan
from harness.published import load_families
from harness.registry import load_parameters, load_registry, project_root
from harness.runner import choose_progress, run
from harness.spec import Kind, Status
from harness.store import Store

SHARED = "methods.pretext:run_phase"  # the one work that several processes know how to divide


@dataclass
class Launched:
    """A job under ``torchrun``.

    Attributes:
        job: What runs.
        process: The launcher.
    """

    job: Job
    process: subprocess.Popen[bytes]


class TogetherExecutor:
    """One slot on which all processes run a job together (``harness.executors.interface.Executor``).

    Args:
        processes: How many, one device each.
        slot: Where: the devices they may see.
        folder: Where jobs are handed over.
    """

    name = "together"

    def __init__(self, processes: int, slot: Slot, folder: Path) -> None:
        self.slots: tuple[Slot, ...] = (slot,)
        self._processes, self._folder = processes, folder
        self._launched: list[Launched] = []

    def submit(self, job: Job) -> Launched:
        """Start the processes."""
        handed = self._folder / f"{job.item.id}-{job.ordinal}"
        handed.write_bytes(pickle.dumps(job))
        launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
        command = [*launcher, str(self._processes), "-m", "methods.distributed", "--job", str(handed)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
        if job.slot.device_class == "cpu":
            environment["CUDA_VISIBLE_DEVICES"] = ""
        launched = Launched(job, subprocess.Popen(command, env=environment, start_new_session=True))
        self._launched.append(launched)
        return launched

    def wait(self, timeout: float) -> list[tuple[Handle, Ended]]:
        """Return what has ended, waiting a little for something to end."""
        limit = time.monotonic() + timeout
        while True:
            over = [launched for launched in self._launched if launched.process.poll() is not None]
            if over or time.monotonic() >= limit:
                break
            time.sleep(0.05)
        self._launched = [launched for launched in self._launched if launched not in over]
        return [(launched, Ended(launched.process.returncode)) for launched in over]

    def stop(self, handle: Handle, grace: float) -> None:
        """End the processes of a job: the launcher passes TERM on and kills what stays."""
        for launched in self._launched:
            if launched is handle:
                launched.process.terminate()

    def close(self) -> None:
        """End whatever still runs."""
        for launched in self._launched:
            launched.process.terminate()
            launched.process.wait()


def take_part(handed: Path) -> int:
    """Be one of the processes that ``torchrun`` started for a job; process 0 leaves the record.

    Returns:
        0 if the phase ended ok; otherwise ``torchrun`` ends the others, which would wait for ever.
    """
    import torch

    job: Job = pickle.loads(handed.read_bytes())  # noqa: S301  written by the executor above, for this very run
    rank = int(os.environ["RANK"])
    slot = job.slot
    if slot.device_class == "cuda":  # before CUDA starts: each process sees its own device only
        slot = replace(slot, visible=slot.visible.split(",")[int(os.environ["LOCAL_RANK"])])
        os.environ["CUDA_VISIBLE_DEVICES"] = slot.visible
    job = replace(job, slot=slot)
    torch.set_num_threads(slot.threads)
    alone = job.item.run != SHARED
    if alone and rank > 0:
        return 0
    if not alone:
        torch.distributed.init_process_group("nccl" if slot.device_class == "cuda" else "gloo")
    if rank > 0:
        follow(job)
        return 0
    execute(job)
    record = Store(job.root, job.cohorts, notify=lambda sentence: None).ok(job.item.kind, job.item.id)
    return 0 if record is not None and record.status is Status.OK else 1


def follow(job: Job) -> None:
    """Do the same work as process 0 and keep nothing of it."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(job.root, job.cohorts, notify=lambda sentence: None)
        context = Context(
            device=job.slot.device,
            folder=Path(folder),
            inputs=dict(job.inputs),
            resume=store.resume_folder(job.item.id),
            workers=job.workers,
            data_roots=dict(job.data_roots),
        )
        resolve(job.item.run)(job.item.spec, context)


def main() -> int:
    """Pretrain a method, or be one of its processes."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("method", nargs="?", help="name of an entry in methods/registry.yaml")
    options.add_argument("--processes", type=int, help="default: one a GPU")
    options.add_argument("--profile", help="default: that of params.yaml")
    options.add_argument("--workers", type=int, default=0, help="loader processes of each, on a CPU")
    options.add_argument("--job", type=Path, help=argparse.SUPPRESS)
    asked = options.parse_args()
    if asked.job is not None:
        return take_part(asked.job)
    root = project_root()
    registry = load_registry(root)
    if asked.method not in registry.methods:
        raise unknown("method", str(asked.method), registry.methods, "methods/registry.yaml")
    plan = make_plan(
        registry, load_parameters(root, {"profile": asked.profile}), load_families(root / "reports" / "families.yaml")
    )
    found = gpus()
    count = asked.processes or max(1, len(found))
    if found and count > len(found):
        raise ConfigurationError(f"found --processes {count}; expected at most {len(found)}, one a GPU")
    visible = ",".join(name for name, _ in found[:count])
    slot = Slot(
        0,
        f"{count} together",
        "cuda" if found else "cpu",
        "cuda:0" if found else "cpu",
        visible,
        1,
        found[0][1] if found else "",
    )
    store = Store(root / ".trials", root / ".cohorts")
    kinds: tuple[Kind, ...] = ("cohort", "phase", "trial")
    done = {id for kind in kinds for id in store.done_ids(kind)}
    chains = [chain[-1] for (method, _), chain in plan.phases.items() if method == asked.method and chain]
    items = plan.needed([item for item in chains if item.id not in done], done)
    with tempfile.TemporaryDirectory() as folder:
        executor = TogetherExecutor(count, slot, Path(folder))
        try:
            summary = run(
                items,
                store,
                executor,
                progress=choose_progress(),
                workers=asked.workers,
                data_roots=registry.data_roots,
            )
        finally:
            executor.close()
    for record in summary.failed.values():
        print(f"{record.status.value}: {record.error}", file=sys.stderr)  # noqa: T201
    return 0 if summary.complete else 1


if __name__ == "__main__":
    sys.exit(main())
