"""The loop: one step, however many terms; validation, selection, checkpoints and resuming around it."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.contracts import Context
from harness.errors import CheckpointError
from harness.identity import digest
from harness.seeding import seed as seed_of
from methods.terms.bound import BoundTerm
from methods.training.batches import Order, as_views, batches
from methods.training.checkpoints import CHECKPOINT, load_state, state_sha256, write_atomically
from methods.training.objective import Objective
from methods.training.optimisers import build_optimiser, rate_factor, set_rates
from methods.training.pairs import Pairs
from methods.training.validation import Validation

CHECKPOINT_SECONDS = 60.0  # between two checkpoints; changes no number
CURVE_ROWS = 100
CHECK_EVERY = 10  # steps between two looks at the loss on a GPU: each look waits for the device

PRECISIONS: dict[str, torch.dtype | None] = {"float32": None, "bf16": torch.bfloat16}


class Training:
    """A phase being trained: everything its next step depends on, and how to take it.

    Attributes:
        objective: Backbone and terms, on the device.
        step: Steps taken.
        steps: Steps to take.
        best: ``{"step", "loss", "backbone"}`` of the lowest total validation loss so far, or None. Under
            ``selection: last`` that of the newest validation.
        curve: Rows for ``curve.jsonl``.
        diverged: Whether a loss was not finite; training stops then.
    """

    def __init__(
        self,
        objective: Objective,
        spec: Mapping[str, Any],
        context: Context,
        images: np.ndarray,
        rows: np.ndarray,
        validation_rows: np.ndarray,
        classes: np.ndarray | None = None,
    ) -> None:
        configuration = spec["configuration"]
        self.objective = objective
        self._configuration, self._context, self._images = configuration, context, images
        self._spec_digest = digest(dict(spec))
        self._device = torch.device(context.device)
        self._precision = PRECISIONS[configuration["precision"]]
        self._channels_last = self._device.type == "cuda" or self._precision is not None
        self._seeds = {name: seed_of(spec["seed"], name) for name in ("order", "augment", "validation", "step")}
        self.initial_state_sha256 = state_sha256(objective.state_dict())
        layout = torch.channels_last if self._channels_last else torch.contiguous_format
        objective.to(self._device, memory_format=layout)
        objective.train()

        self.order = Order(rows, configuration["batch"], self._seeds["order"])
        budget, every = configuration["budget"], configuration["validation"]
        per_epoch = self.order.steps_per_epoch
        self.steps = budget["count"] * (per_epoch if budget["unit"] == "epochs" else 1)
        self._interval = every["every"] * (per_epoch if every["unit"] == "epochs" else 1)
        self._row_every = math.ceil(math.ceil(self.steps / self._interval) / CURVE_ROWS)
        held_out = validation_rows[: every["images"]]
        self._validation = Validation(
            images,
            held_out,
            configuration["batch"],
            self._seeds["validation"],
            configuration["views"],
            self._device,
            Pairs(held_out, classes),
        )
        self._pairs = Pairs(rows, classes)
        self._optimiser = build_optimiser(
            objective.own_parameters(), configuration["optimiser"], objective.constant_rate_parameters()
        )
        self._opponents: list[tuple[BoundTerm, torch.optim.Optimizer]] = [
            (term, build_optimiser(term.opponent_parameters(), term.opponent_optimiser()))
            for term in objective.bound_terms()
            if term.opponent_parameters()
        ]
        self.step = 0
        self.best: dict[str, Any] | None = None
        self.curve: list[dict[str, Any]] = []
        self.diverged = False
        self._running: dict[str, Tensor] = {}
        self._summed = 0

    @property
    def augment_seed(self) -> int:
        """Seed of the training views."""
        return self._seeds["augment"]

    def run(self) -> None:
        """Resume if there is a checkpoint, and train to the end or until a loss is not finite."""
        self._resume()
        saved = time.monotonic()
        todo = batches(
            self._images,
            self.order,
            self.step,
            self.steps,
            self.augment_seed,
            self._configuration["views"],
            self._device,
            self._context.workers,
            self._pairs,
        )
        for made in todo:
            self._take_step(made)
            self.step += 1
            at_interval = self.step % self._interval == 0 or self.step == self.steps
            if self._device.type == "cpu" or self.step % CHECK_EVERY == 0 or at_interval:
                self.diverged = not math.isfinite(float(self._running["total"]))
                if self.diverged:
                    return
            if at_interval:
                self._validate()
            if time.monotonic() - saved >= CHECKPOINT_SECONDS and self.step < self.steps:
                self._save()
                saved = time.monotonic()
            self._context.report(self.step, self.steps, "pretraining")

    def _take_step(self, made: tuple[Tensor, Tensor, Tensor]) -> None:
        """Step backbone and heads on Σ weight × loss, then the opponents on the same images, then what follows."""
        factor = rate_factor(self._configuration["schedule"], self.step, self.steps, self.order.steps_per_epoch)
        set_rates(self._optimiser, factor)
        views = as_views(self.objective, made, seed_of(self._seeds["step"], self.step), self._channels_last)
        with self._autocast():
            total, losses, shared = self.objective(views)
        self._optimiser.zero_grad(set_to_none=True)
        total.backward()
        self._optimiser.step()
        for term, optimiser in self._opponents:
            with self._autocast():
                loss = term.opponent_loss(views, shared)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            losses["opponent"] = loss
        self.objective.after_step()
        for name, value in {**losses, "total": total}.items():
            value = value.detach().float()
            self._running[name] = self._running[name] + value if name in self._running else value
        self._summed += 1

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self._device.type, self._precision or torch.bfloat16, enabled=self._precision is not None)

    def _validate(self) -> None:
        """Measure, remember the best backbone, and write a row of the curve (at most ``CURVE_ROWS`` in all)."""
        found = self._validation.losses(self.objective, self._precision, self._channels_last)
        loss = found.get("total", math.inf)
        newest = self._configuration["selection"] == "last"
        if math.isfinite(loss) and (newest or self.best is None or loss < self.best["loss"]):
            backbone = {
                name: value.detach().cpu().clone() for name, value in self.objective.backbone.state_dict().items()
            }
            self.best = {"step": self.step, "loss": loss, "backbone": backbone}
        if (self.step // self._interval) % self._row_every and self.step < self.steps:
            return
        row: dict[str, Any] = {
            "step": self.step,
            "images_seen": self.step * self._configuration["batch"],
            "learning_rate": self._optimiser.param_groups[0]["lr"],
        }
        row.update({f"train_{name}": float(value) / self._summed for name, value in self._running.items()})
        row.update({f"validation_{name}": value for name, value in found.items()})
        self.curve.append(row)
        self._running, self._summed = {}, 0

    def _checkpoint(self) -> Path:
        return self._context.resume / CHECKPOINT

    def _save(self) -> None:
        state = {
            "spec": self._spec_digest,
            "step": self.step,
            "objective": self.objective.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self._optimisers()],
            "best": self.best,
            "curve": self.curve,
            "running": self._running,
            "summed": self._summed,
        }
        self._context.resume.mkdir(parents=True, exist_ok=True)
        write_atomically(self._checkpoint(), state)

    def _optimisers(self) -> list[torch.optim.Optimizer]:
        return [self._optimiser, *(optimiser for _, optimiser in self._opponents)]

    def _resume(self) -> None:
        """Carry on from a checkpoint of this very spec; a damaged or foreign one is left aside and training restarts.

        Nothing else needs restoring: every random number is a function of (seed, step) or (seed, epoch, image).
        """
        if not self._checkpoint().is_file():
            return
        try:
            state = load_state(self._checkpoint())
        except CheckpointError:
            return
        if state.get("spec") != self._spec_digest:
            return
        self.objective.load_state_dict(state["objective"])
        for optimiser, saved in zip(self._optimisers(), state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        self.step, self.best, self.curve = state["step"], state["best"], state["curve"]
        self._running = {name: value.to(self._device) for name, value in state["running"].items()}
        self._summed = state["summed"]
