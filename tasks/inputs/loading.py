"""From a cohort to batches: which samples in which order, gathered from the memory map, deformed where asked for.

A sample is known by (epoch, position in the training set); whatever is drawn for it is a function of that and of the
trial's seed. So the number of loader processes changes no number.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from harness.pixels import Pixels
from harness.seeding import seed
from tasks.cohorts.decode import to_square
from tasks.inputs.deformation import Deformation  # here, so that the fork server pays its library's half second, once
from tasks.inputs.draws import sample_seeds
from tasks.options import DeformationAugmentation


@dataclass(frozen=True)
class Batch:
    """Samples of one optimiser step.

    Attributes:
        epochs, samples: Which samples, int64 ``(B,)``; ``samples`` are positions in the training set.
        images: uint8 ``(B, S, S)``.
        masks: uint8 in {0, 1} ``(B, S, S)``, or empty.
    """

    epochs: np.ndarray
    samples: np.ndarray
    images: np.ndarray
    masks: np.ndarray


Samples = tuple[np.ndarray, np.ndarray]  # epochs and positions of a step's samples, as in ``Batch``


def batches(count: int, size: int, order_seed: int, *, steps: int | None, epochs: int | None) -> Iterator[Samples]:
    """Yield (epochs, samples) of each step.

    With ``steps``: exactly so many batches of exactly ``size``, cut from the epochs' permutations laid end to end; a
    batch may hold a sample of the next epoch, and with fewer samples than ``size`` one sample several times, each
    augmented anew. With ``epochs``: batches never cross an epoch; a last batch of a single sample joins the one before,
    because batch statistics of one sample mean little.

    Args:
        count: Training samples.
        size: Batch.
        order_seed: ``TrialSpec.seeds.order``; an epoch's permutation is drawn from it and the epoch.
        steps: Optimiser steps, or None.
        epochs: Epochs, or None.
    """

    def permutation(epoch: int) -> np.ndarray:
        return np.random.Generator(np.random.PCG64(seed(order_seed, "epoch", epoch))).permutation(count)

    if steps is not None:
        epoch, left = 0, permutation(0)
        for _ in range(steps):
            parts, tags, need = [], [], size
            while need:
                if not len(left):
                    epoch, left = epoch + 1, permutation(epoch + 1)
                taken, left = left[:need], left[need:]
                parts.append(taken)
                tags.append(np.full(len(taken), epoch))
                need -= len(taken)
            yield np.concatenate(tags), np.concatenate(parts)
        return
    for epoch in range(epochs or 0):
        order = permutation(epoch)
        cuts = list(range(size, count, size))
        if cuts and count - cuts[-1] == 1:
            cuts.pop()
        for part in np.split(order, cuts):
            yield np.full(len(part), epoch), part


def batches_per_epoch(count: int, size: int) -> int:
    """Return how many batches ``batches`` cuts an epoch into."""
    number = math.ceil(count / size)
    return number - 1 if number > 1 and count % size == 1 else number


class _Steps(Dataset):
    """Maps a step's (epochs, samples) to its ``Batch``; what a loader process runs."""

    def __init__(
        self,
        pixels: Pixels,
        rows: np.ndarray,
        side: int,
        deformation: DeformationAugmentation | None,
        augment_seed: int,
    ) -> None:
        self.pixels, self.rows, self.side = pixels, rows, side
        self.options, self.augment_seed = deformation, augment_seed
        self.deform: Deformation | None = None

    def __getitem__(self, step: Samples) -> Batch:
        epochs, samples = step
        images, masks = gather(self.pixels, self.rows[samples], self.side, masks=self.options is not None)
        if self.options is not None:
            if self.deform is None:  # made where it is used, so nothing of the library crosses processes
                self.deform = Deformation(self.options, self.side)
            seeds = sample_seeds(self.augment_seed, epochs, samples)
            for i in range(len(images)):
                images[i], masks[i] = self.deform(images[i], masks[i], int(seeds[i] >> np.uint64(33)))
        return Batch(epochs, samples, images, masks)


def gather(pixels: Pixels, rows: np.ndarray, side: int | None, *, masks: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return copies of images and, if asked for, masks, resized to ``side`` where the cache has another size."""
    images = np.asarray(pixels.images[rows])
    found = np.asarray(pixels.masks[rows]) if masks else np.empty((0, 0, 0), np.uint8)
    if side is not None and masks and images.shape[-1] != side:
        images = np.stack([to_square(image, side, "area") for image in images])
        found = np.stack([cv2.resize(m, (side, side), interpolation=cv2.INTER_NEAREST_EXACT) for m in found])
    return images, found


def load(
    steps: Iterator[Samples],
    pixels: Pixels,
    rows: np.ndarray,
    *,
    side: int,
    deformation: DeformationAugmentation | None,
    augment_seed: int,
    workers: int,
) -> Iterator[Batch]:
    """Yield the batches, from this process or from ``workers`` others; the batches are the same."""
    dataset = _Steps(pixels, rows, side, deformation, augment_seed)
    if workers == 0:
        for step in steps:
            yield dataset[step]
        return
    loader = DataLoader(
        dataset,
        sampler=steps,
        batch_size=None,
        num_workers=workers,
        collate_fn=_as_is,
        generator=torch.Generator().manual_seed(0),  # it draws a seed for its workers, which nothing uses
    )
    yield from loader


def to_device(array: np.ndarray, device: str) -> Tensor:
    """Bring an array to a device; to a GPU from page-locked memory, so that nobody waits for the copy."""
    tensor = torch.from_numpy(array)
    if device.startswith("cuda"):
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def _as_is(batch: Batch) -> Batch:
    return batch


class OrderHash:
    """Collects what was trained on, in order; ``first`` is the first batch as it left the loader."""

    def __init__(self) -> None:
        self._whole = hashlib.sha256()
        self.first = ""

    def add(self, batch: Batch) -> None:
        """Take note of a batch."""
        key = self._note((batch.epochs, batch.samples))
        if not self.first:
            self.first = hashlib.sha256(key + batch.images.tobytes() + batch.masks.tobytes()).hexdigest()

    def again(self, steps: Iterable[Samples], first: str) -> None:
        """Take note of the steps of an earlier attempt, whose first batch is known."""
        self.first = first
        for step in steps:
            self._note(step)

    def _note(self, step: Samples) -> bytes:
        epochs, samples = step
        key = epochs.astype(np.int64).tobytes() + samples.astype(np.int64).tobytes()
        self._whole.update(key)
        return key

    @property
    def order(self) -> str:
        """SHA-256 of the samples of every step so far."""
        return self._whole.hexdigest()
