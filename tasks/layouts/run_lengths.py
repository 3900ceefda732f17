"""Run lengths of SIIM-ACR: relative, down the columns first.

``gap length gap length …``: each gap counts from the end of the run before it, pixels are numbered down the first
column, then the second. ``-1`` stands for no foreground. (Proven on the real file: every string ends inside 1024², and
read down the columns the masks are whole.)
"""

from __future__ import annotations

import re

import numpy as np

from harness.errors import DataError

EMPTY = "-1"
_PAIRS = re.compile(r"[0-9]{1,9} +[0-9]{1,9}(?: +[0-9]{1,9} +[0-9]{1,9})*")


def parse_runs(text: str, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Return gaps and lengths, int64 ``(runs,)`` each; both empty for ``-1``.

    Args:
        text: The value of the column, spaces about it allowed.
        where: What the error names: the image and the file.

    Raises:
        DataError: If it is not pairs of whole numbers, or a run has no pixel.
    """
    text = text.strip()
    if text == EMPTY:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    if not _PAIRS.fullmatch(text):
        shown = text if len(text) <= 40 else f"{text[:40]}…"
        raise DataError(
            f'the run lengths of {where} are "{shown}"; expected -1 or pairs of whole numbers; fetch the file again'
        )
    numbers = np.array(text.split(), dtype=np.int64)
    gaps, lengths = numbers[::2], numbers[1::2]
    if (lengths < 1).any():
        raise DataError(f"the run lengths of {where} hold a run of 0 pixels; expected at least 1; fetch the file again")
    return gaps, lengths


def last_pixel(gaps: np.ndarray, lengths: np.ndarray) -> int:
    """Return the number of pixels up to the end of the last run."""
    return int(gaps.sum() + lengths.sum())


def looks_absolute(gaps: np.ndarray, lengths: np.ndarray, pixels: int) -> bool:
    """Say whether runs that overflow an image as relative ones would fit it as absolute ones.

    Re-uploads circulate whose first numbers count from the image's first pixel (0 or 1): then they ascend, each beyond
    the end of the run before.
    """
    if last_pixel(gaps, lengths) <= pixels or len(gaps) < 2:
        return False
    ascend = bool((gaps[1:] >= gaps[:-1] + lengths[:-1]).all())
    return ascend and int(gaps[-1] + lengths[-1]) <= pixels + 1


def decode_runs(text: str, shape: tuple[int, int], where: str) -> np.ndarray:
    """Return the mask, uint8 in {0, 1} ``(height, width)``.

    Raises:
        DataError: For malformed runs, or runs that end beyond the image.
    """
    height, width = shape
    gaps, lengths = parse_runs(text, where)
    end = last_pixel(gaps, lengths)
    if end > height * width:
        raise DataError(
            f"the run lengths of {where} end at pixel {end}; expected at most {height * width} ({height}×{width}); "
            + ("they look absolute, expected relative ones; " if looks_absolute(gaps, lengths, height * width) else "")
            + "fetch the organisers' file"
        )
    counts = np.append(np.stack([gaps, lengths], axis=1).ravel(), height * width - end)
    values = np.append(np.tile(np.array([0, 1], np.uint8), len(gaps)), np.uint8(0))
    return np.ascontiguousarray(np.repeat(values, counts).reshape(width, height).T)


def encode_runs(mask: np.ndarray) -> str:
    """Return the run lengths of a mask ``(height, width)``; what is not 0 is foreground.

    Example:
        >>> mask = np.array([[0, 1], [1, 1]])
        >>> encode_runs(mask)
        '1 3'
        >>> decode_runs(encode_runs(mask), (2, 2), "a mask").tolist() == mask.tolist()
        True
    """
    flat = (np.asarray(mask).T.ravel() > 0).astype(np.int8)
    edges = np.flatnonzero(np.diff(flat, prepend=0, append=0))
    if not len(edges):
        return EMPTY
    starts, ends = edges[::2], edges[1::2]
    gaps = starts - np.append(0, ends[:-1])
    return " ".join(f"{gap} {length}" for gap, length in zip(gaps, ends - starts, strict=True))
