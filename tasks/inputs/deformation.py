"""Segmentation augmentation: the paper's five transforms from albumentations 2.0.8, behind this one module.

The authors used version 0.4.3 with its defaults. What has changed, and what is done about it (``docs/deviations.md``):

* ``alpha_affine`` of the elastic transform is ignored with a mere warning: a separate affine of the same displacement
  follows the elastic deformation;
* ``shift_limit`` of the optical distortion likewise: an explicit shift follows it;
* the border is filled with a constant by default: ``border_mode`` is always given;
* grey levels are raised to γ, where 0.4.3 raised them to 1/γ: the reciprocal limits are given.
"""

from __future__ import annotations

import math
import os
import random

import cv2
import numpy as np

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it would ask the network for a newer version when imported

import albumentations as A

from tasks.options import DeformationAugmentation

cv2.setNumThreads(0)
BORDERS = {"reflect": cv2.BORDER_REFLECT_101, "constant": cv2.BORDER_CONSTANT}


class Deformation:
    """The augmentation of one image and its mask; the same seed gives the same result in any process."""

    def __init__(self, options: DeformationAugmentation, side: int) -> None:
        border = BORDERS[options.border]
        self.numbers, self.python = np.random.Generator(np.random.PCG64(0)), random.Random(0)
        self.compose = A.Compose(
            [
                A.OneOf(_intensity(options), p=options.intensity),
                A.OneOf(_shapes(options, side, border), p=options.deformation),
                A.RandomSizedCrop(
                    min_max_height=options.crop_px, size=(side, side), w2h_ratio=1.0, p=options.sized_crop
                ),
            ]
        )
        # one pair of generators for all transforms: seeded one by one they would draw the same numbers
        self.compose.set_random_state(self.numbers, self.python)

    def __call__(self, image: np.ndarray, mask: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Deform.

        Args:
            image: uint8 ``(S, S)``.
            mask: uint8 in {0, 1} ``(S, S)``.
            seed: Of everything drawn for this sample.

        Returns:
            Image and mask, of the same shapes and types.
        """
        self.numbers.bit_generator.state = np.random.PCG64(seed).state
        self.python.seed(seed)
        made = self.compose(image=image, mask=mask)
        return made["image"], made["mask"]


def _intensity(options: DeformationAugmentation) -> list[A.BasicTransform | A.BaseCompose]:
    low, high = options.gamma
    return [
        A.RandomBrightnessContrast(brightness_limit=options.brightness, contrast_limit=options.contrast, p=1.0),
        A.RandomGamma(gamma_limit=(100.0 / high, 100.0 / low), p=1.0),
    ]


def _shapes(options: DeformationAugmentation, side: int, border: int) -> list[A.BasicTransform | A.BaseCompose]:
    """Elastic with its affine, grid distortion, optical distortion with its shift."""
    # three points, a third of the image from its middle, each moved by up to affine_px: so much the matrix changed
    spread = options.affine_px / (side / 3.0)
    shift = options.optical_shift / side
    return [
        A.Sequential(
            [
                A.ElasticTransform(
                    alpha=options.elastic_alpha,
                    sigma=options.elastic_sigma,
                    noise_distribution="uniform",  # as the library had it in 0.4.3; its gaussian moves 0.4 as far
                    border_mode=border,
                    p=1.0,
                ),
                A.Affine(
                    scale=(1.0 - spread, 1.0 + spread),
                    rotate=(-math.degrees(spread), math.degrees(spread)),
                    shear=(-math.degrees(spread) / 2, math.degrees(spread) / 2),
                    translate_percent=(-options.affine_px / side, options.affine_px / side),
                    border_mode=border,
                    p=1.0,
                ),
            ]
        ),
        A.GridDistortion(
            num_steps=options.grid_steps,
            distort_limit=(-options.grid_limit, options.grid_limit),
            normalized=False,  # 0.4.3 knew no other; normalized, the grid is drawn back and moves less
            border_mode=border,
            p=1.0,
        ),
        A.Sequential(
            [
                A.OpticalDistortion(
                    distort_limit=(-options.optical_limit, options.optical_limit), border_mode=border, p=1.0
                ),
                A.Affine(translate_percent=(-shift, shift), border_mode=border, p=1.0),
            ]
        ),
    ]
