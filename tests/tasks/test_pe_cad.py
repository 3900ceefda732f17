"""PE-CAD: this project's neutral layout, its groups, and what is wrong with a copy."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("SimpleITK")
pytest.importorskip("nibabel")

from harness.errors import DataError
from tasks.cohorts.patches import cut_patches
from tasks.datasets.pe_cad.adapter import ADAPTER
from tasks.datasets.pe_cad.phantom import write
from tasks.layouts.candidates import read_scan
from tasks.options import Split
from tasks.patch_options import Patches

SPLIT = Split(rule="official", validation_fraction=0.1, seed=99)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pe_cad")
    write(root, {"seed": 3, "patients": 9, "voxels": [64, 44, 54]})
    return root


@pytest.fixture
def root(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "pe_cad"))


def failures(root: Path) -> list[str]:
    return [f.message for f in ADAPTER.verify(root, SPLIT, published=False) if f.level == "fail"]


def edit(root: Path, file: str, line: int, text: str) -> None:
    lines = (root / file).read_text().splitlines()
    lines[line - 1] = text
    (root / file).write_text("\n".join(lines) + "\n")


def test_the_pristine_layout_has_nothing_to_report_in_any_of_its_formats(pristine: Path) -> None:
    assert ADAPTER.verify(pristine, SPLIT, published=False) == []
    endings = {"".join(path.suffixes) for path in (pristine / "scans").iterdir()}
    assert endings == {".mhd", ".raw", ".nii.gz"}
    flips = {"-1 0 0" in path.read_text() for path in (pristine / "scans").glob("*.mhd")}
    assert flips == {True, False}


def test_a_tenth_of_the_training_patients_validates_and_no_patient_is_in_two_splits(pristine: Path, root: Path) -> None:
    index = ADAPTER.read(pristine, SPLIT)
    patients = index.cases.groupby("patient")["split"].unique()
    assert patients.map(len).max() == 1
    assert patients.map(lambda found: found[0]).value_counts().to_dict() == {"train": 5, "test": 3, "validation": 1}
    named = root / "split.csv"
    named.write_text(named.read_text().replace(",train", ",validation", 2))
    given = ADAPTER.read(root, SPLIT)
    assert given.cases.loc[given.cases["split"] == "validation", "patient"].nunique() == 2
    assert given.split_rule == "as split.csv says"


def test_several_candidates_may_hit_one_embolus(pristine: Path) -> None:
    index = ADAPTER.read(pristine, SPLIT)
    assert index.facts["emboli"] == 27 < index.cases["embolus"].sum()


def test_every_format_puts_emboli_and_nodes_at_their_dark_middle(pristine: Path) -> None:
    """Plugs are at +50 HU among +330: the candidate's voxel is darker than the brightest around it, in each format."""
    cases = ADAPTER.read(pristine, SPLIT).cases
    checked = set()
    for image, rows in cases[cases["embolus"] == 1].groupby("image"):
        volume = read_scan(pristine / str(image))
        for point in rows[["x_mm", "y_mm", "z_mm"]].to_numpy():
            at = np.rint(volume.to_voxel(point)).astype(int)
            around = volume.voxels[tuple(slice(max(0, i - 3), i + 4) for i in at)]
            assert -250 < volume.voxels[tuple(at)] < around.max() and around.max() > 130
        checked.add(str(image).split(".", 1)[1])
    assert checked == {"mhd", "nii.gz"}


def test_patches_are_cubes(pristine: Path) -> None:
    cases = ADAPTER.read(pristine, SPLIT).cases
    one = cases[cases["image"] == cases["image"].iloc[0]]
    patches = Patches(shape=(16, 16, 16), store="uint8", window=(-1000, 1000))
    found = list(cut_patches(ADAPTER, pristine, one, patches, masks=False))
    assert len(found) == len(one) and all(patch.shape == (16, 16, 16) for patch, _ in found)


def test_each_wrong_line_and_file_is_one_sentence_and_the_rest_is_still_reported(root: Path) -> None:
    lines = (root / "candidates.csv").read_text().splitlines()[1:]
    patient = lines[0].split(",")[0]
    edit(root, "candidates.csv", 2, f"{patient},0,0,5000,0,")
    edit(root, "candidates.csv", 3, f"{patient},0,0,0,7,")
    edit(root, "candidates.csv", 4, f"{patient},0,0,0,1,")
    edit(root, "candidates.csv", 5, "Nobody,0,0,0,0,")
    path = next((root / "scans").glob("*.nii.gz"))
    path.write_bytes(path.read_bytes()[:2000])
    found = failures(root)
    assert any(f.startswith("line 2 of candidates.csv lies at (0, 0, 5000) mm, outside") for f in found)
    assert any('line 3 of candidates.csv has the unknown class "7"' in f for f in found)
    assert any('line 4 of candidates.csv has embolus_id ""' in f for f in found)
    assert any("patient Nobody of candidates.csv has no scan" in f for f in found)
    assert any("patient Nobody of candidates.csv is not in split.csv" in f for f in found)
    assert any(str(path) in f and "damaged" in f for f in found)
    assert all("\n" not in f for f in found)


def test_voxels_that_are_no_number_and_numbers_that_are_no_hounsfield_units_fail(root: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    first, second = sorted((root / "scans").glob("*.nii.gz"))[:2]
    for path, change in ((first, np.nan), (second, 5000.0)):
        image = nibabel.load(path)
        voxels = np.asarray(image.dataobj, np.float32)
        voxels = voxels + np.float32(change) if change == change else np.where(voxels > 300, np.nan, voxels)
        nibabel.save(nibabel.Nifti1Image(voxels.astype(np.float32), image.affine), path)
    found = failures(root)
    assert any(str(first) in f and "voxels that are no number" in f for f in found)
    assert any(str(second) in f and "expected Hounsfield units" in f for f in found)
    cases, patches = ADAPTER.read(root, SPLIT).cases, Patches(shape=(16, 16, 16), store="uint8", window=(-1000, 1000))
    for path, said in ((first, "that are no number"), (second, "expected Hounsfield units, air")):
        of = cases[cases["image"] == f"scans/{path.name}"]
        with pytest.raises(DataError, match=said) as error:
            list(cut_patches(ADAPTER, root, of, patches, masks=False))
        assert path.name in str(error.value)


def test_a_patient_in_two_splits_or_an_unknown_split_is_refused(root: Path) -> None:
    lines = (root / "split.csv").read_text().splitlines()
    patient, part = lines[1].split(",")
    other = "test" if part == "train" else "train"
    (root / "split.csv").write_text("\n".join([*lines, f"{patient},{other}"]) + "\n")
    assert any(f"patient {patient} is in the splits {part} and {other}" in f for f in failures(root))
    (root / "split.csv").write_text("\n".join([*lines, "X,exam"]) + "\n")
    with pytest.raises(DataError, match='unknown split "exam"'):
        ADAPTER.read(root, SPLIT)


def test_published_counts_are_compared_as_warnings(pristine: Path) -> None:
    found = [f.message for f in ADAPTER.verify(pristine, SPLIT, decode=False)]
    assert any("PE-CAD has 9 scans, -112 against the published 121" in f for f in found)


def test_an_empty_root_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected one scan a patient"):
        ADAPTER.read(tmp_path, SPLIT)
