"""Pretrain on several GPUs of one machine: ``dira-bench run --together 4 --method METHOD --profile paper``.

Fills the same store as any run: every phase of the method that is not done is claimed as one attempt, and
``torchrun`` starts the processes that train it together (``methods.training.processes``). Process 0 leaves the record;
the others' files go with their temporary folders. Whatever else a method needs (a cohort, a supervised phase, words and
volumes in 3D) cannot be divided: process 0 does it alone. ``dira-bench run`` itself keeps one process to a slot: the
first choice where there are more pretrainings than GPUs, since nothing has to be exchanged.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

from harness.contracts import Context
from harness.environment import Slot, check_device, gpus
from harness.errors import ConfigurationError, Unavailable
from harness.executors.child import execute, resolve
from harness.executors.interface import Ended, Handle, Job
from harness.spec import Status
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


def place(count: int, device: str = "auto") -> tuple[Slot, int]:
    """Return the slot on which several processes run a job together, and how many they are.

    Args:
        count: How many; 0 for one a GPU, or one process on a CPU.
        device: ``auto``, ``cpu`` or ``cuda``.

    Raises:
        ConfigurationError: If there are fewer GPUs than processes.
        Unavailable: If ``cuda`` was asked for and no GPU is visible.
    """
    check_device(device)
    found = [] if device == "cpu" else gpus()
    if device == "cuda" and not found:
        raise Unavailable("--device cuda was asked for but no GPU is visible; use --device cpu")
    count = count or max(1, len(found))
    if found and count > len(found):
        raise ConfigurationError(f"found --together {count}; expected at most {len(found)}, one a GPU")
    visible = ",".join(name for name, _ in found[:count])
    if not found:
        return Slot(0, f"{count} together", "cpu", "cpu", visible), count
    return Slot(0, f"{count} together", "cuda", "cuda:0", visible, 1, found[0][1]), count


def main() -> int:
    """Be one of the processes of a job; a person is shown the one door."""
    if len(sys.argv) == 3 and sys.argv[1] == "--job":
        return take_part(Path(sys.argv[2]))
    print(  # noqa: T201
        'dira-bench: methods.distributed is no command; expected "dira-bench run --together 4 --method METHOD".',
        file=sys.stderr,
    )
    return 2


if __name__ == "__main__":
    sys.exit(main())
