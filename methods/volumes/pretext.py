"""One phase of a 3D pretraining, from spec to files: ``run_phase``. The loop is that of 2D (``methods.training``)."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from harness.contracts import Context, Outcome
from harness.errors import ConfigurationError
from harness.seeding import seed as seed_of
from methods.phases import CubeConfiguration, CubeSpec, CubeViews
from methods.pretext import carry_on, leave
from methods.terms.visual_words import VisualWords
from methods.training.loop import Training
from methods.training.measurements import IMAGES, HeldOut, measure
from methods.training.objective import Objective
from methods.training.processes import Processes
from methods.training.validation import Batched
from methods.volumes.cubes import Cubes, cube_batches, first_batch_sha256, make_cubes

DISCOVERY = "discovery"  # the phase whose cubes are learnt from
CUBES_AT_ONCE = 64  # measured in one pass; changes no number


def run_phase(raw: Mapping[str, object], context: Context) -> Outcome:
    """Train one phase on the cubes of a discovery (``harness.contracts.Work``).

    Args:
        raw: ``methods.phases.CubeSpec``, dumped. ``uses`` names the discovery whose folder holds the cubes. With
            ``start: fresh`` the parent (the discovery) hands over nothing else.
        context: See ``harness.contracts.Context``.

    Returns:
        As ``methods.pretext.run_phase``.

    Raises:
        DataError: If there are fewer training cubes than a batch.
        ConfigurationError: If the discovery's cubes are of another shape or number of words.
    """
    spec = CubeSpec.model_validate(raw)
    configuration = spec.configuration
    cubes = Cubes(Path(context.inputs[spec.uses[DISCOVERY]]))
    check(cubes, configuration)
    objective = Objective(configuration, seed_of(spec.seed, "init"))
    fresh = copy.deepcopy(objective)
    if configuration.start != "fresh":
        carry_on(objective, configuration, Path(context.inputs[spec.parent or ""]))
    # Cubes lie word by word; whatever part of the held-out ones is looked at must hold every word.
    shuffle = np.random.Generator(np.random.PCG64(seed_of(spec.seed, "held out")))
    validation = shuffle.permutation(cubes.rows("validation"))
    training = CubeTraining(objective, spec, context, cubes, cubes.rows("train"), validation)
    training.run()
    held_out = held_out_cubes(cubes, validation, seed_of(spec.seed, "measure"), configuration.views)
    learnt = [] if training.diverged else measure(objective, fresh, configuration, {"distorted": held_out})
    return leave(spec, context, objective, training, first_batch_sha256(training.order, training.augment_seed), learnt)


def held_out_cubes(cubes: Cubes, rows: np.ndarray, stream_seed: int, views: CubeViews) -> HeldOut:
    """Return distorted held-out cubes, the first ``IMAGES`` of ``rows``, in batches of 64 at most."""
    rows = rows[:IMAGES]

    def made() -> Iterator[tuple[Tensor, ...]]:
        for start in range(0, len(rows), CUBES_AT_ONCE):
            part = rows[start : start + CUBES_AT_ONCE]
            query, target, words = make_cubes(cubes.volumes, cubes.words, part, stream_seed, 0, views)
            yield query, query, target, words

    return HeldOut(made, len(rows), min(CUBES_AT_ONCE, len(rows)))


def check(cubes: Cubes, configuration: CubeConfiguration) -> None:
    """Refuse cubes that do not fit the phase.

    Raises:
        ConfigurationError: If shape or number of words differ.
    """
    shape, wanted = list(cubes.volumes.shape[1:]), list(configuration.views.cube)
    if shape != wanted:
        raise ConfigurationError(f"{cubes.folder} holds cubes of {shape}; expected {wanted}; run the discovery again")
    for planned in configuration.terms:
        term = planned.configuration.term()
        if isinstance(term, VisualWords) and term.words != cubes.words.max() + 1:
            raise ConfigurationError(
                f"{cubes.folder} holds {cubes.words.max() + 1} words; expected {term.words}; run the discovery again"
            )


class CubeTraining(Training):
    """``Training`` on distorted cubes."""

    def __init__(
        self,
        objective: Objective,
        spec: CubeSpec,
        context: Context,
        cubes: Cubes,
        rows: np.ndarray,
        validation_rows: np.ndarray,
    ) -> None:
        self._cubes, self._distorted = cubes, spec.configuration.views
        super().__init__(objective, spec, context, rows, validation_rows)

    def _held_out(self, rows: np.ndarray) -> Batched:
        return CubeValidation(
            self._cubes,
            rows,
            self._configuration.batch,
            self.streams.validation,
            self._distorted,
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
            self._distorted,
            self._device,
            self._context.workers,
            self._processes,
        )


class CubeValidation(Batched):
    """Losses on held-out cubes, distorted once."""

    def __init__(
        self,
        cubes: Cubes,
        rows: np.ndarray,
        batch: int,
        stream_seed: int,
        views: CubeViews,
        device: torch.device,
        processes: Processes,
    ) -> None:
        super().__init__(rows, batch, device, processes)
        self._cubes, self._seed, self._views = cubes, stream_seed, views

    def _made(self, part: np.ndarray) -> tuple[Tensor, ...]:
        made = make_cubes(self._cubes.volumes, self._cubes.words, part, self._seed, 0, self._views)
        query, target, words = (value.to(self._device) for value in made)
        return query, query, target, words
