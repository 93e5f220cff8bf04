"""A run folder that holds something of each kind to review: an audit of made images, predictions made by hand."""

import json
import shutil

import numpy as np
import polars as pl
from PIL import Image

from make_copies import COARSE, FINE, TURNED, copies_folder, half, picture, put, run
from maskwright.artifacts import write_table
from maskwright.data.store import ProbabilityStore
from maskwright.decisions import read_decisions, settled
from maskwright.review import Reply, Reviewed

ALONE, PLAIN, ODD = "unlabeled/alone.png", "images/plain.png", "unlabeled/<b>&'.png"
BOX = (16, 0, 24, 48)
"""Of the suspect region in `PLAIN`: its mask is 16 columns of rock, the prediction has 24."""


def data_folder(place):
    """As `copies_folder`, and an image without a mask whose name is markup."""
    data = copies_folder(place)
    put(data, "<b>&'", picture(5))
    return data


def review_folder(place):
    """Audit and split a made folder, then write what trainings would have: see `write_predictions`."""
    folder = run(data_folder(place / "data"))
    write_predictions(folder)
    return folder


def objects_run(place, task):
    """Audit and split a made folder whose rocks are told apart, and of which two images have no mask.

    Each mask is two rocks beside each other, 301 the first four columns, 300 the others.

    Args:
        place: where.
        task: `panoptic`; or `instances`, without the masks.
    """
    data = place / "data"
    for k in range(4):
        put(data, f"x{k}", picture(100 + k), half(8 + 4 * k))
        (data / "instances").mkdir(exist_ok=True)
        Image.fromarray(half(8 + 4 * k) * np.uint16(300) + half(4)).save(data / "instances" / f"x{k}.png")
    for k in range(2):
        put(data, f"new{k}", picture(k))
    things = [{"id": 0, "name": "background"}, {"id": 1, "name": "rock", "isthing": True}]
    (data / "classes.json").write_text(json.dumps({"categories": things}))
    if task == "instances":
        shutil.rmtree(data / "masks")
        (data / "classes.json").unlink()
    return Reviewed.of(run(data, f"data.task={task}").root)


def write_label(folder, name, label):
    path = folder.root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(label).save(path)


def write_predictions(folder):
    """Write suspects/ with one region and one shifted mask, labels of two folds that disagree, and a pool's maps."""
    row = {"image": PLAIN, "top": 0, "left": 16, "height": 48, "width": 8, "area": 384.0}
    write_table(
        folder.suspects / "suspects.parquet",
        pl.DataFrame([row | {"given": "background", "suggested": "rock", "score": 9.0}]),
    )
    moved = {"image": "images/x0.png", "shifted": True, "score": 1.0, "share": 0.1, "regions": 1}
    write_table(
        folder.suspects / "images.parquet",
        pl.DataFrame([moved | {"shift_down": 0, "shift_right": 4, "shift_gain": 0.4}]),
    )
    write_label(folder, "predictions/labels/plain.png", half(24))
    write_label(folder, "predictions/labels/unlabeled/alone.png", half(30))
    write_label(folder, f"predictions/{'labels'}/{ODD.removesuffix('.png')}.png", half(40))
    write_label(folder, f"round-1/pseudo/fold-0/{'labels'}/{ODD.removesuffix('.png')}.png", half(40))
    for fold, columns in ((0, 10), (1, 50)):
        write_label(folder, f"round-1/pseudo/fold-{fold}/labels/unlabeled/alone.png", half(columns))
    store = ProbabilityStore(folder.store("pool", 0))
    store.folder.mkdir(parents=True, exist_ok=True)
    store.write(ODD.removesuffix(".png"), np.full((2, 48, 64), 0.5, np.float32))
    write_table(folder.findings, pl.concat([pl.read_parquet(folder.findings), stranger()]))


def stranger():
    row = {"image": "images/x9.png", "kind": "outlier_mahalanobis", "severity": "warning", "other_image": None}
    row |= {"value": 12.0, "detail": "far from images/x8.png", "decision": "kept"}
    return pl.DataFrame([row], schema=dict.fromkeys(row, pl.String) | {"value": pl.Float64})


def reviewed(folder):
    return Reviewed.of(folder.root)


def place_of(desk, kind, image=None):
    """The place in the queue of the first item of a kind, and of an image."""
    return next(n for n, item in enumerate(desk.items) if item.kind == kind and image in (None, item.image))


def reply(desk, place, answer, by="Anna", **more):
    """An answer of somebody who looked at what is there now."""
    answers = desk.answers(place)
    shown = [desk.run.digest(suggestion, answers) for suggestion in desk.items[place].suggestions]
    return Reply.model_validate({"item": desk.keys[place], "answer": answer, "by": by, "shown": shown, **more})


def lines(desk, number=None):
    """(image, action) of the lines of people, in order."""
    people = [d for d in read_decisions(desk.run.folder.decisions) if not d.by_policy]
    return people if number is None else people[-number:]


def ignored_columns(desk):
    mask = desk.run.mask(PLAIN, settled(lines(desk)))
    return np.flatnonzero((mask == 255).all(0)).tolist()


__all__ = ["ALONE", "COARSE", "FINE", "ODD", "PLAIN", "TURNED"]
