"""Reducing pictures: 8-bit grey, Lanczos for images, the nearest pixel for masks.

Bytes depend on the library that writes them, pixels hardly. Pillow 13.0.0 gave the data root of the committed results.
"""

from __future__ import annotations

import io

import numpy as np

from harness.errors import DataError
from harness.late import Image
from tasks.fetching.sources import Original

LARGEST = 64_000_000  # pixels; the largest source has 17.5 million
WHITE = 255


def opened(original: Original) -> Image.Image:
    """Decode a PNG or JPEG.

    Raises:
        DataError: If it is none, is damaged, or has too many pixels.
    """
    try:
        picture = Image.open(io.BytesIO(original.data), formats=("PNG", "JPEG"))
        if picture.width * picture.height > LARGEST:
            raise ValueError(f"{picture.width} × {picture.height} pixels")
        picture.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(
            f"{original.path} of {original.origin} cannot be decoded ({error}); expected a PNG or JPEG of at most "
            f"{LARGEST:,} pixels."
        ) from None
    return picture


def square(picture: Image.Image, side: int) -> Image.Image:
    """Return it as 8-bit grey, ``side`` × ``side`` px; an alpha channel is dropped."""
    return picture.convert("L").resize((side, side), Image.Resampling.LANCZOS)


def shorter_side(picture: Image.Image, side: int) -> Image.Image:
    """Return it as 8-bit grey with a shorter side of at most ``side`` px, of the same shape; never enlarged."""
    factor = min(1.0, side / min(picture.size))
    size = (round(picture.width * factor), round(picture.height * factor))
    return picture.convert("L").resize(size, Image.Resampling.LANCZOS)


def mask(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Return a mask of 0 and 255 of a given (width, height): the nearest pixel, white from 128 on."""
    nearest = np.asarray(picture.convert("L").resize(size, Image.Resampling.NEAREST))
    return Image.fromarray(np.where(nearest > WHITE // 2, WHITE, 0).astype(np.uint8))


def png(picture: Image.Image) -> bytes:
    """Write a PNG."""
    stream = io.BytesIO()
    picture.save(stream, "PNG", optimize=True)  # the size of a file is part of a data root's fingerprint
    return stream.getvalue()


def jpeg(picture: Image.Image, quality: int) -> bytes:
    """Write a JPEG."""
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def mean(data: bytes) -> float:
    """Return the mean grey level of an encoded picture."""
    return float(np.asarray(Image.open(io.BytesIO(data)), dtype=np.float64).mean())
