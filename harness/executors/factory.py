"""Executors by name: ours, those of installed packages, and any that a dotted path names.

An executor from outside is one file: a class with what ``harness.executors.interface.Executor`` asks for, and a
function ``start(slots, device, preload)`` that makes one. A package offers it as an entry point of the group
``dira_bench.executors``; without a package, ``--executor package.module:start`` names it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Protocol

from harness.dotted import import_dotted
from harness.environment import Device
from harness.errors import BrokenCode, ConfigurationError, DiraBenchError, unknown
from harness.executors.interface import Executor
from harness.foreign import describe_error

GROUP = "dira_bench.executors"
OURS = {"local": "harness.executors.local:start", "together": "harness.executors.together:start"}


class Start(Protocol):
    """What a name refers to: a function, or a class, that makes an executor."""

    def __call__(self, slots: int | None, device: Device, preload: Sequence[str]) -> Executor:
        """Make an executor.

        Args:
            slots: How many; None for as many as there are.
            device: ``auto``, ``cpu`` or ``cuda``.
            preload: Modules worth importing before the first job.
        """
        ...


@dataclass(frozen=True)
class Engine:
    """Which executor is to be made; it is made only once there is something to run.

    Attributes:
        name: ``local``, ``together``, that of an installed one, or a dotted path.
        slots: How many; None for as many as there are.
        device: ``auto``, ``cpu`` or ``cuda``.
    """

    name: str = "local"
    slots: int | None = None
    device: Device = "auto"

    def start(self, preload: Sequence[str] = ()) -> Executor:
        """Make the executor; whoever starts it closes it.

        Raises:
            ConfigurationError: See ``make_executor``.
        """
        return make_executor(self.name, self.slots, self.device, preload)


def make_executor(
    name: str, slots: int | None = None, device: Device = "auto", preload: Sequence[str] = ()
) -> Executor:
    """Make an executor by its name.

    Args:
        name: See ``Engine``.
        slots: How many; None for as many as there are.
        device: ``auto``, ``cpu`` or ``cuda``.
        preload: Modules worth importing before the first job.

    Raises:
        UnknownName: If nobody offers an executor of that name.
        BrokenCode: If its module cannot be imported, or it raises anything when it starts.
        ConfigurationError: If it is no function of three arguments, or what it makes is no executor.
    """
    start = _start_of(name)
    try:
        made: object = start(slots, device, preload)
    except DiraBenchError:
        raise
    except Exception as error:  # anybody's code
        raise BrokenCode(
            f"executor {name} did not start: it raised {describe_error(error)}; expected it to return an executor; "
            "correct its code, or give it what it needs."
        ) from error
    if not isinstance(made, Executor):
        lacking = [part for part in ("name", "slots", "submit", "wait", "stop", "close") if not hasattr(made, part)]
        raise ConfigurationError(
            f"executor {name} made {type(made).__name__}. Expected name, slots, submit, wait, stop and close. "
            f"Found no {', '.join(lacking)}. Fix: see harness/executors/interface.py."
        )
    return made


def executor_names() -> list[str]:
    """Return the names of our executors and of the installed ones."""
    return sorted({*OURS, *(point.name for point in entry_points(group=GROUP))})


def _start_of(name: str) -> Callable[..., object]:
    """Return what a name refers to, which takes the three arguments of ``Start``.

    Raises:
        ConfigurationError: If it cannot be called with them.
    """
    found: object = import_dotted(_path(name))
    expected = "expected a function start(slots, device, preload); see docs/extending/executor.md."
    if not callable(found):
        raise ConfigurationError(f"executor {name} is {type(found).__name__}, which cannot be called; {expected}")
    try:
        signature = inspect.signature(found)
    except (TypeError, ValueError):  # of some code in C nobody can tell
        return found
    try:
        signature.bind(None, "auto", ())
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
    raise unknown("executor", name, executor_names(), "--executor")
