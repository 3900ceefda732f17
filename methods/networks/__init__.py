"""Networks: backbones by name, each an implementation of ``harness.contracts.Backbone``.

* ``unet_resnet50``: torchvision's ResNet-50 under a U-Net decoder of widths 256, 128, 64, 32, 16 (DiRA §4.1).
* ``unet_resnet_w16``: the miniature's: one basic block a stage, channels 16, 16, 32, 64, 128, under a decoder of
  widths 128, 64, 32, 16, 16 (the large one's takes 2.7 times the multiplications).
* ``transvw_keras``, ``transvw_pytorch`` and the miniature's ``transvw_keras_w4``: 3D, see ``methods.networks.volumes``.

A network is drawn from a seed alone: encoder and decoder have seeds of their own, so a fresh decoder is the same
under a trained encoder and a random one.
"""

from __future__ import annotations

from harness.errors import unknown
from harness.seeding import seed
from methods.networks.backbone import UnetBackbone, random_numbers_from
from methods.networks.encoders import resnet50, resnet_w16
from methods.networks.volumes import FORMS, VolumeBackbone, build_volume_network
from methods.phases import NetworkSpec

NETWORKS = {
    "unet_resnet50": (resnet50, (256, 128, 64, 32, 16)),
    "unet_resnet_w16": (resnet_w16, (128, 64, 32, 16, 16)),
}
# Those that fold enlarging into convolution; the miniature's keeps the order of sums of its committed numbers.
FOLDING = frozenset({"unet_resnet50"})

NetworkBackbone = UnetBackbone | VolumeBackbone


def build(network: NetworkSpec, init_seed: int) -> NetworkBackbone:
    """Build a backbone on the CPU with its published initialisation.

    Args:
        network: Which.
        init_seed: Draws encoder and decoder; nothing else does, and the global generator is left as it was.

    Raises:
        UnknownName: If there is no network of that name.
    """
    name = network.name
    if name in FORMS:
        return build_volume_network(network, init_seed)
    if name not in NETWORKS:
        raise unknown("network", name, (*NETWORKS, *FORMS), "methods/networks")
    make_encoder, decoder_widths = NETWORKS[name]
    with random_numbers_from(seed(init_seed, "encoder")):
        encoder, channels = make_encoder(network.in_channels, network.zero_init_residual)
    with random_numbers_from(seed(init_seed, "decoder")):
        return UnetBackbone(encoder, channels, decoder_widths, network.in_channels, folds=name in FOLDING)
