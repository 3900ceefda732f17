"""LiTS: layouts, orientations, pairs; BraTS 2018: sequences, folds; both: verifiers, phantoms and their gates."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import ttest_ind

from harness.errors import ConfigurationError, DataError
from harness.pixels import Pixels
from harness.spec import Status
from tasks.cohorts.patches import cut_patches
from tasks.datasets.brats import phantom as brats_phantom
from tasks.datasets.brats.adapter import ADAPTER as BRATS
from tasks.datasets.brats.adapter import subjects
from tasks.datasets.lits import phantom as lits_phantom
from tasks.datasets.lits.adapter import ADAPTER as LITS
from tasks.datasets.lits.adapter import find_files
from tasks.layouts.in_parallel import Effort, looking
from tasks.layouts.volumes import nifti_header, read_nifti
from tasks.options import Split
from tasks.patch_options import Patches
from tasks.phantoms.volume_files import write_nifti
from tasks.transfer.run import run_trial
from tests.tasks.conftest import built, context, plan_of
from tests.tasks.standins import trial_spec

nibabel = pytest.importorskip("nibabel")
OFFICIAL = Split(rule="official", validation_fraction=0.1, seed=99)
RANDOM = Split(rule="random", test_fraction=1 / 3, validation_fraction=0.125, seed=4)
ENCODER = {"obtain": "tests.tasks.standins:obtain_volume"}


@pytest.fixture(scope="module")
def lits_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("lits")
    lits_phantom.write(root, {"seed": 1, "train": 12, "validation": 2, "test": 3, "shape": [40, 40, 14]})
    return root


@pytest.fixture(scope="module")
def brats_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("brats")
    brats_phantom.write(root, {"seed": 1, "high_grade": 6, "low_grade": 3, "shape": [24, 24, 16]})
    return root


@pytest.fixture
def copied(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A copy of the data set that the test names, to be damaged."""
    return shutil.copytree(request.getfixturevalue(request.param), tmp_path / "copy")


def failures(adapter: Any, root: Path) -> list[str]:
    return [f.message for f in adapter.verify(root, published=False, decode=True) if f.level == "fail"]


def damage(path: Path, change: Any, kind: type = np.int16) -> None:
    image = nibabel.load(path, mmap=False)
    changed = change(np.asarray(image.dataobj).astype(kind)).astype(kind)
    nibabel.save(nibabel.Nifti1Image(changed, image.affine), path)


# LiTS


def test_lits_phantoms_pass_the_verifier_and_are_split_by_index(lits_root: Path) -> None:
    assert failures(LITS, lits_root) == []
    index = LITS.with_options({"patches_per_volume": 2}).read(lits_root, OFFICIAL)
    for part, low, high in (("train", 0, 99), ("validation", 100, 114), ("test", 115, 129)):
        numbers = index.cases.loc[index.cases["split"] == part, "patient"].astype(int)
        assert len(numbers) and numbers.between(low, high).all()
    assert (index.cases.groupby("patient").size() == 2).all()


def test_lits_phantoms_have_the_real_oddities(lits_root: Path) -> None:
    volumes, segmentations, _ = find_files(lits_root)
    codes, identity, kinds = set(), [], set()
    for number, path in volumes.items():
        image, mask = nibabel.load(lits_root / path), nibabel.load(lits_root / segmentations[number])
        codes.add("".join(nibabel.aff2axcodes(image.affine)))
        if np.array_equal(image.affine, np.eye(4)):
            identity.append(number)
        else:
            assert 0 < np.abs(image.affine - mask.affine).max() < 1e-3
        kinds.add(mask.get_data_dtype())
    assert {"RAS", "LAS", "LPS", "LPI"} <= codes and len(kinds) == 2
    assert identity and all(28 <= number <= 47 for number in identity)
    assert {Path(path).parent.name for path in volumes.values()} == {"Training Batch 1", "Training Batch 2"}


def test_every_lits_volume_is_read_with_its_liver_on_the_patients_right(lits_root: Path) -> None:
    """The liver lies right of the spleen in every orientation: a wrong reading of one of them fails."""
    volumes, _, _ = find_files(lits_root)
    for path in volumes.values():
        volume = LITS.open(lits_root, path)
        liver = LITS.open_mask(lits_root, path, volume)
        x, _, z = (line.mean() for line in np.nonzero(liver))
        body = np.argwhere(volume.voxels > -300).mean(axis=0)
        assert x < body[0] - 1
        spine = np.argwhere(volume.voxels > 300).mean(axis=0)
        assert spine[1] > body[1]
        air = np.argwhere((volume.voxels < -600) & (np.hypot(*_from_middle(volume.voxels.shape)) < 0.5)[:, :, None])
        assert air[:, 2].mean() > z  # lungs above the liver
        assert abs(volume.voxels[liver].mean() - 95) < 40


def _from_middle(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    return tuple(np.meshgrid(*(np.linspace(-1, 1, n) for n in shape[:2]), indexing="ij"))


def test_only_the_images_header_says_how_a_segmentation_lies(lits_root: Path, tmp_path: Path) -> None:
    root = shutil.copytree(lits_root, tmp_path / "copy")
    volumes, segmentations, _ = find_files(root)
    number = next(n for n in volumes if n % 4 == 1)  # stored RAS
    before = LITS.open_mask(root, volumes[number], LITS.open(root, volumes[number]))
    path = root / segmentations[number]
    stored = np.asarray(nibabel.load(path, mmap=False).dataobj)
    nibabel.save(nibabel.Nifti1Image(stored, np.diag([-1.0, -1.0, 1.0, 1.0])), path)
    after = LITS.open_mask(root, volumes[number], LITS.open(root, volumes[number]))
    assert np.array_equal(before, after) and not np.array_equal(before, read_nifti(path).voxels > 0)
    warnings = [f.message for f in LITS.verify(root, published=False) if f.level == "warn"]
    assert any("aligned voxel by voxel" in text for text in warnings)


def test_kaggles_folders_hold_the_same_cases(lits_root: Path, tmp_path: Path) -> None:
    options = {"seed": 1, "train": 12, "validation": 2, "test": 3, "shape": [40, 40, 14], "layout": "kaggle"}
    lits_phantom.write(tmp_path, options)
    one, other = (LITS.read(root, OFFICIAL).cases.drop(columns="image") for root in (lits_root, tmp_path))
    assert one.equals(other) and failures(LITS, tmp_path) == []


def test_the_foreground_is_the_liver_with_or_without_tumours(lits_root: Path) -> None:
    volumes, _, _ = find_files(lits_root)
    sizes = {}
    for name in ("liver", "healthy_liver", "tumour"):
        adapter = LITS.with_options({"foreground": name})
        sizes[name] = sum(
            int(adapter.open_mask(lits_root, p, adapter.open(lits_root, p)).sum()) for p in volumes.values()
        )
    assert sizes["liver"] == sizes["healthy_liver"] + sizes["tumour"] and sizes["tumour"] > 0
    with pytest.raises(ConfigurationError, match=r"options\.cohort\.adapter\.foreground"):
        LITS.with_options({"foreground": "spleen"})


@pytest.mark.parametrize("copied", ["lits_root"], indirect=True)
def test_the_lits_verifier_reports_each_damage_in_a_sentence_and_goes_on(copied: Path) -> None:
    volumes, segmentations, _ = find_files(copied)
    a, b, c, d, e, f = sorted(volumes)[:6]
    path = copied / volumes[a]
    path.write_bytes(path.read_bytes()[:-500])
    damage(copied / segmentations[b], lambda v: v[:-1])
    damage(copied / segmentations[c], lambda v: v + 3 * (v == 2) + 5 * (v == 1))
    damage(copied / volumes[d], lambda v: np.where(v == v.max(), np.nan, v).astype(np.float32), np.float32)
    (copied / segmentations[e]).unlink()
    damage(copied / volumes[f], lambda v: np.maximum(v, 0))
    found = failures(LITS, copied)
    expected = {
        f"volume-{a}.nii": "is cut: 500 bytes are missing",
        f"segmentation-{b}.nii": "has shape",
        f"segmentation-{c}.nii": "holds the unknown label",
        f"volume-{d}.nii": "no number",
        f"volume-{e}.nii": f"has no segmentation-{e}.nii",
        f"volume-{f}.nii": "expected Hounsfield units, air",
    }
    assert len(found) == len(expected)
    for name, words in expected.items():
        assert sum(name in text and words in text for text in found) == 1, (name, found)
    with pytest.raises(DataError, match=f"volume-{e}.nii has no segmentation"):
        LITS.read(copied, OFFICIAL)


# BraTS


def test_brats_phantoms_pass_the_verifier_and_no_patient_is_in_two_splits(brats_root: Path) -> None:
    assert failures(BRATS, brats_root) == []
    index = BRATS.read(brats_root, RANDOM)
    patients = {s: set(f["patient"]) for s, f in index.cases.groupby("split")}
    assert {s: len(p) for s, p in patients.items()} == {"test": 3, "train": 5, "validation": 1}
    assert not patients["train"] & patients["test"] and not patients["train"] & patients["validation"]


def test_brats_phantoms_hold_the_labels_of_their_grade_and_a_black_background(brats_root: Path) -> None:
    for name, folder in subjects(brats_root).items():
        labels = read_nifti(brats_root / folder / f"{name}_seg.nii.gz").voxels
        assert set(np.unique(labels)) == ({0, 1, 2, 4} if "HGG" in folder else {0, 1, 2})
        for part in ("flair", "t1", "t1ce", "t2"):
            scan = read_nifti(brats_root / folder / f"{name}_{part}.nii.gz").voxels
            assert scan.dtype == np.int16 and scan[0, 0, 0] == 0 and (scan == 0).mean() > 0.3
        grid = nifti_header(brats_root / folder / f"{name}_t1.nii.gz").grid
        assert np.array_equal(grid.affine[:3, :3], np.eye(3)) and grid.affine[1, 3] == -(grid.shape[1] - 1)


def test_t1_is_not_taken_for_t1ce(brats_root: Path) -> None:
    name, folder = next((n, f) for n, f in subjects(brats_root).items() if "HGG" in f)
    t1, t1ce = (BRATS.with_options({"modalities": [m]}).open(brats_root, folder).voxels for m in ("t1", "t1ce"))
    rim = read_nifti(brats_root / folder / f"{name}_seg.nii.gz").voxels == 4
    assert t1ce[rim].mean() > 1.5 * t1[rim].mean()


def test_the_authors_folds_give_their_split(brats_root: Path, tmp_path: Path) -> None:
    root = shutil.copytree(brats_root, tmp_path / "copy")
    names = sorted(subjects(root))
    folds = [names[0::3], names[1::3], names[2::3]]
    for number, fold in enumerate(folds, start=1):
        (root / f"fold_{number}.csv").write_text("".join(f"HGG/{name}\n" for name in fold))
    rest = folds[0] + folds[1]
    random.Random(4).shuffle(rest)
    cases = BRATS.with_options({"patches_per_volume": 1}).read(root, RANDOM).cases
    of = {split: set(frame["case"].str.split("/").str[0]) for split, frame in cases.groupby("split")}
    assert of.get("validation", set()) == set(rest[: 6 // 8]) and of["test"] == set(folds[2])
    (root / "fold_3.csv").write_text(f"{folds[0][0]}\n")
    with pytest.raises(DataError, match=r"fold lists of .* twice"):
        BRATS.read(root, RANDOM)


def test_a_published_training_set_of_190_keeps_23_for_validation(tmp_path: Path) -> None:
    from tasks.datasets.brats.adapter import assign_splits

    names = {f"Brats18_X_{i}_1": f"Brats18_X_{i}" for i in range(285)}
    parts, _ = assign_splits(tmp_path, names, RANDOM)
    counts = {part: list(parts.values()).count(part) for part in ("train", "validation", "test")}
    assert counts == {"train": 167, "validation": 23, "test": 95}


@pytest.mark.parametrize("copied", ["brats_root"], indirect=True)
def test_the_brats_verifier_reports_each_damage_in_a_sentence_and_goes_on(copied: Path) -> None:
    (a, fa), (b, fb), (c, fc), (d, fd), (e, fe) = list(subjects(copied).items())[:5]
    path = copied / fa / f"{a}_t1.nii.gz"
    path.write_bytes(path.read_bytes()[:200])
    damage(copied / fb / f"{b}_t2.nii.gz", lambda v: v[:, :-2])
    damage(copied / fc / f"{c}_seg.nii.gz", lambda v: np.where(v == 2, 3, v))
    damage(copied / fd / f"{d}_t1ce.nii.gz", lambda v: np.where(v > 500, np.nan, v).astype(np.float32), np.float32)
    (copied / fe / f"{e}_flair.nii.gz").unlink()
    found = failures(BRATS, copied)
    expected = {
        f"{a}_t1.nii.gz": "",
        f"{b}_t2.nii.gz": "has shape",
        f"{c}_seg.nii.gz": "holds the unknown label 3",
        f"{d}_t1ce.nii.gz": "not numbers",
        f"{e}_flair.nii.gz": "expected four sequences",
    }
    assert len(found) == len(expected)
    for name, words in expected.items():
        assert sum(name in text and words in text for text in found) == 1, (name, found)


# trials


def trial(task: str, cohort: Path, folder: Path, repeat: int = 0, **transfer: Any) -> Any:
    plan = plan_of(task, **transfer)
    return run_trial(trial_spec(task, plan, encoder=ENCODER, repeat=repeat), context(folder, cohort=cohort))


@pytest.mark.parametrize("task", ["lits", "brats"])
def test_a_trial_on_volumes_returns_every_metric_and_the_same_twice(task: str, tmp_path: Path) -> None:
    cohort = built(task, tmp_path / "cohort")
    pixels = Pixels(cohort)
    assert pixels.images.shape[1:] == (16, 16, 8) == pixels.masks.shape[1:] and pixels.images.dtype == np.uint8
    assert (cohort / "sample.png").is_file()
    first, second = trial(task, cohort, tmp_path), trial(task, cohort, tmp_path)
    assert first.status is Status.OK and tuple(first.values) == plan_of(task).metrics
    assert first.values == second.values and first.facts == second.facts and first.curve == second.curve
    overlap, union = first.arrays["overlap"], first.arrays["predicted"] + first.arrays["true"]
    assert first.values["iou"] == pytest.approx(overlap.sum() / (union - overlap).sum())
    assert trial(task, cohort, tmp_path, repeat=1).curve != first.curve


@pytest.mark.parametrize("copied", ["lits_root"], indirect=True)
@pytest.mark.parametrize(("change", "kind", "said"), [
    (lambda v: np.where(v > 300, np.nan, v), np.float32, "voxels that are no number"),
    (lambda v: np.clip(v, -400, None), np.int16, "has the minimum -400; expected Hounsfield units"),
])  # fmt: skip
def test_a_scan_that_cannot_be_hounsfield_units_is_refused_when_it_is_cut(
    change: Any, kind: type, said: str, copied: Path
) -> None:
    index = LITS.read(copied, OFFICIAL)
    cases = index.cases[index.cases["image"] == index.cases["image"].iloc[0]]
    damage(copied / cases["image"].iloc[0], change, kind)
    patches = Patches(shape=(16, 16, 8), store="uint8", window=(-1000, 1000), in_plane=48)
    with pytest.raises(DataError, match=said) as error:
        list(cut_patches(LITS, copied, cases, patches, masks=True))
    assert Path(cases["image"].iloc[0]).name in str(error.value)


def test_mr_may_begin_anywhere_when_it_is_cut(brats_root: Path) -> None:
    index = BRATS.read(brats_root, RANDOM)
    cases = index.cases[index.cases["image"] == index.cases["image"].iloc[0]]
    assert BRATS.open(brats_root, cases["image"].iloc[0]).voxels.min() >= 0 and not BRATS.hounsfield
    patches = Patches(shape=(16, 16, 8), store="uint8", window=(0, 1000))
    assert len(list(cut_patches(BRATS, brats_root, cases, patches, masks=True))) == len(cases)


def test_four_sequences_are_four_channels_of_every_patch(tmp_path: Path) -> None:
    from tasks.cohorts.build import build

    plan = plan_of("brats")
    options = {**plan.cohort["adapter_options"], "modalities": ["flair", "t1", "t1ce", "t2"]}
    cohort = tmp_path / "cohort"
    cohort.mkdir()
    build({"task": "brats", "configuration": {**plan.cohort, "adapter_options": options}}, context(cohort))
    assert Pixels(cohort).images.shape[1:] == (4, 16, 16, 8)
    assert trial("brats", cohort, tmp_path).status is Status.OK


def test_a_diverged_trial_is_scored_at_its_best_validated_weights(tmp_path: Path) -> None:
    cohort = built("lits", tmp_path / "cohort")
    plan = plan_of("lits", steps=6, evaluate_every=2)
    spec = trial_spec("lits", plan, encoder={"obtain": "tests.tasks.standins:obtain_poisoned_volume"})
    outcome = run_trial(spec, context(tmp_path, cohort=cohort))
    assert outcome.status is Status.DIVERGED and outcome.facts["selected_step"] in (2, 4)
    assert 0 <= outcome.values["iou"] <= 1


@pytest.mark.parametrize("task", ["lits", "brats"])
def test_a_supervised_reference_beats_a_mask_shuffled_one_on_volumes(task: str, tmp_path: Path) -> None:
    """The gate of a phantom: its masks can be learnt. Nothing here knows a method of the benchmark."""
    true = built(task, tmp_path / "true")
    false = shutil.copytree(true, tmp_path / "false")
    pixels = Pixels(true)
    masks = np.array(pixels.masks)
    rows = np.concatenate([pixels.rows("train"), pixels.rows("validation")])
    masks[rows] = masks[np.random.Generator(np.random.PCG64(0)).permutation(rows)]
    np.save(false / "masks.npy", masks)
    length = {"steps": 60, "evaluate_every": 60, "batch": 8, "metric": {"resamples": 10}}
    score = "pixel_average_precision"
    learnt, not_learnt = (
        [trial(task, where, tmp_path, repeat=r, **length).values[score] for r in range(4)] for where in (true, false)
    )
    assert ttest_ind(learnt, not_learnt, alternative="greater").pvalue < 0.001


def test_no_band_of_intensities_finds_the_liver(lits_root: Path) -> None:
    """Spleen, kidneys and bowel are as bright: place and shape decide, not brightness."""
    volumes, _, _ = find_files(lits_root)
    scans, livers = [], []
    for path in volumes.values():
        volume = LITS.open(lits_root, path)
        scans.append(volume.voxels.ravel())
        livers.append(LITS.open_mask(lits_root, path, volume).ravel())
    values, liver = np.concatenate(scans), np.concatenate(livers)
    best = 0.0
    for low in range(0, 110, 10):
        for high in range(low + 20, 241, 20):
            band = (values >= low) & (values <= high)
            best = max(best, float((band & liver).sum() / (band | liver).sum()))
    assert 0.1 < best < 0.6


def test_a_written_phantom_is_read_back_voxel_by_voxel(tmp_path: Path) -> None:
    voxels = np.random.Generator(np.random.PCG64(1)).integers(-1000, 1000, (5, 6, 7)).astype(np.int16)
    write_nifti(tmp_path / "a.nii.gz", voxels, np.diag([1.0, 2.0, 3.0, 1.0]), "ILA")
    assert np.array_equal(read_nifti(tmp_path / "a.nii.gz").voxels, voxels)


def test_scans_are_opened_by_several_processes_and_in_part(lits_root: Path) -> None:
    alone = LITS.verify(lits_root, published=False)
    with looking(Effort(2)) as effort:
        assert LITS.verify(lits_root, published=False) == alone
    assert (effort.opened, effort.of) == (17, 17)
    with looking(Effort(sample=3)) as effort:
        LITS.verify(lits_root, published=False)
    assert (effort.opened, effort.of) == (3, 17)
