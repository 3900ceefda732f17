"""Where a command writes: how wide, and how its lines end."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping
from typing import Any, TextIO

import typer
from rich.console import Console

EXIT_CLOSED = 128 + 13  # SIGPIPE
WIDE = 130  # columns from which on a table fits
WHOLE = 200  # columns of a table where nobody sets a width
BLANKS = re.compile(r"[ \t]+((?:\x1b\[[0-9;]*m)*)(?=\r?\n)")
NARROWEST = 20  # of a COLUMNS that is taken for a width


class Piped(Console):
    """A console whose reader may leave early, as ``head`` does."""

    def on_broken_pipe(self) -> None:
        """End the command, as the signal of a closed pipe ends any program; rich would end Python.

        Raises:
            typer.Exit: With ``EXIT_CLOSED``.
        """
        with contextlib.suppress(OSError, ValueError):  # what is still to be flushed at the end goes nowhere
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())
        raise typer.Exit(EXIT_CLOSED)


def make_console(stream: TextIO, environment: Mapping[str, str], *, stderr: bool = False) -> Console:
    """Return a console for a stream.

    A terminal breaks lines between words at its own width, a pipe or a file at the width in the variable ``COLUMNS``.
    Where nobody sets a width (a build log, a program that reads), lines stay whole.
    """
    columns = environment.get("COLUMNS", "")
    narrow = columns.isdecimal() and int(columns) >= NARROWEST
    if stream.isatty():
        return Piped(stderr=stderr, highlight=False)
    return Piped(stderr=stderr, highlight=False, soft_wrap=not narrow, width=int(columns) if narrow else WHOLE)


class EndsClean:
    """A stream whose lines end with no blanks, which tables and broken lines would leave.

    Args:
        stream: Where the lines go; everything but ``write`` is its own.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write text without the blanks that stand before the end of a line; a style's end may stand between."""
        self._stream.write(BLANKS.sub(r"\1", text))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        """Return what the stream has under a name."""
        return getattr(self._stream, name)
