"""A run with names hidden: images and groups get numbers, and no path, command or finding's text is told."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import polars as pl
import yaml

from maskwright.report.collect import Artifacts, Score

_PATH = re.compile(r"(?<![\w.)])(?:~?/|[A-Za-z]:\\)[^\s].*")
"""An absolute path and all after it in its line: names may hold spaces."""
_COMMAND = "maskwright run --recipe RUN/recipe.yaml --out NEW"
_BY_SOURCE = "label_source="
_IMAGES = ("image", "other_image", "twin_of")
_FILES = ("root", "members", "file", "previous", "fused_with", "encoder_weights", "checkpoint", "group_regex")
"""Fields of a recipe, and of what a run keeps, that hold a path, relative ones too, or the pattern of names."""
_WORDS = ("auto", "none", "cached", "last", "best", "topk", "unchecked")
"""What these fields may say otherwise."""


def hide(artifacts: Artifacts, images: Sequence[str] = ()) -> Artifacts:
    """Return a run of which no table, text or link tells the name of a file, a folder, a group or a person.

    Images are called by their place in the index, `image 017`, groups and label sources by the order of their names.
    What findings say in words is left out, decisions are told without who made them, and pictures that the audit drew,
    which may have names in them, aren't shown. Names of categories, domains and parts stay.

    Args:
        artifacts: of the run.
        images: which get the numbers, in this order, so that those of several runs are the same; default: its own.
    """
    images = images or artifacts.index["image"].to_list()
    digits = len(str(len(images)))
    names = {image: f"image {number:0{digits}d}" for number, image in enumerate(images, 1)}
    groups = {group: f"{number}" for number, group in enumerate(sorted(_groups(artifacts)), 1)}
    groups |= {image: name for image, name in names.items() if image in groups}  # an image that is its own group

    sources = {source: f"source {number}" for number, source in enumerate(sorted(_sources(artifacts)), 1)}
    scrubbed = _scrubbed(artifacts.recipe)

    def known(found: pl.DataFrame) -> pl.DataFrame:
        return _hidden(found, names, groups, sources)

    def table(found: pl.DataFrame | None) -> pl.DataFrame | None:
        return None if found is None else known(found)

    return replace(
        artifacts,
        hidden={name: image for image, name in names.items()},
        recipe=scrubbed
        | {"data": (scrubbed.get("data") or {}) | {"root": str(artifacts.root)}},  # images are read there
        recipe_text=yaml.safe_dump(scrubbed, sort_keys=False, allow_unicode=True),
        index=known(artifacts.index),
        findings=table(artifacts.findings),
        suspects=table(artifacts.suspects),
        suspect_images=table(artifacts.suspect_images),
        folds=table(artifacts.folds),
        per_image=table(artifacts.per_image),
        embedded=table(artifacts.embedded),
        overview={name: known(found) for name, found in artifacts.overview.items()},
        compared={number: known(found) for number, found in artifacts.compared.items()},
        divided=tuple(_of_source(score, sources) for score in artifacts.divided),
        audit_pictures=(),
        run=None if artifacts.run is None else artifacts.run | {"command": _COMMAND, "later": []},
        selftrain=_scrubbed(artifacts.selftrain),
        starts=_scrubbed(artifacts.starts),
    )


def hidden_value(field: str, value: Any) -> Any:
    """Return the value of a recipe's field, such as `split.file`, without names of files.

    Example:
        >>> hidden_value("split.file", "lists/of.csv"), hidden_value("predict.checkpoint", "last")
        ('PATH', 'last')
    """
    return _scrubbed(value, "root" if field == "train.start" else field.rpartition(".")[2])


def _groups(artifacts: Artifacts) -> set[str]:
    tables = [t for t in (artifacts.index, artifacts.per_image, artifacts.folds) if t is not None]
    return {str(g) for t in tables if "group" in t.columns for g in t["group"].drop_nulls().unique()}


def _sources(artifacts: Artifacts) -> set[str]:
    """Return the names of the label sources, wherever they stand."""
    index, styles = artifacts.index, artifacts.overview.get("styles")
    found = set(index["label_source"].drop_nulls()) if "label_source" in index.columns else set[str]()
    if styles is not None:
        found |= set(styles.filter(pl.col("column") == "label_source")["source"].drop_nulls())
    return found | {
        score.within.removeprefix(_BY_SOURCE) for score in artifacts.divided if score.within.startswith(_BY_SOURCE)
    }


def _of_source(score: Score, sources: Mapping[str, str]) -> Score:
    """Return a score of the images of one label source under the source's number."""
    if not score.within.startswith(_BY_SOURCE):
        return score
    return replace(score, within=_BY_SOURCE + sources[score.within.removeprefix(_BY_SOURCE)])


def _hidden(
    found: pl.DataFrame, names: Mapping[str, str], groups: Mapping[str, str], sources: Mapping[str, str]
) -> pl.DataFrame:
    """Return a table with the names replaced; a name that the index lacks is an image without a number."""
    changed = list[pl.Expr]()
    for column in found.columns:
        told = pl.col(column).cast(pl.String)
        if column in _IMAGES:
            known = told.replace_strict(names, default="an image", return_dtype=pl.String)
            changed.append(pl.when(told.is_null()).then(None).otherwise(known).alias(column))
        elif column == "group":
            changed.append(told.replace(groups).alias(column))
        elif column == "label_source":
            changed.append(told.replace(sources).alias(column))
        elif column == "source" and "column" in found.columns:
            by_source = pl.col("column") == "label_source"
            changed.append(pl.when(by_source).then(told.replace(sources)).otherwise(told).alias(column))
        elif column == "detail":
            changed.append(pl.lit("").alias(column))
        elif column == "decision":
            changed.append(pl.when(told.fill_null("") == "").then(told).otherwise(pl.lit("decided")).alias(column))
    return found.with_columns(changed)


def _scrubbed(value: Any, field: str = "") -> Any:
    """Return plain data with every path replaced by PATH, and what a field of files holds."""
    if isinstance(value, dict):
        starts = "start" if "start_unchecked" in value else ""  # of a training; that of rounds is a word
        return {key: _scrubbed(inner, "root" if key == starts else str(key)) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_scrubbed(inner, field) for inner in value]
    if not isinstance(value, str):
        return value
    if field in _FILES and value not in _WORDS:
        return "HIDDEN" if field == "group_regex" else "PATH"
    return "PATH" if _PATH.match(value) else _PATH.sub("PATH", value)
