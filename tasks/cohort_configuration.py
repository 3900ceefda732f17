"""From a registry entry to what its images are: a ``CohortConfiguration``, with or without the real files. No torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

from pydantic import ValidationError

from harness.errors import BrokenCode, ConfigurationError, DataError, Unavailable, unknown
from harness.pixels import SPLITS
from harness.profiles import merge
from harness.spec import NO_TRANSFER, TaskEntry
from harness.typed import Mistakes, read
from tasks.cohort_options import (
    Cohort,
    adapter_mistakes,
    cohort_mistakes,
    generator_mistakes,
    read_without_nulls,
    without_nulls,
)
from tasks.datasets.catalogue import data_set_of, phantoms
from tasks.datasets.known_roots import fingerprint
from tasks.datasets.opening import open_adapter
from tasks.entry_options import Options
from tasks.layouts.adapter import KnowsTestCases
from tasks.layouts.data_set import DataSet
from tasks.layouts.dicom import MISSING
from tasks.layouts.lists import COMMITTED, describe_list
from tasks.layouts.volumes import missing
from tasks.options import Split
from tasks.patch_options import Patches
from tasks.phantoms.anatomy_files import sources
from tasks.profiles import Profile, component_versions
from tasks.specs import CohortConfiguration

SYNTHETIC_MARKER = "SYNTHETIC.txt"  # lies in the root of every phantom; its first line is the stamp
CACHE_PX = 512  # side of a cached image where nobody says one


def resolve_cohort(
    entry: TaskEntry, options: Options, scale: Profile, errors: list[str]
) -> tuple[CohortConfiguration | None, str | None]:
    """Return what the images of a task are and why they cannot be had, if so.

    Args:
        entry: Of the registry.
        options: Its options.
        scale: The profile.
        errors: Receives every mistake; with one of a cohort's keys there is no configuration.
    """
    given = merge(scale.cohorts.get(entry.adapter, {}), options.cohort)
    mistakes = list(cohort_mistakes(given, entry.adapter, entry.dimensions, "options.cohort."))
    errors += mistakes
    if mistakes:
        return None, None
    asked = Cohort.model_validate({**given, "patches": without_nulls(given.get("patches"))})
    known = component_versions()
    versions = {"cohorts": known["cohorts"], **_version("adapter", entry.adapter)}
    if entry.dimensions == 3:
        versions["patches"] = known["patches"]
    versions |= options.versions
    said: dict[str, object] = {
        "source": scale.pixels,
        "adapter": entry.adapter,
        "split": _split(entry, options, scale, asked, errors),
        **_images(entry, given, asked, errors),
        "versions": versions,
    }
    if asked.adapter:
        said["adapter_options"] = asked.adapter
        errors += adapter_mistakes(entry.adapter, asked.adapter, "options.cohort.adapter: ")
    if asked.lists:
        errors += _list_mistakes(entry, asked.lists)
        if scale.pixels != "phantom":
            said["lists"] = asked.lists
    problem = _lacking(entry)
    if problem is None and scale.pixels == "phantom":
        problem = _generator(entry, options, asked, said, versions, errors)
    try:
        return CohortConfiguration.model_validate(said), problem
    except ValidationError:  # each of its parts was named above
        return None, problem


def _split(entry: TaskEntry, options: Options, scale: Profile, asked: Cohort, errors: list[str]) -> object:
    """Return how cases are divided, as JSON values."""
    of_entry = {"rule": entry.split, "sample": entry.sample and scale.pixels != "phantom"}
    said = {} if asked.split is None else asked.split.model_dump(exclude_unset=True)
    own = options.cohort.get("split") or {}
    for key in of_entry:
        if key in own:
            named = "split" if key == "rule" else key
            errors.append(f"options.cohort.split.{key}: the entry's own key {named} says it; remove this one")
    if entry.split == "official" and "test_fraction" in own:
        errors.append("options.cohort.split.test_fraction: has no effect with split official; remove it.")
    usual = {"validation_fraction": 0.1, "seed": 99}
    try:
        return read(Split, {**usual, **said, **of_entry}, "options.cohort.split: ").model_dump(mode="json")
    except Mistakes as error:
        errors += error.lines
        return None


def _images(entry: TaskEntry, given: Mapping[str, object], asked: Cohort, errors: list[str]) -> dict[str, object]:
    """Return how images are cached in 2D, or how patches are cut in 3D, as JSON values."""
    if entry.dimensions == 2:
        return {"cache_px": asked.cache_px or CACHE_PX, "resize": asked.resize or "area"}
    said: dict[str, object] = {}
    try:
        patches = read_without_nulls(Patches, given.get("patches") or {}, "options.cohort.patches.")
        said["patches"] = patches.model_dump(mode="json")
    except Mistakes as error:
        errors += error.lines
    if asked.scans is not None:
        said["scans"] = asked.scans.model_dump(mode="json")
    return said


def _lacking(entry: TaskEntry) -> str | None:
    """Say which package is not here that the images are read with."""
    known = data_set(entry.adapter)
    needed = None if known is None else known.needs
    if needed is None or find_spec(needed) is not None:
        return None
    return MISSING if needed == "pydicom" else missing(needed, f"the scans of {entry.name}")


def _generator(
    entry: TaskEntry,
    options: Options,
    asked: Cohort,
    said: dict[str, object],
    versions: dict[str, int],
    errors: list[str],
) -> str | None:
    """Add what makes the phantom; returns why there can be none, if so."""
    known = data_set(entry.adapter)
    usual = entry.adapter if known is not None and known.phantom is not None else None
    name = options.generator or asked.made_by or usual
    if name is None:
        return (
            f'no phantom generator is known for adapter "{entry.adapter}" of task {entry.name}; write '
            "options: {generator: package.module:function} in its entry, or choose a profile with real data."
        )
    if ":" not in name and name not in phantoms():
        errors.append(str(unknown("generator", name, phantoms(), f"options of task {entry.name}")))
        return None
    own = asked.generator or {}
    errors += generator_mistakes(name, entry.adapter, own, "options.cohort.generator.")
    said |= {"generator": name, "generator_options": without_nulls(own)}
    versions |= _version("generator", name)
    if name in phantoms() and phantoms()[name].sources:
        try:
            said["sources"] = sources(*phantoms()[name].sources)
        except Unavailable as error:
            return str(error)
    return None


def with_fingerprint(
    entry: TaskEntry, cohort: CohortConfiguration, root: Path | None
) -> tuple[CohortConfiguration, str | None]:
    """Add the digest of split lists, label files and sorted (path, size) of the real files, never their folder.

    Returns:
        The cohort and, where the files are not there or make no sense, one sentence that says so.
    """
    if root is None:
        return cohort, no_root(entry)
    if not root.is_dir():
        return cohort, f"the data root of {entry.name}, {root}, is no folder; {_remedy(entry)}"
    try:
        found: dict[str, object] = {"fingerprint": fingerprint(open_adapter(cohort), root, cohort.adapter_options)}
        if cohort.lists is not None:
            found["lists"] = {part: describe_list(root, path_of(given)) for part, given in cohort.lists.items()}
    except DataError as error:
        return cohort, str(error)
    marker = root / SYNTHETIC_MARKER
    if marker.is_file():
        found["stamp"] = marker.read_text().splitlines()[0]
    return cohort.model_copy(update=found), None


def from_committed(cohort: CohortConfiguration, manifest: Mapping[str, object]) -> CohortConfiguration | None:
    """Add what the files said when the committed results were made; None if those were asked of other files.

    An adapter reads the files that its options name, so a committed digest stands for the same adapter, options and
    lists alone. A list of this repository is read as it is now.
    """
    try:
        known = CohortConfiguration.model_validate(manifest.get("configuration"))
    except ValidationError:
        return None
    same = (known.source, known.adapter, known.adapter_options) == (
        cohort.source,
        cohort.adapter,
        cohort.adapter_options,
    )
    paths = {part: path_of(given) for part, given in (known.lists or {}).items()}
    if known.fingerprint is None or not same or paths != (cohort.lists or {}):
        return None
    facts = manifest.get("facts")
    if not _lists_stand(cohort.adapter_options or {}, facts if isinstance(facts, Mapping) else {}):
        return None
    found: dict[str, object] = {"fingerprint": known.fingerprint}
    if known.lists is not None:
        found["lists"] = {part: _as_it_is(given) for part, given in known.lists.items()}
    if known.stamp is not None:
        found["stamp"] = known.stamp
    return cohort.model_copy(update=found)


def path_of(given: str | dict[str, str]) -> str:
    """Return the path of a list, which is known by it, or once the data root is known by path and content."""
    return given if isinstance(given, str) else given["file"]


def _as_it_is(given: str | dict[str, str]) -> str | dict[str, str]:
    """Describe a list of this repository anew; one of the data root as it was."""
    return describe_list(Path(), path_of(given)) if path_of(given).startswith(COMMITTED) else given


def _lists_stand(options: Mapping[str, object], facts: Mapping[str, object]) -> bool:
    """Say whether each list of this repository that an adapter's options name is still the one that it read."""
    named = [value for value in options.values() if isinstance(value, str) and value.startswith(COMMITTED)]
    told = {fact.get("file"): fact.get("sha256") for fact in facts.values() if isinstance(fact, Mapping)}
    return all(told.get(file) == describe_list(Path(), file)["sha256"] for file in named)


def other_images(entry: TaskEntry, cohort: CohortConfiguration, committed: CohortConfiguration | None) -> str | None:
    """Say that the data root holds other files than the committed results are of."""
    if committed is None or _of_files(cohort) == _of_files(committed):
        return None
    return (
        f"the data root of {entry.name} holds other files than the committed results are of (fingerprint "
        f"{(cohort.fingerprint or '')[:12]}, committed {(committed.fingerprint or '')[:12]}); the plan is of the data "
        "root."
    )


def _of_files(cohort: CohortConfiguration) -> tuple[object, ...]:
    """What only the files can say."""
    return cohort.fingerprint, cohort.lists, cohort.stamp


def no_root(entry: TaskEntry) -> str:
    """Say that no data root is known, and what to do."""
    return f"no data root for {entry.name} ({entry.label}); {_remedy(entry)}"


def _remedy(entry: TaskEntry) -> str:
    key = f"DIRA_BENCH_DATA_{entry.name.upper()}"
    return f"set {key} to its folder, or write data_roots: {{{entry.name}: FOLDER}} into params.local.yaml."


def published_test_cases(cohort: CohortConfiguration) -> str | None:
    """Return the digest that the adapter declares of its published test cases, if any."""
    adapter = open_adapter(cohort)
    return adapter.test_cases if isinstance(adapter, KnowsTestCases) else None


def outputs_of_table(entry: TaskEntry, options: Options, cohort: CohortConfiguration) -> list[str]:
    """Hold the outputs against the labels, which a table has from its entry; elsewhere the files say them."""
    labels, scored = open_adapter(cohort).labels, options.transfer.get("scored_labels") or ()
    if entry.transfer == NO_TRANSFER or entry.outputs in {len(labels), len(scored)}:
        return []
    return [f"outputs: found {entry.outputs}; the entry names the labels {', '.join(labels)}; write {len(labels)}"]


def _list_mistakes(entry: TaskEntry, given: Mapping[str, str]) -> Iterator[str]:
    """Check split lists of the user's own: split → path relative to the data root or, in tasks/lists/, of ours."""
    asked = "options.cohort.lists"
    for part in given:
        if part not in SPLITS:
            yield str(unknown("split", part, SPLITS, asked))
    needed = ("train", "validation") if entry.split == "official" else SPLITS
    yield from (f"{asked}: no list for {part}; add it" for part in needed if part not in given)
    for part, file in given.items():
        if Path(file).is_absolute():
            yield (
                f"{asked}.{part}: found {file}; expected a path relative to the data root, or tasks/lists/… for one of "
                "the repository, because an absolute one would be part of the results' identity; put the list there, "
                "or a link"
            )


def _version(role: str, name: str) -> dict[str, int]:
    key, versions = f"{role}_{name}", component_versions()
    return {key: versions[key]} if key in versions else {}


def data_set(adapter: str) -> DataSet | None:
    """Return the data set that an adapter belongs to; None if there is none, or it cannot be imported."""
    try:
        return data_set_of(adapter)
    except (ConfigurationError, BrokenCode):
        return None
