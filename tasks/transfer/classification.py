"""Fine-tune for labels, evaluate by how well they are told apart, in 2 and 3 dimensions."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from pydantic import JsonValue
from torch import Tensor, nn

from harness.metrics import Classified, metric_of
from harness.metrics.ranking import auc_by_class, macro
from harness.packed import to_device
from tasks.heads.making import make_classifier
from tasks.inputs.images import LabelledImages
from tasks.inputs.interface import LabelledInput
from tasks.inputs.loading import Batch, Samples
from tasks.inputs.patches import LabelledPatches
from tasks.scoring.evaluation import class_probabilities, cross_entropy
from tasks.scoring.localization.evidence import has_boxes, score_localization
from tasks.scoring.losses import binary_cross_entropy
from tasks.specs import ClassificationSpec, ImageClassification
from tasks.transfer.labels import (
    require_policy,
    scored_columns,
    trained_labels,
    training_targets,
    validation_auc,
    validation_targets,
)
from tasks.transfer.parts import Cases, Scored


class Classification:
    """Labels of images or of patches.

    Args:
        cases: Of the trial.
        transfer: Its resolved transfer.
        backbone: Fine-tuned whole, in place.
        generator: Of the head's weights.

    Raises:
        DataError: If the cohort's labels are not those of the transfer.
    """

    def __init__(
        self, cases: Cases, transfer: ClassificationSpec, backbone: nn.Module, generator: torch.Generator
    ) -> None:
        self.cases, self.transfer, pixels = cases, transfer, cases.source.pixels
        self.names = trained_labels(pixels.manifest["labels"], transfer, cases.spec.task)
        self.labels = pixels.cases.set_index("row")[self.names].to_numpy(np.float32)
        require_policy(self.labels, transfer, cases.spec.task)
        self.scored = scored_columns(self.names, transfer)
        self.input: LabelledInput
        if isinstance(transfer, ImageClassification):
            self.input = LabelledImages(cases.source, transfer, backbone.in_channels)
        else:
            self.input = LabelledPatches(cases.source, transfer)
        self.model = self.input.place(make_classifier(transfer, backbone, len(self.names), generator))

    def order(self) -> Iterator[Samples]:
        """Yield which samples each step has."""
        return self.input.order()

    def steps(self, done: int = 0) -> Iterator[Batch]:
        """Yield the training batches that follow the first ``done``."""
        return self.input.steps(done)

    def loss(self, batch: Batch) -> Tensor:
        """Return the binary cross-entropy of a batch."""
        source = self.cases.source
        images = self.input.trained(batch)
        targets, weights = training_targets(
            self.labels[source.rows[batch.samples]],
            self.transfer.uncertain,
            source.seeds.augment,
            batch.epochs,
            batch.samples,
        )
        sent = to_device([targets] if weights is None else [targets, weights], torch.device(source.device))
        return binary_cross_entropy(self.model(images), *sent)

    def probabilities(self, rows: np.ndarray, *, ten_crop: bool = False) -> np.ndarray:
        """Return sigmoid outputs, float32 ``(N, outputs)``."""
        parts = self.cases.asking(self.input.evaluated(rows, ten_crop=ten_crop))
        device, precision = self.cases.source.device, self.transfer.precision
        found: np.ndarray = class_probabilities(self.model, parts, device, precision=precision)
        return found

    def validate(self) -> tuple[float, float]:
        """Return cross-entropy and mean AUC of the validation cases; NaN if an output is not finite."""
        found = self.probabilities(self.cases.validation)
        labels, weights = validation_targets(self.labels[self.cases.validation], self.transfer.uncertain)
        if not np.isfinite(found).all():
            return math.nan, math.nan
        by_class = validation_auc(labels, found, weights)
        return cross_entropy(labels, found, weights), macro(by_class[self.scored])[0]

    def score(self) -> Scored:
        """Score the test cases, localization included where it is asked for and there are boxes."""
        cases, spec = self.cases, self.cases.spec
        found = self.probabilities(cases.test, ten_crop=self.transfer.test_time_augmentation == "ten_crop")
        labels = self.labels[cases.test]
        classified = Classified(labels[:, self.scored], found[:, self.scored])
        wanted = {name: metric_of(name) for name in spec.metrics}
        values = {name: metric.value(classified) for name, metric in wanted.items() if metric.fits(Classified)}
        resamples = metric_of(spec.metrics[0]).resample(classified, *cases.draw)
        scored = Scored(values, self._facts(labels, found), {"predictions": found, "resamples": resamples})
        return self._located(scored, found, labels)

    def _facts(self, labels: np.ndarray, found: np.ndarray) -> dict[str, JsonValue]:
        by_class = auc_by_class(labels, found)
        positives = (self.labels[self.cases.source.rows] > 0).sum(axis=0)
        return {
            "auc_by_class": {n: None if math.isnan(v) else float(v) for n, v in zip(self.names, by_class, strict=True)},
            "scored_classes": macro(by_class[self.scored])[1],
            "labelled_positives": {n: int(count) for n, count in zip(self.names, positives, strict=True)},
        }

    def _located(self, scored: Scored, found: np.ndarray, labels: np.ndarray) -> Scored:
        """Add localization, on the models of the whole label set."""
        transfer, spec, source = self.transfer, self.cases.spec, self.cases.source
        if not isinstance(transfer, ImageClassification) or transfer.localization is None:
            return scored
        if spec.label_fraction != 1.0 or not has_boxes(source.pixels):
            scored.elsewhere = transfer.localization.metrics
            return scored
        values, facts, arrays = score_localization(
            self.model, source.pixels, self.cases.test, found, labels, self.names, transfer, source.device
        )
        return Scored(scored.values | values, scored.facts | facts, scored.arrays | arrays)
