"""From a registry entry to a plan: ``resolve``. No torch, so that ids and plans work without it.

An adapter, a generator or a transfer is known by a short name or found by a dotted path; a task from outside comes
through the same door: its entry names its own adapter and generator and gives ``options: {cohort: …, transfer: …}``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from harness.contracts import Committed
from harness.dotted import import_dotted
from harness.errors import BrokenCode, ConfigurationError, DataError, Unavailable, UnknownName, unknown
from harness.metrics import Cases, Classified, Metric, Segmented, metric_of
from harness.metrics import registered as here
from harness.pixels import SPLITS
from harness.profiles import merge
from harness.spec import NO_TRANSFER, DataTerms, Frozen, TaskEntry, TaskPlan, Version
from harness.typed import Mistakes, read
from tasks.cohort_options import (
    adapter_mistakes,
    cohort_mistakes,
    generator_mistakes,
    read_without_nulls,
    without_nulls,
)
from tasks.datasets.catalogue import adapter_of, data_set_of, phantoms, readers, terms_of
from tasks.datasets.opening import open_adapter
from tasks.layouts.adapter import KnowsTestCases, VolumeAdapter
from tasks.layouts.data_set import DataSet
from tasks.layouts.dicom import MISSING
from tasks.layouts.lists import COMMITTED, describe_list
from tasks.layouts.volumes import missing
from tasks.localization_options import Localization
from tasks.options import ClassificationTransfer, SegmentationTransfer, Split
from tasks.patch_options import Patches, ScanStore, VolumeClassificationTransfer, VolumeSegmentationTransfer
from tasks.phantoms.anatomy_files import sources
from tasks.profiles import Profile, component_versions, load_profile, where
from tasks.scoring.masks import spacing_of

SYNTHETIC_MARKER = "SYNTHETIC.txt"  # lies in the root of every phantom; its first line is the stamp
TRANSFERS: dict[str, type[BaseModel]] = {
    "classification": ClassificationTransfer,
    "segmentation": SegmentationTransfer,
    "classification_3d": VolumeClassificationTransfer,
    "segmentation_3d": VolumeSegmentationTransfer,
}
# What a transfer records, whichever is the primary metric; each of its cases' kind may be one.
METRICS: dict[str, tuple[Metric, ...]] = {
    "classification": (here.AUC, here.SCORED_CLASSES),
    "segmentation": (
        here.DICE, here.DICE_POSITIVE, here.DICE_POOLED, here.IOU, here.IOU_MEAN, here.PIXEL_AVERAGE_PRECISION,
        here.DICE_BEST_THRESHOLD,
    ),
    "classification_3d": (here.AUC, here.SCORED_CLASSES),
    "segmentation_3d": (
        here.IOU, here.IOU_CASE_MEAN, here.IOU_TWO_CLASS, here.DICE, here.DICE_POOLED, here.PIXEL_AVERAGE_PRECISION,
    ),
}  # fmt: skip
CASES: dict[str, type[Cases]] = {"classification": Classified, "segmentation": Segmented}
COHORT_RUN = "tasks.cohorts.build:build"
TRIAL_RUN = "tasks.transfer.run:run_trial"


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
    errors: list[str] = []
    try:
        scale = checked_profile(profile)
    except ConfigurationError as error:
        raise _all_of(entry, str(error).splitlines()) from error
    try:
        read(Options, entry.options, "options.")
    except Mistakes as error:
        errors += error.lines
    if any("unknown key" not in line for line in errors):  # nothing can be made of options of another kind
        raise _all_of(entry, errors)
    short = ":" not in entry.adapter
    if short and entry.adapter not in readers():
        errors.append(str(unknown("adapter", entry.adapter, readers(), f"task {entry.name}")))
    terms = _terms(entry, errors)
    transfer, metrics, trial_run = _transfer(entry, scale, errors)
    cohort, problem = _cohort(entry, scale, errors)
    if ":" in entry.metric:
        problem = problem or _broken(entry.metric)
    if not errors and problem is None and ":" not in entry.transfer:
        errors += _without_spacing(metrics, transfer, cohort)
    known_set = _data_set(entry.adapter)
    if not errors and known_set is not None and known_set.labels_of_entry:
        errors += _outputs_of_table(entry, cohort)
    if errors:
        raise _all_of(entry, errors)
    synthetic = scale.pixels == "phantom"
    if problem is None and not short:
        problem = _no_adapter(entry)
    made_by = phantoms().get(cohort.get("generator", ""))
    stamp = (made_by.stamp if made_by is not None else "") or scale.stamp
    no_images = other_images = None
    if problem is None and not synthetic:
        root, known = data_roots.get(entry.name), committed()
        of_committed = None if known is None else _from_committed(cohort, known)
        if root is None and of_committed is not None:
            cohort, no_images = of_committed, _no_root(entry)
        else:
            cohort, problem = _with_fingerprint(entry, cohort, root)
            other_images = _other_images(entry, cohort, of_committed) if problem is None else None
        if "stamp" in cohort:  # a phantom given as a data root stays a phantom
            synthetic, stamp = True, cohort["stamp"]
    if entry.dimensions == 2:
        transfer["cache_px"] = cohort["cache_px"]
    return TaskPlan(
        cohort_run=COHORT_RUN,
        cohort=cohort,
        synthetic=synthetic,
        stamp=stamp,
        scale="" if synthetic else scale.scale,
        sample_note="" if synthetic else entry.sample_note,
        terms=terms,
        trial_run=trial_run,
        transfer=transfer,
        metrics=metrics,
        split_published=not synthetic and entry.split == "official" and "test" not in cohort.get("lists", {}),
        test_cases=None if synthetic or problem or entry.sample else _published_test_cases(cohort),
        no_images=no_images,
        other_images=other_images,
        unavailable=problem,
    )


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
            mistakes += min(found, key=len, default=[])
    if mistakes:
        raise Mistakes(mistakes)
    return scale


def _mistakes(model: type[BaseModel], given: Mapping[str, Any], prefix: str) -> list[str]:
    try:
        read_without_nulls(model, given, prefix)
    except Mistakes as error:
        return list(error.lines)
    return []


def _cohort_mistakes(adapter: str, given: Mapping[str, Any], pixels: str, prefix: str) -> list[str]:
    dimensions = 3 if "patches" in given else 2
    mistakes = list(cohort_mistakes(given, adapter, dimensions, prefix))
    if mistakes or adapter not in readers():
        return mistakes
    if given.get("adapter"):
        mistakes += adapter_mistakes(adapter, given["adapter"], f"{prefix}adapter.")
    generator = given.get("made_by") or adapter
    if generator == adapter and adapter not in phantoms():  # nobody makes phantoms of one's own images
        return mistakes
    if generator not in phantoms() and ":" not in generator:
        return [*mistakes, f"{prefix}made_by: {unknown('generator', generator, phantoms(), 'the profile')}"]
    if pixels == "phantom":
        mistakes += generator_mistakes(generator, adapter, given.get("generator") or {}, f"{prefix}generator.")
    return mistakes


def _transfer(entry: TaskEntry, scale: Profile, errors: list[str]) -> tuple[dict[str, Any], tuple[str, ...], str]:
    """Return the resolved transfer, the metrics with the primary first, and the dotted path of the work."""
    asked = entry.options.get("transfer", {})
    versions = component_versions()
    if ":" in entry.transfer:  # the work of someone else, with options of its own
        metrics = (entry.metric, *(m for m in entry.options.get("metrics", ()) if m != entry.metric))
        return {**asked, "kind": entry.transfer, "outputs": entry.outputs}, metrics, entry.transfer
    known_set = _data_set(entry.adapter)
    if known_set is not None and known_set.serves is not None and entry.transfer not in known_set.serves:
        served = " or ".join(known_set.serves)
        errors.append(f"transfer: found {entry.transfer}; adapter {entry.adapter} serves {served}; write that")
    if entry.transfer == NO_TRANSFER:
        return _no_transfer(entry, errors)
    if entry.transfer not in TRANSFERS:
        errors.append(str(unknown("transfer", entry.transfer, (*TRANSFERS, NO_TRANSFER), f"task {entry.name}")))
        return {}, (), ""
    if "metrics" in entry.options:
        errors.append(
            f"options.metrics: has no effect with transfer {entry.transfer}, whose metrics are its own; remove it."
        )
    name = entry.transfer if entry.dimensions == 2 else f"{entry.transfer}_3d"
    model, known = TRANSFERS[name], tuple(metric.name for metric in METRICS[name])
    errors += _unfit_metric(entry)
    if entry.transfer == "segmentation" and entry.outputs != 1:
        errors.append(f"outputs: found {entry.outputs}; segmentation scores one foreground; write outputs: 1")
    usual = merge(scale.transfers.get(name, {}), scale.transfers_of.get(entry.adapter, {}))
    merged = merge(usual, asked)
    try:
        resolved = read_without_nulls(model, merged, "options.transfer.").model_dump(mode="json")
    except Mistakes as error:
        errors += error.lines
        return {}, (), ""
    resolved |= {
        "kind": entry.transfer,
        "outputs": entry.outputs,
        "dimensions": entry.dimensions,
        "versions": {part: versions[part] for part in ("metrics", "transfer")},
    }
    if entry.dimensions == 3:
        resolved["versions"]["transfer_3d"] = versions["transfer_3d"]
    if resolved.get("localization") is None:
        resolved.pop("localization", None)
    else:
        known = (*known, *Localization.model_validate(resolved["localization"]).metrics)
        resolved["versions"]["localization"] = versions["localization"]
    for key in ("scored_labels", "uncertain"):  # no part of what a data set without them is
        if resolved.get(key) is None:
            resolved.pop(key, None)
    errors += _without_effect(entry, asked)
    if len(resolved.get("scored_labels", ())) > entry.outputs:
        errors.append(
            f"outputs: found {entry.outputs} below the {len(resolved['scored_labels'])} scored_labels; expected an "
            "output for each"
        )
    if name == "segmentation":
        # The numbers come from this library's sampling code, so its version is part of what they are.
        resolved["augmentation_library"] = "albumentations 2.0.8"
    return resolved, (entry.metric, *(name for name in known if name != entry.metric)), TRIAL_RUN


def _unfit_metric(entry: TaskEntry) -> Iterator[str]:
    """Say why an entry's metric cannot be the primary one of its transfer; a broken path is told elsewhere."""
    cases, where = CASES[entry.transfer], f"transfer {entry.transfer} of task {entry.name}"
    try:
        metric = metric_of(entry.metric)
    except BrokenCode:
        return
    except ConfigurationError as error:
        yield f"metric: {error}"
        return
    if metric.fits(cases) and metric.has_resamples:
        return
    if metric.fits(cases):
        yield f"metric: {entry.metric} has no patient resamples; expected a primary metric that has; write another"
    elif ":" in entry.metric:
        yield f"metric: {entry.metric} is not computed from {cases.__name__.lower()} cases; write one that is"
    else:
        yield str(unknown("metric", entry.metric, here.fitting(cases), where))


def _without_spacing(metrics: Iterable[str], transfer: Mapping[str, Any], cohort: Mapping[str, Any]) -> Iterator[str]:
    """Say that a metric in millimetres does not know how far pixels lie apart."""
    measured = [metric for metric in map(metric_of, metrics) if metric.of_masks is not None]
    given, cut = (transfer.get("metric") or {}).get("spacing_mm"), cohort.get("patches")
    place = "options.transfer.metric.spacing_mm"
    if given is not None and not measured:
        yield f"{place}: has no effect without a metric that is measured on masks; remove it."
    elif given is not None and len(given) != transfer["dimensions"]:
        yield f"{place}: found {len(given)} numbers; expected {transfer['dimensions']}, one for each axis"
    if measured and spacing_of(given, None if cut is None else Patches.model_validate(cut)) is None:
        yield (
            f"metric: {measured[0].name} is in {measured[0].unit} and nobody says how far pixels lie apart; write "
            f"{place}: millimetres along each axis of the image that the network sees"
        )


def _without_effect(entry: TaskEntry, asked: Mapping[str, Any]) -> Iterator[str]:
    """Find what an entry asks of its transfer that changes nothing there, and labels that its data set has not."""
    optimiser = asked.get("optimiser", {})
    if optimiser.get("name") == "sgd" and "betas" in optimiser:
        yield "options.transfer.optimiser.betas: has no effect with sgd; remove it."
    if entry.transfer == "classification" and "empty_score" in asked.get("metric", {}):
        yield "options.transfer.metric.empty_score: has no effect in classification; remove it."
    known_set = _data_set(entry.adapter)
    if known_set is None or known_set.adapter is None:
        return
    if asked.get("uncertain") is not None and not known_set.uncertain_labels:
        yield f"options.transfer.uncertain: has no effect for adapter {entry.adapter}, which has no uncertain label."
    if known_set.serves is not None:  # whose labels are the entry's or the files'
        return
    known = known_set.adapter.labels
    for label in asked.get("scored_labels") or ():
        if label not in known:
            yield str(unknown("label", label, known, f"options.transfer.scored_labels of task {entry.name}"))


def _no_transfer(entry: TaskEntry, errors: list[str]) -> tuple[dict[str, Any], tuple[str, ...], str]:
    """Images that are pretrained on and judge nobody: no trial, no metric."""
    if entry.metric != NO_TRANSFER:
        errors.append(f"metric: found {entry.metric}; with transfer none nothing is scored; write metric: none")
    if entry.options.get("transfer"):
        errors.append("options.transfer: has no effect with transfer none; remove it.")
    return {"kind": NO_TRANSFER}, (), NO_TRANSFER


def _cohort(entry: TaskEntry, scale: Any, errors: list[str]) -> tuple[dict[str, Any], str | None]:
    """Return the cohort's configuration and why it cannot be had, if so."""
    versions = component_versions()
    given = merge(scale.cohorts.get(entry.adapter, {}), entry.options.get("cohort", {}))
    mistakes = list(cohort_mistakes(given, entry.adapter, entry.dimensions, "options.cohort."))
    errors += mistakes
    if mistakes:
        return {}, None
    of_entry = {"rule": entry.split, "sample": entry.sample and scale.pixels != "phantom"}
    split = {**of_entry, **{k: v for k, v in given.get("split", {}).items() if k not in of_entry}}
    for key in ("rule", "sample"):
        if key in entry.options.get("cohort", {}).get("split", {}):
            own = "split" if key == "rule" else key
            errors.append(f"options.cohort.split.{key}: the entry's own key {own} says it; remove this one")
    if entry.split == "official" and "test_fraction" in entry.options.get("cohort", {}).get("split", {}):
        errors.append("options.cohort.split.test_fraction: has no effect with split official; remove it.")
    try:
        split = read(Split, {"validation_fraction": 0.1, "seed": 99, **split}, "options.cohort.split: ").model_dump(
            mode="json"
        )
    except Mistakes as error:
        errors += error.lines
    cohort: dict[str, Any] = {
        "source": scale.pixels,
        "adapter": entry.adapter,
        "cache_px": given.get("cache_px", 512),
        "split": split,
        "resize": given.get("resize", "area"),
        "versions": {"cohorts": versions["cohorts"], **_version(versions, "adapter", entry.adapter)},
    }
    if entry.dimensions == 3:
        for key in ("cache_px", "resize"):  # volumes are cut into patches instead
            del cohort[key]
        try:
            patches = read_without_nulls(Patches, given.get("patches") or {}, "options.cohort.patches.")
            cohort["patches"] = patches.model_dump(mode="json")
        except Mistakes as error:
            errors += error.lines
        cohort["versions"]["patches"] = versions["patches"]
        if "scans" in given:
            cohort["scans"] = ScanStore.model_validate(given["scans"]).model_dump(mode="json")
    cohort["versions"].update(entry.options.get("versions", {}))
    if given.get("adapter"):
        cohort["adapter_options"] = given["adapter"]
        errors += adapter_mistakes(entry.adapter, given["adapter"], "options.cohort.adapter: ")
    lists = _lists(given["lists"], split, errors) if given.get("lists") else {}
    if lists and scale.pixels != "phantom":
        cohort["lists"] = lists
    known_set = _data_set(entry.adapter)
    needed = None if known_set is None else known_set.needs
    if needed is not None and find_spec(needed) is None:
        return cohort, MISSING if needed == "pydicom" else missing(needed, f"the scans of {entry.name}")
    if scale.pixels != "phantom":
        return cohort, None
    usual = given.get("made_by", entry.adapter if known_set is not None and known_set.phantom is not None else None)
    generator = entry.options.get("generator", usual)
    if generator is None:
        return cohort, (
            f'no phantom generator is known for adapter "{entry.adapter}" of task {entry.name}; write '
            "options: {generator: package.module:function} in its entry, or choose a profile with real data."
        )
    if ":" not in generator and generator not in phantoms():
        errors.append(str(unknown("generator", generator, phantoms(), f"options of task {entry.name}")))
        return cohort, None
    cohort["generator"] = generator
    cohort["generator_options"] = without_nulls(given.get("generator") or {})
    errors += generator_mistakes(generator, entry.adapter, given.get("generator") or {}, "options.cohort.generator.")
    cohort["versions"].update(_version(versions, "generator", generator))
    if generator in phantoms() and phantoms()[generator].sources:
        try:
            cohort["sources"] = sources(*phantoms()[generator].sources)
        except Unavailable as error:
            return cohort, str(error)
    return cohort, None


def _with_fingerprint(entry: TaskEntry, cohort: dict[str, Any], root: Path | None) -> tuple[dict[str, Any], str | None]:
    """Add the digest of split lists, label files and sorted (path, size) of the real files, never their folder."""
    if root is None:
        return cohort, _no_root(entry)
    if not root.is_dir():
        return cohort, f"the data root of {entry.name}, {root}, is no folder; {_remedy(entry)}"
    try:
        found = {**cohort, "fingerprint": open_adapter(cohort).fingerprint(root)}
        if "lists" in cohort:
            found["lists"] = {part: describe_list(root, file) for part, file in cohort["lists"].items()}
    except DataError as error:
        return cohort, str(error)
    marker = root / SYNTHETIC_MARKER
    if marker.is_file():
        found["stamp"] = marker.read_text().splitlines()[0]
    return found, None


FROM_FILES = ("fingerprint", "lists", "stamp")  # of a cohort's configuration: what only the files can say


def _from_committed(cohort: dict[str, Any], manifest: Mapping[str, Any]) -> dict[str, Any] | None:
    """Add what the files said when the committed results were made; None if those were asked of other files.

    An adapter reads the files that its options name, so a committed digest stands for the same adapter, options and
    lists alone. A list of this repository is read as it is now.
    """
    configuration = manifest.get("configuration")
    if not isinstance(configuration, Mapping) or not isinstance(configuration.get("fingerprint"), str):
        return None
    known = {key: configuration[key] for key in FROM_FILES if key in configuration}
    same = all(configuration.get(key) == cohort.get(key) for key in ("source", "adapter", "adapter_options"))
    given = known.get("lists") or {}
    if not same or {part: one.get("file") for part, one in given.items()} != cohort.get("lists", {}):
        return None
    if not _lists_stand(cohort.get("adapter_options", {}), manifest.get("facts", {})):
        return None
    if given:
        known["lists"] = {part: _as_it_is(one) for part, one in given.items()}
    return {**cohort, **known}


def _as_it_is(described: Mapping[str, str]) -> dict[str, str]:
    """Describe a list of this repository anew; one of the data root as it was."""
    own = described["file"].startswith(COMMITTED)
    return describe_list(Path(), described["file"]) if own else dict(described)


def _lists_stand(options: Mapping[str, Any], facts: Mapping[str, Any]) -> bool:
    """Say whether each list of this repository that an adapter's options name is still the one that it read."""
    named = [value for value in options.values() if isinstance(value, str) and value.startswith(COMMITTED)]
    read = {fact.get("file"): fact.get("sha256") for fact in facts.values() if isinstance(fact, Mapping)}
    return all(read.get(file) == describe_list(Path(), file)["sha256"] for file in named)


def _other_images(entry: TaskEntry, cohort: Mapping[str, Any], committed: Mapping[str, Any] | None) -> str | None:
    """Say that the data root holds other files than the committed results are of."""
    if committed is None or all(cohort.get(key) == committed.get(key) for key in FROM_FILES):
        return None
    return (
        f"the data root of {entry.name} holds other files than the committed results are of (fingerprint "
        f"{cohort['fingerprint'][:12]}, committed {str(committed['fingerprint'])[:12]}); the plan is of the data root."
    )


def _no_root(entry: TaskEntry) -> str:
    return f"no data root for {entry.name} ({entry.label}); {_remedy(entry)}"


def _remedy(entry: TaskEntry) -> str:
    key = f"DIRA_BENCH_DATA_{entry.name.upper()}"
    return f"set {key} to its folder, or write data_roots: {{{entry.name}: FOLDER}} into params.local.yaml."


def _published_test_cases(cohort: Mapping[str, Any]) -> str | None:
    """Return the digest that the adapter declares of its published test cases, if any."""
    adapter = open_adapter(cohort)
    return adapter.test_cases if isinstance(adapter, KnowsTestCases) else None


def _outputs_of_table(entry: TaskEntry, cohort: Mapping[str, Any]) -> list[str]:
    """Hold the outputs against the labels, which a table has from its entry; elsewhere the files say them."""
    labels, scored = open_adapter(cohort).labels, entry.options.get("transfer", {}).get("scored_labels") or ()
    if entry.transfer == NO_TRANSFER or entry.outputs in {len(labels), len(scored)}:
        return []
    return [f"outputs: found {entry.outputs}; the entry names the labels {', '.join(labels)}; write {len(labels)}"]


def _lists(given: Any, split: Any, errors: list[str]) -> dict[str, str]:
    """Check split lists of the user's own: split → path relative to the data root or, in tasks/lists/, of ours."""
    asked = "options.cohort.lists"
    if not isinstance(given, Mapping) or not all(isinstance(file, str) for file in given.values()):
        errors.append(f"{asked}: found {given!r}; expected {{train: PATH, validation: PATH, test: PATH}}")
        return {}
    for part in given:
        if part not in SPLITS:
            errors.append(str(unknown("split", part, SPLITS, asked)))
    rule = split.get("rule") if isinstance(split, Mapping) else None
    needed = ("train", "validation") if rule == "official" else SPLITS
    errors += [f"{asked}: no list for {part}; add it" for part in needed if part not in given]
    errors += [
        f"{asked}.{part}: found {file}; expected a path relative to the data root, or tasks/lists/… for one of the "
        "repository, because an absolute one would be part of the results' identity; put the list there, or a link"
        for part, file in given.items()
        if Path(file).is_absolute()
    ]
    return dict(given)


def _version(versions: Mapping[str, int], role: str, name: str) -> dict[str, int]:
    key = f"{role}_{name}"
    return {key: versions[key]} if key in versions else {}


def _broken(dotted: str) -> str | None:
    try:
        import_dotted(dotted)
    except (ConfigurationError, BrokenCode) as error:
        return str(error)
    return None


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


def _data_set(adapter: str) -> DataSet | None:
    """Return the data set that an adapter belongs to; None if there is none, or it cannot be imported."""
    try:
        return data_set_of(adapter)
    except (ConfigurationError, BrokenCode):
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
