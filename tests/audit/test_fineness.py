"""The fineness of masks: drawn shapes whose coarser versions are known, values worked by hand, scales, empty masks."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.testing import assert_allclose

from maskwright.audit.fineness import fineness, load_scorer
from maskwright.data.images import read_image
from maskwright.errors import RecipeError
from maskwright.types import IGNORE

DATA = Path(os.environ.get("MASKWRIGHT_DATA", "/nonexistent"))
SIDE = 256


def star(side=SIDE, waves=0.25):
    """A disc with twelve uneven rays; without waves, a disc of .33 of the side."""
    ys, xs = (np.mgrid[:side, :side] - side / 2) / side
    angle = np.arctan2(ys, xs)
    return (np.hypot(xs, ys) < 0.33 * (1 + waves * np.sin(12 * angle) * np.sin(3 * angle))).astype(np.uint8)


def seen(mask, noise=6, seed=0):
    """An image of what the mask shows, blurred, with structure and noise everywhere."""
    rng = np.random.default_rng(seed)
    image = cv2.GaussianBlur(mask.astype(np.float32) * 80 + 90, (0, 0), 1)
    image += cv2.GaussianBlur(rng.normal(0, 40, mask.shape).astype(np.float32), (0, 0), 3)
    return np.clip(image + rng.normal(0, noise, mask.shape), 0, 255).astype(np.uint8)[..., None]


def polygon(mask, tolerance):
    outlines, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    corners = [cv2.approxPolyDP(outline, tolerance * SIDE, True) for outline in outlines]
    return cv2.fillPoly(np.zeros_like(mask), corners, 1)


def hull(mask):
    outlines, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    return cv2.fillPoly(np.zeros_like(mask), [cv2.convexHull(outline) for outline in outlines], 1)


def blocks(mask, size):
    small = mask[size // 2 :: size, size // 2 :: size]
    return small.repeat(size, 0).repeat(size, 1)


def speckled(mask):
    return mask ^ (np.random.default_rng(1).random(mask.shape) < 0.01).astype(np.uint8)


def ragged(mask):
    inside, outside = (cv2.distanceTransform(m, cv2.DIST_L2, 3) for m in (mask, 1 - mask))
    noise = cv2.GaussianBlur(np.random.default_rng(2).normal(0, 1, mask.shape), (0, 0), 2)
    return (inside - outside + 30 * noise > 0).astype(np.uint8)


COARSER = {
    "few corners": lambda m: polygon(m, 0.01),
    "fewer corners": lambda m: polygon(m, 0.04),
    "hull": hull,
    "blocks": lambda m: blocks(m, 8),
    "shifted": lambda m: np.roll(m, 6, 1),
    "grown": lambda m: cv2.dilate(m, np.ones((9, 9), np.uint8)),
    "speckled": speckled,  # longer outlines, but not of anything
    "ragged": ragged,
    "empty": np.zeros_like,
}


@pytest.mark.parametrize("name", COARSER)
@pytest.mark.parametrize("seed", range(3))
def test_a_coarser_mask_of_a_star_scores_lower(name, seed):
    mask = star()
    image = seen(mask, seed=seed)
    assert fineness(image, COARSER[name](mask)) < fineness(image, mask)


def test_coarser_steps_score_lower_one_by_one():
    mask = star()
    scores = [fineness(seen(mask), m) for m in (mask, *(polygon(mask, t) for t in (0.01, 0.02, 0.04)), hull(mask))]
    assert scores == sorted(scores, reverse=True)


def test_a_hole_and_a_further_object_that_are_there_make_it_finer():
    mask = star(waves=0)
    mask[110:146, 110:146] = 0
    mask[10:30, 10:30] = 1
    image = seen(mask)
    filled, forgotten = mask.copy(), mask.copy()
    filled[110:146, 110:146] = 1
    forgotten[10:30, 10:30] = 0
    assert fineness(image, filled) < fineness(image, mask)
    assert fineness(image, forgotten) < fineness(image, mask)


def test_a_disc_on_a_clean_edge_scores_its_perimeter():
    # 2π · .33 of the side = 2.073; the factor 2ρ - 1 is near 1, for nearly all of the image is flatter than its edge
    mask = star(512, waves=0)
    assert_allclose(fineness(mask[..., None] * 200, mask), 2.073, rtol=0.05)


def test_a_straight_border_between_two_halves_counts_once():
    # one border of the image's side: 1; its blurred edge covers a few of 200 columns, so ρ is near 1 there
    mask = np.zeros((200, 200), np.uint8)
    mask[:, 100:] = 1
    assert_allclose(fineness(mask[..., None] * 100, mask), 1, rtol=0.05)


def test_outlines_at_random_score_near_zero():
    rng = np.random.default_rng(3)
    image = cv2.GaussianBlur(rng.normal(0, 1, (256, 256)), (0, 0), 2)[..., None]
    scores = [fineness(image, np.roll(star(), shift, (0, 1))) for shift in (0, 40, 80, 120)]
    assert abs(np.mean(scores)) < 0.3  # of an outline of about 3.3


@pytest.mark.parametrize("factor", [2, 3])
def test_magnified_the_score_stays(factor):
    mask = star()
    image = seen(mask, noise=2)
    large = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_LINEAR)[..., None]
    assert_allclose(fineness(large, mask.repeat(factor, 0).repeat(factor, 1)), fineness(image, mask), rtol=0.03)


@pytest.mark.parametrize("turn", [lambda a: a[:, ::-1], lambda a: a[::-1], lambda a: np.swapaxes(a, 0, 1)])
def test_flips_change_nothing(turn):
    mask = star()
    image = seen(mask)
    assert_allclose(fineness(turn(image), turn(mask)), fineness(image, mask), rtol=1e-4)


def test_nothing_to_outline_is_zero():
    image = seen(star())
    for value in (0, 1, IGNORE):
        assert fineness(image, np.full((SIDE, SIDE), value, np.uint8)) == 0
    assert fineness(np.uint8([[[7]]]), np.uint8([[1]])) == 0
    assert fineness(np.zeros((3, 5, 3), np.uint8), np.zeros((3, 5), np.uint8)) == 0
    flat = np.full((SIDE, SIDE, 1), 9, np.uint8)
    assert fineness(flat, star()) <= 0  # no edge anywhere


def test_borders_with_ignored_pixels_do_not_count():
    mask = star()
    mask[mask == 1] = IGNORE
    assert abs(fineness(seen(star()), mask)) < 0.01  # of 3.3: the tails of the Gaussian


def test_colour_and_deep_images():
    mask = star()
    image = seen(mask)
    assert_allclose(fineness(np.repeat(image, 3, 2), mask), fineness(image, mask), rtol=1e-3)
    assert_allclose(fineness(image.astype(np.uint16) * 256, mask), fineness(image, mask), rtol=1e-3)


def test_a_scorer_of_ones_own():
    assert load_scorer(None) is fineness
    assert load_scorer("numpy:mean") is np.mean
    with pytest.raises(RecipeError, match="nowhere"):
        load_scorer("nowhere:fine")
    with pytest.raises(RecipeError, match="function"):
        load_scorer("math:pi")


@pytest.mark.skipif(not DATA.is_dir(), reason="MASKWRIGHT_DATA names no folder")
@pytest.mark.realdata
def test_drawn_teeth_are_finer_than_their_polygons():
    worse = 0
    files = sorted((DATA / "teeth" / "masks").glob("*.png"))[:20]
    for path in files:
        mask = (cv2.imread(str(path), cv2.IMREAD_UNCHANGED) > 0).astype(np.uint8)
        image = read_image(next((DATA / "teeth" / "images").glob(f"{path.stem}.*")))
        worse += fineness(image, polygon(mask, 0.02)) >= fineness(image, mask)
    assert worse == 0
