"""Phantoms of LUNA16: analytic chests with nodules and vessels, in the ten folders of MetaImages and their tables.

Nodules are nearly round; beside each runs a vessel of its own radius and density. What is no nodule is such a vessel
itself, through the candidate's point, or a fork of the lung's tree. So neither the value at the point nor the patch's
mean tells them apart: only shape does. Every third scan is stored with −1 in its TransformMatrix, every fourth padded
with −3024 outside the field of view; one scan has a compressed lung mask, one table names a scan that is not there.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from pydantic import Field, JsonValue

from harness.spec import Frozen
from tasks.datasets.luna16 import adapter as layout
from tasks.phantoms.body import Body
from tasks.phantoms.lungs import (
    BLUR,
    NOISE_HU,
    across,
    direction,
    generator_of,
    make_patient,
    pad_field_of_view,
    paint_piece,
    place_in_lung,
    write_metaimage,
)

RADIUS_MM = (6.0, 10.0)
DENSITY_HU = (30.0, 25.0)  # mean and deviation, of nodules and of the vessels painted beside them
FORK_GENERATIONS = (1, 2)
LUNG_LABELS = (3, 4)  # right, left
APART_MM = 36.0
UID = "1.3.6.1.4.1.14519.5.2.1.6279.6001"  # the root of the real scans' names


class Options(Frozen):
    """How many phantoms, and how large.

    Attributes:
        seed: Of everything drawn.
        scans: In each of the ten subsets.
        nodules: In each scan.
        vessels: Candidates in each scan that are pieces of vessel.
        forks: Candidates in each scan that are forks of the tree.
        voxels: Of a scan; they cover 384×256×320 mm.
    """

    seed: int = Field(ge=0)
    scans: int = Field(ge=1)
    nodules: int = Field(default=3, ge=1)
    vessels: int = Field(default=5, ge=1)
    forks: int = Field(default=2, ge=0)
    voxels: tuple[int, int, int]


def write(folder: Path, options: Mapping[str, object]) -> dict[str, JsonValue]:
    """Write the data set into ``folder``; returns facts for the manifest."""
    chosen = Options.model_validate(dict(options))
    count = 10 * chosen.scans
    drawn = generator_of(chosen.seed, "luna16", "names")
    numbers = np.sort(drawn.permutation(np.arange(10**8, 10**8 + 50 * count))[:count])
    uids = [f"{UID}.{number}{drawn.integers(10**9, 10**10)}" for number in numbers]
    subsets = drawn.permutation(np.arange(count) % 10)
    candidates, nodules = [], []
    for number in range(10):
        (folder / f"subset{number}").mkdir()
    (folder / layout.LUNGS).mkdir()
    for row, (uid, subset) in enumerate(zip(uids, subsets.tolist(), strict=True)):
        body, generator = make_patient(chosen.seed, "luna16", row, chosen.voxels)
        found, others = paint(body, chosen, generator)
        scan = body.finish(NOISE_HU, BLUR, generator)
        scan = pad_field_of_view(scan) if row % 4 == 1 else scan
        path = folder / f"subset{subset}" / f"{uid}.mhd"
        write_metaimage(path, scan, body.affine, flipped=row % 3 == 0)
        if row == 0:
            write_metaimage(
                folder / layout.LUNGS / path.name, lung_mask(body), body.affine, flipped=True, compressed=True
            )
        candidates += [[uid, *point, 1] for point, _ in found] + [[uid, *point, 0] for point in others]
        nodules += [[uid, *point, 2 * radius] for point, radius in found]
    order = drawn.permutation(len(candidates))
    absent = [f"{UID}.999", 0.0, 0.0, 0.0, 0]
    _write_table(folder / "candidates.csv", layout.COLUMNS, [*(candidates[i] for i in order), absent])
    # V2 repeats each nodule near its middle, as the real one finds more positives than V1
    again = [[*row[:3], row[3] + 1.0, 1] for row in candidates if row[4] == 1]
    _write_table(folder / "candidates_V2.csv", layout.COLUMNS, [*(candidates[i] for i in order), *again])
    _write_table(folder / layout.ANNOTATIONS, (*layout.COLUMNS[:4], "diameter_mm"), nodules)
    return {"stamp": "SYNTHETIC: analytic phantoms", "images": len(candidates), "patients": count}


def paint(
    body: Body, options: Options, generator: np.random.Generator
) -> tuple[list[tuple[np.ndarray, float]], list[np.ndarray]]:
    """Paint nodules and vessels; returns (middle, radius) of the nodules and the points that are none."""
    taken: list[np.ndarray] = []
    found: list[tuple[np.ndarray, float]] = []
    others: list[np.ndarray] = []
    for kind in ["nodule"] * options.nodules + ["vessel"] * options.vessels:
        point = place_in_lung(body, 12.0, taken, APART_MM, generator)
        radius, density = generator.uniform(*RADIUS_MM), generator.normal(*DENSITY_HU)
        heading = direction(generator)
        if kind == "nodule":
            beside = point + across(heading, generator) * (2 * radius + generator.uniform(1.0, 4.0))
            paint_piece(body, beside, heading, radius, density, generator)
            body.paint_ellipsoid(point, radius * generator.uniform(0.85, 1.15, 3), density)
            found.append((point, radius))
        else:
            paint_piece(body, point, heading, radius, density, generator)
            others.append(point)
    forks = [tube.end for tube in body.vessels if tube.generation in FORK_GENERATIONS and _in_lung(body, tube.end)]
    others += [forks[i] for i in generator.permutation(len(forks))[: options.forks]]
    return found, others


def lung_mask(body: Body) -> np.ndarray:
    """Return the lungs as LUNA16 labels them, uint8: 3 right, 4 left."""
    x = body.millimetres()[0]
    found: np.ndarray = np.where(x < 0, LUNG_LABELS[0], LUNG_LABELS[1]).astype(np.uint8) * body.organs["lungs"]
    return found


def _in_lung(body: Body, point: np.ndarray) -> bool:
    voxel = np.rint((point - body.affine[:3, 3]) / body.spacing).astype(int)
    lungs = body.organs["lungs"]
    return bool((voxel >= 0).all() and (voxel < lungs.shape).all() and lungs[tuple(voxel)])


def _write_table(path: Path, columns: tuple[str, ...], rows: list[list[object]]) -> None:
    lines = [",".join(columns)]
    lines += [",".join(f"{value:.6g}" if isinstance(value, float) else str(value) for value in row) for row in rows]
    path.write_text("\n".join(lines) + "\n")
