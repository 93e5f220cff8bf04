"""Warping and fusion of views against a slow plain version in SciPy, and against geometry that is exact."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from maskwright.augment import Geometry
from maskwright.train.unlabelled.sac.fusion import fuse_views, warp

HEIGHT, WIDTH = 12, 18


def zoom(share, left, top, *, mirrored=False, size=(HEIGHT, WIDTH)):
    """Return (2, 3) from pixels of a view to those of what it is a crop of: `share` of each side from (left, top)."""
    width = size[1]
    first_x, first_y = left + share / 2 - 0.5, top + share / 2 - 0.5
    matrix = np.array([[share, 0, first_x], [0, share, first_y]])
    if mirrored:
        matrix = np.array([[-share, 0, first_x + share * (width - 1)], [0, share, first_y]])
    return matrix


def whole(matrix):
    return np.vstack([matrix, [0, 0, 1]])


def slow_warp(values, matrix):
    """Return (C, H, W) values seen through a matrix, each pixel by its four neighbours, 0 beyond the border."""
    ys, xs = np.mgrid[: values.shape[1], : values.shape[2]].astype(float)
    points = whole(matrix)[:2] @ np.stack([xs.ravel(), ys.ravel(), np.ones(xs.size)])
    places = points[::-1].reshape(2, *xs.shape)
    return np.stack([ndimage.map_coordinates(v, places, order=1, mode="grid-constant", cval=0) for v in values])


def slow_fusion(probabilities, valid, matrices, pooling, coverage=0.1):
    """Return (V, C, H, W) by loops over views, in float64."""
    known = probabilities.astype(float) * valid[:, None]
    first = [np.linalg.inv(whole(matrices[0])) @ whole(m) for m in matrices]  # from view v to the first
    each = [slow_warp(known[v], np.linalg.inv(first[v])[:2]) for v in range(len(known))]
    if pooling == "mean":
        fused = restored(sum(each), coverage)
    else:
        rated = np.stack([restored(e, coverage) for e in each])
        with np.errstate(divide="ignore", invalid="ignore"):
            entropy = -np.nansum(np.where(rated > 0, rated * np.log(rated), 0), 1)
        entropy[rated.sum(1) == 0] = np.inf
        fused = np.take_along_axis(rated, entropy.argmin(0)[None, None], 0)[0]
    back = [fused, *(restored(slow_warp(fused, first[v][:2]), coverage) for v in range(1, len(known)))]
    return np.stack(back) * valid[:, None]


def restored(values, coverage):
    total = values.sum(0)
    return np.where(total > coverage, values / np.maximum(total, 1e-6), 0)


def some_views(seed, views=4):
    rng = np.random.default_rng(seed)
    first = whole(zoom(rng.uniform(0.8, 1.2), *rng.uniform(-2, 2, 2)))
    matrices = [first[:2]]
    for _ in range(views - 1):
        share = rng.uniform(0.5, 1)
        corner = rng.uniform(0, 1 - share, 2) * (WIDTH, HEIGHT)
        matrices.append((first @ whole(zoom(share, *corner, mirrored=rng.random() < 0.5)))[:2])
    logits = torch.from_numpy(rng.normal(0, 2, (views, 3, HEIGHT, WIDTH)))
    valid = np.ones((views, HEIGHT, WIDTH), bool)
    valid[0, :, : rng.integers(0, 4)] = False
    return logits.softmax(1).float().numpy(), valid, np.stack(matrices)


def fused(probabilities, valid, matrices, **options):
    given_ = torch.from_numpy(probabilities)[None], torch.from_numpy(valid)[None]
    return fuse_views(*given_, torch.from_numpy(matrices).float()[None], **options)[0].numpy()


@settings(max_examples=20)
@given(st.integers(0, 10_000), st.sampled_from(["mean", "min_entropy"]))
def test_fusion_equals_the_plain_version(seed, pooling):
    views = some_views(seed)
    found, expected = fused(*views, pooling=pooling), slow_fusion(*views, pooling)
    differs = np.abs(found - expected).max(1) > 2e-4
    # a choice between views that are all but equally sure may fall otherwise in float32
    assert differs.mean() < (0.01 if pooling == "min_entropy" else 1e-9)


@pytest.mark.parametrize("stride", [2, 3])
def test_thinned_out_fusion_has_the_pixels_of_the_whole(stride):
    views = some_views(7)
    whole_, found = fused(*views), fused(*views, stride=stride)
    assert found == pytest.approx(whole_[..., stride // 2 :: stride, stride // 2 :: stride], abs=1e-5)


def test_every_pixel_sums_to_one_or_nothing_is_known():
    found = fused(*some_views(5)).sum(1)
    assert np.all(np.isclose(found, 1, atol=1e-5) | (found == 0))
    assert (found > 0).mean() > 0.9


def test_a_constant_prediction_stays_what_it_is():
    probabilities, valid, matrices = some_views(1)
    probabilities[:] = np.array([0.2, 0.5, 0.3], np.float32)[:, None, None]
    valid[:] = True
    found = fused(probabilities, valid, matrices)
    assert found[0] == pytest.approx(probabilities[0], abs=1e-5)  # partly covered pixels at borders included
    assert found == pytest.approx(probabilities, abs=1e-5)


def test_flipped_views_average_exactly():
    rng = np.random.default_rng(0)
    probabilities = torch.from_numpy(rng.normal(0, 2, (2, 3, HEIGHT, WIDTH))).softmax(1).numpy()
    matrices = np.stack([zoom(1, 0, 0), zoom(1, 0, 0, mirrored=True)])
    found = fused(probabilities, np.ones((2, HEIGHT, WIDTH), bool), matrices)
    mean = (probabilities[0] + probabilities[1][..., ::-1]) / 2
    assert found[0] == pytest.approx(mean, abs=1e-5)
    assert found[1] == pytest.approx(mean[..., ::-1], abs=1e-5)


def test_a_pixel_is_the_mean_of_the_views_that_cover_it():
    # the second view shows the left half of the canvas at twice the size, all of it category 1
    probabilities = np.zeros((2, 2, HEIGHT, WIDTH), np.float32)
    probabilities[0, 0] = probabilities[1, 1] = 1
    found = fused(probabilities, np.ones((2, HEIGHT, WIDTH), bool), np.stack([zoom(1, 0, 0), zoom(0.5, 0, 0)]))
    assert found[0][:, : HEIGHT // 2 - 1, : WIDTH // 2 - 1] == pytest.approx(0.5, abs=1e-5)  # half and half
    assert found[0][0, :, WIDTH // 2 + 1 :] == pytest.approx(1)  # the first alone
    assert found[0][0, HEIGHT // 2 + 1 :] == pytest.approx(1)


def test_what_lies_beyond_the_first_view_is_not_known():
    probabilities = np.full((2, 2, HEIGHT, WIDTH), 0.5, np.float32)
    matrices = np.stack([zoom(1, 0, 0), zoom(1, WIDTH / 2, 0)])  # the second view is shifted by half the width
    found = fused(probabilities, np.ones((2, HEIGHT, WIDTH), bool), matrices).sum(1)
    assert (found[1][:, WIDTH // 2 :] == 0).all()
    assert found[1][:, : WIDTH // 2 - 1] == pytest.approx(1)


def test_the_surest_view_is_taken():
    probabilities = np.full((3, 2, HEIGHT, WIDTH), 0.5, np.float32)
    probabilities[1, 0], probabilities[1, 1] = 0.1, 0.9
    probabilities[2, 0], probabilities[2, 1] = 0.7, 0.3
    valid = np.ones((3, HEIGHT, WIDTH), bool)
    found = fused(probabilities, valid, np.stack([zoom(1, 0, 0)] * 3), pooling="min_entropy")
    assert found[:, 1] == pytest.approx(0.9, abs=1e-5)
    valid[1] = False  # the surest shows nothing: the next one
    found = fused(probabilities, valid, np.stack([zoom(1, 0, 0)] * 3), pooling="min_entropy")
    assert found[0, 1] == pytest.approx(0.3, abs=1e-5)
    assert not found[1].any()


def test_one_view_is_itself():
    probabilities, valid, matrices = some_views(2, views=1)
    assert fused(probabilities, valid, matrices) == pytest.approx(probabilities * valid[:, None])


@given(
    st.floats(0.5, 1.0), st.floats(0, 1), st.floats(0, 1), st.booleans(), st.sampled_from([(12, 18), (9, 7), (16, 16)])
)
def test_warp_after_the_inverse_warp_is_the_identity_inside_the_coverage(share, x, y, mirrored, size):
    height, width = size
    matrix = zoom(share, x * (1 - share) * width, y * (1 - share) * height, mirrored=mirrored, size=size)
    ys, xs = np.mgrid[:height, :width].astype(np.float32)
    ramps = torch.from_numpy(np.stack([np.ones_like(xs), xs, ys]))[None, None]  # bilinear sampling is exact on them
    there = torch.from_numpy(matrix).float()[None, None]
    back = torch.from_numpy(np.linalg.inv(whole(matrix))[:2]).float()[None, None]
    # the view shows a part of the image; seen from the image again, that part is what it was
    found = warp(warp(ramps, there), back)[0, 0].numpy()
    covered = found[0] > 0.9999
    assert covered.sum() >= (share * height - 2) * (share * width - 2)
    assert found[:, covered] == pytest.approx(ramps[0, 0].numpy()[:, covered], abs=5e-3)


def test_warp_equals_the_loaders_geometry():
    rng = np.random.default_rng(0)
    image = rng.uniform(0, 255, (HEIGHT, WIDTH, 2)).astype(np.float32)
    matrix = whole(zoom(0.7, 2.3, 1.9, mirrored=True))
    expected = Geometry(matrix, (HEIGHT, WIDTH)).apply_to_image(image)  # inside the image: nothing is mirrored
    given_ = torch.from_numpy(image.transpose(2, 0, 1).copy()), torch.from_numpy(matrix[:2]).float()
    found = warp(*(tensor[None, None] for tensor in given_))
    assert found[0, 0].numpy().transpose(1, 2, 0) == pytest.approx(expected, abs=255 / 32)  # OpenCV rounds to 1/32 px
