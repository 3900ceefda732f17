"""What a run can answer, before it is run."""

from pathlib import Path

import numpy as np
import pytest

from harness.published import load_families
from harness.spec import Parameters
from harness.statistics import outlook as module
from harness.statistics.contrast import Side, compare
from harness.statistics.estimate import Estimate
from harness.statistics.margins import read_margins
from harness.statistics.outlook import DRAWS, Contrast, Plan, cheapest, outlook, rates
from harness.statistics.paper import PublishedNumber, read_paper
from harness.statistics.trials import Runs, TrialIndex
from harness.statistics.verdicts import agreement

ROOT = Path(__file__).parents[2]
PAPER = read_paper(ROOT / "results" / "published" / "paper.csv")
MARGINS = read_margins(ROOT / "reports" / "margins.yaml")
FAMILIES = load_families(ROOT / "reports" / "families.yaml")
METRICS = {
    "chestxray14": "auc",
    "chexpert": "auc",
    "siim_acr": "dice",
    "montgomery": "dice",
    "luna16": "auc",
    "pe_cad": "auc",
}
WORDS = {"reproduced": "reproduced", "different (higher)": "different", "different (lower)": "different"}


def published():
    keys = FAMILIES.contrasts()
    margins = [MARGINS["localization" if key.delta else METRICS.get(key.task, "iou")] for key in keys]
    return outlook(keys, PAPER, margins, Plan(10), alpha=0.05, base_seed=2022)


def generator(seed=0):
    return np.random.Generator(np.random.PCG64(seed))


def test_a_method_that_does_nothing_is_reproduced_in_no_more_than_five_percent_of_any_contrast():
    known = [row for row in published() if row.nothing is not None]
    assert len(known) == 12 + 12 + 12 + 12 + 9 + 27 + 5
    assert max(row.nothing.reproduced for row in known) <= 0.05
    assert max(row.reversed.reproduced for row in known) == 0


def test_an_effect_inside_its_margin_can_never_be_reproduced_however_many_runs():
    small = [row for row in published() if row.ceiling is not None and abs(row.effect) <= row.margin]
    assert len(small) > 40
    assert {(row.planned.reproduced, row.ceiling.reproduced) for row in small} == {(0.0, 0.0)}
    assert all(row.planned.too_small > 0.6 for row in small)


def test_the_draws_follow_the_rule_that_the_tables_follow():
    random = generator()
    for _ in range(300):
        ours, effect, error, df = (
            random.normal(0, 1),
            random.normal(0, 1),
            random.uniform(0.05, 0.6),
            random.uniform(2, 40),
        )
        counted = module._count(
            np.full(1, ours), Contrast(effect, 0.5, (1, 1), (10, 10)), np.full(1, error), np.full(1, df), 0.05
        )
        said = agreement(Estimate(ours - effect, error, df), 0.5, 0.05, effects=(ours, effect)).agreement
        word = WORDS.get(said, said.replace("too small to tell", "too_small"))
        assert getattr(counted, word) == 1.0


def number(mean, sd):
    blank = {
        "reference": "",
        "delta": "",
        "printed_difference": "",
        "arrow": "",
        "mark_imagenet": "",
        "mark_supervised": "",
    }
    return PublishedNumber.model_validate(
        {"place": "tab4", "kind": "score", "method": "m", "task": "t", "label_fraction": 1, "metric": "auc",
         "mean": f"{mean:.4f}", "sd": f"{sd}", "n": "10", "note": "", **blank}
    )  # fmt: skip


@pytest.mark.parametrize(("seeds", "spread"), [((1, 1), 0.0), ((3, 3), 0.8), ((2, 1), 0.0), ((1, 3), 0.8)])
def test_the_rates_are_those_of_a_simulation_through_the_functions_that_make_the_tables(seeds, spread):
    contrast, sds = Contrast(0.9, 0.5, (0.25, 0.35), (10, 10)), (0.25, 0.35)
    told = rates(contrast, (Plan(10, seeds[0]), Plan(10, seeds[1])), 0.9, False, 0.05, spread, generator(1))
    random, counts, draws = generator(2), dict.fromkeys(("reproduced", "different", "inconclusive"), 0), 600
    parameters = Parameters(profile="paper", repeats=10, pretrain_seeds=1, base_seed=0, alpha=0.05)
    names = {
        "family": "f", "family_label": "f", "family_size": 1, "block": "published", "method": "a", "method_label": "a",
        "reference": "b", "reference_label": "b", "task": "t", "task_label": "t", "label_fraction": 1.0,
        "metric": "auc", "synthetic": False, "stamp": "",
    }  # fmt: skip
    for _ in range(draws):
        truth = 0.9 + random.normal(0, np.sqrt((sds[0] ** 2 + sds[1] ** 2) / 10))
        sides = []
        for sd, n, level, printed in zip(sds, seeds, (truth, 0.0), (80.9, 80.0), strict=True):
            values = 80 + level + spread * sd * random.standard_normal((n, 1)) + sd * random.standard_normal((n, 10))
            runs = {TrialIndex(k, r): values[k, r] for k in range(n) for r in range(10)}
            sides.append(Side(Runs(runs, len(runs)), printed=number(printed, sd), planned_seeds=n))
        said = compare(*sides, margin=0.5, parameters=parameters, not_the_papers="", names=names).agreement
        counts[WORDS.get(said, said)] += 1
    for word, count in counts.items():
        expected = getattr(told, word)
        assert count / draws == pytest.approx(expected, abs=4 * np.sqrt(0.25 / draws + 0.25 / DRAWS))


def test_more_repeats_lift_the_rate_to_the_ceiling_and_the_cheapest_design_reaches_its_target():
    contrast = Contrast(0.82, 0.5, (0.29, 0.34), (10, 10))  # SimSiam on ChestX-ray14
    few, many = (rates(contrast, (Plan(n), Plan(n)), 0.82, False, 0.05, 0.0, generator()).reproduced for n in (5, 100))
    assert few < many
    found = cheapest([contrast], 0.8, (10.0, 1.0), alpha=0.05, base_seed=1, pretraining_spread=0.0)
    assert found.rate >= 0.8
    assert found.plan.seeds == 1
    assert rates(contrast, (Plan(10), Plan(10)), 0.82, False, 0.05, 0.0, generator()).reproduced < 0.8 < found.rate
    never = Contrast(2.22, 0.5, (0.94, 0.43), (10, 10))  # SimSiam on CheXpert
    assert cheapest([never], 0.8, (10.0, 1.0), alpha=0.05, base_seed=1, pretraining_spread=0.0) is None


def test_an_encoder_drawn_for_each_run_has_its_luck_in_the_spread_of_its_runs():
    contrast = Contrast(2.0, 0.5, (0.3, 0.3), (10, 10))
    drawn, one = (
        rates(contrast, (Plan(10, 3), Plan(10, seeds)), 2.0, False, 0.05, 2.0, generator()) for seeds in (0, 1)
    )
    assert drawn.reproduced > one.reproduced
