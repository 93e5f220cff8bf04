"""Windows of TIFFs: the pixels that tifffile reads whole, whatever way they lie in the file."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from maskwright.data.images import read_image
from maskwright.data.windows import TiffWindows, write_tiled
from maskwright.errors import DataError
from maskwright.tiling import Tile

DATA = Path(os.environ.get("MASKWRIGHT_DATA", "/nonexistent")) / "fixtures"
RNG = np.random.default_rng(0)
WINDOWS = [Tile(0, 0, 90, 70), Tile(17, 33, 40, 37), Tile(89, 69, 1, 1), Tile(31, 0, 34, 70)]
WAYS = {
    "tiles": {"tile": (16, 32), "compression": "zlib"},
    "strips": {"rowsperstrip": 7, "compression": "zlib"},
    "plain strips": {"rowsperstrip": 7},
    "one strip": {},
    "big": {"tile": (32, 32), "bigtiff": True},
    "big-endian": {"byteorder": ">", "tile": (16, 16), "compression": "zlib"},
    "big-endian strip": {"byteorder": ">"},
    "predictor": {"tile": (16, 16), "compression": "zlib", "predictor": True},
}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("way", WAYS)
def test_a_window_is_that_of_the_whole_image(way, channels, dtype, tmp_path):
    if way == "predictor" and dtype == np.float32:
        pytest.skip("tifffile leaves the predictor of floats to imagecodecs")
    image = RNG.integers(0, 256, (90, 70, channels)).astype(dtype)
    options = {"photometric": "minisblack" if channels == 1 else "rgb", **WAYS[way]}
    tifffile.imwrite(tmp_path / "a.tif", image[..., 0] if channels == 1 else image, **options)
    whole = read_image(tmp_path / "a.tif")
    with TiffWindows(tmp_path / "a.tif", keep=1) as windows:
        assert (windows.size, windows.channels, windows.dtype) == ((90, 70), min(channels, 3), dtype)
        for window in WINDOWS:
            found = windows.read(window)
            assert found.dtype == whole.dtype
            assert np.array_equal(found, whole[window.slices])


@pytest.mark.parametrize(
    ("mode", "options"),
    [
        ("L", {"compression": "tiff_lzw"}),
        ("RGB", {"compression": "tiff_lzw"}),
        ("RGB", {"compression": "tiff_lzw", "tiffinfo": {317: 2}}),
        ("I;16", {"compression": "tiff_lzw"}),
        ("F", {"compression": "tiff_lzw"}),
        ("L", {"compression": "packbits"}),
        ("RGB", {"compression": "jpeg", "quality": 80}),
        ("L", {"compression": "jpeg", "quality": 80}),
    ],
)
def test_what_tifffile_leaves_to_another_package_is_decoded_by_pillow(mode, options, tmp_path):
    """Strips of 8 rows, the last one of 2, as the oracle reads the whole file."""
    image = Image.fromarray(RNG.integers(0, 256, (90, 70, 3), np.uint8))
    gray = np.asarray(image.convert("L"))
    image = {"L": image.convert("L"), "I;16": Image.fromarray(gray.astype(np.uint16) * 200)}.get(mode, image)
    image = Image.fromarray(gray.astype(np.float32) / 7) if mode == "F" else image
    info = {278: 8, **options.get("tiffinfo", {})}
    image.save(tmp_path / "a.tif", **{**options, "tiffinfo": info})
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert len(file.pages[0].dataoffsets) > 5
    with Image.open(tmp_path / "a.tif") as file:
        whole = np.asarray(file).reshape(90, 70, -1)
    with TiffWindows(tmp_path / "a.tif") as windows:
        for window in WINDOWS:
            assert np.array_equal(windows.read(window), whole[window.slices])


def test_planes_one_after_the_other_are_put_together(tmp_path):
    image = RNG.integers(0, 256, (3, 90, 70), np.uint8)
    options = {"photometric": "rgb", "planarconfig": "separate", "tile": (16, 32), "compression": "zlib"}
    tifffile.imwrite(tmp_path / "a.tif", image, **options)
    with TiffWindows(tmp_path / "a.tif") as windows:
        assert np.array_equal(windows.read(WINDOWS[1]), np.moveaxis(image, 0, 2)[WINDOWS[1].slices])


def test_of_a_pyramid_the_full_resolution_is_read(tmp_path):
    image = RNG.integers(0, 256, (128, 96), np.uint8)
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        options = {"tile": (32, 32), "compression": "zlib"}
        file.write(image, subifds=1, **options)
        file.write(image[::2, ::2], subfiletype=1, **options)
    with TiffWindows(tmp_path / "a.tif") as windows:
        assert windows.size == (128, 96)
        assert np.array_equal(windows.read(Tile(60, 30, 50, 50))[..., 0], image[60:110, 30:80])


def test_no_tile_is_decoded_twice_while_it_is_kept(tmp_path, monkeypatch):
    image = RNG.integers(0, 256, (64, 64), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", image, tile=(16, 16), compression="zlib")
    with TiffWindows(tmp_path / "a.tif", keep=4 * 256) as windows:  # 4 tiles of 16 × 16 bytes
        handle, reads = type(windows._file.filehandle), []
        read = handle.read
        monkeypatch.setattr(handle, "read", lambda self, count: (reads.append(count), read(self, count))[1])
        windows.read(Tile(0, 0, 16, 64))
        windows.read(Tile(0, 0, 16, 64))
        assert len(reads) == 4
        windows.read(Tile(16, 0, 16, 16))  # the one that was used longest ago goes
        windows.read(Tile(0, 16, 16, 48))
        assert len(reads) == 5
        windows.read(Tile(0, 0, 16, 16))
        assert len(reads) == 6


def pages(path):
    tifffile.imwrite(path, RNG.integers(0, 256, (5, 40, 30), np.uint8), photometric="minisblack")


def cut_off(path):
    tifffile.imwrite(path, RNG.integers(0, 256, (40, 30), np.uint8), tile=(16, 16), compression="zlib")
    path.write_bytes(path.read_bytes()[:-200])


def damaged(path):
    tifffile.imwrite(path, RNG.integers(0, 256, (40, 30), np.uint8), tile=(16, 16), compression="zlib")
    with tifffile.TiffFile(path) as file:
        offset = file.pages[0].dataoffsets[0]
    data = bytearray(path.read_bytes())
    data[offset : offset + 20] = bytes(20)
    path.write_bytes(bytes(data))


def no_tiff(path):
    path.write_bytes(b"no TIFF at all")


def sixteen_bit_colours(path):
    """LZW of 16-bit RGB: a package that isn't required decodes it."""
    tifffile.imwrite(path, RNG.integers(0, 256, (16, 16, 3)).astype(np.uint16), photometric="rgb", rowsperstrip=16)
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        place = file.pages[0].tags["Compression"].valueoffset
    data[place] = 5
    path.write_bytes(bytes(data))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (pages, "expected one page of gray or RGB"),
        (cut_off, "cut off after"),
        (damaged, "expected a readable TIFF"),
        (no_tiff, "expected a readable TIFF"),
        (sixteen_bit_colours, "a TIFF that tifffile or Pillow decodes"),
    ],
)
def test_what_can_not_be_read_by_windows_is_named(make, said, tmp_path):
    if make is sixteen_bit_colours and importlib.util.find_spec("imagecodecs"):
        pytest.skip("imagecodecs decodes it")
    make(tmp_path / "a.tif")
    with pytest.raises(DataError, match=said) as error, TiffWindows(tmp_path / "a.tif") as windows:
        windows.read(Tile(0, 0, 20, 20))
    assert "a.tif" in str(error.value)


def test_one_compressed_strip_for_all_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("maskwright.data.windows._LARGEST_SEGMENT", 1000)
    image = RNG.integers(0, 256, (40, 30), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", image, rowsperstrip=40, compression="zlib")
    with pytest.raises(DataError, match=r"tiles or strips of at most(.|\n)*tile="):
        TiffWindows(tmp_path / "a.tif")
    tifffile.imwrite(tmp_path / "b.tif", image)  # not compressed: mapped, whatever the strip
    with TiffWindows(tmp_path / "b.tif") as windows:
        assert np.array_equal(windows.read(Tile(3, 4, 5, 6))[..., 0], image[3:8, 4:10])


def test_nan_is_refused_as_in_whole_images(tmp_path):
    image = np.zeros((40, 30), np.float32)
    image[20, 20] = np.nan
    tifffile.imwrite(tmp_path / "a.tif", image)
    with TiffWindows(tmp_path / "a.tif") as windows:
        assert windows.read(Tile(0, 0, 10, 10)).sum() == 0
        with pytest.raises(DataError, match="1 values that are NaN"):
            windows.read(Tile(15, 15, 10, 10))


@pytest.mark.parametrize("size", [(1, 1), (512, 512), (513, 700), (1100, 40)])
def test_what_comes_row_by_row_is_written_in_tiles(size, tmp_path):
    image, called = RNG.integers(0, 9, size).astype(np.uint16), []
    rows = (image[top : top + 512] for top in range(0, size[0], 512))
    write_tiled(tmp_path / "a.tif", rows, size, np.uint16, before=lambda: called.append((tmp_path / "a.tif").exists()))
    assert called == [False]
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert file.pages[0].is_tiled
        assert (file.pages[0].tile, file.is_bigtiff) == ((512, 512), False)
    assert np.array_equal(tifffile.imread(tmp_path / "a.tif"), image)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a.tif")), image)  # another reader


def test_of_what_fails_half_way_nothing_is_left(tmp_path):
    def rows():
        yield np.zeros((512, 600), np.uint8)
        raise DataError("no more")

    with pytest.raises(DataError, match="no more"):
        write_tiled(tmp_path / "a.tif", rows(), (900, 600), np.uint8)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.realdata
@pytest.mark.skipif(not DATA.is_dir(), reason="MASKWRIGHT_DATA names no folder with fixtures")
def test_windows_of_real_files_are_those_of_the_whole_image():
    files = sorted(path for path in DATA.rglob("*.tif*") if not path.name.startswith("."))
    assert files
    for path in files:
        whole = read_image(path)
        with TiffWindows(path) as windows:
            height, width = windows.size
            window = Tile(height // 3, width // 4, height // 2, width // 2)
            assert np.array_equal(windows.read(window), whole[window.slices]), path
