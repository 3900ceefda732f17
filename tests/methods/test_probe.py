import pytest

from methods.configuration import resolve
from methods.probe import probe
from tests.methods.conftest import registered


@pytest.mark.parametrize("method", ["dira_moco_v2", "dira_transvw", "chestxray14_supervised"])
def test_every_phase_that_takes_images_is_timed(method):
    plan = resolve(registered()[method], "smoke")
    found = probe(plan, "cpu")
    assert len(found) == len(plan.phases)
    for phase, seconds in zip(plan.phases, found, strict=True):
        if phase.name == "discovery":
            assert seconds is None
        else:
            assert 0 < seconds < 10
