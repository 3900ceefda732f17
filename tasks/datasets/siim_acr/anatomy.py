"""The anatomy cohort of SIIM-ACR: true run lengths as pneumothorax drawn into projections of one real scan.

Images are sampled at the real share of positives under their own ids, with all their rows, and written as the data set
lies on disk: DICOM in two-level folders beside ``train-rle.csv``. The rows of the images that have the true side of
1,024 pixels are the file's own; the others' masks are scaled to the smaller side and encoded again, row by row.

The masks stay where they are: of several builds of the scan's thorax each positive image has the one whose rib cage
holds most of its mask. A negative image is fitted to another's mask, so that size and place tell nothing. Inside a
mask the lung's texture is smoothed and darkened; a fine bright line bounds it.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from pydantic import Field, JsonValue

from harness.late import cv2
from harness.seeding import seed
from harness.spec import Frozen
from tasks.datasets.siim_acr import adapter as layout
from tasks.datasets.siim_acr import phantom
from tasks.layouts.dicom import library
from tasks.layouts.run_lengths import EMPTY, decode_runs, encode_runs
from tasks.phantoms.anatomy_files import STAMP, locate
from tasks.phantoms.elementary import exp
from tasks.phantoms.projection import Projection
from tasks.phantoms.thorax import Build, draw_builds

BATCH = 64  # images rendered at once; part of the recipe, for each batch has a generator of its own
REAL_PX = 1024
TRIES, COARSE_PX = 32, 48  # builds looked at for a positive image, and how closely


class Options(Frozen):
    """How large a sample, and how it is painted.

    Attributes:
        seed: Of the sample and of everything drawn.
        images: Labelled images.
        file_px: Rows and Columns; the real ones have 1,024.
        full_size: Positive images that keep the 1,024 pixels, those with most rows first.
        strength: Contrast of the air and its line.
    """

    seed: int = Field(ge=0)
    images: int = Field(ge=20)
    file_px: int = Field(ge=32)
    full_size: int = Field(default=2, ge=0)
    strength: float = Field(default=1.0, gt=0)


def write(folder: Path, options: Mapping[str, object]) -> dict[str, JsonValue]:
    """Write the sample into ``folder``; returns facts for the manifest.

    Raises:
        Unavailable: If the optional package for DICOM or the packages with the real files are missing.
    """
    chosen = Options.model_validate(dict(options))
    library()
    table = folder / "train-rle.csv"
    table.write_bytes(gzip.decompress(locate("runs").read_bytes()))
    header = table.read_text(encoding="utf-8-sig").splitlines()[0]
    rows = layout.read_rows(table)
    generator = np.random.Generator(np.random.PCG64(seed(chosen.seed, "anatomy", "siim_acr")))
    names = _sample(rows, chosen.images, generator)
    positive = sorted((n for n in names if rows[n] != (EMPTY,)), key=lambda name: (-len(rows[name]), name))
    full = set(positive[: chosen.full_size])
    # the JPEG and the inverted file of the analytic phantoms are here two positive images of the small size
    odd = [*[names.index(name) for name in positive if name not in full][:2], -1, -1]
    odd_ones = {"jpeg": odd[0], "inverted": odd[1]}
    writer = phantom.Options(seed=chosen.seed, images=chosen.images, file_px=chosen.file_px, stage=1)
    builds = draw_builds(np.arange(len(names)), generator)
    lines = [header]
    for side, which in ((chosen.file_px, [n for n in names if n not in full]), (REAL_PX, sorted(full))):
        for start in range(0, len(which), BATCH):
            part = which[start : start + BATCH]
            drawn = np.random.Generator(np.random.PCG64(seed(chosen.seed, "anatomy", "siim_acr", side, start)))
            masks, texts = zip(*(_scaled(rows[name], side, name) for name in part), strict=True)
            build = builds.take(np.array([names.index(name) for name in part]))
            shown = [mask for mask in masks if mask.any()]
            for i, mask in enumerate(masks if shown else ()):
                other = shown[int(drawn.integers(len(shown)))]
                _fit(build, i, mask if mask.any() else other, drawn)
            thorax = Projection(build, side, side, drawn)
            for i, mask in enumerate(masks):
                if mask.any():
                    paint_air(thorax, i, mask, chosen.strength)
            for name, picture, own in zip(part, thorax.render(drawn), texts, strict=True):
                phantom._write_dicom(folder, writer, name, picture, names.index(name), odd_ones)
                lines += [f"{name},{text}" for text in own]
    table.write_text("\n".join(lines) + "\n")
    return {"stamp": STAMP, "images": len(names), "patients": len(names)}


def _sample(rows: Mapping[str, tuple[str, ...]], images: int, generator: np.random.Generator) -> list[str]:
    """Draw positive and negative images in the real proportion; the first is one with three rows or more."""
    positive = [name for name in rows if rows[name] != (EMPTY,)]
    negative = [name for name in rows if rows[name] == (EMPTY,)]
    several = [name for name in positive if len(rows[name]) >= 3]
    first = several[int(generator.integers(len(several)))]
    count = round(images * len(positive) / len(rows))
    chosen = [first, *(positive[i] for i in generator.permutation(len(positive)) if positive[i] != first)][:count]
    chosen += [negative[i] for i in generator.permutation(len(negative))[: images - len(chosen)]]
    return sorted(chosen)


def _scaled(texts: tuple[str, ...], side: int, name: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return an image's mask at a side, uint8 ``(side, side)``, and its rows; at the real side the rows as they are."""
    union = np.zeros((side, side), np.uint8)
    if texts == (EMPTY,):
        return union, texts
    scaled = []
    for text in texts:
        mask = decode_runs(text, (REAL_PX, REAL_PX), name)
        if side != REAL_PX:
            share = cv2.resize(mask.astype(np.float32), (side, side), interpolation=cv2.INTER_AREA)
            mask = (share >= min(0.5, share.max())).astype(np.uint8)  # the smallest keep their fullest pixel
        union |= mask
        scaled.append(text if side == REAL_PX else encode_runs(mask))
    return union, tuple(scaled)


def _fit(build: Build, i: int, mask: np.ndarray, generator: np.random.Generator) -> None:
    """Give image ``i`` the size and place of thorax whose rib cage holds most of the mask."""
    tried = draw_builds(np.arange(TRIES), generator)
    shape = (TRIES, 1, 1)
    tried.scale[1:] *= generator.uniform(0.95, 1.45, shape)[1:].astype(np.float32)
    tried.shift_u[1:] += generator.normal(0.0, 0.05, shape)[1:].astype(np.float32)
    tried.shift_v[1:] += generator.normal(0.06, 0.08, shape)[1:].astype(np.float32)
    thorax = Projection(tried, COARSE_PX, COARSE_PX, generator)
    share = cv2.resize(mask.astype(np.float32), (COARSE_PX, COARSE_PX), interpolation=cv2.INTER_AREA)
    above = thorax.v < thorax.diaphragm
    held = (share * ((thorax.wall > 0) & (thorax.lung > -0.02) & above)).sum(axis=(1, 2)) / share.sum()
    best = int(np.argmax(np.round(held, 2)))  # of equals the first, the plainest
    for name in ("scale", "shift_u", "shift_v", "width", "rotation"):
        getattr(build, name)[i] = getattr(tried, name)[best]


def paint_air(thorax: Projection, row: int, mask: np.ndarray, strength: float) -> None:
    """Paint air into one image where the mask says: lung without texture, darker, and a line at its edge."""
    height = mask.shape[0]
    depth = thorax.depth[row]
    smooth = cv2.GaussianBlur(depth, (0, 0), 0.03 * height)
    soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), max(0.004 * height, 0.4))
    within = cv2.distanceTransform(mask, cv2.DIST_L2, 5)
    beyond = cv2.distanceTransform(1 - mask, cv2.DIST_L2, 5)
    line = exp(-((((beyond - within) / height - 0.004) / 0.008) ** 2)) * (thorax.lung[row] > 0.01)
    air = np.minimum(smooth, depth) - 0.16 * strength
    thorax.depth[row] = depth * (1.0 - soft) + air * soft + 0.08 * strength * line
