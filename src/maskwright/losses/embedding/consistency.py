"""Consistency of two networks where nothing is labelled: the soft masks that they draw around the same pixel."""

from __future__ import annotations

import torch
from torch.utils.checkpoint import checkpoint

from maskwright.errors import DataError, problem
from maskwright.losses.embedding import pairs
from maskwright.losses.embedding.terms import gaussian_exponent
from maskwright.losses.truth import full_precision


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
    anchor in either map, until these are less than `least` of the image; 0 where none can be drawn. The masks, and
    their Dice, 2 Σ S·S' / max(Σ S² + Σ S'², 1e-6), are those of all known pixels.

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
    a, step = gaussian_exponent(margin, threshold), max(1, pairs.CHUNK // len(ours))
    total = ours.new_zeros(())
    for start in range(0, len(places), step):
        part = checkpoint(
            _dice_sum, ours, theirs, places[start : start + step], a, use_reentrant=False, preserve_rng_state=False
        )
        assert isinstance(part, torch.Tensor)
        total = total + part
    return 1 - total / len(places)


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
    places: list[torch.Tensor] = []
    while len(places) < anchors and len(rows) and len(rows) >= least:
        drawn = torch.randint(len(rows), (), generator=generator, device=generator.device).to(rows.device)
        place = rows[drawn]
        places.append(place)
        far = torch.ones_like(rows, dtype=torch.bool)
        for points in (ours, theirs):
            far &= (points[rows] - points[place]).square().sum(1) >= margin**2
        rows = rows[far]
    return torch.stack(places) if places else rows[:0]


def _dice_sum(ours: torch.Tensor, theirs: torch.Tensor, places: torch.Tensor, a: float) -> torch.Tensor:
    """Return the sum over anchors of the Dice of their soft masks."""
    first, second = (_soft_masks(points, points[places], a) for points in (ours, theirs))  # (P, A) each
    overlap = (first * second).sum(0)
    return (2 * overlap / (first.square().sum(0) + second.square().sum(0)).clamp(min=1e-6)).sum()


def _soft_masks(points: torch.Tensor, centres: torch.Tensor, a: float) -> torch.Tensor:
    squared = torch.stack([(points - centre).square().sum(1) for centre in centres], 1)
    return pairs.soft_mask(squared, a)


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
