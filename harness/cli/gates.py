"""``gates``: was it learnt? Every phase's measurements beside the thresholds, as ``results/`` has them."""

from __future__ import annotations

from itertools import groupby
from typing import Annotated

import typer
from rich.table import Table

from harness.advice import command
from harness.cli.session import Session, console, open_session, shown
from harness.gates import GATES, GateRow, Verdict, gate_words, judge, read_gates, verdicts
from harness.results import profile_folder
from harness.results.descriptions import read_pretraining


def judged(session: Session) -> list[GateRow]:
    """Judge every method that has a pretraining file, in the order of the registry.

    Raises:
        DataError: If such a file is malformed.
    """
    declared = read_gates(session.root / GATES)
    folder = profile_folder(session.root, session.plan.profile) / "pretraining"
    rows: list[GateRow] = []
    for method in session.plan.methods:
        path = folder / f"{method}.json"
        if path.is_file():
            rows += judge(read_pretraining(path), declared, str(path))
    return rows


def gates(
    profile: Annotated[str | None, typer.Option(help="Profile instead of the one in params.yaml.")] = None,
) -> None:
    """Show whether each pretraining was learnt: value, chance, start and threshold of every gate, phase by phase.

    The last phase of a method decides. Refuses what was edited; exits with 0 whether or not a gate was passed.
    """
    session = open_session(profile)
    session.refuse_edits(may_lack=None)
    rows = judged(session)
    if not rows:
        console.print(
            shown(
                f"results/{session.plan.profile}/pretraining has no phase yet; "
                f"run {command('run')}, then {command('report')}."
            )
        )
    found = verdicts(rows)
    for method, own in groupby(rows, key=lambda row: row.method):
        _print_method(session.registry.methods[method].label, found[method], list(own))


def _print_method(label: str, verdict: Verdict, rows: list[GateRow]) -> None:
    console.print(f"[bold]{shown(label)}[/]: {verdict.word}" + (f" ({shown(verdict.why)})" if verdict.why else ""))
    table = Table(box=None, padding=(0, 1), pad_edge=False)
    for heading in ("phase", "measure"):
        table.add_column(heading, overflow="fold")
    for heading in ("value", "chance", "start"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("gate", overflow="fold")
    table.add_column("")
    several = len({row.pretrain_seed for row in rows}) > 1
    for (seed, phase), part in groupby(rows, key=lambda row: (row.pretrain_seed, row.phase)):
        name = f"  {phase}" + (f", seed {seed}" if several else "")
        for place, row in enumerate(part):
            table.add_row("" if place else shown(name), *(shown(word) for word in gate_words(row)))
    console.print(table)
