"""``data phantom|verify|prepare``: images, before any training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from harness.cli.execution import execute
from harness.cli.listing import AsJson, Profile
from harness.cli.session import console, open_session, print_json, shown
from harness.errors import DataError, Unavailable
from harness.registry import import_dotted
from harness.spec import TaskPlan

data = typer.Typer(help="Write phantoms, verify a data root, decode it once.", no_args_is_help=True)
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
    inspect = import_dotted("tasks.inspection:verify")
    found: list[Any] = inspect(session.plan.tasks[task].cohort, Path(place), published=not synthetic)
    if as_json:
        print_json([{"level": finding.level, "message": finding.message} for finding in found])
    else:
        for finding in found:
            colour = {"fail": "red", "warn": "yellow"}.get(finding.level, "dim")
            console.print(f"[{colour}]{finding.level}[/]  {shown(finding.message)}")
        failures = sum(finding.level == "fail" for finding in found)
        warnings = sum(finding.level == "warn" for finding in found)
        console.print(shown(f"{task} at {place}: {failures} failures, {warnings} warnings"))
    if any(finding.level == "fail" for finding in found):
        raise typer.Exit(2)


@data.command("prepare")
def prepare(task: TaskName, profile: Profile = None) -> None:
    """Verify a task's images and decode them once into the memory map that pretraining and trials read."""
    session = open_session(profile)
    if task not in session.plan.tasks:
        raise session.registry.tasks.unknown(task, "tasks/registry.yaml")
    item = session.plan.cohorts.get(task)
    if item is None:
        raise Unavailable(session.plan.tasks[task].unavailable or f"{task} is unavailable.")
    execute(session, [item])
    record = session.store.ok("cohort", item.id)
    if record is None:
        last = session.store.last("cohort", item.id)
        raise DataError(
            (last.error or {}).get("message", "") if last else f"the cohort of {task} could not be prepared."
        )
    console.print(shown(f"{task}: {session.store.folder(record)}"))
