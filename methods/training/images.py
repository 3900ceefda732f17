"""Training on views of 2D images."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch import Tensor

from harness.contracts import Context
from methods.phases import ImageSpec
from methods.training.batches import batches
from methods.training.loop import Training
from methods.training.objective import Objective
from methods.training.pairs import Pairs
from methods.training.validation import Validation


class ImageTraining(Training):
    """``Training`` on pairs of views of a cohort's images."""

    def __init__(
        self,
        objective: Objective,
        spec: ImageSpec,
        context: Context,
        images: np.ndarray,
        rows: np.ndarray,
        validation_rows: np.ndarray,
        classes: np.ndarray | None = None,
    ) -> None:
        """Prepare the first step.

        Args:
            objective: Backbone and terms.
            spec: Of the phase.
            context: See ``harness.contracts.Context``.
            images: The cohort, uint8 ``(N, S, S)``.
            rows: Those trained on.
            validation_rows: Those validated on.
            classes: Class of every row as text, where pairs are of a class.
        """
        self._images, self._pictured, self._classes = images, spec.configuration.views, classes
        self._pairs = Pairs(rows, classes)
        super().__init__(objective, spec, context, rows, validation_rows)

    def _held_out(self, rows: np.ndarray) -> Validation:
        return Validation(
            self._images,
            rows,
            self._configuration.batch,
            self.streams.validation,
            self._pictured,
            self._device,
            Pairs(rows, self._classes),
            self._processes,
        )

    def _batches(self) -> Iterator[tuple[Tensor, ...]]:
        return batches(
            self._images,
            self.order,
            self.step,
            self.steps,
            self.augment_seed,
            self._pictured,
            self._device,
            self._context.workers,
            self._pairs,
            self._processes,
        )
