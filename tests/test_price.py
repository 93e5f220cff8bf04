"""The price of leaks: naive folds are shuffled ones, and the difference is that of the tables."""

from __future__ import annotations

import json

import polars as pl
import pytest

from maskwright import pipeline
from maskwright.artifacts import RunFolder, read_folds
from maskwright.data.formats.files import name_of
from maskwright.data.synthetic import make_playground
from maskwright.errors import DataError, RecipeError
from maskwright.pipeline.price import compare, naive_folds
from maskwright.recipe import Recipe, apply_settings
from maskwright.recipe.data import DataSpec
from maskwright.recipe.predict import EvaluateSpec
from maskwright.types import Categories, Category


def test_naive_folds_hold_as_many_images_and_leave_the_rest_alone():
    folds = pl.DataFrame({"image": [f"i{k}" for k in range(40)], "fold": [-1] * 8 + [0, 1, 2, 3] * 7 + [None] * 4})
    naive = naive_folds(folds, 0)
    assert naive["fold"].value_counts().sort("fold").equals(folds["fold"].value_counts().sort("fold"))
    fixed = [*range(8), *range(36, 40)]
    assert naive["fold"].gather(fixed).to_list() == folds["fold"].gather(fixed).to_list()
    assert naive["fold"].to_list() != folds["fold"].to_list()
    assert naive.equals(naive_folds(folds, 0))


def test_a_copy_with_a_taken_mask_stays_with_its_image():
    images = [f"i{k}" for k in range(20)] + ["copy"]
    folds = pl.DataFrame({"image": images, "fold": [k % 4 for k in range(20)] + [3]})
    for seed in range(5):
        place = dict(naive_folds(folds, seed, {"copy": "i3"}).iter_rows())
        assert place["copy"] == place["i3"]
        assert sorted(place[f"i{k}"] for k in range(20)) == sorted(k % 4 for k in range(20))


def table_of(images, groups, tp, miss):
    """Background all right; of 10 pixels of the object, `miss` are missed."""
    rows = [
        (image, group, category, right, 0, wrong)
        for image, group, t, m in zip(images, groups, tp, miss, strict=True)
        for category, right, wrong in (("background", 90, 0), ("object", t, m))
    ]
    return pl.DataFrame(rows, schema=["image", "group", "category", "tp", "fp", "fn"], orient="row")


def test_the_price_is_the_difference_on_the_same_images():
    images, groups = ["b", "a", "c", "d"], ["g", "g", "h", "h"]
    items = tuple(Category(id=k, name=name, color=(k, k, k)) for k, name in enumerate(("background", "object")))
    categories = Categories(items, frozenset({"background"}))
    clean = table_of(images, groups, [5, 5, 5, 5], [5, 5, 5, 5])
    naive = table_of(images[::-1], images, [10, 10, 5, 5], [0, 0, 5, 5])  # d, c right; another order, other groups
    found = compare(clean, naive, categories, EvaluateSpec(samples=200), seed=0)
    # Dice of 5 of 10: 2·5 / (2·5 + 5) = 2/3; of all: 1. IoU pooled: 20 of 40; 30 of 40
    assert found["mean_dice"]["clean"]["value"] == pytest.approx(2 / 3)
    assert found["mean_dice"]["price"]["value"] == pytest.approx((1 - 2 / 3) / 2)
    assert found["pooled_miou"]["price"]["value"] == pytest.approx(0.75 - 0.5)
    # resamples draw groups: g, g (no gain), g, h (half), h, h (all)
    price = found["pooled_miou"]["price"]
    assert (price["low"], price["high"]) == (pytest.approx(0), pytest.approx(0.5))
    assert price["n"] == 4


def test_one_fold_has_nothing_to_compare():
    recipe = Recipe(data=DataSpec(root="."))
    with pytest.raises(RecipeError, match=r" report\.price_of_leaks compares"):
        apply_settings(recipe, ["report.price_of_leaks=true", "split.folds=1"])


SMALL = (
    "data.task=semantic",
    "data.group=scene", "split.folds=2", "split.holdout=0.2", "split.labelled=2/3", "audit.pictures=false",
    "model.encoder=resnet10t", "model.encoder_weights=none", "model.decoder_channels=[16, 16, 8]",
    "train.steps=2", "train.validate_every=1", "train.batch=2", "train.crop=[32, 48]", "train.scale=1",
    "train.precision=float32", "train.channels_last=false", "train.threads=1", "evaluate.samples=100",
    "report.thumbnails=0",
)  # fmt: skip


@pytest.mark.slow
def test_a_run_of_a_labelled_subset_and_its_price(tmp_path):
    """The pool is predicted, not learned from; asking for the price later trains nothing of the run anew."""
    data, out = tmp_path / "data", tmp_path / "run"
    make_playground(data, labelled=24, unlabelled=2, size=(32, 48))
    recipe = apply_settings(Recipe(data=DataSpec(root=str(data))), SMALL)
    folder = pipeline.run(recipe, out)
    folds = read_folds(folder.folds)
    pool = folds.filter(pl.col("fold").is_null())["image"].to_list()
    assert pool
    scored = pl.read_parquet(folder.predictions / "per_image.parquet")
    learned = {*folds.drop_nulls("fold")["image"]}
    assert {*scored["image"]} == {image for image in learned if not image.startswith("unlabeled/")}  # a copy's mask
    for image in [*pool, "unlabeled/" + min(p.name for p in (data / "unlabeled").iterdir())]:
        assert (folder.predictions / "labels" / f"{name_of(image)}.png").is_file()
    made = {p: p.stat().st_mtime_ns for p in out.glob("round-0/fold-*/last.ckpt")}

    priced = apply_settings(recipe, ["report.price_of_leaks=true"])
    pipeline.run(priced, out, redo=True)  # the recipe in the folder is another one now
    assert {p: p.stat().st_mtime_ns for p in made} == made
    naive = read_folds(out / "naive" / "folds.csv")
    assert naive["image"].to_list() == folds["image"].to_list()
    masks = folds["image"].str.starts_with("images/")  # copies go where the image goes whose mask they have
    sizes, before = (table.filter(masks)["fold"].value_counts().sort("fold") for table in (naive, folds))
    assert sizes.equals(before)
    found = json.loads((folder.predictions / "price_of_leaks.json").read_text())
    assert found["groups_cut"] > 0
    price = found["metrics"]["pooled_miou"]
    assert price["price"]["value"] == pytest.approx(price["naive"]["value"] - price["clean"]["value"])
    scores = json.loads((folder.predictions / "evaluation.json").read_text())
    assert price["clean"]["value"] == pytest.approx(scores["oof/pooled_miou"]["value"])
    inner = json.loads((out / "naive" / "predictions" / "evaluation.json").read_text())
    assert price["naive"]["value"] == pytest.approx(inner["oof/pooled_miou"]["value"])
    assert "The price of leaks" in (folder.predictions / "report.html").read_text(encoding="utf-8")
    before = (out / "naive" / "round-0" / "fold-0" / "last.ckpt").stat().st_mtime_ns
    pipeline.run(priced, out)
    assert (out / "naive" / "round-0" / "fold-0" / "last.ckpt").stat().st_mtime_ns == before


def truths(run):
    """Return (image, category) → pixels that the mask says, of what was scored out of fold."""
    table = pl.read_parquet(run / "predictions" / "per_image.parquet").filter(pl.col("part") == "oof")
    rows = table.select("image", "category", pl.col("tp") + pl.col("fn")).iter_rows()
    return {(image, category): pixels for image, category, pixels in rows}


@pytest.mark.slow
def test_a_price_that_was_killed_is_resumed_by_the_same_command(tmp_path, monkeypatch):
    """The naive trainings that are done stay; nothing that was written again looks like other folds."""
    data, out = tmp_path / "data", tmp_path / "run"
    make_playground(data, labelled=24, unlabelled=2, size=(32, 48))
    recipe = apply_settings(Recipe(data=DataSpec(root=str(data))), [*SMALL, "report.price_of_leaks=true"])

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("maskwright.pipeline.price.compare", killed)
        with pytest.raises(KeyboardInterrupt):
            pipeline.run(recipe, out)
    made = {p: p.stat().st_mtime_ns for p in out.glob("naive/round-0/fold-*/last.ckpt")}
    assert len(made) == 2
    folder = pipeline.run(recipe, out)
    assert json.loads((folder.predictions / "price_of_leaks.json").read_text())["metrics"]
    assert {p: p.stat().st_mtime_ns for p in made} == made


@pytest.mark.slow
def test_the_naive_folds_hold_the_images_and_masks_that_people_decided_on(tmp_path):
    """Under `ask`, with a drop, a kept copy, a region and a mask taken over: all of it counts for both."""
    data, out = tmp_path / "data", tmp_path / "run"
    make_playground(data, labelled=24, unlabelled=2, size=(32, 48))
    settings = (*SMALL, "report.price_of_leaks=true", "audit.conflicts=ask")
    recipe = apply_settings(Recipe(data=DataSpec(root=str(data))), settings)
    with pytest.raises(DataError, match=r"audit\.conflicts: ask"):
        pipeline.run(recipe, out)
    folder = RunFolder(out)
    open_ones = pl.read_parquet(folder.findings).filter(pl.col("kind") == "conflict")
    images = [i for i in pl.read_parquet(folder.index).drop_nulls("mask")["image"] if i not in open_ones["image"]]
    said = [{"image": image, "action": "keep"} for image in open_ones["image"]]
    said += [
        {"image": images[0], "action": "drop"},
        {"image": images[1], "action": "ignore_region", "region": [0, 0, 48, 16]},
        {"image": images[2], "action": "use_mask_of", "other_image": images[3]},
    ]
    folder.decisions.write_text("".join(json.dumps(line | {"by": "Anna"}) + "\n" for line in said))
    pipeline.run(recipe, out)
    assert folder.decisions.read_text().count("Anna") == len(said)
    clean, naive = truths(out), truths(out / "naive")
    assert naive == clean
    assert images[0] not in {image for image, _ in clean}
    assert {*read_folds(folder.folds)["image"]} == {*read_folds(out / "naive" / "folds.csv")["image"]}
    assert read_folds(folder.folds)["fold"].to_list() != read_folds(out / "naive" / "folds.csv")["fold"].to_list()
    assert "one shuffle" in json.loads((folder.predictions / "price_of_leaks.json").read_text())["covered"]
    assert "one shuffle" in (folder.predictions / "report.html").read_text(encoding="utf-8")
