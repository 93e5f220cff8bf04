"""Crops: cut out of drawn scenes at known places, other images that only look alike, real sets."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from maskwright.audit import audit_index, crops
from maskwright.audit.crops import find_crops
from maskwright.data.index import build_index
from maskwright.data.synthetic import make_playground
from maskwright.recipe.data import AuditSpec, DataSpec

DATA = Path(os.environ.get("MASKWRIGHT_DATA", "/nonexistent"))
real = pytest.mark.skipif(not DATA.is_dir(), reason="MASKWRIGHT_DATA names no folder")


def scene(seed, height=240, width=320):
    """Blobs of many sizes at random, (H, W) uint8."""
    rng = np.random.default_rng(seed)
    image = np.full((height, width), 128, np.uint8)
    for _ in range(150):
        centre, radius = rng.integers(0, (width, height)).tolist(), int(rng.geometric(0.1)) + 2
        cv2.circle(image, centre, radius, int(rng.integers(20, 236)), -1)
    return cv2.GaussianBlur(image, (0, 0), 0.7)


def save(folder, name, image, quality=None):
    path = folder / f"{name}.{'png' if quality is None else 'jpg'}"
    Image.fromarray(image).save(path, **({} if quality is None else {"quality": quality}))
    return path


@pytest.mark.parametrize(("factor", "quality"), [(1, None), (0.7, None), (1.4, 60)])
def test_a_crop_is_found_with_its_place(tmp_path, factor, quality):
    whole = scene(0)
    part = cv2.resize(whole[24:216, 64:304], None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    paths = [save(tmp_path, f"s{k}", scene(k)) for k in range(6)] + [save(tmp_path, "part", part, quality)]
    (found,) = find_crops(paths)
    assert (found.whole, found.part) == (0, 6)
    # columns 64 to 304 of 320, rows 24 to 216 of 240
    assert found.box == pytest.approx((0.2, 0.1, 0.95, 0.9), abs=0.01)
    assert found.area == pytest.approx(0.75 * 0.8, abs=0.01)
    assert found.correlation > 0.98


def test_the_crop_may_come_first(tmp_path):
    paths = [save(tmp_path, "a", scene(0)[20:200, 30:300]), *(save(tmp_path, f"s{k}", scene(k)) for k in range(4))]
    assert [(c.whole, c.part) for c in find_crops(paths)] == [(1, 0)]


@pytest.mark.parametrize(
    "other",
    [
        lambda a: a[:, ::-1],  # flipped: not looked for
        lambda a: a[:100, :140],  # 18 percent
        lambda a: np.roll(a, 90, 1),  # sticks out
        lambda a: scene(9),
        lambda a: np.where(np.indices(a.shape)[1] < 150, a, scene(9)),  # a part of it is the same
    ],
)
def test_others_are_no_crops(tmp_path, other):
    assert find_crops([save(tmp_path, "a", scene(0)), save(tmp_path, "b", np.ascontiguousarray(other(scene(0))))]) == []


def test_images_without_features_and_broken_ones_are_passed_over(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no image")
    flat = [save(tmp_path, f"f{k}", np.full((60, 80), 50 * k, np.uint8)) for k in range(3)]
    tiny = save(tmp_path, "tiny", np.zeros((3, 5), np.uint8))
    assert find_crops([tmp_path / "broken.png", *flat, tiny]) == []
    assert find_crops([]) == []


def test_the_audit_lists_crops_and_keeps_them_together(tmp_path, monkeypatch):
    make_playground(tmp_path, labelled=8, unlabelled=2, size=(144, 192), planted=False)
    first = sorted((tmp_path / "images").rglob("*.png"))[0]
    cut = np.asarray(Image.open(first))[10:140, 20:180]
    save(tmp_path / "unlabeled", "cut", cut)
    index, _, _ = build_index(DataSpec(root=str(tmp_path)))
    found = audit_index(index, AuditSpec(crops=True))
    name = first.relative_to(tmp_path).as_posix()
    rows = [r for r in found.findings.to_dicts() if r["kind"] == "crop"]
    assert [(r["image"], r["other_image"]) for r in rows] == [("unlabeled/cut.png", name)]
    # columns 20 to 180 of 192, rows 10 to 140 of 144
    assert "10% to 94% of the other's width, 7% to 97% of its height" in rows[0]["detail"]
    assert found.duplicates == [[name, "unlabeled/cut.png"]]
    assert "crop" not in set(audit_index(index, AuditSpec(crops=False)).findings["kind"])
    monkeypatch.setattr("maskwright.audit.findings.MOST", 5)
    monkeypatch.setattr(crops, "MOST", 5)
    assert "crops_not_searched" in set(audit_index(index, AuditSpec(crops=True)).findings["kind"])


@real
@pytest.mark.realdata
def test_x_rays_that_all_look_alike_are_no_crops_of_each_other():
    assert find_crops(sorted((DATA / "teeth" / "images").iterdir())[:60]) == []
