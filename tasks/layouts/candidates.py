"""Candidates: points in scans, in LPS millimetres, each with a class; what LUNA16 and PE-CAD share.

A candidate is a case; its patch is cut around the voxel nearest to its point, in the scan's canonical orientation.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from harness.errors import DataError
from harness.late import pd
from tasks.layouts.finding import plain
from tasks.layouts.grids import Grid
from tasks.layouts.index import Finding
from tasks.layouts.space import inverse, transformed
from tasks.layouts.volumes import (
    Volume,
    canonical_grid,
    metaimage_header,
    nifti_header,
    read_metaimage,
    read_nifti,
    require_values,
    require_world,
)

WORLD = ("x_mm", "y_mm", "z_mm")  # LPS millimetres; columns of an index of candidates
CLASSES = ("0", "1")


def read_scan(path: Path) -> Volume:
    """Read a MetaImage or NIfTI scan by its name's ending; points need one whose header says where it lies.

    Raises:
        DataError: If it is absent, damaged, or without a place.
    """
    return (read_nifti if _is_nifti(path) else read_metaimage)(path, world=True)


def scan_grid(path: Path) -> Grid:
    """Return where a scan's voxels lie in canonical orientation, without reading them.

    Raises:
        DataError: If it is absent, damaged, or without a place.
    """
    header = (nifti_header if _is_nifti(path) else metaimage_header)(path)
    require_world(header, path)
    return canonical_grid(header, path)


def _is_nifti(path: Path) -> bool:
    return plain(path.name).endswith((".nii", ".nii.gz"))


def check_rows(table: pd.DataFrame, name: str, world: Sequence[str]) -> list[Finding]:
    """Return a failure for each row whose class or coordinates make no sense.

    Args:
        table: ``read_table``'s, with a column ``class``.
        name: Of the file.
        world: Its columns of x, y and z.
    """
    findings = []
    for row in table.loc[~table["class"].isin(CLASSES), ["line", "class"]].itertuples(index=False):
        findings.append(Finding("fail", f'line {row[0]} of {name} has the unknown class "{row[1]}"; expected 0 or 1'))
    numbers = table[list(world)].apply(pd.to_numeric, errors="coerce")
    for line in table.loc[~np.isfinite(numbers).all(axis=1), "line"]:
        findings.append(Finding("fail", f"line {line} of {name} lacks a number; expected x, y and z in millimetres"))
    return findings


def check_repeats(table: pd.DataFrame, name: str) -> list[Finding]:
    """Return a warning for rows that say once more what another says: each is a case, which then counts twice."""
    again = table[table.drop(columns="line").duplicated()]
    if again.empty:
        return []
    text = (
        f"{len(again)} rows of {name} repeat another (first: line {again['line'].iloc[0]}) and are cases of their own"
    )
    return [Finding("warn", f"{text}; expected each once")]


def outside(points: np.ndarray, grid: Grid) -> np.ndarray:
    """Say which points lie beyond a scan's outermost voxels.

    Args:
        points: LPS millimetres, ``(N, 3)``.
        grid: Where the voxels lie.

    Returns:
        bool ``(N,)``.
    """
    voxels = transformed(inverse(grid.affine[:3, :3]), points - grid.affine[:3, 3])
    return np.asarray(((voxels < -0.5) | (voxels > np.asarray(grid.shape) - 0.5)).any(axis=1))


def check_places(table: pd.DataFrame, name: str, world: Sequence[str], header: Path) -> list[Finding]:
    """Return a failure for each candidate of one scan that lies outside it, or for the scan that cannot be opened."""
    try:
        grid = scan_grid(header)
    except DataError as error:
        return [Finding("fail", str(error))]
    points = table[list(world)].apply(pd.to_numeric, errors="coerce").to_numpy(float)
    beyond = outside(points, grid) & np.isfinite(points).all(axis=1)
    return [
        Finding(
            "fail",
            f"line {line} of {name} lies at ({point[0]:g}, {point[1]:g}, {point[2]:g}) mm, outside {header.name} "
            f"({'×'.join(map(str, grid.shape))} voxels); expected it inside",
        )
        for line, point in zip(table.loc[beyond, "line"], points[beyond], strict=True)
    ]


def check_voxels(path: Path) -> list[Finding]:
    """Open a scan: a failure if it is damaged, holds what is no number, or cannot be in Hounsfield units."""
    try:
        require_values(read_scan(path).voxels, str(path), hounsfield=True)
    except DataError as error:
        return [Finding("fail", str(error))]
    return []


def thin_negatives(cases: pd.DataFrame, label: str, per_positive: int | None, seed: int) -> pd.DataFrame:
    """Keep every positive and, outside the test set, at most so many negatives for each, drawn with a seed.

    Candidates are hundreds to one; the test set is never thinned, for its AUC is what is compared.

    Args:
        cases: An index's.
        label: The label column.
        per_positive: Negatives a positive; None keeps all.
        seed: Of the draw.
    """
    if per_positive is None:
        return cases
    generator = np.random.Generator(np.random.PCG64(seed))
    keep = (cases["split"] == "test") | (cases[label] == 1)
    for part in ("train", "validation"):
        negative = np.flatnonzero((cases["split"] == part) & (cases[label] == 0))
        wanted = per_positive * int(((cases["split"] == part) & (cases[label] == 1)).sum())
        keep.iloc[generator.permutation(negative)[:wanted]] = True
    return cases[keep].reset_index(drop=True)
