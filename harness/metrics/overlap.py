"""Overlap of masks from counts: Dice in three variants, IoU and pixel average precision."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

GRID = np.round(np.arange(0.05, 0.951, 0.05), 2)  # thresholds among which the best is chosen
BINS = 65_536  # of the pooled histogram of probabilities


@dataclass(frozen=True)
class PixelCounts:
    """What is left of a segmentation: counts per image and one pooled histogram, never the masks.

    Attributes:
        overlap, predicted: Foreground pixels hit and predicted at each threshold of ``thresholds``, int ``(N, T)``.
        true: Foreground pixels of the mask, int ``(N,)``.
        thresholds: float ``(T,)``.
        positives, negatives: Pooled histograms of the probability of true and of background pixels, int ``(BINS,)``.
    """

    overlap: np.ndarray
    predicted: np.ndarray
    true: np.ndarray
    thresholds: np.ndarray
    positives: np.ndarray
    negatives: np.ndarray

    def at(self, threshold: float) -> tuple[np.ndarray, np.ndarray]:
        """Return (overlap, predicted) of each image at one of the thresholds."""
        column = int(np.argmin(np.abs(self.thresholds - threshold)))
        return self.overlap[:, column], self.predicted[:, column]


def dice_by_image(overlap: np.ndarray, predicted: np.ndarray, true: np.ndarray, empty_score: float) -> np.ndarray:
    """Return 2·overlap / (predicted + true) of each image; ``empty_score`` where both are empty.

    Example:
        >>> dice_by_image(np.array([3, 0]), np.array([4, 0]), np.array([4, 0]), empty_score=1.0).tolist()
        [0.75, 1.0]
    """
    total = predicted + true
    return np.where(total > 0, 2.0 * overlap / np.maximum(total, 1), empty_score)


def iou_by_image(overlap: np.ndarray, predicted: np.ndarray, true: np.ndarray, empty_score: float) -> np.ndarray:
    """Return overlap / union of each image; ``empty_score`` where both are empty.

    Example:
        >>> iou_by_image(np.array([3, 0]), np.array([4, 0]), np.array([4, 0]), empty_score=1.0).tolist()
        [0.6, 1.0]
    """
    union = predicted + true - overlap
    return np.where(union > 0, overlap / np.maximum(union, 1), empty_score)


def average_precision(positives: np.ndarray, negatives: np.ndarray) -> float:
    """Return Σ (Rₖ − Rₖ₋₁)·Pₖ over descending score, from histograms; NaN without positives.

    Scores that share a bin are ties, as scikit-learn treats equal scores.
    """
    hit = np.cumsum(positives[::-1], dtype=np.float64)
    missed = np.cumsum(negatives[::-1], dtype=np.float64)
    if not hit[-1]:
        return float("nan")
    precision = hit / np.maximum(hit + missed, 1.0)
    return float(np.sum(positives[::-1] * precision) / hit[-1])


def best_threshold(counts: PixelCounts, empty_score: float) -> float:
    """Return the threshold of the grid with the highest mean Dice; of equals, the one nearest to a half."""
    means = dice_by_image(counts.overlap, counts.predicted, counts.true[:, None], empty_score).mean(axis=0)
    allowed = np.flatnonzero(np.isin(counts.thresholds, GRID))
    order = sorted(allowed, key=lambda i: (-round(float(means[i]), 12), abs(float(counts.thresholds[i]) - 0.5)))
    return float(counts.thresholds[order[0]])


TWO_CLASS_THRESHOLDS = np.round(np.arange(0.5, 0.951, 0.05), 2)


def two_class_iou(counts: PixelCounts, voxels: int) -> float:
    """Return (IoU of foreground + IoU of background) / 2, pooled, averaged over thresholds from a half up.

    A class that neither mask nor prediction holds counts as 1.
    """
    true, total = int(counts.true.sum()), voxels * len(counts.true)
    found = []
    for threshold in TWO_CLASS_THRESHOLDS:
        overlap, predicted = (int(part.sum()) for part in counts.at(float(threshold)))
        union = predicted + true - overlap
        background = total - overlap
        found.append((overlap / union if union else 1.0, (total - union) / background if background else 1.0))
    return float(np.mean(found))
