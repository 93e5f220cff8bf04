"""Labels of a pool from networks that were never trained: who may label, how they are fused and ranked, the ledger."""

from __future__ import annotations

import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from make_export import make_run
from maskwright.artifacts import RunFolder, read_folds, read_json, read_table, write_json, write_table, write_text
from maskwright.checkpoint import KEY
from maskwright.data.formats.files import name_of
from maskwright.data.store import ProbabilityStore
from maskwright.errors import DataError, RecipeError
from maskwright.instances import Objectness
from maskwright.pipeline import labelling, pool, rounds, stages
from maskwright.pipeline.honest import check_honest, seen_by
from maskwright.pipeline.objectness import Judges
from maskwright.pipeline.pool import pool_of_fold
from maskwright.pipeline.run import _TASKS
from maskwright.predict import load_ensemble, predict_files, to_full_size
from maskwright.recipe import apply_settings, dump_recipe, load_recipe
from maskwright.recipe.instances import InstancesSpec
from maskwright.selftrain import agreement, kept_apart

ROUNDS = ("selftrain.rounds=1", 'selftrain.method.pixels={"kind": "all"}', "selftrain.method.keep_soft=true")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("labelling"), "split.folds=2", *ROUNDS, unlabelled=5)


@pytest.fixture
def folder(base, tmp_path):
    """A copy of the run, with out-of-fold predictions and what is known of their precision."""
    found = RunFolder(tmp_path / "run")
    shutil.copytree(base.root, found.root)
    spec = spec_of(found, 0)
    stages.predict(found.root, spec | {"part": "oof", "round": 0})
    labelling.precision(found.root, spec)
    return found


def spec_of(folder, fold, *settings):
    recipe = apply_settings(load_recipe(folder.recipe), list(settings))
    write_text(folder.recipe, dump_recipe(recipe))
    spec = recipe.model_dump(mode="json", include={"data", "split", "predict", "selftrain", "evaluate", "seed"})
    return spec | {"accelerator": "cpu", "round": 1, "fold": fold, "metric": recipe.metric(), "rule": "gain"}


def predicted(folder, path, image):
    recipe = load_recipe(folder.recipe)
    root = Path(recipe.data.root)
    ((_, size, found),) = predict_files(load_ensemble([path]), [("x", root / image)], recipe.predict, accelerator="cpu")
    return to_full_size(found, size)


def redraw(path, seed):
    """Another network in the place of a checkpoint's."""
    state = torch.load(path, weights_only=True)
    generator = torch.Generator().manual_seed(seed)
    state["state_dict"] = {k: torch.randn(v.shape, generator=generator) for k, v in state["state_dict"].items()}
    assert KEY in state
    torch.save(state, path)


def test_the_folds_own_network_labels_and_the_ledger_says_so(folder):
    labelling.label(folder.root, spec_of(folder, 1))
    ledger = read_table(folder.pseudo(1, 1) / "ledger.parquet")
    assert set(ledger.explode("made_by")["made_by"]) == {"round-0/fold-1/last.ckpt"}
    for image in ledger["image"].unique().to_list():
        expected = predicted(folder, folder.root / "round-0/fold-1/last.ckpt", image)
        stored = ProbabilityStore(folder.pseudo(1, 1) / "soft").read(name_of(image))
        np.testing.assert_allclose(to_full_size(stored, expected.shape[1:]), expected, atol=1e-3)
        rows = ledger.filter(pl.col("image") == image)
        assert rows["used"].all() and rows["predicted"].sum() == pytest.approx(1)
        assert set(rows["kept"].drop_nulls()) == {1.0}  # all pixels
    seconds = read_json(folder.pseudo(1, 1) / "seconds.json")
    assert 0 < seconds["networks"] <= seconds["all"] and seconds["images"] == ledger["image"].n_unique()


@pytest.mark.slow
def test_memory_does_not_grow_with_the_pool(tmp_path):
    """What is on its way at once is bounded; of an image that is done only rows of the ledger stay."""
    peaks = []
    for count in (24, 60):
        found = make_run(tmp_path / str(count), "split.folds=2", *ROUNDS, size=(96, 128), unlabelled=count)
        spec = spec_of(found, 0)
        stages.predict(found.root, spec | {"part": "oof", "round": 0})
        labelling.precision(found.root, spec)
        tracemalloc.start()
        labelling.label(found.root, spec)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 36 * 96 * 128 * 2 * 4 / 3  # a third of the maps of the 36 more


def test_what_stands_is_not_predicted_again(folder):
    spec = spec_of(folder, 0)
    labelling.label(folder.root, spec)
    first = read_table(folder.pseudo(1, 0) / "ledger.parquet")
    soft = sorted((folder.pseudo(1, 0) / "soft").rglob("*.npz"))
    times = [path.stat().st_mtime_ns for path in soft[1:]]
    soft[0].unlink()  # as if it had been cut short
    labelling.label(folder.root, spec)
    assert [path.stat().st_mtime_ns for path in soft[1:]] == times and soft[0].is_file()
    assert read_table(folder.pseudo(1, 0) / "ledger.parquet").equals(first)


def other_run(folder, name, seed):
    other = folder.root.with_name(name)
    shutil.copytree(folder.root, other)
    for fold in (0, 1):
        redraw(other / "round-0" / f"fold-{fold}" / "last.ckpt", seed + fold)
    return other


def test_networks_of_another_run_on_these_folds_are_fused_in(folder):
    other = other_run(folder, "other", 7)
    labelling.label(folder.root, spec_of(folder, 1, f'selftrain.method.fused_with=["{other}"]'))
    ledger = read_table(folder.pseudo(1, 1) / "ledger.parquet")
    paths = [folder.root / "round-0/fold-1/last.ckpt", other / "round-0/fold-1/last.ckpt"]
    assert ledger["made_by"][0].to_list() == ["round-0/fold-1/last.ckpt", str(paths[1].resolve())]
    image = ledger["image"][0]
    expected = np.mean([predicted(folder, path, image) for path in paths], axis=0)
    stored = ProbabilityStore(folder.pseudo(1, 1) / "soft").read(name_of(image))
    np.testing.assert_allclose(stored, expected, atol=1e-3)


def test_a_run_that_has_seen_the_fold_may_not_label_for_it(folder):
    other = other_run(folder, "other", 7)
    folds = read_folds(other / "folds.csv")
    write_text(other / "folds.csv", folds.with_columns(fold=(pl.int_range(pl.len()) % 2)).write_csv())
    with pytest.raises(DataError, match="seen nothing of fold 1"):
        labelling.label(folder.root, spec_of(folder, 1, f'selftrain.method.fused_with=["{other}"]'))


def pool_image(folder):
    """An image without a mask of both pools, and one that fold 1 is validated on."""
    spec = spec_of(folder, 0)
    section = load_recipe(folder.recipe).selftrain
    whole = stages.decided(folder, spec)
    pools = [pool_of_fold(folder, whole, section, fold) for fold in (0, 1)]
    return next(image for image in pools[0] if image in pools[1]), read_folds(folder.folds).filter(fold=1)["image"][0]


def with_mask_there(other, image, fold, group="its own"):
    """The other run had a mask of an image, too, which its training of the other fold learned from."""
    row = pl.DataFrame({"image": [image], "group": [group], "fold": [fold]})
    folds = read_folds(other / "folds.csv").filter(pl.col("image") != image)
    write_text(other / "folds.csv", pl.concat([folds, row]).write_csv())


@pytest.mark.parametrize("link", ["copy", "group of this run", "group of the other run"])
def test_a_run_that_has_seen_a_relative_of_the_fold_may_not_label_for_it(folder, link):
    other = other_run(folder, "other", 7)
    unlabelled, validated = pool_image(folder)
    group = dict(read_folds(folder.folds).select("image", "group").iter_rows())[validated]
    with_mask_there(other, unlabelled, 0, group if link == "group of the other run" else "its own")
    setting = f'selftrain.method.fused_with=["{other}"]'
    if link == "copy":
        clusters = read_json(folder.decided / "duplicates.json")
        write_json(folder.decided / "duplicates.json", [*clusters, [unlabelled, validated]])
    elif link == "group of this run":
        table = read_table(folder.decided / "images.parquet")
        both = pl.col("image").is_in([unlabelled, validated])
        write_table(folder.decided / "images.parquet", table.with_columns(group=pl.when(both).then(pl.lit("g"))))
    with pytest.raises(DataError, match="their copies or groups"):  # the network of fold 1 there learned from it
        labelling.label(folder.root, spec_of(folder, 1, setting))
    labelling.label(folder.root, spec_of(folder, 0, setting))  # that of fold 0 didn't


def test_a_run_of_which_nothing_says_what_it_has_seen_may_not_label(folder):
    other = other_run(folder, "other", 7)
    (other / "folds.csv").unlink()
    with pytest.raises(DataError, match="seen nothing of fold 1"):
        labelling.label(folder.root, spec_of(folder, 1, f'selftrain.method.fused_with=["{other}"]'))


def test_images_are_ranked_by_the_agreement_of_what_is_fused(folder):
    other = other_run(folder, "other", 7)
    ensemble = 'selftrain.method.images={"kind": "ensemble", "share": 0.5}'
    labelling.label(folder.root, spec_of(folder, 1, f'selftrain.method.fused_with=["{other}"]', ensemble))
    ledger = read_table(folder.pseudo(1, 1) / "ledger.parquet").unique("image", maintain_order=True)
    scores = {}
    for image in ledger["image"]:
        maps = [predicted(folder, run / "round-0/fold-1/last.ckpt", image) for run in (folder.root, other)]
        said = [one.argmax(0).astype(np.uint8) for one in maps]
        scores[image] = agreement(said, np.mean(maps, axis=0).argmax(0).astype(np.uint8), len(maps[0]))
    np.testing.assert_allclose(ledger["score"], list(scores.values()), atol=0.02)
    used = ledger.filter(pl.col("used"))
    assert used.height == max(1, ledger.height // 2)
    best = ledger.sort("score", descending=True)["image"].head(used.height)
    assert set(used["image"]) == set(best)


def test_one_network_has_nobody_to_agree_with(folder):
    shutil.copyfile(folder.fold(0) / "last.ckpt", folder.fold(0) / "top-1.ckpt")  # the only one that was kept
    ensemble = 'selftrain.method.images={"kind": "ensemble"}'
    with pytest.raises(DataError, match="at least two networks"):
        labelling.label(folder.root, spec_of(folder, 0, ensemble, "predict.checkpoint=topk", "train.keep=2"))


def test_images_are_ranked_by_earlier_checkpoints_and_the_rest_is_labelled_anew(folder):
    place = folder.fold(0)
    spec = spec_of(folder, 0, 'selftrain.method.images={"kind": "agreement", "share": 0.5}')
    with pytest.raises(DataError, match="a third and two thirds"):
        labelling.label(folder.root, spec)
    for number in (1, 2):
        shutil.copyfile(place / "last.ckpt", place / f"third-{number}.ckpt")
        redraw(place / f"third-{number}.ckpt", number)
    labelling.label(folder.root, spec)
    first = read_table(folder.pseudo(1, 0) / "ledger.parquet")
    for image in first["image"].unique().to_list():
        last, *earlier = (
            predicted(folder, place / name, image).argmax(0).astype(np.uint8)
            for name in ("last.ckpt", "third-1.ckpt", "third-2.ckpt")
        )
        score = first.filter(pl.col("image") == image)["score"][0]
        assert score == pytest.approx(agreement(earlier, last, 5), abs=0.02)
    again = folder.root / "round-1" / "first" / "fold-0"
    again.mkdir(parents=True)
    shutil.copyfile(place / "last.ckpt", again / "last.ckpt")
    redraw(again / "last.ckpt", 9)
    labelling.relabel(folder.root, spec)
    both = read_table(folder.pseudo(1, 0) / "ledger-2.parquet")
    assert set(both["image"]) == set(first["image"])
    old, new = (set(both.filter(pl.col("pass") == number)["image"]) for number in (1, 2))
    assert old == set(first.filter(pl.col("used"))["image"]) and new == set(first["image"]) - old and new
    makers = both.filter(pl.col("pass") == 2).explode("made_by")["made_by"]
    assert set(makers) == {"round-1/first/fold-0/last.ckpt"}


def test_soft_maps_that_were_cleaned_away_are_made_again(folder):
    spec = spec_of(folder, 0)
    labelling.label(folder.root, spec)
    images = read_table(folder.pseudo(1, 0) / "ledger.parquet")["image"].unique(maintain_order=True).to_list()
    before = ProbabilityStore(folder.pseudo(1, 0) / "soft").read(name_of(images[0]))
    labelling.clean_soft(folder, 1)
    assert not (folder.pseudo(1, 0) / "soft").exists()
    labelling.restore_soft(folder.root, spec, images)
    np.testing.assert_array_equal(ProbabilityStore(folder.pseudo(1, 0) / "soft").read(name_of(images[0])), before)


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ((), False),
        (("selftrain.method.keep_soft=true",), True),
        (("selftrain.method.labels=soft", 'selftrain.method.loss=[{"kind": "kl"}]'), True),
    ],
)
def test_maps_stay_as_long_as_they_are_needed(folder, monkeypatch, settings, kept):
    asked = []
    monkeypatch.setattr(ProbabilityStore, "check_room", lambda self, shapes: asked.append(shapes))
    spec = spec_of(folder, 0, "selftrain.method.keep_soft=false", "train.scale=0.5", *settings)
    whole, section = stages.decided(folder, spec), load_recipe(folder.recipe).selftrain
    pools = [len(pool_of_fold(folder, whole, section, fold)) for fold in (0, 1)]
    labelling.label(folder.root, spec)
    assert (folder.pseudo(1, 0) / "soft").exists() == kept
    categories = len(whole.categories)
    assert asked[0] == [(categories, 16, 24)] * (sum(pools) if kept else pools[0])  # half of 32 x 48
    other = other_run(folder, "other", 7)
    labelling.label(folder.root, spec_of(folder, 1, f'selftrain.method.fused_with=["{other}"]'))
    assert asked[1] == [(categories, 32, 48)] * pools[1]  # fused at full size; those of fold 0 are there, or gone


def test_a_network_that_has_seen_what_scores_the_fold_is_caught(folder):
    whole = stages.decided(folder, spec_of(folder, 0))
    check_honest(folder, whole, 0, seen_by(folder, 0, 0))
    folds = read_folds(folder.folds)
    leaked = folds.filter(pl.col("fold") == 0)["image"][0]
    write_json(folder.fold(0) / "start.json", {"checkpoint": "x", "checked": True, "leaked": [], "seen": [leaked]})
    assert leaked in seen_by(folder, 0, 0)
    with pytest.raises(AssertionError, match="has seen"):
        check_honest(folder, whole, 0, seen_by(folder, 0, 0))


def test_strangers_are_left_out_of_the_pool_unless_they_are_kept(folder):
    spec = spec_of(folder, 0)
    whole, section = stages.decided(folder, spec), load_recipe(folder.recipe).selftrain
    pool = pool_of_fold(folder, whole, section, 0)
    assert pool
    findings = read_table(folder.findings)
    row = {"image": pool[0], "kind": "outlier_mahalanobis", "severity": "warning"}
    write_table(folder.findings, pl.concat([findings, pl.DataFrame([row])], how="diagonal"))
    assert pool_of_fold(folder, whole, section, 0) == pool[1:]
    assert pool_of_fold(folder, whole, section.model_copy(update={"aliens": "keep"}), 0) == pool


def test_a_pool_has_no_masks_that_could_be_looked_up(folder):
    spec = spec_of(folder, 0, 'selftrain.method={"kind": "fixmatch"}') | {"step": "train"}
    whole, wanted = stages.decided(folder, spec), load_recipe(folder.recipe).selftrain
    training, pool = rounds._images(folder, whole, read_folds(folder.folds), spec, wanted)
    assert len(pool.labelled) == 0 and pool.images == pool_of_fold(folder, whole, wanted, 0)
    assert set(training.images) == set(read_folds(folder.folds).filter(pl.col("fold") == 1)["image"])


def test_where_no_object_can_be_relied_on_there_are_no_files_of_any(folder):
    """The folders are there all the same: the task has made what it is to make."""
    spec = spec_of(folder, 0)
    write_json(folder.root / "round-1" / "pseudo" / "objectness.json", Judges(Objectness(), {}).to_plain())
    whole, method = stages.decided(folder, spec), load_recipe(folder.recipe).selftrain.method
    job = labelling._Job(folder, whole, method, 1, 0, False, InstancesSpec())
    assert list(labelling._labelled(job, spec, [], [folder.fold(0) / "last.ckpt"], ranked=True)) == []
    assert [[*(job.place / kind).iterdir()] for kind in ("labels", "objects")] == [[], []]


@pytest.mark.parametrize(("share", "protocol", "step", "real"), [
    ("0.5", "mixed", "train", True),
    ("0", "mixed", "train", False),
    ("0", "pretrain_finetune", "pretrain", False),
    ("0", "pretrain_finetune", "train", True),
])  # fmt: skip
def test_a_share_of_none_leaves_the_labelled_images_out(folder, share, protocol, step, real):
    settings = (f"selftrain.method.labelled_share={share}", f"selftrain.protocol={protocol}")
    spec = spec_of(folder, 0, *settings) | {"step": step}
    labelling.label(folder.root, spec)
    whole, wanted = stages.decided(folder, spec), load_recipe(folder.recipe).selftrain
    training, _ = rounds._images(folder, whole, read_folds(folder.folds), spec, wanted)
    labelled = set(read_folds(folder.folds).filter(pl.col("fold") == 1)["image"])
    assert labelled & set(training.images) == (labelled if real else set())
    assert bool(set(training.images) - labelled) == (step == "pretrain" or protocol == "mixed")


def test_hard_images_are_those_with_the_lowest_scores(folder):
    spec = spec_of(folder, 0, 'selftrain.hard={"how": "move", "share": 0.25}', "selftrain.protocol=mixed")
    rounds.find_hard(folder.root, spec)
    hard = pl.read_csv(folder.root / "round-1" / "hard.csv")
    whole = stages.decided(folder, spec)
    folds = stages.scored(whole, read_folds(folder.folds).filter(pl.col("fold") >= 0))
    scores = {}
    for row, image in enumerate(folds["image"]):
        truth = whole.only(folds["image"].to_list()).read_label(row)
        maps = to_full_size(ProbabilityStore(folder.store("oof")).read(name_of(image)), truth.shape)
        known, said, found = truth != 255, maps.argmax(0), []
        for category in range(len(maps)):
            one, two = (truth == category) & known, (said == category) & known
            if (one | two).any():
                found.append((one & two).sum() / (one | two).sum())
        scores[image] = np.mean(found)  # pooled IoU of one image is the mean of its IoUs
    lowest = sorted(scores, key=scores.get)[: hard.height]
    assert hard.height == int(0.25 * folds.height)
    assert set(hard["image"]) == set(lowest)
    assert set(hard["image"]) <= kept_apart(folder, folds)


def test_a_round_has_tasks_once_the_one_before_was_adopted(folder):
    recipe = load_recipe(folder.recipe)
    recipe = apply_settings(recipe, ["selftrain.rounds=2"])
    names = [task.name for task in _TASKS["selftrain"](folder, recipe)]
    assert names == [
        "selftrain-1-precision",
        *("selftrain-1-pseudo-0", "selftrain-1-train-0", "selftrain-1-pseudo-1", "selftrain-1-train-1"),
        *("selftrain-1-oof", "selftrain-1-adopt"),
    ]
    assert not _TASKS["selftrain"](folder, apply_settings(recipe, ["selftrain.rounds=0"]))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["selftrain.rounds=1", "split.folds=1"], "split.folds of at least 2"),
        (["selftrain.rounds=1", "selftrain.protocol=labelled_only"], "would repeat round 0"),
        (["selftrain.protocol=pretrain_mixed", 'selftrain.method={"kind": "fixmatch"}'], "no labels before"),
        (["selftrain.rounds=1", "selftrain.method.labels=soft", 'loss=[{"kind": "lovasz"}]'], "lovasz can learn from"),
        (
            ["selftrain.rounds=1", 'selftrain.method.images={"kind": "agreement"}', "predict.checkpoint=best"],
            "predict.checkpoint to last",
        ),
        (["selftrain.rounds=1", 'selftrain.method.images={"kind": "ensemble"}'], "and one labels: name other runs"),
        (["selftrain.rounds=1", "report.price_of_leaks=true"], "supervised trainings"),
        (["selftrain.method.pixel=1"], "pixels"),
    ],
)
def test_what_cannot_be_is_told_by_the_recipe(base, settings, said):
    recipe = apply_settings(load_recipe(base.recipe), ["selftrain.rounds=0"])
    with pytest.raises(RecipeError, match=said):
        apply_settings(recipe, settings)


def test_how_another_run_predicts_is_part_of_what_labels_are_made_from(folder, tmp_path, monkeypatch):
    other = RunFolder(tmp_path / "other")
    other.root.mkdir()
    monkeypatch.setattr(pool, "trained", lambda run, recipe: {"train-fold-0": "f"})
    monkeypatch.setattr(pool, "_untrained", lambda run: [])
    recipe = load_recipe(folder.recipe)
    settings = ["selftrain.rounds=1", f'selftrain.method={{kind: pseudo_labels, fused_with: ["{other.root}"]}}']
    own, found = apply_settings(recipe, settings), []
    for setting in ("predict.tta=[identity]", "predict.tta=[identity, flip_lr]", "report.thumbnails=1"):
        other.recipe.write_text(dump_recipe(apply_settings(recipe, [setting])))
        found.append(pool.other_trainings(own))
    assert found[0] != found[1]
    assert found[2][str(other.root)].keys() == {"train-fold-0", "predict"}


def test_a_folder_of_the_pool_may_be_called_as_ours(folder):
    """Whose soft labels are of the first pass is known by the ledger, not by what a path looks like."""
    spec = spec_of(folder, 0, "selftrain.method.labels=soft", 'selftrain.method.loss=[{"kind": "kl"}]')
    labels = {"unlabeled/labels-2/x.png": "@run/round-1/pseudo/fold-0/labels/unlabeled/labels-2/x.png"}
    second = {"unlabeled/y.png": "@run/round-1/pseudo/fold-0/labels-2/unlabeled/y.png"}
    found = rounds.soft_files(folder, spec, labels | second)
    place = folder.pseudo(1, 0)
    assert found == {
        "unlabeled/labels-2/x.png": str(place / "soft" / "unlabeled/labels-2/x.npz"),
        "unlabeled/y.png": str(place / "soft-2" / "unlabeled/y.npz"),
    }
