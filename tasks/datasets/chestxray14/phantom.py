"""Phantoms of ChestX-ray14: analytic radiographs with fourteen findings, written exactly as the data set lies on disk.

Every quirk that the adapter copes with is written: several follow-ups a patient, both header forms, one RGBA PNG, the
box file whose header has nine fields and whose rows have six, ``Infiltrate``, the official lists and the authors'.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, JsonValue

from harness.late import cv2
from harness.seeding import seed
from harness.spec import Frozen
from tasks.datasets.chestxray14 import adapter as layout
from tasks.phantoms.findings import Painter, draw_findings, shape_by_findings
from tasks.phantoms.thorax import Thorax, draw_builds
from tasks.phantoms.variety import vary

BATCH = 256  # images rendered at once; part of the recipe, for each batch has a generator of its own
BOXED = {  # classes that the real box file knows, in its own spelling
    "Atelectasis": "Atelectasis",
    "Cardiomegaly": "Cardiomegaly",
    "Effusion": "Effusion",
    "Infiltration": "Infiltrate",
    "Mass": "Mass",
    "Nodule": "Nodule",
    "Pneumonia": "Pneumonia",
    "Pneumothorax": "Pneumothorax",
}
HEADERS = {
    "v2020": ("Data_Entry_2017_v2020.csv", "Patient Gender", ""),
    "v2020_sex": ("Data_Entry_2017_v2020.csv", "Patient Sex", ""),
    "v2017": ("Data_Entry_2017.csv", "Patient Gender", ","),
}


class Options(Frozen):
    """How many phantoms, and how they are made.

    Attributes:
        seed: Of everything drawn.
        train, validation, test: Images. A patient's images share a split.
        file_px: Side of the PNGs; the real ones have 1,024. Boxes are in this frame.
        header: Which form of the label file is written.
        lists: ``authors``: their train and validation lists too; ``official``: train_val and test alone.
        folders: ``one``: ``images/``; ``mirror``: ``images_001/images/`` …
        strength: Contrast of the findings.
        follow_ups_mean: Mean number of images a patient; 3.6 in the real set.
        variety: How much images differ: the patients' builds (``tasks.phantoms.thorax.draw_builds``), and, above 1,
            beam and soft tissue (``tasks.phantoms.variety``).
    """

    seed: int = Field(ge=0)
    train: int = Field(ge=20)
    validation: int = Field(ge=5)
    test: int = Field(ge=10)
    file_px: int = Field(ge=32)
    header: Literal["v2020", "v2020_sex", "v2017"] = "v2020"
    lists: Literal["authors", "official"] = "authors"
    folders: Literal["one", "mirror"] = "one"
    strength: float = Field(default=1.0, gt=0)
    follow_ups_mean: float = Field(default=3.6, ge=1)
    variety: float = Field(default=1.0, ge=1)


def write(folder: Path, options: Mapping[str, object]) -> dict[str, JsonValue]:
    """Write the data set into ``folder``.

    Args:
        folder: Where ``images/``, the label, box and list files go.
        options: See ``Options``.

    Returns:
        Facts for the manifest.
    """
    chosen = Options.model_validate(dict(options))
    generator = np.random.Generator(np.random.PCG64(seed(chosen.seed, "chestxray14", "patients")))
    split_of, patient_of, follow_up = _draw_patients(chosen, generator)
    present = draw_findings(patient_of, layout.LABELS, generator)
    builds = draw_builds(patient_of, generator, chosen.variety)
    names = [f"{patient + 1:08d}_{number:03d}.png" for patient, number in zip(patient_of, follow_up, strict=True)]
    count = len(names)
    places = ["images" if chosen.folders == "one" else f"images_{1 + 12 * i // count:03d}/images" for i in range(count)]
    for place in sorted(set(places)):
        (folder / place).mkdir(parents=True)
    boxes: list[tuple[int, str, int, int, int, int]] = []
    with ThreadPoolExecutor(1) as writer:  # PNG encoding beside rendering; the bytes do not depend on it
        for start in range(0, count, BATCH):
            rows = np.arange(start, min(start + BATCH, count))
            drawn = np.random.Generator(np.random.PCG64(seed(chosen.seed, "chestxray14", "images", start)))
            build = builds.take(rows)
            here = {label: present[rows, i] for i, label in enumerate(layout.LABELS)}
            shape_by_findings(build, here, drawn)
            thorax = Thorax(build, chosen.file_px, chosen.file_px, drawn)
            if chosen.variety > 1:
                apart = np.random.Generator(np.random.PCG64(seed(chosen.seed, "chestxray14", "variety", start)))
                vary(thorax, apart)
            painter = Painter(thorax, chosen.strength, drawn)
            for label in layout.LABELS:
                painter.paint(label, np.flatnonzero(here[label]))
            boxes += [(start + box[0], *box[1:]) for box in painter.boxes]
            images = thorax.render(drawn)
            writer.submit(_write_images, folder, [(places[r], names[r]) for r in rows], images, start == 0).result()
    _write_labels(folder, chosen, names, patient_of, follow_up, present, generator)
    _write_boxes(folder, names, split_of, boxes)
    _write_lists(folder, chosen, names, split_of, present)
    return {
        "stamp": "SYNTHETIC: analytic phantoms",
        "images": count,
        "patients": int(patient_of.max()) + 1,
        "boxes": sum(1 for b in boxes if b[1] in BOXED and split_of[b[0]] == "test"),
    }


def _draw_patients(options: Options, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return split, patient index and follow-up number of each image; splits have exactly the sizes asked for."""
    splits, patients, numbers = [], [], []
    patient = 0
    for name, size in (("train", options.train), ("validation", options.validation), ("test", options.test)):
        left = size
        while left:
            images = min(left, int(generator.geometric(1.0 / options.follow_ups_mean)))
            splits += [name] * images
            patients += [patient] * images
            numbers += list(range(images))
            left -= images
            patient += 1
    return np.array(splits), np.array(patients), np.array(numbers)


def _write_images(folder: Path, places: list[tuple[str, str]], images: np.ndarray, first: bool) -> None:
    for row, ((place, name), image) in enumerate(zip(places, images, strict=True)):
        written = cv2.cvtColor(image, cv2.COLOR_GRAY2BGRA) if first and row == 3 else image  # a few real ones are RGBA
        if not cv2.imwrite(str(folder / place / name), written, [cv2.IMWRITE_PNG_COMPRESSION, 1]):
            raise OSError(f"could not write {folder / place / name}")


def _write_labels(
    folder: Path,
    options: Options,
    names: list[str],
    patient_of: np.ndarray,
    follow_up: np.ndarray,
    present: np.ndarray,
    generator: np.random.Generator,
) -> None:
    file, sex, tail = HEADERS[options.header]
    patients = int(patient_of.max()) + 1
    sexes, ages = generator.integers(0, 2, patients), generator.integers(18, 90, patients)
    views = generator.random(len(names)) < 0.6
    lines = [
        f"Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,{sex},View Position,"
        f"OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]{tail}"
    ]
    for row, name in enumerate(names):
        found = "|".join(sorted(layout.LABELS[i] for i in np.flatnonzero(present[row]))) or layout.NO_FINDING
        patient = int(patient_of[row])
        age = 414 if tail and row == 5 else int(ages[patient])  # the first release has such ages
        letter, view = "FM"[sexes[patient]], "PA" if views[row] else "AP"
        side = options.file_px
        lines.append(
            f"{name},{found},{follow_up[row]},{patient + 1},{age},{letter},{view},{side},{side},0.143,0.143{tail}"
        )
    (folder / file).write_text("\n".join(lines) + "\n")


def _write_boxes(
    folder: Path, names: list[str], split_of: np.ndarray, boxes: list[tuple[int, str, int, int, int, int]]
) -> None:
    """Boxes lie on test images only, as the real ones do."""
    lines = ["Image Index,Finding Label,Bbox [x,y,w,h],,,"]
    for row, label, x, y, width, height in sorted(boxes):
        if label in BOXED and split_of[row] == "test":
            lines.append(f"{names[row]},{BOXED[label]},{x:.4f},{y:.4f},{width:.4f},{height:.4f}")
    (folder / layout.BOX_FILE).write_text("\n".join(lines) + "\n")


def _write_lists(folder: Path, options: Options, names: list[str], split_of: np.ndarray, present: np.ndarray) -> None:
    rest = [n for n, s in zip(names, split_of, strict=True) if s != "test"]
    (folder / layout.TRAIN_VALIDATION_LIST).write_text("\n".join(rest) + "\n")
    (folder / layout.TEST_LIST).write_text(
        "\n".join(n for n, s in zip(names, split_of, strict=True) if s == "test") + "\n"
    )
    if options.lists == "authors":
        for part, file in layout.AUTHORS_LISTS.items():
            lines = [
                f"{names[row]} {' '.join(str(int(value)) for value in present[row])}"
                for row in np.flatnonzero(split_of == part)
            ]
            (folder / file).write_text("\n".join(lines) + "\n")
