"""The views of a whole batch at once on a device, from the same numbers as everywhere (``view_parameters``).

The antialiased crop is two small matrix products, ``Wy @ image @ Wxᵀ``, with PIL's triangle filter as weights: within
one grey level of PIL, whose two passes round in between. Jitter, blur (a true Gaussian), flip and distortion are
batched as well; grey levels stay floating-point between the steps.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from methods.view_parameters import INNER, OUTER, SHUFFLE, ViewParameters, parameters, uniforms


def make_views_on_device(
    images: Tensor, indices: np.ndarray, stream_seed: int, epoch: int, views: dict[str, Any]
) -> tuple[Tensor, Tensor, Tensor]:
    """Make query, key and target of a batch.

    Args:
        images: The batch's source images, uint8 ``(B, S, S)`` on the device.
        indices: Their rows in the cohort, ``(B,)``.
        stream_seed: The phase's ``augment`` seed.
        epoch: Which pass over the data.
        views: The phase's ``views``.

    Returns:
        Query, key and target, float32 ``(B, 1, P, P)`` in [0, 1] on the device; see ``methods.views.make_views``.
    """
    drawn = uniforms(stream_seed, epoch, indices)
    px = views["image_px"]
    source = images.float()
    made = []
    for view in (0, 1):
        of = parameters(drawn[:, view], images.shape[-1], views)
        clean = crop(source, of.crop, px)
        if view == 0:
            flipped = torch.from_numpy(of.flipped).to(clean.device)[:, None, None]
            aligned = views["target"] == "aligned"
            target = torch.where(flipped, clean.flip(-1), clean) if aligned else clean
        made.append(transform(clean, of))
    query, key = made
    return tuple(view.div(255).clamp_(0, 1).unsqueeze(1) for view in (query, key, target))


def crop(source: Tensor, boxes: np.ndarray, px: int) -> Tensor:
    """Cut and resize ``(B, S, S)`` to ``(B, px, px)``, antialiased bilinear, rounded to whole grey levels."""
    box = torch.from_numpy(boxes).to(source.device, torch.float32)
    rows = resize_weights(box[:, 0], box[:, 2], source.shape[1], px)  # (B, px, S)
    columns = resize_weights(box[:, 1], box[:, 3], source.shape[2], px)
    return torch.bmm(torch.bmm(rows, source), columns.transpose(1, 2)).round_().clamp_(0, 255)


def resize_weights(start: Tensor, length: Tensor, size: int, px: int) -> Tensor:
    """Return the weights ``(B, px, size)`` that resample [start, start + length) to ``px`` pixels.

    Triangle filter of half-width max(1, length / px) source pixels around each centre, normalised inside the crop.
    """
    scale = (length / px)[:, None, None]
    support = scale.clamp(min=1.0)
    out = torch.arange(px, device=start.device, dtype=torch.float32)[None, :, None]
    inside = torch.arange(size, device=start.device, dtype=torch.float32)[None, None, :] - start[:, None, None]
    weights = (1.0 - ((inside + 0.5) - (out + 0.5) * scale).abs() / support).clamp_(min=0.0)
    weights = weights * ((inside >= 0) & (inside < length[:, None, None]))
    return weights / weights.sum(dim=-1, keepdim=True)


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
    return np.argmax(order == 1, axis=1) < np.argmax(order == 0, axis=1)


def blur(views: Tensor, sigma: np.ndarray) -> Tensor:
    """Blur each view ``(P, P)`` with its own Gaussian; σ = 0 leaves it as it is. Borders reflect."""
    radius = max(1, math.ceil(3.0 * float(sigma.max(initial=0.0))))
    radius = min(radius, views.shape[-1] - 1)
    offsets = torch.arange(-radius, radius + 1, device=views.device, dtype=torch.float32)
    spread = torch.from_numpy(sigma.astype(np.float32)).to(views.device)[:, None]
    kernel = torch.where(
        spread > 0, torch.exp(-0.5 * (offsets / spread.clamp(min=1e-6)) ** 2), (offsets == 0).float()[None]
    )
    kernel = kernel / kernel.sum(dim=1, keepdim=True)  # (B, 2R + 1)
    stack = F.pad(views[None], (radius, radius, radius, radius), mode="reflect")
    stack = F.conv2d(stack, kernel[:, None, None, :], groups=len(views))
    return F.conv2d(stack, kernel[:, None, :, None], groups=len(views))[0]


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
