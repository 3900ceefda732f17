"""Phantoms of LIDC-IDRI: analytic chests as real DICOM series, nodules outlined by four readers in the true XML.

Instance numbers and file names are shuffled against the slices' places; pixels are signed or unsigned, with the
intercept that goes with each. Readers differ by a jitter of size and place, some overlook a nodule, one nodule has a
cavity and so a hole in its outlines. Besides: nodules below 3 mm as single points, marks that are no nodules, a
patient with two scans, one with a radiograph whose XML has another root, and the list of scans that pretraining saw.
Beside each nodule runs a vessel of its own radius and density, so that no threshold finds the nodule alone.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import numpy as np
from pydantic import Field, JsonValue

from harness.late import cv2
from harness.spec import Frozen
from tasks.datasets.lidc_idri import adapter as layout
from tasks.datasets.lidc_idri.annotations import CT_ROOT, OTHER_ROOT, READERS
from tasks.layouts.volumes import optional
from tasks.phantoms.body import HU, Body
from tasks.phantoms.lungs import (
    BLUR,
    NOISE_HU,
    across,
    direction,
    generator_of,
    make_patient,
    paint_piece,
    place_in_lung,
)

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

RADIUS_MM = (6.0, 12.0)
DENSITY_HU = (30.0, 25.0)
APART_MM = 44.0
JITTER = 0.06  # of a reader's radii, as a share
SHIFT_MM = 0.5  # of a reader's place
MISSED = 0.12  # chance that a reader overlooks a nodule
CAVITY = 0.45  # of the nodule's radii
PRETRAINED = 0.6  # share of scans in the list of pretraining, about 623 of 1,018
NAMESPACE = "http://www.nih.gov"
UID = "2.25"
RATINGS = ("subtlety", "internalStructure", "calcification", "sphericity", "margin", "lobulation")


class Options(Frozen):
    """How many phantoms, and how large.

    Attributes:
        seed: Of everything drawn.
        patients: The second of them has two scans.
        nodules: In each scan.
        voxels: Of the whole chest, 384×256×320 mm.
        slices: How many of its slices are scanned, around the middle of the lungs.
    """

    seed: int = Field(ge=0)
    patients: int = Field(ge=8)
    nodules: int = Field(default=3, ge=1)
    voxels: tuple[int, int, int]
    slices: int = Field(ge=8)


@dataclass(frozen=True)
class Nodule:
    """A painted ellipsoid: middle and radii in millimetres, radii of its cavity or None, and how bad it looks."""

    middle: np.ndarray
    radii: np.ndarray
    cavity: np.ndarray | None
    malignancy: int


def write(folder: Path, options: Mapping[str, object]) -> dict[str, JsonValue]:
    """Write the data set into ``folder/LIDC-IDRI``; returns facts for the manifest.

    Raises:
        Unavailable: If the optional package for DICOM is missing.
    """
    chosen = Options.model_validate(dict(options))
    optional("pydicom", "pydicom", "DICOM files")
    drawn = generator_of(chosen.seed, "lidc_idri", "patients")
    known = {int(name[-4:]) for name in layout.UNEVEN}
    free = np.array([n for n in range(1, max(1011, 3 * chosen.patients)) if n not in known])
    numbers = np.sort(drawn.permutation(free)[: chosen.patients])
    scans = [(row, int(number)) for row, number in enumerate(numbers)]
    scans.insert(2, scans[1])  # the patient with two scans
    uids = []
    count = 0
    for row, (patient, number) in enumerate(scans):
        body, generator = make_patient(chosen.seed, "lidc_idri", row, chosen.voxels)
        nodules = paint(body, chosen, generator)
        if row == 0:
            nodules[0] = hollow(body, nodules[0])
        count += len(nodules)
        first = (chosen.voxels[2] - chosen.slices) // 2
        scan = body.finish(NOISE_HU, BLUR, generator)[:, :, first : first + chosen.slices]
        affine = body.affine.copy()
        affine[2, 3] += first * body.spacing[2]
        name = f"LIDC-IDRI-{number:04d}"
        study = folder / "LIDC-IDRI" / name / f"01-01-2000-NA-NA-{10_000 + row}"
        uid = f"{UID}.{10**12 + 7919 * (row + 1)}"
        uids.append(uid)
        series = study / f"{3_000_000 + row}.000000-NA-{row:05d}"
        images = write_series(series, scan, affine, name, uid, signed=row % 2 == 0, generator=generator)
        message = read_by_four(nodules, scan.shape, affine, uid, images, generator)
        _write_xml(series / f"{row + 1:03d}.xml", message)
        if patient == 3:
            write_radiograph(study / f"{4_000_000 + row}.000000-NA-{row:05d}", scan, name, uid)
    seen = sorted(uid for uid in uids if drawn.random() < PRETRAINED)
    (folder / layout.PRETRAINING_LIST).write_text("\n".join(seen) + "\n")
    return {"stamp": "SYNTHETIC: analytic phantoms", "images": count, "patients": chosen.patients}


def paint(body: Body, options: Options, generator: np.random.Generator) -> list[Nodule]:
    """Paint nodules with a vessel beside each, where the scanned slices hold them whole."""
    half = options.slices * float(body.spacing[2]) / 2
    middle = float(body.affine[2, 3] + body.spacing[2] * (body.hu.shape[2] - 1) / 2)
    slab = np.abs(body.millimetres()[2] - middle) < half - 2 * RADIUS_MM[1]
    scanned = copy.copy(body)
    scanned.organs = {**body.organs, "lungs": body.organs["lungs"] & slab}
    taken: list[np.ndarray] = []
    nodules = []
    for _ in range(options.nodules):
        point = place_in_lung(scanned, 10.0, taken, APART_MM, generator)
        radius, density, heading = generator.uniform(*RADIUS_MM), generator.normal(*DENSITY_HU), direction(generator)
        beside = point + across(heading, generator) * (2 * radius + generator.uniform(2.0, 5.0))
        paint_piece(body, beside, heading, 0.8 * radius, density, generator)
        radii = radius * generator.uniform(0.85, 1.15, 3)
        body.paint_ellipsoid(point, radii, density)
        nodules.append(Nodule(point, radii, None, int(np.clip(round(radius - 5.0 + generator.normal()), 1, 5))))
    return nodules


def hollow(body: Body, nodule: Nodule) -> Nodule:
    """Give a nodule a cavity of lung."""
    cavity = CAVITY * nodule.radii
    body.paint_ellipsoid(nodule.middle, cavity, HU["lung"])
    return Nodule(nodule.middle, nodule.radii, cavity, nodule.malignancy)


def write_series(
    folder: Path,
    scan: np.ndarray,
    affine: np.ndarray,
    patient: str,
    uid: str,
    *,
    signed: bool,
    generator: np.random.Generator,
) -> list[str]:
    """Write a CT series as DICOM, file names and instance numbers shuffled against the slices' places.

    Args:
        folder: Of the series.
        scan: int16 HU ``(X, Y, Z)``, canonical.
        affine: Index → LPS millimetres, diagonal.
        patient: ``PatientID``.
        uid: ``SeriesInstanceUID``.
        signed: PixelRepresentation 1 with intercept 0, or 0 with intercept −1024; a padding of less becomes −1024.
        generator: Source of the shuffle.

    Returns:
        ``SOPInstanceUID`` of each slice, feet first.
    """
    folder.mkdir(parents=True)
    spacing = np.diag(affine)[:3]
    order = generator.permutation(scan.shape[2])
    names = []
    for z in range(scan.shape[2]):
        data = _dataset(uid, f"{uid[:60]}.{z + 1}", "CT", patient)  # a UID has at most 64 characters
        data.ImagePositionPatient = [f"{v:.8g}" for v in (*affine[:2, 3], affine[2, 3] + z * spacing[2])]
        data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        data.PixelSpacing = [f"{spacing[1]:.8g}", f"{spacing[0]:.8g}"]  # between rows, then between columns
        data.SliceThickness = f"{spacing[2]:.8g}"
        data.InstanceNumber = int(order[z]) + 1
        data.RescaleSlope, data.RescaleIntercept = 1, 0 if signed else -1024
        pixels = np.ascontiguousarray(scan[:, :, z].T).astype(np.int32)
        stored = pixels.astype("<i2") if signed else np.clip(pixels + 1024, 0, 4095).astype("<u2")
        _set_pixels(data, stored, signed)
        data.save_as(folder / f"1-{order[z] + 1:03d}.dcm", enforce_file_format=True)
        names.append(data.SOPInstanceUID)
    return names


def write_radiograph(folder: Path, scan: np.ndarray, patient: str, uid: str) -> None:
    """Write a radiograph beside the CT, with an XML file of the collection's other kind."""
    folder.mkdir(parents=True)
    data = _dataset(f"{uid}.9", f"{uid}.9.1", "DX", patient)
    shown = scan.astype(np.float32).mean(axis=1)[:, ::-1].T
    _set_pixels(data, np.ascontiguousarray(np.clip(shown + 1024, 0, 4095)).astype("<u2"), False)
    data.save_as(folder / "1-001.dcm", enforce_file_format=True)
    root = ElementTree.Element(OTHER_ROOT, {"xmlns": NAMESPACE})
    ElementTree.SubElement(ElementTree.SubElement(root, "ResponseHeader"), "SeriesInstanceUID").text = f"{uid}.9"
    _write_xml(folder / "000.xml", root)


def read_by_four(
    nodules: list[Nodule],
    shape: tuple[int, ...],
    affine: np.ndarray,
    uid: str,
    images: list[str],
    generator: np.random.Generator,
) -> ElementTree.Element:
    """Return what four readers write of a scan."""
    root = ElementTree.Element(CT_ROOT, {"uid": f"{uid}.8", "xmlns": NAMESPACE})
    header = ElementTree.SubElement(root, "ResponseHeader")
    for name, text in (("Version", "1.7"), ("SeriesInstanceUid", uid), ("StudyInstanceUID", f"{uid}.7")):
        ElementTree.SubElement(header, name).text = text
    small = [int(generator.integers(n // 4, 3 * n // 4)) for n in shape]
    for reader in range(READERS):
        session = ElementTree.SubElement(root, "readingSession")
        ElementTree.SubElement(session, "servicingRadiologistID").text = "anonymous"
        for number, nodule in enumerate(nodules):
            if generator.random() < MISSED:
                continue
            found = ElementTree.SubElement(session, "unblindedReadNodule")
            ElementTree.SubElement(found, "noduleID").text = f"{reader * 100 + number}"
            rated = ElementTree.SubElement(found, "characteristics")
            for name in RATINGS:
                ElementTree.SubElement(rated, name).text = str(int(generator.integers(1, 6)))
            malignancy = int(np.clip(nodule.malignancy + generator.integers(-1, 2), 1, 5))
            ElementTree.SubElement(rated, "malignancy").text = str(malignancy)
            radii = nodule.radii * (1.0 + JITTER * generator.standard_normal(3))
            middle = nodule.middle + SHIFT_MM * generator.standard_normal(3)
            inside = ellipsoid(middle, radii, shape, affine)
            outer = [(chain, "TRUE") for chain in chains(inside)]
            holes = []
            if nodule.cavity is not None:
                cut = ellipsoid(middle, nodule.cavity * radii / nodule.radii, shape, affine)
                holes = [(chain, "FALSE") for chain in chains(cut)]
            for (z, points), inclusion in [*outer, *holes]:
                _outline(found, points, affine[2, 3] + z * affine[2, 2], images[z], inclusion)
        if reader < 2:
            point = ElementTree.SubElement(session, "unblindedReadNodule")
            ElementTree.SubElement(point, "noduleID").text = f"small {reader}"
            height = affine[2, 3] + small[2] * affine[2, 2]
            _outline(point, np.array([small[:2]]), height, images[small[2]], "TRUE")
        other = ElementTree.SubElement(session, "nonNodule")
        ElementTree.SubElement(other, "nonNoduleID").text = f"{9000 + reader}"
        ElementTree.SubElement(other, "imageZposition").text = f"{affine[2, 3]:.6g}"
        ElementTree.SubElement(other, "imageSOP_UID").text = images[0]
        locus = ElementTree.SubElement(other, "locus")
        ElementTree.SubElement(locus, "xCoord").text, ElementTree.SubElement(locus, "yCoord").text = "3", "4"
    return root


def ellipsoid(middle: np.ndarray, radii: np.ndarray, shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
    """Return the voxels whose middles lie in an ellipsoid, bool ``(X, Y, Z)``."""
    away = np.zeros(shape, np.float32)
    for axis in range(3):
        line = (affine[axis, 3] + affine[axis, axis] * np.arange(shape[axis]) - middle[axis]) / radii[axis]
        away += (line.astype(np.float32) ** 2).reshape([-1 if i == axis else 1 for i in range(3)])
    return away < 1.0


def chains(inside: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """Return (slice, chain of (column, row)) just outside a region, as readers mark it.

    Args:
        inside: bool ``(X, Y, Z)``.
    """
    cross = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)
    found = []
    for z in np.flatnonzero(inside.any(axis=(0, 1))):
        grown = cv2.dilate(np.ascontiguousarray(inside[:, :, z].T).astype(np.uint8), cross)
        contours, _ = cv2.findContours(grown, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        found += [(int(z), contour[:, 0, :]) for contour in contours]
    return found


def _outline(parent: ElementTree.Element, points: np.ndarray, z: float, image: str, inclusion: str) -> None:
    roi = ElementTree.SubElement(parent, "roi")
    ElementTree.SubElement(roi, "imageZposition").text = f"{z:.6g}"
    ElementTree.SubElement(roi, "imageSOP_UID").text = image
    ElementTree.SubElement(roi, "inclusion").text = inclusion
    for x, y in points.tolist():
        edge = ElementTree.SubElement(roi, "edgeMap")
        ElementTree.SubElement(edge, "xCoord").text, ElementTree.SubElement(edge, "yCoord").text = str(x), str(y)


def _write_xml(path: Path, root: ElementTree.Element) -> None:
    ElementTree.ElementTree(root).write(path, encoding="UTF-8", xml_declaration=True)


def _dataset(series: str, image: str, modality: str, patient: str) -> Dataset:
    pydicom = optional("pydicom", "pydicom", "DICOM files")
    meta = pydicom.dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
    meta.MediaStorageSOPInstanceUID = image
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    data = pydicom.dataset.Dataset()
    data.file_meta = meta
    data.SOPClassUID, data.SOPInstanceUID, data.SeriesInstanceUID = meta.MediaStorageSOPClassUID, image, series
    data.Modality, data.PatientID, data.PatientName = modality, patient, "SYNTHETIC"
    return data


def _set_pixels(data: Dataset, stored: np.ndarray, signed: bool) -> None:
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, 16 if signed else 12, 15 if signed else 11
    data.PixelRepresentation = int(signed)
    data.Rows, data.Columns = stored.shape
    data.PixelData = stored.tobytes()
