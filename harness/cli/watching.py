"""How far something long is that is no run: a bar on a terminal, else a line now and then; with the time left."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from harness.cli.session import notes, shown
from harness.runner.progress import clock

Watch = Callable[[str, float], None]
SECONDS = 10.0  # between two lines


@contextmanager
def watched() -> Iterator[Watch]:
    """Give a function that is told what is under way and which share of it, from 0 to 1, is done."""
    if not notes.is_terminal:
        yield Lines()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=notes) as bars:
        known = {}

        def watch(what: str, share: float) -> None:
            if what not in known:
                known[what] = bars.add_task(shown(what), total=1.0)
            bars.update(known[what], completed=share)

        yield watch


class Lines:
    """A line every ten seconds, and one whenever something else begins."""

    def __init__(self, seconds: float = SECONDS, now: Callable[[], float] = time.monotonic) -> None:
        """Begin with nothing said."""
        self._seconds, self._now = seconds, now
        self._what, self._began, self._said = "", 0.0, 0.0

    def __call__(self, what: str, share: float) -> None:
        """Hear how far it is."""
        now = self._now()
        if what != self._what:
            self._what, self._began, self._said = what, now, now
            notes.print(shown(what))
        elif now - self._said >= self._seconds:
            self._said = now
            left = clock((now - self._began) * (1 - share) / share) if share else "unknown"
            notes.print(shown(f"{what}: {share:.0%}, about {left} left"))
