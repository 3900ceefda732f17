"""What the files of results tell, typed: whole for a page, and of each part what it says in the form expected."""

import json

import pytest

from harness.descriptions import CohortDescription
from harness.errors import DataError
from harness.results.descriptions import read_cohort, read_pretraining


def test_a_manifest_of_another_form_says_nothing_where_it_differs_and_is_kept_whole():
    given = {"scale": "64 px", "image_px": 64, "validation_units": "many", "counts": [3], "own": {"a": 1}}
    told = CohortDescription.model_validate(given)
    assert (told.validation_units, told.counts.boxes, told.setting) == (None, 0, "64 px")
    assert told.whole == given


def test_the_scores_of_an_empty_model_are_what_stands_beside_its_counts():
    told = CohortDescription.model_validate({"always_empty": {"dice": 0.75, "empty_masks": 9, "test_images": 12}})
    assert (told.always_empty.empty_masks, told.always_empty.scores) == (9, {"dice": 0.75})


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("[]", "cannot be read as"),
        ("{", "cannot be read as"),
        (json.dumps({"method": "a"}), "pretraining_seeds: missing"),
    ],
)
def test_a_damaged_pretraining_is_one_sentence_with_its_file(tmp_path, given, words):
    path = tmp_path / "a.json"
    path.write_text(given)
    with pytest.raises(DataError, match=words) as error:
        read_pretraining(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_a_manifest_that_is_no_mapping_is_refused(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("3")
    with pytest.raises(DataError, match="a cohort's manifest"):
        read_cohort(path)
