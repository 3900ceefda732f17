"""Data roots of full size that take nearly no disk: every name and row, over hard links to a few pictures or scans.

SYNTHETIC: the pictures are noise over smooth shapes, the labels are drawn. Only how many there are is true.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from bench.pictures import pictures, write_png
from tasks.datasets.chestxray14.adapter import BOX_FILE, LABEL_FILES, NO_FINDING, TEST_LIST, TRAIN_VALIDATION_LIST
from tasks.datasets.chestxray14.adapter import LABELS as FINDINGS
from tasks.datasets.chexpert.adapter import HEADER
from tasks.datasets.luna16.adapter import ANNOTATIONS, COLUMNS

FEW = 32
IMAGES = 112_120  # of ChestX-ray14
SCAN = (64, 64, 32)  # voxels of a scan, x, y, z


def chestxray14(root: Path, images: int = IMAGES, px: int = 1024) -> None:
    """Write ChestX-ray14: 30,805 patients and 25,596 test images of 112,120, 1024 px grey PNGs in twelve folders."""
    generator = np.random.Generator(np.random.PCG64(1))
    patient = _patients(generator, images, max(2, round(images * 30_805 / 112_120)))
    order = pd.Series(patient).groupby(patient).cumcount().to_numpy()
    names = [f"{p + 1:08d}_{n:03d}.png" for p, n in zip(patient, order, strict=True)]
    few = _few(root, lambda folder: write_png(pictures(FEW, px), folder))
    for number in range(12):
        (root / f"images_{number + 1:03d}" / "images").mkdir(parents=True)
    for row, name in enumerate(names):
        os.link(few[row % len(few)], root / f"images_{row * 12 // images + 1:03d}" / "images" / name)
    drawn = generator.integers(0, 2 * len(FINDINGS), images)
    labels = [FINDINGS[n] if n < len(FINDINGS) else NO_FINDING for n in drawn]
    sex = np.where(patient % 2, "M", "F")
    table = {"Image Index": names, "Finding Labels": labels, "Patient ID": patient + 1, "Patient Sex": sex}
    pd.DataFrame(table).to_csv(root / LABEL_FILES[0], index=False)
    tested = patient >= np.quantile(patient, 1 - 25_596 / 112_120)
    (root / TEST_LIST).write_text("".join(f"{name}\n" for name, test in zip(names, tested, strict=True) if test))
    rest = "".join(f"{name}\n" for name, test in zip(names, tested, strict=True) if not test)
    (root / TRAIN_VALIDATION_LIST).write_text(rest)
    boxed = [row for row in np.flatnonzero(tested) if labels[row] != NO_FINDING][:984]
    box = [px // 8, px // 8, px // 4, px // 5]
    boxes = pd.DataFrame([[names[row], labels[row], *box] for row in boxed])
    boxes.to_csv(root / BOX_FILE, index=False, header=["Image Index", "Finding Label", "Bbox [x", "y", "w", "h]"])


def chexpert(root: Path, images: int = 223_414) -> None:
    """Write CheXpert (small): 223,414 training and 234 test images, grey JPEGs of 390 × 320 px."""
    generator = np.random.Generator(np.random.PCG64(2))
    few = _few(root, _jpegs)
    columns = [*HEADER[5:]]
    for part, count, patients in (("train", images, round(images * 64_540 / 223_414)), ("valid", 234, 200)):
        patient = _patients(generator, count, patients) + (1 if part == "train" else 64_541)
        order = pd.Series(patient).groupby(patient).cumcount().to_numpy()
        frontal = generator.random(count) < 0.855
        paths = [
            f"CheXpert-v1.0-small/{part}/patient{p:05d}/study{n + 1}/view1_{'frontal' if f else 'lateral'}.jpg"
            for p, n, f in zip(patient, order, frontal, strict=True)
        ]
        for row, path in enumerate(paths):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            os.link(few[row % len(few)], root / path)
        cells = generator.choice(["", "1.0", "0.0", "-1.0"], (count, len(columns)), p=[0.6, 0.2, 0.1, 0.1])
        if part == "valid":
            cells = generator.choice(["1.0", "0.0"], cells.shape)
        table = pd.DataFrame(cells, columns=columns)
        view = np.where(frontal, "Frontal", "Lateral")
        for place, (name, values) in enumerate(
            {"Path": paths, "Sex": "Female", "Age": 60, "Frontal/Lateral": view, "AP/PA": "AP"}.items()
        ):
            table.insert(place, name, values)
        table.to_csv(root / "CheXpert-v1.0-small" / f"{part}.csv", index=False)


def luna16(root: Path, candidates: int = 754_975) -> None:
    """Write LUNA16: 888 scans of 64 × 64 × 32 voxels in ten subsets, 754,975 candidates, 1,557 of them nodules."""
    generator = np.random.Generator(np.random.PCG64(3))
    few = _few(root, _raws)
    uids = [f"1.3.6.1.4.1.14519.5.2.1.6279.6001.{10**29 + 7**30 * (n + 1)}" for n in range(888)]
    for number, uid in enumerate(uids):
        folder = root / f"subset{number * 10 // len(uids)}"
        folder.mkdir(exist_ok=True)
        (folder / f"{uid}.mhd").write_text(_header(f"{uid}.raw"))
        os.link(few[number % len(few)], folder / f"{uid}.raw")
    table = pd.DataFrame(generator.uniform(2, 30, (candidates, 3)).round(3), columns=[*COLUMNS[1:4]])
    table.insert(0, COLUMNS[0], np.array(uids)[np.sort(generator.integers(0, len(uids), candidates))])
    table[COLUMNS[4]] = 0
    positive = generator.choice(candidates, min(1_557, candidates), replace=False)
    table.loc[positive, COLUMNS[4]] = 1
    for name in ("candidates.csv", "candidates_V2.csv"):
        table.to_csv(root / name, index=False)
    nodules = table.loc[positive, [*COLUMNS[:4]]].assign(diameter_mm=8.0)
    nodules.to_csv(root / ANNOTATIONS, index=False)


ROOTS: Mapping[str, Callable[..., None]] = {"chestxray14": chestxray14, "chexpert": chexpert, "luna16": luna16}


def _patients(generator: np.random.Generator, images: int, patients: int) -> np.ndarray:
    """Give each image a patient, each patient at least one; sorted."""
    more = generator.integers(0, patients, images - patients)
    return np.sort(np.concatenate([np.arange(patients), more]))


def _few(root: Path, write: Callable[[Path], list[Path]]) -> list[Path]:
    """Write the files that all names are links to, in a hidden folder, which adapters leave alone."""
    folder = root / ".few"
    folder.mkdir(parents=True)
    return write(folder)


def _jpegs(folder: Path) -> list[Path]:
    paths = [folder / f"{row}.jpg" for row in range(FEW)]
    for path, image in zip(paths, pictures(FEW, 390), strict=True):
        path.write_bytes(cv2.imencode(".jpg", image[:320])[1].tobytes())
    return paths


def _raws(folder: Path) -> list[Path]:
    generator, paths = np.random.Generator(np.random.PCG64(4)), [folder / f"{row}.raw" for row in range(FEW)]
    for path in paths:
        stored = io.BytesIO()
        stored.write(generator.integers(-1000, 400, SCAN[::-1]).astype("<i2").tobytes())
        path.write_bytes(stored.getvalue())
    return paths


def _header(data: str) -> str:
    lines = {
        "ObjectType": "Image",
        "NDims": 3,
        "BinaryData": True,
        "BinaryDataByteOrderMSB": False,
        "CompressedData": False,
        "TransformMatrix": "1 0 0 0 1 0 0 0 1",
        "Offset": "0 0 0",
        "ElementSpacing": "1 1 1",
        "DimSize": " ".join(map(str, SCAN)),
        "ElementType": "MET_SHORT",
        "ElementDataFile": data,
    }
    return "".join(f"{key} = {value}\n" for key, value in lines.items())
