"""Whole scans beside a cohort's patches: what self-supervised pretraining in 3D discovers its words in.

``scans.csv`` (row, case, patient, split), and the voxels as uint8, [−1000, 1000] HU mapped to 0 … 255: resized to one
shape in ``scans.npy`` ``(M, X, Y, Z)``, or each as it is in ``scans/<row>.npy``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from harness.errors import DataError
from tasks.cohorts.decode import write_table
from tasks.cohorts.filling import Array, Filling, Unit, fill
from tasks.layouts.adapter import PretrainsOnScans, VolumeAdapter
from tasks.layouts.boxes import resize_box, scale
from tasks.layouts.volumes import require_values
from tasks.patch_options import ScanStore

WINDOW = (-1000.0, 1000.0)
TOGETHER, APART, LEDGER = "scans.npy", "scans", "scans.jsonl"


def write_scans(how: Filling, root: Path, adapter: VolumeAdapter, store: ScanStore) -> tuple[str, ...]:
    """Write the scans that an adapter gives to pretraining; returns the names of the files that are always there.

    Args:
        how: The cohort's folder, the processes, what hears about progress; the result does not depend on it.
        root: The data set's folder.
        adapter: One that has scans for pretraining (``PretrainsOnScans``).
        store: How they are kept.

    Raises:
        DataError: If the adapter has none; for a scan that cannot be read, or whose voxels are no number or nowhere as
            low as air.
    """
    if not isinstance(adapter, PretrainsOnScans):
        raise DataError(
            f"adapter {adapter.name} has no pretraining_scans; expected one that gives whole scans to pretraining; "
            "leave out cohort.scans"
        )
    shape, table = store.shape, adapter.pretraining_scans(root)
    images = table["image"].tolist()
    if shape is None:
        (how.place / APART).mkdir(parents=True, exist_ok=True)

    def keep(row: int, into: Mapping[str, np.ndarray]) -> None:
        found = adapter.open(root, images[row]).voxels
        require_values(found, str(root / images[row]), hounsfield=adapter.hounsfield)
        voxels = scale(found, WINDOW)
        if shape is None:
            np.save(how.place / _apart(row), np.rint(255.0 * voxels).astype(np.uint8))
        else:
            into[TOGETHER][row] = np.rint(255.0 * resize_box(voxels, shape))

    arrays = {} if shape is None else {TOGETHER: Array(np.uint8, (len(images), *shape))}
    units = [Unit((row,), (root / image,), (_apart(row),) if shape is None else ()) for row, image in enumerate(images)]
    fill(replace(how, units=1, ledger=LEDGER), arrays, units, keep, "keeping whole scans")
    table = table.drop(columns="image")
    table.insert(0, "row", np.arange(len(table)))
    write_table(table, how.folder / "scans.csv")
    return ("scans.csv",) if shape is None else ("scans.csv", TOGETHER)


def _apart(row: int) -> str:
    return f"{APART}/{row}.npy"
