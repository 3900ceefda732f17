"""A shorter way to the same pixels: a plain grey PNG, decoded by kornia-rs (Rust's ``png``) where that is installed.

PNG is lossless, so every decoder that succeeds gives the same bytes. Only a file that needs no judgement is taken:
8-bit grey, not interlaced, with no chunk that could change how its pixels are meant (transparency, orientation,
animation).
Every other file, and one that does not decode, is Pillow's (``tasks.layouts.images``), and so is each refusal.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Protocol

import numpy as np

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY_8_BITS = bytes((8, 0, 0, 0, 0))  # of IHDR: depth, grey, deflate, the five filters, not interlaced
HEADER = 13  # bytes of IHDR
HARMLESS = frozenset((b"IDAT", b"IEND", b"gAMA", b"cHRM", b"sRGB", b"pHYs", b"tIME", b"bKGD"))
MOST_PIXELS = 89_478_485  # beyond which Pillow warns of a decompression bomb


class Decode(Protocol):
    """``kornia_rs.io.decode_image_png_u8``: uint8 ``(height, width, 1)`` of the bytes of a file."""

    def __call__(self, src: bytes, image_shape: tuple[int, int], mode: str, /) -> np.ndarray:
        """Decode a PNG; raises whatever it likes for a damaged one."""


def read_plain(path: Path) -> np.ndarray | None:
    """Return a plain grey PNG as uint8 ``(height, width)``; None for a file that is not one, or cannot be read so."""
    decode = _decoder()
    if decode is None:
        return None
    try:
        data = path.read_bytes()
        shape = plain_shape(data)
        return None if shape is None else decode(data, shape, "mono")[..., 0]
    except Exception:  # whatever is wrong with it, Pillow's reader says it
        return None


def plain_shape(data: bytes) -> tuple[int, int] | None:
    """Return (height, width) of a plain grey PNG from its chunks; None for any other file."""
    if data[:8] != SIGNATURE or data[8:16] != HEADER.to_bytes(4) + b"IHDR" or data[24:29] != GREY_8_BITS:
        return None
    width, height = int.from_bytes(data[16:20]), int.from_bytes(data[20:24])
    place = 8 + 12 + HEADER
    while (kind := data[place + 4 : place + 8]) != b"IEND":
        if kind not in HARMLESS:
            return None
        place += 12 + int.from_bytes(data[place : place + 4])
    return (height, width) if 0 < width * height <= MOST_PIXELS else None


@cache
def _decoder() -> Decode | None:
    try:
        import kornia_rs

        decode: Decode = kornia_rs.io.decode_image_png_u8
    except (ImportError, AttributeError):  # not installed, does not load here, or is arranged otherwise
        return None
    return decode
