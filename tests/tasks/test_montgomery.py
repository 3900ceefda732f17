from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.errors import DataError
from tasks.cohorts.decode import read_mask, to_square
from tasks.datasets.montgomery.adapter import ADAPTER
from tasks.datasets.montgomery.phantom import write
from tasks.options import Split

SPLIT = Split(rule="random", test_fraction=0.2, validation_fraction=0.1, seed=99)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("montgomery")
    write(root, {"seed": 1, "images": 20, "file_px": [40, 48]})
    return root


@pytest.fixture
def root(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "montgomery"))


def failures(root: Path) -> list[str]:
    return [f.message for f in ADAPTER.verify(root, SPLIT, published=False) if f.level == "fail"]


def masks(root: Path, side: str) -> list[Path]:
    return sorted((root / "MontgomerySet" / "ManualMask" / side).iterdir())


def test_the_pristine_layout_has_nothing_to_report_and_both_roots_are_accepted(pristine: Path) -> None:
    assert ADAPTER.verify(pristine, SPLIT, published=False) == []
    outer, inner = ADAPTER.read(pristine, SPLIT), ADAPTER.read(pristine / "MontgomerySet", SPLIT)
    assert outer.split_hashes() == inner.split_hashes()


def test_the_layout_has_thumbs_readings_and_both_orientations(pristine: Path) -> None:
    folder = pristine / "MontgomerySet"
    assert (folder / "CXR_png" / "Thumbs.db").is_file()
    sizes = {Image.open(p).size for p in (folder / "CXR_png").glob("*.png")}
    assert sizes == {(40, 48), (48, 40)}
    text = sorted((folder / "ClinicalReadings").iterdir())[0].read_text().splitlines()
    assert text[0].startswith("Patient's Sex: ") and text[1].startswith("Patient's Age: 0") and text[1].endswith("Y")


def test_the_paper_sizes_of_the_split_come_out_of_138_images(tmp_path: Path) -> None:
    write(tmp_path, {"seed": 1, "images": 138, "file_px": [12, 14]})
    counts = ADAPTER.read(tmp_path, SPLIT).cases["split"].value_counts()
    assert (counts["train"], counts["validation"], counts["test"]) == (99, 11, 28)


def test_the_split_depends_on_its_seed_alone(pristine: Path, root: Path) -> None:
    hashes = ADAPTER.read(pristine, SPLIT).split_hashes()
    assert ADAPTER.read(root, SPLIT).split_hashes() == hashes
    other = Split(rule="random", test_fraction=0.2, validation_fraction=0.1, seed=98)
    assert ADAPTER.read(root, other).split_hashes() != hashes


def test_the_foreground_is_left_or_right_and_left_lies_on_the_right(pristine: Path) -> None:
    index = ADAPTER.read(pristine, SPLIT)
    case = index.cases["case"].iloc[0]
    left, right = (np.asarray(Image.open(pristine / part)) > 0 for part in index.masks[case])
    assert np.nonzero(left)[1].mean() > np.nonzero(right)[1].mean()
    union = read_mask(pristine, index.masks[case], left.shape, 256, "nearest")
    assert union.mean() == pytest.approx((left | right).mean(), abs=0.01)


def test_half_a_pair_fails(root: Path) -> None:
    masks(root, "leftMask")[0].unlink()
    masks(root, "rightMask")[1].rename(masks(root, "rightMask")[1].with_name("MCUCXR_9999_0.png"))
    found = failures(root)
    assert any("an image but no mask in ManualMask/leftMask" in f for f in found)
    assert any("a mask but no image in ManualMask/rightMask" in f for f in found)
    with pytest.raises(DataError, match="an image but no mask"):
        ADAPTER.read(root, SPLIT)


def test_a_mask_of_another_shape_or_with_other_values_fails(root: Path) -> None:
    first, second = masks(root, "leftMask")[:2]
    Image.fromarray(np.asarray(Image.open(first))[:-2]).save(first)
    grey = np.asarray(Image.open(second)).copy()
    grey[0, 0] = 127
    Image.fromarray(grey).save(second)
    found = failures(root)
    assert any("expected the image's shape" in f for f in found)
    assert any("expected a mask of 0 and 255, or 0 and 1" in f for f in found)


def test_masks_of_one_bit_are_accepted(root: Path) -> None:
    for side in ("leftMask", "rightMask"):
        path = masks(root, side)[0]
        Image.open(path).convert("1").save(path)
    assert failures(root) == []


def test_swapped_sides_and_missing_readings_warn(root: Path) -> None:
    left, right = masks(root, "leftMask")[0], masks(root, "rightMask")[0]
    a, b = left.read_bytes(), right.read_bytes()
    left.write_bytes(b)
    right.write_bytes(a)
    sorted((root / "MontgomerySet" / "ClinicalReadings").iterdir())[0].unlink()
    found = [f.message for f in ADAPTER.verify(root, SPLIT) if f.level == "warn"]
    assert any("lies on the left of the image" in f for f in found)
    assert any("no reading" in f for f in found)
    assert any("has 20 images, -118 against the published 138" in f for f in found)


def test_an_empty_root_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected the Montgomery set"):
        ADAPTER.read(tmp_path, SPLIT)


@pytest.mark.parametrize("shape", [(4020, 4892), (4892, 4020), (1024, 1024), (230, 300)])
def test_nearest_reads_the_upper_left_pixel_of_what_it_covers_as_the_authors_loader(shape: tuple[int, int]) -> None:
    """OpenCV's plain nearest neighbour is ⌊i · source / target⌋, up to rounding where that is whole.

    Every pixel here names its row or column. At 4020 px the pixel whose middle is nearest lies 8 px further on.
    """
    for axis in (0, 1):
        index = np.broadcast_to(np.expand_dims(np.arange(shape[axis]), 1 - axis), shape)
        exact = np.arange(224) * (shape[axis] / 224)
        low, high = (to_square((index >> bits & 255).astype(np.uint8), 224, "nearest") for bits in (0, 8))
        found = np.moveaxis(high.astype(int) << 8 | low, axis, 0)
        assert (found == found[:, :1]).all()
        assert ((found[:, 0] == np.floor(exact - 1e-9)) | (found[:, 0] == np.floor(exact + 1e-9))).all()


def test_area_resizing_keeps_the_mean_and_nearest_keeps_the_values() -> None:
    image = np.random.Generator(np.random.PCG64(0)).integers(0, 2, (96, 48)).astype(np.uint8) * 200
    assert to_square(image, 24, "area").mean() == pytest.approx(image.mean(), abs=0.6)
    assert set(np.unique(to_square(image, 24, "nearest"))) <= {0, 200}
