"""Metrics of other papers: those that are here, and those that are only described: nothing here computes them."""

from __future__ import annotations

import math
from collections.abc import Mapping

from harness.metrics import Metric
from harness.metrics import registered as here

_SHARES = (
    "accuracy", "balanced_accuracy", "f1", "precision", "recall", "sensitivity", "specificity", "nsd",
)  # fmt: skip
_CORRELATIONS = ("mcc", "kappa")
_DISTANCES = ("hd", "assd", "asd", "msd")
_OTHER_NAMES = {"dsc": "dice", "auroc": "auc", "jaccard": "iou"}


def _words(name: str) -> str:
    return name.replace("_", " ")


def of_unknown(name: str, *, higher_is_better: bool) -> Metric:
    """Return a metric of which only the direction is known."""
    return Metric(
        name, _words(name), unit="units", scale=1.0, higher_is_better=higher_is_better, low=-math.inf, high=math.inf
    )


def _distance(name: str) -> Metric:
    return Metric(name, _words(name), unit="mm", scale=1.0, higher_is_better=False, high=math.inf)


KNOWN: Mapping[str, Metric] = {
    **{one.name: one for one in (here.AUC, here.DICE, here.IOU, here.LOCALIZATION, here.AVERAGE_PRECISION, here.HD95)},
    **{name: Metric(name, _words(name)) for name in _SHARES},
    **{name: Metric(name, _words(name), low=-1.0) for name in _CORRELATIONS},
    **{name: _distance(name) for name in _DISTANCES},
}


def metric_name(text: str) -> str:
    """Return the name a metric goes by here: ``Dice`` and ``DSC`` are ``dice``."""
    name = text.lower().replace("-", "_").replace(" ", "_")
    return _OTHER_NAMES.get(name, name)
