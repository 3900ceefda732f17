"""Fine-tuning: steps, a schedule, evaluation on validation, the best weights kept in memory. Knows no task.

Its whole state can be written at a step boundary, and the steps that follow give the same bits as without a pause.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypedDict

import torch
from torch import Tensor, nn

from harness.half_precision import refuse_unsound_gradients
from harness.plateau import Counting, Plateau, patience_is_out
from tasks.inputs.loading import Batch
from tasks.options import Cosine, Optimiser, Training, VolumePlateau
from tasks.options import Plateau as ImagePlateau
from tasks.options import Schedule as ScheduleOptions
from tasks.scoring.evaluation import precisely

CHECK_EVERY = 10  # steps between two looks at the loss on a GPU


class Evaluated(TypedDict):
    """One evaluation, as it stands in ``curve.jsonl``.

    Keys:
        step: Optimiser steps so far.
        training_loss: Mean since the last evaluation.
        validation_loss, validation_metric: None where they are no number.
        learning_rate: In force.
    """

    step: int
    training_loss: float
    validation_loss: float | None
    validation_metric: float | None
    learning_rate: float


@dataclass
class Fit:
    """How a fine-tuning went.

    Attributes:
        selected: Steps taken when the kept weights were reached; None if none were evaluated.
        steps: Steps taken in all.
        diverged: A loss was not finite.
        stopped_early: Patience ran out.
        curve: Every evaluation.
    """

    selected: int | None = None
    steps: int = 0
    diverged: bool = False
    stopped_early: bool = False
    curve: list[Evaluated] = field(default_factory=list)


def make_optimiser(model: nn.Module, options: Optimiser) -> torch.optim.Optimizer:
    """Build the optimiser over every parameter, encoder and head at one learning rate."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    if options.name == "adam":
        return torch.optim.Adam(
            parameters, lr=options.learning_rate, betas=options.betas, weight_decay=options.weight_decay, fused=True
        )
    return torch.optim.SGD(parameters, lr=options.learning_rate, momentum=0.9, weight_decay=options.weight_decay)


class Schedule:
    """The learning rate: per step, per epoch, or by the validation loss."""

    def __init__(
        self,
        optimiser: torch.optim.Optimizer,
        options: ScheduleOptions,
        lr: float,
        length: int,
        counting: Counting = "torch",
    ) -> None:
        self.optimiser, self.lr, self.length = optimiser, lr, length
        self.cosine_per = options.per if isinstance(options, Cosine) else None
        self.plateau = None
        if isinstance(options, ImagePlateau | VolumePlateau):
            self.plateau = Plateau(lr, options.rule(counting))

    @property
    def current(self) -> float:
        """The learning rate in force."""
        return float(self.optimiser.param_groups[0]["lr"])

    def after_step(self, step: int) -> None:
        """Move a cosine per step on; ``step`` counts from 1."""
        if self.cosine_per == "step":
            self._cosine(step)

    def after_epoch(self, epoch: int) -> None:
        """Move a cosine per epoch on; ``epoch`` counts from 1."""
        if self.cosine_per == "epoch":
            self._cosine(epoch - 1)  # as the authors' loop has it, the first two epochs run at the full rate

    def after_evaluation(self, validation_loss: float) -> None:
        """Let a plateau schedule look at the loss."""
        if self.plateau is not None:
            self._set(self.plateau.factor_after(validation_loss))

    def _cosine(self, done: int) -> None:
        self._set(0.5 * (1.0 + math.cos(math.pi * min(done, self.length) / self.length)))

    def _set(self, factor: float) -> None:
        for group in self.optimiser.param_groups:
            group["lr"] = self.lr * factor


class Selection:
    """Watches the evaluations: keeps the best weights, and says when patience is out."""

    def __init__(self, model: nn.Module, options: Training) -> None:
        self.model, self.by_metric = model, options.selection == "highest_validation_metric"
        self.patience, self.counting = options.early_stopping, options.patience_counting
        self.best: float | None = None
        self.best_loss, self.waited = math.inf, 0
        self.kept: dict[str, Tensor] = {}

    def is_best(self, loss: float, metric: float) -> bool:
        """Look at one evaluation; the weights of the best one so far are kept."""
        score = metric if self.by_metric else -loss
        best = not math.isnan(score) and (self.best is None or score > self.best)
        if best:
            self.best = score
            self.kept = {name: value.detach().clone() for name, value in self.model.state_dict().items()}
        self.waited = 0 if loss < self.best_loss else self.waited + 1
        self.best_loss = min(self.best_loss, loss)
        return best

    @property
    def is_out(self) -> bool:
        """Whether the patience of early stopping is out."""
        return self.patience is not None and patience_is_out(self.waited, self.patience, self.counting)

    def restore(self) -> None:
        """Put the best weights back, if any were kept."""
        if self.kept:
            self.model.load_state_dict(self.kept)

    def state(self) -> dict[str, object]:
        """Return what ``load`` takes."""
        return {name: getattr(self, name) for name in ("best", "best_loss", "waited", "kept")}

    def load(self, state: Mapping[str, Any]) -> None:
        """Carry on from a state."""
        self.best, self.best_loss = state["best"], state["best_loss"]
        self.waited, self.kept = state["waited"], state["kept"]


class FineTuning:
    """A model being fine-tuned: everything its next step depends on, and how to take it.

    Attributes:
        model: Trained in place; left with its best weights.
        result: How it goes.
        ended: Whether the training is over; the model then has its best weights.
    """

    def __init__(self, model: nn.Module, options: Training, per_epoch: int) -> None:
        """Start at step 0.

        Args:
            model: Trained in place.
            options: The resolved transfer.
            per_epoch: Steps an epoch, for a length in epochs.
        """
        self.model, self.result, self.ended = model, Fit(), False
        self._per_epoch, self._every = per_epoch, options.validation_every or per_epoch
        self._precision = options.precision
        self._total = options.steps if options.steps is not None else (options.epochs or 0) * per_epoch
        self._optimiser = make_optimiser(model, options.optimiser)
        length = options.epochs if options.epochs is not None else self._total
        rate, counting = options.optimiser.learning_rate, options.patience_counting
        self._schedule = Schedule(self._optimiser, options.schedule, rate, length, counting)
        self._selection = Selection(model, options)
        self._running: list[Tensor] = []  # losses since the last evaluation
        self._unevaluated = False  # an evaluation has begun and not ended
        self._device = next(model.parameters()).device
        self._scaler = torch.amp.GradScaler(self._device.type, enabled=options.precision == "fp16")
        if options.precision == "bf16":
            refuse_unsound_gradients(model)

    def run(
        self,
        batches: Iterator[Batch],
        loss_of: Callable[[Batch], Tensor],
        evaluate: Callable[[], tuple[float, float]],
        report: Callable[[int, int, str], None],
        after_step: Callable[[], None] = lambda: None,
    ) -> Fit:
        """Take the steps that are left, and leave the best weights in the model.

        A loss that is not finite ends the training; the best weights so far are restored, if there are any.

        Args:
            batches: Each one step, from the next one on.
            loss_of: Batch → scalar loss, with gradient.
            evaluate: () → (validation loss, validation metric), the model in evaluation mode.
            report: Progress.
            after_step: Called at each step boundary but the last.
        """
        result = self.result
        if not self.ended:
            self.model.train()
            if not self._unevaluated or self._evaluated(evaluate):
                self._take_steps(batches, loss_of, evaluate, report, after_step)
            self._selection.restore()
            self.ended = True
        self.model.eval()
        return result

    def _take_steps(
        self,
        batches: Iterator[Batch],
        loss_of: Callable[[Batch], Tensor],
        evaluate: Callable[[], tuple[float, float]],
        report: Callable[[int, int, str], None],
        after_step: Callable[[], None],
    ) -> None:
        result = self.result
        for batch in batches:
            if not self._step(batch, loss_of):
                return
            report(result.steps, self._total, "fine-tuning")
            due = result.steps % self._every == 0 or result.steps == self._total
            if due and not self._evaluated(evaluate):
                return
            if result.steps < self._total:
                after_step()

    def _step(self, batch: Batch, loss_of: Callable[[Batch], Tensor]) -> bool:
        """Take a step; returns whether the loss was finite."""
        result, schedule = self.result, self._schedule
        with precisely(self._precision, self._device.type):
            loss = loss_of(batch)
        if self._looks(result.steps + 1) and not torch.isfinite(self._summed(loss)):
            result.diverged = True
            return False
        self._optimiser.zero_grad(set_to_none=True)
        self._scaler.scale(loss).backward()
        self._scaler.step(self._optimiser)  # under fp16 a step whose gradients overflowed is skipped, the scale reduced
        self._scaler.update()
        result.steps += 1
        self._running.append(loss.detach())
        schedule.after_step(result.steps)
        if result.steps % self._per_epoch == 0:
            schedule.after_epoch(result.steps // self._per_epoch)
        return True

    def _looks(self, step: int) -> bool:
        """Say whether the loss is looked at: on a GPU each look waits for it, so every tenth and before evaluations."""
        due = step % self._every == 0 or step == self._total
        return self._device.type == "cpu" or step % CHECK_EVERY == 0 or due

    def _summed(self, loss: Tensor) -> Tensor:
        """Return what is looked at: a loss, or on a GPU the sum of those that were not yet."""
        if self._device.type == "cpu":
            return loss.detach()
        return torch.stack([*self._running[-CHECK_EVERY:], loss.detach()]).sum()

    def _evaluated(self, evaluate: Callable[[], tuple[float, float]]) -> bool:
        """Evaluate on validation and take note of it; returns whether the training goes on."""
        result, schedule, selection = self.result, self._schedule, self._selection
        self._unevaluated = True
        self.model.eval()
        loss, metric = evaluate()
        self.model.train()
        self._unevaluated = False
        result.curve.append(
            {
                "step": result.steps,
                "training_loss": float(torch.stack(self._running).mean()),
                "validation_loss": loss if math.isfinite(loss) else None,
                "validation_metric": None if math.isnan(metric) else metric,
                "learning_rate": schedule.current,
            }
        )
        self._running.clear()
        if not math.isfinite(loss):
            result.diverged = True
            return False
        if selection.is_best(loss, metric):
            result.selected = result.steps
        schedule.after_evaluation(loss)
        result.stopped_early = selection.is_out
        return not result.stopped_early

    def state(self) -> dict[str, object]:
        """Return what ``load`` takes, at a step boundary or within an evaluation, which is then begun anew.

        Once the training has ended, the best weights and how it went are enough.
        """
        state: dict[str, object] = {"ended": self.ended, "model": self.model.state_dict(), "result": vars(self.result)}
        if not self.ended:
            state["optimiser"] = self._optimiser.state_dict()
            state["plateau"] = None if self._schedule.plateau is None else self._schedule.plateau.state()
            state["selection"] = self._selection.state()
            state["scaler"] = self._scaler.state_dict()
            state["unevaluated"] = self._unevaluated
            state["running"] = torch.stack(self._running) if self._running else None
        return state

    def load(self, state: Mapping[str, Any]) -> None:
        """Carry on from a state.

        Nothing else needs restoring: every random number is a function of (seed, epoch, sample).
        """
        self.ended, self.result = state["ended"], Fit(**state["result"])
        self.model.load_state_dict(state["model"])
        if self.ended:
            return
        self._optimiser.load_state_dict(state["optimiser"])
        if self._schedule.plateau is not None:
            self._schedule.plateau.load(state["plateau"])
        self._scaler.load_state_dict(state.get("scaler", {}))  # a checkpoint from before there was one has none
        self._selection.load(state["selection"])
        self._unevaluated, running = state["unevaluated"], state["running"]
        self._running = [] if running is None else list(running.to(self._device).unbind())
