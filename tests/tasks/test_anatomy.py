"""True label files and one true scan, out of installed packages; skipped where they are not."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from harness.errors import Unavailable
from tasks.cohorts import anatomy
from tasks.cohorts.anatomy_files import FILES, VARIABLE, locate, sources
from tasks.configuration import resolve
from tasks.datasets.chestxray14 import ADAPTER, LABELS, PUBLISHED, read_boxes, read_labels
from tasks.datasets.images import read_grey
from tasks.datasets.montgomery import ADAPTER as MONTGOMERY
from tasks.options import Split
from tests.tasks.test_configuration import entry

OFFICIAL = Split(rule="official", validation_fraction=0.13, seed=99)
OPTIONS = {"seed": 3, "train_validation": 60, "test": 80, "file_px": 96}


def need(*names: str) -> None:
    pytest.importorskip("nibabel")
    try:
        for name in names:
            locate(name)
    except Unavailable as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    need("labels", "boxes")
    folder = tmp_path_factory.mktemp("real")
    for name, file in (("labels", "Data_Entry_2017_v2020.csv"), ("boxes", "BBox_List_2017.csv")):
        (folder / file).write_bytes(gzip.decompress(locate(name).read_bytes()))
    return folder


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    need(*FILES)
    folder = tmp_path_factory.mktemp("anatomy")
    anatomy.write_chestxray14(folder, OPTIONS)
    return folder


@pytest.mark.realdata
def test_the_true_label_file_has_the_counted_images_patients_and_positives(real: Path) -> None:
    cases = read_labels(real / "Data_Entry_2017_v2020.csv")
    assert len(cases) == 112_120 and cases["patient"].nunique() == 30_805
    assert {label: int(cases[label].sum()) for label in LABELS} == {label: PUBLISHED[label] for label in LABELS}
    assert cases["no_finding"].sum() == 60_361
    assert set(cases["unknown"]) == {""}


@pytest.mark.realdata
def test_the_true_box_file_has_984_boxes_on_880_images_of_726_patients_all_with_their_label(real: Path) -> None:
    cases = read_labels(real / "Data_Entry_2017_v2020.csv").set_index("case")
    boxes = read_boxes(real / "BBox_List_2017.csv")
    assert len(boxes) == 984 and boxes["case"].nunique() == 880
    assert cases.loc[boxes["case"], "patient"].nunique() == 726
    counts = boxes["label"].value_counts().to_dict()
    assert counts == {
        "Atelectasis": 180,
        "Effusion": 153,
        "Cardiomegaly": 146,
        "Infiltration": 123,
        "Pneumonia": 120,
        "Pneumothorax": 98,
        "Mass": 85,
        "Nodule": 79,
    }
    assert all(cases.at[box.case, box.label] == 1 for box in boxes.itertuples())
    assert (boxes[["x", "y"]] >= 0).all(axis=None)
    assert ((boxes["x"] + boxes["width"] <= 1024) & (boxes["y"] + boxes["height"] <= 1024)).all()


@pytest.mark.realdata
def test_a_sample_keeps_true_labels_follow_ups_boxes_and_patients_whole(sample: Path, real: Path) -> None:
    assert ADAPTER.verify(sample, OFFICIAL, published=False) == []
    index = ADAPTER.read(sample, OFFICIAL)
    truth = read_labels(real / "Data_Entry_2017_v2020.csv")
    kept = truth[truth["case"].isin(set(index.cases["case"]))].sort_values("case", ignore_index=True)
    assert kept[["case", "patient", *LABELS]].equals(index.cases[["case", "patient", *LABELS]])
    whole = truth[truth["patient"].isin(set(index.cases["patient"]))]
    assert len(whole) == len(index.cases), "every image of a sampled patient is there"
    boxes = read_boxes(real / "BBox_List_2017.csv").merge(index.boxes, on=["case", "label"], suffixes=("", "_file"))
    assert len(boxes) == len(index.boxes) > 5
    assert np.allclose(boxes["x_file"] * 1024 / 96, boxes["x"], atol=1e-3 * 1024 / 96)


@pytest.mark.realdata
def test_findings_are_painted_at_the_true_boxes(sample: Path, tmp_path: Path) -> None:
    anatomy.write_chestxray14(tmp_path, {**OPTIONS, "strength": 1e-6})
    index = ADAPTER.read(sample, OFFICIAL)
    paths = index.cases.set_index("case")["image"]
    single = index.cases.set_index("case")[list(LABELS)].sum(axis=1)
    checked = 0
    for box in index.boxes[index.boxes["label"].isin(["Mass", "Nodule", "Cardiomegaly", "Effusion"])].itertuples():
        if single[box.case] > 1:
            continue
        painted, plain = (read_grey(root / paths[box.case]).astype(int) for root in (sample, tmp_path))
        change = np.abs(painted - plain)
        y, x, h, w = (round(v) for v in (box.y, box.x, box.height, box.width))
        inside = change[y : y + h, x : x + w].mean()
        assert inside > 3 * max(np.median(change), 0.5)
        checked += 1
    assert checked


@pytest.mark.realdata
def test_projected_lungs_are_dark_and_their_masks_pass_the_verifier(tmp_path: Path) -> None:
    need("scan", "organs")
    anatomy.write_montgomery(tmp_path, {"seed": 1, "images": 12, "file_px": [96, 116]})
    split = Split(rule="random", test_fraction=0.2, validation_fraction=0.1, seed=99)
    assert [f for f in MONTGOMERY.verify(tmp_path, split, published=False) if f.level == "fail"] == []
    index = MONTGOMERY.read(tmp_path, split)
    for case in index.cases.itertuples():
        image = read_grey(tmp_path / case.image)
        lung = np.zeros(image.shape, bool)
        for part in index.masks[case.case]:
            side = read_grey(tmp_path / part) > 0
            assert side.mean() > 0.02
            lung |= side
        middle = image[:, image.shape[1] // 3 : 2 * image.shape[1] // 3]
        assert image[lung].mean() < middle[~lung[:, image.shape[1] // 3 : 2 * image.shape[1] // 3]].mean()


@pytest.mark.realdata
def test_the_anatomy_profile_is_stamped_and_its_files_are_part_of_its_identity() -> None:
    need(*FILES)
    plan = resolve(entry(), "anatomy", {})
    assert plan.unavailable is None and plan.synthetic and not plan.split_published
    assert plan.stamp == anatomy.STAMP == "SYNTHETIC: true labels, one real scan, painted findings"
    assert plan.cohort["sources"] == sources(*FILES)


def test_without_the_packages_the_anatomy_profile_is_unavailable_and_says_how_to_get_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    plan = resolve(entry(), "anatomy", {})
    assert VARIABLE in plan.unavailable and "\n" not in plan.unavailable
