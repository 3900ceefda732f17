"""``run`` and ``compare``: execute what the plan holds and the store does not."""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli import numbers, repeating
from harness.cli.listing import Profile, check_block, describe, done_ids, print_hours, print_plan
from harness.cli.session import Session, console, open_session, shown
from harness.dotted import import_dotted
from harness.environment import check_device
from harness.errors import ConfigurationError, Unavailable
from harness.plan import Cell, Plan
from harness.registry import project_root
from harness.reproduction import begin_from_scratch, compare, end_from_scratch
from harness.results import (
    from_scratch_marker,
    profile_folder,
    representing,
    trial_devices,
    trial_status,
    write_cohort,
    write_localization,
    write_pretraining,
    write_trials,
)
from harness.spec import Item
from harness.store import State, Store
from harness.store.files import parse_json

if TYPE_CHECKING:
    from harness.executors.interface import Executor
    from harness.runner import Summary

EXIT_UNDONE = 1  # something that was asked for is not done: it failed, or needs what failed
EXIT_INTERRUPTED = 130
OURS = ("harness", "methods", "tasks")


def run(
    profile: Profile = None,
    block: Annotated[str, typer.Option(help="published leaves the added block out; added or all.")] = "all",
    method: Annotated[
        list[str] | None, typer.Option(help="Only this method's trials; may be given several times.")
    ] = None,
    task: Annotated[list[str] | None, typer.Option(help="Only this task's trials; may be given several times.")] = None,
    trial: Annotated[str | None, typer.Option(help="Only the trial (or phase) whose id begins so.")] = None,
    again: Annotated[
        bool,
        typer.Option(
            "--again", help="Execute --trial, or the phases and a sample of trials chosen, once more and compare."
        ),
    ] = False,
    sample: Annotated[
        int | None,
        typer.Option(
            help="With --again and without --trial: how many trials; default 20.",
            callback=numbers.whole("--sample", 1, numbers.MANY_REPEATS),
        ),
    ] = None,
    slots: Annotated[
        int | None,
        typer.Option(
            help="Slots; default one per GPU, else one per core.",
            callback=numbers.whole("--slots", 1, numbers.MANY_SLOTS),
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    workers: Annotated[
        int,
        typer.Option(
            help="Loader processes of each trial; changes no number.",
            callback=numbers.whole("--workers", 0, numbers.MANY_WORKERS),
        ),
    ] = 0,
    timeout: Annotated[
        float | None, typer.Option(help="Seconds an attempt may take.", callback=numbers.seconds("--timeout"))
    ] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Run terminally failed items again.")] = False,
    allow_mixed: Annotated[
        bool, typer.Option("--allow-mixed", help="Let a cell mix CPU and GPU trials; it is marked.")
    ] = False,
    from_scratch: Annotated[
        bool, typer.Option("--from-scratch", help="Set the store aside, adopt nothing, train it all.")
    ] = False,
    repeats: Annotated[
        int | None,
        typer.Option(
            help="Repeats instead of params.yaml's.", callback=numbers.whole("--repeats", 1, numbers.MANY_REPEATS)
        ),
    ] = None,
    together: Annotated[
        int | None,
        typer.Option(
            help="Pretrain one --method on so many GPUs together (processes on a CPU); 0: one process a GPU. 2D only.",
            callback=numbers.whole("--together", 0, numbers.MANY_SLOTS),
        ),
    ] = None,
) -> None:
    """Run whatever is planned and not done. Running again is resuming.

    Exit codes: 0 all that was asked for is done; 1 some of it failed, or needs what failed; 2 the command was refused;
    130 it was interrupted.
    """
    check_device(device)
    session = open_session(profile, repeats=repeats)
    planned = session.plan
    if sample is not None and (trial or not again):
        raise ConfigurationError(
            "found --sample without --again, or with --trial; expected it to say how many trials are repeated; add "
            "--again, and --method or --task in place of --trial."
        )
    chosen = Chosen(block, tuple(method or ()), tuple(task or ()))
    chosen.check(planned)
    if from_scratch:
        _refuse_part_from_scratch(planned.profile, chosen, trial, repeats)
    if together is not None:
        _refuse_beside_together(
            chosen, {"--trial": trial, "--slots": slots, "--repeats": repeats, "--from-scratch": from_scratch}
        )
        _run_together(session, chosen, together, device, workers, timeout, retry_failed)
        return
    if trial:
        targets = [_find(session, trial)]
        if again:
            repeating.print_one(*_again(session, targets, slots, device, workers))
            return
    elif again:
        found = repeating.sampled(session, chosen.holds, sample or repeating.SAMPLE)
        if not repeating.print_all(_again(session, found, slots, device, workers)):
            raise typer.Exit(EXIT_UNDONE)
        return
    else:
        targets = list(planned.trials(chosen.holds).values())
        if not targets:
            raise _nothing_to_run(planned, chosen)
    if from_scratch:
        _begin(session, slots, device)
    summary = execute(
        session,
        targets,
        slots=slots,
        device=device,
        workers=workers,
        timeout=timeout,
        retry_failed=retry_failed,
        allow_mixed=allow_mixed,
        adopting=trial is None,
    )
    _say(session, targets, summary, one=trial is not None)
    if trial:
        _beside_the_committed(session, targets[0])
    else:
        print_hours(session)
    if not from_scratch:
        _refresh(session, summary)
    _exit_unless_done(session, targets)


def _exit_unless_done(session: Session, targets: Sequence[Item]) -> None:
    """Leave with code 1 if anything that was asked for is not done; a trial that diverged with a score is.

    Raises:
        typer.Exit: So.
    """
    done = done_ids(session)
    for item in targets:
        if item.id not in done and not trial_status(representing(session.store, item.kind, item.id)).scored:
            raise typer.Exit(EXIT_UNDONE)


def _refuse_beside_together(chosen: Chosen, others: Mapping[str, object]) -> None:
    """Pretraining by several processes takes one method and no part of a run of trials."""
    given = {"--block": chosen.block != "all", "--task": chosen.tasks, **others}
    found = [option for option, value in given.items() if value]
    if found or len(chosen.methods) != 1:
        raise ConfigurationError(
            f"found {' and '.join(found) if found else f'{len(chosen.methods)} --method'} with --together, which "
            "pretrains one method by several processes; expected one --method, and none of --trial, --task, --block, "
            "--slots, --repeats and --from-scratch."
        )


def _run_together(
    session: Session,
    chosen: Chosen,
    count: int,
    device: str,
    workers: int,
    timeout: float | None,
    retry_failed: bool,
) -> None:
    """Train every phase of one method that is not done, each by several processes; see docs/performance.md."""
    (method,) = chosen.methods
    resolved = session.plan.methods[method]
    chains = [chain for (name, _), chain in session.plan.phases.items() if name == method and chain]
    if not chains:
        raise Unavailable(
            f"{method} has no phase to train under profile {session.plan.profile}"
            f"{f': {resolved.unavailable}' if resolved.unavailable else ''}; expected a method that pretrains."
        )
    targets = list({item.id: item for chain in chains for item in chain}.values())
    with tempfile.TemporaryDirectory() as folder:
        slot, processes = import_dotted("methods.distributed:place")(count, device)
        engine = import_dotted("methods.distributed:TogetherExecutor")(processes, slot, Path(folder))
        summary = execute(
            session, targets, workers=workers, timeout=timeout, retry_failed=retry_failed, engine=engine, adopting=False
        )
    _say(session, targets, summary, one=False, what="phases")
    _refresh(session, summary)
    _exit_unless_done(session, targets)


@dataclass(frozen=True)
class Chosen:
    """Which cells a run is about: a block, methods and tasks; all where none is named."""

    block: str = "all"
    methods: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()

    def check(self, planned: Plan) -> None:
        """Refuse names that the plan does not hold, with near ones."""
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


def _refuse_part_from_scratch(profile: str, chosen: Chosen, trial: str | None, repeats: int | None) -> None:
    """A run from scratch is whole: DVC then assembles all of params.yaml's profile and would train what is absent."""
    given = {
        "--trial": trial, "--block": chosen.block != "all", "--method": chosen.methods, "--task": chosen.tasks,
        "--repeats": repeats,
    }  # fmt: skip
    found = [option for option, value in given.items() if value]
    if found:
        raise ConfigurationError(
            f"found {' and '.join(found)} with --from-scratch, which trains everything that is planned; leave "
            f"{'it' if len(found) == 1 else 'them'} out, or leave --from-scratch out to run a part."
        )
    usual = open_session().parameters.profile
    if profile != usual:
        raise ConfigurationError(
            f"found --profile {profile} with --from-scratch, but params.yaml has profile {usual}, which DVC assembles "
            f'afterwards; write "profile: {profile}" into params.yaml first.'
        )


def _begin(session: Session, slots: int | None, device: str) -> None:
    """Set the old store aside once it is known that the run can start at all."""
    from harness.environment import device_slots

    device_slots(slots, device)  # type: ignore[arg-type]
    if not from_scratch_marker(session.root).is_file():
        session.refuse_edits(may_lack=None)  # they will be compared with what is trained now
    begun = begin_from_scratch(session.root, session.plan.profile)
    console.print(
        "a run from scratch begins: nothing committed is adopted"
        if begun
        else "the interrupted run from scratch goes on"
    )
    print_plan(session, describe(session))


def _nothing_to_run(planned: Plan, chosen: Chosen) -> Unavailable:
    """Say why none of the cells asked for has a trial, each reason once."""
    cells = [cell for cell in planned.cells.values() if chosen.holds(cell)]
    if not cells:
        return Unavailable(
            f"no cell of profile {planned.profile} is in block {chosen.block} with the methods and tasks asked for; "
            'see "dira-bench plan".'
        )
    reasons = Counter(
        ("skipped", cell.skipped) if cell.skipped else ("unavailable", cell.unavailable) for cell in cells
    )
    lines = [f"none of {len(cells)} cells has a trial to run under profile {planned.profile}, because of this:"]
    for (what, reason), count in sorted(reasons.items(), key=lambda pair: pair[0][0], reverse=True):
        lines.append(f"{what} ({count} cell{'s' * (count > 1)}): {reason}")
    return Unavailable("\n".join(lines))


def _find(session: Session, prefix: str) -> Item:
    matches = [item for item in session.plan.items.values() if item.id.startswith(prefix)]
    if len(matches) != 1:
        found = "no planned item has" if not matches else f"{len(matches)} planned items have"
        raise ConfigurationError(
            f'{found} an id beginning with "{prefix}" under profile {session.plan.profile}; see "dira-bench show".'
        )
    return matches[0]


def execute(
    session: Session,
    targets: Sequence[Item],
    *,
    slots: int | None = None,
    device: str = "auto",
    workers: int = 0,
    timeout: float | None = None,
    retry_failed: bool = False,
    allow_mixed: bool = False,
    adopting: bool = True,
    store: Store | None = None,
    engine: Executor | None = None,
) -> Summary | None:
    """Run the targets that are not done, and what they need; None if there was nothing to do.

    ``adopting`` counts committed rows as done; a trial that is asked for by its id is run even so. ``store`` replaces
    the session's, ``engine`` the slots of this machine; the rest is as the command line has it.

    Raises:
        typer.Exit: With code 130 if the run was interrupted.
    """
    done = done_ids(session) if store is None else set()
    if not adopting:
        done -= session.adopted.trial_ids - session.store.done_ids("trial")
    store = store or session.store
    open_targets = [item for item in targets if item.id not in done]
    if not retry_failed:
        open_targets = [item for item in open_targets if store.state(item.kind, item.id) is not State.FAILED]
    blocked: dict[str, str] = {}
    items = open_targets
    if store is session.store:
        blocked = {item.id: reason for item in open_targets if (reason := session.plan.without_images(item, done))}
        items = session.plan.needed([item for item in open_targets if item.id not in blocked], done)
    if not items:
        return _only_blocked(blocked)
    # Only now: listing the machine's devices and git state costs more than finding out that nothing is to be done.
    from harness.environment import device_slots
    from harness.executors.local import LocalExecutor
    from harness.runner import RetryPolicy, choose_progress
    from harness.runner import run as drain

    places = engine.slots if engine is not None else device_slots(slots, device)  # type: ignore[arg-type]
    if not allow_mixed:
        _refuse_mixing(session, items, {place.device_class for place in places})
    executor = engine or LocalExecutor(places, preload=_preload(items))
    try:
        summary = drain(
            items,
            store,
            executor,
            retry=RetryPolicy(retry_failed=retry_failed),
            progress=choose_progress(),
            timeout=timeout,
            workers=workers,
            data_roots=session.registry.data_roots,
        )
    finally:
        executor.close()
    store.sweep()
    summary.blocked.update(blocked)
    if summary.interrupted:
        console.print("interrupted; everything finished is kept, and the same command goes on from here.")
        raise typer.Exit(EXIT_INTERRUPTED)
    return summary


def _only_blocked(blocked: Mapping[str, str]) -> Summary | None:
    """Return what a run comes to in which nothing can run; None if nothing was to be run."""
    if not blocked:
        return None
    from harness.runner import Summary

    return Summary(blocked=dict(blocked))


def _preload(items: Iterable[Item]) -> list[str]:
    """Name our own modules that the items run, so that the fork server imports them (and torch) once.

    Code of anybody else's is imported in its own child: what it changes at import would reach every other item.
    """
    paths = {item.run for item in items} | {
        str(item.spec["encoder"]["obtain"]) for item in items if item.kind == "trial"
    }
    modules = sorted({path.partition(":")[0] for path in paths})
    return ["torch", "torchvision", *(module for module in modules if module.partition(".")[0] in OURS)]


def _beside_the_committed(session: Session, item: Item) -> None:
    """Set what a trial gave here beside its committed row."""
    record = representing(session.store, item.kind, item.id)
    for row in session.adopted.rows.get(item.id, []):
        value = record.values.get(row.metric) if record else None
        if value is not None and row.value is not None:
            same = "bit-equal" if row.value == value else f"differs by {abs(row.value - value):.3g}"
            console.print(shown(f"  {row.metric}: {value!r}, committed {row.value!r}: {same}"))


def _refuse_mixing(session: Session, items: Sequence[Item], classes: set[str]) -> None:
    """One cell uses one device class, unless asked otherwise."""
    wanted = {item.id for item in items}
    ran = trial_devices(session.root, session.plan.profile)
    committed = {identity: ran[identity] for identity in session.adopted.trial_ids & set(ran)}
    for cell in session.plan.cells.values():
        if not any(item.id in wanted for item in cell.trials.values()):
            continue
        for item in cell.trials.values():
            if item.id in wanted:
                continue
            record = session.store.ok("trial", item.id)
            before = record.provenance.get("device_class") if record else committed.get(item.id)
            if before and before not in classes:
                raise ConfigurationError(
                    f"{item.title} ran on {before} and the rest of its cell would run on "
                    f"{', '.join(sorted(classes))}; expected one device "
                    f'class in a cell; use "--device {"cpu" if before == "cpu" else "cuda"}", or "--allow-mixed" to '
                    "mix and mark it."
                )


def _say(
    session: Session, targets: Sequence[Item], summary: Summary | None, *, one: bool, what: str = "trials"
) -> None:
    """Say what a run came to; ``one`` if a single item was asked for by its id."""
    if summary is None:
        settled = done_ids(session)  # to read the record of each would cost more than the rest of the command
        doubtful = [item for item in targets if item.id not in settled]
        failed = [item for item in doubtful if session.store.state(item.kind, item.id) is State.FAILED]
        done = len(targets) - len(failed)
        console.print(
            f"0 of {len(targets)} {what} to run: "
            + (f"{done} are done, {len(failed)} failed." if failed else "all are done.")
        )
        if failed:
            console.print('see "dira-bench show ID"; "dira-bench run --retry-failed" runs them again.')
        elif one:
            console.print('add "--again" to execute it once more and compare.')
        return
    console.print(
        f"{summary.attempts} attempts: {len(summary.done)} items done, {len(summary.failed)} failed, "
        f"{len(summary.blocked)} blocked, "
        f"in {summary.seconds:.0f} s."
    )
    for identity, record in list(summary.failed.items())[:5]:
        message = (record.error or {}).get("message", "").splitlines()
        console.print(
            f"  {record.status}: {shown(record.title)}: {shown(message[0] if message else '')} (dira-bench show "
            f"{identity[:12]})"
        )
    for identity, reason in list(summary.blocked.items())[:5]:
        console.print(f"  blocked: {shown(session.plan.items[identity].title)}: {shown(reason)}")


def _refresh(session: Session, summary: Summary | None) -> None:
    """Bring results files that already exist up to date with what was just run, so that DVC sees the change."""
    if summary is None or not summary.attempts:
        return
    touched = [session.plan.items[identity] for identity in summary.done if identity in session.plan.items]
    folder = profile_folder(session.root, session.plan.profile)
    methods = {str(item.spec["method"]) for item in touched if item.kind == "trial"}
    for name in sorted(methods):
        if (folder / "trials" / f"{name}.csv").is_file():
            write_trials(session.plan, session.root, session.store, session.adopted, name)
            write_localization(session.plan, session.root, session.store, name)
        if (folder / "pretraining" / f"{name}.json").is_file():
            write_pretraining(session.plan, session.root, session.store, session.adopted, name)
    for item in touched:
        if item.kind == "cohort" and (folder / "cohorts" / f"{item.spec['task']}.json").is_file():
            write_cohort(session.plan, session.root, session.store, item.spec["task"])


def _again(
    session: Session, items: Sequence[Item], slots: int | None, device: str, workers: int
) -> list[repeating.Repeated]:
    """Execute done items once more in a store of their own: what a second run of them would give."""
    firsts = {item.id: repeating.done_record(session, item) for item in items}
    found = []
    for group in repeating.groups(items):
        with repeating.beside(session, group) as store:
            execute(session, group, slots=slots or 1, device=device, workers=workers, store=store)
            found += [repeating.Repeated(item, firsts[item.id], repeating.second_record(store, item)) for item in group]
    return found


def compare_command(profile: Profile = None) -> None:
    """Say how many committed numbers the run from scratch has reproduced, and turn adoption on again."""
    ran = _profile_from_scratch()
    if ran and profile and profile != ran:
        raise ConfigurationError(
            f"found --profile {profile}, but the run from scratch was one of profile {ran}; leave --profile out."
        )
    session = open_session(ran or profile)
    session.refuse_edits(may_lack=None)
    planned = {item.id for item in session.plan.trials().values()}
    result = compare(session.root, session.plan.profile, planned)
    console.print(f"profile {session.plan.profile}: {result.sentence()}")
    for example in result.examples:
        console.print(shown(f"  not reproduced: {example}"))
    for cause in result.causes():
        console.print(shown(f"  {cause}"))
    end_from_scratch(session.root)
    report = session.root / "reports" / session.plan.profile / "report.html"
    if report.is_file():
        console.print(shown(f"the report: {report}"))
    sys.stdout.flush()


def _profile_from_scratch() -> str | None:
    """Return the profile of the run from scratch that is under way, as its marker says."""
    try:
        content = parse_json(from_scratch_marker(project_root()).read_text())
        return str(content["profile"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
