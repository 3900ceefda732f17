"""Patient resamples: the primary metric on bootstrap draws of the test patients, as exact weighted counts.

The draws depend on a seed of the task alone, so that two methods are compared on the same patients. A resample counts
each patient as often as drawn; nothing is copied.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

CHUNK = 2_000_000  # weights held at once, so that memory stays bounded for large test sets


def patient_weights(patients: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Draw patients with replacement, as many as there are.

    Args:
        patients: Patient of each case, any hashable values ``(N,)``.
        resamples: R.
        seed: Of the draw.

    Returns:
        How often each case counts in each resample, float32 whole numbers ``(N, R)``.
    """
    _, code = np.unique(np.asarray(patients), return_inverse=True)
    count = int(code.max()) + 1
    generator = np.random.Generator(np.random.PCG64(seed))
    drawn = generator.integers(0, count, (resamples, count))
    flat = drawn + np.arange(resamples)[:, None] * count
    times = np.bincount(flat.ravel(), minlength=resamples * count).reshape(resamples, count)
    return np.ascontiguousarray(times.T.astype(np.float32)[code])


def resample_classes(
    one: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray],
    labels: np.ndarray,
    scores: np.ndarray,
    patients: np.ndarray,
    resamples: int,
    seed: int,
    *,
    alone: bool = False,
) -> np.ndarray:
    """Return the mean over classes in each patient resample, float64 ``(R,)``.

    Classes are those that the whole test set can score; in a resample that happens to lack one, the mean is over the
    rest.

    Args:
        one: Scores one class: 0/1 ``(N,)``, scores ``(N,)``, weights ``(N, R)`` → ``(R,)``.
        labels: 0/1 ``(N, C)``.
        scores: ``(N, C)``.
        patients: Patient of each case ``(N,)``.
        resamples: R.
        seed: Of the draw.
        alone: A class whose cases are all alike can be scored too.
    """
    weights = patient_weights(patients, resamples, seed)
    step = max(1, CHUNK // len(labels))
    return np.concatenate(
        [_macro(one, labels, scores, weights[:, start : start + step], alone) for start in range(0, resamples, step)]
    )


def _macro(
    one: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray],
    labels: np.ndarray,
    scores: np.ndarray,
    weights: np.ndarray,
    alone: bool,
) -> np.ndarray:
    total, scored = np.zeros(weights.shape[1]), np.zeros(weights.shape[1])
    for column in range(labels.shape[1]):
        positive = labels[:, column] > 0
        if alone or (positive.any() and not positive.all()):
            found = one(positive, scores[:, column], weights)
            total += np.nan_to_num(found)
            scored += ~np.isnan(found)
    with np.errstate(invalid="ignore"):
        return np.where(scored > 0, total / scored, np.nan)


def resample_mean(values: np.ndarray, patients: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Return the mean of per-case values in each patient resample, float64 ``(R,)``; cases with NaN are left out."""
    weights = patient_weights(patients, resamples, seed).astype(np.float64)
    there = ~np.isnan(values)
    sums = values[there] @ weights[there]
    counts = weights[there].sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(counts > 0, sums / counts, np.nan)


def resample_ratio(
    numerator: np.ndarray, denominator: np.ndarray, patients: np.ndarray, resamples: int, seed: int
) -> np.ndarray:
    """Return Σ numerator / Σ denominator over cases in each patient resample: pooled Dice and IoU."""
    weights = patient_weights(patients, resamples, seed).astype(np.float64)
    below = denominator @ weights
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(below > 0, (numerator @ weights) / below, np.nan)
