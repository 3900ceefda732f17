"""True label files and one true scan, out of installed packages; skipped where they are not."""

from __future__ import annotations

import gzip
from pathlib import Path

import cv2
import numpy as np
import pytest

from harness.errors import Unavailable
from harness.registry import load_registry
from tasks.configuration import resolve
from tasks.datasets.chestxray14 import anatomy
from tasks.datasets.chestxray14.adapter import ADAPTER, LABELS, PUBLISHED, read_boxes, read_labels
from tasks.datasets.chexpert import anatomy as anatomy_chexpert
from tasks.datasets.chexpert.adapter import ADAPTER as CHEX
from tasks.datasets.montgomery import anatomy as anatomy_montgomery
from tasks.datasets.montgomery.adapter import ADAPTER as MONTGOMERY
from tasks.datasets.siim_acr import anatomy as anatomy_siim_acr
from tasks.datasets.siim_acr.adapter import ADAPTER as SIIM_ACR
from tasks.datasets.siim_acr.adapter import read_rows
from tasks.layouts.dicom import read_dicom
from tasks.layouts.images import read_grey
from tasks.layouts.run_lengths import decode_runs
from tasks.options import Split
from tasks.phantoms.anatomy_files import FILES, STAMP, VARIABLE, locate, sources
from tests.tasks.test_configuration import entry

ROOT = Path(__file__).resolve().parents[2]
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
    anatomy.write(folder, OPTIONS)
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
    anatomy.write(tmp_path, {**OPTIONS, "strength": 1e-6})
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
    anatomy_montgomery.write(tmp_path, {"seed": 1, "images": 12, "file_px": [96, 116]})
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
    assert plan.stamp == STAMP == "SYNTHETIC: true labels, one real scan, painted findings"
    assert plan.cohort["sources"] == sources("labels", "boxes", "relabelled", "scan", "organs")


def test_only_cohorts_of_an_anatomy_generator_bear_its_stamp() -> None:
    seen = set()
    for task in load_registry(ROOT).tasks.by_name.values():
        plan = resolve(task, "anatomy", {})
        real = plan.cohort.get("generator", "").startswith("anatomy_")
        assert plan.stamp == (STAMP if real else resolve(task, "miniature", {}).stamp), task.name
        assert plan.stamp.startswith("SYNTHETIC")
        seen.add(real)
    assert seen == {True, False}


CHEXPERT = {"seed": 3, "train": 120, "test": 60, "file_px": [64, 78]}
SIIM = {"seed": 3, "images": 40, "file_px": 96, "full_size": 1}
RANDOM = Split(rule="random", test_fraction=0.2, validation_fraction=0.1, seed=99)


@pytest.mark.realdata
def test_chexperts_rows_are_true_whole_patients_with_every_oddity(tmp_path: Path) -> None:
    need("chexpert", "scan", "organs")
    anatomy_chexpert.write(tmp_path, CHEXPERT)
    assert CHEX.verify(tmp_path, OFFICIAL, published=False) == []
    truth = gzip.decompress(locate("chexpert").read_bytes()).decode().splitlines()
    root = tmp_path / "CheXpert-v1.0-small"
    train, valid = ((root / name).read_text().splitlines() for name in ("train.csv", "valid.csv"))
    assert set(train) <= set(truth) and len(train) > 120
    places = [truth.index(line) for line in train]
    assert places == sorted(places)
    patients = {line.split("/")[2] for line in train[1:]}
    assert sum(line.split("/")[2] in patients for line in truth[1:]) == len(train) - 1
    text = "\n".join(train)
    for odd in (",Unknown,", ",RL,", ",LL,", ",0,Frontal", ",Lateral,", ",-1.0,", ",,"):
        assert odd in text, odd
    original = {line.split(",")[0]: line.split(",")[5:] for line in truth[1:]}
    for line in valid[1:]:
        path, *_ = fields = line.split(",")
        said = original[path.replace("/valid/", "/train/")]
        assert fields[5:] == [cell or "0.0" for cell in said] and "-1.0" not in said


@pytest.mark.realdata
def test_frontal_and_lateral_projections_of_chexpert_differ(tmp_path: Path) -> None:
    need("chexpert", "scan", "organs")
    anatomy_chexpert.write(tmp_path, {**CHEXPERT, "strength": 1e-6})
    cases = CHEX.read(tmp_path, OFFICIAL).cases
    mean = {}
    for view in ("frontal", "lateral"):
        paths = cases.loc[cases["case"].str.contains(view), "image"]
        pictures = [cv2.resize(read_grey(tmp_path / path), (64, 64)).astype(float) for path in paths]
        mean[view] = np.mean(pictures, axis=0)
    # the spine is bright in the middle of a frontal; from the side aerated lung lies there
    for view, sign in (("frontal", 1), ("lateral", -1)):
        middle, beside = mean[view][24:32, 29:35].mean(), mean[view][24:32, [14, 15, 16, 17]].mean()
        assert (middle - beside > 40) == (sign > 0)


@pytest.mark.realdata
def test_siims_run_lengths_are_true_ones_and_air_is_painted_where_they_say(tmp_path: Path) -> None:
    need("runs", "scan", "organs")
    for name, strength in (("painted", 1.0), ("plain", 2.0)):
        (tmp_path / name).mkdir()
        anatomy_siim_acr.write(tmp_path / name, {**SIIM, "strength": strength})
    root = tmp_path / "painted"
    assert SIIM_ACR.verify(root, RANDOM, published=False) == []
    index = SIIM_ACR.read(root, RANDOM)
    assert len(index.cases) == 40 and index.cases["pneumothorax"].sum() == 9
    (tmp_path / "true.csv").write_bytes(gzip.decompress(locate("runs").read_bytes()))
    truth = read_rows(tmp_path / "true.csv")
    sides = []
    for case in index.cases.itertuples():
        said, own = truth[case.case], index.runs[case.case]
        assert own == () if said == ("-1",) else len(own) == len(said)
        if not own:
            continue
        image, darker = (read_dicom(tmp_path / name / case.image).astype(int) for name in ("painted", "plain"))
        side = len(image)
        mask, real = (
            np.max([decode_runs(t, (s, s), "") for t in texts], axis=0) for texts, s in ((own, side), (said, 1024))
        )
        if side == 1024:
            assert own == said
        share = cv2.resize(real.astype(np.float32), (side, side), interpolation=cv2.INTER_AREA)
        assert (share[mask > 0] > 0).all() and abs(mask.mean() - real.mean()) < 0.01
        change = image - darker
        beyond = cv2.dilate(mask, np.ones((side // 10, side // 10))) == 0
        assert change[mask > 0].mean() > max(0.5, 10 * abs(change[beyond]).mean()), case.case
        sides.append(side)
    assert sorted(sides) == [96] * 8 + [1024]


def test_without_the_packages_the_anatomy_profile_is_unavailable_and_says_how_to_get_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    plan = resolve(entry(), "anatomy", {})
    assert VARIABLE in plan.unavailable and "\n" not in plan.unavailable
