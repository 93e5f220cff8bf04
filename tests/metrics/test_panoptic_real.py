"""PQ of real panoptic maps (COCO, BDD100K) against the official tool."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from panoptic_pairs import official
from PIL import Image

from maskwright.metrics import PanopticCounts, Segments, panoptic_counts, segment_overlaps

DATA = Path(os.environ.get("MASKWRIGHT_DATA", "/nonexistent")) / "fixtures"
pytestmark = [
    pytest.mark.realdata,
    pytest.mark.skipif(not DATA.is_dir(), reason="MASKWRIGHT_DATA names no folder with fixtures"),
]


def agree(folder, pairs, n):
    expected, *_ = official(folder, pairs, n)
    ours = PanopticCounts.stack(
        [panoptic_counts(segment_overlaps(t, p), truth, segments, n) for t, truth, p, segments in pairs]
    ).pooled()
    found = np.array([ours.iou, ours.tp, ours.fp, ours.fn])[:, 0]
    assert np.allclose(found, expected, rtol=0, atol=1e-9)
    return found.sum(axis=1)


def coco_truth():
    root = DATA / "coco_panoptic"
    tree = json.loads((root / "panoptic_examples.json").read_text())
    positions = {category["id"]: position for position, category in enumerate(tree["categories"])}
    for row in tree["annotations"]:
        colors = np.array(Image.open(root / "panoptic_examples" / row["file_name"]).convert("RGB"), np.int64)
        listed = row["segments_info"]
        yield (
            colors @ [1, 256, 65536],
            Segments.of(
                [one["id"] for one in listed],
                [positions[one["category_id"]] for one in listed],
                crowd=[one["iscrowd"] for one in listed],
            ),
            len(positions),
        )


def disturbed(ids, truth, rng):
    """Return a prediction: moved, void in places, with segments joined, split and called something else."""
    moved = np.roll(ids, rng.integers(-12, 13, 2), (0, 1))
    holes = np.kron(rng.random((8, 8)) < 0.1, np.ones([-(-side // 8) for side in ids.shape], bool))
    moved[holes[: ids.shape[0], : ids.shape[1]]] = 0
    for one in rng.choice(truth.ids, 4):
        half = np.zeros(ids.shape, bool)
        half[:, : ids.shape[1] // 2] = True
        moved[(moved == one) & half] = rng.integers(1, 2**24)
    present = np.unique(moved[moved > 0])
    known = dict(zip(truth.ids.tolist(), truth.categories.tolist(), strict=True))
    categories = [known.get(i, int(rng.choice(truth.categories))) for i in present.tolist()]
    wrong = rng.random(len(present)) < 0.15
    return moved, Segments.of(present, np.where(wrong, rng.choice(truth.categories, len(present)), categories))


def test_coco_panoptic(tmp_path):
    rng, truths = np.random.default_rng(0), list(coco_truth())
    assert sum(truth.crowd.sum() for _, truth, _ in truths) == 3
    pairs = [(ids, truth, *disturbed(ids, truth, rng)) for ids, truth, _ in truths for _ in range(6)]
    assert (agree(tmp_path, pairs, truths[0][2])[1:] > 10).all()


def bdd_map(path):
    """Return the map and the segments of a BDD100K bitmask: R category, G attributes, B and A the instance; 0 void."""
    red, attributes, blue, alpha = np.array(Image.open(path)).astype(np.int64).transpose(2, 0, 1)
    ids = np.where(red > 0, 65536 * red + 256 * blue + alpha, 0)
    present, first = np.unique(ids, return_index=True)
    first, present = first[present > 0], present[present > 0]
    return ids, Segments.of(present, present // 65536, crowd=attributes.flat[first] & 2 > 0)


@pytest.mark.parametrize("part", ["gt", "gt+"])
def test_bdd100k(tmp_path, part):
    root = DATA / "bdd100k" / "pan_seg"
    pairs = []
    for path in sorted((root / "pred").glob("*.png")):
        prediction, segments = bdd_map(path)
        pairs.append((*bdd_map(root / part / path.name), prediction, Segments.of(segments.ids, segments.categories)))
    assert len(pairs) == 2
    iou, tp, fp, fn = agree(tmp_path, pairs, 42)
    assert min(iou, tp) > 10
    assert min(fp, fn) > 0
