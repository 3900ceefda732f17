"""Patient resamples: the primary metric on bootstrap draws of the test patients, as exact weighted counts.

The draws depend on a seed of the task alone, so that two methods are compared on the same patients. A resample counts
each patient as often as drawn; nothing is copied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

CHUNK = 2_000_000  # weights held at once, so that memory stays bounded for large test sets
WHOLE = 16_000_000  # weights up to which a linear sum is one product: how BLAS rounds depends on how wide that is


def patient_weights(patients: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Draw patients with replacement, as many as there are.

    Args:
        patients: Patient of each case, any hashable values ``(N,)``.
        resamples: R.
        seed: Of the draw.

    Returns:
        How often each case counts in each resample, float32 whole numbers ``(N, R)``.

    Example:
        >>> weights = patient_weights(np.array(["a", "a", "b"]), resamples=4, seed=1)
        >>> weights.shape, bool((weights[0] == weights[1]).all())
        ((3, 4), True)
    """
    return next(weight_blocks(patients, resamples, seed, resamples))


def weight_blocks(patients: np.ndarray, resamples: int, seed: int, step: int) -> Iterator[np.ndarray]:
    """Yield ``patient_weights`` in blocks of at most ``step`` resamples ``(N, step)``; one block is held at a time.

    The draws are the same: the generator goes on from block to block where it would have gone on within one.
    """
    _, code = np.unique(np.asarray(patients), return_inverse=True)
    count = int(code.max()) + 1
    generator = np.random.Generator(np.random.PCG64(seed))
    for start in range(0, max(resamples, 1), step):
        width = min(step, resamples - start)
        drawn = generator.integers(0, count, (width, count))
        flat = drawn + np.arange(width)[:, None] * count
        times = np.bincount(flat.ravel(), minlength=width * count).reshape(width, count)
        yield np.ascontiguousarray(times.T.astype(np.float32)[code])


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
    blocks = weight_blocks(patients, resamples, seed, max(1, CHUNK // len(labels)))
    return np.concatenate([_macro(one, labels, scores, weights, alone) for weights in blocks])


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
    there = ~np.isnan(values)
    means = []
    for block in weight_blocks(patients, resamples, seed, _step(len(values), resamples)):
        weights = block[there].astype(np.float64)
        sums, counts = values[there] @ weights, weights.sum(axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            means.append(np.where(counts > 0, sums / counts, np.nan))
    return np.concatenate(means)


def resample_ratio(
    numerator: np.ndarray, denominator: np.ndarray, patients: np.ndarray, resamples: int, seed: int
) -> np.ndarray:
    """Return Σ numerator / Σ denominator over cases in each patient resample: pooled Dice and IoU."""
    ratios = []
    for block in weight_blocks(patients, resamples, seed, _step(len(numerator), resamples)):
        weights = block.astype(np.float64)
        below = denominator @ weights
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios.append(np.where(below > 0, (numerator @ weights) / below, np.nan))
    return np.concatenate(ratios)


def _step(cases: int, resamples: int) -> int:
    """Return how many resamples a sum over cases takes at once: all of them where they fit, so that no sum is split."""
    return resamples if cases * resamples <= WHOLE else max(1, CHUNK // cases)
