"""``run --again``: which items are executed once more, where, and whether the second time gave the same bits."""

from __future__ import annotations

import contextlib
import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.cli.session import Session, console, shown
from harness.errors import ConfigurationError, StoreError
from harness.plan import Cell
from harness.results import representing
from harness.spec import Item, Record, Status
from harness.store import Store

SAMPLE = 20  # trials that are repeated where no number is given


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


def done_record(session: Session, item: Item) -> Record:
    """Return the ok record of an item.

    Raises:
        ConfigurationError: If it has none to compare with.
    """
    first = representing(session.store, item.kind, item.id)
    if first is None or first.status is not Status.OK:
        raise ConfigurationError(
            f'{item.title} has no ok attempt to compare with; run it first: "dira-bench run --trial {item.id[:16]}".'
        )
    return first


def sampled(session: Session, holds: Callable[[Cell], bool], count: int) -> list[Item]:
    """Return the done phases behind the cells asked for and so many of their done trials, evenly over the plan.

    Raises:
        ConfigurationError: If this store holds none of them.
    """
    cells = [cell for cell in session.plan.cells.values() if holds(cell)]
    methods = {cell.key.method for cell in cells if cell.trials}
    chains = [chain for (method, _), chain in session.plan.phases.items() if method in methods]
    phases = {item.id: item for chain in chains for item in chain if session.store.ok("phase", item.id)}
    done = session.store.done_ids("trial")
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
def beside(session: Session, items: Sequence[Item]) -> Iterator[Store]:
    """Give a store in which these items, all of one kind, are not done and whatever they need is."""
    place, main = session.root / ".trials" / "again", session.root / ".trials"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    (kind,) = {item.kind for item in items}
    if kind == "phase":
        needs = {need for item in items for need in item.needs if session.plan.items[need].kind == "phase"}
        for need in needs - {item.id for item in items}:
            _link(place / "phase" / need[:2] / need, main / "phase" / need[:2] / need)
    for other in {"phase", "trial"} - {kind}:
        (main / other).mkdir(exist_ok=True)
        _link(place / other, main / other)
    yield Store(place, place / "cohorts" if kind == "cohort" else session.store.cohorts)
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


def print_one(repeated: Repeated) -> None:
    """Write every value and file of one item."""
    for name, value in repeated.first.values.items():
        other = repeated.second.values.get(name)
        said = "bit-equal" if repeated.values[name] else f"differs by {abs((other or 0.0) - value):.3g}"
        console.print(shown(f"  {name}: {value!r} and {other!r}: {said}"))
    for name, same in repeated.files.items():
        console.print(shown(f"  {name}: {'the same bytes' if same else 'other bytes'}"))


def print_all(found: Sequence[Repeated]) -> bool:
    """Write what differs and how much is the same; return whether all is."""
    for repeated in found:
        other = [name for name, same in (repeated.values | repeated.files).items() if not same]
        if other:
            console.print(shown(f"  differs: {repeated.item.title} ({', '.join(other)})"))
    values = [same for repeated in found for same in repeated.values.values()]
    files = [same for repeated in found for same in repeated.files.values()]
    phases = sum(repeated.item.kind == "phase" for repeated in found)
    console.print(
        f"repeated {phases} phases and {len(found) - phases} trials: {sum(values)} of {len(values)} values are "
        f"bit-equal, {sum(files)} of {len(files)} files (weights, curves, arrays) have the same bytes."
    )
    return all(values) and all(files)
