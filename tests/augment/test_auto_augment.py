"""Auto-augmentation: the table of the methods page, magnitudes, Pillow's geometry, and how often things are drawn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image

from maskwright.augment import Geometry, Outside, draw_view
from maskwright.augment.pixels import Enhance
from maskwright.augment.policies import POLICIES, amount_of, matrix_of
from maskwright.recipe.augment import AutoAugmentSpec
from maskwright.recipe.chance import ScheduleSpec
from maskwright.recipe.policies import OperationSpec
from maskwright.types import IGNORE

RNG = np.random.default_rng(0)
SMOOTH = np.asarray(Image.fromarray(RNG.integers(0, 256, (6, 9, 3), np.uint8)).resize((90, 61), Image.BICUBIC))
GEOMETRIC = ["shear_x", "shear_y", "translate_x", "translate_y", "rotate"]


def view_of(spec, seed, progress=0.0, size=(60, 90)):
    return draw_view([spec], np.random.default_rng(seed), size=size, crop=size, channels=3, progress=progress)


def test_the_sub_policies_are_the_25_of_the_public_code():
    """Counted by hand in the methods' table: 25 pairs, how often each operation stands in it; and three of its rows."""
    policies = POLICIES["cifar10"]
    assert [len(policy) for policy in policies] == [2] * 25
    names = [operation.op for policy in policies for operation in policy]
    counted = {name: names.count(name) for name in names}
    assert counted == {
        "invert": 3,
        "contrast": 2,
        "rotate": 1,
        "translate_x": 2,
        "sharpness": 5,
        "shear_y": 2,
        "translate_y": 5,
        "autocontrast": 7,
        "equalize": 9,
        "posterize": 1,
        "color": 5,
        "brightness": 4,
        "solarize": 4,
    }
    rows = {1: ("invert", 0.1, 7, "contrast", 0.2, 6), 15: ("solarize", 0.5, 2, "invert", 0.0, 3)}
    rows[24] = ("equalize", 0.8, 8, "invert", 0.1, 3)
    for number, row in rows.items():
        first, second = policies[number - 1]
        found = (first.op, first.probability, first.magnitude, second.op, second.probability, second.magnitude)
        assert found == row


@pytest.mark.parametrize(
    ("operation", "magnitude", "expected"),
    [
        ("shear_y", 1, 0.0333),
        ("shear_x", 9, 0.3),
        ("translate_x", 1, 0.0504),
        ("translate_y", 9, 0.4532),
        ("rotate", 2, 6.667),
        ("color", 9, 0.9),
        ("sharpness", 3, 0.3),
        ("posterize", 7, 5),
        ("posterize", 9, 4),
        ("solarize", 1, 227.6),
        ("solarize", 8, 28.4),
        ("solarize", 0, 256),
    ],
)
def test_magnitudes_are_those_of_the_table(operation, magnitude, expected):
    assert amount_of(operation, magnitude) == pytest.approx(expected, abs=0.06 if expected > 9 else 6e-5 * 10)


def pillow(picture, operation, amount, resample, fill):
    """Return Pillow's own; its translations are shares of the side that they go along."""
    width, height = picture.size
    if operation == "rotate":
        return picture.rotate(amount, resample, fillcolor=fill)
    data = {
        "shear_x": (1, amount, 0, 0, 1, 0),
        "shear_y": (1, 0, 0, amount, 1, 0),
        "translate_x": (1, 0, amount * width, 0, 1, 0),
        "translate_y": (1, 0, 0, 0, 1, amount * height),
    }[operation]
    return picture.transform(picture.size, Image.AFFINE, data, resample, fillcolor=fill)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("magnitude", [0, 2, 5, 9])
@pytest.mark.parametrize("operation", GEOMETRIC)
def test_geometry_is_pillows(operation, magnitude, sign):
    amount = sign * amount_of(operation, magnitude)
    geometry = Geometry(matrix_of(operation, amount, SMOOTH.shape[:2]), SMOOTH.shape[:2], Outside(128, 7))
    label = (np.arange(61)[:, None] // 9 + np.arange(90) // 11 * 20).astype(np.uint8)
    resample = Image.NEAREST if operation.startswith("translate") else Image.BILINEAR
    oracle = np.asarray(pillow(Image.fromarray(SMOOTH), operation, amount, resample, (128,) * 3))
    found = geometry.apply_to_image(SMOOTH)
    # both interpolate in fixed point of different fineness; the border of what is covered is the same pixel by pixel,
    # but for those that lie on it exactly
    assert (np.abs(found.astype(int) - oracle).max(axis=2) > 1).sum() <= 10
    nearest = np.asarray(pillow(Image.fromarray(label), operation, amount, Image.NEAREST, 7))
    assert (geometry.apply_to_label(label) == nearest).mean() > 0.99
    for uncovered in (found == 128).all(-1), geometry.apply_to_label(label) == 7:
        assert uncovered.mean() == pytest.approx(((oracle == 128).all(-1)).mean(), abs=0.01)


def test_a_vertical_shift_is_a_share_of_the_height():
    # 150/331 of 60 rows is 27.19: 27 whole pixels up, the rest is filled
    label = np.arange(60, dtype=np.uint8)[:, None].repeat(200, axis=1)
    geometry = Geometry(matrix_of("translate_y", amount_of("translate_y", 9), label.shape), label.shape, Outside(0, 99))
    found = geometry.apply_to_label(label)[:, 5]
    assert found.tolist() == [*range(27, 60), *[99] * 27]


def test_uncovered_pixels_get_the_fill_and_the_ignored_label():
    spec = AutoAugmentSpec(probability=1, policies=((OperationSpec(op="translate_x", magnitude=9),),), fill=77)
    view = view_of(spec, 0)
    image, label = np.zeros((60, 90, 3), np.uint8), np.ones((60, 90), np.uint8)
    uncovered = view.apply_to_label(label) == IGNORE
    assert uncovered.sum() == 60 * 41  # floor(150/331 · 90 + .5)
    assert (view.apply_to_image(image)[uncovered] == 77).all()
    assert (view.apply_to_image(image)[~uncovered] == 0).all()
    zero = spec.model_copy(update={"label_fill": 0})
    assert ((view_of(zero, 0).apply_to_label(label) == 0) == uncovered).all()
    assert ((view.apply_to_instances(label.astype(np.uint16)) == 0) == uncovered).all()


def test_sub_policies_are_drawn_alike_and_operations_with_their_probability():
    """5000 draws: 4 % each; `invert .1` of number 1 in .4 % of all, either sign of `shear_y` as often."""
    drawn = [view_of(AutoAugmentSpec(probability=1), seed) for seed in range(5000)]
    posterized = np.mean([any(getattr(s, "operation", "") == "posterize" for s in v.steps) for v in drawn])
    assert posterized == pytest.approx(0.04 * 0.3, abs=0.005)
    sheared = [s.matrix[1, 0] for v in drawn for s in v.steps if isinstance(s, Geometry) and s.matrix[1, 0]]
    sheared = [s for s in sheared if abs(s) > 0.2]  # of the two sub-policies with shear_y: 8/9 and 7/9 of .3
    assert len(sheared) / 5000 == pytest.approx(0.04 * (0.5 + 0.2), abs=0.008)
    assert np.mean(np.sign(sheared)) == pytest.approx(0, abs=0.25)
    assert all(len(v.steps) <= 2 for v in drawn)


def test_a_probability_falls_over_the_training():
    """Source 1: .4 falling to nothing at step 145 of 150; then no sample is changed."""
    spec = AutoAugmentSpec(probability=ScheduleSpec(start=0.4, over=(0, 145 / 150)))
    own = ((OperationSpec(op="invert"),),)
    spec = spec.model_copy(update={"policies": own})
    for progress, expected in ((0, 0.4), (0.5, 0.4 * (1 - 0.5 / (145 / 150))), (145 / 150, 0), (1, 0)):
        share = np.mean([bool(view_of(spec, seed, progress).steps) for seed in range(2000)])
        assert share == pytest.approx(expected, abs=3.5 * math.sqrt(0.24 / 2000) if expected else 0)


def test_own_policies_run_in_order():
    policy = tuple(OperationSpec(op=op, magnitude=4) for op in ("invert", "solarize", "rotate", "equalize"))
    steps = view_of(AutoAugmentSpec(probability=1, policies=(policy,)), 3).steps
    assert [s.operation if isinstance(s, Enhance) else "rotate" for s in steps] == [o.op for o in policy]
