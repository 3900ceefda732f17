"""How the 1,000 images of task ``chestxray14_sample`` were divided: the committed lists, and what remakes them.

``python -m tasks.sample_lists ROOT FOLDER`` reads the label and box files of a ChestX-ray14 root and writes
``train.txt``, ``validation.txt`` and ``test.txt``. ``tasks/lists/chestxray14_sample`` holds what it writes for the
sample of ``dira-bench data fetch radiographs``. No pixel and no result has a part in it.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pandas as pd

from harness.errors import DataError
from harness.pixels import SPLITS
from tasks.datasets.chestxray14.adapter import Layout, read_boxes

SEED = 2022
WANTED = {"test": 150, "validation": 50}  # images with the finding, and as many without any
FINDING = "Pneumonia"


def divide(cases: pd.DataFrame, boxed: set[str], wanted: dict[str, int], seed: int) -> dict[str, list[str]]:
    """Divide images by patient into test, validation and train.

    Patients are those with an image of the finding, and the others. In each group they stand in the order of a hash of
    their names, patients with boxes first. One after another goes to test until the group has as many images there as
    are wanted, then to validation, then to train; a patient with a box always goes to test.

    Args:
        cases: ``case``, ``patient`` and a 0/1 column ``Pneumonia``, one row an image.
        boxed: Patients who have an image with a box.
        wanted: Split → images of each group.
        seed: Changes the order.

    Returns:
        Split → names of images, sorted.
    """
    images = cases.groupby("patient")["case"].agg(list)
    ill = set(cases.loc[cases[FINDING] == 1, "patient"])
    parts: dict[str, list[str]] = {part: [] for part in SPLITS}
    for group in (ill, set(images.index) - ill):
        filled = dict.fromkeys(wanted, 0)
        for patient in sorted(group, key=lambda p: (p not in boxed, hashlib.sha256(f"{seed}/{p}".encode()).digest())):
            open_ = (part for part in wanted if filled[part] < wanted[part])
            part = "test" if patient in boxed else next(open_, "train")
            parts[part] += images[patient]
            if part in filled:
                filled[part] += len(images[patient])
    return {part: sorted(names) for part, names in parts.items()}


def of_root(root: Path) -> dict[str, list[str]]:
    """Return the lists for a ChestX-ray14 root.

    Raises:
        DataError: If it has no box file.
    """
    layout = Layout.of(root)
    if layout.boxes is None:
        raise DataError(f"no box file below {root}; expected BBox_List_2017.csv beside the label file; fetch it")
    cases = layout.cases()
    cases = cases[cases["case"].isin(layout.images.paths.keys())]
    with_box = set(read_boxes(root / layout.boxes)["case"])
    return divide(cases, set(cases.loc[cases["case"].isin(with_box), "patient"]), WANTED, SEED)


def main(root: Path, folder: Path) -> None:
    """Write the lists of a root."""
    folder.mkdir(parents=True, exist_ok=True)
    for part, names in of_root(root).items():
        (folder / f"{part}.txt").write_text("".join(f"{name}\n" for name in names))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
