"""The terms of one image: pull, push, push of what is unlabelled, object Dice, norm. Formulas: SPOCO (Wolny 2022)."""

from __future__ import annotations

import math

import torch
from torch.nn import functional

from maskwright.losses.embedding.groups import Groups
from maskwright.losses.embedding.pairs import EPSILON, Gaussian, Hinge, pair_sums, soft_mask, sums_by_owner

LEAST_DRAWN = 4096
"""Pixels that are drawn at least, where not all are used."""


def pull_loss(groups: Groups, margin: float) -> torch.Tensor:
    """Return the mean over regions of the mean over their pixels of [‖μ − e‖ − δ_v]₊²; 0 if there is no region.

    Args:
        groups: of one image.
        margin: δ_v.
    """
    regions = len(groups.sizes)
    if regions == 0:
        return groups.nothing()
    inside = groups.owner >= 0
    weights = torch.where(inside, (1 / (groups.sizes * regions))[groups.owner.clamp(min=0)], 0)
    distances = (groups.squared + EPSILON).sqrt()
    return (weights * functional.relu(distances - margin).square()).sum()


def push_loss(groups: Groups, margin: float) -> torch.Tensor:
    """Return the mean over ordered pairs of regions of [2 δ_d − ‖μ_k − μ_l‖]₊²; 0 if there are fewer than two.

    Of groups with neighbourhoods, over the pairs in one.

    Args:
        groups: of one image.
        margin: δ_d.
    """
    regions, means = len(groups.sizes), groups.means
    if regions < 2:
        return groups.nothing()
    everyone = torch.arange(regions, device=means.device)
    kin = groups.kin()
    pairs = regions * (regions - 1) if kin is None else regions**2 - int(kin.strangers(slice(None)).sum()) - regions
    if pairs == 0:
        return groups.nothing()
    return pair_sums(means, means, Hinge(2 * margin), owner=everyone, kin=kin).sum() / pairs


def unlabelled_push_loss(
    groups: Groups, margin: float, *, most_pairs: int | None = None, generator: torch.Generator | None = None
) -> torch.Tensor:
    """Return the mean over instances and unlabelled pixels of [δ_d − ‖μ − e‖]₊²; 0 where either is missing.

    Args:
        groups: of one image.
        margin: δ_d.
        most_pairs: of pixel and instance, beyond which pixels are drawn.
        generator: for that; None: evenly spaced instead.
    """
    unlabelled = (groups.owner < 0).nonzero()[:, 0]
    if groups.instances == 0 or len(unlabelled) == 0:
        return groups.nothing()
    rows = groups.sample(unlabelled, _limit(most_pairs, groups.instances), generator)
    means = groups.means[: groups.instances]
    return pair_sums(groups.points[rows], means, Hinge(margin)).sum() / (groups.instances * len(rows))


def object_loss(
    groups: Groups,
    margin: float,
    *,
    threshold: float = 0.5,
    most_pairs: int | None = None,
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """Return the mean over instances of 1 − Dice of the instance and the soft mask around its mean; 0 without one.

    The soft mask of all pixels that aren't ignored is S = t ^ ((d / δ_v)²); Dice = 2 Σ S·I / max(Σ S² + Σ I², 1e-6),
    for each instance alone. Of groups with neighbourhoods, pixels of other ones don't count.

    Args:
        groups: of one image.
        margin: δ_v.
        threshold: t, the value of S at a distance of δ_v.
        most_pairs: of pixel and instance, beyond which the pixels outside an instance are drawn. Its own count always.
        generator: for that; None: evenly spaced instead.
    """
    count = groups.instances
    if count == 0:
        return groups.nothing()
    a = gaussian_exponent(margin, threshold)
    soft = soft_mask(groups.squared, a)
    overlap = sums_by_owner(soft, groups.owner, len(groups.sizes))[:count]
    rows = groups.sample(None, _limit(most_pairs, count), generator)
    means, kernel, kin = groups.means[:count], Gaussian(2 * a), groups.kin(rows, count)
    if len(rows) == len(groups.points):
        squares = pair_sums(groups.points, means, kernel, kin=kin)
    else:
        own = sums_by_owner(soft.square(), groups.owner, len(groups.sizes))[:count]
        owner = groups.owner[rows]
        owner = torch.where(owner < count, owner, -1)  # the background is outside of every instance
        others = pair_sums(groups.points[rows], means, kernel, owner=owner, kin=kin)
        squares = own + len(groups.points) / len(rows) * others
    dice = 2 * overlap / (squares + groups.sizes[:count]).clamp(min=1e-6)
    return (1 - dice).mean()


def norm_loss(groups: Groups) -> torch.Tensor:
    """Return the mean norm of the regions' means; 0 if there is no region."""
    if len(groups.sizes) == 0:
        return groups.nothing()
    return (groups.means.square().sum(1) + EPSILON).sqrt().mean()


def gaussian_exponent(margin: float, threshold: float) -> float:
    """Return a of exp(−a · d²), the soft mask that is `threshold` at a distance of `margin`: 1 / (2 σ²).

    Example:
        >>> round(math.exp(-gaussian_exponent(0.5, 0.5) * 0.25**2), 6)
        0.840896
    """
    return -math.log(threshold) / margin**2


def _limit(most_pairs: int | None, instances: int) -> int | None:
    return None if most_pairs is None else max(LEAST_DRAWN, most_pairs // instances)
