"""A phase that learns labels: ``run_phase`` of the recipe ``supervised``.

One view of an image, the transformation T of all pretraining without distortion, a linear layer on the pooled last
feature map, and cross-entropy. The decoder is left as it was drawn. The loop is that of all pretraining
(``methods.training``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from pydantic import JsonValue
from scipy.stats import mannwhitneyu
from torch import Tensor, nn
from torch.nn import functional as F

from harness.contracts import Context, Outcome
from harness.errors import DataError
from harness.identity import file_sha256
from harness.packed import Packed
from harness.pixels import Pixels
from harness.seeding import seed as seed_of
from harness.spec import Status
from methods import views_on_device
from methods.networks import build
from methods.networks.backbone import random_numbers_from
from methods.options import Shapes
from methods.phases import ImageViews, LabelConfiguration, LabelSpec
from methods.pretext import about_encoder
from methods.shapes import CLASSES, make_shapes
from methods.terms.bound import Forward, Views
from methods.training.batches import as_float, first_batch_sha256, made_ahead, packed_ahead
from methods.training.checkpoints import ENCODER, save_encoder
from methods.training.loop import Training
from methods.training.means import Listed
from methods.training.measurements import FEWEST, IMAGES, Measurement
from methods.training.trained import Trained
from methods.view_parameters import ViewParameters, parameters, uniforms
from methods.views import crop, transform


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


def run_phase(raw: Mapping[str, object], context: Context) -> Outcome:
    """Train an encoder on labels.

    Args:
        raw: ``methods.phases.LabelSpec``, dumped; without a cohort for shapes.
        context: See ``harness.contracts.Context``.

    Returns:
        Value ``validation_loss`` (the lowest), facts, and the curve. The folder holds ``encoder.safetensors``, the
        backbone of the lowest validation loss. ``diverged`` if a loss was not finite.

    Raises:
        DataError: If the cohort has no labels, or fewer training images than a batch.
    """
    spec = LabelSpec.model_validate(raw)
    generator = spec.configuration.generator
    data = cohort(spec, context) if generator is None else shapes(generator)
    training = Supervised(spec, context, data)
    training.run()
    facts: dict[str, JsonValue] = {
        "phase": spec.phase,
        "steps": training.step,
        "images_seen": training.step * spec.configuration.batch,
        "budget": spec.configuration.budget.dump(),
        "outputs": data.outputs,
        "parameters": sum(p.numel() for p in training.objective.backbone.encoder.parameters()),
        "initial_state_sha256": training.initial_state_sha256,
        "order_sha256": training.order.sha256(),
        "first_batch_sha256": first_batch_sha256(training.order, training.augment_seed),
        "measurements": [] if training.diverged else [asdict(one) for one in training.measured()],
    }
    values: dict[str, float] = {}
    if training.best is not None:
        facts["selected_step"] = training.best.step
        values["validation_loss"] = training.best.loss
        save_encoder(context.folder / ENCODER, training.best.backbone, about_encoder(spec, training.best.step))
        facts["weights_sha256"] = file_sha256(context.folder / ENCODER)
    if training.diverged or training.best is None:
        return Outcome(
            values=values,
            facts=facts,
            curve=training.curve,
            status=Status.DIVERGED,
            message=f"the loss of {spec.phase} was not finite at step {training.step} of {training.steps}",
        )
    return Outcome(values=values, facts=facts, curve=training.curve)


def shapes(generator: Shapes) -> Labelled:
    """Make the synthetic non-medical shapes that a profile asks for."""
    train, validation = generator.train, generator.validation
    images, classes = make_shapes(train + validation, generator.px, generator.seed)
    return Labelled(images, classes, len(CLASSES), np.arange(train), np.arange(train, train + validation))


def cohort(spec: LabelSpec, context: Context) -> Labelled:
    """Open a cohort with the labels that its manifest lists.

    Raises:
        DataError: If it lists none.
    """
    pixels = Pixels(Path(context.inputs[spec.cohort or ""]))
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


def drawn(stream_seed: int, epoch: int, rows: np.ndarray, source_px: int, image_px: int) -> ViewParameters:
    """Return what an undistorted view of each image is made from: the query of a phase ``dis``."""
    plain = ImageViews(image_px=image_px, distortion=False, outer_cutout=False)
    return parameters(uniforms(stream_seed, epoch, rows)[:, 0], source_px, plain)


def one_view(images: np.ndarray, rows: np.ndarray, of: ViewParameters, image_px: int) -> Tensor:
    """Return one view of each image, float32 ``(B, 1, P, P)`` in [0, 1], made by OpenCV."""
    views = np.empty((len(rows), image_px, image_px), np.uint8)
    for position, row in enumerate(rows):
        views[position] = transform(crop(np.asarray(images[row]), of.crop[position], image_px), of, position)
    return as_float(torch.from_numpy(views))


def whole_image(images: np.ndarray, rows: np.ndarray, image_px: int) -> Tensor:
    """Return each whole image, resized, float32 ``(B, 1, P, P)`` in [0, 1]."""
    box = np.array([0, 0, images.shape[-2], images.shape[-1]])
    made = np.stack([crop(np.asarray(images[row]), box, image_px) for row in rows])
    return as_float(torch.from_numpy(made))


class LabelObjective(Trained):
    """The encoder and a linear layer on its pooled last feature map, under cross-entropy.

    Attributes:
        head: The linear layer.
    """

    def __init__(self, configuration: LabelConfiguration, outputs: int, init_seed: int) -> None:
        super().__init__(build(configuration.network, seed_of(init_seed, "backbone")))
        with random_numbers_from(seed_of(init_seed, "head")):
            self.head = nn.Linear(self.backbone.channels[-1], outputs)
            nn.init.normal_(self.head.weight, 0.0, 0.01)
            nn.init.zeros_(self.head.bias)
        self._of_classes = configuration.loss == "cross_entropy"

    def forward(self, views: Views) -> tuple[Tensor, dict[str, Tensor], Forward]:
        """Return the cross-entropy, mean over images (and findings)."""
        features = self.backbone.encode(views.query)
        loss = F.cross_entropy if self._of_classes else F.binary_cross_entropy_with_logits
        return loss(self.logits(features), views.labels), {}, Forward(features, None)

    def logits(self, features: tuple[Tensor, ...]) -> Tensor:
        """Map feature maps to logits ``(B, outputs)``."""
        return self.head(features[-1].mean(dim=(2, 3)))

    def own_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of encoder and head."""
        return [*self.backbone.encoder.parameters(), *self.head.parameters()]


class Supervised(Training):
    """``Training`` on one view of each image and its labels, validated on whole images.

    The numbers are those of a plain loop in one process: losses are summed in float64, nothing is cut into
    micro-batches, and a GPU keeps images as they come.
    """

    objective: LabelObjective
    channels_last_on_gpu = False

    def __init__(self, spec: LabelSpec, context: Context, data: Labelled) -> None:
        configuration = spec.configuration
        self._data, self._px = data, configuration.image_px
        objective = LabelObjective(configuration, data.outputs, seed_of(spec.seed, "init"))
        super().__init__(objective, spec, context, data.train, data.validation)

    def _held_out(self, rows: np.ndarray) -> WholeImages:
        self._tested = rows
        return WholeImages(self._data, rows, self._configuration.batch, self._px, self._device)

    def _batches(self) -> Iterator[tuple[Tensor, ...]]:
        """As in all pretraining, OpenCV makes views on a CPU, and a GPU a whole batch of them from the same numbers."""
        images, labels, px = self._data.images, self._data.labels, self._px

        def of(step: int) -> tuple[np.ndarray, ViewParameters]:
            epoch, rows = self.order.batch(step)
            return rows, drawn(self.augment_seed, epoch, rows, images.shape[-1], px)

        def pack(step: int) -> Packed:
            rows, numbers = of(step)
            return Packed.of([*views_on_device.numbers(numbers, px), images[rows], labels[rows]], pinned=True)

        def make(arrays: Sequence[Tensor]) -> tuple[Tensor, ...]:
            *told, source, targets = arrays
            return views_on_device.one_view(source, views_on_device.Told(*told), px), targets

        if self._device.type == "cuda":
            yield from made_ahead(packed_ahead(pack, self.step, self.steps), make, self._device)
            return
        for step in range(self.step, self.steps):
            rows, numbers = of(step)
            yield one_view(images, rows, numbers, px), torch.from_numpy(labels[rows])

    def _views(self, made: tuple[Tensor, ...]) -> Views:
        return labelled_views(self.objective, made[0], made[1], self._device)

    def _means(self) -> Listed:
        return Listed()

    def _images_in_a_pass(self) -> int:
        return self._configuration.batch

    def _criterion(self, found: Mapping[str, float]) -> float:
        """Return the loss on held-out images; where there are none, that of training."""
        return found.get("total", self.losses.means()["total"])

    @torch.no_grad()
    def measured(self) -> list[Measurement]:
        """Return the area under the ROC curve on held-out whole images, a class against the rest, mean over classes.

        Of the last weights; classes without positives or without negatives there do not count.
        """
        rows = self._tested[:IMAGES]
        if len(rows) < FEWEST:
            return []
        self.objective.eval()
        made = WholeImages(self._data, rows, self._configuration.batch, self._px, self._device)
        encoded = (self.objective.backbone.encode(views.query) for views in made.views(self.objective))
        logits = torch.cat([self.objective.logits(features).cpu() for features in encoded]).numpy()
        self.objective.train()
        labels = self._data.labels[rows]
        positive = labels if labels.ndim == 2 else np.eye(self._data.outputs, dtype=np.float32)[labels]
        areas = [
            area_under_roc(logits[positive[:, column] > 0, column], logits[positive[:, column] == 0, column])
            for column in range(positive.shape[1])
            if 0 < positive[:, column].sum() < len(rows)
        ]
        if not areas:
            return []
        return [
            Measurement(
                measure="supervised_auc",
                role="supervised",
                term="methods.supervised:Supervised",  # what methods/gates.yaml and committed results call it
                views="undistorted",
                value=sum(areas) / len(areas),
                chance=0.5,
                start=None,
                images=len(rows),
                among=None,
            )
        ]


def labelled_views(objective: Trained, images: Tensor, labels: Tensor, device: torch.device) -> Views:
    """Make the network's input of grey images ``(B, 1, P, P)`` and their labels."""
    query = objective.as_input(images.to(device)).contiguous()
    return Views(query, query, images, 0, labels=labels.to(device))


class WholeImages:
    """Whole images of some rows, resized, in batches; the last may be smaller."""

    def __init__(self, data: Labelled, rows: np.ndarray, batch: int, image_px: int, device: torch.device) -> None:
        self._data, self._px, self._device = data, image_px, device
        self._parts = [rows[start : start + batch] for start in range(0, len(rows), batch)]

    def views(self, objective: Trained) -> Iterator[Views]:
        """Yield the network's input of each batch."""
        for rows in self._parts:
            labels = torch.from_numpy(self._data.labels[rows])
            yield labelled_views(objective, whole_image(self._data.images, rows, self._px), labels, self._device)

    @torch.no_grad()
    def losses(self, objective: Trained, precision: torch.dtype | None, channels_last: bool) -> dict[str, float]:
        """Return the mean over images as ``total``; nothing where there are none. In float32."""
        if not self._parts:
            return {}
        objective.eval()
        total, images = 0.0, 0
        for views in self.views(objective):
            total += float(objective(views)[0]) * len(views.query)
            images += len(views.query)
        objective.train()
        return {"total": total / images}
