"""A training whose pseudo-labels collapse goes back, ends or goes on, and does so again where it was cut short."""

from __future__ import annotations

from types import SimpleNamespace

import polars as pl
import pytest
import torch

from make_pool import PowerCutError, same, train
from maskwright.recipe.unlabelled import FixMatchSpec
from maskwright.train.unlabelled import collapse
from maskwright.train.unlabelled.kept import KeptLabels

METHOD = "selftrain.method={{kind: unimatch_v2, threshold: 0.5, collapse: {}}}"


@pytest.fixture
def collapsing(monkeypatch):
    """Let the labels be called collapsed at the end of chosen epochs, by the number of labels counted so far."""

    def install(*steps):
        plain = KeptLabels.row

        def row(self, progress):
            found, said = plain(self, progress)
            self.epochs = getattr(self, "epochs", 0) + 1
            return found, "root has no labels left" if self.epochs in steps else said

        monkeypatch.setattr(KeptLabels, "row", row)

    return install


def state(path):
    return torch.load(path, weights_only=True)


@pytest.mark.slow
def test_it_goes_back_once_with_half_the_weight_then_ends(tmp_path, data, collapsing):
    collapsing(2, 3)
    train(tmp_path / "a", data, METHOD.format("back"))
    last = state(tmp_path / "a" / "last.ckpt")
    assert last["global_step"] == 6
    assert float(last["state_dict"]["step.kept.trust"]) == 0.5
    log = (tmp_path / "a" / "log.txt").read_text()
    assert "collapsed by step 4: root has no labels left; went back to the state of the epoch before" in log
    assert "collapsed by step 6: root has no labels left; ended with the state of the epoch before" in log
    assert pl.read_csv(tmp_path / "a" / "metrics.csv")["step"].to_list() == [2, 4, 6]


@pytest.mark.slow
def test_it_ends_at_once_and_is_not_gone_on_with(tmp_path, data, collapsing):
    collapsing(2)
    train(tmp_path / "a", data, METHOD.format("stop"), "train.ema=0")
    last = state(tmp_path / "a" / "last.ckpt")
    assert last["global_step"] == 4
    before = {name: value.clone() for name, value in last["state_dict"].items()}
    train(tmp_path / "a", data, METHOD.format("stop"), "train.ema=0")
    after = state(tmp_path / "a" / "last.ckpt")["state_dict"]
    assert all(torch.equal(before[name], after[name]) for name in before)
    with pytest.raises(PowerCutError):  # what it went back to: the state after two steps
        train(tmp_path / "b", data, METHOD.format("stop"), "train.ema=0", stop_at=3)
    two = state(tmp_path / "b" / "last.ckpt")["state_dict"]
    assert all(torch.equal(after[name], two[name]) for name in two)


@pytest.mark.slow
def test_it_goes_on_where_it_is_told_to(tmp_path, data, collapsing):
    train(tmp_path / "a", data, METHOD.format("on"))
    collapsing(2)
    train(tmp_path / "b", data, METHOD.format("on"))
    assert same(tmp_path / "a" / "last.ckpt", tmp_path / "b" / "last.ckpt")
    assert "went on" in (tmp_path / "b" / "log.txt").read_text()


@pytest.mark.slow
def test_cut_short_after_going_back_it_ends_the_same(tmp_path, data, collapsing):
    collapsing(2)
    train(tmp_path / "whole", data, METHOD.format("back"))
    with pytest.raises(PowerCutError):
        train(tmp_path / "cut", data, METHOD.format("back"), stop_at=5)
    train(tmp_path / "cut", data, METHOD.format("back"))
    assert same(tmp_path / "whole" / "last.ckpt", tmp_path / "cut" / "last.ckpt")
    assert "went back" in (tmp_path / "cut" / "log.txt").read_text()


def never_begins(monkeypatch):
    """Let the second category be missing at the end of every epoch."""
    plain = KeptLabels.row

    def row(self, progress):
        found, _ = plain(self, progress)
        self.missing = ("root",)
        return found, ""

    monkeypatch.setattr(KeptLabels, "row", row)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("collapse", "steps", "trust", "said"),
    [
        ("back", 6, 0.0, ["by step 2; went on with half the weight", "by step 4; went on from labels alone"]),
        ("stop", 2, 1.0, ["by step 2; ended"]),
        ("on", 6, 1.0, ["by step 2; went on"]),
    ],
)
def test_a_category_that_never_begins(tmp_path, data, monkeypatch, collapse, steps, trust, said):
    never_begins(monkeypatch)
    train(tmp_path / "a", data, METHOD.format(collapse))
    last = state(tmp_path / "a" / "last.ckpt")
    assert last["global_step"] == steps
    assert float(last["state_dict"]["step.kept.trust"]) == trust
    lines = (tmp_path / "a" / "log.txt").read_text().splitlines()
    assert [line for line in lines if "was kept as root" in line] == [
        f"no label of the pool was kept as root {words}" for words in said
    ]
    assert "the teacher's average begins by the ramp shipping" in lines
    if collapse == "back":
        with pytest.raises(PowerCutError):
            train(tmp_path / "cut", data, METHOD.format(collapse), stop_at=5)
        train(tmp_path / "cut", data, METHOD.format(collapse))
        assert same(tmp_path / "a" / "last.ckpt", tmp_path / "cut" / "last.ckpt")


def test_a_category_that_is_missed_once_is_not_paid_for_by_another(monkeypatch, tmp_path):
    """root is missed in the first epoch, sky in the second, sky again in the third: then it is the second time."""
    kept = SimpleNamespace(trust=torch.tensor(1.0))
    monkeypatch.setattr(collapse, "kept_of", lambda module: kept)
    watch = collapse.PoolWatch(tmp_path, FixMatchSpec(collapse="back"), "score")
    trainer, trusts = SimpleNamespace(global_step=1, max_steps=9, should_stop=False), []
    for missing in (("root",), ("sky",), ("sky",), ("root",)):
        watch._never_begun(trainer, None, missing)
        trusts.append(float(kept.trust))
    assert trusts == [0.5, 0.25, 0, 0]
    assert [line.partition("; ")[2] for line in watch.lines] == [
        "went on with half the weight",
        "went on with half the weight",
        "went on from labels alone",
    ]
    again = collapse.PoolWatch(tmp_path, FixMatchSpec(collapse="back"), "score")
    again.load_state_dict(watch.state_dict())
    assert again.state_dict() == watch.state_dict()
