"""Suspect labels on planted errors, by worked values, and the unkind cases."""

import math
import weakref

import numpy as np
import pytest

from maskwright.audit.suspects import border_weights, find_suspects, suspect_findings, suspect_pixels
from maskwright.errors import DataError
from maskwright.recipe.suspects import SuspectSpec
from maskwright.types import IGNORE

NAMES = ["ground", "rock", "sky"]
EVERY = SuspectSpec(tolerance=0, minimum_area=0, largest_shift=0)


def confident(label, sure=0.9, count=3):
    """Return probabilities that say `label` with that confidence; the rest is shared evenly."""
    rest = (1 - sure) / (count - 1)
    return np.where(np.arange(count)[:, None, None] == label, np.float32(sure), np.float32(rest))


def scene(seed=0, size=(60, 80)):
    """Return a label map: sky above ground, with a rock of 12 × 10 pixels somewhere on the ground."""
    rng = np.random.default_rng(seed)
    label = np.zeros(size, np.uint8)
    label[:20] = 2
    top, left = int(rng.integers(28, 44)), int(rng.integers(8, 60))
    label[top : top + 12, left : left + 10] = 1
    return label, (slice(top, top + 12), slice(left, left + 10))


def test_worked_by_hand():
    """Two images of 1 × 4 pixels, categories a and b.

    Given a: p(a) = .9 .8 .3 in the first, .6 in the second: t(a) = 2.6 / 4 = .65; given b: p(b) = .9 .9 .9 .2:
    t(b) = 2.9 / 4 = .725. The first image's pixel with p(b) = .7 stays below t(b) and is no suspect; the second's with
    p(a) = .8 is one, of log(.8 / .2) = log 4 nats.
    """
    first = np.array([[0, 0, 0, 1]], np.uint8), np.array([[[0.9, 0.8, 0.3, 0.1]], [[0.1, 0.2, 0.7, 0.9]]], np.float32)
    second = np.array([[0, 1, 1, 1]], np.uint8), np.array([[[0.6, 0.1, 0.1, 0.8]], [[0.4, 0.9, 0.9, 0.2]]], np.float32)
    found = find_suspects([("1", *first), ("2", *second)], ["a", "b"], EVERY)
    np.testing.assert_allclose(found.thresholds, [0.65, 0.725], rtol=1e-6)
    pixels = (
        suspect_pixels(*first, found.thresholds, tolerance=0),
        suspect_pixels(*second, found.thresholds, tolerance=0),
    )
    np.testing.assert_array_equal(pixels[0], 0)
    np.testing.assert_allclose(pixels[1], [[0, 0, 0, math.log(4)]], rtol=1e-6)
    assert found.regions.filter(found.regions["image"] == "2").select(
        "top", "left", "height", "width", "area", "given", "suggested"
    ).rows() == [(0, 3, 1, 1, 1.0, "b", "a")]


@pytest.mark.parametrize(
    ("change", "given", "suggested"),
    [("dropped", "ground", "rock"), ("swapped", "sky", "rock"), ("invented", "rock", "ground")],
)
def test_planted_errors_rank_first_with_their_box(change, given, suggested):
    """One of 20 masks is wrong by a rock of 120 pixels; the others agree but for a border that is 1 pixel off."""
    items, box = [], None
    for k in range(20):
        label, rock = scene(k)
        predicted = np.roll(label, 1, 1) if k != 7 else label.copy()  # strips along every outline
        drawn = label.copy()
        if k == 7:
            box = (rock[0].start, rock[1].start, 12, 10)
            if change == "invented":
                predicted[rock] = 0
            drawn[rock] = {"dropped": 0, "swapped": 2, "invented": 1}[change]
        items.append((f"{k}", drawn, confident(predicted)))
    found = find_suspects(items, NAMES, SuspectSpec(largest_shift=0))
    first = found.regions.row(0, named=True)
    assert (first["image"], first["given"], first["suggested"]) == ("7", given, suggested)
    assert (first["top"], first["left"], first["height"], first["width"]) == box
    assert found.images["image"][0] == "7"


def test_score_is_what_the_pixels_add_up_to():
    """All confidences are the same, so no bin is cut: the region's score is the sum over its pixels' doubts."""
    label, rock = scene()
    drawn = label.copy()
    drawn[rock] = 0
    spec = SuspectSpec(largest_shift=0, minimum_area=0)
    other = scene(1)[0]
    found = find_suspects([("a", drawn, confident(label, 0.95)), ("b", other, confident(other, 0.9))], NAMES, spec)
    doubts = suspect_pixels(drawn, confident(label, 0.95), found.thresholds)
    assert found.regions.height == 1
    assert found.regions["area"][0] == pytest.approx(120)
    assert found.regions["score"][0] == pytest.approx(float(doubts.sum()), rel=1e-5)
    # ground has 40 · 80 pixels, of which those beside the sky count less; the image's own weights are theirs
    ground, whole = (border_weights(drawn, 0.5)[drawn == 0].sum(), border_weights(drawn, 0.5).sum())
    expected = found.regions["score"][0] / math.sqrt(ground * whole)
    assert found.images["score"][0] == pytest.approx(expected, rel=1e-5)
    # far from any border of the mask: weight 1 each, log(.95 / .025) nats
    assert found.regions["score"][0] == pytest.approx(120 * math.log(0.95 / 0.025), rel=1e-5)


def test_ignored_pixels_are_never_suspect_and_never_count():
    label, rock = scene()
    drawn = label.copy()
    drawn[:20] = IGNORE
    drawn[rock] = 0
    wild = confident(label)
    wild[:, :20] = confident(np.random.default_rng(0).integers(0, 3, (20, 80)))
    calm = find_suspects([("a", drawn, confident(label))], NAMES)
    found = find_suspects([("a", drawn, wild)], NAMES)
    assert found.regions.equals(calm.regions)
    np.testing.assert_array_equal(found.thresholds[:2], calm.thresholds[:2])
    assert math.isnan(found.thresholds[2])
    assert not suspect_pixels(drawn, wild, found.thresholds)[:20].any()
    assert (found.regions["top"] >= 20).all()


def test_border_weights_rise_to_one_at_the_tolerance():
    label = np.zeros((1, 12), np.uint8)
    label[0, 6:] = 1
    # the border's two pixels are 5 and 6; from there on a pixel is as many pixels away as it is columns
    np.testing.assert_allclose(
        border_weights(label, 4), [[1, 1, 0.75, 0.5, 0.25, 0, 0, 0.25, 0.5, 0.75, 1, 1]], atol=0.05
    )
    np.testing.assert_array_equal(border_weights(label, 0), 1)
    np.testing.assert_array_equal(border_weights(np.zeros((3, 5), np.uint8), 4), 1)


def test_a_shifted_mask_comes_first_and_says_where_it_belongs():
    items = []
    for k in range(6):
        label, _ = scene(k, (120, 160))
        drawn = np.roll(label, (6, -8), (0, 1)) if k == 3 else label
        items.append((f"{k}", drawn, confident(label)))
    found = find_suspects(items, NAMES)
    assert found.images["image"][0] == "3"
    assert found.images["shifted"].to_list() == [True] + [False] * 5
    assert found.images.select("shift_down", "shift_right").row(0) == (-6, 8)
    rows = suspect_findings(found, SuspectSpec(listed=1)).rows(named=True)
    assert [row["kind"] for row in rows] == ["mask_shifted", "suspect_label"]
    assert "6 px up and 8 px right" in rows[0]["detail"]
    assert all(row["decision"] == "kept" for row in rows)


def test_a_shift_within_the_tolerance_of_both_outlines_is_none():
    """The diagonal is 200 pixels, the tolerance 1, so that up to 2 pixels are none."""
    label, _ = scene(0, (120, 160))
    for columns, told in ((2, False), (4, True)):
        found = find_suspects([("a", np.roll(label, columns, 1), confident(label))], NAMES)
        assert found.images["shifted"].to_list() == [told]


def test_one_image_at_a_time():
    alive = weakref.WeakValueDictionary()

    def items():
        for k in range(5):
            assert len(alive) <= 1, "earlier probabilities are still held"
            label, _ = scene(k)
            alive[k] = probabilities = confident(label)
            yield f"{k}", label, probabilities
            del probabilities

    assert find_suspects(items(), NAMES).images.height == 5


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (1, 40)])
@pytest.mark.parametrize("value", [0, 2, IGNORE])
def test_unkind_maps(shape, value):
    label = np.full(shape, value, np.uint8)
    found = find_suspects([("a", label, confident(np.ones(shape, np.uint8)))], NAMES)
    assert found.images["image"].to_list() == ["a"]
    if value == IGNORE:
        assert found.images["score"].to_list() == [None]
        assert found.regions.height == 0
    assert find_suspects([], NAMES).regions.height == 0


def test_half_precision_and_certain_zeros():
    label, rock = scene()
    drawn = label.copy()
    drawn[rock] = 0
    found = find_suspects([("a", drawn, confident(label, 1.0).astype(np.float16))], NAMES)
    assert found.regions.select("given", "suggested").rows() == [("ground", "rock")]
    assert found.regions["score"].is_finite().all()
    # 120 certain pixels against a given probability of 0, which counts as .001
    assert found.regions["score"][0] == pytest.approx(120 * math.log(1000), rel=1e-3)


def test_regions_of_an_image_are_bounded():
    label = np.zeros((64, 64), np.uint8)
    dots = label.copy()
    dots[4::8, 4::8] = 1
    found = find_suspects([("a", label, confident(dots)), ("b", dots, confident(dots))], NAMES, EVERY)
    assert found.regions.height == SuspectSpec().regions


@pytest.mark.parametrize(
    ("label", "probabilities", "told"),
    [
        (np.zeros((4, 4), np.uint8), np.ones((3, 4, 5), np.float32), "(3, 4, 5) beside a mask of (4, 4)"),
        (np.zeros((4, 4), np.uint8), np.ones((2, 4, 4), np.float32), "(3, 4, 4) probabilities"),
        (np.full((4, 4), 7, np.uint8), np.ones((3, 4, 4), np.float32), "got 7"),
        (np.zeros((4, 4), np.uint8), np.full((3, 4, 4), np.nan, np.float32), "not finite"),
    ],
)
def test_what_cannot_be_compared_is_an_error(label, probabilities, told):
    with pytest.raises(DataError) as error:
        find_suspects([("street.png", label, probabilities)], NAMES)
    assert told in str(error.value)
    assert "street.png" in str(error.value)
