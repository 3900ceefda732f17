"""Optimisers and schedules by name."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from harness.errors import unknown


def _sgd(parameters: Sequence[nn.Parameter], of: Mapping[str, Any]) -> torch.optim.Optimizer:
    return torch.optim.SGD(
        parameters, lr=of["learning_rate"], momentum=of["momentum"], weight_decay=of["weight_decay"], fused=True
    )


def _adam(parameters: Sequence[nn.Parameter], of: Mapping[str, Any]) -> torch.optim.Optimizer:
    return torch.optim.Adam(
        parameters,
        lr=of["learning_rate"],
        betas=tuple(of.get("betas", (0.9, 0.999))),
        weight_decay=of["weight_decay"],
        fused=True,
    )


OPTIMISERS = {"sgd": _sgd, "adam": _adam}


def build_optimiser(parameters: Sequence[nn.Parameter], of: Mapping[str, Any]) -> torch.optim.Optimizer:
    """Build an optimiser from ``name``, ``learning_rate``, ``weight_decay`` and its own keys.

    Raises:
        UnknownName: If there is no optimiser of that name.
    """
    if of["name"] not in OPTIMISERS:
        raise unknown("optimiser", of["name"], OPTIMISERS, "the phase's configuration")
    return OPTIMISERS[of["name"]](parameters, of)


def _cosine(progress: float) -> float:
    return 0.5 * (1.0 + math.cos(math.pi * progress))


SCHEDULES = {"cosine": _cosine, "constant": lambda progress: 1.0}


def rate_factor(schedule: Mapping[str, Any], step: int, steps: int, steps_per_epoch: int) -> float:
    """Return what the learning rate is multiplied by in a step.

    Args:
        schedule: ``name`` (``cosine`` to 0, or ``constant``) and ``per``: ``step``, or ``epoch`` (constant within one).
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
        return SCHEDULES[schedule["name"]]((step // steps_per_epoch) / epochs)
    return SCHEDULES[schedule["name"]](step / steps)
