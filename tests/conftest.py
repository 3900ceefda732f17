"""What every test shares: one thread an operator, and the longest files first."""

from __future__ import annotations

import os

import pytest

for width in ("COLUMNS", "LINES"):  # pytest imports readline (findings/python_readline_sets_columns.sh)
    os.environ.pop(width, None)  # of a worker, whose parent did
    os.unsetenv(width)  # for children: what readline sets here is not in os.environ
os.environ.setdefault("OMP_NUM_THREADS", "1")  # two threads on shared cores are slower than one
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
os.environ.setdefault("DIRA_BENCH_GONE_SECONDS", "0")  # no test waits for a directory that another machine caches

LONGEST_FIRST = (
    "tests/pipeline/test_pipeline_entries.py",  # makes the finished clone that the others copy
    "tests/harness/test_runner.py",
    "tests/methods/test_together.py",
    "tests/pipeline/test_interruption.py",
    "tests/reports/test_render.py",
    "tests/pipeline/test_real_files.py",
    "tests/pipeline/test_edits.py",
    "tests/pipeline/test_commands_of_pages.py",
    "tests/pipeline/test_pipeline.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, so that two workers end together (`--dist loadfile` keeps files whole)."""
    place = {name: rank for rank, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: place.get(item.nodeid.split("::")[0], len(place)))


@pytest.fixture
def checkpoint_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let trainings write a checkpoint at every step boundary, where the clock would let them write none."""
    monkeypatch.setattr("harness.checkpoints.SECONDS", 0.0)
    monkeypatch.setattr("harness.checkpoints.SHARE", float("inf"))
