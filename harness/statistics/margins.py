"""Equivalence margins: how large a difference must be before a reader should care, in points, by metric."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import yaml

from harness.errors import ConfigurationError


def read_margins(path: Path) -> dict[str, float]:
    """Read ``reports/margins.yaml``: metric → points.

    Raises:
        ConfigurationError: If the file is absent or holds anything but positive numbers by metric.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be read ({error.strerror}); expected a margin in points for each metric; restore it."
        ) from error
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path} is not YAML ({error}); mend the syntax.") from error
    if not isinstance(document, dict) or not document:
        raise ConfigurationError(f"{path} holds {document!r}; expected a margin in points for each metric.")
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
