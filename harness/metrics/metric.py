"""A metric is a value: its name and label, how it is printed, which way is better, and how it is computed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from harness.errors import ConfigurationError
from harness.metrics.cases import Cases, Classified
from harness.metrics.computing import Computation, OfMasks

_ROUNDING = 1e-9  # what the last bits of a mean may add to a share


@dataclass(frozen=True)
class Metric:
    """What a trial is judged by.

    Attributes:
        name: As registries, results and tables know it.
        label: As printed.
        unit: Of what is printed: ``points`` (percent), ``mm``; empty for a count.
        scale: A recorded value times this is what is printed; 100 for a share of 1 that is printed in points.
        higher_is_better: Which way is better.
        low, high: Bounds of a recorded value; infinite where there is none.
        family: Whose margin it has where it has none of its own: every Dice has that of ``dice``.
        delta: Overlap from which on a box counts as found, for localization; None elsewhere.
        classes: Name of the count that says over how many classes it is the mean; empty for no such mean.
        counts: It is a count, a fact of a cell: never summarised as a score, never compared.
        margin: Equivalence margin as printed, where ``reports/margins.yaml`` has none; None: a margin must be given.
        computed: How it follows from what a trial leaves of its cases; None where something else computes it.

    Example:
        >>> bias = Metric(name="bias", label="bias", unit="mm", scale=1.0, higher_is_better=False, high=math.inf)
        >>> bias.better, bias.worst, bias.printed(2.5)
        ('lower', inf, 2.5)
    """

    name: str
    label: str
    unit: str = "points"
    scale: float = 100.0
    higher_is_better: bool = True
    low: float = 0.0
    high: float = 1.0
    family: str = ""
    delta: float | None = None
    classes: str = ""
    counts: bool = False
    margin: float | None = None
    computed: Computation | None = None

    @property
    def bounds(self) -> tuple[float, float]:
        """Least and largest value as printed."""
        return self.low * self.scale, self.high * self.scale

    @property
    def sign(self) -> int:
        """1 where more is better, −1 where less is."""
        return 1 if self.higher_is_better else -1

    @property
    def worst(self) -> float:
        """The worst recorded value: what a trial without a score can have had at worst; infinite where unbounded."""
        return self.low if self.higher_is_better else self.high

    @property
    def short(self) -> str:
        """Its label among others of its kind: ``δ = 0.3`` for localization."""
        return self.label if self.delta is None else f"δ = {self.delta:g}"

    @property
    def of_masks(self) -> OfMasks | None:
        """How it is measured on the masks of one case; None for a metric that needs no masks."""
        return self.computed if isinstance(self.computed, OfMasks) else None

    @property
    def in_points(self) -> bool:
        """Whether it is a share of 1, printed in points: a paper may print it as a fraction as well."""
        return self.unit == "points"

    @property
    def better(self) -> str:
        """``higher`` or ``lower``."""
        return "higher" if self.higher_is_better else "lower"

    def printed(self, value: float) -> float:
        """Return a recorded value as it is printed."""
        return self.scale * value

    @property
    def has_resamples(self) -> bool:
        """Whether it can be a primary metric: computed from single cases, so that patients can be drawn."""
        return self.computed is not None and self.computed.of_single_cases

    @property
    def kind(self) -> str:
        """``classification`` or ``segmentation``: of whose trials it can be computed; empty: of no stored trial."""
        if self.delta is not None:  # from the evidence maps of a classification
            return Classified.kind
        kind: str = "" if self.computed is None else self.computed.cases.kind
        return kind

    def fits(self, cases: type[Cases]) -> bool:
        """Tell whether it is computed from cases of a kind."""
        return self.computed is not None and self.computed.cases is cases

    def lacks(self, cases: Cases) -> str:
        """Say what these cases lack to compute it; empty if nothing."""
        if self.computed is None:
            return "way to compute it"
        if not isinstance(cases, self.computed.cases):
            return f"{self.computed.cases.__name__.lower()} cases"
        return self.computed.lacks(self.name, cases)

    def value(self, cases: Cases) -> float:
        """Compute it.

        Raises:
            ConfigurationError: If the cases lack what it needs.
        """
        return self._computation(cases).value(self.name, cases)

    def resample(self, cases: Cases, patients: np.ndarray, resamples: int, seed: int) -> np.ndarray:
        """Compute it on bootstrap draws of the patients, float64 ``(resamples,)``; NaN where a draw has no value.

        Args:
            cases: What a trial leaves.
            patients: Patient of each case, ``(N,)``.
            resamples: How many draws.
            seed: Of the draws: one task, one seed, so that methods are compared on the same patients.

        Raises:
            ConfigurationError: If the cases lack what it needs, or if it has no resamples.
        """
        found = self._computation(cases).resample(self.name, cases, patients, resamples, seed)
        if found is None:
            raise ConfigurationError(
                f'"{self.name}" has no patient resamples: it is no function of single cases; expected a metric that '
                "is, as the primary metric; correct the task's metric"
            )
        return found

    def out_of_bounds(self, value: float) -> str:
        """Say why a recorded value cannot be one of this metric; empty if it can, or if it is NaN: undefined."""
        if math.isnan(value) or (math.isfinite(value) and self.low - _ROUNDING <= value <= self.high + _ROUNDING):
            return ""
        if self.high == math.inf:
            what = "a number" if self.counts else f"a number of {self.unit}"
            return f"found {self.name} = {value!r}, expected {what} from {self.low:g}"
        if (self.low, self.high) != (0.0, 1.0):
            return f"found {self.name} = {value!r}, expected a number from {self.low:g} to {self.high:g}"
        hint = "; a percentage is divided by 100" if 1 < value <= 100 else ""
        return f"found {self.name} = {value!r}, expected a fraction from 0 to 1{hint}"

    def _computation(self, cases: Cases) -> Computation:
        lacking = self.lacks(cases)
        if lacking or self.computed is None:
            raise ConfigurationError(
                f'"{self.name}" cannot be computed: found no {lacking}; expected it among the cases; choose another '
                "metric"
            )
        return self.computed
