"""Pixels of one image by the instance that they belong to: what every term starts from."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from maskwright.errors import DataError, MaskwrightError, problem
from maskwright.labels import components
from maskwright.losses.embedding.pairs import Kin, own_squares, sums_by_owner
from maskwright.losses.truth import full_precision
from maskwright.recipe.embedding import Zero

IGNORED, UNLABELLED = -1, -2
"""Ids of pixels that no term sees, and of those that may be of an object that nobody drew, whatever 0 means."""
_LARGEST_TABLE = 1 << 22
"""Ids up to here are renumbered by a table of that length; larger ones by sorting."""


@dataclass(frozen=True)
class Groups:
    """The pixels of one image that aren't ignored, and the regions that they belong to.

    Attributes:
        points: (P, E) float32 or float64, their embeddings.
        owner: (P,) int64, the region of each, −1: unlabelled.
        sizes: (R,) pixels of each region.
        means: (R, E) mean embedding of each region.
        squared: (P,) squared distance of each to the mean of its region, 0 where unlabelled.
        instances: K; the first K regions are instances, one that follows them is background.
        near: (R,) int64, the neighbourhood of each region, −1: of all; None: nobody asked.
    """

    points: torch.Tensor
    owner: torch.Tensor
    sizes: torch.Tensor
    means: torch.Tensor
    squared: torch.Tensor
    instances: int
    near: torch.Tensor | None = None

    @classmethod
    def of(
        cls, embeddings: torch.Tensor, instances: torch.Tensor, *, zero: Zero = "unlabelled", reach: int | None = None
    ) -> Groups:
        """Group the pixels of one image.

        Args:
            embeddings: (E, H, W).
            instances: (H, W) int64: any ids from 1 on, 0, `UNLABELLED`, and others below 0: ignored. 255 is an id like
                another.
            zero: what 0 means; see `recipe.embedding.EmbeddingLossSpec`.
            reach: pixels, see there.

        Raises:
            DataError: the sizes differ.
            MaskwrightError: embeddings that aren't finite.
        """
        _check(embeddings, instances)
        points = full_precision(embeddings).flatten(1).T.contiguous()
        ids = instances.flatten()
        if zero == "ignore":
            ids = torch.where(ids == 0, -1, ids)
        place = None if reach is None else neighbourhoods(instances, reach).flatten()
        known = (ids >= 0) | (ids == UNLABELLED)
        if not bool(known.all()):
            points, ids, place = points[known], ids[known], None if place is None else place[known]
        owner, count = _numbered(ids.clamp(min=0))
        regions, ground = count, ids == 0
        if zero == "background" and bool(ground.any()):
            owner, regions = torch.where(ground, count, owner), count + 1
        sizes = torch.bincount(owner + 1, minlength=regions + 1)[1:].to(points)
        means = sums_by_owner(points, owner, regions) / sizes[:, None]
        near = None if place is None else _first_of(place, owner, count, regions)
        return cls(points, owner, sizes, means, own_squares(points, means, owner), count, near)

    def kin(self, rows: torch.Tensor | None = None, count: int | None = None) -> Kin | None:
        """Return which pairs of points and of the first `count` means count; None: all.

        Args:
            rows: of the points; None: the means themselves take their place.
            count: None: all means.
        """
        if self.near is None:
            return None
        if rows is None:
            return Kin(self.near, self.near[:count])
        owner = self.owner[rows]
        at = self.near[owner.clamp(min=0)] if len(self.near) else torch.full_like(owner, -1)
        return Kin(torch.where(owner < 0, -1, at), self.near[:count])

    def nothing(self) -> torch.Tensor:
        """Return 0 with a gradient."""
        return self.points.sum() * 0

    def sample(self, rows: torch.Tensor | None, limit: int | None, generator: torch.Generator | None) -> torch.Tensor:
        """Return the numbers of at most `limit` points: all, or as many drawn with replacement.

        Args:
            rows: among these; None: among all.
            limit: None: all.
            generator: None: evenly spaced instead of drawn.
        """
        device, size = self.points.device, len(self.points) if rows is None else len(rows)
        if limit is None or limit >= size:
            return torch.arange(size, device=device) if rows is None else rows
        if generator is None:
            drawn = torch.arange(limit, device=device) * size // limit
        else:
            drawn = torch.randint(size, (limit,), generator=generator, device=generator.device).to(device)
        return drawn if rows is None else rows[drawn]


def neighbourhoods(instances: torch.Tensor, reach: int) -> torch.Tensor:
    """Return (H, W) int64: the neighbourhood of each pixel of an instance, −1 elsewhere.

    Two instances with at most `reach` pixels between them along rows and columns are in one, and so on from each to the
    next. One in pieces makes one of the neighbourhoods of these.

    Args:
        instances: (H, W) int64; ids from 1 on are instances.
        reach: pixels.

    Example:
        >>> neighbourhoods(torch.tensor([[1, 0, 2, 0, 0, 0, 3]]), 1).tolist()
        [[0, -1, 0, -1, -1, -1, 1]]
        >>> neighbourhoods(torch.tensor([[1, 0, 2, 0, 0, 0, 1]]), 1).tolist()
        [[0, -1, 0, -1, -1, -1, 0]]
    """
    mask = (instances > 0).cpu().numpy()
    if mask.size == 0 or not mask.any():
        return torch.full_like(instances, -1)
    # grown by `reach` pixels up and to the left alone, one touches what lies so many pixels before it
    grown = cv2.dilate(mask.view(np.uint8), np.ones((reach + 1, reach + 1), np.uint8), anchor=(0, 0))
    numbered, count = components(grown)
    ids, owner = np.unique(instances.cpu().numpy()[mask], return_inverse=True)
    joins = (np.ones(len(owner), bool), (owner, len(ids) + numbered[mask] - 1))
    size = len(ids) + count
    _, joined = connected_components(coo_array(joins, shape=(size, size)), directed=False)
    found = np.full(mask.shape, -1, np.int64)
    found[mask] = np.unique(joined[len(ids) :], return_inverse=True)[1][numbered[mask] - 1]
    return torch.from_numpy(found).to(instances.device)


def _first_of(place: torch.Tensor, owner: torch.Tensor, count: int, regions: int) -> torch.Tensor:
    """Return (R,) the first neighbourhood of each instance, −1 for the background."""
    inside = (owner >= 0) & (owner < count)
    largest = torch.iinfo(torch.int64).max
    first = torch.full((regions,), largest, device=place.device)
    first = first.scatter_reduce(0, owner[inside], place[inside], "amin")
    return torch.where(first == largest, -1, first)


def _check(embeddings: torch.Tensor, instances: torch.Tensor) -> None:
    if embeddings.shape[1:] != instances.shape:
        raise DataError(
            problem(
                f"an instance map as large as the embeddings, {tuple(embeddings.shape[1:])}",
                str(tuple(instances.shape)),
                where="embedding loss",
                next_move="thin the map out to the size of the network's output",
            )
        )
    if not bool(embeddings.detach().float().sum().isfinite()):
        raise MaskwrightError(
            problem(
                "finite embeddings",
                "NaN or infinite ones",
                where="embedding loss",
                next_move="the training has diverged: lower train.lr, or set train.clip",
            )
        )


def _numbered(ids: torch.Tensor) -> tuple[torch.Tensor, int]:
    """Return the ids from 1 on as 0..K-1 in their order, 0 as −1, and K."""
    largest = int(ids.max()) if len(ids) else 0
    if largest == 0:
        return torch.full_like(ids, -1), 0
    if largest < _LARGEST_TABLE:
        used = torch.zeros(largest + 1, dtype=torch.int64, device=ids.device)
        used[ids] = 1
        used[0] = 0
        return torch.where(ids > 0, used.cumsum(0)[ids] - 1, -1), int(used.sum())
    found, numbers = torch.unique(ids, return_inverse=True)
    first = int(found[0] == 0)
    return numbers - first, len(found) - first
