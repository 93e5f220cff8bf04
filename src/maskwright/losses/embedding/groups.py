"""Pixels of one image by the instance that they belong to: what every term starts from."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from maskwright.errors import DataError, MaskwrightError, problem
from maskwright.losses.embedding.pairs import own_squares, sums_by_owner
from maskwright.losses.truth import full_precision
from maskwright.recipe.embedding import Zero

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
    """

    points: torch.Tensor
    owner: torch.Tensor
    sizes: torch.Tensor
    means: torch.Tensor
    squared: torch.Tensor
    instances: int

    @classmethod
    def of(cls, embeddings: torch.Tensor, instances: torch.Tensor, *, zero: Zero = "unlabelled") -> Groups:
        """Group the pixels of one image.

        Args:
            embeddings: (E, H, W).
            instances: (H, W) int64: any ids from 1 on, 0, and below 0: ignored. 255 is an id like another.
            zero: what 0 means; see `recipe.embedding.EmbeddingLossSpec`.

        Raises:
            DataError: the sizes differ.
            MaskwrightError: embeddings that aren't finite.
        """
        _check(embeddings, instances)
        points = full_precision(embeddings).flatten(1).T.contiguous()
        ids = instances.flatten()
        if zero == "ignore":
            ids = torch.where(ids == 0, -1, ids)
        known = ids >= 0
        if not bool(known.all()):
            points, ids = points[known], ids[known]
        owner, count = _numbered(ids)
        regions = count
        if zero == "background" and bool((owner < 0).any()):
            owner, regions = torch.where(owner < 0, count, owner), count + 1
        sizes = torch.bincount(owner + 1, minlength=regions + 1)[1:].to(points)
        means = sums_by_owner(points, owner, regions) / sizes[:, None]
        return cls(points, owner, sizes, means, own_squares(points, means, owner), count)

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
