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

import numpy as np
import torch
from torch import Tensor

from methods.phases import ImageViews
from methods.view_parameters import INNER, OUTER, SHUFFLE, ViewParameters, parameters, uniforms

RESIZE_BITS = 22  # of PIL's weights for 8-bit images
BLUR_BITS = 24


def make_views_on_device(
    images: Tensor,
    indices: np.ndarray,
    stream_seed: int,
    epoch: int,
    views: ImageViews,
    partners: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Make query, key and target of a batch.

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
    px = views.image_px
    made = []
    for view, source in enumerate((images.float(), (images if partners is None else partners).float())):
        of = parameters(drawn[:, view], images.shape[-1], views)
        clean = crop(source, of.crop, px)
        if view == 0:
            flipped = torch.from_numpy(of.flipped).to(clean.device)[:, None, None]
            aligned = views.target == "aligned"
            target = torch.where(flipped, clean.flip(-1), clean) if aligned else clean
        made.append(transform(clean, of))
    query, key = made
    return tuple(view.div(255).clamp_(0, 1).unsqueeze(1) for view in (query, key, target))


def crop(source: Tensor, boxes: np.ndarray, px: int) -> Tensor:
    """Cut and resize ``(B, S, S)`` to ``(B, px, px)``, antialiased bilinear; across first and then down, like PIL."""
    box = torch.from_numpy(boxes).to(source.device, torch.float64)
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


def transform(views: Tensor, of: ViewParameters) -> Tensor:
    """Jitter, blur, flip and distort grey levels ``(B, P, P)`` in 0…255."""
    device = views.device
    views = blur(jitter(views, of), of.sigma)
    flipped = torch.from_numpy(of.flipped).to(device)[:, None, None]
    return distort(torch.where(flipped, views.flip(-1), views), of)


def jitter(views: Tensor, of: ViewParameters) -> Tensor:
    """Move grey levels away from 0 (brightness) and from their rounded mean (contrast), in the drawn order."""

    def on_device(values: np.ndarray) -> Tensor:
        return torch.from_numpy(values).to(views.device)[:, None, None]

    first_is_contrast = on_device(_contrast_first(of.jitter_order))
    jittered = on_device(of.jittered)
    brightness = on_device(of.jitter_factors[:, 0].astype(np.float32))
    contrast = on_device(of.jitter_factors[:, 1].astype(np.float32))
    result = views
    for position in (0, 1):
        mean = (result.mean(dim=(1, 2), keepdim=True) + 0.5).floor()
        is_contrast = first_is_contrast if position == 0 else ~first_is_contrast
        level = torch.where(is_contrast, mean, torch.zeros_like(mean))
        factor = torch.where(is_contrast, contrast, brightness)
        result = (level + factor * (result - level)).clamp(0, 255).floor()
    return torch.where(jittered, result, views)


def _contrast_first(order: np.ndarray) -> np.ndarray:
    first: np.ndarray = np.argmax(order == 1, axis=1) < np.argmax(order == 0, axis=1)
    return first


def blur(views: Tensor, sigma: np.ndarray) -> Tensor:
    """Blur each view ``(P, P)`` by its own σ as PIL does: three box blurs across, then three down; σ = 0: unchanged."""
    if not (sigma > 0).any():
        return views
    box = box_weights(sigma, views.shape[-1], views.device)  # (B, P, P)
    for down in (False, False, False, True, True, True):
        views = weighted_sums(views, box, BLUR_BITS, down=down)
    return views


def box_weights(sigma: np.ndarray, px: int, device: torch.device) -> Tensor:
    """Return the matrices of one box blur along a line, whole, in units of 2⁻²⁴; three approximate a Gaussian.

    A box of whole radius l with a smaller weight on the pixel beyond either end has, three times over, the variance σ²
    (Gwosdek 2011, "Theoretical foundations of Gaussian convolution by extended box filtering", as PIL has it, float32
    roundings included). The line goes on with its end pixels.

    Args:
        sigma: float64 ``(B,)``; 0 gives the identity.
        px: Length of the line.
        device: Where the result lies.

    Returns:
        float64 ``(B, px, px)``.
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
    matrices = torch.zeros(len(sigma), px, px, dtype=torch.float64, device=device)
    index = torch.from_numpy(read).to(device).expand(len(sigma), -1, -1)
    return matrices.scatter_add_(2, index, torch.from_numpy(weights).to(device)[:, None].expand(-1, px, -1))


def distort(views: Tensor, of: ViewParameters) -> Tensor:
    """Cut out or shuffle ``(B, P, P)``; see ``methods.views.distort``."""
    if not of.kind.any():
        return views
    px, device = views.shape[-1], views.device
    line = torch.arange(px, device=device)
    shapes, partners, count, kind = (
        torch.from_numpy(a).to(device) for a in (of.shapes, of.partners, of.count, of.kind)
    )

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
