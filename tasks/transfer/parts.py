"""What a trial hands to its transfer, and what it asks of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import pandas as pd
from pydantic import JsonValue
from torch import Tensor, nn

from tasks.inputs.interface import Source
from tasks.inputs.loading import Batch
from tasks.specs import TrialSpec


@dataclass(frozen=True)
class Cases:
    """Which cases a trial takes, and who they are.

    Attributes:
        spec: The trial.
        source: The cohort, its training rows and where the input goes.
        validation, test: Rows, int64.
        tested: The table of the test cases, in their order.
    """

    spec: TrialSpec
    source: Source
    validation: np.ndarray
    test: np.ndarray
    tested: pd.DataFrame

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

    def steps(self) -> Iterator[Batch]:
        """Yield the training batches."""
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
