"""Optimisers and schedules by name."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TypedDict

import torch
from lightly.utils.lars import LARS
from torch import nn

from harness.plateau import Plateau, PlateauRule
from harness.typed import given
from methods import options
from methods.options import Adam, Cosine, Lars, Optimiser, Schedule, Sgd


class Group(TypedDict, total=False):
    """Parameters with a rate of their own, as torch's optimisers take them.

    Attributes:
        params: What is trained.
        rate: Its unscheduled learning rate.
        scheduled: Whether the schedule moves it.
        lr, weight_decay: Where they are not the optimiser's.
    """

    params: list[nn.Parameter]
    rate: float
    scheduled: bool
    lr: float
    weight_decay: float


def _sgd(groups: list[Group], of: Sgd) -> torch.optim.Optimizer:
    return torch.optim.SGD(groups, lr=of.learning_rate, momentum=of.momentum, weight_decay=of.weight_decay, fused=True)


def _adam(groups: list[Group], of: Adam) -> torch.optim.Optimizer:
    return torch.optim.Adam(
        groups, lr=of.learning_rate, betas=tuple(of.betas), weight_decay=of.weight_decay, fused=True
    )


def _lars(groups: list[Group], of: Lars) -> torch.optim.Optimizer:
    """Layer-wise adaptive rates (You 2017, Eq. 6), as Barlow Twins uses them.

    One-dimensional parameters (biases, norms) have a learning rate of their own, no weight decay and no adaptation;
    lightly leaves a group without decay unadapted. The adapted rate is η‖w‖ / (‖g‖ + decay ‖w‖), the paper's; Barlow
    Twins' code divides by ‖g + decay w‖, which at a decay of 1e-6 differs by about as little.
    """
    apart: list[Group] = []
    for group in groups:
        for one_dimensional in (False, True):
            chosen = [p for p in group["params"] if (p.ndim <= 1) == one_dimensional]
            if chosen:
                rate = of.one_dimensional_rate if one_dimensional else group["rate"]
                decay = 0.0 if one_dimensional else of.weight_decay
                apart.append({**group, "params": chosen, "rate": rate, "lr": rate, "weight_decay": decay})
    return LARS(
        apart,
        lr=of.learning_rate,
        momentum=of.momentum,
        weight_decay=of.weight_decay,
        trust_coefficient=of.trust,
    )


def build_optimiser(
    parameters: Sequence[nn.Parameter], of: Optimiser, constant: Iterable[nn.Parameter] = ()
) -> torch.optim.Optimizer:
    """Build an optimiser.

    Args:
        parameters: What it trains.
        of: The phase's or an opponent's ``optimiser``.
        constant: Those of ``parameters`` whose learning rate follows no schedule.

    Returns:
        An optimiser whose groups hold their unscheduled learning rate as ``rate`` and whether it follows the schedule
        as ``scheduled``; ``set_rates`` reads both.
    """
    fixed = {id(p) for p in constant}
    groups: list[Group] = []
    for scheduled in (True, False):
        chosen = [p for p in parameters if (id(p) not in fixed) == scheduled]
        if chosen:
            groups.append({"params": chosen, "rate": of.learning_rate, "scheduled": scheduled})
    if isinstance(of, Sgd):
        return _sgd(groups, of)
    return _adam(groups, of) if isinstance(of, Adam) else _lars(groups, of)


def set_rates(optimiser: torch.optim.Optimizer, factor: float) -> None:
    """Set every group's learning rate: its own, times ``factor`` if it follows the schedule."""
    for group in optimiser.param_groups:
        group["lr"] = group["rate"] * (factor if group["scheduled"] else 1.0)


def plateau_of(schedule: Schedule, rate: float) -> Plateau:
    """Return what a schedule makes of validation losses: a factor that stays 1 unless it is a plateau."""
    if isinstance(schedule, options.Plateau):
        return Plateau(rate, PlateauRule.of(given(schedule)))
    return Plateau(rate, PlateauRule(factor=1.0, patience=0))


def rate_factor(schedule: Schedule, step: int, steps: int, steps_per_epoch: int) -> float:
    """Return what the learning rate is multiplied by in a step.

    A warm-up rises linearly from 0 in the first step, and the rest of the schedule has what is left of the phase. Half
    a cosine ends at its ``final``. A plateau is constant here: its own factor comes from ``harness.plateau``.

    Args:
        schedule: The phase's. ``per: epoch`` keeps the factor within an epoch.
        step: From 0.
        steps: Of the whole phase.
        steps_per_epoch: Steps in one pass over the data.
    """
    if schedule.per == "epoch":
        epochs = max(1, math.ceil(steps / steps_per_epoch))
        step, steps, steps_per_epoch = step // steps_per_epoch, epochs, 1
    rising = _rising(schedule, steps, steps_per_epoch)
    if step < rising:
        return step / rising
    if not isinstance(schedule, Cosine):
        return 1.0
    final = 0.0 if schedule.final is None else schedule.final
    return final + (1.0 - final) * _cosine((step - rising) / max(1, steps - rising))


def _rising(schedule: Schedule, steps: int, steps_per_epoch: int) -> int:
    """Return the steps of the warm-up."""
    warm_up = schedule.warm_up
    if warm_up is None:
        return 0
    if warm_up.epochs is not None:
        return warm_up.epochs * steps_per_epoch
    return round((warm_up.share or 0) * steps)


def _cosine(progress: float) -> float:
    return 0.5 * (1.0 + math.cos(math.pi * progress))
