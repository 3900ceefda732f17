"""Scores of a segmentation of volumes: two definitions of IoU, Dice beside them."""

from __future__ import annotations

from harness.metrics.overlap import PixelCounts, average_precision, dice_by_image, iou_by_image, two_class_iou


def volume_scores(test: PixelCounts, voxels: int, threshold: float, empty_score: float) -> dict[str, float]:
    """Return every score of a segmentation of the test patches.

    ``iou``: foreground, all test voxels as one volume, at ``threshold`` (the paper's script prints it first).
    ``iou_case_mean``: foreground, mean over patches. ``iou_two_class``: the mean of foreground and background IoU over
    all test voxels, averaged over the thresholds .5, .55 … .95 (the other number that script prints). ``dice``: mean
    over patches. ``dice_pooled``. ``pixel_average_precision``: pooled over voxels, needs no threshold.

    Args:
        test: Counts of the test patches.
        voxels: Of one patch.
        threshold: Probability from which on a voxel is foreground.
        empty_score: Of a patch whose mask and prediction are both empty.
    """
    overlap, predicted = test.at(threshold)
    pooled = overlap.sum(), predicted.sum(), test.true.sum()
    return {
        "iou": float(iou_by_image(*pooled, empty_score)),
        "iou_case_mean": float(iou_by_image(overlap, predicted, test.true, empty_score).mean()),
        "iou_two_class": two_class_iou(test, voxels),
        "dice": float(dice_by_image(overlap, predicted, test.true, empty_score).mean()),
        "dice_pooled": float(dice_by_image(*pooled, empty_score)),
        "pixel_average_precision": average_precision(test.positives, test.negatives),
    }
