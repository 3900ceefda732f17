"""What is done to a cube before it is to be restored (TransVW; Zhou 2019): deformed, then changed in one of four ways.

A cube is float32 ``(X, Y, Z)`` in [0, 1]. Every function returns a new array and draws from the generator it is given.
The published lengths belong to cubes of 64 × 64 × 32; ``scale`` = X / 64 carries them over to others. Two releases
differ in the painting: ``keras`` paints one constant, ``pytorch`` noise of other sizes.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from harness.errors import ConfigurationError, unknown

KINDS = ("shuffle", "nonlinear", "inner", "outer")  # exactly one, each as likely as the others
ALPHA, SIGMA = 991.0, 8.0  # of the elastic deformation, in voxels of a 64 × 64 × 32 cube
CURVE_POINTS = 1000  # on the Bézier curve; the releases take 100,000, whose values differ by less than 1e-5
BLOCKS = 5  # shuffled in a cube


def distort(cube: np.ndarray, generator: np.random.Generator, painting: str) -> np.ndarray:
    """Deform a cube elastically and then do exactly one of ``KINDS``.

    Args:
        cube: float32 ``(X, Y, Z)`` in [0, 1].
        generator: Draws everything.
        painting: ``keras`` or ``pytorch``.
    """
    return change(elastic(cube, generator), KINDS[generator.integers(len(KINDS))], generator, painting)


def change(cube: np.ndarray, kind: str, generator: np.random.Generator, painting: str) -> np.ndarray:
    """Do one of ``KINDS``.

    Raises:
        UnknownName: For another kind.
    """
    if kind == "shuffle":
        return shuffle(cube, generator)
    if kind == "nonlinear":
        return nonlinear(cube, generator)
    if kind in ("inner", "outer"):
        block = painted_block(cube.shape, kind, generator, painting)
        return paint(cube, block, kind, generator, painting)
    raise unknown("transform", kind, KINDS, "methods.volumes.transforms")


def elastic(cube: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Move every voxel in x and y, never in z, by smoothed uniform noise; linear interpolation.

    Noise in [−1, 1) on the whole cube, smoothed in all three directions with σ = 8 and multiplied by α = 991. Smoothing
    divides the noise by σ^1.5, so under a scale s of lengths α goes as s^2.5.
    """
    scale = cube.shape[0] / 64
    alpha = ALPHA * scale**2.5
    noise = generator.random((2, *cube.shape), dtype=np.float32) * 2 - 1
    moves = [gaussian_filter(part, SIGMA * scale, mode="constant") * alpha for part in noise]
    x, y, z = np.meshgrid(*(np.arange(side, dtype=np.float32) for side in cube.shape), indexing="ij")
    return map_coordinates(cube, [x + moves[0], y + moves[1], z], order=1, mode="reflect", output=np.float32)


def shuffle(cube: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Shuffle the voxels inside each of five blocks, one block after the other.

    Sides from 1 to a tenth of the cube's (6 × 6 × 3 of 64 × 64 × 32), but to 2 at least, or a small cube would stay as
    it is. The releases read every block from the unshuffled cube, so that overlapping blocks lose voxels; here the
    result is a permutation of the cube.
    """
    result = cube.copy()
    for _ in range(BLOCKS):
        sides = [int(generator.integers(1, max(2, side // 10) + 1)) for side in cube.shape]
        block = place(cube.shape, sides, 0, generator)
        result[block] = generator.permutation(result[block].ravel()).reshape(sides)
    return result


def nonlinear(cube: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Map intensities through a cubic Bézier curve with ends (0, 0) and (1, 1) and two random control points.

    Half the time the map rises from 0 ↦ 0 to 1 ↦ 1; else the curve is run through backwards, as in the releases, where
    only its abscissae are sorted: it goes from 0 ↦ 1 to 1 ↦ 0 and need not be monotone.
    """
    controls = generator.random((2, 2))
    x, y = bezier(controls)
    rises = generator.random() < 0.5
    mapped: np.ndarray = np.interp(cube, np.sort(x), np.sort(y) if rises else y[::-1]).astype(np.float32)
    return mapped


def bezier(controls: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return ``CURVE_POINTS`` points of the cubic Bézier curve from (0, 0) over two control points to (1, 1).

    Args:
        controls: ``(2, 2)``: two points (x, y).
    """
    t = np.linspace(0.0, 1.0, CURVE_POINTS)[:, None]
    points = 3 * t * (1 - t) ** 2 * controls[0] + 3 * t**2 * (1 - t) * controls[1] + t**3
    return points[:, 0], points[:, 1]


def painted_block(
    shape: tuple[int, ...], kind: str, generator: np.random.Generator, painting: str
) -> tuple[slice, ...]:
    """Draw the block that is painted over (``inner``) or alone kept (``outer``).

    ``keras``: sides of 10 to 20 voxels, to be kept: of the cube's less 10 to 20. ``pytorch``: a sixth to a third of the
    cube's, to be kept: the cube's less three to four sevenths. Three voxels from the border at least.

    Raises:
        ConfigurationError: For another painting.
    """
    scale = shape[0] / 64
    if painting == "keras":
        ranges = [(max(1, round(10 * scale)), max(1, round(20 * scale)))] * 3
    elif painting == "pytorch" and kind == "inner":
        ranges = [(max(1, side // 6), max(1, side // 3)) for side in shape]
    elif painting == "pytorch":
        ranges = [(3 * side // 7, 4 * side // 7) for side in shape]
    else:
        raise ConfigurationError(f'found painting "{painting}"; expected keras or pytorch')
    drawn = [int(generator.integers(low, high + 1)) for low, high in ranges]
    sides = drawn if kind == "inner" else [max(1, side - less) for side, less in zip(shape, drawn, strict=True)]
    return place(shape, sides, round(3 * scale), generator)


def paint(
    cube: np.ndarray, block: tuple[slice, ...], kind: str, generator: np.random.Generator, painting: str
) -> np.ndarray:
    """Paint over a block (``inner``) or all the rest (``outer``): ``keras`` one random constant, ``pytorch`` noise."""
    paint = np.full_like(cube, generator.random()) if painting == "keras" else generator.random(cube.shape, np.float32)
    under, over = (paint, cube) if kind == "outer" else (cube, paint)
    result = under.copy()
    result[block] = over[block]
    return result


def place(shape: tuple[int, ...], sides: list[int], margin: int, generator: np.random.Generator) -> tuple[slice, ...]:
    """Place a block uniformly, ``margin`` voxels from the border where it leaves so much room."""
    block = []
    for whole, side in zip(shape, sides, strict=True):
        low = min(margin, (whole - side) // 2)
        start = int(generator.integers(low, whole - side - low + 1))
        block.append(slice(start, start + side))
    return tuple(block)
