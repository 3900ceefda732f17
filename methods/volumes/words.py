"""Where visual words are: patients that look alike, places that are lung, cubes around them (TransVW, self-discovery).

A word is what is seen at one place in patients whose scans look alike: a class that no annotator made. All lengths are
in voxels of the scans as they are stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from harness.errors import DataError
from methods.phases import WordRules

DEPTH_SLICES = 3  # looked into by the tissue rule


class Volumes(Protocol):
    """Scans by row."""

    def __getitem__(self, row: int, /) -> np.ndarray:
        """Return a scan ``(X, Y, Z)``, as stored."""
        ...


@dataclass(frozen=True)
class Word:
    """One visual word.

    Attributes:
        reference: Row of the scan in which its place was drawn.
        corner: Lowest corner (x, y, z) of its cube.
        training: Rows of the training scans most like the reference, itself first.
        validation: Rows of the validation scans most like it.
    """

    reference: int
    corner: tuple[int, int, int]
    training: tuple[int, ...]
    validation: tuple[int, ...]


def find_words(
    scans: Volumes,
    features: np.ndarray,
    training: np.ndarray,
    validation: np.ndarray,
    rules: WordRules,
    seed: int,
) -> list[Word]:
    """Draw the words.

    For each: a random reference among the training scans, none twice until all were; the scans nearest to it in the
    space of features; a random place in it that is far enough from the border and from the places of earlier words and
    holds little tissue. After ``tries`` failures another reference is drawn.

    Args:
        scans: ``scans[row]`` gives a scan ``(X, Y, Z)``, as stored.
        features: ``(M, F)``, a row for each scan.
        training: Rows of the training scans.
        validation: Rows of the validation scans.
        rules: How many words, and what a place must be.
        seed: Everything is drawn from it.

    Raises:
        DataError: If no reference has a place for a word, or there are too few scans.
    """
    if len(training) < 2 or len(validation) < 1:
        raise DataError(
            f"found {len(training)} training and {len(validation)} validation scans to discover words in; expected at "
            "least 2 and 1; enlarge the cohort"
        )
    generator = np.random.Generator(np.random.PCG64(seed))
    words: list[Word] = []
    unused: list[int] = []
    fruitless = 0
    while len(words) < rules.words:
        if not unused:
            unused = generator.permutation(training).tolist()
        reference = unused.pop()
        corner = _place(scans[reference], [word.corner for word in words], rules, generator)
        if corner is None:
            fruitless += 1
            if fruitless >= len(training):
                raise _nowhere(len(words), fruitless, rules)
            continue
        fruitless = 0
        like = nearest(features, reference, training, rules.nearest_training)
        like_held_out = nearest(features, reference, validation, rules.nearest_validation)
        words.append(Word(reference, corner, like, like_held_out))
    return words


def _nowhere(word: int, scans: int, rules: WordRules) -> DataError:
    """Return the error for a word that no scan has a place for."""
    return DataError(
        f"found no place for word {word} of {rules.words} in {scans} scans; expected cubes "
        f"of {list(rules.cube)} voxels inside the border {list(rules.border)} with at most "
        f"{rules.tissue_share:g} tissue, {rules.apart} voxels from earlier words; ask for fewer "
        "words or loosen the rules under volumes.words in methods/profiles.yaml"
    )


def nearest(features: np.ndarray, reference: int, rows: np.ndarray, count: int) -> tuple[int, ...]:
    """Return the rows nearest to the reference by L2 distance, nearest first, at most ``count``; ties by row."""
    distances = np.linalg.norm(features[rows].astype(np.float64) - features[reference].astype(np.float64), axis=1)
    return tuple(int(row) for row in rows[np.argsort(distances, kind="stable")][:count])


def _place(
    scan: np.ndarray, taken: Sequence[tuple[int, ...]], rules: WordRules, generator: np.random.Generator
) -> tuple[int, int, int] | None:
    cube, (around, ends) = rules.cube, rules.border
    low = (around, around, ends)
    # As the code has it: one voxel more at the far border, and three slices that the tissue rule may look into.
    length = (cube[0], cube[1], cube[2] + DEPTH_SLICES)
    high = [side - edge - taken - 1 for side, edge, taken in zip(scan.shape, low, length, strict=True)]
    if any(most < least for least, most in zip(low, high, strict=True)):
        return None
    threshold = from_hounsfield(rules.tissue_hu)
    for _ in range(rules.tries):
        corner = tuple(int(generator.integers(least, most + 1)) for least, most in zip(low, high, strict=True))
        if any(np.linalg.norm(np.subtract(corner, other)) < rules.apart for other in taken):
            continue
        x, y, z = corner
        window = scan[x : x + cube[0], y : y + cube[1], z : z + cube[2] + DEPTH_SLICES - 1]
        if tissue(unit(window), threshold).mean() <= rules.tissue_share:
            return (x, y, z)
    return None


def from_hounsfield(units: float) -> float:
    """Return what Hounsfield units become when [−1000, 1000] is mapped to [0, 1]."""
    return (min(max(units, -1000.0), 1000.0) + 1000.0) / 2000.0


def tissue(window: np.ndarray, threshold: float) -> np.ndarray:
    """Return how near below each voxel tissue lies: 1 in it, ½ one slice below, 0 two slices below or not at all.

    Args:
        window: ``(X, Y, Z + 2)``, the cube and two slices more.
        threshold: At or above it is tissue.

    Returns:
        float32 ``(X, Y, Z)``.
    """
    depth = window.shape[2] - (DEPTH_SLICES - 1)
    found = np.zeros((*window.shape[:2], depth), np.float32)
    for below in range(DEPTH_SLICES - 1, -1, -1):
        is_tissue = window[:, :, below : below + depth] >= threshold
        found[is_tissue] = 1.0 - below / (DEPTH_SLICES - 1)
    return found


@dataclass(frozen=True)
class Box:
    """Where a cube is cut: its lowest corner and its sides, in voxels; another size is resized to the cube's."""

    corner: tuple[int, int, int]
    sides: tuple[int, int, int]

    def fits(self, shape: Sequence[int]) -> bool:
        """Whether it lies inside a scan of this shape."""
        return all(0 <= at <= whole - side for at, side, whole in zip(self.corner, self.sides, shape, strict=True))


def boxes(
    shape: Sequence[int],
    corner: tuple[int, int, int],
    cube: Sequence[int],
    more_resolutions: int,
    generator: np.random.Generator,
) -> list[Box]:
    """Return the box at a place and others around it, larger or smaller, that lie inside a scan.

    The place is the same coordinates in every scan: none is registered. Another resolution has one side for both x and
    y, 50 to 79 voxels for a cube of 64, and a corner moved by −10 to 9 in x and in y; the slices stay. One that juts
    out is drawn again, side and moves, until it fits.

    Args:
        shape: Of the scan.
        corner: The place.
        cube: X, Y, Z, of which X = Y.
        more_resolutions: How many besides the cube's own.
        generator: Draws them.

    Returns:
        The boxes, the first of the cube's own size; none if that one juts out.
    """
    first = Box(corner, (cube[0], cube[1], cube[2]))
    if not first.fits(shape):
        return []
    return [first, *(_resolution(shape, first, generator) for _ in range(more_resolutions))]


def _resolution(shape: Sequence[int], own: Box, generator: np.random.Generator) -> Box:
    """Draw a square box near one that fits; the end is certain, as no larger side that is not moved fits too."""
    scale = own.sides[0] / 64
    least, most, move = round(50 * scale), round(80 * scale), round(10 * scale)
    (x, y, z), (_, _, deep) = own.corner, own.sides
    while True:
        side = int(generator.integers(least, most))
        across, down = (int(generator.integers(-move, max(1, move))) for _ in range(2))
        drawn = Box((x + across, y + down, z), (side, side, deep))
        if drawn.fits(shape):
            return drawn


def cut(scan: np.ndarray, box: Box, cube: Sequence[int]) -> np.ndarray:
    """Cut a box out of a scan and resize it, linearly within slices, to the cube's shape; float32 in [0, 1]."""
    (x, y, z), (across, down, deep) = box.corner, box.sides
    piece = unit(scan[x : x + across, y : y + down, z : z + deep])
    if box.sides != tuple(cube):
        piece = cv2.resize(piece, (cube[1], cube[0])).reshape(tuple(cube))
    return piece


def unit(voxels: np.ndarray) -> np.ndarray:
    """Turn stored voxels, uint8 in 0…255 or floating in [0, 1], into float32 in [0, 1]."""
    if voxels.dtype == np.uint8:
        return voxels.astype(np.float32) / 255
    return voxels.astype(np.float32)
