"""What a run can answer, before it is run: how often a true reproduction of a published contrast would be called one.

Everything follows from what the paper prints, the margins and the planned numbers of repeats and pretraining seeds. The
paper's effect is an estimate: given what it prints, the true effect lies around it with the paper's own standard error.
A *true reproduction* is a run of ours with that true effect and the printed spreads. Its difference from the printed
effect therefore has both variances, and with endless runs of ours the paper's alone: the *ceiling*.

Two worlds stand beside it, in which no honest rule may say *reproduced*: the method does nothing, and it does the
opposite of what is printed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from harness.late import special
from harness.published import ContrastKey
from harness.seeding import seed
from harness.spec import Frozen
from harness.statistics.design import CAP
from harness.statistics.paper import Paper, PublishedNumber
from harness.statistics.schema import PrintedContrast, Prospect

DRAWS = 8000  # a rate's standard error is at most .56 points
ENDLESS = 10**7
WHOLE = "the same cells at all labels"


class Plan(NamedTuple):
    """How much is to be run: repeats on each of so many pretraining seeds, a side; 0: each run has its own encoder."""

    repeats: int
    seeds: int = 1


Plans = tuple[Plan, Plan]  # of method and reference


class Rates(Frozen):
    """How often each word of Agreement is said, as shares of 1; they sum to 1."""

    reproduced: float
    different: float
    too_small: float
    inconclusive: float


class Outlook(PrintedContrast):
    """What a run can say of one published contrast, before it is run.

    Attributes:
        planned: At the planned numbers. ceiling: With endless runs of ours. nothing, reversed: Where the true effect is
            zero, or the printed one with its sign turned.
    """

    planned: Rates | None = None
    ceiling: Rates | None = None
    nothing: Rates | None = None
    reversed: Rates | None = None


def prospect(row: Outlook) -> Prospect:
    """Flatten an outlook for a table."""
    shared = row.model_dump(exclude={"planned", "ceiling", "nothing", "reversed"})
    rates = row.planned.model_dump() if row.planned else dict.fromkeys(Rates.model_fields)
    return Prospect(**shared, **rates, ceiling=row.ceiling.reproduced if row.ceiling else None)


class Contrast(NamedTuple):
    """A published contrast in numbers: effect and margin in points, standard deviations and runs of its two sides."""

    effect: float
    margin: float
    sds: tuple[float, float]
    runs: tuple[int, int]


def outlook(
    keys: Iterable[ContrastKey],
    paper: Paper,
    margins: Sequence[float],
    plan: Plan,
    *,
    alpha: float,
    base_seed: int,
    pretraining_spread: float = 0.0,
    seeds: Mapping[str, int] | None = None,
) -> list[Outlook]:
    """Say of each published contrast what a run can answer.

    Args:
        keys: The contrasts.
        paper: What is printed.
        margins: Of each contrast, in points.
        plan: Repeats and pretraining seeds.
        alpha: Level of both tests.
        base_seed: Draws are seeded by it and the contrast's name.
        pretraining_spread: Assumed standard deviation between checkpoints of one method, in standard deviations of its
            runs. The paper prints nothing to estimate it from.
        seeds: Method → its pretraining seeds, where they are not the plan's; 0 where its encoder is drawn for each
            run, whose spread then holds that between encoders.
    """
    own = seeds or {}
    found = []
    for key, margin in zip(keys, margins, strict=True):
        sides = [paper.score(name, *key[3:]) for name in (key.method, key.reference)]
        means = [side.mean for side in sides if side is not None and side.mean is not None]
        if len(means) < 2:
            continue
        _, method, reference, task, fraction, delta = key
        row = Outlook(
            family=key.family, method=method, reference=reference, task=task, label_fraction=fraction, delta=delta,
            effect=float(means[0] - means[1]), margin=margin, spread="",
        )  # fmt: skip
        contrast = contrast_of(paper, row)
        if contrast is not None:
            name = seed(base_seed, "outlook", *(str(part) for part in key))
            spread = "printed" if all(side is not None and side.sd is not None for side in sides) else WHOLE
            plans = _of(plan, own, method), _of(plan, own, reference)
            rates = worlds(contrast, plans, alpha, pretraining_spread, name)
            row = row.model_copy(update={"spread": spread, **rates})
        found.append(row)
    return found


def _of(plan: Plan, seeds: Mapping[str, int], method: str) -> Plan:
    return plan._replace(seeds=seeds.get(method, plan.seeds))


def contrast_of(paper: Paper, row: Outlook) -> Contrast | None:
    """Return a contrast in numbers; None where neither its spreads nor those at all labels are printed."""
    cell = row.task, row.label_fraction, row.delta
    method, reference = (paper.score(name, *cell) for name in (row.method, row.reference))
    if method is None or reference is None:
        return None
    sds = _spreads(paper, row, method, reference)
    return None if sds is None else Contrast(row.effect, row.margin, sds, (method.runs, reference.runs))


def _spreads(
    paper: Paper, row: Outlook, method: PublishedNumber, reference: PublishedNumber
) -> tuple[float, float] | None:
    """Return the printed spreads, or those of the same methods on the task at all labels."""
    if method.sd is not None and reference.sd is not None:
        return float(method.sd), float(reference.sd)
    if row.delta is not None:
        return None  # a localization score has another scale
    whole = [paper.score(name, row.task, 1.0) for name in (row.method, row.reference)]
    sds = [float(number.sd) for number in whole if number is not None and number.sd is not None]
    return (sds[0], sds[1]) if len(sds) == 2 else None


def worlds(contrast: Contrast, plans: Plans, alpha: float, pretraining_spread: float, seed_: int) -> dict[str, Rates]:
    """Return the rates of a true reproduction as planned and with endless runs, of no effect and of the opposite."""

    def drawn(plans: Plans, truth: float, certain: bool) -> Rates:
        generator = np.random.Generator(np.random.PCG64(seed_))
        return rates(contrast, plans, truth, certain, alpha, pretraining_spread, generator)

    endless = Plan(ENDLESS, ENDLESS if pretraining_spread else 1)
    return {
        "planned": drawn(plans, contrast.effect, certain=False),
        "ceiling": drawn((endless, endless), contrast.effect, certain=False),
        "nothing": drawn(plans, 0.0, certain=True),
        "reversed": drawn(plans, -contrast.effect, certain=True),
    }


def rates(
    contrast: Contrast,
    plans: Plans,
    truth: float,
    certain: bool,
    alpha: float,
    pretraining_spread: float,
    generator: np.random.Generator,
) -> Rates:
    """Draw our runs many times and count the words.

    Args:
        contrast: What is printed.
        plans: Repeats and pretraining seeds of ours, of method and reference.
        truth: The true effect, in points.
        certain: Whether the truth is exactly that, or lies around it with the paper's standard error.
        alpha: Level of both tests.
        pretraining_spread: Between checkpoints, in standard deviations of the runs.
        generator: Draws.
    """
    theirs = [sd**2 / n for sd, n in zip(contrast.sds, contrast.runs, strict=True)]
    their_variance = sum(theirs)
    their_df = their_variance**2 / sum(v**2 / (n - 1) for v, n in zip(theirs, contrast.runs, strict=True) if v > 0)
    true_effect = truth + (0.0 if certain else math.sqrt(their_variance) * generator.standard_normal(DRAWS))
    deviation = np.zeros(DRAWS)
    variance, weighted = np.zeros(DRAWS), np.zeros(DRAWS)
    for sd, plan in zip(contrast.sds, plans, strict=True):
        spread, part, df = _side(sd, pretraining_spread * sd, plan, generator)
        deviation += math.sqrt(spread) * generator.standard_normal(DRAWS)
        variance += part
        weighted += part**2 / df
    ours = true_effect + deviation
    total = variance + their_variance
    df = total**2 / (weighted + their_variance**2 / their_df)
    return _count(ours, contrast, np.sqrt(total), df, alpha)


def _side(
    sd: float, between: float, plan: Plan, generator: np.random.Generator
) -> tuple[float, np.ndarray, np.ndarray]:
    """Return the true variance of a side's mean, and draws of its estimate with their degrees of freedom."""
    n, k = plan.repeats, plan.seeds
    if k < 2:  # the run is the unit; the spread between checkpoints moves the mean and no test can see it
        return k * between**2 + sd**2 / n, sd**2 * _chi(n - 1, generator) / n, np.full(DRAWS, float(n - 1))
    true = between**2 / k + sd**2 / (n * k)
    of_encoders = (sd**2 + n * between**2) * _chi(k - 1, generator) / (n * k)
    of_repeats = sd**2 * _chi(n - 1, generator) / (n * k)
    rest = sd**2 * _chi((k - 1) * (n - 1), generator) / (n * k)
    variance = np.maximum(of_encoders + of_repeats - rest, np.maximum(of_encoders, of_repeats))
    df = variance**2 / (of_encoders**2 / (k - 1) + of_repeats**2 / (n - 1))
    return true, variance, np.clip(df, None, CAP * (k - 1))


def _chi(df: int, generator: np.random.Generator) -> np.ndarray:
    draws: np.ndarray = generator.chisquare(df, DRAWS) / df
    return draws


def _count(ours: np.ndarray, contrast: Contrast, errors: np.ndarray, df: np.ndarray, alpha: float) -> Rates:
    """Apply the rule of ``harness.statistics.verdicts.agreement`` to every draw."""
    apart, margin = ours - contrast.effect, contrast.margin
    p = 2 * special.stdtr(df, -np.abs(apart) / errors)
    p_tost = special.stdtr(df, (np.abs(apart) - margin) / errors)
    small = abs(contrast.effect) <= margin
    inside = p_tost < alpha
    reproduced = inside & (ours * contrast.effect > 0) & (not small)
    different = ~inside & (p < alpha)
    rest = ~reproduced & ~different
    return Rates(
        reproduced=float(reproduced.mean()),
        different=float(different.mean()),
        too_small=float((rest & small).mean()),
        inconclusive=float((rest & (not small)).mean()),
    )


class Proposal(NamedTuple):
    """A design that reaches a target: repeats, pretraining seeds, its cost and the contrast's rate under it."""

    plan: Plan
    cost: float
    rate: float


REPEATS = (3, 5, 10, 20, 30, 50, 100)
SEEDS = (1, 2, 3, 5, 10)


def cheapest(
    contrasts: Sequence[Contrast],
    target: float,
    costs: tuple[float, float],
    *,
    alpha: float,
    base_seed: int,
    pretraining_spread: float,
) -> Proposal | None:
    """Return the cheapest design under which the contrasts are called reproduced at a mean rate of the target.

    Args:
        contrasts: Those with a known spread.
        target: In (0, 1).
        costs: Of one pretraining and of one repeat of all of them, in one unit.
        alpha: Level of both tests.
        base_seed: For the draws.
        pretraining_spread: Between checkpoints, in standard deviations of the runs.

    Returns:
        None where no design of up to 100 repeats on up to ten seeds reaches it.
    """
    plans = sorted(
        (Plan(repeats, seeds) for repeats in REPEATS for seeds in SEEDS if seeds == 1 or pretraining_spread > 0),
        key=lambda plan: plan.seeds * (costs[0] + plan.repeats * costs[1]),
    )
    for plan in plans:
        generator = np.random.Generator(np.random.PCG64(seed(base_seed, "proposal", plan.repeats, plan.seeds)))
        each = [
            rates(contrast, (plan, plan), contrast.effect, False, alpha, pretraining_spread, generator).reproduced
            for contrast in contrasts
        ]
        rate = float(np.mean(each)) if each else 0.0
        if rate >= target:
            return Proposal(plan, plan.seeds * (costs[0] + plan.repeats * costs[1]), rate)
    return None
