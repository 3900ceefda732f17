import pytest
import torch

from harness.contracts import Backbone
from harness.errors import ConfigurationError
from methods.networks import build
from methods.phases import NetworkSpec
from methods.terms.adversary import Adversary
from methods.terms.bound_adversary import BoundAdversary, discriminator
from methods.terms.bound_restoration import BoundRestoration
from methods.terms.bound_visual_words import BoundVisualWords
from methods.terms.restoration import Restoration
from methods.terms.visual_words import VisualWords


def count(module):
    return sum(p.numel() for p in module.parameters())


def network(name):
    return build(NetworkSpec(name=name, in_channels=1), 0)


def published(before, after):
    """Parameters of a 3×3×3 convolution with bias and its batch norm."""
    return 27 * before * after + after + 2 * after


LEVELS = [(1, 32), (32, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 512)]
STEPS = [(512 + 256, 256), (256, 256), (256 + 128, 128), (128, 128), (128 + 64, 64), (64, 64)]


def test_the_keras_form_with_its_heads_has_the_published_number_of_parameters():
    backbone = network("transvw_keras")
    assert count(backbone.encoder) == sum(published(*pair) for pair in LEVELS)
    assert count(backbone.decoder) == sum(published(*pair) for pair in STEPS)
    heads = count(BoundVisualWords(VisualWords(words=44), backbone, 0, 32)) + count(
        BoundRestoration(Restoration(), backbone, 0, 32)
    )
    assert count(backbone) + heads == 23_970_093


def test_the_pytorch_form_has_transposed_convolutions_of_equal_width_and_33_28_million_parameters():
    backbone = network("transvw_pytorch")
    ups = [step.up for step in backbone.decoder.steps]
    assert [(up.in_channels, up.out_channels, up.kernel_size, up.stride) for up in ups] == [
        (width, width, (2, 2, 2), (2, 2, 2)) for width in (512, 256, 128)
    ]
    head = BoundVisualWords(VisualWords(words=44, head="pytorch"), backbone, 0, 32)
    whole = count(backbone) + count(head) + count(BoundRestoration(Restoration(), backbone, 0, 32))
    assert count(backbone) + 65 == 19_073_665  # Models Genesis' network, its output convolution included
    assert round(whole / 1e6, 2) == 33.28


@pytest.mark.parametrize(
    ("name", "constants"),
    [
        (
            "transvw_keras",
            (1e-3, 0.01),
        ),  # Keras 2.2.4's BatchNormalization: epsilon 1e-3, momentum 0.99 of the old value
        ("transvw_pytorch", (1e-5, 0.1)),  # PyTorch's, which TransVW's and Models Genesis' PyTorch code keeps
        ("transvw_keras_w4", (1e-5, 0.1)),
    ],
)
def test_batch_norm_has_the_constants_of_the_releases_framework_in_backbone_and_head(name, constants):
    backbone = network(name)
    head = BoundVisualWords(VisualWords(words=4), backbone, 0, 32)
    norms = [layer for part in (backbone, head) for layer in part.modules() if isinstance(layer, torch.nn.BatchNorm3d)]
    assert len(norms) == 15
    assert {(layer.eps, layer.momentum) for layer in norms} == {constants}


def test_the_discriminator_in_3d_has_about_four_and_two_thirds_million_parameters():
    found = discriminator(Adversary(), dimensions=3)
    assert round(count(found) / 1e6, 2) == 4.66
    with torch.no_grad():
        assert found(torch.zeros(1, 1, 64, 64, 32)).shape == (1, 1, 8, 8, 4)
    strides = [layer.stride[0] for layer in found if isinstance(layer, torch.nn.Conv3d)]
    assert strides == [2, 2, 2, 1, 1]


@pytest.mark.parametrize("name", ["transvw_keras_w4"])
def test_a_3d_backbone_keeps_the_contract(name):
    backbone = network(name)
    assert isinstance(backbone, Backbone)
    volumes = torch.rand(2, 1, 16, 24, 8)
    features = backbone.encode(volumes)
    for feature, channels, stride in zip(features, backbone.channels, backbone.strides, strict=True):
        assert feature.shape == (2, channels, 16 // stride, 24 // stride, 8 // stride)
    assert backbone.decode(features).shape == (2, backbone.decoder_channels, 16, 24, 8)
    assert torch.equal(backbone(volumes), backbone.decode(backbone.encode(volumes)))


def test_the_small_form_is_the_large_one_with_an_eighth_of_its_widths():
    small, large = network("transvw_keras_w4").state_dict(), network("transvw_keras").state_dict()
    assert small.keys() == large.keys()
    for name, value in large.items():
        shape = [side // 8 if axis < 2 and side > 3 else side for axis, side in enumerate(value.shape)]
        assert list(small[name].shape) == shape


def test_a_seed_alone_draws_a_3d_network_and_encoder_and_decoder_apart():
    before = torch.random.get_rng_state()
    one, again = network("transvw_keras_w4"), network("transvw_keras_w4")
    other = build(NetworkSpec(name="transvw_keras_w4", in_channels=1), 1)
    assert torch.equal(before, torch.random.get_rng_state())
    pairs = zip(one.state_dict().values(), again.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not torch.equal(one.encoder.levels[0][0].conv.weight, other.encoder.levels[0][0].conv.weight)
    assert not torch.equal(one.decoder.steps[0].convs[0].conv.weight, other.decoder.steps[0].convs[0].conv.weight)


def test_a_skip_reaches_the_decoder():
    backbone = network("transvw_keras_w4").eval()
    features = backbone.encode(torch.rand(1, 1, 16, 16, 8))
    for level in range(4):
        without = tuple(torch.zeros_like(f) if i == level else f for i, f in enumerate(features))
        assert not torch.equal(backbone.decode(without), backbone.decode(features))


def test_a_volume_too_small_for_the_discriminator_is_refused():
    with pytest.raises(ConfigurationError, match="at least 8"):
        BoundAdversary(Adversary(), network("transvw_keras_w4"), 0, 4)


def test_words_cannot_be_classified_by_a_2d_network():
    flat = build(NetworkSpec(name="unet_resnet_w16", in_channels=3), 0)
    with pytest.raises(ConfigurationError, match="expected a 3D one"):
        BoundVisualWords(VisualWords(), flat, 0, 32)
    with pytest.raises(ConfigurationError, match="at least two words"):
        VisualWords(words=1)
    with pytest.raises(ConfigurationError, match="keras or pytorch"):
        VisualWords(head="torch")
