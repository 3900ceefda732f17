"""The unit of a contrast: which runs, encoders and label subsets two cells share decides how it is tested.

A cell holds runs. Run *r* on encoder *k* is ``y = method + P_k + R_r + e``: P differs between pretraining seeds, R
between repeats (a label subset and, under seed plan ``shared``, sample order and head), e is the rest. Runs on one
encoder share P, so ten runs on each of two encoders are not twenty independent runs.

The rules, in their order:

1. A side has at least two encoders, and the other has too, or draws its encoder anew for each run, or has one: the
   *crossed* analysis. The variance of a side's mean is ``(MS_P + MS_R − MS_e) / (K n)``, never less than either mean
   square alone; degrees of freedom are Satterthwaite's without the subtracted term, and at most 1.5 times those of
   the encoders, whose variance two or three seeds barely know. A side that has no two encoders to compare gives the
   variance of its runs; one checkpoint carries a note. Numbers of encoders may differ. Where encoder *k* of both
   sides descends from one checkpoint, the differences are analysed; where repeats share a label subset or seeds, the
   repeats' part is that of the differences.
2. Else the run is the unit: *paired* where the repeats share a label subset or seeds; *Student* where both sides have
   as many runs and neither spread is more than twice the other; *Welch* otherwise. A side with one encoder carries a
   note: its runs cannot tell an effect of the method from luck in its pretraining.

The rules were fixed by simulation (``python -m bench.statistics``), not by their effect on any result.

References:
    Searle, Casella & McCulloch 1992, *Variance Components*, §4.7 (two-way crossed); Satterthwaite 1946; Welch 1947.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from harness.statistics import schema
from harness.statistics.estimate import Estimate, Group, student, welch
from harness.statistics.trials import TrialIndex

MOST_UNEQUAL = 2.0  # the largest ratio of two spreads that Student's pooled variance may average over
FEWEST_RUNS = 5  # below it, and with unequal numbers of runs, Welch's degrees of freedom are a rough guess
CAP = 1.5  # degrees of freedom, in those of the encoders
ROUNDING = 1e-18  # points squared: a mean's variance below it is left by the rounding of sums, not by runs


class Lineage(NamedTuple):
    """Where a run's randomness came from, read from its trial's specification.

    Attributes:
        encoder: Id of its encoder; empty where the encoder is drawn anew for the run.
        ancestors: Ids of all phases that led to it, its own included.
        subset: What drew its labels; empty where all labels are used or one subset serves every repeat.
        draws: What drew its head, order and augmentation.
    """

    encoder: str
    ancestors: frozenset[str] = frozenset()
    subset: str = ""
    draws: str = ""


@dataclass(frozen=True)
class Cell:
    """The runs of one cell and where each came from.

    Attributes:
        values: Points, by encoder and repeat.
        lineage: By the same index; a run without an entry has an encoder of its pretraining seed and shares nothing.
    """

    values: Mapping[TrialIndex, float]
    lineage: Mapping[TrialIndex, Lineage]

    def of(self, index: TrialIndex) -> Lineage:
        """Return the lineage of a run."""
        return self.lineage.get(index, Lineage(encoder=f"seed {index.pretrain_seed}"))

    @cached_property
    def drawn_anew(self) -> bool:
        """Whether each run has an encoder of its own, as Random's."""
        return bool(self.values) and all(not self.of(index).encoder for index in self.values)

    @cached_property
    def encoders(self) -> dict[str, dict[int, float]]:
        """Return encoder → repeat → value; runs on one encoder under several seeds count as its repeats."""
        found: dict[str, dict[int, float]] = {}
        for index in sorted(self.values):
            runs = found.setdefault(self.of(index).encoder, {})
            runs[index.repeat if index.repeat not in runs else 10_000 * index.pretrain_seed + index.repeat] = (
                self.values[index]
            )
        return found

    @cached_property
    def matrix(self) -> tuple[np.ndarray, list[int]]:
        """Return values of shape ``(encoders, repeats)`` and the repeats that every encoder has."""
        encoders = self.encoders
        common = sorted(set.intersection(*(set(runs) for runs in encoders.values()))) if encoders else []
        return np.array([[runs[repeat] for repeat in common] for runs in encoders.values()]), common


class Design(NamedTuple):
    """A contrast's estimate, the name of its design and what a reader must know with it."""

    estimate: Estimate
    name: schema.Design
    note: str


class Share(NamedTuple):
    """A part of the variance of a mean: its size in points squared, and its degrees of freedom."""

    variance: float
    df: float


def design(method: Cell, reference: Cell) -> Design | None:
    """Choose the design by what the two cells share, and estimate method − reference.

    Returns:
        None with fewer than two runs on a side.
    """
    if min(len(method.values), len(reference.values)) < 2:
        return None
    repeats = shares_repeats(method, reference)
    both = _crossed(method) and _crossed(reference)
    if both or (_crossed(method) and _of_runs(reference)) or (_of_runs(method) and _crossed(reference)):
        return _crossed_design(method, reference, repeats, both)
    return _run_design(method, reference, repeats)


def shares_repeats(method: Cell, reference: Cell) -> bool:
    """Say whether every common repeat of both cells saw one label subset, or drew from the same seeds."""
    common = set(method.values) & set(reference.values)
    pairs = [(method.of(index), reference.of(index)) for index in common]
    return bool(pairs) and all(
        bool(a.subset and a.subset == b.subset) or bool(a.draws and a.draws == b.draws) for a, b in pairs
    )


def shares_encoders(method: Cell, reference: Cell) -> bool:
    """Say whether encoder k of both cells descends from one checkpoint, for every pretraining seed of both."""
    ours, theirs = _ancestors(method), _ancestors(reference)
    return ours.keys() == theirs.keys() and all(ours[seed] & theirs[seed] for seed in ours)


def _ancestors(cell: Cell) -> dict[int, frozenset[str]]:
    return {index.pretrain_seed: cell.of(index).ancestors for index in cell.values}


def _crossed(cell: Cell) -> bool:
    """Say whether a cell has two encoders with two complete repeats."""
    if cell.drawn_anew or len(cell.encoders) < 2:
        return False
    return len(cell.matrix[1]) >= 2


def _of_runs(cell: Cell) -> bool:
    """Say whether a cell's runs alone say how its mean varies: each has its own encoder, or all have one."""
    return cell.drawn_anew or len(cell.encoders) < 2


def _run_design(method: Cell, reference: Cell, repeats: bool) -> Design:
    """Take the run as the unit: no side has encoders that can be compared."""
    note = _one_checkpoint(method, reference)
    common = sorted(set(method.values) & set(reference.values))
    if repeats and len(common) >= 2:
        differences = [method.values[i] - reference.values[i] for i in common]
        lost = len(method.values) + len(reference.values) - 2 * len(common)
        return Design(_of_differences(differences), "paired by repeat", _joined(note, _set_aside(lost)))
    a, b = (
        Group.of([method.values[i] for i in sorted(method.values)]),
        Group.of([reference.values[i] for i in sorted(reference.values)]),
    )
    if a.n == b.n and max(a.sd, b.sd) <= MOST_UNEQUAL * min(a.sd, b.sd):
        return Design(student(a, b), "Student", note)
    rough = f"fewer than {FEWEST_RUNS} runs on a side: p is approximate" if min(a.n, b.n) < FEWEST_RUNS else ""
    return Design(welch(a, b), "Welch", _joined(note, rough))


def _one_checkpoint(method: Cell, reference: Cell) -> str:
    sides = [
        name
        for name, cell in (("method", method), ("reference", reference))
        if not cell.drawn_anew and len(cell.encoders) < 2
    ]
    if not sides:
        return ""
    where = "one checkpoint a side" if len(sides) == 2 else f"one checkpoint of the {sides[0]}"
    return f"{where}: not separable from pretraining noise"


def _of_differences(differences: list[float]) -> Estimate:
    """Estimate from paired differences; a constant shift has a spread of zero, not of rounding."""
    group = Group.of(np.round(differences, 9))
    return Estimate(group.mean, math.sqrt(group.variance_of_mean), group.n - 1)


def _crossed_design(method: Cell, reference: Cell, repeats: bool, both: bool) -> Design:
    sides = [cell.matrix[0] if _crossed(cell) else None for cell in (method, reference)]
    lost = sum(
        len(cell.values) - matrix.size
        for cell, matrix in zip((method, reference), sides, strict=True)
        if matrix is not None
    )
    note = _joined(_one_checkpoint(method, reference), _set_aside(lost))
    a, b = sides
    if both and a is not None and b is not None:
        same = method.matrix[1] == reference.matrix[1]
        if same and a.shape == b.shape and shares_encoders(method, reference):
            squares = mean_squares(a - b)
            estimate = _estimate(float((a - b).mean()), [squares.encoder], [squares.repeat], squares.rest)
            return Design(estimate, "crossed, paired by encoder", note)
        if same and repeats:
            ours, theirs = mean_squares(a), mean_squares(b)
            differences = a.mean(0) - b.mean(0)
            of_repeats = Share(float(np.var(differences, ddof=1)) / len(differences), len(differences) - 1)
            rest = ours.rest + theirs.rest
            estimate = _estimate(float(a.mean() - b.mean()), [ours.encoder, theirs.encoder], [of_repeats], rest)
            return Design(estimate, "crossed, paired by repeat", note)
    parts = [_side(cell, matrix) for cell, matrix in zip((method, reference), sides, strict=True)]
    effect = parts[0][0] - parts[1][0]
    return Design(Estimate(effect, *_summed([part for _, part in parts])), "crossed", note)


class MeanSquares(NamedTuple):
    """Parts of the variance of a crossed side's mean: its mean squares over ``K n``.

    Attributes:
        encoder, repeat: With their degrees of freedom.
        rest: The residual's, which both of them hold.
    """

    encoder: Share
    repeat: Share
    rest: float


def mean_squares(values: np.ndarray) -> MeanSquares:
    """Split values of shape ``(encoders, repeats)``, points, both at least 2, complete."""
    encoders, repeats = values.shape
    rows, columns, grand = values.mean(1), values.mean(0), values.mean()
    between_encoders = repeats * float(((rows - grand) ** 2).sum()) / (encoders - 1)
    between_repeats = encoders * float(((columns - grand) ** 2).sum()) / (repeats - 1)
    residual = float(((values - rows[:, None] - columns[None, :] + grand) ** 2).sum())
    rest = residual / ((encoders - 1) * (repeats - 1))
    size = values.size
    return MeanSquares(
        Share(between_encoders / size, encoders - 1), Share(between_repeats / size, repeats - 1), rest / size
    )


def _side(cell: Cell, matrix: np.ndarray | None) -> tuple[float, Share]:
    """Return a side's mean and the variance of it."""
    if matrix is None:
        group = Group.of([cell.values[index] for index in sorted(cell.values)])
        return group.mean, Share(group.variance_of_mean, group.n - 1)
    squares = mean_squares(matrix)
    estimate = _estimate(float(matrix.mean()), [squares.encoder], [squares.repeat], squares.rest)
    return estimate.effect, Share(estimate.standard_error**2, estimate.df)


def _estimate(effect: float, encoders: list[Share], repeats: list[Share], rest: float) -> Estimate:
    """Add the encoders' and the repeats' parts, less the residual that both hold; cap the degrees of freedom."""
    of_encoders, of_repeats = sum(s.variance for s in encoders), sum(s.variance for s in repeats)
    variance = max(of_encoders + of_repeats - rest, of_encoders, of_repeats)
    if variance <= ROUNDING:
        return Estimate(effect, 0.0, min(share.df for share in (*encoders, *repeats)))
    df = variance**2 / sum(s.variance**2 / s.df for s in (*encoders, *repeats))
    known = (
        of_encoders**2 / sum(s.variance**2 / s.df for s in encoders) if of_encoders > 0 else min(s.df for s in encoders)
    )
    least = min(share.df for share in (*encoders, *repeats))
    return Estimate(effect, math.sqrt(variance), min(max(df, least), CAP * known))


def _summed(shares: list[Share]) -> tuple[float, float]:
    """Return the standard error and Satterthwaite's degrees of freedom of a sum of independent parts."""
    variance = sum(share.variance for share in shares)
    if variance <= 0:
        return 0.0, min(share.df for share in shares)
    return math.sqrt(variance), variance**2 / sum(share.variance**2 / share.df for share in shares)


def _set_aside(count: int) -> str:
    return f"{count} runs without a counterpart are set aside" if count else ""


def _joined(*parts: str) -> str:
    return "; ".join(part for part in parts if part)
