"""The anatomy cohort of CheXpert: true rows of ``train.csv``, projections of one real scan, painted findings.

Whole patients are sampled, among them the one of unknown sex, those of age 0 and those with an ``LL`` or ``RL`` view;
their rows are written as they are, in the file's order. The package has no ``valid.csv``: rows of other patients
without an uncertain cell stand for it, moved to ``valid/``, with empty cells read as negative, as in training.

Frontal rows get a frontal projection, lateral rows one from the side. What a row says is painted; of the uncertain
cells a share is truly there, drawn per study and label, as in the analytic phantoms. Empty cells are not.
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
from tasks.datasets.chexpert import adapter as layout
from tasks.datasets.chexpert.phantom import OPACITIES, PAINTED_AS, TRUE_IF_UNCERTAIN, paint_beyond_the_lungs
from tasks.phantoms.anatomy_files import STAMP, locate
from tasks.phantoms.projection import Projection, View
from tasks.phantoms.real_boxes import RealPainter
from tasks.phantoms.thorax import draw_builds

BATCH = 128  # images rendered at once; part of the recipe, for each batch has a generator of its own
TISSUE = 1.0  # optical depth of the upper abdomen: lung full of fluid is no brighter


class Options(Frozen):
    """How large a sample, and how it is painted.

    Attributes:
        seed: Of the sample and of everything drawn.
        train, test: Rows of ``train.csv`` and ``valid.csv``, at least; a patient's images are all taken.
        most_images: Patients with more images are left out, so that a small sample has many patients.
        file_px: Short and long side of the JPEGs.
        strength: Contrast of the findings.
    """

    seed: int = Field(ge=0)
    train: int = Field(ge=30)
    test: int = Field(ge=20)
    most_images: int = Field(default=12, ge=1)
    file_px: tuple[int, int]
    strength: float = Field(default=1.0, gt=0)


def write(folder: Path, options: Mapping[str, object]) -> dict[str, JsonValue]:
    """Write the sample into ``folder/CheXpert-v1.0-small``; returns facts for the manifest."""
    chosen = Options.model_validate(dict(options))
    root = folder / "CheXpert-v1.0-small"
    root.mkdir()
    lines = gzip.decompress(locate("chexpert").read_bytes()).decode("utf-8-sig").splitlines()
    table = root / layout.FILES["train"]
    table.write_text("\n".join(lines) + "\n")
    cases = layout.read_labels(table)
    generator = np.random.Generator(np.random.PCG64(seed(chosen.seed, "anatomy", "chexpert")))
    taken = _sample(cases, lines, chosen, generator)
    kept = cases[cases["patient"].isin(taken["train"] | taken["valid"])].copy()
    kept["part"] = kept["patient"].isin(taken["valid"]).map({True: "valid", False: "train"})
    kept["path"] = kept["part"] + kept["case"].str.removeprefix("train")
    for part, name in layout.FILES.items():
        rows = [lines[i + 1] for i in kept.index[kept["part"] == part]]
        rows = rows if part == "train" else [_as_test(row) for row in rows]
        (root / name).write_text("\n".join([lines[0], *rows]) + "\n")
    _write_images(root, kept.reset_index(drop=True), chosen, generator)
    return {"stamp": STAMP, "images": len(kept), "patients": int(kept["patient"].nunique())}


def _sample(
    cases: pd.DataFrame, lines: list[str], options: Options, generator: np.random.Generator
) -> dict[str, set[str]]:
    """Take whole patients: the odd ones first for training, those without an uncertain cell for test."""
    sizes = cases["patient"].value_counts()
    fields = [line.split(",", 5) for line in lines[1:]]
    odd = [sex == "Unknown" or age == "0" or view in ("LL", "RL") for _, sex, age, _, view, _ in fields]
    unsure = set(cases.loc[(cases[list(layout.LABELS)] == -1).any(axis=1), "patient"])
    fits = sorted(sizes.index[sizes <= options.most_images])
    strange = set(cases.loc[odd, "patient"])
    order = generator.permutation(len(fits))
    first = [fits[i] for i in order if fits[i] in strange]
    others = [fits[i] for i in order if fits[i] not in strange]
    taken: dict[str, set[str]] = {"train": set(), "valid": set()}
    for part, candidates, goal in (
        ("valid", [name for name in others if name not in unsure], options.test),
        ("train", first + others, options.train),
    ):
        count = 0
        for name in candidates:
            if count >= goal:
                break
            if name not in taken["valid"]:
                taken[part].add(name)
                count += int(sizes[name])
    return taken


def _as_test(line: str) -> str:
    """Return a row as ``valid.csv`` has them: in ``valid/``, every cell 1.0 or 0.0."""
    fields = line.replace("/train/", "/valid/", 1).split(",")
    return ",".join([*fields[:5], *(cell or "0.0" for cell in fields[5:])])


def _write_images(root: Path, cases: pd.DataFrame, options: Options, generator: np.random.Generator) -> None:
    for parent in sorted({str(Path(path).parent) for path in cases["path"]}):
        (root / parent).mkdir(parents=True)
    patients = {name: i for i, name in enumerate(cases["patient"].unique())}
    builds = draw_builds(cases["patient"].map(patients).to_numpy(), generator)
    studies = {name: i for i, name in enumerate(cases["study"].unique())}
    there = generator.random((len(studies), len(layout.LABELS)))[cases["study"].map(studies)] < TRUE_IF_UNCERTAIN
    cells = cases[list(layout.LABELS)].to_numpy()
    truth = (cells == 1) | ((cells == -1) & there)
    short, long = options.file_px
    middle = (short + long) // 4 * 2
    sizes = [(short, long), (long, short), (middle, middle)]  # height, width
    size_of = generator.choice(len(sizes), len(cases), p=(0.6, 0.25, 0.15))
    lateral = (cases["view"] == "lateral").to_numpy()
    for size, side in ((size, side) for size in range(len(sizes)) for side in (False, True)):
        everything = np.flatnonzero((size_of == size) & (lateral == side))
        for start in range(0, len(everything), BATCH):
            rows = everything[start : start + BATCH]
            drawn = np.random.Generator(np.random.PCG64(seed(options.seed, "anatomy", "chexpert", size, side, start)))
            here = {label: truth[rows, i] for i, label in enumerate(layout.LABELS)}
            thorax = (Lateral if side else Projection)(builds.take(rows), *sizes[size], drawn)
            _paint(thorax, here, options.strength, drawn)
            for row, picture in zip(rows.tolist(), thorax.render(drawn), strict=True):
                path = root / cases["path"][row]
                if not cv2.imwrite(str(path), picture, [cv2.IMWRITE_JPEG_QUALITY, 92]):
                    raise OSError(f"could not write {path}")


def _paint(thorax: Projection, here: Mapping[str, np.ndarray], strength: float, generator: np.random.Generator) -> None:
    plain = thorax.depth.copy()
    painter = RealPainter(thorax, strength, generator)
    painter.paint("Cardiomegaly", np.flatnonzero(here["Cardiomegaly"]))
    count = len(thorax.depth)
    for label, patterns in PAINTED_AS.items():
        which = generator.integers(0, len(patterns), count)
        for i, pattern in enumerate(patterns):
            painter.paint(pattern, np.flatnonzero(here[label] & (which == i)))
    others = np.any([here[label] for label in OPACITIES], axis=0)
    painter.paint("Infiltration", np.flatnonzero(here["Lung Opacity"] & ~others))
    np.minimum(thorax.depth, np.maximum(plain + 0.08, TISSUE), out=thorax.depth)  # they fill lung, not the abdomen
    paint_beyond_the_lungs(thorax, here, strength, generator)


class Lateral(Projection):
    """The same fields, projected from the patient's side."""

    view = View(along=0, columns=(50, 226), rows=108)  # from the sternum to the back, without the table
