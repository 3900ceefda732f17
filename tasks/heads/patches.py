"""Heads on a 3D backbone. Every weight, the backbone's too, is trained."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from harness.errors import ConfigurationError


class VolumeClassifier(nn.Module):
    """Encoder → mean over the coarsest feature map → hidden layer, ReLU → linear layer → one logit a class.

    The head of both releases of Models Genesis (README: 512 → 1024, ReLU, → outputs). TransVW's own READMEs have one
    linear layer, which ``hidden`` 0 gives. Weights start Xavier-uniform with bias 0, as Keras starts a dense layer.
    """

    def __init__(self, backbone: nn.Module, outputs: int, hidden: int, generator: torch.Generator) -> None:
        super().__init__()
        self.backbone = backbone
        widths = [backbone.channels[-1], *([hidden] if hidden else []), outputs]
        linear = [_linear(before, after, generator) for before, after in pairwise(widths)]
        self.head = nn.Sequential(linear[0], nn.ReLU(), linear[1]) if hidden else linear[0]

    def forward(self, volumes: Tensor) -> Tensor:
        """Map ``(B, C, X, Y, Z)`` to logits ``(B, outputs)``."""
        return self.head(self.backbone.encode(volumes)[-1].mean(dim=(-3, -2, -1)))


def _linear(before: int, after: int, generator: torch.Generator) -> nn.Linear:
    layer = nn.Linear(before, after, device="meta").to_empty(device="cpu")
    with torch.no_grad():
        nn.init.xavier_uniform_(layer.weight, generator=generator)
        layer.bias.zero_()
    return layer


class VolumeSegmenter(nn.Module):
    """Encoder → decoder → 1×1×1 convolution → one logit a voxel."""

    def __init__(self, backbone: nn.Module, outputs: int, generator: torch.Generator) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Conv3d(backbone.decoder_channels, outputs, 1, device="meta").to_empty(device="cpu")
        with torch.no_grad():  # Xavier-uniform, bias 0
            nn.init.xavier_uniform_(self.head.weight, generator=generator)
            self.head.bias.zero_()

    def forward(self, volumes: Tensor) -> Tensor:
        """Map ``(B, C, X, Y, Z)`` to logits ``(B, outputs, X, Y, Z)``."""
        return self.head(self.backbone.decode(self.backbone.encode(volumes)))


def take_channels(backbone: nn.Module, channels: int) -> nn.Module:
    """Let a backbone made for one channel take several: its first convolution is replicated over them.

    Each copy is divided by the number of channels, so that equal channels give what the one channel gave.

    Args:
        backbone: Changed in place. Its first convolution is the first ``Conv3d`` among its modules.
        channels: Of the patches; if the backbone takes as many, nothing is done.

    Raises:
        ConfigurationError: If the backbone takes another number than one, or has no 3D convolution.
    """
    if channels == backbone.in_channels:
        return backbone
    if backbone.in_channels != 1:
        raise ConfigurationError(
            f"the backbone takes {backbone.in_channels} channels, the patches have {channels}; expected one or as many"
        )
    for module in backbone.modules():
        if isinstance(module, nn.Conv3d):
            break
    else:
        raise ConfigurationError("the backbone has no 3D convolution whose weights could take more channels")
    if module.in_channels != 1:
        raise ConfigurationError(f"the backbone's first convolution takes {module.in_channels}; expected one")
    module.weight = nn.Parameter((module.weight / channels).repeat(1, channels, 1, 1, 1))
    module.in_channels = backbone.in_channels = channels
    return backbone
