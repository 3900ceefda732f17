"""``run``: its options, and what is printed about a run. The run itself is ``harness.running``."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import typer

from harness.advice import command
from harness.cli import from_scratch as scratch
from harness.cli import repeating
from harness.cli.listing import Profile, print_hours
from harness.cli.moments import moment
from harness.cli.running_options import (
    Again,
    AllowMixed,
    Block,
    Detach,
    DeviceName,
    EngineName,
    ExitWhenIdle,
    FromScratch,
    MaxJobs,
    Methods,
    OptionsPath,
    Repeats,
    RetryFailed,
    Sample,
    Slots,
    Tasks,
    Timeout,
    Trial,
    Until,
    Workers,
)
from harness.cli.session import EXIT_INTERRUPTED, Session, console, open_session, say, shown
from harness.dotted import import_dotted
from harness.environment import Device, check_device
from harness.errors import ConfigurationError, many
from harness.executors.factory import Engine
from harness.executors.options import load_options
from harness.results import representing
from harness.running import (
    Chosen,
    Interrupted,
    Settings,
    done_ids,
    execute,
    find_item,
    nothing_to_run,
    phases_of,
    refresh,
    sampled,
    settled,
)
from harness.running import (
    again as run_again,
)
from harness.running.execution import USUAL
from harness.spec import Item
from harness.store import State

if TYPE_CHECKING:
    from harness.runner import Summary

EXIT_UNDONE = 1  # something that was asked for is not done: it failed, or needs what failed
SHOWN_CAUSES = 5
DIVIDED = "methods.together:DIVIDED"  # which works several processes can share is known there
LEFT = {
    "idle": "other drivers have a slot for each item that is left",
    "until": "--until has come, or nothing that is left would have ended before it",
    "detached": "all that is ready is queued",
}


def run(
    profile: Profile = None,
    block: Block = "all",
    method: Methods = None,
    task: Tasks = None,
    trial: Trial = None,
    again: Again = False,
    sample: Sample = None,
    slots: Slots = None,
    device: DeviceName = "auto",
    workers: Workers = 0,
    timeout: Timeout = None,
    retry_failed: RetryFailed = False,
    allow_mixed: AllowMixed = False,
    from_scratch: FromScratch = False,
    repeats: Repeats = None,
    engine: EngineName = "local",
    max_jobs: MaxJobs = None,
    engine_options: OptionsPath = None,
    detach: Detach = False,
    exit_when_idle: ExitWhenIdle = False,
    until: Until = None,
) -> None:
    """Run whatever is planned and not done. Running again is resuming.

    Exit codes: 0 all that was asked for is done, or the run left as --until, --exit-when-idle or --detach asked for; 1
    some of it failed, or needs what failed; 2 the command was refused; 130 it was interrupted.
    """
    check_device(device)
    session = open_session(profile, repeats=repeats)
    if sample is not None and (trial or not again):
        raise ConfigurationError(
            "found --sample without --again, or with --trial; expected it to say how many trials are repeated; add "
            "--again, and --method or --task in place of --trial."
        )
    chosen = Chosen(block, tuple(method or ()), tuple(task or ()))
    chosen.check(session.plan)
    if from_scratch:
        scratch.refuse_part(session.plan.profile, chosen, trial, repeats)
    if slots and max_jobs:
        raise ConfigurationError("found --slots and --max-jobs; expected one of them: they are the same number.")
    where = Engine(engine, slots or max_jobs, cast("Device", device), load_options(engine_options))
    from harness.runner import Departure  # with all that a run needs

    departure = Departure(moment(until) if until is not None else None, exit_when_idle, detach)
    together = engine == "together"
    settings = Settings(workers, timeout, retry_failed, allow_mixed, trial is None and not together, departure)
    if together:
        others = {"--trial": trial, "--repeats": repeats, "--from-scratch": from_scratch, "--again": again}
        _refuse_beside_together(chosen, others)
        _run_phases(session, chosen.methods[0], where, settings)
    elif again:
        _refuse_beside_again({"--until": until, "--exit-when-idle": exit_when_idle, "--detach": detach})
        _run_again(session, chosen, trial, sample, where, settings)
    elif trial:
        _run_one(session, find_item(session.plan, trial), where, settings, refreshing=not from_scratch)
    else:
        if from_scratch:
            scratch.begin(session, where)
        _run_trials(session, chosen, where, settings, refreshing=not from_scratch)


def run_items(
    session: Session, targets: Sequence[Item], engine: Engine | None = None, settings: Settings = USUAL
) -> Summary | None:
    """Run what is not done of the targets, and what they need; None if there was nothing to do.

    Raises:
        typer.Exit: With code 130 if the run was interrupted.
    """
    summary = execute(
        session.plan, session.store, engine or Engine(), targets, adopted=session.adopted, settings=settings
    )
    if summary is not None and summary.interrupted:
        _leave_interrupted(summary.detached)
    return summary


def _leave_interrupted(jobs: int = 0) -> None:
    """Say that what is finished is kept, and that so many jobs go on, and leave.

    Raises:
        typer.Exit: With code 130.
    """
    _say_jobs_go_on(jobs)
    console.print("interrupted; everything finished is kept, and the same command goes on from here.")
    raise typer.Exit(EXIT_INTERRUPTED)


def _say_jobs_go_on(jobs: int) -> None:
    if jobs:
        verb = "is queued or runs" if jobs == 1 else "are queued or run"
        say(
            f"{many(jobs, 'job')} {verb} without this command: {command('status')} shows, the same command watches "
            f"again, {command('cancel')} ends what is left."
        )


def _run_trials(session: Session, chosen: Chosen, engine: Engine, settings: Settings, *, refreshing: bool) -> None:
    targets = list(session.plan.trials(chosen.holds).values())
    if not targets:
        raise nothing_to_run(session.plan, chosen)
    summary = run_items(session, targets, engine, settings)
    _say(session, targets, summary, one=False)
    print_hours(session)
    _end(session, targets, summary, refreshing=refreshing)


def _run_one(session: Session, item: Item, engine: Engine, settings: Settings, *, refreshing: bool) -> None:
    summary = run_items(session, [item], engine, settings)
    _say(session, [item], summary, one=True)
    _beside_the_committed(session, item)
    _end(session, [item], summary, refreshing=refreshing)


def _run_phases(session: Session, method: str, engine: Engine, settings: Settings) -> None:
    """Train every phase of one method that is not done, each by several processes; see docs/performance.md."""
    targets = phases_of(session.plan, method)
    divided: frozenset[str] = import_dotted(DIVIDED)
    alone = sum(item.run not in divided and session.store.ok(item.kind, item.id) is None for item in targets)
    if alone:
        trains = "1 phase is in 3D or" if alone == 1 else f"{alone} phases are in 3D or"
        say(f"note: {trains} supervised; one process alone trains such a phase, and the others do nothing meanwhile.")
    summary = run_items(session, targets, engine, settings)
    _say(session, targets, summary, one=False, what="phase")
    _end(session, targets, summary)


def _run_again(
    session: Session, chosen: Chosen, trial: str | None, sample: int | None, engine: Engine, settings: Settings
) -> None:
    """Repeat what is done and print whether it is the same.

    Raises:
        typer.Exit: With code 1 if a part of a sample differs, with code 130 if the run was interrupted.
    """
    plan, store = session.plan, session.store
    items = [find_item(plan, trial)] if trial else sampled(plan, store, chosen.holds, sample)
    engine = replace(engine, slots=engine.slots or 1)
    try:
        found = run_again(plan, store, engine, items, adopted=session.adopted, settings=settings)
    except Interrupted:
        _leave_interrupted()
    if trial:
        repeating.print_one(*found)
    elif not repeating.print_all(found):
        raise typer.Exit(EXIT_UNDONE)


def _end(session: Session, targets: Sequence[Item], summary: Summary | None, *, refreshing: bool = True) -> None:
    """Bring results files up to date, and leave with code 1 if anything that was asked for is not done.

    Raises:
        typer.Exit: So.
    """
    if refreshing:
        refresh(session.plan, session.root, session.store, session.adopted, summary)
    left_in_order = summary is not None and summary.left and not (summary.failed or summary.blocked)
    if not left_in_order and not settled(session.store, session.adopted, targets):
        raise typer.Exit(EXIT_UNDONE)


def _refuse_beside_again(others: Mapping[str, object]) -> None:
    """A repetition is compared at its end, so it does not leave before."""
    found = [option for option, value in others.items() if value]
    if found:
        raise ConfigurationError(
            f"found {' and '.join(found)} with --again, which compares at the end of a run; leave "
            f"{'it' if len(found) == 1 else 'them'} out."
        )


def _refuse_beside_together(chosen: Chosen, others: Mapping[str, object]) -> None:
    """Pretraining by several processes takes one method and no part of a run of trials."""
    given = {"--block": chosen.block != "all", "--task": chosen.tasks, **others}
    found = [option for option, value in given.items() if value]
    if found or len(chosen.methods) != 1:
        raise ConfigurationError(
            f"found {' and '.join(found) if found else f'{len(chosen.methods)} --method'} with --engine together, "
            "which pretrains one method by several processes; expected one --method, and none of --trial, --task, "
            "--block, --again, --repeats and --from-scratch."
        )


def _beside_the_committed(session: Session, item: Item) -> None:
    """Set what a trial gave here beside its committed row."""
    record = representing(session.store, item.kind, item.id)
    for row in session.adopted.rows.get(item.id, []):
        value = record.values.get(row.metric) if record else None
        if value is not None and row.value is not None:
            same = "bit-equal" if row.value == value else f"differs by {abs(row.value - value):.3g}"
            console.print(shown(f"  {row.metric}: {value!r}, committed {row.value!r}: {same}"))


def _say(session: Session, targets: Sequence[Item], summary: Summary | None, *, one: bool, what: str = "trial") -> None:
    """Say what a run came to; ``one`` if a single item was asked for by its id."""
    if summary is None:
        _say_nothing_ran(session, targets, one=one, what=what)
        return
    say(
        f"{many(summary.attempts, 'attempt')}: {many(len(summary.done), 'item')} done, {len(summary.failed)} failed, "
        f"{len(summary.blocked)} blocked, in {summary.seconds:.0f} s."
    )
    _say_causes(summary)
    if summary.left:
        console.print(f"left before everything was done: {LEFT[summary.left]}; the same command goes on from here.")
    _say_jobs_go_on(summary.detached)
    for reason, ids in itertools.islice(_alike(summary.blocked), SHOWN_CAUSES):
        say(f"blocked: {session.plan.items[ids[0]].title}{_others(ids)}: {reason}", 2)


def _say_causes(summary: Summary) -> None:
    """Write why items failed, each cause once."""
    messages = {
        identity: next(iter((record.error or {}).get("message", "").splitlines()), "")
        for identity, record in summary.failed.items()
    }
    for message, ids in itertools.islice(_alike(messages), SHOWN_CAUSES):
        first = summary.failed[ids[0]]
        see = command(f"show {ids[0][:12]}", quoted=False)
        say(f"{first.status}: {first.title}{_others(ids)}: {message} ({see})", 2)


def _alike(reasons: Mapping[str, str]) -> Iterator[tuple[str, list[str]]]:
    """Yield each reason with the ids of the items that have it, the most frequent first."""
    ids: dict[str, list[str]] = {}
    for identity, reason in reasons.items():
        ids.setdefault(reason, []).append(identity)
    yield from sorted(ids.items(), key=lambda pair: -len(pair[1]))


def _others(ids: Sequence[str]) -> str:
    return f" and {many(len(ids) - 1, 'more item')}" if len(ids) > 1 else ""


def _say_nothing_ran(session: Session, targets: Sequence[Item], *, one: bool, what: str) -> None:
    """Say how many are done and how many failed before."""
    # To read the record of each would cost more than the rest of the command.
    finished = done_ids(session.store, session.adopted)
    doubtful = [item for item in targets if item.id not in finished]
    failed = [item for item in doubtful if session.store.state(item.kind, item.id) is State.FAILED]
    done = len(targets) - len(failed)
    console.print(f"0 of {many(len(targets), what)} to run: " + _all_that(len(targets), done, len(failed)))
    if failed:
        say(f"see {command('show ID')}; {command('run --retry-failed')} tries again what failed.")
    elif one:
        console.print('add "--again" to execute it once more and compare.')


def _all_that(count: int, done: int, failed: int) -> str:
    """Say how many of so many items are done and failed."""
    if not failed:
        return "it is done." if count == 1 else "all are done."
    return "it failed." if count == 1 else f"{done} {'is' if done == 1 else 'are'} done, {failed} failed."
