"""A metric of a trial from what the trial stored: nothing is trained and no image is read. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from harness.errors import DataError
from harness.metrics import Cases, Classified, Segmented, metric_of
from harness.pixels import Pixels
from tasks.localization_options import Localization
from tasks.scoring.case_names import hash_names
from tasks.scoring.localization.rescore import has_localization, rescore
from tasks.scoring.masks import MEASURED
from tasks.specs import ImageClassification, PatchClassification, TrialSpec
from tasks.transfer.labels import scored_columns, trained_labels


def rescored(name: str, raw: Mapping[str, object], arrays: Mapping[str, np.ndarray], cohort: Path | None) -> float:
    """Compute a metric of a finished trial.

    Args:
        name: Of the metric (``harness.metrics.metric_of``).
        raw: Its ``TrialSpec`` as the plan writes it.
        arrays: That it stored.
        cohort: Folder of its cohort, or None where it is not in the store; only labels need it.

    Raises:
        DataError: Which part of what the metric needs is lacking.
    """
    metric = metric_of(name)
    try:
        spec = TrialSpec.model_validate(raw)
    except ValidationError:
        raise DataError("a transfer of somebody else, whose arrays are its own") from None
    if metric.delta is not None:
        return _located(metric.delta, spec, arrays)
    cases = cases_of(spec, arrays, cohort)
    if lacking := metric.lacks(cases):
        raise DataError(f"no {lacking}")
    return metric.value(cases)


def passed_over(name: str, raw: Mapping[str, object]) -> str:
    """Say of what a trial is that can never have a metric, however often it is run; empty if it can.

    Args:
        name: Of the metric.
        raw: The trial's spec as the plan writes it.
    """
    try:
        kind: str = TrialSpec.model_validate(raw).transfer.kind
    except ValidationError:
        return "a transfer of somebody else, whose arrays are its own"
    return "" if kind == metric_of(name).kind else kind


def cases_of(spec: TrialSpec, arrays: Mapping[str, np.ndarray], cohort: Path | None) -> Cases:
    """Return what a trial left of its test cases.

    Raises:
        DataError: If it stored neither predictions nor counts, or its cohort is not there or another one.
    """
    if "overlap" in arrays:
        measured = {key.removeprefix(MEASURED): values for key, values in arrays.items() if key.startswith(MEASURED)}
        empty = spec.transfer.metric.empty_score
        return Segmented(arrays["overlap"], arrays["predicted"], arrays["true"], empty, measured=measured)
    if "predictions" not in arrays:
        raise DataError("no predictions and no counts of its test cases")
    if cohort is None:
        raise DataError("no labels: its cohort is not in the store")
    pixels, transfer = Pixels(cohort), spec.transfer
    table = pixels.cases.set_index("row").loc[pixels.rows("test")]
    if not np.array_equal(hash_names(table["case"]), arrays["case_hash"]):
        raise DataError("no labels of the same test cases: its cohort holds others")
    if not isinstance(transfer, ImageClassification | PatchClassification):
        raise DataError("predictions of a task that has no labels")
    names = trained_labels(pixels.manifest["labels"], transfer, spec.task)
    scored = scored_columns(names, transfer)
    labels = table[names].to_numpy(np.float32)
    return Classified(labels[:, scored], arrays["predictions"][:, scored])


def _located(delta: float, spec: TrialSpec, arrays: Mapping[str, np.ndarray]) -> float:
    """Return the share of annotated pairs that are found at an overlap, from the evidence maps."""
    if not has_localization(arrays) or not isinstance(spec.transfer, ImageClassification):
        raise DataError("no evidence maps")
    options = spec.transfer.localization or Localization()
    return rescore(arrays, options.model_copy(update={"deltas": (delta,)})).accuracy[delta]
