from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.errors import ConfigurationError, DataError
from tasks.cohorts.build import build
from tasks.configuration import resolve
from tasks.datasets.chestxray14 import phantom as chestxray14
from tasks.datasets.chexpert import phantom as chexpert
from tasks.datasets.lits import phantom as lits
from tasks.datasets.luna16 import phantom as luna16
from tasks.datasets.opening import open_adapter, read_index
from tasks.datasets.siim_acr import phantom as siim_acr
from tasks.layouts.lists import describe_list
from tests.tasks.conftest import cohort_of, context
from tests.tasks.test_configuration import entry

DATA = {
    "chestxray14": (chestxray14.write, {"seed": 5, "train": 40, "validation": 10, "test": 20, "file_px": 32}, {}),
    "chexpert": (chexpert.write, {"seed": 5, "train": 60, "test": 20, "file_px": (32, 36)}, {}),
    "siim_acr": (
        siim_acr.write,
        {"seed": 5, "images": 30, "file_px": 32},
        {"transfer": "segmentation", "outputs": 1, "metric": "dice", "split": "random"},
    ),
}
LISTS = {"train": "lists/train.csv", "validation": "lists/validation.txt", "test": "lists/test.txt"}


def plan(task: str, root: Path, lists: dict[str, str]):
    options = {"cohort": {"cache_px": 32, "lists": lists}}
    return resolve(entry(adapter=task, options=options, **DATA[task][2]), "paper", {"mine": root})


@pytest.fixture(params=list(DATA))
def data(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path, dict[str, list[str]]]:
    """A data set with three lists of someone's own, in three styles of writing."""
    task, root = request.param, tmp_path / "root"
    root.mkdir()
    DATA[task][0](root, DATA[task][1])
    resolved = resolve(entry(adapter=task, **DATA[task][2]), "paper", {"mine": root})
    index = index_of(resolved.cohort, root)
    parts: dict[str, list[str]] = {"train": [], "validation": [], "test": []}
    for number, (_, group) in enumerate(index.cases.groupby("patient")):
        part = ("train", "train", "validation", "test")[number % 4]
        certain = (group[list(index.labels)] >= 0).all(axis=1)  # others must not be tested on
        parts[part] += group.loc[certain | (part != "test"), "case"].tolist()
    parts["train"] = parts["train"][:-1]  # a case in no list is left out
    (root / "lists").mkdir()
    lines = [f"some-mirror/{name},Female,1.0" for name in parts["train"]]
    (root / LISTS["train"]).write_text("\n".join(["Path,Sex,Label", *lines]) + "\n")
    (root / LISTS["validation"]).write_text("\n".join(f"{name} 0 1 0 1" for name in parts["validation"]) + "\n")
    bare = [name.removesuffix(".png").removesuffix(".jpg") for name in parts["test"]]
    (root / LISTS["test"]).write_text("\n".join(bare) + "\n")
    return task, root, parts


def test_lists_of_the_users_own_are_used_and_named_in_the_manifest(
    data: tuple[str, Path, dict[str, list[str]]], tmp_path: Path
) -> None:
    task, root, parts = data
    resolved = plan(task, root, LISTS)
    assert resolved.unavailable is None and not resolved.split_published
    assert str(tmp_path) not in json.dumps(resolved.cohort)
    folder = tmp_path / "cohort"
    folder.mkdir()
    here = context(folder)
    made = build(
        {"task": "mine", "configuration": resolved.cohort},
        type(here)("cpu", folder, {}, folder, data_roots={"mine": root}),
    )
    from harness.pixels import Pixels

    cases = Pixels(folder).cases
    assert {part: sorted(frame["case"]) for part, frame in cases.groupby("split")} == {
        part: sorted(names) for part, names in parts.items()
    }
    assert {part: given["file"] for part, given in made.facts["lists"].items()} == LISTS
    assert "lists given by the user, train: lists/train.csv (sha256" in made.facts["split_rule"]
    assert not made.facts["split_published"]


def test_lists_are_identity_by_content(data: tuple[str, Path, dict[str, list[str]]]) -> None:
    task, root, _ = data
    before = plan(task, root, LISTS)
    path = root / LISTS["train"]
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")
    assert plan(task, root, LISTS).cohort["lists"] != before.cohort["lists"]
    with pytest.raises(DataError, match="changed since it was planned"):
        index_of(before.cohort, root)


@pytest.mark.parametrize(("part", "text", "said"), [
    ("test", "nobody.png\n", 'names "nobody.png", which the data set does not hold'),
    ("validation", "", "names no image"),
    ("test", None, "are in two splits|is in the lists of"),
])  # fmt: skip
def test_lists_that_do_not_fit_are_one_sentence(
    part: str, text: str | None, said: str, data: tuple[str, Path, dict[str, list[str]]]
) -> None:
    task, root, parts = data
    (root / LISTS[part]).write_text(parts["train"][0] + "\n" if text is None else text)
    resolved = plan(task, root, LISTS)
    with pytest.raises(DataError, match=said):
        index_of(resolved.cohort, root)


def test_an_official_test_set_stays_where_no_list_for_it_is_given(tmp_path: Path) -> None:
    chexpert.write(tmp_path, DATA["chexpert"][1])
    cases = index_of(plan_without_lists(tmp_path).cohort, tmp_path).cases
    names = cases.loc[cases["split"] != "test", "case"].tolist()
    patients = sorted(cases.loc[cases["split"] != "test", "patient"].unique())
    held = set(patients[:3])
    (tmp_path / "a.txt").write_text("\n".join(n for n in names if n.split("/")[1] not in held))
    (tmp_path / "b.txt").write_text("\n".join(n for n in names if n.split("/")[1] in held))
    resolved = plan("chexpert", tmp_path, {"train": "a.txt", "validation": "b.txt"})
    assert resolved.split_published
    index = index_of(resolved.cohort, tmp_path)
    assert (index.cases["split"] == "test").sum() == 20 and index.split_rule.endswith("test as the data set says")


def plan_without_lists(root: Path):
    return resolve(entry(adapter="chexpert"), "paper", {"mine": root})


def index_of(said, root: Path):
    cohort = cohort_of(said)
    return read_index(open_adapter(cohort), root, cohort)


def test_an_absent_list_makes_the_task_unavailable_and_a_malformed_entry_is_an_error(tmp_path: Path) -> None:
    chexpert.write(tmp_path, DATA["chexpert"][1])
    assert "no list" in plan("chexpert", tmp_path, LISTS).unavailable
    for lists, said in (
        ({"train": str(tmp_path / "a"), "validation": "b"}, "relative to the data root"),
        ({"train": "a"}, "no list for validation"),
        ({"train": "a", "valid": "b"}, 'did you mean "validation"'),
        (["a", "b"], "expected {train: PATH"),
    ):
        with pytest.raises(ConfigurationError, match=said):
            plan("chexpert", tmp_path, lists)


def test_phantoms_have_lists_of_their_own() -> None:
    resolved = resolve(entry(adapter="chexpert", options={"cohort": {"lists": LISTS}}), "smoke", {})
    assert "lists" not in resolved.cohort and resolved.unavailable is None


VOLUMES = {
    "luna16": (luna16.write, {"seed": 3, "scans": 1, "voxels": [64, 44, 40]}, {}),
    "lits": (lits.write, {"seed": 1, "train": 6, "validation": 2, "test": 3, "shape": [24, 24, 8]}, {}),
}
STYLES = {  # how a line names the cases of a scan: (case, patient, image) -> text
    "case": lambda case, patient, image: case,
    "scan": lambda case, patient, image: case.split("/")[0],
    "patient": lambda case, patient, image: patient,
    "file": lambda case, patient, image: f"{image},1",
}


def given(root: Path, lines: dict[str, list[str]], adapter: str, options: dict | None = None) -> dict:
    """The configuration of a cohort of patches with these lists."""
    for part, names in lines.items():
        (root / f"{part}.csv").write_text("\n".join(["seriesuid", *names]) + "\n")
    split = {"rule": "official", "test_fraction": None, "validation_fraction": 0.1, "seed": 99}
    lists = {part: describe_list(root, f"{part}.csv") for part in lines}
    cohort = {"adapter": adapter, "split": split, "patches": {"shape": [8, 8, 8], "store": "uint8"}, "lists": lists}
    return {**cohort, "adapter_options": options} if options else cohort


def swapped(root: Path, adapter: str, style: str, options: dict | None) -> tuple[dict, dict[str, set[str]]]:
    """Lists in which the data set's validation and test cases change places, in a style of naming."""
    cohort = given(root, {}, adapter, options)
    del cohort["lists"]
    cases = index_of(cohort, root).cases
    other = {"train": "train", "validation": "test", "test": "validation"}
    named: dict[str, list[str]] = {part: [] for part in other}
    expected: dict[str, set[str]] = {part: set() for part in other}
    for row in cases.itertuples(index=False):
        named[other[row.split]].append(STYLES[style](row.case, row.patient, row.image))
        expected[other[row.split]].add(row.case)
    return given(root, {part: sorted(set(n)) for part, n in named.items()}, adapter, options), expected


@pytest.mark.parametrize("style", list(STYLES))
@pytest.mark.parametrize("task", list(VOLUMES))
def test_in_3d_a_list_may_name_cases_scans_patients_or_files(task: str, style: str, tmp_path: Path) -> None:
    pytest.importorskip("SimpleITK" if task == "luna16" else "nibabel")
    write, options, _ = VOLUMES[task]
    write(tmp_path, options)
    thinned = {"negatives_per_positive": None} if task == "luna16" else None
    cohort, expected = swapped(tmp_path, task, style, thinned)
    index = index_of(cohort, tmp_path)
    assert {part: set(of["case"]) for part, of in index.cases.groupby("split")} == expected
    assert "volumes" not in index.facts and index.cases.groupby("patient")["split"].nunique().max() == 1


def test_in_3d_a_list_may_name_a_scan_without_a_case_but_not_such_scans_alone(tmp_path: Path) -> None:
    pytest.importorskip("SimpleITK")
    luna16.write(tmp_path, VOLUMES["luna16"][1])
    cohort, expected = swapped(tmp_path, "luna16", "scan", {"negatives_per_positive": None})
    table = tmp_path / "candidates.csv"
    uid = sorted(case.split("/")[0] for case in expected["train"])[0]
    lines = table.read_text().splitlines()
    table.write_text("\n".join(line for line in lines if not line.startswith(uid)) + "\n")
    index = index_of(cohort, tmp_path)
    assert uid in index.without_cases and not index.cases["case"].str.startswith(uid).any()
    (tmp_path / "train.csv").write_text(uid + "\n")
    cohort["lists"]["train"] = describe_list(tmp_path, "train.csv")
    with pytest.raises(DataError, match="names scans without a case alone; expected train cases"):
        index_of(cohort, tmp_path)
    (tmp_path / "train.csv").write_text("1.2.3.4\n")
    cohort["lists"]["train"] = describe_list(tmp_path, "train.csv")
    with pytest.raises(DataError, match='names "1.2.3.4", which the data set does not hold'):
        index_of(cohort, tmp_path)


def test_a_test_list_of_thinned_scans_is_one_sentence_that_says_what_to_write(tmp_path: Path) -> None:
    pytest.importorskip("SimpleITK")
    luna16.write(tmp_path, VOLUMES["luna16"][1])
    cohort, _ = swapped(tmp_path, "luna16", "scan", {"negatives_per_positive": 10})
    with pytest.raises(DataError, match=r"are thinned; .* \{negatives_per_positive: null\}"):
        index_of(cohort, tmp_path)


def test_a_test_list_with_uncertain_labels_is_one_sentence_and_facts_of_the_own_split_go(tmp_path: Path) -> None:
    chexpert.write(tmp_path, DATA["chexpert"][1])
    own = index_of(plan_without_lists(tmp_path).cohort, tmp_path)
    cases = own.cases[own.cases["split"] != "test"]
    patients = sorted(cases["patient"].unique())
    unsure = cases[(cases[list(own.labels)] == -1).any(axis=1)]["patient"].iloc[0]
    sure = cases.groupby("patient")[list(own.labels)].min().min(axis=1) >= 0
    for held in (unsure, sure.index[sure][0]):
        rest = [patient for patient in patients if patient != held]
        parts = {"train": rest[1:], "validation": rest[:1], "test": [held]}
        for part, names in parts.items():
            (tmp_path / f"{part}.txt").write_text("\n".join(cases.loc[cases["patient"].isin(names), "case"]))
        resolved = plan("chexpert", tmp_path, {part: f"{part}.txt" for part in parts})
        if held == unsure:
            with pytest.raises(DataError, match=r"test.txt names \d+ images with an uncertain .* expected 1 or 0"):
                index_of(resolved.cohort, tmp_path)
        else:
            facts = index_of(resolved.cohort, tmp_path).facts
            assert "label_cells" in own.facts and "label_cells" not in facts and facts["views"] == "all"
