"""The contract of every loss, and of the sums that a recipe names."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from maskwright.data.distances import signed_distances
from maskwright.errors import RecipeError
from maskwright.losses import LOSSES, build_levels, build_loss, cross_entropy, needed_targets
from maskwright.recipe.loss import (
    CrossEntropySpec,
    DiceSpec,
    FocalSpec,
    IoUSpec,
    KervadecBoundarySpec,
    KLSpec,
    LevelSpec,
    LovaszSpec,
    MSESpec,
    PythonLossSpec,
    SSIMSpec,
    TverskySpec,
)
from maskwright.types import IGNORE, Categories, Category

CATEGORIES = Categories(tuple(Category(i, n) for i, n in enumerate("abc")), frozenset({"a"}))
ALL = Categories(CATEGORIES.items)
WEIGHTS = {"class_weights": (0.5, 1.0, 3.0)}
SPECS = {
    CrossEntropySpec: [CrossEntropySpec(), CrossEntropySpec(label_smoothing=0.1), CrossEntropySpec(**WEIGHTS)],
    FocalSpec: [FocalSpec(), FocalSpec(gamma=0.5, alpha=(0.25, 1, 2)), FocalSpec(**WEIGHTS, gamma=1)],
    KLSpec: [KLSpec(), KLSpec(**WEIGHTS)],
    MSESpec: [MSESpec(), MSESpec(**WEIGHTS)],
    DiceSpec: [
        DiceSpec(),
        DiceSpec(smooth=1e-3, **WEIGHTS),
        DiceSpec(per_image=True, squared=True),
        DiceSpec(per_image=True, absent="count", smooth=1e-5),
        DiceSpec(one_ratio=True, per_image=True),
    ],
    IoUSpec: [IoUSpec(), IoUSpec(per_image=True)],
    TverskySpec: [TverskySpec(), TverskySpec(exponent=0.75, smooth=1e-2), TverskySpec(per_image=True, **WEIGHTS)],
    LovaszSpec: [LovaszSpec(), LovaszSpec(classes="all", **WEIGHTS), LovaszSpec(per_image=True)],
    KervadecBoundarySpec: [KervadecBoundarySpec(), KervadecBoundarySpec(resolution=(2, 1), weight=1)],
    SSIMSpec: [SSIMSpec(), SSIMSpec(window=3, padding="valid"), SSIMSpec(window=5, **WEIGHTS)],
    PythonLossSpec: [PythonLossSpec(target="test_losses:squared", arguments={"scale": 2.0})],
}


def squared(categories: Categories, scale: float):
    """Bring your own: squared error of the probabilities, for the test of `kind: python`."""

    def loss(logits, labels):
        known = labels.sum(1) > 0 if labels.ndim == 4 else labels != IGNORE
        return scale * (((logits.softmax(1) - one_hot(labels)) ** 2) * known[:, None]).sum() / max(int(known.sum()), 1)

    return loss


def examples(kept=lambda spec: True):
    assert set(SPECS) == set(LOSSES), "a new loss needs an example here"
    found = [(spec, i) for specs in SPECS.values() for i, spec in enumerate(specs) if kept(spec)]
    return [pytest.param(spec, id=f"{spec.kind}-{i}") for spec, i in found]


every_loss = pytest.mark.parametrize("spec", examples())
every_soft_loss = pytest.mark.parametrize("spec", examples(lambda spec: not spec.hard_only))


def one_hot(labels):
    if labels.ndim == 4:
        return labels
    safe = torch.where(labels == IGNORE, 0, labels)
    return functional.one_hot(safe, 3).permute(0, 3, 1, 2).float() * (labels != IGNORE)[:, None]


def batch(seed=0, n=2, height=9, width=8):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(n, 3, height, width, generator=generator)
    labels = torch.randint(0, 3, (n, height, width), generator=generator)
    labels[:, 0] = IGNORE
    return logits.requires_grad_(), labels


def targets_of(spec, labels):
    if labels.ndim == 4:
        return {}
    maps = labels.to(torch.uint8).numpy()
    return {
        need.name: torch.from_numpy(np.stack([signed_distances(m, 3, resolution=need.resolution) for m in maps]))
        for need in needed_targets((), [spec])
    }


def value(spec, logits, labels):
    return sum(build_loss([spec], CATEGORIES)(logits, labels, targets_of(spec, labels)).values())


def sure(labels, strength=20.0):
    return one_hot(labels) * strength


@every_loss
def test_the_truth_scores_lower_than_anything_else(spec):
    _, labels = batch()
    best = value(spec, sure(labels, 4.0 if getattr(spec, "label_smoothing", 0) else 20.0), labels)
    for seed in range(5):
        assert best < value(spec, batch(seed)[0], labels)
    if isinstance(spec, KervadecBoundarySpec):
        assert best < 0
    elif not getattr(spec, "label_smoothing", 0):
        assert best.item() == pytest.approx(0, abs=1e-4)


@every_loss
@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_the_gradient_is_finite_and_leads_down(spec, scale):
    logits, labels = batch()
    large = (logits * scale).detach().requires_grad_()
    before = value(spec, large, labels)
    before.backward()
    assert torch.isfinite(before)
    assert torch.isfinite(large.grad).all()
    if scale == 1.0:
        assert value(spec, large - 0.1 * large.grad, labels) < before


@every_loss
def test_the_gradient_is_that_of_differences(spec):
    logits, labels = batch(n=2, height=4, width=3)
    term = build_loss([spec.model_copy(update={"window": 3}) if isinstance(spec, SSIMSpec) else spec], CATEGORIES)
    targets = targets_of(spec, labels)

    def function(values):
        return sum(term(values, labels, targets).values())

    assert torch.autograd.gradcheck(function, logits.detach().double().requires_grad_())


@every_soft_loss
def test_the_gradient_with_soft_labels_is_that_of_differences(spec):
    logits, labels = batch(n=2, height=4, width=3)
    soft = mixed(labels).double()
    term = build_loss([spec.model_copy(update={"window": 3}) if isinstance(spec, SSIMSpec) else spec], CATEGORIES)
    assert torch.autograd.gradcheck(
        lambda values: sum(term(values, soft).values()), logits.detach().double().requires_grad_()
    )


def mixed(labels):
    """Half of each pixel's label from its mirror image; where one of the two is ignored, all is."""
    known = (labels != IGNORE) & (labels.flip(2) != IGNORE)
    return (0.5 * one_hot(labels) + 0.5 * one_hot(labels.flip(2))) * known[:, None]


@every_loss
def test_ignored_pixels_change_nothing(spec):
    logits, labels = batch()
    changed = logits.detach().clone()
    changed[:, :, 0] = torch.tensor([50.0, -7.0, 3.0])[None, :, None]  # row 0 is ignored
    assert value(spec, changed, labels).item() == pytest.approx(value(spec, logits, labels).item(), rel=1e-5)
    value(spec, logits, labels).backward()
    assert (logits.grad[:, :, 0] == 0).all()


@every_soft_loss
def test_pixels_ignored_in_soft_labels_change_nothing(spec):
    logits, labels = batch()
    soft, changed = mixed(labels), logits.detach().clone()
    changed[:, :, 0] = torch.tensor([50.0, -7.0, 3.0])[None, :, None]
    assert value(spec, changed, soft).item() == pytest.approx(value(spec, logits, soft).item(), rel=1e-5)
    value(spec, logits, soft).backward()
    assert (logits.grad[:, :, 0] == 0).all()


@every_soft_loss
def test_soft_labels_that_are_hard_give_the_same(spec):
    logits, labels = batch()
    assert value(spec, logits, one_hot(labels)).item() == pytest.approx(value(spec, logits, labels).item(), rel=1e-5)


@every_loss
@pytest.mark.parametrize("size", [(1, 1), (3, 5)])
def test_all_ignored_is_zero_with_a_graph(spec, size):
    logits = torch.randn(1, 3, *size, requires_grad=True)
    forms = [torch.full((1, *size), IGNORE)] + ([] if spec.hard_only else [torch.zeros(1, 3, *size)])
    for labels in forms:
        found = value(spec, logits, labels)
        assert found.item() == 0
        found.backward()
        assert (logits.grad == 0).all()


@every_loss
@pytest.mark.parametrize("category", [0, 1])
@pytest.mark.parametrize("size", [(1, 1), (3, 5)])
def test_small_images_of_one_category_and_one_known_pixel_are_finite(spec, size, category):
    labels = torch.full((1, *size), IGNORE)
    labels[0, -1, -1] = category  # category 0 is left out of the metric
    for strength in (0.0, 1e4):
        logits = torch.full((1, 3, *size), strength, requires_grad=True)
        found = value(spec, logits, labels)
        found.backward()
        assert torch.isfinite(found) and torch.isfinite(logits.grad).all()


@every_loss
def test_half_precision_logits_give_full_precision_losses(spec):
    logits, labels = batch()
    with torch.autocast("cpu", torch.bfloat16):
        found = value(spec, logits.to(torch.bfloat16), labels)
    expected = value(spec, logits.to(torch.bfloat16).float(), labels)
    if not isinstance(spec, PythonLossSpec):
        assert found.dtype == torch.float32
        assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    assert value(spec, (1e4 * logits).to(torch.bfloat16), labels).isfinite()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the compiler's own
@every_loss
def test_compiled_and_eager_give_the_same_numbers(spec):
    if isinstance(spec, PythonLossSpec):
        pytest.skip("not ours")
    torch._dynamo.reset()
    logits, labels = batch()
    loss, targets = build_loss([spec], CATEGORIES), targets_of(spec, labels)
    gradients = []
    for function in (loss, torch.compile(loss)):
        leaf = logits.detach().requires_grad_()
        found = sum(function(leaf, labels, targets, 0.0).values())
        found.backward()
        gradients.append((found.detach(), leaf.grad))
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-5, atol=1e-7)


@every_loss
def test_categories_left_out_have_no_term_in_region_losses(spec):
    if isinstance(spec, PythonLossSpec | CrossEntropySpec | FocalSpec | KLSpec | MSESpec):
        return
    logits, labels = batch()
    targets = targets_of(spec, labels)
    (by_metric,) = build_loss([spec], CATEGORIES)(logits, labels, targets).values()
    (by_name,) = build_loss([spec.model_copy(update={"leave_out": ("a",)})], ALL)(logits, labels, targets).values()
    (all_three,) = build_loss([spec], ALL)(logits, labels, targets).values()
    assert by_metric == by_name
    assert by_metric != all_three


@pytest.mark.parametrize("spec", [CrossEntropySpec(leave_out=("a",)), FocalSpec(leave_out=("a",))])
def test_pixels_of_a_category_with_weight_zero_change_nothing(spec):
    logits, labels = batch()
    found = value(spec, logits, labels)
    assert found.item() == pytest.approx(value(spec, logits, torch.where(labels == 0, IGNORE, labels)).item())
    assert found == value(type(spec)(class_weights=(0, 1, 1)), logits, labels)
    assert value(spec, logits, torch.zeros_like(labels)).item() == 0


def test_terms_are_weighted_and_named_apart():
    logits, labels = batch()
    specs = [CrossEntropySpec(weight=2), DiceSpec(weight=0), DiceSpec(weight=0.5), DiceSpec()]
    terms = build_loss(specs, CATEGORIES)(logits, labels)
    assert list(terms) == ["cross_entropy", "dice", "dice_2", "dice_3"]
    assert terms["cross_entropy"].item() == pytest.approx(2 * cross_entropy(logits, labels).item())
    assert terms["dice"].item() == 0
    assert terms["dice_2"].item() == pytest.approx(terms["dice_3"].item() / 2)


def test_learned_weights_find_those_of_the_formula():
    # exp(−s)·L + s/2 is least where exp(−s) = 1 / (2 L): s = log 2 L; there the term is ½
    logits, labels = batch()
    loss = build_loss([CrossEntropySpec(weight="learned"), DiceSpec(weight="learned"), FocalSpec()], CATEGORIES)
    assert [p.ndim for p in loss.parameters()] == [0, 0]
    first = loss(logits, labels)
    assert list(first) == ["cross_entropy", "cross_entropy_uncertainty", "dice", "dice_uncertainty", "focal"]
    assert first["cross_entropy"].item() == pytest.approx(cross_entropy(logits, labels).item())
    optimizer = torch.optim.SGD(loss.parameters(), lr=0.5)
    for _ in range(200):
        optimizer.zero_grad()
        sum(loss(logits, labels).values()).backward()
        optimizer.step()
    found = loss(logits, labels)
    assert [found[name].item() for name in ("cross_entropy", "dice")] == pytest.approx([0.5, 0.5], abs=1e-3)
    expected = math.log(2 * cross_entropy(logits, labels).item())
    assert loss.state_dict()["log_variances.cross_entropy"].item() == pytest.approx(expected, abs=1e-3)
    assert found["cross_entropy_uncertainty"].item() == pytest.approx(expected / 2, abs=1e-3)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("fixed", [(0.01, 1), (0.01, 1), (0.01, 1)]),
        ("growing", [(0.01, 1), (0.505, 1), (1, 1)]),  # .01 + .99 · progress
        ("rebalanced", [(0.01, 0.99), (0.505, 0.495), (1, 0.1)]),  # the others 1 − weight, at least .1
    ],
)
def test_the_boundary_s_weight_over_the_training(schedule, expected):
    logits, labels = batch()
    spec = KervadecBoundarySpec(weight=0.01, schedule=schedule)
    loss, targets = build_loss([spec, DiceSpec(weight=2)], CATEGORIES), targets_of(spec, labels)
    bare = build_loss([KervadecBoundarySpec(weight=1), DiceSpec()], CATEGORIES)(logits, labels, targets)
    for progress, (own, others) in zip((0.0, 0.5, 1.0), expected, strict=True):
        found = loss(logits, labels, targets, progress)
        assert found["kervadec_boundary"].item() == pytest.approx(own * bare["kervadec_boundary"].item())
        assert found["dice"].item() == pytest.approx(2 * others * bare["dice"].item())


@pytest.mark.parametrize("soft", [False, True])
def test_levels_learn_from_thinned_out_labels_and_targets(soft):
    _, labels = batch(height=8)
    levels = [
        LevelSpec(weight=1),
        LevelSpec(weight=0.25, loss=(DiceSpec(),) if soft else (DiceSpec(), KervadecBoundarySpec(weight=1))),
    ]
    outputs = [torch.randn(2, 3, 8, 8), torch.randn(2, 3, 4, 4)]
    targets = targets_of(KervadecBoundarySpec(), labels)
    given = mixed(labels) if soft else labels
    found = build_levels(levels, (CrossEntropySpec(),), CATEGORIES)(outputs, given, targets, 0.0)
    thin, distances = given[..., 1::2, 1::2], targets["distance_map"][..., 1::2, 1::2]
    coarse = build_loss(levels[1].loss, CATEGORIES)(outputs[1], thin, {"distance_map": distances})
    assert found["cross_entropy_level_1"].item() == pytest.approx(cross_entropy(outputs[0], given).item())
    assert found["dice_level_2"].item() == pytest.approx(0.25 * coarse["dice"].item())
    if not soft:
        assert found["kervadec_boundary_level_2"].item() == pytest.approx(0.25 * coarse["kervadec_boundary"].item())


def test_the_targets_that_a_recipe_needs_are_named_once():
    boundary, other = KervadecBoundarySpec(), KervadecBoundarySpec(resolution=(2, 0.5))
    levels = [LevelSpec(), LevelSpec(loss=(boundary, other))]
    assert [t.name for t in needed_targets(levels, (boundary, DiceSpec()))] == ["distance_map", "distance_map_2x0.5"]
    assert needed_targets((), (DiceSpec(),)) == ()
    assert needed_targets([LevelSpec(loss=(DiceSpec(),))], (boundary,)) == ()


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (CrossEntropySpec(class_weights=(1, 2)), "3 numbers, one for each of a, b, c"),
        (FocalSpec(alpha=(1, 2, 3, 4)), "alpha of focal"),
        (DiceSpec(leave_out=("a", "d")), "names among a, b, c, got d"),
        (LovaszSpec(class_weights="median_frequency"), "the rule median_frequency"),
        (PythonLossSpec(target="no_such_package:x"), "PYTHONPATH"),
        (PythonLossSpec(target="test_losses:nothing"), "PYTHONPATH"),
        (PythonLossSpec(target="test_losses"), "PYTHONPATH"),
        (PythonLossSpec(target=":x"), "PYTHONPATH"),
    ],
)
def test_what_does_not_fit_is_an_error(spec, message):
    with pytest.raises(RecipeError, match=message):
        build_loss([spec], CATEGORIES)
