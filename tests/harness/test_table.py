"""The one reader of trials/<method>.csv: a number that was changed, or that cannot be, never passes in silence."""

from __future__ import annotations

import math
import random

import pytest

from harness.errors import DataError
from harness.results.files import table
from harness.results.table import COLUMNS, TRIAL_COLUMNS, parse_trial_rows, sealed
from harness.spec import COUNTS, out_of_bounds

VALUES = {"auc": 0.5349, "dice": 0.25, "scored_classes": 14.0, "localization_10": None, "iou": math.nan}


def rows(method="moco_v2", repeats=4):
    """Trials as the writer gives them to ``sealed``."""
    return [
        {
            "method": method, "task": "chestxray14", "label_fraction": "1.0", "pretrain_seed": "0",
            "repeat": str(repeat), "metric": metric, "value": "" if value is None else repr(value), "status": "ok",
            "cohort": "1e76cf9f1687", "trial_id": f"{repeat:064x}",
        }
        for repeat in range(repeats)
        for metric, value in VALUES.items()
    ]  # fmt: skip


def read(text, tmp_path, method="moco_v2"):
    return parse_trial_rows(text, tmp_path / f"{method}.csv")


def numbers(found):
    return [(row.cell, row.pretrain_seed, row.repeat, row.metric, repr(row.value), row.status) for row in found]


def test_what_was_written_is_read_with_its_seals_and_without(tmp_path):
    found = read(table(TRIAL_COLUMNS, sealed(rows())), tmp_path)
    assert [dict(row.text) for row in found] == rows()
    assert all(row.sealed for row in found)
    old = read(table(COLUMNS, rows()), tmp_path)
    assert numbers(old) == numbers(found)
    assert not any(row.sealed for row in old)


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        (",auc,0.5349,", ",auc,53.49,", "found auc = 53.49, expected a fraction from 0 to 1; a percentage is divided"),
        (",auc,0.5349,", ",auc,1.9349,", "found auc = 1.9349, expected a fraction from 0 to 1"),
        (",auc,0.5349,", ",auc,-0.1,", "found auc = -0.1"),
        (",auc,0.5349,", ",auc,0_5,", 'found value "0_5"'),
        (",auc,0.5349,", ",auc,1e400,", 'found value "1e400"'),
        (",auc,0.5349,", ",auc,inf,", 'found value "inf"'),
        (",auc,0.5349,", ",auc,NaN,", 'found value "NaN"'),
        (",auc,0.5349,", ",auc, 0.5349,", 'found value " 0.5349"'),
        (",auc,0.5349,", ",auc,0.53490,", 'found value "0.53490"'),
        (",auc,0.5349,", ",auc,٠.٥,", "found value"),
        (",scored_classes,14.0,", ",scored_classes,-1.0,", "found scored_classes = -1.0, expected a number from 0"),
        ("1.0,0,0,auc", "1.0,0,-1,auc", 'found repeat "-1"; expected a whole number from 0'),
        ("1.0,0,0,auc", "1.0,0,00,auc", 'found repeat "00"'),
        ("1.0,0,0,auc", "1.0,0,²,auc", "found repeat"),
        ("1.0,0,0,auc", "1.0,0.0,0,auc", 'found pretrain_seed "0.0"'),
        ("1.0,0,0,auc", "100,0,0,auc", 'found label_fraction "100"'),
        ("1.0,0,0,auc", "100.0,0,0,auc", "found label_fraction 100.0; expected one above 0, up to 1"),
        ("1.0,0,0,dice", "1.0,0,0,auc", "auc of this trial stands twice"),
        ("moco_v2,", "moco_v2_dir,", 'found method "moco_v2_dir"; expected "moco_v2" alone'),
        (",ok,", ",okay,", 'found status "okay"'),
        (",ok,", ",failed,", "found a value beside status failed"),
        (",1e76cf9f1687,", ",1e76cf9f1688,", 'found cohort "1e76cf9f1687" beside "1e76cf9f1688" in the same trial'),
        (",ok,1e76cf9f1687,", ",ok,", "found fewer values than columns"),
        (",ok,", ",ok,ok,", "found more values than columns"),
        (",value,", ",score,", "has no column value"),
    ],
)  # fmt: skip
def test_a_row_that_cannot_be_is_named_with_its_line_whether_it_is_sealed_or_not(tmp_path, old, new, found):
    text = table(COLUMNS, rows())
    assert old in text
    with pytest.raises(DataError) as refused:
        read(text.replace(old, new, 1), tmp_path)
    assert found in str(refused.value)
    assert "moco_v2.csv" in str(refused.value)
    assert new == ",score," or ", line " in str(refused.value) or "column" in str(refused.value)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (",auc,0.5349,", ",auc,0.5348,"),
        (",iou,nan,", ",iou,0.5,"),
        (",localization_10,,", ",localization_10,0.5,"),
        ("00003", "00004"),
    ],
)
def test_a_seal_tells_which_trial_was_edited(tmp_path, old, new):
    text = table(TRIAL_COLUMNS, sealed(rows()))
    head, _, tail = text.rpartition(old)
    edited = head + new + tail if old != "00003" else text.replace(old, new)  # an id stands in each of its rows
    with pytest.raises(DataError, match=r"chestxray14 at label fraction 1\.0, .*repeat 3 was edited"):
        read(edited, tmp_path)


def test_no_change_of_a_character_changes_a_number_in_silence(tmp_path):
    """1,500 files with one character replaced, put in, or left out: refused, or read as it was."""
    text = table(TRIAL_COLUMNS, sealed(rows()))
    whole, rng = numbers(read(text, tmp_path)), random.Random(0)
    refused = 0
    for _ in range(1500):
        place, letter = rng.randrange(len(text)), rng.choice("0123456789abcdefnk_.,-+ \"'\n\r\0é")
        kind = rng.choice(("replace", "insert", "delete"))
        cut = place + (kind != "insert")
        edited = text[:place] + ("" if kind == "delete" else letter) + text[cut:]
        try:
            found = numbers(read(edited, tmp_path))
        except DataError:
            refused += 1
        else:
            assert found == whole, (kind, place, letter)
    assert refused > 1300


@pytest.mark.parametrize(
    ("metric", "value", "stands"),
    [
        ("auc", 0.0, True), ("auc", 1.0, True), ("dice", 1.0 + 1e-12, True), ("dice", 1.0 + 1e-6, False),
        ("auc", math.nan, True), ("auc", math.inf, False), ("auc", -math.inf, False), ("iou", -1e-12, True),
        ("localization_boxes", 4.47, True), ("localization_boxes", -0.5, False), ("scored_classes", math.inf, False),
    ],
)  # fmt: skip
def test_bounds_are_those_of_the_metric(metric, value, stands):
    assert (out_of_bounds(metric, value) == "") is stands
    assert {"scored_classes", "localization_boxes"} == COUNTS
