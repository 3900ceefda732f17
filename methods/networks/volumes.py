"""The 3D backbones: the U-Net of TransVW (Haghighi 2021), in the forms of its Keras and its PyTorch release.

Both are of four levels, two convolutions (3×3×3 with bias, batch norm, ReLU) each, max pooling by 2 between them, and
skip connections: 1→32→64, 64→64→128, 128→128→256, 256→256→512; up again 512+256→256→256, 256+128→128→128,
128+64→64→64.

* ``transvw_keras``: nearest upsampling, no weights; the published default. With its heads and 44 words it has
  23,970,093 parameters.
* ``transvw_pytorch``: transposed convolutions of equal width, 2×2×2 with stride 2: the layout of the released weights
  and of Models Genesis. 33.28 million with its heads. The release normalises by the batch's statistics in evaluation
  too; here batch norm is the ordinary one, with the running statistics that the release also keeps.
* ``transvw_keras_w4``: the miniature's: ``transvw_keras`` with every width divided by 8.

Batch norm of ``transvw_keras`` has Keras' constants: 1e-3 under the root, and running statistics that keep 0.99 of
themselves at each step. The other two have PyTorch's, 1e-5 and 0.9: at 0.99 the miniature's running statistics would
still be three quarters their start after the 30 steps of a fine-tuning.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.seeding import seed
from methods.networks.backbone import random_numbers_from
from methods.networks.upsampling import convolve_enlarged, pays
from methods.phases import NetworkSpec


@dataclass(frozen=True)
class Form:
    """One form of the network.

    Attributes:
        width: Channels of the very first convolution, w; the levels end at 2w, 4w, 8w and 16w.
        transposed: Whether a learnt transposed convolution enlarges, or the nearest value is repeated.
        epsilon: Of batch norm, added to the variance.
        momentum: Of batch norm: the share of a batch in the running statistics.
        folds: Whether enlarging is folded into the convolution behind it (``methods.networks.upsampling``). The
            miniature's network keeps the order of sums that its committed numbers were made in.
    """

    width: int
    transposed: bool
    epsilon: float = 1e-5
    momentum: float = 0.1
    folds: bool = False


FORMS = {
    "transvw_keras": Form(32, transposed=False, epsilon=1e-3, momentum=0.01, folds=True),
    "transvw_pytorch": Form(32, transposed=True),
    "transvw_keras_w4": Form(4, transposed=False),
}


class ConvolutionBlock(nn.Module):
    """A 3×3×3 convolution with bias, batch norm and ReLU."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(before, after, 3, padding=1)
        self.norm = nn.BatchNorm3d(after)

    def forward(self, volumes: Tensor) -> Tensor:
        """Map ``(B, before, X, Y, Z)`` to ``(B, after, X, Y, Z)``."""
        return self.normalised(self.conv(volumes))

    def normalised(self, convolved: Tensor) -> Tensor:
        """Return what the block makes of its own convolution's output."""
        return F.relu(self.norm(convolved), inplace=True)


class VolumeEncoder(nn.Module):
    """Four levels of two convolutions, the coarser ones behind a pooling."""

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        ends = [2 * width, 4 * width, 8 * width, 16 * width]
        starts = [in_channels, *ends[:-1]]
        middles = [width, *ends[:-1]]
        self.levels = nn.ModuleList(
            nn.Sequential(ConvolutionBlock(a, b), ConvolutionBlock(b, c))
            for a, b, c in zip(starts, middles, ends, strict=True)
        )

    def forward(self, volumes: Tensor) -> tuple[Tensor, ...]:
        """Map ``(B, C, X, Y, Z)`` to four feature maps, finest first."""
        features: list[Tensor] = []
        for level in self.levels:
            volumes = level(F.max_pool3d(features[-1], 2) if features else volumes)
            features.append(volumes)
        return tuple(features)


class Step(nn.Module):
    """One step up: enlarge, put the skip beside it, two convolutions."""

    def __init__(self, before: int, skip: int, form: Form) -> None:
        super().__init__()
        self.folds = form.folds and not form.transposed
        self.up = nn.ConvTranspose3d(before, before, 2, stride=2) if form.transposed else nn.Upsample(scale_factor=2)
        self.convs = nn.Sequential(ConvolutionBlock(before + skip, skip), ConvolutionBlock(skip, skip))

    def forward(self, coarse: Tensor, skip: Tensor) -> Tensor:
        """Map ``(B, before, x, y, z)`` and ``(B, skip, 2x, 2y, 2z)`` to ``(B, skip, 2x, 2y, 2z)``."""
        if self.folds and pays(coarse):
            first, second = self.convs
            return second(first.normalised(convolve_enlarged(coarse, skip, first.conv)))
        return self.convs(torch.cat([self.up(coarse), skip], dim=1))


class VolumeDecoder(nn.Module):
    """Three steps up, to the input's resolution."""

    def __init__(self, channels: tuple[int, ...], form: Form) -> None:
        super().__init__()
        self.steps = nn.ModuleList(
            Step(before, skip, form) for before, skip in zip(channels[:0:-1], channels[-2::-1], strict=True)
        )

    def forward(self, features: tuple[Tensor, ...]) -> Tensor:
        """Map four feature maps, finest first, to ``(B, channels[0], X, Y, Z)``."""
        *skips, volumes = features
        for step, skip in zip(self.steps, reversed(skips), strict=True):
            volumes = step(volumes, skip)
        return volumes


class VolumeBackbone(nn.Module):
    """The encoder under its decoder.

    Sides of a volume must be multiples of 8. The heads that make words, a volume or a mask of the features belong to
    whoever needs one.

    Attributes:
        dimensions, in_channels, channels, strides, decoder_channels: See ``harness.contracts.Backbone``.
        folds: Whether it computes on a CPU in the order that is soonest there at full size.
    """

    dimensions = 3
    strides = (1, 2, 4, 8)

    def __init__(self, encoder: VolumeEncoder, decoder: VolumeDecoder, in_channels: int, form: Form) -> None:
        super().__init__()
        width = form.width
        self.folds = form.folds
        self.in_channels = in_channels
        self.channels = (2 * width, 4 * width, 8 * width, 16 * width)
        self.decoder_channels = self.channels[0]
        self.encoder = encoder
        self.decoder = decoder

    def encode(self, volumes: Tensor) -> tuple[Tensor, ...]:
        """Map volumes ``(B, in_channels, X, Y, Z)`` to four feature maps, finest first."""
        features: tuple[Tensor, ...] = self.encoder(volumes)
        return features

    def decode(self, features: tuple[Tensor, ...]) -> Tensor:
        """Map feature maps to ``(B, decoder_channels, X, Y, Z)``."""
        return self.decoder(features)

    def forward(self, volumes: Tensor) -> Tensor:
        """Encode and decode."""
        return self.decode(self.encode(volumes))


def build_volume_network(network: NetworkSpec, init_seed: int) -> VolumeBackbone:
    """Build a 3D backbone on the CPU; see ``methods.networks.build``.

    Weights start as each framework starts them: Xavier-uniform with bias 0 for the Keras form, torch's own for the
    other.
    """
    form, in_channels = FORMS[network.name], network.in_channels
    with random_numbers_from(seed(init_seed, "encoder")):
        encoder = VolumeEncoder(in_channels, form.width)
        start(encoder, form)
    channels = (2 * form.width, 4 * form.width, 8 * form.width, 16 * form.width)
    with random_numbers_from(seed(init_seed, "decoder")):
        decoder = VolumeDecoder(channels, form)
        start(decoder, form)
    return VolumeBackbone(encoder, decoder, in_channels, form)


def start(module: nn.Module, form: Form) -> None:
    """Draw the weights of a module's convolutions as the form's framework does, and set its batch norms, in place."""
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm3d):
            layer.eps, layer.momentum = form.epsilon, form.momentum
        elif isinstance(layer, nn.Conv3d) and not form.transposed:  # else torch's own start
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
