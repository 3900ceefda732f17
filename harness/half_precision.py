"""Where bfloat16 on a CPU has no sound gradient, training is refused rather than poisoned.

PyTorch 2.15 hands bfloat16 convolutions on a CPU to oneDNN, whose weight gradient of a map smaller than the kernel
reads memory that nobody wrote (measured on a CPU with AVX-512 bf16: of sixty gradients of a 3 × 3 × 3 convolution over
2 × 2 × 1 voxels, up to sixty were not finite, and some sizes ended the process). Maps as large as the kernel were sound
in every trial, and so were float32 and the forward pass; the published sizes (7 × 7, 8 × 8 × 4) are such maps.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from harness.errors import ConfigurationError


def refuse_unsound_gradients(module: nn.Module) -> None:
    """Watch a module's convolutions from now on: one whose weight gradient would be unsound raises at its first pass.

    Passes without gradient, on a GPU, or outside bfloat16 autocast are let through, so that watching costs nothing
    where nothing is wrong.

    Args:
        module: About to be trained; every ``Conv2d`` and ``Conv3d`` in it is watched.

    Raises:
        ConfigurationError: Not here but in the forward pass of such a convolution.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Conv3d):
            layer.register_forward_pre_hook(_refuse)


def _refuse(layer: nn.Module, given: tuple[object, ...]) -> None:
    maps: Tensor = given[0]
    if maps.device.type != "cpu" or not torch.is_grad_enabled() or not torch.is_autocast_enabled("cpu"):
        return
    if torch.get_autocast_dtype("cpu") is not torch.bfloat16 or not _is_unsound(layer, tuple(maps.shape[2:])):
        return
    sides, kernel = (" x ".join(map(str, found)) for found in (maps.shape[2:], layer.kernel_size))
    raise ConfigurationError(
        f"found bfloat16 on a CPU and a {kernel} convolution over maps of {sides}, whose gradient PyTorch gets wrong "
        "there; expected maps at least as large as the kernel; take float32, a GPU, or larger images"
    )


def _is_unsound(layer: nn.Module, sides: tuple[int, ...]) -> bool:
    """Say whether a size is like those measured as unsound.

    In 3D these were many with a side shorter than the kernel's, so that all such are; in 2D a width of one pixel
    under a stride, and no other of 64 sizes.
    """
    kernel, stride = layer.kernel_size, layer.stride
    if len(sides) == 3:
        return any(side < extent for side, extent in zip(sides, kernel, strict=True))
    return sides[1] == 1 and kernel[1] > 1 and max(stride) > 1
