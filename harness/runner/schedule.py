"""Which item next, and how long the rest takes.

Which items a run is about: ``harness.running.selection``; what it starts: ``harness.running.execution``; the loop that
asks here: ``harness.runner.run``.
"""

from __future__ import annotations

import re
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from harness.errors import ConfigurationError
from harness.spec import Item

LOOK_SECONDS = 0.5  # how often items in another driver's hands are looked at, where that is cheap
LOOK_LIMIT = 5.0  # and at least this often, however long it takes
LOOK_SHARE = 0.05  # of the time may go into it
REPEAT = re.compile(r"[\s·]*\b(repeat|seed)?\s*\d+\s*$")


def priorities(items: Sequence[Item]) -> dict[str, float]:
    """Return each item's critical path: its cost plus that of the longest chain of items that wait for it.

    Raises:
        ConfigurationError: If two items share an id, or items need each other in a circle.
    """
    known = {item.id: item for item in items}
    if len(known) != len(items):
        raise ConfigurationError("found the same item twice in a plan; expected each id once")
    dependants: dict[str, list[str]] = defaultdict(list)
    open_needs: dict[str, int] = {}
    for item in items:
        inside = [need for need in dict.fromkeys(item.needs) if need in known]
        open_needs[item.id] = len(inside)
        for need in inside:
            dependants[need].append(item.id)
    order = [id for id, count in open_needs.items() if count == 0]
    for id in order:  # grows while it is walked: items whose needs all stand before them
        for dependant in dependants[id]:
            open_needs[dependant] -= 1
            if open_needs[dependant] == 0:
                order.append(dependant)
    if len(order) != len(items):
        stuck = next(known[id].title for id, count in open_needs.items() if count)
        raise ConfigurationError(f'items need each other in a circle; one of them is "{stuck}"')
    longest: dict[str, float] = {}
    for id in reversed(order):
        longest[id] = known[id].cost + max((longest[dependant] for dependant in dependants[id]), default=0.0)
    return longest


def pause_between_looks(took: float) -> float:
    """Return how many seconds to wait before items in other drivers' hands are looked at again.

    Each look reads several files an item, which a shared file system may answer slowly, and to many drivers at once.

    Args:
        took: Seconds that the last look took.
    """
    return min(LOOK_LIMIT, max(LOOK_SECONDS, took / LOOK_SHARE))


def group(item: Item) -> tuple[str, str]:
    """Return what items of like duration share: kind and title without the repeat."""
    return item.kind, REPEAT.sub("", item.title)


def families(item: Item) -> tuple[tuple[str, ...], ...]:
    """Return what an item has in common with others, the closest first.

    Its group; for a trial its task and label fraction, then its task; for a phase or a cohort its work, then its kind.
    A trial of another task says little: they differ tenfold.
    """
    if item.kind == "trial":
        told = item.outline
        task, fraction = told.task or "", "" if told.label_fraction is None else str(told.label_fraction)
        return (group(item), ("trial", "task", task, fraction), ("trial", "task", task))
    return (group(item), (item.kind, "work", item.run), (item.kind, "any"))


class Pace:
    """How fast an item does what it says it does, over the last minute: rows of a cohort are of one kind.

    What an interrupted attempt left is passed over quickly, so the beginning says nothing about the rest.
    """

    WINDOW = 30.0  # seconds; the rate is over one to two of them
    LEAST = 3.0  # seconds before which there is none

    def __init__(self) -> None:
        self._what = ""
        self._marks: list[tuple[float, int]] = []

    def rest(self, now: float, done: int, total: int, what: str) -> float | None:
        """Hear how far the item is at a time in seconds; returns how many more it takes, None while unknown."""
        if what != self._what or not self._marks or done < self._marks[-1][1]:
            self._what, self._marks = what, [(now, done)]
        if now - self._marks[-1][0] > self.WINDOW:
            self._marks = [*self._marks[-1:], (now, done)]
        since, before = self._marks[0]
        if now - since < self.LEAST or done <= before or not total:
            return None
        return (total - done) * (now - since) / (done - before)


class Estimate:
    """Predicts durations from items measured so far that are of one kind with those to come, scaled by their costs.

    While nothing of a kind was measured, nothing is predicted: a guess would be off by any factor.
    """

    UNKNOWN_SHARE = 0.1  # of the items to come; above it there is no prediction

    def __init__(self) -> None:
        self._ratios: dict[tuple[str, ...], list[float]] = defaultdict(list)
        self._known: dict[tuple[str, ...], float] = {}
        self._families: dict[str, tuple[tuple[str, ...], ...]] = {}

    def learn(self, item: Item, seconds: float) -> None:
        """Take in how long an item took."""
        if seconds > 0:
            for family in self._of(item):
                self._ratios[family].append(seconds / max(item.cost, 1e-9))
                self._known.pop(family, None)

    def seconds(self, item: Item) -> float | None:
        """Predict an item: the median of its closest family that was measured; None if none was."""
        for family in self._of(item):
            if family in self._ratios:
                if family not in self._known:
                    self._known[family] = statistics.median(self._ratios[family])
                return self._known[family] * item.cost
        return None

    def _of(self, item: Item) -> tuple[tuple[str, ...], ...]:
        if item.id not in self._families:
            self._families[item.id] = families(item)
        return self._families[item.id]

    def remaining(
        self,
        waiting: Iterable[Item],
        running: Mapping[str, tuple[Item, float]],
        slots: int,
        rests: Mapping[str, float] | None = None,
    ) -> float | None:
        """Predict the seconds until all is done, or None while too little was measured.

        Args:
            waiting: Items not begun.
            running: Id → item and seconds it has run.
            slots: How many run at a time.
            rests: Id → seconds that a running item still takes by its own pace, where it has one (``Pace``).
        """
        paced = rests or {}
        begun = [
            (spent + paced[id] if id in paced else self.seconds(item), spent) for id, (item, spent) in running.items()
        ]
        ahead = [self.seconds(item) for item in waiting]
        rest = [max(0.0, expected - spent) for expected, spent in begun if expected is not None]
        known = [expected for expected in ahead if expected is not None]
        items, unknown = len(begun) + len(ahead), len(begun) + len(ahead) - len(rest) - len(known)
        if items == 0:
            return 0.0
        if unknown > self.UNKNOWN_SHARE * items or not (known or rest):
            return None
        work = (sum(rest) + sum(known)) * items / (items - unknown)
        return max([work / max(1, slots), *rest])
