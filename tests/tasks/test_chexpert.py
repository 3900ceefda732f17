from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.stats import ttest_ind

from harness.errors import ConfigurationError, DataError
from harness.pixels import Pixels
from tasks.datasets.chexpert.adapter import ADAPTER, HEADER, LABELS, SCORED, read_labels
from tasks.datasets.chexpert.phantom import write
from tasks.options import Split
from tasks.transfer.run import run_trial
from tests.tasks.conftest import built, context, plan_of
from tests.tasks.standins import trial_spec

SPLIT = Split(rule="official", validation_fraction=0.13, seed=99)
OPTIONS = {"seed": 7, "train": 120, "test": 40, "file_px": (32, 40)}


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("chexpert")
    write(root, OPTIONS)
    return root


@pytest.fixture
def root(pristine: Path, tmp_path: Path) -> Path:
    shutil.copytree(pristine, tmp_path / "root")
    return tmp_path / "root"


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built("chexpert", tmp_path_factory.mktemp("cohorts") / "chexpert")


def table(root: Path, name: str = "train") -> Path:
    return root / "CheXpert-v1.0-small" / f"{name}.csv"


def change(root: Path, line: int, column: str, value: str, name: str = "train") -> str:
    """Set one cell and return the row's Path."""
    lines = table(root, name).read_text().splitlines()
    fields = lines[line].split(",")
    fields[HEADER.index(column)] = value
    lines[line] = ",".join(fields)
    table(root, name).write_text("\n".join(lines) + "\n")
    return fields[0]


def failures(root: Path) -> list[str]:
    return [f.message for f in ADAPTER.verify(root, SPLIT, published=False) if f.level == "fail"]


def test_the_pristine_layout_has_nothing_to_report(pristine: Path) -> None:
    assert ADAPTER.verify(pristine, SPLIT, published=False) == []
    assert all(f.level == "warn" for f in ADAPTER.verify(pristine, SPLIT, decode=False))


def test_the_phantom_has_every_quirk_of_the_real_files(pristine: Path) -> None:
    frame = pd.read_csv(table(pristine), dtype=str, keep_default_na=False)
    test = pd.read_csv(table(pristine, "valid"), dtype=str, keep_default_na=False)
    assert tuple(frame.columns) == HEADER == tuple(test.columns)
    assert set(frame[list(LABELS)].to_numpy().ravel()) == {"1.0", "0.0", "-1.0", ""}
    assert set(test[list(LABELS)].to_numpy().ravel()) == {"1.0", "0.0"}
    assert (test["Fracture"] == "0.0").all()
    assert set(frame["AP/PA"]) == {"AP", "PA", "LL", "RL", ""}
    assert (frame.loc[frame["Frontal/Lateral"] == "Lateral", "AP/PA"] == "").all()
    assert {"Unknown", "Male", "Female"} == set(frame["Sex"]) and "0" in set(frame["Age"])
    assert "patient00001/" in frame["Path"][0] and "/study1/" not in frame["Path"][0]
    assert frame["Path"].str.contains("patient00001/study1/").any()
    studies = frame["Path"].str.extract(r"(patient\d+)/(study\d+)").groupby(0)[1].nunique()
    assert (studies >= 2).sum() >= 3
    sizes = {Image.open(path).size for path in sorted(pristine.rglob("*.jpg"))[:60]}
    assert len(sizes) == 3 and any(width != height for width, height in sizes)


def test_labels_err_in_uncertain_and_empty_cells_alone(tmp_path: Path) -> None:
    """A positive and a negative cell of a study agree over its views, and a lateral carries its study's labels."""
    write(tmp_path, {**OPTIONS, "train": 400})
    cases = read_labels(table(tmp_path))
    for label in LABELS:
        assert (cases.groupby("study")[label].nunique() == 1).all()
    share = (cases["Atelectasis"] == -1).sum() / (cases["Atelectasis"] == 1).sum()
    assert share == pytest.approx(33_739 / 33_376, abs=0.45)  # the real ratio


@pytest.mark.parametrize("where", ["parent", "inside"])
def test_the_parent_and_the_folder_itself_are_both_roots(where: str, pristine: Path) -> None:
    index = ADAPTER.read(pristine if where == "parent" else pristine / "CheXpert-v1.0-small", SPLIT)
    assert index.cases["split"].value_counts()["test"] == 40 and len(index.cases) == 160
    assert list(index.cases["case"]) == sorted(index.cases["case"])


def test_the_small_and_the_full_download_have_the_same_cases_and_splits(pristine: Path, tmp_path: Path) -> None:
    write(tmp_path, {**OPTIONS, "folder": "CheXpert-v1.0", "path_root": "CheXpert-v1.0-small"})
    small, full = ADAPTER.read(pristine, SPLIT), ADAPTER.read(tmp_path, SPLIT)
    assert small.split_hashes() == full.split_hashes()
    assert full.cases["image"].str.startswith("CheXpert-v1.0/").all()


@pytest.mark.parametrize("between", [".", "train"])
@pytest.mark.parametrize("tables", ["in the batch", "beside the batches"])
@pytest.mark.parametrize("above", ["CheXpert-v1.0-small", "CheXpert-v1.0", "."])
def test_batches_of_newer_downloads_are_found(above: str, tables: str, between: str, root: Path) -> None:
    """Validation lies with the tables: ``CheXpert-v1.0 batch 1 (validate & csv)/valid/patient…``."""
    expected = ADAPTER.read(root, SPLIT)
    old = root / "CheXpert-v1.0-small"
    inside = root / above
    if above == "CheXpert-v1.0":
        old.rename(inside)
    elif above == ".":
        for path in old.iterdir():
            path.rename(root / path.name)
        old.rmdir()
    patients = sorted((inside / "train").iterdir())
    for number, part in enumerate((patients[:20], patients[20:]), start=2):
        folder = inside / f"CheXpert-v1.0 batch {number} (train {number - 1})" / between
        folder.mkdir(parents=True)
        for patient in part:
            patient.rename(folder / patient.name)
    (inside / "train").rmdir()
    first = inside / "CheXpert-v1.0 batch 1 (validate & csv)"
    first.mkdir()
    (inside / "valid").rename(first / "valid")
    if tables == "in the batch":
        for name in ("train.csv", "valid.csv"):
            (inside / name).rename(first / name)
    assert failures(root) == []
    found = ADAPTER.read(root, SPLIT)
    assert found.split_hashes() == expected.split_hashes() and len(ADAPTER.fingerprint(root)) == 64
    assert all((root / image).is_file() for image in found.cases["image"])


def test_cells_are_read_as_the_file_says_and_blanks_as_negative(root: Path) -> None:
    for value, expected in (("1.0", 1), ("0.0", 0), ("-1.0", -1), ("", 0)):
        path = change(root, 1, "Edema", value)
        cases = ADAPTER.read(root, SPLIT).cases.set_index("case")
        assert cases.at[path.split("/", 1)[1], "Edema"] == expected
    cells = ADAPTER.read(root, SPLIT).facts["label_cells"]
    assert sum(sum(part["Edema"].values()) for part in cells.values()) == 160
    assert cells["test"]["Edema"]["blank"] == 0 == cells["test"]["Edema"]["uncertain"]


def test_one_view_alone_keeps_the_same_validation_patients(pristine: Path) -> None:
    both = ADAPTER.read(pristine, SPLIT).cases
    parts = [ADAPTER.with_options({"views": v}).read(pristine, SPLIT).cases for v in ("frontal", "lateral")]
    together = pd.concat(parts).sort_values("case", ignore_index=True)
    pd.testing.assert_frame_equal(together, both)
    assert parts[0]["case"].str.endswith("_frontal.jpg").all() and len(parts[1]) > 5


def test_validation_is_drawn_by_patient_with_the_seed(pristine: Path) -> None:
    first, again = ADAPTER.read(pristine, SPLIT), ADAPTER.read(pristine, SPLIT)
    other = ADAPTER.read(pristine, SPLIT.model_copy(update={"seed": 1}))
    assert first.split_hashes() == again.split_hashes()
    assert first.split_hashes()["validation"] != other.split_hashes()["validation"]
    assert first.split_hashes()["test"] == other.split_hashes()["test"]
    assert first.cases.groupby("patient")["split"].nunique().max() == 1


def test_a_patient_in_train_and_test_fails(root: Path) -> None:
    path = change(root, 1, "Age", "50")
    line = table(root).read_text().splitlines()[1].replace("/train/", "/valid/")
    with table(root, "valid").open("a") as stream:
        stream.write(
            ",".join(f or "0.0" if i > 4 else f for i, f in enumerate(line.split(","))).replace("-1.0", "0.0") + "\n"
        )
    (root / path.replace("train", "valid")).parent.mkdir(parents=True)
    shutil.copy(root / path, root / path.replace("/train/", "/valid/"))
    assert any("in two splits (first: patient00001)" in text for text in failures(root))


@pytest.mark.parametrize(("column", "value", "said"), [
    ("Edema", "2", 'Edema is "2"; expected 1.0, 0.0, -1.0 or nothing'),
    ("Edema", "nan", 'Edema is "nan"'),
    ("Frontal/Lateral", "Oblique", 'Frontal/Lateral is "Oblique"'),
])  # fmt: skip
def test_an_unknown_cell_fails_and_names_the_image(column: str, value: str, said: str, root: Path) -> None:
    path = change(root, 3, column, value)
    (message,) = failures(root)
    assert said in message and path.split("/", 1)[1] in message
    with pytest.raises(DataError, match="expected"):
        ADAPTER.read(root, SPLIT)


@pytest.mark.parametrize("value", ["-1.0", ""])
def test_an_uncertain_or_empty_cell_in_the_test_file_fails(value: str, root: Path) -> None:
    change(root, 2, "Edema", value, "valid")
    (message,) = failures(root)
    assert "of Edema in" in message and "valid.csv" in message and "expected 1.0 or 0.0" in message


def test_all_failures_are_listed_each_with_its_file(root: Path) -> None:
    paths = sorted((root / "CheXpert-v1.0-small/train").rglob("*.jpg"))
    paths[0].unlink()
    paths[1].write_bytes(paths[1].read_bytes()[:200])
    paths[2].write_text("not an image")
    found = failures(root)
    assert len(found) == 3 and all(any(p.name in t and p.parts[-3] in t for t in found) for p in paths[:3])
    with pytest.raises(DataError, match="1 of 111 train images are not under"):
        ADAPTER.read(root, SPLIT)


@pytest.mark.parametrize(
    "path", ["CheXpert-v1.0-small/train/../../secret.jpg", "/etc/passwd", "train/patient1/view1_frontal.jpg", ""]
)
def test_a_path_that_is_none_of_the_data_set_is_refused(path: str, root: Path) -> None:
    change(root, 4, "Path", path)
    with pytest.raises(DataError, match=r"line 5 of .*train\.csv"):
        ADAPTER.read(root, SPLIT)


def test_a_row_listed_twice_fails(root: Path) -> None:
    with table(root).open("a") as stream:
        stream.write(table(root).read_text().splitlines()[1] + "\n")
    assert any("twice" in text for text in failures(root))


def test_a_missing_column_file_or_root_is_one_sentence(root: Path, tmp_path: Path) -> None:
    text = table(root).read_text()
    table(root).write_text(text.replace("Pleural Other", "Pleural_Other", 1))
    with pytest.raises(DataError, match="lacks the column Pleural Other"):
        ADAPTER.read(root, SPLIT)
    table(root, "valid").unlink()
    table(root).write_text(text)
    with pytest.raises(DataError, match=r"no valid\.csv"):
        ADAPTER.read(root, SPLIT)
    with pytest.raises(DataError, match=r"no (train|valid)\.csv"):
        ADAPTER.read(tmp_path, SPLIT)


def test_the_fingerprint_sees_labels_and_images_but_not_the_folder(root: Path, pristine: Path) -> None:
    before = ADAPTER.fingerprint(root)
    assert before == ADAPTER.fingerprint(pristine)
    change(root, 1, "Age", "51")
    assert ADAPTER.fingerprint(root) != before


def test_options_of_the_adapter_are_checked_when_the_entry_is_read() -> None:
    from tasks.configuration import resolve
    from tests.tasks.test_configuration import entry

    with pytest.raises(ConfigurationError, match="'all', 'frontal' or 'lateral'"):
        resolve(entry(adapter="chexpert", options={"cohort": {"adapter": {"views": "oblique"}}}), "smoke", {})
    with pytest.raises(ConfigurationError, match='did you mean "views"'):
        resolve(entry(adapter="chexpert", options={"cohort": {"adapter": {"view": "frontal"}}}), "smoke", {})
    with pytest.raises(ConfigurationError, match="views: unknown key; expected one of original_px"):
        resolve(entry(options={"cohort": {"adapter": {"views": "all"}}}), "smoke", {})


def trial(cohort: Path, folder: Path, plan: object, **changes: object):
    return run_trial(trial_spec("chexpert", plan, **changes), context(folder, cohort=cohort))


def test_fourteen_outputs_are_trained_and_five_scored(cohort: Path, tmp_path: Path) -> None:
    found = trial(cohort, tmp_path, plan_of("chexpert"))
    by_class = found.facts["auc_by_class"]
    assert found.arrays["predictions"].shape == (80, 14) and tuple(by_class) == LABELS
    assert by_class["Fracture"] is None
    assert found.values["auc"] == pytest.approx(np.mean([by_class[name] for name in SCORED]), abs=1e-12)
    assert found.values["scored_classes"] == 5
    assert found.arrays["resamples"].mean() == pytest.approx(found.values["auc"], abs=0.03)


def test_five_outputs_train_the_scored_five_alone(cohort: Path, tmp_path: Path) -> None:
    found = trial(cohort, tmp_path, plan_of("chexpert", outputs=5))
    assert found.arrays["predictions"].shape == (80, 5) and set(found.facts["auc_by_class"]) == set(SCORED)
    with pytest.raises(DataError, match=r"14 labels \(or 5, the scored ones\)"):
        trial(cohort, tmp_path, plan_of("chexpert", outputs=7))


def test_policies_give_different_models_and_a_missing_one_is_refused(cohort: Path, tmp_path: Path) -> None:
    aucs = {}
    for policy in ("ones", "zeros", "lsr_ones", "lsr_zeros", "ignore"):
        found = trial(cohort, tmp_path, plan_of("chexpert", uncertain=policy))
        aucs[policy] = (found.curve[0]["training_loss"], found.curve[-1]["validation_loss"])
    assert len(set(aucs.values())) == 5
    plan = plan_of("chexpert")
    plan.transfer.pop("uncertain")
    with pytest.raises(DataError, match="no policy"):
        trial(cohort, tmp_path, plan)


def test_the_manifest_counts_positives_without_the_uncertain(cohort: Path) -> None:
    pixels = Pixels(cohort)
    cells = pixels.manifest["facts"]["label_cells"]
    for part in ("train", "validation", "test"):
        for label in LABELS:
            assert pixels.manifest["counts"]["positives"][part][label] == cells[part][label]["positive"]


def test_a_supervised_reference_beats_a_label_shuffled_one(cohort: Path, tmp_path: Path) -> None:
    """The gate of a phantom: its labels can be learnt. Nothing here knows a method of the benchmark."""
    false = tmp_path / "false"
    shutil.copytree(cohort, false)
    cases = Pixels(cohort).cases
    rows = np.flatnonzero(cases["split"] != "test")
    mixed = np.random.Generator(np.random.PCG64(0)).permutation(rows)
    cases.loc[rows, list(LABELS)] = cases.loc[mixed, list(LABELS)].to_numpy()
    cases.to_csv(false / "cases.csv", index=False)
    plan = plan_of("chexpert", steps=60, evaluate_every=30, batch=32, metric={"resamples": 10})
    scores = {
        name: [trial(where, tmp_path, plan, repeat=r).values["auc"] for r in range(5)]
        for name, where in (("true", cohort), ("false", false))
    }
    assert ttest_ind(scores["true"], scores["false"], alternative="greater").pvalue < 1e-3
