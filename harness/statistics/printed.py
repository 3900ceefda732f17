"""Two printed numbers as the groups behind them, and every honest way to read them.

A table prints a mean, mostly a spread, and not always the number of runs. A ``Pair`` is two such numbers; its methods
give the estimate under one reading each. In a pair, higher is always better: the means of a metric of which less is
better (HD95) enter with their sign turned.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from itertools import product
from typing import Protocol

from harness.statistics.estimate import Estimate, Group, student, welch

UNSTATED_RUNS = 3  # the fewest that "multiple" is taken to mean: fewer runs make every verdict more careful
RUNS_TRIED = (UNSTATED_RUNS, 5, 10)  # where a number of runs is not stated, p is given at each of these
MOST_RUNS = 1000  # no table of the field rests on more


class PrintedNumber(Protocol):
    """One printed cell.

    Attributes:
        metric: Its name.
        mean: As printed, with its decimals; None where nothing is printed.
        sd: Likewise.
        n: Runs behind it; None where the paper does not state them.
        unit: ``points``, ``mm`` …
        lower_is_better: Whether less is better.
    """

    @property
    def metric(self) -> str: ...
    @property
    def mean(self) -> Decimal | None: ...
    @property
    def sd(self) -> Decimal | None: ...
    @property
    def n(self) -> int | None: ...
    @property
    def unit(self) -> str: ...
    @property
    def lower_is_better(self) -> bool: ...


class Printed(Protocol):
    """Whatever holds printed numbers by cell: this project's paper, or a table from elsewhere."""

    def score(self, method: str, task: str, label_fraction: float, delta: float | None = None) -> PrintedNumber | None:
        """Return a cell, or None where it is not printed."""


@dataclass(frozen=True)
class Side:
    """One printed number with a spread.

    Attributes:
        mean: Higher is better.
        sd: At least 0.
        n: Runs; None where they are not stated.
        half_mean, half_sd: Half a unit of the last printed digit: what rounding leaves open.
    """

    mean: float
    sd: float
    n: int | None
    half_mean: float
    half_sd: float

    @classmethod
    def of(cls, number: PrintedNumber) -> Side | None:
        """Read a cell; None where it has no mean or no spread."""
        if number.mean is None or number.sd is None:
            return None
        sign = -1 if number.lower_is_better else 1
        halves = half_unit(number.mean), half_unit(number.sd)
        return cls(sign * float(number.mean), float(number.sd), number.n, *halves)

    def group(self, runs: int, shift: float = 0.0, wider: float = 0.0) -> Group:
        """Return the runs behind the number, ``runs`` of them where they are not stated."""
        return Group(self.n or runs, self.mean + shift, max(self.sd + wider, 0.0))


@dataclass(frozen=True)
class Pair:
    """Two printed numbers with spreads: method and reference."""

    method: Side
    reference: Side

    @property
    def unstated(self) -> tuple[str, ...]:
        """Name the sides whose number of runs is not stated."""
        sides = {"method": self.method, "reference": self.reference}
        return tuple(name for name, side in sides.items() if side.n is None)

    def student(self, runs: int = UNSTATED_RUNS) -> Estimate:
        """Return the primary reading: Student, the printed sd with ddof 1."""
        return student(self.method.group(runs), self.reference.group(runs))

    def welch(self) -> Estimate:
        """Return the reading without equal variances."""
        return welch(self.method.group(UNSTATED_RUNS), self.reference.group(UNSTATED_RUNS))

    def ddof0(self) -> Estimate:
        """Return the reading of the printed sd as one with ddof 0."""
        groups = (side.group(UNSTATED_RUNS).from_population_sd() for side in (self.method, self.reference))
        return student(*groups)

    def corners(self) -> Iterator[Estimate]:
        """Yield the corners of what the printed decimals leave open, and equal means where they allow them."""
        effect = self.method.mean - self.reference.mean
        most = self.method.half_mean + self.reference.half_mean
        shifts = [-most, most] + ([-effect] if abs(effect) <= most else [])
        halves = ((-side.half_sd, side.half_sd) for side in (self.method, self.reference))
        for shift, (a, b) in product(shifts, tuple(product(*halves))):
            yield student(self.method.group(UNSTATED_RUNS, shift, a), self.reference.group(UNSTATED_RUNS, wider=b))


def half_unit(number: Decimal) -> float:
    """Return half a unit of the last printed digit: 0.005 for 95.74."""
    exponent = number.as_tuple().exponent
    return float(Decimal(5).scaleb(int(exponent) - 1))
