"""A phase that learns labels: ``run_phase`` of the recipe ``supervised``.

One view of an image, the transformation T of all pretraining without distortion, a linear layer on the pooled last
feature map, and cross-entropy. The decoder is left as it was drawn.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import mannwhitneyu
from torch import Tensor, nn
from torch.nn import functional as F

from harness.contracts import Context, Outcome
from harness.errors import CheckpointError, DataError
from harness.identity import digest, file_sha256
from harness.pixels import Pixels
from harness.seeding import seed as seed_of
from harness.spec import Status
from methods import views_on_device
from methods.networks import build
from methods.networks.backbone import random_numbers_from
from methods.shapes import CLASSES, make_shapes
from methods.training.batches import Order, as_float, first_batch_sha256
from methods.training.checkpoints import (
    CHECKPOINT,
    ENCODER,
    load_state,
    save_encoder,
    state_sha256,
    write_atomically,
)
from methods.training.measurements import FEWEST, IMAGES, Measurement
from methods.training.optimisers import build_optimiser, rate_factor, set_rates
from methods.view_parameters import parameters, uniforms
from methods.views import crop, transform

CHECKPOINT_SECONDS = 60.0  # between two checkpoints; changes no number


@dataclass(frozen=True)
class Labelled:
    """Images with labels.

    Attributes:
        images: uint8 ``(N, S, S)``.
        labels: float32 ``(N, L)`` in {0, 1} for findings, or int64 ``(N,)`` for classes.
        outputs: L, or the number of classes.
        train: Rows to learn from.
        validation: Rows to select by.
    """

    images: np.ndarray
    labels: np.ndarray
    outputs: int
    train: np.ndarray
    validation: np.ndarray


def run_phase(spec: Mapping[str, Any], context: Context) -> Outcome:
    """Train an encoder on labels.

    Args:
        spec: ``phase`` (its name), ``configuration`` (``methods.recipes.supervised``), ``cohort`` (id of the cohort
            item, or None for shapes) and ``seed``.
        context: See ``harness.contracts.Context``.

    Returns:
        Value ``validation_loss`` (the lowest), facts, and the curve. The folder holds ``encoder.safetensors``, the
        backbone of the lowest validation loss. ``diverged`` if a loss was not finite.

    Raises:
        DataError: If the cohort has no labels, or fewer training images than a batch.
    """
    configuration = spec["configuration"]
    data = shapes(configuration["generator"]) if configuration["generator"] else cohort(spec, context)
    training = Supervised(spec, context, data)
    training.run()
    facts: dict[str, Any] = {
        "phase": spec["phase"],
        "steps": training.step,
        "images_seen": training.step * configuration["batch"],
        "budget": dict(configuration["budget"]),
        "outputs": data.outputs,
        "parameters": sum(p.numel() for p in training.backbone.encoder.parameters()),
        "initial_state_sha256": training.initial_state_sha256,
        "order_sha256": training.order.sha256(),
        "first_batch_sha256": first_batch_sha256(training.order, training.seeds["augment"]),
        "measurements": [] if training.diverged else training.measured(),
    }
    values: dict[str, float] = {}
    if training.best is not None:
        facts["selected_step"] = training.best["step"]
        values["validation_loss"] = training.best["loss"]
        about = {
            "format": 1,
            "network": configuration["network"],
            "phase": spec["phase"],
            "selected_step": training.best["step"],
        }
        save_encoder(context.folder / ENCODER, training.best["backbone"], about)
        facts["weights_sha256"] = file_sha256(context.folder / ENCODER)
    if training.diverged or training.best is None:
        return Outcome(
            values=values,
            facts=facts,
            curve=training.curve,
            status=Status.DIVERGED,
            message=f"the loss of {spec['phase']} was not finite at step {training.step} of {training.steps}",
        )
    return Outcome(values=values, facts=facts, curve=training.curve)


def shapes(generator: Mapping[str, int]) -> Labelled:
    """Make the synthetic non-medical shapes that a profile asks for."""
    train, validation = generator["train"], generator["validation"]
    images, classes = make_shapes(train + validation, generator["px"], generator["seed"])
    return Labelled(images, classes, len(CLASSES), np.arange(train), np.arange(train, train + validation))


def cohort(spec: Mapping[str, Any], context: Context) -> Labelled:
    """Open a cohort with the labels that its manifest lists.

    Raises:
        DataError: If it lists none.
    """
    pixels = Pixels(Path(context.inputs[spec["cohort"]]))
    names = list(pixels.manifest.get("labels", []))
    if not names:
        raise DataError(
            f"the cohort at {pixels.folder} lists no labels; expected a classification cohort; train on another task"
        )
    labels = np.zeros((len(pixels.images), len(names)), np.float32)
    labels[pixels.cases["row"].to_numpy(dtype=np.int64)] = pixels.cases[names].to_numpy(np.float32)
    return Labelled(pixels.images, labels, len(names), pixels.rows("train"), pixels.rows("validation"))


def area_under_roc(positive: np.ndarray, negative: np.ndarray) -> float:
    """Return the area under the ROC curve of the scores of positives and negatives: Mann–Whitney's U over all pairs."""
    pairs = len(positive) * len(negative)
    return float(mannwhitneyu(positive, negative, method="asymptotic").statistic / pairs)


def one_view(
    images: np.ndarray, rows: np.ndarray, stream_seed: int, epoch: int, image_px: int, device: torch.device
) -> Tensor:
    """Return one undistorted view of each image, float32 ``(B, 1, P, P)`` in [0, 1]: the query of a phase ``dis``.

    As in all pretraining, OpenCV makes it on a CPU, and a GPU makes a whole batch at once from the same numbers.
    """
    plain = {"image_px": image_px, "distortion": False, "outer_cutout": False}
    of = parameters(uniforms(stream_seed, epoch, rows)[:, 0], images.shape[-1], plain)
    if device.type == "cuda":
        source = torch.from_numpy(images[rows]).to(device).float()
        made = views_on_device.transform(views_on_device.crop(source, of.crop, image_px), of)
        return made.div(255).clamp_(0, 1).unsqueeze(1)
    views = np.empty((len(rows), image_px, image_px), np.uint8)
    for position, row in enumerate(rows):
        views[position] = transform(crop(np.asarray(images[row]), of.crop[position], image_px), of, position)
    return as_float(torch.from_numpy(views))


def whole_image(images: np.ndarray, rows: np.ndarray, image_px: int) -> Tensor:
    """Return each whole image, resized, float32 ``(B, 1, P, P)`` in [0, 1]."""
    box = np.array([0, 0, images.shape[-2], images.shape[-1]])
    made = np.stack([crop(np.asarray(images[row]), box, image_px) for row in rows])
    return as_float(torch.from_numpy(made))


class Supervised:
    """The training of a supervised phase: everything its next step depends on, and how to take it.

    Attributes:
        backbone: The network; its encoder is trained.
        order: The order of the training images.
        seeds: Name of a stream → its seed.
        step: Steps taken. steps: Steps to take.
        best: ``{"step", "loss", "backbone"}`` of the lowest validation loss, or None.
        curve: Rows for ``curve.jsonl``.
        diverged: Whether a loss was not finite.
    """

    def __init__(self, spec: Mapping[str, Any], context: Context, data: Labelled) -> None:
        configuration = spec["configuration"]
        self._configuration, self._context, self._data = configuration, context, data
        self._spec_digest = digest(dict(spec))
        self.seeds = {name: seed_of(spec["seed"], name) for name in ("init", "order", "augment")}
        self.backbone = build(configuration["network"], seed_of(self.seeds["init"], "backbone"))
        with random_numbers_from(seed_of(self.seeds["init"], "head")):
            self.head = nn.Linear(self.backbone.channels[-1], data.outputs)
            nn.init.normal_(self.head.weight, 0.0, 0.01)
            nn.init.zeros_(self.head.bias)
        self.initial_state_sha256 = state_sha256(self._modules().state_dict())
        self._device = torch.device(context.device)
        self._modules().to(self._device).train()
        self.order = Order(data.train, configuration["batch"], self.seeds["order"])
        per_epoch = self.order.steps_per_epoch
        budget, every = configuration["budget"], configuration["validation"]
        self.steps = budget["count"] * (per_epoch if budget["unit"] == "epochs" else 1)
        self._interval = every["every"] * (per_epoch if every["unit"] == "epochs" else 1)
        self._held_out = data.validation[: every["images"]]
        trained = [*self.backbone.encoder.parameters(), *self.head.parameters()]
        self._optimiser = build_optimiser(trained, configuration["optimiser"])
        self.step = 0
        self.best: dict[str, Any] | None = None
        self.curve: list[dict[str, Any]] = []
        self.diverged = False
        self._summed: list[float] = []

    def run(self) -> None:
        """Resume if there is a checkpoint, and train to the end or until a loss is not finite."""
        self._resume()
        saved = time.monotonic()
        while self.step < self.steps:
            loss = self._take_step()
            self.step += 1
            self.diverged = not math.isfinite(loss)
            if self.diverged:
                return
            self._summed.append(loss)
            if self.step % self._interval == 0 or self.step == self.steps:
                self._validate()
            if time.monotonic() - saved >= CHECKPOINT_SECONDS and self.step < self.steps:
                self._save()
                saved = time.monotonic()
            self._context.report(self.step, self.steps, "pretraining")

    def _take_step(self) -> float:
        configuration = self._configuration
        set_rates(
            self._optimiser,
            rate_factor(configuration["schedule"], self.step, self.steps, self.order.steps_per_epoch),
        )
        epoch, rows = self.order.batch(self.step)
        views = one_view(self._data.images, rows, self.seeds["augment"], epoch, configuration["image_px"], self._device)
        loss = self._loss(views, rows)
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self._optimiser.step()
        return float(loss.detach())

    def _logits(self, views: Tensor) -> Tensor:
        images = views.to(self._device).expand(-1, self.backbone.in_channels, -1, -1).contiguous()
        logits: Tensor = self.head(self.backbone.encode(images)[-1].mean(dim=(2, 3)))
        return logits

    def _loss(self, views: Tensor, rows: np.ndarray) -> Tensor:
        """Return the cross-entropy, mean over images (and findings)."""
        logits = self._logits(views)
        labels = torch.from_numpy(self._data.labels[rows]).to(self._device)
        if self._configuration["loss"] == "cross_entropy":
            return F.cross_entropy(logits, labels)
        return F.binary_cross_entropy_with_logits(logits, labels)

    @torch.no_grad()
    def _validate(self) -> None:
        """Measure on whole images, remember the best backbone, and write a row of the curve."""
        row: dict[str, Any] = {
            "step": self.step,
            "images_seen": self.step * self._configuration["batch"],
            "learning_rate": self._optimiser.param_groups[0]["lr"],
            "train_total": sum(self._summed) / len(self._summed),
        }
        self._summed = []
        batch, px = self._configuration["batch"], self._configuration["image_px"]
        self._modules().eval()
        total = 0.0
        for start in range(0, len(self._held_out), batch):
            rows = self._held_out[start : start + batch]
            total += float(self._loss(whole_image(self._data.images, rows, px), rows)) * len(rows)
        self._modules().train()
        if len(self._held_out):
            row["validation_total"] = total / len(self._held_out)
        loss = row.get("validation_total", row["train_total"])
        if math.isfinite(loss) and (self.best is None or loss < self.best["loss"]):
            weights = {name: value.detach().cpu().clone() for name, value in self.backbone.state_dict().items()}
            self.best = {"step": self.step, "loss": loss, "backbone": weights}
        self.curve.append(row)

    @torch.no_grad()
    def measured(self) -> list[dict[str, Any]]:
        """Return the area under the ROC curve on held-out whole images, a class against the rest, mean over classes.

        Of the last weights; classes without positives or without negatives there do not count.
        """
        rows = self._held_out[:IMAGES]
        if len(rows) < FEWEST:
            return []
        self._modules().eval()
        batch, px = self._configuration["batch"], self._configuration["image_px"]
        parts = [rows[start : start + batch] for start in range(0, len(rows), batch)]
        logits = torch.cat([self._logits(whole_image(self._data.images, part, px)).cpu() for part in parts]).numpy()
        self._modules().train()
        labels = self._data.labels[rows]
        positive = labels if labels.ndim == 2 else np.eye(self._data.outputs, dtype=np.float32)[labels]
        areas = [
            area_under_roc(logits[positive[:, column] > 0, column], logits[positive[:, column] == 0, column])
            for column in range(positive.shape[1])
            if 0 < positive[:, column].sum() < len(rows)
        ]
        if not areas:
            return []
        found = Measurement(
            measure="supervised_auc",
            role="supervised",
            term="methods.supervised:Supervised",
            views="undistorted",
            value=sum(areas) / len(areas),
            chance=0.5,
            start=None,
            images=len(rows),
            among=None,
        )
        return [asdict(found)]

    def _modules(self) -> nn.ModuleDict:
        return nn.ModuleDict({"backbone": self.backbone, "head": self.head})

    def _save(self) -> None:
        state = {
            "spec": self._spec_digest,
            "step": self.step,
            "modules": self._modules().state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "best": self.best,
            "curve": self.curve,
            "summed": self._summed,
        }
        self._context.resume.mkdir(parents=True, exist_ok=True)
        write_atomically(self._context.resume / CHECKPOINT, state)

    def _resume(self) -> None:
        """Carry on from a checkpoint of this very spec; a damaged or foreign one is left aside."""
        path = self._context.resume / CHECKPOINT
        if not path.is_file():
            return
        try:
            state = load_state(path)
        except CheckpointError:
            return
        if state.get("spec") != self._spec_digest:
            return
        self._modules().load_state_dict(state["modules"])
        self._optimiser.load_state_dict(state["optimiser"])
        self.step, self.best, self.curve, self._summed = (
            state["step"],
            state["best"],
            state["curve"],
            state["summed"],
        )
