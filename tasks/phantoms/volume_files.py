"""Writing phantom volumes as NIfTI, in any orientation: the inverse of ``tasks.layouts.volumes``."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tasks.layouts.space import lps_from_ras
from tasks.layouts.volumes import optional

DIRECTIONS = {"L": (0, 1), "R": (0, -1), "P": (1, 1), "A": (1, -1), "S": (2, 1), "I": (2, -1)}


def reoriented(voxels: np.ndarray, affine: np.ndarray, order: str) -> tuple[np.ndarray, np.ndarray]:
    """Store a volume along other axes: three letters say where each index grows to, ``RAS`` or ``LPI`` for example.

    Args:
        voxels: ``(X, Y, Z)`` towards left, back, head.
        affine: Index → LPS millimetres.
        order: Three of L or R, P or A, S or I, each axis once, in any order.

    Returns:
        The array in that order and its affine, LPS millimetres still.
    """
    axes, signs = zip(*(DIRECTIONS[letter] for letter in order), strict=True)
    if sorted(axes) != [0, 1, 2]:
        raise ValueError(f'"{order}" does not name each axis once; expected such as RAS')
    turned = affine[:, [*axes, 3]].copy()
    stored = voxels.transpose(axes)
    for axis, sign in enumerate(signs):
        if sign < 0:
            turned[:3, 3] += turned[:3, axis] * (stored.shape[axis] - 1)
            turned[:3, axis] *= -1.0
            stored = np.flip(stored, axis)
    return np.ascontiguousarray(stored), turned


def write_nifti(path: Path, voxels: np.ndarray, affine: np.ndarray, order: str = "LPS") -> None:
    """Write ``(X, Y, Z)`` of LPS orientation as a NIfTI file whose array runs along ``order``.

    Args:
        path: ``.nii`` or ``.nii.gz``.
        voxels: int16, uint8 or float32.
        affine: Index → LPS millimetres.
        order: See ``reoriented``.
    """
    nibabel = optional("nibabel", "nibabel", "NIfTI files")
    stored, turned = reoriented(voxels, affine, order)
    nibabel.save(nibabel.Nifti1Image(stored, lps_from_ras(turned)), path)


def header_without_geometry(voxels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a volume as files without geometry hold it: its array, and the LPS affine that an identity affine means.

    Args:
        voxels: ``(X, Y, Z)`` towards left, back, head.
    """
    return np.ascontiguousarray(voxels[::-1, ::-1]), lps_from_ras(np.eye(4))
