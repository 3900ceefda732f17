"""Running a fine-tuned model over validation or test; memory grows with the batch, not with the data set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from harness.metrics.overlap import BINS, GRID, PixelCounts
from harness.pixels import Pixels
from tasks.inputs.image_augmentation import normalise, views
from tasks.inputs.loading import gather
from tasks.scoring.losses import dice_sums, soft_dice

BATCH = 256  # images at once; a tenth of it under ten crops


@torch.inference_mode()
def class_probabilities(
    model: nn.Module, pixels: Pixels, rows: np.ndarray, options: Mapping[str, Any], device: str, *, ten_crop: bool
) -> np.ndarray:
    """Return sigmoid outputs, the mean over views, float32 ``(N, C)``.

    Args:
        model: A ``tasks.heads.images.Classifier`` in evaluation mode.
        pixels: The cohort.
        rows: Which of its images.
        options: The resolved transfer.
        device: Where the model is.
        ten_crop: Ten views, or the middle crop.
    """
    channels = model.backbone.in_channels
    found = np.empty((len(rows), options["outputs"]), np.float32)
    size = BATCH // 10 if ten_crop else BATCH
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        images = torch.from_numpy(gather(pixels, part, None, masks=False)[0]).to(device).float().div_(255.0)
        several = views(images, options["image_px"], options["resize_px"], ten_crop)
        flat = normalise(several.flatten(0, 1), options["normalisation"], channels)
        with torch.autocast(device.split(":")[0], torch.bfloat16, enabled=options["precision"] == "bfloat16"):
            logits = model(flat)
        mean = torch.sigmoid(logits.float()).unflatten(0, several.shape[:2]).mean(dim=0)
        found[start : start + len(part)] = mean.cpu().numpy()
    return found


def cross_entropy(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Return the mean binary cross-entropy; probabilities are kept 1e-7 from 0 and 1, NaN stays NaN.

    Args:
        labels: In [0, 1] ``(N, C)``.
        probabilities: ``(N, C)``.
        weights: Of the cells, 0 or 1 ``(N, C)``; None: all count.
    """
    p, y = np.clip(probabilities.astype(np.float64), 1e-7, 1.0 - 1e-7), labels.astype(np.float64)
    cells = y * np.log(p) + (1.0 - y) * np.log1p(-p)
    return float(-cells.mean()) if weights is None else float(-(cells * weights).sum() / max(weights.sum(), 1.0))


@torch.inference_mode()
def pixel_counts(
    model: nn.Module,
    pixels: Pixels,
    rows: np.ndarray,
    options: Mapping[str, Any],
    device: str,
    deform: Any = None,
    together: int | None = None,
) -> tuple[PixelCounts, float]:
    """Return the counts of a segmentation and its soft Dice loss.

    Args:
        model: A ``tasks.heads.images.Segmenter`` in evaluation mode.
        pixels: The cohort.
        rows: Which of its images.
        options: The resolved transfer.
        device: Where the model is.
        deform: ``deform(i, image, mask)``: augmentation of the validation images, as the authors' loader does.
        together: See ``count_pixels``.
    """

    def parts() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for start in range(0, len(rows), BATCH):
            images, masks = gather(pixels, rows[start : start + BATCH], options["image_px"], masks=True)
            if deform is not None:
                for i in range(len(images)):
                    images[i], masks[i] = deform(start + i, images[i], masks[i])
            batch = torch.from_numpy(images).to(device).float().div_(255.0)
            truth = torch.from_numpy(masks).to(device)
            yield normalise(batch, options["normalisation"], model.backbone.in_channels), truth

    return count_pixels(model, parts(), len(rows), options, device, together)


@torch.inference_mode()
def count_pixels(
    model: nn.Module,
    parts: Iterator[tuple[torch.Tensor, torch.Tensor]],
    cases: int,
    options: Mapping[str, Any],
    device: str,
    together: int | None = None,
) -> tuple[PixelCounts, float]:
    """Return the counts of a segmentation and its soft Dice loss, in 2 or 3 dimensions.

    Args:
        model: Maps images to logits ``(B, 1, *S)``, in evaluation mode.
        parts: Images ready for the model ``(B, C, *S)``, and their masks, uint8 in {0, 1} ``(B, *S)``.
        cases: How many there are in all parts.
        options: The resolved transfer.
        device: Where the model is.
        together: So many cases in a row make one soft Dice, and the loss is the mean of these, a smaller last group
            counting less; None: all cases make one. It does not depend on how cases are grouped in ``parts``.
    """
    threshold = options["metric"]["threshold"]
    thresholds = np.unique(np.append(GRID, threshold))
    edges = torch.from_numpy(thresholds.astype(np.float32)).to(device)
    levels, start = len(thresholds), 0
    overlap = np.empty((cases, levels), np.int64)
    predicted, true = np.empty_like(overlap), np.empty(cases, np.int64)
    histograms = torch.zeros((2, BINS), dtype=torch.int64, device=device)
    together = together or cases
    sums = torch.zeros((-(-cases // together), 2), dtype=torch.float64, device=device)
    for images, truth in parts:
        with torch.autocast(device.split(":")[0], torch.bfloat16, enabled=options["precision"] == "bfloat16"):
            logits = model(images)[:, 0].float()
        for group, members in _groups(start, len(images), together):
            sums[group] += dice_sums(logits[members], truth[members].float()).double()
        probability = torch.sigmoid(logits)
        # how many thresholds each pixel reaches, counted per image, then summed from above
        reached = torch.bucketize(probability.flatten(1), edges, right=True)
        key = reached + (levels + 1) * torch.arange(len(images), device=device)[:, None]
        shape = (len(images), levels + 1)
        everything = torch.bincount(key.flatten(), minlength=shape[0] * shape[1]).view(shape)
        inside = torch.bincount(key[truth.flatten(1) > 0], minlength=shape[0] * shape[1]).view(shape)
        rows_here = slice(start, start + len(images))
        start += len(images)
        predicted[rows_here] = _at_least(everything)
        overlap[rows_here] = _at_least(inside)
        true[rows_here] = truth.flatten(1).sum(dim=1).cpu().numpy()
        level = (probability.nan_to_num(0.0) * (BINS - 1)).round().long()
        histograms[0] += torch.bincount(level[truth > 0], minlength=BINS)
        histograms[1] += torch.bincount(level[truth == 0], minlength=BINS)
    share = torch.full((len(sums),), together / cases, dtype=torch.float64, device=device)
    share[-1] = (cases - together * (len(sums) - 1)) / cases
    loss = float((soft_dice(sums.T, options["dice_smooth"]) * share).sum())
    histogram = histograms.cpu().numpy()
    return PixelCounts(overlap, predicted, true, thresholds, histogram[0], histogram[1]), loss


def _groups(start: int, count: int, size: int) -> Iterator[tuple[int, slice]]:
    """Yield the groups of ``size`` that cases ``start`` … belong to, and which of the ``count`` cases each has."""
    for first in range(start // size * size, start + count, size):
        yield first // size, slice(max(first - start, 0), first + size - start)


def _at_least(counts: torch.Tensor) -> np.ndarray:
    """Turn counts of "reached exactly k thresholds" into "reached threshold k", ``(N, T)``."""
    return counts[:, 1:].flip(1).cumsum(1).flip(1).cpu().numpy()
