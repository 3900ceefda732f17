"""The four 2D data sets under the layouts that archives and mirrors give them: the same index, or one sentence."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.errors import DataError, Unavailable
from harness.identity import digest
from tasks.configuration import resolve
from tasks.datasets.chestxray14 import adapter as chestxray14
from tasks.datasets.chestxray14 import phantom as nih_phantom
from tasks.datasets.chexpert import adapter as chexpert
from tasks.datasets.chexpert import phantom as chexpert_phantom
from tasks.datasets.montgomery import adapter as montgomery
from tasks.datasets.montgomery import phantom as montgomery_phantom
from tasks.datasets.opening import read_index
from tasks.datasets.siim_acr import adapter as siim_acr
from tasks.datasets.siim_acr import phantom as siim_phantom
from tasks.options import Split
from tests.tasks.conftest import cohort_of
from tests.tasks.test_configuration import entry

OFFICIAL = Split(rule="official", validation_fraction=0.13, seed=99)
RANDOM = Split(rule="random", test_fraction=0.2, validation_fraction=0.1, seed=99)
SETS: dict[str, tuple[Any, Callable[..., Any], dict[str, Any], Split]] = {
    "chestxray14": (
        chestxray14.ADAPTER,
        nih_phantom.write,
        {"seed": 5, "train": 30, "validation": 10, "test": 20, "file_px": 48},
        OFFICIAL,
    ),
    "chexpert": (
        chexpert.ADAPTER,
        chexpert_phantom.write,
        {"seed": 7, "train": 30, "test": 20, "file_px": (32, 40)},
        OFFICIAL,
    ),
    "montgomery": (
        montgomery.ADAPTER,
        montgomery_phantom.write,
        {"seed": 1, "images": 12, "file_px": [24, 28]},
        RANDOM,
    ),
    "siim_acr": (siim_acr.ADAPTER, siim_phantom.write, {"seed": 3, "images": 20, "file_px": 48}, RANDOM),
}


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    roots = {}
    for name, (_, write, options, _) in SETS.items():
        roots[name] = tmp_path_factory.mktemp(name)
        write(roots[name], options)
    return roots


@pytest.fixture(params=SETS)
def data(request: pytest.FixtureRequest, pristine: dict[str, Path], tmp_path: Path) -> tuple[Any, Path, Path, Split]:
    adapter, _, _, split = SETS[request.param]
    return adapter, pristine[request.param], Path(shutil.copytree(pristine[request.param], tmp_path / "root")), split


def same(adapter: Any, first: Path, second: Path, split: Split) -> bool:
    one, other = (adapter.read(root, split) for root in (first, second))
    return bool(
        one.cases.drop(columns="image").equals(other.cases.drop(columns="image"))
        and one.split_hashes() == other.split_hashes()
        and all((second / image).is_file() for image in other.cases["image"])
    )


def levels(adapter: Any, root: Path, split: Split) -> set[str]:
    return {finding.level for finding in adapter.verify(root, split, published=False, decode=False)}


@pytest.mark.parametrize("seed", range(3))
def test_deeper_folders_and_litter_change_nothing(data: tuple[Any, Path, Path, Split], seed: int) -> None:
    adapter, pristine, root, split = data
    draw = random.Random(seed)
    before = levels(adapter, root, split)
    for folder in sorted((p for p in root.rglob("*") if p.is_dir()), key=lambda p: -len(p.parts)):
        if draw.random() < 0.4:  # images/ becomes images/images/, as an archive unpacked into a folder of its name
            inner = folder.with_name("moving")
            folder.rename(inner)
            folder.mkdir()
            inner.rename(folder / folder.name)
    for path in [p for p in root.rglob("*") if p.is_file()]:
        if draw.random() < 0.2:
            path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7")
        if path.suffix in (".png", ".jpg", ".dcm") and draw.random() < 0.2:
            path.rename(path.with_suffix(path.suffix.upper()))
    for junk in (".DS_Store", "Thumbs.db", "__MACOSX/images/00000001_000.png"):
        (root / junk).parent.mkdir(parents=True, exist_ok=True)
        (root / junk).write_bytes(b"junk")
    assert same(adapter, pristine, root, split)
    assert levels(adapter, root, split) == before


def test_a_second_copy_is_told_and_another_content_refused(data: tuple[Any, Path, Path, Split]) -> None:
    adapter, pristine, root, split = data
    image = adapter.read(root, split).cases["image"].iloc[0]
    copy = root / "images" / "copy" / image
    copy.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(root / image, copy)
    told = [
        f for f in adapter.verify(root, split, published=False, decode=False) if "two files of one name" in f.message
    ]
    assert [f.level for f in told] == ["warn"] and image in told[0].message and "the same content" in told[0].message
    assert same(adapter, pristine, root, split)
    copy.write_bytes(copy.read_bytes() + b"more")
    told = [
        f for f in adapter.verify(root, split, published=False, decode=False) if "two files of one name" in f.message
    ]
    assert [f.level for f in told] == ["fail"] and "another content" in told[0].message
    with pytest.raises(DataError, match="another content"):
        adapter.read(root, split)


@pytest.mark.parametrize("name", ["chestxray14", "chexpert", "siim_acr"])
def test_an_absent_case_fails_with_its_count_and_is_noted_in_a_declared_sample(
    name: str, pristine: dict[str, Path], tmp_path: Path
) -> None:
    adapter, _, _, split = SETS[name]
    root = Path(shutil.copytree(pristine[name], tmp_path / "root"))
    cases = adapter.read(root, split).cases
    test = cases[cases["split"] == "test"]
    for image in test["image"].iloc[:2]:
        (root / image).unlink()
    found = [f for f in adapter.verify(root, split, published=False, decode=False) if "are not under" in f.message]
    assert [f.level for f in found] == ["fail"] and found[0].message.startswith("2 of ")
    with pytest.raises(DataError, match="sample: true"):
        adapter.read(root, split)
    part = split.model_copy(update={"sample": True})
    found = [f for f in adapter.verify(root, part, published=True, decode=False) if f.level != "warn"]
    assert [f.level for f in found] == ["note"] and found[0].message.startswith("2 of ")
    assert len(adapter.read(root, part).cases) == len(cases) - 2


def test_a_sample_without_official_lists_needs_lists_of_its_own(pristine: dict[str, Path], tmp_path: Path) -> None:
    root = Path(shutil.copytree(pristine["chestxray14"], tmp_path / "root"))
    for path in root.glob("*.txt"):
        path.unlink()
    cohort = {"split": {**OFFICIAL.model_dump(), "sample": True}}
    with pytest.raises(DataError, match=r"no case for train and validation and test .*lists"):
        read_index(chestxray14.ADAPTER, root, cohort_of(cohort))
    with pytest.raises(DataError, match=r"no split list test_list\.txt"):
        read_index(chestxray14.ADAPTER, root, cohort_of({"split": OFFICIAL.model_dump()}))


def test_a_sample_is_part_of_what_a_cohort_is_and_a_whole_data_set_is_what_it_was(pristine: dict[str, Path]) -> None:
    assert "sample" not in OFFICIAL.model_dump(mode="json")
    roots = {"mine": pristine["chestxray14"]}
    whole = resolve(entry(adapter="chestxray14", split="official"), "paper", roots)
    part = resolve(entry(adapter="chestxray14", split="official", sample=True), "paper", roots)
    assert part.cohort["split"] == {**whole.cohort["split"], "sample": True}
    assert part.test_cases is None


def test_the_published_test_cases_are_told_by_their_names_and_no_others_are(
    pristine: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = pristine["chestxray14"]
    read = chestxray14.ADAPTER.read(root, OFFICIAL)
    names = sorted(read.cases.loc[read.cases["split"] == "test", "case"])
    monkeypatch.setattr(chestxray14.ChestXray14, "test_cases", digest(names))
    planned = resolve(entry(adapter="chestxray14", split="official"), "paper", {"mine": root})
    assert planned.test_cases == read.split_hashes()["test"]
    fewer = replace(read, cases=read.cases[read.cases["case"] != names[0]])
    assert fewer.split_hashes()["test"] != planned.test_cases
    assert resolve(entry(adapter="montgomery"), "paper", {"mine": pristine["montgomery"]}).test_cases is None


def test_boxes_of_the_originals_fit_images_that_were_reduced(pristine: dict[str, Path], tmp_path: Path) -> None:
    root = Path(shutil.copytree(pristine["chestxray14"], tmp_path / "root"))
    for path in (root / "images").glob("*.png"):
        with Image.open(path) as image:
            image.convert("L").resize((24, 24)).save(path)
    assert any("original_px" in f.message for f in chestxray14.ADAPTER.verify(root, OFFICIAL, published=False))
    adapter = chestxray14.ADAPTER.with_options({"original_px": 48})
    assert not [f for f in adapter.verify(root, OFFICIAL, published=False) if f.level == "fail"]
    assert adapter.read(root, OFFICIAL).box_frame == (48, 48)


def test_label_cells_are_whole_numbers_up_to_rounding(pristine: dict[str, Path], tmp_path: Path) -> None:
    root = Path(shutil.copytree(pristine["chexpert"], tmp_path / "root"))
    path = next(root.rglob("train.csv"))
    text = path.read_text()
    path.write_text("\ufeff" + text.replace(",1.0", ", 1.0000001 ").replace(",0.0", ",0.0004").replace("\n", "\r\n"))
    assert same(chexpert.ADAPTER, pristine["chexpert"], root, OFFICIAL)
    path.write_text(text.replace(",1.0", ",1.0011", 1))
    with pytest.raises(DataError, match=r'is "1\.0011"; expected'):
        chexpert.ADAPTER.read(root, OFFICIAL)


@pytest.mark.parametrize("changed", [False, True])
def test_an_image_with_two_rows_is_told_and_whether_they_differ(
    changed: bool, pristine: dict[str, Path], tmp_path: Path
) -> None:
    root = Path(shutil.copytree(pristine["chestxray14"], tmp_path / "root"))
    path = next(root.glob("Data_Entry*"))
    last = path.read_text().splitlines()[-1]
    name, labels, rest = last.split(",", 2)
    again = ",".join([name, "Hernia|Mass" if changed else labels, rest])
    path.write_text(path.read_text() + again + "\n")
    with pytest.raises(DataError, match=f"{name} twice, in 2 rows {'that differ' if changed else 'alike'}"):
        chestxray14.ADAPTER.read(root, OFFICIAL)


def test_montgomerys_sixteen_bit_images_are_refused_or_scaled(pristine: dict[str, Path], tmp_path: Path) -> None:
    root = Path(shutil.copytree(pristine["montgomery"], tmp_path / "root"))
    path = next(root.rglob("CXR_png/*.png"))
    grey = np.asarray(Image.open(path).convert("L"))
    Image.fromarray(grey.astype(np.uint16) * 16).save(path)
    failed = [f.message for f in montgomery.ADAPTER.verify(root, RANDOM, published=False) if f.level == "fail"]
    assert len(failed) == 1 and "16-bit" in failed[0] and path.name in failed[0]
    assert failed[0].endswith("or write options.cohort.adapter.white: VALUE, the one that becomes 255")
    adapter = montgomery.ADAPTER.with_options({"white": 4080})
    assert "fail" not in levels(adapter, root, RANDOM) and adapter.read(root, RANDOM).white == 4080


pydicom = pytest.importorskip("pydicom")


@pytest.mark.parametrize(
    ("tag", "value", "said"),
    [
        ("RescaleSlope", None, "an empty RescaleSlope"),
        ("RescaleSlope", 2.0, "rescales its values"),
        ("BitsStored", 7, "BitsStored 7"),
        ("PixelRepresentation", 1, "PixelRepresentation 1"),
        ("PhotometricInterpretation", "RGB", "PhotometricInterpretation RGB"),
    ],
)
def test_a_dicom_that_is_no_plain_grey_picture_is_one_sentence(
    tag: str, value: Any, said: str, pristine: dict[str, Path], tmp_path: Path
) -> None:
    from tasks.layouts.dicom import read_dicom

    file = pydicom.dcmread(next(pristine["siim_acr"].rglob("*.dcm")))
    setattr(file, tag, value)
    file.save_as(tmp_path / "odd.dcm")
    with pytest.raises(DataError, match=said):
        read_dicom(tmp_path / "odd.dcm")


def test_a_missing_decoder_is_named_with_how_to_install_it(tmp_path: Path, pristine: dict[str, Path]) -> None:
    from pydicom.encaps import encapsulate
    from pydicom.pixels import get_decoder
    from pydicom.uid import JPEGLSLossless

    from tasks.layouts.dicom import read_dicom

    if get_decoder(JPEGLSLossless).is_available:
        pytest.skip("a decoder for JPEG-LS is installed")
    file = pydicom.dcmread(next(pristine["siim_acr"].rglob("*.dcm")))
    file.PixelData = encapsulate([b"\xff\xd8\xff\xf7"])
    file["PixelData"].is_undefined_length = True
    file.file_meta.TransferSyntaxUID = JPEGLSLossless
    file.save_as(tmp_path / "ls.dcm")
    with pytest.raises(Unavailable, match=r"JPEG-LS Lossless.*no decoder.*pip install .*pyjpegls"):
        read_dicom(tmp_path / "ls.dcm")
