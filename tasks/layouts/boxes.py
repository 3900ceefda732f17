"""Boxes of voxels: scaled to [0, 1], cropped about a point, resized."""

from __future__ import annotations

import numpy as np

from harness.late import cv2, ndimage

CV_CHANNELS = 64  # slices that OpenCV resizes at once; version 5 takes 128 at most, 4 takes 512


def scale(voxels: np.ndarray, window: tuple[float, float] | None) -> np.ndarray:
    """Return float32 in [0, 1]: a window clipped, or without one each channel's minimum to maximum.

    Args:
        voxels: ``(X, Y, Z)`` or ``(C, X, Y, Z)``.
        window: Hounsfield units that become 0 and 1.
    """
    voxels = voxels.astype(np.float32)
    if window is not None:
        low, high = window
        windowed: np.ndarray = (np.clip(voxels, low, high) - np.float32(low)) / np.float32(high - low)
        return windowed
    axes = (-3, -2, -1)
    least = voxels.min(axis=axes, keepdims=True)
    stretched: np.ndarray = (voxels - least) / np.maximum(voxels.max(axis=axes, keepdims=True) - least, 1e-6)
    return stretched


def resize_in_plane(voxels: np.ndarray, side: int) -> np.ndarray:
    """Resize every slice of float32 ``(X, Y, Z)`` to ``(side, side)``: by area to less, linearly to more."""
    if voxels.shape[:2] == (side, side):
        return voxels
    how = cv2.INTER_AREA if min(voxels.shape[:2]) >= side else cv2.INTER_LINEAR
    parts = []
    for start in range(0, voxels.shape[2], CV_CHANNELS):
        part = np.ascontiguousarray(voxels[:, :, start : start + CV_CHANNELS])
        parts.append(cv2.resize(part, (side, side), interpolation=how).reshape(side, side, -1))
    return np.concatenate(parts, axis=2)


def crop_at(voxels: np.ndarray, centre: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Cut a box of ``size`` whose middle voxel is the one nearest to ``centre``; 0 beyond the border.

    Args:
        voxels: ``(…, X, Y, Z)``.
        centre: Index, not rounded ``(3,)``. A box of even size has one voxel more before it.
        size: Whole numbers ``(3,)``.
    """
    low = np.floor(np.asarray(centre) + 0.5).astype(int) - np.asarray(size) // 2
    high = low + size
    shape = np.array(voxels.shape[-3:])
    inside = [slice(max(0, a), max(0, min(n, b))) for a, b, n in zip(low, high, shape, strict=True)]
    pads = [(max(0, -a), max(0, b - n)) for a, b, n in zip(low, high, shape, strict=True)]
    cut = voxels[..., inside[0], inside[1], inside[2]]
    if cut.size == 0:
        return np.zeros((*voxels.shape[:-3], *size), voxels.dtype)
    return np.pad(cut, [(0, 0)] * (voxels.ndim - 3) + pads)


def resize_box(voxels: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Resize float32 ``(…, X, Y, Z)`` to ``(…, *shape)``, linearly, borders on borders."""
    if voxels.shape[-3:] == tuple(shape):
        return voxels
    factors = [1.0] * (voxels.ndim - 3) + [n / m for n, m in zip(shape, voxels.shape[-3:], strict=True)]
    return ndimage.zoom(voxels, factors, order=1, mode="nearest", grid_mode=True)
