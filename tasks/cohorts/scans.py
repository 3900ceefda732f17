"""Whole scans beside a cohort's patches: what self-supervised pretraining in 3D discovers its words in.

``scans.csv`` (row, case, patient, split), and the voxels as uint8, [−1000, 1000] HU mapped to 0 … 255: resized to one
shape in ``scans.npy`` ``(M, X, Y, Z)``, or each as it is in ``scans/<row>.npy``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from harness.errors import DataError
from tasks.cohorts.decode import write_table
from tasks.cohorts.filling import new_array
from tasks.layouts.adapter import PretrainsOnScans, VolumeAdapter
from tasks.layouts.boxes import resize_box, scale
from tasks.layouts.volumes import require_values
from tasks.patch_options import ScanStore

WINDOW = (-1000.0, 1000.0)


def write_scans(
    folder: Path,
    root: Path,
    adapter: VolumeAdapter,
    store: ScanStore,
    report: Callable[[int, int, str], None],
) -> tuple[str, ...]:
    """Write the scans that an adapter gives to pretraining; returns the names of the files that are always there.

    Args:
        folder: The cohort's folder.
        root: The data set's folder.
        adapter: One that has scans for pretraining (``PretrainsOnScans``).
        store: How they are kept.
        report: Progress.

    Raises:
        DataError: If the adapter has none; for a scan that cannot be read, or whose voxels are no number or nowhere as
            low as air.
    """
    shape = store.shape
    if not isinstance(adapter, PretrainsOnScans):
        raise DataError(
            f"adapter {adapter.name} has no pretraining_scans; expected one that gives whole scans to pretraining; "
            "leave out cohort.scans"
        )
    table = adapter.pretraining_scans(root)
    with contextlib.ExitStack() as arrays:
        whole: np.ndarray | None = None
        if shape is None:
            (folder / "scans").mkdir()
        else:
            whole = arrays.enter_context(new_array(folder / "scans.npy", np.uint8, (len(table), *shape)))
        for row, image in enumerate(table["image"]):
            found = adapter.open(root, image).voxels
            require_values(found, str(root / image), hounsfield=adapter.hounsfield)
            voxels = scale(found, WINDOW)
            if whole is not None and shape is not None:
                whole[row] = np.rint(255.0 * resize_box(voxels, shape))
            else:
                np.save(folder / "scans" / f"{row}.npy", np.rint(255.0 * voxels).astype(np.uint8))
            report(row + 1, len(table), "keeping whole scans")
    table = table.drop(columns="image")
    table.insert(0, "row", np.arange(len(table)))
    write_table(table, folder / "scans.csv")
    return ("scans.csv",) if shape is None else ("scans.csv", "scans.npy")
