import math

import pytest

from harness.spec import Status
from methods.configuration import resolve
from methods.obtain import backbone
from tests.methods.conftest import registered
from tests.methods.phantom_pixels import write_pixels
from tests.methods.pretraining import train


@pytest.mark.fullsize
@pytest.mark.parametrize("base", ["moco_v2", "barlow_twins", "simsiam"])
def test_two_steps_of_every_phase_of_the_paper_run_at_full_image_and_network_size(tmp_path, base):
    cohort = write_pixels(tmp_path / "cohort", train=8, validation=4, px=512)
    plan = resolve(registered()[f"dira_{base}"], "paper")
    parent = None
    for phase in plan.phases:
        configuration = {
            **phase.configuration,
            "batch": 4,
            "norm_splits": min(2, phase.configuration["norm_splits"]),
            "budget": {"unit": "steps", "count": 2},
            "validation": {"unit": "steps", "every": 2, "images": 4},
        }
        outcome = train(configuration, tmp_path / phase.name, cohort, parent=parent, seed_name=phase.name)
        assert outcome.status is Status.OK and math.isfinite(outcome.values["validation_loss"])
        assert outcome.facts["parameters"] == 23_508_032 + 9_012_928
        parent = tmp_path / phase.name
    _, facts = backbone(plan.encoder, parent, 0)
    assert len(facts["encoder_sha256"]) == 64
