"""An effect with its standard error and degrees of freedom, and every question that a t distribution answers.

One convention throughout ``harness.statistics``: values are **points** (percent, as the paper prints them), a
``Group`` is what one cell's runs come to, an effect is *method − reference*, and standard deviations have ddof 1.
Pure functions; scipy and statsmodels compute; nothing here draws a random number.

Spread of zero. A t test needs spread. Where the standard error is zero, ``t``, ``p`` and the equivalence test are
None, never NaN and never significant: two constant and equal cells are *identical*; two constant and different ones
are reported as a constant difference that no test of spread can evaluate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from harness.late import special


@dataclass(frozen=True)
class Group:
    """The runs of one cell, as counted or as printed.

    Attributes:
        n: Number of runs, at least 2.
        mean: In points.
        sd: In points, ddof 1, ≥ 0.

    Example:
        >>> Group.of([80.0, 81.0, 82.0])
        Group(n=3, mean=81.0, sd=1.0)
    """

    n: int
    mean: float
    sd: float

    def __post_init__(self) -> None:
        if self.n < 2 or not math.isfinite(self.mean) or not (math.isfinite(self.sd) and self.sd >= 0):
            raise ValueError(
                f"found a group of n = {self.n}, mean {self.mean}, sd {self.sd}; expected at least two runs, a finite "
                "mean and a finite sd of 0 or more; leave out cells that have no spread to speak of."
            )

    @classmethod
    def of(cls, values: Sequence[float] | np.ndarray) -> Group:
        """Summarise runs, shape ``(n,)``, in points; values that are all equal have a spread of exactly zero."""
        array = np.asarray(values, dtype=float)
        if array.size and np.ptp(array) == 0:
            return cls(array.size, float(array[0]), 0.0)
        return cls(array.size, float(array.mean()), float(array.std(ddof=1)) if array.size > 1 else 0.0)

    def from_population_sd(self) -> Group:
        """Read the printed sd as one with ddof 0, as the authors' code computes it, and turn it into ddof 1."""
        return Group(self.n, self.mean, self.sd * math.sqrt(self.n / (self.n - 1)))

    @property
    def variance_of_mean(self) -> float:
        """``sd² / n``."""
        return self.sd**2 / self.n


@dataclass(frozen=True)
class Estimate:
    """An effect, its standard error and the degrees of freedom of that error.

    Attributes:
        effect: In points.
        standard_error: In points; 0 where no run varied.
        df: Degrees of freedom; may be fractional (Welch–Satterthwaite).
    """

    effect: float
    standard_error: float
    df: float

    @property
    def testable(self) -> bool:
        """Whether there is any spread to test against."""
        return self.standard_error > 0 and self.df > 0

    @property
    def t(self) -> float | None:
        """The statistic ``effect / standard_error``."""
        return self.effect / self.standard_error if self.testable else None

    @property
    def p(self) -> float | None:
        """Two-sided p value."""
        return None if self.t is None else float(2 * special.stdtr(self.df, -abs(self.t)))

    @property
    def p_greater(self) -> float | None:
        """One-sided p value against the alternative that the effect is positive."""
        return None if self.t is None else float(special.stdtr(self.df, -self.t))

    @property
    def p_less(self) -> float | None:
        """One-sided p value against the alternative that the effect is negative."""
        return None if self.t is None else float(special.stdtr(self.df, self.t))

    def probability_above(self, points: float) -> float | None:
        """Return how probable it is that the true effect exceeds ``points``, given the data and a flat prior.

        It is the share of the t distribution around the effect that lies above: one minus the one-sided p value
        against an effect of at most ``points``. None without spread.
        """
        if not self.testable:
            return None
        return float(special.stdtr(self.df, (self.effect - points) / self.standard_error))

    def interval(self, alpha: float = 0.05) -> tuple[float, float] | None:
        """Return the ``1 − alpha`` confidence interval of the effect, in points; None without spread."""
        if not self.testable:
            return None
        half = -float(special.stdtrit(self.df, alpha / 2)) * self.standard_error
        return self.effect - half, self.effect + half

    def p_tost(self, margin: float) -> float | None:
        """Return the larger p of the two one-sided tests against ±margin points (Schuirmann 1987)."""
        if not self.testable:
            return None
        above = special.stdtr(self.df, -(self.effect + margin) / self.standard_error)
        below = special.stdtr(self.df, (self.effect - margin) / self.standard_error)
        return float(max(above, below))

    def tost_power(self, margin: float, alpha: float = 0.05) -> float | None:
        """Return the power that the equivalence test had if the true effect were zero and the spread as seen.

        Both one-sided tests reject when ``|effect| < margin − t_crit · se``; the estimated ``se`` is the true one
        times the root of a chi-square over its degrees of freedom, which is integrated out. Exact for normal data
        with equal variances (Phillips 1990 writes the same probability with Owen's Q); approximate where ``df`` is
        Welch–Satterthwaite's.
        """
        if not self.testable:
            return None
        return tost_power(margin / self.standard_error, self.df, alpha)


def tost_power(margin: float, df: float, alpha: float, effect: float = 0.0) -> float:
    """Return the power of the equivalence test, everything in true standard errors of the effect.

    Args:
        margin: Equivalence margin.
        df: Degrees of freedom of the estimated standard error.
        alpha: Level of each of the two one-sided tests.
        effect: The true effect.

    Example:
        >>> round(tost_power(margin=3.0, df=18, alpha=0.05), 2)
        0.78
    """
    critical = -float(special.stdtrit(df, alpha))
    most = min(margin / critical, math.sqrt(special.chdtri(df, 1e-14) / df))  # of an estimated error over the true one
    nodes, weights = _legendre()
    errors = most * (nodes + 1) / 2
    half = margin - critical * errors
    accepted = special.ndtr(half - effect) - special.ndtr(-half - effect)
    log_density = math.log(2) + df / 2 * math.log(df / 2) - math.lgamma(df / 2) + (df - 1) * np.log(errors)
    density = np.exp(log_density - df * errors**2 / 2)
    return float(min(max(np.dot(accepted * density, weights) * most / 2, 0.0), 1.0))


@lru_cache(maxsize=1)
def _legendre() -> tuple[np.ndarray, np.ndarray]:
    nodes, weights = np.polynomial.legendre.leggauss(120)
    return nodes, weights


def student(method: Group, reference: Group) -> Estimate:
    """Return method − reference with a pooled variance: the paper's independent two-sample t test.

    References:
        DiRA §4.2 ("independent two-sample t-test"; neither sidedness nor variances are stated: two-sided, equal).

    Example:
        >>> dira = Group(n=10, mean=81.12, sd=0.17)
        >>> moco = Group(n=10, mean=80.36, sd=0.26)
        >>> estimate = student(dira, moco)
        >>> round(estimate.effect, 2), estimate.df, f"{estimate.p:.1e}"
        (0.76, 18, '3.9e-07')
        >>> [round(float(bound), 2) for bound in estimate.interval()]
        [0.55, 0.97]
    """
    df = method.n + reference.n - 2
    error = pooled_sd(method, reference) * math.sqrt(1 / method.n + 1 / reference.n)
    return Estimate(method.mean - reference.mean, error, df)


def welch(method: Group, reference: Group) -> Estimate:
    """Return method − reference without assuming equal variances (Welch 1947).

    Example:
        >>> round(welch(Group(10, 81.12, 0.17), Group(10, 80.36, 0.26)).df, 1)
        15.5
    """
    return _satterthwaite(method.mean - reference.mean, (method, reference))


def difference(ours: Estimate, theirs: Estimate) -> Estimate:
    """Return our effect − the paper's: two independent estimates, their variances added (Satterthwaite)."""
    variance = ours.standard_error**2 + theirs.standard_error**2
    effect = ours.effect - theirs.effect
    if variance == 0:
        return Estimate(effect, 0.0, ours.df + theirs.df)
    df = variance**2 / sum(e.standard_error**4 / e.df for e in (ours, theirs) if e.standard_error > 0)
    return Estimate(effect, math.sqrt(variance), df)


def _satterthwaite(effect: float, groups: tuple[Group, ...]) -> Estimate:
    variances = [group.variance_of_mean for group in groups]
    total = sum(variances)
    if total == 0:
        return Estimate(effect, 0.0, float(sum(group.n - 1 for group in groups)))
    df = total**2 / sum(v**2 / (group.n - 1) for v, group in zip(variances, groups, strict=True))
    return Estimate(effect, math.sqrt(total), df)


def pooled_sd(method: Group, reference: Group) -> float:
    """Return the pooled standard deviation of two groups, in points."""
    df = method.n + reference.n - 2
    return math.sqrt(((method.n - 1) * method.sd**2 + (reference.n - 1) * reference.sd**2) / df)


def hedges_g(method: Group, reference: Group) -> float | None:
    """Return the effect in pooled standard deviations, corrected for small samples; None without spread.

    References:
        Hedges 1981, *Journal of Educational Statistics* 6(2): the exact correction by gamma functions.

    Example:
        >>> round(hedges_g(Group(10, 81.0, 1.0), Group(10, 80.0, 1.0)), 3)
        0.958
    """
    spread = pooled_sd(method, reference)
    if spread == 0:
        return None
    df = method.n + reference.n - 2
    correction = math.exp(math.lgamma(df / 2) - math.lgamma((df - 1) / 2)) / math.sqrt(df / 2) if df > 1 else 0.0
    return (method.mean - reference.mean) / spread * correction


def mean_interval(group: Group, alpha: float = 0.05) -> tuple[float, float] | None:
    """Return the t interval of a cell's mean over runs; None without spread."""
    return Estimate(group.mean, math.sqrt(group.variance_of_mean), group.n - 1).interval(alpha)


def smallest_detectable(estimate: Estimate, alpha: float = 0.05, power: float = 0.80) -> float:
    """Return the smallest true effect, in points, that the two-sided test of this estimate finds with the given power.

    1.325 standard deviations with Student's test at ten runs each, α = .05 and power .80.

    Example:
        >>> round(smallest_detectable(student(Group(10, 81.0, 1.0), Group(10, 80.0, 1.0))), 3)
        1.325
    """
    return _noncentrality(estimate.df, alpha, power) * estimate.standard_error


@lru_cache(maxsize=4096)
def _noncentrality(df: float, alpha: float, power: float) -> float:
    """Solve for the noncentrality at which a t test rejects with the given power; the far tail counts as nothing."""
    return float(special.nctdtrinc(df, 1 - power, -float(special.stdtrit(df, alpha / 2))))


def holm(p_values: Sequence[float | None], size: int) -> list[float | None]:
    """Adjust p values by Holm's step-down within a closed list of ``size`` contrasts.

    Contrasts that are missing from ``p_values``, or None in it, count as p = 1, so running fewer of them never makes
    the others easier; a None stays None.

    References:
        Holm 1979, *Scandinavian Journal of Statistics* 6(2).

    Raises:
        ValueError: If there are more p values than the closed list is long.

    Example:
        >>> [round(p, 3) for p in holm([0.01, 0.04], size=2)]
        [0.02, 0.04]
        >>> [round(p, 3) for p in holm([0.01, 0.04], size=12)]
        [0.12, 0.44]
    """
    if len(p_values) > size:
        raise ValueError(f"found {len(p_values)} p values in a closed list of {size}; correct the list.")
    if size == 0:
        return []
    # Written out because statsmodels' multipletests collects garbage on every call, a quarter of a second each.
    padded = np.array([1.0 if p is None else p for p in p_values] + [1.0] * (size - len(p_values)))
    order = np.argsort(padded, kind="stable")
    adjusted = np.empty(size)
    adjusted[order] = np.minimum(np.maximum.accumulate(padded[order] * np.arange(size, 0, -1)), 1.0)
    return [None if p is None else float(a) for p, a in zip(p_values, adjusted, strict=False)]
