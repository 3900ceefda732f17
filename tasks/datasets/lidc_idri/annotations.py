"""Readings of LIDC-IDRI's XML files: who outlined what, on which slice.

An outline is a chain of pixels *around* the nodule: its outer border, not part of it. ``inclusion`` FALSE is a hole,
whose chain lies in the nodule, around what is cut out. A nodule below 3 mm has one pixel and no outline; a
``nonNodule`` is a point too. Files of the collection's radiographs have the root ``IdriReadMessage``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from harness.errors import DataError
from harness.late import cv2

CT_ROOT, OTHER_ROOT = "LidcReadMessage", "IdriReadMessage"
READERS = 4
SAME_SLICE_MM = 0.01


@dataclass(frozen=True)
class Outline:
    """One chain of pixels.

    Attributes:
        z: ``imageZposition``, millimetres.
        image: SOP instance UID of the slice.
        inclusion: False for a hole.
        points: (column, row) of each pixel, int ``(N, 2)``.
    """

    z: float
    image: str
    inclusion: bool
    points: np.ndarray


@dataclass(frozen=True)
class Reading:
    """One reader's view of one nodule.

    Attributes:
        reader: Number of the reading session in its file, from 0.
        name: ``noduleID``.
        outlines: In the order of the file.
        malignancy: 1 … 5, or None below 3 mm.
    """

    reader: int
    name: str
    outlines: tuple[Outline, ...]
    malignancy: int | None

    @property
    def is_point(self) -> bool:
        """Whether it is a mark of a single pixel: a nodule below 3 mm."""
        return all(len(outline.points) < 2 for outline in self.outlines)


@dataclass(frozen=True)
class Message:
    """What one XML file says of a CT.

    Attributes:
        series: Series instance UID.
        readings: Of nodules, points included.
        readers: Reading sessions.
        other: Marks that are no nodules.
    """

    series: str
    readings: tuple[Reading, ...]
    readers: int
    other: int

    @property
    def said(self) -> str:
        """All of it as text, the same for two files that say the same."""
        return repr([
            (r.reader, r.name, r.malignancy, [(o.z, o.image, o.inclusion, o.points.tolist()) for o in r.outlines])
            for r in self.readings
        ])  # fmt: skip


def heading(path: Path) -> tuple[str, str]:
    """Return the name of a file's root and the series that it is about, empty where it names none.

    Raises:
        DataError: If it is no XML.
    """
    try:
        status = path.stat()
        return _heading(path, status.st_mtime_ns, status.st_size)
    except (ElementTree.ParseError, OSError) as error:
        raise DataError(f"{path} cannot be read as XML ({error}); expected a whole file; fetch it again") from None


@lru_cache(maxsize=4096)  # a collection has some 1,300 files, and each scan that is opened asks for all
def _heading(path: Path, modified: int, size: int) -> tuple[str, str]:
    kind = ""
    for event, element in ElementTree.iterparse(path, events=("start", "end")):
        kind = kind or _plain(element.tag)
        if event == "end" and _plain(element.tag) == "ResponseHeader":
            return kind, _text(element, "SeriesInstanceUid")
    return kind, ""


def read_message(path: Path) -> Message | None:
    """Read a file; None for the root of the collection's radiographs.

    Raises:
        DataError: If it is no XML, has an unknown root, or an outline without position or pixels.
    """
    try:
        root = ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, OSError) as error:
        raise DataError(f"{path} cannot be read as XML ({error}); expected a whole file; fetch it again") from None
    kind = _plain(root.tag)
    if kind == OTHER_ROOT:
        return None
    if kind != CT_ROOT:
        raise DataError(f'{path} has the root "{kind}"; expected {CT_ROOT} or {OTHER_ROOT}; remove it')
    header = _children(root, "ResponseHeader")
    series = _text(header[0], "SeriesInstanceUid") if header else ""
    readings: list[Reading] = []
    other = 0
    sessions = _children(root, "readingSession")
    for reader, session in enumerate(sessions):
        other += len(_children(session, "nonNodule"))
        for nodule in _children(session, "unblindedReadNodule"):
            name = _text(nodule, "noduleID")
            outlines = tuple(_outline(roi, path, name) for roi in _children(nodule, "roi"))
            rated = [_text(part, "malignancy") for part in _children(nodule, "characteristics")]
            malignancy = int(rated[0]) if rated and rated[0].isdigit() else None
            if outlines:
                readings.append(Reading(reader, name, outlines, malignancy))
    return Message(series.strip(), tuple(readings), len(sessions), other)


def _outline(roi: ElementTree.Element, path: Path, name: str) -> Outline:
    try:
        points = [(int(_text(edge, "xCoord")), int(_text(edge, "yCoord"))) for edge in _children(roi, "edgeMap")]
        z = float(_text(roi, "imageZposition"))
    except ValueError:
        points, z = [], 0.0
    if not points:
        raise DataError(
            f'an outline of nodule "{name}" in {path} lacks a number; expected position and pixels; fetch it'
        )
    return Outline(
        z, _text(roi, "imageSOP_UID"), _text(roi, "inclusion").upper() != "FALSE", np.array(points, np.int32)
    )


def _plain(tag: str) -> str:
    return tag.rsplit("}", 1)[-1]


def _children(parent: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    return [child for child in parent if _plain(child.tag) == name]


def _text(parent: ElementTree.Element, name: str) -> str:
    found = _children(parent, name)
    return (found[0].text or "").strip() if found else ""


def fill(points: np.ndarray) -> np.ndarray:
    """Return the pixels that a chain encloses, its own left out, as (column, row), int ``(M, 2)``.

    The chain is closed with straight lines where it has gaps; those lines are border too.
    """
    low = points.min(axis=0) - 1
    size = points.max(axis=0) - low + 2
    chain = [(points - low).astype(np.int32)]
    inside = np.zeros((int(size[1]), int(size[0])), np.uint8)
    cv2.fillPoly(inside, chain, 1)
    cv2.polylines(inside, chain, isClosed=True, color=0)
    rows, columns = np.nonzero(inside)
    found: np.ndarray = np.stack([columns, rows], axis=1) + low
    return found


def voxels_of(reading: Reading) -> dict[float, set[tuple[int, int]]]:
    """Return z → the pixels (column, row) that the reading calls nodule: inside its chains, outside its holes."""
    found: dict[float, set[tuple[int, int]]] = {}
    for wanted in (True, False):
        for outline in reading.outlines:
            if outline.inclusion is wanted and len(outline.points) > 1:
                pixels = set(map(tuple, fill(outline.points).tolist()))
                slice_ = found.setdefault(outline.z, set())
                if wanted:
                    slice_ |= pixels
                else:
                    slice_ -= pixels
    return {z: pixels for z, pixels in found.items() if pixels}


def group(readings: Iterable[Reading]) -> list[list[Reading]]:
    """Group the readings of ≥ 3 mm that outline one nodule: those of different readers that share a voxel.

    One reader's own readings are never joined directly. Groups come in the order of their first reading.
    """
    kept = [(reading, voxels_of(reading)) for reading in readings if not reading.is_point]
    kept = [(reading, voxels) for reading, voxels in kept if voxels]
    parent = list(range(len(kept)))

    def top(at: int) -> int:
        while parent[at] != at:
            at = parent[at]
        return at

    for i, (one, mine) in enumerate(kept):
        for j, (two, theirs) in enumerate(kept[:i]):
            if one.reader != two.reader and any(mine[z] & theirs.get(z, set()) for z in mine):
                parent[max(top(i), top(j))] = min(top(i), top(j))
    groups: dict[int, list[Reading]] = {}
    for at, (reading, _) in enumerate(kept):
        groups.setdefault(top(at), []).append(reading)
    return [groups[at] for at in sorted(groups)]


def consensus(readings: Iterable[Reading], agreement: float) -> dict[float, np.ndarray]:
    """Return z → pixels (column, row), int ``(M, 2)``, that at least a share of a nodule's readings hold.

    Args:
        readings: One group.
        agreement: Share, above 0; .5 is half of them or more.
    """
    each = [voxels_of(reading) for reading in readings]
    found = {}
    for z in sorted({z for voxels in each for z in voxels}):
        counts: dict[tuple[int, int], int] = {}
        for voxels in each:
            for pixel in voxels.get(z, ()):
                counts[pixel] = counts.get(pixel, 0) + 1
        pixels = sorted(pixel for pixel, count in counts.items() if count >= agreement * len(each) - 1e-9)
        if pixels:
            found[z] = np.array(pixels, np.int64)
    return found
