"""Whatever stands in a label or box file: it is read for what it says, or one sentence tells what is wrong."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.errors import DataError
from tasks.datasets.chestxray14 import adapter as chestxray14
from tasks.datasets.chestxray14 import phantom as chestxray14_phantom
from tasks.datasets.chexpert import adapter as chexpert
from tasks.datasets.chexpert import phantom as chexpert_phantom

WORDS = st.one_of(
    st.text(max_size=12),
    st.text("0123456789.-+eE naif", max_size=8),
    st.sampled_from(
        ["", "nan", "inf", "-1", "1e999", "0", "12.5", "Mass", "Infiltrate", "No Finding", "Mass|No Finding"]
    ),
)
SIDE = 48
FUZZ = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def nih(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("nih")
    chestxray14_phantom.write(root, {"seed": 5, "train": 30, "validation": 10, "test": 20, "file_px": SIDE})
    return root


@pytest.fixture(scope="module")
def stanford(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("stanford")
    chexpert_phantom.write(root, {"seed": 7, "train": 30, "test": 20, "file_px": (32, 40)})
    return root


@contextmanager
def changed(path: Path, text: str) -> Iterator[None]:
    before = path.read_bytes()
    path.write_text(text, encoding="utf-8", newline="")
    try:
        yield
    finally:
        path.write_bytes(before)


def line(fields: list[str]) -> str:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerow(fields)
    return stream.getvalue()


def refused(adapter, root: Path) -> list[str]:
    """Return the sentences that refuse a data set; anything but a sentence is an error of the test."""
    try:
        found = adapter.verify(root, published=False, decode=False)
    except DataError as error:
        assert str(error).strip()
        return [str(error)]
    return [finding.message for finding in found if finding.level == "fail"]


def number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


@FUZZ
@given(st.lists(WORDS, min_size=4, max_size=4), st.one_of(WORDS, st.sampled_from(chestxray14.LABELS)))
def test_a_box_is_inside_its_image_or_refused(nih: Path, numbers: list[str], label: str) -> None:
    test = (nih / chestxray14.TEST_LIST).read_text().split()[0]
    path = nih / chestxray14.BOX_FILE
    boxes = path.read_text().splitlines()[0] + "\n" + line([test, label, *numbers])
    with changed(path, boxes):
        said = refused(chestxray14.ADAPTER, nih)
    x, y, width, height = map(number, numbers)
    known = chestxray14.BOX_SPELLING.get(label.strip(), label.strip()) in chestxray14.LABELS
    legal = known and x >= 0 and y >= 0 and width > 0 and height > 0 and x + width <= SIDE and y + height <= SIDE
    assert bool(said) is not legal, said


@FUZZ
@given(WORDS, WORDS)
def test_a_row_of_labels_is_understood_or_refused(nih: Path, labels: str, patient: str) -> None:
    path = next(nih.rglob("Data_Entry*.csv"))
    rows = list(csv.reader(io.StringIO(path.read_text())))
    header = [name.strip() for name in rows[0]]
    rows[1][header.index("Finding Labels")] = labels
    with changed(path, "".join(line(row) for row in rows)):
        said = refused(chestxray14.ADAPTER, nih)
        words = {part.strip() for part in labels.split("|")}
        legal = words <= {*chestxray14.LABELS, chestxray14.NO_FINDING} and (
            chestxray14.NO_FINDING not in words or len(words) == 1
        )
        assert bool(said) is not legal, said
        if legal:
            (row,) = [row for row in chestxray14.read_labels(path).itertuples() if row.case == rows[1][0]]
            assert {label for label in chestxray14.LABELS if getattr(row, label)} == words - {chestxray14.NO_FINDING}
    rows[1][header.index("Patient ID")] = patient
    with changed(path, "".join(line(row) for row in rows)):
        refused(chestxray14.ADAPTER, nih)


@FUZZ
@given(st.data())
def test_a_cell_of_chexpert_is_one_of_four_or_refused(stanford: Path, data: st.DataObject) -> None:
    path = next(stanford.rglob("train.csv"))
    rows = list(csv.reader(io.StringIO(path.read_text())))
    label = data.draw(st.sampled_from(chexpert.LABELS))
    cell = data.draw(st.one_of(WORDS, st.sampled_from(["1.0", "0.0", "-1.0", "1", "0"])))
    rows[data.draw(st.integers(1, len(rows) - 1))][[name.strip() for name in rows[0]].index(label)] = cell
    with changed(path, "".join(line(row) for row in rows)):
        said = refused(chexpert.ADAPTER, stanford)
    if not said:
        assert not cell.strip() or number(cell.strip()) in (1.0, 0.0, -1.0), cell
    else:
        assert cell not in ("", "1.0", "0.0", "-1.0"), said


@FUZZ
@given(st.one_of(WORDS, st.text("CheXpert-v1.0/trainvalidpatient0123456789studyview_frontal.jpg", max_size=60)))
def test_a_path_of_chexpert_is_an_image_of_the_tree_or_refused(stanford: Path, text: str) -> None:
    path = next(stanford.rglob("train.csv"))
    rows = list(csv.reader(io.StringIO(path.read_text())))
    rows[1][0] = text
    with changed(path, "".join(line(row) for row in rows)):
        assert refused(chexpert.ADAPTER, stanford)
