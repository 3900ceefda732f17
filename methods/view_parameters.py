"""What the views of a sample are, as numbers: drawn from (seed, epoch, index), before any pixel is touched.

Every way to make the views (OpenCV, PIL, batched on a device) reads the same numbers, so worker count, order of
loading and device choose no augmentation. One vector of uniforms per view is drawn and turned into parameters for a
whole batch at once.

The transformation T is the authors' (DiRA App. C.1 and code), at 224 px:

* random resized crop: area 0.2–1, ratio 3/4–4/3, ten tries, else the central crop (torchvision's rule);
* colour jitter, p 0.8: brightness and contrast 0.6–1.4 in random order (saturation and hue are drawn, and change
  nothing on a grey image);
* Gaussian blur, p 0.5, σ 0.1–2 px;
* horizontal flip, p 0.5;
* distortion (phases with restoration, both views), by one draw r: r ≤ 0.30 inner cutout, ≤ 0.35 outer cutout, ≤ 0.65
  local shuffle, else none. Inner cutout: up to 10 black rectangles of sides 10–70 px, at least 3 px from the border,
  stopping with probability 0.1 after each. Outer cutout: a black image into which up to 10 windows of sides 154–174 px
  are pasted back, same stop. Local shuffle: 10 swaps of two equal blocks of sides 10–15 px, always read from the
  undistorted view, so later swaps overwrite earlier ones (overlaps occur in the code, too). Windows and blocks keep
  the 3 px from the border, too.

Lengths in pixels are for 224 px and scale with ``image_px`` / 224, rounded, sides at least 1. Without the outer
cutout (option) its 5 % stay undistorted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from harness.seeding import seed
from methods.phases import ImageViews

TRIES = 10
SHAPES = 10
BORDER = 3  # px at 224: no rectangle, window or block comes nearer to the border
NONE, INNER, OUTER, SHUFFLE = 0, 1, 2, 3
_CROP = 2 * TRIES + 2
UNIFORMS = _CROP + 9 + 2 + 1 + 1 + 6 * SHAPES


@dataclass(frozen=True)
class ViewParameters:
    """Parameters of one view of each of B samples.

    Attributes:
        crop: int64 ``(B, 4)``: top, left, height, width in pixels of the source image.
        jittered: bool ``(B,)``.
        jitter_order: int64 ``(B, 4)``: order of brightness 0, contrast 1, saturation 2, hue 3.
        jitter_factors: float64 ``(B, 4)``: brightness, contrast, saturation in 0.6–1.4, hue in ±0.1.
        sigma: float64 ``(B,)``: σ of the blur in pixels of the view, 0 for none.
        flipped: bool ``(B,)``.
        kind: int64 ``(B,)``: NONE, INNER, OUTER or SHUFFLE.
        shapes: int64 ``(B, 10, 4)``: top, left, height, width of rectangles or windows; for a shuffle the first block.
        partners: int64 ``(B, 10, 2)``: top, left of a shuffle's second block.
        count: int64 ``(B,)``: how many of the shapes are used.
    """

    crop: np.ndarray
    jittered: np.ndarray
    jitter_order: np.ndarray
    jitter_factors: np.ndarray
    sigma: np.ndarray
    flipped: np.ndarray
    kind: np.ndarray
    shapes: np.ndarray
    partners: np.ndarray
    count: np.ndarray


def uniforms(stream_seed: int, epoch: int, indices: np.ndarray) -> np.ndarray:
    """Draw the uniforms of both views of each sample.

    Args:
        stream_seed: The phase's ``augment`` seed.
        epoch: Which pass over the data.
        indices: Rows of the cohort, ``(B,)``.

    Returns:
        float64 ``(B, 2, UNIFORMS)`` in [0, 1); row b depends on (stream_seed, epoch, indices[b]) alone.
    """
    drawn = np.empty((len(indices), 2, UNIFORMS))
    for row, index in enumerate(indices):
        np.random.Generator(np.random.PCG64(seed(stream_seed, epoch, int(index)))).random(out=drawn[row])
    return drawn


def parameters(drawn: np.ndarray, source_px: int, views: ImageViews) -> ViewParameters:
    """Turn the uniforms of one view, ``(B, UNIFORMS)``, into parameters.

    Args:
        drawn: ``uniforms(...)[:, view]``.
        source_px: Side of the source images.
        views: The phase's ``views``: ``image_px``, ``distortion``, ``outer_cutout``.
    """
    image_px = views.image_px
    scale = image_px / 224
    rest = drawn[:, _CROP:]
    jitter, blur, flip, r, cuts = rest[:, :9], rest[:, 9:11], rest[:, 11], rest[:, 12], rest[:, 13:]
    factors = 0.6 + 0.8 * jitter[:, 5:9]
    factors[:, 3] = -0.1 + 0.2 * jitter[:, 8]
    kind = np.select([r <= 0.30, r <= 0.35, r <= 0.65], [INNER, OUTER, SHUFFLE], NONE)
    if not views.outer_cutout:
        kind[kind == OUTER] = NONE
    if not views.distortion:
        kind[:] = NONE
    shapes, partners, count = _shapes(cuts.reshape(-1, SHAPES, 6), kind, image_px, scale)
    return ViewParameters(
        crop=_crop(drawn[:, :_CROP], source_px),
        jittered=jitter[:, 0] < 0.8,
        jitter_order=np.argsort(jitter[:, 1:5], axis=1, kind="stable"),
        jitter_factors=factors,
        sigma=np.where(blur[:, 0] < 0.5, (0.1 + 1.9 * blur[:, 1]) * scale, 0.0),
        flipped=flip < 0.5,
        kind=kind,
        shapes=shapes,
        partners=partners,
        count=count,
    )


def _crop(u: np.ndarray, px: int) -> np.ndarray:
    """Torchvision's ``RandomResizedCrop.get_params`` on a square image, for a batch."""
    area = px * px * (0.2 + 0.8 * u[:, 0 : 2 * TRIES : 2])  # (B, tries)
    log_ratio = math.log(3 / 4) + (math.log(4 / 3) - math.log(3 / 4)) * u[:, 1 : 2 * TRIES : 2]
    ratio = np.exp(log_ratio)
    width = np.round(np.sqrt(area * ratio)).astype(np.int64)
    height = np.round(np.sqrt(area / ratio)).astype(np.int64)
    fits = (width > 0) & (width <= px) & (height > 0) & (height <= px)
    first = np.argmax(fits, axis=1)
    rows = np.arange(len(u))
    none = ~fits.any(axis=1)  # the central crop of a square image is the whole image
    width, height = np.where(none, px, width[rows, first]), np.where(none, px, height[rows, first])
    top = _whole(u[:, 2 * TRIES], 0, px - height)
    left = _whole(u[:, 2 * TRIES + 1], 0, px - width)
    return np.stack([top, left, height, width], axis=1)


def _whole(u: np.ndarray, low: int | np.ndarray, high: int | np.ndarray) -> np.ndarray:
    """Map uniforms in [0, 1) to whole numbers in [low, high], both included."""
    low, high = np.asarray(low), np.maximum(high, low)
    whole: np.ndarray = (low + np.floor(u * (high - low + 1))).astype(np.int64)
    return whole


def _shapes(u: np.ndarray, kind: np.ndarray, px: int, scale: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Place rectangles, windows or pairs of blocks; ``u`` is ``(B, SHAPES, 6)``."""

    def length(at_224: float) -> int:
        return max(1, round(at_224 * scale))

    small, large = np.empty(len(kind), np.int64), np.empty(len(kind), np.int64)
    window = (px - length(70), px - length(50))
    for which, (least, most) in (
        (INNER, (length(10), length(70))),
        (OUTER, window),
        (SHUFFLE, (length(10), length(15))),
        (NONE, (1, 1)),
    ):
        small[kind == which], large[kind == which] = least, most
    height = _whole(u[..., 0], small[:, None], large[:, None])
    width = _whole(u[..., 1], small[:, None], large[:, None])
    margin = round(BORDER * scale)
    first, second = (
        np.stack(
            [_whole(u[..., row], margin, px - height - margin), _whole(u[..., row + 1], margin, px - width - margin)],
            axis=-1,
        )
        for row in (2, 4)
    )
    stops = u[..., 4] < 0.1  # a cutout has no partner, so its fifth number is free
    drawn_until_stop = np.where(stops.any(axis=1), np.argmax(stops, axis=1) + 1, SHAPES)
    count = np.select([kind == NONE, kind == SHUFFLE], [0, SHAPES], drawn_until_stop)
    return np.stack([first[..., 0], first[..., 1], height, width], axis=-1), second, count
