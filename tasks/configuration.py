"""From a registry entry to a plan: ``resolve``. No torch, so that ids and plans work without it.

An adapter, a generator or a transfer is known by a short name or found by a dotted path; a task from outside comes
through the same door: its entry names its own adapter and generator and gives ``options: {cohort: …, transfer: …}``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from harness.contracts import Committed
from harness.dotted import import_dotted
from harness.errors import BrokenCode, ConfigurationError, UnknownName, unknown
from harness.profiles import merge
from harness.spec import DataTerms, TaskEntry, TaskPlan
from harness.typed import Mistakes
from tasks.cohort_configuration import (
    data_set,
    from_committed,
    no_root,
    other_images,
    outputs_of_table,
    published_test_cases,
    resolve_cohort,
    with_fingerprint,
)
from tasks.cohort_options import (
    Cohort,
    adapter_mistakes,
    cohort_mistakes,
    generator_mistakes,
    read_without_nulls,
    without_nulls,
)
from tasks.datasets.catalogue import adapter_of, phantoms, readers, terms_of
from tasks.entry_options import read_options
from tasks.layouts.adapter import VolumeAdapter
from tasks.profiles import Profile, load_profile, where
from tasks.specs import CohortConfiguration
from tasks.transfer_configuration import TRANSFERS, Transferred, resolve_transfer, without_spacing

COHORT_RUN = "tasks.cohorts.build:build"


def resolve(
    entry: TaskEntry, profile: str, data_roots: Mapping[str, Path], committed: Committed = lambda: None
) -> TaskPlan:
    """Turn an entry into a plan under a profile.

    Args:
        entry: One entry of a registry of tasks.
        profile: Name of a profile.
        data_roots: Task name → root folder of the real data set, where one is known.
        committed: Returns the manifest of the cohort as the committed results have it, or None.

    Returns:
        The plan. Without a data root that the profile asks for, the committed results say which images are meant; if
        they do not, it is unavailable and says what to do. An adapter from outside that cannot be imported makes it
        unavailable too, because a broken plug-in must not break a listing.

    Raises:
        ConfigurationError: With every error of the entry at once, one a line.
    """
    said = _said(entry, profile)
    images = _images(entry, said, data_roots.get(entry.name), committed)
    cohort, synthetic = images.cohort, images.synthetic
    return TaskPlan(
        cohort_run=COHORT_RUN,
        cohort=cohort.dump(),
        synthetic=synthetic,
        stamp=images.stamp,
        scale="" if synthetic else said.scale.scale,
        sample_note="" if synthetic else entry.sample_note,
        terms=said.terms,
        trial_run=said.transfer.run,
        transfer=said.transfer.dump(cohort),
        metrics=said.transfer.metrics,
        split_published=not synthetic and entry.split == "official" and not cohort.has_own_test,
        test_cases=None if synthetic or images.problem or entry.sample else published_test_cases(cohort),
        no_images=images.none_here,
        other_images=images.others,
        unavailable=images.problem,
    )


@dataclass(frozen=True)
class _Said:
    """What entry and profile say, before any file is asked.

    Attributes:
        scale: The profile.
        transfer: How encoders are fine-tuned and evaluated.
        cohort: What the images are, but for what the files say.
        terms: Of the data set.
        problem: Why the task cannot run here; None if it can.
    """

    scale: Profile
    transfer: Transferred
    cohort: CohortConfiguration
    terms: DataTerms | None
    problem: str | None


def _said(entry: TaskEntry, profile: str) -> _Said:
    """Read an entry under a profile.

    Raises:
        ConfigurationError: With every error of the entry at once, one a line.
    """
    errors: list[str] = []
    try:
        scale = checked_profile(profile)
    except ConfigurationError as error:
        raise _all_of(entry, str(error).splitlines()) from error
    options = read_options(entry, errors)
    if options is None:
        raise _all_of(entry, errors)
    if ":" not in entry.adapter and entry.adapter not in readers():
        errors.append(str(unknown("adapter", entry.adapter, readers(), f"task {entry.name}")))
    terms = _terms(entry, errors)
    transfer = resolve_transfer(entry, options, scale, errors)
    cohort, problem = resolve_cohort(entry, options, scale, errors)
    if ":" in entry.metric:
        problem = problem or _broken(entry.metric)
    if not errors and problem is None and cohort is not None and transfer is not None:
        errors += without_spacing(transfer, cohort)
    known_set = data_set(entry.adapter)
    if not errors and cohort is not None and known_set is not None and known_set.labels_of_entry:
        errors += outputs_of_table(entry, options, cohort)
    if errors or cohort is None or transfer is None:
        raise _all_of(entry, errors)
    if problem is None and ":" in entry.adapter:
        problem = _no_adapter(entry)
    return _Said(scale, transfer, cohort, terms, problem)


@dataclass(frozen=True)
class _Images:
    """Which images a task has.

    Attributes:
        cohort: With what the files say, where it is known.
        problem: Why they cannot be had; None if they can.
        synthetic: Whether a program made them.
        stamp: What every page prints beside a number from them.
        none_here: ``TaskPlan.no_images``.
        others: ``TaskPlan.other_images``.
    """

    cohort: CohortConfiguration
    problem: str | None
    synthetic: bool
    stamp: str
    none_here: str | None = None
    others: str | None = None


def _images(entry: TaskEntry, said: _Said, root: Path | None, committed: Committed) -> _Images:
    """Ask the files, or what is committed of them, which images a cohort has."""
    scale, cohort, problem = said.scale, said.cohort, said.problem
    made_by = phantoms().get(cohort.generator or "")
    stamp = (made_by.stamp if made_by is not None else "") or scale.stamp
    if problem is not None or scale.pixels == "phantom":
        return _Images(cohort, problem, scale.pixels == "phantom", stamp)
    known = committed()
    of_committed = None if known is None else from_committed(cohort, known)
    none_here = others = None
    if root is None and of_committed is not None:
        cohort, none_here = of_committed, no_root(entry)
    else:
        cohort, problem = with_fingerprint(entry, cohort, root)
        others = other_images(entry, cohort, of_committed) if problem is None else None
    synthetic = cohort.stamp is not None  # a phantom given as a data root stays a phantom
    return _Images(cohort, problem, synthetic, cohort.stamp or stamp, none_here, others)


@cache
def checked_profile(name: str) -> Profile:
    """Return a profile of which every mapping was checked, whether or not a task uses it.

    Raises:
        UnknownName: If there is none of that name.
        Mistakes: With everything that is wrong in it.
    """
    scale, prefix = load_profile(name), f"{where(name)}: "
    mistakes: list[str] = []
    for adapter in {**scale.cohorts, **scale.transfers_of}:
        if ":" not in adapter and adapter not in readers():
            mistakes.append(f"{prefix}{unknown('adapter', adapter, readers(), 'cohorts and transfers_of')}")
    for adapter, given in scale.cohorts.items():
        mistakes += _cohort_mistakes(adapter, given, scale.pixels, f"{prefix}cohorts.{adapter}.")
    usual: dict[str, dict[str, Any]] = {}
    for transfer, given in scale.transfers.items():
        if transfer not in TRANSFERS:
            mistakes.append(f"{prefix}{unknown('transfer', transfer, TRANSFERS, 'transfers')}")
            continue
        usual[transfer] = given
        mistakes += _mistakes(TRANSFERS[transfer], given, f"{prefix}transfers.{transfer}.")
    if not mistakes:  # a data set's own part fits the transfer of its task, whichever that is
        for adapter, given in scale.transfers_of.items():
            found = [
                _mistakes(TRANSFERS[one], merge(usual[one], given), f"{prefix}transfers_of.{adapter}.") for one in usual
            ]
            fewest = min(found, key=len, default=list[str]())
            mistakes += fewest
    if mistakes:
        raise Mistakes(mistakes)
    return scale


def _mistakes(model: type[BaseModel], given: Mapping[str, object], prefix: str) -> list[str]:
    try:
        read_without_nulls(model, given, prefix)
    except Mistakes as error:
        return list(error.lines)
    return []


def _cohort_mistakes(adapter: str, given: Mapping[str, object], pixels: str, prefix: str) -> list[str]:
    dimensions = 3 if "patches" in given else 2
    mistakes = list(cohort_mistakes(given, adapter, dimensions, prefix))
    if mistakes or adapter not in readers():
        return mistakes
    asked = Cohort.model_validate({**given, "patches": without_nulls(given.get("patches"))})
    if asked.adapter:
        mistakes += adapter_mistakes(adapter, asked.adapter, f"{prefix}adapter.")
    generator = asked.made_by or adapter
    if generator == adapter and adapter not in phantoms():  # nobody makes phantoms of one's own images
        return mistakes
    if generator not in phantoms() and ":" not in generator:
        return [*mistakes, f"{prefix}made_by: {unknown('generator', generator, phantoms(), 'the profile')}"]
    if pixels == "phantom":
        mistakes += generator_mistakes(generator, adapter, asked.generator or {}, f"{prefix}generator.")
    return mistakes


def _no_adapter(entry: TaskEntry) -> str | None:
    """Say why an adapter from outside cannot be used: it cannot be imported, or is no adapter of this dimension."""
    try:
        adapter = adapter_of(entry.adapter)
    except (ConfigurationError, BrokenCode) as error:
        return str(error)
    if entry.dimensions == 3 and not isinstance(adapter, VolumeAdapter):
        lacking = ", ".join(part for part in ("hounsfield", "channels", "open") if not hasattr(adapter, part))
        return (
            f'"{entry.adapter}" has no {lacking}; expected an adapter of volumes (tasks.layouts.adapter); write '
            "what is missing."
        )
    return None


def _broken(dotted: str) -> str | None:
    """Say why what a dotted path names cannot be imported."""
    try:
        import_dotted(dotted)
    except (ConfigurationError, BrokenCode) as error:
        return str(error)
    return None


def _terms(entry: TaskEntry, errors: list[str]) -> DataTerms | None:
    try:
        return terms_of(entry.adapter, entry.data_set)
    except UnknownName as error:
        errors.append(f"data_set: {error}")
        return None


def _all_of(entry: TaskEntry, errors: list[str]) -> ConfigurationError:
    origin = f" ({entry.origin})" if entry.origin else ""
    head = f'task "{entry.name}"{origin}: {len(errors)} {"error" if len(errors) == 1 else "errors"}'
    return ConfigurationError("\n".join([head, *(f"  - {line}" for line in errors)]))
