"""``data phantom|verify|prepare|twins``: images, before any training."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from harness.advice import command
from harness.cli import numbers
from harness.cli.disk import needs, print_needs, refuse_without_room
from harness.cli.execution import EXIT_UNDONE, run_items
from harness.cli.fetching import fetch
from harness.cli.listing import AsJson, Profile
from harness.cli.looking import FilesProgress
from harness.cli.session import EXIT_INTERRUPTED, Session, console, open_session, print_json, say, shown
from harness.dotted import import_dotted
from harness.environment import cores
from harness.errors import DataError, Unavailable, many, unknown
from harness.results.leakage import Leak, count_leaks, pairs, place_of
from harness.running import Settings
from harness.spec import TaskPlan

data = typer.Typer(
    help="Fetch real images, write phantoms, verify a data root, decode it once, find what pretraining has seen.",
    no_args_is_help=True,
)
Readers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        help="Processes that open files; default one a core. The number changes no result.",
        callback=numbers.whole("--workers", 1, numbers.MANY_WORKERS),
    ),
]
TaskName = Annotated[str, typer.Argument(help="A task of tasks/registry.yaml.")]


@data.command("phantom")
def phantom(
    task: TaskName,
    folder: Annotated[Path, typer.Argument(help="Where to write it; must be empty or new.")],
    profile: Profile = None,
) -> None:
    """Write a task's phantom cohort in the data set's true on-disk layout. Everything in it is SYNTHETIC."""
    session = open_session(profile)
    if task not in session.plan.tasks:
        raise session.registry.tasks.unknown(task, "tasks/registry.yaml")
    resolved = session.plan.tasks[task]
    _refuse_broken(task, resolved)
    if not resolved.synthetic:
        raise Unavailable(
            f'profile {session.plan.profile} reads real data and has no phantom of {task}; use "--profile miniature".'
        )
    if resolved.unavailable:
        raise Unavailable(f"no phantom of {task} can be written: {resolved.unavailable}")
    _check_empty(folder)
    write = import_dotted("tasks.inspection:write_phantom")
    write(resolved.cohort, folder, resolved.stamp)
    console.print(shown(f"{resolved.stamp}: {task} in {folder}"))


def _refuse_broken(task: str, resolved: TaskPlan) -> None:
    """Refuse a task whose entry could not even be resolved."""
    if not resolved.cohort:
        raise Unavailable(f"{task} is unavailable: {resolved.unavailable}")


def _check_empty(folder: Path) -> None:
    """A phantom is written into a new or empty folder, and every folder above it must be one."""
    existing = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not existing.is_dir():
        raise DataError(f"{existing} is a file; expected a new or empty folder; name another.")
    if existing == folder and any(folder.iterdir()):
        raise DataError(f"{folder} is not empty; expected a new or empty folder; name another.")


@data.command("verify")
def verify(
    task: TaskName,
    root: Annotated[
        Path | None, typer.Argument(help="Root of the data set; the configured data root if left out.")
    ] = None,
    synthetic: Annotated[
        bool, typer.Option("--phantom", help="Do not compare counts with the published ones.")
    ] = False,
    workers: Readers = None,
    sample: Annotated[
        int | None,
        typer.Option(
            help="Open so many files, drawn with a fixed seed, in place of all; tables and lists are checked whole.",
            callback=numbers.whole("--sample", 1, 10**9),
        ),
    ] = None,
    as_json: AsJson = False,
    profile: Profile = "miniature",
) -> None:
    """Check a data set on disk: leaks and corruption fail (exit code 2), odd counts warn."""
    session = open_session(profile)
    if task not in session.registry.tasks:
        raise session.registry.tasks.unknown(task, "tasks/registry.yaml")
    place = root or session.registry.data_roots.get(task)
    if place is None:
        raise Unavailable(
            f"no data root for {task}; give it as an argument, set DIRA_BENCH_DATA_{task.upper()}, or write "
            f"data_roots: {{{task}: FOLDER}} "
            "into params.local.yaml."
        )
    _refuse_broken(task, session.plan.tasks[task])
    found = _looked(session.plan.tasks[task].cohort, Path(place), not synthetic, workers or cores(), sample)
    terms = session.plan.tasks[task].terms
    if as_json:
        print_json([{"level": finding.level, "message": finding.message} for finding in found])
    else:
        for line in () if terms is None else (f"{terms.title}.", *terms.lines()):
            console.print(shown(line))
        for finding in found:
            colour = {"fail": "red", "warn": "yellow"}.get(finding.level, "dim")
            console.print(f"[{colour}]{finding.level}[/]  {shown(finding.message)}")
        failures = sum(finding.level == "fail" for finding in found)
        warnings = sum(finding.level == "warn" for finding in found)
        say(f"{task} at {place}: {many(failures, 'failure')}, {many(warnings, 'warning')}")
    if any(finding.level == "fail" for finding in found):
        raise typer.Exit(2)


def _looked(cohort: Mapping[str, object], root: Path, published: bool, workers: int, sample: int | None) -> list[Any]:
    """Return what the verifier finds.

    Raises:
        typer.Exit: With code 130 if it was interrupted.
    """
    progress = FilesProgress()
    effort = import_dotted("tasks.layouts.in_parallel:Effort")(workers, sample, progress)
    try:
        found: list[Any] = import_dotted("tasks.inspection:verify")(cohort, root, published=published, effort=effort)
    except KeyboardInterrupt:
        progress.end()
        console.print(
            f"interrupted after {progress.done:,} of {progress.total:,} files; nothing of a verification is kept, and "
            "the same command begins anew; --sample K opens K files."
        )
        raise typer.Exit(EXIT_INTERRUPTED) from None
    progress.end()
    return found


@data.command("prepare")
def prepare(task: TaskName, workers: Readers = None, profile: Profile = None) -> None:
    """Verify a task's images and decode them once into the memory map that pretraining and trials read."""
    session = open_session(profile)
    if task not in session.plan.tasks:
        raise session.registry.tasks.unknown(task, "tasks/registry.yaml")
    item = session.plan.cohorts.get(task)
    if item is None:
        raise Unavailable(session.plan.tasks[task].unavailable or f"{task} is unavailable.")
    found = needs(session, [task])
    print_needs(session, found)
    refuse_without_room(session, task, found)
    run_items(session, [item], settings=Settings(workers=workers or 0))
    record = session.store.ok("cohort", item.id)
    if record is None:
        last = session.store.last("cohort", item.id)
        raise DataError(
            (last.error or {}).get("message", "") if last else f"the cohort of {task} could not be prepared."
        )
    console.print(shown(f"{task}: {session.store.folder(record)}"))


@data.command("twins")
def twins(
    names: Annotated[
        str | None,
        typer.Option(
            "--names",
            metavar="COHORT",
            help="Print the images of this pretraining cohort that have a twin, one a line.",
        ),
    ] = None,
    as_json: AsJson = False,
    profile: Profile = None,
) -> None:
    """Count the images of every task that a pretraining has seen, perhaps at another size, format or contrast.

    Compares the decoded cohorts of real images in 2D that the store holds; "data prepare" decodes one. Exit code 1 if
    one was not decoded, so that it was not compared.
    """
    session = open_session(profile)
    if names is not None:
        _print_names(session, names)
        return
    found = dict(count_leaks(session.plan, session.store))
    rows = [row for counted in found.values() for row in counted or ()]
    missing = sorted({name for pair, counted in found.items() if counted is None for name in _missing(session, pair)})
    if as_json:
        print_json({"rows": [row.model_dump() for row in rows], "missing": missing})
    else:
        _print_twins(session, rows, missing, known=bool(found))
    if missing:
        raise typer.Exit(EXIT_UNDONE)


def _print_twins(session: Session, rows: list[Leak], missing: Iterable[str], *, known: bool) -> None:
    """Write what was compared and what was not; ``known`` says whether there is anything to compare."""
    if rows:
        console.print(_table_of(rows))
        say(f"a twin: its greys at 24 x 24 px have nearly the same order, rank correlation above {rows[0].threshold:g}")
    for name in missing:
        say(f"{name} is not decoded and was not compared; run {command(f'data prepare {name}')}.")
    if not known:
        say(f"profile {session.plan.profile} pretrains on no real image that a task could share.")


def _table_of(rows: list[Leak]) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in ("pretrained on", "judged on", "split"):
        table.add_column(column, overflow="fold")
    for column in ("images", "with a twin", "highest without"):
        table.add_column(column, justify="right")
    for row in rows:
        share = f"{row.with_twin} ({row.with_twin / row.images:.1%})"
        below = "" if row.below is None else f"{row.below:.3f}"
        table.add_row(row.pretraining_cohort, row.task, row.split, str(row.images), share, below)
    return table


def _missing(session: Session, names: Iterable[str]) -> Iterator[str]:
    """Yield the tasks whose cohort is not in the store."""
    return (name for name in names if session.store.ok("cohort", session.plan.cohorts[name].id) is None)


def _print_names(session: Session, cohort: str) -> None:
    """Print the images of a pretraining cohort that have a twin in any task's cohort: a list to leave out."""
    met = [task for pretraining, task in pairs(session.plan) if pretraining == cohort and task != cohort]
    if not met:
        known = sorted({pretraining for pretraining, _ in pairs(session.plan)})
        raise unknown("pretraining cohort of real images", cohort, known, f"profile {session.plan.profile}")
    for name in _missing(session, (cohort, *met)):
        raise Unavailable(f"{name} is not decoded; run {command(f'data prepare {name}')}.")
    places = {name: place_of(session.plan, session.store, name) for name in (cohort, *met)}
    of_pair = import_dotted("tasks.leakage:twins_seen")
    for name in sorted({case for task in met for case in of_pair(places[task], places[cohort])}):
        console.print(shown(name))


data.command("fetch")(fetch)
