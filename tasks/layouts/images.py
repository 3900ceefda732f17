"""Reading image files: what they hold is looked at before anything is converted, and never from outside the data root.

Libraries convert in silence, and not alike: of 16 bits Pillow cuts off at 255 or keeps the upper eight, OpenCV divides
by 256. So what is read is a PNG or JPEG with one picture of 8-bit grey, upright and opaque; the same grey stored as
colour or as a palette is that grey. Anything else is refused by name.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from harness.errors import DataError
from harness.late import Image
from tasks.layouts.index import Finding
from tasks.layouts.plain_png import read_plain

FORMATS = ("PNG", "JPEG")
GREY, COLOURED, TRANSPARENT = ("1", "L"), ("P", "RGB"), ("LA", "PA", "RGBA")
COLOUR_TOLERANCE = 8  # levels between the channels of a grey picture that was stored as a colour JPEG
ORIENTATION, UPRIGHT = 0x0112, 1  # EXIF
MASK_VALUES = ({0, 255}, {0, 1})
PNG_SIGNATURE, PNG_DEPTH = b"\x89PNG\r\n\x1a\n", 24  # where the header says how many bits a channel has
EIGHT = "expected 8-bit grey"


def read_grey(
    path: Path, white: int | None = None, *, bilevel: bool = False, colour: bool = False, white_option: str = ""
) -> np.ndarray:
    """Return an image as uint8 grey ``(height, width)``.

    Colours become the ITU-R 601 luma, which is exact where the three channels are equal.

    Args:
        path: The file.
        white: The value of a 16-bit grey PNG that becomes 255; the others follow in proportion, rounded half to even.
            None: 16 bits are refused.
        bilevel: Whether one bit a pixel is welcome, as of a mask.
        colour: Whether a picture in colour is welcome and loses it. False: it is refused.
        white_option: The option by which an entry gives ``white``, for the message; empty if it cannot.

    Raises:
        DataError: If the file is absent, truncated, no PNG or JPEG, or holds anything but one upright opaque 8-bit grey
            picture; for a 16-bit value above ``white``.
    """
    plain = read_plain(path)
    if plain is not None:
        return plain
    try:
        with Image.open(path, formats=FORMATS) as image:
            if white is not None and image.mode.startswith("I"):
                return _scaled(path, np.asarray(image), white)
            problem = _problem(path, image, bilevel)
            if problem:
                deep = white_option and image.mode.startswith("I")
                advice = f", or write {white_option}: VALUE, the one that becomes 255" if deep else ""
                raise DataError(f"{path} {problem}; convert it, or fetch it again{advice}")
            grey = image.convert("L")
            if image.mode not in GREY:
                _require_grey(path, image, colour)
            return np.asarray(grey)
    except DataError:
        raise
    except Exception as error:  # a damaged file makes decoders raise nearly anything
        raise _damaged(path, error) from None


def read_binary(path: Path) -> np.ndarray:
    """Return a mask as uint8 in {0, 1} ``(height, width)``.

    Raises:
        DataError: As ``read_grey``; for values other than 0 and 255, or 0 and 1.
    """
    mask = read_grey(path, bilevel=True)
    values = np.unique(mask)
    if not any(set(values.tolist()) <= known for known in MASK_VALUES):
        shown = ", ".join(map(str, values[:5].tolist())) + (" …" if len(values) > 5 else "")
        raise DataError(f"{path} holds {shown}; expected a mask of 0 and 255, or 0 and 1; fetch it again")
    return (mask > 0).astype(np.uint8)


def image_size(path: Path) -> tuple[int, int]:
    """Return (width, height) from the header alone.

    Raises:
        DataError: If the file is absent or no image.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            return image.size
    except Exception as error:
        raise _damaged(path, error) from None


def shape_of(path: Path) -> tuple[int, ...] | Finding:
    """Open an image and return its shape ``(height, width)``, or a failure that says what is wrong with it."""
    try:
        return read_grey(path).shape
    except DataError as error:
        return Finding("fail", str(error))


def plain_name(name: str, where: str) -> str:
    """Return a file name taken from a CSV or a list, if it stays inside the data root.

    Raises:
        DataError: If it holds a folder separator, a parent folder or a drive.
    """
    if not name or name in {".", ".."} or any(c in name for c in "/\\:\0"):
        raise DataError(f'"{name}" in {where} is no plain file name; expected one without folders; correct that line')
    return name


def _problem(path: Path, image: Image.Image, bilevel: bool) -> str:
    """Say what is against reading an image as it is, from its headers; empty if nothing is."""
    depth = _bits(path)
    if depth > 8 or image.mode[0] in "IF":
        return f"is a {max(depth, 16)}-bit image; {EIGHT}"
    if image.mode == "1" and not bilevel:
        return f"is a 1-bit image; {EIGHT}"
    if image.mode not in (*GREY, *COLOURED, *TRANSPARENT):
        return f"is an image of mode {image.mode}; {EIGHT}"
    if getattr(image, "n_frames", 1) != 1:
        return f"holds {image.n_frames} pictures; expected one"  # type: ignore[attr-defined]
    turned = image.getexif().get(ORIENTATION, UPRIGHT)
    if turned != UPRIGHT:
        return f"says by EXIF orientation {turned} that it lies turned or mirrored; expected an upright one"
    if "transparency" in image.info:
        return f"names a transparent colour; {EIGHT}, opaque"
    return ""


def _bits(path: Path) -> int:
    """Return the bits of a PNG's channel, or 8: the library's mode does not tell 16-bit colour from 8-bit colour."""
    with path.open("rb") as stream:
        head = stream.read(PNG_DEPTH + 1)
    return head[PNG_DEPTH] if head.startswith(PNG_SIGNATURE) and len(head) > PNG_DEPTH else 8


def _require_grey(path: Path, image: Image.Image, colour: bool) -> None:
    """Refuse pictures with transparent pixels or, unless it may be lost, with a colour."""
    channels = np.asarray(image.convert("RGBA")).astype(np.int16)
    if (channels[..., 3] != 255).any():
        raise DataError(f"{path} has transparent pixels; {EIGHT}, opaque; convert it, or fetch it again")
    apart = int(np.ptp(channels[..., :3], axis=2).max())
    if apart > COLOUR_TOLERANCE and not colour:
        raise DataError(
            f"{path} is a picture in colour (its channels differ by up to {apart} levels); {EIGHT}; "
            "convert it, or fetch it again"
        )


def _scaled(path: Path, image: np.ndarray, white: int) -> np.ndarray:
    values = image.astype(np.int64)
    if values.max() > white:
        raise DataError(
            f"{path} holds the value {values.max()} above options.cohort.adapter.white {white}; "
            "expected none; correct the entry"
        )
    return np.rint(values * 255 / white).astype(np.uint8)


def _damaged(path: Path, error: Exception) -> DataError:
    from PIL import UnidentifiedImageError

    if isinstance(error, FileNotFoundError):
        return DataError(f"no image {path}; expected every listed image to be there; fetch it again")
    reason = "it is no PNG and no JPEG" if isinstance(error, UnidentifiedImageError) else error
    return DataError(f"{path} cannot be read as an image ({reason}); expected a whole file; fetch it again")
