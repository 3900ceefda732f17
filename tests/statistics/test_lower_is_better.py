"""A distance in millimetres, of which less is better, through the statistics that the runs go through."""

import math

import pytest
from scipy import stats

from harness.statistics.paper import Paper, PublishedNumber
from harness.statistics.summary import TaskFacts, summarise
from reports.render import wording
from tests.statistics.test_summary import FAMILIES, MARGINS, METHODS, TASKS, Folder, around, parameters

SURFACES = TaskFacts(label="Surfaces", metric="hd95", metrics=("hd95", "dice"))
WITH = {**TASKS, "surfaces": SURFACES}


class Distances(Folder):
    """A results folder with a task of its own that is judged in millimetres."""

    def __init__(self, root):
        super().__init__(root)
        self.cohorts["surfaces"] = {"synthetic": False, "stamp": "", "test_cases_published": True}

    def distances(self, method, millimetres, **more):
        recorded = [None if value is None else 100 * value for value in millimetres]  # the folder divides by 100
        self.cell(method, "surfaces", recorded, metric="hd95", **more)

    def contrast(self):
        cells, comparisons = self.summarise(tasks=WITH)
        (row,) = [row for row in comparisons if row.family == "added_dira"]
        return cells, row


@pytest.fixture
def folder(tmp_path):
    return Distances(tmp_path)


@pytest.mark.parametrize(
    ("mean", "sd", "expected", "mark"),
    [
        (5.0, 0.3, "better", "↑"),
        (11.0, 0.3, "worse", "↓"),
        (8.1, 0.1, "equivalent", "="),
        (8.1, 2.5, "unresolved", "*"),
    ],
)
def test_a_smaller_distance_is_better(folder, mean, sd, expected, mark):
    method, reference = around(mean, sd), around(8.0, sd)
    folder.distances("dira_moco_v2", method)
    folder.distances("moco_v2", reference)
    _, row = folder.contrast()
    assert row.finding == expected and wording.mark(row) == mark
    assert row.effect == pytest.approx(mean - 8.0)  # in millimetres, not multiplied by 100
    assert row.p == pytest.approx(stats.ttest_ind(method, reference).pvalue)
    assert row.margin == 1.0  # the metric's own, in millimetres: margins.yaml has no line for it


def test_the_smallest_mean_is_best_and_the_next_one_second(folder):
    for method, mean in (("moco_v2", 8.0), ("moco_v2_dir", 5.0), ("dira_moco_v2", 6.0)):
        folder.distances(method, around(mean, 0.3))
    cells, _ = folder.contrast()
    ranks = {c.method: (c.best, c.second) for c in cells if c.task == "surfaces" and c.mean is not None}
    assert ranks == {"moco_v2": (False, False), "moco_v2_dir": (True, False), "dira_moco_v2": (False, True)}


def test_a_method_whose_runs_are_all_nearer_improves_for_certain(folder):
    folder.distances("dira_moco_v2", around(5.0, 0.1))
    folder.distances("moco_v2", around(8.0, 0.1))
    folder.contrast()
    results = summarise(folder.root, METHODS, WITH, parameters(), FAMILIES, MARGINS, Paper([]))
    (view,) = [v for v in results.views if v.family == "added_dira" and v.method == "dira_moco_v2"]
    assert (view.estimate, view.low, view.high) == (1.0, 1.0, 1.0)


def test_both_near_zero_millimetres_is_the_floor_and_there_is_no_ceiling(folder):
    folder.distances("dira_moco_v2", around(0.5, 0.01))
    folder.distances("moco_v2", around(0.502, 0.01))
    assert folder.contrast()[1].finding == "at the floor"


def test_missing_runs_can_have_been_arbitrarily_far_and_the_table_says_so(folder):
    folder.distances("dira_moco_v2", [*around(5.0, 0.1, 9), None], statuses={9: "diverged"})
    folder.distances("moco_v2", around(8.0, 0.1))
    cells, row = folder.contrast()
    assert (row.finding, row.effect) == ("unresolved", None)
    assert row.finding_note.endswith("the effect lies between -3.50 and +inf mm")
    (cell,) = [c for c in cells if (c.method, c.metric) == ("dira_moco_v2", "hd95")]
    assert (cell.worst_low, cell.worst_high) == (pytest.approx(4.5), math.inf)
    assert wording.plain_interval(cell.worst_low, cell.worst_high) == "[4.50, ∞]"


def test_agreement_reads_the_direction_that_is_printed(folder):
    """The paper's gain of 3 mm is a fall; ours of 3 mm is reproduced, and a rise of 3 mm is different (higher)."""

    def printed(method, mean):
        return PublishedNumber(
            place="tab2", kind="score", method=method, reference="", task="montgomery", label_fraction=1.0,
            metric="hd95", delta=None, mean=mean, sd="0.1", printed_difference=None, arrow="", mark_imagenet="",
            mark_supervised="", n=10, note="",
        )  # fmt: skip

    paper = Paper([printed("dira_moco_v2", "5.0"), printed("moco_v2", "8.0")])
    assert paper.numbers[0].lower_is_better and paper.numbers[0].unit == "mm"
    said = {}
    for ours in (5.0, 11.0):
        folder.rows.clear()
        for method, mean in (("dira_moco_v2", ours), ("moco_v2", 8.0)):
            folder.cell(method, "montgomery", [100 * v for v in around(mean, 0.1)], metric="hd95")
        folder.summarise()
        tasks = {**TASKS, "montgomery": TaskFacts(label="Montgomery", metric="hd95", metrics=("hd95",))}
        found = summarise(folder.root, METHODS, tasks, parameters(), FAMILIES, MARGINS, paper)
        (row,) = [
            r for r in found.comparisons if (r.family, r.task, r.method) == ("fig4", "montgomery", "dira_moco_v2")
        ]
        said[ours] = row.finding, row.agreement
    assert said == {5.0: ("better", "reproduced"), 11.0: ("worse", "different (higher)")}


def test_millimetres_stand_beside_points_wherever_both_are_shown():
    assert wording.metric("auc") == "AUC" and wording.metric("hd95") == "HD95, mm"
    assert wording.units(["auc", "dice"]) == "points" and wording.units(["hd95"]) == "mm"
    assert "unit" in wording.units(["auc", "hd95"])
    assert wording.beside("dice") == "" and wording.beside("hd95") == ", mm"
    assert wording.beside("localization_10") == ", δ = 0.1"
