"""Near-twins: images of a test set that pretraining has seen, perhaps at another size, in another format or contrast.

Two images are twins if their grey values, averaged down to 24 × 24 px, come in nearly the same order: Spearman's rank
correlation above 0.99. Ranks, and not grey values, because copies go round with their contrast stretched and clipped.
Of 1,000 images of ChestX-ray14, 107 have a twin among MedNIST's 10,000 chest radiographs; the lowest correlation of a
twin there is .997, the highest of any other image .986. Pearson's correlation of the grey values leaves no such gap:
above .995, where no other image comes, it finds 84 of the 107, the others reach down to .972 and other images up to
.968 (``docs/datasets.md``). Mirrored copies are not looked for: a mirrored chest is another one, and none was found.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import rankdata

from harness.contracts import SplitTwins
from harness.pixels import SPLITS, Pixels
from tasks.cohorts.decode import to_square

SIDE = 24
THRESHOLD = 0.99
ROWS = 2048  # images compared at once
DECIMALS = 4  # kept of a correlation that is written down


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


def count_twins(task: Path, pretraining: Path, /) -> list[SplitTwins]:
    """Count the images of a task's cohort that a pretraining has seen, in training or validation, by split.

    Of a cohort that is both, the test images alone are counted: the others are the same images.

    Args:
        task: Folder of the task's cohort, with pixels in 2D.
        pretraining: Folder of the pretraining's.
    """
    seen = np.concatenate([_ranks_of(pretraining, split) for split in SPLITS if split != "test"])
    found = []
    for split in ("test",) if task == pretraining else SPLITS:
        images = _ranks_of(task, split)
        if len(images):
            twins = find_twins(images, seen)
            rest = twins.highest[~twins.having]
            below = round(float(rest.max()), DECIMALS) if len(rest) else None
            found.append(SplitTwins(split, len(images), int(twins.having.sum()), THRESHOLD, below))
    return found


def twins_seen(task: Path, pretraining: Path, /) -> list[str]:
    """Return the cases of a pretraining's cohort that have a twin in a task's, in any split, sorted.

    Args:
        task: Folder of the task's cohort, with pixels in 2D.
        pretraining: Folder of the pretraining's.
    """
    tested, seen = (np.concatenate([_ranks_of(folder, split) for split in SPLITS]) for folder in (task, pretraining))
    cases = Pixels(pretraining).cases
    names = np.concatenate([cases.loc[cases["split"] == split, "case"].to_numpy() for split in SPLITS])
    return sorted({str(name) for name in names[find_twins(tested, seen).pairs[:, 1]]})


@functools.lru_cache(maxsize=16)
def _ranks_of(folder: Path, split: str) -> np.ndarray:
    pixels = Pixels(folder)
    return ranks(pixels.images[row] for row in pixels.rows(split))


def ranks(images: Iterable[np.ndarray]) -> np.ndarray:
    """Return twice the ranks of the pixels of images reduced to 24 × 24, about their mean; ties share a rank.

    Args:
        images: uint8 grey ``(height, width)`` each, of any size; the aspect is not kept, as in a cohort.

    Returns:
        Whole numbers in [-575, 575], int16 ``(N, 576)``. An image of a single grey is all zeros, and nobody's twin.
    """
    small = [to_square(np.asarray(image), SIDE, "area").ravel() for image in images]
    found = np.empty((len(small), SIDE**2), np.int16)
    for start in range(0, len(small), ROWS):
        found[start : start + ROWS] = 2 * rankdata(small[start : start + ROWS], axis=1) - (SIDE**2 + 1)
    return found


def find_twins(test: np.ndarray, seen: np.ndarray) -> Twins:
    """Compare test images with those that pretraining has seen.

    Ranks are whole numbers, so their sums of products are exact, whatever library adds them up.

    Args:
        test: ``ranks`` of the test images.
        seen: ``ranks`` of the images that pretraining has seen.
    """
    highest = np.full(len(test), -1.0)
    pairs = [np.empty((0, 2), np.int64)]
    for first, above in _blocks(test):
        for second, below in _blocks(seen):
            correlation = (above @ below.T) / np.outer(_length(above), _length(below))
            place = slice(first, first + len(above))
            highest[place] = np.maximum(highest[place], correlation.max(axis=1))
            pairs.append(np.argwhere(correlation > THRESHOLD) + np.array([first, second]))
    found = np.concatenate(pairs)
    return Twins(found[np.lexsort((found[:, 1], found[:, 0]))], highest)


def _blocks(rows: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    return ((start, rows[start : start + ROWS].astype(np.float64)) for start in range(0, len(rows), ROWS))


def _length(rows: np.ndarray) -> np.ndarray:
    """Return the length of each row; 1 where it is zero, so that its correlations are."""
    squares = (rows**2).sum(axis=1)
    return np.sqrt(np.where(squares == 0, 1, squares))
