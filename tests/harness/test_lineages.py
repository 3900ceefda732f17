"""What two cells share is read from the specifications of their trials."""

import pytest

from harness.lineages import lineages
from harness.published import CellKey
from harness.statistics.trials import TrialIndex
from tests.harness import project


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return project.copy(tmp_path_factory.mktemp("project"))


def runs(found, method, task, fraction=1.0, seed=0, repeat=3):
    return found[CellKey(method, task, fraction)][TrialIndex(seed, repeat)]


def test_subsets_are_shared_only_where_they_are_drawn_for_each_repeat(root):
    found = lineages(project.plan(root))
    at_one_percent = [runs(found, method, "montgomery", 0.01) for method in ("random", "moco_v2", "dira_moco_v2")]
    assert len({run.subset for run in at_one_percent}) == 1
    assert at_one_percent[0].subset
    assert runs(found, "moco_v2", "montgomery", 0.01, repeat=4).subset != at_one_percent[0].subset
    assert runs(found, "moco_v2", "montgomery", 1.0).subset == ""  # every label: nothing was drawn
    assert runs(found, "moco_v2", "chestxray14", 0.01).subset == ""  # one subset for all repeats


def test_draws_are_shared_under_the_shared_seed_plan_alone(root):
    for plan, same in (("independent", False), ("shared", True)):
        found = lineages(project.plan(root, seed_plan=plan))
        draws = {runs(found, method, "chestxray14").draws for method in ("random", "moco_v2", "dira_moco_v2")}
        assert (len(draws) == 1) is same


def test_methods_that_grow_from_one_phase_share_an_ancestor_and_no_encoder(root):
    found = lineages(project.plan(root, pretrain_seeds=2))
    res, dira, base = (runs(found, name, "chestxray14", seed=1) for name in ("moco_v2_dir", "dira_moco_v2", "moco_v2"))
    assert res.ancestors & dira.ancestors
    assert res.encoder != dira.encoder
    assert not base.ancestors & dira.ancestors  # under matched budgets the base alone trains longer
    assert not dira.ancestors & runs(found, "dira_moco_v2", "chestxray14", seed=0).ancestors


def test_random_has_an_encoder_for_each_run(root):
    assert runs(lineages(project.plan(root)), "random", "chestxray14").encoder == ""
