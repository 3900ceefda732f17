"""Files that belong together lie on one grid, labels are whole numbers, and a header says where its voxels lie."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.errors import DataError
from tasks.datasets.brats import phantom as brats_phantom
from tasks.datasets.brats.adapter import ADAPTER as BRATS
from tasks.datasets.brats.adapter import subjects
from tasks.datasets.lits import phantom as lits_phantom
from tasks.datasets.lits.adapter import ADAPTER as LITS
from tasks.datasets.lits.adapter import find_files
from tasks.datasets.luna16 import phantom as luna16_phantom
from tasks.datasets.luna16.adapter import ADAPTER as LUNA16
from tasks.datasets.luna16.adapter import LUNGS
from tasks.datasets.pe_cad import phantom as pe_cad_phantom
from tasks.datasets.pe_cad.adapter import ADAPTER as PE_CAD
from tasks.layouts.grids import CORNER_MM, Grid, difference
from tasks.layouts.label_maps import whole_labels
from tasks.layouts.volumes import read_metaimage, read_nifti
from tasks.options import Split

nibabel = pytest.importorskip("nibabel")
itk = pytest.importorskip("SimpleITK")
OFFICIAL = Split(rule="official", validation_fraction=0.1, seed=99)


@pytest.fixture(scope="module")
def brats_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("brats")
    brats_phantom.write(root, {"seed": 1, "high_grade": 2, "low_grade": 1, "shape": [16, 14, 12]})
    return root


@pytest.fixture(scope="module")
def lits_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("lits")
    lits_phantom.write(root, {"seed": 1, "train": 3, "validation": 1, "test": 1, "shape": [16, 14, 8]})
    return root


@pytest.fixture(scope="module")
def luna16_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("luna16")
    options = {"seed": 3, "scans": 1, "nodules": 1, "vessels": 1, "forks": 0, "voxels": [24, 16, 20]}
    luna16_phantom.write(root, options)
    return root


@pytest.fixture(scope="module")
def pe_cad_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pe_cad")
    pe_cad_phantom.write(root, {"seed": 3, "patients": 6, "emboli": 1, "nodes": 1, "plain": 0, "voxels": [24, 16, 20]})
    return root


@pytest.fixture
def root(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A copy of the data set that the test names, to be damaged."""
    return Path(shutil.copytree(request.getfixturevalue(request.param), tmp_path / "copy"))


def of(name: str) -> Any:
    return pytest.mark.parametrize("root", [f"{name}_root"], indirect=True)


def told(adapter: Any, root: Path, level: str = "fail") -> list[str]:
    split = None if adapter is BRATS else OFFICIAL
    return [f.message for f in adapter.verify(root, split, published=False, decode=True) if f.level == level]


def resave(path: Path, affine: Callable[[np.ndarray], np.ndarray]) -> None:
    """Save a file's voxels, untouched, under another affine."""
    image = nibabel.load(path, mmap=False)
    nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj), affine(image.affine)), path)


def moved(millimetres: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(affine: np.ndarray) -> np.ndarray:
        found = affine.copy()
        found[0, 3] += millimetres
        return found

    return change


def flipped(affine: np.ndarray) -> np.ndarray:
    return affine @ np.diag([-1.0, 1.0, 1.0, 1.0])


def stretched(affine: np.ndarray) -> np.ndarray:
    return affine @ np.diag([1.0, 1.0, 1.01, 1.0])


WRONG = {"identity": lambda _: np.eye(4), "half a voxel": moved(0.5), "flipped": flipped, "stretched": stretched}


# pairs


@of("brats")
@pytest.mark.parametrize("part", ["seg", "t2"])
@pytest.mark.parametrize("wrong", WRONG)
def test_a_file_of_a_subject_on_another_grid_is_refused_by_name(root: Path, part: str, wrong: str) -> None:
    """Voxels untouched, affine lost: read by their own headers, mask and scan would lie apart (taigw/brats17#1)."""
    name, folder = next(iter(subjects(root).items()))
    path = root / folder / f"{name}_{part}.nii.gz"
    resave(path, WRONG[wrong])
    (said,) = told(BRATS, root)
    assert path.name in said and "mm away from that of" in said and "expected one grid" in said
    adapter = BRATS.with_options({"modalities": ["flair", part]}) if part != "seg" else BRATS
    with pytest.raises(DataError, match="expected one grid"):
        adapter.open_mask(root, folder, adapter.open(root, folder))


@of("brats")
def test_headers_that_mean_one_grid_agree_in_whatever_order_their_voxels_are_stored(root: Path) -> None:
    name, folder = next(iter(subjects(root).items()))
    before = BRATS.open_mask(root, folder, BRATS.open(root, folder))
    path = root / folder / f"{name}_seg.nii.gz"
    image = nibabel.load(path, mmap=False)
    turned = nibabel.as_closest_canonical(image).as_reoriented(nibabel.io_orientation(np.diag([1.0, -1, 1, 1])))
    nibabel.save(turned, path)
    assert "".join(nibabel.aff2axcodes(image.affine)) != "".join(nibabel.aff2axcodes(turned.affine))
    assert told(BRATS, root) == []
    assert np.array_equal(before, BRATS.open_mask(root, folder, BRATS.open(root, folder)))


def test_the_tolerance_is_a_hundredth_of_a_millimetre_at_the_farthest_corner() -> None:
    affine = np.diag([0.7, 0.7, 2.5, 1.0])
    grid = Grid((512, 512, 300), affine)
    for distance, agrees in ((0.9 * CORNER_MM, True), (1.1 * CORNER_MM, False)):
        other = affine.copy()
        other[2, 2] += distance / 299
        assert (difference(Path("a"), Grid(grid.shape, other), Path("b"), grid) == "") is agrees


def test_the_corners_are_those_that_an_independent_library_finds() -> None:
    image = itk.Image(5, 6, 7, itk.sitkUInt8)
    image.SetSpacing([0.5, 0.7, 2.0])
    image.SetOrigin([10.0, -20.0, 30.0])
    image.SetDirection([0, -1, 0, 1, 0, 0, 0, 0, 1])
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    corners = [[i, j, k] for i in (0, 4) for j in (0, 5) for k in (0, 6)]
    expected = [image.TransformIndexToPhysicalPoint(corner) for corner in corners]
    assert np.allclose(Grid((5, 6, 7), affine).corners, expected)


@of("lits")
@pytest.mark.parametrize("wrong", WRONG)
def test_of_a_pair_of_lits_the_scans_header_counts_and_the_file_is_named(root: Path, wrong: str) -> None:
    volumes, segmentations, _ = find_files(root)
    number = next(n for n in volumes if not 28 <= n <= 47)
    before = LITS.open_mask(root, volumes[number], LITS.open(root, volumes[number]))
    resave(root / segmentations[number], WRONG[wrong])
    assert told(LITS, root) == []
    (said,) = [text for text in told(LITS, root, "warn") if "voxel by voxel" in text]
    assert f"segmentation-{number}.nii" in said and "mm away from that of" in said
    assert np.array_equal(before, LITS.open_mask(root, volumes[number], LITS.open(root, volumes[number])))


@of("luna16")
def test_a_lung_mask_on_another_grid_is_refused_by_name(root: Path) -> None:
    path = next((root / LUNGS).glob("*.mhd"))
    lines = path.read_text().splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("Offset"))
    x, *rest = lines[at].split(" = ")[1].split()
    lines[at] = f"Offset = {float(x) + 3.0} {' '.join(rest)}"
    path.write_text("\n".join(lines) + "\n")
    (said,) = told(LUNA16, root)
    assert path.name in said and "3 mm away" in said


# headers without a place


def codes(path: Path, sform: int, qform: int) -> None:
    image = nibabel.load(path, mmap=False)
    made = nibabel.Nifti1Image(np.asarray(image.dataobj), image.affine)
    made.header["sform_code"], made.header["qform_code"] = sform, qform
    raw = made.to_bytes()
    header = bytearray(raw)
    header[252:254], header[254:256] = np.int16(qform).tobytes(), np.int16(sform).tobytes()
    path.with_name("bare.nii").write_bytes(header)
    nibabel.save(nibabel.load(path.with_name("bare.nii"), mmap=False), path)
    path.with_name("bare.nii").unlink()
    found = nibabel.load(path).header
    assert (int(found["sform_code"]), int(found["qform_code"])) == (sform, qform)


@of("pe_cad")
def test_a_header_that_says_no_world_is_refused_where_points_are_in_the_world(root: Path) -> None:
    """The library makes up an affine for such a file: all candidates would lie elsewhere (TorchIO#469)."""
    path = sorted((root / "scans").glob("*.nii.gz"))[0]
    codes(path, 0, 0)
    said = told(PE_CAD, root)
    assert said and all(path.name in text and "sform_code and the qform_code 0" in text for text in said)
    with pytest.raises(DataError, match="nobody knows where its voxels lie"):
        PE_CAD.open(root, f"scans/{path.name}")


@of("brats")
def test_without_a_world_but_with_a_common_grid_the_guess_is_named(root: Path) -> None:
    name, folder = next(iter(subjects(root).items()))
    for path in (root / folder).iterdir():
        codes(path, 0, 0)
    assert told(BRATS, root) == []
    assert sum(name in text and "is a guess" in text for text in told(BRATS, root, "warn")) == 5


@of("pe_cad")
def test_two_places_of_one_kind_in_one_header_are_refused(root: Path) -> None:
    path = sorted((root / "scans").glob("*.nii.gz"))[0]
    image = nibabel.load(path, mmap=False)
    image.set_sform(image.affine, 1)
    turned = image.affine.copy()
    turned[:3, 3] += 10.0
    image.set_qform(turned, 1)
    nibabel.save(image, path)
    assert any("an sform and a qform of one code" in text for text in told(PE_CAD, root))
    image.set_qform(turned, 2)  # another space: the sform comes first
    nibabel.save(image, path)
    assert told(PE_CAD, root) == []


@of("luna16")
@pytest.mark.parametrize(("line", "text", "said"), [
    ("Offset", None, "has no Offset"),
    ("ElementSpacing", None, "has no ElementSpacing"),
    ("TransformMatrix", None, "has no TransformMatrix"),
    ("Offset", "nan 0 0", 'Offset = "nan 0 0"; expected numbers'),
    ("ElementSpacing", "0 1 1", "cannot be read"),
    ("TransformMatrix", "2 0 0 0 1 0 0 0 1", "TransformMatrix that is no rotation"),
    ("TransformMatrix", "0 0 0 0 1 0 0 0 1", "TransformMatrix that is no rotation"),
])  # fmt: skip
def test_a_metaimage_says_where_it_lies_or_is_refused(root: Path, line: str, text: str | None, said: str) -> None:
    """The library reads an offset that is no number, or none, as 0."""
    path = sorted(root.glob("subset*/*.mhd"))[0]
    lines = [one for one in path.read_text().splitlines() if not one.startswith(f"{line} =")]
    path.write_text("\n".join([*lines[:4], *([] if text is None else [f"{line} = {text}"]), *lines[4:]]) + "\n")
    found = told(LUNA16, root)
    assert found and all(path.name in one for one in found) and any(said in one for one in found), found
    with pytest.raises(DataError):
        LUNA16.open(root, path.relative_to(root).as_posix())


# what a voxel may be


@pytest.mark.parametrize(("voxels", "said"), [
    (np.zeros((4, 4, 4), [("R", "u1"), ("G", "u1"), ("B", "u1")]), "holds colours"),
    (np.zeros((4, 4, 4), np.complex64), "holds numbers of type complex64"),
    (np.zeros((4, 4, 4, 2), np.int16), "expected three dimensions"),
    (np.zeros((4, 4), np.int16), "expected three dimensions"),
])  # fmt: skip
def test_what_is_not_one_real_number_a_voxel_is_refused(tmp_path: Path, voxels: np.ndarray, said: str) -> None:
    nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), tmp_path / "a.nii")
    with pytest.raises(DataError, match=said):
        read_nifti(tmp_path / "a.nii")


def test_a_fourth_dimension_of_length_one_says_nothing(tmp_path: Path) -> None:
    voxels = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    for name, shape in (("a.nii", (3, 4, 5)), ("b.nii", (3, 4, 5, 1)), ("c.nii", (3, 4, 5, 1, 1))):
        nibabel.save(nibabel.Nifti1Image(voxels.reshape(shape), np.eye(4)), tmp_path / name)
    found = [read_nifti(tmp_path / name).voxels for name in ("a.nii", "b.nii", "c.nii")]
    assert all(np.array_equal(found[0], other) for other in found[1:])


def test_several_numbers_a_voxel_of_a_metaimage_are_refused(tmp_path: Path) -> None:
    itk.WriteImage(itk.GetImageFromArray(np.zeros((3, 4, 5, 2), np.int16), isVector=True), str(tmp_path / "a.mhd"))
    with pytest.raises(DataError, match="2 numbers a voxel"):
        read_metaimage(tmp_path / "a.mhd")


def with_scaling(path: Path, slope: float, intercept: float) -> None:
    nibabel.save(nibabel.Nifti1Image(np.arange(60, dtype=np.int16).reshape(3, 4, 5), np.eye(4)), path)
    raw = bytearray(path.read_bytes())
    raw[112:116], raw[116:120] = np.float32(slope).tobytes(), np.float32(intercept).tobytes()
    path.write_bytes(raw)


@pytest.mark.parametrize(("slope", "intercept", "first"), [(np.nan, np.nan, 0.0), (0.0, 3.0, 0.0), (2.0, 3.0, 3.0)])
def test_a_slope_of_nan_or_0_says_that_there_is_no_scaling(
    tmp_path: Path, slope: float, intercept: float, first: float
) -> None:
    with_scaling(tmp_path / "a.nii", slope, intercept)
    assert read_nifti(tmp_path / "a.nii").voxels.min() == first


@pytest.mark.parametrize(("slope", "intercept"), [(np.inf, 0.0), (2.0, np.nan), (2.0, np.inf)])
def test_a_scaling_that_is_no_number_is_refused(tmp_path: Path, slope: float, intercept: float) -> None:
    with_scaling(tmp_path / "a.nii", slope, intercept)
    with pytest.raises(DataError, match=r"a\.nii"):
        read_nifti(tmp_path / "a.nii")


@pytest.mark.parametrize("size", [0.0, -2.0, np.nan])
def test_a_voxel_without_size_is_refused(tmp_path: Path, size: float) -> None:
    """The library puts 1 for 0 and 2 for −2, with a line in its log."""
    path = tmp_path / "a.nii"
    image = nibabel.Nifti1Image(np.zeros((3, 4, 5), np.int16), None)
    image.set_qform(np.diag([2.0, 2, 2, 1]), 1)
    nibabel.save(image, path)
    raw = bytearray(path.read_bytes())
    raw[80:84] = np.float32(size).tobytes()
    path.write_bytes(raw)
    with pytest.raises(DataError, match="voxel size .* expected lengths above 0"):
        read_nifti(path)


# labels


def test_labels_that_are_whole_up_to_rounding_are_whole() -> None:
    found = whole_labels(Path("a"), np.array([0.0, 0.99993, 1.0004, 2.0], np.float32), {0, 1, 2})
    assert found.dtype == np.int16 and found.tolist() == [0, 1, 1, 2]


@pytest.mark.parametrize(("value", "said"), [
    (0.998, r"the label 0\.99800\d*; expected whole numbers \(0, 1, 2\)"),
    (np.nan, "the label nan"),
    (np.inf, "the label inf"),
    (3.0, "the unknown label 3; expected 0, 1, 2"),
    (-1.0, "the unknown label -1"),
    (1e9, "the unknown label 1e\\+09"),
])  # fmt: skip
def test_any_other_label_is_refused_with_enough_digits(value: float, said: str) -> None:
    with pytest.raises(DataError, match=said):
        whole_labels(Path("a"), np.array([0.0, 1.0, value], np.float32), {0, 1, 2})


@of("lits")
def test_a_segmentation_that_is_stored_scaled_or_as_floats_reads_as_before(root: Path) -> None:
    volumes, segmentations, _ = find_files(root)
    numbers = [n for n in volumes if not 28 <= n <= 47][:2]
    before = [LITS.open_mask(root, volumes[n], LITS.open(root, volumes[n])) for n in numbers]
    for number, (slope, noise) in zip(numbers, ((1 / 255, 0.0), (1.0, 4e-4)), strict=True):
        path = root / segmentations[number]
        image = nibabel.load(path, mmap=False)
        labels = np.asarray(image.dataobj).astype(np.float64)
        made = nibabel.Nifti1Image((labels / slope + noise).astype(np.float32), image.affine)
        made.header.set_slope_inter(slope, 0.0)
        made.to_filename(path)
        raw = bytearray(path.read_bytes())
        raw[112:116], raw[116:120] = np.float32(slope).tobytes(), np.float32(0).tobytes()
        raw[352:] = (labels / slope + noise).astype("<f4").tobytes(order="F")
        path.write_bytes(raw)
        stored = nibabel.load(path, mmap=False).get_fdata()
        assert not np.array_equal(stored, np.rint(stored)) or slope != 1.0
    assert told(LITS, root) == []
    for number, mask in zip(numbers, before, strict=True):
        assert np.array_equal(mask, LITS.open_mask(root, volumes[number], LITS.open(root, volumes[number])))


# where files lie


@of("lits")
def test_a_folder_named_as_its_file_is_read(root: Path) -> None:
    """``volume-0.nii/volume-0.nii``, as a common mirror unpacks."""
    cases = LITS.read(root, OFFICIAL).cases
    for path in list(root.rglob("*.nii")):
        path.rename(path.with_name("moving"))
        path.mkdir()
        path.with_name("moving").rename(path / path.name)
        (path / f"._{path.name}").write_bytes(b"\0\5\x16\7")
    assert told(LITS, root) == []
    nested = LITS.read(root, OFFICIAL).cases
    assert nested.drop(columns="image").equals(cases.drop(columns="image"))


@of("lits")
def test_a_second_file_of_one_number_is_told_and_read_only_if_it_is_the_same(root: Path) -> None:
    path = next(root.rglob("volume-0.nii"))
    (root / "again").mkdir()
    shutil.copy(path, root / "again")
    assert told(LITS, root) == [] and any("volume-0.nii" in text for text in told(LITS, root, "warn"))
    resave(root / "again" / path.name, moved(1.0))
    (said,) = told(LITS, root)
    assert "again/volume-0.nii" in said and "another content" in said
    with pytest.raises(DataError, match="another content"):
        LITS.read(root, OFFICIAL)


@of("luna16")
def test_subsets_and_tables_that_are_nested_as_unpacking_leaves_them_are_read(root: Path) -> None:
    cases = LUNA16.read(root, OFFICIAL).cases
    for number in (3, 8, 9):
        folder = root / f"subset{number}"
        folder.rename(root / "moving")
        folder.mkdir()
        (root / "moving").rename(folder / folder.name)
    (root / "candidates.csv").rename(root / "moving")
    (root / "candidates.csv").mkdir()
    (root / "moving").rename(root / "candidates.csv" / "candidates.csv")
    assert told(LUNA16, root) == []
    nested = LUNA16.read(root, OFFICIAL).cases
    assert nested.drop(columns="image").equals(cases.drop(columns="image"))
    assert LUNA16.open(root, nested["image"].iloc[0]).voxels.shape == (24, 16, 20)


@of("brats")
def test_subjects_are_found_however_deep_they_lie_and_doubles_are_told(root: Path) -> None:
    cases = BRATS.read(root, Split(rule="random", test_fraction=0.34, validation_fraction=0.1, seed=4)).cases
    for name, folder in subjects(root).items():
        for path in list((root / folder).iterdir()):
            path.rename(path.with_name("moving"))
            path.mkdir()
            path.with_name("moving").rename(path / path.name)
        (root / folder).rename(root / "moving")
        (root / folder).mkdir()
        (root / "moving").rename(root / folder / name)
    assert told(BRATS, root) == []
    nested = BRATS.read(root, Split(rule="random", test_fraction=0.34, validation_fraction=0.1, seed=4)).cases
    assert nested.drop(columns="image").equals(cases.drop(columns="image"))
    name, folder = next(iter(subjects(root).items()))
    shutil.copytree(root / folder, root / "again" / "HGG" / name)
    assert any(name in text for text in told(BRATS, root, "warn"))


@of("brats")
def test_some_fold_lists_without_the_others_are_refused(root: Path) -> None:
    (root / "fold_1.csv").write_text("")
    with pytest.raises(DataError, match="without the others"):
        BRATS.read(root, Split(rule="random", test_fraction=0.34, validation_fraction=0.1, seed=4))


# what is missing

SAMPLE = OFFICIAL.model_copy(update={"sample": True})


@of("lits")
def test_test_volumes_of_lits_that_are_missing_fail_with_their_number(root: Path) -> None:
    found = {f.level: f.message for f in LITS.verify(root, OFFICIAL, decode=False) if "test volumes" in f.message}
    assert found.keys() == {"fail"} and "14 of 15 test volumes are not under" in found["fail"]
    found = {f.level: f.message for f in LITS.verify(root, SAMPLE, decode=False) if "test volumes" in f.message}
    assert found.keys() == {"note"} and "declares a sample" in found["note"]


@of("luna16")
def test_test_scans_of_luna16_that_are_missing_fail_with_their_number_and_subset(root: Path) -> None:
    """Subsets 7, 8 and 9 hold 89, 88 and 88 of the 888 scans; the phantom has one of each."""
    (said,) = [f.message for f in LUNA16.verify(root, OFFICIAL, decode=False) if f.level == "fail"]
    assert "262 of 265 test scans are not under" in said and "one of subset7" in said
    assert not [f for f in LUNA16.verify(root, SAMPLE, decode=False) if f.level == "fail"]


@of("brats")
def test_where_the_test_set_is_drawn_every_missing_subject_of_brats_fails(root: Path) -> None:
    drawn = Split(rule="random", test_fraction=1 / 3, validation_fraction=0.125, seed=4)
    (said,) = [f.message for f in BRATS.verify(root, drawn, decode=False) if f.level == "fail"]
    assert "282 of 285 subjects" in said
    sample = drawn.model_copy(update={"sample": True})
    assert not [f for f in BRATS.verify(root, sample, decode=False) if f.level == "fail"]


@of("pe_cad")
def test_a_test_patient_of_pe_cad_without_a_scan_fails_or_is_left_out_of_a_sample(root: Path) -> None:
    cases = PE_CAD.read(root, OFFICIAL).cases
    one = cases[cases["split"] == "test"].iloc[0]
    (root / one["image"]).unlink()
    assert any("1 of 2 test patients of split.csv are not under" in text for text in told(PE_CAD, root))
    assert not [f for f in PE_CAD.verify(root, SAMPLE, published=False) if f.level == "fail"]
    assert one["patient"] not in set(PE_CAD.read(root, SAMPLE).cases["patient"])


@of("luna16")
def test_a_row_that_is_there_twice_is_told(root: Path) -> None:
    path = root / "candidates.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines, lines[3]]) + "\n")
    assert any(f"repeat another (first: line {len(lines) + 1})" in text for text in told(LUNA16, root, "warn"))
