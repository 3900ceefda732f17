"""The sets of named tensors in what a checkpoint held: beside each other, nested, or with numbers around them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor

from methods.key_layouts import PARTS

DEEPEST = 6  # VISSL nests its trunk five mappings down
WHOLE = "the file itself"  # what the outermost set is called; ``state`` takes the name of any other


def states(loaded: object) -> dict[str, dict[str, Tensor]]:
    """Return every set of named tensors in what was read, by its path: the keys that lead to it, joined by dots.

    A number beside a container (``best_acc1`` beside ``state_dict``) makes a set of its own, so it hides nothing. A
    mapping of ``encoder`` and ``decoder`` is one set, its names joined.

    Args:
        loaded: What ``torch.load`` or ``safetensors`` gave.
    """
    return {path or WHOLE: found for path, found in _walk(loaded, "", DEEPEST)}


def _walk(loaded: object, path: str, depth: int) -> Iterator[tuple[str, dict[str, Tensor]]]:
    if not isinstance(loaded, Mapping) or depth == 0:
        return
    below = {str(name): value for name, value in loaded.items() if isinstance(value, Mapping)}
    tensors = _tensors(loaded)
    if below.keys() >= set(PARTS):
        tensors |= {f"{part}.{name}": value for part in PARTS for name, value in _tensors(below[part]).items()}
        below = {name: value for name, value in below.items() if name not in PARTS}
    if tensors:
        yield path, tensors
    for name, value in below.items():
        yield from _walk(value, f"{path}.{name}" if path else name, depth - 1)


def _tensors(loaded: Mapping[object, object]) -> dict[str, Tensor]:
    return {str(name): value for name, value in loaded.items() if isinstance(value, Tensor)}
