"""Arrays on their way to a GPU: several in one page-locked buffer, brought over by one copy that nobody waits for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from harness.environment import cores

ALIGNED = 64  # bytes; every array begins at a multiple, so that it may be read as numbers of its own type


@dataclass(frozen=True)
class Packed:
    """Arrays laid one behind the other.

    Attributes:
        buffer: Their bytes, uint8 ``(N,)``, on the host; page-locked where a GPU copies from it.
        places: Where each begins, its type and its shape.
    """

    buffer: Tensor
    places: tuple[tuple[int, torch.dtype, tuple[int, ...]], ...]

    @classmethod
    def of(cls, arrays: Sequence[np.ndarray], *, pinned: bool) -> Packed:
        """Lay arrays behind each other; ``pinned`` asks for page-locked memory."""
        tensors = [torch.from_numpy(np.ascontiguousarray(array)) for array in arrays]
        places, end = [], 0
        for tensor in tensors:
            places.append((end, tensor.dtype, tuple(tensor.shape)))
            end += math.ceil(tensor.nbytes / ALIGNED) * ALIGNED
        packed = cls(torch.empty(end, dtype=torch.uint8, pin_memory=pinned), tuple(places))
        for tensor, place in zip(tensors, packed.on(packed.buffer), strict=True):
            place.copy_(tensor)
        return packed

    def on(self, buffer: Tensor) -> list[Tensor]:
        """Return the arrays as they lie in a copy of the buffer; nothing is moved."""
        found = []
        for begin, dtype, shape in self.places:
            size = math.prod(shape) * dtype.itemsize
            found.append(buffer[begin : begin + size].view(dtype).view(shape))
        return found

    def to(self, device: torch.device) -> list[Tensor]:
        """Return the arrays on a device, after one copy; from page-locked memory the host does not wait for it."""
        return self.on(self.buffer.to(device, non_blocking=True))


def to_device(arrays: Sequence[np.ndarray], device: torch.device) -> list[Tensor]:
    """Bring arrays to a device: to a CPU as they are, to a GPU by one copy from page-locked memory."""
    if device.type == "cpu":
        return [torch.from_numpy(array) for array in arrays]
    return Packed.of(arrays, pinned=device.type == "cuda").to(device)


def loaders(asked: int, device: str) -> int:
    """Return how many processes load: those asked for, or on a GPU, where none are, some of the cores; at most four.

    On a CPU the cores are the training's own.
    """
    if asked or not device.startswith("cuda"):
        return asked
    return min(4, cores() // 4)


class SideStream:
    """A GPU's second queue of work, in which the next step's views are made while this step computes.

    Without a GPU there is none, and work is done where it is asked for.
    """

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def work(self) -> AbstractContextManager[object]:
        """Return the context whose work is queued aside."""
        return nullcontext() if self._stream is None else torch.cuda.stream(self._stream)

    def mark(self) -> torch.cuda.Event | None:
        """Return a mark behind all that is queued so far."""
        return None if self._stream is None else self._stream.record_event()

    def hand_over(self, made: Sequence[Tensor], mark: torch.cuda.Event | None) -> None:
        """Let the main queue wait for a mark, and keep its memory from being used again while the main queue reads."""
        if self._stream is None or mark is None:
            return
        main = torch.cuda.current_stream(self._stream.device)
        main.wait_event(mark)
        for tensor in made:
            tensor.record_stream(main)
