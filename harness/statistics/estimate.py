"""An effect with its standard error and degrees of freedom, and every question that a t distribution answers.

One convention throughout ``harness.statistics``: values are **points** (percent, as the paper prints them), a
``Group`` is what one cell's runs come to, an effect is *method − reference*, and standard deviations have ddof 1.
Pure functions; scipy and statsmodels compute; nothing here draws a random number.

Spread of zero. A t test needs spread. Where the standard error is zero, ``t``, ``p`` and the equivalence test are
None, never NaN and never significant: two constant and equal cells are *identical*; two constant and different ones
are reported as a constant difference that no test of spread can judge.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import integrate, special, stats
from statsmodels.stats.power import TTestIndPower


@dataclass(frozen=True)
class Group:
    """The runs of one cell, as counted or as printed.

    Attributes:
        n: Number of runs, at least 2.
        mean: In points.
        sd: In points, ddof 1, ≥ 0.
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
        return None if self.t is None else float(2 * stats.t.sf(abs(self.t), self.df))

    @property
    def p_greater(self) -> float | None:
        """One-sided p value against the alternative that the effect is positive."""
        return None if self.t is None else float(stats.t.sf(self.t, self.df))

    @property
    def p_less(self) -> float | None:
        """One-sided p value against the alternative that the effect is negative."""
        return None if self.t is None else float(stats.t.cdf(self.t, self.df))

    def interval(self, alpha: float = 0.05) -> tuple[float, float] | None:
        """Return the ``1 − alpha`` confidence interval of the effect, in points; None without spread."""
        if not self.testable:
            return None
        half = float(stats.t.isf(alpha / 2, self.df)) * self.standard_error
        return self.effect - half, self.effect + half

    def p_tost(self, margin: float) -> float | None:
        """Return the larger p of the two one-sided tests against ±margin points (Schuirmann 1987)."""
        if not self.testable:
            return None
        above = stats.t.sf((self.effect + margin) / self.standard_error, self.df)
        below = stats.t.cdf((self.effect - margin) / self.standard_error, self.df)
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
        critical = float(stats.t.isf(alpha, self.df))
        largest = (margin / (critical * self.standard_error)) ** 2 * self.df  # beyond it no effect is small enough

        def accepted(chi_square: float) -> float:
            half = margin / self.standard_error - critical * math.sqrt(chi_square / self.df)
            return (2 * special.ndtr(half) - 1) * float(_chi_square_density(chi_square, self.df))

        upper = min(largest, float(stats.chi2.isf(1e-12, self.df)))
        power, _ = integrate.quad(accepted, 0, upper, points=[min(self.df, upper * 0.999)], limit=200)
        return float(min(max(power, 0.0), 1.0))


def _chi_square_density(x: float, df: float) -> float:
    """Return the density of a chi-square; scipy's own costs a hundred times more per scalar."""
    if x <= 0:
        return 0.0
    return math.exp((df / 2 - 1) * math.log(x) - x / 2 - df / 2 * math.log(2) - math.lgamma(df / 2))


def student(method: Group, reference: Group) -> Estimate:
    """Return method − reference with a pooled variance: the paper's independent two-sample t test.

    References:
        DiRA §4.2 ("independent two-sample t-test"; neither sidedness nor variances are stated: two-sided, equal).
    """
    df = method.n + reference.n - 2
    error = pooled_sd(method, reference) * math.sqrt(1 / method.n + 1 / reference.n)
    return Estimate(method.mean - reference.mean, error, df)


def welch(method: Group, reference: Group) -> Estimate:
    """Return method − reference without assuming equal variances (Welch 1947)."""
    return _satterthwaite(method.mean - reference.mean, (method, reference))


def difference_of_effects(
    method: Group, reference: Group, published_method: Group, published_reference: Group
) -> Estimate:
    """Return our effect − the paper's effect, Welch–Satterthwaite over the four groups."""
    ours = method.mean - reference.mean
    theirs = published_method.mean - published_reference.mean
    return _satterthwaite(ours - theirs, (method, reference, published_method, published_reference))


def prediction(method: Group, reference: Group, published_effect: float, published_n: int) -> Estimate:
    """Return our effect − a published effect that was printed without a spread.

    The paper's two groups are taken to be of ``published_n`` runs each with *our* pooled spread ("σ assumed"), so the
    interval of this estimate around zero is a prediction interval for a replication of our own contrast.
    """
    spread = pooled_sd(method, reference)
    error = spread * math.sqrt(1 / method.n + 1 / reference.n + 2 / published_n)
    return Estimate(method.mean - reference.mean - published_effect, error, method.n + reference.n - 2)


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


@lru_cache(maxsize=256)
def smallest_detectable(n_method: int, n_reference: int, alpha: float = 0.05, power: float = 0.80) -> float:
    """Return the smallest effect that the two-sided Student test finds with the given power, in standard deviations.

    1.325 at ten runs each, α = .05 and power .80; 1.813 when α is shared by nine contrasts (Bonferroni).
    """
    solved = TTestIndPower().solve_power(
        nobs1=n_method, alpha=alpha, power=power, ratio=n_reference / n_method, alternative="two-sided"
    )
    return float(np.asarray(solved).item())


def holm(p_values: Sequence[float | None], size: int) -> list[float | None]:
    """Adjust p values by Holm's step-down within a closed list of ``size`` contrasts.

    Contrasts that are missing from ``p_values``, or None in it, count as p = 1, so running fewer of them never makes
    the others easier; a None stays None.

    References:
        Holm 1979, *Scandinavian Journal of Statistics* 6(2).

    Raises:
        ValueError: If there are more p values than the closed list is long.
    """
    if len(p_values) > size:
        raise ValueError(f"found {len(p_values)} p values in a closed list of {size}; mend the list.")
    if size == 0:
        return []
    # Written out because statsmodels' multipletests collects garbage on every call, a quarter of a second each.
    padded = np.array([1.0 if p is None else p for p in p_values] + [1.0] * (size - len(p_values)))
    order = np.argsort(padded, kind="stable")
    adjusted = np.empty(size)
    adjusted[order] = np.minimum(np.maximum.accumulate(padded[order] * np.arange(size, 0, -1)), 1.0)
    return [None if p is None else float(a) for p, a in zip(p_values, adjusted, strict=False)]
