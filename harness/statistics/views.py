"""Views that a benchmark of few runs owes its readers, beside the contrasts: one row of ``views.csv`` each.

* **Probability of improvement**: how often a run of the method beats a run of its reference, averaged over the cells
  of a family, with a stratified bootstrap interval (runs are drawn anew within each cell). It needs no normal law and
  no unit, so cells with different metrics may be averaged.
* **Over bases**: does a component help, whatever the base? The unit is a pair of checkpoints (MoCo-v2, Barlow Twins,
  SimSiam), because ten runs on one pair share its luck: the mean gain (the effect, its sign turned where less
  is better) over the pairs with a t interval of two degrees
  of freedom.

References:
    Agarwal et al. 2021, *Deep Reinforcement Learning at the Edge of the Statistical Precipice*, §4.3 (probability of
    improvement as the mean of Mann–Whitney's statistics over tasks; stratified bootstrap). Departure: cells with label
    fractions count as tasks of their own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from harness.gates import NOT_LEARNT
from harness.metrics import metric_of
from harness.published import AddedFamily, CellKey, ContrastKey, Families
from harness.seeding import seed
from harness.statistics.estimate import Estimate, Group
from harness.statistics.schema import Comparison, View

RESAMPLES = 2000


def views(
    families: Families,
    comparisons: Sequence[Comparison],
    runs: Mapping[CellKey, Sequence[float]],
    base_seed: int,
    alpha: float,
) -> list[View]:
    """Make every view of the published families, and of those on added tasks that have a contrast.

    Args:
        families: The closed lists.
        comparisons: The contrasts, whose effects the bases are averaged over.
        runs: Values by cell, under the task's primary metric, the larger the better.
        base_seed: The bootstrap draws from it and the family's name.
        alpha: 1 − coverage of the intervals.
    """
    rows: list[View] = []
    unlearnt = _unlearnt(comparisons)
    for name, family in families.families.items():
        keys = [key for key in family.contrasts(name) if key.delta is None]
        for pair in family.pairs:
            cells = [key for key in keys if (key.method, key.reference) == tuple(pair)]
            rows += _gated(_improvement(family.label, cells, runs, base_seed, alpha), unlearnt & set(pair))
        if len(family.pairs) > 1:
            own = [row for row in comparisons if row.family == name]
            every = {method for pair in family.pairs for method in pair}
            rows += _gated(_over_bases(name, family.label, own, alpha), unlearnt & every)
    for name, added in families.added.items():
        contrasts = [row for row in comparisons if row.family == name]
        rows += _on_added_tasks(added, name, contrasts, runs, unlearnt, base_seed, alpha)
    return rows


def _on_added_tasks(
    family: AddedFamily,
    name: str,
    contrasts: Sequence[Comparison],
    runs: Mapping[CellKey, Sequence[float]],
    unlearnt: set[str],
    base_seed: int,
    alpha: float,
) -> list[View]:
    """Make the views of a family on added tasks; the rungs of one base are no bases of their own against Random."""
    rows: list[View] = []
    cells: dict[tuple[str, str], list[ContrastKey]] = {}
    for row in contrasts:
        pair = cells.setdefault((row.method, row.reference), [])
        if metric_of(row.metric).delta is None:
            pair.append(ContrastKey(name, row.method, row.reference, row.task, row.label_fraction))
    for names, keys in cells.items():
        rows += _gated(_improvement(family.label, keys, runs, base_seed, alpha), unlearnt & set(names))
    if family.like and len(cells) > 1:
        every = {method for names in cells for method in names}
        rows += _gated(_over_bases(name, family.label, contrasts, alpha), unlearnt & every)
    return rows


def _unlearnt(comparisons: Sequence[Comparison]) -> set[str]:
    """Return the methods whose contrasts say that their encoder was not learnt."""
    sides = [("method", row.method, row.gate) for row in comparisons]
    sides += [("reference", row.reference, row.gate) for row in comparisons]
    return {name for side, name, gate in sides if f"{side} {NOT_LEARNT}" in gate}


def _gated(rows: list[View], unlearnt: set[str]) -> list[View]:
    """Let views say which methods in them were not learnt."""
    gate = f"{NOT_LEARNT}: {', '.join(sorted(unlearnt))}" if unlearnt else ""
    return [row.model_copy(update={"gate": gate}) for row in rows]


def _improvement(
    label: str,
    keys: Sequence[ContrastKey],
    runs: Mapping[CellKey, Sequence[float]],
    base_seed: int,
    alpha: float,
) -> list[View]:
    pairs = []
    for key in keys:
        ours, beside = (runs.get(CellKey(name, key.task, key.label_fraction), ()) for name in key[1:3])
        if len(ours) and len(beside):
            pairs.append((np.asarray(ours, dtype=float), np.asarray(beside, dtype=float)))
    if not pairs:
        return []
    family, method, reference = keys[0][:3]
    generator = np.random.Generator(np.random.PCG64(seed(base_seed, "improvement", family, method, reference)))
    drawn = np.mean([_resampled(a, b, generator) for a, b in pairs], axis=0)
    low, high = np.quantile(drawn, [alpha / 2, 1 - alpha / 2])
    return [
        View(
            kind="probability of improvement",
            family=family,
            family_label=label,
            method=method,
            reference=reference,
            task="",
            estimate=float(np.mean([improvement(a, b) for a, b in pairs])),
            low=float(low),
            high=float(high),
            units=len(pairs),
        )
    ]


def improvement(method: np.ndarray, reference: np.ndarray) -> float:
    """Return how often a run of the method beats one of the reference, ties counting half: Mann–Whitney's U / nm."""
    above = (method[:, None] > reference[None, :]).mean()
    return float(above + 0.5 * (method[:, None] == reference[None, :]).mean())


def _resampled(method: np.ndarray, reference: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return the probability on each resample of the runs, shape ``(RESAMPLES,)``."""
    a = method[generator.integers(0, method.size, (RESAMPLES, method.size))][:, :, None]
    b = reference[generator.integers(0, reference.size, (RESAMPLES, reference.size))][:, None, :]
    drawn: np.ndarray = (a > b).mean((1, 2)) + 0.5 * (a == b).mean((1, 2))
    return drawn


def _over_bases(family: str, label: str, rows: Sequence[Comparison], alpha: float) -> list[View]:
    """Average the gains over the pairs, at each task and label fraction and over all of them."""
    places = dict.fromkeys((row.task, row.label_fraction, row.metric) for row in rows)
    pairs = dict.fromkeys((row.method, row.reference) for row in rows)
    gains = {(row.method, row.task, row.label_fraction, row.metric): _gain(row) for row in rows}
    units = {metric_of(metric).unit for _, _, metric in places}
    found, table = [], []
    for place in places:
        column = [gains.get((method, *place)) for method, _ in pairs]
        known = [gain for gain in column if gain is not None]
        if len(known) == len(pairs):
            table.append(known)
        if len(known) > 1:
            task, fraction, metric = place
            found.append(_mean_gain(family, label, f"{task}|{fraction:g}|{metric}", known, alpha))
    if len(table) > 1 and len(pairs) > 1 and len(units) == 1:  # points and millimetres have no mean
        found.append(_mean_gain(family, label, "", list(np.mean(table, axis=0)), alpha))
    return found


def _gain(row: Comparison) -> float | None:
    """Return an effect with the sign of an improvement: a distance that falls is a gain."""
    return None if row.effect is None else metric_of(row.metric).sign * row.effect


def _mean_gain(family: str, label: str, task: str, gains: Sequence[float], alpha: float) -> View:
    group = Group.of(gains)
    interval = Estimate(group.mean, math.sqrt(group.variance_of_mean), group.n - 1).interval(alpha)
    return View(
        kind="mean gain over bases",
        family=family,
        family_label=label,
        method="",
        reference="",
        task=task,
        estimate=group.mean,
        low=interval[0] if interval else None,
        high=interval[1] if interval else None,
        units=group.n,
    )
