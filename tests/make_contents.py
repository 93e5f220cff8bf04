"""Tables of what labelled images hold, as the audit writes them."""

from __future__ import annotations

import polars as pl

from maskwright.split import split_images

NAMES = ("background", "rare")


def images_of(count):
    return [f"images/{i:03d}.png" for i in range(count)]


def even(images):
    return dict.fromkeys(images, (90, 10))


def contents_of(images, shares):
    schema = {"image": pl.String, "pixels": pl.List(pl.Int64)}
    return pl.DataFrame([(i, list(shares[i])) for i in images], schema=schema, orient="row")


def split(images, spec, shares=None, groups=None, **more):
    groups = groups or {}
    known = {image: groups.get(image) for image in images}
    return split_images(contents_of(images, shares or even(images)), spec, names=NAMES, groups=known, **more)


def folds_of(found):
    return dict(zip(found.table["image"], found.table["fold"], strict=True))
