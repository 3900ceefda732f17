"""The smallest backbone that satisfies the contract, so that a task can be checked without any method."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class StandIn(nn.Module):
    """Two strided convolutions and a decoder of one convolution over both (``harness.contracts.Backbone``)."""

    in_channels = 1
    channels = (8, 16)
    strides = (2, 4)
    decoder_channels = 8

    def __init__(self, init_seed: int, dimensions: int = 2) -> None:
        super().__init__()
        self.dimensions = dimensions
        convolution = nn.Conv2d if dimensions == 2 else nn.Conv3d
        self.first = convolution(1, 8, 3, 2, 1, device="meta").to_empty(device="cpu")
        self.second = convolution(8, 16, 3, 2, 1, device="meta").to_empty(device="cpu")
        self.last = convolution(24, 8, 3, 1, 1, device="meta").to_empty(device="cpu")
        generator = torch.Generator().manual_seed(init_seed)
        for layer in (self.first, self.second, self.last):
            nn.init.kaiming_normal_(layer.weight, generator=generator)
            nn.init.zeros_(layer.bias)

    def encode(self, images: Tensor) -> tuple[Tensor, ...]:
        """Map ``(B, 1, *S)`` to features at strides 2 and 4."""
        first = torch.relu(self.first(images))
        return first, torch.relu(self.second(first))

    def decode(self, features: tuple[Tensor, ...]) -> Tensor:
        """Map the features back to ``(B, 8, *S)``."""
        first, second = features
        whole = [
            nn.functional.interpolate(first, scale_factor=2.0),
            nn.functional.interpolate(second, scale_factor=4.0),
        ]
        return torch.relu(self.last(torch.cat(whole, dim=1)))
