"""The CRF: exact against sums over all pairs, the lattice against values worked by hand and against what is exact."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.distance import cdist

from maskwright.errors import DataError
from maskwright.postprocess import crf
from maskwright.postprocess.crf_lattice import Lattice
from maskwright.recipe.steps import CrfSpec

LATTICE = CrfSpec(exact_pixels=0)


def scene(size=(24, 30), categories=3, channels=3, seed=0):
    """A picture of smooth areas with noise, and unsure probabilities of these areas."""
    rng = np.random.default_rng(seed)
    fields = ndimage.gaussian_filter(rng.normal(size=(categories, *size)), (0, 4, 4))
    truth = fields.argmax(axis=0)
    colors = rng.uniform(30, 220, (categories, channels))
    image = colors[truth] + rng.normal(size=(*size, channels)) * 8
    scores = 2 * (np.arange(categories)[:, None, None] == truth) + 1.2 * rng.normal(size=(categories, *size))
    raised = np.exp(scores)
    return (raised / raised.sum(axis=0)).astype(np.float32), image.clip(0, 255).astype(np.uint8), truth


def by_all_pairs(p, image, spec):
    """Mean field as its formula says, in float64."""
    categories, height, width = p.shape
    places = np.indices((height, width)).reshape(2, -1).T
    sigma = spec.bilateral_sigma * min(height, width) / spec.reference
    alike = np.hstack([places / sigma, image.reshape(height * width, -1) / spec.color_sigma])
    total = np.zeros((height * width, height * width))
    for weight, features in ((spec.gaussian_weight, places / spec.gaussian_sigma), (spec.bilateral_weight, alike)):
        kernel = cdist(features, features, "sqeuclidean")
        kernel *= -0.5
        np.exp(kernel, out=kernel)
        roots = 1 / np.sqrt(kernel.sum(axis=1))
        kernel *= roots
        kernel *= weight * roots[:, None]
        total += kernel
    unary = np.log(np.clip(p.astype(float), 1e-5, 1)).reshape(categories, -1)
    q = np.exp(unary) / np.exp(unary).sum(axis=0)
    for _ in range(spec.iterations):
        q = np.exp(unary + q @ total)
        q /= q.sum(axis=0)
    return q.reshape(p.shape)


@pytest.mark.parametrize("channels", [1, 3, 7])
@pytest.mark.parametrize(
    "spec",
    [CrfSpec(), CrfSpec(bilateral_weight=0, iterations=2), CrfSpec(gaussian_weight=0, color_sigma=40, reference=90)],
    ids=["both", "gaussian", "bilateral"],
)
def test_small_images_are_exact(spec, channels):
    p, image, _ = scene(channels=channels)
    found = crf(p, image, spec)
    assert found.dtype == np.float32
    assert np.abs(found - by_all_pairs(p, image, spec)).max() < 1e-5
    assert np.abs(found - p).max() > 0.1


@pytest.mark.slow
def test_64_by_128_is_exact():
    p, image, _ = scene((64, 128), 5)
    assert np.abs(crf(p, image) - by_all_pairs(p, image, CrfSpec())).max() < 1e-4


def test_two_pixels_by_hand():
    # Gaussian kernel of weight 3 and sigma 2 alone, pixels 1 apart: k = exp(-1/8), each row sums to 1 + k, so that
    # the normalised kernel is a = 1/(1 + k) with itself and b = k/(1 + k) with the other one
    k = np.exp(-1 / 8)
    a, b = 1 / (1 + k), k / (1 + k)
    p = np.float32([[[0.9, 0.4]], [[0.1, 0.6]]])
    first = [0.9 * np.exp(3 * (a * 0.9 + b * 0.4)), 0.1 * np.exp(3 * (a * 0.1 + b * 0.6))]
    second = [0.4 * np.exp(3 * (a * 0.4 + b * 0.9)), 0.6 * np.exp(3 * (a * 0.6 + b * 0.1))]
    expected = [[first[0] / sum(first), second[0] / sum(second)]]
    spec = CrfSpec(gaussian_sigma=2, bilateral_weight=0, iterations=1)
    assert np.allclose(crf(p, np.zeros((1, 2), np.uint8), spec)[0], expected, atol=1e-6)


def test_a_lattice_of_one_dimension_by_hand():
    # In one dimension corners are sqrt(3)/2 apart: the scale sqrt(2/3) * 2 / sqrt(2) = 2/sqrt(3) makes them whole
    # numbers. A point on a corner gives all of its value to it; there are two directions, both along the line, and each
    # blurs by 1/2, 1, 1/2: together 1/4, 1, 3/2, 1, 1/4.
    points = np.arange(-4, 5, dtype=np.float32)[None] * np.float32(np.sqrt(3) / 2)
    impulse = np.zeros((9, 1), np.float32)
    impulse[4] = 1
    found = Lattice.around(points).filter(impulse)[:, 0]
    assert np.allclose(found, [0, 0, 0.25, 1, 1.5, 1, 0.25, 0, 0], atol=1e-5)


@pytest.mark.parametrize("dimensions", [1, 2, 3, 5, 9, 24, 150])
def test_corners_surround_their_points(dimensions):
    # barycentric weights: none below 0, together 1. Filtered values of a constant are positive; points far apart
    # share no corner, so that each gets back its own value alone
    rng = np.random.default_rng(0)
    points = rng.uniform(-30, 30, (dimensions, 500)).astype(np.float32)
    lattice = Lattice.around(points)
    weights = lattice.weights.toarray()
    assert weights.min() > -1e-4
    assert np.allclose(weights.sum(axis=1), 1, atol=1e-4)
    assert (np.count_nonzero(weights, axis=1) <= dimensions + 1).all()
    apart = Lattice.around(np.float32([[0, 100]] * dimensions)).filter(np.float32([[1, 0], [0, 2]]))
    assert apart[0, 0] > 0 and apart[1, 1] > 0
    assert apart[0, 1] == apart[1, 0] == 0


@pytest.mark.parametrize("dimensions", [2, 3, 5])
def test_the_filter_is_near_the_gaussian(dimensions):
    # normalised as the CRF does, against sums over all pairs: the lattice's Gaussian is coarse, its sums are near
    rng = np.random.default_rng(1)
    points = rng.uniform(0, 4, (dimensions, 2000)).astype(np.float32)
    values = rng.uniform(0, 1, (2000, 2)).astype(np.float32) + np.sin(points[:2].T)
    kernel = np.exp(-0.5 * cdist(points.T, points.T, "sqeuclidean"))
    lattice = Lattice.around(points)
    found = lattice.filter(values) / lattice.filter(np.ones((2000, 1), np.float32))
    expected = kernel @ values / kernel.sum(axis=1, keepdims=True)
    assert np.abs(found - expected).mean() < 0.1 * expected.std()


def picture(categories=3, size=(40, 56)):
    """A picture and unsure probabilities without a random number."""
    rows, columns = np.indices(size)
    waves = np.stack([np.sin(rows / 9 + c) * np.cos(columns / 7 - 2 * c) for c in range(categories)])
    grain = np.stack([np.sin(rows * 12.9898 + columns * 78.233 + c) * 43758.5453 % 1 for c in range(categories)])
    image = (waves.argmax(axis=0)[..., None] * 60 + 40 + 15 * grain.transpose(1, 2, 0)).astype(np.uint8, order="C")
    raised = np.exp(2.5 * waves + 3 * grain)
    return (raised / raised.sum(axis=0)).astype(np.float32), image


WEAK = CrfSpec(
    gaussian_weight=0.7, bilateral_weight=1.2, bilateral_sigma=8, reference=None, iterations=3, exact_pixels=0
)


def test_it_is_that_of_pydensecrf():
    library = pytest.importorskip("pydensecrf.densecrf")  # of the extra `bench`: it has to be compiled
    p, image = picture()
    field = library.DenseCRF2D(56, 40, 3)
    field.setUnaryEnergy(-np.log(p.reshape(3, -1)))
    field.addPairwiseGaussian(sxy=3, compat=0.7)
    field.addPairwiseBilateral(sxy=8, srgb=13, rgbim=image, compat=1.2)
    expected = np.asarray(field.inference(3)).reshape(p.shape)
    assert np.abs(crf(p, image, WEAK) - expected).max() < 1e-5


def test_numbers_that_pydensecrf_gave():
    # by the test above with pydensecrf2 1.1: pixels of each category, sums of probabilities, and some pixels; exact
    # sums are up to .04 away
    p, image = picture()
    found = crf(p, image, WEAK)
    assert np.bincount(found.argmax(axis=0).ravel()).tolist() == [678, 796, 766]
    assert np.bincount(p.argmax(axis=0).ravel()).tolist() == [713, 761, 766]
    assert np.allclose(found.sum(axis=(1, 2)), [701.5616, 772.4028, 766.0365], atol=1e-2)
    pixels = {
        (0, 0): [0.36731, 0.46236, 0.17032],
        (7, 31): [0.07719, 0.01501, 0.9078],
        (20, 20): [0.16831, 0.72235, 0.10934],
        (33, 50): [0.02682, 0.01878, 0.9544],
        (39, 12): [0.20289, 0.00561, 0.79151],
    }
    for (row, column), expected in pixels.items():
        assert np.allclose(found[:, row, column], expected, atol=2e-5)


def test_points_in_bands_are_the_points_at_once(monkeypatch):
    # the image is placed some pixels at a time; what was placed together must not show
    p, image, _ = scene((40, 50))
    whole = crf(p, image, LATTICE)
    monkeypatch.setattr("maskwright.postprocess.crf_lattice._POINTS", 77)
    assert np.allclose(crf(p, image, LATTICE), whole, atol=1e-6)


def test_the_lattice_gives_the_labels_of_exact_sums():
    p, image, truth = scene((60, 80))
    exact, filtered = crf(p, image), crf(p, image, LATTICE)
    right = [(found.argmax(axis=0) == truth).mean() for found in (p, exact, filtered)]
    assert right[0] < 0.9 < 0.98 < min(right[1:])
    assert (exact.argmax(axis=0) == filtered.argmax(axis=0)).mean() > 0.98


@pytest.mark.parametrize("spec", [CrfSpec(), LATTICE], ids=["exact", "lattice"])
def test_categories_have_no_order_and_sums_are_1(spec):
    p, image, _ = scene(categories=4)
    order = [2, 0, 3, 1]
    found = crf(p, image, spec)
    assert np.allclose(crf(p[order], image, spec), found[order], atol=1e-5)
    assert np.allclose(found.sum(axis=0), 1, atol=1e-5)
    assert found.min() >= 0


@pytest.mark.parametrize("turn", [lambda a: np.rot90(a, axes=(-2, -1)), lambda a: a[..., ::-1]], ids=["turn", "flip"])
def test_probabilities_and_image_turn_together(turn):
    p, image, _ = scene()
    turned = crf(turn(p), np.moveaxis(turn(np.moveaxis(image, 2, 0)), 0, 2))
    assert np.allclose(turned, turn(crf(p, image)), atol=1e-5)


@pytest.mark.parametrize("spec", [CrfSpec(), LATTICE], ids=["exact", "lattice"])
@pytest.mark.parametrize(
    ("shape", "image"),
    [
        ((3, 1, 1), np.full((1, 1, 3), 9, np.uint8)),
        ((2, 1, 9), np.zeros((1, 9), np.uint8)),
        ((2, 7, 5), np.full((7, 5, 1), 0.3, np.float32)),
        ((2, 3, 5), np.arange(105, dtype=np.uint16).reshape(3, 5, 7)),
        ((2, 3, 5), np.eye(3, 5, dtype=bool)),
    ],
    ids=["one pixel", "one row", "constant", "seven channels", "bool"],
)
def test_odd_images(spec, shape, image):
    p = np.random.default_rng(0).dirichlet(np.ones(shape[0]), shape[1:]).transpose(2, 0, 1)
    before = p.copy()
    found = crf(p, image, spec)
    assert found.shape == shape and np.isfinite(found).all()
    assert np.array_equal(p, before)


@pytest.mark.parametrize("spec", [CrfSpec(), LATTICE], ids=["exact", "lattice"])
def test_one_category_stays_and_no_pixel_is_no_error(spec):
    assert np.array_equal(crf(np.ones((1, 4, 6)), np.zeros((4, 6), np.uint8), spec), np.ones((1, 4, 6)))
    assert crf(np.ones((2, 0, 6)), np.zeros((0, 6, 3), np.uint8), spec).shape == (2, 0, 6)


def test_deeper_images_count_by_their_range():
    # 0..255 in 16 bits times 257, and as floats: the same picture
    p, image, _ = scene()
    image[0, 0], image[0, 1] = 0, 255
    spec = CrfSpec(color_sigma=30)
    deep, real = crf(p, image.astype(np.uint16) * 257, spec), crf(p, image.astype(np.float32) / 7 - 3, spec)
    assert np.allclose(deep, real, atol=1e-4)
    low, high = np.percentile(image, (0.1, 99.9))
    same = np.clip(image, low, high)  # all in 8-bit levels, so that no stretching but the one worked here comes in
    assert np.allclose(deep, by_all_pairs(p, same, CrfSpec(color_sigma=30 * (high - low) / 255)), atol=1e-4)
    spike = image.astype(np.float64)
    spike[5, 5, 0] = 1e12  # one of 2160 values: less than a thousandth
    assert np.abs(crf(p, spike, LATTICE) - crf(p, image.astype(np.float64), LATTICE)).mean() < 0.01


@pytest.mark.parametrize("size", [(1, 4000), (3, 900)])
def test_very_narrow_gaussians_leave_pixels_alone(size):
    # every pixel sees itself alone, so that Q <- P exp(w Q) without a neighbour; worked by the formula, 2 iterations
    p = np.random.default_rng(0).dirichlet(np.ones(2), size).transpose(2, 0, 1)
    image = np.random.default_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8)
    spec = CrfSpec(gaussian_sigma=0.1, bilateral_sigma=0.1, color_sigma=0.1, iterations=2, exact_pixels=0)
    q = p
    for _ in range(2):
        q = np.clip(p, 1e-5, 1) * np.exp(13 * q)
        q /= q.sum(axis=0)
    assert np.allclose(crf(p, image, spec), q, atol=1e-3)


def test_the_bilateral_sigma_grows_with_the_image():
    p, image, _ = scene((24, 30))
    by_reference = crf(p, image, CrfSpec(bilateral_sigma=80, reference=500))
    assert np.allclose(by_reference, crf(p, image, CrfSpec(bilateral_sigma=80 * 24 / 500, reference=None)), atol=1e-6)


@pytest.mark.parametrize(
    ("p", "image", "message"),
    [
        (np.full((2, 3, 4), np.nan), np.zeros((3, 4)), "24 values that aren't finite"),
        (np.full((2, 3, 4), 3.0), np.zeros((3, 4)), "values from 3 to 3"),
        (np.full((2, 3, 4), 0.4), np.zeros((3, 4)), "sums from 0.8 to 0.8"),
        (np.full((2, 3, 4), 0.5), np.zeros((4, 3)), r"got \(2, 3, 4\) and \(4, 3\)"),
        (np.full((3, 4), 0.5), np.zeros((3, 4)), r"got \(3, 4\) and \(3, 4\)"),
        (np.full((2, 3, 4), 0.5), np.full((3, 4), np.inf), "12 values that aren't"),
    ],
    ids=["NaN", "logits", "sums", "size", "one map", "infinite image"],
)
def test_bad_input(p, image, message):
    with pytest.raises(DataError, match=message):
        crf(p, image)


def peak(size, categories):
    p, image, _ = scene(size, categories)
    tracemalloc.start()
    try:
        crf(p, image, CrfSpec(iterations=1))
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_is_bounded_by_the_pixels():
    assert peak((400, 500), 2) < 320 * 400 * 500


@pytest.mark.slow
def test_memory_of_a_large_image():
    assert peak((2000, 2000), 5) < 400 * 2000 * 2000
