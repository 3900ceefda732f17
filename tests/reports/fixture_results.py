"""Writes a ``results/`` folder for the tests of the report: trials drawn from a seeded generator, summarised with scipy.

It is not the statistics module: what it writes only has to be consistent enough for a reader, and to hold every
Finding and every Agreement once.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
from scipy import stats

from harness.published import method_family
from harness.results.table import TrialRow, trials_csv
from harness.spec import Parameters, Status
from harness.statistics.schema import CellSummary, Comparison
from harness.typed_csv import write_rows

METHODS = {
    "random": "Random",
    "imagenet": "ImageNet",
    "moco_v2": "MoCo-v2",
    "moco_v2_dir": "MoCo-v2 + res",
    "dira_moco_v2": "DiRA (MoCo-v2)",
    "restoration_only": "Restoration only",
}
TASKS = {"chestxray14": "ChestX-ray14", "montgomery": "Montgomery"}
METRICS = {"chestxray14": ("auc", "scored_classes"), "montgomery": ("dice", "dice_positive")}
TERMS = {"dis": "discrimination", "res": "restoration", "adv": "adversary"}
STAMP = "SYNTHETIC: analytic phantoms"
FULL, SOME = 1.0, (0.01, 0.25, 0.5)
PAPER = {
    ("random", "chestxray14", 1.0): (80.31, 0.10),
    ("random", "montgomery", 1.0): (97.55, 0.36),
    ("imagenet", "chestxray14", 1.0): (81.70, 0.15),
    ("imagenet", "montgomery", 1.0): (98.19, 0.13),
    ("moco_v2", "chestxray14", 1.0): (80.36, 0.26),
    ("moco_v2", "montgomery", 1.0): (98.03, 0.22),
    ("moco_v2_dir", "chestxray14", 1.0): (80.72, 0.29),
    ("moco_v2_dir", "montgomery", 1.0): (98.19, 0.08),
    ("dira_moco_v2", "chestxray14", 1.0): (81.12, 0.17),
    ("dira_moco_v2", "montgomery", 1.0): (98.24, 0.09),
    ("moco_v2", "chestxray14", 0.01): (52.99, None),
    ("dira_moco_v2", "chestxray14", 0.01): (59.39, None),
    ("moco_v2", "chestxray14", 0.25): (74.89, None),
    ("dira_moco_v2", "chestxray14", 0.25): (77.55, None),
    ("moco_v2", "chestxray14", 0.5): (76.71, None),
    ("dira_moco_v2", "chestxray14", 0.5): (78.74, None),
    ("moco_v2", "montgomery", 0.01): (63.69, None),
    ("dira_moco_v2", "montgomery", 0.01): (72.53, None),
    ("moco_v2", "montgomery", 0.25): (96.44, None),
    ("dira_moco_v2", "montgomery", 0.25): (97.06, None),
    ("moco_v2", "montgomery", 0.5): (97.60, None),
    ("dira_moco_v2", "montgomery", 0.5): (98.14, None),
}
TABLES = {"random": "tab2", "imagenet": "tab2", "moco_v2": "tab4", "moco_v2_dir": "tab4", "dira_moco_v2": "tab2;tab4"}
# Finding and Agreement by contrast: together every word occurs; the numbers are drawn to look the part.
WORDS = {
    ("fig4", "chestxray14", 1.0): ("better", "reproduced"),
    ("fig4", "montgomery", 1.0): ("worse", "different (lower)"),
    ("res", "chestxray14", 1.0): ("equivalent", "inconclusive"),
    ("res", "montgomery", 1.0): ("unresolved", "inconclusive"),
    ("adv", "chestxray14", 1.0): ("better", "different (higher)"),
    ("adv", "montgomery", 1.0): ("identical", "not comparable"),
    ("tab1", "montgomery", 0.01): ("at the floor", "too small to tell"),
    ("tab1", "montgomery", 0.5): ("at the ceiling", "inconclusive"),
}
LEVEL = {
    "random": 0.0,
    "moco_v2": 3.0,
    "moco_v2_dir": 3.1,
    "dira_moco_v2": 6.2,
    "restoration_only": 2.0,
    "imagenet": 0.0,
}
PARAMETERS = Parameters(profile="miniature", repeats=10, pretrain_seeds=1, base_seed=0, alpha=0.05)


def trial_id(*parts: object) -> str:
    return hashlib.sha256("|".join(map(str, parts)).encode()).hexdigest()


def draws(method: str, task: str, fraction: float) -> np.ndarray:
    """Ten values of a cell, in points, from the names alone."""
    generator = np.random.default_rng(int(trial_id(method, task, fraction)[:8], 16))
    base = {"chestxray14": 66.0, "montgomery": 82.0}[task] - 6.0 * (1 - fraction) ** 2
    level = LEVEL.get(method, 4.0) * (1 if task == "chestxray14" else -0.7)
    return base + level + generator.normal(0, 1.1, 10)


def rank(rows: list[dict]) -> None:
    """Fill ``best_in`` and ``second_in`` of each column of each table, and of the added block."""
    for place in ("tab1", "tab2", "tab4", "added"):
        mine = [
            r
            for r in rows
            if r["mean"] is not None and place in (r["tables"].split(";") if r["tables"] else [r["block"]])
        ]
        for column in {(r["task"], r["label_fraction"], r["metric"]) for r in mine}:
            inside = [r for r in mine if (r["task"], r["label_fraction"], r["metric"]) == column]
            for key, row in zip(("best_in", "second_in"), sorted(inside, key=lambda r: -r["mean"]), strict=False):
                row[key] = ";".join(filter(None, (row[key], place)))


def cell_row(method: str, label: str, task: str, fraction: float, metric: str, synthetic: bool) -> dict:
    values = draws(method, task, fraction) - (3.0 if metric == "dice_positive" else 0.0)
    missing = ""
    if method == "imagenet":
        values, missing = values[:0], "10 unavailable: no ImageNet weights for resnet_w16"
    elif (method, task, fraction) == ("moco_v2_dir", "montgomery", 1.0):
        values, missing = values[:9], "1 failed"
    n = len(values)
    mean, sd = (float(values.mean()), float(values.std(ddof=1))) if n else (None, None)
    half = float(stats.t.ppf(0.975, n - 1) * sd / np.sqrt(n)) if n else 0.0
    primary = metric == METRICS[task][0]
    paper = PAPER.get((method, task, fraction), (None, None)) if primary else (None, None)
    table = "" if not primary else TABLES.get(method, "") if fraction == FULL else "tab1" if paper[0] else ""
    return {
        "block": "published" if paper[0] else "added",
        "tables": table,
        "method": method,
        "method_label": label,
        "task": task,
        "task_label": TASKS[task],
        "label_fraction": fraction,
        "metric": metric,
        "scored_classes": 14 if task == "chestxray14" and n else None,
        "planned": 10,
        "done": n,
        "n": n,
        "missing": missing,
        "mean": mean,
        "sd": sd,
        "sd_ddof0": float(values.std()) if n else None,
        "ci_low": mean - half if n else None,
        "ci_high": mean + half if n else None,
        "patient_low": mean - 2.1 if n else None,
        "patient_high": mean + 2.2 if n else None,
        "resamples_lost": 0,
        "worst_low": None,
        "worst_high": None,
        "published_mean": paper[0],
        "published_sd": paper[1],
        "published_place": "Tab. 4" if paper[0] else "",
        "agreement": "not comparable",
        "agreement_reason": "synthetic"
        if synthetic
        else "not the published test cases"
        if paper[0]
        else "not in the paper",
        "best": False,
        "second": False,
        "synthetic": synthetic,
        "stamp": STAMP if synthetic else "",
        "device_classes": "cpu",
        "flags": "",
        "best_in": "",
        "second_in": "",
    }


def contrast_row(
    family: str, label: str, size: int, pair: tuple[str, str], task: str, fraction: float, labels: dict, synthetic: bool
) -> dict:
    method, reference = pair
    a, b = draws(method, task, fraction), draws(reference, task, fraction)
    untested = "imagenet" in pair
    finding, agreement = WORDS.get((family, task, fraction), ("", "not comparable"))
    if finding == "identical":
        a = b
    effect = float(a.mean() - b.mean())
    test = stats.ttest_ind(a, b)
    low, high = test.confidence_interval()
    finding = finding or ("unresolved" if untested or test.pvalue >= 0.05 else "better" if effect > 0 else "worse")
    mine, theirs = PAPER.get((method, task, fraction)), PAPER.get((reference, task, fraction))
    printed = None if mine is None or theirs is None else mine[0] - theirs[0]
    if synthetic:
        agreement = "not comparable"
    reason = {
        "reproduced": "difference inside the margin",
        "different (higher)": "difference excludes 0",
        "different (lower)": "difference excludes 0",
        "too small to tell": "the effect printed is no larger than the margin",
        "inconclusive": "neither; power of the equivalence test .31",
        "not comparable": "synthetic" if synthetic else "zero variance",
    }[agreement]
    return {
        "family": family,
        "family_label": label,
        "family_size": size,
        "block": "added" if family.startswith("added") else "published",
        "method": method,
        "method_label": labels[method],
        "reference": reference,
        "reference_label": labels[reference],
        "task": task,
        "task_label": TASKS[task],
        "label_fraction": fraction,
        "metric": METRICS[task][0],
        "n_method": 10,
        "n_reference": 0 if untested else 10,
        "mean_method": float(a.mean()),
        "mean_reference": None if untested else float(b.mean()),
        "sd_method": float(a.std(ddof=1)),
        "sd_reference": None if untested else float(b.std(ddof=1)),
        "design": "" if untested else "Student",
        "design_note": "",
        "effect": None if untested else effect,
        "joint_low": None if untested else effect - 2.3,
        "joint_high": None if untested else effect + 2.3,
        "ci_low": None if untested else float(low),
        "ci_high": None if untested else float(high),
        "t": None if untested else float(test.statistic),
        "df": None if untested else 18.0,
        "p": None if untested else float(test.pvalue),
        "p_student": None if untested else float(test.pvalue),
        "p_welch": None if untested else float(stats.ttest_ind(a, b, equal_var=False).pvalue),
        "p_holm": None if untested else min(1.0, float(test.pvalue) * size),
        "hedges_g": None if untested else effect / 1.1,
        "smallest_detectable": None if untested else 1.325 * 1.1,
        "margin": 0.5 if task == "chestxray14" else 1.0,
        "p_tost": None if untested else (0.011 if finding == "equivalent" else 0.4),
        "tost_power": None if untested else 0.31,
        "probability_above": None if untested else 0.4,
        "probability_below": None if untested else 0.1,
        "correlation": None,
        "p_pretraining": None,
        "df_pretraining": None,
        "sd_pretraining": None,
        "sd_repeat": None,
        "patient_low": None if untested else effect - 1.9,
        "patient_high": None if untested else effect + 2.0,
        "resamples_lost": 0,
        "dagger": (family, task) == ("fig4", "chestxray14"),
        "finding": finding,
        "finding_note": "TOST had power .31" if finding == "unresolved" and not untested else "",
        "published_effect": printed,
        "published_low": None if printed is None else printed - 0.2,
        "published_high": None if printed is None else printed + 0.2,
        "published_p": None if printed is None or fraction < 1 else 0.0024,
        "published_sd_assumed": fraction < 1,
        "difference": None if untested or printed is None else effect - printed,
        "difference_low": None if untested or printed is None else effect - printed - 1.1,
        "difference_high": None if untested or printed is None else effect - printed + 1.1,
        "difference_p": None,
        "difference_df": None,
        "difference_p_tost": None,
        "agreement": agreement,
        "agreement_reason": "cell missing" if untested else reason,
        "missing": "reference: 10 unavailable: no ImageNet weights for resnet_w16" if untested else "",
        "synthetic": synthetic,
        "stamp": STAMP if synthetic else "",
    }


REPOSITORY = Path(__file__).parents[2]


def write_results(
    root: Path, *, synthetic: bool = True, added: dict[str, str] | None = None, labels: dict | None = None
):
    """Write ``root/results``; return (results, methods). ``added`` are further methods of one's own."""
    methods = {**METHODS, **(labels or {}), **(added or {})}
    results = root / "results"
    profile = results / "miniature"
    cells, contrasts = [], []
    grid = [(m, t, f) for m in methods for t in TASKS for f in (*SOME, FULL)]
    grid = [g for g in grid if g[2] == FULL or g[0] not in ("imagenet", "moco_v2_dir")]
    for method, task, fraction in grid:
        for metric in METRICS[task]:
            if metric != "scored_classes":
                cells.append(cell_row(method, methods[method], task, fraction, metric, synthetic))
    cells.sort(key=lambda row: row["block"] == "added")
    d, b, r = "dira_moco_v2", "moco_v2", "moco_v2_dir"
    plan = [
        ("fig4", "DiRA against its discriminative base", 12, [(d, b)], (FULL,)),
        ("res", "Adding restoration to discrimination", 12, [(r, b)], (FULL,)),
        ("adv", "Adding the adversary to restoration", 12, [(d, r)], (FULL,)),
        ("tab2_imagenet", "DiRA against supervised ImageNet", 12, [(d, "imagenet")], (FULL,)),
        ("tab1", "DiRA against its discriminative base at label fractions", 27, [(d, b)], SOME),
    ]
    own = ["restoration_only", *(added or {})]
    plan += [
        (method_family(m), f"Added method: {methods[m]}", 16, [(m, ref) for ref in ("random", b)], (*SOME, FULL))
        for m in own
    ]
    for family, label, size, pairs, fractions in plan:
        for pair in pairs:
            for task in TASKS:
                for fraction in fractions:
                    contrasts.append(contrast_row(family, label, size, pair, task, fraction, methods, synthetic))
    rank(cells)
    write_rows(profile / "cells.csv", CellSummary, [CellSummary(**row) for row in cells])
    write_rows(profile / "comparisons.csv", Comparison, [Comparison(**row) for row in contrasts])

    (profile / "trials").mkdir(exist_ok=True)
    (profile / "curves").mkdir(exist_ok=True)
    (profile / "pretraining").mkdir(exist_ok=True)
    (profile / "cohorts").mkdir(exist_ok=True)
    for method in methods:
        rows = []
        for m, task, fraction in grid:
            if m != method:
                continue
            for repeat, value in enumerate(draws(method, task, fraction)):
                status, identity = Status.OK, trial_id(method, task, fraction, repeat)
                if method == "imagenet":
                    status, identity = Status.UNAVAILABLE, ""
                elif (method, task, fraction, repeat) == ("moco_v2_dir", "montgomery", 1.0, 9):
                    status = Status.FAILED
                for metric in METRICS[task]:
                    shown = 14.0 if metric == "scored_classes" else (value - 3.0 * (metric == "dice_positive")) / 100
                    rows.append(
                        TrialRow(
                            method=method, task=task, label_fraction=fraction, pretrain_seed=0, repeat=repeat,
                            metric=metric, value=float(shown) if status.scored else None, status=status,
                            labelled=round(3000 * fraction) if status.scored else None, cohort="c0ffee",
                            trial_id=identity,
                        )
                    )  # fmt: skip
        (profile / "trials" / f"{method}.csv").write_text(trials_csv(rows))
        phases = {"moco_v2": ["dis"], "moco_v2_dir": ["dis", "dis+res"], d: ["dis", "dis+res", "dis+res+adv"]}.get(
            method, []
        )
        curve = ["pretrain_seed,phase,phase_id,step,name,value"]
        for index, phase in enumerate(phases):
            for step in range(0, 101, 10):
                curve.append(
                    f"0,{phase},ab12,{step},train_discrimination,{4.0 * np.exp(-(step + 100 * index) / 90) + 1:.6f}"
                )
                curve.append(
                    f"0,{phase},ab12,{step},validation_discrimination,{4.2 * np.exp(-(step + 100 * index) / 90) + 1:.6f}"
                )
                if "res" in phase:
                    curve.append(
                        f"0,{phase},ab12,{step},validation_restoration,{0.06 * np.exp(-(step + 100 * index) / 80):.6f}"
                    )
        (profile / "curves" / f"{method}.csv").write_text("\n".join(curve) + "\n")
        content = {
            "method": method,
            "label": methods[method],
            "unavailable": "no ImageNet weights for resnet_w16" if method == "imagenet" else None,
            "reinitialised": method == "random",
            "cohorts": ["chestxray14"] if phases else [],
            "budget": {p: {"steps": 100, "images_seen": 6400} for p in phases},
            "encoder": {"obtain": "methods.obtain:backbone"},
            "pretraining_seeds": [
                {
                    "pretrain_seed": 0,
                    "phases": [
                        {
                            "name": phase,
                            "id": trial_id(phase),
                            "parent": None,
                            "status": "ok",
                            "configuration": {
                                "batch": 64,
                                "optimiser": {"name": "sgd", "lr": 0.03},
                                "terms": [
                                    {"role": TERMS[term], "weight": 1.0, "configuration": {"type": f"terms:{term}"}}
                                    for term in phase.split("+")
                                ],
                            },
                            "steps": 100,
                            "images_seen": 6400,
                            "selected_step": 90,
                            "weights_sha256": trial_id("weights", method, phase),
                        }
                        for phase in phases
                    ],
                }
            ],
        }
        (profile / "pretraining" / f"{method}.json").write_text(json.dumps(content))
    for task in TASKS:
        cohort = {
            "task": task,
            "synthetic": synthetic,
            "stamp": STAMP if synthetic else "",
            "split_published": False,
            "status": "ok",
            "id": trial_id(task),
            "training_units": 3000,
            "validation_units": 400,
            **({"always_empty": {"dice": 0.75, "empty_masks": 9, "test_images": 12}} if task == "montgomery" else {}),
            "counts": {"train": 3000, "validation": 400, "test": 800},
            "findings": [{"level": "warning", "message": "found 4200 images, the published set has 112120"}],
        }
        (profile / "cohorts" / f"{task}.json").write_text(json.dumps(cohort))
    (results / "published").mkdir(exist_ok=True)
    shutil.copy(REPOSITORY / "results" / "published" / "audit.csv", results / "published" / "audit.csv")
    return results, methods
