"""Turns results into the data frames that figures draw."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd

from harness.metrics import metric_of
from harness.results.table import TrialRow
from reports.render import wording
from reports.render.inputs import Results
from reports.render.tables import primary_metrics

OTHERS = "no discrimination"
UNTRAINED = "no pretraining"
STEPS, EPOCHS = "optimiser steps, all phases", "epochs of the autoencoder"
IN_EPOCHS = frozenset({"autoencoder"})  # what is recorded once an epoch, before any step of the phases that follow
SHARED_QUANTITIES = ("discrimination", "restoration", "adversary", "opponent")  # panels of every base, left to right


def printed(trial: TrialRow) -> float | None:
    """Return a trial's value as tables print it; None if it does not count."""
    if trial.value is None or not trial.status.scored or not math.isfinite(trial.value):
        return None
    return metric_of(trial.metric).printed(trial.value)


def bars_frame(results: Results, family: str) -> pd.DataFrame:
    """Make the frame of ``figures.bars`` for one family's contrasts; empty if none has a trial."""
    cells = {(c.method, c.task, c.label_fraction, c.metric): c for c in results.cells}
    trials: dict[tuple[str, str, float, str], list[TrialRow]] = {}
    for trial in results.trials:
        trials.setdefault((trial.method, trial.task, trial.label_fraction, trial.metric), []).append(trial)
    rows = []
    for contrast in (c for c in results.contrasts if c.family == family):
        where = (contrast.task, contrast.label_fraction, contrast.metric)
        for role, method, label in (
            ("reference", contrast.reference, contrast.reference_label),
            ("method", contrast.method, contrast.method_label),
        ):
            cell = cells.get((method, *where))
            for trial in trials.get((method, *where), ()):
                if (value := printed(trial)) is None:
                    continue
                rows.append({
                    "task": f"{wording.column(contrast.task_label, contrast.label_fraction)}"
                    f" ({wording.metric(contrast.metric)})",
                    "pair": f"{contrast.method}|{contrast.reference}",
                    "role": role,
                    "label": label if cell is None else wording.method(cell),
                    "unit": wording.units([contrast.metric]),
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
    """Make the frame of ``figures.fractions``: cells of every task that was evaluated at several label fractions."""
    primary = primary_metrics(results)
    cells = [c for c in results.cells if c.mean is not None and c.metric == primary[c.task]]
    several = {c.task for c in cells if len({d.label_fraction for d in cells if d.task == c.task}) > 1}
    curves = {(c.method, c.task) for c in cells if c.label_fraction < 1.0}
    nothing = math.nan
    return pd.DataFrame([
        {
            "task": f"{c.task_label} ({wording.metric(c.metric)})",
            "unit": wording.units([c.metric]),
            "method": wording.method(c),
            "label_fraction": c.label_fraction,
            "mean": c.mean,
            "low": nothing if c.ci_low is None else c.ci_low,
            "high": nothing if c.ci_high is None else c.ci_high,
        }
        for c in cells
        if c.task in several and (c.method, c.task) in curves
    ])  # fmt: skip


def bases(results: Results, labels: Mapping[str, str]) -> dict[str, str]:
    """Return method → its base: the first method of the registry with the same discrimination, by its label."""
    first: dict[str, str] = {}
    found = {}
    for method, label in labels.items():
        told = results.pretraining.get(method)
        phases = told.phases if told else ()
        terms = (phases[-1].outline.terms or ()) if phases else ()
        types = [term.configuration.type for term in terms if term.role == "discrimination"]
        found[method] = first.setdefault(types[0], label) if types else OTHERS if phases else UNTRAINED
    return found


def _chains(results: Results, labels: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Return method → (base, rung) for each method whose pretraining is not wholly another's.

    The base is the first method of the registry with the same discrimination, by its label; the rung says which terms
    the last phase has.
    """
    of_methods = bases(results, labels)
    known: set[tuple[str, ...]] = set()
    found = {}
    for method in labels:
        told = results.pretraining.get(method)
        phases = told.phases if told else ()
        identity = tuple(phase.id for phase in phases)
        if not phases or identity in known:
            continue
        known.add(identity)
        last = phases[-1].outline
        terms = last.terms or ()
        restored = any(term.role == "restoration" for term in terms)
        distorted = last.views is not None and last.views.distortion and not restored
        found[method] = of_methods[method], phases[-1].name + (", distorted views" if distorted else "")
    return found


def curves_frame(results: Results, labels: Mapping[str, str]) -> pd.DataFrame:
    """Make the frame of ``figures.curves``: steps counted on through the phases of a chain, epochs apart from them.

    What follows from the rest is left out: images seen, learning rate, and the total where it has parts. A method whose
    phases are all another's (it only transfers differently) is drawn once.
    """
    chains = _chains(results, labels)
    parts = {
        (point.method, point.name.partition("_")[0])
        for point in results.curves
        if point.name.partition("_")[2] not in ("total", "")
    }
    shown = dict.fromkeys(base for base, _ in chains.values())
    order = {base: place for place, base in enumerate(sorted(shown, key=lambda base: base == OTHERS))}
    rows: list[tuple[tuple[bool, int, int], dict[str, object]]] = []
    last: dict[tuple[str, int, str], tuple[str, int, int]] = {}  # chain and count → (phase, its start, furthest step)
    for point in results.curves:
        side, _, quantity = point.name.partition("_")
        if point.method not in chains or side not in ("train", "validation"):
            continue
        count = EPOCHS if quantity in IN_EPOCHS else STEPS
        chain = (point.method, point.pretrain_seed, count)
        phase, start, furthest = last.get(chain, (point.phase, 0, 0))
        if phase != point.phase:
            phase, start = point.phase, furthest
        step = start + point.step
        last[chain] = (phase, start, max(furthest, step))
        if quantity == "total" and (point.method, side) in parts:
            continue
        base, rung = chains[point.method]
        name = "loss" if quantity == "total" else quantity.replace("_", " ")
        # What belongs to one base alone (an autoencoder of visual words) stands behind the panels all bases have.
        place = (quantity not in SHARED_QUANTITIES, order[base], (*SHARED_QUANTITIES, quantity).index(quantity))
        rows.append((place, {
            "panel": f"{base}: {name}",
            "rung": rung,
            "side": side,
            "line": f"{point.method} {point.pretrain_seed} {start}",
            "step": step,
            "count": count,
            "value": point.value,
            "phase_start": start,
        }))  # fmt: skip
    return pd.DataFrame([row for _, row in sorted(rows, key=lambda pair: pair[0])])


def effects_frame(results: Results) -> pd.DataFrame:
    """Make the frame of ``figures.effects``, with the ``family`` of each: every contrast that has an effect.

    The paper's effect is left out where the two may not be compared (made-up images, another protocol).
    """

    def value(number: float | None) -> float:
        return math.nan if number is None else number

    pairs = {
        pair: place for place, pair in enumerate(dict.fromkeys((c.method, c.reference) for c in results.contrasts))
    }
    return pd.DataFrame([
        {
            "family": c.family,
            "place": (pairs[c.method, c.reference], c.label_fraction),
            "panel": c.task_label if metric_of(c.metric).delta else f"{c.task_label} ({wording.metric(c.metric)})",
            "row": wording.contrast_row(c) + (f" ({c.gate})" if c.gate else ""),
            "finding": c.finding,
            "effect": value(c.effect),
            "low": value(c.ci_low),
            "high": value(c.ci_high),
            "published": value(None if c.agreement == "not comparable" else c.published_effect),
            "published_low": value(None if c.agreement == "not comparable" else c.published_low),
            "published_high": value(None if c.agreement == "not comparable" else c.published_high),
            "margin": c.margin,
            "unit": wording.units([c.metric]),
        }
        for c in results.contrasts
        if c.effect is not None
    ])  # fmt: skip
