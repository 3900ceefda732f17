"""What the runs themselves tell beyond two independent groups: pairing, patients, pretraining seeds, missing trials.

All values are as printed (points, millimetres); arrays state their shape.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from harness.statistics.estimate import Estimate, Group, student, welch


def correlation(method: Sequence[float] | np.ndarray, reference: Sequence[float] | np.ndarray) -> float | None:
    """Correlate two cells run by run, shape ``(n,)`` each, in one order; None where a side does not vary."""
    a, b = np.asarray(method, dtype=float), np.asarray(reference, dtype=float)
    varies = a.size > 2 and np.ptp(a) > 0 and np.ptp(b) > 0
    return float(np.corrcoef(a, b)[0, 1]) if varies else None


def percentile_interval(resamples: np.ndarray, alpha: float = 0.05) -> tuple[float, float]:
    """Return the percentile interval over patient resamples.

    Args:
        resamples: Shape ``(resamples,)``, points: a cell's mean over runs, or the difference of two such vectors, on
            each resample of patients. The resamples are the same for every method of a task, so a difference is paired
            by patient. It describes which patients happened to be in the test set, not which run happened.
        alpha: 1 − coverage.
    """
    low, high = np.quantile(np.asarray(resamples, dtype=float), [alpha / 2, 1 - alpha / 2])
    return float(low), float(high)


class VarianceSplit(NamedTuple):
    """Standard deviations in points: between pretraining seeds, and between repeats on one encoder."""

    pretraining: float
    repeat: float


def variance_split(values: np.ndarray) -> VarianceSplit | None:
    """Split the spread of a cell into pretraining seed and repeat, which are *crossed*.

    Repeat r uses the same label subset under every pretraining seed (and, with seed plan ``shared``, the same order),
    so repeats are not nested in seeds: the two-way random-effects analysis of variance without replication applies.
    Negative components are cut to zero. The repeat component holds the interaction: it is the spread seen between
    repeats on one encoder.

    Args:
        values: Shape ``(pretraining seeds, repeats)``, points, complete.

    Returns:
        None with fewer than two seeds or two repeats.

    References:
        Searle, Casella & McCulloch 1992, *Variance Components*, §4.7 (two-way crossed, one observation a cell).
    """
    seeds, repeats = values.shape
    if seeds < 2 or repeats < 2:
        return None
    rows, columns, grand = values.mean(1), values.mean(0), values.mean()
    between_seeds = repeats * ((rows - grand) ** 2).sum() / (seeds - 1)
    between_repeats = seeds * ((columns - grand) ** 2).sum() / (repeats - 1)
    residual = ((values - rows[:, None] - columns[None, :] + grand) ** 2).sum() / ((seeds - 1) * (repeats - 1))
    pretraining = max(0.0, float(between_seeds - residual) / repeats)
    repeat = max(0.0, float(between_repeats - residual) / seeds) + float(residual)
    return VarianceSplit(math.sqrt(pretraining), math.sqrt(repeat))


def pretraining_test(method: Sequence[float], reference: Sequence[float]) -> Estimate | None:
    """Compare two methods by the means of their pretraining seeds: the encoder is the unit, not the run.

    Student when both have the same number of seeds; Welch when not, as against Random, whose encoder is drawn anew for
    each repeat, so that its runs are its seed means.

    Args:
        method: Mean over repeats of each pretraining seed, points.
        reference: Likewise.

    Returns:
        The estimate with its degrees of freedom; None with fewer than two seeds on either side.
    """
    if len(method) < 2 or len(reference) < 2:
        return None
    a, b = Group.of(method), Group.of(reference)
    return student(a, b) if a.n == b.n else welch(a, b)


def worst_case(values: Sequence[float], missing: int, low: float, high: float) -> tuple[float, float]:
    """Bound a cell's mean over all planned runs, whatever the missing ones would have scored.

    Args:
        values: The runs that count, points.
        missing: How many do not.
        low: Smallest value the metric can take, as printed.
        high: Largest; infinite for a metric without a bound, and then so is the mean's if any run is missing.
    """
    planned = len(values) + missing
    if not missing:
        low, high = 0.0, 0.0
    total = math.fsum(values)
    return (total + missing * low) / planned, (total + missing * high) / planned
