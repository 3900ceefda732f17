"""What a plan holds as JSON is read as a type and written again without a change: ids are digests of it."""

import json

import pytest
from pydantic import ValidationError

from methods.configuration import resolve
from methods.phases import (
    BackboneSpec,
    CubeConfiguration,
    DiscoveryConfiguration,
    ImageConfiguration,
    ImportConfiguration,
    LabelConfiguration,
)
from methods.profiles import profile_names
from tests.methods.conftest import registered

METHODS = registered()
MODELS = {
    "methods.pretext:run_phase": ImageConfiguration,
    "methods.volumes.pretext:run_phase": CubeConfiguration,
    "methods.volumes.discovery:run_phase": DiscoveryConfiguration,
    "methods.supervised:run_phase": LabelConfiguration,
    "methods.external:import_checkpoint": ImportConfiguration,
}


def text(value):
    return json.dumps(value, sort_keys=True)


@pytest.mark.parametrize("profile", profile_names())
def test_every_planned_phase_and_encoder_is_written_as_it_was_read(profile):
    seen = 0
    for entry in METHODS.values():
        plan = resolve(entry, profile)
        for phase in plan.phases:
            assert text(MODELS[phase.run].model_validate(phase.configuration).dump()) == text(phase.configuration)
            seen += 1
        if plan.unavailable is None:
            assert text(BackboneSpec.model_validate(plan.encoder).dump()) == text(plan.encoder)
    assert seen > 20


def test_a_key_that_nobody_wrote_stays_out_and_one_that_nobody_knows_is_refused():
    said = resolve(METHODS["moco_v2"], "smoke").phases[0].configuration
    assert "channels_last" not in said and "entry_version" not in said
    assert ImageConfiguration.model_validate(said).channels_last is False
    with pytest.raises(ValidationError, match="chanels_last"):
        ImageConfiguration.model_validate({**said, "chanels_last": True})
