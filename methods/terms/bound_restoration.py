"""Restoration: the head that makes an image of the decoder's output, and its distance to the clean crop."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.seeding import seed as seed_of
from methods.networks.backbone import random_numbers_from
from methods.terms.bound import BoundTerm, Forward, Views
from methods.terms.restoration import Restoration


class BoundRestoration(BoundTerm):
    """Mean over pixels of the distance between restored query and clean crop (DiRA Eq. 2).

    Head: 3×3 convolution, in 3D 1×1×1 (TransVW), to one channel with bias, sigmoid (the authors' code); Xavier-uniform,
    bias 0.
    """

    def __init__(self, configuration: Restoration, backbone: nn.Module, seed: int, image_px: int) -> None:
        super().__init__()
        self.distance = {"l2": F.mse_loss, "l1": F.l1_loss}[configuration.distance]
        with random_numbers_from(seed_of(seed, "head")):
            channels = backbone.decoder_channels
            self.head = nn.Conv3d(channels, 1, 1) if backbone.dimensions == 3 else nn.Conv2d(channels, 1, 3, padding=1)
            nn.init.xavier_uniform_(self.head.weight)
            nn.init.zeros_(self.head.bias)

    def restore(self, decoded: Tensor) -> Tensor:
        """Map the decoder's output ``(B, C, *S)`` to images ``(B, 1, *S)`` in [0, 1], float32."""
        return torch.sigmoid(self.head(decoded).float())

    def forward(self, views: Views, forward: Forward, backbone: nn.Module) -> Tensor:
        """Return the distance."""
        return self.distance(forward.image, views.target)
