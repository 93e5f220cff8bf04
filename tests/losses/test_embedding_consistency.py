"""Consistency of two networks' embeddings: anchors, masks, and turning maps there and back."""

from __future__ import annotations

import pytest
import torch

import plain_embedding as plain
from maskwright.errors import DataError
from maskwright.losses.embedding import (
    EmbeddingLoss,
    TeacherView,
    consistency_loss,
    draw_anchors,
    draw_degrees,
    pairs,
    rotate,
    rotate_back,
)
from maskwright.recipe.embedding import ConsistencySpec, EmbeddingLossSpec


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def fields(seed=0, size=(6, 7), channels=3):
    generator = seeded(seed)
    student = 0.5 * torch.randn(channels, *size, generator=generator, dtype=torch.float64)
    return student, student + 0.1 * torch.randn(student.shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("chunk", [1 << 20, 50])
def test_the_mean_of_the_dice_of_the_masks_around_the_anchors(chunk, monkeypatch):
    monkeypatch.setattr(pairs, "CHUNK", chunk)
    student, teacher = fields()
    known = torch.ones(6, 7, dtype=torch.bool)
    known[:, 0] = False
    unlabelled = torch.ones(6, 7, dtype=torch.bool)
    unlabelled[3:] = False
    options = {"anchors": 4, "least": 0.05}
    inside = known.flatten()
    ours, theirs = (maps.flatten(1).T[inside] for maps in (student, teacher))
    places = draw_anchors(
        ours, theirs, unlabelled.flatten()[inside], 0.5, anchors=4, least=0.05 * 42, generator=seeded()
    )
    assert len(places) == 4
    each = [
        1 - plain.dice(*(plain.soft_mask(maps.T[..., None], maps[p], 0.5, 0.9) for maps in (ours, theirs)))
        for p in places
    ]
    found = consistency_loss(
        student, teacher, unlabelled, 0.5, known=known, threshold=0.9, generator=seeded(), **options
    )
    assert found.item() == pytest.approx(torch.stack(each).mean().item())


def test_anchors_are_candidates_apart_from_each_other_in_both_maps():
    student, teacher = fields(size=(20, 20))
    ours, theirs = (maps.flatten(1).T for maps in (student, teacher))
    candidates = torch.arange(400) % 3 > 0
    places = draw_anchors(ours, theirs, candidates, 0.5, anchors=20, least=1, generator=seeded())
    assert len(places) > 3
    assert candidates[places].all()
    for points in (ours, theirs):
        distances = torch.cdist(points[places], points[places]) + 9 * torch.eye(len(places))
        assert (distances >= 0.5).all()
    again = draw_anchors(ours, theirs, candidates, 0.5, anchors=20, least=1, generator=seeded())
    assert torch.equal(places, again)
    assert not torch.equal(
        places, draw_anchors(ours, theirs, candidates, 0.5, anchors=20, least=1, generator=seeded(1))
    )
    assert len(draw_anchors(ours, theirs, candidates, 0.5, anchors=2, least=1, generator=seeded())) == 2


def test_anchors_end_where_too_little_is_left():
    # all pixels in one ball: the first anchor takes them all
    points = torch.zeros(100, 2)
    everywhere = torch.ones(100, dtype=torch.bool)
    assert len(draw_anchors(points, points, everywhere, 0.5, anchors=20, least=5, generator=seeded())) == 1
    # two balls of 97 and 3, of which 3 are fewer than 5: one anchor if the first is drawn in the large one
    points[:3] = 9.0
    found = {
        len(draw_anchors(points, points, everywhere, 0.5, anchors=20, least=5, generator=seeded(s))) for s in range(5)
    }
    assert found == {1}
    few = torch.arange(100) < 4
    assert len(draw_anchors(points, points, few, 0.5, anchors=20, least=5, generator=seeded())) == 0


def test_of_many_candidates_some_stand_for_all():
    # three balls of 12 000, 7 700 and 300 pixels; the last is 1.5 % of them, and less than .05 alone is not looked at
    ball = torch.repeat_interleave(torch.arange(3), torch.tensor([12_000, 7_700, 300]))
    points = 9.0 * ball[:, None] + 0.01 * torch.randn(20_000, 2, generator=seeded())
    candidates = torch.arange(20_000) % 2 == 0
    seen = []
    for seed in range(20):
        options = {"anchors": 20, "least": 0.05 * 10_000, "generator": seeded(seed)}
        places = draw_anchors(points, points, candidates, 0.5, **options)
        assert candidates[places].all()
        assert len(ball[places].unique()) == len(places)
        seen.append(sorted(ball[places].tolist()))
    assert all(found in ([0, 1], [0, 1, 2]) for found in seen)
    assert [0, 1] in seen


@pytest.mark.parametrize("unlabelled", [0, 1])
def test_nothing_unlabelled_or_too_little_costs_nothing(unlabelled):
    student, teacher = fields()
    places = torch.zeros(6, 7, dtype=torch.bool)
    places[0, :unlabelled] = True  # 1 of 42 is less than .05
    found = consistency_loss(student.requires_grad_(), teacher, places, 0.5, generator=seeded())
    found.backward()
    assert found.item() == 0
    assert (student.grad == 0).all()


def test_equal_maps_cost_nothing_and_the_teacher_gets_no_gradient():
    student, teacher = fields()
    everywhere = torch.ones(6, 7, dtype=torch.bool)
    assert consistency_loss(student, student, everywhere, 0.5, generator=seeded()).item() == pytest.approx(0)
    teacher.requires_grad_()
    found = consistency_loss(student.requires_grad_(), teacher, everywhere, 0.5, generator=seeded())
    found.backward()
    assert found.item() > 0
    assert teacher.grad is None
    assert student.grad.isfinite().all()
    assert (student.grad != 0).any()


@pytest.mark.parametrize("chunk", [1 << 20, 9])
def test_gradients_are_those_of_finite_differences(chunk, monkeypatch):
    monkeypatch.setattr(pairs, "CHUNK", chunk)
    student, teacher = fields(size=(3, 4))
    everywhere = torch.ones(3, 4, dtype=torch.bool)
    # anchors of a small margin, so that a small step moves none across a border; all pixels
    assert torch.autograd.gradcheck(
        lambda e: consistency_loss(e, teacher, everywhere, 0.05, anchors=3, generator=seeded()),
        student.requires_grad_(),
    )


def test_maps_of_two_sizes_are_an_error():
    student, teacher = fields()
    with pytest.raises(DataError, match="two maps of one size"):
        consistency_loss(student, teacher[:, 1:], torch.ones(6, 7, dtype=torch.bool), 0.5, generator=seeded())


def test_consistency_in_the_sum_is_a_mean_over_images():
    images = [fields(seed) for seed in range(3)]
    student, teacher = (torch.stack(parts) for parts in zip(*images, strict=True))
    instances = torch.zeros(3, 6, 7, dtype=torch.int64)
    instances[2] = 5  # all labelled
    instances[1, 0] = -1  # ignored: not seen
    spec = EmbeddingLossSpec(consistency=ConsistencySpec(weight=0.3))
    found = EmbeddingLoss(spec)(student, instances, teacher=TeacherView(teacher), generator=seeded())["consistency"]
    generator = seeded()
    alone = [
        consistency_loss(s, t, i == 0, 0.5, known=i >= 0, generator=generator)
        for s, t, i in zip(student, teacher, instances, strict=True)
    ]
    assert alone[2].item() == 0
    assert found.item() == pytest.approx(0.3 * torch.stack(alone).mean().item())
    background = EmbeddingLossSpec(zero="background")
    terms = EmbeddingLoss(background)(student, instances, teacher=TeacherView(teacher), generator=seeded())
    assert terms["consistency"].item() == 0


def test_what_is_ignored_has_no_part_in_the_consistency():
    student, teacher = (field[None] for field in fields())
    instances = torch.full((1, 6, 7), -2)
    instances[0, :2], instances[0, 2:4] = 3, 0
    spec = EmbeddingLossSpec(zero="ignore", consistency=ConsistencySpec(weight=0.3))
    student.requires_grad_()
    found = EmbeddingLoss(spec)(student, instances, teacher=TeacherView(teacher), generator=seeded())["consistency"]
    found.backward()
    assert not student.grad[0, :, 2:4].any() and student.grad[0, :, 4:].any()


def test_quarter_turns_are_those_of_torch():
    maps = torch.randn(2, 3, 8, 8, generator=seeded(), dtype=torch.float64)
    turned = rotate(maps, torch.tensor([90.0, 180.0]))
    assert torch.allclose(turned[0], maps[0].rot90(1, (-2, -1)))
    assert torch.allclose(turned[1], maps[1].rot90(2, (-2, -1)))
    back, known = rotate_back(turned, torch.tensor([90.0, 180.0]))
    assert torch.allclose(back, maps)
    assert known.all()


def test_any_angle_comes_back_where_it_is_known():
    rows, columns = torch.meshgrid(torch.linspace(0, 3, 40), torch.linspace(0, 4, 60), indexing="ij")
    smooth = torch.stack([rows.sin() + columns, (rows * columns).cos()])[None].repeat(3, 1, 1, 1)
    degrees = torch.tensor([0.0, 30.0, 137.0])
    back, known = rotate_back(rotate(smooth, degrees), degrees)
    assert known[0].all()
    for number in (1, 2):
        # of a 40 × 60 image turned by 30° about two thirds stay inside the frame
        assert 0.4 < known[number].float().mean() < 0.9
        assert known[number, 20, 30]
        assert not known[number, 0, 0]
        assert (back - smooth).abs().amax(1)[number][known[number]].max() < 0.05  # bilinear, twice
    shape = rotate(torch.ones(1, 1, 40, 60), torch.tensor([90.0]))[0, 0] > 0.5
    assert shape.sum() == 40 * 40  # turned without being stretched: 40 columns of 40 rows remain
    assert shape[:, 10:50].all()


def test_angles_are_drawn_between_the_bounds():
    found = draw_degrees(1000, (0.0, 180.0), seeded())
    assert 0 <= found.min() < 5
    assert 175 < found.max() <= 180
    assert torch.equal(found, draw_degrees(1000, (0.0, 180.0), seeded()))


def test_half_precision_turns_by_the_same_angle():
    """Coordinates in bfloat16 would be off by a pixel where the side is 512."""
    ramp = torch.linspace(-1, 1, 512).expand(1, 1, 512, 512).to(torch.bfloat16)
    degrees = torch.tensor([30.0])
    (half, known), (whole, _) = (rotate_back(rotate(maps, degrees), degrees) for maps in (ramp, ramp.float()))
    assert half.dtype == torch.float32
    assert torch.equal(half, whole)
    assert known.any()
