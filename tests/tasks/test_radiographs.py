"""The tasks of profile ``radiographs``: lists of the repository, patients of a CSV, folders as classes, left-out images."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from harness.errors import ConfigurationError, DataError
from harness.registry import load_registry
from harness.spec import TaskEntry
from harness.yaml_files import load_yaml
from tasks.configuration import resolve
from tasks.datasets.chestxray14 import phantom as chestxray14
from tasks.datasets.image_folder import adapter as image_folder
from tasks.datasets.image_mask_folders import adapter as image_mask_folders
from tasks.inspection import verify
from tasks.layouts.lists import COMMITTED, place_of, read_names
from tasks.options import Split
from tasks.sample_lists import divide, of_root
from tests.tasks.test_configuration import entry

ROOT = Path(__file__).parents[2]
RANDOM = Split(rule="random", test_fraction=0.3, validation_fraction=0.3, seed=7)
LISTS = {part: f"{COMMITTED}chestxray14_sample/{part}.txt" for part in ("train", "validation", "test")}


def save(path: Path, number: int, shape: tuple[int, int] = (12, 10)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(number).integers(0, 256, shape, dtype=np.uint8)).save(path)


# -- masks of some images, patients in a CSV --------------------------------------------------------------------------

DRAWN = {
    "masks": "lung_masks",
    "unmasked": "leave_out",
    "patients": {"table": "metadata.csv", "path": "filename", "patient": "who"},
}
LUNGS = image_mask_folders.ADAPTER.with_options(DRAWN)


@pytest.fixture
def drawn(tmp_path: Path) -> Path:
    """Twelve images of six patients, each of a size of its own; ten have a mask."""
    for i in range(12):
        shape = (12 + i, 20 - i)
        save(tmp_path / f"images/{i:02d}.png", i, shape)
        if i < 10:
            mask = np.zeros(shape, np.uint8)
            mask[2:5] = 255
            (tmp_path / "lung_masks").mkdir(exist_ok=True)
            Image.fromarray(mask).save(tmp_path / f"lung_masks/{i:02d}.png")
    write_patients(tmp_path, [[f"{i:02d}.png", f"p{i // 2}", "x"] for i in range(12)])
    return tmp_path


def write_patients(root: Path, rows: list[list[str]]) -> None:
    with (root / "metadata.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["filename", "who", "finding"], *rows])


def test_patients_come_from_the_csv_and_images_without_a_mask_are_left_out_and_counted(drawn: Path) -> None:
    index = LUNGS.read(drawn, RANDOM)
    assert index.cases["patient"].tolist() == [f"p{i // 2}" for i in range(10)]
    assert index.cases.groupby("patient")["split"].nunique().max() == 1
    assert index.facts == {"without_mask_left_out": 2}
    assert [(f.level, f.message.partition(";")[0]) for f in LUNGS.verify(drawn, RANDOM)] == [
        ("note", "2 of 12 images have no mask")
    ]
    strict = image_mask_folders.ADAPTER.with_options({**DRAWN, "unmasked": "refuse"})
    with pytest.raises(DataError, match=r"2 images have no mask .*unmasked: leave_out"):
        strict.read(drawn, RANDOM)


def test_the_csv_of_patients_is_part_of_what_the_numbers_depend_on(drawn: Path) -> None:
    before = LUNGS.fingerprint(drawn)
    rows = [[f"{i:02d}.png", f"p{i // 2}", "x"] for i in range(12)]
    write_patients(drawn, [[*rows[0][:1], "p5", "x"], *rows[1:]])
    assert LUNGS.fingerprint(drawn) != before


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda rows: rows[1:], r"1 of 10 images are not in .*metadata.csv \(first: images/00.png\)"),
        (lambda rows: [*rows, ["sub/00.png", "p9", "x"]], r"00.png has patient p0 in line 2 .* and p9 in line 14"),
        (lambda rows: [["00.png", "", "x"], *rows[1:]], r"line 2 of .* is empty in who"),
    ],
)
def test_what_the_csv_of_patients_lacks_is_one_sentence(drawn: Path, change, expected: str) -> None:
    write_patients(drawn, change([[f"{i:02d}.png", f"p{i // 2}", "x"] for i in range(12)]))
    with pytest.raises(DataError, match=expected) as caught:
        LUNGS.read(drawn, RANDOM)
    assert "\n" not in str(caught.value)


def test_two_ways_of_naming_patients_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="found patient_pattern and patients; expected one of them"):
        image_mask_folders.ADAPTER.with_options({**DRAWN, "patient_pattern": "^(p)"})


# -- folders as classes, images that are left out ---------------------------------------------------------------------


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    for i in range(40):
        save(tmp_path / f"{'hand' if i % 4 else 'head'}/{i:03d}.png", i)
    return tmp_path


def test_each_folder_is_a_class_and_each_image_has_one(folders: Path) -> None:
    index = image_folder.ADAPTER.with_options({"labels": "folders"}).read(folders, RANDOM)
    assert index.labels == ("hand", "head")
    table = index.cases.set_index("case")[["hand", "head"]]
    assert (table.sum(axis=1) == 1).all() and table["head"].sum() == 10
    assert all(table.loc[case, case.split("/")[0]] == 1 for case in table.index)
    assert image_folder.ADAPTER.read(folders, RANDOM).cases["split"].tolist() == index.cases["split"].tolist()


def test_an_image_outside_the_folders_of_classes_is_one_sentence(folders: Path) -> None:
    save(folders / "stray.png", 99)
    with pytest.raises(DataError, match=r"stray.png lies in .* itself; expected each picture in the folder"):
        image_folder.ADAPTER.with_options({"labels": "folders"}).read(folders, RANDOM)


def test_listed_images_are_left_out_and_move_no_other(folders: Path) -> None:
    (folders / "out.txt").write_text("head/000.png\n005.png\n")
    chosen = image_folder.ADAPTER.with_options({"leave_out": "out.txt"})
    everything, less = (
        a.read(folders, RANDOM).cases.set_index("case")["split"] for a in (image_folder.ADAPTER, chosen)
    )
    assert set(everything.index) - set(less.index) == {"head/000.png", "hand/005.png"}
    assert (everything[less.index] == less).all()
    before = chosen.fingerprint(folders)
    (folders / "out.txt").write_text("head/000.png\n")
    assert len({before, chosen.fingerprint(folders), image_folder.ADAPTER.fingerprint(folders)}) == 3
    (folders / "out.txt").write_text("head/000.png\n999.png\n")
    with pytest.raises(DataError, match=r"out.txt names 999.png, which is not below"):
        chosen.read(folders, RANDOM)


def test_repeated_pictures_leave_train_and_stay_in_validation(folders: Path) -> None:
    cases = image_folder.ADAPTER.read(folders, RANDOM).cases.set_index("case")["split"]
    trained, held = (cases.index[cases == part][0] for part in ("train", "validation"))
    (folders / trained).write_bytes((folders / held).read_bytes())
    levels = [f.level for f in image_folder.ADAPTER.verify(folders, RANDOM)]
    left = image_folder.ADAPTER.with_options({"repeated": "leave_out"})
    after = set(left.read(folders, RANDOM).cases["case"])
    assert levels == ["fail"] and set(cases.index) - after == {trained}
    assert [f.level for f in left.verify(folders, RANDOM)] == ["note"]


# -- the lists of the sample ------------------------------------------------------------------------------------------


def committed() -> dict[str, list[str]]:
    return {part: read_names(place_of(Path("nowhere"), file)) for part, file in LISTS.items()}


def test_the_committed_lists_share_no_patient_and_hold_a_thousand_images() -> None:
    names = committed()
    patients = {part: {name.split("_")[0] for name in of} for part, of in names.items()}  # 00000061_012.png
    assert {part: len(of) for part, of in names.items()} == {"train": 598, "validation": 102, "test": 300}
    assert len(set().union(*names.values())) == 1000 and sum(map(len, patients.values())) == 682
    assert len(set().union(*patients.values())) == 682


@pytest.mark.realdata
def test_the_committed_lists_are_what_the_rule_makes_of_the_label_file() -> None:
    root = os.environ.get("DIRA_BENCH_DATA_CHESTXRAY14_SAMPLE")
    if not root:
        pytest.skip("set DIRA_BENCH_DATA_CHESTXRAY14_SAMPLE to the sample's folder")
    made = of_root(Path(root))
    assert made == committed()
    boxed = set(pd.read_csv(Path(root) / "BBox_List_2017.csv").iloc[:, 0])
    assert len(boxed) == 44 and boxed <= set(made["test"])


def test_the_rule_keeps_patients_whole_and_those_with_boxes_in_test_whatever_the_order_of_rows() -> None:
    generator = np.random.default_rng(3)
    cases = pd.DataFrame({"case": [f"{i}.png" for i in range(300)], "patient": [f"p{i // 2}" for i in range(300)]})
    cases["Pneumonia"] = generator.integers(0, 2, 300)
    boxed = {f"p{i}" for i in range(0, 120, 4)}
    wanted = {"test": 40, "validation": 20}
    made = divide(cases, boxed, wanted, 5)
    whose = dict(zip(cases["case"], cases["patient"], strict=True))
    parts = {part: {whose[name] for name in names} for part, names in made.items()}
    assert boxed <= parts["test"] and sum(map(len, parts.values())) == 150
    assert sorted(name for names in made.values() for name in names) == sorted(cases["case"])
    assert divide(cases.sample(frac=1, random_state=1), boxed, wanted, 5) == made


def test_a_list_of_the_repository_is_known_by_its_content_and_lists_above_a_folder_are_refused(tmp_path: Path) -> None:
    chestxray14.write(tmp_path, {"seed": 5, "train": 20, "validation": 5, "test": 10, "file_px": 32})
    options = {"cohort": {"cache_px": 32, "lists": LISTS}}
    plan = resolve(entry(adapter="chestxray14", options=options), "paper", {"mine": tmp_path})
    assert plan.cohort["lists"]["test"]["file"] == LISTS["test"] and len(plan.cohort["lists"]["test"]["sha256"]) == 64
    with pytest.raises(DataError, match=r"expected no \.\. in its path"):
        place_of(tmp_path, "tasks/lists/../../secret.txt")
    found = [f for f in verify(plan.cohort, tmp_path, published=False) if f.level == "fail"]
    assert len(found) == 1 and "which the data set does not hold; correct the list" in found[0].message


# -- what pages print -------------------------------------------------------------------------------------------------


def test_scale_and_sample_are_told_of_real_images_alone_and_are_no_identity() -> None:
    raw = load_yaml(ROOT / "tasks" / "registry.yaml")["tasks"]["chestxray14_sample"]
    told = resolve(TaskEntry(name="sample", **raw), "radiographs", {})
    plain = resolve(TaskEntry(name="sample", **{**raw, "sample_note": ""}), "radiographs", {})
    assert told.scale.startswith("REAL IMAGES: 64 px") and "567 AP, 433 PA" in told.sample_note
    assert (told.cohort, told.transfer) == (plain.cohort, plain.transfer)
    assert "REAL" not in str((told.cohort, told.transfer))
    phantom = resolve(TaskEntry(name="sample", **{**raw, "profiles": ()}), "miniature", {})
    assert phantom.synthetic and (phantom.scale, phantom.sample_note) == ("", "")


def test_the_six_tasks_exist_under_their_profile_alone() -> None:
    registry = load_registry()
    six = {task.name for task in registry.under("radiographs").tasks}
    assert six == {"mednist_cxr", "mednist_cxr_untwinned", "mednist_modalities", "chestxray14_sample", "covid_lungs",
                   "pneumonia_mnist"}  # fmt: skip
    assert not six & {task.name for task in registry.under("miniature").tasks}
