"""The quick PNG decoder gives Pillow's pixels, and leaves to Pillow whatever is not a plain grey PNG."""

from __future__ import annotations

import struct
import zlib
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from harness.errors import DataError
from tasks.layouts import images
from tasks.layouts.plain_png import plain_shape, read_plain
from tests.tasks.test_images import GREY, chunk, save

quick = pytest.mark.skipif(find_spec("kornia_rs") is None, reason="kornia-rs is not installed")
FILTERS = {"none": 8, "sub": 16, "up": 32, "average": 64, "paeth": 128, "all": 248}  # libpng's PNG_FILTER_…


def radiograph(px: int) -> np.ndarray:
    generator = np.random.Generator(np.random.PCG64(px))
    smooth = cv2.resize(generator.uniform(0, 255, (4, 4)).astype(np.float32), (px, px + 3))
    return np.clip(smooth + generator.normal(0, 3, smooth.shape), 0, 255).astype(np.uint8)


@quick
@pytest.mark.parametrize("name", FILTERS)
def test_pixels_are_pillows_under_every_filter(name: str, tmp_path: Path) -> None:
    grey, path = radiograph(257), tmp_path / "grey.png"
    cv2.imwrite(str(path), grey, [cv2.IMWRITE_PNG_FILTER, FILTERS[name], cv2.IMWRITE_PNG_COMPRESSION, 6])
    found = read_plain(path)
    assert found is not None
    assert np.array_equal(found, np.asarray(Image.open(path)))
    assert np.array_equal(found, grey)


def others(tmp_path: Path) -> dict[str, Path]:
    """PNGs whose pixels alone do not say what is meant."""
    grey = Image.fromarray(GREY)
    exif = Image.Exif()
    exif[0x0112] = 6
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", '<x tiff:Orientation="6"/>')
    found = {
        "colour": save(tmp_path / "colour.png", grey.convert("RGB")),
        "deep": save(tmp_path / "deep.png", Image.fromarray(GREY.astype(np.uint16) * 256)),
        "one bit": save(tmp_path / "bit.png", grey.convert("1")),
        "transparent": save(tmp_path / "transparent.png", grey, transparency=0),
        "turned": save(tmp_path / "turned.png", grey, exif=exif),
        "turned by XMP": save(tmp_path / "xmp.png", grey, pnginfo=text),
        "animated": save(tmp_path / "animated.png", grey, save_all=True, append_images=[grey.rotate(90)]),
        "JPEG": save(tmp_path / "grey.jpg", grey),
    }
    header = struct.pack(">IIBBBBB", 16, 16, 8, 0, 0, 0, 1)
    (tmp_path / "interlaced.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IEND", b""))
    return {**found, "interlaced": tmp_path / "interlaced.png"}


def test_a_file_that_takes_judgement_is_left_to_pillow(tmp_path: Path) -> None:
    for name, path in others(tmp_path).items():
        assert plain_shape(path.read_bytes()) is None, name
        assert read_plain(path) is None, name
    assert plain_shape(save(tmp_path / "plain.png", Image.fromarray(GREY)).read_bytes()) == (16, 16)


def test_a_damaged_file_is_refused_in_the_same_words_with_and_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = save(tmp_path / "grey.png", Image.fromarray(radiograph(64))).read_bytes()
    large = bytearray(whole)
    large[16:24] = struct.pack(">II", 60_000, 60_000)
    large[29:33] = struct.pack(">I", zlib.crc32(bytes(large[12:29])))
    for number, data in enumerate((whole[:-40], whole[: len(whole) // 2], whole[:20], b"", bytes(large))):
        path = tmp_path / f"{number}.png"
        path.write_bytes(data)
        said = []
        for reader in (read_plain, lambda _: None):
            monkeypatch.setattr(images, "read_plain", reader)
            with pytest.raises(DataError) as refusal:
                images.read_grey(path)
            said.append(str(refusal.value))
        assert said[0] == said[1]


@quick
def test_a_changed_byte_of_the_pixels_is_never_taken_by_the_quick_decoder(tmp_path: Path) -> None:
    path = save(tmp_path / "grey.png", Image.fromarray(radiograph(64)))
    whole = path.read_bytes()
    start, size = whole.index(b"IDAT") + 4, struct.unpack(">I", whole[whole.index(b"IDAT") - 4 :][:4])[0]
    for place in range(start, start + size, size // 40):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :])
        assert read_plain(path) is None
