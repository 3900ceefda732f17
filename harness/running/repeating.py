"""Running again: which items are executed once more, where, and whether the second time gave the same bits."""

from __future__ import annotations

import contextlib
import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.advice import command
from harness.errors import ConfigurationError, StoreError
from harness.executors.factory import Engine
from harness.plan import Cell, Plan
from harness.results import Adopted, representing
from harness.running.execution import USUAL, Settings, drain
from harness.spec import Item, Record, Status
from harness.store import Store, at_work

SAMPLE = 20  # trials that are repeated where no number is given


class Interrupted(Exception):
    """A signal ended a repetition before its time."""


@dataclass(frozen=True)
class Repeated:
    """An item's record and that of its second execution."""

    item: Item
    first: Record
    second: Record

    @property
    def values(self) -> dict[str, bool]:
        """Whether each value is the same bit for bit; an undefined one is the same as an undefined one."""
        return {name: _same(value, self.second.values.get(name)) for name, value in self.first.values.items()}

    @property
    def files(self) -> dict[str, bool]:
        """Whether each file (weights, curve, arrays) has the same bytes."""
        return {name: self.second.files.get(name) == digest for name, digest in self.first.files.items()}


def _same(one: float, other: float | None) -> bool:
    return other is not None and (one == other or (math.isnan(one) and math.isnan(other)))


def done_record(store: Store, item: Item) -> Record:
    """Return the ok record of an item.

    Raises:
        ConfigurationError: If it has none to compare with.
    """
    first = representing(store, item.kind, item.id)
    if first is None or first.status is not Status.OK:
        raise ConfigurationError(
            f"{item.title} has no ok attempt to compare with; run it first: {command(f'run --trial {item.id[:16]}')}."
        )
    return first


def sampled(plan: Plan, store: Store, holds: Callable[[Cell], bool], count: int | None = None) -> list[Item]:
    """Return the done phases behind the cells asked for and so many of their done trials, evenly over the plan.

    Raises:
        ConfigurationError: If this store holds none of them.
    """
    count = count or SAMPLE
    cells = [cell for cell in plan.cells.values() if holds(cell)]
    methods = {cell.key.method for cell in cells if cell.trials}
    chains = [chain for (method, _), chain in plan.phases.items() if method in methods]
    phases = {item.id: item for chain in chains for item in chain if store.ok("phase", item.id)}
    done = store.done_ids("trial")
    trials = [item for cell in cells for item in cell.trials.values() if item.id in done]
    if not phases and not trials:
        raise ConfigurationError(
            "this store holds none of the phases and trials asked for, so nothing can be repeated and compared; run "
            "them first."
        )
    chosen = [trials[place * len(trials) // count] for place in range(count)] if len(trials) > count else trials
    return [*phases.values(), *chosen]


def groups(items: Sequence[Item]) -> Iterator[list[Item]]:
    """Yield what may be repeated together: a phase alone, since it starts from the one before; all trials at once."""
    yield from ([item] for item in items if item.kind != "trial")
    trials = [item for item in items if item.kind == "trial"]
    if trials:
        yield trials


@contextlib.contextmanager
def beside(plan: Plan, main: Store, items: Sequence[Item]) -> Iterator[Store]:
    """Give a store in which these items, all of one kind, are not done and whatever they need is.

    Raises:
        ConfigurationError: If another command repeats items of this store now: they would lose its folder.
    """
    place = main.root / "again"
    if at_work(place):
        raise ConfigurationError(
            f"another command repeats items in {place} now; expected one at a time; wait for it to end."
        )
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    (kind,) = {item.kind for item in items}
    if kind == "phase":
        needs = {need for item in items for need in item.needs if plan.items[need].kind == "phase"}
        for need in needs - {item.id for item in items}:
            _link(place / "phase" / need[:2] / need, main.root / "phase" / need[:2] / need)
    for other in {"phase", "trial"} - {kind}:
        (main.root / other).mkdir(exist_ok=True)
        _link(place / other, main.root / other)
    yield Store(place, place / "cohorts" if kind == "cohort" else main.cohorts)
    shutil.rmtree(place, ignore_errors=True)  # what failed stays, to be looked at


def _link(place: Path, target: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(target)


def second_record(store: Store, item: Item) -> Record:
    """Return the record of a second execution.

    Raises:
        StoreError: If it did not end ok.
    """
    second = store.ok(item.kind, item.id)
    if second is None:
        raise StoreError(f"the second execution of {item.title} did not end ok; see {store.root}.")
    return second


def again(
    plan: Plan, store: Store, engine: Engine, items: Sequence[Item], *, adopted: Adopted, settings: Settings = USUAL
) -> list[Repeated]:
    """Execute done items once more, in a store of their own, and set the two records of each beside each other.

    Args:
        plan: Where the items are from.
        store: Where they are done.
        engine: Where they run.
        items: What to repeat.
        adopted: Committed rows that are reused in place of trials.
        settings: How.

    Raises:
        ConfigurationError: If an item is not done.
        StoreError: If a second execution does not end ok.
        Interrupted: If a signal ended it.
    """
    firsts = {item.id: done_record(store, item) for item in items}
    found = []
    for group in groups(items):
        with beside(plan, store, group) as second:
            summary = drain(plan, store, engine, group, adopted=adopted, settings=settings, into=second)
            if summary.interrupted:
                raise Interrupted
            found += [Repeated(item, firsts[item.id], second_record(second, item)) for item in group]
    return found
