"""How a number, a mark and a verdict are written, the same in every format.

Values arrive as they are printed (points, that is percent, for a share; millimetres for a distance); a missing one is
an en dash, never a zero.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from harness.gates import NOT_LEARNT
from harness.metrics import metric_of
from harness.spec import percent
from harness.statistics.schema import CellSummary, Comparison

NONE = "–"
MINUS = "−"

MARKS = {
    "better": "↑",
    "worse": "↓",
    "equivalent": "=",
    "identical": "≡",
    "unresolved": "*",
    "at the floor": "⊥",
    "at the ceiling": "⊤",
}
DAGGER = "†"

FINDINGS = tuple(MARKS)
AGREEMENTS = (
    "reproduced", "different (higher)", "different (lower)", "too small to tell", "inconclusive", "not comparable",
)  # fmt: skip


def number(value: float | None, digits: int = 2) -> str:
    """Write a value with a true minus sign; a dash where there is none."""
    if value is None:
        return NONE
    if math.isinf(value):  # a bound that the metric does not have
        return "∞" if value > 0 else f"{MINUS}∞"
    text = f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("-")
    return text.replace("-", MINUS)


def signed(value: float | None, digits: int = 2) -> str:
    """Write a difference with its sign."""
    text = number(value, digits)
    if value is None or text.startswith(MINUS) or float(text) == 0:
        return text
    return f"+{text}"


def spread(mean: float | None, sd: float | None) -> str:
    """Write ``mean ± sd``; the mean alone where the spread is unknown (a table that prints none, or n = 1)."""
    return number(mean) if sd is None or mean is None else f"{number(mean)} ± {number(sd)}"


def interval(low: float | None, high: float | None) -> str:
    """Write an interval with signs, as belongs to differences."""
    return NONE if low is None or high is None else f"[{signed(low)}, {signed(high)}]"


def plain_interval(low: float | None, high: float | None) -> str:
    """Write an interval of absolute values."""
    return NONE if low is None or high is None else f"[{number(low)}, {number(high)}]"


def probability(p: float | None) -> str:
    """Write a p-value with two significant digits, as the field does: ``.0024``, ``3.9e−07``, ``1.0``."""
    if p is None:
        return NONE
    if p == 0:
        return "< 1e-300"
    text = f"{p:#.2g}"
    return text.replace("-", MINUS) if "e" in text else text.removeprefix("0")


def threshold(alpha: float) -> str:
    """Write the level of the tests as the field does: ``.05``."""
    return f"{alpha:g}".removeprefix("0")


def mark(contrast: Comparison) -> str:
    """Return the mark of a contrast's Finding, with a dagger where patients take the gain back."""
    return MARKS[contrast.finding] + (DAGGER if contrast.dagger else "")


def lost_to_holm(contrast: Comparison, alpha: float) -> bool:
    """Say whether a contrast is significant alone and not within its family."""
    p, corrected = contrast.p, contrast.p_holm
    return p is not None and corrected is not None and p < alpha <= corrected


def answered(contrast: Comparison) -> bool:
    """Say whether a contrast has runs on both sides, and so a Finding; one with a cell that never ran is absent."""
    return contrast.effect is not None or bool(contrast.n_method and contrast.n_reference)


def why(contrast: Comparison) -> str:
    """Return all that explains a Finding: what is missing, who was not learnt, and what the tests remarked."""
    parts = (contrast.missing, contrast.gate, contrast.finding_note, contrast.design_note)
    return "; ".join(dict.fromkeys(part for part in parts if part))


def count(cell: CellSummary) -> str:
    """Return ``9/10`` when trials are missing, else an empty string."""
    return "" if cell.done == cell.planned else f"{cell.done}/{cell.planned}"


def unavailable(cell: CellSummary) -> bool:
    """Say whether a cell cannot be run here at all, which is no failure."""
    return cell.done == 0 and "unavailable" in cell.missing


def absent(cell: CellSummary) -> str:
    """Return what stands where a cell has no mean."""
    return "unavailable" if unavailable(cell) else "not run" if cell.done == 0 else NONE


def metric(name: str) -> str:
    """Return the label of a metric, with its unit where that is not points: ``AUC``; ``HD95, mm``."""
    known = metric_of(name)
    return known.label if known.in_points or not known.unit else f"{known.label}, {known.unit}"


def measured(name: str) -> str:
    """Return the label of a metric and its unit: ``AUC, points``."""
    known = metric_of(name)
    return f"{known.label}, {known.unit}" if known.unit else known.label


def variant(name: str) -> str:
    """Name a metric among others of its kind: ``δ = 0.3`` for localization, its label for others."""
    return metric(name) if metric_of(name).delta is None else metric_of(name).short


def units(names: Iterable[str]) -> str:
    """Say what numbers of these metrics are in: one unit, or points and the unit that stands beside them."""
    found = {metric_of(name).unit for name in names} or {"points"}
    return found.pop() if len(found) == 1 else "points, or the unit that stands beside them"


def column(task_label: str, label_fraction: float) -> str:
    """Return the heading of a table's column; the whole label set goes without saying."""
    return task_label if label_fraction == 1.0 else f"{task_label}, {percent(label_fraction)}".replace(" %", "\u00a0%")


def beside(name: str) -> str:
    """Return what must stand behind a task's label: which overlap, as a task has several; the unit if not points."""
    known = metric_of(name)
    parts = [] if known.delta is None else [known.short]
    parts += [] if known.in_points else [known.unit]
    return "".join(f", {part}" for part in parts)


def counted(number: int, one: str, several: str = "") -> str:
    """Write a count with its noun: ``1 contrast``, ``3 contrasts``.

    Args:
        number: How many.
        one: The noun for one.
        several: The noun for more; with an s if not given.
    """
    return f"{number:,} {one if number == 1 else several or f'{one}s'}"


def contrast_title(contrast: Comparison) -> str:
    """Name a contrast in words: ``DiRA (MoCo-v2) − MoCo-v2, ChestX-ray14``."""
    where = column(contrast.task_label, contrast.label_fraction)
    where += beside(contrast.metric)
    return f"{contrast.method_label} {MINUS} {contrast.reference_label}, {where}"


def contrast_row(contrast: Comparison) -> str:
    """Name a contrast below the name of its task: ``DiRA (MoCo-v2) − MoCo-v2, 1 %``."""
    pair = f"{contrast.method_label} {MINUS} {contrast.reference_label}"
    return pair + column("", contrast.label_fraction) + beside(contrast.metric)


def method(cell: CellSummary) -> str:
    """Return a method's label, with the word if its encoder was not learnt."""
    return cell.method_label + (f" ({NOT_LEARNT})" if cell.gate == NOT_LEARNT else "")


def published(cell: CellSummary) -> str:
    """Write the paper's number, or an empty string where it prints none."""
    return "" if cell.published_mean is None else spread(cell.published_mean, cell.published_sd)


def source_label(source: str) -> str:
    """Write a place of the paper as the paper does: ``tab2`` → ``Tab. 2``."""
    if source[:3] in ("tab", "fig") and source[3:].isdigit():
        return f"{source[:3].capitalize()}. {source[3:]}"
    return source


def legend(alpha: float) -> list[tuple[str, str]]:
    """Explain the marks.

    Args:
        alpha: The level of the tests.

    Returns:
        Pairs (mark, meaning).
    """
    level = threshold(alpha)
    return [
        (MARKS["better"], f"significantly better than its reference (two-sided t test, p < {level})"),
        (MARKS["worse"], f"significantly worse than its reference (same test, p < {level})"),
        (MARKS["equivalent"], "equivalent: the difference was shown to lie inside the margin (two one-sided tests)"),
        (MARKS["unresolved"], "not significantly different, and not shown to be equivalent either: unresolved"),
        (MARKS["identical"], "identical in every run"),
        (
            f"{MARKS['at the floor']} {MARKS['at the ceiling']}",
            "both means lie within one margin of the metric's least or largest value, where the margin says nothing",
        ),
        ("·", "could not be tested"),
        (DAGGER, "significant over runs, but not when the test patients are resampled"),
    ]


def stamp_of(rows: Iterable[CellSummary | Comparison]) -> str:
    """Return what to print beside a group of numbers: empty unless one of them comes from made-up images.

    Every stamp begins with SYNTHETIC, whatever the cohort calls itself, so that one word can be looked for.
    """
    stamps = sorted({row.stamp.strip() for row in rows if row.synthetic})
    if not stamps:
        return ""
    text = " · ".join(s.removeprefix("SYNTHETIC").lstrip(": ") for s in stamps)
    return f"SYNTHETIC: {text}" if text else "SYNTHETIC"
