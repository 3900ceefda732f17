"""What a run shows: a live line per slot on a terminal, seldom a plain line elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from harness.errors import many
from harness.foreign import printable
from harness.spec import Item, Record, Status

LONG = 10.0  # seconds after which a line says how far an item is


@dataclass(frozen=True)
class SlotLine:
    """What one slot does now; an empty title means idle."""

    slot: str
    title: str = ""
    done: int = 0
    total: int = 0
    what: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class View:
    """The whole run at one moment; counts are items, ``remaining`` is seconds or None while unknown."""

    total: int
    done: int
    failed: int
    blocked: int
    elsewhere: int
    elapsed: float
    remaining: float | None
    slots: Sequence[SlotLine] = field(default_factory=tuple)

    @property
    def over(self) -> int:
        """Items nothing more will happen to."""
        return self.done + self.failed + self.blocked


class Progress:
    """Hears what happens; this base class shows nothing and is what others refine."""

    interval: float = 1.0
    details: bool = False  # whether it shows what running items say of themselves, which takes reading a file of each

    def begin(self, view: View) -> None:
        """Hear that the run begins."""

    def update(self, view: View) -> None:
        """Hear how the run stands; called every ``interval`` seconds or when something ended."""

    def ended(self, item: Item, record: Record) -> None:
        """Hear that an attempt ended."""

    def note(self, sentence: str) -> None:
        """Hear a sentence a person should read."""

    def end(self, view: View) -> None:
        """Hear that the run is over."""


class Silent(Progress):
    """Shows nothing."""


def clock(seconds: float) -> str:
    """Write a duration as people read it: ``0:07``, ``12:34``, ``3:05:00``."""
    whole = max(0, round(seconds))
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _counts(view: View) -> str:
    parts = [f"{view.over}/{view.total}"]
    parts += [f"{view.failed} failed"] if view.failed else []
    parts += [f"{view.blocked} blocked"] if view.blocked else []
    parts += [f"{view.elsewhere} in another driver"] if view.elsewhere else []
    left = "" if view.remaining is None else f", about {clock(view.remaining)} left"
    return f"{', '.join(parts)}; {clock(view.elapsed)} so far{left}"


def _longest(view: View) -> str:
    """Return what the item says of itself that has run longest; "" while all are short, or it says nothing."""
    line = max(view.slots, key=lambda line: line.seconds, default=None)
    if line is None or line.seconds < LONG or not line.total:
        return ""
    return f"; {line.title}: {line.what}, {line.done:,} of {line.total:,}"


def _sentence(item: Item, record: Record) -> str:
    message = (record.error or {}).get("message", "").strip().splitlines()
    return printable(f"{record.status.value}: {item.title}" + (f": {message[0]}" if message else ""))


class PlainProgress(Progress):
    """One line every ten seconds or every five percent, whichever is rarer in a short run; failures at once.

    A line ends with how far the item is that has run longest, if that is some while: hours of decoding are one item.
    """

    details = True

    def __init__(self, stream: TextIO | None = None, seconds: float = 10.0, share: float = 0.05) -> None:
        self._stream = stream or sys.stderr
        self._seconds, self._share = seconds, share
        self._last_time, self._last_share = 0.0, 0.0

    def begin(self, view: View) -> None:
        """Say how much there is to do."""
        self._last_time = time.monotonic()
        self._last_share = view.over / max(1, view.total)
        self._line(f"{view.total - view.over} of {many(view.total, 'item')} to run on {many(len(view.slots), 'slot')}")

    def update(self, view: View) -> None:
        """Say how the run stands if enough has happened since the last line."""
        share, now = view.over / max(1, view.total), time.monotonic()
        quiet = now - self._last_time
        if quiet >= self._seconds or (share - self._last_share >= self._share and quiet >= self._seconds / 10):
            self._last_time, self._last_share = now, share
            self._line(f"{_counts(view)}{_longest(view)}")

    def ended(self, item: Item, record: Record) -> None:
        """Say at once what did not end well."""
        if record.status is not Status.OK:
            self._line(_sentence(item, record))

    def note(self, sentence: str) -> None:
        """Say a sentence."""
        self._line(sentence)

    def end(self, view: View) -> None:
        """Say how it ended."""
        self._line(_counts(view))

    def _line(self, text: str) -> None:
        self._stream.write(printable(text) + "\n")
        self._stream.flush()


class RichProgress(Progress):
    """One live line per slot and a total with the time left."""

    interval, details = 0.25, True

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._live = Live(console=self._console, refresh_per_second=4, transient=True, auto_refresh=False)

    def begin(self, view: View) -> None:
        """Open the live lines."""
        self._live.start()
        self.update(view)

    def update(self, view: View) -> None:
        """Redraw."""
        table = Table.grid(padding=(0, 1))
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, ratio=1, overflow="ellipsis")
        table.add_column(width=20)
        table.add_column(no_wrap=True, justify="right")
        for line in view.slots:
            bar = ProgressBar(total=line.total or 1, completed=line.done, width=20, pulse=not line.total)
            spent = clock(line.seconds) if line.title else ""
            title = printable(f"{line.title} {line.what}".strip()) or "idle"
            table.add_row(line.slot, Text(title), bar if line.title else "", spent)
        whole = ProgressBar(total=max(1, view.total), completed=view.over, width=20)
        table.add_row(Text("total", style="bold"), Text(_counts(view)), whole, "")
        self._live.update(Group(table), refresh=True)

    def ended(self, item: Item, record: Record) -> None:
        """Say at once what did not end well, above the live lines."""
        if record.status is not Status.OK:
            self._live.console.print(Text(_sentence(item, record)))

    def note(self, sentence: str) -> None:
        """Say a sentence above the live lines."""
        self._live.console.print(Text(printable(sentence)))

    def end(self, view: View) -> None:
        """Close the live lines and leave one."""
        self._live.stop()
        self._console.print(Text(_counts(view)))


def choose_progress(terminal: Callable[[], bool] = sys.stderr.isatty) -> Progress:
    """Return live lines on a terminal and plain ones elsewhere."""
    return RichProgress() if terminal() else PlainProgress()
