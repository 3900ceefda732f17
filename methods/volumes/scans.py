"""The scans of a cohort that words are discovered in."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from harness.errors import DataError

COLUMNS = ("row", "case", "patient", "split")


class Scans:
    """Whole scans beside a cohort's patches, opened for reading.

    ``scans.csv`` has the columns row, case, patient and split (train or validation). The voxels, clipped to [−1000,
    1000] HU and mapped to [0, 1] (uint8: 0…255), lie in ``scans.npy`` ``(M, X, Y, Z)``, or, of different shapes, in
    ``scans/<row>.npy``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if not (folder / "scans.csv").is_file():
            raise DataError(
                f"no scans.csv in {folder}; expected the whole training scans of the cohort, for visual words; "
                "pretrain on a cohort that keeps them (luna16)"
            )

    @cached_property
    def table(self) -> pd.DataFrame:
        """The table of scans, by row."""
        table = pd.read_csv(self.folder / "scans.csv", dtype={"case": str, "patient": str, "split": str})
        absent = [name for name in COLUMNS if name not in table]
        if absent:
            raise DataError(
                f"{self.folder / 'scans.csv'} lacks {', '.join(absent)}; expected {', '.join(COLUMNS)}; rebuild the "
                "cohort"
            )
        return table.sort_values("row", kind="stable").reset_index(drop=True)

    @cached_property
    def _whole(self) -> np.ndarray | None:
        path = self.folder / "scans.npy"
        return np.load(path, mmap_mode="r") if path.is_file() else None

    def __getitem__(self, row: int) -> np.ndarray:
        """Return a scan ``(X, Y, Z)`` as stored, a read-only memory map."""
        own = self.folder / "scans" / f"{row}.npy"
        array: np.ndarray = np.load(own, mmap_mode="r") if self._whole is None else self._whole[row]
        return array

    def rows(self, split: str) -> np.ndarray:
        """Return the rows of a split."""
        return self.table.loc[self.table["split"] == split, "row"].to_numpy(dtype=np.int64)
