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
    """Return 2·overlap / (predicted + true) of each image; ``empty_score`` where both are empty."""
    total = predicted + true
    return np.where(total > 0, 2.0 * overlap / np.maximum(total, 1), empty_score)


def iou_by_image(overlap: np.ndarray, predicted: np.ndarray, true: np.ndarray, empty_score: float) -> np.ndarray:
    """Return overlap / union of each image; ``empty_score`` where both are empty."""
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


def segmentation_scores(
    test: PixelCounts, validation: PixelCounts, threshold: float, empty_score: float
) -> dict[str, float]:
    """Return every score of a segmentation of the test images.

    ``dice``: mean over images, ``empty_score`` where mask and prediction are both empty (the authors' per-image
    form). ``dice_positive``: mean over images with a mask. ``dice_pooled``: all pixels as one image. ``iou``: pooled.
    ``iou_mean``: mean over images. ``pixel_average_precision``: pooled, needs no threshold.
    ``dice_best_threshold``: ``dice`` at the threshold that was best on validation, never chosen on test.
    """
    overlap, predicted = test.at(threshold)
    by_image = dice_by_image(overlap, predicted, test.true, empty_score)
    present = test.true > 0
    pooled = overlap.sum(), predicted.sum(), test.true.sum()
    best = best_threshold(validation, empty_score)
    return {
        "dice": float(by_image.mean()),
        "dice_positive": float(by_image[present].mean()) if present.any() else float("nan"),
        "dice_pooled": float(dice_by_image(*pooled, empty_score)),
        "iou": float(iou_by_image(*pooled, empty_score)),
        "iou_mean": float(iou_by_image(overlap, predicted, test.true, empty_score).mean()),
        "pixel_average_precision": average_precision(test.positives, test.negatives),
        "dice_best_threshold": float(dice_by_image(*test.at(best), test.true, empty_score).mean()),
    }


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
