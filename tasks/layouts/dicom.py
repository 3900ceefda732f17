"""Reading radiographs out of DICOM files. The library is loaded when a file is opened: most tasks need none."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from harness.errors import DataError, Unavailable

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

MISSING = 'DICOM files need the package pydicom, which is not installed; run: pip install "dira-bench[data]".'


def installed() -> bool:
    """Say whether the library is there, without loading it."""
    return find_spec("pydicom") is not None


def library() -> ModuleType:
    """Return the module ``pydicom``.

    Raises:
        Unavailable: If the optional extra is not installed.
    """
    try:
        import pydicom
    except ImportError:
        raise Unavailable(MISSING) from None
    module: ModuleType = pydicom
    return module


def _open(path: Path, *, pixels: bool) -> Dataset:
    reader = library()
    try:
        return reader.dcmread(path, stop_before_pixels=not pixels)
    except FileNotFoundError:
        raise DataError(f"no image {path}; expected every listed image to be there; fetch it again") from None
    except Exception as error:  # a damaged file makes the parser raise nearly anything
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> DataError:
    reason = " ".join(str(error).split())[:120] or type(error).__name__
    return DataError(f"{path} cannot be read as DICOM ({reason}); expected a whole file; fetch it again")


def decode(path: Path, data: Dataset) -> np.ndarray:
    """Return the stored numbers of a file's pixels, whatever their depth.

    Args:
        path: Names the file in an error.
        data: The data set that was read from it.

    Raises:
        DataError: If the pixels are damaged, absent, or more or fewer than the header says.
        Unavailable: If no decoder is installed.
    """
    try:
        require_decoder(path, data)
        _expect_length(path, data, (int(data.Rows), int(data.Columns)))
        return np.asarray(data.pixel_array)
    except (DataError, Unavailable):
        raise
    except Exception as error:  # a damaged file makes the decoder raise nearly anything
        raise _damaged(path, error) from error


def _expect(path: Path, data: Dataset) -> tuple[int, int]:
    """Return (height, width); raises for what is no 8-bit grey picture."""
    rows, columns = data.get("Rows"), data.get("Columns")
    found = {
        "SamplesPerPixel": (data.get("SamplesPerPixel", 1), (1,)),
        "BitsAllocated": (data.get("BitsAllocated"), (8,)),
        "BitsStored": (data.get("BitsStored"), (8,)),
        "PixelRepresentation": (data.get("PixelRepresentation", 0), (0,)),
        "NumberOfFrames": (int(data.get("NumberOfFrames") or 1), (1,)),
        "PhotometricInterpretation": (data.get("PhotometricInterpretation"), ("MONOCHROME2", "MONOCHROME1")),
    }
    for name, (value, expected) in found.items():
        if value not in expected:
            wanted = " or ".join(map(str, expected))
            raise DataError(f"{path} has {name} {value}; expected {wanted}, an 8-bit grey radiograph; fetch it again")
    if rescale(path, data) != (1.0, 0.0):
        raise DataError(f"{path} rescales its values by {rescale(path, data)}; expected none in an 8-bit radiograph")
    if not rows or not columns:
        raise DataError(f"{path} has Rows {rows} and Columns {columns}; expected a picture; fetch it again")
    return int(rows), int(columns)


def rescale(path: Path, data: Dataset) -> tuple[float, float]:
    """Return RescaleSlope and RescaleIntercept, (1, 0) where the file has neither.

    Raises:
        DataError: For a tag that is empty, no finite number, or a slope of 0.
    """
    found = []
    for name, usual in (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0)):
        value = data.get(name, usual)
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = float("nan")
        if not np.isfinite(number) or (name == "RescaleSlope" and number == 0):
            said = f"an empty {name}" if value in (None, "") else f"{name} {value}"
            raise DataError(f"{path} has {said}; expected a finite number, a slope not 0, or no such tag; correct it")
        found.append(number)
    return found[0], found[1]


def require_decoder(path: Path, data: Dataset) -> None:
    """Refuse a compressed file whose decoder is not installed, by the decoder's name.

    Raises:
        Unavailable: If a package is missing; the sentence names it.
        DataError: If no package can decode it, or the file does not say how it is encoded.
    """
    syntax = getattr(getattr(data, "file_meta", None), "TransferSyntaxUID", None)
    if syntax is None:
        raise DataError(f"{path} has no TransferSyntaxUID; expected a DICOM file that says how it is encoded")
    if not syntax.is_compressed:
        return
    from pydicom.pixels import get_decoder

    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        raise DataError(f"{path} is encoded as {syntax.name}, which pydicom cannot decode; convert the file") from None
    if not decoder.is_available:
        choices = [_packages(text) for text in decoder.missing_dependencies]
        raise Unavailable(
            f"{path} is compressed as {syntax.name}, and no decoder for it is installed; run: pip install "
            f"{' or '.join(sorted(choices, key=len))}."
        )


def _packages(requirement: str) -> str:
    """Return the packages of ``pylibjpeg - requires pylibjpeg>=2.0 and pylibjpeg-libjpeg>=2.1``, as pip takes them."""
    wanted = requirement.partition(" requires ")[2].split(" and ")
    return " ".join(f'"{text}"' if ">" in text else text for text in wanted)


def _expect_length(path: Path, data: Dataset, shape: tuple[int, int]) -> None:
    """Refuse plain pixels that are more or fewer than the header says, whatever their depth and number of frames.

    The library cuts a surplus off in silence. How long compressed pixels are says nothing.

    Raises:
        DataError: If their bytes are neither what the header says nor that made even.
    """
    if data.file_meta.TransferSyntaxUID.is_compressed:
        return
    width = int(data.BitsAllocated) // 8 * int(data.get("SamplesPerPixel") or 1) * int(data.get("NumberOfFrames") or 1)
    found, expected = len(data.PixelData), shape[0] * shape[1] * width
    if found not in (expected, expected + expected % 2):  # an even number of bytes is the format's rule
        raise DataError(
            f"{path} holds {found} bytes of pixels; expected {expected}, its header's {shape[0]}×{shape[1]}; "
            "fetch it again"
        )


def dicom_shape(path: Path) -> tuple[int, int]:
    """Return (height, width) from the header alone.

    Raises:
        DataError: If the file is absent, damaged, or no 8-bit grey picture.
        Unavailable: Without the library.
    """
    data = _open(path, pixels=False)
    try:
        return _expect(path, data)
    except DataError:
        raise
    except Exception as error:  # values are converted when they are asked for
        raise _damaged(path, error) from error


def read_dicom(path: Path) -> np.ndarray:
    """Return a radiograph as uint8 grey ``(height, width)``, bright bone; ``MONOCHROME1`` is inverted.

    Raises:
        DataError: If the file is absent, damaged, or no 8-bit grey picture.
        Unavailable: Without the library.
    """
    data = _open(path, pixels=True)
    try:
        shape = _expect(path, data)
        image = decode(path, data)
    except (DataError, Unavailable):
        raise
    except Exception as error:  # the same of the decoder and of damaged pixel data
        raise _damaged(path, error) from error
    if image.shape != shape:
        raise DataError(f"{path} holds a picture of {image.shape}; expected its header's {shape}; fetch it again")
    image = image.astype(np.uint8)
    return 255 - image if data.PhotometricInterpretation == "MONOCHROME1" else image
