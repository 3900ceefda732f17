"""Which test images pretraining has seen: copies are found at any size, format and contrast, other images are not."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from scipy.stats import spearmanr

from tasks import leakage
from tasks.layouts.lists import read_names
from tasks.leakage import find_twins, ranks

LIST = Path(leakage.__file__).parent / "lists" / "mednist_cxr_twins.txt"


def pictures(count: int, seed: int, side: int = 256) -> list[np.ndarray]:
    """Smooth pictures that are alike in the large, as radiographs are: a bright frame, two dark fields, blobs."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[0 : 1 : 1j * side, 0 : 1 : 1j * side]
    found = []
    for _ in range(count):
        fields = [np.exp(-((x - at) ** 2 / 0.02 + (y - 0.5) ** 2 / 0.08)) for at in (0.3, 0.7)]
        blobs = sum(
            weight * np.exp(-((x - a) ** 2 + (y - b) ** 2) / 0.01)
            for a, b, weight in zip(*generator.random((2, 12)), generator.normal(0, 0.5, 12), strict=True)
        )
        grey = 1 - fields[0] - fields[1] + blobs
        found.append(np.uint8(20 + 200 * (grey - grey.min()) / np.ptp(grey)))
    return found


def as_jpeg(image: np.ndarray) -> np.ndarray:
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 60])[1], cv2.IMREAD_GRAYSCALE)


COPIES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "the same": lambda image: image,
    "jpeg": as_jpeg,
    "64 px": lambda image: cv2.resize(image, (64, 64), interpolation=cv2.INTER_CUBIC),
    "28 px": lambda image: cv2.resize(image, (28, 28), interpolation=cv2.INTER_AREA),
    "enlarged": lambda image: cv2.resize(image, (700, 700), interpolation=cv2.INTER_LINEAR),
    "not square": lambda image: cv2.resize(image, (300, 240), interpolation=cv2.INTER_AREA),
    "half as bright": lambda image: image // 2,
    "gamma": lambda image: np.uint8(255 * (image / 255) ** 2.5),
    "stretched and clipped": lambda image: np.uint8(np.clip((image.astype(int) - 60) * 1.6, 0, 255)),
}


@pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES)
def test_a_copy_is_a_twin_and_no_other_image_is(copy):
    images = pictures(30, seed=1)
    test = ranks([*(copy(image) for image in images[:10]), *pictures(10, seed=2)])
    found = find_twins(test, ranks(images))
    assert found.pairs.tolist() == [[i, i] for i in range(10)]
    assert found.having.tolist() == [True] * 10 + [False] * 10
    assert found.highest[10:].max() < 0.97


def test_a_mirrored_or_inverted_copy_is_none():
    image = pictures(1, seed=3)[0]
    assert not find_twins(ranks([image[:, ::-1], 255 - image]), ranks([image])).having.any()


def test_the_correlation_is_spearmans_of_the_reduced_images_ties_included():
    first, second = (np.random.default_rng(seed).integers(0, 6, (24, 24)).astype(np.uint8) for seed in (1, 2))
    second[:12] = first[:12]
    expected = spearmanr(first.ravel(), second.ravel()).statistic
    assert find_twins(ranks([first]), ranks([second])).highest == pytest.approx([expected], abs=1e-12)


def test_an_image_of_one_grey_is_nobodys_twin():
    black = np.zeros((64, 64), np.uint8)
    found = find_twins(ranks([black, pictures(1, 4)[0]]), ranks([black]))
    assert found.highest.tolist() == [0, 0] and not len(found.pairs)


def test_the_answer_does_not_depend_on_how_many_are_compared_at_once(monkeypatch):
    images = ranks(pictures(9, seed=5))
    seen = np.concatenate([images, images[:4]])
    whole = find_twins(images, seen)
    assert whole.pairs.tolist() == sorted([[i, i] for i in range(9)] + [[i, i + 9] for i in range(4)])
    monkeypatch.setattr(leakage, "ROWS", 2)
    parts = find_twins(images, seen)
    assert np.array_equal(whole.pairs, parts.pairs) and np.array_equal(whole.highest, parts.highest)


def test_the_committed_list_names_files_each_once_and_in_order():
    names = read_names(LIST)
    assert len(names) == 107 and names == sorted(set(names))
    assert all(name.removesuffix(".jpeg").isdecimal() for name in names)


def grey(folder: Path) -> tuple[list[str], list[np.ndarray]]:
    paths = sorted(folder.iterdir())
    return [path.name for path in paths], [np.asarray(Image.open(path).convert("L")) for path in paths]


@pytest.mark.realdata
def test_of_the_thousand_images_of_chestxray14_those_of_the_list_are_in_mednist():
    mednist, nih = (os.environ.get(f"DIRA_BENCH_DATA_{task}") for task in ("MEDNIST_CXR", "CHESTXRAY14_SAMPLE"))
    if not mednist or not nih:
        pytest.skip("no radiographs; set DIRA_BENCH_DATA_MEDNIST_CXR and DIRA_BENCH_DATA_CHESTXRAY14_SAMPLE")
    names, seen = grey(Path(mednist))
    test = grey(Path(nih) / "images")[1]
    found = find_twins(ranks(test), ranks(seen))
    assert sorted(names[row] for _, row in found.pairs) == read_names(LIST)
    assert found.having.sum() == len(found.pairs) == 107
    assert found.highest[found.having].min() > 0.996 and found.highest[~found.having].max() < 0.987  # clearly apart
