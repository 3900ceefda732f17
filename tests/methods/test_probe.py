import numpy as np
import pytest

from methods.configuration import resolve
from methods.conformance import input_size, write_phantom_scans
from methods.phases import DiscoveryConfiguration
from methods.probe import SMALL_WORDS, probe
from methods.volumes.words import find_words
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


def test_made_up_scans_have_a_place_for_every_word_at_the_papers_size(tmp_path):
    plan = resolve(registered()["transvw"], "paper")
    discovery = next(phase for phase in plan.phases if phase.name == "discovery").configuration
    size = input_size(plan)
    write_phantom_scans(tmp_path, size, 0)
    scans = np.load(tmp_path / "scans.npy", mmap_mode="r")
    words = DiscoveryConfiguration.model_validate(discovery).words
    rules = words.model_copy(update={**SMALL_WORDS, "cube": size, "words": 44})
    rows = np.arange(len(scans))
    found = find_words(scans, np.zeros((len(scans), 2)), rows[:-2], rows[-2:], rules, 0)
    assert len(found) == 44  # C, of the paper's networks
