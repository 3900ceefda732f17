"""Classification augmentation, whole batches on the device: random resized crop, flip, rotation.

A crop is two small matrix products, ``Wy · image · Wxᵀ``, with antialiasing triangle weights: what PIL's bilinear
resize computes, within one grey level. The flip is folded into ``Wx``. The numbers come from ``tasks.inputs.draws``.

Departures: crop corners are not rounded to whole pixels; rotation is bilinear, where torchvision's default is nearest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from harness.packed import to_device
from tasks.options import CropAugmentation

ATTEMPTS = 10  # torchvision's: draws of area and ratio before it takes the whole image
DRAWS = 2 * ATTEMPTS + 4  # numbers a sample: (area, ratio) pairs, corner x and y, flip, angle

NORMALISATIONS = {  # mean and standard deviation of grey values in [0, 1]; three channels of ImageNet's
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "chestxray": ((0.5056,), (0.252,)),
    "none": None,
}


def crop_weights(start: Tensor, length: Tensor, size: int, out: int, flip: Tensor | None = None) -> Tensor:
    """Return the resampling matrix of one axis, float32 ``(B, out, size)``.

    Args:
        start: First edge of the crop, in pixels of the source ``(B,)``.
        length: Its length in pixels ``(B,)``.
        size: Pixels of the source.
        out: Pixels of the result.
        flip: bool ``(B,)``: reverse the axis.
    """
    place = (torch.arange(out, device=start.device, dtype=torch.float32) + 0.5) / out
    if flip is not None:
        place = torch.where(flip[:, None], 1.0 - place[None, :], place[None, :])
    centre = start[:, None] + place * length[:, None]
    support = (length / out).clamp(min=1.0)[:, None, None]
    pixel = torch.arange(size, device=start.device, dtype=torch.float32) + 0.5
    weights = (1.0 - (pixel[None, None, :] - centre[:, :, None]).abs() / support).clamp(min=0.0)
    return weights / weights.sum(dim=2, keepdim=True)


def crop(
    images: Tensor, left: Tensor, top: Tensor, width: Tensor, height: Tensor, out: int, flip: Tensor | None = None
) -> Tensor:
    """Crop and resize ``(B, S, S)`` to ``(B, out, out)``; boxes in pixels."""
    size = images.shape[-1]
    across = crop_weights(left, width, size, out, flip)
    down = crop_weights(top, height, size, out)
    return torch.bmm(torch.bmm(down, images), across.transpose(1, 2))


def random_boxes(draws: np.ndarray, size: int, options: CropAugmentation) -> np.ndarray:
    """Return (left, top, width, height) in pixels as torchvision's RandomResizedCrop draws them, ``(B, 4)``.

    Up to ten draws of area and aspect; if none fits, the largest box of the nearest allowed aspect, in the middle.
    """
    low, high = options.crop_scale
    ratio_low, ratio_high = (math.log(r) for r in options.crop_ratio)
    area = low + (high - low) * draws[:, 0 : 2 * ATTEMPTS : 2]
    ratio = np.exp(ratio_low + (ratio_high - ratio_low) * draws[:, 1 : 2 * ATTEMPTS : 2])
    widths, heights = np.sqrt(area * ratio), np.sqrt(area / ratio)
    fits = (widths <= 1.0) & (heights <= 1.0)
    first = fits.argmax(axis=1)
    rows = np.arange(len(draws))
    some = fits.any(axis=1)
    width, height = np.where(some, widths[rows, first], 1.0), np.where(some, heights[rows, first], 1.0)
    at = draws[:, 2 * ATTEMPTS :]
    left = np.where(some, at[:, 0], 0.5) * (1.0 - width)
    top = np.where(some, at[:, 1], 0.5) * (1.0 - height)
    return np.stack([left, top, width, height], axis=1) * size


def augment(images: Tensor, draws: np.ndarray, out: int, options: CropAugmentation) -> Tensor:
    """Augment a batch.

    Args:
        images: float32 in [0, 1] ``(B, S, S)``.
        draws: ``tasks.inputs.draws.uniforms(…, DRAWS)``.
        out: Side of the result.
        options: How a crop is drawn.

    Returns:
        float32 ``(B, out, out)``; 0 beyond the border after rotation.
    """
    return moved(images, to_device(moves(draws, images.shape[-1], options), images.device), out)


def moves(draws: np.ndarray, size: int, options: CropAugmentation) -> list[np.ndarray]:
    """Return what ``moved`` takes beside images of a side: boxes ``(B, 4)``, flips ``(B,)`` and, if any, rotations."""
    boxes = random_boxes(draws, size, options).astype(np.float32)
    flip = draws[:, 2 * ATTEMPTS + 2] < options.flip
    if not options.rotation_degrees:
        return [boxes, flip]
    angle = np.deg2rad(options.rotation_degrees) * (2.0 * draws[:, 2 * ATTEMPTS + 3] - 1.0)
    cosine, sine, zero = np.cos(angle), np.sin(angle), np.zeros_like(angle)
    matrix = np.stack([np.stack([cosine, -sine, zero], 1), np.stack([sine, cosine, zero], 1)], 1)
    return [boxes, flip, matrix.astype(np.float32)]


def moved(images: Tensor, moves: Sequence[Tensor], out: int) -> Tensor:
    """Return images ``(B, S, S)`` cropped, flipped and rotated ``(B, out, out)`` by ``moves`` on their device."""
    boxes, flip, *rotations = moves
    cropped = crop(images, boxes[:, 0], boxes[:, 1], boxes[:, 2], boxes[:, 3], out, flip)
    if not rotations:
        return cropped
    grid = F.affine_grid(rotations[0], [len(images), 1, out, out], align_corners=False)
    return F.grid_sample(cropped[:, None], grid, mode="bilinear", padding_mode="zeros", align_corners=False)[:, 0]


def views(images: Tensor, out: int, resize: int, ten_crop: bool) -> Tensor:
    """Return the fixed views for validation and test: resize to ``resize``, then crop ``out``.

    Args:
        images: float32 ``(B, S, S)``.
        out: Side of a view.
        resize: Side of the whole image before cropping.
        ten_crop: The middle and four corners, each with its mirror image; otherwise the middle alone.

    Returns:
        ``(V, B, out, out)`` with V = 10 or 1.
    """
    if images.shape[-1] != resize:
        # Once for all views, as the paper resizes; antialiased, as PIL does it.
        images = F.interpolate(images[:, None], (resize, resize), mode="bilinear", antialias=True)[:, 0]
    slack = resize - out
    middle = round(slack / 2.0)
    corners = [(middle, middle)]
    if ten_crop:
        corners += [(0, 0), (slack, 0), (0, slack), (slack, slack)]
    found = [images[:, y : y + out, x : x + out] for x, y in corners]
    if ten_crop:
        found += [view.flip(-1) for view in found]
    return found[0][None] if len(found) == 1 else torch.stack(found)


def normalise(images: Tensor, name: str, channels: int) -> Tensor:
    """Return ``(B, channels, S, S)`` of grey ``(B, S, S)`` in [0, 1], each channel standardised."""
    expanded = images[:, None].expand(-1, channels, -1, -1)
    constants = NORMALISATIONS[name]
    if constants is None:
        return expanded
    # Filled on the device: a tensor of numbers would be copied there, and waited for.
    mean, std = (
        torch.stack([images.new_full((), value) for value in (of if len(of) == channels else of[:1] * channels)])
        for of in constants
    )
    return (expanded - mean[:, None, None]) / std[:, None, None]
