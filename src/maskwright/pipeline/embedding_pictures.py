"""Embeddings of a few predicted images as pictures: one set of colours for what one network says, balls, objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import polars as pl

from maskwright.artifacts import RunFolder, read_folds, write_bytes, write_table
from maskwright.cluster import Balls, anchor_balls
from maskwright.data.formats.files import name_of
from maskwright.data.images import read_image
from maskwright.data.index import Index
from maskwright.data.intensity import resize_instances
from maskwright.data.store import ProbabilityStore
from maskwright.instances.store import read_objects, read_seen, thinned_out
from maskwright.labels import InstanceMap, components
from maskwright.pictures import Basis, ball_picture, encode, fit, instance_picture, side_by_side, to_rgb8
from maskwright.pipeline.stages import EMBEDDED, jobs
from maskwright.pipeline.teams import things_of_teams
from maskwright.recipe.instances import InstancesSpec
from maskwright.recipe.margin import margin_at
from maskwright.types import Array

EMBEDDINGS = "embeddings"
"""Folder of the pictures in predictions/, and name of the table beside it."""
_LONGEST = 320
_SCHEMA: dict[str, Any] = {
    "part": pl.String,
    "fold": pl.Int64,
    "image": pl.String,
    "shown": pl.Float64,
    "anchors": pl.Int64,
    "iou": pl.Float64,
}


def draw_embeddings(folder: RunFolder, whole: Index, parts: Sequence[str], instances: InstancesSpec) -> None:
    """Draw predictions/embeddings/NAME.jpg of the images whose embeddings were kept: and embeddings.parquet.

    From left to right: the image, its embeddings, these darker with balls around anchors, the objects over the image.
    Embeddings of one network are comparable, so the images of a fold have the same colours, and so have those that all
    networks predict together. The table has the share of the variance that the colours of a set show, how many balls
    are drawn in each image, and the median of their IoU with their objects.

    Args:
        folder: of the run.
        whole: its index.
        parts: that were predicted with objects.
        instances: how they were told apart.
    """
    folds = read_folds(folder.folds)["fold"].drop_nulls().to_list()
    count, rows = max(folds, default=-1) + 1, list[dict[str, Any]]()
    for part in parts:
        store = ProbabilityStore(folder.store(part))
        for networks, images in jobs(folder, whole, part, count):
            kept = {image: read_seen(store, name_of(image)) for image in images[:EMBEDDED]}
            seen = {image: found.astype(np.float64) for image, found in kept.items() if found is not None}
            if seen:
                fold = networks[0] if part == "oof" else None
                told = things_of_teams(folder, instances, whole.categories, networks, folder.adopted_round)
                drawn = _draw_set(folder, whole, store, seen, instances, told)
                rows += [{"part": part, "fold": fold} | one for one in drawn]
    write_table(folder.predictions / f"{EMBEDDINGS}.parquet", pl.DataFrame(rows, schema=_SCHEMA))


def _draw_set(
    folder: RunFolder,
    whole: Index,
    store: ProbabilityStore,
    seen: dict[str, Array],
    instances: InstancesSpec,
    told: Sequence[Sequence[int]],
) -> list[dict[str, Any]]:
    """Draw the images of a set, whose networks told things apart between them; return a row of the table for each."""
    finite = [found[:, np.isfinite(found).all(axis=0)].T for found in seen.values()]
    if not any(map(len, finite)):  # a network that has diverged, where it says nothing of things
        return []
    basis, rows = Basis.of(np.concatenate(finite)), list[dict[str, Any]]()
    radius = margin_at(instances.loss.pull_margin, 1.0)
    for image, embeddings in seen.items():
        name = name_of(image)
        objects = read_objects(store, name)
        label, small = thinned_out(store.read(name).argmax(axis=0)), thinned_out(objects)
        team = sum((k * np.isin(label, things) for k, things in enumerate(told, 1)), np.zeros(label.shape, np.int64))
        pieces, count = components(team > 0) if instances.apart else (np.zeros(label.shape, np.int64), 0)
        regions = team * (count + 1) + pieces
        found = anchor_balls(small, embeddings, radius, mask=team > 0, regions=regions, where=image)
        picture = _row(_shown(whole, image), basis.picture(embeddings), found, objects)
        write_bytes(folder.predictions / EMBEDDINGS / f"{name}.jpg", encode(picture, "jpeg", 85))
        iou = float(np.median(found.ious)) if len(found.ious) else None
        rows.append({"image": image, "shown": basis.shown, "anchors": len(found.ious), "iou": iou})
    return rows


def _shown(whole: Index, image: str) -> Array:
    """Return an image at the size at which it is drawn; a small one is enlarged, so that anchors don't hide it."""
    pixels = to_rgb8(fit(read_image(whole.path(image)), _LONGEST))
    factor = max(1, _LONGEST // max(pixels.shape[:2]))
    return pixels.repeat(factor, axis=0).repeat(factor, axis=1)


def _row(image: Array, colors: Array, found: Balls, objects: InstanceMap) -> Array:
    """Return the panels of an image beside each other, all at its size."""
    height, width = image.shape[:2]
    large = cv2.resize(colors, (width, height), interpolation=cv2.INTER_NEAREST)
    balls = np.zeros((len(found.balls), height, width), bool)
    for k, ball in enumerate(found.balls):
        balls[k] = cv2.resize(ball.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST) > 0
    middles = (found.anchors + 0.5) * np.array([height, width]) / np.array(colors.shape[:2])
    over = instance_picture(image, resize_instances(objects, (height, width)))
    return side_by_side([image, large, ball_picture(large // 2, balls, middles.astype(np.int64)), over])
