"""One image measured with its objects is what `evaluate` makes of the files, and what counts by hand."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from maskwright.evaluate import Overlaps, evaluate_folders, summarise
from maskwright.instances.files import ObjectFiles
from maskwright.instances.measuring import measure_objects
from maskwright.instances.telling import to_panoptic
from maskwright.recipe.instances import InstancesSpec
from maskwright.recipe.predict import EvaluateSpec
from maskwright.types import IGNORE, Categories, Category

SPEC = EvaluateSpec(families=("panoptic", "instances"), samples=100)
NUCLEI = Categories(
    (Category(0, "background", values=(0,)), Category(1, "foreground", isthing=True, values="rest")),
    frozenset({"background"}),
)
STREET = Categories((Category(0, "road"), Category(1, "car", isthing=True), Category(2, "person", isthing=True)))


def squares(places, size=(32, 48), side=6):
    ids = np.zeros(size, np.int32)
    for number, (top, left) in enumerate(places, 1):
        ids[top : top + side, left : left + side] = number
    return ids


def likely(label, count, sure=0.9):
    return np.where(np.arange(count)[:, None, None] == label, sure, (1 - sure) / (count - 1)).astype(np.float32)


def scores(pairs, categories, *, stuff):
    """Return {metric: value} of (truth, objects, label, ids) of some images."""
    overlaps, things = Overlaps(categories, SPEC), [p for p, c in enumerate(categories.items) if c.isthing]
    for number, (truth, objects, label, ids) in enumerate(pairs):
        probabilities = likely(label, len(categories))
        found = to_panoptic(label, ids, probabilities, things, InstancesSpec())
        name = f"images/{number}.png"
        overlaps.put(name, measure_objects(truth, objects, label, found, categories, SPEC, stuff=stuff, where=name))
    return {name: score["value"] for name, score in summarise(overlaps, SPEC).items()}


def test_instances_of_one_class_by_hand():
    """Three true objects; one found whole, one shifted by 2 of 6 columns, one missed; one false.

    The shifted one has an IoU of 24 / 48 = ½, which is no match for PQ (more than ½ is), and one for AP50 of COCO (at
    least ½). PQ: TP 1, FP 2, FN 2: 1 / (1 + 1 + 1) = ⅓; SQ 1, RQ ⅓.
    """
    true = squares([(2, 2), (2, 20), (20, 30)])
    ids = squares([(2, 2), (2, 22), (20, 5)])
    label, truth = (ids > 0).astype(np.uint8), (true > 0).astype(np.uint8)
    found = scores([(truth, true, label, ids)], NUCLEI, stuff=False)
    assert [found[k] for k in ("pq", "sq", "rq", "pq_dagger")] == pytest.approx([1 / 3, 1, 1 / 3, 1 / 3])
    assert found["count_difference"] == 0
    assert found["pq/foreground"] == found["pq"]  # the background has none
    assert found["mean_dice"] == pytest.approx(2 * (36 + 24) / (108 + 108))
    # ranks: all score .9: matched, matched, false of three at .5: AP50 is 2/3 of recall at a precision of 2/3 or more
    assert 0.6 < found["ap50"] < 0.7


@pytest.mark.parametrize("stuff", [False, True])
def test_the_truth_itself_is_perfect_and_nobody_is_punished_where_nobody_drew(stuff):
    true = squares([(2, 2), (2, 8), (20, 30)])
    truth = (true > 0).astype(np.uint8)
    truth[28:] = IGNORE
    drawn = np.where(true == 3, 0, true)  # the third is labelled, and has no id
    label = truth % 255
    found = scores([(truth, drawn, label, true)], STREET if stuff else NUCLEI, stuff=stuff)
    assert [found[k] for k in ("pq", "sq", "rq", "ap")] == pytest.approx([1, 1, 1, 1])
    assert ("pq/road" in found) == stuff


@pytest.mark.parametrize("empty", ["truth", "prediction", "both"])
def test_images_without_objects(empty):
    true = squares([] if empty in ("truth", "both") else [(2, 2)])
    ids = squares([] if empty in ("prediction", "both") else [(2, 2)])
    found = scores([((true > 0).astype(np.uint8), true, (ids > 0).astype(np.uint8), ids)], NUCLEI, stuff=False)
    values = np.array([found["pq"], found["ap"]], float)
    assert np.isnan(values).all() if empty == "both" else (values == 0).all()


def test_an_image_without_instance_map_is_one_group_of_each_thing():
    truth = np.zeros((32, 48), np.uint8)
    truth[2:8, 2:20], truth[20:26, 4:10] = 1, 2
    ids = squares([(2, 2), (2, 8), (20, 4)])
    label = np.zeros_like(truth)
    label[2:8, 2:14], label[20:26, 4:10] = 1, 2
    found = scores([(truth, None, label, ids)], STREET, stuff=True)
    # predictions that lie on the group of their category are neither right nor wrong; road: 1332 of 1404 shared
    road, shared = int((truth == 0).sum()), int(((truth == 0) & (label == 0)).sum())
    union = int((label == 0).sum()) + road - shared
    assert found["pq"] == pytest.approx(shared / union)
    assert np.isnan(found["pq/car"]) and np.isnan(found["pq/person"])


@pytest.mark.parametrize("stuff", [False, True])
@pytest.mark.parametrize("drawn", ["no map", "zeros"])
def test_an_image_whose_objects_nobody_numbered_has_no_count_and_no_best_dice(stuff, drawn):
    true = squares([(2, 2), (2, 8), (20, 30)])
    truth = (true > 0).astype(np.uint8)
    nobody = None if drawn == "no map" else np.zeros_like(true)
    empty = np.zeros_like(true)
    one = squares([(2, 2)])
    categories = Categories(STREET.items[:2]) if stuff else NUCLEI
    pairs = [
        (truth, nobody, (one > 0).astype(np.uint8), one),
        (truth, true, truth, true),
        (empty.astype(np.uint8), empty, (one > 0).astype(np.uint8), one),  # none are there, which is known
    ]
    found = scores(pairs, categories, stuff=stuff)
    assert found["sbd"] == pytest.approx((1 + 0) / 2)
    assert found["count_difference"] == pytest.approx((0 + 1) / 2)


@pytest.mark.parametrize("stuff", [False, True])
def test_the_files_have_the_scores_of_the_maps(tmp_path, stuff):
    """Written, then read by `evaluate`: PNG, segments.csv and panoptic.json hold all that the scores are made of."""
    rng, categories = np.random.default_rng(0), STREET if stuff else NUCLEI
    things, pairs = [p for p, c in enumerate(categories.items) if c.isthing], []
    writers = [ObjectFiles(tmp_path / part, categories) for part in ("found", "true")]
    for number in range(4):
        places = [(int(y) * 8 + 1, int(x) * 8 + 1) for y, x in np.argwhere(rng.random((4, 6)) < 0.5)]
        true = squares(places)
        ids = np.roll(squares([p for p in places if rng.random() < 0.8]), int(rng.integers(0, 3)), 1)
        kind = 1 + (np.arange(30) % len(things))
        truth, label = (np.where(one > 0, kind[one], 0).astype(np.uint8) for one in (true, ids))
        pairs.append((truth, true, label, ids))
        for writer, (marked, objects) in zip(writers, ((label, ids), (truth, true)), strict=True):
            probabilities = likely(marked, len(categories))
            writer.write(f"{number}", to_panoptic(marked, objects, probabilities, things, InstancesSpec()))
    for writer in writers:
        writer.gather([f"{n}" for n in range(4)])
    expected = scores(pairs, categories, stuff=stuff)
    if stuff:
        files = [tmp_path / part / "panoptic.json" for part in ("found", "true")]
        found = evaluate_folders(*files, spec=SPEC).scores
    else:
        found = evaluate_folders(
            tmp_path / "found" / "instances", tmp_path / "true" / "instances", kind="instances", spec=SPEC
        ).scores
    for name in ("pq", "sq", "rq", "pq_dagger", *(("ap", "ap50", "sbd") if not stuff else ())):
        assert found[name]["value"] == pytest.approx(expected[name]), name
    assert 0.2 < expected["pq"] < 1


def test_what_was_cut_short_is_gathered_all_the_same(tmp_path):
    ids = squares([(2, 2)])
    label = (ids > 0).astype(np.uint8)
    told = to_panoptic(label, ids, likely(label, 2), [1], InstancesSpec())
    first = ObjectFiles(tmp_path, NUCLEI)
    first.write("a", told)
    with open(first.log, "ab") as file:
        file.write(b'["b", {"file_na')  # a killed process
    second = ObjectFiles(tmp_path, NUCLEI)
    second.write("b", told)
    second.gather(["a", "b", "c"])
    rows = (tmp_path / "instances" / "segments.csv").read_text().splitlines()
    assert [row.split(",")[:3] for row in rows] == [
        ["name", "id", "category"],
        ["a", "1", "foreground"],
        ["b", "1", "foreground"],
    ]


def test_processes_that_share_a_folder_list_what_all_have_gathered(tmp_path):
    def told(count):
        ids = squares([(2, 2), (2, 20)][:count])
        label = (ids > 0).astype(np.uint8)
        return to_panoptic(label, ids, likely(label, 2), [1], InstancesSpec())

    def share(number):
        files = ObjectFiles(tmp_path / "out", NUCLEI, tmp_path / "out" / ".shards" / f"{number}-of-3")
        for name in names[number::3]:
            files.write(name, told(1 + len(name) % 2))
        files.gather(names[number::3])

    names = sorted(("b/c", "b c", "b-1", "b-c", "b", *("a" * n for n in range(1, 8))))
    whole = ObjectFiles(tmp_path / "whole", NUCLEI)
    for name in names:
        whole.write(name, told(1 + len(name) % 2))
    whole.gather(names)
    share(1)
    found = {entry["file_name"] for entry in json.loads((tmp_path / "out" / "panoptic.json").read_text())["images"]}
    assert found == {f"{name}.png" for name in names[1::3]}
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(share, (0, 2)))
    for path in ("panoptic.json", "instances/segments.csv"):
        assert (tmp_path / "out" / path).read_text() == (tmp_path / "whole" / path).read_text()
    other = Categories((Category(0, "background"), Category(7, "cell", isthing=True)))
    anew = ObjectFiles(tmp_path / "out", other, tmp_path / "out" / ".shards" / "1-of-3")
    anew.write(names[1], told(1))
    anew.gather(names[1:2])  # what other networks found stands no longer there
    rows = (tmp_path / "out" / "instances" / "segments.csv").read_text().splitlines()
    assert [row.split(",")[:3] for row in rows[1:]] == [[names[1], "1", "cell"]]


def test_a_log_of_notes_that_were_overtaken_is_written_anew(tmp_path):
    small, large = (
        to_panoptic((i > 0).astype(np.uint8), i, likely((i > 0).astype(np.uint8), 2), [1], InstancesSpec())
        for i in (squares([(2, 2)]), squares([(2, 2), (2, 20)]))
    )
    files = ObjectFiles(tmp_path, NUCLEI)
    for told in (small, small, small, large):
        for name in ("b", "a"):
            files.write(name, told)
    assert len(files.log.read_bytes().splitlines()) == 8
    files.gather(["a", "b"])
    assert len(files.log.read_bytes().splitlines()) == 2
    tree = json.loads((tmp_path / "panoptic.json").read_text())
    assert [entry["file_name"] for entry in tree["images"]] == ["a.png", "b.png"]
    assert [len(entry["segments_info"]) for entry in tree["annotations"]] == [3, 3]  # two objects and the background
    assert tree["categories"][1]["isthing"] == 1
    files.gather([])
    assert json.loads((tmp_path / "panoptic.json").read_text())["images"] == []


def test_pixels_of_things_in_no_object_are_counted():
    """Of 36 pixels of a square, 6 are of no object: one column that is void."""
    ids = squares([(2, 2)])
    label = (ids > 0).astype(np.uint8)
    told = to_panoptic(label, ids, likely(label, 2), [1], InstancesSpec())
    told.ids[2:8, 2] = 0
    measured = measure_objects(label, ids, label, told, NUCLEI, SPEC, stuff=False, where="a")
    assert measured.columns["thing_pixels"].tolist() == [0, 36]
    assert measured.columns["loose_pixels"].tolist() == [0, 6]
