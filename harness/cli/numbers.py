"""Bounds of the numbers that options take, checked before anything else happens."""

from __future__ import annotations

import math
from collections.abc import Callable

from harness.errors import ConfigurationError

MANY_SLOTS = 1024
MANY_WORKERS = 256
MANY_REPEATS = 1000
YEAR = 366 * 24 * 3600.0


def whole(option: str, low: int, high: int) -> Callable[[int | None], int | None]:
    """Return the callback of an option that takes a whole number from ``low`` to ``high``."""

    def check(value: int | None) -> int | None:
        if value is not None and not low <= value <= high:
            raise ConfigurationError(f"found {option} {value}; expected a whole number from {low} to {high}.")
        return value

    return check


def seconds(option: str, most: float = YEAR) -> Callable[[float | None], float | None]:
    """Return the callback of an option that takes a duration: above 0, finite, at most ``most`` seconds."""

    def check(value: float | None) -> float | None:
        if value is not None and not (math.isfinite(value) and 0 < value <= most):
            raise ConfigurationError(
                f"found {option} {value:g}; expected seconds above 0, at most {most:g}; leave it out for no limit."
            )
        return value

    return check


def between(option: str, low: float, high: float) -> Callable[[float], float]:
    """Return the callback of an option that takes a number from ``low`` to ``high``."""

    def check(value: float) -> float:
        if not low <= value <= high:  # false for what is no number, too
            raise ConfigurationError(f"found {option} {value:g}; expected a number from {low:g} to {high:g}.")
        return value

    return check


def level(option: str) -> Callable[[float | None], float | None]:
    """Return the callback of an option that takes the level of a test: above 0, at most a half."""

    def check(value: float | None) -> float | None:
        if value is not None and not 0 < value <= 0.5:
            raise ConfigurationError(f"found {option} {value:g}; expected a number above 0, at most 0.5.")
        return value

    return check
