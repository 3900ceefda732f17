"""Fine-tuning: steps, a schedule, evaluation on validation, the best weights kept in memory. Knows no task."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from harness.half_precision import refuse_unsound_gradients
from harness.plateau import Counting, Plateau, PlateauRule, patience_is_out
from tasks.inputs.loading import Batch


@dataclass
class Fit:
    """How a fine-tuning went.

    Attributes:
        selected: Steps taken when the kept weights were reached; None if none were evaluated.
        steps: Steps taken in all.
        diverged: A loss was not finite.
        stopped_early: Patience ran out.
        curve: One object per evaluation: step, training_loss (mean since the last), validation_loss,
            validation_metric, learning_rate.
    """

    selected: int | None = None
    steps: int = 0
    diverged: bool = False
    stopped_early: bool = False
    curve: list[dict[str, Any]] = field(default_factory=list)


def make_optimiser(model: nn.Module, options: Mapping[str, Any]) -> torch.optim.Optimizer:
    """Build the optimiser over every parameter, encoder and head at one learning rate."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    if options["name"] == "adam":
        return torch.optim.Adam(
            parameters,
            lr=options["lr"],
            betas=tuple(options["betas"]),
            weight_decay=options["weight_decay"],
            fused=True,
        )
    return torch.optim.SGD(parameters, lr=options["lr"], momentum=0.9, weight_decay=options["weight_decay"])


class Schedule:
    """The learning rate: per step, per epoch, or by the validation loss."""

    def __init__(
        self,
        optimiser: torch.optim.Optimizer,
        options: Mapping[str, Any],
        lr: float,
        length: int,
        counting: Counting = "torch",
    ) -> None:
        self.optimiser, self.options, self.lr, self.length = optimiser, options, lr, length
        self.plateau = None
        if options["name"] == "plateau":
            # Where PyTorch's own counting is the source's (2D), the share that a loss must fall has PyTorch's name.
            least = options["min_delta"] if "min_delta" in options else options["threshold"]
            self.plateau = Plateau(lr, PlateauRule.of({**options, "min_delta": least, "counting": counting}))

    @property
    def current(self) -> float:
        """The learning rate in force."""
        return float(self.optimiser.param_groups[0]["lr"])

    def after_step(self, step: int) -> None:
        """Move a cosine over steps on; ``step`` counts from 1."""
        if self.options["name"] == "cosine" and self.options["over"] == "steps":
            self._cosine(step)

    def after_epoch(self, epoch: int) -> None:
        """Move a cosine over epochs on; ``epoch`` counts from 1."""
        if self.options["name"] == "cosine" and self.options["over"] == "epochs":
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


def fit(
    model: nn.Module,
    batches: Iterator[Batch],
    loss_of: Callable[[Batch], Tensor],
    evaluate: Callable[[], tuple[float, float]],
    options: Mapping[str, Any],
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
    optimiser = make_optimiser(model, options["optimiser"])
    length = options["epochs"] if options["epochs"] is not None else options["steps"]
    counting: Counting = options.get("counting", "torch")  # in 2D the benchmark's own loop counts as PyTorch does
    schedule = Schedule(optimiser, options["schedule"], options["optimiser"]["lr"], length, counting)
    total = options["steps"] if options["steps"] is not None else options["epochs"] * per_epoch
    every = options["evaluate_every"] or per_epoch
    by_metric = options["selection"] == "validation_metric"
    autocast = options["precision"] == "bfloat16"
    result, best, best_loss, waited = Fit(), None, math.inf, 0
    kept: dict[str, Tensor] = {}
    running: list[Tensor] = []
    device = next(model.parameters()).device.type
    if autocast:
        refuse_unsound_gradients(model)
    model.train()
    for batch in batches:
        with torch.autocast(device, torch.bfloat16, enabled=autocast):
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
        if result.steps % every and result.steps != total:
            continue
        model.eval()
        validation_loss, metric = evaluate()
        model.train()
        result.curve.append(
            {
                "step": result.steps,
                "training_loss": float(torch.stack(running).mean()),
                "validation_loss": validation_loss,
                "validation_metric": None if math.isnan(metric) else metric,
                "learning_rate": schedule.current,
            }
        )
        running.clear()
        if not math.isfinite(validation_loss):
            result.curve[-1]["validation_loss"] = None
            result.diverged = True
            break
        score = metric if by_metric else -validation_loss
        if not math.isnan(score) and (best is None or score > best):
            best = score
            result.selected = result.steps
            kept = {name: value.detach().clone() for name, value in model.state_dict().items()}
        waited = 0 if validation_loss < best_loss else waited + 1
        best_loss = min(best_loss, validation_loss)
        schedule.after_evaluation(validation_loss)
        patience = options["early_stopping"]
        if patience is not None and patience_is_out(waited, patience, counting):
            result.stopped_early = True
            break
    if kept:
        model.load_state_dict(kept)
    model.eval()
    return result
