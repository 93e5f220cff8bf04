"""Images whose headers claim more pixels than are read whole: a clear refusal, nothing decoded."""

from __future__ import annotations

import struct
import zlib

import pytest

from maskwright.data.images import LARGEST_PIXELS, read_image, read_preview, read_values, size_of
from maskwright.data.pages import read_pages
from maskwright.errors import DataError


def claiming_png(path, width, height):
    """Write a PNG whose header claims a size; its data are a few bytes."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b""))
    return path


def claiming_bmp(path, width, height):
    path.write_bytes(b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0))
    return path


@pytest.mark.parametrize("read", [read_image, read_values, lambda path: read_preview(path, 8)])
@pytest.mark.parametrize("size", [(16385, 16384), (60000, 60000)])
@pytest.mark.parametrize("make", [claiming_png, claiming_bmp])
@pytest.mark.filterwarnings("ignore:Image size:PIL.Image.DecompressionBombWarning")
def test_a_header_of_too_many_pixels_is_refused(make, size, read, tmp_path):
    with pytest.raises(DataError, match=r"at most 268,435,456 pixels(.|\n)*large"):
        read(make(tmp_path / f"large.{make.__name__[-3:]}", *size))
    assert LARGEST_PIXELS == 16384 * 16384 == 268_435_456


def claiming_tiff(path, width, height):
    """Write a TIFF of 16 bits by the format's rules: one strip of a few bytes, whatever the size it claims."""
    strip = zlib.compress(b"\0" * 99)
    tags = [(256, width), (257, height), (258, 16), (259, 8), (262, 1), (273, 8), (277, 1), (278, height)]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in [*tags, (279, len(strip))])
    directory = struct.pack("<H", len(tags) + 1) + entries + struct.pack("<I", 0)
    path.write_bytes(struct.pack("<2sHI", b"II", 42, 8 + len(strip)) + strip + directory)
    return path


@pytest.mark.parametrize("read", [read_image, read_values, read_pages])
def test_a_large_tiff_is_refused_whole_and_its_size_is_known(read, tmp_path):
    path = claiming_tiff(tmp_path / "large.tif", 30_000, 30_000)
    assert size_of(path) == (30_000, 30_000, 1, "uint16")
    with pytest.raises(DataError, match=r"at most 268,435,456 pixels, got 30000 × 30000(.|\n)*large\.tif"):
        read(path)
