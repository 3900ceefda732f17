"""Images of one's own: a table, folders of images and masks, arrays, a plain folder."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.errors import ConfigurationError, DataError
from harness.pixels import SPLITS, Pixels
from harness.spec import TaskEntry
from tasks.cohorts.build import build
from tasks.configuration import resolve
from tasks.datasets.arrays import adapter as arrays
from tasks.datasets.image_folder import adapter as image_folder
from tasks.datasets.image_mask_folders import adapter as image_mask_folders
from tasks.datasets.table import adapter as table
from tasks.options import Split
from tests.tasks.conftest import context

RANDOM = Split(rule="random", test_fraction=0.2, validation_fraction=0.2, seed=7)
OFFICIAL = Split(rule="official", validation_fraction=0.2, seed=7)
HEADER = ["path", "patient", "sick", "label", "split"]
PARTS = ("train", "train", "train", "validation", "test")


def picture(number: int, shape: tuple[int, ...] = (12, 10)) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, shape, dtype=np.uint8)


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def rows_of(count: int = 20) -> list[list[str]]:
    """Two images a patient; the split is the patient's."""
    return [
        [f"images/{i:02d}.png", f"p{i // 2}", str(i % 2), "a|b" if i % 3 == 0 else "none" if i % 3 == 1 else "b",
         PARTS[i // 2 % 5]]
        for i in range(count)
    ]  # fmt: skip


def write_table(root: Path, rows: list[list[str]], header: list[str] | None = None) -> Path:
    with (root / "table.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([HEADER if header is None else header, *rows])
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for i, row in enumerate(rows_of()):
        save(tmp_path / row[0], picture(i))
    return write_table(tmp_path, rows_of())


SICK = table.ADAPTER.with_options({"labels": ["sick"]})
WORDS = table.ADAPTER.with_options({"classes": ["a", "b"], "none": "none"})


# -- a table ----------------------------------------------------------------------------------------------------------


def test_a_table_is_read_as_it_is_written_in_columns_and_in_words(root: Path) -> None:
    columns, words = SICK.read(root, OFFICIAL).cases, WORDS.read(root, OFFICIAL).cases
    for i, row in enumerate(rows_of()):
        for cases in (columns, words):
            assert cases.loc[i, ["case", "patient", "image", "split"]].tolist() == [row[0], row[1], row[0], row[4]]
        assert columns.at[i, "sick"] == int(row[2])
        assert [words.at[i, "a"], words.at[i, "b"]] == [int(name in row[3].split("|")) for name in ("a", "b")]
    assert (SICK.labels, WORDS.labels) == (("sick",), ("a", "b"))


def test_a_random_split_divides_patients_and_depends_on_the_seed_alone(root: Path) -> None:
    cases = SICK.read(root, RANDOM).cases
    assert cases.groupby("patient")["split"].nunique().max() == 1
    assert cases.groupby("split")["patient"].nunique().to_dict() == {"test": 2, "validation": 2, "train": 6}
    write_table(root, rows_of()[::-1])
    assert SICK.read(root, RANDOM).cases.equals(cases)
    assert not SICK.read(root, RANDOM.model_copy(update={"seed": 8})).cases["split"].equals(cases["split"])


def test_a_table_without_validation_gives_a_share_of_its_training_patients(root: Path) -> None:
    write_table(root, [[*row[:4], "test" if row[4] == "test" else "train"] for row in rows_of()])
    cases = SICK.read(root, OFFICIAL).cases
    assert cases.groupby("patient")["split"].nunique().max() == 1
    assert set(cases.loc[cases["split"] == "test", "patient"]) == {"p4", "p9"}
    assert cases.loc[cases["split"] == "validation", "patient"].nunique() == 2  # .2 of the 8 others


def test_a_table_and_its_images_may_lie_deeper_and_extensions_may_be_shouted(root: Path) -> None:
    deeper = root / "export" / "of" / "today"
    deeper.mkdir(parents=True)
    (root / "images").rename(deeper / "images")
    (root / "table.csv").rename(deeper / "table.csv")
    (deeper / "images/00.png").rename(deeper / "images/00.PNG")
    cases = SICK.read(root, OFFICIAL).cases
    assert cases["image"].tolist()[:2] == ["export/of/today/images/00.PNG", "export/of/today/images/01.png"]


def edit(row: int, column: int, value: str) -> Callable[[list[list[str]]], list[list[str]]]:
    def change(rows: list[list[str]]) -> list[list[str]]:
        rows[row][column] = value
        return rows

    return change


def drop_last_cell(rows: list[list[str]]) -> list[list[str]]:
    return [rows[0][:-1], *rows[1:]]


BAD_ROWS: dict[str, tuple[Callable[[list[list[str]]], list[list[str]]], str]] = {
    "an empty label": (edit(3, 2, ""), r"line 5 of .*table.csv is empty in sick; expected 0 or 1"),
    "a label in words": (edit(3, 2, "yes"), r'line 5 of .* says "yes" in sick; expected 0 or 1'),
    "an uncertain label": (edit(0, 2, "-1"), r'line 2 of .* says "-1" in sick'),
    "no patient": (edit(1, 1, " "), r"line 3 of .* is empty in patient; expected a patient"),
    "no path": (edit(1, 0, ""), r'"" in line 3 of .* is no path below the data root'),
    "a path out of the root": (edit(1, 0, "../secret.png"), r'"\.\./secret\.png" in line 3 .* is no path below'),
    "an absolute path": (edit(1, 0, "/etc/passwd"), r'"/etc/passwd" in line 3 .* is no path below'),
    "a path with backslashes": (edit(1, 0, "images\\01.png"), r"is no path below the data root"),
    "an image that is not there": (edit(1, 0, "images/99.png"), r"1 of 20 images of the table are not under"),
    "a path twice": (edit(1, 0, "images/00.png"), r"stands in line 2 of .* and in line 3 of .*; expected a row an"),
    "a file by two paths": (edit(1, 0, "00.png"), r'"00.png" stands in line 2 of .* and in line 3'),
    "another split": (edit(1, 4, "val"), r'line 3 of .* says the split "val"; expected one of test, train, validation'),
    "no split": (edit(1, 4, ""), r"line 3 of .* is empty in split; expected train, validation or test"),
    "a patient in two splits": (edit(1, 4, "test"), r"1 patients are in two splits \(first: p0\)"),
    "a short row": (drop_last_cell, r"line 2 of .* has 4 cells; expected 5"),
    "no row": (lambda rows: [], r"has a header and no row"),
    "no test": (lambda rows: [row for row in rows if row[4] != "test"], r"table.csv has no case in test"),
}


@pytest.mark.parametrize("name", BAD_ROWS)
def test_a_bad_row_is_one_sentence_with_its_line(root: Path, name: str) -> None:
    change, expected = BAD_ROWS[name]
    write_table(root, change(rows_of()))
    with pytest.raises(DataError, match=expected) as caught:
        SICK.read(root, OFFICIAL)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("a|c", r'line 2 of .* says "c" in label; expected one of a, b, none'),
        ("a|none", r'line 2 of .* says "a\|none"; expected none alone'),
        ("a||b", r'line 2 of .* says "" in label'),
        ("", r"line 2 of .* is empty in label; expected one of a, b, none"),
    ],
)
def test_a_word_that_is_no_class_is_one_sentence(root: Path, row: str, expected: str) -> None:
    write_table(root, edit(0, 3, row)(rows_of()))
    with pytest.raises(DataError, match=expected):
        WORDS.read(root, OFFICIAL)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("path;patient;sick\na;b;1\n", "expected commas between columns"),
        ("path,patient,sick,sick\na,b,1,1\n", 'has the column "sick" twice'),
        ("path,patience,sick,split\na,b,1,train\n", 'no column "patient"; did you mean "patience"'),
        ("", "is empty; expected a header"),
        ('path,patient,sick,split\n"a,b,1,test\n', "cannot be read as a CSV"),
    ],
)
def test_a_file_that_is_no_such_table_is_one_sentence(root: Path, text: str, expected: str) -> None:
    (root / "table.csv").write_text(text)
    with pytest.raises(DataError, match=expected) as caught:
        SICK.read(root, OFFICIAL)
    assert "\n" not in str(caught.value)


def test_a_table_in_another_encoding_or_of_another_name_is_one_sentence(root: Path) -> None:
    (root / "table.csv").write_bytes("path,patient,sick,split\nä,b,1,train\n".encode("latin-1"))
    with pytest.raises(DataError, match="expected UTF-8"):
        SICK.read(root, OFFICIAL)
    (root / "table.csv").rename(root / "list.csv")
    with pytest.raises(DataError, match=r"no table.csv below .*options.cohort.adapter.table"):
        SICK.read(root, OFFICIAL)


def test_a_path_that_means_two_files_is_refused_with_both(root: Path) -> None:
    save(root / "other/images/x.png", picture(90))
    save(root / "more/images/x.png", picture(91))
    write_table(root, edit(0, 0, "images/x.png")(rows_of()))
    with pytest.raises(DataError, match=r"may be more/images/x.png or other/images/x.png"):
        SICK.read(root, OFFICIAL)


def test_the_same_pixels_in_two_splits_fail_and_in_one_split_warn(root: Path) -> None:
    assert not [f for f in SICK.verify(root, OFFICIAL) if f.level != "note"]
    Image.open(root / "images/00.png").save(root / "images/01.png", compress_level=0)  # same pixels, other bytes
    (found,) = SICK.verify(root, OFFICIAL)
    assert (found.level, "have the same pixels" in found.message) == ("warn", True)
    assert SICK.verify(root, OFFICIAL, decode=False) == []
    Image.open(root / "images/00.png").save(root / "images/06.png", compress_level=0)  # a validation image
    found = next(f for f in SICK.verify(root, OFFICIAL) if f.level == "fail")
    assert "images/00.png (train) and images/06.png (validation) have the same pixels" in found.message
    (root / "images/06.png").write_bytes((root / "images/00.png").read_bytes())
    assert "have the same bytes" in SICK.verify(root, OFFICIAL, decode=False)[0].message


def test_an_image_that_cannot_be_read_fails_with_its_name(root: Path) -> None:
    (root / "images/03.png").write_bytes(b"no image")
    save(root / "images/04.png", picture(4, (12, 10, 3)))
    messages = [f.message for f in SICK.verify(root, OFFICIAL) if f.level == "fail"]
    assert (
        len(messages) == 2 and "03.png cannot be read" in messages[0] and "04.png is a picture in colour" in messages[1]
    )
    accepted = table.ADAPTER.with_options({"labels": ["sick"], "colour": "luma"})
    assert "03.png" in next(f.message for f in accepted.verify(root, OFFICIAL) if f.level == "fail")
    assert sum(f.level == "fail" for f in accepted.verify(root, OFFICIAL)) == 1


def test_colour_becomes_the_luma_of_itu_r_601(root: Path) -> None:
    save(root / "images/00.png", np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8))
    read = table.ADAPTER.with_options({"labels": ["sick"], "colour": "luma"}).read(root, OFFICIAL)
    assert read.reader is not None
    expected = [255 * weight for weight in (0.299, 0.587, 0.114)]
    assert np.abs(read.reader("images/00.png")[0] - np.array(expected)).max() <= 0.5


def test_a_label_that_no_test_case_has_is_a_warning(root: Path) -> None:
    write_table(root, [[*row[:2], "0" if row[4] == "test" else row[2], *row[3:]] for row in rows_of()])
    (found,) = SICK.verify(root, OFFICIAL)
    assert found.level == "warn" and "0 of 4 test cases have sick" in found.message


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"lables": ["a"]}, 'lables: unknown key; did you mean "labels"'),
        ({"labels": ["a", "a"]}, "each once"),
        ({"labels": ["split"]}, "none called row, case"),
        ({"labels": []}, "at least one"),
        ({"labels": ["a"], "classes": ["b"]}, "classes and a list of labels"),
        ({"none": "x"}, "none without classes"),
        ({"labels": 3}, "labels: found 3"),
        ({"white": 12}, "white: found 12"),
        ({"colour": "grey"}, "colour: found 'grey'"),
    ],
)
def test_an_option_that_makes_no_sense_is_named(options: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigurationError, match=expected):
        table.ADAPTER.with_options(options)


# -- images and masks -------------------------------------------------------------------------------------------------

SUFFIX = image_mask_folders.ADAPTER.with_options({"suffix": "_mask", "patient_pattern": "^(p[0-9]+)_"})


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    for i in range(20):
        save(tmp_path / f"images/p{i // 2}_{i}.png", picture(i))
        save(tmp_path / f"masks/p{i // 2}_{i}_mask.png", np.uint8(255) * (picture(i + 50) > 128))
    return tmp_path


def test_pairs_are_found_by_their_names_and_divided_by_the_patients_in_them(pairs: Path) -> None:
    index = SUFFIX.read(pairs, RANDOM)
    assert len(index.cases) == 20 and index.cases["patient"].nunique() == 10
    assert index.cases.groupby("patient")["split"].nunique().max() == 1
    assert all(index.masks[case] == (f"masks/{case}_mask.png",) for case in index.cases["case"])
    assert [f for f in SUFFIX.verify(pairs, RANDOM) if f.level != "note"] == []


def test_half_a_pair_fails_either_way_with_the_first_names(pairs: Path) -> None:
    (pairs / "masks/p0_0_mask.png").unlink()
    (pairs / "images/p0_1.png").unlink()
    messages = [f.message for f in SUFFIX.verify(pairs, RANDOM)]
    assert len(messages) == 2
    assert "1 images have no mask (first: images/p0_0.png)" in messages[0]
    assert "1 masks have no image (first: masks/p0_1_mask.png)" in messages[1]
    with pytest.raises(DataError, match="have no mask"):
        SUFFIX.read(pairs, RANDOM)


def test_masks_without_the_suffix_are_not_taken_for_others(pairs: Path) -> None:
    with pytest.raises(DataError, match=r"20 images have no mask .*options.cohort.adapter.suffix"):
        image_mask_folders.ADAPTER.read(pairs, RANDOM)
    (pairs / "masks/p0_0_mask.png").rename(pairs / "masks/p0_0.png")
    assert {f.level for f in SUFFIX.verify(pairs, RANDOM)} == {"fail"}


def test_a_mask_of_another_shape_or_with_other_values_fails(pairs: Path) -> None:
    save(pairs / "masks/p0_0_mask.png", np.zeros((5, 5), np.uint8))
    save(pairs / "masks/p0_1_mask.png", picture(3))
    messages = [f.message for f in SUFFIX.verify(pairs, RANDOM) if f.level == "fail"]
    assert "masks/p0_0_mask.png is (5, 5); expected the shape of images/p0_0.png, (12, 10)" in messages[0]
    assert "expected a mask of 0 and 255" in messages[1] and len(messages) == 2


def test_two_images_of_one_name_and_a_name_without_a_patient_are_refused(pairs: Path) -> None:
    save(pairs / "images/p0_0.jpg", picture(77))
    with pytest.raises(DataError, match=r"images/p0_0.jpg and images/p0_0.png .* two files of one name"):
        SUFFIX.read(pairs, RANDOM)
    (pairs / "images/p0_0.jpg").unlink()
    save(pairs / "images/x.png", picture(78))
    save(pairs / "masks/x_mask.png", np.zeros((12, 10), np.uint8))
    with pytest.raises(DataError, match=r"the name x.png says no patient by the pattern"):
        SUFFIX.read(pairs, RANDOM)


def test_folders_that_are_not_there_and_an_official_split_are_one_sentence(pairs: Path) -> None:
    with pytest.raises(DataError, match='expected "random"'):
        SUFFIX.read(pairs, OFFICIAL)
    (pairs / "masks").rename(pairs / "labels")
    with pytest.raises(DataError, match=r"in a folder masks below .*options.cohort.adapter.masks"):
        SUFFIX.read(pairs, RANDOM)
    renamed = image_mask_folders.ADAPTER.with_options({"masks": "labels", "suffix": "_mask"})
    assert len(renamed.read(pairs, RANDOM).cases) == 20


@pytest.mark.parametrize("pattern", ["p[0-9]+", "(a)(b)", "(", 3])
def test_a_pattern_without_its_one_group_is_refused(pattern: Any) -> None:
    with pytest.raises(ConfigurationError, match="patient_pattern"):
        image_mask_folders.ADAPTER.with_options({"patient_pattern": pattern})


# -- arrays -----------------------------------------------------------------------------------------------------------


def write_arrays(root: Path, labels: np.ndarray, shape: tuple[int, ...] = (12, 10), **more: Any) -> Path:
    """Write 30 images: 18 train, 6 validation, 6 test; an array in ``more`` replaces its own, None leaves it out."""
    images = np.stack([picture(i, shape) for i in range(30)])
    cuts = {"train": slice(0, 18), "val": slice(18, 24), "test": slice(24, 30)}
    found = {f"{part}_images": images[cut] for part, cut in cuts.items()}
    found |= {f"{part}_labels": labels[cut] for part, cut in cuts.items()}
    np.savez(root / "arrays.npz", **{k: v for k, v in (found | more).items() if v is not None})
    return root


BINARY = (np.arange(30) % 2).reshape(-1, 1).astype(np.uint8)


def test_two_classes_are_one_output_and_more_are_one_each_and_columns_are_labels(tmp_path: Path) -> None:
    two = arrays.ADAPTER.read(write_arrays(tmp_path, BINARY), OFFICIAL)
    assert two.labels == ("class_1",) and two.cases["class_1"].tolist() == (np.arange(30) % 2).tolist()
    assert two.cases["split"].tolist() == ["train"] * 18 + ["validation"] * 6 + ["test"] * 6
    named = arrays.ADAPTER.with_options({"classes": ["normal", "pneumonia"]})
    assert named.read(tmp_path, OFFICIAL).labels == ("pneumonia",)
    three = arrays.ADAPTER.read(write_arrays(tmp_path, np.arange(30) % 3), OFFICIAL)
    assert three.labels == ("class_0", "class_1", "class_2")
    assert (three.cases[list(three.labels)].to_numpy() == np.eye(3)[np.arange(30) % 3]).all()
    several = np.random.default_rng(0).integers(0, 2, (30, 4))
    many = arrays.ADAPTER.read(write_arrays(tmp_path, several), OFFICIAL)
    assert (many.cases[list(many.labels)].to_numpy() == several).all()


def test_the_pixels_of_arrays_are_the_files(tmp_path: Path) -> None:
    index = arrays.ADAPTER.read(write_arrays(tmp_path, BINARY), OFFICIAL)
    assert index.reader is not None
    assert all((index.reader(case) == picture(i)).all() for i, case in enumerate(index.cases["image"]))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"val_images": None}, r"no array val_images"),
        (
            {"test_labels": np.zeros(5, np.uint8)},
            r"test_labels .* \(5,\); expected whole numbers, a row for each of the 6",
        ),
        ({"test_labels": np.zeros(6)}, r"test_labels of .* are float64"),
        ({"train_images": np.zeros((18, 12, 10))}, r"train_images of .* are float64 \(18, 12, 10\); expected uint8"),
        ({"val_labels": np.zeros((6, 2), np.uint8)}, r"columns; expected as many in each split"),
        ({"test_labels": np.full(6, -1)}, r"labels of .* are -1 to 1 in 1 columns; expected 0 to 1"),
        ({"test_patients": np.zeros(5, int)}, r"test_patients of .* \(5,\); expected a number or text"),
    ],
)
def test_an_unfit_array_is_one_sentence(tmp_path: Path, changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(DataError, match=expected) as caught:
        arrays.ADAPTER.read(write_arrays(tmp_path, BINARY, **changes), OFFICIAL)
    assert "\n" not in str(caught.value)


def test_a_damaged_archive_and_one_with_objects_are_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "arrays.npz").write_bytes(b"no zip")
    for doing in (lambda: arrays.ADAPTER.read(tmp_path, OFFICIAL), lambda: arrays.ADAPTER.fingerprint(tmp_path)):
        with pytest.raises(DataError, match="arrays.npz"):
            doing()
    write_arrays(tmp_path, BINARY, train_patients=np.array([{}] * 18, dtype=object))
    with pytest.raises(DataError, match="cannot be read as an .npz"):
        arrays.ADAPTER.read(tmp_path, OFFICIAL)


def test_the_number_of_classes_is_held_against_their_names(tmp_path: Path) -> None:
    write_arrays(tmp_path, np.arange(30) % 3)
    with pytest.raises(DataError, match=r"0 to 2 in 1 columns; expected 0 to 1; .*classes"):
        arrays.ADAPTER.with_options({"classes": ["a", "b"]}).read(tmp_path, OFFICIAL)


def test_the_same_pixels_in_two_splits_are_refused_or_left_out_of_the_earlier_one(tmp_path: Path) -> None:
    images = np.stack([picture(i) for i in range(6)])
    root = write_arrays(tmp_path, BINARY, val_images=images)  # those of the first six of train
    with pytest.raises(DataError, match=r"train/000000 \(train\) and validation/000000 .*5 more.*leave_out"):
        arrays.ADAPTER.read(root, OFFICIAL)
    index = arrays.ADAPTER.with_options({"repeated": "leave_out"}).read(root, OFFICIAL)
    assert index.cases["split"].value_counts().to_dict() == {"train": 12, "validation": 6, "test": 6}
    assert index.facts["left_out"] == 6


def test_patients_of_arrays_are_divided_and_a_patient_in_two_splits_is_refused(tmp_path: Path) -> None:
    who = {"train_patients": np.arange(18) // 2, "val_patients": np.full(6, 50), "test_patients": np.full(6, 51)}
    index = arrays.ADAPTER.read(write_arrays(tmp_path, BINARY, **who), OFFICIAL)
    assert index.cases["patient"].nunique() == 11
    drawn = arrays.ADAPTER.read(tmp_path, RANDOM)
    assert drawn.cases.groupby("patient")["split"].nunique().max() == 1
    write_arrays(tmp_path, BINARY, **{**who, "test_patients": np.zeros(6, int)})
    with pytest.raises(DataError, match="1 patients are in two splits"):
        arrays.ADAPTER.read(tmp_path, OFFICIAL)


def test_arrays_in_colour_are_refused_unless_the_loss_is_accepted(tmp_path: Path) -> None:
    root = write_arrays(tmp_path, BINARY, shape=(12, 10, 3))
    with pytest.raises(DataError, match="is in colour"):
        arrays.ADAPTER.read(root, OFFICIAL)
    index = arrays.ADAPTER.with_options({"colour": "luma"}).read(root, OFFICIAL)
    assert index.reader is not None
    expected = picture(0, (12, 10, 3)) @ np.array([0.299, 0.587, 0.114])
    assert np.abs(index.reader("train/000000") - expected).max() <= 1


# -- a plain folder ---------------------------------------------------------------------------------------------------


def test_a_folder_is_divided_by_a_hash_of_names_so_that_new_images_move_no_other(tmp_path: Path) -> None:
    for i in range(40):
        save(tmp_path / f"a/{i:02d}.png", picture(i))
    first = image_folder.ADAPTER.read(tmp_path, RANDOM).cases.set_index("case")["split"]
    hashed = [int(hashlib.sha256(f"7/{case}".encode()).hexdigest()[:16], 16) / 16**16 for case in first.index]
    assert first.tolist() == ["validation" if share < 0.2 else "train" for share in hashed]
    assert set(first) == {"train", "validation"}
    for i in range(40, 60):
        save(tmp_path / f"b/{i:02d}.jpg", picture(i))
    second = image_folder.ADAPTER.read(tmp_path, RANDOM).cases.set_index("case")["split"]
    assert len(second) == 60 and second[first.index].equals(first)


def test_an_empty_folder_and_too_few_images_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no PNG or JPEG below"):
        image_folder.ADAPTER.read(tmp_path, RANDOM)
    save(tmp_path / "one.png", picture(1))
    with pytest.raises(DataError, match="has no case in"):
        image_folder.ADAPTER.read(tmp_path, RANDOM)
    with pytest.raises(DataError, match='expected "random"'):
        image_folder.ADAPTER.read(tmp_path, OFFICIAL)


# -- all of them ------------------------------------------------------------------------------------------------------

ENTRY = {
    "name": "mine",
    "label": "Mine",
    "dimensions": 2,
    "outputs": 1,
    "split": "random",
    "version": 1,
    "source": "a test",
}
KINDS: dict[str, dict[str, Any]] = {
    "table": {"transfer": "classification", "metric": "auc", "options": {"cohort": {"adapter": {"labels": ["sick"]}}}},
    "image_mask_folders": {
        "transfer": "segmentation", "metric": "dice", "options": {"cohort": {"adapter": {"suffix": "_mask"}}}
    },
    "arrays": {"transfer": "classification", "metric": "auc"},
    "image_folder": {"transfer": "none", "metric": "none"},
}  # fmt: skip


def entry(adapter: str, **changes: Any) -> TaskEntry:
    return TaskEntry.model_validate({**ENTRY, "adapter": adapter, **KINDS[adapter], **changes})


@pytest.mark.parametrize("adapter", KINDS)
def test_a_cohort_is_built_of_each_and_holds_the_files_pixels(
    adapter: str, root: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    data = root
    if adapter == "image_mask_folders":
        for i in range(20):
            save(data / f"masks/{i:02d}_mask.png", np.uint8(255) * (picture(i + 50) > 128))
    if adapter == "arrays":
        write_arrays(data, BINARY)
    plan = resolve(entry(adapter), "own", {"mine": data})
    assert plan.unavailable is None and not plan.synthetic and plan.stamp == ""
    folder = tmp_path_factory.mktemp("cohort")
    work = context(folder).__class__(device="cpu", folder=folder, inputs={}, resume=folder, data_roots={"mine": data})
    configuration = {**plan.cohort, "cache_px": 12}
    build({"task": "mine", "configuration": configuration}, work)
    pixels = Pixels(folder)
    parts = set(pixels.cases["split"])
    assert parts == ({"train", "validation"} if adapter == "image_folder" else set(SPLITS))
    assert pixels.images.shape == (30 if adapter == "arrays" else 20, 12, 12)
    first = np.asarray(pixels.images[0], int)
    assert abs(first.mean() - picture(0).mean()) < 8 and first.std() > 30
    assert (folder / "masks.npy").is_file() == (adapter == "image_mask_folders")


def test_a_fingerprint_follows_labels_and_files_and_neither_the_place_nor_the_options(
    root: Path, tmp_path: Path
) -> None:
    first = SICK.fingerprint(root)
    assert table.ADAPTER.fingerprint(root) == first
    write_table(root, edit(0, 2, "1")(rows_of()))
    second = SICK.fingerprint(root)
    save(root / "images/00.png", picture(0, (13, 10)))
    assert len({first, second, SICK.fingerprint(root)}) == 3
    write_arrays(root, BINARY)
    before = arrays.ADAPTER.fingerprint(root)
    write_arrays(root, 1 - BINARY)
    assert arrays.ADAPTER.fingerprint(root) != before


@pytest.mark.parametrize(
    ("adapter", "changes", "expected"),
    [
        ("table", {"transfer": "segmentation", "metric": "dice"}, "adapter table serves classification or none"),
        ("image_mask_folders", {"transfer": "classification", "metric": "auc"}, "serves segmentation or none"),
        ("image_folder", {"transfer": "classification", "metric": "auc"}, "adapter image_folder serves none"),
        ("image_folder", {"metric": "auc"}, "metric: found auc; with transfer none nothing is scored"),
        ("table", {"outputs": 3}, "outputs: found 3; the entry names the labels sick; write 1"),
        ("table", {"options": {"cohort": {"adapter": {"label": "x"}}}}, 'label: unknown key; did you mean "labels"'),
    ],
)
def test_an_entry_that_asks_what_its_layout_has_not_is_refused_at_plan_time(
    adapter: str, changes: dict[str, Any], expected: str
) -> None:
    with pytest.raises(ConfigurationError, match=expected):
        resolve(entry(adapter, **changes), "own", {})


@pytest.mark.parametrize("adapter", KINDS)
def test_without_phantoms_or_a_data_root_a_task_of_ones_own_is_unavailable_and_says_why(adapter: str) -> None:
    assert "no phantom generator is known" in str(resolve(entry(adapter), "miniature", {}).unavailable)
    assert "DIRA_BENCH_DATA_MINE" in str(resolve(entry(adapter), "own", {}).unavailable)
