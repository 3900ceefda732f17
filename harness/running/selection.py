"""What a run is about: a block, methods and tasks, one item by its id, or the phases of one method."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from harness.advice import command
from harness.errors import Unavailable, UnknownName, many, unknown
from harness.plan import Cell, Plan
from harness.spec import Item

BLOCKS = ("all", "published", "added")


def check_block(block: str) -> None:
    """Refuse a block that there is no name for, with near names.

    Raises:
        UnknownName: So.
    """
    if block not in BLOCKS:
        raise unknown("block", block, BLOCKS, "--block")


@dataclass(frozen=True)
class Chosen:
    """Which cells a run is about: a block, methods and tasks; all where none is named."""

    block: str = "all"
    methods: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()

    def check(self, planned: Plan) -> None:
        """Refuse names that the plan does not hold, with near ones.

        Raises:
            UnknownName: So.
        """
        for name in self.methods:
            if name not in planned.methods:
                raise planned.registry.methods.unknown(name, "--method")
        for name in self.tasks:
            if name not in planned.tasks:
                raise planned.registry.tasks.unknown(name, "--task")
        check_block(self.block)

    def holds(self, cell: Cell) -> bool:
        """Say whether a cell is among those asked for."""
        return (
            (self.block == "all" or cell.block == self.block)
            and (not self.methods or cell.key.method in self.methods)
            and (not self.tasks or cell.key.task in self.tasks)
        )


def nothing_to_run(planned: Plan, chosen: Chosen) -> Unavailable:
    """Build the error that says why none of the cells asked for has a trial, each reason once."""
    cells = [cell for cell in planned.cells.values() if chosen.holds(cell)]
    if not cells:
        return Unavailable(
            f"no cell of profile {planned.profile} is in block {chosen.block} with the methods and tasks asked for; "
            f"see {command('plan')}."
        )
    reasons = Counter(
        ("skipped", cell.skipped) if cell.skipped else ("unavailable", cell.unavailable) for cell in cells
    )
    lines = [f"none of {many(len(cells), 'cell')} has a trial to run under profile {planned.profile}, because of this:"]
    for (what, reason), count in sorted(reasons.items(), key=lambda pair: pair[0][0], reverse=True):
        lines.append(f"{what} ({many(count, 'cell')}): {reason}")
    return Unavailable("\n".join(lines))


def find_item(planned: Plan, prefix: str) -> Item:
    """Return the one item whose id begins so.

    Raises:
        UnknownName: If none does, or several do.
    """
    matches = [item for item in planned.items.values() if item.id.startswith(prefix)]
    if len(matches) != 1:
        found = "no planned item has" if not matches else f"{len(matches)} planned items have"
        raise UnknownName(
            f'{found} an id beginning with "{prefix}" under profile {planned.profile}; give more of the id, or '
            "another --profile."
        )
    return matches[0]


def phases_of(planned: Plan, method: str) -> list[Item]:
    """Return every phase of a method, each once, parents first.

    Raises:
        Unavailable: If it has none.
    """
    chains = [chain for (name, _), chain in planned.phases.items() if name == method and chain]
    if not chains:
        reason = planned.methods[method].unavailable
        raise Unavailable(
            f"{method} has no phase to train under profile {planned.profile}{f': {reason}' if reason else ''}; "
            "expected a method that pretrains."
        )
    return list({item.id: item for chain in chains for item in chain}.values())
