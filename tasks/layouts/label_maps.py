"""Labels of voxels: whole numbers of a known set, also where a file stores them as floats or scales them."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np

from harness.errors import DataError

ROUNDING = 1e-3  # a label that was scaled or resaved as a float may be so far from a whole number


def whole_labels(path: Path, voxels: np.ndarray, known: Collection[int]) -> np.ndarray:
    """Return labels as int16, rounded where the file holds them as floats.

    Args:
        path: Names the file in an error.
        voxels: As read, any shape.
        known: The labels that the data set has.

    Raises:
        DataError: If a voxel is farther than ``ROUNDING`` from a whole number, no number, or no known label.
    """
    expected = ", ".join(map(str, sorted(known)))
    values = np.unique(voxels)
    if np.issubdtype(values.dtype, np.floating):
        with np.errstate(invalid="ignore"):
            far = ~(np.abs(values - np.rint(values)) <= ROUNDING)
        if far.any():
            found = f"{path} holds the label {values[far][0]:.9g}"
            raise DataError(f"{found}; expected whole numbers ({expected}), up to {ROUNDING:g}; correct it")
    strange = [value for value in np.rint(values).tolist() if value not in known]
    if strange:
        raise DataError(f"{path} holds the unknown label {strange[0]:.9g}; expected {expected}; correct it")
    labels: np.ndarray = np.rint(voxels).astype(np.int16)
    return labels
