"""``verify``, ``pin`` and ``check``: do ids, versions and entries still mean what they say?"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from harness import versions
from harness.cli.listing import AsJson, Profile
from harness.cli.session import Session, console, open_session, print_json
from harness.errors import VersionError, unknown
from harness.identity import item_id
from harness.registry import import_dotted
from harness.results import profile_folder, read_rows


def verify(profile: Profile = None) -> None:
    """Recompute every id from the repository, and check that versions stand for the code as it is."""
    session = open_session(profile)
    problems = [versions.sentence(component) for component in versions.stale(session.root)]
    problems += _records(session)
    unplanned = _committed(session)
    if problems:
        raise VersionError("\n".join(problems))
    items = len(session.plan.items)
    console.print(
        f"verified: {len(versions.components(session.root))} components stand for their code; {items} planned ids "
        "recomputed; "
        f"{unplanned} committed rows are no longer planned (the report drops them)."
    )


def _records(session: Session) -> list[str]:
    """Every record in the store must be what its id says."""
    problems = []
    for kind in ("cohort", "phase", "trial"):
        for identity in session.store.done_ids(kind):
            record = session.store.ok(kind, identity)
            if record is not None and item_id(record.kind, record.spec) != identity:
                problems.append(
                    f"record {kind} {identity[:16]} holds a spec with another id; it was edited; delete its folder "
                    "and run again."
                )
    return problems


def _committed(session: Session) -> int:
    planned = {item.id for item in session.plan.items.values()}
    folder = profile_folder(session.root, session.plan.profile) / "trials"
    rows = [row for path in sorted(folder.glob("*.csv")) for row in read_rows(path) if row["trial_id"]]
    return sum(row["trial_id"] not in planned for row in rows)


def pin(
    name: Annotated[str, typer.Argument(help='A component: "views", "methods.views", or "all".')],
    bumped: Annotated[bool, typer.Option("--bumped", help="Its version was raised: numbers may move.")] = False,
) -> None:
    """Accept an edit of a component: prove that no number moves, or state that its version was raised.

    The proof trains two steps of every method and judges two steps of every task, with the code as last committed and
    with the code as it is, on this machine, and compares the digests of all numbers bit for bit.
    """
    session = open_session()
    root = session.root
    targets = versions.stale(root) if name == "all" else [versions.find(root, name)]
    committed = _committed_versions(root)
    for component in targets:
        before = committed.get(component.side, {}).get(component.name)
        raised = before is None or component.version > before["version"]
        if bumped and not raised:
            raise VersionError(
                f"{component.side}.{component.name} still has version {component.version}, the committed one; set "
                f"version: {component.version + 1} in {component.side}/versions.yaml first."
            )
        if not bumped and before is not None and before.get("code"):
            _prove(root, component)
        versions.write_digest(root, component)
        console.print(
            f"pinned {component.side}.{component.name} version {component.version} to code {component.actual}"
        )


def _committed_versions(root: Path) -> dict[str, dict[str, Any]]:
    import yaml

    committed: dict[str, dict[str, Any]] = {}
    for side in versions.SIDES:
        shown = subprocess.run(
            ["git", "show", f"HEAD:{side}/versions.yaml"], cwd=root, capture_output=True, text=True, check=False
        )
        if shown.returncode == 0:
            committed[side] = (yaml.safe_load(shown.stdout) or {}).get("components", {})
    return committed


def _prove(root: Path, component: versions.Component) -> None:
    """Compare two-step numbers of the committed code and of the code as it is, in processes of their own."""
    with tempfile.TemporaryDirectory(prefix="dira-bench-pin-") as folder:
        clone = Path(folder) / "committed"
        cloned = subprocess.run(
            ["git", "clone", "--quiet", "--shared", str(root), str(clone)], check=False, capture_output=True, text=True
        )
        if cloned.returncode != 0:
            raise VersionError(
                f"the committed code cannot be checked out ({cloned.stderr.strip()}); expected a git repository with "
                "a commit; "
                f'raise the version of {component.name} instead and use "--bumped".'
            )
        before, after = _numbers(clone), _numbers(root)
    moved = [key for key in before if key in after and before[key] != after[key]]
    if moved:
        raise VersionError(
            f"numbers of {', '.join(moved)} differ between the committed code and the code as it is; set version: "
            f'{component.version + 1} for {component.side}.{component.name} and run "dira-bench pin {component.name} '
            '--bumped".'
        )
    console.print(f"two steps of {', '.join(sorted(set(before) & set(after)))} are bit-equal before and after the edit")


def _numbers(root: Path) -> dict[str, str]:
    """Run ``check --all --json`` with the code under ``root`` and return entry → digest of its numbers."""
    import os

    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "harness.cli", "check", "--all", "--json", "--profile", "smoke"],
        cwd=root, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode not in (0, 1):
        raise VersionError(f"the two-step proof could not run under {root}: {done.stderr.strip()[-400:]}")
    return {entry["name"]: entry["numbers"] for entry in json.loads(done.stdout) if entry.get("numbers")}


def check(
    name: Annotated[str, typer.Argument(help="A method or a task.")] = "",
    everything: Annotated[bool, typer.Option("--all", help="Every available method and task.")] = False,
    as_json: AsJson = False,
    profile: Profile = "smoke",
) -> None:
    """Check that an entry conforms: anyone can run it on a method or task of their own.

    Loads, pyramid of shapes, deterministic under a seed, seeds reach it, gradient reaches the encoder, two steps on
    phantom data.
    """
    session = open_session(profile)
    names = _checked_names(session, name, everything)
    reports: list[dict[str, Any]] = []
    for kind, entry in names:
        resolved = session.plan.methods[entry] if kind == "method" else session.plan.tasks[entry]
        if resolved.unavailable:
            reports.append(
                {"kind": kind, "name": entry, "checks": [], "numbers": None, "unavailable": resolved.unavailable}
            )
            continue
        conformance = import_dotted(f"{kind}s.conformance:check")
        if kind == "method":
            found = conformance(resolved)
        else:
            found = conformance(session.registry.tasks[entry], session.plan.profile)
        checks = [{"name": title, "passed": passed, "message": message} for title, passed, message in found.results]
        reports.append({"kind": kind, "name": entry, "checks": checks, "numbers": found.numbers})
    if as_json:
        print_json(reports)
    else:
        _print_checks(reports)
    if any(not check["passed"] for report in reports for check in report["checks"]):
        raise typer.Exit(1)


def _checked_names(session: Session, name: str, everything: bool) -> list[tuple[str, str]]:
    known = [("method", entry) for entry in session.plan.methods] + [("task", entry) for entry in session.plan.tasks]
    if everything:
        return known
    found = [(kind, entry) for kind, entry in known if entry == name]
    if not found:
        raise unknown("method or task", name, [entry for _, entry in known], "the registries")
    return found


def _print_checks(reports: list[dict[str, Any]]) -> None:
    for report in reports:
        console.print(f"[bold]{report['kind']} {report['name']}[/]")
        if report.get("unavailable"):
            console.print(f"  unavailable: {escape(report['unavailable'])}")
        for result in report["checks"]:
            mark = "[green]passed[/]" if result["passed"] else "[red]failed[/]"
            console.print(f"  {mark}  {escape(result['name'])}: {escape(result['message'])}")
