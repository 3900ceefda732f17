"""Synthetic non-medical shapes: coloured figures on textured grounds, turned to grey, ten classes.

What stands in for photographs where nothing may be downloaded: made by a program, and no photograph. A picture shows
one of five figures (disc, ring, square, triangle, cross), filled plainly or with stripes, which together make its
class. Place, size, turn, all colours, the ground's gradient and waves, and noise are drawn at random and say nothing of
the class. Grey is the luma of ITU-R BT.601, as PIL's.
"""

from __future__ import annotations

import numpy as np

FIGURES = ("disc", "ring", "square", "triangle", "cross")
FILLINGS = ("plain", "striped")
CLASSES = tuple(f"{filling} {figure}" for figure in FIGURES for filling in FILLINGS)
LUMA = (0.299, 0.587, 0.114)


def make_shapes(images: int, px: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw pictures.

    Args:
        images: How many, N.
        px: Side of a picture.
        seed: Everything is drawn from it.

    Returns:
        Grey pictures, uint8 ``(N, px, px)``, and their classes, int64 ``(N,)``, each class as often as the others to
        within one, in random order.
    """
    generator = np.random.Generator(np.random.PCG64(seed))
    classes = generator.permutation(np.arange(images) % len(CLASSES))
    drawn = np.stack([_grey(int(label), px, generator) for label in classes])
    return drawn, classes.astype(np.int64)


def _grey(label: int, px: int, generator: np.random.Generator) -> np.ndarray:
    figure, filling = FIGURES[label // len(FILLINGS)], FILLINGS[label % len(FILLINGS)]
    line = (np.arange(px) + 0.5) / px * 2 - 1  # pixel centres in (−1, 1)
    y, x = line[:, None], line[None, :]
    size = generator.uniform(0.35, 0.7)
    centre = generator.uniform(-1 + size, 1 - size, 2)
    turn = generator.uniform(0, 2 * np.pi)
    along = ((x - centre[1]) * np.cos(turn) + (y - centre[0]) * np.sin(turn)) / size  # the figure lies in [−1, 1]²
    across = ((y - centre[0]) * np.cos(turn) - (x - centre[1]) * np.sin(turn)) / size
    inside = _covers(figure, along, across)

    colours = generator.uniform(0, 255, (3, 3))  # ground, figure, stripe
    ground = _textured(y, x, generator)[..., None] * 50 + colours[0]
    while abs(_grey_of(colours[1] - colours[0])) < 60:  # a figure that is grey on the same grey is not seen
        colours[1] = generator.uniform(0, 255, 3)
    painted = np.broadcast_to(colours[1], (px, px, 3))
    if filling == "striped":
        while abs(_grey_of(colours[2] - colours[1])) < 60:
            colours[2] = generator.uniform(0, 255, 3)
        stripes = np.sin(along * np.pi * generator.uniform(2.0, 3.0) + generator.uniform(0, 2 * np.pi)) > 0
        painted = np.where(stripes[..., None], colours[2], painted)
    picture = np.where(inside[..., None], painted, ground) + generator.normal(0, 6, (px, px, 3))
    return np.clip(_grey_of(np.clip(picture, 0, 255)) + 0.5, 0, 255).astype(np.uint8)


def _grey_of(colours: np.ndarray) -> np.ndarray:
    """Return the luma of ``(…, 3)``, summed term by term: a matrix product's last bit would be the library's."""
    return colours[..., 0] * LUMA[0] + colours[..., 1] * LUMA[1] + colours[..., 2] * LUMA[2]


def _covers(figure: str, along: np.ndarray, across: np.ndarray) -> np.ndarray:
    radius = np.hypot(along, across)
    wide, high = np.abs(along), np.abs(across)
    inside: np.ndarray
    if figure == "disc":
        inside = radius <= 0.9
    elif figure == "ring":
        inside = (radius <= 1.0) & (radius >= 0.55)
    elif figure == "square":
        inside = np.maximum(wide, high) <= 0.75
    elif figure == "triangle":
        inside = (across >= -0.5) & (across <= 1.0 - np.sqrt(3) * wide)  # equilateral, centre of mass at the origin
    else:
        inside = (np.minimum(wide, high) <= 0.3) & (np.maximum(wide, high) <= 0.95)  # cross
    return inside


def _textured(y: np.ndarray, x: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return a smooth ground in about (−1, 1): a slope and two waves."""
    slope = generator.uniform(-0.5, 0.5, 2)
    ground: np.ndarray = slope[0] * y + slope[1] * x
    for _ in range(2):
        frequency = generator.uniform(-6, 6, 2)
        ground = ground + 0.3 * np.sin(frequency[0] * y + frequency[1] * x + generator.uniform(0, 2 * np.pi))
    return ground
