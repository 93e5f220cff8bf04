"""`maskwright selftrain` where nothing says how it learns: on from the supervised network, taught by an average."""

from __future__ import annotations

from pathlib import Path

import pytest

from maskwright.artifacts import read_folds, read_json, read_table
from maskwright.cli import main
from maskwright.data.synthetic import make_playground
from maskwright.recipe import load_recipe
from maskwright.recipe.unlabelled import OURS
from test_selftrain_run import SMALL


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_default_goes_on_from_the_supervised_network_of_its_own_fold(tmp_path):
    make_playground(tmp_path / "data", labelled=12, unlabelled=6, size=(48, 64), planted=False)
    run = tmp_path / "run"
    pairs = [f"--set={key}={value}" for key, value in SMALL.items() if "method" not in key]
    assert main(["selftrain", "--data", str(tmp_path / "data"), "--out", str(run), "--folds", "2", *pairs]) == 0
    assert load_recipe(run / "recipe.yaml").selftrain.method == OURS
    assert not (run / "round-1" / "pseudo").exists()
    for fold in (0, 1):
        note = read_json(run / "round-1" / f"fold-{fold}" / "start.json")
        assert Path(note["checkpoint"]) == run / "round-0" / f"fold-{fold}" / "last.ckpt"
        folds = read_folds(run / "folds.csv")
        assert not set(note["seen"]) & set(folds.filter(folds["fold"] == fold)["image"])
        columns = read_table(run / "round-1" / f"fold-{fold}" / "metrics.csv").columns
        assert any(name.startswith("threshold_") for name in columns)
    for number in (0, 1):  # of the labelled crops in rounds, too
        table = read_table(run / f"round-{number}" / "fold-0" / "metrics.csv")
        assert table["train_pooled_miou"].is_between(0, 1).all()
        own = {name.removeprefix("train_") for name in table.columns if name.startswith("train_iou_")}
        assert own
        assert own <= {*table.columns}
    page = (run / "predictions" / "report.html").read_text()
    assert "From which confidence on labels of the pool are kept" in page
