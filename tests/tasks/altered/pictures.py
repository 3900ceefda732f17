"""Alterations of pictures: depth, mode, size and coding of PNG and JPEG files, and tags of single DICOM images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.tasks.altered.files import Finder, one, replace
from tests.tasks.altered.judging import Alteration


def of_png(find: Finder) -> dict[str, Alteration]:
    """Return what can be done to PNG files."""
    import cv2

    def stored(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path, np.random.Generator], str]:
        def alter(root: Path, generator: np.random.Generator) -> str:
            path = one(find(root), generator)
            done, content = cv2.imencode(path.suffix, change(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)))
            assert done
            replace(path, content.tobytes())
            return f"{path.name} stored otherwise"

        return alter

    changes: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "sixteen_bits": lambda image: image.astype(np.uint16) * 16,
        "sixteen_bits_high": lambda image: image.astype(np.uint16) * 257,
        "colours_alike": lambda image: np.stack([image] * 3, -1),
        "colours": lambda image: np.stack([image, 255 - image, image // 2], -1),
        "with_alpha": lambda image: np.stack([image] * 3 + [np.full_like(image, 255)], -1),
        "see_through": lambda image: np.stack([image] * 3 + [image // 2], -1),
        "smaller": lambda image: image[::2, ::2],
    }
    return {name: stored(change) for name, change in changes.items()}


def of_jpeg(find: Finder) -> dict[str, Alteration]:
    """Return what can be done to JPEG files without coding them anew, which would change pixels by right."""

    def turned(root: Path, generator: np.random.Generator) -> str:
        """Say in an EXIF tag that the picture is to be shown turned."""
        path = one(find(root), generator)
        exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
        content = path.read_bytes()
        segment = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
        replace(path, content[:2] + segment + content[2:])
        return f"{path.name} with an EXIF turn"

    def trailing(root: Path, generator: np.random.Generator) -> str:
        path = one(find(root), generator)
        replace(path, path.read_bytes() + b"trailing bytes")
        return f"{path.name} with bytes behind its end"

    def other_kind(root: Path, generator: np.random.Generator) -> str:
        path = one(find(root), generator)
        replace(path, b"<html><body>404 Not Found</body></html>")
        return f"{path.name} is a page"

    return {"turned": turned, "trailing": trailing, "other_kind": other_kind}


def of_dicom(find: Finder) -> dict[str, Alteration]:
    """Return what can be done to single DICOM images."""
    import pydicom

    def some(name: str, *changes: Callable[[Any], object]) -> Callable[[Path, np.random.Generator], str]:
        def alter(root: Path, generator: np.random.Generator) -> str:
            path = one(find(root), generator)
            data = pydicom.dcmread(path)
            changes[int(generator.integers(len(changes)))](data)
            path.unlink()
            data.save_as(path)
            return f"{path.name}: {name}"

        return alter

    def tag(name: str, value: Any) -> Callable[[Any], object]:
        return lambda data: setattr(data, name, value)

    def pixels(count: int) -> Callable[[Any], object]:
        def change(data: Any) -> None:
            packed = data.file_meta.TransferSyntaxUID.is_compressed
            data.PixelData = pydicom.encaps.encapsulate([bytes(max(count, 2))]) if packed else bytes(count)

        return change

    def undecodable(data: Any) -> None:
        data.file_meta.TransferSyntaxUID = pydicom.uid.JPEGLSLossless
        data.PixelData = pydicom.encaps.encapsulate([data.PixelData])
        data["PixelData"].is_undefined_length = True

    return {
        "bits": some("bits", tag("BitsStored", 12), tag("BitsAllocated", 16), tag("PixelRepresentation", 1)),
        "colours": some("colours", tag("SamplesPerPixel", 3), tag("PhotometricInterpretation", "RGB")),
        "frames": some("frames", tag("NumberOfFrames", 2), tag("NumberOfFrames", None)),
        "rescale": some("rescale", tag("RescaleSlope", None), tag("RescaleSlope", 2), tag("RescaleIntercept", -5)),
        "size": some("size", tag("Rows", 7), tag("Columns", None), lambda d: d.pop("Rows")),
        "pixels": some("pixels", lambda d: d.pop("PixelData"), pixels(0), pixels(10)),
        "undecodable": some("no decoder", undecodable),
    }
