from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.errors import DataError
from tasks.datasets.chestxray14.adapter import ADAPTER, LABELS, read_boxes, read_labels
from tasks.datasets.chestxray14.phantom import write
from tasks.options import Split

SPLIT = Split(rule="official", validation_fraction=0.13, seed=99)
OPTIONS = {"seed": 5, "train": 60, "validation": 15, "test": 25, "file_px": 48}


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("chestxray14")
    write(root, OPTIONS)
    return root


@pytest.fixture
def root(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "ChestXray14"))


def failures(root: Path) -> list[str]:
    return [f.message for f in ADAPTER.verify(root, SPLIT, published=False) if f.level == "fail"]


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_the_pristine_layout_has_nothing_to_report(pristine: Path) -> None:
    assert ADAPTER.verify(pristine, SPLIT, published=False) == []


@pytest.mark.parametrize("header", ["v2020", "v2020_sex", "v2017"])
@pytest.mark.parametrize("folders", ["one", "mirror"])
def test_every_header_and_both_mirrors_give_the_same_index(
    header: str, folders: str, pristine: Path, tmp_path: Path
) -> None:
    write(tmp_path, {**OPTIONS, "header": header, "folders": folders})
    first, other = ADAPTER.read(pristine, SPLIT), ADAPTER.read(tmp_path, SPLIT)
    assert other.cases.drop(columns="image").equals(first.cases.drop(columns="image"))
    assert other.boxes.equals(first.boxes) and other.split_hashes() == first.split_hashes()
    line = next(iter(sorted(tmp_path.glob("Data_Entry*.csv")))).read_text().splitlines()[0]
    assert line.endswith("OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]" + "," * (header == "v2017"))


def test_labels_are_those_of_the_file_split_at_the_bars(tmp_path: Path) -> None:
    path = tmp_path / "Data_Entry_2017.csv"
    path.write_text(
        "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
        "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],\n"
        "00000001_000.png,Cardiomegaly|Emphysema,0,1,414,M,PA,2682,2749,0.143,0.143,\n"
        "00000002_000.png,No Finding,0,2,81,F,PA,2500,2048,0.171,0.171,\n"
    )
    cases = read_labels(path)
    assert [label for label in LABELS if cases.at[0, label]] == ["Cardiomegaly", "Emphysema"]
    assert cases["patient"].tolist() == ["1", "2"] and cases["no_finding"].tolist() == [0, 1]
    assert not cases.loc[1, list(LABELS)].any()


def test_boxes_are_read_by_position_whatever_the_header_and_renamed_to_the_label_files_spelling(tmp_path: Path) -> None:
    path = tmp_path / "BBox_List_2017.csv"
    header = "Image Index,Finding Label,Bbox [x,y,w,h],,,\n"
    row = "00013118_008.png,Infiltrate,225.084745762712,547.019216763771,86.7796610169491,79.1864406779661"
    for tail in ("", ",,,"):
        path.write_text(header + row + tail + "\n")
        (box,) = read_boxes(path).itertuples(index=False)
        assert box.label == "Infiltration" and box.x == pytest.approx(225.0847) and box.height == pytest.approx(79.1864)


def test_one_image_is_rgba_and_reads_as_the_same_grey(root: Path) -> None:
    modes = {p: Image.open(p).mode for p in (root / "images").iterdir()}
    assert sorted(modes.values()).count("RGBA") == 1
    (path,) = (p for p, mode in modes.items() if mode == "RGBA")
    from tasks.layouts.images import read_grey

    rgba = np.asarray(Image.open(path))
    assert np.array_equal(read_grey(path), rgba[..., 0]) and rgba[..., :3].std(axis=-1).max() == 0


def test_without_the_authors_lists_validation_is_drawn_by_patient_with_the_seed(root: Path) -> None:
    for name in ("Xray14_train_official.txt", "Xray14_val_official.txt"):
        (root / name).unlink()
    index = ADAPTER.read(root, SPLIT)
    assert "seed 99" in index.split_rule
    assert index.cases.groupby("patient")["split"].nunique().max() == 1
    assert failures(root) == []
    again = ADAPTER.read(root, Split(rule="official", validation_fraction=0.13, seed=100))
    assert index.split_hashes()["test"] == again.split_hashes()["test"]
    assert index.split_hashes()["validation"] != again.split_hashes()["validation"]


def test_a_patient_in_two_splits_fails(root: Path) -> None:
    train = (root / "Xray14_train_official.txt").read_text().splitlines()
    moved = train.pop(0)
    mate = next(line for line in train if line[:8] == moved[:8])
    assert mate
    (root / "Xray14_train_official.txt").write_text("\n".join(train) + "\n")
    with (root / "Xray14_val_official.txt").open("a") as stream:
        stream.write(moved + "\n")
    assert any("in two splits" in f for f in failures(root))


def test_an_unknown_label_fails(root: Path) -> None:
    edit(root / "Data_Entry_2017_v2020.csv", "No Finding", "Infiltrat")
    assert any('unknown label "Infiltrat"' in f for f in failures(root))


def test_a_box_outside_its_image_fails(root: Path) -> None:
    path = root / "BBox_List_2017.csv"
    lines = path.read_text().splitlines()
    name, label, *_ = lines[1].split(",")
    path.write_text("\n".join([lines[0], f"{name},{label},40.0,40.0,9.0,3.0", *lines[2:]]) + "\n")
    assert any("expected it inside the 48×48 image" in f for f in failures(root))


def test_a_box_on_a_training_image_fails(root: Path) -> None:
    name = (root / "Xray14_train_official.txt").read_text().split()[0]
    with (root / "BBox_List_2017.csv").open("a") as stream:
        stream.write(f"{name},Mass,1,1,5,5\n")
    assert any("on test images only" in f for f in failures(root))


def test_a_truncated_image_and_a_file_that_is_none_fail(root: Path) -> None:
    first, second = sorted((root / "images").iterdir())[:2]
    first.write_bytes(first.read_bytes()[:200])
    second.write_text("not an image")
    found = failures(root)
    assert sum("cannot be read as an image" in f for f in found) >= 2


def test_a_missing_listed_image_fails_and_reading_says_so_in_one_sentence(root: Path) -> None:
    sorted((root / "images").iterdir())[0].unlink()
    assert any("1 of 60 train images are not under" in f for f in failures(root))
    with pytest.raises(DataError, match="1 of 60 train images are not under"):
        ADAPTER.read(root, SPLIT)


def test_counts_only_warn_with_the_difference(root: Path) -> None:
    found = ADAPTER.verify(root, SPLIT, published=True, decode=False)
    assert found and all(f.level == "warn" for f in found)
    assert any("has 100 images, -112020 against the published 112120" in f.message for f in found)


@pytest.mark.parametrize("name", ["../../secret.png", "/etc/passwd", "images/00000001_000.png", "..", "C:x.png"])
def test_a_name_that_would_leave_the_data_root_is_refused(name: str, root: Path) -> None:
    table = root / "Data_Entry_2017_v2020.csv"
    first = table.read_text().splitlines()[1].split(",")[0]
    edit(table, first, name)
    with pytest.raises(DataError, match="no plain file name"):
        ADAPTER.read(root, SPLIT)


def test_a_missing_column_root_or_list_is_one_sentence(root: Path) -> None:
    with pytest.raises(DataError, match="no folder"):
        ADAPTER.read(root / "absent", SPLIT)
    edit(root / "Data_Entry_2017_v2020.csv", "Finding Labels", "Findings")
    with pytest.raises(DataError, match="lacks the column Finding Labels"):
        ADAPTER.read(root, SPLIT)
    edit(root / "Data_Entry_2017_v2020.csv", "Findings", "Finding Labels")
    (root / "test_list.txt").unlink()
    with pytest.raises(DataError, match=r"no split list .*test_list.txt"):
        ADAPTER.read(root, SPLIT)


def test_the_fingerprint_sees_lists_labels_and_sizes_but_not_the_folder(root: Path, pristine: Path) -> None:
    assert ADAPTER.fingerprint(root) == ADAPTER.fingerprint(pristine)
    with (root / "test_list.txt").open("a") as stream:
        stream.write("\n")
    changed = ADAPTER.fingerprint(root)
    assert changed != ADAPTER.fingerprint(pristine)
    image = sorted((root / "images").iterdir())[0]
    image.write_bytes(image.read_bytes() + b"0")
    assert ADAPTER.fingerprint(root) != changed
