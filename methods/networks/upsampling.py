"""A 3×3 convolution of an image enlarged to twice its size, without making the large image.

Enlarging repeats every value, so a 3×3 window over the large image sees at most 2×2 different values: a convolution by
3 per axis after the enlargement is a transposed convolution by 4 per axis with stride 2 of the small image, whose
kernel holds sums of the other's weights. In 2D that is 4 products where there were 9, in 3D 8 where there were 27.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

FEWEST_PLACES = 512  # of a batch of small images: with fewer, summing the weights takes longer than it saves


def pays(coarse: Tensor) -> bool:
    """Say whether the short way is taken: on a CPU and not in half precision, where it was measured to be shorter.

    Half precision keeps the long way, for its gradients are watched there (``harness.half_precision``).
    """
    places = coarse.numel() // coarse.shape[1]
    whole = coarse.dtype in (torch.float32, torch.float64) and not torch.is_autocast_enabled("cpu")
    return coarse.device.type == "cpu" and whole and places >= FEWEST_PLACES


def convolve_enlarged(coarse: Tensor, skip: Tensor | None, convolution: nn.Conv2d | nn.Conv3d) -> Tensor:
    """Return ``convolution(cat([enlarged coarse, skip]))``, equal but for the order of floating-point sums.

    Args:
        coarse: ``(B, C, *S)``; each side is enlarged to twice its length, by repetition.
        skip: ``(B, D, *2S)`` beside it, or None.
        convolution: By 3 with padding 1 and stride 1, of C + D channels.
    """
    weight = convolution.weight
    of_coarse, of_skip = weight.split([coarse.shape[1], weight.shape[1] - coarse.shape[1]], dim=1)
    transposed, plain = (F.conv_transpose2d, F.conv2d) if coarse.dim() == 4 else (F.conv_transpose3d, F.conv3d)
    enlarged = transposed(coarse, folded(of_coarse), convolution.bias, stride=2, padding=1)
    return enlarged if skip is None else enlarged + plain(skip, of_skip, padding=1)


def folded(weight: Tensor) -> Tensor:
    """Return the kernel of the transposed convolution, ``(C, out, 4, …)``, from ``(out, C, 3, …)``.

    Along an axis, an even place of the large image sees the small value before its own once and its own twice, an odd
    place its own twice and the one behind it once.
    """
    for axis in range(2, weight.dim()):
        first, middle, last = weight.unbind(axis)
        weight = torch.stack([last, middle + last, first + middle, first], axis)
    return weight.transpose(0, 1)
