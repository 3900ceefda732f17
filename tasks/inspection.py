"""Looking at a data set without training on it: write a phantom of one, verify one. What ``dira-bench data`` calls."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import JsonValue

from harness.errors import DataError, Unavailable
from tasks.cohort_configuration import SYNTHETIC_MARKER, path_of
from tasks.cohorts.need import bytes_of
from tasks.datasets.catalogue import phantom_of
from tasks.datasets.known_roots import about_cohort, forget, remembered
from tasks.datasets.opening import open_adapter, read_index
from tasks.layouts.adapter import Adapter
from tasks.layouts.in_parallel import Effort, looking
from tasks.layouts.index import Finding, declared
from tasks.layouts.lists import describe_list
from tasks.specs import CohortConfiguration


def write_phantom(raw: Mapping[str, object], folder: Path, stamp: str) -> Mapping[str, JsonValue] | None:
    """Write a phantom of a data set in its true on-disk layout, with a file that says it is one.

    Used as a data root, it is known by that file and every number from it is stamped.

    Args:
        raw: ``TaskPlan.cohort`` of a profile that uses phantoms.
        folder: An empty or new folder.
        stamp: ``TaskPlan.stamp``.

    Returns:
        What the generator says of it, its stamp among it.

    Raises:
        Unavailable: If the cohort has no generator.
    """
    cohort = CohortConfiguration.model_validate(raw)
    if cohort.generator is None:
        raise Unavailable(
            f'the cohort of adapter "{cohort.adapter}" names no generator; expected one that writes its phantom; '
            "write options: {generator: package.module:function} in the task's entry."
        )
    folder.mkdir(parents=True, exist_ok=True)
    made = phantom_of(cohort.generator).write(folder, cohort.generator_options or {})
    (folder / SYNTHETIC_MARKER).write_text(
        f"{stamp}\nMade by a program. Nothing measured on it says anything about patients.\n"
    )
    return made


def verify(raw: Mapping[str, object], root: Path, *, published: bool, effort: Effort | None = None) -> list[Finding]:
    """Check a data set on disk, opening every image or a sample; what was remembered of large roots is forgotten.

    Args:
        raw: ``TaskPlan.cohort`` of any profile: it names the adapter and the split.
        root: The data set.
        published: Compare counts with the published ones; leave it out for a phantom.
        effort: Processes, sample and progress; None: one process opens all.
    """
    forget()
    effort = effort or Effort()
    cohort = CohortConfiguration.model_validate(raw)
    adapter, split = open_adapter(cohort), cohort.split
    with looking(effort):
        found = adapter.verify(root, split, published=published and not split.sample, decode=True)
    return [*declared(split), *found, *_lists(adapter, root, cohort), *_sampled(effort)]


def _sampled(effort: Effort) -> list[Finding]:
    """Say which part was opened, where not all was."""
    if effort.opened >= effort.of:
        return []
    text = f"{effort.opened} of {effort.of} files were opened, drawn with a fixed seed; the others were not looked into"
    return [Finding("note", text)]


def bytes_needed(raw: Mapping[str, object], root: Path) -> int:
    """Return how many bytes a cohort of real files takes once it is decoded; counted once for a large root.

    Args:
        raw: ``TaskPlan.cohort`` of a profile that reads real files.
        root: The data root.

    Raises:
        DataError: If the files make no sense.
    """
    cohort = CohortConfiguration.model_validate(raw)
    adapter = open_adapter(cohort)

    def ask() -> str:
        return str(bytes_of(cohort, read_index(adapter, root, cohort), adapter, root))

    return int(remembered(root, adapter, {"bytes of": about_cohort(cohort)}, ask))


def _lists(adapter: Adapter, root: Path, cohort: CohortConfiguration) -> list[Finding]:
    """Say what lists of the user's own make of the split: cases and patients of each part, or what is wrong."""
    if not cohort.lists:
        return []
    try:
        described = {part: describe_list(root, path_of(given)) for part, given in cohort.lists.items()}
        index = read_index(adapter, root, cohort.model_copy(update={"lists": described}))
    except DataError as error:
        return [Finding("fail", str(error))]
    parts = index.cases.groupby("split")["patient"].agg(["size", "nunique"])
    words = ", ".join(f"{part} {row['size']} cases of {row['nunique']} patients" for part, row in parts.iterrows())
    if index.boxes is not None:
        tested = index.boxes["case"].isin(set(index.cases.loc[index.cases["split"] == "test", "case"]))
        words += f"; {int(tested.sum())} of {len(tested)} boxes lie on test cases"
    return [Finding("note", f"by the entry's lists: {words}")]
