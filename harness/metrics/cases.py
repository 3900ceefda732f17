"""What a trial leaves of its test cases, from which metrics are computed: never an image, never a mask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from harness.metrics.overlap import PixelCounts


@dataclass(frozen=True)
class Classified:
    """Cases of a classification.

    Attributes:
        kind: Of the tasks whose trials leave such cases.
        labels: 0/1 of each case and class, ``(N, C)``.
        scores: Probabilities in [0, 1], ``(N, C)``.
    """

    kind: ClassVar[str] = "classification"
    labels: np.ndarray
    scores: np.ndarray


@dataclass(frozen=True)
class Segmented:
    """Cases of a segmentation, at one threshold.

    Attributes:
        kind: Of the tasks whose trials leave such cases.
        overlap, predicted, true: Foreground pixels hit, predicted and labelled in each case, int ``(N,)``.
        empty_score: What a case counts whose mask and prediction are both empty.
        levels: The same at every threshold, and histograms of the probability; None where only counts were stored.
        validation: ``levels`` of the validation images; None likewise.
        pixels: Of one case; 0 where it is not known.
        measured: Name of a metric → its value of each case, float ``(N,)``, where it was taken from the masks.
    """

    kind: ClassVar[str] = "segmentation"
    overlap: np.ndarray
    predicted: np.ndarray
    true: np.ndarray
    empty_score: float
    levels: PixelCounts | None = None
    validation: PixelCounts | None = None
    pixels: int = 0
    measured: Mapping[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        levels: PixelCounts,
        threshold: float,
        empty_score: float,
        *,
        validation: PixelCounts | None = None,
        pixels: int = 0,
        measured: Mapping[str, np.ndarray] | None = None,
    ) -> Segmented:
        """Take the counts at one of the thresholds.

        Args:
            levels: Counts of the test images at every threshold.
            threshold: Probability from which on a pixel is foreground.
            empty_score: What a case counts whose mask and prediction are both empty.
            validation: Counts of the validation images.
            pixels: Of one case.
            measured: Values of metrics that are taken from the masks themselves.
        """
        overlap, predicted = levels.at(threshold)
        return cls(overlap, predicted, levels.true, empty_score, levels, validation, pixels, measured or {})


Cases = Classified | Segmented
