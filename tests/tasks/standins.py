"""A tiny backbone that satisfies the contract and knows nothing of any method."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from harness.seeding import seed


class TinyBackbone(nn.Module):
    """Three strided convolutions and a decoder with skips; about 20,000 parameters."""

    dimensions = 2
    in_channels = 3
    channels = (12, 24, 48)
    strides = (2, 4, 8)
    decoder_channels = 8

    def __init__(self, init_seed: int) -> None:
        super().__init__()

        def block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
            convolution = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
            return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())

        self.down = nn.ModuleList([block(3, 12, 2), block(12, 24, 2), block(24, 48, 2)])
        self.up = nn.ModuleList([block(48 + 24, 24), block(24 + 12, 12), block(12, 8)])
        generator = torch.Generator().manual_seed(init_seed)
        for parameter in self.parameters():
            if parameter.ndim == 4:
                nn.init.kaiming_normal_(parameter, generator=generator)

    def encode(self, images: Tensor) -> tuple[Tensor, ...]:
        features = []
        for block in self.down:
            images = block(images)
            features.append(images)
        return tuple(features)

    def decode(self, features: tuple[Tensor, ...]) -> Tensor:
        first, second, third = features
        grow = nn.functional.interpolate
        x = self.up[0](torch.cat([grow(third, scale_factor=2), second], 1))
        x = self.up[1](torch.cat([grow(x, scale_factor=2), first], 1))
        return self.up[2](grow(x, scale_factor=2))


class TinyVolumeBackbone(nn.Module):
    """Three levels in three dimensions, like a U-Net of 12,000 parameters."""

    dimensions = 3
    in_channels = 1
    channels = (6, 12, 24)
    strides = (1, 2, 4)
    decoder_channels = 6

    def __init__(self, init_seed: int) -> None:
        super().__init__()

        def block(inputs: int, outputs: int) -> nn.Sequential:
            return nn.Sequential(nn.Conv3d(inputs, outputs, 3, 1, 1), nn.BatchNorm3d(outputs), nn.ReLU())

        self.down = nn.ModuleList([block(1, 6), block(6, 12), block(12, 24)])
        self.up = nn.ModuleList([block(24 + 12, 12), block(12 + 6, 6)])
        generator = torch.Generator().manual_seed(init_seed)
        for parameter in self.parameters():
            if parameter.ndim == 5:
                nn.init.kaiming_normal_(parameter, generator=generator)
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.zeros_(module.bias)

    def encode(self, volumes: Tensor) -> tuple[Tensor, ...]:
        features = []
        for block in self.down:
            volumes = block(nn.functional.max_pool3d(volumes, 2) if features else volumes)
            features.append(volumes)
        return tuple(features)

    def decode(self, features: tuple[Tensor, ...]) -> Tensor:
        first, second, third = features
        grow = nn.functional.interpolate
        x = self.up[0](torch.cat([grow(third, scale_factor=2), second], 1))
        return self.up[1](torch.cat([grow(x, scale_factor=2), first], 1))


class PoisonedVolumeBackbone(TinyVolumeBackbone):
    """Its features are not finite from the fourth training step on."""

    steps = 0

    def encode(self, volumes: Tensor) -> tuple[Tensor, ...]:
        features = super().encode(volumes)
        self.steps += self.training
        return tuple(f * float("nan") for f in features) if self.training and self.steps > 3 else features


def obtain_poisoned_volume(encoder: Mapping[str, Any], phase: Path | None, seed: int) -> tuple[Any, dict[str, Any]]:
    return PoisonedVolumeBackbone(seed), {"encoder_sha256": "stand-in"}


def obtain_volume(encoder: Mapping[str, Any], phase: Path | None, init_seed: int) -> tuple[Any, dict[str, Any]]:
    return TinyVolumeBackbone(init_seed), {"encoder_sha256": "stand-in"}


def obtain(encoder: Mapping[str, Any], phase: Path | None, init_seed: int) -> tuple[TinyBackbone, dict[str, Any]]:
    return TinyBackbone(init_seed), {"encoder_sha256": "stand-in"}


class PoisonedBackbone(TinyBackbone):
    """Its features are not finite from the n-th training step on."""

    def __init__(self, init_seed: int, healthy_steps: int) -> None:
        super().__init__(init_seed)
        self.left = healthy_steps

    def encode(self, images: Tensor) -> tuple[Tensor, ...]:
        features = super().encode(images)
        if self.training:
            self.left -= 1
        if self.left < 0 and self.training:
            features = tuple(f * float("nan") for f in features)
        return features


def obtain_poisoned(encoder: Mapping[str, Any], phase: Path | None, init_seed: int) -> tuple[Any, dict[str, Any]]:
    return PoisonedBackbone(init_seed, encoder["healthy_steps"]), {"encoder_sha256": "stand-in"}


def trial_spec(task: str, plan: Any, *, fraction: float = 1.0, repeat: int = 0, **changes: Any) -> dict[str, Any]:
    """What the plan would build for a trial of the stand-in."""
    spec = {
        "method": "stand_in",
        "method_version": 1,
        "task": task,
        "task_version": 1,
        "encoder": {"obtain": "tests.tasks.standins:obtain"},
        "phase": None,
        "cohort": "cohort",
        "transfer": plan.transfer,
        "metrics": list(plan.metrics),
        "label_fraction": fraction,
        "subset": {"rule": "fixed", "seed": seed(0, "subset", task)},
        "pretrain_seed": 0,
        "repeat": repeat,
        "seeds": {role: seed(0, "trial", task, repeat, role) for role in ("init", "order", "augment")},
        "resample_seed": seed(0, "resample", task),
    }
    return {**spec, **changes}
