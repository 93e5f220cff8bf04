"""Every recipe of recipes/ is complete, says what its source says, and runs through the command line, made small."""

from __future__ import annotations

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from benchmarks.nuclei import draw, write_generated, write_pool
from PIL import Image

from make_streets import make_streets
from maskwright.cli import main
from maskwright.data.synthetic import make_playground
from maskwright.recipe import load_recipe

PLACES = ("fields", "scenes")
RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml"))
PLAIN = [path for path in RECIPES if not path.stem.startswith(("synthia", "nuclei", *PLACES))]
MARS = ["background", "soil", "bedrock", "sand", "big_rock"]
TINY = (
    "split.folds=2", "split.holdout=0", "train.epochs=null", "train.steps=4", "train.validate_every=2", "train.batch=2",
    "train.crop=[32, 64]", "train.precision=float32", "train.channels_last=false", "train.threads=1",
    "evaluate.samples=100", "predict.overlays=2", "audit.pictures=false",
)  # fmt: skip
ENCODER = ("model.encoder=resnet10t", "model.decoder_channels=[8, 8, 8, 8, 8]", "model.encoder_weights=none")
RESNET = ("model.encoder=resnet10t", "model.encoder_weights=none")
BRIEF = ("train.steps=2", "postprocess.chain=[]", "report.thumbnails=1")
STREETS = (*TINY, *BRIEF, *ENCODER, "train.scale=1", "instances.minimum=1", "selftrain.method.pixels={kind: all}")
GROUPS = "instances.together=[[car, bus, truck, train], [person, rider, bicycle, motorcycle]]"
DRAWN = (*TINY, *ENCODER, "train.scale=1", "train.crop=[48, 64]", "instances.minimum=1", "selftrain.rounds=1")
SMALL = {
    "fields": DRAWN,
    "mars_aspp": (*TINY, "model.width=4"),
    "mars_wnet": (*TINY, "model.width=4"),
    "nuclei": (*TINY, *ENCODER, "train.crop=[32, 32]", "instances.minimum=1", "selftrain.rounds=1"),
    "scenes": DRAWN,
    "stas": (*TINY, *ENCODER, "train.accumulate=2", "train.keep=2", "predict.members=true"),
    "synthia_sac": (*TINY, *BRIEF, *RESNET, "train.scale=1", "train.lr=1e-3"),
    "synthia_panoptic_16": (*STREETS, "instances.workflow=all"),
    "synthia_panoptic_19": (*STREETS, GROUPS),
    "synthia_source": (*TINY, *BRIEF, *RESNET),
    "sts_2d_1024": (*TINY, *ENCODER, "train.scale=[64, 64]", "train.crop=[64, 64]"),
    "sts_2d_640x1280": (*TINY, *ENCODER, "train.scale=[32, 64]"),
}


def test_every_recipe_has_a_small_form():
    assert [path.stem for path in RECIPES] == sorted(SMALL)


def make_data(root: Path, names: list[str], channels: int) -> Path:
    generator = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for number in range(10):
        noise = generator.random((len(names), 32, 64)).astype(np.float32)
        mask = np.stack([cv2.GaussianBlur(layer, (0, 0), 5) for layer in noise]).argmax(0).astype(np.uint8)
        shades = np.linspace(60, 200, len(names))[mask] + generator.normal(0, 6, mask.shape)
        image = shades[..., None] + generator.normal(0, 6, (*mask.shape, channels))
        image = image.clip(0, 255).astype(np.uint8)
        Image.fromarray(image if channels == 3 else image[..., 0]).save(root / "images" / f"i{number}.png")
        Image.fromarray(mask).save(root / "masks" / f"i{number}.png")
    (root / "classes.json").write_text(json.dumps({str(k): name for k, name in enumerate(names)}))
    return root


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("path", PLAIN, ids=lambda path: path.stem)
def test_it_runs(path, tmp_path, capsys):
    mars = path.stem.startswith("mars")
    data = make_data(tmp_path / "data", MARS if mars else ["background", "target"], 1 if mars else 3)
    settings = [word for setting in SMALL[path.stem] for word in ("--set", setting)]
    words = ["run", "--recipe", path, "--data", data, "--out", tmp_path / "run", *settings, "--json"]
    assert main([str(word) for word in words]) == 0
    scores = json.loads(capsys.readouterr().out)["scores"]
    assert 0 <= scores["mean_dice"]["value"] <= 1
    assert (tmp_path / "run" / "predictions" / "report.html").is_file()
    if mars:  # counted from the labels of the fold
        log = (tmp_path / "run" / "round-0" / "fold-0" / "log.txt").read_text()
        assert re.search(r"class weights of (focal|dice): background [\d.]+, soil [\d.]+", log)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_source_4_goes_from_stage_to_stage_and_delivers_what_was_adapted(tmp_path, capsys):
    data = make_data(tmp_path / "data", ["background", "target"], 3)
    (data / "unlabeled").mkdir()
    for number in range(4):
        image = np.random.default_rng(number).integers(0, 90, (32, 64, 3), np.uint8)
        Image.fromarray(image).save(data / "unlabeled" / f"u{number}.png")
    for stage, more in (("source", ()), ("sac", (f"train.start={tmp_path / 'source'}",))):
        settings = [word for setting in (*SMALL[f"synthia_{stage}"], *more) for word in ("--set", setting)]
        path = next(path for path in RECIPES if path.stem == f"synthia_{stage}")
        words = ["run", "--recipe", path, "--data", data, "--out", tmp_path / stage, *settings, "--json"]
        assert main([str(word) for word in words]) == 0, capsys.readouterr().err
        assert json.loads((tmp_path / stage / "adopted.json").read_text())["round"] == 1
    for fold in (tmp_path / "sac").glob("round-1/fold-*"):
        began = Path(json.loads((fold / "start.json").read_text())["checkpoint"])
        assert began == tmp_path / "source" / "round-1" / fold.name / "last.ckpt"


FURTHER = {
    "16": "[{root: SYNTHIA, domain: synthetic}]",
    "19": "[{root: SYNTHIA, domain: synthetic}, {root: GTAV, domain: synthetic, holds: [truck, train]}]",
}


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("name", "images", "teams"), [("16", 4, [""]), ("19", 6, ["", "team-1/"])])
def test_source_4_whole_from_the_three_folders(tmp_path, monkeypatch, capsys, name, images, teams):
    """On labelled SYNTHIA, Cityscapes as the pool; with GTA-V, networks of two groups of things for each fold."""
    monkeypatch.chdir(make_streets(tmp_path, 4))
    path = next(path for path in RECIPES if path.stem == f"synthia_panoptic_{name}")
    more = f"data.further={FURTHER[name]}"
    settings = [word for setting in (*SMALL[path.stem], more) for word in ("--set", setting)]
    words = ["selftrain", "--recipe", path, "--data", "CITYSCAPES", "--out", "run", *settings, "--json"]
    assert main([str(word) for word in words]) == 0, capsys.readouterr().err
    found = load_recipe("run/recipe.yaml")
    assert len(found.data.categories) == int(name)
    assert len(Path("run/folds.csv").read_text().splitlines()) == 1 + images
    assert json.loads(Path("run/adopted.json").read_text())["round"] == 1
    places = {path.parent.as_posix() for path in Path("run").glob("round-1/**/last.ckpt")}
    assert places == {f"run/round-1/{team}fold-{fold}" for team in teams for fold in (0, 1)}
    pool = json.loads(Path("run/round-1/adopt.json").read_text())["images"]
    assert [one["pool"] for one in pool] == [4, 4]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_generated_nuclei_teach_real_ones(tmp_path, capsys):
    real = tmp_path / "real"
    (real / "images").mkdir(parents=True)
    for name in ("a", "b", "c"):
        Image.fromarray(draw(np.random.default_rng(ord(name)), "stained", 64)[0]).save(real / "images" / f"{name}.png")
    (real / "meta.csv").write_text("name,kind\na,stained\nb,stained\nc,fluorescence\n")
    write_generated(tmp_path / "data", "stained", 6, 64, 0)
    assert write_pool(tmp_path / "data", real, "stained") == 2
    path = next(path for path in RECIPES if path.stem == "nuclei")
    settings = [word for setting in SMALL["nuclei"] for word in ("--set", setting)]
    words = ["selftrain", "--recipe", path, "--data", tmp_path / "data", "--out", tmp_path / "run", *settings, "--json"]
    assert main([str(word) for word in words]) == 0, capsys.readouterr().err
    assert json.loads((tmp_path / "run" / "adopted.json").read_text())["round"] == 1


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", PLACES)
def test_drawn_places_with_two_kinds_of_things(tmp_path, capsys, name):
    data = tmp_path / "data"
    make_playground(data, labelled=10, unlabelled=4, size=(48, 64), planted=False)
    path = next(path for path in RECIPES if path.stem == name)
    settings = [word for setting in SMALL[name] for word in ("--set", setting)]
    words = ["selftrain", "--recipe", path, "--data", data, "--out", tmp_path / "run", *settings, "--json"]
    assert main([str(word) for word in words]) == 0, capsys.readouterr().err
    verdict = json.loads((tmp_path / "run" / "round-1" / "adopt.json").read_text())
    assert verdict["metric"] == "pq" and verdict["adopted"] in ((True,) if name == "scenes" else (True, False))
    assert load_recipe(tmp_path / "run" / "recipe.yaml").instances.across
    assert (tmp_path / "run" / "predictions" / "panoptic.json").is_file()


def test_generated_nuclei_are_numbered_and_the_same_again():
    for kind in ("fluorescence", "stained"):
        image, ids = draw(np.random.default_rng(3), kind, 96)
        again, same = draw(np.random.default_rng(3), kind, 96)
        assert np.array_equal(image, again) and np.array_equal(ids, same) and image.dtype == np.uint8
        assert np.unique(ids).tolist() == list(range(ids.max() + 1)) and ids.max() > 2
        inside, outside = image[ids > 0].mean(), image[ids == 0].mean()
        assert (inside > outside) == (kind == "fluorescence")


def recipe(name: str):
    return load_recipe(next(path for path in RECIPES if path.stem == name))


def test_source_0_trains_at_both_sizes_with_its_loss_and_rate():
    for name, size in (("sts_2d_1024", (1024, 1024)), ("sts_2d_640x1280", (640, 1280))):
        found = recipe(name)
        assert found.train.scale == found.train.crop == size
        assert [(term.kind, term.weight) for term in found.loss] == [
            ("cross_entropy", 1), ("dice", 1), ("lovasz", 1),
        ]  # fmt: skip
        assert (found.train.optimizer.kind, found.train.lr, found.train.schedule.kind) == ("adamw", 3e-4, "cosine")
        assert (found.split.folds, found.audit.conflicts) == (5, "keep_finer")


def test_source_1_has_its_table_of_settings():
    found = recipe("stas")
    assert (found.train.batch, found.train.epochs, found.train.lr) == (48, 150, 1e-3)
    assert [level.weight for level in found.levels] == [1, 1 / 4, 1 / 16]
    assert (found.model.encoder, found.model.activation, found.model.interpolation) == (
        "efficientnet_b3", "mish", "nearest",
    )  # fmt: skip
    assert found.train.warmup == pytest.approx(6 / 150)
    assert found.split.area_bins == (0.01, 0.02, 0.03, 0.04, 0.05, 0.1)
    schedule = next(spec for spec in found.augment if spec.kind == "auto_augment").probability
    assert schedule.at(0) == 0.4
    assert schedule.at(145 / 150) == 0  # the last five epochs
    assert schedule.at(144 / 150) > 0
    (step,) = found.postprocess.chain
    assert (step.kind, step.order, step.pixels, step.edges, len(step.stages)) == (
        "staged",
        "drop_first",
        250,
        "each",
        4,
    )


def test_source_2_has_its_mixes():
    mixes = [({term.kind: term.weight for term in level.loss}, level.weight) for level in recipe("mars_wnet").levels]
    assert mixes == [
        ({"focal": 0.2, "dice": 0.5, "kervadec_boundary": 0.3}, 0.4),
        ({"focal": 0.3, "dice": 0.5, "kervadec_boundary": 0.2}, 0.5),
        ({"focal": 0.4, "kervadec_boundary": 0.6}, 0.1),
    ]


def test_source_3_gives_class_0_no_weight():
    found = recipe("mars_aspp")
    assert [term.kind for term in found.loss] == ["ssim", "focal", "dice"]
    assert all(term.leave_out == ("background",) for term in found.loss)
    assert found.data.leave_out == ("background",)


def test_source_4_has_two_stages():
    stage1, stage2 = recipe("synthia_source"), recipe("synthia_sac")
    assert stage1.selftrain.method.kind == "norm_adaptation"
    for found, batch, epochs in ((stage1, 12, 100), (stage2, 8, 200)):
        assert (found.train.batch, found.train.epochs, found.train.lr) == (batch, epochs, 2.5e-4)
        assert (found.train.optimizer.kind, found.train.schedule.kind) == ("sgd", "constant")
        assert (found.train.weight_decay, found.train.head_lr, found.train.ema) == (5e-4, 10, 0)
        assert (found.model.kind, found.model.encoder) == ("deeplabv2", "resnet101")
    both = [recipe(f"synthia_panoptic_{count}") for count in (16, 19)]
    for found in both:
        told = found.instances
        assert (found.model.encoder, found.model.embedding.channels) == ("resnet101", 8)
        assert told.workflow == "base" and told.cluster.kind == "mean_shift_plus"
        assert (told.loss.consistency.weight, told.loss.consistency.rotation) == (0.1, (0, 180))
        assert (told.loss.pull_margin.at(0), told.loss.push_margin.at(0)) == pytest.approx((0.7, 1.3))
        assert found.selftrain.method.labelled_share == 0.25  # its best, of icm
    groups = [("car", "bus", "truck", "train"), ("person", "rider"), ("bicycle", "motorcycle")]
    assert both[1].instances.together == tuple(groups)
    assert both[0].instances.together == (("car", "bus"), *groups[1:])
    method = stage2.selftrain.method
    assert (method.teacher_momentum, method.teacher_every, method.focal, method.weight) == (0.99, 100, 3, 5)
    assert (method.batch, method.views, method.ramp, method.renormalise) == (2, 4, None, True)
    assert (method.adapt_norm, method.watch_steps) == (False, 100)  # stage 1 has adapted it
