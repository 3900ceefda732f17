from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from harness.contracts import Backbone, Context, Outcome
from harness.registry import load_registry
from tasks.conformance import check
from tasks.datasets.chestxray14 import phantom as chestxray14
from tasks.stand_in import StandIn
from tests.tasks.standins import TinyBackbone
from tests.tasks.test_configuration import entry


@pytest.mark.parametrize("task", list(load_registry().under("smoke").tasks.by_name))
def test_the_built_in_tasks_pass_their_own_conformance_run(task: str) -> None:
    found = check(load_registry().tasks[task]).results
    assert [name for name, passed, _ in found if not passed] == []
    assert len(found) == 7


def test_stand_ins_satisfy_the_backbone_contract() -> None:
    for backbone in (StandIn(0), TinyBackbone(0)):
        assert isinstance(backbone, Backbone)


calls = 0


def unseeded_generator(folder: Path, options: Mapping[str, Any]) -> dict[str, Any]:
    """A generator with a memory: every build differs."""
    global calls
    calls += 1
    return chestxray14.write(folder, {**options, "seed": calls})


def test_a_generator_that_ignores_its_seed_is_caught() -> None:
    options = {
        "generator": "tests.tasks.test_conformance:unseeded_generator",
        "cohort": {"generator": {"seed": 1, "train": 30, "validation": 8, "test": 20, "file_px": 32}},
    }
    last = check(entry(options=options)).results[-1]
    assert last[:2] == ("phantoms are a function of their seed", False) and "built twice" in last[2]


def careless_trial(spec: Mapping[str, Any], context: Context) -> Outcome:
    """A transfer from outside that uses its init seed only."""
    return Outcome({"score": 0.5}, curve=[{"step": spec["seeds"]["init"]}])


def test_a_transfer_from_outside_that_ignores_a_seed_is_caught() -> None:
    careless = entry(transfer="tests.tasks.test_conformance:careless_trial", metric="score")
    last = check(careless).results[-1]
    assert last[:2] == ("seeds reach it", False) and "the seed order changes nothing" in last[2]


def test_an_entry_that_makes_no_sense_fails_at_its_first_check_with_the_reason() -> None:
    (only,) = check(entry(metric="auk")).results
    assert only[:2] == ("resolves", False) and 'did you mean "auc"' in only[2]
