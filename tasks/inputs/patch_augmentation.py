"""Augmentation of patches: flips, transposition and quarter turns in the plane, Gaussian noise (DiRA App. C.2).

The paper names the operations and no magnitudes. Chosen here: each axis is flipped, the plane transposed and turned by
90, 180 or 270° with the configured probabilities; noise has a standard deviation drawn from U(0, ``noise_std``), as
Models Genesis draws it (it calls the number a variance). Whatever is drawn is a function of (seed, epoch, sample).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from harness.packed import to_device
from tasks.inputs.draws import sample_seeds, uniforms
from tasks.patch_options import VolumeAugmentation

DRAWS = 8  # flip x, y, z; transpose; rotate, quarter turns; noise, its strength
NOISE = 0x5EED  # sets the seeds of the noise apart from those of the draws


def augment(
    images: Tensor,
    masks: Tensor | None,
    seed: int,
    epochs: np.ndarray,
    samples: np.ndarray,
    options: VolumeAugmentation,
) -> tuple[Tensor, Tensor | None]:
    """Augment a batch; masks move with their images.

    Args:
        images: float32 in [0, 1] ``(B, C, X, Y, Z)``.
        masks: ``(B, X, Y, Z)``, or None.
        seed: ``TrialSpec.seeds.augment``.
        epochs: Of each sample ``(B,)``.
        samples: Positions in the training set ``(B,)``.
        options: With which probability each move is made.

    Returns:
        Of the same shapes. Values are not clipped after noise. A plane that is not square is never transposed, and
        turned by 180° only.
    """
    draws = uniforms(seed, epochs, samples, DRAWS)
    seeds = sample_seeds(seed ^ NOISE, epochs, samples)
    square = images.shape[2] == images.shape[3]
    noisy = np.flatnonzero(draws[:, 6] < options.noise)
    drawn = [
        np.random.Generator(np.random.PCG64(int(seeds[i]))).standard_normal(images.shape[1:], dtype=np.float32)
        for i in noisy
    ]
    noises = dict(zip(noisy.tolist(), to_device(drawn, images.device), strict=True))
    moved, followed = [], []
    for i, draw in enumerate(draws):
        flips = [axis - 3 for axis in range(3) if draw[axis] < options.flip]
        transpose = square and draw[3] < options.transpose
        turns = 0 if draw[4] >= options.rotate else 1 + int(3 * draw[5]) if square else 2
        image = _move(images[i], flips, transpose, turns)
        if i in noises:
            image = image + float(options.noise_std * draw[7]) * noises[i]
        moved.append(image)
        if masks is not None:
            followed.append(_move(masks[i], flips, transpose, turns))
    return torch.stack(moved), None if masks is None else torch.stack(followed)


def _move(volume: Tensor, flips: list[int], transpose: bool, turns: int) -> Tensor:
    """Move the last three axes."""
    if transpose:
        volume = volume.transpose(-3, -2)
    if turns:
        volume = torch.rot90(volume, turns, (-3, -2))
    return torch.flip(volume, flips) if flips else volume
