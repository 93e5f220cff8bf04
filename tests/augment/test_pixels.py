"""Changes of gray values: noise, brightness, blur, gray, sharpening, CLAHE: worked values, other libraries, types."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from scipy import ndimage

from maskwright.augment import draw_view
from maskwright.augment.pixels import Blur, Clahe, Noise
from maskwright.recipe.augment import BlurSpec, BrightnessSpec, GrayscaleSpec, NoiseSpec, SharpenSpec

RNG = np.random.default_rng(0)


def applied(spec, image, seed=0):
    size = image.shape[:2]
    view = draw_view([spec], np.random.default_rng(seed), size=size, crop=size, channels=image.shape[2])
    return view.apply_to_image(image)


@pytest.mark.parametrize("channels", [1, 3])
def test_noise_is_normal_and_each_channels_own(channels):
    image = np.full((200, 200, channels), 128, np.float32)
    noise = Noise(5.0, 7, True).apply(image) - 128
    for channel in np.moveaxis(noise, -1, 0):
        assert channel.mean() == pytest.approx(0, abs=4 * 5 / 200)  # four standard errors
        assert channel.std() == pytest.approx(5, rel=0.02)
        assert (np.abs(channel) < 5).mean() == pytest.approx(0.6827, abs=0.01)
    if channels == 3:
        assert np.abs(np.corrcoef(noise.reshape(-1, 3).T) - np.eye(3)).max() < 0.03


def test_the_seed_alone_makes_the_noise():
    image = np.full((20, 30, 3), 100, np.uint8)
    first = Noise(9.0, 3, True).apply(image)
    cv2.setRNGSeed(99)
    assert np.array_equal(Noise(9.0, 3, True).apply(image), first)
    assert not np.array_equal(Noise(9.0, 4, True).apply(image), first)


def test_noise_of_several_threads_is_that_of_one():
    image = np.full((64, 64, 3), 100, np.uint8)
    noises = [Noise(9.0, seed, True) for seed in range(1, 60)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda noise: noise.apply(image), noises))
    assert all(np.array_equal(noise.apply(image), found) for noise, found in zip(noises, together, strict=True))


def test_noise_is_clipped_or_not():
    image = np.full((50, 50, 3), 254, np.uint8)
    clipped, free = Noise(20.0, 1, True).apply(image), Noise(20.0, 1, False).apply(image)
    assert clipped.dtype == np.uint8
    assert free.dtype == np.float32
    assert free.max() > 300
    assert np.array_equal(clipped, np.clip(free.round(), 0, 255).astype(np.uint8))


def test_noise_of_source_1():
    """σ .01 of the range 0..1 is 2.55 gray levels."""
    image = np.full((100, 100, 1), 99, np.float32)
    noisy = applied(NoiseSpec(probability=1), image)
    assert (noisy - 99).std() == pytest.approx(2.55, rel=0.03)


def test_brightness_is_a_clipped_product():
    image = np.array([[[10], [100], [250]]], np.uint8)
    assert applied(BrightnessSpec(probability=1, factor=(1.1, 1.1)), image).ravel().tolist() == [11, 110, 255]
    assert applied(BrightnessSpec(probability=1, factor=(0.9, 0.9)), image).ravel().tolist() == [9, 90, 225]


@pytest.mark.parametrize("sigma", [0.5, 1.3, 3.0])
def test_blur_is_scipys(sigma):
    image = RNG.integers(0, 256, (40, 50, 3), np.uint8)
    oracle = ndimage.gaussian_filter(image.astype(float), (sigma, sigma, 0), mode="mirror", truncate=4)
    assert np.abs(Blur(sigma).apply(image) - oracle).mean() < 0.6
    assert np.abs(Blur(sigma).apply(image.astype(np.float32)) - oracle).max() < 1.5


def test_gray_is_the_luma_of_rec_601():
    image = RNG.integers(0, 256, (9, 11, 3), np.uint8)
    oracle = image @ np.array([0.299, 0.587, 0.114])
    gray = applied(GrayscaleSpec(probability=1), image)
    assert (gray == gray[..., :1]).all()
    assert np.abs(gray[..., 0] - oracle).max() <= 0.51
    one = image[..., :1]
    assert np.array_equal(applied(GrayscaleSpec(probability=1), one), one)


def test_sharpening_makes_an_edge_steeper_and_leaves_flat_parts():
    image = np.repeat(np.array([100] * 6 + [150] * 6, np.uint8)[None, :, None], 8, axis=0)
    sharp = applied(SharpenSpec(probability=1, strength=(1, 1)), image)[4, :, 0]
    # beside the edge the smoothed image is 100 + 50 · 3/13 = 111.54 → 112: 100 + (100 − 112) = 88; 138 → 162
    assert sharp.tolist() == [100] * 5 + [88, 162] + [150] * 5


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("channels", [1, 3])
def test_clahe_spreads_a_flat_image(dtype, channels):
    image = RNG.integers(110, 130, (64, 64, channels)).astype(dtype)
    found = Clahe(4.0, 4).apply(image)
    assert found.dtype == dtype
    assert found.shape == image.shape
    assert 0 <= found.min() <= found.max() <= 255
    assert found.std() > 1.5 * image.std()
    if channels == 1 and dtype == np.uint8:
        assert np.array_equal(found[..., 0], cv2.createCLAHE(4.0, (4, 4)).apply(image[..., 0]))


def test_deep_images_are_equalised_like_eight_bit_ones():
    gray = RNG.integers(70, 180, (64, 64, 1), np.uint8)
    image = gray + RNG.integers(0, 12, (64, 64, 3), np.uint8)  # colours that stay colours when they are spread
    deep = Clahe(2.0, 4).apply(image.astype(np.float32))
    assert np.abs(deep - Clahe(2.0, 4).apply(image)).mean() < 4


def test_widths_of_a_blur_stay_within_the_recipe():
    image = np.zeros((9, 9, 1), np.float32)
    spec = BlurSpec(probability=0.5, sigma=(1, 2))
    views = [draw_view([spec], np.random.default_rng(s), size=(9, 9), crop=(9, 9), channels=1) for s in range(400)]
    sigmas = [step.sigma for view in views for step in view.steps]
    assert len(sigmas) / 400 == pytest.approx(0.5, abs=0.09)
    assert 1 <= min(sigmas) < 1.1 < 1.9 < max(sigmas) <= 2
    assert np.array_equal(views[0].apply_to_image(image), image)
