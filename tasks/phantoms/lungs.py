"""What the phantoms of chest CTs share: a patient's trunk, places in the lung, and files as they lie on disk."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np

from harness.seeding import seed
from tasks.layouts.space import dot, length, unit
from tasks.phantoms.body import HU, Body, make_body
from tasks.phantoms.thorax import draw_builds

BLUR = 0.4  # voxels: between the sharp and the smooth kernels of scanners
NOISE_HU = 20.0
PADDING = -3024  # outside the round field of view, as some scanners write
PIECE_MM = 40.0  # length of a vessel that is painted beside what is to be found
TYPES = {"int16": "MET_SHORT", "uint8": "MET_UCHAR"}


def generator_of(base: int, data_set: str, *names: str | int) -> np.random.Generator:
    """Return the source of randomness of one part of a phantom."""
    return np.random.Generator(np.random.PCG64(seed(base, data_set, *names)))


def make_patient(
    base: int, data_set: str, patient: int, shape: tuple[int, int, int], blood: float = HU["blood"]
) -> tuple[Body, np.random.Generator]:
    """Make the trunk of a patient, who is a function of the seed, the data set and a number.

    Returns:
        The trunk and the patient's source of randomness, ready for what is painted into it.
    """
    drawn = generator_of(base, data_set, "patient", patient)
    build = draw_builds(np.zeros(1, int), drawn)
    return make_body(build, shape, drawn, blood=blood), drawn


def direction(generator: np.random.Generator) -> np.ndarray:
    """Draw a unit vector, no direction preferred."""
    return unit(generator.standard_normal(3))


def across(heading: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Draw a unit vector perpendicular to a unit vector."""
    found = direction(generator)
    return unit(found - heading * dot(found, heading))


def place_in_lung(
    body: Body, margin: float, taken: list[np.ndarray], apart: float, generator: np.random.Generator
) -> np.ndarray:
    """Draw a point in the lung with lung around it.

    Args:
        body: The trunk.
        margin: Millimetres to left, right, front, back, head and feet that must be lung too.
        taken: Points from which it keeps away; the new one is added.
        apart: Millimetres from them; after 200 tries it is given up.
        generator: Source of randomness.

    Returns:
        LPS millimetres ``(3,)``, not on the grid.
    """
    lungs = body.organs["lungs"]
    inside = np.flatnonzero(lungs)
    steps = np.concatenate([np.eye(3), -np.eye(3)]) * margin / body.spacing
    point = np.zeros(3)
    for attempt in range(400):
        voxel = np.array(np.unravel_index(inside[generator.integers(len(inside))], lungs.shape), float)
        near = np.rint(voxel + steps).astype(int)
        if (near < 0).any() or (near >= lungs.shape).any() or not lungs[tuple(near.T)].all():
            continue
        point = body.affine[:3, 3] + body.spacing * (voxel + generator.uniform(-0.5, 0.5, 3))
        if attempt >= 200 or all(length(point - other) >= apart for other in taken):
            break
    taken.append(point)
    return point


def paint_piece(
    body: Body, centre: np.ndarray, heading: np.ndarray, radius: float, hu: float, generator: np.random.Generator
) -> None:
    """Paint a piece of vessel through a point, a little curved: two straight halves that meet there."""
    for sign in (-1.0, 1.0):
        bent = sign * heading + 0.25 * across(heading, generator)
        reach = PIECE_MM * generator.uniform(0.5, 0.8)
        body.paint_tube(centre, centre + unit(bent) * reach, radius, hu)


def pad_field_of_view(voxels: np.ndarray) -> np.ndarray:
    """Return int16 ``(X, Y, Z)`` with ``PADDING`` outside the round field of view."""
    x, y = (np.abs((np.arange(n) + 0.5) / n * 2 - 1) for n in voxels.shape[:2])
    beyond = x[:, None] ** 2 + y[None, :] ** 2 > 1.6
    padded = voxels.copy()
    padded[beyond] = PADDING
    return padded


def write_metaimage(
    path: Path, voxels: np.ndarray, affine: np.ndarray, *, flipped: bool = False, compressed: bool = False
) -> None:
    """Write ``path`` (``.mhd``) with ``.raw`` or, compressed, ``.zraw`` beside it.

    Args:
        path: Of the header.
        voxels: int16 or uint8 ``(X, Y, Z)``, canonical.
        affine: Index → LPS millimetres, diagonal.
        flipped: Store x and y backwards and say so in TransformMatrix, as some scans of LUNA16 do.
        compressed: By zlib, as its lung masks are.
    """
    signs, origin = np.ones(3), affine[:3, 3].copy()
    if flipped:
        signs[:2] = -1.0
        origin[:2] += np.diag(affine)[:2] * (np.array(voxels.shape[:2]) - 1)
        voxels = voxels[::-1, ::-1]
    data = np.ascontiguousarray(voxels.transpose(2, 1, 0)).tobytes()
    header: dict[str, Any] = {
        "ObjectType": "Image",
        "NDims": 3,
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": compressed,
    }
    if compressed:
        data = zlib.compress(data, 1)
        header["CompressedDataSize"] = len(data)
    header |= {
        "TransformMatrix": _numbers(np.diag(signs).ravel()),
        "Offset": _numbers(origin),
        "CenterOfRotation": "0 0 0",
        "AnatomicalOrientation": "RAI",
        "ElementSpacing": _numbers(np.diag(affine)[:3]),
        "DimSize": _numbers(np.array(voxels.shape, float)),
        "ElementType": TYPES[voxels.dtype.name],
        "ElementDataFile": path.with_suffix(".zraw" if compressed else ".raw").name,
    }
    path.with_suffix(".zraw" if compressed else ".raw").write_bytes(data)
    path.write_text("".join(f"{key} = {value}\n" for key, value in header.items()))


def _numbers(values: np.ndarray) -> str:
    return " ".join(f"{value:.10g}" for value in values)
