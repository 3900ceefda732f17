"""Near-twins: images of a test set that pretraining has seen, perhaps at another size, in another format or contrast.

Two images are twins if their grey values, averaged down to 24 × 24 px, come in nearly the same order: Spearman's rank
correlation above 0.99. Ranks, and not grey values, because copies go round with their contrast stretched and clipped.
Of 1,000 images of ChestX-ray14, 107 have a twin among MedNIST's 10,000 chest radiographs; the lowest correlation of a
twin there is .997, the highest of any other image .986. Pearson's correlation of the grey values leaves no such gap:
above .995, where no other image comes, it finds 84 of the 107, the others reach down to .972 and other images up to
.968 (``docs/datasets.md``). Mirrored copies are not looked for: a mirrored chest is another one, and none was found.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from tasks.cohorts.decode import to_square

SIDE = 24
THRESHOLD = 0.99
ROWS = 4096  # images compared at once


@dataclass(frozen=True)
class Twins:
    """What a comparison of two sets of images found.

    Attributes:
        pairs: (row of the test image, row of the seen image) of each twin, int64 ``(K, 2)``, in order.
        highest: Highest correlation of each test image with any seen image, in [-1, 1], float64 ``(N,)``.
    """

    pairs: np.ndarray
    highest: np.ndarray

    @property
    def having(self) -> np.ndarray:
        """Whether each test image has a twin, bool ``(N,)``."""
        return self.highest > THRESHOLD

    @property
    def below(self) -> float | None:
        """Highest correlation of a test image that has no twin; None where each has one."""
        rest = self.highest[~self.having]
        return float(rest.max()) if len(rest) else None


def ranks(images: Iterable[np.ndarray]) -> np.ndarray:
    """Return twice the ranks of the pixels of images reduced to 24 × 24, about their mean; ties share a rank.

    Args:
        images: uint8 grey ``(height, width)`` each, of any size; the aspect is not kept, as in a cohort.

    Returns:
        Whole numbers in [-575, 575], float64 ``(N, 576)``: their products and sums are exact, whatever library adds
        them up. An image of a single grey is all zeros, and nobody's twin.
    """
    small = [to_square(np.asarray(image), SIDE, "area").ravel() for image in images]
    return 2 * rankdata(np.asarray(small, np.uint8).reshape(-1, SIDE**2), axis=1) - (SIDE**2 + 1)


def find_twins(test: np.ndarray, seen: np.ndarray) -> Twins:
    """Compare test images with those that pretraining has seen.

    Args:
        test: ``ranks`` of the test images.
        seen: ``ranks`` of the images that pretraining has seen.
    """
    highest = np.full(len(test), -1.0)
    pairs = [np.empty((0, 2), np.int64)]
    lengths = _length(test)
    for start in range(0, len(seen), ROWS):
        part = seen[start : start + ROWS]
        correlation = (test @ part.T) / np.outer(lengths, _length(part))
        highest = np.maximum(highest, correlation.max(axis=1))
        pairs.append(np.argwhere(correlation > THRESHOLD) + np.array([0, start]))
    found = np.concatenate(pairs)
    return Twins(found[np.lexsort((found[:, 1], found[:, 0]))], highest)


def _length(rows: np.ndarray) -> np.ndarray:
    """Return the length of each row; 1 where it is zero, so that its correlations are."""
    squares = (rows**2).sum(axis=1)
    return np.sqrt(np.where(squares == 0, 1, squares))
