"""Labelled images with their groups and features, and the placing of some of them into parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from maskwright.errors import DataError, problem
from maskwright.split.features import Features
from maskwright.split.groups import HELD_OUT
from maskwright.split.search import place, to_problem


@dataclass(frozen=True)
class Labelled:
    """Labelled images.

    Attributes:
        rows: image → its row in the features.
        joined: image → group.
        features: of all of them.
        given: image → group, without what duplicates, crops and overlaps join; for the message where groups are few.
    """

    rows: dict[str, int]
    joined: dict[str, str]
    features: Features
    given: Mapping[str, str] = field(default_factory=dict)

    def of(self, images: Sequence[str]) -> Features:
        """Return the features of some of the images."""
        values = self.features.values[[self.rows[image] for image in images]]
        return Features(values, self.features.names, self.features.families)


def place_images(
    data: Labelled,
    images: Sequence[str],
    target: Mapping[int, float],
    rng: np.random.Generator,
    *,
    fixed: Mapping[str, int] | None = None,
) -> dict[str, int]:
    """Return image → part, groups whole.

    Args:
        data: all labelled images.
        images: those to be placed.
        target: part → share of these images that it should get; the shares sum to 1.
        rng: of the search.
        fixed: group → part that it stays in.

    Raises:
        DataError: there are more parts than groups.
    """
    members: dict[str, list[str]] = {}
    for image in images:
        members.setdefault(data.joined[image], []).append(image)
    parts = list(target)
    _check_enough(len(members), images, parts, data.given)
    if len(parts) == 1:
        return dict.fromkeys(images, parts[0])
    number = {group: k for k, group in enumerate(members)}
    sizes = np.array([len(inside) for inside in members.values()])
    group = np.array([number[data.joined[image]] for image in images])
    stays = fixed or {}
    held = np.array([parts.index(stays[name]) if name in stays else -1 for name in members])
    found = to_problem(sizes, data.of(images), group, np.array([target[part] for part in parts]))
    placed = place(found, rng, fixed=held)
    return {image: parts[placed[k]] for image, k in zip(images, group, strict=True)}


def _check_enough(groups: int, images: Sequence[str], parts: Sequence[int], given: Mapping[str, str]) -> None:
    if groups >= len(parts):
        return
    held = HELD_OUT in parts
    most = groups - held
    fewer = f"use --folds {most} or fewer" if most > 1 else f"use --folds 1{' --holdout 0' * (most < 1)}"
    fewer += " (maskwright run: rounds of self-training need 2)" * (most <= 1)
    before = len({given[image] for image in images}) if given else groups
    joined = (
        f"; copies, crops or overlaps join {before} groups to {groups} (audit/findings.parquet lists them): label "
        "other pictures, or cut through them with --set split.group_duplicates=false, and scores are too good"
    )
    raise DataError(
        problem(
            f"at least {len(parts)} groups for {len(parts) - held} fold(s)" + (" and a held-out part" if held else ""),
            f"{groups} group(s) of {len(images)} images",
            where="--folds, --holdout, --labelled, --group",
            next_move=fewer + (joined if before > groups else ", or group by another column"),
        )
    )
