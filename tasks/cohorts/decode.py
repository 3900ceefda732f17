"""Decode a cohort once: square grey images, masks and boxes in the format of ``harness.pixels``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from harness.errors import DataError
from harness.whole_files import write_whole
from tasks.cohorts.filling import Array, Filling, Unit, fill
from tasks.layouts.dicom import read_dicom
from tasks.layouts.images import image_size, read_binary, read_grey
from tasks.layouts.index import Index, boxes_of
from tasks.layouts.run_lengths import decode_runs
from tasks.options import Resize

PIXELS, MASKS = "pixels.npy", "masks.npy"


def to_square(image: np.ndarray, side: int, resize: Resize) -> np.ndarray:
    """Resize uint8 ``(h, w)`` to ``(side, side)``, the aspect not kept, as all of the field's loaders do.

    ``area`` averages when it reduces and interpolates linearly when it enlarges; ``nearest`` reads
    the pixel at ⌊i · h / side⌋, as the authors' segmentation loader does to image and mask alike. That is OpenCV's
    INTER_NEAREST: the upper left of what a pixel covers. INTER_NEAREST_EXACT and PIL read its middle, at a reduction of
    20 about 10 pixels away.
    """
    if image.shape == (side, side):
        return image
    averaged = cv2.INTER_AREA if min(image.shape) >= side else cv2.INTER_LINEAR
    how = cv2.INTER_NEAREST if resize == "nearest" else averaged
    resized: np.ndarray = cv2.resize(image, (side, side), interpolation=how)
    return resized


def read_image(root: Path, name: str, index: Index) -> np.ndarray:
    """Return an image of a data set as uint8 grey ``(h, w)``.

    Raises:
        DataError: If it cannot be read.
    """
    if index.reader is not None:
        return index.reader(name)
    path = root / name
    return read_dicom(path) if name.lower().endswith(".dcm") else read_grey(path, index.white)


def read_mask(root: Path, parts: tuple[str, ...], shape: tuple[int, int], side: int, resize: Resize) -> np.ndarray:
    """Return the union of mask files, uint8 in {0, 1} ``(side, side)``.

    A pixel of a reduced mask is foreground if at least half of what it covers is.

    Raises:
        DataError: If a mask is not of the image's shape, or no mask.
    """
    union = np.zeros(shape, np.uint8)
    for part in parts:
        mask = read_binary(root / part)
        if mask.shape != shape:
            raise DataError(f"{root / part} is {mask.shape}; expected the shape of its image, {shape}")
        union |= mask
    return (to_square(union * 255, side, resize) >= 128).astype(np.uint8)


def read_runs(case: str, texts: tuple[str, ...], shape: tuple[int, int], side: int, resize: Resize) -> np.ndarray:
    """Return the union of run lengths, uint8 in {0, 1} ``(side, side)``; reduced as ``read_mask`` does.

    Raises:
        DataError: If runs are malformed or end beyond the image.
    """
    union = np.zeros(shape, np.uint8)
    for text in texts:
        union |= decode_runs(text, shape, case)
    return (to_square(union * 255, side, resize) >= 128).astype(np.uint8)


def write_pixels(how: Filling, root: Path, index: Index, side: int, resize: Resize) -> None:
    """Write ``pixels.npy``, ``cases.csv`` and, where there are any, ``masks.npy`` and ``boxes.csv``.

    Args:
        how: The cohort's folder, the processes, what hears about progress; the result does not depend on it.
        root: The data set's folder.
        index: Its cases, in the order of the rows.
        side: Side of the cached images.
        resize: How images and masks become that size.

    Raises:
        DataError: For a file that cannot be decoded.
    """
    count = len(index.cases)
    names, paths = index.cases["case"].tolist(), index.cases["image"].tolist()
    arrays = {PIXELS: Array(np.uint8, (count, side, side))}
    if index.masks or index.runs is not None:
        arrays[MASKS] = Array(np.uint8, (count, side, side))

    def decode(row: int, into: Mapping[str, np.ndarray]) -> None:
        image = read_image(root, paths[row], index)
        into[PIXELS][row] = to_square(image, side, resize)
        if index.runs is not None:
            into[MASKS][row] = read_runs(names[row], index.runs[names[row]], image.shape, side, resize)
        elif index.masks:
            into[MASKS][row] = read_mask(root, index.masks[names[row]], image.shape, side, resize)

    units = [Unit((row,), (root / paths[row], *_mask_files(root, index, names[row]))) for row in range(count)]
    fill(how, arrays, units, decode, "decoding")
    table = index.cases.drop(columns="image")
    table.insert(0, "row", np.arange(count))
    write_table(table, how.folder / "cases.csv")
    if index.boxes is not None:
        write_table(_fractions(root, index, index.boxes), how.folder / "boxes.csv")


def _mask_files(root: Path, index: Index, name: str) -> tuple[Path, ...]:
    return tuple(root / part for part in index.masks.get(name, ()))


def _fractions(root: Path, index: Index, boxes: pd.DataFrame) -> pd.DataFrame:
    """Boxes in fractions of their image: ``row, label, x, y, width, height``."""
    rows = dict(zip(index.cases["case"], range(len(index.cases)), strict=True))
    paths = dict(zip(index.cases["case"], index.cases["image"], strict=True))
    table = []
    for box in boxes_of(boxes):
        width, height = index.box_frame or image_size(root / paths[box.case])
        values = (box.x / width, box.y / height, box.width / width, box.height / height)
        table.append([rows[box.case], box.label, *values])
    return pd.DataFrame(table, columns=["row", "label", "x", "y", "width", "height"])


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a CSV, whole or not at all."""
    write_whole(path, table.to_csv(index=False, lineterminator="\n").encode(), durable=False)
