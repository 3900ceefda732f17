"""Lines, lengths and affines in space, term by term in a fixed order: the same bits on every machine.

numpy's ``@``, ``dot``, ``linalg`` and ``einsum`` are sums in an order that the linear algebra library's kernel or the
width of a vector unit decides, and the last bit of a coordinate can turn a voxel. What makes or cuts images uses these
instead; ``tests/tasks/test_linear_algebra.py`` sees to it.
"""

from __future__ import annotations

import numpy as np

LPS_SIGNS = np.array([-1.0, -1.0, 1.0, 1.0])


def dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the products of vectors ``(…, 3)``, summed over the last axis from first to third."""
    product = np.asarray(a) * np.asarray(b)
    found: np.ndarray = product[..., 0] + product[..., 1] + product[..., 2]
    return found


def length(vector: np.ndarray) -> np.ndarray:
    """Return the lengths of vectors ``(…, 3)``."""
    found: np.ndarray = np.sqrt(dot(vector, vector))
    return found


def unit(vector: np.ndarray) -> np.ndarray:
    """Return a vector ``(3,)`` scaled to length 1."""
    found: np.ndarray = vector / length(vector)
    return found


def transformed(matrix: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Return a matrix ``(3, 3)`` applied to vectors ``(…, 3)``."""
    return np.stack([dot(vectors, row) for row in matrix], axis=-1)


def determinant(matrix: np.ndarray) -> float:
    """Return the determinant of a matrix ``(3, 3)``."""
    return float(dot(matrix[0], np.cross(matrix[1], matrix[2])))


def inverse(matrix: np.ndarray) -> np.ndarray:
    """Return the inverse of a matrix ``(3, 3)`` whose columns are independent.

    The columns are scaled to length 1 first, so that along the axes nothing but the division is rounded.
    """
    lengths = length(matrix.T)
    columns = (matrix / lengths).T
    rows = np.stack([np.cross(columns[(i + 1) % 3], columns[(i + 2) % 3]) for i in range(3)])
    found: np.ndarray = rows / dot(columns[0], rows[0]) / lengths[:, None]
    return found


def lps_from_ras(affine: np.ndarray) -> np.ndarray:
    """Return an affine ``(4, 4)`` to RAS millimetres as one to LPS millimetres, or the other way."""
    found: np.ndarray = np.asarray(affine, float) * LPS_SIGNS[:, None] + 0.0  # no negative zeros
    return found
