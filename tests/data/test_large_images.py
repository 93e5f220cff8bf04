"""Images whose headers claim more pixels than are read whole: a clear refusal, nothing decoded."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
import tifffile

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


@pytest.mark.parametrize("read", [read_image, read_values, read_pages])
def test_a_large_tiff_is_refused_whole_and_its_size_is_known(read, tmp_path):
    shape = (30_000, 30_000)
    with tifffile.TiffWriter(tmp_path / "large.tif") as file:
        blank = (np.zeros((4096, 4096), np.uint16) for _ in range(64))  # 8 × 8 tiles
        file.write(blank, shape=shape, dtype=np.uint16, tile=(4096, 4096), compression="zlib")
    assert size_of(tmp_path / "large.tif") == (*shape, 1, "uint16")
    with pytest.raises(DataError, match=r"at most 268,435,456 pixels(.|\n)*large\.tif"):
        read(tmp_path / "large.tif")
    # a window of it is still there for whoever reads by windows
    with tifffile.TiffFile(tmp_path / "large.tif") as file:
        assert file.pages[0].is_tiled
