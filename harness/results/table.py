"""``trials/<method>.csv``, a row a trial and metric: the one reader of such files, and what their writer seals.

Whoever reads a row through here knows that it is written as this project writes it, that its value can be one of its
metric's, that it stands once, and that it is what its trial's seal says. Files of older versions have no seals; the
rest is checked of them too.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from harness.errors import DataError
from harness.published import CellKey
from harness.spec import out_of_bounds
from harness.store.seals import SEAL, SHARED, trial_seal

SCORED = ("ok", "diverged_scored")  # statuses whose value counts
STATUSES = (
    *SCORED, "diverged", "failed", "oom", "timeout", "interrupted", "missing", "unavailable",
)  # fmt: skip
COLUMNS = (
    "method", "task", "label_fraction", "pretrain_seed", "repeat", "metric", "value", "status", "cohort", "trial_id",
)  # fmt: skip
TRIAL_COLUMNS = (*COLUMNS, SEAL)
ADVICE = 'restore the file with git, or write it anew with "dvc repro"'


@dataclass(frozen=True, slots=True)
class TrialRow:
    """One metric of one trial.

    Attributes:
        method, task, label_fraction, pretrain_seed, repeat, metric: Which trial and what was measured.
        value: As recorded: a fraction in [0, 1], or a count; NaN if it is undefined, None if the trial has none.
        status: ``ok``, ``diverged_scored``, ``failed``, … ``unavailable``, ``missing``.
        cohort: First digits of the cohort's id.
        trial_id: 64 hexadecimal digits; empty for a trial that cannot be run here.
        line: Where it stands in its file, from 2.
        text: The row as it is written, without the seal.
        sealed: Its file has seals, and this row's is right.
    """

    method: str
    task: str
    label_fraction: float
    pretrain_seed: int
    repeat: int
    metric: str
    value: float | None
    status: str
    cohort: str
    trial_id: str
    line: int
    text: Mapping[str, str]
    sealed: bool

    @property
    def cell(self) -> CellKey:
        """The cell the trial belongs to."""
        return CellKey(self.method, self.task, self.label_fraction)


def sealed(rows: Iterable[Mapping[str, str]]) -> list[dict[str, str]]:
    """Return rows with the seal of their trial; the rows of a trial follow one another."""
    found: list[dict[str, str]] = []
    for _, group in groupby(rows, key=_trial):
        own = [{column: row[column] for column in COLUMNS} for row in group]
        found += [{**row, SEAL: trial_seal(own)} for row in own]
    return found


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
    lacking = [column for column in COLUMNS if column not in columns]
    if lacking:
        raise DataError(f"{path} has no column {', '.join(lacking)}; {ADVICE}.")
    rows: list[TrialRow] = []
    trials: dict[tuple[str, ...], list[dict[str, str]]] = {}
    for line, raw in raws:
        try:
            row = _row(raw, path.stem, line)
            own = trials.setdefault(_trial(raw), [])
            _beside(row, own, line)
        except ValueError as error:
            raise DataError(f"{path}, line {line}: {error}; {ADVICE}.") from None
        own.append(raw)
        rows.append(row)
    if SEAL in columns:
        for own in trials.values():
            _check_seal(path, own)
    return rows


def _row(raw: Mapping[str | None, str | None], method: str, line: int) -> TrialRow:
    """Read one row; raises ValueError with what is wrong."""
    if None in raw or None in raw.values():
        raise ValueError(f"found {'more' if None in raw else 'fewer'} values than columns; expected as many")
    text = {column: str(raw[column]) for column in COLUMNS}
    if text["method"] != method:
        raise ValueError(f'found method "{text["method"]}"; expected "{method}" alone')
    if text["status"] not in STATUSES:
        raise ValueError(f'found status "{text["status"]}"; expected one of {", ".join(STATUSES)}')
    fraction = _real(text["label_fraction"], "label_fraction")
    if not 0 < fraction <= 1:
        raise ValueError(f"found label_fraction {fraction!r}; expected one above 0, up to 1")
    value = _real(text["value"], "value") if text["value"] else None
    if value is not None:
        if text["status"] not in SCORED:
            raise ValueError(f"found a value beside status {text['status']}; expected none")
        wrong = out_of_bounds(text["metric"], value)
        if wrong:
            raise ValueError(wrong)
    return TrialRow(
        text["method"], text["task"], fraction, _count(text["pretrain_seed"], "pretrain_seed"),
        _count(text["repeat"], "repeat"), text["metric"], value, text["status"], text["cohort"], text["trial_id"], line,
        text, bool(raw.get(SEAL)),
    )  # fmt: skip


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
    return tuple(row[column] for column in ("task", "label_fraction", "pretrain_seed", "repeat"))


def _beside(row: TrialRow, own: Sequence[Mapping[str, str]], line: int) -> None:
    """Check a row against those of the same trial before it; raises ValueError."""
    if any(other["metric"] == row.metric for other in own):
        raise ValueError(f"{row.metric} of this trial stands twice")
    for column in SHARED:
        if own and own[0][column] != row.text[column]:
            raise ValueError(f'found {column} "{row.text[column]}" beside "{own[0][column]}" in the same trial')


def _check_seal(path: Path, own: Sequence[Mapping[str, str]]) -> None:
    first = own[0]
    if any(row[SEAL] != trial_seal(own) for row in own):
        values = ", ".join(f"{row['metric']} {row['value'] or 'empty'}" for row in own)
        raise DataError(
            f"{path}: {first['task']} at label fraction {first['label_fraction']}, pretraining seed "
            f"{first['pretrain_seed']}, repeat {first['repeat']} was edited: its rows ({first['status']}; {values}) "
            f"are not what their seal says; {ADVICE}."
        )
