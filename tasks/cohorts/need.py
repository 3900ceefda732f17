"""How much disk a cohort takes, known before its first byte is written, and whether there is as much."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np

from harness.errors import DataError
from tasks.layouts.adapter import Adapter, PretrainsOnScans
from tasks.layouts.index import Index
from tasks.layouts.volumes import metaimage_fields
from tasks.specs import CohortConfiguration

BESIDE = 1 << 26  # bytes for tables, the picture of a few cases and the record
STORED = 2  # bytes of a voxel in a scan's file


def bytes_of(cohort: CohortConfiguration, index: Index, adapter: Adapter, root: Path) -> int:
    """Return the bytes of a cohort's arrays: exact, but for whole scans of a format whose header is not read here.

    Args:
        cohort: Its configuration.
        index: Its cases.
        adapter: Of the data set.
        root: The data root.
    """
    has_masks = bool(index.masks) or index.runs is not None
    if cohort.patches is None:
        side, _ = cohort.square
        return len(index.cases) * side * side * (2 if has_masks else 1) + BESIDE
    voxels = math.prod(cohort.patches.shape)
    channels = getattr(adapter, "channels", 1)
    of_case = voxels * (channels * np.dtype(cohort.patches.store).itemsize + int(has_masks))
    scans = 0
    if cohort.scans is not None and isinstance(adapter, PretrainsOnScans):
        images = adapter.pretraining_scans(root)["image"].tolist()
        shape = cohort.scans.shape
        scans = len(images) * math.prod(shape) if shape else sum(voxels_of(root / image) for image in images)
    return len(index.cases) * of_case + scans + BESIDE


def require_room(task: str, needed: int, folder: Path, there: int = 0) -> None:
    """Refuse to begin what the disk cannot hold.

    Args:
        task: Whose cohort.
        needed: Bytes.
        folder: Where it is written.
        there: Bytes of it that an earlier attempt left there.

    Raises:
        DataError: With what is needed, what is free, where, and what to do.
    """
    free = shutil.disk_usage(folder).free
    if needed - there > free:
        raise DataError(
            f"the images of {task} take {gigabytes(needed - there)} more on the disk of {folder}, where "
            f"{gigabytes(free)} are free; expected room for all before the first is decoded; free some, or make "
            '.cohorts a link to a folder on a larger disk; "dira-bench run --retry-failed" tries again'
        )


def gigabytes(count: int) -> str:
    """Write a number of bytes as people read it."""
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"


def occupied(folder: Path) -> int:
    """Return the bytes that files below a folder take on the disk; one that is sparse takes what was written."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else 0


def voxels_of(path: Path) -> int:
    """Return how many voxels a scan has: a MetaImage by its header, however it is packed, another by its size.

    Raises:
        DataError: If a MetaImage's header cannot be read, or does not say.
    """
    if path.suffix.lower() not in (".mhd", ".mha"):
        return path.stat().st_size // STORED
    sizes = metaimage_fields(path).get("DimSize", "").split()
    if not sizes or not all(size.isdecimal() for size in sizes):
        raise DataError(f'{path} has DimSize = "{" ".join(sizes)}"; expected whole numbers; fetch it again')
    return math.prod(map(int, sizes))
