from itertools import pairwise

import pytest
import segmentation_models_pytorch as smp
import torch
import torchvision
from torch.utils._python_dispatch import TorchDispatchMode

from harness.contracts import Backbone
from methods.networks import build
from methods.networks.normalisation import SplitBatchNorm2d, split_batch_norm
from methods.phases import NetworkSpec
from methods.terms.adversary import Adversary
from methods.terms.bound_adversary import discriminator

LARGE = NetworkSpec(name="unet_resnet50", in_channels=3, zero_init_residual=False)
SMALL = NetworkSpec(name="unet_resnet_w16", in_channels=3, zero_init_residual=False)


def count(module):
    return sum(p.numel() for p in module.parameters())


def test_the_large_backbone_is_torchvisions_encoder_under_the_papers_decoder():
    backbone = build(LARGE, 0)
    reference = torchvision.models.resnet50(weights=None).state_dict()
    expected = {k: v.shape for k, v in reference.items() if not k.startswith("fc.")}
    assert {k: v.shape for k, v in backbone.encoder.state_dict().items()} == expected
    assert count(backbone.encoder) == 25_557_032 - 2_049_000  # torchvision's published count minus fc
    # Two 3×3 convolutions without bias and two batch norms a block, from the widths of the protocol.
    blocks = [(2048, 1024, 256), (256, 512, 128), (128, 256, 64), (64, 64, 32), (32, 0, 16)]
    assert count(backbone.decoder) == sum(9 * (i + s) * o + 9 * o * o + 4 * o for i, s, o in blocks)
    assert round(count(backbone.decoder) / 1e6, 2) == 9.01
    with_head = count(backbone) + 16 * 9 + 1
    assert with_head == count(smp.Unet("resnet50", encoder_weights=None))
    assert round(with_head / 1e6, 1) == 32.5


def test_the_papers_discriminator_has_about_one_and_a_half_million_parameters():
    with torch.no_grad():
        network = discriminator(Adversary())
        assert network(torch.zeros(1, 1, 224, 224)).shape == (1, 1, 28, 28)
    widths = [1, 64, 128, 256, 512, 1]
    assert count(network) == sum(9 * a * b + b for a, b in pairwise(widths))
    assert round(count(network) / 1e6, 2) == 1.55
    four = discriminator(Adversary(layers="four"))
    assert sum(isinstance(layer, torch.nn.Conv2d) for layer in four) == 4


def test_the_small_backbone_keeps_the_contract():
    backbone = build(SMALL, 0)
    assert isinstance(backbone, Backbone)
    assert backbone.channels == (16, 16, 32, 64, 128)
    assert count(backbone.encoder) == 309_456
    features = backbone.encode(torch.zeros(2, 3, 32, 64))
    assert [tuple(f.shape[2:]) for f in features] == [(16, 32), (8, 16), (4, 8), (2, 4), (1, 2)]
    assert backbone.decode(features).shape == (2, backbone.decoder_channels, 32, 64)


def test_a_seed_alone_draws_a_network_and_leaves_the_global_generator_alone():
    before = torch.random.get_rng_state()
    one, again, other = build(SMALL, 1), build(SMALL, 1), build(SMALL, 2)
    assert torch.equal(before, torch.random.get_rng_state())
    same = [torch.equal(a, b) for a, b in zip(one.parameters(), again.parameters(), strict=True)]
    assert all(same)
    assert not torch.equal(one.encoder.conv1.weight, other.encoder.conv1.weight)
    assert not torch.equal(one.decoder.blocks[0].conv1[0].weight, other.decoder.blocks[0].conv1[0].weight)


def test_the_stem_has_torchvisions_spread():
    weight = build(LARGE, 0).encoder.conv1.weight.detach()
    assert abs(float(weight.std()) / (2 / (64 * 49)) ** 0.5 - 1) < 0.05  # Kaiming-normal, fan-out


def test_silenced_residuals_make_every_block_start_as_its_shortcut():
    backbone = build(SMALL.model_copy(update={"zero_init_residual": True}), 0)
    assert all(not b.bn2.weight.any() for b in backbone.encoder.modules() if hasattr(b, "bn2"))
    images = torch.rand(2, 3, 32, 32)
    stem = backbone.encoder.maxpool(backbone.encode(images)[0])
    assert torch.allclose(backbone.encode(images)[1], stem)


def test_split_batch_norm_equals_batch_norm_on_each_part():
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(8, 3, 4, 4, generator=generator)
    plain = torch.nn.Sequential(torch.nn.BatchNorm2d(3))
    split = torch.nn.Sequential(torch.nn.BatchNorm2d(3))
    split_batch_norm(split, 2)
    assert isinstance(split[0], SplitBatchNorm2d)
    expected = torch.cat([plain(images[:4]), plain(images[4:])])
    assert torch.allclose(split(images), expected, atol=1e-6)
    parts = torch.stack([images[:4].mean(dim=(0, 2, 3)), images[4:].mean(dim=(0, 2, 3))])
    assert torch.allclose(split[0].running_mean, 0.1 * parts.mean(0), atol=1e-6)
    split.eval()
    plain.load_state_dict(split.state_dict())
    assert torch.equal(split(images), plain.eval()(images))


class Operators(TorchDispatchMode):
    """Lists the operators that run, by name."""

    def __init__(self):
        super().__init__()
        self.ran = []

    def __torch_dispatch__(self, operator, types, given=(), named=None):
        self.ran.append(operator._schema.name)
        return operator(*given, **(named or {}))


def folded_batch_norm(images, norm):
    """Take statistics of each part by folding parts into channels: an independent way to the same numbers."""
    batch, channels, *sides = images.shape
    parts = images.reshape(norm.splits, batch // norm.splits, channels, *sides).transpose(0, 1)
    made = torch.nn.functional.batch_norm(
        parts.reshape(batch // norm.splits, norm.splits * channels, *sides),
        None,
        None,
        norm.weight.repeat(norm.splits),
        norm.bias.repeat(norm.splits),
        training=True,
        eps=norm.eps,
    )
    return made.reshape(batch // norm.splits, norm.splits, channels, *sides).transpose(0, 1).reshape(images.shape)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_split_batch_norm_keeps_the_layout_and_has_the_numbers_and_gradients_of_folding(layout):
    generator = torch.Generator().manual_seed(0)
    norm = SplitBatchNorm2d(16)
    norm.splits = 4
    torch.nn.init.normal_(norm.weight, generator=generator)
    values = torch.randn(8, 16, 7, 7, generator=generator).contiguous(memory_format=layout)
    weights = torch.randn(8, 16, 7, 7, generator=generator)
    found = []
    for way in (norm, lambda images: folded_batch_norm(images, norm)):
        images = values.clone(memory_format=torch.preserve_format).requires_grad_()
        norm.zero_grad()
        output = way(images)
        (output * weights).sum().backward()
        found.append([output.detach(), images.grad, norm.weight.grad.clone(), norm.bias.grad.clone()])
    assert found[0][0].is_contiguous(memory_format=layout)
    for ours, folded in zip(*found, strict=True):
        assert float((ours - folded).abs().max()) < 2e-5 * float(folded.abs().max())


def test_split_batch_norm_copies_no_channels_last_batch_to_another_layout():
    """On tensors without memory, forwards and backwards: no clone, and as many operators as parts ask for."""
    norm = SplitBatchNorm2d(8).to("meta")
    norm.splits = 4
    images = torch.empty(8, 8, 6, 6, device="meta").contiguous(memory_format=torch.channels_last).requires_grad_()
    with Operators() as counted:
        output = norm(images)
        output.backward(torch.empty_like(output))
    assert images.grad.is_contiguous(memory_format=torch.channels_last)
    assert "aten::clone" not in counted.ran and "aten::_to_copy" not in counted.ran
    assert sum("batch_norm" in name for name in counted.ran) == 2 * norm.splits
    assert len(counted.ran) < 70
