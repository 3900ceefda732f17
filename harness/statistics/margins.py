"""Equivalence margins: how large a difference must be before a reader should care, in points, by metric."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from harness.errors import ConfigurationError
from harness.yaml_files import load_yaml


def read_margins(path: Path) -> dict[str, float]:
    """Read ``reports/margins.yaml``: metric → points.

    Raises:
        ConfigurationError: If the file is absent or holds anything but positive numbers by metric.
    """
    document = load_yaml(path)
    bad = {
        name: value
        for name, value in document.items()
        if isinstance(value, bool) or not isinstance(value, int | float) or not (math.isfinite(value) and value > 0)
    }
    if bad:
        raise ConfigurationError(
            "\n".join(f"{path}, {name}: found {value!r}; expected points above 0." for name, value in bad.items())
        )
    return {str(name): float(value) for name, value in document.items()}


def margin_of(metric: str, margins: Mapping[str, float]) -> float:
    """Return the margin of a metric in points; ``localization_30`` has that of ``localization``.

    Raises:
        ConfigurationError: If neither the metric nor its family has a margin.
    """
    for name in (metric, metric.rsplit("_", 1)[0]):
        if name in margins:
            return margins[name]
    raise ConfigurationError(
        f'no margin for the metric "{metric}"; expected one of {", ".join(sorted(margins))}; '
        "add it to reports/margins.yaml before the run."
    )
