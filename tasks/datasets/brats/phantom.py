"""Phantoms of BraTS 2018: brains with a glioma, four sequences and a segmentation each, in the data set's files.

An analytic brain, skull-stripped (background exactly 0): cortex, white matter, ventricles. High-grade tumours have a
necrotic core (1), an enhancing rim (4) and oedema (2); low-grade ones no 4. What intensity alone cannot solve: caps
around the ventricles and small lesions of the white matter are as bright in FLAIR as oedema and are no tumour; each
scan has a gain of its own and a smooth bias field.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from pydantic import Field, JsonValue

from harness.late import ndimage
from harness.seeding import seed
from harness.spec import Frozen
from tasks.datasets.brats.adapter import FOLDER, MODALITIES
from tasks.layouts.space import unit
from tasks.phantoms.volume_files import write_nifti

SITES = ("CBICA", "TCIA01", "TCIA02", "2013")
SURVIVAL_SHARE = 163 / 210  # of the high-grade patients
#         white  grey   fluid  oedema enhancing core  bright lesions
INTENSITIES = {
    "flair": (450.0, 560.0, 150.0, 860.0, 780.0, 420.0, 860.0),
    "t1": (800.0, 600.0, 220.0, 620.0, 600.0, 380.0, 740.0),
    "t1ce": (820.0, 620.0, 220.0, 640.0, 1250.0, 360.0, 760.0),
    "t2": (480.0, 640.0, 1250.0, 980.0, 820.0, 1050.0, 800.0),
}
FLUID = 2  # its place in them


class Options(Frozen):
    """How many phantoms, and how large.

    Attributes:
        seed: Of everything drawn.
        high_grade, low_grade: Patients; 210 and 75 in the real set.
        shape: Voxels of a file; 240×240×155 in the real set.
        noise: Standard deviation, where white matter in FLAIR is 450.
    """

    seed: int = Field(ge=0)
    high_grade: int = Field(ge=2)
    low_grade: int = Field(ge=1)
    shape: tuple[int, int, int]
    noise: float = Field(default=25.0, ge=0)


def write(folder: Path, options: Mapping[str, object]) -> dict[str, JsonValue]:
    """Write the data set into ``folder``; returns facts for the manifest."""
    chosen = Options.model_validate(dict(options))
    root = folder / FOLDER
    count = chosen.high_grade + chosen.low_grade
    generator = _generator(chosen.seed, "patients")
    numbers = np.sort(generator.permutation(np.arange(100, 100 + 3 * count))[:count])
    sites = generator.integers(0, len(SITES), count)
    low = np.isin(np.arange(count), generator.permutation(count)[: chosen.low_grade])
    lines = ["BraTS18ID,Age,Survival,ResectionStatus"]
    for row in range(count):
        name = f"Brats18_{SITES[sites[row]]}_{numbers[row]}_1"
        place = root / ("LGG" if low[row] else "HGG") / name
        place.mkdir(parents=True)
        drawn = _generator(chosen.seed, "subject", row)
        images, labels, affine = draw_brain(chosen.shape, bool(low[row]), chosen.noise, drawn)
        for modality, image in images.items():
            write_nifti(place / f"{name}_{modality}.nii.gz", image, affine)
        write_nifti(place / f"{name}_seg.nii.gz", labels, affine)
        if not low[row] and drawn.random() < SURVIVAL_SHARE:
            lines.append(
                f"{name},{drawn.uniform(20, 85):.3f},{int(drawn.integers(5, 1700))},{drawn.choice(['GTR', 'NA'])}"
            )
    (root / "survival_data.csv").write_text("\n".join(lines) + "\n")
    return {"stamp": "SYNTHETIC: analytic phantoms", "images": count, "patients": count}


def draw_brain(
    shape: tuple[int, int, int], low_grade: bool, noise: float, generator: np.random.Generator
) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Draw a patient.

    Args:
        shape: Voxels ``(X, Y, Z)``, towards left, back, head.
        low_grade: Without an enhancing part.
        noise: Standard deviation.
        generator: Source of randomness.

    Returns:
        Sequence → int16 ``(X, Y, Z)``; labels, uint8; affine to LPS millimetres, 1 mm a voxel, origin as in the set.
    """
    grid = tuple(np.meshgrid(*(np.linspace(-1, 1, n, dtype=np.float32) for n in shape), indexing="ij", sparse=True))
    brain, tissue = _draw_healthy(grid, shape, generator)
    labels = _draw_tumour(grid, brain & (tissue != FLUID), low_grade, generator)
    for label, kind in ((2, 3), (4, 4), (1, 5)):
        tissue[labels == label] = kind
    images = {}
    for modality in MODALITIES:
        image = np.array(INTENSITIES[modality], np.float32)[tissue]
        image *= generator.uniform(0.85, 1.15) * (1.0 + 0.08 * _smooth(shape, 0.35, generator))
        image = ndimage.gaussian_filter(image, 0.4) + noise * generator.standard_normal(shape, dtype=np.float32)
        images[modality] = np.where(brain, np.clip(np.rint(image), 1, 4000), 0).astype(np.int16)
    affine = np.eye(4)
    affine[1, 3] = -(shape[1] - 1)
    return images, labels, affine


def _draw_healthy(
    grid: tuple[np.ndarray, ...], shape: tuple[int, int, int], generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return the brain, bool ``(X, Y, Z)``, and its tissues without a tumour, whole numbers into ``INTENSITIES``."""
    x, y, z = grid
    size = 1.0 + 0.05 * generator.standard_normal(3)
    folds = _smooth(shape, 0.06, generator)
    radius = np.sqrt((x / (0.74 * size[0])) ** 2 + (y / (0.88 * size[1])) ** 2 + (z / (0.82 * size[2])) ** 2)
    brain = radius < 1.0
    grey = brain & (radius + 0.05 * folds > 0.88)
    side = np.where(x < 0, -1.0, 1.0)
    u = x - side * (0.13 + 0.10 * y**2)
    chamber = np.sqrt((u / 0.075) ** 2 + (y / 0.42) ** 2 + ((z - 0.05) / 0.22) ** 2) / (1.0 + 0.1 * size[0])
    # bright, but no tumour: caps around the ventricles, and a few small lesions
    bright = brain & ~grey & (chamber >= 1.0) & (chamber < generator.uniform(1.35, 1.7))
    for _ in range(int(generator.integers(5, 12))):
        at, reach = generator.uniform(-0.55, 0.55, 3), generator.uniform(0.05, 0.10)
        bright |= brain & ~grey & ((x - at[0]) ** 2 + (y - at[1]) ** 2 + (z - at[2]) ** 2 < reach**2)
    tissue = np.where(grey, 1, 0)
    tissue[bright] = 6
    tissue[brain & (chamber < 1.0)] = FLUID
    return brain, tissue


def _draw_tumour(
    grid: tuple[np.ndarray, ...], solid: np.ndarray, low_grade: bool, generator: np.random.Generator
) -> np.ndarray:
    """Return a tumour's labels in the solid part of the brain, uint8 ``(X, Y, Z)``."""
    way = generator.standard_normal(3)
    at = unit(way) * generator.uniform(0.25, 0.5)
    stretch = generator.uniform(0.8, 1.25, 3)
    reach = generator.uniform(0.20, 0.36) * (0.85 if low_grade else 1.0)
    away = np.sqrt(sum(((c - at[i]) / stretch[i]) ** 2 for i, c in enumerate(grid))) / reach
    away = away + 0.12 * _smooth(solid.shape, 0.10, generator)
    tumour = solid & (away < 1.0)
    labels = np.zeros(solid.shape, np.uint8)
    labels[tumour] = 2
    if not low_grade:
        labels[tumour & (away < 0.62)] = 4
    labels[tumour & (away < 0.42)] = 1
    return labels


def _smooth(shape: tuple[int, ...], scale: float, generator: np.random.Generator) -> np.ndarray:
    """Return noise of unit variance, smooth over ``scale`` of the field of view."""
    field = ndimage.gaussian_filter(generator.standard_normal(shape, dtype=np.float32), [scale * n / 2 for n in shape])
    return field / max(float(field.std()), 1e-6)


def _generator(*names: str | int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed("brats", *names)))
