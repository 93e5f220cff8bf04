"""Counts against scikit-image and by hand; shifts against their definition."""

import numpy as np
import polars as pl
import pytest
from PIL import Image
from scipy.stats import energy_distance
from skimage.measure import label as skimage_label
from skimage.measure import regionprops

from maskwright.audit import audit_index
from maskwright.audit.permutation import energy_difference, permutation_p, units
from maskwright.audit.shapes import measure_objects
from maskwright.data.index import build_index
from maskwright.recipe.data import AuditSpec, DataSpec


def speckled(seed, shape=(40, 50)):
    """A label map of three categories in ragged pieces, some of it ignored."""
    rng = np.random.default_rng(seed)
    coarse = rng.choice([0, 1, 2, 255], (shape[0] // 5, shape[1] // 5), p=[0.5, 0.25, 0.2, 0.05])
    label = np.kron(coarse, np.ones((5, 5), np.uint8)).astype(np.uint8)
    label[rng.random(label.shape) < 0.03] = 1
    return label


@pytest.mark.parametrize("seed", range(4))
def test_objects_are_those_of_scikit_image(seed):
    label = speckled(seed)
    for category in range(4):
        areas, touching = measure_objects(label, category)
        regions = regionprops(skimage_label(label == category, connectivity=2))
        assert sorted(areas.tolist()) == sorted(int(r.area) for r in regions)
        height, width = label.shape
        at_border = [r for r in regions if 0 in r.bbox[:2] or r.bbox[2] == height or r.bbox[3] == width]
        assert touching == len(at_border)


def test_ids_tell_objects_apart_that_touch_and_join_those_that_are_cut():
    label = np.ones((4, 6), np.uint8)
    ids = np.array([[7, 7, 7, 9, 9, 9]] * 2 + [[0] * 6] + [[7] * 6])
    areas, touching = measure_objects(label, 1, ids)
    # id 7: 2 rows of 3, and a row of 6; id 9: 2 rows of 3; the row of zeros is nobody's
    assert areas.tolist() == [12, 6] and touching == 2


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Four labelled images in two domains, two unlabelled; masks of 10×10 by hand."""
    root = tmp_path_factory.mktemp("balance")
    for folder in ("images", "masks", "unlabeled"):
        (root / folder).mkdir()
    masks = np.zeros((4, 10, 10), np.uint8)
    masks[0, 2:4, 2:4] = 1  # 4 pixels inside
    masks[0, 0, 9] = 1  # 1 in the corner
    masks[1, :, :3] = 1  # 30 at the border
    masks[2, 5, 5] = 1  # 1 inside
    rng = np.random.default_rng(0)
    for k, mask in enumerate(masks):
        Image.fromarray(mask).save(root / "masks" / f"{k}.png")
        Image.fromarray(rng.integers(50 * k, 50 * k + 40, (10, 10, 3), np.uint8)).save(root / "images" / f"{k}.png")
    for k in range(2):
        Image.fromarray(rng.integers(0, 255, (12, 20), np.uint8)).save(root / "unlabeled" / f"u{k}.png")
    (root / "classes.json").write_text('{"0": "background", "1": "rock"}')
    (root / "meta.csv").write_text("name,scanner\n0,a\n1,a\n2,b\n3,b\n")
    index, _, _ = build_index(DataSpec(root=str(root), domain="scanner"))
    spec = AuditSpec.model_validate({"balance": {"area_bins": [0, 0.05, 0.3, 1]}, "pictures": False})
    return audit_index(index, spec)


def test_objects_an_image(found):
    table = found.tables["objects"].filter(pl.col("category") == "rock").to_dicts()
    assert [(r["image"][-5], r["pixels"], r["objects"], r["touching"], r["largest"]) for r in table] == [
        ("0", 5, 2, 1, 4),
        ("1", 30, 1, 1, 30),
        ("2", 1, 1, 0, 1),
    ]
    assert table[0]["share"] == pytest.approx(0.05)


def test_sizes_are_a_box_plot(found):
    row = found.tables["sizes"].filter(pl.col("category") == "rock").to_dicts()[0]
    # areas 1, 1, 4, 30: quartiles 1, 2.5, 10.5 by interpolation; 10.5 + 1.5 · 9.5 = 24.75, so 30 lies outside
    assert [row[k] for k in ("smallest", "q1", "median", "q3", "largest")] == [1, 1, 2.5, 10.5, 30]
    assert (row["low"], row["high"], row["touching"], row["touching_share"]) == (1, 4, 2, 0.5)


def test_ratios_are_counted_in_half_open_bins(found):
    rows = found.tables["ratios"].filter(pl.col("category") == "rock").rows()
    # shares .05, .30, .01 and none: an edge belongs to the bin above it
    assert [r[1:] for r in rows] == [(0, 0, 1), (0, 0.05, 1), (0.05, 0.3, 1), (0.3, 1, 1)]
    background = found.tables["ratios"].filter(pl.col("category") == "background")["images"].to_list()
    assert background == [0, 0, 0, 4]


def test_parts_are_counted_with_their_looks(found):
    parts = {(r["column"], r["name"]): r for r in found.tables["parts"].to_dicts()}
    assert set(parts) == {
        ("all", "all"), ("labels", "labelled"), ("labels", "unlabelled"), ("domain", "a"), ("domain", "b"),
    }  # fmt: skip
    assert (parts["all", "all"]["images"], parts["all", "all"]["labelled"]) == (6, 4)
    assert (parts["labels", "unlabelled"]["width"], parts["labels", "unlabelled"]["height"]) == (20, 12)
    # images 0 and 1 have grays from 0 to 90, images 2 and 3 from 100 to 190
    assert parts["domain", "a"]["brightness"] < 0.3 < parts["domain", "b"]["brightness"]
    assert parts["domain", "a"]["shift"] == parts["domain", "b"]["shift"] > 0


def test_the_energy_coefficient_is_that_of_scipy_in_one_dimension():
    x, y = np.random.default_rng(0).normal(size=30), np.random.default_rng(1).normal(1, 2, size=20)
    kinds = np.repeat([0, 1], [30, 20])
    found = energy_difference(np.concatenate([x, y])[:, None])(kinds[None])[0]
    # SciPy gives the square root of 2 E|X−Y| − E|X−X'| − E|Y−Y'|
    assert found == pytest.approx(energy_distance(x, y) ** 2 / (2 * np.abs(x[:, None] - y).mean()))


def test_units_keep_groups_whole_and_images_without_a_group_apart():
    assert units(["p", "p", None, None, "p"], np.array([0, 0, 0, 0, 1])).tolist() == [0, 0, 1, 2, 3]


def test_two_groups_can_not_prove_a_difference_however_many_images_they_have():
    points = np.concatenate([np.random.default_rng(0).normal(m, 1, (100, 2)) for m in (0, 9)])
    kinds = np.repeat([0, 1], 100)
    rng = np.random.default_rng(0)
    whole = permutation_p(
        energy_difference(points), kinds, units(["a"] * 100 + ["b"] * 100, kinds), samples=99, rng=rng
    )
    alone = permutation_p(energy_difference(points), kinds, np.arange(200), samples=99, rng=rng)
    assert whole[0] == alone[0] > 0.5
    assert whole[1] == 1 and alone[1] == pytest.approx(0.01)  # one of a hundred: the data itself


def test_the_background_of_numbered_objects_holds_none(tmp_path):
    for folder in ("images", "instances"):
        (tmp_path / folder).mkdir()
    ids = np.zeros((8, 8), np.uint16)
    ids[:2, :2], ids[4:6, 4:8] = 3, 9
    Image.fromarray(ids).save(tmp_path / "instances" / "a.png")
    Image.fromarray((ids * 9).astype(np.uint8)).save(tmp_path / "images" / "a.png")
    index, _, _ = build_index(DataSpec(root=str(tmp_path), classes="binary"))
    rows = audit_index(index, AuditSpec(pictures=False)).tables["objects"].rows_by_key("category", named=True)
    assert rows["background"][0]["objects"] == 0 and rows["background"][0]["median"] is None
    # areas 4 in the corner and 8 at the right border
    assert [rows["foreground"][0][k] for k in ("objects", "touching", "smallest", "largest")] == [2, 2, 4, 8]
