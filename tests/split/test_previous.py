"""Images that were in an earlier cut keep their place when others are added."""

from __future__ import annotations

import pytest

from make_contents import folds_of, images_of, split
from maskwright.errors import DataError
from maskwright.recipe.data import SplitSpec
from maskwright.split import HELD_OUT, POOL, Stated


def earlier(found):
    return Stated({i: POOL if fold is None else fold for i, fold in folds_of(found).items()})


def shares_of(images):
    return {image: (1000, 50 * (k % 4 == 0)) for k, image in enumerate(images)}


def grown(spec, before, after, **more):
    old, images = images_of(before), images_of(after)
    first = split(old, spec, shares_of(old))
    return folds_of(first), split(images, spec, shares_of(images), previous=earlier(first), **more)


@pytest.mark.parametrize("labelled", [None, 0.5])
def test_old_images_stay_and_new_ones_fill_up_what_is_short(labelled):
    spec = SplitSpec(folds=3, holdout=0.2, labelled=labelled)
    before, found = grown(spec, 60, 100)
    now = folds_of(found)
    assert found.certificate["moved"] == []
    kept = {image: fold for image, fold in before.items() if fold is not None}
    assert {image: now[image] for image in kept} == kept
    assert list(now.values()).count(HELD_OUT) == 20
    if labelled:  # what was in the pool is never held out
        assert all(now[image] != HELD_OUT for image, fold in before.items() if fold is None)
        assert sum(fold not in (None, HELD_OUT) for fold in now.values()) == 40
    else:
        assert max(abs(list(now.values()).count(k) - 80 / 3) for k in range(3)) < 2


def test_nothing_added_changes_nothing():
    before, found = grown(SplitSpec(folds=4, holdout=0.1), 40, 40)
    assert folds_of(found) == before


def test_the_held_out_part_of_before_is_gone_on_with_where_the_share_is_open():
    """99 images hold nothing out by default, 100 would: what was cut without goes on without, and the other way."""
    _, found = grown(SplitSpec(folds=3), 99, 130)
    assert HELD_OUT not in folds_of(found).values()
    assert found.spec.holdout == 0


def test_a_new_link_moves_the_fewest_images_and_is_said():
    old, images = images_of(6), images_of(7)
    previous = Stated(dict(zip(old, [0, 0, 1, 1, HELD_OUT, HELD_OUT], strict=True)))
    spec = SplitSpec(folds=2, holdout=0.3)
    found = split(images, spec, previous=previous, duplicates=[[images[0], images[1], images[2]]])
    assert folds_of(found)[images[2]] == 0
    assert found.certificate["moved"] == [{"image": images[2], "before": 1, "now": 0}]
    tied = split(images, spec, previous=previous, duplicates=[[images[0], images[4]]])
    assert folds_of(tied)[images[0]] == HELD_OUT  # of places with as many images, the held-out part is first


def test_a_new_copy_follows_the_image_that_was_there():
    images = images_of(9)
    previous = Stated(dict(zip(images[:6], [0, 0, 1, 1, HELD_OUT, HELD_OUT], strict=True)))
    found = split(images, SplitSpec(folds=2, holdout=0.3), previous=previous, duplicates=[[images[5], images[8]]])
    assert folds_of(found)[images[8]] == HELD_OUT


def test_an_earlier_cut_with_other_folds_is_refused():
    images = images_of(6)
    previous = Stated(dict(zip(images, [0, 1, 2, 0, 1, 2], strict=True)))
    with pytest.raises(DataError, match="one with fold 2"):
        split(images, SplitSpec(folds=2), previous=previous)
