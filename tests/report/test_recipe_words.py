"""What the report says of a training: network, losses of every output, class weights, start, mixing, sampling."""

from __future__ import annotations

import polars as pl
import pytest
import yaml

from maskwright.recipe import Recipe
from maskwright.report.collect import collect
from maskwright.report.recipe_words import trained

DATA = {"root": "/d", "categories": [{"id": 0, "name": "soil"}, {"id": 1, "name": "rock"}]}


def told(run, recipe, *, log="", curves=()):
    """Return {what: words} and the rows of the terms, of a run folder that holds this."""
    run.mkdir()
    (run / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    pl.DataFrame({"image": ["images/a.png"], "mask": ["masks/a.png"]}).write_parquet(run / "index.parquet")
    for fold, text in enumerate(curves):
        folder = run / f"round-0/fold-{fold}"
        folder.mkdir(parents=True)
        (folder / "metrics.csv").write_text(text)
        (folder / "log.txt").write_text(log)
    group = trained(collect(run))
    assert group is not None
    return dict(group.tables[0].rows), [row for table in group.tables[1:] for row in table.rows]


def complete(**sections):
    return Recipe.model_validate({"data": DATA, **sections}).model_dump(mode="json")


def test_what_a_plain_recipe_trains(tmp_path):
    recipe = complete(model={"kind": "unet", "encoder": "resnet18", "encoder_weights": "cached"})
    recipe["train"] |= {"steps": 40, "batch": 4, "crop": [64, 128]}
    words, terms = told(tmp_path / "run", recipe)
    assert words == {
        "network": "unet, encoder resnet18",
        "starts from": "pretrained encoder weights",
        "minimises": "cross_entropy + dice",
        "augmentation": "flip, affine (70 %), colour (50 %)",
        "mixing of two images": "none",
        "which images come": "each once a turn",
        "steps of a fold": "40 steps, 4 crops of 128 × 64 pixels each, adamw with a rate of 0.001, cosine schedule",
    }
    assert terms == []


def test_what_a_rich_recipe_trains(tmp_path):
    focal = {"kind": "focal", "weight": 0.5, "class_weights": "median_frequency", "class_weight_cap": 10}
    dice = {"kind": "dice", "weight": "learned", "leave_out": ["soil"]}
    boundary = {"kind": "kervadec_boundary", "weight": 0.01, "schedule": "growing", "end": 0.5}
    recipe = complete(
        model={"kind": "wnet", "activation": "mish"},
        loss=[{"kind": "cross_entropy", "class_weights": [1, 2]}],
        levels=[{"weight": 1, "loss": [focal, dice, boundary]}, {"weight": 0.25}],
        augment=[
            {"kind": "noise", "probability": {"start": 0.4, "over": [0, 0.9]}},
            {"kind": "for_classes", "classes": ["rock"], "augment": [{"kind": "sharpen", "probability": 0.25}]},
        ],
        mix=[{"kind": "copy_paste", "probability": 0.3, "classes": ["rock"]}],
        sampling={"kind": "oversample", "classes": ["rock"], "copies": 3, "isolate": "ignore"},
        train={"start": "runs/older"},
    )
    weights = "class weights of focal: soil 0.5, rock 10\n"
    first = "step,loss,loss_focal_level_1,loss_dice_level_1_uncertainty\n1,2,0.5,0\n2,,,\n3,1,0.25,-0.5\n"
    second = first.replace("0.25", "0.75")
    words, terms = told(tmp_path / "run", recipe, log=weights + "train.lr: 0.001\n" + weights, curves=[first, second])
    assert words["network"] == "wnet, simplified form, activation mish, normalization batch"
    assert words["starts from"] == "the networks of runs/older"
    assert words["minimises, finest output (× 1)"] == (
        "0.5 × focal (class weights by median frequency, at most 10) + learned weight × dice (without soil) + "
        "0.01 × kervadec_boundary (growing to 0.5)"
    )
    assert words["minimises, output 2 (× 0.25)"] == "cross_entropy (class weights by hand)"
    assert words["class weights of focal, fold 0"] == words["class weights of focal, fold 1"] == "soil 0.5, rock 10"
    assert words["augmentation"] == "noise (40 % at first, 0 % at last), for rock: (sharpen (25 %))"
    assert words["mixing of two images"] == "copy_paste (30 %) of rock"
    assert words["which images come"] == "those with rock 3 times more, all other pixels of these set to ignore"
    # means of the folds: (0.25 + 0.75) / 2
    assert terms == [("focal", "1", "0.500", "0.500"), ("dice, what its learned weight adds", "1", "0.000", "-0.500")]


@pytest.mark.parametrize(
    ("sampling", "words"),
    [
        ({"kind": "uniform", "centred": 0.33}, "each once a turn; 33 % of the crops on a pixel of the category"),
        ({"kind": "balanced", "centred": 0}, "each category equally often"),
        ({"kind": "rare_class", "centred": 0}, "those with categories of few pixels more often"),
        ({"kind": "repeat_factor", "centred": 0}, "those with categories that are in few images more often"),
    ],
)
def test_every_sampling_has_its_words(tmp_path, sampling, words):
    assert told(tmp_path / "run", complete(sampling=sampling))[0]["which images come"] == words


def test_a_network_and_a_loss_of_ones_own(tmp_path):
    own = {"kind": "python", "target": "mine:build"}
    words, _ = told(tmp_path / "run", complete(model=own, loss=[{**own, "weight": 2}]))
    assert (words["network"], words["minimises"]) == ("your own, mine:build", "2 × mine:build")
    assert words["starts from"] == "random numbers"
