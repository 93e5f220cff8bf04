"""The terms of embeddings: worked values, plain versions, gradients, chunks, and what isn't there."""

from __future__ import annotations

import math

import pytest
import torch

import plain_embedding as plain
from maskwright.errors import DataError, MaskwrightError
from maskwright.losses.embedding import (
    IGNORED,
    UNLABELLED,
    EmbeddingLoss,
    Groups,
    gaussian_exponent,
    norm_loss,
    object_loss,
    pairs,
    pull_loss,
    push_loss,
    unlabelled_push_loss,
)
from maskwright.losses.embedding.groups import neighbourhoods
from maskwright.recipe.embedding import EmbeddingLossSpec
from maskwright.recipe.margin import DecayingMarginSpec, margin_at

NEAR, FAR = 0.5, 1.5
TERMS = {
    "pull": (lambda g: pull_loss(g, NEAR), lambda e, i, **o: plain.pull(e, i, NEAR, **o)),
    "push": (lambda g: push_loss(g, FAR), lambda e, i, **o: plain.push(e, i, FAR, **o)),
    "unlabelled_push": (
        lambda g: unlabelled_push_loss(g, FAR),
        lambda e, i, **o: plain.unlabelled_push(e, i, FAR, **o),
    ),
    "object": (
        lambda g: object_loss(g, NEAR, threshold=0.5),
        lambda e, i, **o: plain.objects(e, i, NEAR, 0.5, **o),
    ),
    "norm": (norm_loss, plain.norm),
}
every = pytest.mark.parametrize("term", TERMS)


def drawn(seed=0, size=(5, 6), channels=3, ids=(0, 0, 4, 9, 255, 70_000), spread=0.6, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    places = torch.randint(len(ids), size, generator=generator)
    embeddings = spread * torch.randn(channels, *size, generator=generator, dtype=dtype)
    return embeddings, torch.tensor(ids)[places]


def line(values, ids):
    """Return an image of one row whose embeddings have one channel."""
    return torch.tensor(values, dtype=torch.float64)[None, None], torch.tensor(ids)[None]


def test_the_worked_values_of_the_paper_s_formulas():
    # instances {0, 2} and {2, 5}, unlabelled 4.5. Means 1 and 3.5.
    # pull: ((1 − .5)² + (1.5 − .5)²) / 2; push: (3 − 2.5)²; unlabelled: ([1.5 − 3.5]₊² + (1.5 − 1)²) / 2; norm 2.25
    groups = Groups.of(*line([0, 2, 2, 5, 4.5], [1, 1, 2, 2, 0]))
    assert pull_loss(groups, 0.5).item() == pytest.approx(0.625)
    assert push_loss(groups, 1.5).item() == pytest.approx(0.25)
    assert unlabelled_push_loss(groups, 1.5).item() == pytest.approx(0.125)
    assert norm_loss(groups).item() == pytest.approx(2.25)


@pytest.mark.parametrize(
    ("threshold", "two_sigma_squared", "sigma", "values"),
    [
        (0.5, 0.360674, 0.424661, {0.25: 0.840896, 0.5: 0.5, 1: 0.0625}),
        (0.9, 2.372805, 1.089221, {0.25: 0.974004, 0.5: 0.9, 1: 0.6561, 1.5: 0.38742}),
    ],
)
def test_the_soft_mask_s_worked_values(threshold, two_sigma_squared, sigma, values):
    a = gaussian_exponent(0.5, threshold)
    assert 1 / a == pytest.approx(two_sigma_squared, rel=1e-5)
    assert math.sqrt(0.5 / a) == pytest.approx(sigma, rel=1e-5)
    for distance, value in values.items():
        assert math.exp(-a * distance**2) == pytest.approx(value, rel=1e-5)


def test_the_object_term_is_a_mean_of_dice_not_the_dice_of_all():
    # instance 1: two pixels at 0 and 1, mean .5, δ_v .5, t .5: both .5; instance 2: one pixel at 10, 1; the others 0.
    # Dice 1: 2 · 1 / (.5 + 2) = .8; Dice 2: 1; the mean of 1 − Dice is .1 (pooled: 1 − 4 / (1.5 + 3) = .111…)
    groups = Groups.of(*line([0, 1, 10], [1, 1, 2]))
    assert object_loss(groups, 0.5).item() == pytest.approx(0.1, abs=1e-9)
    # one more pixel at 0, unlabelled: it adds .25 to instance 1's denominator: Dice 2 / 2.75
    groups = Groups.of(*line([0, 1, 10, 0], [1, 1, 2, 0]))
    assert object_loss(groups, 0.5).item() == pytest.approx((1 - 2 / 2.75) / 2, abs=1e-9)


@every
@pytest.mark.parametrize(
    ("zero", "chunk"), [("unlabelled", 1 << 20), ("background", 1 << 20), ("ignore", 1 << 20), ("background", 10)]
)
def test_plain_versions_agree(term, zero, chunk, monkeypatch):
    monkeypatch.setattr(pairs, "CHUNK", chunk)
    fast, slow = TERMS[term]
    for seed in range(4):
        embeddings, instances = drawn(seed)
        if seed % 2:
            instances[0] = -1
        given = [embeddings.clone().requires_grad_() for _ in range(2)]
        ours, expected = fast(Groups.of(given[0], instances, zero=zero)), slow(given[1], instances, zero=zero)
        assert ours.item() == pytest.approx(expected.item(), abs=1e-9)
        ours.backward()
        if expected.requires_grad:
            expected.backward()
            assert torch.allclose(given[0].grad, given[1].grad, atol=1e-8)
        else:
            assert (given[0].grad == 0).all()


@every
@pytest.mark.parametrize("chunk", [1 << 20, 10])
def test_gradients_are_those_of_finite_differences(term, chunk, monkeypatch):
    monkeypatch.setattr(pairs, "CHUNK", chunk)
    embeddings, instances = drawn(3, size=(3, 5), channels=2, spread=0.4)
    fast, _ = TERMS[term]
    assert torch.autograd.gradcheck(lambda e: fast(Groups.of(e, instances)), embeddings.requires_grad_())


@every
def test_ids_say_nothing(term):
    embeddings, instances = drawn()
    renamed = torch.where(instances > 0, 3 * (instances.max() + 1 - instances), instances)
    sparse = torch.where(instances > 0, instances + (1 << 40), instances)
    fast, _ = TERMS[term]
    expected = fast(Groups.of(embeddings, instances)).item()
    for other in (renamed, sparse):
        assert fast(Groups.of(embeddings, other)).item() == pytest.approx(expected, abs=1e-12)


@every
def test_ignored_pixels_change_nothing(term):
    embeddings, instances = drawn()
    instances[2:4] = -1
    other = embeddings.clone()
    other[:, 2:4] = 100.0
    fast, _ = TERMS[term]
    assert fast(Groups.of(other, instances)).item() == pytest.approx(fast(Groups.of(embeddings, instances)).item())


@every
def test_a_separated_image_costs_nothing_but_its_norm(term):
    _, instances = drawn()
    ids = {int(i): place for place, i in enumerate(instances.unique())}
    places = torch.tensor([[ids[int(i)] for i in row] for row in instances])
    embeddings = torch.nn.functional.one_hot(places, len(ids)).permute(2, 0, 1).double() * 20
    value = TERMS[term][0](Groups.of(embeddings, instances)).item()
    assert value == pytest.approx(20.0 if term == "norm" else 0.0, abs=1e-9)


@every
@pytest.mark.parametrize(
    ("ids", "missing"),
    [
        ((0,), {"pull", "push", "unlabelled_push", "object", "norm"}),  # nothing labelled
        ((-1,), {"pull", "push", "unlabelled_push", "object", "norm"}),  # all ignored
        ((7,), {"push", "unlabelled_push"}),  # one instance, on every pixel
        ((7, 0), {"push"}),
        ((7, 8), {"unlabelled_push"}),
    ],
)
def test_what_is_missing_costs_nothing_and_keeps_the_graph(term, ids, missing):
    embeddings, instances = drawn(ids=ids, spread=0.3, dtype=torch.float32)
    embeddings.requires_grad_()
    value = TERMS[term][0](Groups.of(embeddings, instances))
    value.backward()
    assert embeddings.grad.isfinite().all()
    if term in missing:
        assert value.item() == 0
        assert (embeddings.grad == 0).all()


@every
def test_instances_of_one_pixel_and_constant_embeddings_have_finite_gradients(term):
    instances = torch.arange(1, 31).reshape(5, 6)
    for embeddings in (torch.zeros(4, 5, 6), torch.randn(4, 5, 6, generator=torch.Generator().manual_seed(0))):
        embeddings.requires_grad_()
        TERMS[term][0](Groups.of(embeddings, instances)).backward()
        assert embeddings.grad.isfinite().all()
    # each pixel is its own mean: nothing pulls, and the overlap of mask and instance is 1
    assert pull_loss(Groups.of(embeddings, instances), NEAR).item() == 0


def test_five_thousand_instances():
    instances = torch.arange(1, 5001).repeat_interleave(2).reshape(100, 100)
    embeddings = torch.randn(8, 100, 100, generator=torch.Generator().manual_seed(0)).requires_grad_()
    loss = EmbeddingLoss(EmbeddingLossSpec(zero="ignore"))
    terms = loss(embeddings[None], instances[None], generator=torch.Generator().manual_seed(0))
    sum(terms.values()).backward()
    assert embeddings.grad.isfinite().all()
    means = embeddings.detach().flatten(1).T.reshape(5000, 2, 8).mean(1)
    distances = torch.cdist(means, means)
    expected = ((2 * FAR - distances).clamp(min=0) ** 2).fill_diagonal_(0).sum() / (5000 * 4999)
    assert terms["push"].item() == pytest.approx(expected.item(), rel=1e-4)


def test_drawn_pixels_give_the_same_on_average():
    embeddings, instances = drawn(size=(100, 120), ids=(*[0] * 60, *range(1, 41)), spread=0.3)
    groups = Groups.of(embeddings, instances)
    for function in (lambda **o: object_loss(groups, NEAR, **o), lambda **o: unlabelled_push_loss(groups, FAR, **o)):
        exact = function().item()
        assert function(most_pairs=10**9).item() == exact
        generator = torch.Generator().manual_seed(0)
        values = torch.tensor([function(most_pairs=1, generator=generator).item() for _ in range(30)])
        assert values.std() > 0
        assert abs(values.mean().item() - exact) < 3 * values.std().item() / math.sqrt(30) + 1e-4 * exact
        assert function(most_pairs=1).item() == function(most_pairs=1).item()  # no generator: evenly spaced
        assert function(most_pairs=1).item() == pytest.approx(exact, rel=0.05)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_embeddings_that_are_not_finite_are_an_error(bad):
    embeddings, instances = drawn()
    embeddings[1, 2, 3] = bad
    with pytest.raises(MaskwrightError, match="finite embeddings"):
        Groups.of(embeddings, instances)


def test_maps_of_another_size_are_an_error():
    embeddings, instances = drawn()
    with pytest.raises(DataError, match="as large as the embeddings"):
        Groups.of(embeddings, instances[1:])


def test_half_precision_outputs_are_summed_in_full():
    embeddings, instances = drawn(dtype=torch.float32, size=(40, 40))
    half = embeddings.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        for fast, _ in TERMS.values():
            value = fast(Groups.of(half, instances))
            assert value.dtype == torch.float32
            assert value.item() == pytest.approx(fast(Groups.of(half.double(), instances)).item(), rel=1e-4, abs=1e-6)


def test_terms_are_weighted_and_averaged_over_images():
    spec = EmbeddingLossSpec(pull=2, push=0, unlabelled_push=0.5, object=3, norm=0.1, threshold=0.9)
    images = [drawn(0), drawn(1, ids=(0,)), drawn(2)]
    embeddings, instances = (torch.stack(parts) for parts in zip(*images, strict=True))
    found = EmbeddingLoss(spec)(embeddings, instances)
    assert list(found) == ["pull", "unlabelled_push", "object", "norm"]
    assert found["pull"].item() == pytest.approx(2 * sum(plain.pull(e, i, 0.5).item() for e, i in images) / 3)
    rest = sum(plain.unlabelled_push(e, i, 1.5).item() for e, i in images) / 3
    assert found["unlabelled_push"].item() == pytest.approx(0.5 * rest)
    masks = sum(plain.objects(e, i, 0.5, 0.9).item() for e, i in images) / 3
    assert found["object"].item() == pytest.approx(3 * masks)
    assert found["norm"].item() == pytest.approx(0.1 * sum(plain.norm(e, i).item() for e, i in images) / 3)


def test_margins_near_their_values_exponentially():
    margin = DecayingMarginSpec(value=1.5, shift=-0.2, rate=5)
    assert margin_at(margin, 0) == pytest.approx(1.3)
    assert margin_at(margin, 0.5) == pytest.approx(1.5 - 0.2 * math.exp(-2.5))
    assert margin_at(margin, 1) == pytest.approx(1.5 - 0.2 * math.exp(-5))
    assert margin_at(DecayingMarginSpec(value=0.1, shift=-0.2), 0) == pytest.approx(0.001)  # never 0 or below
    spec = EmbeddingLossSpec(pull_margin=DecayingMarginSpec(value=0.5, shift=0.2))
    embeddings, instances = drawn()
    found = EmbeddingLoss(spec)(embeddings[None], instances[None], progress=0.0)
    assert found["pull"].item() == pytest.approx(plain.pull(embeddings, instances, 0.7).item())


def within(ids, reach):
    """Return {id: neighbourhood} by comparing all pixels of all pairs of instances."""
    found = sorted(set(ids.flatten().tolist()) - {0} - {i for i in ids.flatten().tolist() if i < 0})
    place = {i: k for k, i in enumerate(found)}
    for i in found:
        for j in found:
            one, other = ((ids == k).nonzero() for k in (i, j))
            gap = (one[:, None] - other[None]).abs().amax(2).min() - 1
            if gap <= reach:
                old, new = place[j], place[i]
                place = {k: new if v == old else v for k, v in place.items()}
    return place


@pytest.mark.parametrize("reach", [0, 1, 2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_neighbourhoods_are_those_of_all_pairs_compared(seed, reach):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.zeros(14, 18, dtype=torch.int64)
    for number in range(1, 7):
        top, left = (int(torch.randint(size, (), generator=generator)) for size in (12, 16))
        ids[top : top + 2, left : left + 2] = number
    # an id that another covers in part may lie apart, and joins the neighbourhoods of its pieces
    found, expected = neighbourhoods(ids, reach), within(ids, reach)
    pairs = {(expected[i], n) for i, n in zip(ids[ids > 0].tolist(), found[ids > 0].tolist(), strict=True)}
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})
    assert (found[ids == 0] == -1).all()


def apart(seed=0):
    """Return an image with two neighbourhoods of two and three instances, and one lone instance."""
    embeddings, _ = drawn(seed, size=(6, 15), spread=0.8)
    ids = torch.zeros(6, 15, dtype=torch.int64)
    ids[:, 0], ids[:, 1], ids[:2, 6], ids[2:4, 6:8], ids[4:, 7], ids[1:3, 13] = 3, 8, 11, 12, 20, 70_000
    return embeddings, ids, [{3, 8}, {11, 12, 20}, {70_000}]


@pytest.mark.parametrize("zero", ["ignore", "background"])
@pytest.mark.parametrize("term", ["push", "object"])
def test_objects_of_other_neighbourhoods_are_as_if_they_were_ignored(term, zero):
    """Each neighbourhood alone, all else but the background ignored; the means are over all pairs, and all objects."""
    embeddings, ids, neighbours = apart()
    embeddings.requires_grad_()
    found = TERMS[term][0](Groups.of(embeddings, ids, zero=zero, reach=1))
    values, weights, more = [], [], int(zero == "background")
    for own in neighbours:
        alone = torch.where(torch.isin(ids, torch.tensor([*own, 0])), ids, -1)
        values.append(TERMS[term][1](embeddings[:, alone >= 0][:, None], alone[alone >= 0][None], zero=zero))
        count = len(own)
        weights.append(count if term == "object" else (count + more) * (count + more - 1))
    expected = sum(v * w for v, w in zip(values, weights, strict=True)) / sum(weights)
    assert found.item() == pytest.approx(expected.item(), rel=1e-9)
    assert found.item() > 0
    one, two = (torch.autograd.grad(value, embeddings)[0] for value in (found, expected))
    torch.testing.assert_close(one, two)


def test_a_reach_that_joins_all_changes_nothing_and_one_that_joins_none_pushes_nothing():
    embeddings, ids, _ = apart()
    for term in TERMS:
        whole, joined = (TERMS[term][0](Groups.of(embeddings, ids, zero="ignore", reach=r)) for r in (None, 20))
        assert torch.equal(whole, joined)
    alone = torch.where((ids == 3) | (ids == 70_000), ids, -1)
    assert push_loss(Groups.of(embeddings, alone, reach=2), FAR) == 0
    assert push_loss(Groups.of(embeddings, alone), FAR) > 0
    spec = EmbeddingLossSpec(reach=2, zero="ignore")
    terms = EmbeddingLoss(spec)(embeddings[None], torch.zeros_like(alone)[None])
    assert all(value == 0 for value in terms.values())


def test_unlabelled_pixels_are_no_background_and_ignored_ones_are_nothing():
    """1-D: instance 1 {0, 2}, instance 2 {2, 5}, background {9}, unlabelled {4.5}, ignored {100}."""
    embeddings = torch.tensor([[[0.0, 2.0, 2.0, 5.0, 9.0, 4.5, 100.0]]])
    ids = torch.tensor([[4, 4, 7, 7, 0, UNLABELLED, IGNORED]])
    groups = Groups.of(embeddings, ids, zero="background")
    assert groups.owner.tolist() == [0, 0, 1, 1, 2, -1]
    assert groups.means.flatten().tolist() == [1.0, 3.5, 9.0]
    # 3.5 and 1.0 away from the two instances, at a margin of 1.5: (0² + 0.5²) / 2
    assert unlabelled_push_loss(groups, 1.5) == pytest.approx(0.125)
    alone = Groups.of(embeddings, ids, zero="unlabelled")
    assert alone.owner.tolist() == [0, 0, 1, 1, -1, -1]


def test_an_object_in_pieces_is_pushed_from_the_neighbours_of_each():
    ids = torch.tensor([[1, 1, 0, 0, 0, 0, 1, 2, 2]])
    embeddings = torch.zeros(2, 1, 9)
    far, near = (push_loss(Groups.of(embeddings, ids, zero="ignore", reach=r), FAR) for r in (None, 1))
    assert near == far > 0
