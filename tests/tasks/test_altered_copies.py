"""An altered copy of a data set is read right, refused in one sentence, or warned about: no number changes in silence.

``nox -s fuzz`` judges 1,200; here each data set has a seeded few of each kind of alteration.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("nibabel")
pytest.importorskip("SimpleITK")
pytest.importorskip("pydicom")

from tests.tasks.altered.__main__ import prepared
from tests.tasks.altered.judging import FAULT, READ, REFUSED, Content, DataSet, judge
from tests.tasks.altered.sets import data_sets

HERE = 7  # alterations of each data set
MUST_READ = {
    "litter", "in_a_folder_of_its_name", "nested", "deeper", "upper_case", "float32", "float64", "int32", "big_endian",
    "one_frame", "reoriented", "as_float", "as_int32", "compressed", "renamed", "packed", "in_a_tree", "lines",
}  # fmt: skip
MUST_REFUSE = {
    "complex", "two_frames", "flat", "infinite", "tilted", "off_line", "off_place", "gap", "strange", "undecodable",
    "vector", "too_short", "too_long", "sixteen_bits", "cropped",
}  # fmt: skip
ELSEWHERE = {"in_a_folder_of_its_name", "nested", "deeper"}
BY_PATH = {"chexpert", "luna16", "pe_cad"}  # a table names paths, or a header names the data beside it
Prepared = tuple[DataSet, Path, Content]


@pytest.fixture(scope="module", params=sorted(data_sets()))
def data(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prepared]:
    found = data_sets()[request.param]
    folder = tmp_path_factory.mktemp("altered") / found.name
    logging.disable(logging.ERROR)  # the libraries' remarks on what was altered
    yield found, folder, prepared(found, folder)
    logging.disable(logging.NOTSET)


@pytest.mark.thorough
def test_a_seeded_few_alterations_change_no_number_in_silence(data: Prepared) -> None:
    found, folder, before = data
    names = sorted(found.alterations)
    chosen = np.random.Generator(np.random.PCG64(len(names))).permutation(names)[:HERE]
    outcomes = {name: judge(found, folder, before, str(name), seed) for seed, name in enumerate(chosen)}
    assert {name: verdict.said for name, verdict in outcomes.items() if verdict.outcome == FAULT} == {}
    assert len({verdict.outcome for verdict in outcomes.values()}) > 1, "some are read, some are refused"


def test_what_is_the_same_data_is_read_and_what_cannot_be_read_is_refused(data: Prepared) -> None:
    found, folder, before = data
    wrong = {}
    certain = (MUST_READ | MUST_REFUSE) - (ELSEWHERE if found.name in BY_PATH else set())
    for seed, name in enumerate(sorted(certain & found.alterations.keys())):
        verdict = judge(found, folder, before, name, seed)
        if verdict.outcome == FAULT or (verdict.outcome == REFUSED) is not (name in MUST_REFUSE):
            wrong[name] = verdict
    assert wrong == {}


def test_the_judge_itself_notices_a_number_that_changed_in_silence(data: Prepared) -> None:
    """An adapter that reads another voxel or pixel without a word is a fault: the oracle can fail."""
    found, folder, before = data

    def forgetful(root: Path, generator: np.random.Generator) -> str:
        return "nothing"

    case = min(before.cases)
    wrong = Content({**before.cases, case: ("another row",)}, before.warnings)
    changed = DataSet(found.name, found.adapter, found.split, found.write, {"x": forgetful}, found.patches)
    assert judge(changed, folder, before, "x", 0).outcome == READ
    assert judge(changed, folder, wrong, "x", 0).outcome == FAULT
    broken: Any = DataSet(found.name, None, found.split, found.write, {"x": forgetful}, found.patches)
    assert judge(broken, folder, before, "x", 0).outcome == FAULT
