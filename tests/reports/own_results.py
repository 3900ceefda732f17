"""Writes results of a profile on real images whose tasks the paper does not have, and lets statistics read them.

Values are drawn from names alone; nothing was trained. The manifests say scale and sample as real ones do.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np

from harness.published import load_families
from harness.results.table import TrialRow, trials_csv
from harness.spec import Parameters, Status
from harness.statistics.margins import read_margins
from harness.statistics.paper import read_paper
from harness.statistics.schema import View
from harness.statistics.summary import MethodFacts, TaskFacts, summarise
from harness.statistics.summary import write as write_statistics
from harness.typed_csv import write_rows
from tests.reports.fixture_results import REPOSITORY, trial_id

PROFILE = "own"
LEVEL = {  # points above Random, by design of the fixture
    "random": 0.0, "moco_v2": 2.0, "moco_v2_dir": 2.4, "dira_moco_v2": 2.3, "barlow_twins": 1.0,
    "barlow_twins_dir": 1.2, "dira_barlow_twins": 1.1, "simsiam": 0.1, "simsiam_dir": 0.8, "dira_simsiam": 0.7,
    "restoration_only": 0.9, "dira_moco_v2_encoder_only": 1.9,
}  # fmt: skip
METHODS = {
    "random": MethodFacts(label="Random", reinitialised=True),
    "moco_v2": MethodFacts(label="MoCo-v2"),
    "moco_v2_dir": MethodFacts(label="MoCo-v2 + res"),
    "dira_moco_v2": MethodFacts(label="DiRA (MoCo-v2)"),
    "barlow_twins": MethodFacts(label="Barlow Twins"),
    "barlow_twins_dir": MethodFacts(label="Barlow Twins + res"),
    "dira_barlow_twins": MethodFacts(label="DiRA (Barlow Twins)"),
    "simsiam": MethodFacts(label="SimSiam"),
    "simsiam_dir": MethodFacts(label="SimSiam + res"),
    "dira_simsiam": MethodFacts(label="DiRA (SimSiam)"),
    "restoration_only": MethodFacts(label="Restoration only", compare_with=("dira_moco_v2",)),
    "dira_moco_v2_encoder_only": MethodFacts(
        label="DiRA (MoCo-v2), encoder only", compare_with=("moco_v2", "dira_moco_v2")
    ),
}
DELTAS = (10, 20, 30, 40, 50, 60)
TASKS = {
    "films": TaskFacts(
        label="Films",
        metric="auc",
        metrics=("auc", "scored_classes", *(f"localization_{d}" for d in DELTAS), "localization_boxes"),
        label_fractions=(0.1, 1.0),
    ),
    "lungs": TaskFacts(label="Lungs", metric="dice", metrics=("dice",), label_fractions=(0.08, 1.0)),
}
CENTRE = {"films": (81.0, 2.2), "lungs": (92.0, 0.4)}  # of Random with all labels: mean and spread
SCALE = "REAL IMAGES: 64 px, a small network; not comparable with the paper"
COHORTS = {
    "films": {
        "scale": SCALE,
        "sample_note": "1,000 images of 112,120, chosen by label; view and label are confounded",
        "image_px": 64,
        "configuration": {"split": {"rule": "official", "sample": True}},
        "training_units": 600,
        "validation_units": 100,
        "counts": {
            "images": 1000, "boxes": 49, "boxed_images": 44, "boxes_by_class": {"Effusion": 6, "Pneumonia": 43},
        },
    },
    "lungs": {
        "scale": SCALE, "sample_note": "400 radiographs out of publications", "image_px": 64,
        "training_units": 240, "validation_units": 40, "counts": {"images": 400},
    },
}  # fmt: skip
PARAMETERS = Parameters(profile=PROFILE, repeats=10, pretrain_seeds=1, base_seed=0, alpha=0.05)


def values(method: str, task: str, fraction: float, what: str = "") -> np.ndarray:
    """Ten values of a cell, in points, from the names alone."""
    generator = np.random.default_rng(int(trial_id(method, task, fraction, what)[:8], 16))
    mean, spread = CENTRE[task]
    gain = LEVEL[method] * (1.0 if task == "films" else 0.4) * (1.5 if fraction < 1.0 else 1.0)
    return mean - 8.0 * (1.0 - fraction) + gain + generator.normal(0.0, spread, 10)


def _rows(method: str) -> list[TrialRow]:
    rows = []
    for task, facts in TASKS.items():
        for fraction in facts.label_fractions:
            drawn = values(method, task, fraction)
            for repeat in range(10):
                scores: dict[str, float | None] = {facts.metric: drawn[repeat] / 100}
                if task == "films":
                    scores["scored_classes"] = 1.0
                    for delta in DELTAS:
                        hit = values(method, task, fraction, str(delta))[repeat] * (0.7 - delta / 100) / 100
                        scores[f"localization_{delta}"] = hit if fraction == 1.0 else None
                    scores["localization_boxes"] = 2.0 if fraction == 1.0 else None
                for metric, value in scores.items():
                    rows.append(
                        TrialRow(
                            method=method, task=task, label_fraction=fraction, pretrain_seed=0, repeat=repeat,
                            metric=metric, value=None if value is None else float(value), status=Status.OK,
                            labelled=int(fraction * COHORTS[task]["training_units"]), cohort="c0ffee",
                            trial_id=trial_id(method, task, fraction, repeat),
                        )
                    )  # fmt: skip
    return rows


CREDIT = "Radiographs: the archive of Films (its authors, 2017)"
PICTURED = 4  # real pictures in the first method's file


def write_maps(folder: Path) -> None:
    """Write evidence maps of twelve annotated pairs of two classes; the first method's file has a few pictures."""
    folder.mkdir()
    classes = np.array([0] * 8 + [1] * 4)
    boxes = np.array([[0.2 + 0.02 * i, 0.3, 0.6, 0.7] for i in range(12)])
    side = np.linspace(0.0, 1.0, 64)
    film = (40 + 170 * np.exp(-8 * (np.abs(side[None, :] - 0.5) - 0.22) ** 2) * np.sin(np.pi * side)[:, None]).astype(
        np.uint8
    )
    for method in METHODS:
        generator = np.random.default_rng(int(trial_id(method)[:8], 16))
        arrays = {
            "cams": generator.normal(0, 1, (12, 4, 4)).astype(np.float16),
            "class": classes,
            "class_names": np.array([b"Pneumonia", b"Effusion"]),
            "case": np.array([f"{i:016x}".encode() for i in range(12)]),
            "image": np.arange(12),
            "logits": np.ones((12, 2), np.float32),
            "rank": np.arange(12),
            "positives": np.full(12, 3),
            "boxes": boxes,
            "box_pair": np.arange(12),
            "overlap": generator.uniform(0, 0.6, 12),
            "found": boxes + generator.normal(0, 0.08, (12, 4)),
            "side": np.array(64),
            "trial_id": np.array(trial_id(method, "films", 1.0, 0)),
        }
        if method == "random":
            arrays |= {
                "shown": np.stack([np.roll(film, 2 * i, axis=1) for i in range(PICTURED)]),
                "shown_pair": np.arange(PICTURED, dtype=np.int32),
                "credit": np.array(CREDIT),
            }
        np.savez(folder / f"{method}.npz", **{f"films|{name}": array for name, array in arrays.items()})


def write_own_results(root: Path, *, synthetic: bool = False) -> tuple[Path, Path]:
    """Write ``root/results/own`` and the layouts; return (results, reports)."""
    results, reports = root / "results", root / "reports"
    profile = results / PROFILE
    for folder in ("trials", "resamples", "cohorts"):
        (profile / folder).mkdir(parents=True)
    reports.mkdir()
    for method in METHODS:
        (profile / "trials" / f"{method}.csv").write_text(trials_csv(_rows(method)))
        vectors = {}
        for task, facts in TASKS.items():
            shared = np.random.default_rng(7).normal(0.0, 1.5, 200)  # the same patients for every method
            for fraction in facts.label_fractions:
                mean = values(method, task, fraction).mean()
                own = np.random.default_rng(int(trial_id(method, task)[:8], 16)).normal(0.0, 0.3, 200)
                vectors[f"{task}|{fraction!r}|0|{facts.metric}"] = np.clip(mean + shared + own, 0, 100) / 100
        np.savez(profile / "resamples" / f"{method}.npz", **vectors)
    for task, facts in COHORTS.items():
        stamp = "SYNTHETIC: analytic phantoms" if synthetic else ""
        manifest = {"task": task, "synthetic": synthetic, "stamp": stamp, "status": "ok", **facts}
        (profile / "cohorts" / f"{task}.json").write_text(json.dumps(manifest))
    write_maps(profile / "localization")
    (results / "published").mkdir()
    shutil.copy(REPOSITORY / "results" / "published" / "audit.csv", results / "published")
    for name in ("tables.yaml", "families.yaml", "overlaps.yaml"):
        shutil.copy(REPOSITORY / "reports" / name, reports)
    cells, comparisons, views = summarise(
        profile, METHODS, TASKS, PARAMETERS,
        load_families(reports / "families.yaml"),
        read_margins(REPOSITORY / "reports" / "margins.yaml"),
        read_paper(REPOSITORY / "results" / "published" / "paper.csv"),
    )  # fmt: skip
    write_statistics(profile, cells, comparisons)
    write_rows(profile / "views.csv", View, views)
    return results, reports
