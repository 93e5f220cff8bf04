"""Reading files of every kind that users bring; PIL and tifffile are the oracles."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

import make_images as make
from maskwright.data.images import (
    COLOR,
    orientation_of,
    palette_of,
    read_ids,
    read_image,
    read_objects,
    read_preview,
    read_values,
    size_of,
    upright,
)
from maskwright.errors import DataError


@pytest.mark.parametrize(
    ("write", "channels", "dtype"),
    [
        (make.gray_png, 1, np.uint8),
        (make.rgb_png, 3, np.uint8),
        (make.rgba_png, 3, np.uint8),
        (make.palette_png, 3, np.uint8),
        (make.gray16_png, 1, np.uint16),
        (make.gray16_tiff, 1, np.uint16),
        (make.tiny_png, 1, np.uint8),
    ],
)
def test_images_are_read_as_their_header_says(tmp_path, write, channels, dtype):
    path = write(tmp_path)
    image = read_image(path)
    assert image.dtype == dtype
    assert image.flags.c_contiguous
    assert size_of(path) == (*image.shape, str(image.dtype))
    with Image.open(path) as file:
        oracle = np.asarray(file.convert("RGB") if channels == 3 else file)
    assert np.array_equal(image if channels == 3 else image[..., 0], oracle)


def test_a_jpeg_keeps_the_order_of_its_channels(tmp_path):
    image = read_image(make.bgr_jpeg(tmp_path, height=64, width=64)).astype(int)
    with Image.open(tmp_path / "photo.jpg") as file:
        assert np.abs(image - np.asarray(file, int)).max() <= 3  # two decoders round differently
    assert abs(np.median(image[..., 2]) - 40) < 8  # blue is 40 everywhere


@pytest.mark.parametrize("mode", ["LA", "1", "CMYK", "I;16"])
def test_rarer_modes_are_read_as_their_header_says(tmp_path, mode):
    path = tmp_path / ("x.jpg" if mode == "CMYK" else "x.png")
    values = make.pattern().astype(np.uint8)
    image = Image.fromarray(make.pattern(top=60_000)) if mode == "I;16" else Image.fromarray(values).convert(mode)
    image.save(path)
    assert size_of(path)[:3] == read_image(path).shape


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1), (1, 5, 3), (4, 6, 3), (3, 4, 6)])
def test_tiffs_of_any_shape(tmp_path, shape):
    values = np.random.default_rng(0).integers(0, 255, shape, np.uint8)
    planar = {"photometric": "rgb", "planarconfig": "separate"} if shape == (3, 4, 6) else {}
    tifffile.imwrite(tmp_path / "x.tif", values, **planar)
    image = read_image(tmp_path / "x.tif")
    expected = np.moveaxis(values, 0, 2) if planar else values.reshape(*values.shape[:2], -1)
    assert np.array_equal(image, expected)
    assert size_of(tmp_path / "x.tif")[:3] == image.shape


@pytest.mark.parametrize("compression", ["tiff_lzw", "packbits", "tiff_adobe_deflate"])
@pytest.mark.parametrize("kind", ["gray", "deep", "rgb"])
def test_compressed_tiffs(tmp_path, compression, kind):
    values = make.pattern(top=40_000 if kind == "deep" else 255)
    values = values if kind == "deep" else values.astype(np.uint8)
    values = np.stack([values, values[::-1], values // 2], 2) if kind == "rgb" else values
    Image.fromarray(values).save(tmp_path / "x.tif", compression=compression)
    assert np.array_equal(read_image(tmp_path / "x.tif"), values.reshape(*values.shape[:2], -1))
    path = tmp_path / "x.tif"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=str(path)):
        read_image(path)


def test_deep_tiffs_become_float(tmp_path):
    tifffile.imwrite(tmp_path / "d.tif", np.array([[0.5, 1e5]], np.float64))
    assert read_image(tmp_path / "d.tif").dtype == np.float32
    tifffile.imwrite(tmp_path / "i.tif", np.array([[1, 70_000]], np.int32))
    assert read_image(tmp_path / "i.tif").ravel().tolist() == [1, 70_000]


def test_an_image_with_values_that_are_no_numbers_is_refused(tmp_path):
    tifffile.imwrite(tmp_path / "n.tif", np.array([[0.5, np.nan]], np.float32))
    with pytest.raises(DataError, match="1 values that are NaN"):
        read_image(tmp_path / "n.tif")


def save_turned(path, values, orientation, mode=None):
    exif = Image.Exif()
    exif[make.ORIENTATION] = orientation
    image = Image.fromarray(values)
    options = {"lossless": True} if path.suffix == ".webp" else {}
    (image if mode is None else image.convert(mode)).save(path, exif=exif, **options)
    with Image.open(path) as file:
        return np.asarray(ImageOps.exif_transpose(file))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_images_are_turned_as_exif_says(tmp_path, orientation, suffix):
    path = tmp_path / f"x{suffix}"
    values = make.pattern(32, 48).astype(np.uint8)
    oracle = save_turned(path, values, orientation, "RGB" if suffix == ".webp" else None)
    image = read_image(path)
    assert np.abs(image.astype(int) - oracle.reshape(*oracle.shape[:2], -1)).max() <= 3
    assert size_of(path)[:2] == image.shape[:2]
    assert orientation_of(path) == orientation


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_mask_without_exif_is_turned_with_its_image(tmp_path, orientation):
    """The label is the image's brightness, so whatever happens to one must have happened to the other."""
    values = make.pattern(10, 14).astype(np.uint8)
    oracle = save_turned(tmp_path / "x.png", values, orientation)
    Image.fromarray(values).save(tmp_path / "mask.png")
    assert np.array_equal(read_values(tmp_path / "mask.png", like=tmp_path / "x.png"), oracle)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_mask_with_exif_of_its_own_is_turned_once(tmp_path, orientation):
    values = make.pattern(10, 14).astype(np.uint8)
    oracle = save_turned(tmp_path / "x.png", values, orientation)
    assert np.array_equal(read_values(tmp_path / "x.png", like=tmp_path / "x.png"), oracle)


def test_a_mask_that_stands_already_is_not_turned(tmp_path):
    image, mask = make.turned_jpeg(tmp_path / "images", tmp_path / "masks", mask_upright=True)
    assert np.array_equal(read_values(mask, like=image), np.rot90(make.label(), -1))
    image, mask = make.turned_jpeg(tmp_path / "images", tmp_path / "masks", mask_upright=False)
    assert np.array_equal(read_values(mask, like=image), np.rot90(make.label(), -1))


def cut(path, share):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def noise_file(folder, suffix):
    values = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    path = folder / f"x{suffix}"
    if suffix == ".tif":
        tifffile.imwrite(path, values)
    elif suffix == ".tiff":
        tifffile.imwrite(path, values, compression="zlib")
    else:
        Image.fromarray(values).save(path)
    return path


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.9])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".tiff", ".bmp", ".webp"])
def test_truncated_files_are_data_errors_that_name_the_file(tmp_path, suffix, share):
    path = cut(noise_file(tmp_path, suffix), share)
    for read in (read_image, read_values):
        with pytest.raises(DataError, match=str(path)):
            read(path)


def test_sixteen_bit_colour_is_seen_in_the_header(tmp_path):
    values = np.arange(16 * 12 * 3, dtype=np.uint16).reshape(16, 12, 3) * 100
    cv2.imwrite(str(tmp_path / "deep.png"), values)
    assert size_of(tmp_path / "deep.png") == (16, 12, 3, "uint16")
    assert read_image(tmp_path / "deep.png").dtype == np.uint16
    cv2.imwrite(str(tmp_path / "flat.png"), values.astype(np.uint8))
    assert size_of(tmp_path / "flat.png")[3] == "uint8"


def test_what_follows_a_jpeg_is_no_truncation(tmp_path):
    path = noise_file(tmp_path, ".jpg")
    whole = read_image(path)
    path.write_bytes(path.read_bytes() + b"\0" * 10_000)  # phones append videos
    assert np.array_equal(read_image(path), whole)


def test_the_end_of_a_thumbnail_is_not_the_end_of_the_image(tmp_path):
    path = noise_file(tmp_path, ".jpg")
    data = path.read_bytes()
    thumbnail = b"Exif\0\0" + data[:40] + b"\xff\xd9"
    segment = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    path.write_bytes(data[:2] + segment + data[2:])
    assert np.array_equal(read_image(path), cv2.imdecode(np.frombuffer(data, np.uint8), 1)[..., ::-1])
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match="truncated"):
        read_image(path)


@pytest.mark.parametrize("name", ["none.png", "none.tif"])
def test_missing_files_are_data_errors(tmp_path, name):
    for read in (read_image, read_values, size_of):
        with pytest.raises(DataError, match=name):
            read(tmp_path / name)


def test_text_that_is_called_an_image_is_a_data_error(tmp_path):
    for name in ("a.png", "a.tif", "a.jpg"):
        (tmp_path / name).write_text("not an image")
        for read in (read_image, read_values, size_of):
            with pytest.raises(DataError):
                read(tmp_path / name)


def test_values_of_palette_gray_and_sixteen_bit_masks(tmp_path):
    assert np.array_equal(read_values(make.palette_png(tmp_path)), make.label())
    assert np.array_equal(read_values(make.binary_mask(tmp_path)), np.where(make.label() > 0, 255, 0))
    assert np.array_equal(read_values(make.gray16_png(tmp_path)), make.pattern(top=40_000))
    assert np.array_equal(read_values(make.gray16_tiff(tmp_path)), make.pattern(top=40_000))
    ids = read_values(make.id_png(tmp_path))
    assert ids.dtype == np.int32
    assert len(np.unique(ids)) == 65_536  # 90 000 pixels, none lost


def test_values_of_colour_masks_are_their_colours(tmp_path):
    values = read_values(make.color_mask(tmp_path))
    expected = np.array([COLOR + (r << 16 | g << 8 | b) for r, g, b in make.PALETTE])[make.label()]
    assert np.array_equal(values, expected)


def test_an_rgb_mask_of_grays_keeps_its_colours(tmp_path):
    Image.fromarray(np.repeat(make.label()[..., None], 3, 2)).save(tmp_path / "x.png")
    assert np.array_equal(read_values(tmp_path / "x.png"), COLOR + make.label().astype(int) * 0x010101)


def test_a_float_tiff_of_whole_numbers_is_a_label_map(tmp_path):
    """Fiji saves labels as floats, too."""
    numbers = np.float32([[0, 3, 3], [70_000, 0, 1]])
    tifffile.imwrite(tmp_path / "x.tif", numbers)
    found = read_values(tmp_path / "x.tif")
    assert found.dtype == np.int32 and np.array_equal(found, numbers)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.full((4, 6), 0.5, np.float32), "6×4, float32 with fractions"),
        (np.full((4, 6), 3e10, np.float32), "6×4, float32 with fractions"),
    ],
)
def test_fractions_are_no_label_map(tmp_path, values, said):
    tifffile.imwrite(tmp_path / "x.tif", values)
    with pytest.raises(DataError, match=f"no label map, which holds whole numbers in one channel, or colours: {said}"):
        read_values(tmp_path / "x.tif")


@pytest.mark.parametrize("read", [read_objects, read_ids])
def test_numbers_in_a_jpeg_are_refused(tmp_path, read):
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "x.jpg")
    with pytest.raises(DataError, match="a JPEG, whose numbers aren't those that were drawn: export them as PNG"):
        read(tmp_path / "x.jpg")


def test_palettes_are_read_from_palette_files_only(tmp_path):
    found = palette_of(make.palette_png(tmp_path))
    assert found is not None
    assert tuple(found[i] for i in range(4)) == make.PALETTE
    assert palette_of(make.gray_png(tmp_path)) is None


def test_a_jpeg_with_bytes_after_its_end_is_whole(tmp_path):
    buffer = io.BytesIO()
    Image.fromarray(make.pattern().astype(np.uint8)).save(buffer, "JPEG")
    (tmp_path / "x.jpg").write_bytes(buffer.getvalue() + b"\0" * 100)
    assert read_image(tmp_path / "x.jpg").shape == (make.HEIGHT, make.WIDTH, 1)


def smooth_jpeg(path, height, width, orientation=1):
    """A photograph's smoothness: what is left of it at an eighth of its size is the same picture."""
    coarse = np.random.default_rng(height).integers(0, 256, (7, 9, 3), np.uint8)
    save_turned(path, cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), orientation)
    return path


@pytest.mark.parametrize(
    ("size", "part"), [((200, 330), 1), ((512, 321), 4), ((160, 400), 2), ((641, 900), 8), ((159, 900), 1)]
)
def test_previews_of_jpegs_are_small_where_enough_is_left(tmp_path, size, part):
    preview = read_preview(smooth_jpeg(tmp_path / "x.jpg", *size), 80 if size != (200, 330) else 101)
    height, width = size
    assert preview.pixels.shape == (-(-height // part), -(-width // part), 1)
    assert (preview.extent, preview.size) == ((height / part, width / part), size)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_previews_turned_upright_are_the_image(tmp_path, orientation):
    path = smooth_jpeg(tmp_path / "x.jpg", 640, 960, orientation)
    preview, image = read_preview(path, 80), read_image(path)
    assert preview.orientation == orientation
    assert preview.size == image.shape[:2]
    pixels = upright(preview.pixels, preview.orientation)[..., 0]
    means = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    means = cv2.resize(means, pixels.shape[::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(pixels.astype(int) - means).max() <= 3


@pytest.mark.parametrize(
    "write", [make.rgb_png, make.rgba_png, make.gray_png, make.gray16_png, make.gray16_tiff, make.palette_png]
)
def test_previews_of_other_files_are_the_whole_image_in_gray(tmp_path, write):
    path = write(tmp_path)
    preview, image = read_preview(path, 4), read_image(path)
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None] if image.shape[2] == 3 else image
    assert preview.pixels.dtype == image.dtype
    assert np.abs(preview.pixels.astype(int) - gray).max() <= 1
    assert preview.extent == preview.size == image.shape[:2]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_previews_of_other_files_are_turned_already(tmp_path, orientation, suffix):
    path = tmp_path / f"x{suffix}"
    save_turned(path, make.pattern(32, 48).astype(np.uint8), orientation, "RGB" if suffix == ".webp" else None)
    preview, image = read_preview(path, 4), read_image(path)
    assert (preview.orientation, preview.size) == (1, image.shape[:2])
    assert np.abs(preview.pixels.astype(int) - image[..., :1]).max() <= 1


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_previews_of_broken_files_are_data_errors(tmp_path, suffix):
    path = noise_file(tmp_path, suffix)
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(DataError, match=path.name):
        read_preview(path, 8)
    for data in (b"", b"\xff\xd8\xff\xe0\x00\x10JFIF", b"\xff\xd8\xff\xc0"):
        path.write_bytes(data)
        with pytest.raises(DataError, match=path.name):
            read_preview(path, 8)


NUMBERS = np.array([[0, 1, 300], [70_000, 2**24 - 1, 5]])


def as_rgb(numbers, *more):
    return np.stack([numbers % 256, numbers // 256 % 256, numbers // 65536, *more], axis=-1).astype(np.uint8)


@pytest.mark.parametrize(
    ("name", "pixels", "expected"),
    [
        ("rgb.png", as_rgb(NUMBERS), NUMBERS),
        ("rgba.png", as_rgb(NUMBERS, np.full(NUMBERS.shape, 7)), NUMBERS),  # alpha is dropped
        ("rgb.tif", as_rgb(NUMBERS), NUMBERS),
        ("gray.png", (NUMBERS % 256).astype(np.uint8), NUMBERS % 256),
        ("deep.png", (NUMBERS % 65536).astype(np.uint16), NUMBERS % 65536),
        ("deeper.tif", NUMBERS.astype(np.uint32), NUMBERS),
        ("dot.png", as_rgb(NUMBERS[1:, 1:2]), NUMBERS[1:, 1:2]),
    ],
)
def test_numbers_of_segments(tmp_path, name, pixels, expected):
    if name.endswith(".tif"):
        tifffile.imwrite(tmp_path / name, pixels)
    else:
        Image.fromarray(pixels).save(tmp_path / name)
    assert read_ids(tmp_path / name).tolist() == expected.tolist()


def test_indices_of_a_palette_are_the_numbers_and_half_a_file_is_none(tmp_path):
    path = make.palette_png(tmp_path)
    assert read_ids(path).tolist() == np.asarray(Image.open(path)).tolist()
    Image.fromarray(as_rgb(NUMBERS.repeat(40, 0).repeat(40, 1))).save(path)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataError, match="truncated"):
        read_ids(path)
