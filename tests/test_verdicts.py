"""What a verdict says beside the gain: what the round cost, where it was measured, how long labelling took."""

from __future__ import annotations

import shutil

import polars as pl
import pytest

from make_export import make_run
from maskwright.artifacts import RunFolder, read_folds, read_json, read_table, write_json, write_table, write_text
from maskwright.cli.rounds import say_rounds
from maskwright.pipeline import labelling, rounds, stages, verdicts
from maskwright.recipe import apply_settings, dump_recipe, load_recipe


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = make_run(tmp_path_factory.mktemp("verdicts"), "selftrain.rounds=1", unlabelled=4)
    spec = spec_of(folder)
    stages.predict(folder.root, spec | {"part": "oof", "round": 0})
    shutil.copytree(folder.store("oof", 0), folder.store("oof", 1))
    return folder


@pytest.fixture
def folder(base, tmp_path):
    found = RunFolder(tmp_path / "run")
    shutil.copytree(base.root, found.root)
    return found


def spec_of(folder, *settings):
    recipe = apply_settings(load_recipe(folder.recipe), list(settings))
    write_text(folder.recipe, dump_recipe(recipe))
    spec = recipe.model_dump(mode="json", include={"data", "split", "predict", "selftrain", "evaluate", "seed"})
    return spec | {"accelerator": "cpu", "round": 1, "metric": recipe.metric(), "rule": "gain"}


def why(folder, *settings):
    verdicts.adopt(folder.root, spec_of(folder, *settings))
    found = read_json(folder.root / "round-1" / "adopt.json")
    assert found["gain"]["value"] == 0  # the very same maps
    return found["why"], found


def test_a_round_that_learned_longer_says_by_how_much(folder):
    longer, found = why(folder, 'selftrain.method={"kind": "fixmatch"}', "selftrain.start=before")
    assert "its network has learned 2 times the steps of the supervised training, at 3.33 times its passes" in longer
    assert found["effort"] == {"steps": 2, "passes": pytest.approx(1 + 7 / 3)}
    same, found = why(folder, 'selftrain.method={"kind": "fixmatch"}', "selftrain.start=fresh")
    assert "as many steps as the supervised training, at 2.33 times its passes" in same


def test_how_often_such_a_choice_was_right_is_told_of_the_rule_alone(folder):
    for setting, told in (("selftrain.adopt=gain", True), ("selftrain.adopt=always", False)):
        spec = spec_of(folder, 'selftrain.method={"kind": "fixmatch"}', setting) | {"rule": setting.partition("=")[2]}
        verdicts.adopt(folder.root, spec)
        verdicts.adopted(folder.root, spec)
        found = read_json(folder.adopted)
        assert ("record" in found) == told
    assert "in our own measurements" not in found["why"]


def with_domains(folder, own, others):
    table = read_table(folder.decided / "images.parquet")
    labelled = pl.col("image").is_in(read_folds(folder.folds).drop_nulls("fold")["image"].to_list())
    domain = pl.when(labelled).then(pl.lit(own)).otherwise(pl.lit(others))
    write_table(folder.decided / "images.parquet", table.with_columns(domain=domain))


FIXMATCH = ('selftrain.method={"kind": "fixmatch"}', "selftrain.start=fresh")


def test_where_the_pool_is_another_domain_the_score_is_said_to_be_the_sources(folder):
    assert "measured on" not in why(folder, *FIXMATCH)[0]
    with_domains(folder, "day", "dusk")
    assert "measured on images of day, and says little of the pool's dusk" in why(folder)[0]
    with_domains(folder, "day", "day")
    assert "measured on" not in why(folder)[0]


@pytest.mark.parametrize(("shift", "p", "said"), [(0.5, 0.01, True), (0.5, 0.3, False), (0.05, 0.01, False)])
def test_a_pool_that_looks_otherwise_is_said_to_where_that_is_no_chance(folder, shift, p, said):
    row = {"column": "labels", "name": "unlabelled", "shift": shift, "p": p}
    known = read_table(folder.audit / "parts.parquet")
    rows = pl.DataFrame([row], schema={name: known.schema[name] for name in row})
    write_table(folder.audit / "parts.parquet", pl.concat([rows, known.clear()], how="diagonal"))
    assert ("measured on labelled images" in why(folder, *FIXMATCH)[0]) == said


def test_the_share_of_the_networks_is_told(folder):
    spec = spec_of(folder, 'selftrain.method.pixels={"kind": "all"}')
    labelling.precision(folder.root, spec)
    for fold in (0, 1):
        labelling.label(folder.root, spec | {"fold": fold})
    write_json(folder.pseudo(1, 0) / "seconds.json", {"networks": 3.0, "all": 4.0, "images": 2})
    write_json(folder.pseudo(1, 1) / "seconds.json", {"networks": 5.0, "all": 6.0, "images": 3})
    _, found = why(folder)
    told = read_json(folder.root / "round-1" / "pseudo" / "seconds.json")
    assert told == {"networks": 8.0, "all": 10.0, "images": 5, "share": 0.8}
    assert [one["fold"] for one in found["images"]] == [0, 1] and found["labels"]
    ledger = read_table(folder.root / "round-1" / "pseudo" / "ledger.parquet")
    assert set(ledger["fold"]) == {0, 1}


def test_images_are_scored_one_by_one_whatever_their_number(folder, monkeypatch):
    spec = spec_of(folder, 'selftrain.hard={"share": 0.25}')
    rounds.find_hard(folder.root, spec)
    whole = (folder.root / "round-1" / "hard.csv").read_bytes()
    monkeypatch.setattr(rounds, "_TOGETHER", 3)
    rounds.find_hard(folder.root, spec)
    assert (folder.root / "round-1" / "hard.csv").read_bytes() == whole


def test_a_category_that_nobody_predicts_is_named_with_the_folds(folder, capsys):
    spec = spec_of(folder, 'selftrain.method.pixels={"kind": "all"}')
    labelling.precision(folder.root, spec)
    for fold in (0, 1):
        labelling.label(folder.root, spec | {"fold": fold})
    names = stages.decided(folder, spec).categories.names
    path = folder.pseudo(1, 0) / "ledger.parquet"
    gone = pl.col("category").is_in(names[1:3])
    predicted = pl.when(gone).then(0).otherwise(pl.col("predicted") + 1).alias("predicted")
    write_table(path, read_table(path).with_columns(predicted))
    path = folder.pseudo(1, 1) / "ledger.parquet"
    write_table(path, read_table(path).with_columns(pl.col("predicted") + 1))
    _, found = why(folder)
    assert found["never_predicted"] == {names[1]: [0], names[2]: [0]}
    say_rounds({"rounds": [found | {"round": 1}], "why": found["why"]})
    said = " ".join(capsys.readouterr().err.split())
    assert f"round 1: {names[1]} is predicted nowhere in the pool by the network of fold 0" in said
