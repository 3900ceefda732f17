"""Many files looked at by several processes, forked so that they inherit what a function refers to.

How much effort a check takes (processes, a sample) is no business of an adapter: it asks ``each`` for its files, and
whoever calls it says ``with looking(Effort(…))`` around.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from harness.errors import DataError

K = TypeVar("K")
V = TypeVar("V")
Report = Callable[[int, int, str], None]
OPENING, OPENING_SCANS = "opening images", "opening scans"
SIZES = "reading names and sizes"
MANY = 256  # files after which progress is told where each takes no time
CHUNK, ROUNDS = 16, 8  # keys that a process takes at once, at most; and how often each process takes some, at least
SAMPLE_SEED = 0


@dataclass
class Effort:
    """How much a check does.

    Attributes:
        workers: Processes.
        sample: How many files are opened, drawn with a fixed seed; None: all.
        report: Progress, in files.
        opened: Files that were opened so far.
        of: Files that there are to open.
    """

    workers: int = 1
    sample: int | None = None
    report: Report = lambda done, total, what: None
    opened: int = 0
    of: int = 0


_EFFORT: ContextVar[Effort | None] = ContextVar("effort", default=None)


@contextlib.contextmanager
def looking(effort: Effort) -> Iterator[Effort]:
    """Let every ``each`` in the block take that effort."""
    before = _EFFORT.set(effort)
    try:
        yield effort
    finally:
        _EFFORT.reset(before)


def each(function: Callable[[K], V], keys: Sequence[K], what: str) -> Iterator[tuple[K, V]]:
    """Yield (key, ``function(key)``) in the order of the keys, of all or of the sample that is asked for.

    Args:
        function: Looks at one file; it should return what it finds, and what it returns must be small.
        keys: What is looked at.
        what: In words, for progress: ``opening images``.

    Raises:
        DataError: If a process was killed.
        Exception: What the function raises.
    """
    effort = _EFFORT.get() or Effort()
    taken = list(keys)
    if effort.sample is not None and effort.sample < len(taken):
        drawn = np.random.Generator(np.random.PCG64(SAMPLE_SEED)).choice(len(taken), effort.sample, replace=False)
        taken = [taken[place] for place in sorted(drawn.tolist())]
    effort.of += len(keys)
    size = max(1, min(CHUNK, len(taken) // (ROUNDS * max(1, effort.workers))))
    chunks = [taken[start : start + size] for start in range(0, len(taken), size)]
    waiting: dict[int, list[V]] = {}
    following = done = 0
    for number, found in in_processes(lambda n: [function(key) for key in chunks[n]], len(chunks), effort.workers):
        done += len(found)
        effort.opened += len(found)
        effort.report(done, len(taken), what)
        waiting[number] = found
        while following in waiting:
            yield from zip(chunks[following], waiting.pop(following), strict=True)
            following += 1


def counted(keys: Sequence[K], what: str) -> Iterator[K]:
    """Yield the keys, and tell whoever listens (``looking``) how many are done.

    Args:
        keys: Files that are looked at one after the other, however much effort is taken.
        what: In words, for progress.
    """
    effort = _EFFORT.get() or Effort()
    for done, key in enumerate(keys):
        if done % MANY == 0:
            effort.report(done, len(keys), what)
        yield key
    effort.report(len(keys), len(keys), what)


def in_processes(function: Callable[[int], V], count: int, workers: int) -> Iterator[tuple[int, V]]:
    """Yield (n, ``function(n)``) of 0 … ``count`` − 1 as each is done; with one worker in order and in this process.

    Whatever ends this before all is done, an error or a request to leave, ends the processes at once.

    Raises:
        DataError: If a process was killed.
        Exception: What the function raised; of several failures that of the smallest number.
    """
    if workers <= 1 or count <= 1:
        yield from ((number, function(number)) for number in range(count))
        return
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(
        min(workers, count), multiprocessing.get_context("fork"), initializer=_begin, initargs=(function,)
    )
    whole = False
    try:
        yield from _collected(pool, count, ahead=4 * workers)
        whole = True
    except BrokenProcessPool:
        raise DataError(
            "a process that read files was killed, most likely for want of memory; expected it to end by itself; "
            "run again with fewer workers"
        ) from None
    finally:
        pool.shutdown(wait=whole, cancel_futures=True)
        if not whole:  # nobody waits for what is under way, which may be a scan of a minute
            for process in set(multiprocessing.active_children()) - others:
                process.terminate()


def _collected(pool: ProcessPoolExecutor, count: int, ahead: int) -> Iterator[tuple[int, Any]]:
    """Yield results as they come, keeping ``ahead`` numbers under way; after a failure nothing new is begun."""
    numbers, under_way = iter(range(count)), dict[Future[Any], int]()
    failed: dict[int, BaseException] = {}
    while True:
        while len(under_way) < ahead and not failed and (number := next(numbers, None)) is not None:
            under_way[pool.submit(_call, number)] = number
        if not under_way:
            break
        for future in wait(under_way, return_when=FIRST_COMPLETED).done:
            number = under_way.pop(future)
            error = future.exception()
            if error is None:
                yield number, future.result()
            else:
                failed[number] = error
    if failed:
        raise failed[min(failed)]


_inherited: list[Callable[[int], Any]] = []


def _begin(function: Callable[[int], Any]) -> None:
    """Begin a process: it ends with its parent's group, and leaves Ctrl-C to its parent."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _inherited[:] = [function]


def _call(number: int) -> Any:
    return _inherited[0](number)
