"""Shards: disjoint, complete, resumable, at the same time; the table of results and the command line."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import polars as pl
import pytest
from PIL import Image
from small_networks import a_checkpoint, labels_of

from maskwright.cli import main
from maskwright.errors import DataError, RecipeError, UsageError
from maskwright.predict import Shard, predict_folder
from maskwright.predict.results import SCHEMA, ResultLog
from maskwright.recipe.predict import PredictSpec

COUNT = 3


@pytest.fixture
def images(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(12):
        path = tmp_path / "images" / f"{'deep/' if number % 2 else ''}i{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (20 + number, 30), dtype=np.uint8)).save(path)
    return tmp_path / "images"


@pytest.fixture
def checkpoint(tmp_path):
    return a_checkpoint(tmp_path / "a.ckpt")


def test_shards_are_disjoint_complete_and_do_not_move():
    names = [f"a/{number}" for number in range(3000)]
    parts = [[name for name in names if name in Shard(k, 7)] for k in range(1, 8)]
    assert sorted(name for part in parts for name in part) == sorted(names)
    assert all(360 < len(part) < 500 for part in parts)  # 428.6 expected, standard deviation 19
    assert [name for name in names[::2] if name in Shard(2, 7)] == [name for name in parts[1] if int(name[2:]) % 2 == 0]
    assert all(name in Shard(1, 1) for name in names)
    for number, count in ((0, 3), (4, 3), (-1, 3)):
        with pytest.raises(UsageError, match="a shard from 1 to 3"):
            Shard(number, count)


def test_shards_at_the_same_time_make_what_one_call_makes(images, checkpoint, tmp_path):
    predict_folder([checkpoint], images, tmp_path / "whole")
    out = tmp_path / "out"
    with ThreadPoolExecutor(COUNT) as pool:
        made = list(pool.map(lambda k: predict_folder([checkpoint], images, out, shard=Shard(k, COUNT)), range(1, 4)))
    whole, found = labels_of(tmp_path / "whole"), labels_of(out)
    assert whole.keys() == found.keys()
    assert all(np.array_equal(whole[name], found[name]) for name in whole)
    assert sum(map(len, made)) == 12
    tables = [pl.read_parquet(out / f"predictions-{k:05d}-of-00003.parquet") for k in (1, 2, 3)]
    for table, paths in zip(tables, made, strict=True):
        assert dict(table.schema) == SCHEMA
        assert [out / label for label in table["label"]] == paths
        assert table["entropy"].null_count() == table.height
        assert (table["seconds"] > 0).all()
    every = pl.read_parquet(out / "predictions*.parquet").sort("name")
    assert every["name"].to_list() == sorted(name.removesuffix(".png") for name in whole)
    assert every["height"].to_list() == [whole[f"{name}.png"].shape[0] for name in every["name"]]


def test_a_shard_that_was_cut_short_goes_on_and_its_table_is_whole(images, checkpoint, tmp_path):
    out, shard = tmp_path / "out", Shard(1, 2)
    made = predict_folder([checkpoint], images, out, shard=shard)
    table = pl.read_parquet(out / "predictions-00001-of-00002.parquet")
    times = {path: path.stat().st_mtime_ns for path in made}
    (out / "predictions-00001-of-00002.parquet").unlink()
    made[0].unlink()
    log = out / ".shards" / shard.label / ".results.jsonl"
    log.write_text(log.read_text() + '{"name": "i', encoding="utf-8")  # killed while it was written
    assert predict_folder([checkpoint], images, out, shard=shard) == made
    again = pl.read_parquet(out / "predictions-00001-of-00002.parquet")
    assert again.drop("seconds").equals(table.drop("seconds"))
    assert {path for path in made if path.stat().st_mtime_ns != times[path]} == {made[0]}


def test_an_empty_shard_has_an_empty_table(images, checkpoint, tmp_path):
    shard = next(Shard(k, 200) for k in range(1, 201) if "i0" not in Shard(k, 200))
    assert predict_folder([checkpoint], images / "i0.png", tmp_path / "out", shard=shard) == []
    table = pl.read_parquet(tmp_path / "out" / f"predictions-{shard.label}.parquet")
    assert (table.height, dict(table.schema)) == (0, SCHEMA)


def test_a_folder_is_of_one_kind(images, checkpoint, tmp_path):
    out, whole = tmp_path / "out", tmp_path / "whole"
    predict_folder([checkpoint], images, out, shard=Shard(1, 2))
    predict_folder([checkpoint], images, whole)
    for place, shard in ((out, None), (out, Shard(1, 3)), (whole, Shard(1, 2))):
        before = labels_of(place)
        with pytest.raises(UsageError, match="give another --out"):
            predict_folder([checkpoint], images, place, shard=shard)
        assert labels_of(place).keys() == before.keys()


def test_unreadable_files_are_named_and_the_others_in_the_table(images, checkpoint, tmp_path):
    (images / "i0.png").write_bytes((images / "i0.png").read_bytes()[:60])
    with pytest.raises(DataError, match=r"1 that can't(.|\n)*i0\.png"):
        predict_folder([checkpoint], images, tmp_path / "out", uncertainty=True)
    assert pl.read_parquet(tmp_path / "out" / "predictions.parquet").height == 11


def test_the_last_line_of_a_name_counts(tmp_path):
    log = ResultLog(tmp_path)
    blank = dict.fromkeys(SCHEMA)
    for name, height in (("a", 1), ("b", 2), ("a", 3), ("gone", 4)):
        log.add(blank | {"name": name, "height": height})
    assert log.gather(["b", "a", "c"], tmp_path / "t.parquet") == 2
    assert pl.read_parquet(tmp_path / "t.parquet").select("name", "height").rows() == [("b", 2), ("a", 3)]


def test_uncertainty_of_one_network_and_of_two(images, checkpoint, tmp_path):
    pair = [checkpoint, a_checkpoint(tmp_path / "b.ckpt", 7)]
    for name, paths in (("one", pair[:1]), ("two", pair)):
        predict_folder(paths, images, tmp_path / name, uncertainty=True)
        predict_folder(paths, images, tmp_path / f"{name}-plain")
        plain, found = labels_of(tmp_path / f"{name}-plain"), labels_of(tmp_path / name)
        assert all(np.array_equal(plain[label], found[label]) for label in plain)
        assert len([label for label in found if label.startswith("entropy/")]) == 12
    one, two = (pl.read_parquet(tmp_path / name / "predictions.parquet") for name in ("one", "two"))
    assert one["disagreement"].null_count() == 12
    assert two.filter((pl.col("disagreement") > 0) & (pl.col("disagreement") < pl.col("entropy"))).height == 12
    shown = labels_of(tmp_path / "two")["disagreement/i0.png"]
    assert shown.mean() / 255 == pytest.approx(two.filter(pl.col("name") == "i0")["disagreement"][0], abs=0.01)


def test_what_is_never_predicted_is_not_there_and_unknown_names_are_refused(images, checkpoint, tmp_path):
    predict_folder([checkpoint], images, tmp_path / "out", spec=PredictSpec(never=("a",)))
    assert all((label == 9).all() for label in labels_of(tmp_path / "out").values())  # b has the id 9
    with pytest.raises(RecipeError, match=r"names among a, b, got c(.|\n)*predict\.never"):
        predict_folder([checkpoint], images, tmp_path / "other", spec=PredictSpec(never=("c",)))
    assert not (tmp_path / "other").exists()


def test_the_command(capsys, run_folder, images, tmp_path):
    out = tmp_path / "out"
    words = ["predict", str(run_folder), str(images), "--out", str(out), "--uncertainty"]
    parts = ["--shards", "2", "--shard", "1"]
    assert main([*words, *parts, "--set", "predict.never=[a]", "--json"]) == 0
    files = json.loads(capsys.readouterr().out)["files"]
    assert 0 < len(files) < 12
    assert pl.read_parquet(out / "predictions-00001-of-00002.parquet")["entropy"].max() == 0  # b is certain
    for wrong, said in (
        (["--shards", "2"], "--shards alone"),
        (["--shard", "2"], "--shard alone"),
        (["--shards", "2", "--shard", "3"], "a shard from 1 to 2"),
        (["--set", "train.lr=1"], "predict.*"),
        (["--set", "predict.never=[water]"], "names among a, b"),
    ):
        assert main(["predict", str(run_folder), str(images), "--out", str(tmp_path / "new"), *wrong]) == 2
        assert said in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "new").exists()
