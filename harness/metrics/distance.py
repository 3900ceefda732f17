"""How far apart the surfaces of two masks are, in millimetres."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def surface(mask: np.ndarray) -> np.ndarray:
    """Return the foreground pixels that touch the background or the border of the image, by an edge; bool.

    Example:
        >>> surface(np.ones((3, 3), bool)).astype(int).tolist()
        [[1, 1, 1], [1, 0, 1], [1, 1, 1]]
    """
    from scipy.ndimage import binary_erosion  # imported late: a command that computes nothing need not wait

    eroded: np.ndarray = binary_erosion(mask)
    edge: np.ndarray = mask & ~eroded
    return edge


def hausdorff_95(predicted: np.ndarray, true: np.ndarray, spacing: Sequence[float]) -> float:
    """Return the 95th percentile of the distances between two surfaces, the larger of both directions.

    Empty masks are declared: 0 where both are empty; the diagonal of the image where one is, which no distance within
    it can exceed.

    Args:
        predicted: Foreground, bool ``(*S)``.
        true: Likewise.
        spacing: Millimetres between neighbours along each axis.

    Returns:
        Millimetres, at least 0.

    References:
        Maier-Hein et al. 2024, *Metrics Reloaded*, HD95: the maximum of the two directed percentiles. Distances are
        between the middles of surface pixels.

    Example:
        >>> one, other = np.zeros((8, 8), bool), np.zeros((8, 8), bool)
        >>> one[2, 2] = other[2, 5] = True
        >>> hausdorff_95(one, other, spacing=(1.0, 0.5))
        1.5
    """
    from scipy.ndimage import distance_transform_edt

    if not predicted.any() or not true.any():
        return 0.0 if predicted.any() == true.any() else diagonal(true.shape, spacing)
    surfaces = surface(predicted), surface(true)
    directed = []
    for one, other in (surfaces, surfaces[::-1]):
        away: np.ndarray = distance_transform_edt(~other, sampling=tuple(spacing))
        directed.append(float(np.percentile(away[one], 95)))
    return max(directed)


def diagonal(shape: Sequence[int], spacing: Sequence[float]) -> float:
    """Return the distance between opposite corners of an image, from middle to middle, in millimetres.

    Example:
        >>> diagonal((4, 5), spacing=(1.0, 1.0))
        5.0
    """
    return math.hypot(*((count - 1) * step for count, step in zip(shape, spacing, strict=True)))
