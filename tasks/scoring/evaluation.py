"""Running a fine-tuned model over validation or test; memory grows with the batch, not with the data set."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from harness.metrics.overlap import BINS, GRID, PixelCounts
from tasks.scoring.losses import dice_sums, soft_dice
from tasks.scoring.masks import Measures

HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}  # by what a transfer calls its precision


def precisely(precision: str, device: str) -> torch.autocast:
    """Return the context in which passes have a precision: ``float32``, ``bf16`` or ``fp16``."""
    half = HALVES.get(precision)
    return torch.autocast(device.split(":")[0], half or torch.bfloat16, enabled=half is not None)


@torch.inference_mode()
def class_probabilities(
    model: nn.Module, parts: Iterator[tuple[Tensor, int]], device: str, *, precision: str
) -> np.ndarray:
    """Return sigmoid outputs, the mean over views, float32 ``(N, C)``.

    Args:
        model: Maps ``(B, C, *S)`` to logits ``(B, C)``, in evaluation mode.
        parts: ``tasks.inputs.interface.LabelledInput.evaluated``.
        device: Where the model is.
        precision: See ``precisely``.
    """
    found = []
    for images, views in parts:
        with precisely(precision, device):
            logits = model(images)
        found.append(torch.sigmoid(logits.float()).unflatten(0, (views, -1)).mean(dim=0).cpu().numpy())
    return np.concatenate(found)


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


@dataclass(frozen=True)
class Segmenting:
    """How a model segments, and how its loss is taken.

    Attributes:
        threshold: Probability from which on a pixel is foreground.
        dice_smooth: Added above and below the line of the soft Dice.
        precision: See ``precisely``.
        together: So many cases in a row make one soft Dice, and the loss is the mean of these, a smaller last group
            counting less; None: all cases make one.
    """

    threshold: float
    dice_smooth: float
    precision: str = "float32"
    together: int | None = None


@torch.inference_mode()
def count_pixels(
    model: nn.Module,
    parts: Iterator[tuple[Tensor, Tensor]],
    cases: int,
    how: Segmenting,
    device: str,
    measures: Measures | None = None,
) -> tuple[PixelCounts, float]:
    """Return the counts of a segmentation and its soft Dice loss, in 2 or 3 dimensions.

    The loss does not depend on how cases are grouped in ``parts``.

    Args:
        model: Maps images to logits ``(B, 1, *S)``, in evaluation mode.
        parts: Images ready for the model ``(B, C, *S)``, and their masks, uint8 in {0, 1} ``(B, *S)``.
        cases: How many there are in all parts.
        how: Threshold, precision and loss.
        device: Where the model is.
        measures: What is measured on the masks themselves.
    """
    counted = _Counted(cases, how, device)
    for images, truth in parts:
        with precisely(how.precision, device):
            logits = model(images)[:, 0].float()
        counted.add(logits, truth)
        if measures is not None:
            predicted = torch.sigmoid(logits) >= torch.tensor(how.threshold, device=device)
            measures.add(predicted.cpu().numpy(), (truth > 0).cpu().numpy())
    return counted.counts(), counted.loss()


class _Counted:
    """What is added up, batch by batch."""

    def __init__(self, cases: int, how: Segmenting, device: str) -> None:
        self.cases, self.device, self.smooth = cases, device, how.dice_smooth
        self.thresholds = np.unique(np.append(GRID, how.threshold))
        self.edges = torch.from_numpy(self.thresholds.astype(np.float32)).to(device)
        self.start, self.together = 0, how.together or cases
        self.overlap = np.empty((cases, len(self.thresholds)), np.int64)
        self.predicted, self.true = np.empty_like(self.overlap), np.empty(cases, np.int64)
        self.histograms = torch.zeros((2, BINS), dtype=torch.int64, device=device)
        self.sums = torch.zeros((-(-cases // self.together), 2), dtype=torch.float64, device=device)

    def add(self, logits: Tensor, truth: Tensor) -> None:
        """Count a batch: logits and masks ``(B, *S)``."""
        for group, members in _groups(self.start, len(logits), self.together):
            self.sums[group] += dice_sums(logits[members], truth[members].float()).double()
        probability = torch.sigmoid(logits)
        # how many thresholds each pixel reaches, counted per image, then summed from above
        shape = (len(logits), len(self.thresholds) + 1)
        reached = torch.bucketize(probability.flatten(1), self.edges, right=True)
        key = reached + shape[1] * torch.arange(len(logits), device=self.device)[:, None]
        everything = torch.bincount(key.flatten(), minlength=shape[0] * shape[1]).view(shape)
        inside = torch.bincount(key[truth.flatten(1) > 0], minlength=shape[0] * shape[1]).view(shape)
        rows = slice(self.start, self.start + len(logits))
        self.start += len(logits)
        self.predicted[rows] = _at_least(everything)
        self.overlap[rows] = _at_least(inside)
        self.true[rows] = truth.flatten(1).sum(dim=1).cpu().numpy()
        level = (probability.nan_to_num(0.0) * (BINS - 1)).round().long()
        self.histograms[0] += torch.bincount(level[truth > 0], minlength=BINS)
        self.histograms[1] += torch.bincount(level[truth == 0], minlength=BINS)

    def counts(self) -> PixelCounts:
        """Return the counts of all cases."""
        histogram = self.histograms.cpu().numpy()
        return PixelCounts(self.overlap, self.predicted, self.true, self.thresholds, histogram[0], histogram[1])

    def loss(self) -> float:
        """Return the soft Dice loss of all cases."""
        groups = len(self.sums)
        share = torch.full((groups,), self.together / self.cases, dtype=torch.float64, device=self.device)
        share[-1] = (self.cases - self.together * (groups - 1)) / self.cases
        return float((soft_dice(self.sums.T, self.smooth) * share).sum())


def _groups(start: int, count: int, size: int) -> Iterator[tuple[int, slice]]:
    """Yield the groups of ``size`` that cases ``start`` … belong to, and which of the ``count`` cases each has."""
    for first in range(start // size * size, start + count, size):
        yield first // size, slice(max(first - start, 0), first + size - start)


def _at_least(counts: Tensor) -> np.ndarray:
    """Turn counts of "reached exactly k thresholds" into "reached threshold k", ``(N, T)``."""
    reached: np.ndarray = counts[:, 1:].flip(1).cumsum(1).flip(1).cpu().numpy()
    return reached
