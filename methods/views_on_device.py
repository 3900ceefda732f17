"""The views of a whole batch at once on a device, from the same numbers as everywhere (``view_parameters``).

Every step is PIL's own arithmetic (``views_pil``), written as batched matrix products:

* the antialiased crop is ``Wy @ (image @ Wxᵀ)`` with PIL's triangle filter as weights;
* the blur is PIL's, three box blurs along each axis, every pass a product with a banded matrix;
* jitter, flip and distortion are whole numbers anyway.

All steps give PIL's very levels but one: a Pillow that resizes down first where that is cheaper (13 does so in about
one crop of ten) rounds in another order, and then the crop is up to one grey level apart.

PIL sums in fixed point, and float32 holds no more than 24 bits. So each whole weight is split into two halves, whose
sums with grey levels stay below 2²⁴ and are exact in any order (``weighted_sums``). TF32 would break that; torch leaves
it off for products unless asked, and so must whoever runs this.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from harness.packed import Packed, to_device
from methods.phases import ImageViews
from methods.view_parameters import INNER, OUTER, SHUFFLE, ViewParameters, parameters, uniforms

RESIZE_BITS = 22  # of PIL's weights for 8-bit images
BLUR_BITS = 24


@dataclass(frozen=True)
class Told:
    """What one view is made from, as tensors on the device.

    Attributes:
        crop: float64 ``(B, 4)``: top, left, height, width.
        first_is_contrast, jittered, flipped: bool ``(B,)``.
        brightness, contrast: float32 ``(B,)``.
        read: int64 ``(P, 2R + 1)``: which pixels a box blur reads; empty where nothing is blurred.
        weights: float64 ``(B, 2R + 1)``, in units of 2⁻²⁴.
        kind, shapes, partners, count: See ``ViewParameters``; empty where nothing is distorted.
    """

    crop: Tensor
    first_is_contrast: Tensor
    jittered: Tensor
    flipped: Tensor
    brightness: Tensor
    contrast: Tensor
    read: Tensor
    weights: Tensor
    kind: Tensor
    shapes: Tensor
    partners: Tensor
    count: Tensor


ARRAYS = len(fields(Told))  # that one view is made from


def numbers(of: ViewParameters, px: int) -> list[np.ndarray]:
    """Return the arrays of ``Told``, in its order, for views of ``px`` pixels."""
    read, weights = box(of.sigma, px) if (of.sigma > 0).any() else (np.empty(0, np.int64), np.empty(0))
    distorted = of.kind.any()
    return [
        of.crop.astype(np.float64),
        _contrast_first(of.jitter_order),
        of.jittered,
        of.flipped,
        of.jitter_factors[:, 0].astype(np.float32),
        of.jitter_factors[:, 1].astype(np.float32),
        read,
        weights,
        *(a if distorted else a[:0] for a in (of.kind, of.shapes, of.partners, of.count)),
    ]


def pack_views(
    images: np.ndarray,
    indices: np.ndarray,
    stream_seed: int,
    epoch: int,
    views: ImageViews,
    partners: np.ndarray | None = None,
    *,
    pinned: bool,
) -> Packed:
    """Draw and lay together all that ``make_packed`` needs, so that one copy brings it to the device.

    Args:
        images: The batch's source images, uint8 ``(B, S, S)``.
        indices: Their rows in the cohort, ``(B,)``.
        stream_seed: The phase's ``augment`` seed.
        epoch: Which pass over the data.
        views: The phase's ``views``.
        partners: The images the keys are views of, uint8 ``(B, S, S)``; the same images if left out.
        pinned: Whether to page-locked memory.
    """
    drawn = uniforms(stream_seed, epoch, indices)
    arrays = [images] if partners is None else [images, partners]
    told = [numbers(parameters(drawn[:, view], images.shape[-1], views), views.image_px) for view in (0, 1)]
    return Packed.of([*told[0], *told[1], *arrays], pinned=pinned)


def make_packed(arrays: Sequence[Tensor], views: ImageViews) -> tuple[Tensor, Tensor, Tensor]:
    """Make query, key and target from what ``pack_views`` laid together, once it is on the device."""
    told = (Told(*arrays[:ARRAYS]), Told(*arrays[ARRAYS : 2 * ARRAYS]))
    images, partners = arrays[2 * ARRAYS], arrays[-1]
    return _made((images.float(), partners.float()), told, views)


def one_view(source: Tensor, told: Told, px: int) -> Tensor:
    """Make one view of each image, float32 ``(B, 1, P, P)`` in [0, 1], of uint8 ``(B, S, S)`` on the device."""
    return _transformed(crop(source.float(), told.crop, px), told).div(255).clamp_(0, 1).unsqueeze(1)


def make_views_on_device(
    images: Tensor,
    indices: np.ndarray,
    stream_seed: int,
    epoch: int,
    views: ImageViews,
    partners: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Make query, key and target of a batch whose images are on the device already.

    Args:
        images: The batch's source images, uint8 ``(B, S, S)`` on the device.
        indices: Their rows in the cohort, ``(B,)``.
        stream_seed: The phase's ``augment`` seed.
        epoch: Which pass over the data.
        views: The phase's ``views``.
        partners: The images the keys are views of, uint8 ``(B, S, S)``; the same images if left out.

    Returns:
        Query, key and target, float32 ``(B, 1, P, P)`` in [0, 1] on the device; see ``methods.views.make_views``.
    """
    drawn = uniforms(stream_seed, epoch, indices)
    arrays = [
        array
        for view in (0, 1)
        for array in numbers(parameters(drawn[:, view], images.shape[-1], views), views.image_px)
    ]
    sent = to_device(arrays, images.device)
    told = (Told(*sent[:ARRAYS]), Told(*sent[ARRAYS:]))
    return _made((images.float(), (images if partners is None else partners).float()), told, views)


def _made(sources: tuple[Tensor, Tensor], told: tuple[Told, Told], views: ImageViews) -> tuple[Tensor, Tensor, Tensor]:
    """Make query, key and target of float32 sources ``(B, S, S)``, nothing of which waits for the device."""
    px = views.image_px
    clean = [crop(source, of.crop, px) for source, of in zip(sources, told, strict=True)]
    target = clean[0]
    if views.target == "aligned":
        target = torch.where(told[0].flipped[:, None, None], target.flip(-1), target)
    query, key = (_transformed(view, of) for view, of in zip(clean, told, strict=True))
    query, key, target = (view.div(255).clamp_(0, 1).unsqueeze(1) for view in (query, key, target))
    return query, key, target


def crop(source: Tensor, boxes: np.ndarray | Tensor, px: int) -> Tensor:
    """Cut and resize ``(B, S, S)`` to ``(B, px, px)``, antialiased bilinear; across first and then down, like PIL."""
    box = torch.as_tensor(boxes).to(source.device, torch.float64)
    rows = resize_weights(box[:, 0], box[:, 2], source.shape[1], px)  # (B, px, S)
    columns = resize_weights(box[:, 1], box[:, 3], source.shape[2], px)
    across = weighted_sums(source, columns, RESIZE_BITS, down=False)
    return weighted_sums(across, rows, RESIZE_BITS, down=True)


def weighted_sums(levels: Tensor, weights: Tensor, bits: int, *, down: bool) -> Tensor:
    """Return the weighted sums of grey levels along an axis, rounded to grey levels, halves upwards; exact.

    Args:
        levels: Whole grey levels, float32 ``(B, H, W)``.
        weights: Whole numbers in units of 2⁻ᵇⁱᵗˢ, float64 ``(B, N, H)`` to sum down columns, ``(B, N, W)`` across rows.
        bits: Binary digits of a weight, even.
        down: Along which axis.
    """
    half = bits // 2
    high = (weights / 2**half).floor()
    low = weights - high * 2**half

    def product(part: Tensor) -> Tensor:
        part = part.float()
        return torch.bmm(part, levels) if down else torch.bmm(levels, part.transpose(1, 2))

    carried = product(low).add_(2 ** (bits - 1)).div_(2**half).floor_()
    return carried.add_(product(high)).div_(2**half).floor_().clamp_(0, 255)


def resize_weights(start: Tensor, length: Tensor, size: int, px: int) -> Tensor:
    """Return the weights that resample [start, start + length) to ``px`` pixels, whole, in units of 2⁻²².

    Triangle filter of half-width max(1, length / px) source pixels around each centre, normalised inside the crop.

    Args:
        start: float64 ``(B,)``.
        length: float64 ``(B,)``.
        size: Side of the source.
        px: Side of the result.

    Returns:
        float64 ``(B, px, size)``.
    """
    scale = (length / px)[:, None, None]
    support = scale.clamp(min=1.0)
    out = torch.arange(px, device=start.device, dtype=torch.float64)[None, :, None]
    inside = torch.arange(size, device=start.device, dtype=torch.float64)[None, None, :] - start[:, None, None]
    narrowing = 1.0 / support
    # PIL's order of operations: whole weights hang on the last bit where scales are simple fractions.
    weights = (1.0 - ((inside - (out + 0.5) * scale + 0.5) * narrowing).abs()).clamp_(min=0.0)
    weights = weights * ((inside >= 0) & (inside < length[:, None, None]))
    total = weights.cumsum(dim=-1)[..., -1:]  # one after another, as PIL adds them
    return (weights / total).mul_(2**RESIZE_BITS).add_(0.5).floor_()


def told_to(device: torch.device, of: ViewParameters, px: int) -> Told:
    """Bring what a view is made from to a device."""
    return Told(*to_device(numbers(of, px), device))


def transform(views: Tensor, of: ViewParameters) -> Tensor:
    """Jitter, blur, flip and distort grey levels ``(B, P, P)`` in 0…255."""
    return _transformed(views, told_to(views.device, of, views.shape[-1]))


def _transformed(views: Tensor, told: Told) -> Tensor:
    views = _jittered(views, told)
    if told.weights.numel():
        views = _blurred(views, told.read, told.weights)
    views = torch.where(told.flipped[:, None, None], views.flip(-1), views)
    return _distorted(views, told) if told.kind.numel() else views


def _jittered(views: Tensor, told: Told) -> Tensor:
    """Move grey levels away from 0 (brightness) and from their rounded mean (contrast), in the drawn order."""
    first_is_contrast = told.first_is_contrast[:, None, None]
    brightness, contrast = told.brightness[:, None, None], told.contrast[:, None, None]
    result = views
    for position in (0, 1):
        mean = (result.mean(dim=(1, 2), keepdim=True) + 0.5).floor()
        is_contrast = first_is_contrast if position == 0 else ~first_is_contrast
        level = torch.where(is_contrast, mean, torch.zeros_like(mean))
        factor = torch.where(is_contrast, contrast, brightness)
        result = (level + factor * (result - level)).clamp(0, 255).floor()
    return torch.where(told.jittered[:, None, None], result, views)


def _contrast_first(order: np.ndarray) -> np.ndarray:
    first: np.ndarray = np.argmax(order == 1, axis=1) < np.argmax(order == 0, axis=1)
    return first


def blur(views: Tensor, sigma: np.ndarray) -> Tensor:
    """Blur each view ``(P, P)`` by its own σ as PIL does: three box blurs across, then three down; σ = 0: unchanged."""
    if not (sigma > 0).any():
        return views
    return _blurred(views, *to_device(box(sigma, views.shape[-1]), views.device))


def _blurred(views: Tensor, read: Tensor, weights: Tensor) -> Tensor:
    matrices = box_weights(read, weights)  # (B, P, P)
    for down in (False, False, False, True, True, True):
        views = weighted_sums(views, matrices, BLUR_BITS, down=down)
    return views


def box(sigma: np.ndarray, px: int) -> tuple[np.ndarray, np.ndarray]:
    """Return which pixels one box blur along a line reads and their weights, whole, in units of 2⁻²⁴.

    A box of whole radius l with a smaller weight on the pixel beyond either end has, three times over, the variance σ²
    (Gwosdek 2011, "Theoretical foundations of Gaussian convolution by extended box filtering", as PIL has it, float32
    roundings included); three approximate a Gaussian. The line goes on with its end pixels.

    Args:
        sigma: float64 ``(B,)``; 0 gives the identity.
        px: Length of the line.

    Returns:
        int64 ``(px, 2R + 1)`` and float64 ``(B, 2R + 1)``.
    """
    narrow = sigma.astype(np.float32)
    variance = (narrow * narrow / np.float32(3)).astype(np.float64)  # of one pass
    whole = np.floor((np.sqrt(12 * variance + 1) - 1) / 2)
    beyond = (2 * whole + 1) * (whole * (whole + 1) - 3 * variance) / (6 * (variance - (whole + 1) ** 2))
    radius = (whole + beyond).astype(np.float32)
    inner = np.floor(np.float32(2**BLUR_BITS) / (radius * np.float32(2) + np.float32(1))).astype(np.float64)
    outer = np.floor((2**BLUR_BITS - (2 * whole + 1) * inner) / 2)

    reach = np.arange(-int(whole.max()) - 1, int(whole.max()) + 2)
    distance = np.abs(reach)[None] - whole[:, None]  # (B, 2R + 1)
    weights = np.where(distance <= 0, inner[:, None], np.where(distance == 1, outer[:, None], 0.0))
    line = np.arange(px)
    read = np.clip(line[:, None] + reach, 0, px - 1)  # (px, 2R + 1): which pixel stands there
    return read, weights


def box_weights(read: Tensor, weights: Tensor) -> Tensor:
    """Return the matrices of one box blur, float64 ``(B, P, P)``, from what ``box`` gives."""
    px = len(read)
    matrices = torch.zeros(len(weights), px, px, dtype=torch.float64, device=weights.device)
    return matrices.scatter_add_(2, read.expand(len(weights), -1, -1), weights[:, None].expand(-1, px, -1))


def distort(views: Tensor, of: ViewParameters) -> Tensor:
    """Cut out or shuffle ``(B, P, P)``; see ``methods.views.distort``."""
    return _distorted(views, told_to(views.device, of, views.shape[-1])) if of.kind.any() else views


def _distorted(views: Tensor, told: Told) -> Tensor:
    px, device = views.shape[-1], views.device
    line = torch.arange(px, device=device)
    shapes, partners, count, kind = told.shapes, told.partners, told.count, told.kind

    def within(top: Tensor, left: Tensor, height: Tensor, width: Tensor) -> Tensor:
        rows = (line >= top[:, None]) & (line < (top + height)[:, None])
        columns = (line >= left[:, None]) & (line < (left + width)[:, None])
        return rows[:, :, None] & columns[:, None, :]  # (B, P, P)

    covered = torch.zeros_like(views, dtype=torch.bool)
    source = torch.arange(px * px, device=device).view(1, px, px).expand(len(views), -1, -1).clone()
    place = source.clone()
    for position in range(shapes.shape[1]):
        top, left, height, width = shapes[:, position].unbind(dim=1)
        used = (position < count)[:, None, None]
        first = within(top, left, height, width) & used
        covered |= first
        down, across = partners[:, position].unbind(dim=1)
        second = within(down, across, height, width) & used
        there = ((down - top) * px + across - left)[:, None, None]
        source = torch.where(first, place + there, source)
        source = torch.where(second, place - there, source)
    kind = kind[:, None, None]
    shuffled = torch.gather(views.flatten(1), 1, source.flatten(1).clamp_(0, px * px - 1)).view_as(views)
    views = torch.where(kind == SHUFFLE, shuffled, views)
    blank = ((kind == INNER) & covered) | ((kind == OUTER) & ~covered)
    return views.masked_fill(blank, 0.0)
