"""The report says how many test images a pretraining has seen, and what leaving them out changes."""

from __future__ import annotations

import json
import re

import pytest

from harness.results.leakage import Leak
from harness.typed_csv import write_rows
from reports.render import build
from reports.render.leakage import without_twins
from tests.reports.fixture_results import PARAMETERS, TASKS
from tests.reports.test_render import prepare


def leak(pretraining, split, images, with_twin, below):
    return Leak(
        pretraining_cohort=pretraining, pretraining_cohort_id="a", task="chestxray14", cohort_id="b", split=split,
        images=images, with_twin=with_twin, threshold=0.99, below=below,
    )  # fmt: skip


LEAKS = [
    leak("chestxray14", "train", 700, 80, 0.981),
    leak("chestxray14", "test", 300, 27, 0.9861),
    leak("montgomery", "test", 300, 0, 0.95),
]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A method "mine" with the phases of MoCo-v2, pretrained on images that hold no twin."""
    results, reports, methods = prepare(tmp_path_factory.mktemp("r"), synthetic=False, added={"mine": "Mine, no twins"})
    folder = results / "miniature" / "pretraining"
    base = json.loads((folder / "moco_v2.json").read_text())
    for name, cohort in (("moco_v2", "chestxray14"), ("mine", "montgomery")):
        (folder / f"{name}.json").write_text(json.dumps({**base, "method": name, "cohorts": [cohort]}))
    write_rows(results / "miniature" / "leakage.csv", Leak, LEAKS)
    build(results, reports, "miniature", parameters=PARAMETERS, methods=methods, tasks=TASKS)
    page = (reports / "miniature" / "report.html").read_text()
    return page[page.index('<section id="overlaps">') : page.index('<section id="pretraining">')]


def test_number_share_and_method_are_told(built):
    for text in ("27 of 300 (9.0 %)", "107 of 1000 (10.7 %)", "0 of 300 (0.0 %)", "0.986", "correlation above 0.99"):
        assert text in built, text


def test_the_contrasts_with_and_without_twins_are_shown_and_no_others(built):
    shown = set(re.findall(r"<a href=\"#[^\"]*\">([^<]*)</a>", built))
    assert shown == {"Mine, no twins − MoCo-v2"}
    assert built.count('<span class="finding') >= 2


def test_without_a_count_nothing_is_claimed():
    assert without_twins([], [], {}) == []
