"""A cluster of simulated slots under a virtual clock: the real scheduler and store, and jobs that only take time."""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from harness.environment import remote_slots
from harness.executors.interface import Ended, Executor, Handle, Job
from harness.spec import Ending, Item, Status
from harness.store import Store
from harness.store.records import PROGRESS


@dataclass
class VirtualClock:
    """What the runner has in the place of ``time``: it stands still until a job is waited for."""

    now: float = 1000.0

    def monotonic(self) -> float:
        """Return the virtual time in seconds."""
        return self.now

    def time(self) -> float:
        """Return the same: nothing here compares it with a date."""
        return self.now


@dataclass(order=True)
class Simulated:
    """A job that runs until ``end``; ``lost`` if its node dies then."""

    end: float
    number: int
    job: Job = field(compare=False)
    began: float = field(compare=False)
    lost: bool = field(compare=False)


class SimulatedCluster(Executor):
    """Slots whose jobs take the time they are told.

    Args:
        count: Slots.
        store: Where jobs leave their records.
        clock: What moves on while jobs are waited for.
        seconds: Id of an item → how long it takes, which the scheduler does not know: it plans by ``Item.cost``.
        failures: Share of the attempts whose node dies at some moment of it.
        seed: Of the deaths.
    """

    name = "simulated"
    remote = True

    def __init__(
        self, count: int, store: Store, clock: VirtualClock, seconds: Mapping[str, float], failures: float, seed: int
    ) -> None:
        self.slots = remote_slots(count, "simulated", "cpu")
        self.spent: Counter[str] = Counter()  # id → seconds of all attempts at it
        self.lost = 0
        self._store, self._clock, self._seconds, self._failures = store, clock, seconds, failures
        self._random = random.Random(seed)
        self._running: list[Simulated] = []
        self._number = 0

    def submit(self, job: Job) -> Simulated:
        seconds, lost = self._seconds[job.item.id], self._random.random() < self._failures
        if lost:
            seconds *= self._random.random()
        (job.attempt.folder / PROGRESS).write_text("{}")  # it has begun
        self._number += 1
        simulated = Simulated(self._clock.now + seconds, self._number, job, self._clock.now, lost)
        heapq.heappush(self._running, simulated)
        return simulated

    def wait(self, timeout: float) -> list[tuple[Handle, Ended]]:
        until = self._clock.now + timeout
        if not self._running or self._running[0].end > until:
            self._clock.now = until
            return []
        self._clock.now = max(self._clock.now, self._running[0].end)
        return [self._end(heapq.heappop(self._running))]

    def stop(self, handle: Handle, grace: float) -> None:
        raise AssertionError("nothing here is stopped")

    def close(self) -> None:
        assert not self._running

    def _end(self, simulated: Simulated) -> tuple[Simulated, Ended]:
        took = simulated.end - simulated.began
        self.spent[simulated.job.item.id] += took
        if simulated.lost:
            self.lost += 1
            return simulated, Ended(None, ending=Ending.GONE)
        self._store.finish(
            simulated.job.attempt, Status.OK, values={"value": 1.0}, provenance={"duration_seconds": took}
        )
        return simulated, Ended(0)


def lower_bound(items: Sequence[Item], spent: Mapping[str, float], slots: int) -> float:
    """Return the seconds that no schedule of these attempts can beat.

    All slots are busy all the time, or the longest chain of needs runs without a gap, whichever takes longer.

    Args:
        items: Each after what it needs.
        spent: Id → seconds of all attempts at it.
        slots: How many run at a time.
    """
    chain: dict[str, float] = {}
    for item in items:
        chain[item.id] = spent[item.id] + max((chain[need] for need in item.needs), default=0.0)
    return max(sum(spent.values()) / slots, *chain.values())
