"""A clone whose pipeline has run once, for each file of tests that follow one another on it."""

from __future__ import annotations

import fcntl
import os
import shutil

import pytest

from tests.pipeline.clone import Clone, ran, small


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """The folder of a clone whose pipeline has run once, made by the first worker that asks; to be copied, not used."""
    mine = tmp_path_factory.getbasetemp()
    shared = mine.parent if "PYTEST_XDIST_WORKER" in os.environ else mine  # alone, the parent outlives the session
    folder, mark = shared / "finished", shared / "finished.whole"
    with (shared / "finished.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not mark.exists():
            shutil.rmtree(folder, ignore_errors=True)  # what a worker left that failed
            folder.mkdir()
            output = small(folder).run("dvc", "repro")
            assert ran(output) == {"cohorts", "pretrain", "trials", "leakage", "statistics", "audit", "report"}
            mark.touch()
    return folder


@pytest.fixture(scope="module")
def clone(finished, tmp_path_factory):
    """A clone whose pipeline has run once; the tests of a file follow one another."""
    return Clone.copied(finished, tmp_path_factory.mktemp("pipeline") / "clone")
