"""Enlarging folded into a convolution, or added up behind small products: the same function, at fewer products."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from methods.networks import build, upsampling
from methods.networks.upsampling import FEWEST_PLACES, WIDE, convolve_enlarged, folded, pays
from methods.phases import NetworkSpec


def plain(coarse, skip, convolution):
    enlarged = F.interpolate(coarse, scale_factor=2)
    return convolution(enlarged if skip is None else torch.cat([enlarged, skip], 1))


WAYS = {"folded": 10**9, "small products": 1}  # by the channels from which a small image is wide


@pytest.mark.parametrize("wide", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("sides", [(5, 3), (4, 2, 3), (1, 1)])
@pytest.mark.parametrize("beside", [0, 3])
def test_the_short_way_has_the_outputs_and_gradients_of_the_long_one(sides, beside, wide, monkeypatch):
    monkeypatch.setattr(upsampling, "WIDE", wide)
    generator = torch.Generator().manual_seed(0)
    made = {2: nn.Conv2d, 3: nn.Conv3d}[len(sides)](4 + beside, 5, 3, padding=1, dtype=torch.float64)
    found = []
    for way in (convolve_enlarged, plain):
        generator.manual_seed(1)
        coarse = torch.randn(2, 4, *sides, generator=generator, dtype=torch.float64).requires_grad_()
        skip = None
        if beside:
            fine = [2 * side for side in sides]
            skip = torch.randn(2, beside, *fine, generator=generator, dtype=torch.float64).requires_grad_()
        output = way(coarse, skip, made)
        made.zero_grad()
        output.square().sum().backward()
        gradients = [t.grad.clone() for t in (coarse, skip, made.weight, made.bias) if t is not None]
        found.append([output.detach(), *gradients])
    for short, long in zip(*found, strict=True):
        assert torch.allclose(short, long, rtol=1e-11, atol=1e-11)


def test_the_folded_kernel_keeps_the_sum_of_the_weights_of_every_place():
    """A constant image stays constant inside: every place of the large image sees all weights once."""
    weight = torch.randn(3, 2, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    made = F.conv_transpose2d(torch.ones(1, 2, 4, 4, dtype=torch.float64), folded(weight), stride=2, padding=1)
    inside = made[0, :, 2:-2, 2:-2]
    assert torch.allclose(inside, weight.sum((1, 2, 3))[:, None, None].expand_as(inside))


@pytest.mark.parametrize(
    ("way", "dimensions", "share"),
    [("folded", 2, 4 / 9), ("folded", 3, 8 / 27), ("small products", 2, 1 / 4), ("small products", 3, 1 / 8)],
)
def test_it_counts_the_products_it_promises(way, dimensions, share, monkeypatch):
    monkeypatch.setattr(upsampling, "WIDE", WAYS[way])
    sides = (6,) * dimensions
    made = {2: nn.Conv2d, 3: nn.Conv3d}[dimensions](4, 5, 3, padding=1)
    coarse = torch.zeros(1, 4, *sides)
    counts = []
    for way in (convolve_enlarged, plain):
        with FlopCounterMode(display=False) as counter:
            way(coarse, None, made)
        counts.append(counter.get_total_flops())
    assert counts[0] / counts[1] == pytest.approx(share)


def test_it_is_taken_in_whole_precision_and_for_enough_places_or_channels_alone():
    many, few = torch.zeros(1, 2, FEWEST_PLACES, 1), torch.zeros(1, WIDE - 1, FEWEST_PLACES - 1, 1)
    assert pays(many) and pays(torch.zeros(1, WIDE, 1, 1))
    assert not pays(few) and not pays(many.bfloat16()) and not pays(many.to("meta"))
    with torch.autocast("cpu", torch.bfloat16):
        assert not pays(many)


@pytest.mark.parametrize(
    ("name", "channels", "sides"),
    [("unet_resnet50", 3, (64, 64)), ("transvw_keras", 1, (16, 16, 8))],
)
def test_a_large_network_computes_the_same_either_way(name, channels, sides, monkeypatch):
    network = build(NetworkSpec(name=name, in_channels=channels), 0).double().eval()
    images = torch.rand(1, channels, *sides, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    monkeypatch.setattr(upsampling, "FEWEST_PLACES", 1)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        short = network(images)
    operations = counter.get_total_flops()
    monkeypatch.setattr(upsampling, "FEWEST_PLACES", 10**9)
    monkeypatch.setattr(upsampling, "WIDE", 10**9)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        long = network(images)
    assert torch.allclose(short, long, rtol=1e-9, atol=1e-9)
    assert operations < 0.9 * counter.get_total_flops()


@pytest.mark.parametrize("name", ["unet_resnet_w16", "transvw_keras_w4", "transvw_pytorch"])
def test_networks_of_committed_numbers_and_learnt_enlargements_never_take_it(name, monkeypatch):
    channels, sides = (3, (64, 64)) if name.startswith("unet") else (1, (16, 16, 8))
    network = build(NetworkSpec(name=name, in_channels=channels), 0)
    monkeypatch.setattr(upsampling, "folded", lambda weight: pytest.fail("folded"))
    monkeypatch.setattr(upsampling, "small_products", lambda coarse, weight: pytest.fail("small products"))
    monkeypatch.setattr(upsampling, "FEWEST_PLACES", 1)
    monkeypatch.setattr(upsampling, "WIDE", 1)
    assert network(torch.rand(1, channels, *sides)).shape[2:] == torch.Size(sides)
