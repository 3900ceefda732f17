"""The schema of ``trials/<method>.csv``, a row a trial and metric: it is declared, written and read here alone.

Whoever reads a row through here knows that it is written as this project writes it, that its value can be one of its
metric's, that it stands once, and that it is what its trial's seal says. Files of older versions have no seals, or do
not say how many labels a trial had; the rest is checked of them too.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from harness.errors import DataError
from harness.metrics import out_of_bounds
from harness.published import CellKey
from harness.spec import Status
from harness.store.seals import SEAL, seal_of

# The first row of a file, in this order, the seal last.
COLUMNS = (
    "method", "task", "label_fraction", "pretrain_seed", "repeat", "metric", "value", "status", "labelled", "cohort",
    "trial_id",
)  # fmt: skip
ADDED_LATER = ("labelled",)  # a file of an older version may lack them
NAMES = ("task", "label_fraction", "pretrain_seed", "repeat")  # of a trial in the file of its method
OF_A_ROW = ("metric", "value")  # all other columns are the same in each row of a trial
STATUSES = {str(status): status for status in Status}
SEAL_DIGITS = 16  # 64 bits, so that the file stays readable
ADVICE = 'restore the file with git, or write it anew with "dvc repro"'


@dataclass(frozen=True, slots=True)
class TrialRow:
    """One metric of one trial.

    Attributes:
        method, task, label_fraction, pretrain_seed, repeat, metric: Which trial and what was measured.
        value: As recorded: a fraction in [0, 1], or a count; NaN if it is undefined, None if the trial has none.
        status: How the trial ended, or why it has no value.
        labelled: Training images (3D: cases) whose labels it was trained on; None where no record says so.
        cohort: First digits of the cohort's id.
        trial_id: 64 hexadecimal digits; empty for a trial that cannot be run here.
        line: Where it stands in the file that it was read from, from 2; 0 for a row that was not read.
        sealed: That file has seals, and this row's is right.
    """

    method: str
    task: str
    label_fraction: float
    pretrain_seed: int
    repeat: int
    metric: str
    value: float | None
    status: Status
    labelled: int | None
    cohort: str
    trial_id: str
    line: int = field(default=0, compare=False)
    sealed: bool = field(default=False, compare=False)

    @property
    def cell(self) -> CellKey:
        """The cell the trial belongs to."""
        return CellKey(self.method, self.task, self.label_fraction)

    def text(self) -> dict[str, str]:
        """Return the row as it is written, without the seal: numbers as Python writes them, so that none is lost."""
        return {column: _written(getattr(self, column)) for column in COLUMNS}


def _written(value: str | float | None) -> str:
    return "" if value is None else str(value) if isinstance(value, str) else repr(value)


def trials_csv(rows: Iterable[TrialRow]) -> str:
    """Write rows as the text of a file, each with the seal of its trial; the rows of a trial follow one another."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, fieldnames=(*COLUMNS, SEAL), lineterminator="\n")
    writer.writeheader()
    for _, group in groupby((row.text() for row in rows), key=_trial):
        own = list(group)
        writer.writerows({**row, SEAL: trial_seal(own)} for row in own)
    return stream.getvalue()


def trial_seal(rows: Sequence[Mapping[str, str]]) -> str:
    """Return the seal of one trial, over its names, ids, status and values, in any order.

    ``labelled`` is no part of it: seals are older than that column. ``SHA256SUMS`` and ``dvc.lock`` vouch for it.

    Args:
        rows: Every row of the trial, as text by column.
    """
    shared = {column: rows[0][column] for column in COLUMNS if column not in (*OF_A_ROW, *ADDED_LATER)}
    return seal_of({**shared, "values": sorted([row["metric"], row["value"]] for row in rows)})[:SEAL_DIGITS]


def profile_of_trial(root: Path, prefix: str) -> str | None:
    """Return the one profile whose committed trials have an id that begins so; None if none has, or several have."""
    found = {
        path.parents[1].name
        for path in (root / "results").glob("*/trials/*.csv")
        for row in csv.DictReader(path.read_text(encoding="utf-8", errors="replace").splitlines())
        if (row.get("trial_id") or "").startswith(prefix)
    }
    return found.pop() if len(found) == 1 else None


def read_trial_rows(path: Path) -> list[TrialRow]:
    """Read ``trials/<method>.csv``.

    Raises:
        DataError: If it cannot be read, or as ``parse_trial_rows`` says.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as a table ({error}); {ADVICE}.") from error
    return parse_trial_rows(text, path)


def parse_trial_rows(text: str, path: Path) -> list[TrialRow]:
    """Read the text of a ``trials/<method>.csv``; the file's name is the method.

    Raises:
        DataError: If a column is absent, a value is not as this project writes it or out of its metric's bounds, a row
            stands twice or under another method, or a trial is not what its seal says.
    """
    reader = csv.DictReader(io.StringIO(text, newline=""))
    try:
        raws = [(reader.line_num, raw) for raw in reader]
    except csv.Error as error:  # e.g. a quote that is never closed
        raise DataError(f"{path}, line {reader.line_num}: {error}; {ADVICE}.") from None
    columns = reader.fieldnames or ()
    lacking = [column for column in COLUMNS if column not in columns and column not in ADDED_LATER]
    if lacking:
        raise DataError(f"{path} has no column {', '.join(lacking)}; {ADVICE}.")
    rows: list[TrialRow] = []
    trials: dict[tuple[str, ...], list[dict[str, str]]] = {}
    for line, raw in raws:
        try:
            own = trials.setdefault(_trial(raw), [])
            rows.append(_row(raw, path.stem, line))
            _beside(raw, own)
        except ValueError as error:
            raise DataError(f"{path}, line {line}: {error}; {ADVICE}.") from None
        own.append(raw)
    if SEAL in columns:
        for own in trials.values():
            _check_seal(path, own)
    return rows


def _row(raw: Mapping[str | None, str | None], method: str, line: int) -> TrialRow:
    """Read one row; raises ValueError with what is wrong."""
    if None in raw or None in raw.values():
        raise ValueError(f"found {'more' if None in raw else 'fewer'} values than columns; expected as many")
    text = {column: str(raw.get(column, "")) for column in COLUMNS}
    if text["method"] != method:
        raise ValueError(f'found method "{text["method"]}"; expected "{method}" alone')
    if text["status"] not in STATUSES:
        raise ValueError(f'found status "{text["status"]}"; expected one of {", ".join(Status)}')
    fraction = _real(text["label_fraction"], "label_fraction")
    if not 0 < fraction <= 1:
        raise ValueError(f"found label_fraction {fraction!r}; expected one above 0, up to 1")
    status = STATUSES[text["status"]]
    return TrialRow(
        method=text["method"],
        task=text["task"],
        label_fraction=fraction,
        pretrain_seed=_count(text["pretrain_seed"], "pretrain_seed"),
        repeat=_count(text["repeat"], "repeat"),
        metric=text["metric"],
        value=_value(text, status),
        status=status,
        labelled=_count(text["labelled"], "labelled") if text["labelled"] else None,
        cohort=text["cohort"],
        trial_id=text["trial_id"],
        line=line,
        sealed=bool(raw.get(SEAL)),
    )


def _value(text: Mapping[str, str], status: Status) -> float | None:
    """Read a row's value; raises ValueError if it cannot be one of its metric's, or if its trial can have none."""
    if not text["value"]:
        return None
    value = _real(text["value"], "value")
    if not status.scored:
        raise ValueError(f"found a value beside status {status}; expected none")
    if wrong := out_of_bounds(text["metric"], value):
        raise ValueError(wrong)
    return value


def _real(text: str, column: str) -> float:
    """Read a number that is written as Python writes it, so that one number has one text; raises ValueError."""
    try:
        number = float(text)
    except ValueError:
        number = math.inf
    if math.isinf(number) or repr(number) != text:
        raise ValueError(f'found {column} "{text[:40]}"; expected a number such as 0.5, written as Python writes it')
    return number


def _count(text: str, column: str) -> int:
    """Read a whole number from 0; raises ValueError."""
    if not (text.isascii() and text.isdigit() and str(int(text)) == text):
        raise ValueError(f'found {column} "{text[:40]}"; expected a whole number from 0')
    return int(text)


def _trial(row: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(row[column] for column in NAMES)


def _beside(row: Mapping[str, str], own: Sequence[Mapping[str, str]]) -> None:
    """Check a row against those of the same trial before it; raises ValueError."""
    if any(other["metric"] == row["metric"] for other in own):
        raise ValueError(f"{row['metric']} of this trial stands twice")
    for column in (name for name in COLUMNS if name in row and name not in OF_A_ROW):
        if own and own[0][column] != row[column]:
            raise ValueError(f'found {column} "{row[column]}" beside "{own[0][column]}" in the same trial')


def _check_seal(path: Path, own: Sequence[Mapping[str, str]]) -> None:
    first, seal = own[0], trial_seal(own)
    if any(row[SEAL] != seal for row in own):
        values = ", ".join(f"{row['metric']} {row['value'] or 'empty'}" for row in own)
        raise DataError(
            f"{path}: {first['task']} at label fraction {first['label_fraction']}, pretraining seed "
            f"{first['pretrain_seed']}, repeat {first['repeat']} was edited: its rows ({first['status']}; {values}) "
            f"are not what their seal says; {ADVICE}."
        )
