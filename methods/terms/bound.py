"""What a term is at run time: the tensors it sees and the interface it implements."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn


@dataclass(frozen=True)
class Views:
    """One batch of views, as the network takes them.

    Attributes:
        query: First view ``(B, in_channels, H, W)``, normalised as the phase says.
        key: Second view, likewise.
        target: Clean crop of the query ``(B, 1, H, W)`` in [0, 1], before jitter, blur, flip and distortion.
        step_seed: Seed of whatever a term draws in this step.
    """

    query: Tensor
    key: Tensor
    target: Tensor
    step_seed: int


@dataclass(frozen=True)
class Forward:
    """What was computed once in a step and is shared by all terms.

    Attributes:
        features: Feature maps of the query, finest first.
        restored: The restored query ``(B, 1, H, W)`` in [0, 1], or None where no term needs it.
    """

    features: tuple[Tensor, ...]
    restored: Tensor | None


class BoundTerm(nn.Module):
    """A term with what it trains and remembers; built from its configuration, the backbone, a seed and the image size.

    Its state dict must hold everything that the next step depends on: a resumed run is the same run.
    """

    def forward(self, views: Views, forward: Forward, backbone: nn.Module) -> Tensor:
        """Return the term's unweighted loss, a scalar. Changes no state in ``eval`` mode."""
        raise NotImplementedError

    def constant_rate_parameters(self) -> list[nn.Parameter]:
        """Return those of the term's own parameters whose learning rate follows no schedule."""
        return []

    def opponent_parameters(self) -> list[nn.Parameter]:
        """Return the parameters that play against the backbone; they stay out of its optimiser."""
        return []

    def opponent_optimiser(self) -> Mapping[str, Any]:
        """Return the opponent's own optimiser, in the form of a phase's."""
        raise NotImplementedError

    def opponent_loss(self, views: Views, forward: Forward) -> Tensor | None:
        """Return what the opponent minimises after the backbone's step, on the same restored images."""
        return None

    def after_step(self, backbone: nn.Module) -> None:
        """Update what follows the backbone: momentum encoder, queue. Called after every optimiser step."""
