"""What a plan comes to: how many cells, trials and phases there are, in which state, and why a cell has none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from typing import Literal

from pydantic import BaseModel, ConfigDict

from harness.plan import Cell, Plan
from harness.results import Adopted, measured_seconds, representing, trial_status
from harness.running.execution import done_ids
from harness.spec import Item
from harness.store import State, Store

TrialState = Literal["done", "missing", "failed"]


class _Fixed(BaseModel):
    model_config = ConfigDict(frozen=True)


class BlockCounts(_Fixed):
    """Cells and trials of a block; ``naive`` counts a cell once for each table that prints it.

    ``unavailable`` are those of the distinct ones that cannot be run here; ``Counts`` has the reasons.
    """

    distinct_cells: int
    naive_cells: int
    distinct_trials: int
    naive_trials: int
    unavailable_cells: int
    unavailable_trials: int


class PhaseCounts(_Fixed):
    """Phases of pretraining: all, and those that a run would train."""

    planned: int
    to_run: int


class SharedPhase(_Fixed):
    """A phase that several methods use and that is trained once."""

    phase: str
    id: str
    methods: tuple[str, ...]


class EmptyCell(_Fixed):
    """A cell without a trial, and why."""

    method: str
    task: str
    label_fraction: float
    block: str
    reason: str


class Counts(_Fixed):
    """Everything that ``dira-bench plan`` counts.

    Attributes:
        profile, repeats, pretrain_seeds: Of the plan; the most seeds that any method has.
        published, added: The blocks, before it is asked what can run.
        runnable, done, adopted, missing, failed: Trials; ``adopted`` are those of ``done`` that committed rows
            represent.
        phases: Of pretraining.
        shared_phases: Those that several methods use.
        unavailable, skipped: Cells without a trial.
        hours: Device → hours of one slot that the missing trials take, where times were measured.
        notes: What the plan has to say.
    """

    profile: str
    repeats: int
    pretrain_seeds: int
    published: BlockCounts
    added: BlockCounts
    runnable: int
    done: int
    adopted: int
    missing: int
    failed: int
    phases: PhaseCounts
    shared_phases: tuple[SharedPhase, ...]
    unavailable: tuple[EmptyCell, ...]
    skipped: tuple[EmptyCell, ...]
    hours: dict[str, float]
    notes: tuple[str, ...]


def count(plan: Plan, store: Store, adopted: Adopted, block: str = "all") -> Counts:
    """Count the cells of a block, or of all, and their trials by state."""
    done = done_ids(store, adopted)
    cells = [cell for cell in plan.cells.values() if block in ("all", cell.block)]
    trials = [item for cell in cells for item in cell.trials.values()]
    attempted = set(store.ids("trial"))
    states = [_state(store, item, done, attempted) for item in trials]
    of_state = Counter(states)
    work = plan.needed([item for item, state in zip(trials, states, strict=True) if state == "missing"], done)
    seconds = measured_seconds(plan, plan.registry.root, store, work)
    blocks = {name: BlockCounts.model_validate(counted) for name, counted in plan.counts().items()}
    return Counts(
        profile=plan.profile,
        repeats=plan.parameters.repeats,
        pretrain_seeds=most_seeds(plan),
        published=blocks["published"],
        added=blocks["added"],
        runnable=len(trials),
        done=of_state["done"],
        adopted=sum(item.id in adopted.rows for item in trials),
        missing=of_state["missing"],
        failed=of_state["failed"],
        phases=PhaseCounts(planned=_phases(plan.items.values()), to_run=_phases(work)),
        shared_phases=_shared(plan),
        unavailable=tuple(_empty(cell, cell.unavailable) for cell in cells if cell.unavailable and not cell.skipped),
        skipped=tuple(_empty(cell, cell.skipped) for cell in cells if cell.skipped),
        hours={device: round(value / 3600, 4) for device, value in seconds.items()},
        notes=tuple(plan.notes),
    )


def most_seeds(plan: Plan) -> int:
    """Return the largest number of pretraining seeds that any method of a plan has."""
    return max(map(plan.seeds, plan.methods), default=plan.parameters.pretrain_seeds)


def _state(store: Store, item: Item, done: Collection[str], attempted: Collection[str]) -> TrialState:
    if item.id in done:
        return "done"
    if item.id not in attempted:
        return "missing"
    if store.state("trial", item.id) is not State.FAILED:  # what a run would begin with
        return "missing"
    return "done" if trial_status(representing(store, "trial", item.id)).scored else "failed"


def _phases(items: Iterable[Item]) -> int:
    return sum(item.kind == "phase" for item in items)


def _empty(cell: Cell, reason: str | None) -> EmptyCell:
    key = cell.key
    return EmptyCell(
        method=key.method, task=key.task, label_fraction=key.label_fraction, block=cell.block, reason=reason or ""
    )


def _shared(plan: Plan) -> tuple[SharedPhase, ...]:
    users: dict[str, list[str]] = {}
    for (method, index), chain in plan.phases.items():
        for item in chain:
            users.setdefault(item.id, []).append(method if index == 0 else f"{method} (seed {index})")
    return tuple(
        SharedPhase(phase=plan.items[identity].title, id=identity, methods=tuple(methods))
        for identity, methods in users.items()
        if len(methods) > 1
    )
