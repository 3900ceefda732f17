"""Phantoms of the Montgomery set: analytic radiographs with a mask for each lung, written as the data set lies on disk.

Portrait and landscape, masks in two folders, a ``Thumbs.db`` among the images, readings with ages such as ``027Y``.
About two fifths carry a shadow of tuberculosis, which hides part of a lung's edge. The mask is the lung as readers draw
it: without what lies behind the heart and below the dome.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from pydantic import Field, JsonValue

from harness.late import cv2
from harness.seeding import seed
from harness.spec import Frozen
from tasks.datasets.montgomery import adapter as layout
from tasks.phantoms.thorax import Build, Thorax, draw_builds, smooth_noise, smooth_step

ILL = 58 / 138  # share with tuberculosis in the real set


class Options(Frozen):
    """How many phantoms, and how large.

    Attributes:
        seed: Of everything drawn.
        images: One a patient.
        file_px: Short and long side of the PNGs; the real ones have 4,020 and 4,892.
        strength: Contrast of the shadows.
    """

    seed: int = Field(ge=0)
    images: int = Field(ge=5)
    file_px: tuple[int, int]
    strength: float = Field(default=1.0, gt=0)


def write(folder: Path, options: Mapping[str, object], thorax: type[Thorax] = Thorax) -> dict[str, JsonValue]:
    """Write the data set into ``folder/MontgomerySet``; returns facts for the manifest.

    Args:
        folder: Where to.
        options: See ``Options``.
        thorax: What is rendered.
    """
    chosen = Options.model_validate(dict(options))
    generator = np.random.Generator(np.random.PCG64(seed(chosen.seed, "montgomery", "patients")))
    numbers = np.sort(generator.permutation(np.arange(1, max(400, 3 * chosen.images)))[: chosen.images])
    ill = generator.random(chosen.images) < ILL
    landscape = generator.random(chosen.images) < 0.5
    build = draw_builds(np.arange(chosen.images), generator)
    root = folder / "MontgomerySet"
    for name in (layout.IMAGES, layout.LEFT, layout.RIGHT, layout.READINGS):
        (root / name).mkdir(parents=True)
    (root / layout.IMAGES / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0not an image")
    short, long = chosen.file_px
    for wide in (False, True):
        rows = np.flatnonzero(landscape == wide)
        if len(rows):
            height, width = (short, long) if wide else (long, short)
            part = build.take(rows)
            part.scale *= min(1.0, width / height) ** 0.8  # the whole rib cage stays in a narrow frame
            drawn = np.random.Generator(np.random.PCG64(seed(chosen.seed, "montgomery", "images", int(wide))))
            _write_images(
                root, [_name(numbers[r], ill[r]) for r in rows], part, ill[rows], (height, width), chosen, drawn, thorax
            )
    sexes, ages = generator.integers(0, 2, chosen.images), generator.integers(4, 90, chosen.images)
    for row, number in enumerate(numbers):
        reading = "shadows in the upper lung" if ill[row] else "normal"
        text = f"Patient's Sex: {'FM'[sexes[row]]}\nPatient's Age: {ages[row]:03d}Y\n{reading}\n"
        (root / layout.READINGS / _name(number, ill[row]).replace(".png", ".txt")).write_text(text)
    return {"stamp": "SYNTHETIC: analytic phantoms", "images": chosen.images, "patients": chosen.images}


def _name(number: int, ill: bool) -> str:
    return f"MCUCXR_{number:04d}_{int(ill)}.png"


def _write_images(
    root: Path,
    names: list[str],
    build: Build,
    ill: np.ndarray,
    size: tuple[int, int],
    options: Options,
    generator: np.random.Generator,
    kind: type[Thorax],
) -> None:
    thorax = kind(build, *size, generator)
    # shadows: soft, mottled, in the upper lung, sometimes across its edge
    count = (len(names), 1, 1)
    side = np.where(generator.random(count) < 0.5, 1.0, -1.0).astype(np.float32)
    cu, cv = side * generator.uniform(0.10, 0.28, count), generator.uniform(-0.32, 0.10, count)
    radius = generator.uniform(0.06, 0.14, count)
    blob = smooth_step((1.0 - np.sqrt(((thorax.u - cu) / radius) ** 2 + ((thorax.v - cv) / radius) ** 2)) / 0.2)
    blob *= smooth_step((thorax.wall + 0.015) / 0.01)
    mottled = np.clip(0.7 + 0.6 * smooth_noise(thorax.u.shape, 16, generator), 0.0, 2.0)
    thorax.depth += (options.strength * 0.40 * blob * mottled * ill[:, None, None]).astype(np.float32)
    images = thorax.render(generator)
    lung = thorax.lung > 0
    for row, name in enumerate(names):
        right_of_image = thorax.u[row] > 0  # the patient's left
        _write(root / layout.IMAGES / name, images[row])
        _write(root / layout.LEFT / name, (lung[row] & right_of_image).astype(np.uint8) * 255)
        _write(root / layout.RIGHT / name, (lung[row] & ~right_of_image).astype(np.uint8) * 255)


def _write(path: Path, image: np.ndarray) -> None:
    if not cv2.imwrite(str(path), image, [cv2.IMWRITE_PNG_COMPRESSION, 1]):
        raise OSError(f"could not write {path}")
