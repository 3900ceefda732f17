"""Whether the numbers in a checkpoint are trained weights: of a type and a size that a network can hold."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from harness.errors import CheckpointError

VARIANCE = "running_var"


def as_weight(value: Tensor, name: str, like: Tensor, path: Path) -> Tensor:
    """Return a tensor of a file as one of ours: dense, on the CPU, of our type.

    Args:
        value: From the file.
        name: Its name there.
        like: Ours: type and shape.
        path: The file, for the sentence.

    Raises:
        CheckpointError: If it holds no numbers, numbers of a kind that weights are not, ones that are not finite in our
            type, a negative variance, or zeros alone.
    """
    unusable = _form(value, like)
    if unusable:
        raise _refused(
            path, name, unusable, "numbers in full, of a floating-point type", "save the model's state_dict()"
        )
    cast = value.detach().to(device="cpu", dtype=like.dtype).contiguous().clone()
    problem = _content(value, cast, name)
    if problem:
        raise _refused(path, name, problem, "trained weights", "take another checkpoint")
    return cast


def _form(value: Tensor, like: Tensor) -> str:
    if value.is_meta:
        return "shape alone, without numbers (a meta tensor)"
    if value.layout != torch.strided:
        return f"a sparse tensor ({value.layout})"
    if value.is_quantized:
        return f"quantised numbers ({value.dtype})"
    if like.is_floating_point() and not value.is_floating_point():
        return f"numbers of type {value.dtype}"
    if not like.is_floating_point() and (value.is_complex() or value.dtype == torch.bool):
        return f"numbers of type {value.dtype}"
    return ""


def _content(value: Tensor, cast: Tensor, name: str) -> str:
    if not cast.is_floating_point():
        return ""
    if not torch.isfinite(cast).all():
        beyond = bool(torch.isfinite(value.float() if value.dtype.itemsize < 2 else value).all())
        return f"numbers beyond {cast.dtype}" if beyond else "numbers that are not finite"
    if name.endswith(VARIANCE) and bool((cast < 0).any()):
        return "a negative variance"
    if cast.dim() > 1 and not bool(cast.any()):
        return "zeros alone"
    return ""


def _refused(path: Path, name: str, found: str, expected: str, remedy: str) -> CheckpointError:
    return CheckpointError(f"{path} holds {found} in {name}; expected {expected}; {remedy}")
