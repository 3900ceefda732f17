"""Reading image files: grey, whole, and never from outside the data root."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from harness.errors import DataError


def read_grey(path: Path) -> np.ndarray:
    """Return an image as uint8 grey ``(height, width)``.

    Colour and alpha are dropped by the ITU-R 601 luma, which is exact on grey images stored as RGB or RGBA.

    Raises:
        DataError: If the file is absent, truncated, or no image.
    """
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("L"))
    except FileNotFoundError:
        raise DataError(f"no image {path}; expected every listed image to be there; fetch it again") from None
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise DataError(f"{path} cannot be read as an image ({error}); expected a whole file; fetch it again") from None


def image_size(path: Path) -> tuple[int, int]:
    """Return (width, height) from the header alone.

    Raises:
        DataError: If the file is absent or no image.
    """
    try:
        with Image.open(path) as image:
            return image.size
    except (UnidentifiedImageError, OSError) as error:
        raise DataError(f"{path} cannot be read as an image ({error}); expected a whole file; fetch it again") from None


def plain_name(name: str, where: str) -> str:
    """Return a file name taken from a CSV or a list, if it stays inside the data root.

    Raises:
        DataError: If it holds a folder separator, a parent folder or a drive.
    """
    if not name or name in {".", ".."} or any(c in name for c in "/\\:\0"):
        raise DataError(f'"{name}" in {where} is no plain file name; expected one without folders; correct that line')
    return name
