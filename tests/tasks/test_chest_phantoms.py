"""The gates of the chest phantoms: what they ask can be learnt, and not from brightness. No method is involved."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import ttest_ind
from torch import nn

from harness.metrics.ranking import auc_by_class
from tasks.cohorts.filling import Filling
from tasks.cohorts.patches import write_patches
from tasks.datasets.catalogue import catalogue
from tasks.options import Split
from tasks.patch_options import Patches
from tasks.scoring.losses import dice_sums, soft_dice

for package in ("SimpleITK", "nibabel", "pydicom"):
    pytest.importorskip(package)

MADE: dict[str, dict[str, Any]] = {
    "luna16": {"seed": 5, "scans": 2, "nodules": 5, "vessels": 5, "forks": 0, "voxels": [128, 88, 80]},
    "pe_cad": {"seed": 5, "patients": 14, "emboli": 5, "nodes": 5, "plain": 0, "voxels": [128, 88, 108]},
    "lidc_idri": {"seed": 5, "patients": 14, "nodules": 4, "voxels": [96, 66, 54], "slices": 27},
}
SPLITS = {
    "luna16": Split(rule="official", validation_fraction=0.1, seed=99),
    "pe_cad": Split(rule="official", validation_fraction=0.1, seed=99),
    "lidc_idri": Split(rule="random", test_fraction=0.4, validation_fraction=0.1, seed=99),
}
LABELS = {"luna16": "nodule", "pe_cad": "embolus"}
STEPS = 60


class Cohorts(dict[str, Path]):
    """Task → folder of its patches, made when first asked for."""

    def __init__(self, factory: pytest.TempPathFactory) -> None:
        super().__init__()
        self.factory = factory

    def __missing__(self, task: str) -> Path:
        root, folder = self.factory.mktemp(f"{task}_layout"), self.factory.mktemp(task)
        data_set = catalogue()[task]
        data_set.phantom.write(root, MADE[task])
        adapter = data_set.adapter
        patches = {"shape": [16, 16, 8], "store": "uint8", "window": [-1000, 1000]}
        patches |= {"spacing_mm": 4.0} if task == "lidc_idri" else {}
        index, cut = adapter.read(root, SPLITS[task]), Patches.model_validate(patches)
        write_patches(Filling(folder), root, index, adapter, cut)
        self[task] = folder
        return folder


@pytest.fixture(scope="module")
def cohorts(tmp_path_factory: pytest.TempPathFactory) -> Cohorts:
    return Cohorts(tmp_path_factory)


def network(seed: int, *, pooled: bool) -> nn.Sequential:
    """A few convolutions: to one logit a patch, or one a voxel."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        widths = (1, 8, 16, 16)
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Conv3d(before, after, 3, padding=1), nn.BatchNorm3d(after), nn.ReLU()]
            layers += [nn.MaxPool3d(2)] if pooled and after == 8 else []
        if pooled:
            return nn.Sequential(*layers, nn.AdaptiveMaxPool3d(1), nn.Flatten(), nn.Linear(16, 1))
        return nn.Sequential(*layers, nn.Conv3d(16, 1, 1))


def train(model: nn.Module, images: torch.Tensor, targets: torch.Tensor, seed: int, steps: int) -> nn.Module:
    """Fit by Adam with flips of every axis; binary cross-entropy, and soft Dice where targets are volumes."""
    optimiser = torch.optim.Adam(model.parameters(), 5e-3)
    generator = np.random.Generator(np.random.PCG64(seed))
    for _ in range(steps):
        at = generator.integers(0, len(images), 16 if targets.ndim == 1 else 8)
        flips = [axis for axis in (-1, -2, -3) if generator.random() < 0.5]
        batch = torch.flip(images[at], flips)
        logits = model(batch)[:, 0]
        wanted = torch.flip(targets[at], flips) if targets.ndim > 1 else targets[at]
        loss = nn.functional.binary_cross_entropy_with_logits(logits, wanted)
        if targets.ndim > 1:
            loss = loss + soft_dice(dice_sums(logits, wanted), 1.0)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model.eval()


def opened(folder: Path) -> tuple[torch.Tensor, pd.DataFrame, np.ndarray, np.ndarray]:
    cases = pd.read_csv(folder / "cases.csv")
    images = torch.from_numpy(np.load(folder / "pixels.npy")).float()[:, None] / 255
    return images, cases, np.flatnonzero(cases["split"] != "test"), np.flatnonzero(cases["split"] == "test")


@pytest.mark.parametrize("task", ["luna16", "pe_cad"])
def test_brightness_alone_does_not_tell_what_is_to_be_found_from_what_is_beside_it(task: str, cohorts: Cohorts) -> None:
    images, cases, _, _ = opened(cohorts[task])
    labels = cases[[LABELS[task]]].to_numpy()
    flat = images.flatten(1)
    scores = {"middle": images[:, 0, 8, 8, 4], "mean": flat.mean(1), "largest": flat.amax(1), "spread": flat.std(1)}
    for name, score in scores.items():
        area = float(auc_by_class(labels, score[:, None].numpy())[0])
        assert 0.3 < area < 0.7, f"{name} gives {area:.3f}"


@pytest.mark.parametrize("task", [pytest.param("luna16", marks=pytest.mark.thorough), "pe_cad"])
def test_a_supervised_reference_beats_a_label_shuffled_one(task: str, cohorts: Cohorts) -> None:
    images, cases, rows, test = opened(cohorts[task])
    labels = cases[LABELS[task]].to_numpy(np.float32)

    def score(seed: int, *, shuffled: bool) -> float:
        given = labels[rows]
        if shuffled:
            given = np.random.Generator(np.random.PCG64(seed)).permutation(given)
        model = train(network(seed, pooled=True), images[rows], torch.from_numpy(given), seed, STEPS)
        with torch.inference_mode():
            found = model(images[test])
        return float(auc_by_class(labels[test, None], found.numpy())[0])

    true, false = ([score(seed, shuffled=wrong) for seed in range(4)] for wrong in (False, True))
    assert ttest_ind(true, false, alternative="greater").pvalue < 0.001, (true, false)


@pytest.mark.thorough
def test_a_supervised_reference_beats_a_mask_shuffled_one_and_a_threshold(cohorts: Cohorts) -> None:
    images, _, rows, test = opened(cohorts["lidc_idri"])
    masks = torch.from_numpy(np.load(cohorts["lidc_idri"] / "masks.npy")).float()

    def overlap(found: torch.Tensor) -> float:
        true = masks[test] > 0
        return float((found & true).sum() / (found | true).sum())

    def score(seed: int, *, shuffled: bool) -> float:
        given = masks[rows]
        if shuffled:  # nodules lie in the middle, so masks are also moved, not exchanged alone
            order = np.random.Generator(np.random.PCG64(seed)).permutation(len(rows))
            given = torch.roll(given[order], (5, 5, 2), (1, 2, 3))
        model = train(network(seed, pooled=False), images[rows], given, seed, STEPS)
        with torch.inference_mode():
            return overlap(model(images[test])[:, 0] > 0)

    true, false = ([score(seed, shuffled=wrong) for seed in range(4)] for wrong in (False, True))
    assert ttest_ind(true, false, alternative="greater").pvalue < 0.001, (true, false)
    best = max(overlap(images[test][:, 0] > level / 20) for level in range(20))
    assert best < 0.5, f"a threshold alone gives {best:.3f}: vessels are as dense as nodules"
