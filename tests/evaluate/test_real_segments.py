"""Real panoptic maps (COCO, BDD100K), written as files and scored by the command: the official tools agree."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from instance_tools import pycocotools_ap
from panoptic_pairs import annotation, rgb
from PIL import Image
from test_panoptic_real import bdd_map, coco_truth, disturbed

from maskwright.cli import main
from maskwright.metrics import Segments

DATA = Path(os.environ.get("MASKWRIGHT_DATA", "/nonexistent")) / "fixtures"
pytestmark = [
    pytest.mark.realdata,
    pytest.mark.skipif(not DATA.is_dir(), reason="MASKWRIGHT_DATA names no folder with fixtures"),
]


def scored(folder, pairs, n, things, capsys):
    """Return what the command says of the pairs' files, and what cityscapesScripts' evalPanoptic… says."""
    words, both, listed = written(folder, pairs, n, things)
    tool = importlib.import_module("cityscapesscripts.evaluation.evalPanopticSemanticLabeling")
    with contextlib.redirect_stdout(io.StringIO()):
        stat = tool.pq_compute_single_core(0, both, folder / "t", folder / "p", listed)
    assert main([*words, "--families", "panoptic", "--json"]) == 0
    return json.loads(capsys.readouterr().out), tool.average_pq(stat, listed)


def written(folder, pairs, n, things):
    """Write the files; return the command on them, their annotations and categories."""
    categories = [{"id": c, "name": f"c{c}", "isthing": int(c in things)} for c in range(n)]
    trees = {"t": {"categories": categories, "annotations": []}, "p": {"annotations": []}}
    for number, (truth, true, prediction, found) in enumerate(pairs):
        for part, ids, segments in (("t", truth, true), ("p", prediction, found)):
            (folder / part).mkdir(exist_ok=True)
            Image.fromarray(rgb(ids)).save(folder / part / f"{number}.png")
            trees[part]["annotations"].append(annotation(f"{number}.png", segments, ids))
    for part, tree in trees.items():
        (folder / f"{part}.json").write_text(json.dumps(tree))
    both = list(zip(trees["t"]["annotations"], trees["p"]["annotations"], strict=True))
    return ["evaluate", str(folder / "p.json"), str(folder / "t.json")], both, {c["id"]: c for c in categories}


def agree(found, expected):
    for part, suffix in (("All", ""), ("Things", "_things"), ("Stuff", "_stuff")):
        for name in ("pq", "sq", "rq"):
            assert found[f"{name}{suffix}"]["value"] == pytest.approx(expected[part][name], abs=1e-9), (name, part)
    assert 0.05 < found["pq"]["value"] < 0.95
    assert found["pq"]["low"] <= found["pq"]["value"] <= found["pq"]["high"]


def test_coco_panoptic(tmp_path, capsys):
    rng, truths = np.random.default_rng(0), list(coco_truth())
    listed = json.loads((DATA / "coco_panoptic" / "panoptic_examples.json").read_text())["categories"]
    things = [position for position, category in enumerate(listed) if category["isthing"]]
    pairs = [(ids, truth, *disturbed(ids, truth, rng)) for ids, truth, _ in truths for _ in range(3)]
    agree(*scored(tmp_path, pairs, len(listed), things, capsys))


def test_ap_of_coco_s_things_is_that_of_pycocotools(tmp_path, capsys):
    rng, truths = np.random.default_rng(1), list(coco_truth())
    listed = json.loads((DATA / "coco_panoptic" / "panoptic_examples.json").read_text())["categories"]
    things = [position for position, category in enumerate(listed) if category["isthing"]]
    pairs = [(ids, truth, *disturbed(ids, truth, rng)) for ids, truth, _ in truths for _ in range(3)]
    words, *_ = written(tmp_path, pairs, len(listed), things)
    tree, found = json.loads((tmp_path / "p.json").read_text()), []
    for (*_, prediction, segments), item in zip(pairs, tree["annotations"], strict=True):
        scores = (rng.integers(1, 20, len(segments)) / 20).tolist()  # ties
        for segment, score in zip(item["segments_info"], scores, strict=True):
            segment["score"] = score
        found.append((prediction, Segments.of(segments.ids, segments.categories, scores=scores)))
    (tmp_path / "p.json").write_text(json.dumps(tree))
    expected = pycocotools_ap([pair[:2] for pair in pairs], found, set(things))
    assert main([*words, "--families", "instances", "--absent", "skip", "--json"]) == 0
    ours = json.loads(capsys.readouterr().out)
    assert (ours["ap"]["value"], ours["ap50"]["value"]) == pytest.approx(expected, abs=1e-9)
    assert 0.05 < ours["ap"]["value"] < 0.95


@pytest.mark.parametrize("part", ["gt", "gt+"])
def test_bdd100k(tmp_path, capsys, part):
    root = DATA / "bdd100k" / "pan_seg"
    pairs = []
    for path in sorted((root / "pred").glob("*.png")):
        prediction, segments = bdd_map(path)
        pairs.append((*bdd_map(root / part / path.name), prediction, Segments.of(segments.ids, segments.categories)))
    agree(*scored(tmp_path, pairs, 42, range(31, 42), capsys))


def test_the_files_of_coco_as_they_are(capsys):
    place = str(DATA / "coco_panoptic" / "panoptic_examples.json")
    assert main(["evaluate", place, place, "--json", "--workers", "2"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["pq"]["value"] == found["pooled_miou"]["value"] == 1
    assert found["mean_hd95"]["value"] == 0
