from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import ttest_ind

from harness.errors import ConfigurationError, DataError, Unavailable
from harness.pixels import Pixels
from tasks.cohorts.build import build
from tasks.datasets.siim_acr.adapter import ADAPTER, image_paths, read_rows
from tasks.datasets.siim_acr.phantom import write
from tasks.layouts.dicom import dicom_shape, read_dicom
from tasks.layouts.run_lengths import decode_runs, encode_runs, looks_absolute, parse_runs
from tasks.options import Split
from tasks.transfer.run import run_trial
from tests.tasks.conftest import built, context, plan_of
from tests.tasks.standins import trial_spec

SPLIT = Split(rule="random", test_fraction=0.2, validation_fraction=0.1, seed=99)
OPTIONS = {"seed": 3, "images": 40, "file_px": 48}


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("siim")
    write(root, OPTIONS)
    return root


@pytest.fixture
def root(pristine: Path, tmp_path: Path) -> Path:
    shutil.copytree(pristine, tmp_path / "root")
    return tmp_path / "root"


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built("siim_acr", tmp_path_factory.mktemp("cohorts") / "siim_acr")


def rows_of(root: Path) -> dict[str, tuple[str, ...]]:
    return read_rows(root / "train-rle.csv")


def failures(root: Path) -> list[str]:
    return [f.message for f in ADAPTER.verify(root, SPLIT, published=False) if f.level == "fail"]


def replace_value(root: Path, name: str, text: str) -> None:
    path = root / "train-rle.csv"
    kept = [line for line in path.read_text().splitlines() if not line.startswith(f"{name},")]
    path.write_text("\n".join([*kept, f"{name}, {text}"]) + "\n")


def positive(root: Path) -> str:
    return next(name for name, texts in rows_of(root).items() if texts != ("-1",))


# run lengths


def oracle(text: str, height: int, width: int) -> np.ndarray:
    """Pixel by pixel, as the data set's page describes it."""
    mask = np.zeros((height, width), np.uint8)
    numbers, at = [int(n) for n in text.split()], 0
    for gap, length in zip(numbers[::2], numbers[1::2], strict=True):
        at += gap
        for pixel in range(at, at + length):
            mask[pixel % height, pixel // height] = 1
        at += length
    return mask


@settings(max_examples=300, deadline=None)
@given(arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.integers(0, 1)))
def test_run_lengths_come_back_as_they_went_in(mask: np.ndarray) -> None:
    text = encode_runs(mask)
    assert np.array_equal(decode_runs(text, mask.shape, "x"), mask)
    assert (text == "-1") == (not mask.any())
    if mask.any():
        assert np.array_equal(oracle(text, *mask.shape), mask)


def test_a_run_is_relative_and_goes_down_the_columns() -> None:
    mask = decode_runs("1 2 3 1", (3, 3), "x")
    assert mask.tolist() == [[0, 0, 1], [1, 0, 0], [1, 0, 0]]


@settings(max_examples=1000, deadline=None)
@given(st.one_of(
    st.text(max_size=30),
    st.text("0123456789 -.\t", max_size=30),
    st.lists(st.integers(-3, 200), max_size=8).map(lambda n: " ".join(map(str, n))),
))  # fmt: skip
def test_any_text_is_a_mask_or_one_sentence(text: str) -> None:
    try:
        mask = decode_runs(text, (8, 8), "image_1")
    except DataError as error:
        assert "image_1" in str(error) and "expected" in str(error) and "\n" not in repr(str(error))[1:-1]
    else:
        numbers = [int(n) for n in text.split()]
        assert numbers == [-1] or (sum(numbers) <= 64 and mask.sum() == sum(numbers[1::2]))


@pytest.mark.parametrize(
    ("text", "said"),
    [("60 5", "end at pixel 65; expected at most 64"), ("1 0", "run of 0 pixels"), ("3", "pairs"), ("", "pairs")],
)
def test_malformed_run_lengths_are_one_sentence(text: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        decode_runs(text, (8, 8), "image_1")


def test_absolute_run_lengths_are_told_from_relative_ones() -> None:
    assert looks_absolute(*parse_runs("20 5 30 5 40 5", "x"), 64)
    assert not looks_absolute(*parse_runs("20 5 3 5", "x"), 64)
    assert not looks_absolute(*parse_runs("20 5 62 5", "x"), 64), "it overflows either way"


# the layout


def test_the_pristine_layout_reports_the_image_without_a_row_alone(pristine: Path) -> None:
    (finding,) = ADAPTER.verify(pristine, SPLIT, published=False)
    assert finding.level == "warn" and "1 images have no row in train-rle.csv and are left out" in finding.message
    assert finding.message.endswith(".dcm)")
    assert len(ADAPTER.read(pristine, SPLIT).cases) == 40


def test_the_phantom_has_every_quirk_of_the_real_files(pristine: Path) -> None:
    text = (pristine / "train-rle.csv").read_text()
    assert text.startswith("ImageId, EncodedPixels\n") and ", -1\n" in text and ",-1\n" in text
    choice = image_paths(pristine)
    paths = choice.paths
    assert len(paths) == 41 and not choice.extra
    assert all(len(Path(path).parts) == 4 for path in paths.values())
    headers = {name: pydicom.dcmread(pristine / path, stop_before_pixels=True) for name, path in paths.items()}
    assert [h.file_meta.TransferSyntaxUID for h in headers.values()].count(pydicom.uid.JPEGBaseline8Bit) == 1
    assert [h.PhotometricInterpretation for h in headers.values()].count("MONOCHROME1") == 1
    assert all(h.SOPInstanceUID == name for name, h in headers.items())
    rows = rows_of(pristine)
    (three,) = [name for name, h in headers.items() if h.Rows == 8 * 48]
    masks = [decode_runs(text, dicom_shape(pristine / paths[three]), three) for text in rows[three]]
    overlaps = [int((masks[a] & masks[b]).sum()) > 0 for a, b in ((0, 1), (0, 2), (1, 2))]
    assert len(masks) == 3 and sum(overlaps) == 1


def test_areas_and_the_share_of_positives_are_those_of_the_real_masks(tmp_path: Path) -> None:
    """Medians of the real masks: 8,630 of 1024² pixels an image; 22.2 % positive."""
    write(tmp_path, {"seed": 11, "images": 400, "file_px": 64})
    index, side = ADAPTER.read(tmp_path, SPLIT), 64
    areas = []
    for name, texts in index.runs.items():
        if texts:
            shape = dicom_shape(tmp_path / index.cases.set_index("case").at[name, "image"])
            mask = np.any([decode_runs(text, shape, name) for text in texts], axis=0)
            areas.append(mask.mean() * 1024**2)
    assert len(areas) == round(400 * 2669 / 12047)
    assert 6_000 < np.median(areas) < 12_000
    assert min(areas) >= 1024**2 / side**2


def test_the_flat_folder_of_stage_two_is_read_the_same_way(tmp_path: Path) -> None:
    write(tmp_path, {**OPTIONS, "stage": 2})
    assert (tmp_path / "stage_2_train.csv").read_text().startswith("ImageId,EncodedPixels\nID_")
    index = ADAPTER.read(tmp_path, SPLIT)
    assert index.cases["image"].str.fullmatch(r"stage_2_images/ID_[0-9a-f]{9}\.dcm").all() and len(index.cases) == 40


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root that holds the label files and the images of both stages."""
    root = tmp_path_factory.mktemp("both")
    write(root, {**OPTIONS, "stage": 2})
    write(root, {**OPTIONS, "images": 30})
    return root


@pytest.mark.parametrize(("stage", "file", "images"), [
    (None, "stage_2_train.csv", 40),
    (2, "stage_2_train.csv", 40),
    (1, "train-rle.csv", 30),
])  # fmt: skip
def test_the_stage_says_which_of_two_label_files_is_read(stage: int | None, file: str, images: int, both: Path) -> None:
    adapter = ADAPTER.with_options({"stage": stage})
    index = adapter.read(both, SPLIT)
    assert index.facts["label_file"] == file and len(index.cases) == images
    assert (adapter.fingerprint(both) == ADAPTER.fingerprint(both)) is (stage != 1)
    assert not [f for f in adapter.verify(both, SPLIT, published=False, decode=False) if f.level == "fail"]


def test_a_stage_is_built_from_its_own_file_and_is_part_of_the_identity(both: Path, tmp_path: Path) -> None:
    from tasks.configuration import resolve
    from tests.tasks.test_configuration import entry

    of = {"adapter": "siim_acr", "transfer": "segmentation", "outputs": 1, "metric": "dice", "split": "random"}
    plans = {}
    for stage in (1, 2):
        options = {"cohort": {"cache_px": 32, "adapter": {"stage": stage}}}
        plans[stage] = resolve(entry(options=options, **of), "paper", {"mine": both}).cohort
    assert plans[1]["adapter_options"] == {"stage": 1} and plans[1] != plans[2]
    here = context(tmp_path)
    real = type(here)("cpu", tmp_path, {}, tmp_path, data_roots={"mine": both})
    facts = build({"task": "mine", "configuration": plans[1]}, real).facts
    assert facts["facts"]["label_file"] == "train-rle.csv" and facts["counts"]["images"] == 30


def test_the_papers_stage_is_part_of_the_identity() -> None:
    assert plan_of("siim_acr", "paper").cohort["adapter_options"] == {"stage": 1}


@pytest.mark.parametrize("options", [{"stage": 3}, {"stage": "1"}, {"stage": True}, {"stage": [1]}, {"stages": 1}])
def test_an_unknown_stage_is_one_sentence(options: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match="options.cohort.adapter"):
        ADAPTER.with_options(options)


def test_an_absent_label_file_of_a_stage_is_one_sentence(pristine: Path) -> None:
    with pytest.raises(DataError, match="no stage_2_train.csv below .* of SIIM-ACR in stage 2"):
        ADAPTER.with_options({"stage": 2}).read(pristine, SPLIT)


def test_a_jpeg_and_an_inverted_file_look_like_the_others(pristine: Path) -> None:
    paths = image_paths(pristine).paths
    corners = {}
    for name, path in paths.items():
        image = read_dicom(pristine / path)
        assert image.dtype == np.uint8 and image.shape == dicom_shape(pristine / path)
        corners[name] = int(image[:4, :4].mean())
    assert max(corners.values()) < 60, "the background is dark in every file"


def test_the_mask_is_the_union_of_its_rows_in_the_cache(pristine: Path, tmp_path: Path) -> None:
    plan = plan_of("siim_acr")
    cohort = {**plan.cohort, "generator_options": {**OPTIONS, "strength": 1.0}, "cache_px": 48}
    build({"task": "siim_acr", "configuration": cohort}, context(tmp_path))
    pixels, index = Pixels(tmp_path), ADAPTER.read(pristine, SPLIT)
    assert set(np.unique(pixels.masks)) == {0, 1}
    for row, name in enumerate(pixels.cases["case"]):
        shape = dicom_shape(pristine / index.cases.set_index("case").at[name, "image"])
        if shape == (48, 48):
            expected = np.zeros(shape, np.uint8)
            for text in index.runs[name]:
                expected |= oracle(text, *shape)
            assert np.array_equal(pixels.masks[row], expected)


def test_the_split_is_drawn_with_the_seed(pristine: Path) -> None:
    first, other = ADAPTER.read(pristine, SPLIT), ADAPTER.read(pristine, SPLIT.model_copy(update={"seed": 5}))
    assert first.cases["split"].value_counts().to_dict() == {"train": 29, "test": 8, "validation": 3}
    assert first.split_hashes() == ADAPTER.read(pristine, SPLIT).split_hashes() != other.split_hashes()


# what must fail, each with the file named


def test_runs_beyond_the_image_fail_and_name_it(root: Path) -> None:
    name = rows_of(root)
    small = next(n for n in name if dicom_shape(root / image_paths(root).paths[n]) == (48, 48))
    replace_value(root, small, "2300 10")
    (message,) = failures(root)
    assert small in message and "2310" in message and "2304" in message


@pytest.mark.parametrize("value", ["1 2 x", "-2", "5", "1.0 2.0", "1 0"])
def test_values_outside_the_vocabulary_fail_and_name_the_image(value: str, root: Path) -> None:
    name = positive(root)
    replace_value(root, name, value)
    assert any(name in text and "run" in text for text in failures(root))
    with pytest.raises(DataError, match="run lengths"):
        ADAPTER.read(root, SPLIT)


def test_an_image_both_empty_and_not_fails(root: Path) -> None:
    name = positive(root)
    with (root / "train-rle.csv").open("a") as stream:
        stream.write(f"{name}, -1\n")
    assert any(name in text and "-1 and more" in text for text in failures(root))


def test_a_file_with_absolute_run_lengths_is_refused(root: Path) -> None:
    names = list(rows_of(root))
    replace_value(root, names[0], "1000 20 500000 30 1000000 40")
    assert any("absolute run lengths (1 rows" in text and names[0] in text for text in failures(root))


def test_broken_pictures_are_all_listed(root: Path) -> None:
    paths = image_paths(root).paths
    names = list(rows_of(root))[:5]
    files = [root / paths[name] for name in names]
    files[0].unlink()
    files[1].write_bytes(files[1].read_bytes()[: files[1].stat().st_size // 2])
    files[2].write_text("not DICOM")
    for file, keyword, value in ((files[3], "BitsAllocated", 16), (files[4], "Rows", 47)):
        data = pydicom.dcmread(file)
        setattr(data, keyword, value)
        data.save_as(file)
    found = failures(root)
    assert len(found) >= 5 and all(any(name in text for text in found) for name in names)
    assert any("BitsAllocated 16; expected 8" in text for text in found)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_damaged_dicom_is_a_picture_or_one_sentence(pristine: Path, data: st.DataObject) -> None:
    paths = image_paths(pristine).paths
    path = pristine / data.draw(st.sampled_from(sorted(paths.values())[:6]))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    damaged = pristine / "damaged.bin"
    damaged.write_bytes(bytes(content[: data.draw(st.integers(0, len(content)))]))
    try:
        image = read_dicom(damaged)
    except DataError as error:
        assert "damaged.bin" in str(error) and "expected" in str(error)
    else:
        assert image.dtype == np.uint8 and image.ndim == 2 and image.size


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", ""])
def test_a_name_that_would_leave_the_data_root_is_refused(name: str, root: Path) -> None:
    with (root / "train-rle.csv").open("a") as stream:
        stream.write(f"{name}, -1\n")
    with pytest.raises(DataError, match="no plain file name"):
        ADAPTER.read(root, SPLIT)


def test_a_missing_column_file_or_root_is_one_sentence(root: Path, tmp_path: Path) -> None:
    path = root / "train-rle.csv"
    path.write_text(path.read_text().replace("EncodedPixels", "Pixels", 1))
    with pytest.raises(DataError, match="lacks the column EncodedPixels"):
        ADAPTER.read(root, SPLIT)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"no stage_2_train\.csv or train-rle\.csv"):
        ADAPTER.read(tmp_path / "empty", SPLIT)


def test_without_the_optional_package_one_sentence_says_what_to_install(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    from tasks import configuration
    from tests.tasks.test_configuration import entry

    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(Unavailable, match=r'pip install "dira-bench\[data\]"'):
        read_dicom(next(root.rglob("*.dcm")))
    siim = entry(adapter="siim_acr", transfer="segmentation", outputs=1, metric="dice", split="random")
    for profile in ("smoke", "paper"):
        assert "dira-bench[data]" in configuration.resolve(siim, profile, {}).unavailable


# what the task makes of it


def test_the_manifest_states_what_an_always_empty_model_scores(cohort: Path) -> None:
    pixels = Pixels(cohort)
    empty = np.asarray(pixels.masks[pixels.rows("test")]).sum(axis=(1, 2)) == 0
    said = pixels.manifest["always_empty"]
    assert said["dice"] == pytest.approx(empty.mean()) and 0.5 < said["dice"] < 1
    assert said["dice_positive"] == 0.0 == said["dice_pooled"]
    assert said["empty_masks"] == empty.sum() and said["test_images"] == len(empty)


def trial(cohort: Path, folder: Path, plan: object, **changes: object):
    return run_trial(trial_spec("siim_acr", plan, **changes), context(folder, cohort=cohort))


def test_a_supervised_reference_beats_a_mask_shuffled_one(cohort: Path, tmp_path: Path) -> None:
    """The gate of a phantom: its masks can be learnt. Nothing here knows a method of the benchmark."""
    false = tmp_path / "false"
    shutil.copytree(cohort, false)
    pixels = Pixels(cohort)
    masks = np.array(pixels.masks)
    rows = np.concatenate([pixels.rows("train"), pixels.rows("validation")])
    masks[rows] = masks[np.random.Generator(np.random.PCG64(0)).permutation(rows)]
    np.save(false / "masks.npy", masks)
    plan = plan_of(
        "siim_acr",
        steps=40,
        evaluate_every=40,
        batch=16,
        metric={"resamples": 10},
        optimiser={"lr": 0.01},
        augmentation={"intensity": 0.0, "deformation": 0.0, "sized_crop": 0.0},
    )
    scores = {
        # Average precision near its floor is skewed and its spread grows with it: tested as a ratio.
        name: np.log([trial(where, tmp_path, plan, repeat=r).values["pixel_average_precision"] for r in range(6)])
        for name, where in (("true", cohort), ("false", false))
    }
    assert ttest_ind(scores["true"], scores["false"], alternative="greater").pvalue < 1e-3
