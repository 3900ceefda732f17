import pytest
import torch

from methods.configuration import resolve
from methods.conformance import check
from tests.methods.conftest import registered

METHODS = registered()
# The longest chains of phases, each beside one that differs in its base or in where an encoder comes from.
LONG = ("dira_simsiam", "dira_barlow_twins", "dira_transvw_encoder_only", "dira_moco_v2_encoder_only")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.thorough] if name.startswith(LONG) else [])
        for name, method in METHODS.items()
        if not method.profiles or "smoke" in method.profiles
    ],
)
def test_every_registered_method_conforms(name):
    before = torch.random.get_rng_state()
    plan = resolve(METHODS[name], "smoke")
    if name == "imagenet":
        assert plan.unavailable == "no ImageNet weights for resnet_w16"
        return
    found = check(plan)
    assert found.results and all(passed for _, passed, _ in found.results), found.results
    assert len(found.numbers) == 64
    assert torch.equal(before, torch.random.get_rng_state()), "the global generator was touched"


def test_a_broken_method_fails_its_check_with_the_reason():
    plan = resolve(METHODS["moco_v2"], "smoke")
    phase = plan.phases[0]
    broken = {**phase.configuration, "network": {**phase.configuration["network"], "name": "unet_resnet_w17"}}
    found = check(plan.model_copy(update={"phases": (phase.model_copy(update={"configuration": broken}),)}))
    assert found.numbers == ""
    _, passed, message = found.results[0]
    assert not passed and "unet_resnet_w16" in message
