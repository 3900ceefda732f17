"""Turns results into the data frames that figures draw."""

from __future__ import annotations

import math

import pandas as pd

from reports.render import wording
from reports.render.inputs import Results, Trial
from reports.render.tables import primary_metrics

SCORED = frozenset({"ok", "diverged_scored"})


def points(trial: Trial) -> float | None:
    """Return a trial's value in points, as tables print it; None if it does not count."""
    if trial.value is None or trial.status not in SCORED or not math.isfinite(trial.value):
        return None
    return trial.value if trial.metric in wording.COUNTS else 100.0 * trial.value


def bars_frame(results: Results, family: str) -> pd.DataFrame:
    """Make the frame of ``figures.bars`` for one family's contrasts; empty if none has a trial."""
    cells = {(c.method, c.task, c.label_fraction, c.metric): c for c in results.cells}
    rows = []
    for contrast in (c for c in results.contrasts if c.family == family):
        where = (contrast.task, contrast.label_fraction, contrast.metric)
        for role, method, label in (
            ("reference", contrast.reference, contrast.reference_label),
            ("method", contrast.method, contrast.method_label),
        ):
            cell = cells.get((method, *where))
            for trial in results.trials:
                if (trial.method, trial.task, trial.label_fraction, trial.metric) != (method, *where):
                    continue
                if (value := points(trial)) is None:
                    continue
                rows.append({
                    "task": f"{wording.column(contrast.task_label, contrast.label_fraction)}"
                    f" ({wording.metric(contrast.metric)})",
                    "pair": f"{contrast.method}|{contrast.reference}",
                    "role": role,
                    "label": label,
                    "value": value,
                    "mark": wording.mark(contrast) if contrast.effect is not None else "",
                    "p": wording.probability(contrast.p),
                    "effect": wording.signed(contrast.effect),
                    # The paper's mean is drawn only where the two may be compared.
                    "published": math.nan
                    if contrast.agreement == "not comparable" or cell is None or cell.published_mean is None
                    else cell.published_mean,
                })  # fmt: skip
    return pd.DataFrame(rows)


def fractions_frame(results: Results) -> pd.DataFrame:
    """Make the frame of ``figures.fractions``: cells of every task that was judged at several label fractions."""
    primary = primary_metrics(results)
    cells = [c for c in results.cells if c.mean is not None and c.metric == primary[c.task]]
    several = {c.task for c in cells if len({d.label_fraction for d in cells if d.task == c.task}) > 1}
    curves = {(c.method, c.task) for c in cells if c.label_fraction < 1.0}
    nothing = math.nan
    return pd.DataFrame([
        {
            "task": f"{c.task_label} ({wording.metric(c.metric)})",
            "method": c.method_label,
            "label_fraction": c.label_fraction,
            "mean": c.mean,
            "low": nothing if c.ci_low is None else c.ci_low,
            "high": nothing if c.ci_high is None else c.ci_high,
        }
        for c in cells
        if c.task in several and (c.method, c.task) in curves
    ])  # fmt: skip


def curves_frame(results: Results, labels: dict[str, str]) -> pd.DataFrame:
    """Make the frame of ``figures.curves``: steps counted on through the phases of a chain."""
    rows = []
    last: dict[tuple[str, int], tuple[str, int, int]] = {}  # chain → (phase, its start, furthest step)
    for point in results.curves:
        chain = (point.method, point.pretrain_seed)
        phase, start, furthest = last.get(chain, (point.phase, 0, 0))
        if phase != point.phase:
            phase, start = point.phase, furthest
        step = start + point.step
        last[chain] = (phase, start, max(furthest, step))
        rows.append({
            "method": labels[point.method],
            "pretrain_seed": point.pretrain_seed,
            "name": point.name.replace("_", " "),
            "step": step,
            "value": point.value,
            "phase_start": start,
        })  # fmt: skip
    return pd.DataFrame(rows)


def effects_frame(results: Results, block: str) -> pd.DataFrame:
    """Make the frame of ``figures.effects``: every contrast of one block that has an effect.

    The paper's effect is left out where the two may not be compared (made-up images, another protocol).
    """

    def value(number: float | None) -> float:
        return math.nan if number is None else number

    return pd.DataFrame([
        {
            "family": c.family_label,
            "title": wording.contrast_title(c),
            "finding": c.finding,
            "effect": value(c.effect),
            "low": value(c.ci_low),
            "high": value(c.ci_high),
            "published": value(None if c.agreement == "not comparable" else c.published_effect),
            "published_low": value(None if c.agreement == "not comparable" else c.published_low),
            "published_high": value(None if c.agreement == "not comparable" else c.published_high),
            "margin": c.margin,
        }
        for c in results.contrasts
        if c.effect is not None and c.block == block
    ])  # fmt: skip
