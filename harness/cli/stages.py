"""``stage …``: what DVC calls, and ``report``, which does the last three without DVC.

A stage exits 0 once everything it planned is done, unavailable or terminally failed, and writes that state; it exits
non-zero only when interrupted or broken, so an unavailable method stops nobody else.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.advice import command
from harness.cli.auditing import run_audit
from harness.cli.execution import run_items
from harness.cli.session import Session, console, open_session, shown
from harness.errors import DataError, StoreError
from harness.lineages import lineages
from harness.metrics import is_known
from harness.plan import Plan
from harness.results import (
    TABLES,
    committed_as_planned,
    device_classes,
    profile_folder,
    replace,
    write_cohort,
    write_leakage,
    write_localization,
    write_pretraining,
    write_trials,
)
from harness.results.elsewhere import write_no_cohort, write_no_pretraining, write_no_trials
from harness.results.examination import MEND
from harness.running import done_ids
from harness.spec import NO_TRANSFER, Item
from harness.store import State
from harness.store.committed import Standing, judge
from harness.store.files import parse_json
from harness.store.leases import process_id

if TYPE_CHECKING:
    from harness.gates import Verdict
    from harness.statistics.summary import MethodFacts, TaskFacts

stages = typer.Typer(help="The stages of the DVC pipeline, for DVC to call.", no_args_is_help=True)
ProfileName = Annotated[str, typer.Argument(help="Name of a profile, as in params.yaml.")]


@stages.command("cohorts")
def stage_cohorts(profile: ProfileName) -> None:
    """Build or index the images of every task and write results/<profile>/cohorts/."""
    session = _session(profile)
    plan, root = session.plan, session.root
    cohorts = plan.cohorts.items()
    _run_to_the_end(session, [item for task, item in cohorts if not committed_as_planned(plan, root, task)])
    write_cohorts(session)


@stages.command("pretrain")
def stage_pretrain(profile: ProfileName) -> None:
    """Train the phases of every method that are missing and write results/<profile>/pretraining/ and curves/."""
    session = _session(profile)
    phases = {item.id: item for chain in session.plan.phases.values() for item in chain}
    _run_to_the_end(session, [item for item in phases.values() if item.id not in session.adopted.phases])
    write_pretrainings(session)


@stages.command("trials")
def stage_trials(profile: ProfileName) -> None:
    """Run every trial that is missing; write trials, resamples, evidence maps and provenance of every method."""
    session = _session(profile)
    _run_to_the_end(session, list(session.plan.trials().values()))
    write_all_trials(session)


@stages.command("leakage")
def stage_leakage(profile: ProfileName) -> None:
    """Count the test images that a pretraining has seen, by how they look, and write results/<profile>/leakage.csv."""
    session = _session(profile)
    write_leakage(session.plan, session.root, session.store)


@stages.command("statistics")
def stage_statistics(profile: ProfileName) -> None:
    """Summarise every cell and test every contrast; refuses what was edited."""
    session = _session(profile)
    session.refuse_edits(may_lack=_outputs(session))
    write_statistics(session)


@stages.command("audit")
def stage_audit() -> None:
    """Hold the paper's printed numbers against its claims and write results/published/audit.csv."""
    session = open_session()
    path = session.root / "results" / "published" / "audit.csv"
    verdict = judge(session.root, path)
    if verdict.standing is Standing.EDITED:
        raise DataError(f"{verdict.sentence}: {MEND.format(name=path.relative_to(session.root))}.")
    run_audit(session)


@stages.command("report")
def stage_report(profile: ProfileName) -> None:
    """Write tables, figures and pages from results/ alone; refuses what was edited."""
    session = _session(profile)
    session.refuse_edits()
    write_report(session)


@stages.command("unlock")
def stage_unlock() -> None:
    """Remove DVC's read/write lock if the process that held it is gone."""
    removed = clear_dead_lock(open_session().root)
    if removed:
        console.print(f"removed .dvc/tmp/rwlock: {removed}")


def report(
    profile: Annotated[str | None, typer.Option(help="Profile instead of the one in params.yaml.")] = None,
) -> None:
    """Assemble whatever the store holds into results/<profile> and reports/<profile>, without DVC; trains nothing.

    Refuses what was edited before it writes anything.
    """
    session = open_session(profile)
    session.refuse_edits(may_lack=None)
    plan = session.plan
    write_cohorts(session)
    write_pretrainings(session)
    write_all_trials(session)
    write_leakage(plan, session.root, session.store)
    write_statistics(session)
    run_audit(session)
    write_report(session)
    console.print(shown(f"the report: {session.root / 'reports' / plan.profile / 'report.html'}"))


def write_cohorts(session: Session) -> None:
    """Write the file of every task's cohort; of a task that the profile has not, one that says so."""
    for task in session.plan.tasks:
        write_cohort(session.plan, session.root, session.store, task)
    for task in session.registry.tasks.elsewhere:
        write_no_cohort(session.root, session.plan.profile, task)


def write_pretrainings(session: Session) -> None:
    """Write phases and curves of every method; of a method that the profile has not, files that say so."""
    for method in session.plan.methods:
        write_pretraining(session.plan, session.root, session.store, session.adopted, method)
    for method in session.registry.methods.elsewhere:
        write_no_pretraining(session.root, session.plan.profile, method)


def write_all_trials(session: Session) -> None:
    """Write the trials of every method and what comes of them; of a method that the profile has not, empty files."""
    for method in session.plan.methods:
        write_trials(session.plan, session.root, session.store, session.adopted, method)
        write_localization(session.plan, session.root, session.store, method)
    for method in session.registry.methods.elsewhere:
        write_no_trials(session.root, session.plan.profile, method)


def _outputs(session: Session) -> list[Path]:
    """Return what statistics and audit write, so that it need not be there before."""
    results = session.root / "results"
    return [*(results / session.plan.profile / name for name in TABLES), results / "published" / "audit.csv"]


def _stamp(plan: Plan, method: str) -> str:
    """Return the stamps of the images a method was pretrained on, where a program made them."""
    cohorts = {phase.cohort for phase in plan.methods[method].phases} & set(plan.tasks)
    return "; ".join(sorted({plan.tasks[task].stamp for task in cohorts if task and plan.tasks[task].synthetic}))


def _method_facts(session: Session, learnt: Mapping[str, Verdict]) -> dict[str, MethodFacts]:
    """Return what statistics need to know of each method."""
    from harness.gates import NO_GATES
    from harness.statistics.summary import MethodFacts

    plan = session.plan
    return {
        entry.name: MethodFacts(
            label=entry.label,
            compare_with=entry.compare_with,
            reinitialised=plan.methods[entry.name].reinitialised,
            pretrain_seeds=plan.seeds(entry.name),
            unavailable=plan.methods[entry.name].unavailable or "",
            stamp=_stamp(plan, entry.name),
            gate=learnt.get(entry.name, NO_GATES).word,
        )
        for entry in session.registry.methods
    }


def _task_facts(session: Session) -> dict[str, TaskFacts]:
    """Return what statistics need to know of each task that is transferred to."""
    from harness.statistics.summary import TaskFacts

    plan = session.plan
    return {
        entry.name: TaskFacts(
            label=entry.label,
            metric=entry.metric,
            metrics=plan.measured(entry.name),
            label_fractions=entry.label_fractions,
            unavailable=plan.tasks[entry.name].unavailable or "",
        )
        for entry in session.registry.tasks
        if entry.transfer != NO_TRANSFER and is_known(entry.metric)  # else the plan says what is not installed
    }


def write_statistics(session: Session) -> None:
    """Write the tables that statistics leave of the profile."""
    from harness.cli.gates import judged
    from harness.cli.outlook import ask, outlooks
    from harness.gates import GateRow, verdicts
    from harness.statistics.margins import read_margins
    from harness.statistics.outlook import prospect
    from harness.statistics.paper import read_paper
    from harness.statistics.schema import CellSummary, Comparison, Prospect, View
    from harness.statistics.summary import summarise
    from harness.typed_csv import table_text

    plan = session.plan
    folder = profile_folder(session.root, plan.profile)
    gates = judged(session)
    summary = summarise(
        folder,
        _method_facts(session, verdicts(gates)),
        _task_facts(session),
        session.parameters,
        session.families,
        read_margins(session.root / "reports" / "margins.yaml"),
        read_paper(session.root / "results" / "published" / "paper.csv"),
        device_classes(plan, session.root),
        lineages(plan),
    )
    told = outlooks(session, ask(session)) if session.parameters.repeats > 1 else []
    texts = (
        table_text(CellSummary, summary.cells),
        table_text(Comparison, summary.comparisons),
        table_text(View, summary.views),
        table_text(Prospect, [prospect(row) for row in told]),
        table_text(GateRow, gates),
    )
    for name, text in zip(TABLES, texts, strict=True):
        replace(session.root, folder / name, text)


def write_report(session: Session) -> None:
    """Render the profile's tables, figures and pages."""
    from reports.render import build

    build(
        session.root / "results",
        session.root / "reports",
        session.plan.profile,
        parameters=session.parameters,
        families=session.families,
        methods={entry.name: entry.label for entry in session.registry.methods},
        tasks={entry.name: entry.label for entry in session.registry.tasks},
        terms={name: task.terms for name, task in session.plan.tasks.items() if task.terms is not None},
        sources={entry.name: entry.source for entry in session.registry.methods},
    )


def clear_dead_lock(root: Path) -> str:
    """Remove ``.dvc/tmp/rwlock`` when every process in it is gone or a zombie; return a sentence if it was removed."""
    path = root / ".dvc" / "tmp" / "rwlock"
    try:
        held = parse_json(path.read_text())
    except (OSError, ValueError):
        return ""
    processes = {process_id(entry) for entry in _holders(held)}
    if not processes or any(process < 0 or _alive(process) for process in processes):  # below 0: nobody knows whose
        return ""
    path.unlink(missing_ok=True)
    return f"process {', '.join(map(str, sorted(processes)))} is gone"


def _holders(value: object) -> list[dict[str, object]]:
    if isinstance(value, dict):
        if "pid" in value:
            return [value]
        return [holder for inner in value.values() for holder in _holders(inner)]
    if isinstance(value, list):
        return [holder for inner in value for holder in _holders(inner)]
    return []


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state != "Z"


def _session(profile: str) -> Session:
    """Open the stage's profile, which is the one in params.yaml unless a person calls the stage by hand."""
    session = open_session()
    if session.parameters.profile != profile:
        return open_session(profile)
    return session


def _run_to_the_end(session: Session, targets: Sequence[Item]) -> None:
    """Run what is missing; a stage may only end well, and be locked, if every item is done or terminally failed.

    Raises:
        StoreError: If an item is neither, nor needs one that failed: its record was set aside, its process was lost.
    """
    summary = run_items(session, targets)
    done = done_ids(session.store, session.adopted)
    open_items = [item for item in targets if item.id not in done and not _has_failed(session, item, done)]
    if open_items:
        item = open_items[0]
        reason = summary.blocked.get(item.id, "") if summary else ""
        others = f" (and {len(open_items) - 1} more)" if len(open_items) > 1 else ""
        raise StoreError(
            f"{item.title}{others} is neither done nor failed: "
            f"{reason or f'it is {session.store.state(item.kind, item.id)}'}; run the same stage again, or look at "
            f"{command(f'show {item.id[:16]}')}."
        )


def _has_failed(session: Session, item: Item, done: Collection[str]) -> bool:
    """Say whether an item failed for good, or needs one that did."""
    if session.store.state(item.kind, item.id) is State.FAILED:
        return True
    needs = (session.plan.items[need] for need in item.needs if need not in done)
    return any(_has_failed(session, need, done) for need in needs)
