"""An executor of somebody else's: one job at a time, each in a Python that it starts itself."""

import os
import pickle
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from harness.environment import Device, device_slots
from harness.executors.interface import Ended, Executor, Handle, Job
from harness.executors.options import EngineOptions, NoOptions

CHILD = """
import pickle, sys
from harness.executors.child import execute
sys.exit(execute(pickle.load(sys.stdin.buffer))[0])
"""


@dataclass
class Started:
    """A job and its process."""

    job: Job
    process: subprocess.Popen[bytes]


class InTurn(Executor):
    """One slot of this machine."""

    name = "in_turn"

    def __init__(self, device: Device) -> None:
        self.slots = device_slots(1, device)
        self._running: list[Started] = []

    def submit(self, job: Job) -> Started:
        """Start the job."""
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        process = subprocess.Popen([sys.executable, "-c", CHILD], stdin=subprocess.PIPE, env=environment)
        assert process.stdin is not None
        process.stdin.write(pickle.dumps(job))
        process.stdin.close()
        self._running.append(Started(job, process))
        return self._running[-1]

    def wait(self, timeout: float) -> list[tuple[Handle, Ended]]:
        """Look every twentieth of a second."""
        limit = time.monotonic() + timeout
        while not (over := [one for one in self._running if one.process.poll() is not None]):
            if time.monotonic() >= limit:
                break
            time.sleep(0.05)
        self._running = [one for one in self._running if one not in over]
        return [(one, Ended(one.process.returncode)) for one in over]

    def stop(self, handle: Handle, grace: float) -> None:
        """Ask the process to end."""
        for one in self._running:
            if one is handle:
                one.process.terminate()

    def close(self) -> None:
        """End what still runs."""
        for one in self._running:
            one.process.kill()
            one.process.wait()


def start(slots: int | None, device: Device, preload: Sequence[str], options: EngineOptions) -> InTurn:
    """Make the executor: the entry point of ``dira_bench.executors``."""
    options.read(NoOptions)
    return InTurn(device)
