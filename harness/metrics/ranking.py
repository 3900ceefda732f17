"""How well the scores of one class rank its cases, and how well they are calibrated: plain and with weights.

Weights are whole numbers ``(N, R)``: how often each case counts in each of R resamples. What a function gives is what
scikit-learn would give on literally repeated cases.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def auc_by_class(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return the area under the ROC curve of each class, NaN where it is undefined.

    Mann–Whitney's statistic: how many (positive, negative) pairs are in order, a tie counting half. The same number as
    scikit-learn's trapezoids, ties included; exact, because halves add up without rounding.

    Args:
        labels: 0/1 ``(N, C)``.
        scores: Any monotone score ``(N, C)``.

    Returns:
        float64 ``(C,)``; NaN for a class without positives or without negatives.

    Example:
        >>> auc_by_class(np.array([[0], [0], [1], [1]]), np.array([[0.1], [0.4], [0.35], [0.8]])).tolist()
        [0.75]
    """
    positive, values = np.asarray(labels) > 0, np.asarray(scores)
    auc = np.full(values.shape[1], np.nan)
    for column in range(values.shape[1]):
        hits = positive[:, column]
        above, below = values[hits, column], np.sort(values[~hits, column])
        if not len(above) or not len(below) or np.isnan(values[:, column]).any():
            continue
        above.sort()  # the places of neighbours are neighbours too, and found sooner
        won = np.searchsorted(below, above, side="left").sum() + np.searchsorted(below, above, side="right").sum()
        auc[column] = won / 2 / (float(len(above)) * len(below))
    return auc


def macro(values: np.ndarray) -> tuple[float, int]:
    """Return the mean over the classes that could be scored, and how many those are; NaN and 0 if none.

    Example:
        >>> macro(np.array([0.5, np.nan, 1.0]))
        (0.75, 2)
    """
    scored = ~np.isnan(values)
    return (float(values[scored].mean()) if scored.any() else float("nan")), int(scored.sum())


def weighted_auc(positive: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the exact weighted area under the ROC curve in each resample.

    Σᵢ wᵢ (W₋(below sᵢ) + ½ W₋(equal to sᵢ)) / (W₊ W₋) over the positives i, where W₋ sums the weights of negatives:
    what scikit-learn gives on literally repeated cases, ties included.

    Args:
        positive: bool ``(N,)``.
        scores: ``(N,)``.
        weights: Whole numbers ``(N, R)``.

    Returns:
        float64 ``(R,)``; NaN where a resample has no positive or no negative.
    """
    negative_order = np.flatnonzero(~positive)[np.argsort(scores[~positive], kind="stable")]
    hits = np.flatnonzero(positive)
    below = np.searchsorted(scores[negative_order], scores[hits], side="left")
    upto = np.searchsorted(scores[negative_order], scores[hits], side="right")
    w_pos = weights[hits]
    # whole numbers below 2²⁴ are exact in float32; larger sums are taken in float64
    kind = np.float32 if weights.shape[0] < 2**20 else np.float64
    # negatives are summed in runs between the places of the positives, which are few
    edges = np.unique(np.concatenate([[0], below, upto]))
    inner = edges[edges < len(negative_order)]
    runs = np.add.reduceat(weights[negative_order], inner, axis=0, dtype=kind)
    cumulative = np.concatenate([np.zeros((1, weights.shape[1]), kind), np.cumsum(runs, axis=0, dtype=kind)])
    first, last = np.searchsorted(edges, below), np.searchsorted(edges, upto)
    beaten = cumulative[first] + cumulative[last]
    numerator = np.einsum("ij,ij->j", w_pos, beaten, dtype=np.float64)
    total = w_pos.sum(axis=0, dtype=np.float64) * cumulative[-1].astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(total > 0, 0.5 * numerator / total, np.nan)


def weighted_average_precision(positive: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return Σ (Rₖ − Rₖ₋₁)·Pₖ over descending scores, equal scores together, in each resample.

    Args:
        positive: bool ``(N,)``.
        scores: ``(N,)``.
        weights: Whole numbers ``(N, R)``.

    Returns:
        float64 ``(R,)``; NaN where a resample has no positive.
    """
    hit, missed = _descending(positive, scores, weights)
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.where(hit + missed > 0, hit / (hit + missed), 0.0)
        gained = np.diff(hit, axis=0, prepend=0.0)
        return np.where(hit[-1] > 0, (gained * precision).sum(axis=0) / hit[-1], np.nan)


def sensitivity_at(specificity: float) -> Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]:
    """Return a function that reads the ROC curve: the largest sensitivity at a specificity of at least this.

    The threshold is that of the curve itself, so the number says how well cases are ranked, not how well a threshold
    that was chosen elsewhere carries over.
    """

    def one(positive: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
        hit, missed = _descending(positive, scores, weights)
        allowed = missed <= (1.0 - specificity) * missed[-1] + 1e-9
        with np.errstate(divide="ignore", invalid="ignore"):
            best = np.where(allowed, hit, 0.0).max(axis=0) / hit[-1]
        return np.where((hit[-1] > 0) & (missed[-1] > 0), best, np.nan)

    return one


CALIBRATION_BINS = 15


def weighted_calibration_error(positive: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the expected calibration error of one class in each resample: 15 bins of equal width.

    Σ_b (n_b / n) · abs(share of positives in b − mean probability in b).

    Args:
        positive: bool ``(N,)``.
        scores: Probabilities in [0, 1] ``(N,)``.
        weights: Whole numbers ``(N, R)``.

    Returns:
        float64 ``(R,)``, in [0, 1]; NaN where a resample has no case.

    References:
        Guo et al. 2017, *On Calibration of Modern Neural Networks*, eq. 3. Departure: the probability of the class
        itself, of each class of a multi-label problem, not of the most likely one.
    """
    given = scores.astype(np.float64)
    place = np.minimum((given * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    apart, counted = positive.astype(np.float64) - given, weights.astype(np.float64)
    total = np.zeros(counted.shape[1])
    for number in np.unique(place):
        inside = place == number
        total += np.abs(apart[inside] @ counted[inside])
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(counted.sum(axis=0) > 0, total / counted.sum(axis=0), np.nan)


def _descending(positive: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the weights of positives and negatives at or above each distinct score, from above, ``(K, R)``."""
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    counted, hits = weights[order].astype(np.float64), positive[order][:, None]
    return np.cumsum(counted * hits, axis=0)[ends], np.cumsum(counted * ~hits, axis=0)[ends]
