"""Executors by name: ours, those of installed packages, and any that a dotted path names.

An executor from outside is one file: a class with what ``harness.executors.interface.Executor`` asks for, and a
function ``start(slots, device, preload, options)`` that makes one. A package offers it as an entry point of the
group ``dira_bench.executors``; without a package, ``--engine package.module:start`` names it.

One whose jobs outlive their driver has two more functions beside ``start``, for whoever finds the claim of a job:
``alive(job)`` says whether the engine still knows it, or None where that cannot be asked from here; ``cancel(job)``
ends it, queued or running, and raises a ``DiraBenchError`` where it cannot.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import Protocol

from harness.dotted import import_dotted
from harness.environment import Device
from harness.errors import BrokenCode, ConfigurationError, DiraBenchError, unknown
from harness.executors.interface import Executor
from harness.executors.options import EngineOptions
from harness.foreign import describe_error
from harness.store import EngineJob

GROUP = "dira_bench.executors"
OURS = {name: f"harness.executors.{name}:start" for name in ("local", "ray", "slurm", "together")}


class Start(Protocol):
    """What a name refers to: a function, or a class, that makes an executor."""

    def __call__(self, slots: int | None, device: Device, preload: Sequence[str], options: EngineOptions) -> Executor:
        """Make an executor.

        Args:
            slots: How many items run at a time; None for as many as there are.
            device: ``auto``, ``cpu`` or ``cuda``.
            preload: Modules worth importing before the first job.
            options: What ``--engine-options`` says; ``options.read(Model)`` makes it the engine's own model.
        """
        ...


@dataclass(frozen=True)
class Engine:
    """Which executor is to be made; it is made only once there is something to run.

    Attributes:
        name: ``local``, ``together``, that of an installed one, or a dotted path.
        slots: How many; None for as many as there are.
        device: ``auto``, ``cpu`` or ``cuda``.
        options: What the user says to it.
    """

    name: str = "local"
    slots: int | None = None
    device: Device = "auto"
    options: EngineOptions = field(default_factory=EngineOptions)

    def start(self, preload: Sequence[str] = ()) -> Executor:
        """Make the executor; whoever starts it closes it.

        Raises:
            ConfigurationError: See ``make_executor``.
        """
        return make_executor(self.name, self.slots, self.device, preload, self.options)


def make_executor(
    name: str,
    slots: int | None = None,
    device: Device = "auto",
    preload: Sequence[str] = (),
    options: EngineOptions | None = None,
) -> Executor:
    """Make an executor by its name.

    Args:
        name: See ``Engine``.
        slots: How many; None for as many as there are.
        device: ``auto``, ``cpu`` or ``cuda``.
        preload: Modules worth importing before the first job.
        options: What the user says to it.

    Raises:
        UnknownName: If nobody offers an executor of that name.
        BrokenCode: If its module cannot be imported, or it raises anything when it starts.
        ConfigurationError: If it is no function of four arguments, or what it makes is no executor.
    """
    start = _start_of(name)
    try:
        made: object = start(slots, device, preload, options or EngineOptions())
    except DiraBenchError:
        raise
    except Exception as error:  # anybody's code
        raise BrokenCode(
            f"executor {name} did not start: it raised {describe_error(error)}; expected it to return an executor; "
            "correct its code, or give it what it needs."
        ) from error
    if not isinstance(made, Executor):
        raise ConfigurationError(
            f"executor {name} made {type(made).__name__}. Expected an object of a class derived from Executor. Fix: "
            "see harness/executors/interface.py."
        )
    return made


def alive(job: EngineJob) -> bool | None:
    """Ask an engine whether it still knows a job, queued or running.

    Returns:
        None if it cannot be asked from here: another cluster's, or an engine that is not installed.
    """
    try:
        answer = _beside_start(job, "alive")(job)
    except DiraBenchError:
        return None
    return answer if isinstance(answer, bool) else None


class Seldom:
    """Asks an engine about a job at most every few seconds, however often it is called.

    Args:
        ask: What asks; see ``alive``.
    """

    SECONDS = 5.0

    def __init__(self, ask: Callable[[EngineJob], bool | None]) -> None:
        self._ask = ask
        self._answers: dict[EngineJob, tuple[float, bool | None]] = {}

    def __call__(self, job: EngineJob) -> bool | None:
        """Return what was last answered."""
        asked, answer = self._answers.get(job, (-self.SECONDS, None))
        if time.monotonic() - asked >= self.SECONDS:
            answer = self._ask(job)
            self._answers[job] = (time.monotonic(), answer)
        return answer


def cancel(job: EngineJob) -> None:
    """Have an engine end a job, queued or running.

    Raises:
        DiraBenchError: If it cannot be told from here.
    """
    _beside_start(job, "cancel")(job)


def _beside_start(job: EngineJob, name: str) -> Callable[[EngineJob], object]:
    """Return a function of the module that starts a job's engine.

    Raises:
        ConfigurationError: If the engine is not here, or has no such function.
    """
    found: object = import_dotted(f"{_path(job.engine).partition(':')[0]}:{name}")
    if not callable(found):
        raise ConfigurationError(f"engine {job.engine} has no function {name}(job); see docs/extending/executor.md.")
    asked: Callable[[EngineJob], object] = found
    return asked


def executor_names() -> list[str]:
    """Return the names of our executors and of the installed ones."""
    return sorted({*OURS, *(point.name for point in entry_points(group=GROUP))})


def _start_of(name: str) -> Callable[..., object]:
    """Return what a name refers to, which takes the four arguments of ``Start``.

    Raises:
        ConfigurationError: If it cannot be called with them.
    """
    found: object = import_dotted(_path(name))
    expected = "expected a function start(slots, device, preload, options); see docs/extending/executor.md."
    if not callable(found):
        raise ConfigurationError(f"executor {name} is {type(found).__name__}, which cannot be called; {expected}")
    try:
        signature = inspect.signature(found)
    except (TypeError, ValueError):  # of some code in C nobody can tell
        return found
    try:
        signature.bind(None, "auto", (), EngineOptions())
    except TypeError as error:
        raise ConfigurationError(f"executor {name} takes {signature} ({error}); {expected}") from None
    return found


def _path(name: str) -> str:
    """Return the dotted path that a name refers to; ours come first."""
    if ":" in name or name in OURS:
        return OURS.get(name, name)
    for point in entry_points(group=GROUP):
        if point.name == name:
            return point.value
    raise unknown("executor", name, executor_names(), "--engine")
