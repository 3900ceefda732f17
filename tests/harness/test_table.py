"""The one reader of trials/<method>.csv: a number that was changed, or that cannot be, never passes in silence."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest

from harness.errors import DataError
from harness.metrics import metric_of, out_of_bounds
from harness.results.files import parse_rows, table
from harness.results.table import COLUMNS, TrialRow, parse_trial_rows, read_trial_rows, trials_csv
from harness.spec import Status
from harness.store.seals import SEAL

ROOT = Path(__file__).resolve().parents[2]
VALUES = {"auc": 0.5349, "dice": 0.25, "scored_classes": 14.0, "localization_10": None, "iou": math.nan}


def rows(method="moco_v2", repeats=4):
    """Trials as the writer gives them."""
    return [
        TrialRow(
            method=method, task="chestxray14", label_fraction=1.0, pretrain_seed=0, repeat=repeat, metric=metric,
            value=value, status=Status.OK, labelled=3000, cohort="1e76cf9f1687", trial_id=f"{repeat:064x}",
        )
        for repeat in range(repeats)
        for metric, value in VALUES.items()
    ]  # fmt: skip


def older(text, *columns):
    """The text of a file as versions wrote it that had not these columns yet."""
    kept = [name for name in (*COLUMNS, SEAL) if name not in columns and name in text.partition("\n")[0].split(",")]
    return table(kept, [{name: row[name] for name in kept} for row in parse_rows(text)])


def read(text, tmp_path, method="moco_v2"):
    return parse_trial_rows(text, tmp_path / f"{method}.csv")


def numbers(found):
    return [(row.cell, row.pretrain_seed, row.repeat, row.metric, repr(row.value), row.status) for row in found]


def test_what_was_written_is_read_with_its_seals_and_without(tmp_path):
    text = trials_csv(rows())
    found = read(text, tmp_path)
    assert [row.text() for row in found] == [row.text() for row in rows()]
    assert all(row.sealed for row in found)
    old = read(older(text, SEAL), tmp_path)
    assert numbers(old) == numbers(found)
    assert not any(row.sealed for row in old)


def test_a_file_that_does_not_say_how_many_labels_there_were_is_read_and_keeps_its_seals(tmp_path):
    text = trials_csv(rows())
    old = read(older(text, "labelled"), tmp_path)
    assert numbers(old) == numbers(read(text, tmp_path)) and all(row.sealed for row in old)
    assert {row.labelled for row in old} == {None}
    again = trials_csv(old)  # as the writer hands adopted rows on
    assert [row["seal"] for row in parse_rows(again)] == [row["seal"] for row in parse_rows(text)]
    assert older(again, "labelled") == older(text, "labelled")


# A trial as results/miniature was committed before rows said how many labels there were.
COMMITTED = """method,task,label_fraction,pretrain_seed,repeat,metric,value,status,cohort,trial_id,seal
random_3d,luna16,1.0,0,0,auc,0.7487830687830688,ok,5b21ddb0b63c,{id},8618e01445ceaa99
random_3d,luna16,1.0,0,0,scored_classes,1.0,ok,5b21ddb0b63c,{id},8618e01445ceaa99
""".format(id="1f8fda10d9c5521bd968b5467620d9a60b49264a3887bb34918eba5fc3df09e3")


def test_a_seal_is_what_it_was_before_rows_said_how_many_labels_there_were(tmp_path):
    assert older(trials_csv(read(COMMITTED, tmp_path, method="random_3d")), "labelled") == COMMITTED


def test_every_committed_row_is_written_again_as_it_was_read():
    for path in sorted((ROOT / "results" / "miniature" / "trials").glob("random*.csv")):
        text = path.read_text()
        assert older(trials_csv(read_trial_rows(path)), "labelled") == older(text, "labelled")


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
        (",ok,3000,1e76cf9f1687,", ",ok,", "found fewer values than columns"),
        (",3000,", ",3000.0,", 'found labelled "3000.0"; expected a whole number from 0'),
        (",3000,", ",3001,", 'found labelled "3000" beside "3001" in the same trial'),
        (",ok,", ",ok,ok,", "found more values than columns"),
        (",value,", ",score,", "has no column value"),
    ],
)  # fmt: skip
def test_a_row_that_cannot_be_is_named_with_its_line_whether_it_is_sealed_or_not(tmp_path, old, new, found):
    text = older(trials_csv(rows()), SEAL)
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
    text = trials_csv(rows())
    head, _, tail = text.rpartition(old)
    edited = head + new + tail if old != "00003" else text.replace(old, new)  # an id stands in each of its rows
    with pytest.raises(DataError, match=r"chestxray14 at label fraction 1\.0, .*repeat 3 was edited"):
        read(edited, tmp_path)


def test_no_change_of_a_character_changes_a_number_in_silence(tmp_path):
    """1,500 files with one character replaced, put in, or left out: refused, or read as it was."""
    text = trials_csv(rows())
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
    assert all(metric_of(name).counts for name in ("scored_classes", "localization_boxes"))
