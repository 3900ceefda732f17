"""Run the items that are asked for and not done, and what they need."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.dotted import parts
from harness.errors import ConfigurationError
from harness.executors.factory import Engine
from harness.executors.interface import Executor
from harness.plan import Plan
from harness.results import Adopted, representing, trial_devices, trial_status
from harness.spec import Item
from harness.store import State, Store

if TYPE_CHECKING:
    from harness.runner import Departure, Progress, Summary

OURS = ("harness", "methods", "tasks")


@dataclass(frozen=True)
class Settings:
    """How a run goes about its work; none of it changes a number.

    Attributes:
        workers: Loader processes of each item.
        timeout: Seconds an attempt may take; None for no limit.
        retry_failed: Run items again that failed for good.
        allow_mixed: Let a cell mix trials of CPU and GPU; the cell is marked.
        adopting: Count committed rows as done. A trial that is asked for by its id is run even so.
        departure: When a run leaves before everything is done; None for never.
    """

    workers: int = 0
    timeout: float | None = None
    retry_failed: bool = False
    allow_mixed: bool = False
    adopting: bool = True
    departure: Departure | None = None


USUAL = Settings()


def done_ids(store: Store, adopted: Adopted) -> set[str]:
    """Return the ids that need not be run: those of ok records in the store, and of adopted rows."""
    done = set(adopted.trial_ids)
    for kind in ("cohort", "phase", "trial"):
        done |= store.done_ids(kind)
    return done


def settled(store: Store, adopted: Adopted, items: Iterable[Item]) -> bool:
    """Say whether everything that was asked for is done; a trial that diverged with a score is."""
    done = done_ids(store, adopted)
    return all(item.id in done or trial_status(representing(store, item.kind, item.id)).scored for item in items)


def execute(
    plan: Plan,
    store: Store,
    engine: Engine,
    targets: Sequence[Item],
    *,
    adopted: Adopted | None = None,
    settings: Settings = USUAL,
    progress: Progress | None = None,
) -> Summary | None:
    """Run the targets that are not done, and what they need.

    Args:
        plan: Where the targets are from.
        store: What is done already, and where records go.
        engine: Where items run; it is started only if there is something to run.
        targets: What is asked for.
        adopted: Committed rows that are reused in place of trials.
        settings: How.
        progress: What hears about it; None for what suits the terminal.

    Returns:
        How each item ended, also if a signal interrupted the run; None if there was nothing to do.

    Raises:
        ConfigurationError: If a cell would mix device classes and may not.
        StoreError: If the disk is full or the store cannot be written.
    """
    adopted = adopted or Adopted()
    open_targets, done = _not_done(store, adopted, targets, settings)
    blocked = {item.id: reason for item in open_targets if (reason := plan.without_images(item, done))}
    items = plan.needed([item for item in open_targets if item.id not in blocked], done)
    if items:
        summary = drain(plan, store, engine, items, adopted=adopted, settings=settings, progress=progress)
    elif blocked:
        from harness.runner import Summary

        summary = Summary()
    else:
        return None
    summary.blocked.update(blocked)
    return summary


def _not_done(
    store: Store, adopted: Adopted, targets: Iterable[Item], settings: Settings
) -> tuple[list[Item], set[str]]:
    """Return the targets that a run begins with, and the ids that are done."""
    done = done_ids(store, adopted)
    if not settings.adopting:
        done -= adopted.trial_ids - store.done_ids("trial")
    found = [item for item in targets if item.id not in done]
    if not settings.retry_failed:
        found = [item for item in found if store.state(item.kind, item.id) is not State.FAILED]
    return found, done


def drain(
    plan: Plan,
    store: Store,
    engine: Engine,
    items: Sequence[Item],
    *,
    adopted: Adopted,
    settings: Settings = USUAL,
    progress: Progress | None = None,
    into: Store | None = None,
) -> Summary:
    """Start the engine and run items, all of whose needs are among them or done; see ``execute``.

    Args:
        plan: Where the items are from.
        store: By which it is known on what a cell's other trials ran.
        engine: Where items run.
        items: What to run.
        adopted: Committed rows that are reused in place of trials.
        settings: How.
        progress: What hears about it; None for what suits the terminal.
        into: Where records go, if not into ``store``.
    """
    # Only now: listing the machine's devices and git state costs more than finding out that nothing is to be done.
    from harness.runner import RetryPolicy, choose_progress, run

    into = into or store
    modules = preload(items)
    executor = engine.start(modules)
    try:
        _refuse_detaching(engine, executor, settings)
        if not settings.allow_mixed:
            refuse_mixing(plan, store, adopted, items, {slot.device_class for slot in executor.slots})
        summary = run(
            items,
            into,
            executor,
            retry=RetryPolicy(retry_failed=settings.retry_failed),
            progress=progress or choose_progress(),
            timeout=settings.timeout,
            workers=settings.workers,
            data_roots=plan.registry.data_roots,
            preload=modules,
            departure=settings.departure,
        )
    finally:
        executor.close()
    into.sweep()
    return summary


def _refuse_detaching(engine: Engine, executor: Executor, settings: Settings) -> None:
    """Detach from none but an engine whose jobs go on alone."""
    if settings.departure and settings.departure.detached and not executor.remote:
        raise ConfigurationError(
            f"found --detach with engine {engine.name}, whose jobs end with this command; expected a cluster's "
            'engine (docs/engines.md). Fix: leave --detach out, or start the command with "nohup".'
        )


def preload(items: Iterable[Item]) -> list[str]:
    """Name our own modules that the items run, so that the fork server imports them (and torch) once.

    Code of anybody else's is imported in its own child: what it changes at import would reach every other item.
    """
    paths = {item.run for item in items} | {
        told.obtain for item in items if item.kind == "trial" and (told := item.outline.encoder)
    }
    modules = sorted({parts(path)[0] for path in paths})
    return ["torch", "torchvision", *(module for module in modules if module.partition(".")[0] in OURS)]


def refuse_mixing(plan: Plan, store: Store, adopted: Adopted, items: Iterable[Item], classes: set[str]) -> None:
    """Keep one device class to a cell.

    Raises:
        ConfigurationError: If trials of a cell ran on another class than the rest would.
    """
    wanted = {item.id for item in items}
    ran = trial_devices(plan.registry.root, plan.profile)
    committed = {identity: ran[identity] for identity in adopted.trial_ids & set(ran)}
    for cell in plan.cells.values():
        if not any(item.id in wanted for item in cell.trials.values()):
            continue
        for item in cell.trials.values():
            if item.id in wanted:
                continue
            before = _device_class(store, item, committed)
            if before and before not in classes:
                raise ConfigurationError(
                    f"{item.title} ran on {before} and the rest of its cell would run on "
                    f"{', '.join(sorted(classes))}; expected one device "
                    f'class in a cell; use "--device {"cpu" if before == "cpu" else "cuda"}", or "--allow-mixed" to '
                    "mix and mark it."
                )


def _device_class(store: Store, item: Item, committed: Mapping[str, str]) -> str | None:
    """Return the device class on which a trial ran; None if it did not."""
    record = store.ok("trial", item.id)
    return record.provenance.get("device_class") if record else committed.get(item.id)
