"""Phantoms of LiTS: abdomens with a liver, tumours in it, and a spleen that is as bright, in the data set's files.

Names keep their indices, some of them among 28–47 without geometry; arrays run LPS, RAS, LAS or feet up; segmentations
have another type and an affine that is off by 10⁻⁴. The signal is place and shape: liver, spleen and kidneys share a
shift of their Hounsfield values per patient and lie within 10 of each other under noise of 25 (the module ``body``).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, JsonValue

from harness.seeding import seed
from harness.spec import Frozen
from tasks.datasets.lits.adapter import SPLIT, WITHOUT_GEOMETRY
from tasks.layouts.space import lps_from_ras
from tasks.layouts.volumes import optional
from tasks.phantoms.body import Body, make_body
from tasks.phantoms.thorax import draw_builds
from tasks.phantoms.volume_files import header_without_geometry, write_nifti

ORDERS = ("LPS", "RAS", "LAS", "LPI")
TUMOUR_HU = 60.0
ILL = 118 / 131  # share with a tumour in the real set
FIRST_BATCH = range(28)


class Options(Frozen):
    """How many phantoms, and how large.

    Attributes:
        seed: Of everything drawn.
        train, validation, test: Volumes; their indices are spread over the split's.
        shape: Voxels of a file; real ones have 512×512×(74…987).
        noise: Standard deviation in HU.
        layout: ``batches``: two folders, as the challenge gives them; ``kaggle``: a mirror's.
    """

    seed: int = Field(ge=0)
    train: int = Field(ge=2, le=100)
    validation: int = Field(ge=1, le=15)
    test: int = Field(ge=1, le=15)
    shape: tuple[int, int, int]
    noise: float = Field(default=25.0, ge=0)
    layout: Literal["batches", "kaggle"] = "batches"


def write(folder: Path, options: Mapping[str, object]) -> dict[str, JsonValue]:
    """Write the data set into ``folder``; returns facts for the manifest."""
    chosen = Options.model_validate(dict(options))
    numbers: list[int] = []
    for part, indices in SPLIT.items():
        count = getattr(chosen, part)
        numbers += [indices[i * len(indices) // count] for i in range(count)]
    build = draw_builds(np.arange(len(numbers)), _generator(chosen.seed, "patients"))
    for row, number in enumerate(numbers):
        drawn = _generator(chosen.seed, "volume", number)
        body = make_body(build.take(slice(row, row + 1)), chosen.shape, drawn, frame="abdomen")
        labels = _labels(body, drawn)
        _write_pair(folder, number, body.finish(chosen.noise, 0.4, drawn), labels, body.affine, chosen.layout)
    return {"stamp": "SYNTHETIC: analytic phantoms", "images": len(numbers), "patients": len(numbers)}


def _generator(*names: str | int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed("lits", *names)))


def _labels(body: Body, generator: np.random.Generator) -> np.ndarray:
    """Paint tumours into the liver and return its labels."""
    liver = body.organs["liver"]
    labels = liver.astype(np.uint8)
    places, around = np.argwhere(liver), body.hu.copy()
    for _ in range(int(generator.integers(1, 4)) if len(places) and generator.random() < ILL else 0):
        centre = body.affine[:3, 3] + body.spacing * places[generator.integers(0, len(places))]
        inside = body.paint_ellipsoid(centre, generator.uniform(8.0, 25.0, 3), TUMOUR_HU)
        labels[inside & liver] = 2
    body.hu[~liver] = around[~liver]
    return labels


def _write_pair(
    folder: Path, number: int, scan: np.ndarray, labels: np.ndarray, affine: np.ndarray, layout: str
) -> None:
    names = {"batches": (f"Training Batch {1 if number in FIRST_BATCH else 2}",) * 2}
    names["kaggle"] = (f"volume_pt{1 + min(7, number // 17)}", "segmentations")
    volumes, segmentations = (folder / name for name in names[layout])
    for place in (volumes, segmentations):
        place.mkdir(exist_ok=True)
    labels = labels.astype(np.int16 if number % 2 else np.uint8)
    image, mask = volumes / f"volume-{number}.nii", segmentations / f"segmentation-{number}.nii"
    if number in WITHOUT_GEOMETRY:
        nibabel = optional("nibabel", "nibabel", "NIfTI files")
        for path, voxels in ((image, scan), (mask, labels)):
            stored, plain = header_without_geometry(voxels)
            nibabel.save(nibabel.Nifti1Image(stored, lps_from_ras(plain)), path)
        return
    order = ORDERS[number % len(ORDERS)]
    write_nifti(image, scan, affine, order)
    slightly = affine.copy()
    slightly[:3, 3] += 1e-4
    write_nifti(mask, labels, slightly, order)
