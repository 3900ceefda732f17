"""Phantoms of SIIM-ACR: analytic radiographs as DICOM, crescents of air as run lengths, laid out as the data set.

Two-level folders of UIDs or a flat folder, both CSV dialects, several rows an image, one image with three rows two of
which overlap, one file without a row, one JPEG, one ``MONOCHROME1``, one of 8 times the size. About 22 % are positive.
A crescent has exactly the area that was drawn for it, from a log-normal distribution fitted to the 2,669 real masks
(median 8,400 of 1024² pixels an image, 6,504 a row); it hugs the rib cage from the apex down.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, JsonValue

from harness.late import cv2
from harness.seeding import seed
from harness.spec import Frozen
from tasks.layouts.dicom import library
from tasks.layouts.run_lengths import encode_runs
from tasks.phantoms.elementary import exp
from tasks.phantoms.thorax import APEX, Thorax, draw_builds, smooth_noise

BATCH = 64  # images rendered at once; part of the recipe, for each batch has a generator of its own
POSITIVE = 2_669 / 12_047
LOG_AREA = (-4.827, 1.086)  # mean and deviation of the logarithm of a mask's share of its image, fitted
SMALLEST, LARGEST = 55 / 1024**2, 161_421 / 1024**2
ROWS = {1: 2_045, 2: 447, 3: 112, 4: 40, 5: 18, 6: 3, 7: 1, 8: 2, 10: 1}  # positive images by their rows, counted
OVERLAPPING = 183 / 624  # share of the images with several rows whose rows overlap, counted
LEFT = 0.6  # share of masks on the image's left
UID = "1.2.276.0.7230010.3.1"
MAGNIFIED = 8


class Options(Frozen):
    """How many phantoms, and how they are made.

    Attributes:
        seed: Of everything drawn.
        images: Labelled images; one more has no row.
        file_px: Rows and Columns; the real ones have 1,024.
        stage: 1: ``dicom-images-train/<study>/<series>/`` and ``train-rle.csv``; 2: flat, ``stage_2_train.csv``.
        strength: Contrast of the crescent and its line.
    """

    seed: int = Field(ge=0)
    images: int = Field(ge=20)
    file_px: int = Field(ge=32)
    stage: Literal[1, 2] = 1
    strength: float = Field(default=1.0, gt=0)


def write(folder: Path, options: Mapping[str, object]) -> dict[str, JsonValue]:
    """Write the data set into ``folder``; returns facts for the manifest.

    Raises:
        Unavailable: If the optional package for DICOM is missing.
    """
    chosen = Options.model_validate(dict(options))
    library()
    generator = np.random.Generator(np.random.PCG64(seed(chosen.seed, "siim_acr", "patients")))
    count = chosen.images + 1  # the last has no row
    positive = generator.permutation(count - 1) < round(POSITIVE * (count - 1))
    positive = np.append(positive, True)
    share = np.clip(exp(generator.normal(*LOG_AREA, count)), SMALLEST, LARGEST) * positive
    builds = draw_builds(np.arange(count), generator)
    names = _names(chosen, count, generator)
    rows_of = generator.choice(list(ROWS), count, p=np.array(list(ROWS.values())) / sum(ROWS.values()))
    several, odd = np.flatnonzero(positive)[:2]
    rows_of[several] = 3
    share[several] = max(share[several], math.exp(LOG_AREA[0]))
    odd_ones = {"jpeg": int(odd), "inverted": int(np.flatnonzero(positive)[2]), "large": int(several)}
    lines = ["ImageId, EncodedPixels" if chosen.stage == 1 else "ImageId,EncodedPixels"]
    for start in range(0, count, BATCH):
        rows = np.arange(start, min(start + BATCH, count))
        drawn = np.random.Generator(np.random.PCG64(seed(chosen.seed, "siim_acr", "images", start)))
        thorax = Thorax(builds.take(rows), chosen.file_px, chosen.file_px, drawn)
        masks = _paint(thorax, share[rows], chosen.strength, drawn)
        pictures = thorax.render(drawn)
        for row, picture, mask in zip(rows.tolist(), pictures, masks, strict=True):
            if row == odd_ones["large"]:
                side = MAGNIFIED * chosen.file_px
                picture = cv2.resize(picture, (side, side), interpolation=cv2.INTER_LINEAR)
                mask = np.repeat(np.repeat(mask, MAGNIFIED, 0), MAGNIFIED, 1)
            _write_dicom(folder, chosen, names[row], picture, row, odd_ones)
            if row < count - 1:
                texts = _texts(mask, int(rows_of[row]), row == several, drawn) if positive[row] else ["-1"]
                space = " " if chosen.stage == 1 and row % 2 == 0 else ""
                lines += [f"{names[row]},{space}{text}" for text in texts]
    (folder / ("train-rle.csv" if chosen.stage == 1 else "stage_2_train.csv")).write_text("\n".join(lines) + "\n")
    return {"stamp": "SYNTHETIC: analytic phantoms", "images": count, "patients": count}


def _names(options: Options, count: int, generator: np.random.Generator) -> list[str]:
    numbers = generator.permutation(10 * count)[:count] + 1
    if options.stage == 2:
        return [f"ID_{int(n):09x}" for n in numbers]
    return [f"{UID}.4.8323329.{n}.1517875{100_000 + n}.{n * 7919 % 1_000_000}" for n in numbers.tolist()]


def _paint(thorax: Thorax, share: np.ndarray, strength: float, generator: np.random.Generator) -> np.ndarray:
    """Paint air into the images whose share is above 0; returns the masks, uint8 ``(N, H, W)``.

    The mask is the pixels that lie deepest in a field: near the rib cage and, more or less, near the apex. So its area
    is exact, whatever the patient's shape. Inside, the lung's texture is smoothed away; a fine bright line bounds it.
    """
    height, width = thorax.u.shape[1:]
    masks = np.zeros(thorax.u.shape, np.uint8)
    for row in np.flatnonzero(share):
        side = -1.0 if generator.random() < LEFT else 1.0
        slope = float(exp(generator.normal(-1.15, 0.7)))  # so that heights are spread as those of the real masks
        wobble = smooth_noise((1, height, width), 10, generator)[0]
        wall, v = thorax.wall[row], thorax.v[row]
        inside = (wall > 0.004) & (side * thorax.u[row] > 0.03) & (v < thorax.diaphragm[row])
        field = wall + slope * (v - APEX) + 0.006 * wobble
        field = np.where(inside, field, np.inf)
        wanted = max(1, min(round(float(share[row]) * height * width), int(0.6 * inside.sum())))
        edge = np.partition(field.ravel(), wanted - 1)[wanted - 1]
        mask = field <= edge
        masks[row] = mask
        depth = thorax.depth[row]
        smooth = cv2.GaussianBlur(depth, (0, 0), 0.03 * height)
        soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), max(0.004 * height, 0.4))
        line = exp(-(((np.where(inside, field, 9.0) - edge) / 0.008) ** 2))
        air = smooth - 0.20 * strength
        thorax.depth[row] = depth * (1.0 - soft) + air * soft + 0.08 * strength * line
    return masks


def _texts(mask: np.ndarray, rows: int, overlap: bool, generator: np.random.Generator) -> list[str]:
    """Cut a mask into bands from the top down, one a row; the union of the rows is the mask.

    Under ``overlap``, or by chance, the last row repeats half of the band before the last.
    """
    y = np.flatnonzero(mask.any(axis=1))
    rows = min(rows, len(y))
    repeated = rows > 1 and (overlap or generator.random() < OVERLAPPING)
    cut = np.array_split(y, rows - 1 if repeated and rows > 2 else rows)
    bands = [np.isin(np.arange(len(mask)), part)[:, None] * mask for part in cut]
    if repeated:
        half = np.isin(np.arange(len(mask)), cut[0][len(cut[0]) // 2 :])[:, None] * mask
        bands = [*bands, half] if rows > 2 else [bands[0], np.maximum(bands[1], half)]
    return [encode_runs(band) for band in bands]


def _write_dicom(
    folder: Path, options: Options, name: str, picture: np.ndarray, row: int, odd_ones: Mapping[str, int]
) -> None:
    """Write one 8-bit radiograph: plain, or as a baseline JPEG, or inverted."""
    pydicom = library()
    syntax = pydicom.uid.JPEGBaseline8Bit if row == odd_ones["jpeg"] else pydicom.uid.ExplicitVRLittleEndian
    inverted = row == odd_ones["inverted"]
    uid = name if options.stage == 1 else f"{UID}.4.{row + 1}"
    meta = pydicom.dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID = pydicom.uid.SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = uid
    meta.TransferSyntaxUID = syntax
    data = pydicom.dataset.Dataset()
    data.file_meta = meta
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, uid
    data.StudyInstanceUID, data.SeriesInstanceUID = f"{UID}.2.{row + 1}", f"{UID}.3.{row + 1}"
    data.Modality, data.BodyPartExamined, data.ViewPosition = "CR", "CHEST", "PA"
    data.PatientID, data.PatientName, data.PatientSex, data.PatientAge = f"phantom-{row}", "SYNTHETIC", "O", "050Y"
    data.SamplesPerPixel, data.BitsAllocated, data.BitsStored, data.HighBit = 1, 8, 8, 7
    data.PixelRepresentation = 0
    data.PhotometricInterpretation = "MONOCHROME1" if inverted else "MONOCHROME2"
    data.Rows, data.Columns = picture.shape
    shown = 255 - picture if inverted else picture
    if syntax.is_compressed:
        _, code = cv2.imencode(".jpg", shown, [cv2.IMWRITE_JPEG_QUALITY, 95])
        data.PixelData = pydicom.encaps.encapsulate([code.tobytes()])
    else:
        data.PixelData = shown.tobytes() + b"\0" * (shown.size % 2)
    data["PixelData"].VR = "OB"
    place = folder / "stage_2_images"
    if options.stage == 1:
        place = folder / "dicom-images-train" / data.StudyInstanceUID / data.SeriesInstanceUID
    place.mkdir(parents=True, exist_ok=True)
    data.save_as(place / f"{name}.dcm", enforce_file_format=True)
