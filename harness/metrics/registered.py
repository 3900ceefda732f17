"""The metrics that are here, by name.

What an entry leaves out, such as direction, scale, unit and bounds, is a default of ``Metric`` (``metric.py``): a share
of 1, printed in points, more is better.

A metric of one's own is a ``Metric`` in a module of one's own and ``metric: package.module:NAME`` in a task's entry
(``docs/adding-a-metric.md``).
"""

from __future__ import annotations

import difflib
import math
import re
from functools import cache

import numpy as np

from harness.dotted import import_dotted
from harness.errors import BrokenCode, ConfigurationError, unknown
from harness.metrics.cases import Cases, Classified, Segmented
from harness.metrics.computing import OfClasses, OfCounts, OfMasks, Pooled, Whole
from harness.metrics.distance import hausdorff_95
from harness.metrics.metric import Metric
from harness.metrics.overlap import average_precision, best_threshold, dice_by_image, iou_by_image, two_class_iou
from harness.metrics.ranking import (
    auc_by_class,
    macro,
    sensitivity_at,
    weighted_auc,
    weighted_average_precision,
    weighted_calibration_error,
)

SCORED_CLASSES = Metric(
    "scored_classes", "scored classes", unit="", scale=1.0, high=math.inf, counts=True,
    computed=Whole(lambda cases: macro(auc_by_class(cases.labels, cases.scores))[1], Classified),
)  # fmt: skip
AUC = Metric("auc", "AUC", classes=SCORED_CLASSES.name, computed=OfClasses(weighted_auc))
AVERAGE_PRECISION = Metric(
    "average_precision", "average precision", classes=SCORED_CLASSES.name, margin=1.0,
    computed=OfClasses(weighted_average_precision),
)  # fmt: skip
ECE = Metric(
    "ece", "calibration error", higher_is_better=False, margin=1.0,
    computed=OfClasses(weighted_calibration_error, alone=True),
)  # fmt: skip


def sensitivity_at_specificity(specificity: float) -> Metric:
    """Return the metric that reads the ROC curve at a specificity; its name has it in percent."""
    return Metric(
        f"sensitivity_at_specificity_{round(100 * specificity)}", f"sensitivity at specificity {specificity:g}",
        family="sensitivity_at_specificity", classes=SCORED_CLASSES.name, margin=2.0,
        computed=OfClasses(sensitivity_at(specificity)),
    )  # fmt: skip


def _dice(cases: Segmented) -> np.ndarray:
    return dice_by_image(cases.overlap, cases.predicted, cases.true, cases.empty_score)


def _iou(cases: Segmented) -> np.ndarray:
    return iou_by_image(cases.overlap, cases.predicted, cases.true, cases.empty_score)


def _dice_of_findings(cases: Segmented) -> np.ndarray:
    return np.where(cases.true > 0, _dice(cases), np.nan)


def _dice_at_best(cases: Segmented) -> float:
    """Take the threshold that was best on validation, never chosen on test."""
    if cases.levels is None or cases.validation is None:
        return math.nan
    overlap, predicted = cases.levels.at(best_threshold(cases.validation, cases.empty_score))
    return float(dice_by_image(overlap, predicted, cases.true, cases.empty_score).mean())


def _pixel_average_precision(cases: Segmented) -> float:
    return math.nan if cases.levels is None else average_precision(cases.levels.positives, cases.levels.negatives)


def _two_class_iou(cases: Segmented) -> float:
    return math.nan if cases.levels is None else two_class_iou(cases.levels, cases.pixels)


# The authors' form: of each image alone, empty_score where mask and prediction are both empty.
DICE = Metric("dice", "Dice", family="dice", computed=OfCounts(_dice))
DICE_POSITIVE = Metric(
    "dice_positive", "Dice, positive images only", family="dice", computed=OfCounts(_dice_of_findings)
)
DICE_POOLED = Metric(
    "dice_pooled", "Dice, pooled over pixels", family="dice",
    computed=Pooled(dice_by_image, lambda cases: (2 * cases.overlap, cases.predicted + cases.true)),
)  # fmt: skip
DICE_BEST_THRESHOLD = Metric(
    "dice_best_threshold", "Dice at the best threshold", family="dice",
    computed=Whole(_dice_at_best, Segmented, ("levels", "validation")),
)  # fmt: skip
IOU = Metric(
    "iou", "IoU", family="iou",
    computed=Pooled(iou_by_image, lambda cases: (cases.overlap, cases.predicted + cases.true - cases.overlap)),
)  # fmt: skip
IOU_MEAN = Metric("iou_mean", "IoU, mean over images", family="iou", computed=OfCounts(_iou))
IOU_CASE_MEAN = Metric("iou_case_mean", "IoU, mean over patches", family="iou", computed=OfCounts(_iou))
IOU_TWO_CLASS = Metric(
    "iou_two_class", "IoU, mean of foreground and background", family="iou",
    computed=Whole(_two_class_iou, Segmented, ("levels", "pixels")),
)  # fmt: skip
PIXEL_AVERAGE_PRECISION = Metric(
    "pixel_average_precision", "pixel average precision",
    computed=Whole(_pixel_average_precision, Segmented, ("levels",)),
)  # fmt: skip
HD95 = Metric(
    "hd95", "HD95", unit="mm", scale=1.0, higher_is_better=False, high=math.inf, margin=1.0,
    computed=OfMasks(hausdorff_95),
)  # fmt: skip

LOCALIZATION_BOXES = Metric("localization_boxes", "localization boxes", unit="", scale=1.0, high=math.inf, counts=True)
LOCALIZATION = Metric("localization", "localization accuracy", family="localization")


def localization(delta: float) -> Metric:
    """Return the share of annotated pairs whose box is found at an overlap; 0.1 → ``localization_10``."""
    hundredths = round(100 * delta)
    return Metric(
        f"localization_{hundredths}", f"localization at δ = {hundredths / 100:g}", family="localization",
        delta=hundredths / 100,
    )  # fmt: skip


KNOWN = {
    metric.name: metric
    for metric in (
        AUC, SCORED_CLASSES, AVERAGE_PRECISION, ECE, *(sensitivity_at_specificity(n / 100) for n in range(50, 100)),
        DICE, DICE_POSITIVE, DICE_POOLED, DICE_BEST_THRESHOLD, IOU, IOU_MEAN, IOU_CASE_MEAN, IOU_TWO_CLASS,
        PIXEL_AVERAGE_PRECISION, HD95, LOCALIZATION, *(localization(n / 100) for n in range(101)), LOCALIZATION_BOXES,
    )
}  # fmt: skip


@cache
def metric_of(name: str) -> Metric:
    """Return the metric of a name.

    Args:
        name: A registered name, a dotted path ``package.module:NAME``, or a name that the work of somebody else
            returns and nobody describes: that one is a share of 1, and more is better.

    Raises:
        ConfigurationError: If a dotted path leads to no ``Metric``.
        BrokenCode: If it cannot be imported.

    Example:
        >>> metric_of("hd95").unit, metric_of("hd95").better
        ('mm', 'lower')
        >>> metric_of("localization_30").delta
        0.3
    """
    if ":" not in name:
        return KNOWN.get(name) or Metric(name, name.replace("_", " "))
    found = import_dotted(name)
    if not isinstance(found, Metric):
        raise ConfigurationError(
            f'"{name}" is a {type(found).__name__}; expected a harness.metrics.Metric; correct the dotted path'
        )
    return found


def stored_metric(name: str) -> Metric:
    """Return a metric that can be computed from what trials stored.

    Args:
        name: A registered name or a dotted path.

    Raises:
        UnknownName: If there is no such name, with near ones.
        ConfigurationError: If a dotted path leads to no ``Metric``, or to one that is computed elsewhere.
        BrokenCode: If it cannot be imported.
    """
    if ":" not in name and name not in KNOWN:
        names = [known for known, metric in KNOWN.items() if metric.kind]
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        families = {re.sub(r"_\d+$", "_<percent>", known) for known in names}  # one for all its thresholds
        raise unknown("metric", name, near or families, "harness.metrics.registered")
    metric = metric_of(name)
    if not metric.kind:
        raise ConfigurationError(
            f'"{name}" cannot be computed from what trials stored; expected a metric with a way to compute it '
            "(docs/adding-a-metric.md); choose another metric"
        )
    return metric


def is_known(name: str) -> bool:
    """Tell whether a metric can be found here: the package of a dotted path may not be installed."""
    try:
        metric_of(name)
    except BrokenCode:
        return False
    return True


def out_of_bounds(name: str, value: float) -> str:
    """Say why a recorded value cannot be one of its metric's; empty if it can, or if it is NaN: undefined."""
    return metric_of(name).out_of_bounds(value)


def fitting(cases: type[Cases]) -> tuple[str, ...]:
    """Name the registered metrics that are computed from cases of a kind."""
    return tuple(name for name, metric in KNOWN.items() if metric.fits(cases))
