"""Reading one CT series of DICOM slices: sorted by place along their normal, checked to be a box, rescale tags applied.

File names and instance numbers are not believed. Slices are of one series, size, spacing and orientation; their
positions lie on one line along their normal (a gantry that was tilted shears the volume, and voxels on a square grid
would lie elsewhere than the header says) and are evenly spaced.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.errors import DataError
from tasks.layouts.dicom import decode, rescale
from tasks.layouts.space import dot, length, transformed
from tasks.layouts.volumes import ORTHONORMAL_TOLERANCE, Volume, optional, oriented, short

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

SPACING_TOLERANCE = 0.01  # share of the usual distance by which two slices may be nearer or farther
ONE_PLACE_MM = 0.01  # slices nearer than this lie at one place
LINE_MM = 0.1  # how far a slice may lie beside the line along the normal, whatever the length of the series


@dataclass(frozen=True)
class Place:
    """Where a slice lies, as its header says.

    Attributes:
        name: Path of the file, for messages.
        series: Its series instance UID.
        position: Middle of the first pixel, LPS millimetres ``(3,)``.
        turn: Directions along a row and along a column, ``(6,)``.
        between: Millimetres between rows, then between columns, ``(2,)``.
        size: Rows and columns.
        number: Instance number; the largest integer where there is none.
    """

    name: str
    series: str
    position: np.ndarray
    turn: np.ndarray
    between: np.ndarray
    size: tuple[int, int]
    number: int

    @property
    def normal(self) -> np.ndarray:
        """Direction from slice to slice, ``(3,)``."""
        return np.cross(self.turn[:3], self.turn[3:])


def place_of(header: Dataset, name: str) -> Place:
    """Return where a slice lies.

    Raises:
        DataError: If a tag that says so is absent, empty or makes no sense.
    """
    position, turn, between = (
        _numbers(header, tag, count, name)
        for tag, count in (("ImagePositionPatient", 3), ("ImageOrientationPatient", 6), ("PixelSpacing", 2))
    )
    square = transformed(turn.reshape(2, 3), turn.reshape(2, 3))
    if not np.allclose(square, np.eye(2), atol=ORTHONORMAL_TOLERANCE):
        raise DataError(f"{name} has an ImageOrientationPatient that is no rotation; expected two directions; fetch it")
    if not (between > 0).all():
        raise DataError(f"{name} has the PixelSpacing {between.tolist()}; expected lengths above 0; fetch it again")
    size = (int(header.get("Rows") or 0), int(header.get("Columns") or 0))
    uid = str(header.get("SeriesInstanceUID") or "")
    return Place(name, uid, position, turn, between, size, instance_number(header))


def order_places(places: Sequence[Place], folder: str) -> tuple[list[int], list[int]]:
    """Sort the slices of a series along their normal and keep one at each place.

    Args:
        places: In any order.
        folder: Names the series in an error.

    Returns:
        Positions of the slices that are kept, from the lowest along the normal, and of those left out: see
        ``first_of_each_place``.

    Raises:
        DataError: If they are no series: of another series, size, spacing or orientation, off the line, one place.
    """
    if len(places) < 2:
        raise DataError(f"{folder} has {len(places)} slices; expected a series of at least two; fetch it again")
    first = places[0]
    for other in places[1:]:
        _expect_alike(other, first)
    heights = np.array([dot(place.position, first.normal) for place in places])
    kept, left_out = first_of_each_place(
        [(float(height), place.number, place.name) for height, place in zip(heights, places, strict=True)]
    )
    if len(kept) < 2:
        raise DataError(f"{folder} has slices at one place alone; expected a series; fetch it again")
    lowest = places[kept[0]]
    for place, height in zip(places, heights, strict=True):
        aside = place.position - lowest.position - (height - heights[kept[0]]) * first.normal
        if length(aside) > LINE_MM:
            raise DataError(
                f"{place.name} lies {length(aside):.3g} mm beside the line along the slices' normal (a tilted "
                f"gantry or a moved slice); expected at most {LINE_MM:g} mm; resample the series to an upright grid, "
                "or leave it out"
            )
    return kept, left_out


def _expect_alike(place: Place, first: Place) -> None:
    if place.series != first.series:
        raise DataError(f"{place.name} is of series {place.series}, {first.name} of {first.series}; expected one")
    same = np.allclose(place.turn, first.turn, atol=1e-4) and np.allclose(place.between, first.between, rtol=1e-4)
    if not same or place.size != first.size:
        raise DataError(f"{place.name} has another shape, spacing or orientation than {first.name}; expected one")


def uneven(heights: Sequence[float], names: Sequence[str]) -> str:
    """Return one sentence about the first gap in a series; empty if there is none.

    Args:
        heights: Millimetres along the normal, rising.
        names: Paths of the slices.
    """
    gaps = np.diff(heights)
    usual = float(np.median(gaps))
    for at, gap in enumerate(gaps):
        if abs(gap - usual) > SPACING_TOLERANCE * usual:
            upper = names[at + 1].rsplit("/", 1)[-1]
            kind = "a slice is missing" if abs(gap / usual - round(gap / usual)) < 0.02 else "the spacing is irregular"
            return f"{kind} between {names[at]} and {upper}: {gap:g} mm, others {usual:g} mm"
    return ""


def read_series(files: Iterable[Path]) -> tuple[Volume, list[Dataset]]:
    """Read one CT series.

    Args:
        files: The slices, in any order. Where several lie at one place, one is kept: see ``first_of_each_place``.

    Returns:
        The volume, int16 or float32 in Hounsfield units, and the headers of the slices (pydicom data sets without
        pixels), in the order of its last axis.

    Raises:
        DataError: For a truncated or foreign file, a gap, a tilt, or slices that differ.
    """
    pydicom = optional("pydicom", "pydicom", "DICOM files")
    headers, places = [], []
    for path in sorted(files):
        try:
            headers.append(pydicom.dcmread(path))
        except Exception as error:
            raise DataError(
                f"{path} cannot be read as a CT slice ({short(error)}); expected a whole file; fetch it"
            ) from None
        places.append(place_of(headers[-1], str(path)))
    folder = str(Path(places[0].name).parent) if places else "the folder"
    kept, _ = order_places(places, folder)
    headers, places = [headers[i] for i in kept], [places[i] for i in kept]
    normal = places[0].normal
    heights = [float(dot(place.position, normal)) for place in places]
    gap = uneven(heights, [place.name for place in places])
    if gap:
        raise DataError(f"{gap}; expected an even series without a missing slice; fetch it")
    # columns run along x, rows along y
    voxels = np.stack([hounsfield(header, p.name).T for header, p in zip(headers, places, strict=True)], axis=2)
    if np.array_equal(voxels, np.rint(voxels)) and np.abs(voxels).max() < 2**15:
        voxels = voxels.astype(np.int16)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = places[0].turn[:3] * places[0].between[1], places[0].turn[3:] * places[0].between[0]
    affine[:3, 2] = normal * (heights[-1] - heights[0]) / (len(places) - 1)
    affine[:3, 3] = places[0].position
    volume = oriented(voxels, affine, Path(folder))
    for header in headers:
        del header.PixelData
    # the last axis runs towards the head, whichever way the normal points
    along = int(np.abs(normal).argmax())
    return volume, headers if normal[along] > 0 else headers[::-1]


def hounsfield(header: Dataset, name: str) -> np.ndarray:
    """Return a slice in Hounsfield units, float32 ``(rows, columns)``.

    Raises:
        DataError: If its pixels are damaged, or a rescale tag is absent, empty or no number: a CT must have both.
        Unavailable: If no decoder for its pixels is installed.
    """
    for tag in ("RescaleSlope", "RescaleIntercept"):
        if tag not in header:
            raise DataError(f"{name} has no {tag}; expected one, which makes Hounsfield units of a CT; fetch it again")
    slope, shift = rescale(Path(name), header)
    stored = decode(Path(name), header)
    if stored.ndim != 2:
        raise DataError(f"{name} holds pixels of shape {stored.shape}; expected one grey slice; fetch it again")
    return stored * np.float32(slope) + np.float32(shift)


def _numbers(header: Dataset, tag: str, count: int, name: str) -> np.ndarray:
    """Return the finite numbers of a tag, ``(count,)``."""
    try:
        value = header.get(tag)
        found = np.atleast_1d(np.asarray([] if value is None else value, float))
    except (TypeError, ValueError):  # the library converts when it is asked
        found = np.empty(0)
    if found.shape != (count,) or not np.isfinite(found).all():
        what = "no" if tag not in header else "an empty" if not str(header.get(tag) or "") else "an unreadable"
        raise DataError(f"{name} has {what} {tag}; expected {count} numbers; fetch it again")
    return found


def first_of_each_place(slices: Sequence[tuple[float, int, str]]) -> tuple[list[int], list[int]]:
    """Order slices by their height and keep one of those that lie at one place: the lowest instance number.

    Some scans of LIDC-IDRI hold a slice several times; the collection's public reader keeps the same one (pylidc,
    ``Scan.load_all_dicom_images``, version 0.2.3).

    Args:
        slices: Height in millimetres, instance number and name of each; the name settles what the number does not.

    Returns:
        Positions of the slices that are kept, from the lowest, and of those that are left out.
    """
    kept: list[int] = []
    left_out: list[int] = []
    for i in sorted(range(len(slices)), key=lambda i: slices[i]):
        if not kept or slices[i][0] - slices[kept[-1]][0] >= ONE_PLACE_MM:
            kept.append(i)
        elif slices[i][1:] < slices[kept[-1]][1:]:
            left_out.append(kept[-1])
            kept[-1] = i
        else:
            left_out.append(i)
    return kept, left_out


def instance_number(header: Dataset) -> int:
    """Return the instance number of a slice; one that names none comes after all others."""
    try:
        return int(header.InstanceNumber)
    except (AttributeError, TypeError, ValueError):
        return sys.maxsize
