"""A clone whose pipeline has run once, for each file of tests that follow one another on it."""

from __future__ import annotations

import pytest

from tests.pipeline.clone import Clone, ran


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A clone whose pipeline has run once; the tests of a file follow one another."""
    clone = Clone(tmp_path_factory.mktemp("pipeline"))
    clone.keep(["random", "moco_v2", "moco_v2_dir"], ["chestxray14", "montgomery"])
    output = clone.run("dvc", "repro")
    assert {"cohort@chestxray14", "pretrain@moco_v2", "trials@random", "statistics@", "audit", "report@"} <= ran(output)
    return clone
