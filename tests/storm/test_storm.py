"""A short storm among the ordinary tests; ``nox -s storm`` has one of five minutes."""

import pytest

from tests.storm.storm import Storm, small_disk


def test_forty_items_survive_a_storm(tmp_path):
    seed = 20261128
    with small_disk(tmp_path):
        storm = Storm(tmp_path, seed, seconds=10.0, count=40)
        faults = storm.run()
    assert storm.did["children killed"] + storm.did["drivers killed"] >= 1, storm.summary()
    if faults:
        pytest.fail(f"seed {seed}, {storm.summary()}: {'; '.join(faults)}")
