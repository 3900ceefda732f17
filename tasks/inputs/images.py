"""Images as a 2D network sees them: grey in [0, 1], augmented, normalised, expanded to the backbone's channels."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from harness import packed
from harness.packed import loaders
from tasks.inputs.deformation import Deformation
from tasks.inputs.draws import sample_seeds, uniforms
from tasks.inputs.image_augmentation import DRAWS, moved, moves, normalise, views
from tasks.inputs.interface import Source
from tasks.inputs.loading import Batch, Samples, batches, gather, load, to_device
from tasks.options import DeformationAugmentation
from tasks.specs import ImageClassification, ImageSegmentation, ImageTransfer

BATCH = 256  # images evaluated at once; a tenth of it under ten crops


def grey(images: np.ndarray, device: str) -> Tensor:
    """Return uint8 images as float32 in [0, 1] on a device."""
    on_device: Tensor = to_device(images, device).float().div_(255.0)
    return on_device


class _Images:
    """What both kinds of images share.

    Args:
        source: The cohort and its training rows.
        transfer: The resolved transfer.
        channels: That the backbone wants.
    """

    def __init__(self, source: Source, transfer: ImageTransfer, channels: int) -> None:
        self.source, self.channels, self.device = source, channels, source.device
        self.image_px, self.normalisation = transfer.image_px, transfer.normalisation
        self.batch, self.length = transfer.batch, (transfer.steps, transfer.epochs)

    def place(self, model: nn.Module) -> nn.Module:
        """Move the model; channels last, which convolutions take as it is, on a CPU a seventh sooner."""
        return model.to(self.device, memory_format=torch.channels_last)

    def ready(self, images: Tensor) -> Tensor:
        """Normalise grey ``(B, S, S)`` in [0, 1] and expand it to the backbone's channels."""
        return normalise(images, self.normalisation, self.channels)

    def order(self) -> Iterator[Samples]:
        """Yield which samples each step has."""
        steps, epochs = self.length
        return batches(len(self.source.rows), self.batch, self.source.seeds.order, steps=steps, epochs=epochs)

    def _steps(self, deformation: DeformationAugmentation | None, done: int) -> Iterator[Batch]:
        source = self.source
        return load(
            itertools.islice(self.order(), done, None),
            source.pixels,
            source.rows,
            side=self.image_px,
            deformation=deformation,
            augment_seed=source.seeds.augment,
            workers=loaders(source.workers, self.device),
        )


class LabelledImages(_Images):
    """Images whose labels are learnt: a random crop, flip and rotation on the device."""

    def __init__(self, source: Source, transfer: ImageClassification, channels: int) -> None:
        super().__init__(source, transfer, channels)
        self.transfer = transfer

    def steps(self, done: int = 0) -> Iterator[Batch]:
        """Yield the training batches."""
        return self._steps(None, done)

    def trained(self, batch: Batch) -> Tensor:
        """Return a batch augmented, ready for the model."""
        draws = uniforms(self.source.seeds.augment, batch.epochs, batch.samples, DRAWS)
        told = moves(draws, batch.images.shape[-1], self.transfer.augmentation)
        images, *told_there = packed.to_device([batch.images, *told], torch.device(self.device))
        return self.ready(moved(images.float().div_(255.0), told_there, self.image_px))

    def evaluated(self, rows: np.ndarray, *, ten_crop: bool) -> Iterator[tuple[Tensor, int]]:
        """Yield the middle crop of each image, or ten crops."""
        size = BATCH // 10 if ten_crop else BATCH
        for start in range(0, len(rows), size):
            images = gather(self.source.pixels, rows[start : start + size], None, masks=False)[0]
            several = views(grey(images, self.device), self.image_px, self.transfer.resize_px, ten_crop)
            yield self.ready(several.flatten(0, 1)), len(several)


class MaskedImages(_Images):
    """Images whose foreground is learnt: image and mask are deformed together by the loader."""

    def __init__(self, source: Source, transfer: ImageSegmentation, channels: int) -> None:
        super().__init__(source, transfer, channels)
        self.transfer = transfer
        self._deform: Deformation | None = None

    def steps(self, done: int = 0) -> Iterator[Batch]:
        """Yield the training batches, deformed."""
        return self._steps(self.transfer.augmentation, done)

    def trained(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return a batch ready for the model, and its masks."""
        images, masks = packed.to_device([batch.images, batch.masks], torch.device(self.device))
        return self.ready(images.float().div_(255.0)), masks.float()

    def evaluated(self, rows: np.ndarray, *, augmented: bool = False) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images and masks; ``augmented``: deformed the same way each time, if the transfer asks for it."""
        positions = np.arange(len(rows))
        seeds = sample_seeds(self.source.seeds.augment ^ 1, np.zeros_like(positions), positions)
        for start in range(0, len(rows), BATCH):
            images, masks = gather(self.source.pixels, rows[start : start + BATCH], self.image_px, masks=True)
            if augmented and self.transfer.augment_validation:
                if self._deform is None:
                    self._deform = Deformation(self.transfer.augmentation, self.image_px)
                for i in range(len(images)):
                    images[i], masks[i] = self._deform(images[i], masks[i], int(seeds[start + i] >> np.uint64(33)))
            yield self.ready(grey(images, self.device)), to_device(masks, self.device)
