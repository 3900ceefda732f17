"""Phantoms of CheXpert: analytic radiographs with fourteen findings, written exactly as the data set lies on disk.

The tree, the header, all four cell states, laterals, an ``LL`` and an ``RL`` row, a Sex ``Unknown``, an age of 0,
studies out of order, JPEGs of three sizes. What is painted is the truth; labels err in uncertain and empty cells alone,
so that policies for them can be told apart: of the uncertain cells 70 % are truly positive, 5 % of the positives are
left empty. How many cells are uncertain follows the real ratio of uncertain to positive cells of each label.
``valid.csv`` says the truth, and holds no fracture, as the real one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, JsonValue

from harness.late import cv2
from harness.seeding import seed
from harness.spec import Frozen
from tasks.datasets.chexpert import adapter as layout
from tasks.phantoms.elementary import exp, power, sin
from tasks.phantoms.findings import Painter, shape_by_findings
from tasks.phantoms.thorax import Build, Thorax, draw_builds, smooth_step

BATCH = 256  # images rendered at once; part of the recipe, for each batch has a generator of its own
# Share of studies that truly show a finding: about the real share of positive cells and 70 % of the uncertain ones, the
# rare ones raised. No Finding and Lung Opacity follow from the others.
PREVALENCE = {
    "Enlarged Cardiomediastinum": 0.09,
    "Cardiomegaly": 0.15,
    "Lung Lesion": 0.06,
    "Edema": 0.22,
    "Consolidation": 0.13,
    "Pneumonia": 0.08,
    "Atelectasis": 0.22,
    "Pneumothorax": 0.10,
    "Pleural Effusion": 0.35,
    "Pleural Other": 0.05,
    "Fracture": 0.06,
    "Support Devices": 0.50,
}
OPACITIES = ("Lung Lesion", "Edema", "Consolidation", "Pneumonia", "Atelectasis")
OPACITY_ALONE = 0.10
CELLS = {  # positive, negative, uncertain, empty cells of train.csv, counted
    "Enlarged Cardiomediastinum": (10_798, 21_638, 12_403, 178_575),
    "Cardiomegaly": (27_000, 11_116, 8_087, 177_211),
    "Lung Opacity": (105_581, 6_599, 5_598, 105_636),
    "Lung Lesion": (9_186, 1_270, 1_488, 211_470),
    "Edema": (52_246, 20_726, 12_984, 137_458),
    "Consolidation": (14_783, 28_097, 27_742, 152_792),
    "Pneumonia": (6_039, 2_799, 18_770, 195_806),
    "Atelectasis": (33_376, 1_328, 33_739, 154_971),
    "Pneumothorax": (19_448, 56_341, 3_145, 144_480),
    "Pleural Effusion": (86_187, 35_396, 11_628, 90_203),
    "Pleural Other": (3_523, 316, 2_653, 216_922),
    "Fracture": (9_040, 2_512, 642, 211_220),
    "Support Devices": (116_001, 6_137, 1_079, 100_197),
}
TRUE_IF_UNCERTAIN = 0.7
EMPTY_IF_TRUE = 0.05
PAINTED_AS = {
    "Edema": ("Edema",),
    "Consolidation": ("Consolidation",),
    "Pneumonia": ("Pneumonia",),
    "Atelectasis": ("Atelectasis",),
    "Pneumothorax": ("Pneumothorax",),
    "Pleural Effusion": ("Effusion",),
    "Pleural Other": ("Pleural_Thickening",),
    "Lung Lesion": ("Mass", "Nodule"),
}


class Options(Frozen):
    """How many phantoms, and how they are made.

    Attributes:
        seed: Of everything drawn.
        train: Rows of ``train.csv``, from which validation is cut.
        test: Rows of ``valid.csv``.
        file_px: Short and long side of the JPEGs, even numbers; about 320 and 390 in the small download.
        folder: Which download the tree is. path_root: What ``Path`` starts with; the folder if left out.
        strength: Contrast of the findings.
        studies_mean: Mean number of studies a training patient; 2.9 in the real set.
    """

    seed: int = Field(ge=0)
    train: int = Field(ge=30)
    test: int = Field(ge=20)
    file_px: tuple[int, int]
    folder: Literal["CheXpert-v1.0-small", "CheXpert-v1.0"] = "CheXpert-v1.0-small"
    path_root: str | None = None
    strength: float = Field(default=1.0, gt=0)
    studies_mean: float = Field(default=2.9, ge=1)


@dataclass
class _Images:
    """One entry an image: which patient and study, its number in the study, and whether it is a lateral."""

    patient: np.ndarray
    study: np.ndarray  # over all patients, from 0
    study_number: np.ndarray
    view_number: np.ndarray
    lateral: np.ndarray
    test: np.ndarray


def write(folder: Path, options: Mapping[str, object]) -> dict[str, JsonValue]:
    """Write the data set into ``folder/CheXpert-v1.0-small`` (or as ``Options.folder`` says); returns facts."""
    chosen = Options.model_validate(dict(options))
    generator = np.random.Generator(np.random.PCG64(seed(chosen.seed, "chexpert", "patients")))
    images = _draw_images(chosen, generator)
    truth = _draw_truth(images, generator)
    builds = draw_builds(images.patient, generator)
    root = folder / chosen.folder
    paths = [
        f"{'valid' if test else 'train'}/patient{patient + 1:05d}/study{study}/view{view}_"
        f"{'lateral' if lateral else 'frontal'}.jpg"
        for patient, study, view, lateral, test in zip(
            images.patient, images.study_number, images.view_number, images.lateral, images.test, strict=True
        )
    ]
    for parent in sorted({str(Path(path).parent) for path in paths}):
        (root / parent).mkdir(parents=True)
    short, long = chosen.file_px
    middle = (short + long) // 4 * 2
    sizes = [(short, long), (long, short), (middle, middle)]  # height, width
    size_of = generator.choice(len(sizes), len(paths), p=(0.6, 0.25, 0.15))
    for size in range(len(sizes)):
        everything = np.flatnonzero(size_of == size)
        for start in range(0, len(everything), BATCH):
            rows = everything[start : start + BATCH]
            drawn = np.random.Generator(np.random.PCG64(seed(chosen.seed, "chexpert", "images", size, start)))
            here = {label: truth[rows, i] for i, label in enumerate(layout.LABELS)}
            pictures = _paint(builds.take(rows), here, images.lateral[rows], sizes[size], chosen.strength, drawn)
            for row, picture in zip(rows, pictures, strict=True):
                if not cv2.imwrite(str(root / paths[row]), picture, [cv2.IMWRITE_JPEG_QUALITY, 92]):
                    raise OSError(f"could not write {root / paths[row]}")
    _write_labels(root, chosen, images, truth, paths, generator)
    return {
        "stamp": "SYNTHETIC: analytic phantoms",
        "images": len(paths),
        "patients": int(images.patient.max()) + 1,
    }


def _draw_images(options: Options, generator: np.random.Generator) -> _Images:
    """Draw patients, studies and views; train and test have exactly the sizes asked for, patients in one alone."""
    rows: list[tuple[int, int, int, int, bool, bool]] = []
    patient = study = 0
    left = options.train
    while left:
        # the first three patients have two studies at least
        studies = max(int(generator.geometric(1.0 / options.studies_mean)), 2 if patient < 3 else 1)
        for number in range(1, studies + 1):
            views = [False] + [False] * int(generator.random() < 0.018) + [True] * int(generator.random() < 0.173)
            for view, lateral in enumerate(views[:left], start=1):
                rows.append((patient, study, number, view, lateral, False))
            left -= min(left, len(views))
            study += 1
            if not left:
                break
        patient += 1
    laterals = round(options.test * 32 / 234)
    second = round(options.test * 2 / 234)
    patients = options.test - laterals - second
    for i in range(patients):  # one study a patient, as in valid.csv
        views = [False] + [False] * int(i < second) + [True] * int(i >= patients - laterals)
        for view, lateral in enumerate(views, start=1):
            rows.append((patient, study, 1, view, lateral, True))
        patient, study = patient + 1, study + 1
    return _Images(*(np.array(column) for column in zip(*rows, strict=True)))


def _draw_truth(images: _Images, generator: np.random.Generator) -> np.ndarray:
    """Draw what is really there, bool ``(N, 14)``; a patient's studies resemble one another, a study's views agree."""
    studies, patients = int(images.study.max()) + 1, int(images.patient.max()) + 1
    patient_of = np.zeros(studies, int)
    patient_of[images.study] = images.patient
    healthy = (generator.random(patients) < 0.15)[patient_of]
    names = [label for label in layout.LABELS if label in PREVALENCE]
    prevalence = np.array([PREVALENCE[label] for label in names])
    prevalence = np.where([label == "Support Devices" for label in names], prevalence, prevalence / 0.85)
    prone = generator.random((patients, len(names)))[patient_of]
    now = generator.random((studies, len(names)))
    drawn = np.where(now < 0.5, prone < prevalence, generator.random(now.shape) < prevalence)
    state = {label: drawn[:, i] for i, label in enumerate(names)}
    for label in names:
        if label != "Support Devices":
            state[label] &= ~healthy
    alone = (generator.random(studies) < OPACITY_ALONE) & ~healthy
    state["Lung Opacity"] = np.any([alone, *(state[label] for label in OPACITIES)], axis=0)
    test = np.zeros(studies, bool)
    test[images.study] = images.test
    state["Fracture"] &= ~test
    found = np.any([state[label] for label in state if label != "Support Devices"], axis=0)
    state["No Finding"] = ~found
    present: np.ndarray = np.stack([state[label] for label in layout.LABELS], axis=1)[images.study]
    return present


def _paint(
    build: Build,
    here: Mapping[str, np.ndarray],
    lateral: np.ndarray,
    size: tuple[int, int],
    strength: float,
    generator: np.random.Generator,
) -> np.ndarray:
    height, width = size
    build.scale *= min(1.0, width / height) ** 0.8  # the whole rib cage stays in a narrow frame
    nobody = np.zeros(len(lateral), bool)
    shape_by_findings(build, {"Cardiomegaly": here["Cardiomegaly"], "Emphysema": nobody}, generator)
    thorax = Thorax(build, height, width, generator)
    painter = Painter(thorax, strength, generator)
    for label, patterns in PAINTED_AS.items():
        which = generator.integers(0, len(patterns), len(lateral))
        for i, pattern in enumerate(patterns):
            painter.paint(pattern, np.flatnonzero(here[label] & (which == i)))
    others = np.any([here[label] for label in OPACITIES], axis=0)
    painter.paint("Infiltration", np.flatnonzero(here["Lung Opacity"] & ~others))
    paint_beyond_the_lungs(thorax, here, strength, generator)
    rows = np.flatnonzero(lateral)
    thorax.depth[rows] = _from_the_side(thorax.depth[rows])
    return thorax.render(generator)


def paint_beyond_the_lungs(
    thorax: Thorax, here: Mapping[str, np.ndarray], strength: float, generator: np.random.Generator
) -> None:
    """Add to the depth, in place, what lies outside the lungs; ``here`` says who has it: label → bool ``(N,)``."""
    for label, pattern in (
        ("Enlarged Cardiomediastinum", _wide_mediastinum),
        ("Fracture", _fracture),
        ("Support Devices", _devices),
    ):
        rows = np.flatnonzero(here[label])
        if len(rows):
            thorax.depth[rows] += np.float32(strength) * pattern(thorax.u[rows], thorax.v[rows], generator)


def _wide_mediastinum(u: np.ndarray, v: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """A broad shadow between the lungs, above the heart."""
    half = generator.uniform(0.085, 0.12, (len(u), 1, 1)).astype(np.float32)
    found: np.ndarray = (
        0.22 * exp(-(power(u / half, 4))) * smooth_step((v + 0.34) / 0.03) * smooth_step((0.08 - v) / 0.04)
    )
    return found


def _fracture(u: np.ndarray, v: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """A dark cleft in a rib at the side, with bright callus about it."""
    shape = (len(u), 1, 1)
    side = np.where(generator.random(shape) < 0.5, 1.0, -1.0).astype(np.float32)
    cu = side * generator.uniform(0.22, 0.29, shape).astype(np.float32)
    cv = generator.uniform(-0.15, 0.15, shape).astype(np.float32)
    reach = np.sqrt((u - cu) ** 2 + (v - cv) ** 2)
    return 0.34 * exp(-((reach / 0.035) ** 2)) - 0.45 * exp(-(((u - cu) / 0.008) ** 2) - ((v - cv) / 0.03) ** 2)


def _devices(u: np.ndarray, v: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """A catheter down the middle and two electrodes on the chest: bright, sharp."""
    shape = (len(u), 1, 1)
    bend = generator.normal(0.0, 0.03, shape).astype(np.float32)
    tip = generator.uniform(-0.10, 0.10, shape).astype(np.float32)
    line = exp(-(((u + 0.02 - bend * sin(6.0 * v)) / 0.008) ** 2)) * smooth_step((tip - v) / 0.01)
    found: np.ndarray = 0.30 * line
    for sign in (-1.0, 1.0):
        cu = sign * generator.uniform(0.10, 0.26, shape).astype(np.float32)
        cv = generator.uniform(-0.25, 0.15, shape).astype(np.float32)
        found = found + 0.35 * smooth_step((0.018 - np.sqrt((u - cu) ** 2 + (v - cv) ** 2)) / 0.003)
    return found


def _from_the_side(depth: np.ndarray) -> np.ndarray:
    """Fold a thorax at its middle: both lungs lie on one another and the spine along one edge, as in a lateral."""
    width = depth.shape[2]
    folded = 0.5 * (depth + depth[:, :, ::-1])[:, :, width // 2 :]
    return np.repeat(folded, 2, axis=2)[:, :, :width]


def _cells(images: _Images, truth: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Turn the truth into cells, str ``(N, 14)``: a study's views carry the same."""
    studies = int(images.study.max()) + 1
    drawn = generator.random((studies, len(layout.LABELS)))[images.study]
    cells = np.full(truth.shape, "", dtype="<U4")
    for i, label in enumerate(layout.LABELS):
        there, number = truth[:, i], drawn[:, i]
        if label == "No Finding":
            cells[there, i] = "1.0"
            continue
        positive, negative, uncertain, empty = CELLS[label]
        ratio = uncertain / positive
        said = (1.0 - EMPTY_IF_TRUE) / (1.0 + TRUE_IF_UNCERTAIN * ratio)
        cells[there & (number < said), i] = "1.0"
        cells[there & (number >= said) & (number < 1.0 - EMPTY_IF_TRUE), i] = "-1.0"
        odds = there.mean() / max(1.0 - there.mean(), 1e-6)
        unsure = min((1.0 - TRUE_IF_UNCERTAIN) * ratio * said * odds, 0.5)
        denied = unsure + (1.0 - unsure) * negative / (negative + empty)
        cells[~there & (number < unsure), i] = "-1.0"
        cells[~there & (number >= unsure) & (number < denied), i] = "0.0"
    exact = np.where(truth, "1.0", "0.0")
    return np.where(images.test[:, None], exact, cells)


def _write_labels(
    root: Path,
    options: Options,
    images: _Images,
    truth: np.ndarray,
    paths: list[str],
    generator: np.random.Generator,
) -> None:
    patients = int(images.patient.max()) + 1
    sexes, ages = generator.integers(0, 2, patients), generator.integers(18, 91, patients)
    projection = generator.random(len(paths)) < 0.85
    cells = _cells(images, truth, generator)
    odd = dict(zip(np.flatnonzero(~images.lateral & ~images.test)[5:7].tolist(), ("LL", "RL"), strict=True))
    lines = {part: [",".join(layout.HEADER)] for part in layout.FILES}
    # studies of a patient come in any order
    order = np.lexsort(
        (images.view_number, generator.random(int(images.study.max()) + 1)[images.study], images.patient)
    )
    order[:] = _second_before_first(order, images)
    for row in order.tolist():
        patient = int(images.patient[row])
        sex = "Unknown" if patient == 4 else ("Female", "Male")[sexes[patient]]
        age = 0 if patient == 5 else int(ages[patient])
        lateral = bool(images.lateral[row])
        view = "" if lateral else odd.get(row, "AP" if projection[row] else "PA")
        start = f"{options.path_root or options.folder}/{paths[row]},{sex},{age},{'Lateral' if lateral else 'Frontal'}"
        lines["valid" if images.test[row] else "train"].append(f"{start},{view},{','.join(cells[row])}")
    for part, name in layout.FILES.items():
        (root / name).write_text("\n".join(lines[part]) + "\n")


def _second_before_first(order: np.ndarray, images: _Images) -> np.ndarray:
    """Put the second study of the first patient before the first, as row 2 of the real file does."""
    first = order[images.patient[order] == 0]
    rest = order[images.patient[order] != 0]
    return np.concatenate([first[np.argsort(-images.study_number[first], kind="stable")], rest])
