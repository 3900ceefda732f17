"""From a registry entry to how an encoder is fine-tuned and evaluated on it. No torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, JsonValue

from harness.errors import BrokenCode, ConfigurationError, unknown
from harness.metrics import Cases, Classified, Metric, Segmented, metric_of
from harness.metrics import registered as here
from harness.profiles import merge
from harness.spec import NO_TRANSFER, TaskEntry
from harness.typed import Mistakes
from tasks.cohort_configuration import data_set
from tasks.cohort_options import read_without_nulls
from tasks.entry_options import Options
from tasks.options import ClassificationTransfer, SegmentationTransfer
from tasks.patch_options import VolumeClassificationTransfer, VolumeSegmentationTransfer
from tasks.profiles import Profile, component_versions
from tasks.scoring.masks import spacing_of
from tasks.specs import (
    CohortConfiguration,
    ImageClassification,
    ImageSegmentation,
    ImageTransfer,
    PatchClassification,
    PatchSegmentation,
    PatchTransfer,
)

TRIAL_RUN = "tasks.transfer.run:run_trial"
TRANSFERS: dict[str, type[BaseModel]] = {
    "classification": ClassificationTransfer,
    "segmentation": SegmentationTransfer,
    "classification_3d": VolumeClassificationTransfer,
    "segmentation_3d": VolumeSegmentationTransfer,
}
SPECS: dict[str, type[ImageTransfer] | type[PatchTransfer]] = {
    "classification": ImageClassification,
    "segmentation": ImageSegmentation,
    "classification_3d": PatchClassification,
    "segmentation_3d": PatchSegmentation,
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


@dataclass(frozen=True)
class Transferred:
    """How encoders are fine-tuned and evaluated.

    Attributes:
        said: The resolved transfer as JSON values, but for the side of the cohort's images.
        metrics: The primary one first.
        run: Dotted path of the work.
        model: What ``said`` is; None for the work of somebody else, which reads it itself.
    """

    said: dict[str, JsonValue]
    metrics: tuple[str, ...]
    run: str
    model: type[ImageTransfer] | type[PatchTransfer] | None = None

    def whole(self, cohort: CohortConfiguration) -> dict[str, JsonValue]:
        """Return the JSON values with the side of the cohort's images."""
        return self.said if cohort.cache_px is None else {**self.said, "cache_px": cohort.cache_px}

    def spec(self, cohort: CohortConfiguration) -> ImageTransfer | PatchTransfer | None:
        """Return the transfer, typed; None for the work of somebody else."""
        return None if self.model is None else self.model.model_validate(self.whole(cohort))

    def dump(self, cohort: CohortConfiguration) -> dict[str, JsonValue]:
        """Return what becomes part of a trial's id."""
        spec = self.spec(cohort)
        return self.whole(cohort) if spec is None else spec.dump()


def resolve_transfer(entry: TaskEntry, options: Options, scale: Profile, errors: list[str]) -> Transferred | None:
    """Return the resolved transfer; None if it has mistakes."""
    asked = options.transfer
    if ":" in entry.transfer:  # the work of someone else, with options of its own
        metrics = (entry.metric, *(m for m in options.metrics if m != entry.metric))
        return Transferred({**asked, "kind": entry.transfer, "outputs": entry.outputs}, metrics, entry.transfer)
    known_set = data_set(entry.adapter)
    if known_set is not None and known_set.serves is not None and entry.transfer not in known_set.serves:
        served = " or ".join(known_set.serves)
        errors.append(f"transfer: found {entry.transfer}; adapter {entry.adapter} serves {served}; write that")
    if entry.transfer == NO_TRANSFER:
        return _no_transfer(entry, options, errors)
    if entry.transfer not in TRANSFERS:
        errors.append(str(unknown("transfer", entry.transfer, (*TRANSFERS, NO_TRANSFER), f"task {entry.name}")))
        return None
    if options.metrics:
        errors.append(
            f"options.metrics: has no effect with transfer {entry.transfer}, whose metrics are its own; remove it."
        )
    name = entry.transfer if entry.dimensions == 2 else f"{entry.transfer}_3d"
    errors += _unfit_metric(entry)
    if entry.transfer == "segmentation" and entry.outputs != 1:
        errors.append(f"outputs: found {entry.outputs}; segmentation scores one foreground; write outputs: 1")
    usual = merge(scale.transfers.get(name, {}), scale.transfers_of.get(entry.adapter, {}))
    merged = merge(usual, asked)
    try:
        said = read_without_nulls(TRANSFERS[name], merged, "options.transfer.")
    except Mistakes as error:
        errors += error.lines
        return None
    errors += _without_effect(entry, asked)
    scored = getattr(said, "scored_labels", None) or ()
    if len(scored) > entry.outputs:
        errors.append(
            f"outputs: found {entry.outputs} below the {len(scored)} scored_labels; expected an output for each"
        )
    return _built_in(entry, name, said)


def _built_in(entry: TaskEntry, name: str, said: BaseModel) -> Transferred:
    """Add to what is said of a built-in transfer what identity needs besides."""
    known = tuple(metric.name for metric in METRICS[name])
    parts = ["metrics", "transfer", *(["transfer_3d"] if entry.dimensions == 3 else [])]
    localization = getattr(said, "localization", None)
    if localization is not None:
        known = (*known, *localization.metrics)
        parts.append("localization")
    versions = component_versions()
    resolved = said.model_dump(mode="json") | {
        "kind": entry.transfer,
        "outputs": entry.outputs,
        "dimensions": entry.dimensions,
        "versions": {part: versions[part] for part in parts},
    }
    if name == "segmentation":
        resolved["augmentation_library"] = "albumentations 2.0.8"
    metrics = (entry.metric, *(metric for metric in known if metric != entry.metric))
    return Transferred(resolved, metrics, TRIAL_RUN, SPECS[name])


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


def without_spacing(transferred: Transferred, cohort: CohortConfiguration) -> Iterator[str]:
    """Say that a metric in millimetres does not know how far pixels lie apart."""
    transfer = transferred.spec(cohort)
    if transfer is None:
        return
    measured = [metric for metric in map(metric_of, transferred.metrics) if metric.of_masks is not None]
    given, place = transfer.metric.spacing_mm, "options.transfer.metric.spacing_mm"
    if given is not None and not measured:
        yield f"{place}: has no effect without a metric that is measured on masks; remove it."
    elif given is not None and len(given) != transfer.dimensions:
        yield f"{place}: found {len(given)} numbers; expected {transfer.dimensions}, one for each axis"
    if measured and spacing_of(given, cohort.patches) is None:
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
    known_set = data_set(entry.adapter)
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


def _no_transfer(entry: TaskEntry, options: Options, errors: list[str]) -> Transferred:
    """Images that are pretrained on and judge nobody: no trial, no metric."""
    if entry.metric != NO_TRANSFER:
        errors.append(f"metric: found {entry.metric}; with transfer none nothing is scored; write metric: none")
    if options.transfer:
        errors.append("options.transfer: has no effect with transfer none; remove it.")
    return Transferred({"kind": NO_TRANSFER}, (), NO_TRANSFER)
