"""What a profile or an entry may say of a cohort, checked before anything is made of it. No torch.

The keys have a model here; those of an adapter and of a generator are their own (``DataSet.options``,
``Phantom.options``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, Field

from harness.errors import BrokenCode, ConfigurationError
from harness.spec import Frozen
from harness.typed import Mistakes, read, unknown_nulls
from tasks.datasets.catalogue import adapter_of, adapter_options, phantom_of, readers
from tasks.layouts.adapter import AdapterWithOptions
from tasks.options import Fraction
from tasks.patch_options import Patches, ScanStore

M = TypeVar("M")
IN_2D, IN_3D = ("cache_px", "resize"), ("patches", "scans")


def _files(given: object) -> object:
    if not isinstance(given, Mapping) or not all(isinstance(file, str) for file in given.values()):
        raise ValueError("{train: PATH, validation: PATH, test: PATH}")
    return given


class PartOfSplit(Frozen):
    """What may be said of a split besides its rule and whether it is a sample, which are the entry's own keys."""

    rule: Literal["official", "random"] | None = None
    sample: bool | None = None
    test_fraction: Fraction | None = None
    validation_fraction: Annotated[float, Field(gt=0.0, lt=1.0)] | None = None
    seed: Annotated[int, Field(ge=0)] | None = None


class Cohort(Frozen):
    """How the images of a task are made, split and cached; see docs/deviations.md.

    Attributes:
        made_by: Generator, where it is not the adapter's own.
        cache_px: Side of a cached image.
        resize: How it is resized.
        patches: How patches are cut out of scans.
        scans: How whole scans are kept for pretraining in 3D.
        split: How cases are divided.
        adapter: The adapter's own options.
        lists: Split → list of the user's own.
        generator: The generator's own options.
    """

    made_by: str | None = None
    cache_px: Annotated[int, Field(ge=8)] | None = None
    resize: Literal["area", "nearest"] | None = None
    patches: Patches | None = None
    scans: ScanStore | None = None
    split: PartOfSplit | None = None
    adapter: dict[str, Any] | None = None
    lists: Annotated[dict[str, str], BeforeValidator(_files)] | None = None
    generator: dict[str, Any] | None = None


def cohort_mistakes(given: Mapping[str, object], adapter: str, dimensions: int, prefix: str) -> Iterator[str]:
    """Find what is wrong with a cohort's keys, those of adapter and generator apart.

    Args:
        given: The keys, already merged; null takes a key back.
        adapter: As the entry has it.
        dimensions: Of the task.
        prefix: Written before each sentence.
    """
    try:
        read(Cohort, {**given, "patches": without_nulls(given.get("patches"))}, prefix)
        if isinstance(given.get("patches"), Mapping):
            read_without_nulls(Patches, given["patches"], f"{prefix}patches.")
    except Mistakes as error:
        yield from error.lines
    for key in IN_3D if dimensions == 2 else IN_2D:
        if given.get(key) is not None:
            yield f"{prefix}{key}: has no effect in {dimensions}D; remove it."
    patches = given.get("patches") or {}
    known = readers().get(adapter)
    for key in known.unused_patches if known is not None else ():
        if isinstance(patches, Mapping) and patches.get(key) is not None:
            yield f"{prefix}patches.{key}: has no effect for adapter {adapter}; remove it."


def adapter_mistakes(name: str, options: object, prefix: str) -> Iterator[str]:
    """Find what an adapter does not take; one that cannot be imported is somebody else's finding.

    Args:
        name: Short name or dotted path of the adapter.
        options: For it.
        prefix: Written before each sentence.
    """
    if not isinstance(options, Mapping):
        yield f"{prefix}found {options!r}; expected a mapping."
        return
    try:
        adapter, model = adapter_of(name), adapter_options(name)
    except (ConfigurationError, BrokenCode):
        return
    if not isinstance(adapter, AdapterWithOptions):
        yield f"{prefix}found {', '.join(map(str, options))}; adapter {adapter.name} has no options; remove them."
        return
    try:
        if model is not None:
            read(model, dict(options), prefix)
        adapter.with_options(options)
    except Mistakes as error:
        yield from error.lines
    except ConfigurationError as error:
        yield str(error)


def generator_mistakes(name: str, adapter: str, options: Mapping[str, object], prefix: str) -> Iterator[str]:
    """Find what a generator does not take, where its options have a model.

    Args:
        name: Short name or dotted path of the generator.
        adapter: That of the adapter, whose own generator's keys a profile may take back by null.
        options: For it.
        prefix: Written before each sentence.
    """
    declared, others = _generator_options(name), _generator_options(adapter)
    if declared is None:
        return
    taken_back = {key for key, value in options.items() if value is None and others and key in others.model_fields}
    try:
        read_without_nulls(declared, {key: options[key] for key in options if key not in taken_back}, prefix)
    except Mistakes as error:
        yield from error.lines


def _generator_options(name: str) -> type[BaseModel] | None:
    """Return the model of a generator's options; None if it has none, is not there or cannot be imported."""
    try:
        return phantom_of(name).options
    except (ConfigurationError, BrokenCode):
        return None


def read_without_nulls(model: type[M], given: object, prefix: str) -> M:
    """Read a mapping in which null takes back a key of the profile that is extended.

    Raises:
        Mistakes: With everything that is wrong, keys that no profile can have said included.
    """
    unknown = list(unknown_nulls(model, given, prefix))
    try:
        made = read(model, without_nulls(given), prefix)
    except Mistakes as error:
        raise Mistakes([*error.lines, *unknown]) from None
    if unknown:
        raise Mistakes(unknown)
    return made


def without_nulls(given: object) -> object:
    """Leave out keys that are set to null, at every depth."""
    if not isinstance(given, Mapping):
        return given
    return {key: without_nulls(value) for key, value in given.items() if value is not None}
