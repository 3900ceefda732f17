"""The runner: drains a graph of items over all slots; running again is resuming."""

from harness.runner.departure import Departure, Left
from harness.runner.overview import Overview, Running, status
from harness.runner.policy import RetryPolicy
from harness.runner.progress import PlainProgress, Progress, RichProgress, Silent, choose_progress
from harness.runner.run import Summary, run

__all__ = [
    "Departure",
    "Left",
    "Overview",
    "PlainProgress",
    "Progress",
    "RetryPolicy",
    "RichProgress",
    "Running",
    "Silent",
    "Summary",
    "choose_progress",
    "run",
    "status",
]
