"""The conformance of the engines of one machine."""

from __future__ import annotations

import pytest

from tests.executors.conformance import Claims, Engine, store

__all__ = ["store"]


class TestLocal(Claims):
    """Children of a warm fork server."""

    @pytest.fixture
    def engine(self) -> Engine:
        return Engine("local", 2)


@pytest.mark.cluster  # each of its jobs is a fresh torchrun
class TestTogether(Claims):
    """Several processes that share one item: one slot."""

    @pytest.fixture
    def engine(self) -> Engine:
        return Engine("together", 1, seconds=60.0)
