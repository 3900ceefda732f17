"""``verify``, ``pin`` and ``check``: do ids, versions and entries still mean what they say?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import track

from harness import versions
from harness.advice import command
from harness.cli.listing import AsJson, Profile
from harness.cli.session import Session, console, notes, open_session, print_json, shown
from harness.dotted import import_dotted
from harness.errors import ConfigurationError, DataError, DiraBenchError, VersionError, many, unknown
from harness.foreign import describe_error, guest
from harness.results import Examination, profile_folder
from harness.results.table import read_trial_rows
from harness.spec import Kind, MethodPlan, TaskPlan


def verify(profile: Profile = None) -> None:
    """Check that nothing was edited and that versions represent the code as it is; recompute every id.

    Reads every record of the store, every byte of the files that planned records vouch for, and every results file.
    """
    session = open_session(profile)
    problems = [versions.sentence(component) for component in versions.stale(session.root)]
    found = Examination()
    try:
        found = session.refuse_edits(thorough=True, track=_shown)
    except DataError as error:
        problems.append(str(error))
    for sentence in session.plan.notes:
        notes.print(f"[yellow]note:[/] {shown(sentence)}")
    if problems:
        raise VersionError("\n".join(problems))
    unplanned = _unplanned(session)
    console.print(
        f"verified: {len(versions.components(session.root))} component versions match their code; "
        f"{len(session.plan.items)} planned ids recomputed; {many(found.files, 'results file')}, "
        f"{many(found.records, 'record')} and {many(found.hashed, 'file')} beside them are what was written; "
        f"{many(unplanned, 'committed row')} {'is' if unplanned == 1 else 'are'} no longer planned "
        '("dvc repro" runs their trials anew).'
    )


def _shown(items: list[tuple[Kind, str]]) -> Iterator[tuple[Kind, str]]:
    """Pass items on while a bar on standard error shows how many were read."""
    yield from track(items, "reading the store", console=notes, transient=True, disable=not notes.is_terminal)


def _unplanned(session: Session) -> int:
    planned = {item.id for item in session.plan.items.values()}
    folder = profile_folder(session.root, session.plan.profile) / "trials"
    paths = (folder / f"{method}.csv" for method in session.plan.methods)
    rows = [row for path in paths if path.is_file() for row in read_trial_rows(path) if row.trial_id]
    return sum(row.trial_id not in planned for row in rows)


def pin(
    name: Annotated[str, typer.Argument(help='A component: "views", "methods.views", or "all".')],
    bumped: Annotated[bool, typer.Option("--bumped", help="The version was raised, so numbers may change.")] = False,
) -> None:
    """Accept an edit of a component: prove that no number moves, or state that its version was raised.

    The proof trains two steps of every method and evaluates two steps of every task, with the code of the last commit
    that the version represents and with the code as it is, on this machine, and compares the digests of all
    numbers bit for bit; an entry whose numbers are gone counts as moved.
    """
    session = open_session()
    root = session.root
    targets = versions.stale(root) if name == "all" else [versions.find(root, name)]
    for component in targets:
        _accept(root, component, bumped)
        versions.write_digest(root, component)
        console.print(
            f"pinned {component.side}.{component.name} version {component.version} to code {component.actual}"
        )


def _accept(
    root: Path, component: versions.Component, bumped: bool, measure: Callable[[Path], dict[str, str]] | None = None
) -> None:
    """Return if the component's digest may be written: its version was raised, or its numbers are proved equal.

    Raises:
        VersionError: If neither is so.
    """
    where, versions_file = f"{component.side}.{component.name}", f"{component.side}/versions.yaml"
    pinned = versions.last_pinned(root, component)
    if pinned is None:
        if component.code and not bumped:
            raise VersionError(
                f"no commit holds the code of version {component.version} of {where}, so nothing can be "
                f"compared with it; commit what was pinned, or set version: {component.version + 1} in "
                f'{versions_file} and use "--bumped".'
            )
    elif bumped and component.version <= pinned.version:
        raise VersionError(
            f"{where} still has version {component.version}, and version {pinned.version} is pinned to committed "
            f"code; set version: {pinned.version + 1} in {versions_file} first."
        )
    elif not bumped and component.version != pinned.version:
        raise VersionError(
            f"{where} has version {component.version}, and the code last pinned is version {pinned.version}; a raised "
            f'version needs no proof: run "dira-bench pin {where} --bumped".'
        )
    elif not bumped:
        _prove(root, component, pinned.revision, measure or _numbers)


def _prove(root: Path, component: versions.Component, revision: str, measure: Callable[[Path], dict[str, str]]) -> None:
    """Compare two-step numbers of the code last pinned and of the code as it is, in processes of their own."""
    with tempfile.TemporaryDirectory(prefix="dira-bench-pin-") as folder:
        clone = Path(folder) / "pinned"
        commit = _check_out(root, revision, clone)
        before, after = measure(clone), measure(root)
    moved = sorted(key for key in before if after.get(key) != before[key])
    where = f"{component.side}.{component.name}"
    against = "the committed code" if revision == "HEAD" else f"the code last pinned ({commit[:9]})"
    if moved or not before:
        gone = [key for key in moved if key not in after]
        said = f"numbers of {', '.join(moved)} differ" if moved else "there are no numbers to compare"
        raise VersionError(
            f"{said} between {against} and the code as it is{_gone(gone)}; set version: {component.version + 1} for "
            f'{where} and run "dira-bench pin {where} --bumped".'
        )
    console.print(f"two steps of {', '.join(sorted(before))} are bit-equal in {against} and in the code as it is")


def _gone(names: list[str]) -> str:
    return f" ({', '.join(names)} {'has' if len(names) == 1 else 'have'} none any more)" if names else ""


def _check_out(root: Path, revision: str, clone: Path) -> str:
    """Put the code of a revision into a new folder and return its commit."""
    commit = _git(root, "rev-parse", "--verify", revision)
    _git(root, "clone", "--quiet", "--shared", "--no-checkout", str(root), str(clone))
    _git(clone, "checkout", "--quiet", "--detach", commit)
    return commit


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=folder, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise VersionError(
            f"the committed code cannot be checked out ({done.stderr.strip()}); expected a git repository with a "
            'commit; raise the version of the component instead and use "--bumped".'
        )
    return done.stdout.strip()


def _numbers(root: Path) -> dict[str, str]:
    """Run ``check --all --json`` with the code under ``root`` and return entry → digest of its numbers."""
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "harness.cli", "check", "--all", "--json", "--profile", "smoke"],
        cwd=root, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode not in (0, 1):
        raise VersionError(f"the two-step proof could not run under {root}: {done.stderr.strip()[-400:]}")
    entries = json.loads(done.stdout)
    return {f"{entry['kind']} {entry['name']}": entry["numbers"] for entry in entries if entry.get("numbers")}


def check(
    name: Annotated[str, typer.Argument(help="A method or a task; a metric is checked with a task that has it.")] = "",
    everything: Annotated[bool, typer.Option("--all", help="Every available method and task.")] = False,
    as_json: AsJson = False,
    profile: Profile = "smoke",
) -> None:
    """Check that an entry conforms: anyone can run it on a method or task of their own.

    Loads, pyramid of shapes, deterministic under a seed, seeds reach it, gradient reaches the encoder, two steps on
    phantom data. Exit code 1 if a check did not pass, or if the entry is unavailable and so was not checked.
    """
    if bool(name) == everything:
        raise ConfigurationError(
            f"found {f'{shown(name)} and --all' if name else 'no name'}; expected the name of a method or a task, or "
            "--all; add one of them."
        )
    session = open_session(profile)
    names = _checked_names(session, name, everything)
    reports: list[dict[str, Any]] = []
    for kind, entry in names:
        resolved = session.plan.methods[entry] if kind == "method" else session.plan.tasks[entry]
        missing = resolved.unavailable or _real_files(resolved, entry)
        if missing:
            reports.append({"kind": kind, "name": entry, "checks": [], "numbers": None, "unavailable": missing})
            continue
        reports.append(_conformance(session, kind, entry))
    if as_json:
        print_json(reports)
    else:
        _print_checks(reports)
    failed = any(not check["passed"] for report in reports for check in report["checks"])
    if failed or (name and any(report.get("unavailable") for report in reports)):
        raise typer.Exit(1)


def _real_files(resolved: MethodPlan | TaskPlan, name: str) -> str | None:
    """Say why a task is not checked: the check makes phantoms, twice, and its profile reads real files."""
    if isinstance(resolved, MethodPlan) or resolved.of_cohort.source != "data_root":
        return None
    return f"its images are real files, which {command(f'data verify {name}')} checks"


def _conformance(session: Session, kind: str, name: str) -> dict[str, object]:
    """Check one entry; whatever its code does, the others are checked too."""
    conformance = import_dotted(f"{kind}s.conformance:check")
    try:
        with guest():
            if kind == "method":
                found = conformance(session.plan.methods[name])
            else:
                found = conformance(session.registry.tasks[name], session.plan.profile)
    except Exception as error:  # code of anybody's, which may even ask Python to end
        said = str(error) if isinstance(error, DiraBenchError) else describe_error(error)
        checks = [{"name": "the check runs to its end", "passed": False, "message": said}]
        return {"kind": kind, "name": name, "checks": checks, "numbers": None}
    checks = [{"name": title, "passed": passed, "message": message} for title, passed, message in found.results]
    return {"kind": kind, "name": name, "checks": checks, "numbers": found.numbers}


def _checked_names(session: Session, name: str, everything: bool) -> list[tuple[str, str]]:
    known = [("method", entry) for entry in session.plan.methods] + [("task", entry) for entry in session.plan.tasks]
    if everything:
        return known
    found = [(kind, entry) for kind, entry in known if entry == name]
    if not found:
        for entries in (session.registry.methods, session.registry.tasks):
            if name in entries.elsewhere:
                raise entries.unknown(name)
        raise unknown("method or task", name, [entry for _, entry in known], "the registries")
    return found


def _print_checks(reports: list[dict[str, Any]]) -> None:
    for report in reports:
        console.print(f"[bold]{report['kind']} {report['name']}[/]")
        if report.get("unavailable"):
            console.print(f"  unavailable: {shown(report['unavailable'])}")
        for result in report["checks"]:
            mark = "[green]passed[/]" if result["passed"] else "[red]failed[/]"
            console.print(f"  {mark}  {shown(result['name'])}: {shown(result['message'])}")
