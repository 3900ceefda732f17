"""Fine-tune for a foreground, evaluate by how far it overlaps the mask, in 2 and 3 dimensions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor, nn

from harness.errors import ConfigurationError
from harness.metrics import Metric, Segmented, metric_of
from harness.metrics.overlap import PixelCounts
from harness.metrics.registered import DICE, IOU
from tasks.heads.making import make_segmenter
from tasks.inputs.images import MaskedImages
from tasks.inputs.interface import MaskedInput
from tasks.inputs.loading import Batch, Samples
from tasks.inputs.patches import MaskedPatches
from tasks.scoring.evaluation import Segmenting, count_pixels
from tasks.scoring.losses import dice_sums, soft_dice
from tasks.scoring.masks import MEASURED, Measures, patches_of, spacing_of
from tasks.specs import ImageSegmentation, SegmentationSpec
from tasks.transfer.parts import Cases, Scored


class Segmentation:
    """One foreground of images or of patches.

    Args:
        cases: Of the trial.
        transfer: Its resolved transfer.
        backbone: Fine-tuned whole, in place.
        generator: Of the head's weights.
    """

    def __init__(
        self, cases: Cases, transfer: SegmentationSpec, backbone: nn.Module, generator: torch.Generator
    ) -> None:
        self.cases, self.transfer = cases, transfer
        self.input: MaskedInput
        if isinstance(transfer, ImageSegmentation):
            self.input = MaskedImages(cases.source, transfer, backbone.in_channels)
            # As the sources do, images are watched by Dice, patches by IoU; a case of two empty masks counts there 1.
            self.watched, self.watched_empty = DICE, transfer.metric.empty_score
        else:
            self.input = MaskedPatches(cases.source, transfer)
            self.watched, self.watched_empty = IOU, 1.0
        self.model = self.input.place(make_segmenter(transfer, backbone, generator))

    def order(self) -> Iterator[Samples]:
        """Yield which samples each step has."""
        return self.input.order()

    def steps(self, done: int = 0) -> Iterator[Batch]:
        """Yield the training batches that follow the first ``done``."""
        return self.input.steps(done)

    def loss(self, batch: Batch) -> Tensor:
        """Return the soft Dice loss of a batch as a whole."""
        images, masks = self.input.trained(batch)
        return soft_dice(dice_sums(self.model(images)[:, 0], masks), self.transfer.dice_smooth)

    def counts(
        self, rows: np.ndarray, *, validates: bool = False, measures: Measures | None = None
    ) -> tuple[PixelCounts, float]:
        """Return the counts of a segmentation and its soft Dice loss.

        Args:
            rows: Which cases.
            validates: Augment, and group cases for the loss, as the transfer has it for validation.
            measures: What is measured on the masks themselves.
        """
        transfer = self.transfer
        by_batch = validates and transfer.validation_dice == "batches"
        how = Segmenting(
            transfer.metric.threshold,
            transfer.dice_smooth,
            precision=transfer.precision,
            together=transfer.batch if by_batch else None,
        )
        parts = self.cases.asking(self.input.evaluated(rows, augmented=validates))
        device = self.cases.source.device
        counted: tuple[PixelCounts, float] = count_pixels(self.model, parts, len(rows), how, device, measures)
        return counted

    def validate(self) -> tuple[float, float]:
        """Return soft Dice loss and the watched metric of the validation cases."""
        counts, loss = self.counts(self.cases.validation, validates=True)
        return loss, self.watched.value(Segmented.of(counts, self.transfer.metric.threshold, self.watched_empty))

    def score(self) -> Scored:
        """Score the test cases."""
        cases, protocol, pixels = self.cases, self.transfer.metric, self.cases.source.pixels
        wanted = {name: metric_of(name) for name in cases.spec.metrics}
        measures = self._measures(wanted.values())
        test, _ = self.counts(cases.test, measures=measures)
        measured = {} if measures is None else measures.values
        segmented = Segmented.of(
            test,
            protocol.threshold,
            protocol.empty_score,
            validation=self.counts(cases.validation)[0],
            pixels=int(np.prod(pixels.masks.shape[1:])),
            measured=measured,
        )
        values = {name: metric.value(segmented) for name, metric in wanted.items() if metric.fits(Segmented)}
        overlap, predicted = test.at(protocol.threshold)
        return Scored(
            values,
            {
                "empty_masks": int((test.true == 0).sum()),
                "pixels_labelled": int(np.asarray(pixels.masks[cases.source.rows]).sum()),
            },
            {
                "overlap": overlap,
                "predicted": predicted,
                "true": test.true,
                "resamples": next(iter(wanted.values())).resample(segmented, *cases.draw),
                **{MEASURED + name: found for name, found in measured.items()},
            },
        )

    def _measures(self, wanted: Iterable[Metric]) -> Measures | None:
        """Return what is measured on the masks; None where no metric of the task asks for it."""
        of_masks = [metric for metric in wanted if metric.of_masks is not None]
        if not of_masks:
            return None
        spacing = spacing_of(self.transfer.metric.spacing_mm, patches_of(self.cases.source.pixels.manifest))
        if spacing is None:  # the plan refuses it; a trial may come from elsewhere
            raise ConfigurationError(
                f"{of_masks[0].label} of {self.cases.spec.task} is in {of_masks[0].unit}; found no spacing of its "
                "pixels; expected millimetres along each axis; write options: {transfer: {metric: {spacing_mm: […]}}}"
            )
        return Measures(of_masks, spacing)
