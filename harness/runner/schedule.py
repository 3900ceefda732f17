"""Which item next, and how long the rest takes."""

from __future__ import annotations

import re
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from harness.errors import ConfigurationError
from harness.spec import Item

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


def group(item: Item) -> tuple[str, str]:
    """Return what items of like duration share: kind and title without the repeat."""
    return item.kind, REPEAT.sub("", item.title)


class Estimate:
    """Predicts durations from those of like items measured so far, and from costs where none is."""

    def __init__(self) -> None:
        self._groups: dict[tuple[str, str], list[float]] = defaultdict(list)
        self._ratios: dict[str, list[float]] = defaultdict(list)
        self._known: dict[tuple[str, str], float] = {}
        self._scale: dict[str, float] = {}
        self._group: dict[str, tuple[str, str]] = {}

    def learn(self, item: Item, seconds: float) -> None:
        """Take in how long an item took."""
        if seconds > 0:
            self._groups[group(item)].append(seconds)
            self._ratios[item.kind].append(seconds / max(item.cost, 1e-9))
            self._known.pop(group(item), None)
            self._scale.pop(item.kind, None)

    def seconds(self, item: Item) -> float:
        """Predict an item: the median of its group, or its cost scaled as its kind's costs were."""
        key = self._group.get(item.id)
        if key is None:
            key = self._group[item.id] = group(item)
        if key in self._groups:
            if key not in self._known:
                self._known[key] = statistics.median(self._groups[key])
            return self._known[key]
        if item.kind not in self._scale:
            self._scale[item.kind] = statistics.median(self._ratios.get(item.kind) or [1.0])
        return item.cost * self._scale[item.kind]

    def remaining(self, waiting: Iterable[Item], running: Mapping[str, tuple[Item, float]], slots: int) -> float:
        """Predict the seconds until all is done.

        Args:
            waiting: Items not begun.
            running: Id → item and seconds it has run.
            slots: How many run at a time.
        """
        rest = [max(0.0, self.seconds(item) - spent) for item, spent in running.values()]
        work = sum(rest) + sum(self.seconds(item) for item in waiting)
        return max([work / max(1, slots), *rest])
