"""What an entry's ``options`` may hold. No torch."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from harness.spec import Frozen, TaskEntry, Version
from harness.typed import Mistakes, read


class Options(Frozen):
    """What an entry's ``options`` may hold.

    Attributes:
        cohort: Laid over the profile's cohort of the adapter (``tasks.cohort_options.Cohort``).
        transfer: Laid over the profile's transfer; the keys are the transfer's own.
        metrics: Further metrics of a transfer of one's own; a built-in one has its own.
        generator: Short name or dotted path of what makes the phantom.
        versions: Numbers that stand for code from outside; they become identity.
    """

    cohort: dict[str, Any] = Field(default_factory=dict)
    transfer: dict[str, Any] = Field(default_factory=dict)
    metrics: tuple[str, ...] = ()
    generator: str | None = None
    versions: dict[str, Version] = Field(default_factory=dict)


def read_options(entry: TaskEntry, errors: list[str]) -> Options | None:
    """Return an entry's options; None if nothing can be made of them.

    Args:
        entry: Of the registry.
        errors: Receives every mistake; unknown keys are left out of what is returned.
    """
    try:
        return read(Options, entry.options, "options.")
    except Mistakes as error:
        errors += error.lines
    if any("unknown key" not in line for line in errors):  # nothing can be made of options of another kind
        return None
    return Options.model_validate({key: value for key, value in entry.options.items() if key in Options.model_fields})
