"""Embeddings or shape: each thing by what finds it better out of fold, each fold by what the others say."""

from __future__ import annotations

import json
import math

import numpy as np
import polars as pl
import pytest

from maskwright.artifacts import RunFolder, read_json, write_table
from maskwright.data.index import SCHEMA, Index
from maskwright.data.store import ProbabilityStore
from maskwright.data.written import write_array
from maskwright.errors import RecipeError
from maskwright.instances.objectness import ObjectScores
from maskwright.instances.telling import to_panoptic
from maskwright.pipeline.object_ways import EMBEDDINGS, Ways, choose_ways, diameters
from maskwright.pipeline.sections import AFTERWARDS, of_objects
from maskwright.pipeline.tuning import tune_run
from maskwright.recipe import Recipe, apply_settings
from maskwright.recipe.data import DataSpec
from maskwright.recipe.instances import InstancesSpec
from maskwright.types import Categories, Category

NUCLEI = Categories(
    (Category(0, "background", values=(0,)), Category(1, "object", isthing=True, values="rest")),
    frozenset({"background"}),
)
BAR = np.s_[2:8, 2:40]


def discs():
    """Two discs of diameter 17 that touch."""
    rows, columns = np.mgrid[:24, :44]
    return sum(
        (number * (np.hypot(rows - 11, columns - centre) <= 8) for number, centre in ((1, 12), (2, 29))),
        np.zeros((24, 44), int),
    ).astype(np.uint8)


def dumbbell():
    """One object of two discs and a neck, which a shape alone gives no reason to leave whole."""
    one = (discs() > 0).astype(np.uint8)
    one[9:14, 12:30] = 1
    return one


def run_of(tmp_path, images):
    """Write images of which embeddings find each component as one object; `images` is name → (truth, fold)."""
    folder, rows = RunFolder(tmp_path / "run"), []
    store = ProbabilityStore(folder.store("oof", 0))
    (store.folder / "objects").mkdir(parents=True)
    for name, (truth, _) in images.items():
        for part in ("images", "instances"):
            (tmp_path / part).mkdir(exist_ok=True)
            write_array(tmp_path / part / f"{name}.png", truth)
        write_array(store.folder / "objects" / f"{name}.png", (truth > 0).astype(np.uint8))
        inside = np.where(truth > 0, 0.9, 0.1).astype(np.float32)
        store.write(name, np.stack([1 - inside, inside]))
        known = (f"images/{name}.png", None, f"instances/{name}.png", None, None, None, None, *truth.shape[::-1], 1)
        rows.append(known)
    index = Index(tmp_path, pl.DataFrame(rows, schema=SCHEMA, orient="row"), NUCLEI, "instances", tmp_path)
    folds = pl.DataFrame({"image": index.images, "group": index.images, "fold": [fold for _, fold in images.values()]})
    write_table(folder.folds, folds)
    return folder, index, folds


def spec_of(**fields):
    spec = Recipe(data=DataSpec(root=".", task="instances", target="instances")).model_dump(mode="json")
    spec["evaluate"] = {"empty": "nan", "absent": "zero", "samples": 100, "confidence": 0.95}
    return spec | {
        "metric": "mean_dice",
        "instances": InstancesSpec(score="agreement", **fields).model_dump(mode="json"),
    }


def test_what_finds_more_is_chosen_and_for_each_fold_by_the_others(tmp_path):
    run = run_of(tmp_path, {"a": (discs(), 0), "b": (discs(), 1), "c": (dumbbell(), 0)})
    found = choose_ways(*run, {}, spec_of(middles=(0.5, 4.0)))
    disc = int(np.count_nonzero(discs() == 1))
    diameter = math.sqrt(4 * disc / math.pi)  # the median of four equal discs and what is larger
    assert found["diameter"]["object"] == pytest.approx(diameter)
    near = round(diameter / 2)
    # embeddings: of 5 true objects the dumbbell alone, 2 blobs too many: 1 / (1 + ½ · (2 + 4)) = ¼; a watershed whose
    # middles are 4 diameters apart parts nothing, either; at half a diameter the discs are four, the dumbbell lost
    assert found["pq"][EMBEDDINGS]["object"] == pytest.approx(1 / 4)
    assert found["pq"]["shape 4"] == found["pq"][EMBEDDINGS]
    assert found["pq"]["shape 0.5"]["object"] > 0.6
    assert found["all"] == {"object": near}
    # fold 1 is judged by fold 0: discs and dumbbell; fold 0 by fold 1, the discs alone
    assert found["folds"] == {"0": {"object": near}, "1": {"object": near}}


def test_a_fold_has_no_say_in_its_own_way(tmp_path):
    folder, index, folds = run_of(tmp_path, {"a": (discs(), 0), "b": (dumbbell(), 1)})
    found = choose_ways(folder, index, folds, {}, spec_of(middles=(0.5,)))
    assert found["folds"]["0"] == {"object": None}  # by the dumbbell, which embeddings leave whole
    assert found["folds"]["1"]["object"] is not None
    ways = Ways.from_plain({"ways": found}, NUCLEI)
    assert ways.of(0) == {} and ways.of(1) == {1: found["folds"]["1"]["object"]} and ways.of(7) == ways.whole


def test_tuned_json_says_so_and_old_ones_mean_embeddings(tmp_path):
    folder, index, _ = run_of(tmp_path, {"a": (discs(), 0), "b": (discs(), 1)})
    index = Index(index.root, index.table.with_columns(twin_of=pl.lit(None, pl.String)), NUCLEI, "instances")
    spec = spec_of(middles=(0.5,))
    tune_run(folder, index, spec | {"postprocess": spec["postprocess"] | {"chain": []}})
    known = json.loads(folder.tuned.read_text())
    assert known["chain"] == [] and known["ways"]["all"]["object"] > 1
    tune_run(folder, index, spec_of(by="embeddings") | {"postprocess": spec["postprocess"] | {"chain": []}})
    assert "ways" not in read_json(folder.tuned)
    assert Ways.from_plain(read_json(folder.tuned), NUCLEI) == Ways({}, {})


def test_where_nothing_can_be_measured(tmp_path):
    folder, index, folds = run_of(tmp_path, {"a": (discs(), 0)})
    assert choose_ways(folder, index, folds, {}, spec_of()) == {}
    found = choose_ways(folder, index, folds, {}, spec_of(by="shape", middles=(0.1, 0.5, 0.9)))
    assert found["all"] == {"object": round(0.5 * diameters(index)[1])} and found["folds"] == {}


@pytest.mark.parametrize("middles", ["[]", "[0]", "[-1, 2]", "[0.5, 0.5]", "[.inf]"])
def test_distances_that_mean_nothing_are_refused(middles):
    with pytest.raises(RecipeError, match="middles"):
        apply_settings(Recipe(data=DataSpec(root=".")), [f"instances.middles={middles}"])


def test_things_by_embeddings_and_by_shape_in_one_image():
    """Of two things one is parted by its shape; what objectness leaves out is void, whatever parts the others."""
    label = np.zeros((24, 60), np.uint8)
    label[:, :44] = discs() > 0
    label[2:20, 46:52] = label[2:20, 54:60] = 2
    ids = np.zeros(label.shape, np.int32)
    ids[:, :44] = discs() > 0
    ids[2:20, 46:52], ids[2:20, 54:60] = 2, 3
    probabilities = np.stack([np.where(label == own, 0.8, 0.1) for own in range(3)]).astype(np.float32)
    known = ObjectScores(np.array([0.1, 0.9, 0.2]), 0.5)
    found = to_panoptic(label, ids, probabilities, [1, 2], InstancesSpec(), scores=known, middles={1: 8})
    assert sorted(found.segments.categories[found.segments.categories > 0].tolist()) == [1, 1, 2]
    # those that the shape parts have the mean probability, though the blob that embeddings found is unlikely
    scores = dict(zip(found.segments.ids.tolist(), found.segments.scores.tolist(), strict=True))
    assert [round(scores[int(found.ids[11, column])], 3) for column in (12, 29, 48)] == [0.8, 0.8, 0.9]
    assert found.ids[11, 12] != found.ids[11, 29]
    assert found.ids[11, 56] == 0


def test_a_thing_whose_objects_nobody_asked_for_is_not_parted(tmp_path):
    """`instances.only` reaches the stage: without it a shape would give the other things objects."""
    folder, index, folds = run_of(tmp_path, {"a": (discs(), 0), "b": (discs(), 1)})
    recipe = apply_settings(Recipe(data=DataSpec(root=".", task="instances")), ["instances.only=[other]"])
    known = of_objects(recipe, AFTERWARDS)["instances"]
    assert known["only"] == ["other"] and "only" not in of_objects(Recipe(data=recipe.data), AFTERWARDS)["instances"]
    spec = spec_of()
    assert choose_ways(folder, index, folds, {}, spec | {"instances": spec["instances"] | {"only": ["other"]}}) == {}
