"""Where items run: local slots, and engines beyond one machine, behind one small interface."""

from harness.executors.interface import DISK_FULL, LEFT, NOT_STARTED, Ended, Executor, Handle, Job
from harness.executors.local import LocalExecutor
from harness.store import EngineJob

__all__ = [
    "DISK_FULL",
    "LEFT",
    "NOT_STARTED",
    "Ended",
    "EngineJob",
    "Executor",
    "Handle",
    "Job",
    "LocalExecutor",
]
