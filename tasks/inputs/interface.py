"""What a transfer asks of its input, in 2 and in 3 dimensions alike."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Tensor, nn

from harness.pixels import Pixels
from tasks.inputs.loading import Batch, Samples
from tasks.specs import Seeds


@dataclass(frozen=True)
class Source:
    """Where an input comes from, and where it goes.

    Attributes:
        pixels: The cohort.
        rows: Of the training cases, int64 ``(N,)``.
        seeds: Of the trial.
        device: Where the network is.
        workers: Loader processes; they change no number.
    """

    pixels: Pixels
    rows: np.ndarray
    seeds: Seeds
    device: str
    workers: int


class LabelledInput(Protocol):
    """Cases whose labels are learnt."""

    def place(self, model: nn.Module) -> nn.Module:
        """Return the model where the input goes, laid out in memory as it takes the input soonest."""
        ...

    def order(self) -> Iterator[Samples]:
        """Yield which samples each step has."""
        ...

    def steps(self, done: int = 0) -> Iterator[Batch]:
        """Yield the training batches that follow the first ``done``."""
        ...

    def trained(self, batch: Batch) -> Tensor:
        """Return a batch augmented, ready for the model: float32 ``(B, C, *S)``."""
        ...

    def evaluated(self, rows: np.ndarray, *, ten_crop: bool) -> Iterator[tuple[Tensor, int]]:
        """Yield cases ready for the model ``(V · B, C, *S)`` and their number of views V, one view after another."""
        ...


class MaskedInput(Protocol):
    """Cases whose foreground is learnt."""

    def place(self, model: nn.Module) -> nn.Module:
        """Return the model where the input goes, laid out in memory as it takes the input soonest."""
        ...

    def order(self) -> Iterator[Samples]:
        """Yield which samples each step has."""
        ...

    def steps(self, done: int = 0) -> Iterator[Batch]:
        """Yield the training batches that follow the first ``done``."""
        ...

    def trained(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return a batch augmented ``(B, C, *S)``, and its masks moved with it, float32 in {0, 1} ``(B, *S)``."""
        ...

    def evaluated(self, rows: np.ndarray, *, augmented: bool = False) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield cases ready for the model ``(B, C, *S)`` and their masks, uint8 in {0, 1} ``(B, *S)``.

        Args:
            rows: Which cases.
            augmented: As the trial's transfer augments validation, the same way each time, if it does.
        """
        ...
