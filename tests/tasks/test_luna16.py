"""LUNA16: MetaImage, world coordinates, candidates, subset folders; and what is wrong with each."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from harness.errors import ConfigurationError, DataError
from tasks.cohorts.filling import Filling
from tasks.cohorts.need import voxels_of
from tasks.cohorts.patches import cut_patches
from tasks.cohorts.scans import write_scans
from tasks.datasets.luna16.adapter import ADAPTER, LUNGS
from tasks.datasets.luna16.phantom import write
from tasks.layouts.candidates import thin_negatives
from tasks.layouts.volumes import read_metaimage
from tasks.options import Split
from tasks.patch_options import Patches, ScanStore
from tasks.phantoms.lungs import write_metaimage

pytest.importorskip("SimpleITK")
SPLIT = Split(rule="official", validation_fraction=0.1, seed=99)
PATCHES = Patches(shape=(16, 16, 8), store="uint8", window=(-1000, 1000))


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("luna16")
    write(root, {"seed": 3, "scans": 1, "voxels": [64, 44, 40]})
    return root


@pytest.fixture
def root(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "luna16"))


def failures(root: Path) -> list[str]:
    return [f.message for f in ADAPTER.verify(root, SPLIT, published=False) if f.level == "fail"]


def edit(root: Path, line: int, **changes: str) -> None:
    path = root / "candidates.csv"
    table = pd.read_csv(path, dtype=str)
    for column, text in changes.items():
        table.loc[line - 2, column] = text
    table.to_csv(path, index=False)


def test_the_pristine_layout_has_nothing_wrong_but_the_scan_that_is_not_there(pristine: Path) -> None:
    (only,) = ADAPTER.verify(pristine, SPLIT, published=False)
    assert only.level == "warn" and "which has no scan; it is left out" in only.message
    facts = ADAPTER.read(pristine, SPLIT).facts
    assert facts["candidates_without_scan"] == 1 and facts["scans"] == 10


def test_the_split_is_the_folders(pristine: Path) -> None:
    cases = ADAPTER.read(pristine, SPLIT).cases
    wanted = {n: "train" if n < 5 else "validation" if n < 7 else "test" for n in range(10)}
    assert set(zip(cases["image"].str[6].astype(int), cases["split"], strict=True)) == set(wanted.items())
    scans = ADAPTER.pretraining_scans(pristine)
    assert sorted(scans["image"].str[6].astype(int)) == list(range(7))
    assert set(scans["case"]).isdisjoint(cases.loc[cases["split"] == "test", "patient"])


def test_a_flipped_transform_matrix_gives_the_same_patches_and_ignoring_it_would_not(tmp_path: Path) -> None:
    """An independent reading: the raw bytes, indexed by the header's own numbers."""
    generator = np.random.Generator(np.random.PCG64(1))
    voxels = generator.integers(-900, 400, (24, 20, 12)).astype(np.int16)
    affine = np.diag([2.0, 3.0, 4.0, 1.0])
    affine[:3, 3] = [-31.0, 17.0, 200.0]
    write_metaimage(tmp_path / "plain.mhd", voxels, affine)
    write_metaimage(tmp_path / "flipped.mhd", voxels, affine, flipped=True)
    raw = np.fromfile(tmp_path / "flipped.raw", "<i2").reshape(12, 20, 24)
    header = dict(line.split(" = ") for line in (tmp_path / "flipped.mhd").read_text().splitlines())
    matrix = np.array(header["TransformMatrix"].split(), float).reshape(3, 3)
    offset, spacing = (np.array(header[key].split(), float) for key in ("Offset", "ElementSpacing"))
    point = affine[:3, 3] + np.array([5, 7, 3]) * [2.0, 3.0, 4.0]
    i, j, k = np.rint(np.linalg.inv(matrix * spacing) @ (point - offset)).astype(int)
    assert raw[k, j, i] == voxels[5, 7, 3], "the phantom is written as its header says"
    plain, flipped = (read_metaimage(tmp_path / f"{name}.mhd") for name in ("plain", "flipped"))
    assert np.array_equal(plain.voxels, flipped.voxels) and np.allclose(plain.affine, flipped.affine)
    assert np.allclose(flipped.to_voxel(point), [5, 7, 3])
    naive = np.rint((point - offset) / spacing).astype(int)  # what a reader does that ignores the matrix
    assert (naive < 0).any() or raw[tuple(np.clip(naive[::-1], 0, np.array(raw.shape) - 1))] != voxels[5, 7, 3]


def test_candidates_lie_in_the_middle_of_their_patches_in_every_scan(pristine: Path) -> None:
    """At the middle there is soft tissue, half a patch away mostly lung: wrong in x, y or z it would be lung."""
    index = ADAPTER.read(pristine, SPLIT)
    middles, mirrored = [], []
    for image, cases in index.cases[index.cases["nodule"] == 1].groupby("image"):
        volume = ADAPTER.open(pristine, str(image))
        for point in cases[["x_mm", "y_mm", "z_mm"]].to_numpy():
            middles.append(volume.voxels[tuple(np.rint(volume.to_voxel(point)).astype(int))])
            mirrored.append(volume.voxels[tuple(np.rint(volume.to_voxel(point * [-1, -1, 1])).astype(int))])
        for patch, mask in cut_patches(ADAPTER, pristine, cases, PATCHES, masks=False):
            assert patch.shape == (16, 16, 8) and mask is None and patch.min() >= 0 and patch.max() <= 1
    assert np.mean(np.array(middles) > -400) > 0.9
    assert np.mean(np.array(mirrored) > -400) < 0.6, "reading the sign of x and y wrongly would be noticed"


def test_a_place_and_a_class_that_make_no_sense_are_one_sentence_each_and_nothing_hides_the_rest(root: Path) -> None:
    edit(root, 2, coordX="9999")
    edit(root, 3, **{"class": "2"})
    edit(root, 4, coordZ="nan")
    paths = sorted(root.glob("subset*/*.raw"))
    paths[0].write_bytes(paths[0].read_bytes()[:-10])
    paths[1].unlink()
    found = failures(root)
    assert any(f.startswith("line 2 of candidates.csv lies at (9999,") and "outside" in f for f in found)
    assert any(f == 'line 3 of candidates.csv has the unknown class "2"; expected 0 or 1' for f in found)
    assert any(f.startswith("line 4 of candidates.csv lacks a number") for f in found)
    assert any(f"{paths[0]} has" in f and "it is cut" in f for f in found)
    assert any(f"no file {paths[1]}" in f for f in found)
    assert all("\n" not in f for f in found)
    with pytest.raises(DataError, match="unknown class"):
        ADAPTER.read(root, SPLIT)


def test_a_candidate_outside_its_scan_is_refused_when_it_is_cut(root: Path) -> None:
    edit(root, 2, coordX="9999")
    index = ADAPTER.read(root, SPLIT)
    case = index.cases[index.cases["x_mm"] == 9999]
    with pytest.raises(DataError, match="lies outside its scan"):
        list(cut_patches(ADAPTER, root, case, PATCHES, masks=False))


def test_a_lung_mask_of_another_shape_or_with_another_label_fails(root: Path) -> None:
    path = next((root / LUNGS).glob("*.mhd"))
    assert path.with_suffix(".zraw").is_file()
    volume = read_metaimage(path)
    assert set(np.unique(volume.voxels)) == {0, 3, 4}
    left = volume.to_world(np.argwhere(volume.voxels == 4))[:, 0]
    assert left.min() >= 0, "4 is the patient's left, where x grows"
    write_metaimage(path, volume.voxels[:-2] + np.uint8(4), volume.affine, compressed=True)
    found = failures(root)
    assert any("has shape" in f and LUNGS in f for f in found) and any("unknown label 7" in f for f in found)


def test_a_scan_in_two_folders_fails(root: Path) -> None:
    for path in (root / "subset0").iterdir():
        shutil.copy(path, root / "subset9")
    assert any("lies in two subset folders" in f for f in failures(root))


def test_two_scans_of_one_patient_in_two_splits_are_a_leak(root: Path) -> None:
    train, test = (next((root / f"subset{n}").glob("*.mhd")).stem for n in (0, 9))
    (root / "patients.csv").write_text(f"seriesuid,patient_id\n{train},A\n{test},A\n")
    assert any("1 patients are in two splits (first: A)" in f for f in failures(root))


def test_v2_has_more_positives_and_an_unknown_file_is_refused(pristine: Path) -> None:
    v1 = ADAPTER.read(pristine, SPLIT).cases
    v2 = ADAPTER.with_options({"candidates_file": "candidates_V2.csv"}).read(pristine, SPLIT).cases
    assert v2["nodule"].sum() == 2 * v1["nodule"].sum()
    with pytest.raises(ConfigurationError, match="candidates_file"):
        ADAPTER.with_options({"candidates_file": "mine.csv"})


def test_only_negatives_outside_the_test_set_are_thinned() -> None:
    splits = ["train"] * 100 + ["validation"] * 50 + ["test"] * 80
    cases = pd.DataFrame({"split": splits, "nodule": [int(i % 25 == 0) for i in range(230)]})
    kept = thin_negatives(cases, "nodule", 3, 1)
    counts = kept.groupby(["split", "nodule"]).size()
    assert counts["train", 1] == 4 and counts["train", 0] == 12
    assert counts["validation", 1] == 2 and counts["validation", 0] == 6
    assert (kept["split"] == "test").sum() == 80
    assert thin_negatives(cases, "nodule", 3, 1).equals(kept) and not thin_negatives(cases, "nodule", 3, 2).equals(kept)
    assert thin_negatives(cases, "nodule", None, 1).equals(cases)


@pytest.mark.parametrize("shape", [None, [32, 22, 20]])
def test_whole_scans_of_subsets_0_to_6_are_kept_for_pretraining(
    pristine: Path, tmp_path: Path, shape: list[int] | None
) -> None:
    write_scans(Filling(tmp_path), pristine, ADAPTER, ScanStore(shape=shape))
    table = pd.read_csv(tmp_path / "scans.csv")
    assert list(table.columns) == ["row", "case", "patient", "split"] and len(table) == 7
    volume = ADAPTER.open(pristine, ADAPTER.pretraining_scans(pristine)["image"].iloc[3])
    expected = np.clip(volume.voxels, -1000, 1000) / 2000 + 0.5
    if shape is None:
        kept = np.load(tmp_path / "scans" / "3.npy")
        assert np.abs(kept / 255.0 - expected).max() <= 0.5 / 255 + 1e-6
    else:
        kept = np.load(tmp_path / "scans.npy")
        assert kept.shape == (7, *shape) and kept.dtype == np.uint8
        assert kept[3].mean() / 255 == pytest.approx(expected.mean(), abs=0.01)


def test_scans_that_cannot_be_hounsfield_units_are_neither_cut_nor_kept(root: Path, tmp_path: Path) -> None:
    import SimpleITK

    scan = ADAPTER.pretraining_scans(root)["image"].iloc[0]
    image = SimpleITK.ReadImage(str(root / scan))
    voxels = SimpleITK.GetArrayFromImage(image).astype(np.float32)
    cases = ADAPTER.read(root, SPLIT).cases
    for changed, said in (
        (np.where(voxels > 100, np.nan, voxels), "voxels that are no number"),
        (voxels + 1024, "expected Hounsfield units, air near"),
    ):
        made = SimpleITK.GetImageFromArray(changed.astype(np.float32))
        made.CopyInformation(image)
        SimpleITK.WriteImage(made, str(root / scan))
        folder = tmp_path / said[:4]
        folder.mkdir()
        with pytest.raises(DataError, match=said) as error:
            write_scans(Filling(folder), root, ADAPTER, ScanStore(shape=(8, 8, 8)))
        assert Path(scan).name in str(error.value)
        with pytest.raises(DataError, match=said):
            list(cut_patches(ADAPTER, root, cases[cases["image"] == scan], PATCHES, masks=False))


def test_published_counts_are_compared_as_warnings(pristine: Path) -> None:
    found = [f.message for f in ADAPTER.verify(pristine, SPLIT, decode=False) if f.level == "warn"]
    assert any("LUNA16 has 10 scans, -878 against the published 888" in f for f in found)


def test_an_empty_root_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected the ten parts of LUNA16"):
        ADAPTER.read(tmp_path, SPLIT)


@pytest.mark.parametrize("packed", [False, True])
def test_the_voxels_that_room_is_asked_for_are_those_of_the_scan_however_it_is_packed(
    pristine: Path, tmp_path: Path, packed: bool
) -> None:
    import SimpleITK

    scan = ADAPTER.pretraining_scans(pristine)["image"].iloc[0]
    SimpleITK.WriteImage(SimpleITK.ReadImage(str(pristine / scan)), str(tmp_path / "scan.mhd"), packed)
    assert (tmp_path / "scan.zraw").is_file() == packed
    assert voxels_of(tmp_path / "scan.mhd") == ADAPTER.open(pristine, scan).voxels.size
    (tmp_path / "scan.mhd").write_text("ObjectType = Image\nDimSize = 64 x 32\n")
    with pytest.raises(DataError, match=r'has DimSize = "64 x 32"; expected whole numbers'):
        voxels_of(tmp_path / "scan.mhd")
