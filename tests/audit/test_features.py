"""Features: worked values, what they must not depend on, what they must see."""

import numpy as np
import pytest

from maskwright.audit.features import FEATURES, features

RNG = np.random.default_rng(0)


def named(image):
    return dict(zip(FEATURES, features(image).tolist(), strict=True))


def smooth(seed=0, size=(64, 64)):
    ys, xs = np.mgrid[: size[0], : size[1]] / size[0]
    wave = np.sin(9 * xs + seed) + np.cos(7 * ys * xs + seed)
    return np.uint8(np.round(127 + 60 * wave))[..., None]


def test_tones_of_two_halves():
    image = np.zeros((64, 64, 1), np.uint8)
    image[:, 32:] = 255
    found = named(image)
    # half 0, half 1: mean and standard deviation 1/2, symmetric, fourth moment 1 whose logarithm is 0
    assert found["tone_p05"] == 0 and found["tone_p95"] == 1
    assert found["tone_mean"] == pytest.approx(0.5) and found["tone_spread"] == pytest.approx(0.5, abs=1e-4)
    assert found["tone_skew"] == pytest.approx(0, abs=1e-4) and found["tone_kurtosis"] == pytest.approx(0, abs=1e-3)
    assert found["edge_angle_0"] == pytest.approx(1)  # every edge goes across


def test_texture_of_stripes():
    image = np.zeros((64, 64, 1), np.uint8)
    image[:, ::2] = 200
    found = named(image)
    # bright columns have no brighter neighbour (pattern 0); dark ones three at the left and three at the right, which
    # are two pieces (pattern 9); of the 62 inner columns half are each
    assert found["texture_0"] == pytest.approx(np.sqrt(0.5)) and found["texture_9"] == pytest.approx(np.sqrt(0.5))


def test_depth_and_size_of_the_same_picture_change_little():
    noise = np.random.default_rng(0).integers(0, 40, (128, 128, 1))
    image = np.uint8(smooth(size=(128, 128)) // 2 + noise)
    deep = image.astype(np.uint16) * 257  # 255 becomes 65535
    np.testing.assert_allclose(features(image), features(deep), atol=0.02)
    large = np.kron(image[..., 0], np.ones((3, 3), np.uint8))[..., None]
    np.testing.assert_allclose(features(image), features(large), atol=0.02)


def test_gray_has_no_colour_however_it_is_stored():
    gray = named(smooth())
    stored = named(np.repeat(smooth(), 3, axis=2))
    assert [gray[f] for f in FEATURES if f.startswith("colour")] == [0] * 6
    assert stored == pytest.approx(gray, abs=5e-3)  # a rounding error can turn an edge into the next direction
    red = np.zeros((64, 64, 3), np.uint8)
    red[..., 0] = 255
    # red − green = 1, yellow − blue = 1/2, strongest − weakest = 1, all without spread
    found = [named(red)[f] for f in FEATURES if f.startswith("colour")]
    assert found == pytest.approx([1, 0, 0.5, 0, 1, 0])


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((1, 1, 1), np.uint8),
        np.full((3, 5, 3), 255, np.uint8),
        np.full((40, 2, 1), 7, np.uint16),
        np.full((64, 64, 1), -1e9, np.float32),
        RNG.integers(0, 2**31, (9, 9, 1), np.int32),
    ],
)
def test_features_are_finite_on_any_image(image):
    found = features(image)
    assert found.shape == (len(FEATURES),) and found.dtype == np.float32 and np.isfinite(found).all()
