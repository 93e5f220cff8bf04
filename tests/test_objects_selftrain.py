"""Rounds with objects by the real command line, made small: labels with ids, ledger, adoption by PQ, power cuts."""

from __future__ import annotations

import json
import os
import shutil

import cv2
import numpy as np
import polars as pl
import pytest

from maskwright.artifacts import RunFolder, read_folds, read_json, read_table
from maskwright.data.formats.files import name_of
from maskwright.data.images import read_ids
from maskwright.data.intensity import resize_label
from maskwright.data.store import ProbabilityStore
from maskwright.data.synthetic import make_playground
from maskwright.instances.store import read_objects
from maskwright.instances.telling import to_size
from maskwright.labels import components
from maskwright.pipeline import run as run_pipeline
from maskwright.predict import to_full_size
from maskwright.progress import listen
from maskwright.recipe import load_recipe
from test_objects_run import SMALL, PowerCutError, maskwright

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

PLAIN = {
    "selftrain.adopt": "always",
    "selftrain.method.pixels.value": "0.25",
    "selftrain.method.keep_soft": "true",
    "selftrain.method.objects": '{"objectness": null, "stable": null, "votes": "none"}',
    "postprocess.chain": "[]",
    "train.steps": "4",
    "train.validate_every": "2",
    "report.thumbnails": "1",
}


def command(data, out, **more):
    pairs = [f"--set={key}={value}" for key, value in (SMALL | PLAIN | more).items()]
    return ("selftrain", "--data", data, "--out", out, "--folds", 2, "--task", "panoptic", "--labelled", "2/3", *pairs)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("pool") / "data"
    make_playground(root, labelled=12, unlabelled=1, size=(40, 64), planted=False)
    return root


def blind(run, data):
    """Break the true maps of the pool, whose images have some, without a trace that a data folder is compared by."""
    folds = read_folds(run / "folds.csv").drop_nulls("fold")["image"]
    for path in sorted((data / "images").iterdir()):
        if f"images/{path.name}" not in set(folds):
            for kind in ("masks", "instances"):
                file = data / kind / f"{path.stem}.png"
                state = file.stat()
                file.write_bytes(b"\0" * state.st_size)
                os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    """A run whose pool has masks and ids in the data folder, which nobody can read once the folds are cut."""
    out = tmp_path_factory.mktemp("rounds") / "run"
    words = [str(word) for word in command(data, out)]
    recipe = words[words.index("--data") :]
    maskwright("split", *recipe)
    blind(out, data)
    return out, maskwright(*words)


def test_labels_are_those_of_a_semantic_round_and_have_ids(finished):
    folder = RunFolder(finished[0])
    recipe, checked = load_recipe(folder.recipe), 0
    things = recipe.data.to_categories().things
    for fold in (0, 1):
        ledger, place = read_table(folder.pseudo(1, fold) / "ledger.parquet"), folder.pseudo(1, fold)
        for image in ledger.filter("used")["image"].unique().to_list():
            name, store = name_of(image), ProbabilityStore(place / "soft")
            label = cv2.imread(str(place / "labels" / f"{name}.png"), cv2.IMREAD_UNCHANGED)
            full = to_full_size(store.read(name), (label.shape[0], label.shape[1]))
            said = full.argmax(0).astype(np.uint8)
            ids = [c.id for c in recipe.data.to_categories().items]
            np.testing.assert_array_equal(label, np.where(full.max(0) >= 0.25, np.uint8(ids)[said], 255))
            expected = to_size(said, read_objects(store, name), things, recipe.instances)
            found = read_ids(place / "objects" / f"{name}.png")
            assert len(np.unique(found)) == len(np.unique(expected))
            np.testing.assert_array_equal(found > 0, expected > 0)
            rows = ledger.filter(pl.col("image") == image)
            assert rows["objects"].sum() == rows["objects_kept"].sum() == len(np.unique(expected[expected > 0]))
            assert rows["moved_by_votes"].sum() == 0
            checked += 1
    assert checked


def test_a_round_is_weighed_by_pq_and_says_what_became_of_objects(finished):
    out, summary = finished
    verdict = read_json(out / "round-1" / "adopt.json")
    assert verdict["metric"] == "pq" and summary["selftrain"]["round"] == 1
    assert {"sq", "rq", "false_objects"} <= verdict["also"].keys()
    scores = summary["scores"]
    for name in ("sq", "rq"):
        assert verdict["also"][name]["after"]["value"] == pytest.approx(scores[f"oof/{name}"]["value"], nan_ok=True)
    assert verdict["after"]["value"] == pytest.approx(scores["oof/pq"]["value"], nan_ok=True)
    table = pl.read_parquet(out / "predictions" / "per_image.parquet").filter(pl.col("part") == "oof")
    things = [c.name for c in load_recipe(out / "recipe.yaml").data.to_categories().items if c.isthing]
    made_up = table.filter(pl.col("category").is_in(things))["segments_fp"].sum() / table["image"].n_unique()
    assert verdict["also"]["false_objects"]["after"]["value"] == pytest.approx(made_up)
    judges = read_json(out / "round-1" / "pseudo" / "objectness.json")
    assert set(judges) == {"objectness", "fold_objectness"}
    assert "false objects" in (out / "predictions" / "report.html").read_text()


CUTS = ("judge objects", "label fold 0", "choose labels, fold 1", "train fold-1", "predict oof", "score round 1")


@pytest.mark.parametrize("cut", CUTS)
def test_what_was_cut_short_goes_on_to_the_same_numbers(finished, tmp_path, cut):
    out = tmp_path / "cut"
    shutil.copytree(finished[0], out)
    for record in (out / ".tasks").glob("*.json"):
        if record.stem.startswith(("selftrain", "tune", "evaluate", "report", "suspects", "predict-pool")):
            record.unlink()
    for place in ("round-1", "adopted.json", "predictions"):
        shutil.rmtree(out / place) if (out / place).is_dir() else (out / place).unlink()
    recipe, heard = load_recipe(out / "recipe.yaml"), list[str]()

    def watch(label, done, total, note):
        heard.append(label)
        if label.startswith(cut) and done >= 1:
            raise PowerCutError

    with listen(watch), pytest.raises(PowerCutError):
        run_pipeline(recipe, out)
    assert not (out / "adopted.json").is_file()
    run_pipeline(recipe, out)
    assert read_json(out / "adopted.json") == read_json(finished[0] / "adopted.json")
    one, two = (json.loads((p / "predictions" / "evaluation.json").read_text()) for p in (finished[0], out))
    assert one == two


def test_protocols_stand_side_by_side_by_pq(tmp_path):
    data = tmp_path / "data"  # its own: others break theirs
    make_playground(data, labelled=12, unlabelled=1, size=(40, 64), planted=False)
    steps = {"train.steps": "2", "train.validate_every": "1"}
    words = [word for word in command(data, tmp_path / "run", **steps) if word != "--set=selftrain.adopt=always"]
    found = maskwright(*words, "--protocols", "--holdout", "0.2")["protocols"]
    alone = found["labelled_only"]
    assert alone["oof/pq"]["value"] > 0
    for scores in found.values():
        scores.pop("images", None)
        assert {key.split("/")[-1] for key in scores} == {"mean_dice", "pooled_miou", "pq"}
        for part in ("oof", "holdout"):
            gain = scores[f"gain/{part}/pq"]["value"]
            assert gain == pytest.approx(scores[f"{part}/pq"]["value"] - alone[f"{part}/pq"]["value"])
    plain = [word for word in command(data, tmp_path / "alone", **steps) if "selftrain" not in str(word)]
    scores = maskwright("run", *plain, "--holdout", "0.2")["scores"]
    for part in ("oof", "holdout"):
        assert alone[f"{part}/pq"]["value"] == pytest.approx(scores[f"{part}/pq"]["value"])


def test_studies_whose_pool_has_masks_guide_and_vote_by_them(tmp_path):
    """Objects are clustered inside of the true categories, and all true objects vote: what guidance could bring.

    Distances start so wide that all pixels of a category are one cluster, and end so narrow that hardly any two are.
    """
    root, out = tmp_path / "data", tmp_path / "run"
    make_playground(root, labelled=12, unlabelled=0, size=(40, 64), planted=False)
    told = '{"objectness": null, "stable": 0.01, "votes": "true", "guide": "true"}'
    wide = "{kind: mean_shift, bandwidth: {value: 0.01, shift: 100, rate: 1000}}"
    narrow = {"instances.cluster": wide, "instances.border": "0", "instances.smallest": "0", "instances.minimum": "1"}
    maskwright(*command(root, out, **{"selftrain.method.objects": told}, **narrow))
    folder = RunFolder(out)

    def most_in_a_piece(store, name):
        """Return into how many objects a connected piece of a true category falls at most."""
        objects = read_objects(ProbabilityStore(store), name)
        label = resize_label(read_ids(root / "masks" / f"{name}.png").astype(np.uint8), objects.shape)
        pieces = [components(label == thing)[0] for thing in things]
        return max((len(np.unique(objects[p == n])) for p in pieces for n in range(1, p.max() + 1)), default=0)

    things = load_recipe(folder.recipe).data.to_categories().things
    ledger = read_table(out / "round-1" / "pseudo" / "ledger.parquet")
    assert ledger["objects"].sum() >= ledger["objects_kept"].sum() > 0
    for fold in (0, 1):
        own = ledger.filter((pl.col("fold") == fold) & pl.col("used"))
        for image in own["image"].unique():
            name = name_of(image)
            assert most_in_a_piece(folder.pseudo(1, fold) / "soft", name) <= 1
            mask = read_ids(root / "masks" / f"{name}.png")
            truth = read_ids(root / "instances" / f"{name}.png")
            label = read_ids(folder.pseudo(1, fold) / "labels" / f"{name}.png")
            ids = read_ids(folder.pseudo(1, fold) / "objects" / f"{name}.png")
            assert np.isin(mask[ids > 0], things).all()  # inside of what truly is a thing
            for number in np.unique(truth[truth > 0]):  # each true object has one category, where it has any
                assert len(set(label[truth == number].tolist()) - {255}) <= 1
    rows = read_folds(folder.folds)
    oof = [name_of(image) for image in rows.filter(pl.col("fold") >= 0)["image"]]
    assert max(most_in_a_piece(folder.store("oof", 0), name) for name in oof) > 2
