"""What the loop trains: a backbone and whatever makes a loss of it."""

from __future__ import annotations

from torch import Tensor, nn

from methods.networks import NetworkBackbone
from methods.terms.bound import BoundTerm, Forward, Views


class Trained(nn.Module):
    """A backbone with a loss: called with a batch it gives the total, its parts by name, and what was computed.

    Attributes:
        backbone: The network.
    """

    def __init__(self, backbone: NetworkBackbone) -> None:
        super().__init__()
        self.backbone = backbone

    def as_input(self, grey: Tensor) -> Tensor:
        """Expand a grey batch ``(B, 1, *S)`` in [0, 1] to the network's channels."""
        return grey.expand(-1, self.backbone.in_channels, *grey.shape[2:])

    def forward(self, views: Views) -> tuple[Tensor, dict[str, Tensor], Forward]:
        """Return the total, each part's loss by name (none if the total is the only one), and what was computed."""
        raise NotImplementedError

    def own_parameters(self) -> list[nn.Parameter]:
        """Return what the optimiser trains."""
        raise NotImplementedError

    def computed_parameters(self) -> list[nn.Parameter]:
        """Return those of ``own_parameters`` that the loss depends on."""
        return self.own_parameters()

    def constant_rate_parameters(self) -> list[nn.Parameter]:
        """Return those of ``own_parameters`` whose learning rate follows no schedule."""
        return []

    def bound_terms(self) -> list[BoundTerm]:
        """Return the terms of the loss that train something of their own."""
        return []

    def before_step(self, views: Views) -> None:
        """Compute what needs the whole batch and no gradient."""

    def after_step(self) -> None:
        """Update what follows the backbone."""
