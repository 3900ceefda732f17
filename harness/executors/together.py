"""One item over several processes, one GPU each: ``dira-bench run --engine together --slots 4 --method METHOD``.

Fills the same store as any run: every phase of the method that is not done is leased as one attempt, and ``torchrun``
starts the processes that train it together (``harness.executors.member``). What cannot be divided, process 0 does
alone. ``dira-bench run`` itself keeps one process to a slot: the first choice where there are more pretrainings than
GPUs, since nothing has to be exchanged.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.environment import Device, Slot, check_device, gpus
from harness.errors import ConfigurationError, Unavailable
from harness.executors.interface import Ended, Executor, Handle, Job
from harness.executors.options import EngineOptions, NoOptions


@dataclass
class Launched:
    """A job under ``torchrun``.

    Attributes:
        job: What runs.
        process: The launcher.
    """

    job: Job
    process: subprocess.Popen[bytes]

    def let_go(self) -> None:
        """Close this end of the leash."""
        if self.process.stdin is not None:
            self.process.stdin.close()


class TogetherExecutor(Executor):
    """One slot on which all processes run a job together (``harness.executors.interface.Executor``).

    Args:
        processes: How many, one device each.
        slot: Where: the devices they may see.
    """

    name = "together"

    def __init__(self, processes: int, slot: Slot) -> None:
        self.slots: tuple[Slot, ...] = (slot,)
        self._processes = processes
        self._handed = tempfile.TemporaryDirectory()
        self._launched: list[Launched] = []

    def submit(self, job: Job) -> Launched:
        """Start the processes."""
        handed = Path(self._handed.name) / f"{job.item.id}-{job.ordinal}"
        handed.write_bytes(pickle.dumps(job))
        launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
        command = [*launcher, str(self._processes), "-m", "harness.executors.member", str(handed)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
        if job.slot.device_class == "cpu":
            environment["CUDA_VISIBLE_DEVICES"] = ""
        leash = subprocess.PIPE  # never written to: its end is the driver's
        launched = Launched(job, subprocess.Popen(command, env=environment, stdin=leash, start_new_session=True))
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
        for launched in over:
            launched.let_go()
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
            launched.let_go()
        self._handed.cleanup()


def place(count: int, device: Device = "auto") -> tuple[Slot, int]:
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
        raise ConfigurationError(
            f"found --slots {count} with --engine together; expected at most {len(found)}, one a GPU"
        )
    visible = ",".join(name for name, _ in found[:count])
    if not found:
        return Slot(0, f"{count} together", "cpu", "cpu", visible), count
    return Slot(0, f"{count} together", "cuda", "cuda:0", visible, 1, found[0][1]), count


def start(slots: int | None, device: Device, preload: Sequence[str], options: EngineOptions) -> TogetherExecutor:
    """Make the executor (``harness.executors.factory``): here ``slots`` are the processes of the one slot.

    Raises:
        ConfigurationError: If there are fewer GPUs than processes, or there are options.
        Unavailable: If ``cuda`` was asked for and no GPU is visible.
    """
    options.read(NoOptions)
    slot, processes = place(slots or 0, device)
    return TogetherExecutor(processes, slot)
