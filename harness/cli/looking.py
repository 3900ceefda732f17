"""How far a command that looks at many files has come: a live line on a terminal, seldom a plain one elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator

from harness.dotted import import_dotted
from harness.runner.progress import clock

SECONDS = 10.0  # between plain lines
MEASURED = 2.0  # seconds after which a rate says something


class FilesProgress:
    """Hears ``(done, total, what)`` and writes it, with the time left by the rate so far, to standard error.

    Where nobody watches, what ends before the first line is due is not told.
    """

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._what, self._begun, self._next = "", 0.0, 0.0
        self.done = self.total = 0

    def __call__(self, done: int, total: int, what: str) -> None:
        """Hear how far it is."""
        now = time.monotonic()
        if what != self._what:
            self._what, self._begun, self._next = what, now, now + (0.0 if self._live else SECONDS)
        self.done, self.total = done, total
        ended = done >= total and (self._live or self._begun + SECONDS < self._next)  # of what a line was written
        if now < self._next and not ended:
            return
        self._next = now + (0.25 if self._live else SECONDS)
        spent = now - self._begun
        left = f", about {clock(spent * (total - done) / done)} left" if 0 < done < total and spent > MEASURED else ""
        text = f"{what}: {done:,} of {total:,}; {clock(spent)} so far{left}"
        sys.stderr.write(f"\r\x1b[2K{text}" if self._live else f"{text}\n")
        sys.stderr.flush()

    def end(self) -> None:
        """Leave the line."""
        if self._live and self._what:
            sys.stderr.write("\r\x1b[2K")
            sys.stderr.flush()


@contextlib.contextmanager
def roots_told() -> Iterator[None]:
    """Write how far it is when data roots are looked through in the block, which takes minutes on a slow disk."""
    progress = FilesProgress()
    effort = import_dotted("tasks.layouts.in_parallel:Effort")(report=progress)
    with import_dotted("tasks.layouts.in_parallel:looking")(effort):
        try:
            yield
        finally:
            progress.end()
