"""A run with names hidden: images and groups get numbers, and no path, command or finding's text is told."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import polars as pl
import yaml

from maskwright.report.collect import Artifacts

_PATH = re.compile(r"(?<![\w.)])(?:~?/|[A-Za-z]:\\)[^\s'\",\]}]+")
_COMMAND = "maskwright run --recipe RUN/recipe.yaml --out NEW"
_IMAGES = ("image", "other_image", "twin_of")


def hide(artifacts: Artifacts) -> Artifacts:
    """Return a run of which no table, text or link tells the name of a file, a folder, a group or a person.

    Images are called by their place in the index, `image 017`, groups by the order of their names. What findings say in
    words is left out, decisions are told without who made them, and pictures that the audit drew, which may have names
    in them, aren't shown. Names of categories, domains, parts and label sources stay.
    """
    images = artifacts.index["image"].to_list()
    digits = len(str(len(images)))
    names = {image: f"image {number:0{digits}d}" for number, image in enumerate(images, 1)}
    groups = {group: f"{number}" for number, group in enumerate(sorted(_groups(artifacts)), 1)}
    groups |= {image: name for image, name in names.items() if image in groups}  # an image that is its own group

    def table(found: pl.DataFrame | None) -> pl.DataFrame | None:
        return None if found is None else _hidden(found, names, groups)

    return replace(
        artifacts,
        hidden={name: image for image, name in names.items()},
        recipe_text=yaml.safe_dump(_scrubbed(artifacts.recipe), sort_keys=False, allow_unicode=True),
        index=_hidden(artifacts.index, names, groups),
        findings=table(artifacts.findings),
        suspects=table(artifacts.suspects),
        suspect_images=table(artifacts.suspect_images),
        folds=table(artifacts.folds),
        per_image=table(artifacts.per_image),
        embedded=table(artifacts.embedded),
        overview={name: _hidden(found, names, groups) for name, found in artifacts.overview.items()},
        compared={number: _hidden(found, names, groups) for number, found in artifacts.compared.items()},
        audit_pictures=(),
        run=None if artifacts.run is None else artifacts.run | {"command": _COMMAND, "later": []},
        selftrain=_scrubbed(artifacts.selftrain),
        starts=_scrubbed(artifacts.starts),
    )


def _groups(artifacts: Artifacts) -> set[str]:
    tables = [t for t in (artifacts.index, artifacts.per_image, artifacts.folds) if t is not None]
    return {str(g) for t in tables if "group" in t.columns for g in t["group"].drop_nulls().unique()}


def _hidden(found: pl.DataFrame, names: Mapping[str, str], groups: Mapping[str, str]) -> pl.DataFrame:
    """Return a table with the names replaced; a name that the index lacks is an image without a number."""
    changed = list[pl.Expr]()
    for column in found.columns:
        told = pl.col(column).cast(pl.String)
        if column in _IMAGES:
            known = told.replace_strict(names, default="an image", return_dtype=pl.String)
            changed.append(pl.when(told.is_null()).then(None).otherwise(known).alias(column))
        elif column == "group":
            changed.append(told.replace(groups).alias(column))
        elif column == "detail":
            changed.append(pl.lit("").alias(column))
        elif column == "decision":
            changed.append(pl.when(told.fill_null("") == "").then(told).otherwise(pl.lit("decided")).alias(column))
    return found.with_columns(changed)


def _scrubbed(value: Any) -> Any:
    """Return plain data with every path replaced by PATH."""
    if isinstance(value, dict):
        return {key: _scrubbed(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_scrubbed(inner) for inner in value]
    if not isinstance(value, str):
        return value
    return "PATH" if _PATH.match(value) else _PATH.sub("PATH", value)
