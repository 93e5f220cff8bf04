"""Objects told apart: how many were found, missed and made up, and pictures of them beside the truth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from maskwright.report.blocks import DASH, Group, Section, Table, count, number, percent, plural, with_interval
from maskwright.report.collect import Artifacts
from maskwright.report.collect import number as to_float
from maskwright.report.families import part_word
from maskwright.report.gallery import Gallery

_SHOWN = ("pq", "sq", "rq", "pq_dagger", "ap", "ap50")
_WORDS = {"pq": "PQ", "sq": "SQ", "rq": "RQ", "pq_dagger": "PQ†", "ap": "AP", "ap50": "AP50"}


def objects(artifacts: Artifacts, gallery: Gallery, thumbnails: int) -> Section | None:
    """Return what became of objects, None where the run told none apart."""
    task, table = (artifacts.recipe.get("data") or {}).get("task"), artifacts.per_image
    if task not in ("instances", "panoptic") or table is None:
        return None
    if "segments_tp" not in table.columns:
        return Section(
            "objects", "Objects", ["Objects were told apart and not scored: evaluate.families lacks panoptic."]
        )
    things = [c.name for c in artifacts.categories.items if c.isthing]
    counts = table.filter(pl.col("category").is_in(things))
    words = [
        "An object counts as found where a predicted one overlaps it by more than half of what both cover together. "
        f"{_score_words(artifacts)} The checkpoint that is kept as the best is chosen by the semantic metric.",
        *_way_words(artifacts),
    ]
    groups = [Group("Found, missed, made up", tables=[_counts(counts), _scores(artifacts)])]
    groups += _pictures(artifacts, gallery, counts, thumbnails, panoptic=task == "panoptic")
    groups += _embeddings(artifacts, gallery, thumbnails)
    return Section("objects", "Objects", words, groups)


def _score_words(artifacts: Artifacts) -> str:
    """Return what the score of an object is: that of one which its shape parts is no classifier's."""
    ways = (artifacts.tuned or {}).get("ways", {}).get("all", {})
    by_shape = [name for name, distance in ways.items() if distance is not None]
    if by_shape and len(by_shape) == len(ways):
        return "Its score is the mean probability of its category inside, as its shape parts it from others."
    judge = (artifacts.tuned or {}).get("objectness")
    others = "For objects that their shape parts it is the mean probability of the category inside: "
    said = f" {others}{', '.join(by_shape)}." if by_shape and judge is not None and judge["weights"] else ""
    return _judge_words(artifacts, judge) + said


def _judge_words(artifacts: Artifacts, judge: dict[str, Any] | None) -> str:
    if judge is None:
        return "Its score is the mean probability of its category inside."
    if not judge["weights"]:
        return (
            "Its score is the mean probability of its category inside: no objectness could be learned, as there "
            "are too few true or false objects, or nothing told these from those."
        )
    return (
        "Its score is its objectness, the probability that it is a true one, by a classifier fitted on "
        f"{plural(judge['instances'], 'out-of-fold object')}, {count(judge['true'])} of them true; one of a fold is "
        "scored by a classifier that has not seen its fold's truth. "
        f"{_least_words(artifacts, judge)}"
    )


def _least_words(artifacts: Artifacts, judge: dict[str, Any]) -> str:
    stated = (artifacts.recipe.get("instances") or {}).get("least")
    if stated is not None:
        return f"Below {number(stated)} it is left out, as the recipe says."
    return f"Below {number(judge['least'])} it is left out: half of the F1 that these let expect."


def _way_words(artifacts: Artifacts) -> list[str]:
    """Return what parts objects that touch, and by how much it is better than the other ways."""
    ways = (artifacts.tuned or {}).get("ways")
    if ways is None:
        return []
    by_shape = {name: distance for name, distance in ways["all"].items() if distance is not None}
    words = "Objects that touch are parted by their embeddings"
    if by_shape:
        of_each = ", ".join(f"{name} (middles {distance} px apart)" for name, distance in by_shape.items())
        rest = "" if len(by_shape) == len(ways["all"]) else f"{words}, but "
        words = f"{rest}{'by' if rest else 'Objects that touch are parted by'} their shape: {of_each}"
    known = ways.get("pq", {})
    if not known:
        return [f"{words}."]
    tried = [
        f"{name}: " + ", ".join(f"{way} {number(pq[name])}" for way, pq in known.items() if pq[name] is not None)
        for name in ways["all"]
    ]
    return [
        f"{words}. Chosen by out-of-fold PQ of each thing, for images of a fold by that of the other folds: "
        f"{'; '.join(tried)}."
    ]


def _counts(counts: pl.DataFrame) -> Table:
    columns = ["segments_tp", "segments_fn", "segments_fp"]
    if "loose_pixels" not in counts.columns:  # of an earlier version
        counts = counts.with_columns(loose_pixels=pl.lit(0), thing_pixels=pl.lit(0))
    grouped = counts.group_by("part", "category", maintain_order=True)
    sums = grouped.agg(
        pl.col("image").n_unique(),
        *(pl.col(c).sum() for c in (*columns, "segments_iou", "loose_pixels", "thing_pixels")),
    )
    rows = [
        (
            name,
            part_word(part),
            count(images),
            count(tp + fn),
            count(tp),
            count(fn),
            count(fp),
            number(fp / images, 2),
            number(iou / tp) if tp else DASH,
            percent(loose / pixels) if pixels else DASH,
        )
        for part, name, images, tp, fn, fp, iou, loose, pixels in sums.iter_rows()
    ]
    objects = ("true", "found", "missed", "made up", "of these an image", "IoU of the found")
    head = ("category", "part", "images", *objects, "predicted pixels of no object")
    return Table("Objects of each category", head, rows, frozenset({0, 1}))


def _scores(artifacts: Artifacts) -> Table:
    parts = [part for part in ("oof", "holdout") if artifacts.score("pq", part)]
    rows = [
        (_WORDS[metric], *(with_interval(artifacts.score(metric, part)) for part in parts))
        for metric in _SHOWN
        if any(artifacts.score(metric, part) for part in parts)
    ]
    return Table("Scores of objects and segments", ("metric", *map(part_word, parts)), rows)


def _pictures(
    artifacts: Artifacts, gallery: Gallery, counts: pl.DataFrame, most: int, *, panoptic: bool
) -> list[Group]:
    """Return the images of which a picture was drawn, those with the largest share of wrong objects first."""
    folder = artifacts.folder / "predictions" / "pictures"
    sums = counts.group_by("image", "part", maintain_order=True).agg(pl.col("^segments_(tp|fp|fn)$").sum())
    wrong = pl.col("segments_fp") + pl.col("segments_fn")
    ranked = sums.with_columns(share=wrong / (wrong + 2 * pl.col("segments_tp"))).sort(
        "share", descending=True, nulls_last=True, maintain_order=True
    )
    shown = [row for row in ranked.iter_rows(named=True) if _file(artifacts, folder, row["image"]).is_file()]
    if not shown or not most:
        return []
    chosen = {"Most wrong objects": shown[:most], "Fewest wrong objects": shown[most:][-most:][::-1]}
    drawn = "image, truth, prediction, predicted objects over the image" if panoptic else "image, truth, prediction"
    return [
        Group(
            title,
            [f"Of the {plural(len(shown), 'image')} that are drawn (predict.overlays). From left to right: {drawn}."],
            strips=[
                gallery.drawn(
                    _file(artifacts, folder, row["image"]),
                    row["image"],
                    f"{row['segments_tp']} found, {row['segments_fn']} missed, "
                    f"{plural(row['segments_fp'], 'made up', 'made up')}",
                )
                for row in rows
            ],
        )
        for title, rows in chosen.items()
        if rows
    ]


def _embeddings(artifacts: Artifacts, gallery: Gallery, most: int) -> list[Group]:
    """Return the images whose embeddings were drawn, those of each set in turn, up to `most`."""
    folder, table = artifacts.folder / "predictions" / "embeddings", artifacts.embedded
    if table is None or not table.height or not most:
        return []
    sets = table.group_by("part", "fold", maintain_order=True).agg(pl.col("shown").first())
    shares = [
        f"{part_word(part) if fold is None else f'fold {fold}'} {percent(to_float(share))}"
        for part, fold, share in sets.iter_rows()
    ]
    turn = table.with_columns(turn=pl.int_range(pl.len()).over("part", "fold")).sort("turn", maintain_order=True)
    strips = [
        gallery.drawn(
            _file(artifacts, folder, row["image"]),
            row["image"],
            f"median IoU of {plural(row['anchors'], 'ball')} with their objects {number(to_float(row['iou']), 2)}"
            if row["anchors"]
            else "no object",
        )
        for row in turn.head(most).iter_rows(named=True)
    ]
    words = [
        "From left to right: the image; its embeddings, the three directions in which those of all images that the "
        "same networks predicted differ most, as red, green and blue; these, darker, with the balls around an anchor "
        "of each of the largest objects, outlined: all pixels of things whose embedding is within δ_v of the anchor's; "
        f"the objects at working size. Of the variance the colours show: {', '.join(shares)}.",
    ]
    return [Group("Embeddings", words, strips=strips)]


def _file(artifacts: Artifacts, folder: Path, image: str) -> Path:
    label = artifacts.label_file(image)
    return (folder / label.relative_to(artifacts.folder / "predictions" / "labels")).with_suffix(".jpg")
