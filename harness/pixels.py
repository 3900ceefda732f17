"""The pixels of a cohort: images decoded once into a memory map, with a table of cases. No torch.

A cohort folder holds

* ``manifest.json``: recipe, counts, hashes of the splits, what the verifier found;
* ``pixels.npy``: uint8 grey ``(N, S, S)`` (3D: ``(N, X, Y, Z)`` or float16), one row per case;
* ``cases.csv``: ``row,case,patient,split`` and one column per label; split is train, validation or test;
* ``masks.npy`` (segmentation): uint8 in {0, 1}, the shape of ``pixels.npy``;
* ``boxes.csv`` (localization): ``row,label,x,y,width,height`` in fractions of the image.

One grey channel is exact, not an approximation: the images are grey, and on R = G = B saturation and hue are
identities.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from harness.advice import command
from harness.errors import DataError
from harness.late import pd

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Pixels:
    """A cohort opened for reading; arrays are memory maps and are not loaded."""

    folder: Path

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """What ``manifest.json`` says."""
        path = self.folder / "manifest.json"
        if not path.is_file():
            raise DataError(
                f"no manifest.json in {self.folder}; expected the folder of a finished cohort; build it with "
                f"{command('run')} or {command('data prepare TASK')}"
            )
        loaded: dict[str, Any] = json.loads(path.read_text())
        return loaded

    @cached_property
    def images(self) -> np.ndarray:
        """Images as a read-only memory map, uint8 ``(N, S, S)``."""
        array: np.ndarray = np.load(self.folder / "pixels.npy", mmap_mode="r")
        return array

    @cached_property
    def masks(self) -> np.ndarray:
        """Masks as a read-only memory map, uint8 in {0, 1}, shaped like ``images``."""
        array: np.ndarray = np.load(self.folder / "masks.npy", mmap_mode="r")
        return array

    @cached_property
    def cases(self) -> pd.DataFrame:
        """The table of cases; ``row`` indexes ``images``."""
        return pd.read_csv(self.folder / "cases.csv", dtype={"case": str, "patient": str, "split": str})

    @cached_property
    def boxes(self) -> pd.DataFrame:
        """Boxes in fractions of the image, top-left corner first."""
        return pd.read_csv(self.folder / "boxes.csv")

    def rows(self, split: str) -> np.ndarray:
        """Return the rows of a split as int64, in the cohort's fixed order."""
        if split not in SPLITS:
            raise ValueError(f'no split "{split}"; expected one of {", ".join(SPLITS)}')
        return self.cases.loc[self.cases["split"] == split, "row"].to_numpy(dtype=np.int64)
