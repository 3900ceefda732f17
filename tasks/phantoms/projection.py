"""Frontal projections of one real chest CT, varied into many: what stands in for the analytic thorax.

μ = clip(HU, −1000, 2000)/1000 + 1 is summed from front to back, at view angles of ±8° about the patient's long axis;
each image takes one angle, an affine and a smooth elastic warp, and its own display curve. All are one person: metrics
on these images prove code, not science.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from harness.late import cv2
from tasks.phantoms.anatomy_files import locate
from tasks.phantoms.elementary import cos, power, sin
from tasks.phantoms.thorax import Build, Thorax, smooth_noise

ANGLES = (-8.0, -4.0, 0.0, 4.0, 8.0)
SIDE = 256  # pixels of a template
LUNGS, HEART = (10, 11, 12, 13, 14), (51,)  # ids of the label map
BELOW = (1, 2, 3, 5, 6)  # spleen, kidneys, liver, stomach: what the domes of the diaphragm hide lung behind
VISIBLE_MM = 30.0  # lung thinner than this is not seen at the edges
HIDDEN_MM = 20.0  # lung behind so much heart or abdomen is not drawn by readers


@dataclass(frozen=True)
class View:
    """Where the scan is looked at from, and which part of the projection is kept.

    Attributes:
        along: Axis that is summed: 0 from the side, 1 from the front.
        columns: First kept and first cut of 256 columns of 1.41 mm.
        rows: How many of the topmost slices of 2.5 mm.
    """

    along: int
    columns: tuple[int, int]
    rows: int


FRONTAL = View(along=1, columns=(30, 234), rows=116)


@cache
def templates(view: View) -> np.ndarray:
    """Return optical depth and the thickness of lung, heart and abdomen, float32 ``(angles, 4, SIDE, SIDE)``.

    Depth is scaled to about 0 (air) … 1.4 (spine); thicknesses are in millimetres. The patient's left is on the right,
    or, seen from the side, the sternum.
    """
    import nibabel

    scan = np.asarray(nibabel.load(locate("scan")).dataobj)
    organs = np.asarray(nibabel.load(locate("organs")).dataobj).astype(np.uint8)
    mu = np.clip(scan, -1000, 2000).astype(np.float32) / 1000 + 1
    volumes = (mu, *(np.isin(organs, ids).astype(np.float32) for ids in (LUNGS, HEART, BELOW)))
    found = np.empty((len(ANGLES), len(volumes), SIDE, SIDE), np.float32)
    for field, volume in enumerate(volumes):
        half = volume.reshape(256, 2, 256, 2, -1).mean(axis=(1, 3))  # (left, front-back, up)
        for i, angle in enumerate(ANGLES):
            matrix = cv2.getRotationMatrix2D((127.5, 127.5), angle, 1.0)
            turned = (cv2.warpAffine(half[..., z], matrix, (256, 256)) for z in range(half.shape[-1]))
            slices = [level.sum(axis=view.along) for level in turned]
            picture = np.stack(slices[::-1])[: view.rows, slice(*view.columns)]
            found[i, field] = cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    low, high = np.percentile(found[:, 0], [2.0, 99.5])
    found[:, 0] = 1.4 * power(np.clip((found[:, 0] - low) / (high - low), 0.0, 1.2), 0.9)
    found[:, 1:] *= 2 * 0.703125
    return found


class Projection(Thorax):
    """The same fields as an analytic thorax, from the organs projected along ``view``."""

    view = FRONTAL

    def __init__(self, build: Build, height: int, width: int, generator: np.random.Generator) -> None:
        self.build = build
        count = len(build.scale)
        x = (np.arange(width, dtype=np.float32) + 0.5) / width - 0.5
        y = (np.arange(height, dtype=np.float32) + 0.5) / height - 0.5
        self.u = np.broadcast_to(x[None, None, :], (count, height, width)).copy()
        self.v = np.broadcast_to(y[None, :, None], (count, height, width)).copy()
        self.side = np.where(self.u < 0, np.float32(-1), np.float32(1))
        bend = [0.018 * smooth_noise((count, height, width), 4, generator) for _ in range(2)]
        angle = np.clip(generator.normal(2.0, 1.0, count), 0.0, len(ANGLES) - 1.001)
        fields = np.stack([self._warp(i, bend[0][i], bend[1][i], angle[i]) for i in range(count)], axis=1)
        self.depth, thickness, heart, below = fields
        self.depth *= build.soft
        self.wall = _signed_distance(thickness > 8.0)
        self.lung = _signed_distance((thickness > VISIBLE_MM) & (heart < HIDDEN_MM) & (below < HIDDEN_MM))
        self.heart = _signed_distance(heart > HIDDEN_MM)
        seen = self.lung > 0
        lowest = np.where(seen, self.v, -1.0).max(axis=1, keepdims=True)
        middle = np.where(lowest > -1.0, lowest, np.nan)
        fill = np.nanmedian(middle, axis=2, keepdims=True)
        self.diaphragm = np.broadcast_to(np.where(np.isnan(middle), fill, middle), self.v.shape).astype(np.float32)
        build.base[:] = np.nanmax(middle, axis=2, keepdims=True)

    def _warp(self, i: int, du: np.ndarray, dv: np.ndarray, place: float) -> np.ndarray:
        """Return the four fields of one image: angle interpolated, affine and elastic warp applied."""
        b = self.build
        first = int(place)
        share = np.float32(place - first)
        of_angle = templates(self.view)
        mixed = of_angle[first] * (1 - share) + of_angle[first + 1] * share
        turn, scale = float(b.rotation[i, 0, 0]), float(b.scale[i, 0, 0])
        u = (self.u[i] - b.shift_u[i, 0, 0]) / (scale * float(b.width[i, 0, 0])) + du
        v = (self.v[i] - b.shift_v[i, 0, 0]) / scale + dv
        at_x = ((cos(turn) * u + sin(turn) * v + 0.5) * SIDE - 0.5).astype(np.float32)
        at_y = ((cos(turn) * v - sin(turn) * u + 0.5) * SIDE - 0.5).astype(np.float32)
        return np.stack([cv2.remap(f, at_x, at_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) for f in mixed])


def _signed_distance(inside: np.ndarray) -> np.ndarray:
    """Return the distance to the edge in image heights, positive inside, float32 ``(N, H, W)``."""
    found = np.empty(inside.shape, np.float32)
    for i, region in enumerate(inside):
        within = cv2.distanceTransform(region.astype(np.uint8), cv2.DIST_L2, 5)
        beyond = cv2.distanceTransform((~region).astype(np.uint8), cv2.DIST_L2, 5)
        found[i] = (within - beyond) / inside.shape[1]
    return found
