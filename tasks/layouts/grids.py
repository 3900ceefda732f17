"""Grids: where the voxels of a file lie. Files that belong together lie on one grid, or the file that differs is named.

Two grids are one if, brought into canonical orientation, they have one shape and each of the eight corners of one lies
within ``CORNER_MM`` of the same corner of the other. Shape alone would let a lost header, a flip or half a voxel pass.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.errors import DataError
from tasks.layouts.space import determinant, length, transformed

CORNER_MM = 0.01  # headers written with six digits put corners of one grid up to 0.004 mm apart


@dataclass(frozen=True)
class Grid:
    """Where voxels lie.

    Attributes:
        shape: Voxels along each axis.
        affine: Voxel index → world, LPS millimetres, ``(4, 4)``.
    """

    shape: tuple[int, int, int]
    affine: np.ndarray

    @property
    def corners(self) -> np.ndarray:
        """Middles of the eight outermost voxels, LPS millimetres ``(8, 3)``."""
        indices = np.array(list(itertools.product(*((0, n - 1) for n in self.shape))), float)
        found: np.ndarray = transformed(self.affine[:3, :3], indices) + self.affine[:3, 3]
        return found

    def canonical(self) -> tuple[Grid, tuple[int, int, int], tuple[int, ...]]:
        """Permute and reverse axes until they run nearest to the patient's left, back and head.

        Returns:
            The grid; which of the old axes each new one is; and the new axes that run the other way than the old.

        Raises:
            DataError: If the affine has no three directions.
        """
        moves = self.affine[:3, :3]
        lengths = length(moves.T)
        if not np.isfinite(self.affine).all() or abs(determinant(moves)) < 1e-9 * max(1.0, lengths.prod()):
            raise DataError("the affine has no three independent directions; expected one that maps voxels to space")
        from scipy.optimize import linear_sum_assignment  # every command would pay for it, and this alone needs it

        world, axes = linear_sum_assignment(-np.abs(moves / lengths))
        first, second, third = axes[np.argsort(world)].tolist()
        order = (first, second, third)
        turned, shape = self.affine[:, [*order, 3]].copy(), tuple(self.shape[axis] for axis in order)
        reversed_axes = tuple(axis for axis in range(3) if turned[axis, axis] < 0)
        for axis in reversed_axes:
            turned[:3, 3] += turned[:3, axis] * (shape[axis] - 1)
            turned[:3, axis] *= -1.0
        return Grid((shape[0], shape[1], shape[2]), turned), order, reversed_axes


def farthest_corner(one: Grid, other: Grid) -> float:
    """Return the largest distance between the same corners of two grids of one shape, in millimetres."""
    return float(length(one.corners - other.corners).max())


def difference(path: Path, grid: Grid, other: Path, wanted: Grid) -> str:
    """Say in a sentence how a file's grid differs from the one that it must share; empty if it does not.

    Args:
        path: The file.
        grid: Its own, canonical.
        other: The file whose grid counts.
        wanted: That grid, canonical.
    """
    if grid.shape != wanted.shape:
        return f"{path} has shape {grid.shape}; expected {wanted.shape}, that of {other.name}; fetch both again"
    apart = farthest_corner(grid, wanted)
    if apart <= CORNER_MM:
        return ""
    return (
        f"{path} has an affine that puts a corner {apart:.4g} mm away from that of {other.name}; "
        f"expected one grid, within {CORNER_MM:g} mm; correct its header or fetch both again"
    )


def require_one_grid(path: Path, grid: Grid, other: Path, wanted: Grid) -> None:
    """Refuse a file that does not lie on the grid it must share.

    Raises:
        DataError: See ``difference``.
    """
    problem = difference(path, grid, other, wanted)
    if problem:
        raise DataError(problem)


def shape_of(found: Sequence[int], path: Path) -> tuple[int, int, int]:
    """Return three dimensions; further ones of length one say nothing and are dropped.

    Raises:
        DataError: If there are fewer, more, or none along an axis.
    """
    shape = tuple(int(n) for n in found)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 3 or min(shape) < 1:
        raise DataError(f"{path} has shape {tuple(found)}; expected three dimensions; take one volume of it")
    return shape[0], shape[1], shape[2]
