"""Looking at a data set without training on it: write a phantom of one, verify one. What ``dira-bench data`` calls."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import Unavailable
from harness.registry import import_dotted
from tasks.configuration import GENERATORS, SYNTHETIC_MARKER
from tasks.datasets.index import Finding, declared
from tasks.datasets.opening import open_adapter
from tasks.options import Split


def write_phantom(cohort: Mapping[str, Any], folder: Path, stamp: str) -> dict[str, Any]:
    """Write a phantom of a data set in its true on-disk layout, with a file that says it is one.

    Used as a data root, it is known by that file and every number from it is stamped.

    Args:
        cohort: ``TaskPlan.cohort`` of a profile that uses phantoms.
        folder: An empty or new folder.
        stamp: ``TaskPlan.stamp``.

    Returns:
        What the generator says of it, its stamp among it.

    Raises:
        Unavailable: If the cohort has no generator.
    """
    name = cohort.get("generator")
    if name is None:
        raise Unavailable(
            f'the cohort of adapter "{cohort.get("adapter")}" names no generator; expected one that writes its '
            "phantom; write options: {generator: package.module:function} in the task's entry."
        )
    folder.mkdir(parents=True, exist_ok=True)
    made: dict[str, Any] = import_dotted(GENERATORS.get(name, name))(folder, cohort["generator_options"])
    (folder / SYNTHETIC_MARKER).write_text(
        f"{stamp}\nMade by a program. Nothing measured on it says anything about patients.\n"
    )
    return made


def verify(cohort: Mapping[str, Any], root: Path, *, published: bool) -> list[Finding]:
    """Check a data set on disk, opening every image.

    Args:
        cohort: ``TaskPlan.cohort`` of any profile: it names the adapter and the split.
        root: The data set.
        published: Compare counts with the published ones; leave it out for a phantom.
    """
    adapter = open_adapter(cohort)
    split = Split.model_validate(cohort["split"])
    found = adapter.verify(root, split, published=published and not split.sample, decode=True)
    return [*declared(split), *found]
