"""``list``, ``plan``, ``status`` and ``show``: what there is, what is to be done, what was done."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from harness.advice import command
from harness.cli import numbers
from harness.cli.consoles import WIDE
from harness.cli.running_options import Block
from harness.cli.session import Session, console, notes, open_session, print_json, say, shown
from harness.environment import check_device
from harness.errors import many, unknown
from harness.plan import Plan
from harness.pretrainings import Pretraining, pretrainings, probe_missing, read_probes
from harness.results import examine, processor_hours
from harness.results.table import profile_of_trial
from harness.running import check_block, find_item
from harness.running.counting import BlockCounts, Counts, count, most_seeds
from harness.spec import DataTerms, Item, MethodPlan, Record, Status, TaskPlan, percent
from harness.store import Store

FOUND_FAULTS = 2  # as for every other error that a user can fix
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document, for programs.")]
SHOWN_ATTEMPTS = 20
SHOWN_PHASES = 100
Profile = Annotated[str | None, typer.Option(help="Profile instead of the one in params.yaml.")]


def list_entries(
    what: Annotated[str, typer.Argument(help="methods or tasks; both if left out.")] = "",
    as_json: AsJson = False,
    profile: Profile = None,
) -> None:
    """List methods and tasks: what they are, where they come from, whether they can run here."""
    if what not in ("", "methods", "tasks"):
        raise unknown("list", what, ("methods", "tasks"), "dira-bench list")
    session = open_session(profile)
    kinds = [what] if what else ["methods", "tasks"]
    listing = {kind: _entries(session, kind) for kind in kinds}
    if as_json:
        print_json(listing[what] if what else listing)
        return
    for kind, entries in listing.items():
        if console.width < WIDE:
            _list_narrowly(kind, entries, session.plan.profile)
            _print_terms(entries)
            continue
        table = Table(title=f"{kind} (profile {session.plan.profile})", title_justify="left", box=None, pad_edge=False)
        for column, kept in (("name", True), ("label", False), ("D", True), ("available", False), ("origin", True)):
            table.add_column(column, overflow="fold", no_wrap=kept)
        for entry in entries:
            dimensions = str(entry["dimensions"] or "?")
            row = (entry["name"], entry["label"], dimensions, _state(entry), entry["origin"])
            table.add_row(*(shown(str(part)) for part in row))
        console.print(table)
        console.print()
        _print_terms(entries)


def _state(entry: Mapping[str, object]) -> str:
    return "yes" if entry["available"] else f"no: {entry['reason']}"


def _list_narrowly(kind: str, entries: Sequence[Mapping[str, object]], profile: str) -> None:
    """List entries where a table would break their names."""
    console.print(f"[bold]{kind} (profile {shown(profile)})[/]")
    for entry in entries:
        about = f"{entry['label']}; {entry['dimensions'] or '?'}D; available: {_state(entry)}; {entry['origin']}"
        say(str(entry["name"]))
        say(about, 4)
    console.print()


def _terms(resolved: MethodPlan | TaskPlan) -> dict[str, object]:
    """Return licence and citation of a task's images, where anything is known of them; a method has none."""
    terms = resolved.terms if isinstance(resolved, TaskPlan) else None
    return {} if terms is None else {"data_set": terms.model_dump(mode="json")}


def _print_terms(entries: Sequence[Mapping[str, object]]) -> None:
    """Write the terms of each data set once, with the tasks that use it."""
    tasks: dict[DataTerms, list[str]] = {}
    for entry in entries:
        if "data_set" in entry:
            tasks.setdefault(DataTerms.model_validate(entry["data_set"]), []).append(str(entry["name"]))
    if tasks:
        console.print("[bold]data sets[/]")
    for terms, names in tasks.items():
        say(f"{terms.title} ({', '.join(names)})")
        for line in terms.lines():
            say(line, 4)


def _entries(session: Session, kind: str) -> list[dict[str, object]]:
    registered = session.registry.methods if kind == "methods" else session.registry.tasks
    resolved: Mapping[str, MethodPlan | TaskPlan] = session.plan.methods if kind == "methods" else session.plan.tasks
    entries = [
        {
            "name": entry.name,
            "label": entry.label,
            "dimensions": entry.dimensions,
            "available": resolved[entry.name].unavailable is None,
            "reason": resolved[entry.name].unavailable or "",
            "origin": entry.origin,
            "source": entry.source,
            "version": entry.version,
            **_terms(resolved[entry.name]),
        }
        for entry in registered
    ]
    entries += [
        {
            "name": broken.name,
            "label": broken.name,
            "dimensions": None,
            "available": False,
            "reason": broken.reason,
            "origin": broken.origin,
            "source": "",
            "version": None,
        }
        for broken in registered.broken
    ]
    return entries


def plan(
    as_json: AsJson = False,
    profile: Profile = None,
    block: Block = "all",
    probe: Annotated[
        bool,
        typer.Option("--probe", help="Time some steps of every pretraining, to estimate its hours."),
    ] = False,
    device: Annotated[str, typer.Option(help="Where to probe: auto, cpu or cuda.")] = "auto",
    answer: Annotated[str, typer.Option(help="A family or a table: what the runs can answer about it.")] = "",
    target: Annotated[
        float,
        typer.Option(
            help="How likely --answer wants a true difference to be found.",
            callback=numbers.between("--target", 0.01, 0.99),
        ),
    ] = 0.8,
    pretraining_spread: Annotated[
        float,
        typer.Option(
            help="Assumed standard deviation between pretrainings, in units of that between fine-tuning runs.",
            callback=numbers.between("--pretraining-spread", 0.0, 10.0),
        ),
    ] = 0.0,
) -> None:
    """Show what the registries imply: counts, what is done, missing, failed, unavailable or skipped, hours, power."""
    from harness.cli.disk import needs, print_needs
    from harness.cli.outlook import ask, outlooks, print_answer, print_outlook

    check_block(block)
    check_device(device)
    session = open_session(profile)
    if probe:
        _probe(session, device)
    counts = counted(session, block)
    listed = pretrainings(session.plan, read_probes(session.root))
    question = ask(session, pretraining_spread)
    told = outlooks(session, question) if session.parameters.repeats > 1 else []
    if as_json:
        outlook = [row.model_dump() for row in told]
        print_json({**counts.model_dump(), "pretraining": [asdict(phase) for phase in listed], "outlook": outlook})
        return
    if answer:
        print_answer(session, question, told, answer, target)
        return
    print_plan(session, counts)
    print_needs(session, needs(session, session.plan.tasks))
    print_pretrainings(listed)
    print_outlook(session, told)


def _probe(session: Session, device: str) -> None:
    from harness.environment import device_slots

    place = device_slots(1, device)[0]  # type: ignore[arg-type]
    where = "cpu" if place.device_class == "cpu" else "cuda:0"
    probe_missing(session.plan, session.root, where, place.model, Console(stderr=True).print)


def print_pretrainings(listed: Sequence[Pretraining]) -> None:
    """Write every distinct phase with its budget, and hours where steps were timed."""
    devices = sorted({device for phase in listed for device in phase.hours})
    first = listed[:SHOWN_PHASES]
    if console.width < WIDE + 16 * len(devices):
        _print_narrowly(first, devices)
    else:
        _print_table(first, devices)
    if len(listed) > len(first):
        say(f"and {many(len(listed) - len(first), 'more phase')}; --json has them all", 2)
    for device in devices:
        total = sum(phase.hours.get(device, 0.0) for phase in listed)
        say(f"in all {total:,.1f} h on one {device}, from a few steps timed on made-up images in memory", 2)
    if not devices:
        say(f"no step was timed yet: {command('plan --probe')} times some and gives hours", 2)


def _print_table(listed: Sequence[Pretraining], devices: Sequence[str]) -> None:
    table = Table(title="pretraining, each phase once", title_justify="left", box=None, pad_edge=False)
    table.add_column("phase", no_wrap=True)
    table.add_column("methods", overflow="fold")
    for column in ("length", "batch", "images seen", *(f"h on one {device}" for device in devices)):
        table.add_column(column, justify="right")
    for phase in listed:
        length, batch, seen, hours = _words(phase, devices)
        table.add_row(shown(phase.phase), shown(", ".join(phase.methods)), length, batch, seen, *hours)
    console.print(table)


def _print_narrowly(listed: Sequence[Pretraining], devices: Sequence[str]) -> None:
    """Write phases one below the other where a table would break their methods' names."""
    console.print("[bold]pretraining, each phase once[/]")
    for phase in listed:
        length, batch, seen, hours = _words(phase, devices)
        parts = [length, batch and f"batch {batch}", seen and f"{seen} images seen"]
        parts += [f"{count} h on one {device}" for count, device in zip(hours, devices, strict=True)]
        say(f"{phase.phase}: " + ", ".join(part for part in parts if part))
        say(", ".join(phase.methods), 4)


def _words(phase: Pretraining, devices: Sequence[str]) -> tuple[str, str, str, list[str]]:
    """Return a phase's length, batch, images seen and hours on each device; empty where there is none to give."""
    length = "" if phase.count is None else f"{phase.count:g} {phase.unit}"
    batch = "" if phase.batch is None else str(phase.batch)
    seen = "not known" if phase.images_seen is None else f"{phase.images_seen:,}"
    hours = [f"{phase.hours[device]:,.2f}" if device in phase.hours else "–" for device in devices]
    return length, batch, seen if batch else "", hours


def counted(session: Session, block: str = "all") -> Counts:
    """Count cells and trials by state, with a reason for every cell that has none."""
    return count(session.plan, session.store, session.adopted, block)


def print_plan(session: Session, counts: Counts) -> None:
    """Write the plan for people; its trials less those that are unavailable are the runnable ones."""
    from harness.cli.outlook import detectable

    parameters = session.plan.parameters
    say(
        f": {many(len(session.registry.methods), 'method')} × {many(len(session.registry.tasks), 'task')}",
        heading=f"profile {counts.profile}",
    )
    for name, block in (("published", counts.published), ("added", counts.added)):
        say(f"{name:9s}  {_block(session.plan, name, block)}", 2)
    say(
        f"runnable {many(counts.runnable, 'trial')}: {counts.done} done ({counts.adopted} reused from the committed "
        f"results), {counts.missing} missing, {counts.failed} failed",
        2,
    )
    say(f"phases of pretraining: {counts.phases.planned}, to run {counts.phases.to_run}", 2)
    for shared in counts.shared_phases:
        say(f"trained once for {', '.join(shared.methods)}: {shared.phase}", 4)
    for device, hours in counts.hours.items() if counts.missing else ():
        say(f"the trials that are missing take about {hours:.2f} h of one {device} slot (from measured times)", 2)
    if parameters.repeats > 1:
        say(
            f"{parameters.repeats} repeats an arm detect a difference of {detectable(session):.2f} standard deviations "
            f"(two-sided, α = {parameters.alpha:g}, power .80)",
            2,
        )
    else:
        say("1 repeat an arm: no difference can be tested; write repeats: 10 into params.yaml", 2)
    for note in counts.notes:
        say(f"note: {note}", 2)
    for what, without in (("unavailable", counts.unavailable), ("skipped", counts.skipped)):
        grouped = Counter(cell.reason for cell in without)
        for reason, cells in grouped.items():
            say(f"{what} ({many(cells, 'cell')}): {reason}", 2)


def _block(plan: Plan, name: str, block: BlockCounts) -> str:
    """Say how many cells and trials a block has, and how many of them are unavailable here."""
    cells, trials = many(block.distinct_cells, "cell"), many(block.distinct_trials, "trial")
    said = f"{cells} × {many(plan.parameters.repeats, 'repeat')}{_seeds(plan)} = {trials}"
    if name == "published":
        said += f"  ({many(block.naive_cells, 'cell')} printed, shared ones are run once)"
    if block.unavailable_cells:
        said += (
            f"; of these {many(block.unavailable_cells, 'cell')} with {many(block.unavailable_trials, 'trial')} "
            "cannot be run here"
        )
    return said


def _seeds(plan: Plan) -> str:
    """Say how many pretraining seeds there are: of every method, or at most where the profile asks more of some."""
    least, most = plan.parameters.pretrain_seeds, most_seeds(plan)
    if most == 1:
        return ""
    if least == most:
        return f" × {most} pretraining seeds (1 where nothing is pretrained)"
    return f" × up to {most} pretraining seeds ({least} where the profile asks no more, 1 where nothing is pretrained)"


def show(
    trial: Annotated[str, typer.Argument(help="Id of a trial, a phase or a cohort, or its first characters.")],
    as_json: AsJson = False,
    profile: Profile = None,
) -> None:
    """Show one item: what it is, every attempt, values, provenance, and the command that reruns just it.

    Without --profile, an id that the profile of params.yaml does not have is looked for in the committed results of
    the others. What was edited is named and not shown.
    """
    session = _session_that_has(trial, profile)
    item = find_item(session.plan, trial)
    records, faults = _attempts(session, item)
    if as_json:
        adopted = [row.text() for row in session.adopted.rows.get(item.id, [])]
        print_json({
            "item": item.dump(),
            "attempts": [record.model_dump(mode="json") for record in records],
            "adopted": adopted,
            "faults": faults,
        })  # fmt: skip
        raise typer.Exit(FOUND_FAULTS if faults else 0)
    console.print(f"[bold]{shown(item.title)}[/]\n{item.kind} {item.id}\nrun by {shown(item.run)}")
    for row in session.adopted.rows.get(item.id, []):
        console.print(shown(f"  committed: {row.metric} = {row.text()['value']} ({row.status})"))
    if len(records) > SHOWN_ATTEMPTS:
        console.print(f"\n{many(len(records) - SHOWN_ATTEMPTS, 'earlier attempt')}; --json has them all")
    for record in records[-SHOWN_ATTEMPTS:]:
        _print_attempt(record)
    if not records and item.id not in session.adopted.rows:
        console.print("no attempt yet")
    again = " --again" if any(record.status is Status.OK for record in records) else ""  # beside the record here
    console.print(f"\nrun just this: dira-bench run --profile {session.plan.profile} --trial {item.id[:16]}{again}")
    if (fraction := item.outline.label_fraction) is not None:
        console.print(f"label fraction {percent(fraction)}")
    for fault in faults:
        notes.print(f"[red]not shown:[/] {shown(fault)}")
    if faults:
        raise typer.Exit(FOUND_FAULTS)


def _session_that_has(prefix: str, profile: str | None) -> Session:
    """Open the profile asked for or, where none was named and its plan lacks the id, the one whose results have it."""
    session = open_session(profile)
    if profile is not None or any(item.id.startswith(prefix) for item in session.plan.items.values()):
        return session
    other = profile_of_trial(session.root, prefix)
    if other is None:
        return session
    notes.print(shown(f"note: not of profile {session.plan.profile}; the results of profile {other} have it."))
    return open_session(other)


def _print_attempt(record: Record) -> None:
    """Write how one attempt ended, its values, its error, its facts and where it ran."""
    console.print(f"\nattempt {record.ordinal}: {record.status}")
    for name, value in record.values.items():
        console.print(shown(f"  {name} = {value!r}"))
    if record.error:
        console.print(f"  {shown(record.error.get('type', ''))}: {shown(record.error.get('message', ''))}")
        console.print(shown(record.error.get("traceback", "")))
    console.print("  facts: " + shown(json.dumps(record.facts, sort_keys=True)))
    console.print("  provenance: " + shown(json.dumps(record.provenance, sort_keys=True)))


def _attempts(session: Session, item: Item) -> tuple[list[Record], list[str]]:
    """Return an item's records whose files are whole, and what is wrong with the others and with results files."""
    store = Store(session.store.root, session.store.cohorts, notify=lambda sentence: None)
    records = [record for record in store.attempts(item.kind, item.id) if store.verify(record)]
    found = examine(session.plan, session.root, store, may_lack=None)
    return records, list(dict.fromkeys([*store.notices, *found.faults]))


def status(profile: Profile = None) -> None:
    """Show how a run stands, from another shell; safe beside any number of drivers."""
    from harness.runner import status as look

    session = open_session(profile)
    overview = look(session.store, list(session.plan.items.values()))
    for running in overview.running:
        share = f"{running.done}/{running.total}" if running.total else ""
        say(f"{running.slot:8s} {running.item.title}  {share} {running.what}  {running.seconds:.0f} s")
    for item in overview.failed:
        say(f"failed   {item.title}  ({command(f'show {item.id[:12]}', quoted=False)})")
    counts = counted(session)
    say(
        f"{counts.done} of {many(counts.runnable, 'trial')} done ({counts.adopted} reused), {counts.missing} missing, "
        f"{counts.failed} failed; "
        + ", ".join(f"{many(count, 'item')} {state}" for state, count in sorted(overview.counts.items()))
    )
    print_hours(session)


def print_hours(session: Session) -> None:
    """Write the processor time of what is done."""
    hours = processor_hours(session.plan, session.root, session.store)
    say(
        f"processor time of what is done: pretraining {hours['phase']:.2f} h (of the phases in this store), trials "
        f"{hours['trial']:.2f} h"
    )
