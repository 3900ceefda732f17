"""Errors that a user can fix, each one sentence: what was found, where, what was expected, what to do.

Every class here derives from ``DiraBenchError``; the command line prints its text without a traceback and
exits with code 2. A failed *trial* is not an error but a record (``harness.store``).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class DiraBenchError(Exception):
    """A mistake in the input that its author can fix; the text is one clear sentence."""


class ConfigurationError(DiraBenchError):
    """A registry, profile or parameter file says something malformed or contradictory."""


class UnknownName(ConfigurationError):
    """A method, task, profile or component that no registry holds."""


class Unavailable(DiraBenchError):
    """Something that was asked for cannot be had here: a data root, a weight file, an optional package."""


class BrokenCode(Unavailable):
    """Code that an entry names cannot be imported, or breaks when it is called: that entry alone is unavailable."""


class BrokenProject(DiraBenchError):
    """Something that every entry needs is broken: it is said once, and no entry is to blame."""


class DataError(DiraBenchError):
    """A data set on disk that breaks its own format: a missing column, a truncated image, a leaking split."""


class CheckpointError(DiraBenchError):
    """A weight file that is damaged, foreign, of another architecture, or not the one that was promised."""


class StoreError(DiraBenchError):
    """The store of trials cannot be read or written: a damaged record, a full disk, another driver's lease."""


class VersionError(DiraBenchError):
    """Code that changes numbers was edited without raising the version that represents it."""


def unknown(kind: str, name: str, available: Iterable[str], where: str) -> UnknownName:
    """Build the error for a name that is not registered, with near names.

    Args:
        kind: What was looked up, in the field's word: ``method``, ``task``, ``profile``, …
        name: The name as the user gave it.
        available: Every name that would have been accepted.
        where: The file or option in which the name was looked up.

    Returns:
        The error, ready to raise.

    Example:
        >>> print(unknown("method", "moco", ["moco_v2", "random"], "methods/registry.yaml"))
        no method "moco" in methods/registry.yaml; did you mean "moco_v2"?
    """
    names = sorted(available)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if near:
        advice = "did you mean " + " or ".join(f'"{n}"' for n in near) + "?"
    else:
        advice = "expected one of " + ", ".join(names) + "." if names else "none is registered."
    return UnknownName(f'no {kind} "{name}" in {where}; {advice}')


def many(count: int, noun: str, plural: str = "") -> str:
    """Write a count with its noun: ``1 trial``, ``2 trials``."""
    return f"{count} {noun if count == 1 else plural or noun + 's'}"
