"""Phantoms of PE-CAD: contrast-filled vessels in analytic chests, some with an embolus, in this project's own layout.

An embolus is a dark plug inside the lumen with a bright rim around it. What is none is mostly the same plug beside the
vessel, as a lymph node lies; then forks and vessels without anything. Value and size of plug and node are the same, so
where it lies decides. Some emboli have two candidates. Scans alternate between MetaImage, some with a flipped
TransformMatrix, and NIfTI.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from pydantic import Field, JsonValue

from harness.spec import Frozen
from tasks.datasets.pe_cad import adapter as layout
from tasks.layouts.space import lps_from_ras
from tasks.layouts.volumes import optional
from tasks.phantoms.body import Body
from tasks.phantoms.lungs import (
    BLUR,
    NOISE_HU,
    across,
    direction,
    generator_of,
    make_patient,
    paint_piece,
    place_in_lung,
    write_metaimage,
)

CONTRAST_HU = (330.0, 25.0)  # mean and deviation, of a patient's blood
PLUG_HU = (50.0, 15.0)
VESSEL_MM = (7.5, 10.5)  # radius
PLUG_SHARE = 0.7  # of the vessel's radius
APART_MM = 40.0
SECOND = 0.3  # share of emboli that two candidates hit
TEST_SHARE = 39 / 117  # of patients, as in the published lists


class Options(Frozen):
    """How many phantoms, and how large.

    Attributes:
        seed: Of everything drawn.
        patients: One scan each.
        emboli: In each.
        nodes: Candidates beside a vessel, in each.
        plain: Candidates in a vessel without anything, in each.
        voxels: Of a scan; they cover 384×256×320 mm.
    """

    seed: int = Field(ge=0)
    patients: int = Field(ge=6)
    emboli: int = Field(default=3, ge=1)
    nodes: int = Field(default=6, ge=1)
    plain: int = Field(default=2, ge=0)
    voxels: tuple[int, int, int]


def write(folder: Path, options: Mapping[str, object]) -> dict[str, JsonValue]:
    """Write the data set into ``folder``; returns facts for the manifest.

    Raises:
        Unavailable: If the optional package for NIfTI is missing.
    """
    chosen = Options.model_validate(dict(options))
    (folder / layout.SCANS).mkdir()
    drawn = generator_of(chosen.seed, "pe_cad", "patients")
    names = [f"Patient{number:05d}" for number in np.sort(drawn.permutation(9000)[: chosen.patients])]
    test = set(drawn.permutation(chosen.patients)[: round(TEST_SHARE * chosen.patients)].tolist())
    rows: list[list[object]] = []
    for patient, name in enumerate(names):
        blood = float(generator_of(chosen.seed, "pe_cad", "blood", patient).normal(*CONTRAST_HU))
        body, generator = make_patient(chosen.seed, "pe_cad", patient, chosen.voxels, blood)
        found = paint(body, chosen, blood, generator)
        scan = body.finish(NOISE_HU, BLUR, generator)
        path = folder / layout.SCANS / name
        if patient % 3 == 2:
            _write_nifti(path.with_suffix(".nii.gz"), scan, body.affine)
        else:
            write_metaimage(path.with_suffix(".mhd"), scan, body.affine, flipped=patient % 3 == 1)
        rows += [[name, *(f"{value:.3f}" for value in point), label, embolus] for point, label, embolus in found]
    order = drawn.permutation(len(rows))
    lines = [",".join(layout.COLUMNS), *(",".join(map(str, rows[i])) for i in order)]
    (folder / layout.CANDIDATES).write_text("\n".join(lines) + "\n")
    splits = [f"{name},{'test' if patient in test else 'train'}" for patient, name in enumerate(names)]
    (folder / layout.SPLITS_FILE).write_text("\n".join(["patient_id,split", *splits]) + "\n")
    return {"stamp": "SYNTHETIC: analytic phantoms", "images": len(rows), "patients": chosen.patients}


def paint(
    body: Body, options: Options, blood: float, generator: np.random.Generator
) -> list[tuple[np.ndarray, int, int | str]]:
    """Paint vessels and what lies in or beside them; returns point, class and embolus of each candidate."""
    taken: list[np.ndarray] = []
    found: list[tuple[np.ndarray, int, int | str]] = []
    embolus = 0
    for kind in ["embolus"] * options.emboli + ["node"] * options.nodes + ["plain"] * options.plain:
        point = place_in_lung(body, 14.0, taken, APART_MM, generator)
        radius, heading = generator.uniform(*VESSEL_MM), direction(generator)
        thickness, dark = PLUG_SHARE * radius, generator.normal(*PLUG_HU)
        half = heading * generator.uniform(3.0, 7.0)
        if kind == "node":  # the candidate is the node; the vessel runs beside it
            vessel = point + across(heading, generator) * (radius + thickness)
            paint_piece(body, vessel, heading, radius, blood, generator)
            body.paint_tube(point - half, point + half, thickness, dark)
            found.append((point, 0, ""))
            continue
        body.paint_tube(point - 3 * half, point + 3 * half, radius, blood)
        paint_piece(body, point, heading, radius, blood, generator)
        if kind == "plain":
            found.append((point, 0, ""))
            continue
        body.paint_tube(point - half, point + half, thickness, dark)
        embolus += 1
        found.append((point, 1, embolus))
        if generator.random() < SECOND:
            found.append((point + 0.4 * half, 1, embolus))
    return found


def _write_nifti(path: Path, voxels: np.ndarray, affine: np.ndarray) -> None:
    """Write a scan in NIfTI's own orientation (RAS), so that a reader must turn x and y back."""
    nibabel = optional("nibabel", "nibabel", "NIfTI files")
    turned = affine.copy()
    turned[:2, 3] += np.diag(affine)[:2] * (np.array(voxels.shape[:2]) - 1)
    turned[:2, :2] *= -1.0
    image = nibabel.Nifti1Image(np.ascontiguousarray(voxels[::-1, ::-1]), lps_from_ras(turned))
    nibabel.save(image, path)
