"""The one 2D backbone: an encoder and a U-Net decoder with skip connections."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from segmentation_models_pytorch.base.initialization import initialize_decoder
from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder, UnetDecoderBlock
from torch import Tensor, nn

from methods.networks.upsampling import convolve_enlarged, pays


@contextmanager
def random_numbers_from(seed: int) -> Iterator[None]:
    """Let layers that draw from torch's CPU generator draw from ``seed``, and put the generator back as it was.

    Layers initialise themselves from the global generator and take no other. Only the CPU's is touched: networks are
    built on the CPU.
    """
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(seed)
        yield


class FoldingBlock(UnetDecoderBlock):
    """A decoder block that folds its enlarging into its first convolution (``methods.networks.upsampling``)."""

    folds = True

    def forward(
        self, feature_map: Tensor, target_height: int, target_width: int, skip_connection: Tensor | None = None
    ) -> Tensor:
        """Map ``(B, C, h, w)`` and a skip ``(B, D, 2h, 2w)`` to ``(B, E, 2h, 2w)``."""
        doubled = tuple(2 * side for side in feature_map.shape[2:])
        if not (self.folds and pays(feature_map) and doubled == (target_height, target_width)):
            return super().forward(feature_map, target_height, target_width, skip_connection)
        convolution, *rest = self.conv1
        made = convolve_enlarged(feature_map, skip_connection, convolution)
        for layer in rest:
            made = layer(made)
        return self.conv2(made)


class UnetBackbone(nn.Module):
    """An encoder of five feature maps under a U-Net decoder (Ronneberger 2015; DiRA §4.1).

    Five decoder blocks, each: nearest ×2 upsampling → concatenated skip → (3×3 convolution without bias, batch norm,
    ReLU) × 2; no centre block, no attention. Convolutions start Kaiming-uniform (fan-in). The head that makes an image
    or a mask of it belongs to whoever needs one.

    Attributes:
        dimensions, in_channels, channels, strides, decoder_channels: See ``harness.contracts.Backbone``.
        folds: Whether it computes on a CPU in the order that is soonest there at full size.
    """

    dimensions = 2
    strides = (2, 4, 8, 16, 32)

    def __init__(
        self,
        encoder: nn.Module,
        channels: tuple[int, ...],
        decoder_widths: tuple[int, ...],
        in_channels: int,
        *,
        folds: bool = False,
    ) -> None:
        """Put a decoder of some widths on an encoder of some channels.

        Args:
            encoder: Maps an image to itself and its feature maps, finest first.
            channels: Of the feature maps.
            decoder_widths: Channels of the decoder's blocks, coarsest first.
            in_channels: Of an image.
            folds: Whether the blocks are ``FoldingBlock``.
        """
        super().__init__()
        self.folds = folds
        self.decoder_channels = decoder_widths[-1]
        self.in_channels = in_channels
        self.channels = channels
        self.encoder = encoder
        self.decoder = UnetDecoder(encoder_channels=(in_channels, *channels), decoder_channels=decoder_widths)
        initialize_decoder(self.decoder)
        if folds:
            for block in self.decoder.blocks:
                block.__class__ = FoldingBlock

    def encode(self, images: Tensor) -> tuple[Tensor, ...]:
        """Map images ``(B, in_channels, H, W)`` to five feature maps, finest first."""
        return tuple(self.encoder(images)[1:])

    def decode(self, features: tuple[Tensor, ...]) -> Tensor:
        """Map feature maps to ``(B, decoder_channels, H, W)`` at input resolution."""
        height, width = (2 * side for side in features[0].shape[-2:])
        size_only = features[0].new_empty(1).expand(1, 1, height, width)  # the decoder asks the input for its size
        return self.decoder([size_only, *features])

    def forward(self, images: Tensor) -> Tensor:
        """Encode and decode."""
        return self.decode(self.encode(images))
