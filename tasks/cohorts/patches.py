"""Cut a cohort of volumes once: patches, their masks and a picture of some, in the format of ``harness.pixels``.

A case is a patch. Its middle is the point ``x_mm, y_mm, z_mm`` (LPS millimetres) of the index where it has these
columns; otherwise it is drawn with a seed of the scan's name, what a case's is before its last ``/``, so that a copy
nested otherwise gives the same patches: see ``draw_centres``. An adapter that cuts its patches itself
(``tasks.layouts.adapter.CutsPatches``) is asked instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from harness.errors import DataError
from harness.seeding import seed
from tasks.cohorts.decode import MASKS, PIXELS, write_table
from tasks.cohorts.filling import Array, Filling, Unit, fill
from tasks.layouts.adapter import CutsPatches, MaskedVolumes, VolumeAdapter
from tasks.layouts.boxes import crop_at, resize_box, resize_in_plane, scale
from tasks.layouts.index import Index
from tasks.layouts.space import inverse, length, transformed
from tasks.layouts.volumes import Volume, require_values
from tasks.patch_options import Patches

WORLD = ["x_mm", "y_mm", "z_mm"]


def draw_centres(
    mask: np.ndarray, count: int, foreground_share: float, size: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    """Draw where patches lie: the first ``round(share · count)`` on random foreground voxels, the rest anywhere.

    Boxes are moved until they lie inside the volume where they fit.

    Args:
        mask: Foreground ``(X, Y, Z)``; without any, all lie anywhere.
        count: Patches.
        foreground_share: Of them on the foreground.
        size: Of a box ``(3,)``.
        generator: Source of randomness.

    Returns:
        Indices ``(count, 3)``.
    """
    shape, size = np.array(mask.shape), np.asarray(size)
    anywhere = generator.random((count, 3))
    centres = np.floor(anywhere * shape)
    hits = np.flatnonzero(mask)
    on = round(foreground_share * count) if len(hits) else 0
    if on:
        centres[:on] = np.stack(np.unravel_index(hits[generator.integers(0, len(hits), on)], mask.shape), axis=1)
    low, high = size // 2, shape - size + size // 2
    return np.where(high >= low, np.clip(centres, low, np.maximum(low, high)), shape // 2)


def cut_patches(
    adapter: VolumeAdapter, root: Path, cases: pd.DataFrame, patches: Patches, *, masks: bool
) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """Yield each case's patch, float32 in [0, 1] ``(*shape)`` or ``(C, *shape)``, and its mask, bool or None.

    Args:
        adapter: Reads the scans.
        root: The data set's folder.
        cases: Rows of the index that share one scan.
        patches: How they are cut.
        masks: Whether the index has masks.

    Raises:
        DataError: For a scan or mask that cannot be read, that do not fit each other, a point outside the scan, or
            voxels that are no number or, in a CT, nowhere as low as air.
    """
    image = str(cases["image"].iloc[0])
    volume = adapter.open(root, image)
    require_values(volume.voxels, str(root / image), hounsfield=adapter.hounsfield)
    voxels, affine = scale(volume.voxels, patches.window), volume.affine.copy()
    mask = _open_mask(adapter, root, image, volume).astype(np.float32) if masks else None
    if patches.in_plane is not None:
        if voxels.ndim == 4:
            raise DataError(f"{image} has several channels; in_plane is for one; leave it out")
        factors = np.array([*(patches.in_plane / np.array(voxels.shape[:2])), 1.0])
        voxels = resize_in_plane(voxels, patches.in_plane)
        mask = None if mask is None else (resize_in_plane(mask, patches.in_plane) >= 0.5).astype(np.float32)
        # index 0 is the middle of the first voxel, which grows or shrinks about the volume's corner
        affine[:3, 3] += transformed(affine[:3, :3], 0.5 / factors - 0.5)
        affine[:3, :3] /= factors
    size = np.array(patches.crop or patches.shape)
    if patches.spacing_mm is not None:
        spacing = length(affine[:3, :3].T)
        size = np.maximum(1, np.rint(size * patches.spacing_mm / spacing)).astype(int)
    if set(WORLD) <= set(cases.columns):
        points = cases[WORLD].to_numpy(float)
        centres = transformed(inverse(affine[:3, :3]), points - affine[:3, 3])
        outside = ((centres < -0.5) | (centres > np.array(voxels.shape[-3:]) - 0.5)).any(axis=1)
        if outside.any():
            case = cases["case"].iloc[int(outside.argmax())]
            raise DataError(f"{case} lies outside its scan {root / image}; expected its point inside; correct it")
    else:
        scan = str(cases["case"].iloc[0]).rpartition("/")[0] or image
        generator = np.random.Generator(np.random.PCG64(seed(patches.seed, "patches", scan)))
        where = mask > 0 if mask is not None else np.zeros(voxels.shape[-3:], bool)
        centres = draw_centres(where, len(cases), patches.foreground_share, size, generator)
    for centre in centres:
        patch = resize_box(crop_at(voxels, centre, size), patches.shape)
        yield patch, None if mask is None else resize_box(crop_at(mask, centre, size), patches.shape) >= 0.5


def _open_mask(adapter: VolumeAdapter, root: Path, image: str, volume: Volume) -> np.ndarray:
    if not isinstance(adapter, MaskedVolumes):
        raise DataError(f"adapter {adapter.name} gives masks and has no open_mask; expected MaskedVolumes; write it")
    return adapter.open_mask(root, image, volume)


def write_patches(how: Filling, root: Path, index: Index, adapter: VolumeAdapter, patches: Patches) -> None:
    """Write ``pixels.npy``, ``cases.csv`` and, where there are any, ``masks.npy``.

    Args:
        how: The cohort's folder, the processes, what hears about progress; the result does not depend on it.
        root: The data set's folder.
        index: Its cases, in the order of the rows; those of one scan share ``image``.
        adapter: Reads the scans.
        patches: How they are cut.

    Raises:
        DataError: See ``cut_patches``.
    """
    count, channels, has_masks = len(index.cases), adapter.channels, bool(index.masks)
    shape = (count, channels, *patches.shape) if channels > 1 else (count, *patches.shape)
    arrays = {PIXELS: Array(patches.store, shape)}
    if has_masks:
        arrays[MASKS] = Array(np.uint8, (count, *patches.shape))
    rows_of = [tuple(map(int, rows)) for rows in index.cases.groupby("image", sort=False).indices.values()]
    of_first = {rows[0]: rows for rows in rows_of}

    def cut(first: int, into: Mapping[str, np.ndarray]) -> None:
        rows = of_first[first]
        cases = index.cases.iloc[list(rows)]
        if isinstance(adapter, CutsPatches):
            found = adapter.cut(root, cases, patches)
        else:
            found = cut_patches(adapter, root, cases, patches, masks=has_masks)
        for row, (patch, mask) in zip(rows, found, strict=True):
            into[PIXELS][row] = np.rint(patch * 255.0) if patches.store == "uint8" else patch
            if mask is not None and has_masks:
                into[MASKS][row] = mask

    images = index.cases["image"].tolist()
    units = [Unit(rows, (root / images[rows[0]],)) for rows in rows_of]
    fill(replace(how, units=1), arrays, units, cut, "cutting")
    table = index.cases.drop(columns="image")
    table.insert(0, "row", np.arange(count))
    write_table(table, how.folder / "cases.csv")


def middle_slice(volume: np.ndarray) -> np.ndarray:
    """Return the middle slice of a patch as radiologists look at it, uint8 ``(Y, X)``: the patient's right on the left.

    Args:
        volume: ``(X, Y, Z)`` or ``(C, X, Y, Z)``, of which the first channel is shown; uint8, or in [0, 1].
    """
    first = volume[0] if volume.ndim == 4 else volume
    middle = np.asarray(first[:, :, first.shape[2] // 2]).T
    return np.ascontiguousarray(
        middle if middle.dtype == np.uint8 else np.clip(255.0 * middle, 0, 255).astype(np.uint8)
    )
