"""One phase of a pretraining, from spec to files: ``run_phase``."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from pydantic import JsonValue
from torch import Tensor

from harness.checkpoints import load_state, write_atomically
from harness.contracts import Context, Outcome
from harness.errors import CheckpointError, DataError
from harness.identity import file_sha256
from harness.pixels import Pixels
from harness.seeding import seed as seed_of
from harness.spec import Status
from harness.typed import given
from methods.phases import ImageSpec, ImageViews, PhaseSpec, PretextConfiguration, PretextSpec, TermSpec
from methods.training.batches import first_batch_sha256
from methods.training.checkpoints import ENCODER, LAST, load_encoder, save_encoder
from methods.training.images import ImageTraining
from methods.training.loop import Training
from methods.training.measurements import Measurement, held_out_views, measure
from methods.training.objective import Objective


def run_phase(raw: Mapping[str, object], context: Context) -> Outcome:
    """Train one phase.

    A phase with a parent carries on from the parent's whole last state (backbone, heads, momentum encoder, queue,
    discriminator if it had one); optimiser and schedule are fresh, and so is every term the parent lacks. With
    ``start: best`` the backbone is the parent's best, the rest its last.

    Args:
        raw: ``methods.phases.ImageSpec``, dumped.
        context: See ``harness.contracts.Context``.

    Returns:
        Value ``validation_loss`` (lowest total), facts, and the curve. The folder holds ``encoder.safetensors`` (the
        backbone of the lowest total validation loss, encoder and decoder) and ``last.pt`` (the whole last state).
        ``diverged`` with the best so far if a loss was not finite.

    Raises:
        DataError: If the cohort has fewer training images than a batch.
        CheckpointError: If the parent's files are missing, damaged or of another network.
    """
    spec = ImageSpec.model_validate(raw)
    configuration = spec.configuration
    pixels = Pixels(Path(context.inputs[spec.cohort]))
    objective = Objective(configuration, seed_of(spec.seed, "init"))
    fresh = copy.deepcopy(objective)
    if spec.parent is not None:
        carry_on(objective, configuration, Path(context.inputs[spec.parent]))
    classes, validation = classes_of(pixels, configuration.views), pixels.rows("validation")
    training = ImageTraining(objective, spec, context, pixels.images, pixels.rows("train"), validation, classes)
    training.run()
    held_out = held_out_views(pixels.images, validation, seed_of(spec.seed, "measure"), configuration.views)
    learnt = [] if training.diverged else measure(objective, fresh, configuration, held_out)
    return leave(spec, context, objective, training, first_batch_sha256(training.order, training.augment_seed), learnt)


def leave(
    spec: PretextSpec,
    context: Context,
    objective: Objective,
    training: Training,
    first_batch: str,
    learnt: Sequence[Measurement],
) -> Outcome:
    """Write what a trained phase leaves and return its outcome; see ``run_phase``."""
    configuration = spec.configuration
    facts: dict[str, JsonValue] = {
        "phase": spec.phase,
        "steps": training.step,
        "images_seen": training.step * configuration.batch,
        "budget": configuration.budget.dump(),
        "parameters": sum(p.numel() for p in objective.backbone.parameters()),
        "initial_state_sha256": training.initial_state_sha256,
        "order_sha256": training.order.sha256(),
        "first_batch_sha256": first_batch,
        "measurements": [asdict(one) for one in learnt],
    }
    values: dict[str, float] = {}
    if training.best is not None:
        selected, backbone = training.best.step, training.best.backbone
        values["validation_loss"] = training.best.loss
    else:
        selected, backbone = training.step, objective.backbone.state_dict()
    if training.best is not None or not training.diverged:
        facts["selected_step"] = selected
        about = about_encoder(spec, selected)
        save_encoder(context.folder / ENCODER, backbone, about)
        facts["weights_sha256"] = file_sha256(context.folder / ENCODER)
    if training.diverged:
        return Outcome(
            values=values,
            facts=facts,
            curve=training.curve,
            status=Status.DIVERGED,
            message=f"the loss of phase {spec.phase} was not finite at step {training.step} of {training.steps}",
        )
    state = {name: value.detach().cpu() for name, value in objective.state_dict().items()}
    terms = [term.dump() for term in configuration.terms]
    write_atomically(
        context.folder / LAST,
        {"format": 1, "network": configuration.network.dump(), "terms": terms, "state": state},
    )
    return Outcome(values=values, facts=facts, curve=training.curve)


def about_encoder(spec: PhaseSpec, selected_step: int) -> dict[str, JsonValue]:
    """Return what a phase writes beside its encoder's weights."""
    network = spec.configuration.network.dump()
    return {"format": 1, "network": network, "phase": spec.phase, "selected_step": selected_step}


def classes_of(pixels: Pixels, views: ImageViews) -> np.ndarray | None:
    """Return the class of every row of a cohort as text ("" for none), or None where pairs are of one image.

    Raises:
        DataError: If the cohort's table has no such column.
    """
    if views.pairs == "same_image":
        return None
    column, cases = views.pair_class, pixels.cases
    if column not in cases:
        raise DataError(
            f'{pixels.folder / "cases.csv"} has columns {", ".join(cases.columns)}; expected "{column}" to pair images '
            "of a class; write it into the cohort, name another with options.pair_class, or take pairs: same_image"
        )
    classes = np.full(len(pixels.images), "", dtype=object)
    known = cases[column].notna()
    classes[cases.loc[known, "row"].to_numpy(dtype=np.int64)] = cases.loc[known, column].astype(str).to_numpy()
    return classes.astype(str)


def carry_on(objective: Objective, configuration: PretextConfiguration, parent: Path) -> None:
    """Load the parent's state into ``objective``: the backbone and every term that both have.

    Raises:
        CheckpointError: If the parent is of another network, or a shared term was configured differently.
    """
    saved = load_state(parent / LAST)
    if saved.get("network") != configuration.network.dump():
        raise CheckpointError(
            f"{parent / LAST} holds network {saved.get('network')}; expected {configuration.network.dump()}; "
            "rerun the phase before"
        )
    before, now = (
        {term.role: given(term.configuration, nulls=True) for term in terms}
        for terms in ([TermSpec.model_validate(term) for term in saved["terms"]], configuration.terms)
    )
    for role in before.keys() & now.keys():
        if before[role] != now[role]:
            raise CheckpointError(
                f"{parent / LAST} holds term {role} as {before[role]}; expected {now[role]}; rerun the phase before"
            )
    state = saved["state"]
    if configuration.start == "best":
        best, _ = load_encoder(parent / ENCODER)
        state = {**state, **{f"backbone.{name}": value for name, value in best.items()}}
    _load_shared(objective, state, before.keys() & now.keys(), parent / LAST)


def _load_shared(objective: Objective, state: Mapping[str, Tensor], roles: Collection[str], path: Path) -> None:
    """Load the backbone and the terms of some roles."""
    wanted = objective.state_dict()
    shared = {name: value for name, value in state.items() if name in wanted}
    missing = [
        name for name in wanted if name not in shared and (name.startswith("backbone.") or name.split(".")[1] in roles)
    ]
    if missing or any(shared[name].shape != wanted[name].shape for name in shared):
        raise CheckpointError(
            f"{path} lacks or reshapes {missing[:3] or 'tensors'}; expected the state of the same network; "
            "rerun the phase before"
        )
    objective.load_state_dict(shared, strict=False)
