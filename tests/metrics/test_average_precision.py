"""AP against pycocotools and cityscapesScripts on drawn scenes with ties, crowds, void and empties."""

from __future__ import annotations

import contextlib
import importlib
import io
import math
from types import SimpleNamespace

import numpy as np
import pytest
from drawn_instances import SIZE, N, drawn_scene
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from maskwright.errors import DataError
from maskwright.metrics import (
    CITYSCAPES_IOUS,
    Detections,
    Segments,
    cityscapes_ap,
    cityscapes_detections,
    coco_ap,
    coco_detections,
    mask_overlaps,
    mean_ap,
    segment_overlaps,
)

NAN = math.nan
AREAS = {"all": (0, 1e10), "small": (0, 12**2), "medium": (12**2, 20**2), "large": (20**2, 1e10)}
PERSON = 24
"""The Cityscapes label of our category 0; 1 is the rider, 2 the car."""


def listed(scene):
    truth = Segments.of(range(1, len(scene.true) + 1), scene.true_categories, crowd=scene.crowd)
    return truth, Segments.of(range(1, len(scene.masks) + 1), scene.categories, scores=scene.scores)


def by_coco(scenes, **options):
    return Detections.join([coco_detections(mask_overlaps(s.true, s.masks), *listed(s), N, **options) for s in scenes])


def by_cityscapes(scenes):
    return Detections.join(
        [cityscapes_detections(mask_overlaps(s.true, s.masks, void=s.void), *listed(s), N) for s in scenes]
    )


def pycocotools_ap(scenes, most):
    """Return (n, t, areas), NaN where pycocotools has -1."""
    truth, found = COCO(), []
    rows = []
    for image, scene in enumerate(scenes, 1):
        for mask, category, crowd in zip(scene.true, scene.true_categories, scene.crowd, strict=True):
            rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
            rows.append(
                {
                    "id": len(rows) + 1,
                    "image_id": image,
                    "category_id": int(category),
                    "iscrowd": int(crowd),
                    "area": int(mask.sum()),
                    "segmentation": rle,
                }
            )
        for mask, category, score in zip(scene.masks, scene.categories, scene.scores, strict=True):
            rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
            found.append({"image_id": image, "category_id": int(category), "score": score, "segmentation": rle})
    truth.dataset = {
        "images": [{"id": image, "height": SIZE[0], "width": SIZE[1]} for image in range(1, len(scenes) + 1)],
        "annotations": rows,
        "categories": [{"id": c, "name": str(c)} for c in range(N)],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        tool = COCOeval(truth, truth.loadRes(found), "segm")
        tool.params.areaRng = [list(area) for area in AREAS.values()]
        tool.params.areaRngLbl = list(AREAS)
        tool.params.maxDets = [most]
        tool.evaluate()
        tool.accumulate()
    precision = tool.eval["precision"][..., 0]  # (t, recalls, n, areas)
    return np.where(precision == -1, NAN, precision).mean(axis=1).transpose(1, 0, 2)


@pytest.mark.parametrize("disjoint", [False, True])
@pytest.mark.parametrize("most", [100, 2])
def test_coco_ap_is_that_of_pycocotools(disjoint, most):
    scenes = [drawn_scene(seed, disjoint=disjoint) for seed in range(40)]
    expected = pycocotools_ap(scenes, most)
    assert 0 < np.nanmean(expected) < 1
    for position, (name, area) in enumerate(AREAS.items()):
        ap = coco_ap(by_coco(scenes, area=area, max_detections=most), absent="skip")
        assert np.allclose(ap[0], expected[:, :, position], rtol=0, atol=1e-9, equal_nan=True), name


@pytest.mark.parametrize("seed", range(100, 110))
def test_coco_ap_of_single_scenes(seed):
    scene = drawn_scene(seed, disjoint=False)
    ap = coco_ap(by_coco([scene]), absent="skip")[0]
    if len(scene.masks):  # pycocotools wants one prediction
        assert np.allclose(ap, pycocotools_ap([scene], 100)[..., 0], rtol=0, atol=1e-9, equal_nan=True)


@pytest.fixture
def cityscapes(monkeypatch):
    if not hasattr(np, "in1d"):  # cityscapesScripts 2.3 with NumPy 2.4
        monkeypatch.setattr(np, "in1d", np.isin, raising=False)
    return importlib.import_module("cityscapesscripts.evaluation.evalInstanceLevelSemanticLabeling")


def cityscapes_ap_of_the_tool(tool, folder, scenes):
    """Return (n, t) from PNG files in the form of Cityscapes, and the tool's settings."""
    labels = ["person", "rider", "car"]
    with contextlib.redirect_stdout(io.StringIO()):
        tool.setInstanceLabels(tool.args)
    args = SimpleNamespace(**{**vars(tool.args), "quiet": True, "predictionPath": str(folder), "instLabels": labels})
    truths, lists = [], []
    for number, scene in enumerate(scenes):
        ids = np.full(SIZE, 7, np.uint16)  # road
        ids[scene.void] = 4  # static: ignored in evaluation
        for k, (mask, category, crowd) in enumerate(zip(scene.true, scene.true_categories, scene.crowd, strict=True)):
            ids[mask] = PERSON + category if crowd else 1000 * (PERSON + category) + k
        truths.append(str(folder / f"{number}_instanceIds.png"))
        Image.fromarray(ids).save(truths[-1])
        lists.append(str(folder / f"{number}.txt"))
        lines = []
        for k, mask in enumerate(scene.masks):
            Image.fromarray(mask.astype(np.uint8)).save(folder / f"{number}_{k}.png")
            lines.append(f"{number}_{k}.png {PERSON + scene.categories[k]} {float(scene.scores[k])!r}\n")
        (folder / f"{number}.txt").write_text("".join(lines))
    matches = tool.matchGtWithPreds(lists, truths, tool.instances2dict(truths, False), args)
    return tool.evaluateMatches(matches, args)[0], args


def one_crowd_each(scene):
    """Return the scene with the crowds of a category as one: Cityscapes has no numbers for groups."""
    masks, categories = [], []
    for category in range(N):
        if (chosen := scene.crowd & (scene.true_categories == category)).any():
            masks.append(scene.true[chosen].any(axis=0))
            categories.append(category)
    kept = ~scene.crowd
    return SimpleNamespace(
        true=np.concatenate([scene.true[kept], np.array(masks, bool).reshape(-1, *SIZE)]),
        true_categories=np.array([*scene.true_categories[kept], *categories], int),
        crowd=np.array([False] * kept.sum() + [True] * len(masks), bool),
        **{name: getattr(scene, name) for name in ("masks", "categories", "scores", "void")},
    )


def test_cityscapes_ap_is_that_of_the_official_tool(tmp_path, cityscapes):
    scenes = [one_crowd_each(drawn_scene(seed, disjoint=True)) for seed in range(40)]
    expected, args = cityscapes_ap_of_the_tool(cityscapes, tmp_path, scenes)
    averages = cityscapes.computeAverages(expected[None], args)
    ap = cityscapes_ap(by_cityscapes(scenes), absent="skip")
    assert 0 < np.nanmean(expected) < 1
    assert np.allclose(ap[0], expected, rtol=0, atol=1e-9, equal_nan=True)
    assert mean_ap(ap, range(N)) == pytest.approx([averages["allAp"]], abs=1e-9)
    assert mean_ap(ap[..., :1], range(N)) == pytest.approx([averages["allAp50%"]], abs=1e-9)


@pytest.mark.parametrize("seed", range(100, 108))
def test_cityscapes_ap_of_single_scenes(tmp_path, cityscapes, seed):
    scene = one_crowd_each(drawn_scene(seed, disjoint=True))
    found = by_cityscapes([scene])
    expected, _ = cityscapes_ap_of_the_tool(cityscapes, tmp_path, [scene])
    assert np.allclose(cityscapes_ap(found, absent="skip")[0], expected, rtol=0, atol=1e-9, equal_nan=True)


def test_maps_and_masks_give_the_same():
    scene = drawn_scene(4, disjoint=True)
    ids = (scene.true * np.arange(1, len(scene.true) + 1)[:, None, None]).sum(axis=0)
    of_map = coco_detections(mask_overlaps(ids, scene.masks), *listed(scene), N)
    of_masks = by_coco([scene])
    assert all(np.array_equal(getattr(of_map, name), getattr(of_masks, name)) for name in vars(of_map))


def detection(image, score, right, ignored=False):
    shape = (1, 10)
    flags = [np.full(shape, value) for value in (right, ignored)]
    return Detections(np.array([0]), np.array([0]), np.array([score]), *flags, np.array([[image]]))


def test_both_areas_by_hand():
    # two true instances; by score: right, wrong, right. Precision 1, 1/2, 2/3 at recall 1/2, 1/2, 1.
    # COCO: the envelope is 1 up to recall .5 (51 of 101 recalls) and 2/3 after: (51 + 50 * 2/3) / 101.
    # Cityscapes: widths are half the distance of the neighbouring recalls 0 0 .5 .5 1 1:
    # (.5 - 0) / 2 * 1 + (.5 - 0) / 2 * 1 + (1 - .5) / 2 * 1/2 + (1 - .5) / 2 * 2/3
    found = Detections.join([detection(1, 0.9, True), detection(0, 0.8, False), detection(1, 0.7, True)])
    assert found.image.tolist() == [0, 1, 2]
    assert coco_ap(found)[0, 0] == pytest.approx([(51 + 50 * 2 / 3) / 101] * 10)
    assert cityscapes_ap(found)[0, 0] == pytest.approx([0.25 + 0.25 + 0.125 + 1 / 6] * 10)


@pytest.mark.parametrize("area", [coco_ap, cityscapes_ap])
def test_empty_cases(area):
    nothing = Detections.join([detection(0, 0.5, False, True)])
    missed = Detections.join([detection(1, 0.5, False, True)])
    wrong = Detections.join([detection(0, 0.5, False)])
    assert np.isnan(area(nothing)).all()
    assert (area(missed) == 0).all()
    assert (area(wrong) == 0).all()
    assert np.isnan(area(wrong, absent="skip")).all()
    assert np.isnan(mean_ap(area(nothing), [0])).all()


@pytest.mark.parametrize(("area", "find"), [(coco_ap, by_coco), (cityscapes_ap, by_cityscapes)])
def test_weights_repeat_images(area, find):
    scenes = [drawn_scene(seed, disjoint=True) for seed in range(6)]
    for number, scene in enumerate(scenes):  # no ties between images
        scene.scores[:] = np.random.default_rng(number).random(len(scene.scores))
    repeats = np.array([[1, 1, 1, 1, 1, 1], [2, 0, 1, 3, 0, 1]])
    values = area(find(scenes), weights=repeats)
    for row, value in zip(repeats, values, strict=True):
        again = find([scene for scene, times in zip(scenes, row, strict=True) for _ in range(times)])
        assert np.allclose(area(again)[0], value, rtol=0, atol=1e-9, equal_nan=True)


def test_perfect_and_seventy_thousand():
    ids = np.arange(1, 70_001).reshape(200, 350)
    truth, rng = Segments.of(ids, 0), np.random.default_rng(0)
    table = segment_overlaps(ids, ids)
    predicted = Segments.of(ids, 0, scores=rng.random(ids.size))
    assert coco_ap(coco_detections(table, truth, predicted, 1, max_detections=None)) == pytest.approx(1)
    assert cityscapes_ap(cityscapes_detections(table, truth, predicted, 1, smallest=1)) == pytest.approx(1)


def test_one_pixel_and_nothing():
    one = np.ones((1, 1, 1), bool)
    none = np.zeros((0, 1, 1), bool)
    empty, single = Segments.of([], 0, scores=[]), Segments.of([1], 0, scores=[0.5])
    for true, masks, expected in ((one, one, 1), (one, none, 0), (none, one, 0), (none, none, NAN)):
        lists = (single if len(true) else empty, single if len(masks) else empty)
        found = coco_detections(mask_overlaps(true, masks), *lists, 1)
        assert coco_ap(found)[0, 0] == pytest.approx([expected] * 10, nan_ok=True)
        found = cityscapes_detections(mask_overlaps(true, masks), *lists, 1, smallest=1)
        assert cityscapes_ap(found)[0, 0] == pytest.approx([expected] * 10, nan_ok=True)


def test_a_small_crowd_counts_twice_as_in_the_official_tool():
    # a crowd of 60 pixels under 200 predicted ones: its share .3 counts as .6, so that it is ignored up to .55
    true, masks = np.zeros((1, 10, 20), bool), np.ones((1, 10, 20), bool)
    true[0, :6, :10] = True
    lists = Segments.of([1], 0, crowd=[True]), Segments.of([1], 0, scores=[0.5])
    found = cityscapes_detections(mask_overlaps(true, masks), *lists, 1)
    assert found.ignored[0].tolist() == [iou < 0.6 for iou in CITYSCAPES_IOUS]


@pytest.mark.parametrize("find", [coco_detections, cityscapes_detections])
def test_ids_that_nothing_lists(find):
    table = segment_overlaps(np.array([[1, 2]]), np.array([[1, 1]]))
    with pytest.raises(DataError, match=r"truth to be listed.*\[2\] in the map only"):
        find(table, Segments.of([1], 0), Segments.of([1], 0, scores=[1]), 1)
    with pytest.raises(DataError, match="scores"):
        find(table, Segments.of([1, 2], 0), Segments.of([1], 0), 1)
