"""Tiles of one picture that share a strip: cut at known places; pictures that only show the same things."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from maskwright.audit import audit_index, overlaps
from maskwright.audit.crops import find_shared
from maskwright.data.index import build_index
from maskwright.recipe.data import AuditSpec, DataSpec

DATA = Path(os.environ.get("MASKWRIGHT_DATA", "/nonexistent"))
real = pytest.mark.skipif(not DATA.is_dir(), reason="MASKWRIGHT_DATA names no folder")


def scene(seed, height=360, width=520, circles=400):
    """Blobs of many sizes at random, (H, W) uint8."""
    rng = np.random.default_rng(seed)
    image = np.full((height, width), 128, np.uint8)
    for _ in range(circles):
        centre, radius = rng.integers(0, (width, height)).tolist(), int(rng.geometric(0.12)) + 2
        cv2.circle(image, centre, radius, int(rng.integers(20, 236)), -1)
    return cv2.GaussianBlur(image, (0, 0), 0.7)


def save(folder, name, image, quality=None):
    path = folder / f"{name}.{'png' if quality is None else 'jpg'}"
    Image.fromarray(image).save(path, **({} if quality is None else {"quality": quality}))
    return path


def window(image, x, y, width=240, height=220):
    return image[y : y + height, x : x + width]


@pytest.mark.parametrize("quality", [None, 90, 70])
def test_tiles_are_found_with_their_shift_and_share(tmp_path, quality):
    whole = scene(0)
    paths = [save(tmp_path, f"s{k}", scene(k + 10)) for k in range(3)]
    paths += [
        save(tmp_path, "t0", window(whole, 10, 20), quality),
        save(tmp_path, "t1", window(whole, 180, 50), quality),
    ]
    crops, (found,) = find_shared(paths)
    assert crops == []
    assert (found.first, found.second) == (3, 4)
    assert found.shift == (170, 30)
    assert found.share == pytest.approx(70 * 190 / (240 * 220))  # columns 180 to 250, rows 50 to 240
    assert found.correlation > 0.9


def test_two_windows_on_one_row_of_a_grid_of_tiles(tmp_path):
    """Of three in a row, the first and the last share nothing."""
    whole = scene(1, width=700)
    paths = [save(tmp_path, f"t{k}", window(whole, 170 * k, 0, height=360)) for k in range(3)]
    found = find_shared(paths)[1]
    assert [(o.first, o.second, o.shift) for o in found] == [(0, 1, (170, 0)), (1, 2, (170, 0))]


def test_a_size_of_its_own_and_deep_pixels(tmp_path):
    whole = scene(2).astype(np.uint16) * 200
    one, two = window(whole, 0, 0, 300, 300), window(whole, 200, 60, 320, 300)
    found = find_shared([save(tmp_path, "a", one), save(tmp_path, "b", two)])[1]
    assert [o.shift for o in found] == [(200, 60)]
    assert found[0].share == pytest.approx(100 * 240 / (300 * 300))  # of the smaller image


def moved(seed, by):
    """A ground that moves by as many pixels, and things before it that move twice as far, as a camera sees them."""
    ground = window(scene(seed, circles=250), by, 0, 300, 300).copy()
    things = scene(seed + 1, circles=60)
    near = np.abs(things.astype(int) - 128) > 3
    cut = slice(2 * by, 2 * by + 300)
    ground[near[:300, cut]] = things[:300, cut][near[:300, cut]]
    return ground


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (lambda: window(scene(3), 0, 0), lambda: np.ascontiguousarray(window(scene(3), 100, 0)[:, ::-1])),  # flipped
        (lambda: window(scene(3), 0, 0), lambda: window(scene(4), 100, 0)),  # others
        (lambda: window(scene(3), 0, 0), lambda: window(scene(3), 238, 0)),  # 2 of 240 columns
        (lambda: moved(5, 0), lambda: moved(5, 60)),  # the next frame
    ],
)
def test_what_only_looks_alike_is_no_overlap(tmp_path, first, second):
    assert find_shared([save(tmp_path, "a", first()), save(tmp_path, "b", second())]) == ([], [])


def test_a_strip_without_texture_says_nothing(tmp_path):
    one, two = scene(6), scene(7)
    one[:, 300:], two[:, :220] = 90, 90
    assert find_shared([save(tmp_path, "a", one), save(tmp_path, "b", two)])[1] == []


def tiled(root):
    """Six pictures in train; of a seventh, three tiles: two in train, one in val."""
    for part in ("train", "val"):
        for kind in ("images", "masks"):
            (root / kind / part).mkdir(parents=True)
    rng = np.random.default_rng(0)

    def put(part, name, image):
        save(root / "images" / part, name, image)
        Image.fromarray(rng.integers(0, 2, image.shape, np.uint8)).save(root / "masks" / part / f"{name}.png")

    for k in range(6):
        put("train" if k < 3 else "val", f"s{k}", window(scene(20 + k), 0, 0))
    whole = scene(8, width=700)
    for k in range(3):
        put("train" if k < 2 else "val", f"t{k}", window(whole, 170 * k, 0))


def test_the_audit_puts_tiles_into_one_cluster_and_calls_a_border_between_them_a_leak(tmp_path):
    tiled(tmp_path)
    index, _, _ = build_index(DataSpec(root=str(tmp_path)))
    found = audit_index(index, AuditSpec(pictures=False))
    tiles = ["images/train/t0.png", "images/train/t1.png", "images/val/t2.png"]
    assert found.duplicates == [tiles]
    rows = [(r["image"], r["other_image"], r["decision"]) for r in found.findings.to_dicts() if r["kind"] == "overlap"]
    assert rows == [(tiles[0], tiles[1], "kept in one fold"), (tiles[1], tiles[2], "kept in one fold")]
    (leak,) = [r for r in found.findings.to_dicts() if r["kind"] == "leak_duplicate"]
    assert (leak["image"], leak["other_image"]) == (tiles[1], tiles[2])
    assert leak["detail"].startswith("a part of one picture in train and in val")
    assert audit_index(index, AuditSpec(pictures=False, crops=False)).duplicates == []


@real
@pytest.mark.realdata
def test_real_tiles_are_found_and_neighbouring_frames_are_none():
    frames = sorted((DATA / "camvid" / "images").rglob("*.*g"))[:80]
    assert find_shared(frames)[1] == []
    tiles = sorted((DATA / "quip_synth_he" / "images" / "real_labeled").iterdir())
    assert len(find_shared(tiles)[1]) > 150


def test_of_large_strips_the_middle_is_compared_and_few_images_are_kept(tmp_path, monkeypatch):
    """As with images of 100 million pixels, whose strips would fill the memory eight images at a time."""
    monkeypatch.setattr("maskwright.audit.overlaps._MIDDLE", 96)
    monkeypatch.setattr("maskwright.audit.crops._PIXELS", 1000)
    whole, seen = scene(0), []
    paths = [save(tmp_path, "t0", window(whole, 10, 20)), save(tmp_path, "t1", window(whole, 130, 40))]
    blocks = overlaps._blocks
    monkeypatch.setattr(overlaps, "_blocks", lambda *both: [seen.append(both[0].shape), blocks(*both)][1])
    _, (found,) = find_shared(paths)
    assert found.shift == (120, 20)
    assert seen == [(96, 96)]
