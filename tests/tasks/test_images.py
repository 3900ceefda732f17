"""Whatever depth and mode an image file has: it is read as the grey it holds, or refused in one sentence."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from harness.errors import DataError
from tasks.layouts.images import read_binary, read_grey

GREY = np.arange(256, dtype=np.uint8).reshape(16, 16)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def write_png(path: Path, pixels: np.ndarray, depth: int, colour: int) -> Path:
    """Write a PNG by hand, as its specification has it: no library decides what is stored."""
    rows = pixels.reshape(pixels.shape[0], -1).astype(">u2" if depth == 16 else np.uint8)
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], depth, colour, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b""))
    return path


def stacked(*channels: np.ndarray) -> np.ndarray:
    return np.stack(channels, axis=-1)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_grey_is_the_same_grey_however_it_is_stored(tmp_path: Path, grey: np.ndarray) -> None:
    solid = np.full_like(grey, 255)
    stored = {"L": (0, grey), "RGB": (2, stacked(grey, grey, grey)), "LA": (4, stacked(grey, solid))}
    stored["RGBA"] = (6, stacked(grey, grey, grey, solid))
    for name, (colour, pixels) in stored.items():
        assert np.array_equal(read_grey(write_png(tmp_path / f"{name}.png", pixels, 8, colour)), grey), name
    palette = Image.fromarray(grey).convert("P")
    palette.save(tmp_path / "P.png")
    assert np.array_equal(read_grey(tmp_path / "P.png"), grey)


@pytest.mark.parametrize(("colour", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_sixteen_bits_are_refused_in_every_mode(colour: int, channels: int, tmp_path: Path) -> None:
    twelve = (GREY.astype(np.uint16) * 16)[..., None].repeat(channels, axis=-1)
    if channels in (2, 4):
        twelve[..., -1] = 65535
    path = write_png(tmp_path / "deep.png", twelve, 16, colour)
    with pytest.raises(DataError, match=r"deep\.png is a 16-bit image; expected 8-bit grey"):
        read_grey(path)


def test_a_stated_white_scales_sixteen_bits_in_proportion(tmp_path: Path) -> None:
    deep = np.array([[0, 1, 8, 9, 2048, 4094, 4095]], np.uint16)
    path = write_png(tmp_path / "deep.png", deep, 16, 0)
    assert read_grey(path, 4095).tolist() == [[round(v * 255 / 4095) for v in deep[0].tolist()]]
    with pytest.raises(DataError, match=r"holds the value 4095 above .*white 4000"):
        read_grey(path, 4000)
    assert np.array_equal(read_grey(write_png(tmp_path / "eight.png", GREY, 8, 0), 4095), GREY)


def save(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


def refused(tmp_path: Path) -> dict[str, tuple[Path, str]]:
    grey = Image.fromarray(GREY)
    colour = Image.merge("RGB", (grey, grey.point(lambda v: 255 - v), grey))
    exif = Image.Exif()
    exif[0x0112] = 6
    half = Image.merge("LA", (grey, Image.new("L", grey.size, 128)))
    reds = grey.convert("P")
    reds.putpalette([value for i in range(256) for value in (i, 0, 0)])
    return {
        "colour": (save(tmp_path / "colour.png", colour), "picture in colour"),
        "colour jpeg": (save(tmp_path / "colour.jpg", colour), "picture in colour"),
        "palette of reds": (save(tmp_path / "reds.png", reds), "picture in colour"),
        "cmyk": (save(tmp_path / "cmyk.jpg", colour.convert("CMYK")), "mode CMYK"),
        "one bit": (save(tmp_path / "bit.png", grey.convert("1")), "1-bit"),
        "transparent": (save(tmp_path / "half.png", half), "transparent pixels"),
        "a transparent grey": (save(tmp_path / "trns.png", grey, transparency=7), "transparent colour"),
        "animated": (
            save(tmp_path / "two.png", grey, save_all=True, append_images=[colour.convert("L")]),
            "2 pictures",
        ),
        "several in a jpeg": (
            save(tmp_path / "mpo.jpg", grey, format="MPO", save_all=True, append_images=[grey]),
            "2 pictures",
        ),
        "turned": (save(tmp_path / "exif.jpg", grey, exif=exif), "orientation 6"),
        "turned png": (save(tmp_path / "exif.png", grey, exif=exif), "orientation 6"),
        "float": (save(tmp_path / "float.tif", grey.convert("F")), "no PNG and no JPEG"),
        "32 bit named png": (save(tmp_path / "i.png", grey.convert("I"), format="TIFF"), "no PNG and no JPEG"),
        "gif named png": (save(tmp_path / "gif.png", grey, format="GIF"), "no PNG and no JPEG"),
    }


def test_every_other_kind_of_image_is_refused_by_its_name(tmp_path: Path) -> None:
    for kind, (path, said) in refused(tmp_path).items():
        with pytest.raises(DataError) as error:
            read_grey(path)
        assert said in str(error.value) and path.name in str(error.value), (kind, str(error.value))
        assert "expected" in str(error.value), kind


def test_a_grey_jpeg_stored_as_colour_is_that_grey_within_its_compression(tmp_path: Path) -> None:
    grey = Image.fromarray(np.linspace(0, 255, 64 * 64).reshape(64, 64).astype(np.uint8))
    plain, coloured = save(tmp_path / "l.jpg", grey), save(tmp_path / "rgb.jpg", grey.convert("RGB"))
    assert np.abs(read_grey(plain).astype(int) - read_grey(coloured)).max() <= 3


def test_masks_are_two_values_and_nothing_else(tmp_path: Path) -> None:
    mask = (GREY > 100).astype(np.uint8)
    for name, pixels in (("ones", mask), ("full", mask * 255)):
        assert np.array_equal(read_binary(write_png(tmp_path / f"{name}.png", pixels, 8, 0)), mask)
    assert np.array_equal(read_binary(save(tmp_path / "bit.png", Image.fromarray(mask * 255).convert("1"))), mask)
    for pixels in (mask * 2, mask * 254, GREY):
        with pytest.raises(DataError, match="expected a mask of 0 and 255, or 0 and 1"):
            read_binary(write_png(tmp_path / "odd.png", pixels, 8, 0))
    with pytest.raises(DataError, match="16-bit"):
        read_binary(write_png(tmp_path / "deep.png", mask.astype(np.uint16) * 65535, 16, 0))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_file_is_read_or_refused_in_one_sentence(tmp_path: Path, data: st.DataObject) -> None:
    whole = write_png(tmp_path / "whole.png", GREY, 8, 0).read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    changed = whole[:at] if data.draw(st.booleans()) else whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :]
    path = tmp_path / "damaged.png"
    path.write_bytes(changed)
    try:
        image = read_grey(path)
    except DataError as error:
        assert "damaged.png" in str(error) and "expected" in str(error)
    else:
        assert image.dtype == np.uint8 and image.ndim == 2
