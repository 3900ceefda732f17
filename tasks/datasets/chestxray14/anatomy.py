"""The anatomy cohort: true patients, labels, follow-ups and boxes; projections of one real scan; painted findings.

A sample of true patients. Those with a box or with an image among the 1,962 test ids of a published
relabelling are in the official test list; those among its 2,414 validation ids are not. Rows of the label file are
written as they are; each image is a projection of the one scan, varied per patient and image, with each of its labels
painted: at the true box where there is one, otherwise where boxes of that class lie. Boxes are the true ones, scaled.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from pydantic import Field, JsonValue

from harness.late import cv2, pd
from harness.seeding import seed
from harness.spec import Frozen
from tasks.datasets.chestxray14 import adapter as layout
from tasks.layouts.index import boxes_of
from tasks.phantoms.anatomy_files import STAMP, locate
from tasks.phantoms.projection import Projection
from tasks.phantoms.real_boxes import RealPainter
from tasks.phantoms.thorax import draw_builds

BATCH = 128
REAL_PX = 1024  # the frame of the real boxes


class Options(Frozen):
    """How large a sample, and how it is painted.

    Attributes:
        seed: Of the sample and of everything drawn.
        train_validation, test: Images, at least; a patient's images are all taken.
        most_images: Patients with more images are left out, so that a small sample has many patients and boxes.
        file_px: Side of the PNGs.
        strength: Contrast of the findings.
    """

    seed: int = Field(ge=0)
    train_validation: int = Field(ge=20)
    test: int = Field(ge=10)
    most_images: int = Field(default=12, ge=1)
    file_px: int = Field(ge=32)
    strength: float = Field(default=1.0, gt=0)


def write(folder: Path, options: Mapping[str, object]) -> dict[str, JsonValue]:
    """Write the sample in ChestX-ray14's layout; returns facts for the manifest."""
    chosen = Options.model_validate(dict(options))
    text = gzip.decompress(locate("labels").read_bytes()).decode("utf-8-sig")
    table = folder / layout.LABEL_FILES[0]
    table.write_text(text)
    cases = layout.read_labels(table)
    box_text = folder / layout.BOX_FILE
    box_text.write_bytes(gzip.decompress(locate("boxes").read_bytes()))
    boxes = layout.read_boxes(box_text)
    test, rest = _official(cases, boxes, gzip.decompress(locate("relabelled").read_bytes()).decode())
    generator = np.random.Generator(np.random.PCG64(seed(chosen.seed, "anatomy", "patients")))
    sizes = cases["patient"].value_counts()
    fits = set(sizes.index[sizes <= chosen.most_images])
    test, rest = test & fits, rest & fits
    boxed = test & set(cases.loc[cases["case"].isin(set(boxes["case"])), "patient"])
    taken = {
        "test": _sample(sorted(boxed), sorted(test - boxed), sizes, chosen.test, generator),
        "train_validation": _sample([], sorted(rest), sizes, chosen.train_validation, generator),
    }
    kept = cases[cases["patient"].isin(taken["test"] | taken["train_validation"])].reset_index(drop=True)
    lines = text.splitlines()
    names = set(kept["case"])
    table.write_text("\n".join([lines[0], *(line for line in lines[1:] if line.split(",", 1)[0] in names)]) + "\n")
    boxes = boxes[boxes["case"].isin(names)].reset_index(drop=True)
    _write_boxes(box_text, boxes, chosen.file_px / REAL_PX)
    in_test = kept["patient"].isin(taken["test"])
    (folder / layout.TEST_LIST).write_text("\n".join(kept.loc[in_test, "case"]) + "\n")
    (folder / layout.TRAIN_VALIDATION_LIST).write_text("\n".join(kept.loc[~in_test, "case"]) + "\n")
    _write_images(folder / "images", kept, boxes, chosen, generator)
    return {"stamp": STAMP, "images": len(kept), "patients": int(kept["patient"].nunique()), "boxes": len(boxes)}


def _official(cases: pd.DataFrame, boxes: pd.DataFrame, relabelled: str) -> tuple[set[str], set[str]]:
    """Return the patients known to be in the official test list and those known not to be."""
    patient = dict(zip(cases["case"], cases["patient"], strict=True))
    test = {patient[name] for name in boxes["case"]}
    rest: set[str] = set()
    for line in relabelled.splitlines()[1:]:
        fields = line.split(",")
        (test if fields[-1].strip() == "test" else rest).add(patient[fields[0]])
    return test, rest - test


def _sample(
    first: list[str], others: list[str], sizes: pd.Series[int], images: int, generator: np.random.Generator
) -> set[str]:
    """Take patients in random order, half of the images from ``first``, until there are enough images."""
    taken: set[str] = set()
    count = 0
    for group, goal in ((first, images // 2), (others, images)):
        for i in generator.permutation(len(group)):
            if count >= goal:
                break
            taken.add(group[i])
            count += int(sizes[group[i]])
    return taken


def _write_boxes(path: Path, boxes: pd.DataFrame, scale: float) -> None:
    spelling = {ours: theirs for theirs, ours in layout.BOX_SPELLING.items()}
    lines = ["Image Index,Finding Label,Bbox [x,y,w,h],,,"]
    for box in boxes_of(boxes):
        values = ",".join(f"{scale * v:.4f}" for v in (box.x, box.y, box.width, box.height))
        lines.append(f"{box.case},{spelling.get(box.label, box.label)},{values}")
    path.write_text("\n".join(lines) + "\n")


def _write_images(
    folder: Path, cases: pd.DataFrame, boxes: pd.DataFrame, options: Options, generator: np.random.Generator
) -> None:
    folder.mkdir()
    patients = {name: i for i, name in enumerate(cases["patient"].unique())}
    builds = draw_builds(cases["patient"].map(patients).to_numpy(), generator)
    given = {(box.case, box.label): (box.x, box.y, box.width, box.height) for box in boxes_of(boxes)}
    for start in range(0, len(cases), BATCH):
        part = cases.iloc[start : start + BATCH]
        drawn = np.random.Generator(np.random.PCG64(seed(options.seed, "anatomy", "images", start)))
        thorax = Projection(builds.take(slice(start, start + len(part))), options.file_px, options.file_px, drawn)
        painter = RealPainter(thorax, options.strength, drawn)
        painter.given = {
            (row, label): (x / REAL_PX, y / REAL_PX, width / REAL_PX, height / REAL_PX)
            for row, case in enumerate(part["case"])
            for label in layout.LABELS
            if (case, label) in given
            for x, y, width, height in [given[case, label]]
        }
        for label in layout.LABELS:
            painter.paint(label, np.flatnonzero(part[label]))
        for case, image in zip(part["case"], thorax.render(drawn), strict=True):
            if not cv2.imwrite(str(folder / case), image, [cv2.IMWRITE_PNG_COMPRESSION, 1]):
                raise OSError(f"could not write {folder / case}")
