"""Code of anybody's, imported or called inside our process so that it touches nobody else.

A registry entry may name a module that is not ours. Whatever that module does when it is imported, the command that
met it goes on: an end of Python becomes an ordinary exception, what it prints goes to standard error, and the settings
of the process that it changed are put back.
"""

from __future__ import annotations

import contextlib
import locale
import logging
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from types import FrameType


class EndedPython(Exception):
    """Foreign code raised what is no ``Exception``: ``SystemExit`` from ``sys.exit()``, or ``KeyboardInterrupt``."""


class OwnEnd(BaseException):
    """An end of Python that we asked for ourselves, such as a driver's of its child; foreign code cannot stop it."""


@contextlib.contextmanager
def guest() -> Iterator[None]:
    """Run foreign code inside the block.

    What it prints goes to standard error. The current folder, signal handlers, logging, warning filters, the locale,
    the recursion limit and the state of ``random`` are afterwards what they were before.

    Raises:
        EndedPython: For whatever would end Python, except a Ctrl-C of the user's and an end of our own (``OwnEnd``),
            which stay what they are.
    """
    asked: list[int] = []
    with contextlib.ExitStack() as put_back:
        for keep in (_streams, _folder, _logging, _locale, _random, _recursion):
            put_back.callback(keep())
        put_back.callback(_signals(asked))
        put_back.enter_context(warnings.catch_warnings())
        try:
            yield
        except (Exception, OwnEnd):
            raise
        except BaseException as error:
            if asked:  # the user's own Ctrl-C
                raise
            said = f"({error})" if str(error) else ""
            raise EndedPython(f"it asked Python to end: {type(error).__name__}{said}") from error


def printable(text: object) -> str:
    r"""Write text so that a terminal shows it and obeys nothing in it: control characters become ``\x1b``."""
    return "".join(
        character if character in "\n\t" or not _commands(character) else character.encode("unicode_escape").decode()
        for character in str(text)
    )


def describe_error(error: BaseException) -> str:
    """Name an unexpected exception in a few words, on one line: its type and its first line."""
    first = printable((str(error).splitlines() or [""])[0])
    if isinstance(error, EndedPython):
        return first
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


def has_commands(text: str) -> bool:
    """Say whether text holds control characters, or marks that turn the direction of writing."""
    return any(_commands(character) for character in text)


def _commands(character: str) -> bool:
    code = ord(character)
    control = code < 0x20 or 0x7F <= code < 0xA0
    separator = code in (0x2028, 0x2029)
    turning = code in (0x200E, 0x200F) or 0x202A <= code <= 0x202E or 0x2066 <= code <= 0x2069
    return control or separator or turning or 0xD800 <= code <= 0xDFFF


def _streams() -> Callable[[], None]:
    before = sys.stdout, sys.stderr, sys.stdin
    sys.stdout = sys.stderr

    def put_back() -> None:
        sys.stdout, sys.stderr, sys.stdin = before

    return put_back


def _folder() -> Callable[[], None]:
    before = None
    with contextlib.suppress(OSError):
        before = os.getcwd()  # noqa: PTH109  text, not a Path: nothing is done with it but to go back

    def put_back() -> None:
        if before is not None:
            with contextlib.suppress(OSError):
                os.chdir(before)

    return put_back


def _signals(asked: list[int]) -> Callable[[], None]:
    """Keep the handlers; a Ctrl-C of the user's is noted in ``asked``. Only the main thread may set handlers."""
    if threading.current_thread() is not threading.main_thread():
        return lambda: None
    before = {number: signal.getsignal(number) for number in signal.valid_signals()}

    def heard(number: int, frame: FrameType | None) -> None:
        asked.append(number)
        raise KeyboardInterrupt

    if before[signal.SIGINT] is signal.default_int_handler:
        signal.signal(signal.SIGINT, heard)

    def put_back() -> None:
        for number, handler in before.items():
            if handler is not None and signal.getsignal(number) is not handler:
                signal.signal(number, handler)

    return put_back


def _logging() -> Callable[[], None]:
    root = logging.getLogger()
    level, handlers, disabled = root.level, list(root.handlers), logging.root.manager.disable

    def put_back() -> None:
        root.setLevel(level)
        root.handlers[:] = handlers
        logging.disable(disabled)

    return put_back


def _locale() -> Callable[[], None]:
    before = None
    with contextlib.suppress(locale.Error):
        before = locale.setlocale(locale.LC_ALL)

    def put_back() -> None:
        if before is not None:
            with contextlib.suppress(locale.Error):
                locale.setlocale(locale.LC_ALL, before)

    return put_back


def _random() -> Callable[[], None]:
    before = random.getstate()
    return lambda: random.setstate(before)


def _recursion() -> Callable[[], None]:
    before = sys.getrecursionlimit()
    return lambda: sys.setrecursionlimit(before)
