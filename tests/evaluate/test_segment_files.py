"""Files of segments: COCO panoptic files against the official tool, instance ids against pycocotools, bad input."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
import tifffile
from instance_tools import pycocotools_ap
from panoptic_pairs import THINGS, N, annotation, drawn_pair, official, rgb
from PIL import Image

from maskwright.artifacts import read_json, write_json
from maskwright.errors import DataError, UsageError
from maskwright.evaluate import evaluate_folders
from maskwright.metrics import Segments, overlap_table, symmetric_best_dice
from maskwright.metrics.segments import segment_overlaps
from maskwright.recipe.predict import EvaluateSpec

QUICK = EvaluateSpec(samples=100)
SEGMENTS = EvaluateSpec(samples=100, families=("panoptic", "instances"))


def write_files(folder, pairs):
    """Write t.json and p.json with their PNGs; the prediction lists no categories, as COCO's results don't."""
    listed = [{"id": 10 + c, "name": f"c{c}", "isthing": int(c in THINGS)} for c in range(N)]
    trees = {"t": {"categories": listed, "annotations": []}, "p": {"annotations": []}}
    for number, (truth, true, prediction, found) in enumerate(pairs):
        for part, ids, segments in (("t", truth, true), ("p", prediction, found)):
            (folder / part).mkdir(exist_ok=True)
            Image.fromarray(rgb(ids)).save(folder / part / f"{number}.png")
            item = annotation(f"{number}.png", segments, ids)
            for segment in item["segments_info"]:
                segment["category_id"] += 10
            trees[part]["annotations"].append(item | {"image_id": number})
    for part, tree in trees.items():
        (folder / f"{part}.json").write_text(json.dumps(tree))
    return folder / "p.json", folder / "t.json"


def values(found):
    return {name: score["value"] for name, score in found.scores.items()}


def test_panoptic_files_are_scored_as_the_official_tool_does(tmp_path):
    pairs = [drawn_pair(seed) for seed in range(40)]
    found = evaluate_folders(*write_files(tmp_path, pairs), spec=SEGMENTS)
    (tmp_path / "o").mkdir()
    counts, tool, stat, categories = official(tmp_path / "o", pairs)
    averages = tool.average_pq(stat, categories)
    scores = values(found)
    for part, suffix in (("All", ""), ("Things", "_things"), ("Stuff", "_stuff")):
        for name in ("pq", "sq", "rq"):
            assert scores[f"{name}{suffix}"] == pytest.approx(averages[part][name], abs=1e-9)
    for c in range(N):
        assert scores[f"pq/c{c}"] == pytest.approx(counts[0, c] / (counts[1:, c] @ [1, 0.5, 0.5]), abs=1e-9)
    sums = found.per_image.group_by("category").agg(pl.col("^segments_.*$").sum()).sort("category")
    assert np.allclose(sums.select("segments_iou", "segments_tp", "segments_fp", "segments_fn").to_numpy().T, counts)


def test_things_with_scores_have_an_ap_whatever_stuff_has(tmp_path):
    rng, pairs = np.random.default_rng(0), [drawn_pair(seed) for seed in range(30)]
    prediction, truth = write_files(tmp_path, pairs)
    assert "ap" not in values(evaluate_folders(prediction, truth, spec=SEGMENTS))
    tree, ranked = read_json(prediction), []
    for (*_, ids, segments), item in zip(pairs, tree["annotations"], strict=True):
        scores = rng.permutation(len(segments.ids)) / 64
        for row, score in zip(item["segments_info"], scores, strict=True):
            row |= {"score": score} if row["category_id"] - 10 in THINGS else {}
        ranked.append((ids, Segments.of(segments.ids, segments.categories, scores=scores)))
    write_json(prediction, tree)
    found = values(evaluate_folders(prediction, truth, spec=SEGMENTS))
    expected = pycocotools_ap([(one, segments) for one, segments, *_ in pairs], ranked, set(THINGS))
    assert (found["ap"], found["ap50"]) == pytest.approx(expected, abs=1e-9)
    del next(row for row in tree["annotations"][0]["segments_info"] if "score" in row)["score"]
    write_json(prediction, tree)
    with pytest.raises(DataError, match=r"none in 1 of 30: 0"):
        evaluate_folders(prediction, truth, spec=SEGMENTS)


def test_pixels_come_from_the_same_table(tmp_path):
    """The overlap table of the categories is that of the maps of categories; void isn't counted."""
    pairs = [drawn_pair(seed) for seed in range(6)]
    found = evaluate_folders(*write_files(tmp_path, pairs), spec=QUICK)
    expected = 0
    for truth, true, prediction, segments in pairs:
        maps = []
        for ids, own in ((truth, true), (prediction, segments)):
            of = dict(zip(own.ids.tolist(), own.categories.tolist(), strict=True)) | {0: 255}
            maps.append(np.vectorize(of.__getitem__)(ids).astype(np.uint8))
        expected = expected + overlap_table(*maps, N)
    assert found.confusion == expected.tolist()


def instances(seed, size=(50, 64)):
    rng = np.random.default_rng(seed)
    truth, prediction = np.zeros((2, *size), np.int64)
    for number in range(1, int(rng.integers(1, 9))):
        y, x = rng.integers(0, 40, 2)
        height, width = rng.integers(6, 24, 2)
        truth[y : y + height, x : x + width] = number * 70_000  # above 65 535: as RGB
        y, x = y + rng.integers(-2, 3), x + rng.integers(-2, 3)
        if rng.random() < 0.9:
            prediction[max(y, 0) : y + height, max(x, 0) : x + width] = number
    return truth, prediction


@pytest.fixture
def id_folders(tmp_path):
    scenes = [instances(seed) for seed in range(12)]
    for part in "tp":
        (tmp_path / part).mkdir()
    for number, (truth, prediction) in enumerate(scenes):
        Image.fromarray(rgb(truth)).save(tmp_path / "t" / f"i{number:02d}.png")
        Image.fromarray(prediction.astype(np.uint16)).save(tmp_path / "p" / f"i{number:02d}.png")
    return tmp_path / "p", tmp_path / "t", scenes


def listed_instances(ids, image, scores):
    """Return (ids, segments) of one category with the scores of (image, id), 0 where there is none."""
    present = np.unique(ids[ids > 0])
    return ids, Segments.of(present, 1, scores=[scores.get((image, n), 0) for n in present.tolist()])


def test_instance_ids_with_scores_have_the_ap_of_pycocotools(id_folders):
    p, t, scenes = id_folders
    rng = np.random.default_rng(0)
    scores = {(k, n): rng.integers(1, 9) / 8 for k, (_, one) in enumerate(scenes) for n in np.unique(one[one > 0])}
    rows = [f"i{k:02d},{n},{score}" for (k, n), score in scores.items()]
    (p / "segments.csv").write_text("\n".join(["name,id,score", *rows]))
    found = evaluate_folders(p, t, kind="instances", spec=QUICK)
    listed = [listed_instances(ids, k, scores) for k, scene in enumerate(scenes) for ids in scene]
    expected = pycocotools_ap(listed[::2], listed[1::2], {1})
    assert (found.scores["ap"]["value"], found.scores["ap50"]["value"]) == pytest.approx(expected, abs=1e-9)
    assert "COCO" in found.scores["ap"]["definition"]
    assert found.scores["ap"]["low"] <= found.scores["ap"]["value"] <= found.scores["ap"]["high"]
    other = evaluate_folders(p, t, kind="instances", spec=EvaluateSpec(samples=100, ap_definition="cityscapes"))
    assert "Cityscapes" in other.scores["ap"]["definition"]
    assert other.scores["ap"]["value"] != found.scores["ap"]["value"]


def test_a_list_of_segments_beside_predictions_says_that_they_are_instances(id_folders):
    p, t, scenes = id_folders
    rows = [f"i{k:02d},{n}" for k, (_, one) in enumerate(scenes) for n in np.unique(one[one > 0])]
    (p / "segments.csv").write_text("\n".join(["name,id", *rows]))
    found, stated = (values(evaluate_folders(p, t, spec=QUICK, kind=kind)) for kind in (None, "instances"))
    assert found == pytest.approx(stated, nan_ok=True) and "pq" in found


@pytest.mark.parametrize("side", [0, 1])
def test_a_folder_above_that_of_ids_is_not_taken_for_it(id_folders, side):
    sides = list(id_folders[:2])
    above = sides[side].parent / "above"
    above.mkdir()
    sides[side].rename(above / "instances")
    sides[side] = above
    with pytest.raises(DataError, match=r"one that holds instances/(.|\n)*give .*above/instances"):
        evaluate_folders(*sides, kind="instances", spec=QUICK)


def test_panoptic_folders_without_masks_are_told(id_folders):
    (id_folders[1].parent / "data").mkdir()
    id_folders[1].rename(id_folders[1].parent / "data" / "instances")
    with pytest.raises(DataError, match="none, and instances/ without masks/"):
        evaluate_folders(id_folders[0], id_folders[1].parent / "data", kind="panoptic", spec=QUICK)


def test_instance_ids_without_scores_have_no_ap_but_the_rest(id_folders):
    p, t, scenes = id_folders
    found = evaluate_folders(p, t, kind="instances", spec=QUICK)
    scores = values(found)
    assert "ap" not in scores
    tables = [segment_overlaps(*scene) for scene in scenes]
    assert scores["sbd"] == pytest.approx(np.nanmean([symmetric_best_dice(table) for table in tables]))
    counts = [len(table.prediction_ids) - len(table.truth_ids) for table in tables]
    assert scores["count_difference"] == pytest.approx(np.mean(np.abs(counts)))
    right = fall = 0  # precision at IoU .5, by loops over all pairs
    for truth, prediction in scenes:
        for number in np.unique(prediction[prediction > 0]):
            mask, best = prediction == number, 0.0
            for other in np.unique(truth[truth > 0]):
                best = max(best, ((truth == other) & mask).sum() / ((truth == other) | mask).sum())
            right, fall = right + (best > 0.5), fall + 1
    assert scores["precision_at_iou_50"] == pytest.approx(right / fall)
    inside = [((t > 0) & (p > 0)).sum() / ((t > 0) | (p > 0)).sum() for t, p in scenes if (t > 0).any()]
    assert scores["mean_iou"] == pytest.approx(np.mean(inside))  # pixels, the background left out
    assert sum(map(sum, found.confusion)) == sum(t.size for t, _ in scenes)


def test_ignored_ids_are_void(tmp_path):
    """Truth 1, 2 and void 65535; the prediction 7 lies on 1 and, for the rest, on void: TP with IoU 1."""
    for part, ids in (("t", [[1, 1, 65535, 2]]), ("p", [[7, 7, 7, 8]])):
        (tmp_path / part).mkdir()
        Image.fromarray(np.array(ids, np.uint16)).save(tmp_path / part / "a.png")
    found = evaluate_folders(tmp_path / "p", tmp_path / "t", kind="instances", ignore=[65535], spec=QUICK)
    assert found.scores["pq"]["value"] == 1
    assert found.confusion == [[0, 0, 0], [0, 3, 0]]


def test_categories_and_crowds_of_ids(tmp_path):
    """cells 1 (crowd) and 2, a vein 3: the prediction 5 on the crowd is left out, 6 is the vein, 2 is missed."""
    for part, ids in (("t", [[1, 1, 2, 3, 0]]), ("p", [[5, 5, 0, 6, 0]])):
        (tmp_path / part).mkdir()
        Image.fromarray(np.array(ids, np.uint8)).save(tmp_path / part / "a.png")
    (tmp_path / "t" / "segments.csv").write_text("name,id,category,crowd\na,1,cell,1\na,2,cell,0\na,3,vein,0\n")
    (tmp_path / "p" / "segments.csv").write_text("name,id,category\na,5,cell\na,6,vein\n")
    found = evaluate_folders(tmp_path / "p", tmp_path / "t", kind="instances", spec=QUICK)
    assert found.categories == ["background", "cell", "vein"]
    assert (found.scores["pq/cell"]["value"], found.scores["pq/vein"]["value"]) == (0, 1)
    row = found.per_image.filter(pl.col("category") == "cell").row(0, named=True)
    assert (row["segments_tp"], row["segments_fp"], row["segments_fn"]) == (0, 0, 1)
    (tmp_path / "p" / "segments.csv").unlink()
    with pytest.raises(DataError, match="what each id is: cell, vein"):
        evaluate_folders(tmp_path / "p", tmp_path / "t", kind="instances", spec=QUICK)


def changed(folder, part, change):
    path = folder / f"{part}.json"
    tree = json.loads(path.read_text())
    change(tree)
    path.write_text(json.dumps(tree))


def drop_first(tree):
    del tree["annotations"][0]["segments_info"][0]


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("t", drop_first, r"every id of the truth to be listed"),
        ("p", drop_first, r"every id of the prediction to be listed"),
        ("t", lambda tree: tree["annotations"][0]["segments_info"][0].update(area=1), "agrees with the PNG"),
        ("p", lambda tree: tree["annotations"][0]["segments_info"][0].update(category_id=99), "which is not listed"),
        ("p", lambda tree: tree["annotations"].pop(), r"none for 1: 1"),
        ("p", lambda tree: tree["annotations"].append(tree["annotations"][0]), "listed twice"),
        ("p", lambda tree: tree["annotations"][0].update(file_name="../x.png"), "inside the data folder"),
        ("p", lambda tree: tree["annotations"][0].update(file_name="gone.png"), "nowhere in the folder"),
        ("t", lambda tree: tree.update(categories=[]), "lists no categories"),
        ("p", lambda tree: tree.update(categories=[{"id": 10, "name": "cow"}]), "category 10 is cow here and c0"),
        ("p", lambda tree: tree["annotations"][0]["segments_info"][0].update(score="high"), "a number as score"),
    ],
)
def test_panoptic_files_that_are_not_consistent(tmp_path, part, change, message):
    files = write_files(tmp_path, [drawn_pair(3), drawn_pair(4)])
    changed(tmp_path, part, change)
    with pytest.raises(DataError, match=message):
        evaluate_folders(*files, spec=QUICK)


def test_what_is_a_thing_to_one_file_and_stuff_to_the_other(tmp_path):
    files = write_files(tmp_path, [drawn_pair(3)])
    listed = [{key: value for key, value in c.items() if key != "isthing"} for c in read_json(files[1])["categories"]]
    tree = read_json(files[0])
    write_json(files[0], tree | {"categories": listed})
    evaluate_folders(*files, spec=QUICK)  # nothing said, nothing wrong
    for category in listed:
        category["isthing"] = 1
    write_json(files[0], tree | {"categories": listed})
    with pytest.raises(DataError, match="is a thing here and stuff in the truth"):
        evaluate_folders(*files, spec=QUICK)


@pytest.mark.parametrize("option", [{"classes": "binary"}, {"ignore": [255]}, {"images": "images"}])
def test_options_of_label_files_are_refused(tmp_path, option):
    files = write_files(tmp_path, [drawn_pair(3)])
    with pytest.raises(UsageError, match=f"--{next(iter(option))}"):
        evaluate_folders(*files, spec=QUICK, **option)


def test_the_only_file_of_a_folder_is_found_and_two_are_named(tmp_path):
    pairs = [drawn_pair(3)]
    for part in ("one", "two"):
        (tmp_path / part).mkdir()
        write_files(tmp_path / part, pairs)
    tree = json.loads((tmp_path / "one" / "t.json").read_text())
    tree["images"] = [{"id": 0, "file_name": "0.jpg"}]
    (tmp_path / "one" / "t.json").write_text(json.dumps(tree))
    found = evaluate_folders(tmp_path / "one" / "t.json", tmp_path / "one", spec=QUICK)
    assert found.scores["pq"]["value"] == 1
    (tmp_path / "one" / "u.json").write_text(json.dumps(tree))
    with pytest.raises(DataError, match=r"t\.json, u\.json"):
        evaluate_folders(tmp_path / "one" / "t.json", tmp_path / "one", spec=QUICK)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,score\ni00,1\n", "KeyError"),
        ("name,id\ni00,x\n", "line 2"),
        ("name,id,crowd\ni00,1,maybe\n", "neither 0 nor 1"),
        ("name,id,score\ni00,1,inf\n", "a finite score"),
        ("name,id,category\ni00,1,cow\n", "object"),
        ("name,id\ni00,77\n", "to be listed"),
    ],
)
def test_tables_of_segments_that_cannot_be_read(id_folders, text, message):
    p, t, _ = id_folders
    (p / "segments.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        evaluate_folders(p, t, kind="instances", spec=QUICK)


def test_scores_in_some_images_only_are_refused(id_folders):
    p, t, scenes = id_folders
    rows = [f"i{k:02d},{n},{0.5 if k else ''}" for k, (_, one) in enumerate(scenes) for n in np.unique(one[one > 0])]
    (p / "segments.csv").write_text("\n".join(["name,id,score", *rows]))
    with pytest.raises(DataError, match=r"scores for the predicted instances of all images(.|\n)*i00"):
        evaluate_folders(p, t, kind="instances", spec=QUICK)


def test_sizes_that_differ(id_folders):
    p, t, _ = id_folders
    Image.fromarray(np.zeros((5, 6), np.uint16)).save(p / "i03.png")
    with pytest.raises(DataError, match="truth's size 64×50, got 6×5"):
        evaluate_folders(p, t, kind="instances", spec=QUICK)


@pytest.mark.parametrize("largest", [2**31, 3_000_000_000])
def test_ids_that_no_table_holds(id_folders, largest):
    p, t, _ = id_folders
    ids = np.zeros((50, 64), np.uint32)
    ids[3:6, 3:6] = largest
    (p / "i03.png").unlink()
    tifffile.imwrite(p / "i03.tif", ids)
    with pytest.raises(DataError, match=r"ids from (0|1) to 2147483647(.|\n)*i03"):
        evaluate_folders(p, t, kind="instances", spec=QUICK)


def test_groups_are_resampled_together(id_folders):
    p, t, _ = id_folders
    plain = evaluate_folders(p, t, kind="instances", spec=QUICK).scores["pq"]
    pairs = evaluate_folders(p, t, kind="instances", spec=QUICK, group_regex="i(.)")  # i0… and i1…: two groups
    assert pairs.per_image["group"].unique().sort().to_list() == ["0", "1"]
    assert pairs.scores["pq"]["value"] == plain["value"]
    assert pairs.scores["pq"]["low"] != plain["low"]
    rows = [f"i{k:02d},{'ab'[k % 2]}" for k in range(12)]
    (t.parent / "meta.csv").write_text("\n".join(["name,patient", *rows]))
    assert evaluate_folders(p, t, kind="instances", spec=QUICK, group="patient").per_image["group"][0] == "a"
    for options, error in (
        ({"group": "doctor"}, DataError),
        ({"group_regex": "x"}, DataError),
        ({"group_regex": "("}, UsageError),
        ({"group_regex": "i", "group": "patient"}, UsageError),
    ):
        with pytest.raises(error):
            evaluate_folders(p, t, kind="instances", spec=QUICK, **options)


def test_the_parts_add_up_to_the_whole(tmp_path):
    scenes = [drawn_pair(seed) for seed in (3, 4, 5)]
    whole = evaluate_folders(*write_files(tmp_path, scenes), spec=SEGMENTS)
    single = []
    for number, pair in enumerate(scenes):
        (tmp_path / str(number)).mkdir()
        single.append(evaluate_folders(*write_files(tmp_path / str(number), [pair]), spec=SEGMENTS))
    columns = ["tp", "fp", "fn", "segments_iou", "segments_tp", "segments_fp", "segments_fn"]
    both = pl.concat([one.per_image.select(columns) for one in single])
    assert both.equals(whole.per_image.select(columns))


def write_layers(folder, labels, ids):
    for part, array in (("masks", np.array(labels, np.uint8)), ("instances", np.array(ids, np.uint16))):
        (folder / part).mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(folder / part / "a.png")


CLASSES = {"categories": [{"id": 0, "name": "soil"}, {"id": 1, "name": "rock", "isthing": True}], "ignore": 255}


def test_masks_and_instances_are_panoptic(tmp_path):
    """Soil 3 of 4 pixels found: IoU 3 / 4. Rock 7 is found whole; of rock 8 one pixel of two; the crowd's isn't wrong.

    truth:      soil soil soil soil | rock 7 7 | rock 8 8 | rock without number (a crowd) | ignored
    prediction: soil soil soil rock 4 | 5 5 | 6 soil | 9 | soil
    """
    write_layers(tmp_path / "t", [[0, 0, 0, 0, 1, 1, 1, 1, 1, 255]], [[0, 0, 0, 0, 7, 7, 8, 8, 0, 0]])
    write_layers(tmp_path / "p", [[0, 0, 0, 1, 1, 1, 1, 0, 1, 0]], [[0, 0, 0, 4, 5, 5, 6, 0, 9, 0]])
    (tmp_path / "t" / "classes.json").write_text(json.dumps(CLASSES))
    found = evaluate_folders(tmp_path / "p", tmp_path / "t", spec=QUICK)
    # soil: 3 shared, truth 4, prediction 5 less 1 on void: union 4 + 4 - 3 = 5, IoU .6
    # rock: 5 with 7 has IoU 1; 6 with 8 has 1 / 2, which is no match: FP and FN; 4 is FP; 9 is on the crowd
    assert found.scores["pq/soil"]["value"] == pytest.approx(0.6)
    assert found.scores["pq/rock"]["value"] == pytest.approx(1 / (1 + 0.5 * 2 + 0.5 * 1))
    assert found.scores["pq_things"]["value"] == found.scores["pq/rock"]["value"]
    assert found.confusion == [[3, 1, 0], [1, 4, 0]]
    assert found.scores["count_difference"]["value"] == 3 - 2  # a crowd is no instance, nor what lies on it
    (tmp_path / "p" / "instances" / "a.png").rename(tmp_path / "p" / "instances" / "b.png")
    with pytest.raises(DataError, match="none for 1: a"):
        evaluate_folders(tmp_path / "p", tmp_path / "t", spec=QUICK)
    (tmp_path / "t" / "instances" / "a.png").rename(tmp_path / "t" / "instances" / "b.png")
    with pytest.raises(DataError, match=r"2 in one of them only: a, b"):
        evaluate_folders(tmp_path / "p", tmp_path / "t", spec=QUICK)
