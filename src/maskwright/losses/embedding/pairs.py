"""Sums over all pairs of pixels and centres, in memory that is bounded by a chunk of pairs, however many there are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch

CHUNK = 1 << 20
"""Pairs that are in memory at a time."""
EPSILON = 1e-12
"""Added to squared distances before the root is taken, whose slope at 0 is infinite."""
_FAR = -60.0
"""Exponent beyond which it stays as it is: e⁻⁶⁰ is nothing, and smaller numbers are denormal, which takes long."""


class Kernel(Protocol):
    """A function of a squared distance."""

    def value(self, squared: torch.Tensor) -> torch.Tensor:
        """Return the values; the argument may be overwritten."""
        ...

    def slope(self, squared: torch.Tensor) -> torch.Tensor:
        """Return the derivatives by the squared distances; the argument may be overwritten."""
        ...


@dataclass(frozen=True)
class Gaussian:
    """exp(−a · d²)."""

    a: float

    def value(self, squared: torch.Tensor) -> torch.Tensor:
        """Return the values."""
        return squared.mul_(-self.a).clamp_(min=_FAR).exp_()

    def slope(self, squared: torch.Tensor) -> torch.Tensor:
        """Return the derivatives."""
        return self.value(squared).mul_(-self.a)


@dataclass(frozen=True)
class Hinge:
    """[margin − d]₊²."""

    margin: float

    def value(self, squared: torch.Tensor) -> torch.Tensor:
        """Return the values."""
        return squared.add_(EPSILON).sqrt_().neg_().add_(self.margin).clamp_(min=0).square_()

    def slope(self, squared: torch.Tensor) -> torch.Tensor:
        """Return the derivatives."""
        distance = squared.add_(EPSILON).sqrt_()
        return (self.margin - distance).clamp_(min=0).div_(distance).neg_()


def soft_mask(squared: torch.Tensor, a: float) -> torch.Tensor:
    """Return exp(−a · d²) of squared distances, with a gradient."""
    return torch.exp((-a * squared).clamp(min=_FAR))


class Kin(NamedTuple):
    """Which pairs count: those of one neighbourhood, and all pairs with what is in none, which is −1.

    Attributes:
        points: (P,) int64.
        centres: (K,) int64.
    """

    points: torch.Tensor
    centres: torch.Tensor

    def strangers(self, rows: slice) -> torch.Tensor:
        """Return (R, K) bool: the pairs that don't count."""
        one, other = self.points[rows, None], self.centres
        return (one != other) & (one >= 0) & (other >= 0)


def pair_sums(
    points: torch.Tensor,
    centres: torch.Tensor,
    kernel: Kernel,
    *,
    owner: torch.Tensor | None = None,
    kin: Kin | None = None,
) -> torch.Tensor:
    """Return (K,): for each centre the sum of the kernel over the points, with a gradient to both.

    The pairs are never all in memory; the backward pass computes them anew.

    Args:
        points: (P, E) float32 or float64.
        centres: (K, E), K ≥ 1.
        kernel: of the squared distance.
        owner: (P,) int64, the one centre whose sum a point takes no part in; −1: it takes part in all.
        kin: the pairs that count; None: all.
    """
    found: torch.Tensor = _PairSums.apply(points, centres, owner, kernel, kin)
    return found


def own_squares(points: torch.Tensor, centres: torch.Tensor, owner: torch.Tensor) -> torch.Tensor:
    """Return (P,): the squared distance of each point to its own centre, 0 where it has none, with a gradient to both.

    Args:
        points: (P, E).
        centres: (K, E).
        owner: (P,) int64 in 0..K-1, or −1: none.
    """
    found: torch.Tensor = _OwnSquares.apply(points, centres, owner)
    return found


def sums_by_owner(values: torch.Tensor, owner: torch.Tensor, count: int) -> torch.Tensor:
    """Return (count, …): sums of (P, …) values over the points of each owner, those of −1 left out."""
    bins = torch.where(owner < 0, count, owner)
    return values.new_zeros((count + 1, *values.shape[1:])).index_add(0, bins, values)[:count]


def full_products(points: torch.Tensor) -> torch.autocast:
    """Return the context in which products aren't rounded to bfloat16."""
    return torch.autocast(points.device.type, enabled=False)


def chunks(
    points: torch.Tensor, centres: torch.Tensor, origin: torch.Tensor
) -> Iterator[tuple[slice, torch.Tensor, torch.Tensor]]:
    """Yield rows, their (R, E) points from the origin, and the (R, K) squared distances, which may be overwritten.

    Args:
        points: (P, E).
        centres: (K, E).
        origin: (E,), near both.
    """
    moved = centres - origin  # near the origin: less is lost where |e|² + |μ|² − 2 e·μ cancels
    norms, step = moved.square().sum(1), max(1, CHUNK // len(centres))
    for start in range(0, len(points), step):
        rows = slice(start, start + step)
        part = points[rows] - origin
        squared = torch.addmm(norms, part, moved.T, alpha=-2).add_(part.square().sum(1, keepdim=True)).clamp_(min=0)
        yield rows, part, squared


class _PairSums(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        points: torch.Tensor,
        centres: torch.Tensor,
        owner: torch.Tensor | None,
        kernel: Kernel,
        kin: Kin | None,
    ) -> torch.Tensor:
        ctx.save_for_backward(points, centres, owner)
        ctx.kernel, ctx.kin = kernel, kin
        sums = centres.new_zeros(len(centres))
        origin = centres.mean(0)
        with full_products(points):
            for rows, _, squared in chunks(points, centres, origin):
                sums += _counted(kernel.value(squared), owner, kin, rows).sum(0)
        return sums

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None, None, None]:
        points, centres, owner = ctx.saved_tensors
        by_points, by_centres = torch.empty_like(points), torch.zeros_like(centres)
        origin = centres.mean(0)
        moved, weights = centres - origin, 2 * gradients[0]
        with full_products(points):
            for rows, part, squared in chunks(points, centres, origin):
                # d k(|e − μ|²) = 2 k' · (e − μ) · (de − dμ)
                slopes = _counted(ctx.kernel.slope(squared), owner, ctx.kin, rows).mul_(weights)  # (rows, K)
                by_points[rows] = part * slopes.sum(1, keepdim=True) - slopes @ moved
                by_centres += moved * slopes.sum(0)[:, None] - slopes.T @ part
        return by_points, by_centres, None, None, None


class _OwnSquares(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, points: torch.Tensor, centres: torch.Tensor, owner: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(points, centres, owner)
        if len(centres) == 0:
            return points.new_zeros(len(points))
        found = torch.empty_like(points[:, 0])
        for rows, apart in _apart(points, centres, owner):
            found[rows] = apart.square_().sum(1)
        return found

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None]:
        points, centres, owner = ctx.saved_tensors
        by_points, by_centres = torch.zeros_like(points), torch.zeros_like(centres)
        if len(centres):
            for rows, apart in _apart(points, centres, owner):
                by_points[rows] = apart.mul_(2 * gradients[0][rows, None])
                by_centres -= sums_by_owner(by_points[rows], owner[rows], len(centres))
        return by_points, by_centres, None


def _counted(values: torch.Tensor, owner: torch.Tensor | None, kin: Kin | None, rows: slice) -> torch.Tensor:
    """Return the (R, K) values with 0 where a point belongs to the centre, or is no kin of it; overwrites them."""
    if kin is not None:
        values = values.masked_fill_(kin.strangers(rows), 0)
    if owner is None:
        return values
    own = owner[rows, None]
    safe = own.clamp(min=0)
    return values.scatter_(1, safe, torch.where(own < 0, values.gather(1, safe), 0))


def _apart(points: torch.Tensor, centres: torch.Tensor, owner: torch.Tensor) -> Iterator[tuple[slice, torch.Tensor]]:
    """Yield rows and their (R, E) differences to their own centres, 0 where they have none."""
    step = max(1, CHUNK // max(1, points.shape[1]))
    for start in range(0, len(points), step):
        rows = slice(start, start + step)
        own = owner[rows]
        apart = points[rows] - centres.index_select(0, own.clamp(min=0))
        yield rows, apart.masked_fill_(own[:, None] < 0, 0)
