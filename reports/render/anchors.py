"""The names that links into ``report.html`` use; they open a cell or a contrast there."""

from __future__ import annotations

from harness.statistics.schema import Comparison


def cell_anchor(method: str, task: str, label_fraction: float) -> str:
    """Return the name of a cell in ``report.html``."""
    return f"cell-{method}-{task}-{label_fraction:g}"


def contrast_anchor(contrast: Comparison) -> str:
    """Return the name of a contrast in ``report.html``."""
    c = contrast
    return f"contrast-{c.family}-{c.method}-{c.reference}-{c.task}-{c.label_fraction:g}-{c.metric}"
