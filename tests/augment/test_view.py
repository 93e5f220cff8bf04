"""Views: a contract over every kind of the recipe, the numbers of the plain kinds, order, classes, inverse."""

from __future__ import annotations

import typing
import zlib

import numpy as np
import pytest
from slides import make_slide

from maskwright.augment import Geometry, Source, View, draw_view, fit_stains
from maskwright.augment.view import DRAWS, GEOMETRY
from maskwright.errors import RecipeError
from maskwright.recipe.augment import (
    AffineSpec,
    AugmentSpec,
    AutoAugmentSpec,
    BlurSpec,
    BrightnessSpec,
    ClaheSpec,
    ColourSpec,
    CropSpec,
    FlipSpec,
    ForClassesSpec,
    GrayscaleSpec,
    NoiseSpec,
    OutsideSpec,
    SharpenSpec,
    StainJitterSpec,
    StainSpec,
    TurnSpec,
)
from maskwright.types import IGNORE

SLIDE = make_slide()[0]
LABEL = (np.arange(60)[:, None] // 15 % 2 + np.arange(80) // 20 % 2 * 2).astype(np.uint8)
NAMES = ("sky", "soil", "sand", "big rock")
SURE = [
    FlipSpec(horizontal=1, vertical=1),
    TurnSpec(),
    AffineSpec(probability=1, rotate=30),
    CropSpec(),
    OutsideSpec(),
    ColourSpec(probability=1),
    BrightnessSpec(probability=1),
    NoiseSpec(probability=1),
    NoiseSpec(probability=1, clip=False),
    BlurSpec(probability=1),
    GrayscaleSpec(probability=1),
    SharpenSpec(probability=1),
    ClaheSpec(probability=1),
    AutoAugmentSpec(probability=1),
    StainSpec(norm=1, hematoxylin=0),
    StainJitterSpec(probability=1),
    ForClassesSpec(classes=("sand",), augment=(FlipSpec(), BlurSpec(probability=1))),
    ForClassesSpec(classes=("sand",), seen_in="crop", augment=(FlipSpec(), BlurSpec(probability=1))),
]


def draw(specs, seed=0, size=(60, 80), crop=(48, 64), channels=3, label=LABEL, image=SLIDE, progress=0.0):
    source = Source(label, NAMES, lambda: fit_stains(image))
    rng = np.random.default_rng(seed)
    return draw_view(specs, rng, size=size, crop=crop, channels=channels, progress=progress, source=source)


def test_the_contract_covers_every_kind():
    kinds = set(typing.get_args(typing.get_args(AugmentSpec)[0]))
    assert {type(spec) for spec in SURE} == kinds
    assert {*DRAWS, *GEOMETRY, ColourSpec, ForClassesSpec} == kinds


IMAGES = {
    "slide": SLIDE,
    "gray": SLIDE[..., :1],
    "float": SLIDE.astype(np.float32),
    "float gray": SLIDE[..., :1].astype(np.float32),
    "white": np.full((60, 80, 3), 255, np.uint8),
    "one colour": np.full((60, 80, 3), (120, 60, 130), np.uint8),
    "one pixel": SLIDE[30:31, 30:31],
    "one row": SLIDE[30:31],
    "3 × 5": SLIDE[:3, :5],
}


@pytest.mark.parametrize("spec", SURE, ids=lambda s: s.kind)
@pytest.mark.parametrize("name", IMAGES)
def test_every_kind_takes_every_image(name, spec):
    image = np.ascontiguousarray(IMAGES[name])
    before, label = image.copy(), np.ascontiguousarray(LABEL[: image.shape[0], : image.shape[1]])
    for seed in range(8 if spec.kind == "auto_augment" else 3):
        view = draw([spec], seed, size=image.shape[:2], channels=image.shape[2], label=label, image=image)
        found, moved = view.apply_to_image(image), view.apply_to_label(label)
        assert found.shape == (48, 64, image.shape[2])
        assert found.dtype == (np.float32 if getattr(spec, "clip", None) is False else image.dtype)
        assert np.isfinite(found).all()
        assert moved.shape == (48, 64)
        assert moved.dtype == np.uint8
        assert set(np.unique(moved)) <= {*np.unique(label), IGNORE}
        assert np.array_equal(image, before)
        again = draw([spec], seed, size=image.shape[:2], channels=image.shape[2], label=label, image=image)
        assert np.array_equal(again.apply_to_image(image), found)
        assert str(view)


@pytest.mark.parametrize("spec", SURE, ids=lambda s: s.kind)
def test_label_and_instances_move_alike_and_the_image_with_them(spec):
    """The label is drawn into the image as gray; where nothing is sampled or recoloured it is there still."""
    for seed in range(6):
        view = draw([spec], seed)
        label, instances = view.apply_to_label(LABEL), view.apply_to_instances(LABEL.astype(np.int32) + 1)
        assert np.array_equal(instances, np.where(label == IGNORE, 0, label.astype(int) + 1))
        plain = View(view.geometry, tuple(step for step in view.steps if isinstance(step, Geometry)))
        gray = plain.apply_to_image((LABEL * 60)[..., None].astype(np.float32))[..., 0]
        known = label != IGNORE
        assert (np.abs(gray - label * 60.0)[known] < 1).mean() > 0.8  # the rest are edges, sampled between two values


def test_plain_kinds_draw_what_they_always_drew():
    """Golden: checksums from before there were other kinds, so that old seeds give old numbers."""
    specs = (FlipSpec(vertical=0.5), AffineSpec(), ColourSpec(), ColourSpec(probability=1))
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (70, 90, 3)).astype(np.uint8)
    label = rng.integers(0, 5, (70, 90)).astype(np.uint8)
    golden = [
        (2269547242, 1371500834),
        (3125547109, 4279106478),
        (3801074800, 2411150043),
        (582956109, 999576569),
        (3857388157, 3097314838),
        (3470323303, 576402170),
    ]
    for seed, expected in enumerate(golden):
        crop = (64, 96) if seed % 2 else (48, 64)
        view = draw_view(specs, np.random.default_rng(seed), size=(70, 90), crop=crop, channels=3)
        found = zlib.crc32(view.apply_to_image(image).tobytes()), zlib.crc32(view.apply_to_label(label).tobytes())
        assert found == expected


def test_steps_come_in_the_recipes_order():
    specs = [NoiseSpec(probability=1), FlipSpec(), ColourSpec(), ColourSpec(), BlurSpec(probability=1), ColourSpec()]
    assert [type(step).__name__ for step in draw(specs).steps] == ["Noise", "Colour", "Blur", "Colour"]


def test_alternative_inputs_are_drawn_with_their_probabilities():
    """Of source 1's own settings: .9 as it is, .05 norm, .05 haematoxylin, never eosin; here with larger shares."""
    spec = StainSpec(norm=0.3, hematoxylin=0.2, eosin=0.1)
    fits = []
    source = Source(None, (), lambda: fits.append(1))
    views = [
        draw_view([spec], np.random.default_rng(s), size=(9, 9), crop=(9, 9), channels=3, source=source)
        for s in range(3000)
    ]
    shown = [step.shown for view in views for step in view.steps]
    for kind, share in (("norm", 0.3), ("hematoxylin", 0.2), ("eosin", 0.1)):
        assert shown.count(kind) / 3000 == pytest.approx(share, abs=0.03)
    assert len(fits) == len(shown)  # the image that is shown as it is needs no fit


def test_a_blank_slide_is_left_as_it_is_and_says_so():
    white = np.full((60, 80, 3), 255, np.uint8)
    view = draw([StainSpec(norm=1, hematoxylin=0)], image=white)
    assert np.array_equal(view.apply_to_image(white), white[:48, :64])
    assert "no stain found" in str(view)


@pytest.mark.parametrize("seed", range(12))
def test_the_inverse_leads_back_through_all_geometry(seed):
    """Flips, turns and shifts by whole pixels: the label comes back exactly where the view has shown it."""
    specs = [FlipSpec(vertical=0.5), TurnSpec(), AutoAugmentSpec(probability=1)]
    view = draw(specs, seed, crop=(80, 80))
    back = view.inverse(LABEL.shape)
    assert back.size == LABEL.shape
    whole = np.eye(3)
    for geometry in view.geometries:
        whole = whole @ geometry.matrix
    assert whole @ back.matrix == pytest.approx(np.eye(3), abs=1e-9)
    if np.isin(whole[:2, :2].round(9), (-1, 0, 1)).all():
        seen = back.apply_to_label(view.apply_to_label(LABEL))
        shown = np.linalg.inv(whole) @ np.stack([*np.mgrid[:80, :60][:2].reshape(2, -1), np.ones(4800)])
        inside = ((shown[:2] > -0.5) & (shown[:2] < 79.5)).all(0).reshape(80, 60).T & (seen != IGNORE)
        assert (seen == LABEL)[inside].all()


@pytest.mark.parametrize("turn", ["rotate_90", "rotate_180", "rotate_270", "transpose", "transpose_anti", "flip_ud"])
@pytest.mark.parametrize("channels", [1, 3])
def test_turns_are_numpys(turn, channels):
    image = np.ascontiguousarray(SLIDE[..., :channels])
    crop = image.shape[1::-1] if turn in ("rotate_90", "rotate_270", "transpose", "transpose_anti") else image.shape[:2]
    oracle = {
        "rotate_90": lambda a: np.rot90(a),
        "rotate_180": lambda a: np.rot90(a, 2),
        "rotate_270": lambda a: np.rot90(a, 3),
        "transpose": lambda a: np.swapaxes(a, 0, 1),
        "transpose_anti": lambda a: np.rot90(np.swapaxes(a, 0, 1), 2),
        "flip_ud": lambda a: a[::-1],
    }[turn]
    view = draw([TurnSpec(turns=(turn,))], crop=crop)
    assert np.array_equal(view.apply_to_image(image), oracle(image))
    assert np.array_equal(view.apply_to_label(LABEL), oracle(LABEL))
    assert np.array_equal(view.apply_to_instances(LABEL.astype(np.uint16)), oracle(LABEL))


def test_turned_crops_stay_inside_the_image():
    for seed in range(40):
        view = draw([TurnSpec(turns=("transpose",)), OutsideSpec()], seed, crop=(70, 50))
        assert (view.apply_to_label(LABEL) != IGNORE).all()  # 50 × 70 of 60 × 80


def test_a_crop_shows_the_share_that_was_drawn():
    """A share .25 of 60 × 80 in a crop of its shape: half of each side, so that 48 × 64 are zoomed by 1.6."""
    view = draw([CropSpec(area=(0.25, 0.25))])
    assert view.geometry.matrix[:2, :2] == pytest.approx(np.eye(2) / 1.6)
    wide = draw([CropSpec(area=(1, 1))], crop=(48, 16))  # the whole height, less of the width
    assert wide.geometry.matrix[:2, :2] == pytest.approx(np.eye(2) * 60 / 48)


@pytest.mark.parametrize("seed", range(10))
def test_uncovered_pixels_are_ignored_and_filled(seed):
    """Oracle: the place that each pixel's centre comes from."""
    specs = [AffineSpec(probability=1, rotate=40, scale=(0.6, 0.9), shift=0.3), OutsideSpec(fill=200)]
    view = draw(specs, seed, crop=(60, 80))
    y, x = np.mgrid[:60, :80]
    source = (view.geometry.matrix[:2] @ np.stack([x.ravel(), y.ravel(), np.ones(4800)])).reshape(2, 60, 80)
    outside = (source < -0.5).any(0) | (source[0] >= 79.5) | (source[1] >= 59.5)
    assert outside.any()
    assert np.array_equal(view.apply_to_label(LABEL) == IGNORE, outside)
    assert (view.apply_to_image(SLIDE)[outside] == 200).all()
    mirrored = draw(specs[:1], seed, crop=(60, 80))
    assert np.array_equal(mirrored.apply_to_label(LABEL)[~outside], view.apply_to_label(LABEL)[~outside])
    assert (mirrored.apply_to_label(LABEL) != IGNORE).all()


@pytest.mark.parametrize("seen_in", ["image", "crop"])
def test_changes_for_classes_come_only_with_them(seen_in):
    label = np.zeros((60, 80), np.uint8)
    label[:10, :10] = 3
    rocks = ForClassesSpec(classes=("big rock",), seen_in=seen_in, augment=(BlurSpec(probability=1),))
    views = [draw([rocks], seed, crop=(32, 32), label=label) for seed in range(60)]
    shows = [bool((view.apply_to_label(label) == 3).any()) for view in views]
    blurred = [bool(view.steps) for view in views]
    assert 0 < sum(shows) < 60
    assert blurred == (shows if seen_in == "crop" else [True] * 60)
    sand = rocks.model_copy(update={"classes": ("sand",)})
    assert not any(draw([sand], seed, label=label).steps for seed in range(5))


def test_geometry_for_classes_of_the_crop_moves_image_and_label():
    flip = ForClassesSpec(classes=("big rock",), seen_in="crop", augment=(FlipSpec(horizontal=1),))
    label = np.full((60, 80), 3, np.uint8)
    label[:, :40] = 0
    view = draw([flip], crop=(60, 80), label=label)
    assert np.array_equal(view.apply_to_label(label), label[:, ::-1])
    assert np.array_equal(view.apply_to_image(SLIDE), SLIDE[:, ::-1])


def test_a_class_that_is_none_is_named_with_those_that_are():
    spec = ForClassesSpec(classes=("rock",), augment=(FlipSpec(),))
    with pytest.raises(RecipeError, match="big rock, got rock"):
        draw([spec])


def test_source_3s_shift_scale_rotate_can_be_said():
    """Row 3.8: flips, turns, rotation by 45°, zoom, shift by a sixteenth: one warp, and the image moves."""
    specs = [FlipSpec(vertical=0.5), TurnSpec(), AffineSpec(rotate=45, scale=(0.9, 1.1), shift=0.0625, stretch=0)]
    views = [draw(specs, seed, crop=(60, 80)) for seed in range(200)]
    assert not any(view.steps for view in views)
    centres = np.array([view.geometry.matrix @ [39.5, 29.5, 1] for view in views])[:, :2] - (39.5, 29.5)
    assert 4.5 < np.abs(centres[:, 0]).max() < 14  # a sixteenth of 80, and the room that zooms and turns leave
