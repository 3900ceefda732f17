"""Patches of volumes as a 3D network sees them: float32 in [0, 1], moved in the plane, with noise.

A cohort has them as ``(N, X, Y, Z)`` or, with several channels, ``(N, C, X, Y, Z)``: uint8 of which 255 is 1, or
float16.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
from torch import Tensor, nn

from harness.packed import loaders
from harness.pixels import Pixels
from tasks.inputs.interface import Source
from tasks.inputs.loading import Batch, Samples, batches, load, to_device
from tasks.inputs.patch_augmentation import augment
from tasks.specs import PatchTransfer

EVALUATION_VOXELS = 2**22  # at once: 32 patches of 64×64×32, 2,048 of the miniature's


def channels_of(pixels: Pixels) -> int:
    """Return how many channels the patches of a cohort have."""
    return int(pixels.images.shape[1]) if pixels.images.ndim == 5 else 1


class _Patches:
    """What both kinds of patches share.

    Args:
        source: The cohort and its training rows.
        transfer: The resolved transfer.
    """

    def __init__(self, source: Source, transfer: PatchTransfer) -> None:
        self.source, self.transfer, self.pixels, self.device = source, transfer, source.pixels, source.device

    def place(self, model: nn.Module) -> nn.Module:
        """Move the model."""
        return model.to(self.device)

    def order(self) -> Iterator[Samples]:
        """Yield which samples each step has."""
        source, transfer = self.source, self.transfer
        length = {"steps": transfer.steps, "epochs": transfer.epochs}
        return batches(len(source.rows), transfer.batch, source.seeds.order, **length)

    def steps(self, done: int = 0) -> Iterator[Batch]:
        """Yield the training batches; masks are gathered with the loss."""
        source = self.source
        return load(
            itertools.islice(self.order(), done, None),
            source.pixels,
            source.rows,
            side=source.pixels.images.shape[-1],
            deformation=None,
            augment_seed=source.seeds.augment,
            workers=loaders(source.workers, self.device),
        )

    def on_device(self, images: np.ndarray) -> Tensor:
        """Return patches as float32 ``(B, C, X, Y, Z)`` in [0, 1]."""
        volumes = to_device(images, self.device).float()
        if images.dtype == np.uint8:
            volumes = volumes.div_(255.0)
        return volumes if volumes.ndim == 5 else volumes[:, None]

    def augmented(self, batch: Batch, masks: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return a batch augmented, and its masks moved with it."""
        seed, options = self.source.seeds.augment, self.transfer.augmentation
        return augment(self.on_device(batch.images), masks, seed, batch.epochs, batch.samples, options)

    def parts(self, rows: np.ndarray) -> Iterator[np.ndarray]:
        """Yield rows in groups that fit into memory together."""
        size = max(1, EVALUATION_VOXELS // int(np.prod(self.pixels.images.shape[1:])))
        for start in range(0, len(rows), size):
            yield rows[start : start + size]


class LabelledPatches(_Patches):
    """Patches whose labels are learnt."""

    def trained(self, batch: Batch) -> Tensor:
        """Return a batch augmented."""
        return self.augmented(batch, None)[0]

    def evaluated(self, rows: np.ndarray, *, ten_crop: bool) -> Iterator[tuple[Tensor, int]]:
        """Yield patches as they are; there are no crops of them."""
        for part in self.parts(rows):
            yield self.on_device(np.asarray(self.pixels.images[part])), 1


class MaskedPatches(_Patches):
    """Patches whose foreground is learnt."""

    def trained(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return a batch and its masks, augmented together."""
        rows = self.source.rows[batch.samples]
        masks = to_device(np.asarray(self.pixels.masks[rows]), self.device).float()
        images, moved = self.augmented(batch, masks)
        return images, masks if moved is None else moved

    def evaluated(self, rows: np.ndarray, *, augmented: bool = False) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield patches and masks as they are; no transfer augments them for validation."""
        for part in self.parts(rows):
            truth = to_device(np.asarray(self.pixels.masks[part]), self.device)
            yield self.on_device(np.asarray(self.pixels.images[part])), truth
