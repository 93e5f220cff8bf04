"""Mixing: image, label and instances come from the same pixels. Gray values are a function of the label.

Channel 0 of an image is `code` of the label there; channel 1 says whose pixel it is: 0 the crop's, 100 the partner's.
"""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import scipy.ndimage
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from maskwright.augment.mixing import MIXTURES, Blend, Crop, Pasting, blend_labels, draw_box, draw_mixture, soft_label
from maskwright.errors import UsageError
from maskwright.recipe.mixing import ClassMixSpec, CopyPasteSpec, CutMixSpec, CutoutSpec, MixUpSpec
from maskwright.types import IGNORE, Categories, Category

SIZES = [(1, 1), (3, 5), (1, 40), (37, 24), (64, 128)]
CATEGORIES = Categories(tuple(Category(i, str(i)) for i in range(6)))
EXACT = CopyPasteSpec(scale=(1, 1))
SPECS = [CutMixSpec(), ClassMixSpec(), CopyPasteSpec(), MixUpSpec(), CutoutSpec()]


def code(label):
    return label.astype(int) * 2 % 251


def crop_of(label, *, partner=False, dtype=np.uint8, instances=None):
    image = np.stack([code(label), np.full(label.shape, 100 * partner), 255 - code(label)], axis=-1).astype(dtype)
    return Crop(image, label, instances)


def patches(size, seed, *, ignored=True):
    """Return a label of patches of 4 × 4, one of them ignored where there is room."""
    rng = np.random.default_rng(seed)
    cells = rng.integers(0, 6, (-(-size[0] // 4), -(-size[1] // 4))).astype(np.uint8)
    if ignored:
        cells[rng.random(cells.shape) < 0.2] = IGNORE
    return np.kron(cells, np.ones((4, 4), np.uint8))[: size[0], : size[1]]


def two(size, seed, dtype=np.uint8):
    return crop_of(patches(size, seed), dtype=dtype), crop_of(patches(size, seed + 1000), partner=True, dtype=dtype)


def drawn(spec, seed, partner):
    return draw_mixture(spec, np.random.default_rng(seed), partner, categories=CATEGORIES)


def test_the_cases_below_are_the_whole_table():
    assert {type(spec) for spec in SPECS} == set(MIXTURES)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("spec", [CutMixSpec(), ClassMixSpec(), EXACT], ids=lambda spec: spec.kind)
def test_image_and_label_are_pasted_together(spec, size, dtype):
    for seed in range(10):
        crop, partner = two(size, seed, dtype)
        before = crop.image.copy(), crop.label.copy(), partner.image.copy()
        mixture = drawn(spec, seed, partner)
        mixed = mixture.apply(crop, partner)
        assert mixed.image.shape == (*size, 3)
        assert mixed.image.dtype == dtype
        assert mixed.label.dtype == np.uint8
        assert np.array_equal(mixed.image[..., 0], code(mixed.label))
        assert np.array_equal(mixed.image[..., 1] == 100, mixture.mask)
        assert np.array_equal(mixed.label[~mixture.mask], crop.label[~mixture.mask])
        untouched = crop.image, crop.label, partner.image
        assert all(np.array_equal(a, b) for a, b in zip(before, untouched, strict=True))


@pytest.mark.parametrize("seed", range(10))
def test_a_zoomed_object_brings_image_and_label_to_the_same_place(seed):
    crop, partner = two((64, 96), seed)
    mixture = drawn(CopyPasteSpec(scale=(0.6, 1.8)), seed, partner)
    mixed = mixture.apply(crop, partner)
    inner = cv2.erode(mixture.mask.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0  # bilinear against nearest
    assert np.array_equal(mixed.image[..., 0][inner], code(mixed.label)[inner])
    assert np.array_equal(mixed.image[..., 1] == 100, mixture.mask)
    assert (mixed.label[mixture.mask] != IGNORE).all()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("spec", [*SPECS[:2], CopyPasteSpec(scale=(1, 1), flip=0), SPECS[3]], ids=lambda s: s.kind)
def test_mixing_with_itself_changes_nothing(spec, size):
    for seed in range(5):
        crop = crop_of(patches(size, seed))
        mixed = drawn(spec, seed, crop).apply(crop, crop)
        assert np.array_equal(mixed.image, crop.image)
        assert np.array_equal(mixed.label, crop.label)
        if mixed.shares is not None:
            assert mixed.shares == pytest.approx(soft_label(crop.label, 6), abs=1e-6)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.kind)
def test_a_partner_that_is_all_ignored_brings_no_category(spec, size):
    crop = crop_of(patches(size, 0))
    partner = crop_of(np.full(size, IGNORE, np.uint8), partner=True)
    mixture = drawn(spec, 0, partner)
    mixed = mixture.apply(crop, partner)
    if isinstance(spec, CutMixSpec | CutoutSpec):  # the box is ignored
        assert (mixed.label[mixture.mask] == IGNORE).all()
        assert mixture.mask.any()
    else:
        assert np.array_equal(mixed.label, crop.label)
    if isinstance(spec, ClassMixSpec | CopyPasteSpec):
        assert np.array_equal(mixed.image, crop.image)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("size", SIZES)
def test_a_box_is_cut_out_of_everything(size, dtype):
    instances = np.arange(1, 1 + size[0] * size[1], dtype=np.int32).reshape(size)
    crop = crop_of(patches(size, 0), dtype=dtype, instances=instances)
    crop = Crop(crop.image, crop.label, instances, soft_label(crop.label, 6))
    mixture = drawn(CutoutSpec(area=(0.3, 0.4)), 0, crop)
    found, mask = mixture.apply(crop, crop), mixture.mask
    assert mask.any()
    assert found.image.dtype == dtype
    for own, before in ((found.image, crop.image), (found.label, crop.label), (found.instances, instances)):
        assert np.array_equal(own[~mask], before[~mask])
    assert np.array_equal(found.shares[:, ~mask], crop.shares[:, ~mask])
    assert (found.label[mask] == IGNORE).all() and not found.instances[mask].any() and not found.shares[:, mask].any()
    if mask.sum() > 500:  # uniform in 0..255: a mean of 127.5, a standard deviation of 73.9
        assert found.image[mask].mean() == pytest.approx(127.5, abs=10)
        assert found.image[mask].std() == pytest.approx(73.9, abs=5)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.kind)
def test_what_both_ignore_stays_ignored_and_one_channel_stays_one(spec):
    label = np.full((6, 7), IGNORE, np.uint8)
    crop = Crop(np.zeros((6, 7, 1), np.float32), label)
    mixed = drawn(spec, 1, crop).apply(crop, crop)
    assert (mixed.label == IGNORE).all()
    assert mixed.image.shape == (6, 7, 1)
    assert mixed.image.dtype == np.float32
    if mixed.shares is not None:
        assert mixed.shares.shape == (6, 6, 7)
        assert (mixed.shares == 0).all()


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.kind)
def test_the_same_generator_draws_the_same(spec):
    crop, partner = two((32, 40), 3)
    one, other = (drawn(spec, 9, partner).apply(crop, partner) for _ in range(2))
    assert np.array_equal(one.image, other.image)
    assert np.array_equal(one.label, other.label)


# ---- boxes


@given(
    st.integers(0, 10_000),
    st.integers(1, 300),
    st.integers(1, 300),
    st.tuples(st.floats(1e-6, 1), st.floats(1e-6, 1)).map(lambda pair: tuple(sorted(pair))),
    st.tuples(st.floats(1e-4, 1e4), st.floats(1e-4, 1e4)).map(lambda pair: tuple(sorted(pair))),
)
def test_a_box_lies_inside_whatever_is_asked(seed, height, width, area, aspect):
    box = draw_box(np.random.default_rng(seed), (height, width), area=area, aspect=aspect)
    assert box.top >= 0
    assert box.left >= 0
    assert 1 <= box.height <= height - box.top
    assert 1 <= box.width <= width - box.left


def boxes(size, count=4000, area=(0.02, 0.4), aspect=(0.3, 10 / 3)):
    rng = np.random.default_rng(0)
    return np.array([draw_box(rng, size, area=area, aspect=aspect) for _ in range(count)])


@pytest.mark.parametrize("size", [(1000, 1000), (1000, 2000), (2000, 500)])
def test_areas_are_uniform_also_where_the_crop_is_no_square(size):
    _, _, height, width = boxes(size).T
    shares = height * width / (size[0] * size[1])
    # a step of rounding is below .1 % of a side: no KS distance to speak of; 1.95 / √4000 = .031 is the 0.1 % quantile
    assert scipy.stats.kstest(shares, "uniform", (0.02, 0.38)).statistic < 0.031


def test_aspects_and_places_are_uniform_where_there_is_room():
    top, left, height, width = boxes((2000, 2000), area=(0.02, 0.02)).T  # sides of 155 to 516: always room
    assert scipy.stats.kstest(height / width, "uniform", (0.3, 10 / 3 - 0.3)).statistic < 0.031
    for start, side in ((top, height), (left, width)):
        assert scipy.stats.kstest(start / (2000 - side), "uniform").statistic < 0.031


def test_a_box_that_would_reach_out_keeps_its_area():
    # 64 × 128 at area .4: 3277 pixels; ratio 10/3 wants 104 × 31, and 64 rows leave 3277 / 64 = 51 columns
    found = boxes((64, 128), 50, area=(0.4, 0.4), aspect=(10 / 3, 10 / 3))
    assert (found[:, 0] == 0).all()
    assert (found[:, 2:] == (64, 51)).all()


# ---- categories


@pytest.mark.parametrize(("present", "half"), [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3), (6, 3)])
def test_half_of_the_partners_own_categories_are_pasted(present, half):
    # n' = (n + n mod 2) / 2; each category as often: 300 draws of half of `present`
    row = np.r_[np.arange(present), IGNORE].astype(np.uint8)
    partner = crop_of(np.tile(row, (4, 1)), partner=True)
    times = np.zeros(6)
    for seed in range(300):
        mask = drawn(ClassMixSpec(), seed, partner).mask
        assert (mask == mask[0]).all()
        assert mask[0].sum() == half
        assert not mask[0, -1]
        times[partner.label[0][mask[0]]] += 1
    share, spread = half / present, np.sqrt(half / present * (1 - half / present) / 300)
    assert (np.abs(times[:present] / 300 - share) <= 4 * spread + 1e-9).all()


# ---- objects


def three_squares():
    """Two squares of category 1 that touch, one of 2, on 0; with instances 7 and 9 for those of 1, 8 for that of 2."""
    label, ids = np.zeros((40, 60), np.uint8), np.zeros((40, 60), np.uint16)
    label[5:15, 5:25] = 1
    ids[5:15, 5:15], ids[5:15, 15:25] = 7, 9
    label[20:30, 40:50], ids[20:30, 40:50] = 2, 8
    return label, ids


def test_components_are_objects_where_there_are_no_instances():
    partner = crop_of(three_squares()[0])
    spec = CopyPasteSpec(classes=("1",), scale=(1, 1), flip=0)
    for seed in range(10):
        assert np.array_equal(drawn(spec, seed, partner).mask, partner.label == 1)


def test_instances_are_objects_where_there_are_some():
    label, ids = three_squares()
    partner, found = crop_of(label, instances=ids), set()
    for seed in range(40):
        mask = drawn(CopyPasteSpec(classes=("1",), objects=1, scale=(1, 1), flip=0), seed, partner).mask
        assert set(np.unique(ids[mask])) < {7, 9}
        assert np.isin(ids, ids[mask]).sum() == mask.sum()  # the whole of it
        found |= set(np.unique(ids[mask]))
    assert found == {7, 9}


def test_how_many_objects_is_uniform_from_one_to_the_most():
    label = np.zeros((4, 40), np.uint8)
    label[:, ::4] = 1  # ten bars
    partner = crop_of(label)
    spec = CopyPasteSpec(classes=("1",), objects=4, scale=(1, 1), flip=0)
    numbers = [scipy.ndimage.label(drawn(spec, seed, partner).mask)[1] for seed in range(800)]
    # each of 1..4 has probability 1/4: chi-squared with 3 degrees of freedom, 16.27 is its 0.1 % quantile
    assert scipy.stats.chisquare(np.bincount(numbers, minlength=5)[1:]).statistic < 16.27


@pytest.mark.parametrize(
    ("things", "left_out", "pasted"), [((1,), (), {1}), ((), ("0",), {1, 2}), ((), (), {0, 1, 2}), ((1, 2), (), {1, 2})]
)
def test_things_are_pasted_or_else_what_counts(things, left_out, pasted):
    items = tuple(Category(i, str(i), isthing=i in things) for i in range(3))
    categories = Categories(items, frozenset(left_out))
    partner = crop_of(three_squares()[0])
    spec = CopyPasteSpec(objects=9, scale=(1, 1), flip=0)
    masks = [draw_mixture(spec, np.random.default_rng(s), partner, categories=categories).mask for s in range(40)]
    assert set(np.unique(partner.label[np.any(masks, axis=0)])) == pasted


def test_an_object_at_the_border_does_not_come_in_twice():
    label = np.zeros((40, 40), np.uint8)
    label[0:6, 10:20] = 1  # a zoom to half uncovers a border that is mirrored from inside: another copy of it
    ids = label.astype(np.int32)
    partner = crop_of(label, instances=ids)
    mixture = drawn(CopyPasteSpec(classes=("1",), scale=(0.5, 0.5), flip=0), 0, partner)
    assert mixture.geometry.apply_to_label(label).sum() > mixture.mask.sum()
    assert scipy.ndimage.label(mixture.mask)[1] == 1
    assert mixture.mask.sum() == pytest.approx(15, abs=8)  # 60 pixels at half the size


def test_no_object_pastes_nothing():
    partner = crop_of(np.zeros((8, 9), np.uint8), partner=True)
    assert not drawn(CopyPasteSpec(classes=("3",)), 0, partner).mask.any()


def test_feathering_softens_the_image_and_leaves_the_label():
    crop, partner = crop_of(np.zeros((40, 60), np.uint8)), crop_of(three_squares()[0], partner=True)
    mask = partner.label == 2
    sharp, soft = (Pasting(mask, feather=feather).apply(crop, partner) for feather in (0, 1.5))
    assert np.array_equal(sharp.label, soft.label)
    weight = soft.image[..., 1] / 100
    oracle = scipy.ndimage.gaussian_filter(mask.astype(float), 1.5, truncate=4)
    assert weight == pytest.approx(oracle, abs=0.02)


# ---- instances


def test_ids_stay_unique():
    # of the partner's ids those that come in, 5 and 3, follow the crop's largest, 9, in their order: 3 → 10, 5 → 11
    crop = Crop(np.zeros((1, 6, 1), np.uint8), np.zeros((1, 6), np.uint8), np.array([[9, 9, 4, 0, 4, 9]], np.uint16))
    partner = Crop(crop.image, crop.label, np.array([[5, 5, 3, 3, 0, 5]], np.int32))
    mask = np.array([[False, True, True, False, True, False]])
    mixed = Pasting(mask).apply(crop, partner)
    assert mixed.instances.dtype == np.int32
    assert mixed.instances.tolist() == [[9, 11, 10, 0, 0, 9]]


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("spec", SPECS[:3], ids=lambda spec: spec.kind)
def test_every_object_of_the_mixture_is_one_of_either_side(spec, seed):
    rng = np.random.default_rng(seed)
    sides = []
    for partner in (False, True):
        label = patches((32, 48), seed + 7 * partner)
        ids = np.kron(rng.integers(0, 9, (8, 12)), np.ones((4, 4))).astype(np.uint16)
        sides.append(crop_of(label, partner=partner, instances=ids))
    mixture = drawn(spec, seed, sides[1])
    found = mixture.apply(*sides).instances
    own = np.where(mixture.mask, 0, sides[0].instances)
    assert np.array_equal(found[~mixture.mask], own[~mixture.mask])  # ids of the crop stay
    theirs = sides[1].instances if mixture.geometry is None else mixture.geometry.apply_to_instances(sides[1].instances)
    pairs = np.unique(np.stack([found[mixture.mask], theirs[mixture.mask]]), axis=1)
    assert len(np.unique(pairs[0])) == len(np.unique(pairs[1])) == pairs.shape[1]  # one to one
    assert not set(found[mixture.mask][found[mixture.mask] > 0]) & set(sides[0].instances.ravel())


def test_more_instances_than_16_bits_hold():
    ids = np.arange(1, 40_001).reshape(200, 200)
    crop = Crop(np.zeros((200, 200, 1), np.uint8), np.zeros((200, 200), np.uint8), (ids + 25_000).astype(np.uint16))
    partner = Crop(crop.image, crop.label, (ids + 30_000).astype(np.int32))
    mask = np.zeros((200, 200), bool)
    mask[:100] = True
    found = Pasting(mask).apply(crop, partner).instances
    assert len(np.unique(found)) == 40_000
    assert found.min() > 0
    assert found.max() == 85_000  # 65 000 and 20 000 after it


def test_the_largest_ids_are_renumbered_rather_than_run_over():
    top = np.iinfo(np.int32).max
    found = Pasting(np.array([[True, False, False]])).apply_to_instances(
        np.array([[1, top, top - 4]], np.int32), np.array([[top, 0, 0]], np.int32)
    )
    assert found.tolist() == [[4, 3, 2]]  # 1, top − 4, top become 1, 2, 3; the pasted one comes after


def test_one_instance_map_alone_is_an_error():
    label, ids = three_squares()
    for crop, partner in (
        (crop_of(label, instances=ids), crop_of(label)),
        (crop_of(label), crop_of(label, instances=ids)),
    ):
        with pytest.raises(UsageError, match="instance maps of both"):
            Pasting(label > 0).apply(crop, partner)
    with pytest.raises(UsageError, match="mixup"):
        Blend(0.5, 3).apply(crop_of(label, instances=ids), crop_of(label, instances=ids))


# ---- MixUp


def test_shares_worked_by_hand():
    # λ = .7: two categories .7 and .3; the same one 1; ignored on one side, the other alone; on both, nothing
    own = np.array([[0, 1, IGNORE, 2, IGNORE]], np.uint8)
    partner = np.array([[1, 1, 2, IGNORE, IGNORE]], np.uint8)
    image = np.array([[[100], [10], [0], [255], [7]]], np.uint8)
    other = np.array([[[0], [20], [255], [255], [7]]], np.uint8)
    mixed = Blend(0.7, 3).apply(Crop(image, own), Crop(other, partner))
    expected = [[0.7, 0, 0, 0, 0], [0.3, 1, 0, 0, 0], [0, 0, 1, 1, 0]]
    assert mixed.shares.dtype == np.float32
    assert mixed.shares[:, 0] == pytest.approx(np.array(expected), abs=1e-6)
    assert mixed.image.ravel().tolist() == [70, 13, 76, 255, 7]  # .7 · 10 + .3 · 20, .3 · 255 = 76.5
    assert mixed.label.tolist() == [[0, 1, 2, 2, IGNORE]]
    assert Blend(0.3, 3).apply(Crop(image, own), Crop(other, partner)).label.tolist() == [[1, 1, 2, 2, IGNORE]]


@pytest.mark.parametrize("share", [0.0, 0.123, 0.5, 1.0])
def test_shares_sum_to_one_where_anything_is_known(share):
    own, partner = patches((20, 24), 1), patches((20, 24), 2)
    shares = blend_labels(own, partner, share, 6)
    known = (own != IGNORE) | (partner != IGNORE)
    assert shares.sum(0)[known] == pytest.approx(1, abs=1e-6)
    assert (shares.sum(0)[~known] == 0).all()
    assert (shares >= 0).all()


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_the_share_is_beta_distributed(alpha):
    partner = crop_of(np.zeros((1, 1), np.uint8))
    shares = [drawn(MixUpSpec(alpha=alpha), seed, partner).share for seed in range(2000)]
    assert scipy.stats.kstest(shares, "beta", (alpha, alpha)).pvalue > 0.001
