"""How metrics follow from cases: five ways, each a value that is given the one function that differs.

A way has ``value`` and ``resample``, both from the same cases, so that a trial's number and its patient resamples are
of one definition. A resample counts each patient as often as drawn; nothing is copied.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from harness.metrics.cases import Cases, Classified, Segmented
from harness.metrics.ranking import macro
from harness.metrics.resampling import resample_classes, resample_mean, resample_ratio

# 0/1 (N,), scores (N,), weights (N, R) → the value under each column of weights (R,), NaN where undefined
OneClass = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
# prediction and truth, bool of one shape; millimetres between pixels along each axis → the value of the case
OneMask = Callable[[np.ndarray, np.ndarray, Sequence[float]], float]


class Computation(Protocol):
    """One way to compute a metric."""

    @property
    def cases(self) -> Any:
        """The kind of cases it takes: ``Classified`` or ``Segmented``."""

    @property
    def of_single_cases(self) -> bool:
        """Whether single cases make it, so that patients can be drawn."""

    def lacks(self, name: str, cases: Any) -> str:
        """Say what these cases lack; empty if nothing."""

    def value(self, name: str, cases: Any) -> float:
        """Return the metric of all cases."""

    def resample(self, name: str, cases: Any, patients: np.ndarray, resamples: int, seed: int) -> np.ndarray | None:
        """Return the metric on each draw of patients ``(resamples,)``, or None if it is no function of single cases."""


@dataclass(frozen=True)
class OfClasses:
    """The mean over the classes that can be scored.

    Attributes:
        one: Scores one class.
        alone: A class whose cases are all alike can be scored too (calibration can, ranking cannot).
    """

    one: OneClass
    alone: bool = False
    cases: ClassVar[type[Cases]] = Classified
    of_single_cases: ClassVar[bool] = True

    def lacks(self, name: str, cases: Classified) -> str:
        """Nothing: labels and scores are enough."""
        return ""

    def by_class(self, cases: Classified) -> np.ndarray:
        """Return the value of each class, float64 ``(C,)``; NaN where it is undefined."""
        labels, scores = np.asarray(cases.labels) > 0, np.asarray(cases.scores)
        found, once = np.full(scores.shape[1], np.nan), np.ones((len(scores), 1), np.float32)
        for column in range(scores.shape[1]):
            positive, given = labels[:, column], scores[:, column]
            if not np.isnan(given).any() and (self.alone or (positive.any() and not positive.all())):
                found[column] = self.one(positive, given, once)[0]
        return found

    def value(self, name: str, cases: Classified) -> float:
        """Return the mean over classes; NaN if none can be scored."""
        return macro(self.by_class(cases))[0]

    def resample(
        self, name: str, cases: Classified, patients: np.ndarray, resamples: int, seed: int
    ) -> np.ndarray | None:
        """Return the mean over classes in each draw; of a draw that happens to lack a class, over the rest."""
        return resample_classes(self.one, cases.labels, cases.scores, patients, resamples, seed, alone=self.alone)


@dataclass(frozen=True)
class OfCounts:
    """The mean over cases of a function of their counts; a case of NaN is left out."""

    by_case: Callable[[Segmented], np.ndarray]
    cases: ClassVar[type[Cases]] = Segmented
    of_single_cases: ClassVar[bool] = True

    def lacks(self, name: str, cases: Segmented) -> str:
        """Nothing: the counts are enough."""
        return ""

    def value(self, name: str, cases: Segmented) -> float:
        """Return the mean; NaN without a case."""
        return _mean(self.by_case(cases))

    def resample(
        self, name: str, cases: Segmented, patients: np.ndarray, resamples: int, seed: int
    ) -> np.ndarray | None:
        """Return the mean in each draw."""
        return resample_mean(self.by_case(cases), patients, resamples, seed)


@dataclass(frozen=True)
class Pooled:
    """One ratio of sums over all cases: all pixels as one image.

    Attributes:
        ratio: Of summed overlap, predicted and true, and the score of two empty masks.
        parts: Numerator and denominator of each case.
    """

    ratio: Callable[[np.ndarray, np.ndarray, np.ndarray, float], np.ndarray]
    parts: Callable[[Segmented], tuple[np.ndarray, np.ndarray]]
    cases: ClassVar[type[Cases]] = Segmented
    of_single_cases: ClassVar[bool] = True

    def lacks(self, name: str, cases: Segmented) -> str:
        """Nothing: the counts are enough."""
        return ""

    def value(self, name: str, cases: Segmented) -> float:
        """Return the ratio of all cases."""
        return float(self.ratio(cases.overlap.sum(), cases.predicted.sum(), cases.true.sum(), cases.empty_score))

    def resample(
        self, name: str, cases: Segmented, patients: np.ndarray, resamples: int, seed: int
    ) -> np.ndarray | None:
        """Return the ratio in each draw; NaN where its denominator is 0."""
        above, below = self.parts(cases)
        return resample_ratio(above.astype(float), below.astype(float), patients, resamples, seed)


@dataclass(frozen=True)
class OfMasks:
    """The mean over cases of what is measured on each case's two masks, while a trial has them at hand."""

    one: OneMask
    cases: ClassVar[type[Cases]] = Segmented
    of_single_cases: ClassVar[bool] = True

    def lacks(self, name: str, cases: Segmented) -> str:
        """Say that the masks were not measured."""
        return "" if name in cases.measured else f"{name} of each case, which only a running trial can measure"

    def value(self, name: str, cases: Segmented) -> float:
        """Return the mean; NaN without a case."""
        return _mean(cases.measured[name])

    def resample(
        self, name: str, cases: Segmented, patients: np.ndarray, resamples: int, seed: int
    ) -> np.ndarray | None:
        """Return the mean in each draw."""
        return resample_mean(cases.measured[name], patients, resamples, seed)


_IN_WORDS = {
    "levels": "counts at every threshold",
    "validation": "counts of the validation images",
    "pixels": "size of a case",
}


@dataclass(frozen=True)
class Whole:
    """A function of all cases together, without resamples.

    Attributes:
        of: The function.
        cases: The kind of cases it takes.
        needs: Which attributes of the cases must be there.
    """

    of: Callable[[Any], float]
    cases: Any
    needs: tuple[str, ...] = ()
    of_single_cases: ClassVar[bool] = False

    def lacks(self, name: str, cases: Cases) -> str:
        """Say which part of the cases was not stored."""
        absent = [_IN_WORDS[need] for need in self.needs if not getattr(cases, need)]
        return " and ".join(absent)

    def value(self, name: str, cases: Cases) -> float:
        """Return the function of all cases."""
        return float(self.of(cases))

    def resample(self, name: str, cases: Cases, patients: np.ndarray, resamples: int, seed: int) -> np.ndarray | None:
        """Return None."""
        return None


def _mean(values: np.ndarray) -> float:
    there = values[~np.isnan(values)]
    return float(there.mean()) if there.size else float("nan")
