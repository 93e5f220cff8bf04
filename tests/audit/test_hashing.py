"""The hash against a direct computation, and imagehash."""

import cv2
import imagehash
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from PIL import Image
from scipy import fft

from maskwright.audit.hashing import distance, hashes, thumbnail
from maskwright.augment.dihedral import DIHEDRAL, apply


def random_thumbnail(seed):
    return np.random.default_rng(seed).random((32, 32)).astype(np.float32)


def direct_hash(pixels):
    """The definition, spelled out: DCT-II, 8×8 block, median of the 63, first bit most significant."""
    block = fft.dctn(pixels.astype(np.float64))[:8, :8].ravel()
    above = block > np.median(block[1:])
    return int("".join("1" if bit else "0" for bit in above), 2)


@given(st.integers(0, 10_000))
def test_all_eight_equal_hashing_the_transformed_thumbnail(seed):
    pixels = random_thumbnail(seed)
    assert [int(value) for value in hashes(pixels)] == [direct_hash(apply(pixels, name)) for name in DIHEDRAL]


@pytest.mark.parametrize("seed", range(20))
def test_identity_equals_imagehash(seed):
    # imagehash takes the median of all 64 terms: halfway between the median m of the 63 and the next larger term, as
    # the constant is the largest of all. Nothing lies between the two, so the same terms are above.
    pixels = np.random.default_rng(seed).integers(0, 256, (32, 32), np.uint8)
    theirs = int(str(imagehash.phash(Image.fromarray(pixels))), 16)
    assert int(hashes(thumbnail(pixels))[0]) == theirs


def test_many_at_once_equal_one_by_one():
    stack = np.stack([random_thumbnail(seed) for seed in range(6)])
    together = hashes(stack)
    assert (together.shape, together.dtype) == ((6, 8), np.uint64)
    assert_array_equal(together, np.stack([hashes(one) for one in stack]))
    assert hashes(stack[:0]).shape == (0, 8)


def test_brightness_and_contrast_change_nothing():
    pixels = random_thumbnail(3)
    assert_array_equal(hashes(pixels), hashes(1000 + 40 * pixels.astype(np.float64)))


def test_a_symmetric_picture_has_one_hash():
    # a centred disc is the same under all eight; its odd terms are 0 up to rounding, and rounding has no sign
    ys, xs = np.mgrid[-15.5:16, -15.5:16]
    assert len(set(hashes((np.hypot(xs, ys) < 9).astype(np.float32)).tolist())) == 1


@pytest.mark.parametrize("shape", [(32, 32), (96, 128), (500, 333), (3, 5), (1, 1), (20, 400)])
@pytest.mark.parametrize("name", DIHEDRAL)
def test_thumbnails_turn_with_the_image(shape, name):
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    turned = thumbnail(np.ascontiguousarray(apply(image, name)))
    np.testing.assert_allclose(turned, apply(thumbnail(image), name), atol=0.02)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("channels", [None, 1, 2, 3, 4, 5])
def test_every_depth_and_number_of_channels_gives_the_same_thumbnail(dtype, channels):
    gray = np.random.default_rng(0).integers(0, 200, (64, 96)).astype(dtype)
    image = gray if channels is None else np.repeat(gray[..., None], channels, axis=2)
    # cells are 2 × 3 pixels; weights of red, green and blue add up to 1
    expected = gray.astype(np.float64).reshape(32, 2, 32, 3).mean(axis=(1, 3))
    result = thumbnail(image)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, atol=0.01)


@pytest.mark.parametrize("shape", [(64, 96), (75, 333), (32, 41)])
def test_cells_are_means_as_opencv_takes_them(shape):
    image = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint16)
    oracle = cv2.resize(image.astype(np.float32), (32, 32), interpolation=cv2.INTER_AREA)
    np.testing.assert_allclose(thumbnail(image), oracle, atol=1e-3)


def test_a_picture_may_end_within_its_last_pixels():
    # at an eighth of its size a picture of 300 × 410 pixels takes up 37.5 × 51.25; what is beyond must not count
    picture = np.random.default_rng(0).integers(0, 256, (300, 410)).astype(np.float32)
    padded = np.pad(picture, ((0, 4), (0, 6)), constant_values=1000)
    np.testing.assert_allclose(thumbnail(padded, picture.shape), thumbnail(picture), atol=1e-3)


def test_opacity_is_left_out():
    image = np.random.default_rng(0).integers(0, 256, (40, 40, 4), np.uint8)
    assert_array_equal(thumbnail(image), thumbnail(image[..., :3]))


def test_not_finite_pixels_count_as_zero():
    image = np.ones((32, 32), np.float32)
    image[0, :3] = np.nan, np.inf, -np.inf
    assert_array_equal(thumbnail(image)[0, :4], [0, 0, 0, 1])


@pytest.mark.parametrize("shape", [(0, 5), (4,), (2, 3, 4, 5)])
def test_no_image_is_an_error(shape):
    with pytest.raises(ValueError, match="expected an"):
        thumbnail(np.zeros(shape, np.uint8))


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_distance_counts_bits(a, b):
    assert distance(np.uint64(a), np.uint64(b)) == (a ^ b).bit_count()
