"""The conformance of a remote engine, where no scheduler is installed: ``tests.executors.queue_of_processes``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.executors.conformance import Engine, RemoteClaims, store
from tests.executors.queue_of_processes import NAME

__all__ = ["store"]


class TestQueueOfProcesses(RemoteClaims):
    """Fresh processes that outlive their driver."""

    @pytest.fixture
    def engine(self, tmp_path: Path) -> Engine:
        path = tmp_path / "engine.yaml"
        path.write_text("settle_seconds: 1.0\n")
        return Engine(NAME, 2, path)
