"""Fine-tuning: steps, a schedule, evaluation on validation, the best weights kept in memory. Knows no task."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypedDict

import torch
from torch import Tensor, nn

from harness.half_precision import refuse_unsound_gradients
from harness.plateau import Counting, Plateau, patience_is_out
from tasks.inputs.loading import Batch
from tasks.options import Cosine, Optimiser, Training, VolumePlateau
from tasks.options import Plateau as ImagePlateau
from tasks.options import Schedule as ScheduleOptions


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


def fit(
    model: nn.Module,
    batches: Iterator[Batch],
    loss_of: Callable[[Batch], Tensor],
    evaluate: Callable[[], tuple[float, float]],
    options: Training,
    per_epoch: int,
    report: Callable[[int, int, str], None],
) -> Fit:
    """Fine-tune in place and leave the best weights in the model.

    A loss that is not finite ends the training; the best weights so far are restored, if there are any.

    Args:
        model: Trained in place.
        batches: Each one step.
        loss_of: Batch → scalar loss, with gradient.
        evaluate: () → (validation loss, validation metric), the model in evaluation mode.
        options: The resolved transfer.
        per_epoch: Steps an epoch, for a length in epochs.
        report: Progress.
    """
    optimiser, schedule, total = _prepared(model, options, per_epoch)
    every, half = options.validation_every or per_epoch, options.precision == "bf16"
    result, selection, running = Fit(), Selection(model, options), list[Tensor]()
    device = next(model.parameters()).device.type
    if half:
        refuse_unsound_gradients(model)
    model.train()
    for batch in batches:
        with torch.autocast(device, torch.bfloat16, enabled=half):
            loss = loss_of(batch)
        if not torch.isfinite(loss):
            result.diverged = True
            break
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        result.steps += 1
        running.append(loss.detach())
        report(result.steps, total, "fine-tuning")
        schedule.after_step(result.steps)
        if result.steps % per_epoch == 0:
            schedule.after_epoch(result.steps // per_epoch)
        due = result.steps % every == 0 or result.steps == total
        if due and not _evaluated(result, evaluate, model, running, schedule, selection):
            break
    selection.restore()
    model.eval()
    return result


def _prepared(model: nn.Module, options: Training, per_epoch: int) -> tuple[torch.optim.Optimizer, Schedule, int]:
    """Return optimiser and schedule, and how many steps there are in all."""
    optimiser = make_optimiser(model, options.optimiser)
    total = options.steps if options.steps is not None else (options.epochs or 0) * per_epoch
    length = options.epochs if options.epochs is not None else total
    rate, counting = options.optimiser.learning_rate, options.patience_counting
    return optimiser, Schedule(optimiser, options.schedule, rate, length, counting), total


def _evaluated(
    result: Fit,
    evaluate: Callable[[], tuple[float, float]],
    model: nn.Module,
    running: list[Tensor],
    schedule: Schedule,
    selection: Selection,
) -> bool:
    """Evaluate on validation and take note of it; returns whether the training goes on."""
    model.eval()
    loss, metric = evaluate()
    model.train()
    result.curve.append(
        {
            "step": result.steps,
            "training_loss": float(torch.stack(running).mean()),
            "validation_loss": loss if math.isfinite(loss) else None,
            "validation_metric": None if math.isnan(metric) else metric,
            "learning_rate": schedule.current,
        }
    )
    running.clear()
    if not math.isfinite(loss):
        result.diverged = True
        return False
    if selection.is_best(loss, metric):
        result.selected = result.steps
    schedule.after_evaluation(loss)
    result.stopped_early = selection.is_out
    return not result.stopped_early
