"""The views of a batch on a CPU: one grey uint8 channel, OpenCV.

One channel is exact: the images are grey, saturation and hue are identities there, and the distortion treats channels
alike. Jitter and distortion equal PIL's to the bit; the crop (area interpolation for shrinking, bilinear for
enlarging) and the blur (a true Gaussian; PIL's is three box blurs) do not, see ``views_pil``.
"""

from __future__ import annotations

import cv2
import numpy as np

from methods.phases import ImageViews
from methods.view_parameters import INNER, NONE, OUTER, SHUFFLE, ViewParameters, parameters, uniforms

cv2.setNumThreads(0)  # one thread per process; a pool of its own would fight with the other slots

_LEVELS = np.arange(256, dtype=np.float32)


def make_views(
    images: np.ndarray,
    indices: np.ndarray,
    stream_seed: int,
    epoch: int,
    views: ImageViews,
    partners: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Make query, key and target of a batch.

    Args:
        images: The cohort, uint8 ``(N, S, S)``.
        indices: Rows of the batch, ``(B,)``.
        stream_seed: The phase's ``augment`` seed.
        epoch: Which pass over the data.
        views: The phase's ``views``.
        partners: Rows whose images the keys are views of, ``(B,)``; the same images if left out.

    Returns:
        Query, key and target, uint8 ``(B, P, P)``. The target is the query's crop before jitter, blur, flip and
        distortion; with ``target: aligned`` it is flipped with the query.
    """
    drawn = uniforms(stream_seed, epoch, indices)
    of_query = parameters(drawn[:, 0], images.shape[-1], views)
    of_key = parameters(drawn[:, 1], images.shape[-1], views)
    px = views.image_px
    query, key, target = (np.empty((len(indices), px, px), np.uint8) for _ in range(3))
    for row, index in enumerate(indices):
        image = np.asarray(images[index])
        clean = crop(image, of_query.crop[row], px)
        target[row] = clean[:, ::-1] if views.target == "aligned" and of_query.flipped[row] else clean
        query[row] = transform(clean, of_query, row)
        other = image if partners is None else np.asarray(images[partners[row]])
        key[row] = transform(crop(other, of_key.crop[row], px), of_key, row)
    return query, key, target


def crop(image: np.ndarray, box: np.ndarray, px: int) -> np.ndarray:
    """Cut ``box`` (top, left, height, width) out of ``(S, S)`` and resize it to ``(px, px)``."""
    top, left, height, width = box
    shrinks = height > px or width > px
    part = image[top : top + height, left : left + width]
    resized: np.ndarray = cv2.resize(part, (px, px), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return resized


def transform(view: np.ndarray, of: ViewParameters, row: int) -> np.ndarray:
    """Jitter, blur, flip and distort one uint8 view ``(P, P)``; the argument is left as it was."""
    if of.jittered[row]:
        for step in of.jitter_order[row]:
            if step == 0:
                view = cv2.LUT(view, blend_table(0, of.jitter_factors[row, 0]))
            elif step == 1:
                view = cv2.LUT(view, blend_table(int(cv2.mean(view)[0] + 0.5), of.jitter_factors[row, 1]))
    if of.sigma[row] > 0:
        view = cv2.GaussianBlur(view, (0, 0), float(of.sigma[row]))
    if of.flipped[row]:
        view = np.ascontiguousarray(view[:, ::-1])
    return distort(view, of, row)


def blend_table(level: int, factor: float) -> np.ndarray:
    """Return the 256 levels moved away from ``level`` by ``factor``, clipped and truncated as PIL's blend does."""
    moved = np.float32(level) + np.float32(factor) * (_LEVELS - np.float32(level))
    table: np.ndarray = np.clip(moved, 0, 255).astype(np.uint8)
    return table


def distort(view: np.ndarray, of: ViewParameters, row: int) -> np.ndarray:
    """Cut out or shuffle one view ``(P, P)``; returns a new array unless there is nothing to do."""
    kind = of.kind[row]
    if kind == NONE:
        return view
    result = np.zeros_like(view) if kind == OUTER else view.copy()
    shapes = of.shapes[row, : of.count[row]].tolist()
    if kind == INNER:
        for top, left, height, width in shapes:
            result[top : top + height, left : left + width] = 0
    elif kind == OUTER:
        for top, left, height, width in shapes:
            result[top : top + height, left : left + width] = view[top : top + height, left : left + width]
    elif kind == SHUFFLE:
        for (top, left, height, width), (down, across) in zip(shapes, of.partners[row].tolist(), strict=True):
            first = view[top : top + height, left : left + width]
            second = view[down : down + height, across : across + width]
            result[top : top + height, left : left + width] = second
            result[down : down + height, across : across + width] = first
    return result
