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
