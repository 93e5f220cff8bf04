"""Consistency of two networks where nothing is labelled: the soft masks that they draw around the same pixel."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from maskwright.errors import DataError, problem
from maskwright.losses.embedding.pairs import Gaussian, chunks, full_products
from maskwright.losses.embedding.terms import gaussian_exponent
from maskwright.losses.truth import full_precision

_LOOKED_AT = 4096
"""Unlabelled pixels that anchors are drawn among, and that tell how many are left, where there are more."""
_LEAST = 1e-6
"""Of the sum of squares that a Dice is divided by."""


def consistency_loss(
    student: torch.Tensor,
    teacher: torch.Tensor,
    unlabelled: torch.Tensor,
    margin: float,
    *,
    known: torch.Tensor | None = None,
    anchors: int = 20,
    least: float = 0.05,
    threshold: float = 0.5,
    generator: torch.Generator,
) -> torch.Tensor:
    """Return the mean over anchors of 1 − Dice of the soft masks around each anchor in the two maps of one image.

    Anchors are drawn one after the other among the unlabelled pixels that are known and lie within δ_v of no earlier
    anchor in either map, until these are less than `least` of the image; 0 where none can be drawn. Of many such
    pixels 4096, drawn at random, stand for all. The masks, and their Dice, 2 Σ S·S' / max(Σ S² + Σ S'², 1e-6), are
    those of all known pixels.

    Args:
        student: (E, H, W) embeddings.
        teacher: (E, H, W) embeddings of the same pixels, constant.
        unlabelled: (H, W) bool.
        margin: δ_v.
        known: (H, W) bool, where the teacher's map shows the image; None: everywhere.
        anchors: at most.
        least: share of the image's pixels.
        threshold: value of a soft mask at a distance of δ_v.
        generator: for the anchors.

    Raises:
        DataError: the maps' sizes differ.
    """
    _check(student, teacher)
    ours, theirs = (full_precision(maps).flatten(1).T for maps in (student, teacher.detach()))
    candidates, size = unlabelled.flatten(), unlabelled.numel()
    if known is not None and not bool(known.all()):
        inside = known.flatten()
        ours, theirs, candidates = ours[inside], theirs[inside], candidates[inside]
    ours, theirs = ours.contiguous(), theirs.contiguous()
    places = draw_anchors(
        ours.detach(), theirs, candidates, margin, anchors=anchors, least=least * size, generator=generator
    )
    if len(places) == 0:
        return ours.sum() * 0
    dice: torch.Tensor = _SoftDice.apply(ours, theirs, places, Gaussian(gaussian_exponent(margin, threshold)))
    return (1 - dice).mean()


@torch.no_grad()
def draw_anchors(
    ours: torch.Tensor,
    theirs: torch.Tensor,
    candidates: torch.Tensor,
    margin: float,
    *,
    anchors: int,
    least: float,
    generator: torch.Generator,
) -> torch.Tensor:
    """Return the numbers, (A,) int64, of pixels that are no neighbours in either map; see `consistency_loss`.

    Args:
        ours: (P, E) embeddings.
        theirs: (P, E) embeddings.
        candidates: (P,) bool.
        margin: δ_v.
        anchors: at most.
        least: pixels that must be left for a further one.
        generator: for the order.
    """
    rows = candidates.nonzero()[:, 0]
    if len(rows) > _LOOKED_AT:
        least *= _LOOKED_AT / len(rows)
        drawn = torch.randint(len(rows), (_LOOKED_AT,), generator=generator, device=generator.device)
        rows = rows[drawn.to(rows.device)]
    maps = [points[rows] for points in (ours, theirs)]
    maps = [points - points.mean(0) for points in maps]  # near the origin: less is lost where squares cancel
    norms = [points.square().sum(1) for points in maps]
    free, places = torch.ones_like(rows, dtype=torch.bool), list[torch.Tensor]()
    while len(places) < anchors and (count := int(free.sum())) and count >= least:
        drawn = torch.randint(count, (), generator=generator, device=generator.device).to(rows.device)
        place = free.nonzero()[drawn, 0]
        places.append(rows[place])
        free[place] = False
        for points, squares in zip(maps, norms, strict=True):
            with full_products(points):
                away = torch.addmv(squares, points, points[place], alpha=-2).add_(squares[place])
            free &= away >= margin**2
    return torch.stack(places) if places else rows[:0]


class _SoftDice(torch.autograd.Function):
    """(A,) Dice of the soft masks around A pixels in two maps, with a gradient to the first; pairs are never all there.

    With S' of the second map, D = 2 Σ S·S' / N, N = max(Σ S² + Σ S'², 1e-6), is of slope 2 (S' − D·S) / N by S, where
    N is more than that least.
    """

    @staticmethod
    def forward(
        ctx: Any, ours: torch.Tensor, theirs: torch.Tensor, places: torch.Tensor, kernel: Gaussian
    ) -> torch.Tensor:
        overlap, squares = ours.new_zeros(len(places)), ours.new_zeros(len(places))
        with full_products(ours):
            for _, _, first, second in _soft_masks(ours, theirs, places, kernel):
                overlap += (first * second).sum(0)
                squares += first.square_().sum(0) + second.square_().sum(0)
        dice = 2 * overlap / squares.clamp(min=_LEAST)
        ctx.save_for_backward(ours, theirs, places, dice, squares)
        ctx.kernel = kernel
        return dice

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        ours, theirs, places, dice, squares = ctx.saved_tensors
        # of S by the squared distance: −a · S; of that by the difference: twice the difference
        weights = -4 * ctx.kernel.a * gradients[0] / squares.clamp(min=_LEAST)
        pulled = torch.where(squares > _LEAST, dice, 0)
        moved = ours[places] - ours[places].mean(0)
        by_points, by_centres = torch.empty_like(ours), torch.zeros_like(moved)
        with full_products(ours):
            for rows, part, first, second in _soft_masks(ours, theirs, places, ctx.kernel):
                slopes = torch.addcmul(second, pulled, first, value=-1).mul_(first).mul_(weights)
                by_points[rows] = part * slopes.sum(1, keepdim=True) - slopes @ moved
                by_centres += moved * slopes.sum(0)[:, None] - slopes.T @ part
        return by_points.index_add_(0, places, by_centres), None, None, None


def _soft_masks(
    ours: torch.Tensor, theirs: torch.Tensor, places: torch.Tensor, kernel: Gaussian
) -> Iterator[tuple[slice, torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Yield rows, their (R, E) points of the first map from its anchors' mean, and the (R, A) soft masks of both."""
    centres = [points[places] for points in (ours, theirs)]
    both = (chunks(points, own, own.mean(0)) for points, own in zip((ours, theirs), centres, strict=True))
    for (rows, part, first), (_, _, second) in zip(*both, strict=True):
        yield rows, part, kernel.value(first), kernel.value(second)


def _check(student: torch.Tensor, teacher: torch.Tensor) -> None:
    if student.shape != teacher.shape:
        raise DataError(
            problem(
                f"two maps of one size, {tuple(student.shape)}",
                str(tuple(teacher.shape)),
                where="consistency of embeddings",
                next_move="give both networks images of one size, and turn the teacher's map back",
            )
        )
