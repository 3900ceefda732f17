"""bfloat16 on a CPU: what is sound trains, what is not is refused."""

import numpy as np
import pytest
import torch
from torch import nn

from harness.errors import ConfigurationError
from harness.half_precision import refuse_unsound_gradients


def watched(layer: nn.Module) -> nn.Module:
    refuse_unsound_gradients(layer)
    return layer


def in_bfloat16(layer, maps):
    with torch.autocast("cpu", torch.bfloat16):
        return layer(maps)


@pytest.mark.parametrize("sides", [(2, 2, 1), (2, 8, 8), (8, 1, 8), (8, 8, 2)])
def test_volumes_smaller_than_the_kernel_are_refused_in_a_sentence(sides):
    layer = watched(nn.Sequential(nn.Conv3d(4, 4, 3, padding=1)))
    with pytest.raises(ConfigurationError, match=f"3 x 3 x 3 convolution over maps of {' x '.join(map(str, sides))}"):
        in_bfloat16(layer, torch.rand(2, 4, *sides))


def test_a_strided_convolution_over_one_column_is_refused_and_one_over_two_is_not():
    layer = watched(nn.Conv2d(4, 4, 3, stride=2, padding=1))
    in_bfloat16(layer, torch.rand(2, 4, 2, 2))
    with pytest.raises(ConfigurationError, match="maps of 5 x 1"):
        in_bfloat16(layer, torch.rand(2, 4, 5, 1))


def test_float32_passes_without_gradient_and_single_voxel_kernels_are_let_through():
    small = torch.rand(2, 4, 2, 2, 1)
    layer = watched(nn.Conv3d(4, 4, 3, padding=1))
    assert layer(small).shape == small.shape
    with torch.no_grad():
        in_bfloat16(layer, small)
    in_bfloat16(watched(nn.Conv3d(4, 4, 1)), small)


@pytest.mark.parametrize("sides", [(3, 3, 3), (4, 4, 3), (8, 8, 4)])
def test_what_is_let_through_has_float32s_gradient_whatever_memory_held_before(sides):
    torch.manual_seed(0)
    layer, maps = watched(nn.Conv3d(32, 16, 3, padding=1)), torch.rand(2, 32, *sides)
    layer(maps).square().sum().backward()
    expected = layer.weight.grad.clone()
    for _ in range(10):
        layer.weight.grad = None
        litter = [torch.full((4**power,), torch.nan) for power in range(3, 10) for _ in range(3)]
        del litter  # what reads memory before it is written finds these
        in_bfloat16(layer, maps).float().square().sum().backward()
        difference = float((layer.weight.grad - expected).norm() / expected.norm())
        assert np.isfinite(difference) and difference < 0.02
