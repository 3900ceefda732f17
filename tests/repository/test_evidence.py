"""Every tagged clause of docs/protocol.md has its row in docs/evidence.md, and the sources' constants are ours."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from harness.registry import load_parameters, load_registry
from tasks.datasets.chestxray14.adapter import PUBLISHED
from tasks.inputs.image_augmentation import NORMALISATIONS
from tests.repository.pages import ROOT, read_lines, read_tables, split_cells

TAG = re.compile(r"\[(?:P [^\]]*|code|bench|MoCo|BT|SimSiam|TransVW|MG[^\]]*|computed)\]")
THREE = "3D"  # evidence.md's title for protocol.md's section 9
REGISTRY = load_registry()


def clause_of(line: str) -> str:
    """Name a clause: a table's first cell, or the first five words of prose."""
    if line.startswith("|"):
        return split_cells(line)[0]
    return f"{' '.join(line.split()[:5])} …"


def section_of(headings: tuple[str, ...]) -> str:
    """Return the titles above a clause as one; all of 3D is one section."""
    if headings[0].startswith(("9.", THREE)):
        return THREE
    return " / ".join(headings)


def clauses() -> list[tuple[str, str]]:
    """Return (section of evidence.md, clause) of every tagged line under a numbered title."""
    found = [(h, line) for h, line in read_lines("protocol.md") if h and h[0][0].isdigit() and TAG.search(line)]
    return [(section_of(headings), clause_of(line)) for headings, line in found]


def rows() -> list[tuple[str, tuple[str, ...]]]:
    return [(section_of(r.headings), r.cells) for r in read_tables("evidence.md") if r.headings]


def test_every_tagged_clause_has_its_row_and_every_row_its_clause() -> None:
    tagged = set(clauses())
    assert len(tagged) > 60
    written = {(section, cells[0]) for section, cells in rows()}
    missing = sorted(tagged - written)
    assert not missing, f"docs/evidence.md has no row for {missing}; add one, or take the tag away"
    orphans = sorted(written - tagged)
    assert not orphans, f"docs/evidence.md has rows for {orphans}, which carry no tag in docs/protocol.md"


def test_every_row_has_all_its_columns() -> None:
    for section, cells in rows():
        assert len(cells) == 5 and all(cells), f"docs/evidence.md, {section}: {cells[0]} has an empty or a sixth column"


def test_a_row_has_the_tags_that_its_clause_has() -> None:
    kinds = re.compile(r"\[(P|code|bench|MoCo|BT|SimSiam|TransVW|MG|computed)\b")
    lines = {(section_of(h), clause_of(line)): line for h, line in read_lines("protocol.md") if h and TAG.search(line)}
    for section, cells in rows():
        line = lines.get((section, cells[0]))
        if line is None or section == "5. The adversary":  # §5 names its sources in the header
            continue
        assert set(kinds.findall(line)) == set(kinds.findall(cells[1])), f"docs/evidence.md, {section}: {cells[0]}"


def test_every_test_that_is_named_exists() -> None:
    named = {pair for _, cells in rows() for pair in re.findall(r"(tests/[\w/]+\.py)::(\w+)", cells[-1])}
    assert len(named) > 40
    for path, name in named:
        assert f"def {name}(" in (ROOT / path).read_text(encoding="utf-8"), f"docs/evidence.md: {path} has no {name}"


# -- constants --------------------------------------------------------------------------------------------------------


@cache
def phases(method: str, profile: str) -> tuple[dict[str, Any], ...]:
    return tuple(p.configuration for p in REGISTRY.resolve_method(method, profile).phases)


def term(method: str, role: str) -> dict[str, Any]:
    (found,) = [t for t in phases(method, "paper")[-1]["terms"] if t["role"] == role]
    return {**found["configuration"], "weight": found["weight"]}


@cache
def transfer(task: str) -> dict[str, Any]:
    return REGISTRY.resolve_task(task, "paper").transfer


def optimiser(method: str) -> dict[str, Any]:
    return phases(method, "paper")[0]["optimiser"]


def schedule(method: str) -> dict[str, Any]:
    return phases(method, "paper")[0]["schedule"]


def of(mapping: Any, *keys: str) -> list[Any]:
    return [mapping[key] for key in keys]


# clause of evidence.md, source, the source's numbers, ours
CONSTANTS: list[tuple[str, str, Any, Callable[[], Any]]] = [
    ("images", "DiRA dataset/*.txt, counted", 75312, lambda: REGISTRY.tasks["chestxray14"].training_images),
    ("input scaling", "DiRA transformation.py", "none", lambda: phases("dira_moco_v2", "paper")[0]["normalisation"]),
    (
        "weights",
        "DiRA main_DiRA_moco.py --contrastive_weight --mse_weight --adv_weight",
        [1, 10, 0.001],
        lambda: [term("dira_moco_v2", role)["weight"] for role in ("discrimination", "restoration", "adversary")],
    ),
    (
        "batch",
        "DiRA main_DiRA_moco.py --batch-size, §4.1's four GPUs",
        [256, 4],
        lambda: of(phases("moco_v2", "paper")[0], "batch", "norm_splits"),
    ),
    (
        "head",
        "DiRA DiRA_models.py, --moco-dim",
        [None, 128],  # hidden: as wide as what comes in
        lambda: of(term("moco_v2", "discrimination"), "hidden", "dimension"),
    ),
    (
        "head",
        "barlowtwins main.py --projector",
        [8192, 8192],
        lambda: of(term("barlow_twins", "discrimination"), "hidden", "dimension"),
    ),
    (
        "predictor",
        "simsiam main_simsiam.py --pred-dim",
        512,
        lambda: term("simsiam", "discrimination")["predictor"],
    ),
    (
        "second branch",
        "moco main_moco.py --moco-m",
        0.999,
        lambda: term("moco_v2", "discrimination")["momentum"],
    ),
    (
        "loss",
        "DiRA main_DiRA_moco.py --moco-k --moco-t",
        [65536, 0.2],
        lambda: of(term("moco_v2", "discrimination"), "queue", "temperature"),
    ),
    (
        "loss",
        "barlowtwins main.py --lambd",
        0.0051,
        lambda: term("barlow_twins", "discrimination")["off_diagonal"],
    ),
    (
        "optimiser",
        "DiRA main_DiRA_moco.py --lr --momentum --wd",
        ["sgd", 0.03, 0.9, 1e-4],
        lambda: of(optimiser("moco_v2"), "name", "learning_rate", "momentum", "weight_decay"),
    ),
    (
        "optimiser",
        "barlowtwins main.py --learning-rate-weights -biases --weight-decay, LARS momentum, eta",
        ["lars", 0.2, 0.0048, 1e-6, 0.9, 0.001],
        lambda: of(
            optimiser("barlow_twins"),
            *("name", "learning_rate", "one_dimensional_rate", "weight_decay", "momentum", "trust"),
        ),
    ),
    (
        "optimiser",
        "simsiam main_simsiam.py --lr --momentum --wd, at batch 256",
        ["sgd", 0.05, 0.9, 1e-4],
        lambda: of(optimiser("simsiam"), "name", "learning_rate", "momentum", "weight_decay"),
    ),
    (
        "schedule",
        "barlowtwins main.py adjust_learning_rate",
        ["cosine", "step", {"epochs": 10}, 0.001],
        lambda: of(schedule("barlow_twins"), "name", "per", "warm_up", "final"),
    ),
    (
        "schedule",
        "DiRA and simsiam adjust_learning_rate",
        ["cosine", "epoch", "cosine", "epoch"],
        lambda: [value for method in ("moco_v2", "simsiam") for value in of(schedule(method), "name", "per")],
    ),
    (
        "own schedule",
        "--epochs of moco, barlowtwins, simsiam",
        [200, 1000, 100],
        lambda: [phases(m, "paper")[0]["budget"]["count"] for m in ("moco_v2", "barlow_twins", "simsiam")],
    ),
    (
        "residual γ",
        "zero_init_residual: torchvision's default, barlowtwins, simsiam",
        [False, True, True],
        lambda: [
            phases(m, "paper")[0]["network"]["zero_init_residual"] for m in ("moco_v2", "barlow_twins", "simsiam")
        ],
    ),
    (
        "batch norm over devices",
        "synchronised in barlowtwins and simsiam",
        [1, 1],
        lambda: [phases(m, "paper")[0]["norm_splits"] for m in ("barlow_twins", "simsiam")],
    ),
    (
        "A queue of 65,536 holds …",
        "computed",
        0.87,
        lambda: round(
            term("moco_v2", "discrimination")["queue"] / (REGISTRY.tasks["chestxray14"].training_images or 1), 3
        ),
    ),
    (
        "One undistorted view by T, …",
        "benchmark main_classification.py --lr --batch_size",
        [2e-4, 32],
        lambda: [
            phases("chestxray14_supervised", "paper")[0]["optimiser"]["learning_rate"],
            phases("chestxray14_supervised", "paper")[0]["batch"],
        ],
    ),
    (
        "discriminator",
        "DiRA DiRA_models.py Discriminator",
        [64, 128, 256, 512],
        lambda: term("dira_moco_v2", "adversary")["widths"],
    ),
    (
        "optimiser",
        "DiRA main_DiRA_moco.py --disc-learning-rate, betas",
        [2e-4, [0.5, 0.999]],
        lambda: of(term("dira_moco_v2", "adversary"), "learning_rate", "betas"),
    ),
    (
        "The authors' code: restoration from …",
        "DiRA main_DiRA_moco.py --epochs, README --epochs --batch-size, --lr",
        [(1200, 256, 0.03), (400, 16, 0.03)],
        lambda: [
            (p["budget"]["count"], p["batch"], p["optimiser"]["learning_rate"]) for p in phases("dira_moco_v2", "code")
        ],
    ),
    (
        "head",
        "benchmark models.py, --num_class",
        [0.01, 14],
        lambda: [transfer("chestxray14")["head"]["initial_std"], transfer("chestxray14")["outputs"]],
    ),
    (
        "training augmentation",
        "benchmark dataloader.py; torchvision's RandomResizedCrop",
        [224, [0.08, 1.0], [3 / 4, 4 / 3], 0.5, 7],
        lambda: [
            transfer("chestxray14")["image_px"],
            *of(transfer("chestxray14")["augmentation"], "crop_scale", "crop_ratio", "flip", "rotation_degrees"),
        ],
    ),
    ("validation", "benchmark dataloader.py resize", 256, lambda: transfer("chestxray14")["resize_px"]),
    ("test", "benchmark dataloader.py TenCrop", "ten_crop", lambda: transfer("chestxray14")["test_time_augmentation"]),
    (
        "normalisation",
        "benchmark dataloader.py",
        [((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), (0.5056, 0.252)],
        lambda: [
            NORMALISATIONS[transfer("chestxray14")["normalisation"]],
            tuple(v for (v,) in NORMALISATIONS["chestxray"] or ()),
        ],
    ),
    (
        "loss, optimiser",
        "benchmark main_classification.py --lr --batch_size; Adam's defaults",
        ["binary_cross_entropy", {"name": "adam", "lr": 2e-4, "betas": [0.9, 0.999], "weight_decay": 0}, 32],
        lambda: of(transfer("chestxray14"), "loss", "optimiser", "batch"),
    ),
    (
        "schedule",
        "benchmark engine.py, --patience, --num_epoch",
        [{"name": "plateau", "factor": 0.5, "patience": 10 // 2, "threshold": 1e-4}, 10, 1000],
        lambda: of(transfer("chestxray14"), "schedule", "early_stopping", "epochs"),
    ),
    (
        "loading",
        "benchmark dataloader.py, --normalization",
        [224, "none", "nearest"],
        lambda: [
            *of(transfer("siim_acr"), "image_px", "normalisation"),
            REGISTRY.resolve_task("siim_acr", "paper").cohort["resize"],
        ],
    ),
    (
        "training augmentation",
        "benchmark dataloader.py build_transform_segmentation",
        [0.3, 0.3, 0.25, 120, 120 * 0.05, pytest.approx(120 * 0.03), 2, 0.5, [156, 224]],
        lambda: of(
            transfer("montgomery")["augmentation"],
            *("intensity", "deformation", "sized_crop", "elastic_alpha", "elastic_sigma", "affine_px"),
            *("optical_limit", "optical_shift", "crop_px"),
        ),
    ),
    (
        "training augmentation",
        "albumentations 0.4.3 transforms.py, defaults",
        [0.2, 0.2, [80 / 100, 120 / 100], 5, 0.3, "reflect"],
        lambda: of(
            transfer("montgomery")["augmentation"],
            *("brightness", "contrast", "gamma", "grid_steps", "grid_limit", "border"),
        ),
    ),
    ("network", "benchmark base/heads.py", 3, lambda: transfer("montgomery")["head"]["kernel"]),
    (
        "loss",
        "benchmark utils.py torch_dice_coef_loss; trainer.py evaluate",
        ["soft_dice", 1.0, "batches", 32],
        lambda: of(transfer("siim_acr"), "loss", "dice_smooth", "validation_dice", "batch"),
    ),
    (
        "optimiser",
        "benchmark main_segmentation.py; Adam's defaults",
        [{"name": "adam", "lr": 1e-3, "betas": [0.9, 0.999], "weight_decay": 0}, 200, 20, "cosine", "epochs"],
        lambda: [
            *of(transfer("montgomery"), "optimiser", "epochs", "early_stopping"),
            *of(transfer("montgomery")["schedule"], "name", "over"),
        ],
    ),
    (
        "metric",
        "benchmark utils.py dice",
        [0.5, 1.0],
        lambda: of(transfer("montgomery")["metric"], "threshold", "empty_score"),
    ),
    (
        "1 %, 25 % and …",
        "DiRA §5.2",
        [[0.01, 0.25, 0.5, 1.0]] * 3,
        lambda: [list(REGISTRY.tasks[t].label_fractions) for t in ("chestxray14", "chexpert", "montgomery")],
    ),
    ("Ten fine-tuning runs [P §4.2] …", "DiRA §4.2", 10, lambda: load_parameters(ROOT).repeats),
    ("annotated pairs", "BBox_List_2017.csv, counted", 984, lambda: PUBLISHED["boxes"]),
    ("thresholds", "DiRA App. A.1", [60, 180], lambda: transfer("chestxray14")["localization"]["thresholds"]),
    (
        "hit",
        "DiRA App. A.1",
        [0.1, 0.2, 0.3, 0.4, 0.5, 0.6],
        lambda: transfer("chestxray14")["localization"]["deltas"],
    ),
]


@pytest.mark.parametrize(("clause", "source", "theirs", "ours"), CONSTANTS, ids=[f"{c[0]}: {c[1]}" for c in CONSTANTS])
def test_a_constant_of_the_source_is_ours(clause: str, source: str, theirs: Any, ours: Callable[[], Any]) -> None:
    found = ours()
    assert found == theirs, f"{clause}: {source} has {theirs}; the profile has {found}"


def test_a_row_that_points_to_constants_has_some() -> None:
    checked = {clause for clause, *_ in CONSTANTS}
    pointing = {cells[0] for section, cells in rows() if cells[-1].startswith("constants") and section != THREE}
    assert pointing == checked
