"""The views of one sample by PIL and torchvision, image by image: slow, and the oracle of the fast ways."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter
from torchvision.transforms import functional as transforms

from methods.view_parameters import ViewParameters
from methods.views import distort


def crop(image: Image.Image, box: np.ndarray, px: int) -> Image.Image:
    """Cut and resize with antialiased bilinear interpolation, as ``RandomResizedCrop`` on a PIL image."""
    top, left, height, width = (int(value) for value in box)
    made: Image.Image = transforms.resized_crop(image, top, left, height, width, [px, px])
    return made


def transform(view: Image.Image, of: ViewParameters, row: int) -> Image.Image:
    """Jitter (saturation and hue included), blur, flip and distort a grey or RGB view."""
    if of.jittered[row]:
        adjust = (
            transforms.adjust_brightness,
            transforms.adjust_contrast,
            transforms.adjust_saturation,
            transforms.adjust_hue,
        )
        for step in of.jitter_order[row]:
            view = adjust[step](view, float(of.jitter_factors[row, step]))
    if of.sigma[row] > 0:
        view = view.filter(ImageFilter.GaussianBlur(radius=float(of.sigma[row])))
    if of.flipped[row]:
        view = view.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    pixels = np.asarray(view)
    if pixels.ndim == 2:
        return Image.fromarray(distort(pixels, of, row))
    return Image.fromarray(np.stack([distort(pixels[..., c], of, row) for c in range(pixels.shape[-1])], axis=-1))
