"""The step against formulas written out for a network of a few weights."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from make_steps import RECIPE, C, H, M, N, Toy, W, make, make_batch, number, plain_term
from maskwright.errors import RecipeError
from maskwright.losses import build_levels
from maskwright.recipe import apply_settings
from maskwright.recipe.unlabelled import AdaptiveThresholdSpec, ConsistencySpec
from maskwright.train.batch import PoolBatch
from maskwright.train.unlabelled import METHODS, build_step
from maskwright.train.unlabelled.peaks import Peaks
from maskwright.train.unlabelled.perturb import (
    complementary_dropout,
    features_changed,
    half_of,
    with_dropped,
)
from maskwright.types import IGNORE


def test_fixmatch_is_its_formula():
    step, network = make("{kind: fixmatch, threshold: 0.4, weight: 0.7}")
    batch, network = make_batch(), copy.deepcopy(network)
    terms = step.losses(batch, 0.0)
    pool = batch.pool
    told = network.eval()(pool.clean[:, 0]).softmax(1)
    confidence, labels = told.max(1)
    valid = pool.valid[:, 0]
    kept = valid & (confidence >= 0.4)
    assert 0 < int(kept.sum()) < int(valid.sum())
    network.train()
    expected = functional.cross_entropy(network(batch.images), batch.labels)
    assert number(terms["cross_entropy"]) == pytest.approx(number(expected), rel=1e-5)
    strong = plain_term(network(pool.noisy[:, 0]), labels, kept, valid)
    assert number(terms["strong"]) == pytest.approx(0.7 * number(strong), rel=1e-5)
    row, _ = step.kept.row()
    assert row["confidence"] == pytest.approx(number(confidence[valid].mean()), rel=1e-5)


def test_unimatch_without_dropping_is_its_formula(monkeypatch):
    """With all features kept the third term is the weak view's own: (Lx + .25 Ls1 + .25 Ls2 + .5 Lfp) / 2."""
    step, network = make("{kind: unimatch, threshold: 0.4}")
    batch, network = make_batch(2, boxes=True), copy.deepcopy(network)
    monkeypatch.setattr(torch, "rand", lambda *size, **options: torch.ones(*size))  # nothing is below .5
    terms = step.losses(batch, 0.0)
    pool, valid = batch.pool, batch.pool.valid[:, 0]
    outputs = network(torch.cat([batch.images, pool.clean[:, 0]]))
    told = outputs[N:].detach().softmax(1)
    confidence, labels = told.max(1)
    kept = valid & (confidence >= 0.4)
    views, said = [], []
    for s in range(2):
        images, names, keeps, insides = (v.clone() for v in (pool.noisy[:, s], labels, kept, valid))
        for n in range(M):
            top, left, height, width = pool.drawn["boxes"][n, s].tolist()
            box = (slice(top, top + height), slice(left, left + width))
            for own, source in ((names, labels), (keeps, kept), (insides, valid)):
                own[n][box] = source[n - 1][box]
            images[n][(slice(None), *box)] = pool.noisy[n - 1, s][(slice(None), *box)]
        views.append(images)
        said.append((names, keeps, insides))
    first, second = network(torch.cat(views)).chunk(2)
    supervised = functional.cross_entropy(outputs[:N], batch.labels)
    features = functional.conv2d(  # twice the features, as dropout would scale those that stay
        2 * torch.cat(copy_features(network, batch), 1), network.head.weight, network.head.bias
    )
    total = (
        supervised
        + 0.25 * plain_term(first, *said[0])
        + 0.25 * plain_term(second, *said[1])
        + 0.5 * plain_term(features, labels, kept, valid)
    ) / 2
    assert number(sum(terms.values())) == pytest.approx(number(total), rel=1e-5)


def copy_features(network, batch):
    """Return the features of the weak views, with the batch's statistics as in the step."""
    found = copy.deepcopy(network).encoder(torch.cat([batch.images, batch.pool.clean[:, 0]]))
    return [one[N:] for one in found]


def test_unimatch_v2_learns_from_the_teacher():
    step, network = make(
        "{kind: unimatch_v2, threshold: 0.0, complementary: false, mix: null, strong: [], teacher: {ramp: inverse}}"
    )
    with torch.no_grad():
        network.head.bias.add_(torch.tensor([0.0, 3.0, 0.0]))  # the student has moved, the teacher hasn't
    batch = make_batch(2)
    told = step.teacher(batch.pool.clean[:, 0])
    student = copy.deepcopy(network)
    terms = step.losses(batch, 0.0)
    student(batch.images)
    logits, valid = student(torch.cat([batch.pool.noisy[:, 0], batch.pool.noisy[:, 1]])), batch.pool.valid[:, 0]
    both = [plain_term(one, told.argmax(1), valid, valid) for one in logits.chunk(2)]
    assert number(terms["strong"]) == pytest.approx(number(sum(both)) / 4, rel=1e-5)
    assert not torch.equal(step.teacher.network.head.bias, network.head.bias)
    step.after_update()  # 1 − 1 / (0 + 1) = 0 stays: a copy
    assert torch.equal(step.teacher.network.head.bias, network.head.bias)


def test_mean_teacher_is_its_formula_and_rises():
    step, network = make("{kind: mean_teacher}")
    batch = make_batch(valid=torch.ones(M, 1, H, W, dtype=torch.bool))
    student, told = copy.deepcopy(network), step.teacher(batch.pool.clean[:, 0])
    found = {x: number(copy.deepcopy(step).losses(batch, x)["strong"]) for x in (0.0, 0.25, 1.0)}
    student(batch.images)
    squared = (student(batch.pool.noisy[:, 0]).softmax(1) - told).square().mean()
    for x, factor in {0.0: 0.006738, 0.25: 0.060055, 1.0: 1.0}.items():
        assert found[x] == pytest.approx(0.1 * factor * number(squared), rel=1e-3)


def test_classmix_pastes_labelled_categories():
    order = torch.tensor([[0.1, 0.2, 0.3], [0.3, 0.2, 0.1], [float("inf")] * 3])
    step, network = make("{kind: dacs, threshold: 0.0}")
    batch, network = make_batch(order=order), copy.deepcopy(network)
    batch.labels[0, :2] = IGNORE
    terms, pool = step.losses(batch, 0.0), batch.pool
    labels, valid = step.teacher(pool.clean[:, 0]).argmax(1), pool.valid[:, 0].clone()
    images = pool.noisy[:, 0].clone()
    for n, chosen in enumerate([{0, 1}, {2, 1}, set()]):  # two of three categories
        for y in range(H):
            for x in range(W):
                if int(batch.labels[n % N, y, x]) in chosen:
                    images[n, :, y, x] = batch.images[n % N, :, y, x]
                    labels[n, y, x], valid[n, y, x] = batch.labels[n % N, y, x], True
    network.train()(batch.images)
    expected = plain_term(network(images), labels, valid, valid)
    assert number(terms["strong"]) == pytest.approx(number(expected), rel=1e-5)


def test_hidden_blocks_show_the_mean():
    step, network = make("{kind: fixmatch, threshold: 0.0, masked: {block: 4, weight: 0.5}}")
    batch, network = make_batch(), copy.deepcopy(network)
    blocks = torch.rand(M, 2, 3) < 0.7
    batch.pool.drawn["masked"] = blocks
    terms = step.losses(batch, 0.0)
    labels, valid = network.eval()(batch.pool.clean[:, 0]).argmax(1), batch.pool.valid[:, 0]
    images = batch.pool.noisy[:, 0].clone()
    for n, row, column in blocks.nonzero().tolist():
        images[n, :, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] = 0
    expected = plain_term(network.train()(images), labels, valid, valid)
    assert number(terms["masked"]) == pytest.approx(0.5 * number(expected), rel=1e-5)


@pytest.mark.parametrize(
    "kind", [spec.model_fields["kind"].default for spec in METHODS if issubclass(spec, ConsistencySpec)]
)
def test_no_pixel_is_valid(kind):
    step, network = make(f"{{kind: {kind}, strong: []}}")
    method = step.spec
    batch = make_batch(method.views, valid=torch.zeros(M, 1, H, W, dtype=torch.bool))
    terms = step.losses(batch, 0.5)
    sum(terms.values()).backward()
    assert number(terms["strong"]) == 0
    assert all(torch.isfinite(p.grad).all() for p in network.parameters())
    alone = step.losses(batch._replace(pool=None), 0.5)
    assert set(alone) == {"cross_entropy"}


@pytest.mark.parametrize(
    "kind", [spec.model_fields["kind"].default for spec in METHODS if issubclass(spec, ConsistencySpec)]
)
def test_half_the_trust_is_half_the_weight(kind):
    step, _ = make(f"{{kind: {kind}, strong: [], threshold: 0.0}}")
    batch, whole = make_batch(step.spec.views), copy.deepcopy(step)
    step.kept.trust.mul_(0.5)
    found = []
    for one in (whole, step):
        torch.manual_seed(0)
        found.append(one.losses(batch, 1.0))
    for name, value in found[0].items():
        factor = 1.0 if name == "cross_entropy" else 0.5
        assert number(found[1][name]) == pytest.approx(factor * number(value), rel=1e-5)


def test_only_the_student_is_trained():
    step, network = make("{kind: unimatch_v2, strong: []}")
    trained = {id(p) for p in step.parameters() if p.requires_grad}
    assert trained == {id(p) for p in network.parameters()}
    assert step.teacher.training is False


def test_dropped_channels():
    torch.manual_seed(0)
    features = torch.rand(5, 400, 2, 3) + 1
    found = with_dropped(features, last=2, share=0.25)
    assert torch.equal(found[:5], features)
    factors = found[5:] / features[3:]
    torch.testing.assert_close(factors, factors[:, :, :1, :1].expand_as(factors))  # whole channels
    assert {round(v, 4) for v in factors.unique().tolist()} == {0.0, 1.3333}
    assert number((factors == 0).float().mean()) == pytest.approx(0.25, abs=0.05)


@pytest.mark.parametrize("shape", [(8, 300, 2, 3), (8, 6, 300)])
def test_two_views_keep_what_the_other_drops(shape):
    torch.manual_seed(0)
    features, whole = torch.rand(shape) + 1, torch.tensor([False, True, False, False])
    factors = complementary_dropout(features, whole) / features
    first, second = factors.chunk(2)
    torch.testing.assert_close(first + second, torch.full_like(first, 2))
    assert (first[1] == 1).all()
    assert {round(v, 4) for v in first[[0, 2, 3]].unique().tolist()} == {0.0, 2.0}
    assert number((first[0] == 0).float().mean()) == pytest.approx(0.5, abs=0.1)
    assert [int(half_of(n, torch.device("cpu")).sum()) for n in (1, 2, 5)] == [0, 1, 2]


def test_features_are_changed_only_inside():
    network, images = Toy().eval(), torch.randn(1, 1, H, W)
    before = network(images)
    with features_changed(network, lambda features: 0 * features):
        inside = network(images)
    torch.testing.assert_close(inside, network.head.bias[None, :, None, None].expand_as(inside))
    assert torch.equal(network(images), before)


def test_a_network_without_an_encoder_is_refused():
    recipe = apply_settings(RECIPE, ["selftrain.method={kind: unimatch}"])
    loss = build_levels((), recipe.loss, recipe.data.to_categories())
    with pytest.raises(RecipeError, match="feature_weight to 0"):
        build_step(nn.Conv2d(1, C, 1), loss, recipe, momentum=0)
    with pytest.raises(RecipeError, match=r"train\.compile to false"):
        build_step(Toy(), loss, apply_settings(recipe, ["train.compile=true"]), momentum=0)


def test_labels_of_its_own_leave_the_gradient_of_a_half_precision_step():
    """Autocast keeps the weights that it has cast; cast without a graph they would never be learned."""
    step, network = make("{kind: fixmatch, threshold: 0.0}")
    with torch.autocast("cpu", torch.bfloat16):
        terms = step.losses(make_batch(), 0.0)
    sum(terms.values()).backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in (network.encoder.one.weight, network.head.weight))


def test_in_a_short_training_the_teacher_forgets_its_first_states():
    """Ten updates of .996 (a span of 250): the last states weigh most, where 1 − 1 / (t + 1) would be their mean."""
    step, network = make("{kind: unimatch_v2}")
    with torch.no_grad():
        for t in range(10):
            network.head.bias.fill_(float(t))
            step.after_update()
    average = 0.0
    for t in range(10):
        average += (1 - (1 + t) / (10 + t)) * (t - average)
    assert number(step.teacher.network.head.bias[0]) == pytest.approx(average, rel=1e-5)
    assert average > 7.5  # the mean of 0 to 9 is 4.5


@pytest.mark.parametrize(
    ("steps", "every", "ramp"), [(4999, 1, "shipping"), (5001, 1, "inverse"), (9999, 2, "shipping")]
)
def test_the_ramp_of_the_teacher_is_that_of_the_training_s_length(steps, every, ramp):
    """20 / (1 − .996) = 5000 updates."""
    method = f"{{kind: unimatch_v2, teacher: {{momentum: 0.996, every: {every}}}}}"
    step, _ = make(method, f"train.steps={steps}")
    assert step.teacher.ramp == ramp


def test_a_batch_of_one_takes_boxes_from_the_batch_before():
    """Two parts of one image: the second gets the first one's box, the first of an epoch has none to take from."""
    method = "{kind: fixmatch, threshold: 0.0, mix: {kind: cutmix}, strong: []}"
    step, network = make(method)
    whole = make_batch(boxes=True)
    one, two = (
        whole._replace(pool=PoolBatch(*(part[n : n + 1] for part in whole.pool[:4]), {"boxes": boxes[None]}))
        for n, boxes in enumerate(whole.pool.drawn["boxes"][:2])
    )

    def strong(batch):
        network.load_state_dict(before)  # batch norm has moved
        return number(step.losses(batch, 0.0)["strong"])

    before = copy.deepcopy(network.state_dict())
    alone = [strong(one), strong(two)]
    pool, second = one.pool, two.pool
    network.load_state_dict(before)
    told = [copy.deepcopy(network).eval()(part.clean[:, 0]).argmax(1) for part in (pool, second)]
    images, labels, valid = (v.clone() for v in (second.noisy[:, 0], told[1], second.valid[:, 0]))
    box = (slice(0, 8), slice(0, 3))
    images[0][(slice(None), *box)] = pool.noisy[0, 0][(slice(None), *box)]
    labels[0][box], valid[0][box] = told[0][0][box], pool.valid[0, 0][box]
    mixed = copy.deepcopy(network).train()
    mixed(batch_images := two.images)  # the labelled crops pass first
    assert batch_images.shape[0] == N
    assert alone[1] == pytest.approx(number(plain_term(mixed(images), labels, valid, valid)), rel=1e-5)
    step.forget()
    assert strong(one) == pytest.approx(alone[0])  # as at the beginning of an epoch
    step.forget()
    assert strong(two) != pytest.approx(alone[1])


@pytest.mark.parametrize("more", ["", ", teacher: {}", ", feature_weight: 0.5"])
def test_labels_of_an_image_and_its_mirror_image(more):
    step, network = make(f"{{kind: fixmatch, threshold: 0.0, mirrored: true{more}}}")
    batch = make_batch()
    with torch.no_grad():
        network.head.bias.add_(torch.tensor([0.0, 0.4, 0.2]))
        who = (network if step.teacher is None else step.teacher.network).eval()
        weak = batch.pool.clean[:, 0]
        one, other = (who(images).softmax(1) for images in (weak, torch.flip(weak, [3])))
        told = (one + torch.flip(other, [3])) / 2
        network.train()
    step.losses(batch, 0.0)
    row, _ = step.kept.row()
    assert row["confidence"] == pytest.approx(number(told.max(1)[0][batch.pool.valid[:, 0]].mean()), rel=1e-5)


def test_thresholds_follow_the_teacher_by_category():
    """θ = max(.75 · peak, 1.5 / 3), the peak that of the first step: 95 % of the category's pixels are below it."""
    step, network = make("{kind: fixmatch, adaptive: {}}")
    batch = make_batch()
    told = copy.deepcopy(network).eval()(batch.pool.clean[:, 0]).softmax(1)
    confidence, labels = told.max(1)
    valid = batch.pool.valid[:, 0]
    expected = []
    for c in range(C):
        own = confidence[valid & (labels == c)].sort().values.detach()
        peak = own[math.ceil(0.95 * len(own)) - 1].item() if len(own) else 1.0  # the smallest that 95 % are at most
        expected.append(max(0.75 * math.floor(256 * peak) / 256, 0.5))
    step.losses(batch, 0.0)
    assert step.peaks.thresholds().tolist() == pytest.approx(expected)
    row, _ = step.kept.row()
    assert [row[f"threshold_{name}"] for name in "abc"] == pytest.approx(expected)
    kept = valid & (confidence >= torch.tensor(expected)[labels])
    shares = [number((kept & (labels == c)).sum() / (valid & (labels == c)).sum()) for c in range(C)]
    assert [row[f"kept_{name}"] for name in "abc"] == pytest.approx(shares, nan_ok=True)


def test_an_aligned_teacher_says_what_the_labels_hold():
    """The labels that are learned from are those of probabilities times (share of labels / mean of the teacher)."""
    step, network = make("{kind: fixmatch, align: 1, loss: soft, threshold: 0}")
    batch, least = make_batch(), 1e-3
    told = copy.deepcopy(network).eval()(batch.pool.clean[:, 0]).softmax(1).detach()
    valid = batch.pool.valid[:, 0]
    mean = torch.stack([told[:, c][valid].mean() for c in range(C)])
    known = batch.labels[batch.labels != IGNORE]
    share = torch.stack([(known == c).float().mean() for c in range(C)])
    wanted = told * ((share + least) / (mean + least))[:, None, None]
    wanted = wanted / wanted.sum(1, keepdim=True)
    step.losses(batch, 0.0)
    row, _ = step.kept.row()
    shares = [number((wanted.argmax(1) == c)[valid].float().mean()) for c in range(C)]
    assert [row[f"share_{name}"] for name in "abc"] == pytest.approx(shares)
    assert not torch.equal(wanted.argmax(1), told.argmax(1))
    assert {"alignment.labelled", "alignment.predicted", "alignment.steps"} <= step.state_dict().keys()


def test_peaks_grow_slow_and_what_is_not_seen_keeps_its_own():
    """A peak of .5, then .75: 2 / 11 of the first stay at the second step, as in (1 + t) / (10 + t)."""
    peaks = Peaks(3, AdaptiveThresholdSpec(share=1.0, floor=0.0))
    valid = torch.ones(1, 1, 4, dtype=torch.bool)
    for share in (0.5, 0.75):
        probabilities = torch.tensor([share, (1 - share) / 2, (1 - share) / 2]).reshape(1, 3, 1, 1).expand(1, 3, 1, 4)
        peaks.update(probabilities, valid)
    assert peaks.value.tolist() == pytest.approx([0.75 + 2 / 11 * (0.5 - 0.75), 1, 1])
    peaks.update(probabilities, ~valid)
    assert peaks.steps.tolist() == [2, 0, 0]
