"""The loop: one step, whatever is trained; validation, selection, checkpoints and resuming around it.

What a phase sees is a subclass's: views of images (``methods.training.images``), cubes (``methods.volumes.pretext``) or
images with labels (``methods.supervised``).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from harness.checkpoints import Checkpoints
from harness.contracts import Context
from harness.half_precision import refuse_unsound_gradients
from harness.identity import digest
from harness.kernels import settle
from harness.seeding import seed as seed_of
from methods.networks.normalisation import share_batch_norm
from methods.phases import TrainedSpec
from methods.terms.bound import BoundTerm, Forward, Views
from methods.training.batches import Order, as_views, memory_layout, place
from methods.training.checkpoints import FORM, state_sha256
from methods.training.means import Means, SumsOnDevice
from methods.training.micro_batches import OneUpdate, cut, micro_batch
from methods.training.optimisers import build_optimiser, plateau_of, rate_factor, set_rates
from methods.training.processes import check, data_parallel, joined, running_statistics
from methods.training.trained import Trained
from methods.training.validation import HeldOutLosses

CURVE_ROWS = 100
CHECK_EVERY = 10  # steps between two looks at the loss on a GPU: each look waits for the device

PRECISIONS: dict[str, torch.dtype | None] = {"float32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


class OpponentStep(nn.Module):
    """A term's opponent loss as a forward pass, which is what data-parallel training wraps."""

    def __init__(self, term: BoundTerm) -> None:
        super().__init__()
        self.term = term

    def forward(self, views: Views, shared: Forward) -> Tensor | None:
        """Return the opponent's loss."""
        return self.term.opponent_loss(views, shared)


@dataclass(frozen=True)
class Player:
    """Somebody's parameters being trained: the module whose forward pass is its loss, its optimiser and loss scale."""

    module: nn.Module
    optimiser: torch.optim.Optimizer
    scaler: torch.amp.GradScaler

    def quietly(self, last: bool) -> AbstractContextManager[object]:
        """Return the context of a micro-batch's passes: processes talk to each other after the last one only."""
        parallel = isinstance(self.module, DistributedDataParallel) and not last
        return self.module.no_sync() if parallel else nullcontext()

    def step(self) -> None:
        """Take the optimiser's step; under fp16 one whose gradients overflowed is skipped and the scale reduced."""
        self.scaler.step(self.optimiser)
        self.scaler.update()


@dataclass(frozen=True)
class Streams:
    """Seeds of what a training draws: its order, its views, the views of validation, and what terms draw in a step."""

    order: int
    augment: int
    validation: int
    step: int

    @classmethod
    def of(cls, seed: int) -> Streams:
        """Derive all of them from a phase's seed."""
        return cls(*(seed_of(seed, stream.name) for stream in fields(cls)))


@dataclass(frozen=True)
class Best:
    """The weights that are kept so far.

    Attributes:
        step: When they were validated.
        loss: What was found.
        backbone: The backbone's state, on the CPU.
    """

    step: int
    loss: float
    backbone: dict[str, Tensor]


class Training:
    """A phase being trained: everything its next step depends on, and how to take it.

    Attributes:
        objective: What is trained, on the device.
        order: In which the training rows are seen.
        step: Steps taken.
        steps: Steps to take.
        best: The weights of the lowest total validation loss so far, or None. Under ``selection: last`` those of the
            newest validation.
        curve: Rows for ``curve.jsonl``.
        diverged: Whether a loss was not finite; training stops then.
        losses: Those of the steps since the curve's last row.
    """

    channels_last_on_gpu = True  # how images lie in memory there; another layout sums in another order

    def __init__(
        self, objective: Trained, spec: TrainedSpec, context: Context, rows: np.ndarray, validation_rows: np.ndarray
    ) -> None:
        configuration = spec.configuration
        self._processes = joined()
        check(configuration, self._processes, objective.backbone.dimensions)
        self.objective = objective
        self._configuration, self._context = configuration, context
        self._checkpoints = Checkpoints(context, {"form": FORM, "spec": digest(spec.dump())})
        self._device = torch.device(context.device)
        self._precision = PRECISIONS[configuration.precision]
        half_or_gpu = (self._device.type == "cuda" and self.channels_last_on_gpu) or self._precision is not None
        self._channels_last = half_or_gpu or configuration.channels_last
        self.streams = Streams.of(spec.seed)
        self.initial_state_sha256 = state_sha256(objective.state_dict())
        self._move()
        self._micro_batch = self._images_in_a_pass()

        self.order = Order(rows, configuration.batch, self.streams.order)
        budget, every = configuration.budget, configuration.validation
        per_epoch = self.order.steps_per_epoch
        self.steps = budget.count * (per_epoch if budget.unit == "epochs" else 1)
        self._interval = every.every * (per_epoch if every.unit == "epochs" else 1)
        self._row_every = math.ceil(math.ceil(self.steps / self._interval) / CURVE_ROWS)
        self._validation = self._held_out(validation_rows[: every.images])
        self._optimiser = build_optimiser(
            objective.own_parameters(), configuration.optimiser, objective.constant_rate_parameters()
        )
        self._own = self._player(objective, objective.computed_parameters(), self._optimiser)
        self._opponents = [
            self._player(
                OpponentStep(term),
                term.opponent_parameters(),
                build_optimiser(term.opponent_parameters(), term.opponent_optimiser()),
            )
            for term in objective.bound_terms()
            if term.opponent_parameters()
        ]
        self._plateau = plateau_of(configuration.schedule, configuration.optimiser.learning_rate)
        self.step = 0
        self.best: Best | None = None
        self.curve: list[dict[str, float]] = []
        self.diverged = False
        self.losses = self._means()

    def _move(self) -> None:
        """Bring what is trained to the device, into training mode."""
        settle(self._configuration.kernels)
        layout = memory_layout(self.objective.backbone.dimensions, self._channels_last)
        place(self.objective, self._device, layout)
        for term in self.objective.bound_terms():
            term.placed(self.objective.backbone)
        if self._precision is torch.bfloat16:
            refuse_unsound_gradients(self.objective)
        self.objective.train()
        if self._processes.count > 1:
            share_batch_norm(self.objective, self._device)

    def _player(self, module: nn.Module, trained: Iterable[nn.Parameter], optimiser: torch.optim.Optimizer) -> Player:
        scaler = torch.amp.GradScaler(self._device.type, enabled=self._precision is torch.float16)
        return Player(data_parallel(module, trained, self._processes), optimiser, scaler)

    @property
    def augment_seed(self) -> int:
        """Seed of the training views."""
        return self.streams.augment

    def _held_out(self, rows: np.ndarray) -> HeldOutLosses:
        """Return the validation on some rows."""
        raise NotImplementedError

    def _batches(self) -> Iterator[tuple[Tensor, ...]]:
        """Yield what ``_views`` takes, for every step that is left."""
        raise NotImplementedError

    def _views(self, made: tuple[Tensor, ...]) -> Views:
        """Make the network's input of one batch."""
        return as_views(self.objective, made, seed_of(self.streams.step, self.step), self._channels_last)

    def _means(self) -> Means:
        """Return what sums the losses."""
        return SumsOnDevice(self._processes, self._device)

    def _images_in_a_pass(self) -> int:
        """Return how many images of a process's batch pass at once."""
        return micro_batch(self._configuration, self.objective, self._processes.count)

    def _criterion(self, found: Mapping[str, float]) -> float:
        """Return the loss that selects weights; infinite where nothing was held out: then none are selected."""
        return found.get("total", math.inf)

    def run(self) -> None:
        """Resume if there is a checkpoint, and train to the end or until a loss is not finite.

        Raises:
            Preempted: If the attempt was asked to leave before the last step; the checkpoint is whole.
        """
        self._resume()
        for made in self._batches():
            self._take_step(made)
            self.step += 1
            at_interval = self.step % self._interval == 0 or self.step == self.steps
            if self._device.type == "cpu" or self.step % CHECK_EVERY == 0 or at_interval:
                self.diverged = not self.losses.finite()
                if self.diverged:
                    return
            if at_interval:
                self._validate()
            if self.step < self.steps:
                self._keep()
            self._context.report(self.step, self.steps, "pretraining")

    def _take_step(self, made: tuple[Tensor, ...]) -> None:
        """Step backbone and heads on Σ weight × loss, then the opponents on the same images, then what follows."""
        factor = rate_factor(self._configuration.schedule, self.step, self.steps, self.order.steps_per_epoch)
        set_rates(self._optimiser, factor * self._plateau.current)
        views = self._views(made)
        with self._autocast():
            self.objective.before_step(views)
        parts = list(cut(views, self._micro_batch))
        once = OneUpdate(running_statistics(self.objective)) if len(parts) > 1 else None
        self._optimiser.zero_grad(set_to_none=True)
        losses: dict[str, Tensor] = {}
        passed: list[Forward] = []
        for part in parts:
            last = part is parts[-1]
            with self._own.quietly(last):
                with self._autocast():
                    total, of_terms, shared = self._own.module(part)
                self._own.scaler.scale(total / len(parts)).backward()
            if once:
                once.after_pass()
                shared = replace(shared, features=())  # the graph of a micro-batch must not outlive it
            passed.append(replace(shared, restored=None if shared.restored is None else shared.restored.detach()))
            _add(losses, {**of_terms, "total": total}, len(parts))
        if once:
            once.finish()
        self._own.step()
        for opponent in self._opponents:
            self._step_opponent(opponent, parts, passed, losses)
        self.objective.after_step()
        self.losses.add(losses)

    def _step_opponent(
        self, opponent: Player, parts: list[Views], passed: list[Forward], losses: dict[str, Tensor]
    ) -> None:
        opponent.optimiser.zero_grad(set_to_none=True)
        for part, shared in zip(parts, passed, strict=True):
            with opponent.quietly(part is parts[-1]):
                with self._autocast():
                    loss = opponent.module(part, shared)
                opponent.scaler.scale(loss / len(parts)).backward()
            _add(losses, {"opponent": loss}, len(parts))
        opponent.step()

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self._device.type, self._precision or torch.bfloat16, enabled=self._precision is not None)

    def _keep(self) -> None:
        """Write a checkpoint if it is time, and end the attempt if it was asked to leave; several processes agree."""
        if self._processes.count > 1 and self._device.type != "cpu" and self.step % CHECK_EVERY:
            return
        leaving = self._processes.leaders(self._checkpoints.leaving, self._device)
        if leaving or self._processes.leaders(self._checkpoints.due, self._device):
            self._save()
        if leaving:
            self._checkpoints.leave()

    def _validate(self) -> None:
        """Measure, remember the best backbone, and write a row of the curve (at most ``CURVE_ROWS`` in all)."""
        self._processes.average_(running_statistics(self.objective))
        found = self._validation.losses(self.objective, self._precision, self._channels_last)
        loss = self._criterion(found)
        if self._configuration.schedule.name == "plateau":
            self._plateau.factor_after(loss)
        newest = self._configuration.selection == "last"
        if math.isfinite(loss) and (newest or self.best is None or loss < self.best.loss):
            state = self.objective.backbone.state_dict()
            self.best = Best(self.step, loss, {name: value.detach().cpu().clone() for name, value in state.items()})
        if (self.step // self._interval) % self._row_every and self.step < self.steps:
            return
        row: dict[str, float] = {
            "step": self.step,
            "images_seen": self.step * self._configuration.batch,
            "learning_rate": self._optimiser.param_groups[0]["lr"],
        }
        row.update({f"train_{name}": value for name, value in self.losses.means().items()})
        row.update({f"validation_{name}": value for name, value in found.items()})
        self.curve.append(row)
        self.losses.clear()

    def _save(self) -> None:
        self._processes.average_(running_statistics(self.objective))
        if self._processes.rank > 0:
            return
        state = {
            "step": self.step,
            "objective": self.objective.state_dict(),
            "optimisers": [player.optimiser.state_dict() for player in self._players()],
            "scalers": [player.scaler.state_dict() for player in self._players()],
            "plateau": self._plateau.state(),
            "best": None if self.best is None else vars(self.best),
            "curve": self.curve,
            "losses": self.losses.state(),
        }
        self._checkpoints.save(state)

    def _players(self) -> list[Player]:
        return [self._own, *self._opponents]

    def _resume(self) -> None:
        """Carry on from a checkpoint of this very spec; a damaged or foreign one is left aside and training restarts.

        Nothing else needs restoring: every random number is a function of (seed, step) or (seed, epoch, image).
        """
        state = self._checkpoints.load()
        if state is None:
            return
        self.objective.load_state_dict(state["objective"])
        for player, saved, scale in zip(self._players(), state["optimisers"], state["scalers"], strict=True):
            player.optimiser.load_state_dict(saved)
            player.scaler.load_state_dict(scale)
        self.step, self.curve = state["step"], state["curve"]
        self.best = None if state["best"] is None else Best(**state["best"])
        self._plateau.load(state["plateau"])
        self.losses.load(state["losses"])


def _add(losses: dict[str, Tensor], found: Mapping[str, Tensor], parts: int) -> None:
    """Add the losses of one of ``parts`` equal micro-batches to the means over the batch."""
    for name, value in found.items():
        share = value.detach().float() / parts
        losses[name] = losses[name] + share if name in losses else share
