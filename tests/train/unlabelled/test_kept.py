"""What is kept and thrown away, counted one by one, and what is called a collapse."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from maskwright.recipe import Recipe, apply_settings
from maskwright.recipe.data import DataSpec
from maskwright.recipe.unlabelled import FixMatchSpec
from maskwright.train.unlabelled.domains import gone_on
from maskwright.train.unlabelled.kept import KeptLabels
from maskwright.types import IGNORE

NAMES = ("ground", "root", "never")


def test_shares_are_those_of_a_count():
    rng, kept = np.random.default_rng(0), KeptLabels(NAMES, FixMatchSpec())
    labels = [rng.choice([0, 1, IGNORE], (2, 8, 8)) for _ in range(3)]
    sure = [rng.random((2, 8, 8)) for _ in range(3)]
    for one, confidence in zip(labels, sure, strict=True):
        truth = torch.zeros(2, 16, 16, dtype=torch.int64)
        kept.add(torch.from_numpy(one), torch.from_numpy(confidence > 0.6), torch.from_numpy(confidence), truth)
    row, said = kept.row()
    whole, known = np.concatenate(labels), np.concatenate(sure)
    taken = known > 0.6
    for number, name in enumerate(NAMES[:2]):
        assert row[f"kept_{name}"] == pytest.approx((taken & (whole == number)).sum() / (whole == number).sum())
        share = (taken & (whole == number)).sum() / (taken & (whole != IGNORE)).sum()
        assert row[f"share_{name}"] == pytest.approx(share)
    assert math.isnan(row["kept_never"])
    assert row["share_never"] == 0
    assert row["confidence"] == pytest.approx(known[whole != IGNORE].mean())
    assert said == ""
    assert all(math.isnan(value) for value in kept.row()[0].values())  # counted from anew


def add(kept, counts, truth=(80, 15, 5), progress=1.0):
    """Count an epoch in which so many pixels are kept as each category."""
    labels = torch.repeat_interleave(torch.arange(3), torch.tensor(counts)).reshape(1, 1, -1)
    shares = (torch.tensor(truth) / sum(truth)).reshape(1, 3, 1, 1).expand(1, 3, 8, 8)
    kept.add(labels, torch.ones_like(labels, dtype=torch.bool), torch.ones(labels.shape), shares)
    return kept.row(progress)[1]


def test_a_category_that_goes_is_named_once_it_was_there():
    kept = KeptLabels(NAMES, FixMatchSpec())
    assert add(kept, [900, 99, 0]) == ""
    assert add(kept, [900, 90, 10]) == ""  # `never` has 1 %
    assert add(kept, [900, 99, 0]) == "never has no labels left"
    assert add(kept, [900, 99, 1]) == ""
    assert add(kept, [90_000, 9_991, 9]) == "never has hardly any labels left"  # .9 hundredths of 1 %
    assert add(kept, [90_000, 9_989, 11]) == ""
    few = KeptLabels(NAMES, FixMatchSpec(gone_from=0.02))
    assert [add(few, counts) for counts in ([900, 90, 10], [900, 99, 0])] == ["", ""]


def test_a_category_that_takes_over_is_named():
    """The others have 20 % of the labelled pixels: below .05 · 20 % = 1 % of the kept ones the first has taken over."""
    kept = KeptLabels(NAMES, FixMatchSpec())
    assert add(kept, [999, 1, 0]) == ""  # so from the start: nothing has fallen
    assert add(kept, [970, 29, 1]) == ""
    assert add(kept, [989, 10, 1]) == ""  # 1.1 %
    assert add(kept, [995, 4, 1]) == "ground takes over"
    assert add(KeptLabels(NAMES, FixMatchSpec(taken_over=0)), [995, 4, 1]) == ""


def test_nothing_is_kept_any_more():
    kept = KeptLabels(NAMES, FixMatchSpec())
    assert add(kept, [900, 90, 10]) == ""
    empty = torch.full((1, 1, 4), IGNORE)
    kept.add(empty, empty == 0, torch.zeros(empty.shape), torch.zeros(1, 8, 8, dtype=torch.int64))
    row, said = kept.row()
    assert math.isnan(row["kept_ground"])
    assert said == ""  # no pixel was seen: a crop beyond the image, not a collapse
    sure = torch.zeros(1, 1, 4, dtype=torch.int64)
    kept.add(sure, sure > 0, torch.zeros(sure.shape), torch.zeros(1, 8, 8, dtype=torch.int64))
    assert kept.row()[1] == "ground has no labels left, root has no labels left, never has no labels left"


def test_the_first_labels_say_little():
    kept = KeptLabels(NAMES, FixMatchSpec(watched_from=0.2))
    labels = torch.repeat_interleave(torch.arange(3), torch.tensor([4, 4, 4])).reshape(1, 1, -1)
    kept.add(labels, labels >= 0, torch.ones(labels.shape), torch.zeros(1, 8, 8, dtype=torch.int64))
    assert kept.row(0.1)[1] == ""
    assert add(kept, [100, 0, 0]) == ""  # it knows of no others


def test_the_first_labels_of_a_network_that_was_trained_say_much(tmp_path):
    settings = ["selftrain.method={kind: fixmatch}"]
    recipe = apply_settings(Recipe(data=DataSpec(root=".")), settings)
    for start, said in ((None, ""), (tmp_path / "last.ckpt", "never has no labels left")):
        kept = KeptLabels(NAMES, gone_on(recipe, start).selftrain.method)
        assert add(kept, [900, 90, 10], progress=0.125) == ""
        assert add(kept, [900, 100, 0], progress=0.25) == said


def test_a_category_that_never_begins_is_missing_once_it_is_time():
    """`never` has 5 % of the labelled pixels, and at first no label kept; half of the training is the limit."""
    kept = KeptLabels(NAMES, FixMatchSpec())
    for progress, missing in ((0.25, ()), (0.5, ("never",)), (0.75, ("never",))):
        add(kept, [900, 100, 0], progress=progress)
        assert kept.missing == missing
    add(kept, [900, 99, 1], progress=0.8)
    assert kept.missing == ()
    add(kept, [900, 100, 0], progress=0.9)
    assert kept.missing == ()  # it was there: that is another matter
    rare = KeptLabels(NAMES, FixMatchSpec())
    add(rare, [900, 100, 0], truth=(800, 197, 3))  # .3 %
    never = KeptLabels(NAMES, FixMatchSpec(begun_by=1))
    add(never, [900, 100, 0])
    assert (rare.missing, never.missing) == ((), ())


def test_what_was_ever_kept_is_known_from_the_first_epoch_on_and_resumes():
    kept, other = KeptLabels(NAMES, FixMatchSpec()), KeptLabels(NAMES, FixMatchSpec())
    add(kept, [900, 99, 1], progress=0.0)
    assert kept.highest.tolist() == [0, 0, 0]
    other.load_state_dict(kept.state_dict())
    assert other.ever.tolist() == [True] * 3
