"""What a profile's runs left, as statistics reads it: trials, patient resamples and cohorts.

Values become what is printed: points for a share, millimetres for a distance (``harness.metrics.Metric.scale``).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

import numpy as np

from harness.descriptions import CohortDescription
from harness.errors import DataError
from harness.metrics import metric_of, out_of_bounds
from harness.published import CellKey
from harness.results.table import TrialRow, read_trial_rows
from harness.spec import Frozen, Status
from harness.store.files import parse_json, read_arrays


class Unmeasured(StrEnum):
    """Why a scored trial has no value under one of its metrics."""

    UNDEFINED = "undefined"
    INAPPLICABLE = "inapplicable"


_WORDS: dict[Status | Unmeasured, str] = {  # why a planned trial has no value, in the order in which it is reported
    Status.DIVERGED: "diverged",
    Status.FAILED: "failed",
    Status.OUT_OF_MEMORY: "out of memory",
    Status.TIMEOUT: "timed out",
    Status.INTERRUPTED: "interrupted",
    Unmeasured.UNDEFINED: "undefined",
    Unmeasured.INAPPLICABLE: "not measured",
    Status.MISSING: "not run",
    Status.UNAVAILABLE: "unavailable",
}


class TrialIndex(NamedTuple):
    """Which run of a cell: the encoder and the repeat."""

    pretrain_seed: int
    repeat: int


@dataclass(frozen=True)
class Runs:
    """One cell under one metric.

    Attributes:
        values: Value of every trial that counts, as printed.
        planned: How many trials the plan holds.
        lacking: Status → how many trials have no value because of it.
        rescued: Trials that diverged and count with their best-validation checkpoint.
        scored_classes: Each count of classes that a trial's value averages; empty for a metric of no classes.
        unavailable: Why trials are unavailable, where that is known.
    """

    values: Mapping[TrialIndex, float]
    planned: int
    lacking: Mapping[Status | Unmeasured, int] = field(default_factory=dict)
    rescued: int = 0
    scored_classes: frozenset[int] = frozenset()
    unavailable: str = ""

    @property
    def diverged(self) -> int:
        """Trials that diverged without a score: their absence says something about the method."""
        return self.lacking.get(Status.DIVERGED, 0)

    @property
    def missing(self) -> str:
        """Say why there are fewer values than planned; empty when complete."""
        counts = [f"{self.lacking[status]} {word}" for status, word in _WORDS.items() if self.lacking.get(status)]
        reason = f": {self.unavailable}" if self.unavailable and self.lacking.get(Status.UNAVAILABLE) else ""
        return ", ".join(counts) + reason

    @property
    def flags(self) -> str:
        """Say what a reader must know about values that do count."""
        flags = [f"{self.rescued} diverged, scored at its best validation checkpoint"] if self.rescued else []
        if len(self.scored_classes) > 1:
            flags.append(f"trials score {_either(self.scored_classes)} classes")
        return "; ".join(flags)

    def array(self) -> list[float]:
        """Return the values in the order of their trials."""
        return [self.values[index] for index in sorted(self.values)]

    def by_seed(self) -> dict[int, list[float]]:
        """Return the values of each pretraining seed, in the order of their repeats."""
        seeds: dict[int, list[float]] = {}
        for index in sorted(self.values):
            seeds.setdefault(index.pretrain_seed, []).append(self.values[index])
        return seeds

    def matrix(self) -> np.ndarray | None:
        """Return values of shape ``(pretraining seeds, repeats)``; None unless every pair was run."""
        seeds = self.by_seed()
        repeats = {index.repeat for index in self.values}
        if not seeds or any(len(row) != len(repeats) for row in seeds.values()):
            return None
        return np.array(list(seeds.values()))


def _either(counts: Iterable[float]) -> str:
    return " or ".join(str(count) for count in sorted(counts))


class Cohort(Frozen):
    """What statistics needs of ``cohorts/<task>.json``.

    Attributes:
        synthetic, stamp: Whether a program made the images, and what to print beside their numbers.
        test_cases_published: The test cases are those of the publication.
        setting: Scale and size of the sample in a few words, where they are not the paper's.
    """

    synthetic: bool
    stamp: str = ""
    test_cases_published: bool = False
    setting: str = ""


@dataclass
class _Trial:
    status: Status = Status.MISSING
    values: dict[str, float] = field(default_factory=dict)
    inapplicable: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Planned:
    """Which trials a plan can hold.

    Attributes:
        repeats: Repeats of a cell. pretrain_seeds: Method → how many encoders it has.
        label_fractions: Task → what it is evaluated at.
    """

    repeats: int
    pretrain_seeds: Mapping[str, int]
    label_fractions: Mapping[str, tuple[float, ...]]

    def fault(self, row: TrialRow) -> str:
        """Say why a row belongs to no planned trial; empty if it may."""
        fractions = self.label_fractions[row.task]
        if row.label_fraction not in fractions:
            return f"found label fraction {row.label_fraction!r} of {row.task}; the plan has {_either(fractions)}"
        for what, found, many in (
            ("repeat", row.repeat, self.repeats),
            ("pretraining seed", row.pretrain_seed, self.pretrain_seeds[row.method]),
        ):
            if found >= many:
                return f"found {what} {found}; the plan has {f'0 to {many - 1}' if many > 1 else '0 alone'}"
        return ""


class Trials:
    """Every trial, patient resample and cohort under ``results/<profile>``.

    Args:
        results: The profile's folder.
        methods: Names in the registry; files of other methods are not opened.
        tasks: Names in the registry; rows of other tasks are dropped.
        planned: What the parameters and the tasks' entries allow; None checks no row against it.

    Raises:
        DataError: If a file is malformed or edited, or holds a trial that no plan has.
    """

    def __init__(
        self, results: Path, methods: Iterable[str], tasks: Iterable[str], planned: Planned | None = None
    ) -> None:
        self._tasks = set(tasks)
        self._planned = planned
        self._cells: dict[CellKey, dict[TrialIndex, _Trial]] = {}
        self._resamples: dict[str, dict[str, np.ndarray]] = {}
        for method in methods:
            path = results / "trials" / f"{method}.csv"
            if path.is_file():
                self._read_trials(path, method)
            path = results / "resamples" / f"{method}.npz"
            if path.is_file():
                self._resamples[method] = _read_arrays(path)
        self._cohorts = {task: _read_cohort(results / "cohorts" / f"{task}.json") for task in sorted(self._tasks)}
        for key, trials in self._cells.items():
            if self._cohorts[key.task] is None and any(trial.values for trial in trials.values()):
                raise DataError(
                    f"{results / 'cohorts' / f'{key.task}.json'} is absent while trials on {key.task} have values; "
                    "expected the manifest that says whether its images are synthetic; run `dvc repro`."
                )

    def has(self, cell: CellKey) -> bool:
        """Say whether the plan holds the cell: it has rows, run or not."""
        return cell in self._cells

    def applies(self, cell: CellKey, metric: str) -> bool:
        """Say whether a metric was or may yet be measured on a cell.

        A scored trial with an empty value says that the metric does not apply to it (localization under a label
        fraction); one that could not be computed is written as ``nan``.
        """
        trials = self._cells.get(cell, {}).values()
        measured = any(metric in trial.values for trial in trials)
        return measured or not any(metric in trial.inapplicable for trial in trials)

    def scored(self, cell: CellKey) -> bool:
        """Say whether any trial of a cell has a value."""
        return any(trial.values for trial in self._cells.get(cell, {}).values())

    def cells(self) -> tuple[CellKey, ...]:
        """List the cells that have rows, in the order of their files."""
        return tuple(self._cells)

    def cohort(self, task: str) -> Cohort:
        """Return what is known of a task's images; an absent manifest has no values beside it."""
        return self._cohorts[task] or Cohort(synthetic=False)

    def runs(self, cell: CellKey, metric: str, planned: int, unavailable: str = "") -> Runs:
        """Return a cell under one metric.

        Args:
            cell: Which cell; one without rows counts as not run.
            metric: Which of the task's metrics.
            planned: Trials that the parameters imply.
            unavailable: Why trials are unavailable, where that is known.
        """
        trials = self._cells.get(cell, {})
        values: dict[TrialIndex, float] = {}
        lacking: Counter[Status | Unmeasured] = Counter()
        rescued = 0
        classes: set[int] = set()
        measure = metric_of(metric)
        for index, trial in trials.items():
            if not trial.status.scored:
                lacking[trial.status] += 1
            elif metric not in trial.values:
                lacking[Unmeasured.INAPPLICABLE if metric in trial.inapplicable else Unmeasured.UNDEFINED] += 1
            else:
                values[index] = measure.printed(trial.values[metric])
                rescued += trial.status is Status.DIVERGED_SCORED
                if measure.classes in trial.values:
                    classes.add(round(trial.values[measure.classes]))
        planned = max(planned, len(trials))
        if planned > len(trials):
            lacking[Status.UNAVAILABLE if unavailable else Status.MISSING] += planned - len(trials)
        return Runs(values, planned, dict(lacking), rescued, frozenset(classes), unavailable)

    def resamples(self, cell: CellKey, metric: str) -> np.ndarray | None:
        """Return the cell's mean over runs on each patient resample, as printed, shape ``(resamples,)``, or None.

        NaN stands where a resample cannot be scored, because no case of a class was drawn.
        """
        arrays = self._resamples.get(cell.method, {})
        prefix, suffix = f"{cell.task}|{cell.label_fraction!r}|", f"|{metric}"
        found = [arrays[name] for name in sorted(arrays) if name.startswith(prefix) and name.endswith(suffix)]
        if not found:
            return None
        if len({vector.shape for vector in found}) > 1:
            raise DataError(
                f"resamples/{cell.method}.npz holds vectors of {_either({v.size for v in found})} resamples for "
                f"{cell.task}; expected one length; run `dvc repro`."
            )
        mean: np.ndarray = metric_of(metric).scale * np.mean(found, axis=0)
        return mean if np.isfinite(mean).any() else None

    def _read_trials(self, path: Path, method: str) -> None:
        for row in read_trial_rows(path):
            if row.task in self._tasks:
                fault = self._planned.fault(row) if self._planned else ""
                if fault:
                    raise DataError(f"{path}, line {row.line}: {fault}; run `dvc repro` to write it anew.")
                self._add(row)

    def _add(self, row: TrialRow) -> None:
        trial = self._cells.setdefault(row.cell, {}).setdefault(TrialIndex(row.pretrain_seed, row.repeat), _Trial())
        trial.status = row.status
        if not row.status.scored:
            return
        if row.value is None:
            trial.inapplicable.add(row.metric)
        elif math.isfinite(row.value):
            trial.values[row.metric] = row.value


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        arrays = {name: np.asarray(array, dtype=float) for name, array in read_arrays(path).items()}
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}); run `dvc repro` to write it anew.") from error
    for name, array in arrays.items():
        if not name.startswith("count|") and array.size:
            for value in (np.fmin.reduce(array, axis=None), np.fmax.reduce(array, axis=None)):
                wrong = out_of_bounds(name.rpartition("|")[2], float(value))
                if wrong:
                    raise DataError(f"{path}, array {name}: {wrong}; run `dvc repro` to write it anew.")
    return arrays


def _read_cohort(path: Path) -> Cohort | None:
    if not path.is_file():
        return None
    try:
        document = parse_json(path.read_text(encoding="utf-8"))
        known = {key: document[key] for key in Cohort.model_fields if key in document}
        return Cohort.model_validate({**known, "setting": CohortDescription.model_validate(document).setting})
    except (ValueError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is not a cohort's manifest ({error}); run `dvc repro` to write it anew.") from error
