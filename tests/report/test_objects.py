"""What the report says of objects: counts, scores and pictures, and nothing where none were told apart."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import yaml
from PIL import Image

from make_report import NAMES, make_run, score, write


def with_objects(tmp_path, task="panoptic", families=True):
    run = make_run(tmp_path)
    recipe = yaml.safe_load((run / "recipe.yaml").read_text())
    recipe["data"]["task"] = task
    for category in recipe["data"]["categories"]:
        category["isthing"] = category["name"] == NAMES[1]
    (run / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    if families:
        path = run / "predictions/per_image.parquet"
        table, zero = pl.read_parquet(path), pl.lit(0)
        thing = pl.col("category") == NAMES[1]
        found = {"segments_tp": 3, "segments_fp": 2, "segments_fn": 1, "segments_iou": 2.4}
        found |= {"thing_pixels": 800, "loose_pixels": 100}
        table.with_columns(pl.when(thing).then(v).otherwise(zero).alias(k) for k, v in found.items()).write_parquet(
            path
        )
        scores = run / "predictions/evaluation.json"
        known = json.loads(scores.read_text()) | {"oof/pq": score(0.4321), "oof/ap50": score(0.765)}
        scores.write_text(json.dumps(known))
        for image in table["image"].unique().to_list()[:2]:
            picture = run / "predictions/pictures" / image.removeprefix("images/")
            picture.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.zeros((20, 60, 3), np.uint8)
            Image.fromarray(pixels).save(picture.with_suffix(".jpg"))
    return run, table if families else None


def test_objects_are_counted_scored_and_shown(tmp_path):
    run, table = with_objects(tmp_path)
    text, _ = write(run)
    part = text[text.index('id="objects"') :]
    part = part[: part.index("</section>")]
    images = table.filter((pl.col("category") == NAMES[1]) & (pl.col("part") == "oof")).height
    assert f">{4 * images}<" in part and f">{3 * images}<" in part  # true, found
    assert "0.800" in part  # 2.4 / 3
    assert "predicted pixels of no object" in part and "12.5 %" in part  # 100 / 800
    assert "Of the 2 images that are drawn" in part
    assert "0.432" in part and "0.765" in part
    assert "Most wrong objects" in part and "3 found, 1 missed" in part
    assert part.count("data:image/jpeg") == 2


def test_what_parts_objects_is_said_with_what_it_was_chosen_by(tmp_path):
    run, _ = with_objects(tmp_path)
    tuned = json.loads((run / "tuned.json").read_text()) if (run / "tuned.json").is_file() else {}
    pq = {"embeddings": {NAMES[1]: 0.6518}, "shape 0.4": {NAMES[1]: 0.7469}}
    write(run)
    assert "Objects that touch" not in write(run)[0]
    for distance, said in ((9, f"by their shape: {NAMES[1]} (middles 9 px apart)"), (None, "by their embeddings")):
        known = tuned | {"ways": {"all": {NAMES[1]: distance}, "folds": {}, "pq": pq}}
        (run / "tuned.json").write_text(json.dumps(known))
        text, _ = write(run)
        assert f"Objects that touch are parted {said}. Chosen by out-of-fold PQ" in text
        assert f"{NAMES[1]}: embeddings 0.652, shape 0.4 0.747." in text
        assert ("as its shape parts it from others" in text) is (distance is not None)
    judged = {"objectness": {"weights": [1.0], "instances": 87, "true": 11, "least": 0.05}}
    for names, said in (
        ((NAMES[1],), f"parts it is the mean probability of the category inside: {NAMES[1]}."),
        ((), ""),
    ):
        ways = {"all": {NAMES[1]: None, "other": None} | dict.fromkeys(names, 9), "folds": {}, "pq": {}}
        (run / "tuned.json").write_text(json.dumps(tuned | judged | {"ways": ways}))
        text, _ = write(run)
        assert "Its score is its objectness" in text and said in text
        assert ("mean probability of the category inside" in text) is bool(names)


def test_embeddings_are_shown_a_set_after_the_other(tmp_path):
    run, table = with_objects(tmp_path)
    images = table["image"].unique(maintain_order=True).to_list()[1:4]
    rows = [("oof", 0, images[0], 0.9), ("oof", 0, images[1], 0.9), ("oof", 1, images[2], 0.75)]
    drawn = [dict(zip(("part", "fold", "image", "shown"), row, strict=True)) for row in rows]
    drawn = pl.DataFrame([row | {"anchors": k, "iou": 0.5 if k else None} for k, row in enumerate(drawn)])
    drawn.write_parquet(run / "predictions/embeddings.parquet")
    for image in images:
        picture = run / "predictions/embeddings" / image.removeprefix("images/")
        picture.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((20, 92, 3), np.uint8)).save(picture.with_suffix(".jpg"))
    text, _ = write(run, thumbnails=2)
    part = text[text.index("<h3>Embeddings") :]
    part = part[: part.index("</section>")]
    assert "fold 0 90.0 %, fold 1 75.0 %" in part
    assert part.count("data:image/jpeg") == 2 and images[0] in part and images[2] in part and images[1] not in part
    assert "no object" in part and "median IoU of 2 balls with their objects 0.50" in part


def test_the_summary_says_what_is_found_and_made_up(tmp_path):
    """Of each held-out image 3 objects are found, 1 is missed, and 2 are made up."""
    run, table = with_objects(tmp_path)
    images = table.filter((pl.col("category") == NAMES[1]) & (pl.col("part") == "holdout")).height
    assert images > 1
    _, page = write(run)
    assert f"It finds {3 * images} of {4 * images} objects (75.0 %)." in page.words
    assert f"Of the {5 * images} objects that it shows, {2 * images} (40.0 %) are none" in page.words
    (tmp_path / "plain").mkdir()
    assert "that it shows" not in write(make_run(tmp_path / "plain"))[1].words


def test_nothing_is_said_where_there_is_nothing(tmp_path):
    run, _ = with_objects(tmp_path, "semantic")
    assert 'id="objects"' not in write(run)[0]


def test_objects_that_are_not_scored_are_not_passed_over(tmp_path):
    run, _ = with_objects(tmp_path, families=False)
    assert "Objects were told apart and not scored" in write(run)[0]
