"""Metrics of other papers: which way is better, and between which bounds a value must lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

Better = Literal["higher", "lower"]
PERCENT = Decimal(100)


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes:
        name: As margins know it.
        better: Which values are better.
        unit: ``points`` (percent), ``mm``, or ``units`` where nobody said.
        low, high: Bounds of a value, in the unit; None for none.
    """

    name: str
    better: Better
    unit: str
    low: Decimal | None = None
    high: Decimal | None = None

    @property
    def a_share(self) -> bool:
        """Whether a paper may print it as a fraction as well as in points."""
        return self.unit == "points"


_SHARES = (
    "auc", "dice", "iou", "localization", "accuracy", "balanced_accuracy", "f1", "precision", "recall", "sensitivity",
    "specificity", "average_precision", "nsd",
)  # fmt: skip
_CORRELATIONS = ("mcc", "kappa")
_DISTANCES = ("hd95", "hd", "assd", "asd", "msd")
_OTHER_NAMES = {"dsc": "dice", "auroc": "auc", "jaccard": "iou"}

KNOWN: Mapping[str, Metric] = {
    **{name: Metric(name, "higher", "points", Decimal(0), PERCENT) for name in _SHARES},
    **{name: Metric(name, "higher", "points", -PERCENT, PERCENT) for name in _CORRELATIONS},
    **{name: Metric(name, "lower", "mm", Decimal(0)) for name in _DISTANCES},
}


def metric_name(text: str) -> str:
    """Return the name a metric goes by here: ``Dice`` and ``DSC`` are ``dice``."""
    name = text.lower().replace("-", "_").replace(" ", "_")
    return _OTHER_NAMES.get(name, name)
