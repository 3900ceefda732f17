"""Signals as a request to stop: a person's Ctrl-C, and what schedulers send before they end a job."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType


class Signals:
    """How often this process was asked to stop, and by whom.

    Attributes:
        count: SIGINT, SIGTERM and SIGUSR2 heard so far.
        gently: Whether a scheduler asked, which leaves time for a checkpoint.
    """

    def __init__(self) -> None:
        self.count = 0
        self.gently = False

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        self.gently = self.gently or number != signal.SIGINT

    @contextlib.contextmanager
    def heard(self, afterwards: Callable[[], None]) -> Iterator[None]:
        """Hear signals inside the block and in ``afterwards``, which follows it; only the main thread can."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)
        before = {number: signal.signal(number, self._hear) for number in numbers}
        try:
            yield
            afterwards()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
