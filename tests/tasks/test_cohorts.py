from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import ttest_ind

from harness.errors import DataError, Unavailable
from harness.identity import file_sha256
from harness.metrics.ranking import auc_by_class, macro
from harness.pixels import Pixels
from tasks.cohorts.build import build
from tasks.configuration import resolve
from tasks.datasets.chestxray14.adapter import LABELS
from tasks.datasets.chestxray14.phantom import write
from tasks.options import Split
from tasks.phantoms.findings import REAL_BOXES
from tests.tasks.conftest import built, context, plan_of
from tests.tasks.standins import TinyBackbone


@pytest.mark.parametrize("task", ["chestxray14", "montgomery"])
def test_a_cohort_is_byte_identical_when_built_again(task: str, cohorts: dict[str, Path], tmp_path: Path) -> None:
    again = built(task, tmp_path / task)
    for path in sorted(cohorts[task].iterdir()):
        assert file_sha256(path) == file_sha256(again / path.name), path.name


@pytest.mark.parametrize("task", ["chestxray14", "montgomery"])
def test_a_manifest_says_what_the_folder_holds(task: str, cohorts: dict[str, Path]) -> None:
    pixels = Pixels(cohorts[task])
    manifest = pixels.manifest
    assert manifest["synthetic"] and manifest["stamp"].startswith("SYNTHETIC") and not manifest["split_published"]
    assert manifest["counts"]["images"] == len(pixels.images) == len(pixels.cases)
    assert manifest["training_units"] == len(pixels.rows("train"))
    assert manifest["validation_units"] == len(pixels.rows("validation"))
    for name, digest in manifest["sha256"].items():
        assert file_sha256(cohorts[task] / name) == digest
    assert pixels.cases.groupby("patient")["split"].nunique().max() == 1
    assert not (cohorts[task] / "layout").exists() and str(cohorts[task]) not in json.dumps(manifest)


def test_all_fourteen_findings_and_several_follow_ups_are_there(cohorts: dict[str, Path]) -> None:
    cases = Pixels(cohorts["chestxray14"]).cases
    assert (cases[list(LABELS)].sum() > 0).all()
    assert cases["patient"].value_counts().max() > 2
    assert (cases[list(LABELS)].sum(axis=1) == 0).any()


def test_masks_are_zero_and_one_and_cover_a_plausible_share(cohorts: dict[str, Path]) -> None:
    masks = np.asarray(Pixels(cohorts["montgomery"]).masks)
    assert set(np.unique(masks)) == {0, 1}
    assert 0.1 < masks.mean() < 0.45


def test_boxes_hold_what_was_painted_and_lie_as_the_real_ones_do(tmp_path: Path) -> None:
    """Without the finding the box is unchanged elsewhere: strength moves pixels inside the boxes of test images."""
    options = {"seed": 2, "train": 20, "validation": 5, "test": 400, "file_px": 64}
    for name, strength in (("faint", 1e-6), ("strong", 2.0)):
        (tmp_path / name).mkdir()
        write(tmp_path / name, {**options, "strength": strength})
    from tasks.datasets.chestxray14.adapter import ADAPTER
    from tasks.layouts.images import read_grey

    index = ADAPTER.read(tmp_path / "strong", Split(rule="official", validation_fraction=0.1, seed=0))
    paths = index.cases.set_index("case")["image"]
    labels = index.cases.set_index("case")[list(LABELS)].sum(axis=1)
    masses = index.boxes[index.boxes["label"] == "Mass"]
    alone = masses[masses["case"].map(labels) == 1]
    assert len(alone) > 3
    for box in alone.itertuples():
        strong, faint = (read_grey(tmp_path / kind / paths[box.case]).astype(int) for kind in ("strong", "faint"))
        changed = np.abs(strong - faint) > 25
        inside = np.zeros_like(changed)
        pad = 2
        y, x = int(box.y), int(box.x)
        inside[max(0, y - pad) : y + int(box.height) + pad, max(0, x - pad) : x + int(box.width) + pad] = True
        assert not (changed & ~inside).any()
    nodules = index.boxes[index.boxes["label"] == "Nodule"]
    centre = np.abs((nodules["x"] + nodules["width"] / 2) / 64 - 0.5)
    assert centre.mean() == pytest.approx(REAL_BOXES["Nodule"].off[0], abs=0.05)
    assert (nodules["width"] / 64).median() < (index.boxes[index.boxes["label"] == "Effusion"]["width"] / 64).median()


def test_a_real_root_is_read_without_a_generator_and_must_not_have_changed(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    write(root, {"seed": 5, "train": 40, "validation": 10, "test": 20, "file_px": 64})
    from tests.tasks.test_configuration import entry

    plan = resolve(entry(options={"cohort": {"cache_px": 32}}), "paper", {"mine": root})
    assert plan.unavailable is None and plan.split_published
    spec = {"task": "mine", "configuration": plan.cohort}
    folder = tmp_path / "cohort"
    folder.mkdir()
    here = context(folder)
    with pytest.raises(Unavailable, match="DIRA_BENCH_DATA_MINE"):
        build(spec, here)
    real = type(here)("cpu", folder, {}, folder, data_roots={"mine": root})
    outcome = build(spec, real)
    assert outcome.facts["split_published"] and not outcome.facts["synthetic"]
    assert any("against the published" in f["message"] for f in outcome.facts["findings"])
    assert str(root) not in json.dumps(outcome.facts)
    with (root / "test_list.txt").open("a") as stream:
        stream.write("\n")
    with pytest.raises(DataError, match="unchanged since"):
        build(spec, real)


def test_a_cohort_that_fails_its_verifier_is_not_built(tmp_path: Path) -> None:
    from tests.tasks.test_configuration import entry

    root = tmp_path / "root"
    root.mkdir()
    write(root, {"seed": 5, "train": 40, "validation": 10, "test": 20, "file_px": 64})
    table = root / "Data_Entry_2017_v2020.csv"
    table.write_text(table.read_text().replace("No Finding", "Nothing", 1))
    plan = resolve(entry(), "paper", {"mine": root})
    folder = tmp_path / "cohort"
    folder.mkdir()
    real = type(context(folder))("cpu", folder, {}, folder, data_roots={"mine": root})
    with pytest.raises(DataError, match='unknown label "Nothing"'):
        build({"task": "mine", "configuration": plan.cohort}, real)
    assert not (folder / "manifest.json").exists()


def reference(pixels: Pixels, labels: np.ndarray, seed: int, steps: int = 60) -> float:
    """Test AUC of a small supervised network; ``labels`` may be shuffled among the training images."""
    rows, test = (pixels.rows(part).copy() for part in ("train", "test"))
    images = torch.from_numpy(np.array(pixels.images)).float()[:, None].expand(-1, 3, -1, -1) / 255 - 0.5
    truth = pixels.cases.set_index("row")[list(LABELS)].to_numpy()
    backbone = TinyBackbone(seed)
    head = torch.nn.Linear(48, len(LABELS))
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.zeros_(head.bias)
    optimiser = torch.optim.Adam([*backbone.parameters(), *head.parameters()], 3e-3)
    generator = np.random.Generator(np.random.PCG64(seed))
    for _ in range(steps):
        at = generator.integers(0, len(rows), 48)
        logits = head(backbone.encode(images[rows[at]])[-1].mean((-2, -1)))
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, torch.from_numpy(labels[at]).float())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    backbone.eval()
    with torch.no_grad():
        scores = head(backbone.encode(images[test])[-1].mean((-2, -1))).numpy()
    return macro(auc_by_class(truth[test], scores))[0]


def shuffled(labels: np.ndarray, seed: int) -> np.ndarray:
    return labels[np.random.Generator(np.random.PCG64(seed)).permutation(len(labels))]


def test_a_supervised_reference_beats_a_label_shuffled_one_on_chestxray14_phantoms(cohorts: dict[str, Path]) -> None:
    """The gate of a phantom: its labels can be learnt. Nothing here knows a method of the benchmark."""
    pixels = Pixels(cohorts["chestxray14"])
    labels = pixels.cases.set_index("row").loc[pixels.rows("train"), list(LABELS)].to_numpy()
    true = [reference(pixels, labels, seed) for seed in range(5)]
    false = [reference(pixels, shuffled(labels, seed), seed) for seed in range(5)]
    assert ttest_ind(true, false, alternative="greater").pvalue < 1e-3
    assert 0.55 < np.mean(true) < 0.95


def test_a_supervised_reference_beats_a_mask_shuffled_one_on_montgomery_phantoms(
    cohorts: dict[str, Path], tmp_path: Path
) -> None:
    from tasks.transfer.run import run_trial
    from tests.tasks.standins import trial_spec

    folder = tmp_path / "shuffled"
    folder.mkdir()
    for path in cohorts["montgomery"].iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    pixels = Pixels(cohorts["montgomery"])
    masks = np.array(pixels.masks)
    rows = np.concatenate([pixels.rows("train"), pixels.rows("validation")])
    generator = np.random.Generator(np.random.PCG64(0))
    for row in rows:  # torn apart, so that not even the mean lung is left to learn
        masks[row] = generator.permutation(masks[row].ravel()).reshape(masks[row].shape)
    np.save(folder / "masks.npy", masks)
    plan = plan_of("montgomery", steps=40, evaluate_every=20, metric={"resamples": 10})
    scores = {
        name: [
            run_trial(trial_spec("montgomery", plan, repeat=r), context(tmp_path, cohort=where)).values["dice"]
            for r in range(4)
        ]
        for name, where in (("true", cohorts["montgomery"]), ("false", folder))
    }
    assert ttest_ind(scores["true"], scores["false"], alternative="greater").pvalue < 1e-3
    assert 0.6 < np.mean(scores["true"]) < 0.985
