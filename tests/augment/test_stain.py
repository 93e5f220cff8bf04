"""Stains: a slide whose stains are known, torchstain's images, an own MATLAB-like copy, and slides without stain."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from slides import STAINS, make_slide

from maskwright.augment.stain import REFERENCE, REFERENCE_MOST, StainFit, fit_stains, jitter, restain
from maskwright.data.images import read_image

DATA = Path(os.environ.get("MASKWRIGHT_DATA", "/nonexistent"))
SLIDE, CONCENTRATIONS = make_slide()
KINDS = ("norm", "hematoxylin", "eosin")
PLACES = ((3, 3), (7, 24), (30, 40), (50, 70))
TORCHSTAIN = {  # torchstain 1.4.1, NumpyMacenkoNormalizer().normalize(SLIDE), at PLACES: glass, nucleus, tissue, both
    "norm": [[240, 240, 240], [94, 71, 121], [207, 141, 166], [121, 64, 105]],
    "hematoxylin": [[240, 240, 240], [94, 72, 122], [238, 238, 239], [145, 126, 167]],
    "eosin": [[240, 240, 240], [239, 237, 238], [208, 142, 166], [200, 123, 150]],
}


def prctile(values, percent):
    """MATLAB's: the k-th smallest of n lies at 100 (k − .5) / n; linear in between."""
    ordered = np.sort(values)
    return np.interp(percent, 100 * (np.arange(len(ordered)) + 0.5) / len(ordered), ordered)


def matlab(image):
    """Return normalised, haematoxylin, eosin images as float: the methods' seven steps, one after the other."""
    density = -np.log((image.reshape(-1, 3).astype(float) + 1) / 240)
    kept = density[~(density < 0.15).any(axis=1)]
    _, vectors = np.linalg.eig(np.cov(kept.T))
    order = np.argsort(_)
    vectors = vectors[:, order[1:]]
    vectors = np.stack([v if v[0] > 0 else -v for v in vectors.T], axis=1)
    angles = np.arctan2(kept @ vectors[:, 1], kept @ vectors[:, 0])
    ends = [vectors @ [np.cos(a), np.sin(a)] for a in (prctile(angles, 1), prctile(angles, 99))]
    first, second = sorted(ends, key=lambda v: -v[0])
    stains = np.stack([first, second], axis=1)
    found = np.linalg.lstsq(stains, density.T, rcond=None)[0]
    found *= (REFERENCE_MOST / [prctile(found[0], 99), prctile(found[1], 99)])[:, None]
    parts = [REFERENCE @ found, np.outer(REFERENCE[:, 0], found[0]), np.outer(REFERENCE[:, 1], found[1])]
    return [np.clip(240 * np.exp(-part), 0, 255).T.reshape(image.shape) for part in parts]


def test_known_stains_are_found():
    fit = fit_stains(SLIDE)
    assert np.abs(fit.stains - STAINS / np.linalg.norm(STAINS, axis=0)).max() < 0.005
    known = [prctile(c, 99) for c in CONCENTRATIONS.reshape(2, -1)]
    assert fit.most == pytest.approx(known, rel=0.02)


@pytest.mark.parametrize("kind", KINDS)
def test_images_are_those_of_torchstain(kind):
    """Within one level: torchstain rounds down and takes NumPy's percentiles."""
    found = restain(SLIDE, fit_stains(SLIDE), kind)
    for place, expected in zip(PLACES, TORCHSTAIN[kind], strict=True):
        assert np.abs(found[place].astype(int) - expected).max() <= 1


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_images_are_those_of_the_seven_steps(dtype):
    image = SLIDE.astype(dtype)
    for kind, oracle in zip(KINDS, matlab(SLIDE), strict=True):
        found = restain(image, fit_stains(image), kind)
        assert found.dtype == dtype
        assert np.abs(found - oracle).max() <= (0.51 if dtype == np.uint8 else 0.01)


def test_a_part_is_recoloured_like_the_whole():
    fit = fit_stains(SLIDE)
    part = np.ascontiguousarray(SLIDE[10:30, 20:50])
    assert np.array_equal(restain(part, fit, "norm"), restain(SLIDE, fit, "norm")[10:30, 20:50])


def one_colour():
    image = np.empty((40, 40, 3), np.uint8)
    image[:] = 120, 60, 130
    return image


def one_stain():
    """Concentrations of one stain alone: all pixels on a line, so that there is no second direction."""
    strength = np.random.default_rng(0).uniform(0.5, 1.5, (40, 40, 1)).astype(np.float32)
    return (240 * np.exp(-strength * np.float32([0.6, 0.7, 0.4])) - 1).astype(np.float32)


UNKIND = {
    "white": np.full((40, 40, 3), 255, np.uint8),
    "black": np.zeros((40, 40, 3), np.uint8),
    "glass": np.random.default_rng(0).integers(215, 256, (40, 40, 3), np.uint8),
    "one colour": one_colour(),
    "one stain": one_stain(),
    "one pixel": one_colour()[:1, :1],
    "99 pixels": make_slide(height=99, width=1)[0],
    "gray": SLIDE[..., :1],
}


@pytest.mark.parametrize("name", UNKIND)
def test_without_stain_nothing_is_fitted_and_the_image_stays(name):
    image = UNKIND[name]
    fit = fit_stains(image)
    assert fit is None
    assert restain(image, fit, "norm") is image
    assert jitter(image, fit, scale=np.array([2, 2]), shift=np.array([1, 1])) is image


def test_the_sign_of_an_eigenvector_does_not_matter(monkeypatch):
    expected, eigh = fit_stains(SLIDE), np.linalg.eigh
    for signs in ((1, -1, 1), (1, 1, -1), (-1, -1, -1)):

        def turned(matrix, signs=signs):
            values, vectors = eigh(matrix)
            return values, vectors * np.array(signs)

        monkeypatch.setattr(np.linalg, "eigh", turned)
        assert np.abs(fit_stains(SLIDE).stains - expected.stains).max() < 1e-12


def test_jitter_scales_and_shifts_concentrations():
    """A slide that stays within 8 bits: densities of the result are those of concentrations c · s + t · largest."""
    fit = StainFit(STAINS / np.linalg.norm(STAINS, axis=0), np.array([1.6, 1.4]))
    image = (240 * np.exp(-np.einsum("ck,kyx->yxc", fit.stains, CONCENTRATIONS)) - 1).astype(np.float32)
    scale, shift = np.array([1.2, 0.8]), np.array([0.05, 0.1])
    found = jitter(image, fit, scale=scale, shift=shift)
    changed = CONCENTRATIONS * scale[:, None, None] + (shift * fit.most)[:, None, None]
    oracle = np.clip(240 * np.exp(-np.einsum("ck,kyx->yxc", fit.stains, changed)) - 1, 0, 255)
    assert np.abs(found - oracle).max() < 0.05
    still = jitter(SLIDE, fit, scale=np.ones(2), shift=np.zeros(2))
    assert np.abs(still.astype(int) - SLIDE).max() <= 1


def test_no_value_wraps_around():
    """Glass brighter than the light has a negative density: more than 255 is cut off, not wrapped."""
    bright = SLIDE.copy()
    bright[:10, :10] = 255
    assert restain(bright, fit_stains(SLIDE), "norm")[:10, :10].min() >= 240


@pytest.mark.realdata
@pytest.mark.skipif(not DATA.is_dir(), reason="MASKWRIGHT_DATA names no folder")
def test_real_slides_are_fitted_and_brought_closer_together():
    """Every third slide of `glas`: stains are found in all; their mean colours lie closer together afterwards."""
    before, after = [], []
    for path in sorted((DATA / "glas" / "images").iterdir())[::3]:
        slide = read_image(path)
        fit = fit_stains(slide)
        assert fit is not None, path
        assert fit.stains[0, 0] > fit.stains[0, 1]
        before.append(slide.mean((0, 1)))
        after.append(restain(slide, fit, "norm").mean((0, 1)))
    assert np.std(after, axis=0).mean() < 0.8 * np.std(before, axis=0).mean()
