"""Pictures of embeddings, instances and panoptic maps: pixel values worked by hand, PCA against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.decomposition import PCA

from maskwright.errors import DataError
from maskwright.pictures import (
    FALSE_NEGATIVE,
    FALSE_POSITIVE,
    OKABE_ITO,
    TRUE_POSITIVE,
    Basis,
    anchor_picture,
    ball_picture,
    color_numbers,
    embedding_picture,
    instance_picture,
    judged_picture,
    panoptic_beside,
    panoptic_picture,
)
from maskwright.pipeline.embedding_pictures import _draw_set

BLACK = np.zeros((1, 6, 1), np.uint8)


def test_colours_follow_the_principal_components():
    rng = np.random.default_rng(0)
    embeddings = (rng.normal(0, 1, (8, 8)) @ rng.normal(0, 1, (8, 30 * 40))).reshape(8, 30, 40)
    picture = embedding_picture(embeddings)
    theirs = PCA(3).fit_transform(embeddings.reshape(8, -1).T)
    for channel in range(3):
        shown, expected = picture[..., channel].ravel().astype(float), theirs[:, channel]
        inside = (shown > 0) & (shown < 255)
        assert abs(np.corrcoef(shown[inside], expected[inside])[0, 1]) > 0.9999
        assert 0.01 < (shown == 255).mean() < 0.03  # 2 % above the 98th percentile


def test_one_basis_for_several_images_and_what_it_shows():
    rng = np.random.default_rng(1)
    two = (rng.normal(0, 1, (6, 6)) @ rng.normal(0, 1, (6, 2 * 20 * 30))).reshape(6, 2, 20, 30).swapaxes(0, 1)
    theirs = PCA(3).fit(two.swapaxes(1, 2).swapaxes(2, 3).reshape(-1, 6))
    basis = Basis.of(np.concatenate([one.reshape(6, -1).T for one in two]))
    assert basis.shown == pytest.approx(theirs.explained_variance_ratio_.sum())
    assert np.abs(np.sum(basis.directions * theirs.components_.T, axis=0)) == pytest.approx(1)
    # a pixel of the same embedding has the same colour in both images, which their own bases don't give
    two[1, :, 3, 4] = two[0, :, 7, 8]
    assert np.array_equal(basis.picture(two[0])[7, 8], basis.picture(two[1])[3, 4])
    assert not np.array_equal(embedding_picture(two[0])[7, 8], embedding_picture(two[1])[3, 4])


def test_a_basis_of_points_without_variance_and_of_none():
    flat = Basis.of(np.full((5, 4), 7.0))
    assert np.isnan(flat.shown) and (flat.picture(np.full((4, 2, 3), 9.0)) == 128).all()
    assert Basis.of(np.array([[0.0, 5], [3, 5]])).shown == pytest.approx(1)  # all of it lies along the first axis
    with pytest.raises(DataError, match=r"finite points"):
        Basis.of(np.zeros((0, 4)))
    with pytest.raises(DataError, match=r"1 values that aren't finite"):
        Basis.of(np.array([[0.0, np.nan]]))
    with pytest.raises(DataError, match=r"expected \(2, H, W\) embeddings"):
        Basis.of(np.eye(2)).picture(np.zeros((3, 4, 4)))


def test_balls_are_outlined_and_their_anchors_dotted():
    ball = np.zeros((1, 30, 30), bool)
    ball[0, 2:20, 2:20] = True
    picture = ball_picture(np.zeros((30, 30, 3), np.uint8), ball, np.array([[10, 10]]))
    assert tuple(picture[2, 5]) == tuple(picture[1, 5]) == OKABE_ITO[0] and picture[10, 10].tolist() == [255] * 3
    assert picture[5, 5].tolist() == [0] * 3 and picture[25, 25].tolist() == [0] * 3  # inside of it and outside


def test_few_channels_constant_ones_and_no_pixel():
    ramp = np.arange(101.0).reshape(1, 1, 101)
    picture = embedding_picture(ramp)[0]
    # 2nd and 98th percentile of 0..100 are 2 and 98: 50 is in the middle
    assert picture[[0, 2, 50, 98]].tolist() == [[0, 128, 128], [0, 128, 128], [128, 128, 128], [255, 128, 128]]
    assert (embedding_picture(np.full((4, 2, 3), 7.0)) == 128).all()
    assert not embedding_picture(np.zeros((4, 2, 3)), np.zeros((2, 3), bool)).any()
    assert embedding_picture(np.zeros((4, 0, 3))).shape == (0, 3, 3)
    with pytest.raises(DataError, match=r"got \(4, 2, 3\) and a mask \(3, 2\)"):
        embedding_picture(np.zeros((4, 2, 3)), np.zeros((3, 2), bool))


def test_values_that_are_not_finite_are_black_and_do_not_count():
    embeddings = np.random.default_rng(0).normal(0, 1, (4, 5, 6))
    without = embedding_picture(embeddings, np.arange(30).reshape(5, 6) > 0)
    embeddings[2, 0, 0] = np.nan
    assert np.array_equal(embedding_picture(embeddings), without) and not without[0, 0].any()


@settings(deadline=None, max_examples=60)
@given(arrays(np.int32, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 30)))
def test_neighbours_have_different_numbers(instances):
    numbers = color_numbers(instances)
    assert np.array_equal(numbers > 0, instances > 0)
    for a, b, p, q in (
        (instances[1:], instances[:-1], numbers[1:], numbers[:-1]),
        (instances[:, 1:], instances[:, :-1], numbers[:, 1:], numbers[:, :-1]),
    ):
        assert (p != q)[(a != b) & (a > 0) & (b > 0)].all()
        assert np.array_equal(p[a == b], q[a == b])


def test_seven_colours_are_enough_for_a_grid_of_thousands():
    rows, columns = np.indices((210, 300))
    numbers = color_numbers(1 + rows // 3 * 100 + columns // 3)
    assert numbers.max() <= 7
    assert np.unique(color_numbers(np.array([[1, 0, 2, 0, 3, 0, 4]]))).size == 5  # apart, and yet not all of one colour


def test_instances_over_an_image():
    picture = instance_picture(np.full((1, 6, 1), 100, np.uint8), np.array([[0, 4, 4, 4, 4, 0]]))[0]
    color = picture[1].tolist()
    assert tuple(color) in OKABE_ITO  # the outline is in the full colour
    assert picture[0].tolist() == [100, 100, 100]
    assert picture[2].tolist() == pytest.approx([(100 + c) / 2 for c in color], abs=0.6)


def test_true_false_and_missed():
    instances, missed = np.array([[3, 3, 9, 9, 0, 0]]), np.array([[0, 0, 0, 0, 5, 5]])
    picture = judged_picture(BLACK, instances, [3], missed)[0].tolist()
    assert picture[1] == list(TRUE_POSITIVE) and picture[2] == list(FALSE_POSITIVE)
    assert picture[4] == list(FALSE_NEGATIVE) and picture[5] == [0, 0, 0]  # inside of the missed one


def test_anchors_are_white_in_black():
    picture = anchor_picture(np.full((20, 20, 3), 99, np.uint8), np.array([[5, 12]]))
    assert picture[5, 12].tolist() == [255] * 3 and picture[5, 14].tolist() == [0] * 3
    assert picture[5, 15].tolist() == [99] * 3
    assert (anchor_picture(np.zeros((4, 4, 3), np.uint8), np.zeros((0, 2))) == 0).all()


def test_panoptic_maps_have_shades_lines_and_void():
    palette = np.zeros((256, 3), np.uint8)
    palette[0], palette[1] = (10, 20, 30), (100, 100, 200)
    label, instances = np.uint8([[0, 1, 1, 1, 1, 1, 1, 255]] * 3), np.array([[0, 1, 1, 1, 2, 2, 2, 0]] * 3)
    picture = panoptic_picture(label, instances, palette)
    assert picture[1, 0].tolist() == [10, 20, 30] and picture[1, 7].tolist() == [0, 0, 0]
    assert picture[1, 3].tolist() == picture[1, 4].tolist() == [255] * 3
    shades = {tuple(picture[1, 2]), tuple(picture[1, 5])}
    assert len(shades) == 2
    assert all(
        r == g and b == pytest.approx(min(255, 2 * r), abs=1) for r, g, b in np.array(list(shades), int).tolist()
    )
    row = panoptic_beside(np.zeros((3, 8, 3), np.uint8), [(label, instances)], palette)
    assert np.array_equal(row[:, 12:], picture)


def test_embeddings_that_are_nowhere_finite_are_not_drawn_and_stop_nothing():
    nothing = {"images/a.png": np.full((4, 3, 5), np.nan)}
    assert _draw_set(None, None, None, nothing, None, [(1,)]) == []
