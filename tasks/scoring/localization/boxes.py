"""From evidence maps to boxes, and how far two boxes overlap. All maps at once, in blocks of bounded memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from scipy import ndimage

BLOCK = 64  # maps labelled at once


@dataclass(frozen=True)
class Boxes:
    """Boxes around isolated regions.

    Attributes:
        map: Which map each belongs to, int64 ``(B,)``, ascending.
        corners: x₀, y₀, x₁, y₁ in pixels of the evaluation size, half-open, float64 ``(B, 4)``.
        area: Pixels of the region, int64 ``(B,)``.
        peak: The region's highest activation in [0, 1], float32 ``(B,)``.
    """

    map: np.ndarray
    corners: np.ndarray
    area: np.ndarray
    peak: np.ndarray

    def __len__(self) -> int:
        return len(self.map)


def activations(cams: np.ndarray, side: int) -> np.ndarray:
    """Turn signed maps into activations in [0, 1] at evaluation size.

    ReLU, bilinear to ``side`` (pixel centres, edges repeated), then (x − min) / (max − min) of each map. A map that is
    empty (nothing positive) or constant has no evidence to normalise and becomes zero everywhere: a miss.

    Args:
        cams: ``(P, h, w)``.
        side: In pixels.

    Returns:
        float32 ``(P, side, side)``.
    """
    if not len(cams):
        return np.zeros((0, side, side), np.float32)
    positive = torch.from_numpy(np.maximum(np.asarray(cams, dtype=np.float32), 0.0))[:, None]
    fine = torch.nn.functional.interpolate(positive, size=(side, side), mode="bilinear", align_corners=False)[:, 0]
    maps = np.nan_to_num(fine.numpy(), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = maps.min(axis=(1, 2), keepdims=True), maps.max(axis=(1, 2), keepdims=True)
    spread = high - low
    return np.where(spread > 0, (maps - low) / np.where(spread > 0, spread, 1.0), 0.0).astype(np.float32)


def region_boxes(
    maps: np.ndarray, threshold: int, connectivity: int, component: Literal["any", "largest", "highest"]
) -> Boxes:
    """Put a box around each isolated region of activation above ``threshold`` / 255.

    Args:
        maps: Activations in [0, 1], ``(P, S, S)``.
        threshold: Of 255; a pixel must lie above it.
        connectivity: 8 or 4 neighbours.
        component: Every region, or of each map the largest or the one with the highest activation; of equals the
            first in reading order.
    """
    plane = ndimage.generate_binary_structure(2, 2 if connectivity == 8 else 1)
    structure = np.zeros((3, 3, 3), bool)
    structure[1] = plane  # regions never reach from one map into the next
    where, corners, areas, peaks = [], [], [], []
    for start in range(0, len(maps), BLOCK):
        block = maps[start : start + BLOCK]
        labels, count = ndimage.label(block * np.float32(255.0) > threshold, structure)
        if not count:
            continue
        slices = ndimage.find_objects(labels)
        where.append(np.array([start + s[0].start for s in slices], np.int64))
        corners.append(np.array([[s[2].start, s[1].start, s[2].stop, s[1].stop] for s in slices], np.float64))
        areas.append(np.bincount(labels.ravel(), minlength=count + 1)[1:])
        highest, inside = np.full(count + 1, -np.inf, np.float32), labels > 0
        np.maximum.at(highest, labels[inside], block[inside])  # a sort of all pixels, in scipy's labelled maximum
        peaks.append(highest[1:])
    if not where:
        empty = np.zeros(0, np.int64)
        return Boxes(empty, np.zeros((0, 4)), empty, np.zeros(0, np.float32))
    found = Boxes(np.concatenate(where), np.concatenate(corners), np.concatenate(areas), np.concatenate(peaks))
    if component == "any":
        return found
    key = found.area if component == "largest" else found.peak
    order = np.lexsort((np.arange(len(found)), -key.astype(np.float64), found.map))
    first = np.unique(found.map[order], return_index=True)[1]
    kept = order[first]
    return Boxes(found.map[kept], found.corners[kept], found.area[kept], found.peak[kept])


class Regions:
    """The boxes of some maps, found once for each threshold that is asked for.

    Args:
        cams: Signed maps, ``(P, h, w)``.
        side: In pixels.
        connectivity: See ``region_boxes``.
        component: See ``region_boxes``.
    """

    def __init__(
        self, cams: np.ndarray, side: int, connectivity: int, component: Literal["any", "largest", "highest"]
    ) -> None:
        self._maps, self._how = activations(cams, side), (connectivity, component)
        self._found: dict[int, Boxes] = {}

    def above(self, threshold: int) -> Boxes:
        """Return the boxes of activation above ``threshold`` / 255."""
        if threshold not in self._found:
            self._found[threshold] = region_boxes(self._maps, threshold, *self._how)
        return self._found[threshold]


def overlaps(
    predicted: np.ndarray,
    real: np.ndarray,
    kind: Literal["iou", "iobb", "either"] = "iou",
    *,
    inclusive: bool = False,
) -> np.ndarray:
    """Return how far boxes overlap, pair by pair, in [0, 1].

    Args:
        predicted: x₀, y₀, x₁, y₁, float64 ``(N, 4)``.
        real: The same.
        kind: Intersection over union, over the predicted box, or the larger of the two.
        inclusive: Sides are one pixel longer than the difference of corners.
    """
    more = 1.0 if inclusive else 0.0
    low = np.maximum(predicted[:, :2], real[:, :2])
    high = np.minimum(predicted[:, 2:], real[:, 2:])
    shared = np.clip(high - low + more, 0.0, None).prod(axis=1)
    own = (predicted[:, 2:] - predicted[:, :2] + more).prod(axis=1)
    other = (real[:, 2:] - real[:, :2] + more).prod(axis=1)
    union = own + other - shared
    iou = np.where(union > 0, shared / np.where(union > 0, union, 1.0), 0.0)
    iobb = np.where(own > 0, shared / np.where(own > 0, own, 1.0), 0.0)
    return iou if kind == "iou" else iobb if kind == "iobb" else np.maximum(iou, iobb)


def best_overlaps(
    predicted: Boxes, real: np.ndarray, owner: np.ndarray, kind: Literal["iou", "iobb", "either"], *, inclusive: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Find, for each real box, the predicted box of its own map that overlaps it most; of equals the first.

    Args:
        predicted: Boxes of all maps.
        real: Corners in pixels, float64 ``(G, 4)``.
        owner: The map of each real box, int ``(G,)``.
        kind: See ``overlaps``.
        inclusive: See ``overlaps``.

    Returns:
        The overlap, 0 where there is no box, float64 ``(G,)``; and the box's corners, NaN there, ``(G, 4)``.
    """
    low = np.searchsorted(predicted.map, owner, side="left")
    count = np.searchsorted(predicted.map, owner, side="right") - low
    box = np.repeat(np.arange(len(owner)), count)
    offset = np.arange(len(box)) - np.repeat(np.cumsum(count) - count, count)
    found = overlaps(predicted.corners[np.repeat(low, count) + offset], real[box], kind, inclusive=inclusive)
    best, corners = np.zeros(len(owner)), np.full((len(owner), 4), np.nan)
    order = np.lexsort((-found, box))
    real_box, first = np.unique(box[order], return_index=True)
    best[real_box] = found[order[first]]
    corners[real_box] = predicted.corners[(np.repeat(low, count) + offset)[order[first]]]
    return best, corners
