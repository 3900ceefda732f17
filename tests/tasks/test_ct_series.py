"""A CT series is a box of slices or is refused by name; LIDC-IDRI's XML files are found by the series inside them."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

pydicom = pytest.importorskip("pydicom")

from harness.errors import DataError  # noqa: E402
from tasks.datasets.lidc_idri.adapter import ADAPTER, find_series  # noqa: E402
from tasks.datasets.lidc_idri.phantom import write  # noqa: E402
from tasks.layouts.series import LINE_MM, read_series  # noqa: E402
from tasks.options import Split  # noqa: E402

SPLIT = Split(rule="random", test_fraction=0.4, validation_fraction=0.16, seed=99)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("lidc")
    write(root, {"seed": 3, "patients": 8, "nodules": 1, "voxels": [40, 28, 32], "slices": 14})
    return root


@pytest.fixture
def root(pristine: Path, tmp_path: Path) -> Path:
    """A tree of links to the pristine files: whoever changes one writes a new file in its place."""
    return Path(shutil.copytree(pristine, tmp_path / "lidc", copy_function=os.link))


def told(root: Path, level: str = "fail", decode: bool = False) -> list[str]:
    return [f.message for f in ADAPTER.verify(root, SPLIT, published=False, decode=decode) if f.level == level]


def edit(path: Path, change: Callable[[Any], object]) -> None:
    data = pydicom.dcmread(path)
    change(data)
    path.unlink()
    data.save_as(path)


def by_height(root: Path) -> list[Path]:
    series = find_series(root)[0][0]
    return sorted((root / path for path in series.files), key=lambda path: float(position(path)[2]))


def position(path: Path) -> Any:
    return pydicom.dcmread(path, stop_before_pixels=True).ImagePositionPatient


def masks(root: Path) -> dict[str, np.ndarray]:
    images = ADAPTER.read(root, SPLIT).cases["image"].unique()
    return {case: voxels for image in images for case, voxels, _ in ADAPTER.open_nodules(root, image)[1]}


# the line


def tilted(path: Path, degrees: float) -> None:
    """Turn the slice about x and leave its position, as a scanner with a tilted gantry does."""
    angle = np.deg2rad(degrees)
    turn = [1, 0, 0, 0, float(f"{np.cos(angle):.8g}"), float(f"{np.sin(angle):.8g}")]
    edit(path, lambda data: setattr(data, "ImageOrientationPatient", turn))


def test_a_tilted_gantry_is_refused_by_name(root: Path) -> None:
    """The slices do not lie along their normal: voxels on an upright grid would be elsewhere (SimpleITK#1128)."""
    slices = by_height(root)
    for path in slices:
        tilted(path, 10.0)
    (said,) = told(root)
    assert "beside the line along the slices' normal" in said and "tilted gantry" in said
    assert any(path.name in said for path in slices)
    with pytest.raises(DataError, match="tilted gantry"):
        read_series(slices)


@pytest.mark.parametrize(("axis", "millimetres", "refused"), [
    (0, 5 * LINE_MM, True), (1, -5 * LINE_MM, True), (0, 0.5 * LINE_MM, False),
])  # fmt: skip
def test_one_slice_beside_the_line_is_refused_beyond_the_tolerance(
    root: Path, axis: int, millimetres: float, refused: bool
) -> None:
    path = by_height(root)[6]

    def move(data: Any) -> None:
        data.ImagePositionPatient[axis] = f"{float(data.ImagePositionPatient[axis]) + millimetres:.8g}"

    edit(path, move)
    said = told(root)
    assert bool(said) is refused and all(path.name in text for text in said)


def test_a_whole_series_that_is_turned_with_its_positions_is_read_as_before(root: Path) -> None:
    """Oblique is not tilted: positions follow the normal, and every voxel keeps its place in the world."""
    slices = by_height(root)
    before = read_series(slices)[0]
    angle = np.deg2rad(7.0)
    turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    for path in slices:

        def change(data: Any) -> None:
            data.ImagePositionPatient = [f"{v:.9g}" for v in turn @ np.array(data.ImagePositionPatient, float)]
            axes = np.array(data.ImageOrientationPatient, float).reshape(2, 3) @ turn.T
            data.ImageOrientationPatient = [f"{v:.9g}" for v in axes.ravel()]

        edit(path, change)
    after = read_series(slices)[0]
    assert np.array_equal(before.voxels, after.voxels)
    assert np.allclose(after.affine[:3], turn @ before.affine[:3], atol=1e-3)


@pytest.mark.parametrize(("change", "said"), [
    (lambda d: setattr(d, "RescaleSlope", None), "has an empty RescaleSlope; expected a finite number"),
    (lambda d: setattr(d, "RescaleIntercept", None), "has an empty RescaleIntercept"),
    (lambda d: delattr(d, "RescaleSlope"), "has no RescaleSlope"),
    (lambda d: setattr(d, "RescaleSlope", 0), "RescaleSlope"),
    (lambda d: setattr(d, "ImagePositionPatient", None), "has an empty ImagePositionPatient; expected 3 numbers"),
    (lambda d: delattr(d, "ImageOrientationPatient"), "has no ImageOrientationPatient; expected 6 numbers"),
    (lambda d: setattr(d, "PixelSpacing", [1, 0]), "expected lengths above 0"),
    (lambda d: setattr(d, "ImageOrientationPatient", [1, 0, 0, 1, 0, 0]), "is no rotation"),
    (lambda d: setattr(d, "PixelData", d.PixelData[:-64]), "bytes of pixels; expected"),
    (lambda d: setattr(d, "PixelData", d.PixelData + bytes(64)), "bytes of pixels; expected"),
    (lambda d: setattr(d, "SeriesInstanceUID", "1.2.3"), "another series"),
])  # fmt: skip
def test_each_tag_that_is_absent_empty_or_senseless_is_one_sentence(
    root: Path, change: Callable[[Any], object], said: str
) -> None:
    path = by_height(root)[3]
    edit(path, change)
    found = told(root, decode=True)
    assert len(found) == 1 and said in found[0] and "\n" not in found[0], found
    assert path.name in found[0] or said == "another series"
    with pytest.raises(DataError):
        read_series(by_height_without_places(root))


def by_height_without_places(root: Path) -> list[Path]:
    return [root / path for path in find_series(root)[0][0].files]


def test_a_compressed_slice_without_its_decoder_names_what_to_install(root: Path) -> None:
    """JPEG-LS and lossless JPEG need packages that are no dependency; a whole file is not to be fetched again."""
    from pydicom.encaps import encapsulate
    from pydicom.pixels import get_decoder
    from pydicom.uid import JPEGLosslessSV1, JPEGLSLossless

    lacking = [syntax for syntax in (JPEGLosslessSV1, JPEGLSLossless) if not get_decoder(syntax).is_available]
    if not lacking:
        pytest.skip("every decoder is installed")
    path = by_height(root)[3]

    def compress(data: Any) -> None:
        data.file_meta.TransferSyntaxUID = lacking[0]
        data.PixelData = encapsulate([data.PixelData])
        data["PixelData"].is_undefined_length = True

    edit(path, compress)
    (said,) = told(root, decode=True)
    assert path.name in said and lacking[0].name in said and "pylibjpeg" in said and "pip install" in said
    assert "fetch it again" not in said


# XML files


def test_xml_files_in_their_own_tree_are_matched_by_the_series_inside(root: Path, pristine: Path) -> None:
    """As the archive gives them today: ``LIDC-XML-only/tcia-lidc-xml/157/158.xml``."""
    before, found = ADAPTER.read(pristine, SPLIT).cases, masks(pristine)
    series = find_series(root)[0]
    for number, one in enumerate(series):
        place = root / "LIDC-XML-only" / "tcia-lidc-xml" / str(157 + number % 3)
        place.mkdir(parents=True, exist_ok=True)
        (root / one.messages[0]).rename(place / f"{158 + number}.xml")
    assert told(root) == [] and not any("no XML file" in text for text in told(root, "warn"))
    pd.testing.assert_frame_equal(ADAPTER.read(root, SPLIT).cases, before)
    after = masks(root)
    assert found.keys() == after.keys() and all(np.array_equal(found[k], after[k]) for k in found)


def test_xml_files_at_every_place_in_a_patients_tree_are_found(root: Path, pristine: Path) -> None:
    before = ADAPTER.read(pristine, SPLIT).cases
    for one in find_series(root)[0]:
        path = root / one.messages[0]
        path.rename(path.parent.parent / path.name)
    assert told(root) == []
    pd.testing.assert_frame_equal(ADAPTER.read(root, SPLIT).cases, before)
    assert masks(root).keys() == masks(pristine).keys()


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_second_xml_file_is_told_and_every_nodule_is_counted_once(root: Path, elsewhere: bool) -> None:
    """The archive holds equal files twice (MIC-DKFZ/LIDC-IDRI-processing#2)."""
    before = ADAPTER.read(root, SPLIT).cases
    series = find_series(root)[0]
    for one in series:
        path = root / one.messages[0]
        copy = root / "again" / path.name if elsewhere else path.with_name(f"again_{path.name}")
        copy.parent.mkdir(exist_ok=True)
        shutil.copy(path, copy)
    assert told(root) == []
    said = [text for text in told(root, "warn") if "2 XML files are about series" in text]
    assert len(said) == len(series) and all("again" in text for text in said)
    pd.testing.assert_frame_equal(ADAPTER.read(root, SPLIT).cases, before)


def test_two_xml_files_that_differ_are_refused_with_both_names(root: Path) -> None:
    path = root / find_series(root)[0][0].messages[0]
    other = path.with_name("other.xml")
    other.write_text(re.sub(r"<malignancy>\d", "<malignancy>5", path.read_text()))
    (said,) = told(root)
    assert path.name in said and "other.xml" in said and "different things" in said
    with pytest.raises(DataError, match="different things"):
        ADAPTER.read(root, SPLIT)


def test_without_any_xml_file_the_reason_is_that_and_not_the_readers(root: Path) -> None:
    for path in list(root.rglob("*.xml")):
        path.unlink()
    with pytest.raises(DataError, match="no XML file below .* is about any of its 9 CT series; fetch them"):
        ADAPTER.read(root, SPLIT)


def test_xml_files_about_series_that_are_not_there_are_counted(root: Path) -> None:
    place = root / "LIDC-XML-only"
    place.mkdir()
    one = find_series(root)[0][0]
    text = (root / one.messages[0]).read_text()
    (place / "1.xml").write_text(text.replace(f">{one.uid}<", ">1.2.3<", 1))
    assert told(root) == []
    assert any("1 XML files are about series that are not there" in said for said in told(root, "warn"))


# places


def test_patients_are_found_however_deep_and_what_a_machine_leaves_is_left_alone(root: Path) -> None:
    before = ADAPTER.read(root, SPLIT).cases
    (root / "manifest-1600709154662").mkdir()
    (root / "LIDC-IDRI").rename(root / "manifest-1600709154662" / "LIDC-IDRI")
    for path in list(root.rglob("*.dcm"))[:20]:
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7")
    for path in list(root.rglob("*.dcm"))[20:30]:
        if not path.name.startswith("."):
            path.rename(path.with_suffix(".DCM"))
    assert told(root, decode=True) == []
    after = ADAPTER.read(root, SPLIT).cases
    pd.testing.assert_frame_equal(after.drop(columns="image"), before.drop(columns="image"))
    assert ADAPTER.open_nodules(root, after["image"].iloc[0])[1]


def test_a_series_in_two_places_is_refused_with_both(root: Path) -> None:
    folder = root / find_series(root)[0][0].folder
    shutil.copytree(folder, folder.with_name("again"))
    assert any("again" in text and folder.name in text and "expected one place" in text for text in told(root))
    with pytest.raises(DataError, match="expected one place"):
        ADAPTER.read(root, SPLIT)


def test_a_radiograph_among_the_slices_does_not_take_the_series_away(root: Path) -> None:
    slices = by_height(root)
    first = sorted(slices)[0]
    edit(first, lambda data: setattr(data, "Modality", "DX"))
    (said,) = told(root)
    assert "holds slices of CT and DX" in said and first.parent.name in said


def test_where_the_test_set_is_drawn_every_missing_series_fails_with_their_number(root: Path) -> None:
    (said,) = [f.message for f in ADAPTER.verify(root, SPLIT, decode=False) if f.level == "fail"]
    assert "1009 of 1018 scans" in said
    sample = SPLIT.model_copy(update={"sample": True})
    assert not [f for f in ADAPTER.verify(root, sample, decode=False) if f.level == "fail"]
