"""What a trial hands to its transfer, and what it asks of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import numpy as np
import pandas as pd
from pydantic import JsonValue
from torch import Tensor, nn

from tasks.inputs.interface import Source
from tasks.inputs.loading import Batch, Samples
from tasks.specs import TrialSpec

Part = TypeVar("Part")


@dataclass(frozen=True)
class Cases:
    """Which cases a trial takes, and who they are.

    Attributes:
        spec: The trial.
        source: The cohort, its training rows and where the input goes.
        validation, test: Rows, int64.
        tested: The table of the test cases, in their order.
        ask: Called between parts of an evaluation; ends an attempt that was asked to leave.
    """

    spec: TrialSpec
    source: Source
    validation: np.ndarray
    test: np.ndarray
    tested: pd.DataFrame
    ask: Callable[[], None] = lambda: None

    def asking(self, parts: Iterator[Part]) -> Iterator[Part]:
        """Yield the parts of an evaluation, and ask before each."""
        for part in parts:
            self.ask()
            yield part

    @property
    def draw(self) -> tuple[np.ndarray, int, int]:
        """Patients of the test cases, number of resamples, and the seed of their draws."""
        patients = self.tested["patient"].to_numpy()
        return patients, self.spec.transfer.metric.resamples, self.spec.resample_seed


@dataclass
class Scored:
    """What the test cases came to.

    Attributes:
        values: Metric → value.
        facts, arrays: For the record.
        elsewhere: Metrics of the task that do not apply to this trial.
    """

    values: dict[str, float]
    facts: dict[str, JsonValue]
    arrays: dict[str, np.ndarray]
    elsewhere: tuple[str, ...] = field(default=())


class Transfer(Protocol):
    """One way to fine-tune an encoder and to evaluate it, in 2 and in 3 dimensions."""

    model: nn.Module

    def order(self) -> Iterator[Samples]:
        """Yield which samples each step has."""
        ...

    def steps(self, done: int = 0) -> Iterator[Batch]:
        """Yield the training batches that follow the first ``done``."""
        ...

    def loss(self, batch: Batch) -> Tensor:
        """Return the scalar loss of a batch, with gradient."""
        ...

    def validate(self) -> tuple[float, float]:
        """Return loss and metric of the validation cases."""
        ...

    def score(self) -> Scored:
        """Score the test cases."""
        ...
