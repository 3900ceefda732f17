"""Optimisers and schedules by name."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from lightly.utils.lars import LARS
from torch import nn

from harness.errors import unknown
from harness.plateau import Plateau, PlateauRule

Groups = list[dict[str, Any]]


def _sgd(groups: Groups, of: Mapping[str, Any]) -> torch.optim.Optimizer:
    return torch.optim.SGD(
        groups, lr=of["learning_rate"], momentum=of["momentum"], weight_decay=of["weight_decay"], fused=True
    )


def _adam(groups: Groups, of: Mapping[str, Any]) -> torch.optim.Optimizer:
    return torch.optim.Adam(
        groups,
        lr=of["learning_rate"],
        betas=tuple(of.get("betas", (0.9, 0.999))),
        weight_decay=of["weight_decay"],
        fused=True,
    )


def _lars(groups: Groups, of: Mapping[str, Any]) -> torch.optim.Optimizer:
    """Layer-wise adaptive rates (You 2017, Eq. 6), as Barlow Twins uses them.

    One-dimensional parameters (biases, norms) have a learning rate of their own, no weight decay and no adaptation;
    lightly leaves a group without decay unadapted. The adapted rate is η‖w‖ / (‖g‖ + decay ‖w‖), the paper's; Barlow
    Twins' code divides by ‖g + decay w‖, which at a decay of 1e-6 differs by about as little.
    """
    apart: Groups = []
    for group in groups:
        for one_dimensional in (False, True):
            chosen = [p for p in group["params"] if (p.ndim <= 1) == one_dimensional]
            if chosen:
                rate = of["one_dimensional_rate"] if one_dimensional else group["rate"]
                decay = 0.0 if one_dimensional else of["weight_decay"]
                apart.append({**group, "params": chosen, "rate": rate, "lr": rate, "weight_decay": decay})
    return LARS(
        apart,
        lr=of["learning_rate"],
        momentum=of["momentum"],
        weight_decay=of["weight_decay"],
        trust_coefficient=of["trust"],
    )


OPTIMISERS = {"sgd": _sgd, "adam": _adam, "lars": _lars}


def build_optimiser(
    parameters: Sequence[nn.Parameter], of: Mapping[str, Any], constant: Iterable[nn.Parameter] = ()
) -> torch.optim.Optimizer:
    """Build an optimiser from ``name``, ``learning_rate``, ``weight_decay`` and its own keys.

    Args:
        parameters: What it trains.
        of: The phase's or an opponent's ``optimiser``.
        constant: Those of ``parameters`` whose learning rate follows no schedule.

    Returns:
        An optimiser whose groups hold their unscheduled learning rate as ``rate`` and whether it follows the schedule
        as ``scheduled``; ``set_rates`` reads both.

    Raises:
        UnknownName: If there is no optimiser of that name.
    """
    if of["name"] not in OPTIMISERS:
        raise unknown("optimiser", of["name"], OPTIMISERS, "the phase's configuration")
    fixed = {id(p) for p in constant}
    groups: Groups = []
    for scheduled in (True, False):
        chosen = [p for p in parameters if (id(p) not in fixed) == scheduled]
        if chosen:
            groups.append({"params": chosen, "rate": of["learning_rate"], "scheduled": scheduled})
    return OPTIMISERS[of["name"]](groups, of)


def set_rates(optimiser: torch.optim.Optimizer, factor: float) -> None:
    """Set every group's learning rate: its own, times ``factor`` if it follows the schedule."""
    for group in optimiser.param_groups:
        group["lr"] = group["rate"] * (factor if group["scheduled"] else 1.0)


def plateau_of(schedule: Mapping[str, Any], rate: float) -> Plateau:
    """Return what a schedule makes of validation losses: a factor that stays 1 unless it is a plateau."""
    still = PlateauRule(factor=1.0, patience=0)
    return Plateau(rate, PlateauRule.of(schedule) if schedule["name"] == "plateau" else still)


def _cosine(progress: float) -> float:
    return 0.5 * (1.0 + math.cos(math.pi * progress))


SCHEDULES = {"cosine": _cosine, "constant": lambda progress: 1.0, "plateau": lambda progress: 1.0}


def rate_factor(schedule: Mapping[str, Any], step: int, steps: int, steps_per_epoch: int) -> float:
    """Return what the learning rate is multiplied by in a step.

    Args:
        schedule: ``name`` (``cosine``, ``constant``, or ``plateau``, which is constant here: its own factor comes from
            ``harness.plateau``) and ``per``: ``step``, or ``epoch`` (constant within one).
            Optionally ``warm_up``, ``{epochs: n}`` or ``{share: s}`` of the phase: the factor rises linearly from 0 in
            the first step, and the rest of the schedule has what is left; and ``final``: where the cosine ends (0 if
            left out).
        step: From 0.
        steps: Of the whole phase.
        steps_per_epoch: Steps in one pass over the data.

    Raises:
        UnknownName: If there is no schedule of that name.
    """
    if schedule["name"] not in SCHEDULES:
        raise unknown("schedule", schedule["name"], SCHEDULES, "the phase's configuration")
    if schedule["per"] == "epoch":
        epochs = max(1, math.ceil(steps / steps_per_epoch))
        step, steps, steps_per_epoch = step // steps_per_epoch, epochs, 1
    warm_up = schedule.get("warm_up", {})
    rising = warm_up["epochs"] * steps_per_epoch if "epochs" in warm_up else round(warm_up.get("share", 0) * steps)
    if step < rising:
        return step / rising
    final = schedule.get("final", 0.0)
    return final + (1.0 - final) * SCHEDULES[schedule["name"]]((step - rising) / max(1, steps - rising))
