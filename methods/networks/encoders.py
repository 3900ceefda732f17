"""Encoders in torchvision's layout: a checkpoint of one is torchvision's ``state_dict`` without ``fc``."""

from __future__ import annotations

import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck


def resnet50(in_channels: int, zero_init_residual: bool) -> tuple[nn.Module, tuple[int, ...]]:
    """Return ResNet-50 (He 2016) with torchvision's initialisation, and the channels of its five feature maps."""
    encoder = smp.encoders.get_encoder("resnet50", in_channels=in_channels, depth=5, weights=None)
    if zero_init_residual:
        silence_residuals(encoder)
    return encoder, (64, 256, 512, 1024, 2048)


def resnet_w16(in_channels: int, zero_init_residual: bool) -> tuple[nn.Module, tuple[int, ...]]:
    """Return the miniature's ResNet and the channels of its five feature maps."""
    encoder = ResNetW16(in_channels)
    if zero_init_residual:
        silence_residuals(encoder)
    return encoder, ResNetW16.channels


class ResNetW16(nn.Module):
    """A ResNet of one basic block a stage and width 16, for images of 32 to 64 px.

    The stem is ResNet's (7×7, stride 2; then a 3×3 pool, stride 2), so that strides are 2, 4, 8, 16, 32 as in the
    large one.
    """

    channels = (16, 16, 32, 64, 128)

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        stem, one, two, three, four = self.channels
        self.conv1 = nn.Conv2d(in_channels, stem, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = nn.Sequential(BasicBlock(stem, one))
        self.layer2 = nn.Sequential(_halving_block(one, two))
        self.layer3 = nn.Sequential(_halving_block(two, three))
        self.layer4 = nn.Sequential(_halving_block(three, four))
        for module in self.modules():  # torchvision's rule
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map images ``(B, C, H, W)`` to the image itself and feature maps of strides 2, 4, 8, 16, 32."""
        stem = self.relu(self.bn1(self.conv1(images)))
        one = self.layer1(self.maxpool(stem))
        two = self.layer2(one)
        three = self.layer3(two)
        return [images, stem, one, two, three, self.layer4(three)]


def _halving_block(before: int, after: int) -> BasicBlock:
    shortcut = nn.Sequential(nn.Conv2d(before, after, 1, stride=2, bias=False), nn.BatchNorm2d(after))
    return BasicBlock(before, after, stride=2, downsample=shortcut)


def silence_residuals(encoder: nn.Module) -> None:
    """Set γ = 0 in the last batch norm of every residual block (Goyal 2017)."""
    for module in encoder.modules():
        if isinstance(module, Bottleneck):
            torch.nn.init.zeros_(module.bn3.weight)
        elif isinstance(module, BasicBlock):
            torch.nn.init.zeros_(module.bn2.weight)
