"""One phase of a 3D pretraining, from spec to files: ``run_phase``. The loop is that of 2D (``methods.training``)."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.contracts import Context, Outcome
from harness.errors import ConfigurationError
from harness.seeding import seed as seed_of
from methods.pretext import carry_on, leave
from methods.training.loop import Training
from methods.training.measurements import IMAGES, HeldOut, measure
from methods.training.objective import Objective
from methods.training.pairs import Pairs
from methods.training.processes import Processes
from methods.training.validation import Validation
from methods.volumes.cubes import Cubes, cube_batches, first_batch_sha256, make_cubes

CUBES_AT_ONCE = 64  # measured in one pass; changes no number


def run_phase(spec: Mapping[str, Any], context: Context) -> Outcome:
    """Train one phase on the cubes of a discovery (``harness.contracts.Work``).

    Args:
        spec: As ``methods.pretext.run_phase`` has it, with ``uses``: ``discovery`` → id of the discovery, whose folder
            holds the cubes. With ``start: fresh`` the parent (the discovery) hands over nothing else.
        context: See ``harness.contracts.Context``.

    Returns:
        As ``methods.pretext.run_phase``.

    Raises:
        DataError: If there are fewer training cubes than a batch.
        ConfigurationError: If the discovery's cubes are of another shape or number of words.
    """
    configuration = spec["configuration"]
    cubes = Cubes(Path(context.inputs[spec["uses"]["discovery"]]))
    check(cubes, configuration)
    objective = Objective(configuration, seed_of(spec["seed"], "init"))
    fresh = copy.deepcopy(objective)
    if configuration["start"] != "fresh":
        carry_on(objective, configuration, Path(context.inputs[spec["parent"]]))
    # Cubes lie word by word; whatever part of the held-out ones is looked at must hold every word.
    shuffle = np.random.Generator(np.random.PCG64(seed_of(spec["seed"], "held out")))
    validation = shuffle.permutation(cubes.rows("validation"))
    training = CubeTraining(objective, spec, context, cubes, cubes.rows("train"), validation)
    training.run()
    held_out = held_out_cubes(cubes, validation, seed_of(spec["seed"], "measure"), configuration["views"])
    learnt = [] if training.diverged else measure(objective, fresh, configuration, {"distorted": held_out})
    return leave(spec, context, objective, training, first_batch_sha256(training.order, training.augment_seed), learnt)


def held_out_cubes(cubes: Cubes, rows: np.ndarray, stream_seed: int, views: Mapping[str, Any]) -> HeldOut:
    """Return distorted held-out cubes, the first ``IMAGES`` of ``rows``, in batches of 64 at most."""
    rows = rows[:IMAGES]

    def made() -> Iterator[tuple[Tensor, ...]]:
        for start in range(0, len(rows), CUBES_AT_ONCE):
            part = rows[start : start + CUBES_AT_ONCE]
            query, target, words = make_cubes(cubes.volumes, cubes.words, part, stream_seed, 0, views)
            yield query, query, target, words

    return HeldOut(made, len(rows), min(CUBES_AT_ONCE, len(rows)))


def check(cubes: Cubes, configuration: Mapping[str, Any]) -> None:
    """Refuse cubes that do not fit the phase.

    Raises:
        ConfigurationError: If shape or number of words differ.
    """
    shape, wanted = list(cubes.volumes.shape[1:]), list(configuration["views"]["cube"])
    if shape != wanted:
        raise ConfigurationError(f"{cubes.folder} holds cubes of {shape}; expected {wanted}; run the discovery again")
    for term in configuration["terms"]:
        words = term["configuration"].get("words")
        if words is not None and words != cubes.words.max() + 1:
            raise ConfigurationError(
                f"{cubes.folder} holds {cubes.words.max() + 1} words; expected {words}; run the discovery again"
            )


class CubeTraining(Training):
    """``Training`` on distorted cubes instead of views of images."""

    def __init__(
        self,
        objective: Objective,
        spec: Mapping[str, Any],
        context: Context,
        cubes: Cubes,
        rows: np.ndarray,
        validation_rows: np.ndarray,
    ) -> None:
        self._cubes = cubes
        super().__init__(objective, spec, context, cubes.volumes, rows, validation_rows)

    def _held_out(self, rows: np.ndarray, classes: np.ndarray | None) -> Validation:
        return CubeValidation(
            self._cubes,
            rows,
            self._configuration["batch"],
            self._seeds["validation"],
            self._configuration["views"],
            self._device,
            self._processes,
        )

    def _batches(self) -> Iterator[tuple[Tensor, ...]]:
        return cube_batches(
            self._cubes,
            self.order,
            self.step,
            self.steps,
            self.augment_seed,
            self._configuration["views"],
            self._device,
            self._context.workers,
            self._processes,
        )


class CubeValidation(Validation):
    """``Validation`` on held-out cubes, distorted once."""

    def __init__(
        self,
        cubes: Cubes,
        rows: np.ndarray,
        batch: int,
        stream_seed: int,
        views: Mapping[str, Any],
        device: torch.device,
        processes: Processes,
    ) -> None:
        super().__init__(cubes.volumes, rows, batch, stream_seed, views, device, Pairs(rows), processes)
        self._words = cubes.words

    def _batches(self) -> Iterator[tuple[Tensor, ...]]:
        if self._kept:
            yield from self._kept
            return
        for whole in self._parts:
            part = self._processes.part(whole)
            made = make_cubes(self._images, self._words, part, self._seed, 0, self._views)
            query, target, words = (value.to(self._device) for value in made)
            if self._keeps:
                self._kept.append((query, query, target, words))
            yield query, query, target, words
