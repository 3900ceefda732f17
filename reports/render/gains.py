"""Average gains: the numbers that the paper puts into its text (§5.2, App. A.1), for ours, with an interval.

§5.2 averages the gain of a method over its base across tasks at one label fraction; App. A.1 across the overlaps δ at
which the same models are scored. Here the average over overlaps is taken trial by trial, because one trial gives all
of them; cells of different tasks are independent, so their variances add. Welch–Satterthwaite gives the degrees of
freedom.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.metrics import metric_of
from harness.published import Families
from harness.spec import percent
from harness.statistics.audit import AuditedClaim
from harness.statistics.estimate import Estimate
from reports.render import wording
from reports.render.inputs import Results


@dataclass(frozen=True)
class Gain:
    """One average.

    Attributes:
        pair: ``DiRA (MoCo-v2) − MoCo-v2``.
        where: What it averages over: ``ChestX-ray14, Montgomery at 1 %``.
        effect: As printed; above 0 is an improvement. low, high: Its 95 % interval; None without spread.
        unit: Of the effect.
        published: What the paper prints, as printed; empty where the average is over something else.
        note: Why it is no more than what it is, and who was not learnt; empty if complete and learnt.
    """

    pair: str
    where: str
    effect: float
    low: float | None
    high: float | None
    published: str
    note: str
    unit: str = "points"


def average_gains(
    family: str,
    families: Families,
    results: Results,
    metrics: Sequence[str],
    methods: Mapping[str, str],
    tasks: Mapping[str, str],
) -> tuple[Gain, ...]:
    """Average each pair's gain at each label fraction of a family of contrasts.

    Args:
        family: Its key in ``families.yaml``.
        families: Which pairs, tasks and fractions it has.
        results: What was measured.
        metrics: Metrics of one trial that are averaged; empty: each task's primary metric.
        methods: Registry name → label.
        tasks: The same for tasks.

    Returns:
        One gain for each pair and fraction of which at least one task was run for both methods.
    """
    shape, gains = families.families[family], []
    primary = {c.task: c.metric for c in results.contrasts if metric_of(c.metric).delta is None}
    values = _values(results)
    gates = {(c.method, c.reference): c.gate for c in results.contrasts}
    for method, reference in shape.pairs:
        for fraction in shape.label_fractions:
            averaged: list[str] = []
            unit = ""
            sides: list[tuple[np.ndarray, np.ndarray]] = []
            for task in shape.tasks:
                names = tuple(metrics) or ((primary[task],) if task in primary else ())
                both = [_per_trial(values.get((m, task, fraction), {}), names) for m in (method, reference)]
                own = wording.units(names)
                if task in tasks and names and all(len(side) for side in both) and own == (unit or own):
                    unit = own  # of the first task: points and millimetres have no mean
                    averaged.append(task)
                    sides.append((both[0], both[1]))
            if not averaged:
                continue
            estimate = _average(sides)
            interval = estimate.interval()
            gains.append(
                Gain(
                    pair=f"{methods.get(method, method)} {wording.MINUS} {methods.get(reference, reference)}",
                    where=_where([tasks[task] for task in averaged], fraction, metrics),
                    effect=estimate.effect,
                    low=interval[0] if interval else None,
                    high=interval[1] if interval else None,
                    published=_printed(results.claims, method, reference, fraction, localized=bool(metrics)),
                    note=_note(len(averaged), len(shape.tasks), gates.get((method, reference), "")),
                    unit=unit,
                )
            )
    return tuple(gains)


def _where(labels: Sequence[str], fraction: float, metrics: Sequence[str]) -> str:
    """Say what a gain averages over."""
    over = ", ".join(wording.column(label, 1.0) for label in labels)
    at = "" if fraction == 1.0 else f" at {percent(fraction)}"
    return over + at + (f", mean over {len(metrics)} overlaps δ" if metrics else "")


def _note(averaged: int, of: int, gate: str) -> str:
    """Say what a gain lacks, and who was not learnt."""
    lacking = f"{averaged} of the paper’s {of} tasks" if averaged < of else ""
    return "; ".join(part for part in (lacking, gate) if part)


def _values(results: Results) -> dict[tuple[str, str, float], dict[tuple[int, int], dict[str, float]]]:
    """Return cell → trial → metric → value as printed, the larger the better, of trials that count."""
    found: dict[tuple[str, str, float], dict[tuple[int, int], dict[str, float]]] = {}
    for trial in results.trials:
        if trial.status.scored and trial.value is not None and math.isfinite(trial.value):
            own = found.setdefault(trial.cell, {}).setdefault((trial.pretrain_seed, trial.repeat), {})
            metric = metric_of(trial.metric)
            own[trial.metric] = metric.sign * metric.printed(trial.value)
    return found


def _per_trial(trials: Mapping[tuple[int, int], Mapping[str, float]], metrics: Sequence[str]) -> np.ndarray:
    """Return each trial's mean over the metrics; a trial that lacks one is left out, and so is a lone trial."""
    kept = [np.mean([own[m] for m in metrics]) for _, own in sorted(trials.items()) if all(m in own for m in metrics)]
    return np.array(kept if len(kept) > 1 else [])


def _average(sides: Sequence[tuple[np.ndarray, np.ndarray]]) -> Estimate:
    """Average the differences of means of independent cells."""
    count = len(sides)
    effect = float(np.mean([a.mean() - b.mean() for a, b in sides]))
    parts = [(side.var(ddof=1) / len(side) / count**2, len(side) - 1) for pair in sides for side in pair]
    variance = sum(part for part, _ in parts)
    if variance == 0:
        return Estimate(effect, 0.0, 0.0)
    df = variance**2 / sum(part**2 / degrees for part, degrees in parts)
    return Estimate(effect, math.sqrt(variance), df)


def _printed(claims: Sequence[AuditedClaim], method: str, reference: str, fraction: float, *, localized: bool) -> str:
    """Return the average that the paper prints in its text for this pair, as printed."""
    for claim in claims:
        mine = (claim.method, claim.reference, claim.label_fraction) == (method, reference, fraction)
        if mine and claim.id.startswith("text_average") and ("localization" in claim.id) == localized:
            return claim.printed
    return ""
