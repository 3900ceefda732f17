"""A 3×3 convolution of an image enlarged to twice its size, without making the large image, in one of two ways.

*Folded*. Enlarging repeats every value, so a 3×3 window over the large image sees at most 2×2 different values: a
convolution by 3 per axis after the enlargement is a transposed convolution by 4 per axis with stride 2 of the small
image, whose kernel holds sums of the other's weights. In 2D that is 4 products where there were 9, in 3D 8 of 27.

*Small products*. Every weight meets every value of the small image once, in one product of matrices, and the products
are added where the large image would have repeated them. In 2D that is 9 products where there were 36, in 3D 27 of 216;
it makes three values per axis for every two of the result, so it is soonest where channels are many and places few.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

FEWEST_PLACES = 512  # of a batch of small images: with fewer, summing the weights takes longer than it saves
WIDE = 512  # channels of a small image from which small products were measured to be sooner


def pays(coarse: Tensor) -> bool:
    """Say whether the short way is taken: on a CPU and not in half precision, where it was measured to be shorter.

    Half precision keeps the long way, for its gradients are watched there (``harness.half_precision``).
    """
    places = coarse.numel() // coarse.shape[1]
    whole = coarse.dtype in (torch.float32, torch.float64) and not torch.is_autocast_enabled("cpu")
    return coarse.device.type == "cpu" and whole and (places >= FEWEST_PLACES or coarse.shape[1] >= WIDE)


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
    if coarse.shape[1] >= WIDE:
        enlarged = small_products(coarse, of_coarse)
        if convolution.bias is not None:
            enlarged = enlarged + convolution.bias.view(-1, *[1] * (coarse.dim() - 2))
    else:
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


def small_products(coarse: Tensor, weight: Tensor) -> Tensor:
    """Return the convolution of the enlarged image from one product of matrices.

    Args:
        coarse: ``(B, C, *S)``.
        weight: ``(out, C, 3, …)``.

    Returns:
        ``(B, out, *2S)``, channels last in memory.
    """
    axes = coarse.dim() - 2
    rows = coarse.movedim(1, -1)
    columns = weight.movedim((0, 1), (-1, 0))  # (C, 3, …, out)
    made = (rows.reshape(-1, rows.shape[-1]) @ columns.flatten(1)).view(*rows.shape[:-1], *columns.shape[1:])
    for axis in range(1, axes + 1):
        made = along(made, axis, axes + 1)
    return made.movedim(-1, 1)


def along(products: Tensor, axis: int, taps: int) -> Tensor:
    """Add, along one axis, the products of each place of the large image.

    Args:
        products: Of n small places on ``axis`` with a kernel's three weights, which lie on axis ``taps``.
        axis: Of n places; in the result of 2n.
        taps: Is gone in the result.
    """
    first, middle, last = products.unbind(taps)
    neighbours = products.shape[axis] - 1
    even, odd = middle + last, first + middle  # an even place sees its own value twice and the one before it once
    even.narrow(axis, 1, neighbours).add_(first.narrow(axis, 0, neighbours))
    odd.narrow(axis, 0, neighbours).add_(last.narrow(axis, 1, neighbours))
    return torch.stack([even, odd], axis + 1).flatten(axis, axis + 1)
