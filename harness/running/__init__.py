"""Running: from a plan and a store to what is done. ``dira-bench run`` and DVC's stages call it, and print.

``execute`` runs what is planned and not done, ``again`` repeats what is done and compares, ``refresh`` brings results
files up to date. What is asked for is ``Chosen``; where it runs is an ``Engine`` (``harness.executors.factory``).
"""

from harness.running.execution import Settings, done_ids, execute, settled
from harness.running.refreshing import refresh
from harness.running.repeating import Interrupted, Repeated, again, sampled
from harness.running.selection import Chosen, check_block, find_item, nothing_to_run, phases_of

__all__ = [
    "Chosen",
    "Interrupted",
    "Repeated",
    "Settings",
    "again",
    "check_block",
    "done_ids",
    "execute",
    "find_item",
    "nothing_to_run",
    "phases_of",
    "refresh",
    "sampled",
    "settled",
]
