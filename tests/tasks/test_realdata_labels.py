"""CheXpert's and SIIM-ACR's true label files, read in place out of a package; nothing of them is kept here."""

from __future__ import annotations

import gzip
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tasks.datasets.chexpert import adapter as chexpert
from tasks.datasets.chexpert import phantom as chexpert_phantom
from tasks.datasets.siim_acr import adapter as siim_acr
from tasks.datasets.siim_acr import phantom as siim_phantom
from tasks.layouts.index import count_differences
from tasks.layouts.run_lengths import decode_runs, encode_runs
from tasks.layouts.splits import draw_patients

pytestmark = pytest.mark.realdata


def unpacked(name: str, target: Path) -> Path:
    folder = Path(os.environ.get("DIRA_BENCH_REALDATA", "nowhere")) / "torchxrayvision" / "data"
    if not (folder / name).is_file():
        pytest.skip(f"no {name}; set DIRA_BENCH_REALDATA to a folder that holds torchxrayvision")
    target.write_bytes(gzip.decompress((folder / name).read_bytes()))
    return target


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("chexpert")
    return chexpert.read_labels(unpacked("chexpert_train.csv.gz", folder / "train.csv"))


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, ...]]:
    folder = tmp_path_factory.mktemp("siim")
    path = unpacked("siim-pneumothorax-train-rle.csv.gz", folder / "train-rle.csv")
    found = siim_acr.read_rows(path)
    assert siim_acr.check_rows(found, path) == []
    return found


def test_chexperts_training_file_has_the_published_counts(cases) -> None:
    assert (len(cases), cases["patient"].nunique(), cases["study"].nunique()) == (223_414, 64_540, 187_641)
    assert cases["view"].value_counts().to_dict() == {"frontal": 191_027, "lateral": 32_387}
    assert (cases["problem"] == "").all() and not cases["case"].duplicated().any()


@pytest.mark.parametrize(("label", "cells"), [
    ("Atelectasis", (33_376, 1_328, 33_739, 154_971)),
    ("Cardiomegaly", (27_000, 11_116, 8_087, 177_211)),
    ("Consolidation", (14_783, 28_097, 27_742, 152_792)),
    ("Edema", (52_246, 20_726, 12_984, 137_458)),
    ("Pleural Effusion", (86_187, 35_396, 11_628, 90_203)),
])  # fmt: skip
def test_the_five_scored_classes_have_the_published_cells(label: str, cells: tuple[int, ...], cases) -> None:
    found = Counter(cases[label].tolist())
    assert tuple(found[state] for state in (1, 0, -1, chexpert.BLANK)) == cells


def test_what_the_verifier_and_the_phantoms_take_for_published_is_what_the_file_says(cases) -> None:
    counts = {name: count for name, count in chexpert._counts(cases).items() if "test" not in name}
    assert len(counts) == 5 + 4 * 5 and count_differences(counts, chexpert.PUBLISHED, "x") == []
    for label, cells in chexpert_phantom.CELLS.items():
        found = Counter(cases[label].tolist())
        assert tuple(found[state] for state in (1, 0, -1, chexpert.BLANK)) == cells


def test_a_tenth_of_the_patients_is_about_a_tenth_of_the_images(cases) -> None:
    held = cases["patient"].isin(draw_patients(cases["patient"], 0.1, 99))
    assert cases.loc[held, "patient"].nunique() == 6_454
    assert held.mean() == pytest.approx(0.1, abs=0.005)


def test_siim_acrs_stage_two_file_has_the_published_counts(rows: dict[str, tuple[str, ...]]) -> None:
    positive = {name: texts for name, texts in rows.items() if texts != ("-1",)}
    assert (sum(map(len, rows.values())), len(rows), len(positive)) == (12_954, 12_047, 2_669)
    assert sum(map(len, positive.values())) == 3_576
    histogram = {1: 2045, 2: 447, 3: 112, 4: 40, 5: 18, 6: 3, 7: 1, 8: 2, 10: 1}
    assert Counter(map(len, positive.values())) == histogram == siim_phantom.ROWS


def test_siim_acrs_masks_have_the_published_areas(rows: dict[str, tuple[str, ...]]) -> None:
    """Median over rows 6,504 px; of images, whose rows are joined, least 55 and most 161,421 px."""
    by_row, by_image, overlapping, several = [], [], 0, 0
    for name, texts in rows.items():
        if texts == ("-1",):
            continue
        masks = [decode_runs(text, (1024, 1024), name) for text in texts]
        union = np.bitwise_or.reduce(masks)
        by_row += [int(mask.sum()) for mask in masks]
        by_image.append(int(union.sum()))
        if len(masks) > 1:
            several += 1
            overlapping += by_image[-1] < sum(by_row[-len(masks) :])
        if len(by_image) % 50 == 0:
            assert np.array_equal(decode_runs(encode_runs(union), (1024, 1024), name), union)
    assert (np.median(by_row), min(by_image), max(by_image)) == (6_504.5, 55, 161_421)
    assert overlapping / several == siim_phantom.OVERLAPPING
    logarithms = np.log(np.array(by_image) / 1024**2)
    assert (logarithms.mean(), logarithms.std(ddof=1)) == pytest.approx(siim_phantom.LOG_AREA, abs=5e-4)
