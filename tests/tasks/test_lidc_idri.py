"""LIDC-IDRI: DICOM series and four-reader XML; what a nodule is; what is wrong with a copy."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

pydicom = pytest.importorskip("pydicom")

from harness.errors import ConfigurationError, DataError  # noqa: E402
from tasks.datasets.lidc_idri.adapter import ADAPTER, draw_split, find_series, read_pretraining  # noqa: E402
from tasks.datasets.lidc_idri.annotations import Outline, Reading, consensus, fill, group, read_message, voxels_of  # noqa: E402
from tasks.datasets.lidc_idri.phantom import chains, write  # noqa: E402
from tasks.layouts.in_parallel import Effort, looking  # noqa: E402
from tasks.layouts.series import read_series  # noqa: E402
from tasks.options import Split  # noqa: E402
from tasks.patch_options import Patches  # noqa: E402

SPLIT = Split(rule="random", test_fraction=0.4, validation_fraction=0.16, seed=99)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("lidc")
    write(root, {"seed": 3, "patients": 8, "nodules": 2, "voxels": [64, 44, 40], "slices": 18})
    return root


@pytest.fixture
def root(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "lidc"))


def failures(root: Path, decode: bool = True) -> list[str]:
    return [f.message for f in ADAPTER.verify(root, SPLIT, published=False, decode=decode) if f.level == "fail"]


def square(low: int, high: int, reader: int = 0, z: float = 0.0, inclusion: bool = True) -> Reading:
    """A reading whose chain is the border of the square from low to high: the nodule is what lies between."""
    return Reading(reader, "n", (Outline(z, "", inclusion, ring(low, high)),), 3)


def ring(low: int, high: int) -> np.ndarray:
    top = [(x, low) for x in range(low, high)] + [(high, y) for y in range(low, high)]
    return np.array(top + [(x, high) for x in range(high, low, -1)] + [(low, y) for y in range(high, low, -1)])


def test_the_pristine_layout_has_nothing_wrong_and_skips_the_radiograph(pristine: Path) -> None:
    (only,) = ADAPTER.verify(pristine, SPLIT, published=False)
    assert only.level == "warn" and "1 series are no CT" in only.message
    series, other, _ = find_series(pristine)
    assert len(series) == 9 and len({s.patient for s in series}) == 8 and len(other) == 1
    assert read_message(next((pristine / other[0]).glob("*.xml"))) is None


def test_names_and_instance_numbers_are_shuffled_and_both_pixel_representations_occur(pristine: Path) -> None:
    kinds = set()
    for series in find_series(pristine)[0]:
        headers = [pydicom.dcmread(pristine / path) for path in series.files]
        heights = [float(h.ImagePositionPatient[2]) for h in headers]
        by_number = [z for _, z in sorted((int(h.InstanceNumber), z) for h, z in zip(headers, heights, strict=True))]
        assert heights != sorted(heights) and by_number != sorted(heights)
        kinds.add((headers[0].PixelRepresentation, int(headers[0].RescaleIntercept)))
        volume, ordered = read_series(pristine / path for path in series.files)
        assert [float(h.ImagePositionPatient[2]) for h in ordered] == sorted(heights)
        assert np.allclose(volume.to_world(np.array([0, 0, 3]))[2], sorted(heights)[3])
        assert -1100 <= volume.voxels.min() <= -900 and volume.voxels.max() > 200, "rescale tags are applied"
    assert kinds == {(1, 0), (0, -1024)}


def test_an_outline_is_an_outer_border_and_a_hole_is_cut_out() -> None:
    assert sorted(map(tuple, fill(ring(2, 6)).tolist())) == [(x, y) for x in (3, 4, 5) for y in (3, 4, 5)]
    reading = Reading(0, "n", (Outline(0.0, "", True, ring(0, 10)), Outline(0.0, "", False, ring(3, 7))), 3)
    assert len(voxels_of(reading)[0.0]) == 9**2 - 3**2
    assert voxels_of(Reading(0, "n", (Outline(0.0, "", True, np.array([[5, 5]])),), None)) == {}


def test_a_chain_drawn_around_a_region_encloses_just_that_region() -> None:
    x, y, z = np.ogrid[:30, :30, :6]
    inside = (x - 14.3) ** 2 / 60 + (y - 12.8) ** 2 / 40 + (z - 3) ** 2 / 4 < 1
    for at, points in chains(inside):
        found = np.zeros((30, 30), bool)
        found[tuple(fill(points).T)] = True
        assert np.array_equal(found, inside[:, :, at])


def test_readings_of_different_readers_that_share_a_voxel_are_one_nodule() -> None:
    far = square(20, 26, reader=1)
    grouped = group([square(0, 6, 0), square(3, 9, 1), square(6, 12, 2), far])
    assert [len(found) for found in grouped] == [3, 1]
    assert [len(found) for found in group([square(0, 6, 0), square(3, 9, 0)])] == [1, 1], "one reader's are not joined"
    assert [len(found) for found in group([square(0, 6, 0), square(0, 6, 1, z=5.0)])] == [1, 1], "other slices"


@pytest.mark.parametrize(("agreement", "side"), [(0.25, 9), (0.5, 7), (0.75, 5), (1.0, 3)])
def test_consensus_is_the_share_of_readings_that_hold_a_voxel(agreement: float, side: int) -> None:
    """Four nested squares with sides 3, 5, 7 and 9: at least k of four hold the k-th largest."""
    nested = [square(10 - n, 14 + n, reader=n) for n in range(4)]
    assert len(consensus(nested, agreement)[0.0]) == side**2


def test_masks_lie_on_the_painted_nodule_and_swapped_axes_would_not(pristine: Path) -> None:
    inside, swapped = [], []
    for image in ADAPTER.read(pristine, SPLIT).cases["image"].unique():
        volume, nodules = ADAPTER.open_nodules(pristine, image)
        for _, voxels, centre in nodules:
            inside.append(volume.voxels[tuple(voxels.T)].mean())
            turned = np.clip(voxels[:, [1, 0, 2]], 0, np.array(volume.voxels.shape) - 1)
            swapped.append(volume.voxels[tuple(turned.T)].mean())
            assert np.allclose(centre, voxels.mean(axis=0))
    assert np.median(inside) > -250, "cavity and partial volume aside, a nodule is soft tissue"
    assert np.median(swapped) < np.median(inside) - 150


def test_patches_hold_their_nodule_in_the_middle(pristine: Path) -> None:
    index = ADAPTER.read(pristine, SPLIT)
    patches = Patches(shape=(16, 16, 8), store="uint8", window=(-1000, 1000), spacing_mm=6.0)
    for _, cases in index.cases.groupby("image"):
        for patch, mask in ADAPTER.cut(pristine, cases, patches):
            assert patch.shape == mask.shape == (16, 16, 8) and mask.any()
            core = mask[4:12, 4:12, 1:7].sum()
            assert core >= 0.5 * mask.sum()
            assert patch[mask].mean() > patch[~mask].mean()


def test_a_scan_without_its_rescaling_is_refused_when_it_is_cut(root: Path) -> None:
    index = ADAPTER.read(root, SPLIT)
    image = index.cases["image"].iloc[0]
    for path in (root / image).glob("*.dcm"):
        data = pydicom.dcmread(path)
        data.RescaleIntercept = 0 if data.RescaleIntercept else 1024
        data.save_as(path)
    patches = Patches(shape=(16, 16, 8), store="uint8", window=(-1000, 1000), spacing_mm=6.0)
    with pytest.raises(DataError, match="expected Hounsfield units, air near") as error:
        list(ADAPTER.cut(root, index.cases[index.cases["image"] == image], patches))
    assert image in str(error.value)


def test_the_split_is_by_patient_in_the_papers_sizes_counted_in_scans() -> None:
    names = [f"LIDC-IDRI-{n:04d}" for n in range(1, 1011)]
    scans = pd.DataFrame({"patient": names + names[10:18]})  # eight patients with two
    split = Split(rule="random", test_fraction=408 / 1018, validation_fraction=100 / 610, seed=99)
    assigned = draw_split(scans, split, set())
    assert scans["patient"].map(assigned).value_counts().to_dict() == {"train": 510, "test": 408, "validation": 100}
    kept_out = set(names[:500])
    around = draw_split(scans, split, kept_out)
    assert (scans["patient"].map(around) == "test").sum() == 408
    assert not {p for p, part in around.items() if part == "test"} & kept_out


def test_sizes_that_do_not_fit_outside_pretraining_name_a_fraction_that_does() -> None:
    names = [f"LIDC-IDRI-{n:04d}" for n in range(1, 1011)]
    scans = pd.DataFrame({"patient": names + names[10:18]})
    split = Split(rule="random", test_fraction=408 / 1018, validation_fraction=100 / 610, seed=99)
    for count in (623, 800):
        with pytest.raises(DataError, match="can be test scans when patients of") as error:
            draw_split(scans, split, set(names[:count]))
        fits = float(re.search(r"\{test_fraction: ([0-9.]+)\}", str(error.value))[1])
        assigned = draw_split(scans, split.model_copy(update={"test_fraction": fits}), set(names[:count]))
        assert (scans["patient"].map(assigned) == "test").sum() == round(fits * 1018) > (1010 - count) - 2


@pytest.mark.parametrize("text", [None, "", " \n\n"])
def test_without_a_list_of_pretraining_there_is_nothing_to_keep_out(text: str | None, root: Path) -> None:
    path = root / "pretraining_series.txt"
    path.unlink(missing_ok=True)
    if text is not None:
        path.write_text(text)
    with pytest.raises(DataError, match=r"pretraining_series.txt in .* leave the option out"):
        ADAPTER.with_options({"test_outside_pretraining": True}).read(root, SPLIT)
    assert ADAPTER.read(root, SPLIT).facts["test_scans_pretrained_on"] is None


def test_the_test_set_can_be_drawn_around_the_scans_of_pretraining(root: Path) -> None:
    seen = read_pretraining(root)
    assert seen
    usual = ADAPTER.read(root, SPLIT)
    series = {s.uid: s.patient for s in find_series(root)[0]}
    part = dict(zip(usual.cases["patient"], usual.cases["split"], strict=True))
    expected = sum(part.get(series[uid]) == "test" for uid in seen)
    assert usual.facts["test_scans_pretrained_on"] >= expected
    (root / "pretraining_series.txt").write_text("\n".join(sorted(series)[:4]) + "\n")
    around = ADAPTER.with_options({"test_outside_pretraining": True}).read(root, SPLIT)
    assert around.facts["test_scans_pretrained_on"] == 0 and (around.cases["split"] == "test").any()


def test_two_scans_of_a_patient_share_a_split(pristine: Path) -> None:
    series = find_series(pristine)[0]
    twice = pd.Series([s.patient for s in series]).value_counts()
    assert twice.max() == 2
    cases = ADAPTER.read(pristine, SPLIT).cases
    assert cases.groupby("patient")["split"].nunique().max() == 1


def test_more_readers_make_fewer_cases(pristine: Path) -> None:
    counts = [len(ADAPTER.with_options({"readers": n}).read(pristine, SPLIT).cases) for n in (1, 3, 4)]
    assert counts[0] >= counts[1] >= counts[2] and counts[0] > counts[2]
    with pytest.raises(ConfigurationError, match="readers"):
        ADAPTER.with_options({"readers": 5})


def test_each_broken_file_is_one_sentence_that_names_it_and_the_rest_is_still_reported(root: Path) -> None:
    series = find_series(root)[0]
    cut = root / series[0].files[5]
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    ordered = sorted(series[1].files, key=lambda path: float(position(root / path)[2]))
    missing = root / ordered[8]
    missing.unlink()
    shift(sorted((root / p for p in series[2].files), key=lambda p: float(position(p)[2]))[6], 1.3)
    (root / series[3].messages[0]).write_text("<LidcReadMessage><oops></LidcReadMessage>")
    xml = root / series[4].messages[0]
    xml.write_text(xml.read_text().replace("<xCoord>", "<xCoord>9", 1))
    other = root / series[5].messages[0]
    other.write_text(other.read_text().replace(f">{series[5].uid}<", ">1.2.3<", 1))
    found = failures(root)
    assert any(str(cut) in f and "bytes of pixels; expected" in f for f in found)
    assert any("a slice is missing between" in f and Path(ordered[7]).name in f for f in found)
    assert any("the spacing is irregular" in f for f in found)
    assert any(f"{root / series[3].messages[0]} cannot be read as XML" in f for f in found)
    assert any("has an outline beyond its" in f and series[4].folder in f for f in found)
    assert any(f"{other} is about series 1.2.3" in f for f in found)
    assert all("\n" not in f for f in found)


def position(path: Path) -> Any:
    return pydicom.dcmread(path, stop_before_pixels=True).ImagePositionPatient


def shift(path: Path, millimetres: float) -> None:
    data = pydicom.dcmread(path)
    data.ImagePositionPatient[2] = f"{float(data.ImagePositionPatient[2]) + millimetres:.6g}"
    data.save_as(path)


def doubled(path: Path, number: int | None, name: str) -> None:
    """Write a slice a second time at its place, brighter, under another UID and instance number."""
    data = pydicom.dcmread(path)
    data.PixelData = np.full_like(data.pixel_array, 77).tobytes()
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = f"{data.SOPInstanceUID}.77"
    if number is None:
        del data.InstanceNumber
    else:
        data.InstanceNumber = number
    data.save_as(path.with_name(name))


@pytest.mark.parametrize(("number", "name"), [(10_000, "0.dcm"), (None, "0.dcm"), (10_000, "z.dcm")])
def test_of_slices_at_one_place_the_lowest_instance_number_is_kept_with_a_warning(
    number: int | None, name: str, root: Path
) -> None:
    """The copy is no slice of the scan: voxels, masks and cases stay as they were without it."""
    cases = ADAPTER.read(root, SPLIT).cases
    image = cases["image"].iloc[0]
    before, nodules = ADAPTER.open_nodules(root, image)
    doubled(sorted((root / image).glob("*.dcm"))[7], number, name)
    assert failures(root) == []
    (said,) = [f.message for f in ADAPTER.verify(root, SPLIT, published=False, decode=False) if "a place" in f.message]
    assert image in said and name in said and "lowest instance number is kept" in said
    after, again = ADAPTER.open_nodules(root, image)
    assert np.array_equal(before.voxels, after.voxels) and np.array_equal(before.affine, after.affine)
    assert all(np.array_equal(a[1], b[1]) for a, b in zip(nodules, again, strict=True))
    pd.testing.assert_frame_equal(ADAPTER.read(root, SPLIT).cases, cases)


def test_a_copy_of_a_lower_instance_number_takes_the_place_and_its_outlines_follow(root: Path) -> None:
    image = ADAPTER.read(root, SPLIT).cases["image"].iloc[0]
    before, nodules = ADAPTER.open_nodules(root, image)
    for path in sorted((root / image).glob("*.dcm")):
        doubled(path, 0, f"z{path.name}")
    after, again = ADAPTER.open_nodules(root, image)
    assert before.voxels.shape == after.voxels.shape and len(np.unique(after.voxels)) == 1
    assert all(np.array_equal(a[1], b[1]) for a, b in zip(nodules, again, strict=True))


def test_a_gap_beside_a_doubled_slice_is_still_found(root: Path) -> None:
    series = find_series(root)[0][0]
    ordered = sorted((root / path for path in series.files), key=lambda path: float(position(path)[2]))
    doubled(ordered[4], 10_000, "0.dcm")
    ordered[9].unlink()
    (said,) = failures(root)
    assert "a slice is missing between" in said and ordered[8].name in said


def test_a_known_uneven_scan_is_left_out_with_a_warning(root: Path) -> None:
    series = find_series(root)[0][0]
    (root / series.files[3]).unlink()
    folder = root / "LIDC-IDRI" / series.patient
    folder.rename(folder.with_name("LIDC-IDRI-0514"))
    assert failures(root, decode=False) == []
    index = ADAPTER.read(root, SPLIT)
    assert "LIDC-IDRI-0514" not in set(index.cases["patient"]) and index.facts["scans_left_out_as_uneven"] == 1


def test_an_empty_root_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="LIDC-IDRI-NNNN"):
        ADAPTER.read(tmp_path, SPLIT)


def test_scans_are_opened_by_several_processes_and_in_part(pristine: Path) -> None:
    alone = ADAPTER.verify(pristine, SPLIT, published=False)
    with looking(Effort(2)) as effort:
        assert ADAPTER.verify(pristine, SPLIT, published=False) == alone
    assert (effort.opened, effort.of) == (9, 9)
    with looking(Effort(sample=3)) as effort:
        ADAPTER.verify(pristine, SPLIT, published=False)
    assert (effort.opened, effort.of) == (3, 9)
