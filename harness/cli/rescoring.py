"""``rescore``: a metric that came later, computed from what finished trials stored. Nothing is trained."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from harness.cli.execution import EXIT_UNDONE
from harness.cli.listing import AsJson, Profile
from harness.cli.session import Session, console, notes, open_session, print_json, say, shown
from harness.dotted import import_dotted
from harness.errors import DataError, many, unknown
from harness.metrics import Metric, stored_metric
from harness.results.files import table
from harness.results.standing import representing, trial_status
from harness.results.stored import stored_value
from harness.spec import Frozen, percent
from harness.whole_files import write_whole

PASSED_OVER = "tasks.transfer.stored:passed_over"
NOT_HERE = "no scored attempt in the store"


@dataclass(frozen=True)
class Without:
    """Trials without a value of the metric.

    Attributes:
        lacking: What they lack, which running them would store → how many.
        of_others: Which tasks' trials never have it → how many.
    """

    lacking: Counter[str] = field(default_factory=Counter)
    of_others: Counter[str] = field(default_factory=Counter)


class Rescored(Frozen):
    """One trial under a metric that it was not run for; a row of the table that ``--out`` writes.

    Attributes:
        method, task, label_fraction, pretrain_seed, repeat: Which trial.
        metric: Its name or dotted path.
        value: As recorded values are: a fraction for a share, else in the metric's unit.
        status: How the trial ended.
        trial_id: Whose arrays it was computed from.
    """

    method: str
    task: str
    label_fraction: float
    pretrain_seed: int
    repeat: int
    metric: str
    value: float
    status: str
    trial_id: str


def rescore(
    metric: Annotated[str, typer.Argument(help="A registered metric, or package.module:NAME.")],
    task: Annotated[str | None, typer.Option(help="One task alone.")] = None,
    out: Annotated[Path | None, typer.Option(help="CSV file to write, a row a trial.")] = None,
    as_json: AsJson = False,
    profile: Profile = None,
) -> None:
    """Compute a metric of finished trials from the predictions or counts they stored, without training.

    Nothing under results/ changes: the numbers there are those that the trials recorded. Exit code 1 if a trial
    that is done here lacks what the metric needs, or no trial has it.
    """
    session = open_session(profile)
    if task is not None and task not in session.plan.tasks:
        raise unknown("task", task, session.plan.tasks, f"profile {session.plan.profile}")
    known = stored_metric(metric)
    without = Without()
    rows = list(_rows(session, metric, task, without))
    for line in _without(known, len(rows), without):
        notes.print(f"[yellow]note:[/] {shown(line)}")
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_whole(out, table(tuple(Rescored.model_fields), map(_text, rows)).encode())
    if as_json:
        print_json([row.model_dump() for row in rows])
    else:
        for line in _lines(known, rows):
            say(line)
        if out is not None:
            console.print(f"written: {shown(out)}")
    if without.lacking.keys() - {NOT_HERE} or not rows:
        raise typer.Exit(EXIT_UNDONE)


def _text(row: Rescored) -> dict[str, str]:
    """Write a row so that every number is read back as the same one."""
    values = row.model_dump(mode="json").items()
    return {name: repr(value) if isinstance(value, float) else str(value) for name, value in values}


def _rows(session: Session, metric: str, task: str | None, without: Without) -> Iterator[Rescored]:
    """Yield the trials that hold what the metric needs; count what the others lack."""
    for cell in session.plan.cells.values():
        if cell.skipped or cell.unavailable or task not in (None, cell.key.task):
            continue
        first = next(iter(cell.trials.values()), None)  # the trials of a cell have one transfer
        other = "" if first is None else import_dotted(PASSED_OVER)(metric, first.spec)
        if other:
            without.of_others[other] += len(cell.trials)
            continue
        for key, item in cell.trials.items():
            record = representing(session.store, "trial", item.id)
            status = trial_status(record)
            if record is None or not status.scored:
                without.lacking[NOT_HERE] += 1
                continue
            try:
                value = stored_value(metric, item, record, session.store)
            except DataError as error:
                without.lacking[str(error)] += 1
                continue
            yield Rescored(**key._asdict(), metric=metric, value=value, status=status, trial_id=item.id)


def _without(metric: Metric, found: int, without: Without) -> Iterator[str]:
    """Say which trials never have the metric, then which lack what it needs and what to do: a sentence each."""
    if without.of_others:
        others = " and ".join(f"{many(count, 'trial')} of {what}" for what, count in without.of_others.items())
        yield f"{metric.label} is a metric of {metric.kind}; passed over: {others}."
    lacking = without.lacking
    if lacking:
        reasons = "; ".join(f"{count} {'has' if count == 1 else 'have'} {why}" for why, count in lacking.items())
        yield (
            f"{metric.label} cannot be computed of {lacking.total()} of {many(found + lacking.total(), 'trial')}: "
            f"{reasons}; run {'it' if lacking.total() == 1 else 'these'} again here, with the metric in the task's "
            "entry, to have it."
        )


def _lines(metric: Metric, rows: list[Rescored]) -> Iterator[str]:
    """Yield a line a cell: mean and standard deviation over its trials, as printed."""
    cells: dict[tuple[str, str, float], list[float]] = {}
    for row in rows:
        cells.setdefault((row.task, row.method, row.label_fraction), []).append(metric.printed(row.value))
    way = "" if metric.counts else f"; {metric.better} is better"
    yield f"{metric.label}{f', {metric.unit}' if metric.unit else ''}{way}"
    for (task, method, fraction), values in cells.items():
        spread = f" ± {np.std(values, ddof=1):.2f}" if len(values) > 1 else ""
        at = "" if fraction == 1.0 else f" at {percent(fraction)}"
        yield f"  {method} on {task}{at}: {np.mean(values):.2f}{spread} (n {len(values)})"
