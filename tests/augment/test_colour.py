"""Colour: worked values, clipping, types, and the bounds of what is drawn."""

from __future__ import annotations

import numpy as np
import pytest

from maskwright.augment import Colour, draw_colour
from maskwright.recipe.augment import AffineSpec, ColourSpec, FlipSpec

RNG = np.random.default_rng(0)
STILL = ColourSpec(probability=1, brightness=0, contrast=0, saturation=0, tint=0, gamma=0)
WILD = ColourSpec(probability=1, brightness=0.9, contrast=0.9, saturation=0.9, tint=0, gamma=0.9)


def image(channels, dtype=np.uint8):
    return RNG.integers(0, 256, (11, 13, channels)).astype(dtype)


def draw(spec, seed=0, channels=3):
    return draw_colour([spec], np.random.default_rng(seed), channels=channels)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_nothing_drawn_changes_nothing(channels, dtype):
    given = image(channels, dtype)
    for spec in (ColourSpec(probability=0), STILL, FlipSpec(), AffineSpec()):
        assert np.allclose(draw(spec, channels=channels).apply(given), given, atol=1e-3)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("seed", range(8))
def test_eight_bits_agree_with_the_formula(channels, seed):
    """The oracle: matrix in float64, clip, gamma on 0..1."""
    given, colour = image(channels), draw(WILD, seed, channels)
    linear = given.astype(float) @ colour.matrix[:, :channels].T + colour.matrix[:, channels]
    oracle = (np.clip(linear, 0, 255) / 255) ** colour.gamma * 255
    # rounding before the curve is amplified where a gamma below 1 is steep: near black
    steep = linear < 24
    assert np.abs(colour.apply(given) - oracle)[~steep].max(initial=0) <= 2
    assert np.abs(colour.apply(given.astype(np.float32)) - oracle).max() <= 0.01


@pytest.mark.parametrize("gamma", [1.0, 1.3])
@pytest.mark.parametrize("scales", [(1.2, 1.2, 1.2), (1.2, 1.0, 0.9)])
def test_channels_that_change_alone_agree_with_the_formula(scales, gamma):
    given = image(3)
    colour = Colour(np.column_stack([np.diag(scales), np.full(3, -7.0)]), gamma)
    oracle = (np.clip(given * np.array(scales) - 7, 0, 255) / 255) ** gamma * 255
    # one table rounds once; matrix and table round twice, and the curve's slope is at most gamma
    bound = 0.5 if len(set(scales)) == 1 else 0.5 + 0.5 * gamma
    assert np.abs(colour.apply(given) - oracle).max() <= bound + 1e-9


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_values_stay_in_range_and_keep_their_type(dtype):
    for seed in range(20):
        changed = draw(WILD, seed).apply(image(3, dtype))
        assert changed.dtype == dtype
        assert changed.shape == (11, 13, 3)
        assert changed.min() >= 0
        assert changed.max() <= 255


def test_worked_values():
    # contrast 2 around the mid value 127.5: 100 → 2·100 − 127.5 = 72.5; brightness +25.5 → 98
    colour = Colour(np.array([[2.0, -127.5 + 25.5]]), 1.0)
    assert colour.apply(np.full((1, 1, 1), 100, np.uint8)).item() == 98
    # gamma 2: (127.5 / 255)² · 255 = 63.75
    assert Colour(np.eye(1, 2), 2.0).apply(np.full((1, 1, 1), 127.5, np.float32)).item() == pytest.approx(63.75)


def test_gray_pixels_stay_gray_and_saturation_leaves_them_alone():
    gray = np.repeat(image(1), 3, 2)
    changed = draw(WILD, 3).apply(gray).astype(int)
    assert np.ptp(changed, axis=2).max() == 0
    only = ColourSpec(probability=1, brightness=0, contrast=0, saturation=0.9, tint=0, gamma=0)
    assert np.abs(draw(only, 3).apply(gray).astype(int) - gray).max() <= 1


def test_a_tint_changes_channels_one_by_one_and_gray_images_not_at_all():
    spec = STILL.model_copy(update={"tint": 0.3})
    drawn = [draw(spec, seed) for seed in range(300)]
    gains = np.array([np.diag(d.matrix[:, :3]) for d in drawn])
    assert all(
        np.array_equal(d.matrix, np.column_stack([np.diag(g), np.zeros(3)])) for d, g in zip(drawn, gains, strict=True)
    )
    assert 1 / 1.3 - 1e-9 <= gains.min() < 0.8
    assert 1.25 < gains.max() <= 1.3 + 1e-9
    assert np.abs(np.corrcoef(gains.T)[np.triu_indices(3, 1)]).max() < 0.2  # channels are drawn on their own
    assert np.array_equal(draw(spec, 1, channels=1).matrix, np.eye(1, 2))


def test_draws_stay_within_the_bounds_of_the_recipe():
    spec = ColourSpec(probability=1, brightness=0.2, contrast=0, saturation=0, gamma=0.5)
    drawn = [draw(spec, seed, 1) for seed in range(400)]
    offsets, gammas = np.array([d.matrix[0, 1] for d in drawn]) / 255, np.array([d.gamma for d in drawn])
    assert -0.2 <= offsets.min() < -0.18
    assert 0.18 < offsets.max() <= 0.2
    assert 1 / 1.5 - 1e-9 <= gammas.min() < 0.7
    assert 1.42 < gammas.max() <= 1.5 + 1e-9


def test_the_share_that_is_changed_is_the_probability():
    drawn = [draw(ColourSpec(probability=0.7), seed) for seed in range(600)]
    changed = np.mean([not np.array_equal(d.matrix, np.eye(3, 4)) for d in drawn])
    assert changed == pytest.approx(0.7, abs=0.065)  # 3.5 standard deviations


def test_two_specs_are_applied_one_after_the_other():
    spec = ColourSpec(probability=1, brightness=0.1, contrast=0.3, saturation=0.3, gamma=0)
    both = draw_colour([spec, spec], np.random.default_rng(4), channels=3)
    rng = np.random.default_rng(4)
    first, second = (draw_colour([spec], rng, channels=3) for _ in range(2))
    values = np.array([[[90.0, 120.0, 150.0]]], np.float32)
    assert both.apply(values) == pytest.approx(second.apply(first.apply(values)), abs=1e-3)
