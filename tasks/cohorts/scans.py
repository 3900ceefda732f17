"""Whole scans beside a cohort's patches: what self-supervised pretraining in 3D discovers its words in.

``scans.csv`` (row, case, patient, split), and the voxels as uint8, [−1000, 1000] HU mapped to 0 … 255: resized to one
shape in ``scans.npy`` ``(M, X, Y, Z)``, or each as it is in ``scans/<row>.npy``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tasks.cohorts.decode import new_array, write_table
from tasks.cohorts.patches import resize_box, scale
from tasks.layouts.volumes import require_values
from tasks.patch_options import ScanStore

WINDOW = (-1000.0, 1000.0)


def write_scans(
    folder: Path, root: Path, adapter: Any, options: Mapping[str, Any], report: Callable[[int, int, str], None]
) -> tuple[str, ...]:
    """Write the scans that an adapter gives to pretraining; returns the names of the files that are always there.

    Args:
        folder: The cohort's folder.
        root: The data set's folder.
        adapter: One with ``pretraining_scans(root)``, a table of case, patient, image and split, and ``open``.
        options: ``ScanStore`` as a mapping.
        report: Progress.

    Raises:
        DataError: For a scan that cannot be read, or whose voxels are no number or nowhere as low as air.
    """
    shape = ScanStore.model_validate(dict(options)).shape
    table = adapter.pretraining_scans(root)
    with contextlib.ExitStack() as arrays:
        whole = None
        if shape is None:
            (folder / "scans").mkdir()
        else:
            whole = arrays.enter_context(new_array(folder / "scans.npy", np.uint8, (len(table), *shape)))
        for row, image in enumerate(table["image"]):
            found = adapter.open(root, image).voxels
            require_values(found, str(root / image), hounsfield=getattr(adapter, "hounsfield", False))
            voxels = scale(found, WINDOW)
            if whole is not None:
                whole[row] = np.rint(255.0 * resize_box(voxels, shape))
            else:
                np.save(folder / "scans" / f"{row}.npy", np.rint(255.0 * voxels).astype(np.uint8))
            report(row + 1, len(table), "keeping whole scans")
    table = table.drop(columns="image")
    table.insert(0, "row", np.arange(len(table)))
    write_table(table, folder / "scans.csv")
    return ("scans.csv",) if shape is None else ("scans.csv", "scans.npy")
