"""Heads: what is put on a backbone to fine-tune it. Every weight, the backbone's too, is trained."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor, nn


class Classifier(nn.Module):
    """Encoder → mean over the coarsest feature map → linear layer → one logit a class."""

    def __init__(self, backbone: nn.Module, outputs: int, initial_std: float, generator: torch.Generator) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(backbone.channels[-1], outputs, device="meta").to_empty(device="cpu")
        with torch.no_grad():
            self.head.weight.normal_(0.0, initial_std, generator=generator)
            self.head.bias.zero_()

    def forward(self, images: Tensor) -> Tensor:
        """Map ``(B, 1, S, S)`` to logits ``(B, outputs)``."""
        return self.logits(self.features(images))

    def features(self, images: Tensor) -> tuple[Tensor, ...]:
        """Map ``(B, 1, S, S)`` to the backbone's feature maps, finest first."""
        features: tuple[Tensor, ...] = self.backbone.encode(images.expand(-1, self.backbone.in_channels, -1, -1))
        return features

    def logits(self, features: tuple[Tensor, ...]) -> Tensor:
        """Map feature maps to logits ``(B, outputs)``."""
        return self.head(features[-1].mean(dim=(-2, -1)))


class Segmenter(nn.Module):
    """Encoder → decoder → one convolution → one logit a pixel."""

    def __init__(self, backbone: nn.Module, outputs: int, kernel: int, generator: torch.Generator) -> None:
        super().__init__()
        self.backbone = backbone
        channels = backbone.decoder_channels
        self.head = nn.Conv2d(channels, outputs, kernel, padding=kernel // 2, device="meta").to_empty(device="cpu")
        with torch.no_grad():  # Xavier-uniform, bias 0
            nn.init.xavier_uniform_(self.head.weight, generator=generator)
            self.head.bias.zero_()

    def forward(self, images: Tensor) -> Tensor:
        """Map ``(B, 1, S, S)`` to logits ``(B, outputs, S, S)``."""
        features = self.backbone.encode(images.expand(-1, self.backbone.in_channels, -1, -1))
        return self.head(self.backbone.decode(features))


def module_hash(module: nn.Module) -> str:
    """Return the SHA-256 of a module's parameters, by name and in float32."""
    whole = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        whole.update(name.encode() + b"\0" + value.detach().cpu().float().numpy().tobytes())
    return whole.hexdigest()
