"""Equivalence margins: how large a difference must be before a reader should care, in what is printed, by metric."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from harness.errors import ConfigurationError
from harness.metrics import metric_of
from harness.yaml_files import load_yaml


def read_margins(path: Path) -> dict[str, float]:
    """Read ``reports/margins.yaml``: metric → points, or millimetres where it is printed in these.

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
    """Return the margin of a metric as printed; ``localization_30`` has that of ``localization``.

    What stands in ``reports/margins.yaml`` comes first: the metric's own line, then that of its family; then what the
    metric itself declares.

    Raises:
        ConfigurationError: If there is none of these.

    Example:
        >>> margin_of("localization_30", {"localization": 2.0})
        2.0
    """
    measure = metric_of(metric)
    for name in (metric, measure.name, measure.family):
        if name in margins:
            return margins[name]
    if measure.margin is not None:
        return measure.margin
    raise ConfigurationError(
        f'no margin for the metric "{metric}"; expected one of {", ".join(sorted(margins))}; '
        "add it to reports/margins.yaml before the run."
    )
