"""The step that learns embeddings: its terms, its draws, its resume, and discs that it learns to tell apart."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from pydantic import ValidationError
from sklearn.cluster import AgglomerativeClustering

from maskwright.data.index import Index
from maskwright.errors import DataError, UsageError
from maskwright.inference import embed
from maskwright.instances import truly_matched
from maskwright.losses import LevelsLoss, build_loss
from maskwright.losses.embedding import UNLABELLED, EmbeddingLoss
from maskwright.models import build_model
from maskwright.recipe import Recipe
from maskwright.recipe.data import DataSpec
from maskwright.recipe.embedding import ConsistencySpec, EmbeddingLossSpec, EmbeddingSpec
from maskwright.recipe.loss import CrossEntropySpec
from maskwright.recipe.model import UNetSpec
from maskwright.recipe.networks import CustomUNetSpec
from maskwright.train.batch import Batch
from maskwright.train.embedding import EmbeddingStep
from maskwright.train.fit import _checked, build_module
from maskwright.train.targets import INSTANCES
from maskwright.types import Categories, Category

TWO = Categories((Category(0, "ground"), Category(1, "disc", isthing=True)))


def discs(seed, *, size=48, count=6):
    """Return an image (1, H, W) of noisy discs of many greys and their ids (H, W), the nearest above the others."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    image, ids = np.full((size, size), -1.0), np.zeros((size, size), np.int64)
    for number in range(1, count + 1):
        inside = (y - rng.uniform(4, size - 4)) ** 2 + (x - rng.uniform(4, size - 4)) ** 2 < rng.uniform(5, 9) ** 2
        image[inside], ids[inside] = rng.uniform(0, 2), number
    image += 0.1 * rng.normal(size=image.shape)
    return torch.from_numpy(image).float()[None], torch.from_numpy(ids)


def batch_of(seeds, **options):
    images, ids = zip(*(discs(seed, **options) for seed in seeds), strict=True)
    instances = torch.stack(ids)
    return Batch(torch.stack(images), (instances > 0).long(), {INSTANCES: instances})


def step_of(spec=None, *, loss=None, momentum=0.999, seed=0):
    torch.manual_seed(0)
    spec = spec or CustomUNetSpec(depth=3, width=8, embedding=EmbeddingSpec(channels=4))
    semantic = LevelsLoss([(1.0, build_loss([CrossEntropySpec()], TWO))])
    network = build_model(spec, in_channels=1, classes=2)
    return EmbeddingStep(network, EmbeddingLoss(loss or EmbeddingLossSpec()), semantic, momentum=momentum, seed=seed)


def test_terms_of_both_outputs_in_one_sum_that_trains_all():
    step, batch = step_of(), batch_of(range(2))
    terms = step.losses(batch, 0.0)
    assert list(terms) == [
        "cross_entropy",
        *(f"embedding_{n}" for n in ("pull", "push", "unlabelled_push", "object", "norm", "consistency")),
    ]
    sum(terms.values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in step.network.parameters())
    assert all(p.grad is None for p in step.average.parameters())


def test_draws_follow_from_seed_and_calls_and_resume_with_the_state():
    batch, loss = batch_of(range(2)), EmbeddingLossSpec(pairs=1)
    first, again, other = (step_of(loss=loss, seed=s) for s in (0, 0, 1))
    values = [
        [step.losses(batch, 0.0)["embedding_consistency"].item() for _ in range(3)] for step in (first, again, other)
    ]
    assert values[0] == values[1] != values[2]
    assert len(set(values[0])) == 3
    resumed = step_of(loss=loss)
    resumed.losses(batch, 0.0)
    resumed.load_state_dict(copy.deepcopy(first.state_dict()))
    assert resumed.calls == 3
    assert resumed.losses(batch, 0.0)["embedding_object"] == first.losses(batch, 0.0)["embedding_object"]


def test_the_moving_average_is_shipped_and_follows():
    step = step_of(momentum=0.0)
    with torch.no_grad():
        for p in step.network.parameters():
            p.add_(1.0)
    assert not torch.equal(next(step.predictor.parameters()), next(step.network.parameters()))
    step.after_update()
    assert torch.equal(next(step.predictor.parameters()), next(step.network.parameters()))
    assert not step.train().average.network.training


def test_a_frozen_teacher_that_is_copied_now_and_then():
    network = build_model(CustomUNetSpec(depth=2, width=4, embedding=EmbeddingSpec()), in_channels=1, classes=2)
    step = EmbeddingStep(network, EmbeddingLoss(EmbeddingLossSpec()), None, momentum=0.0, every=3)
    first = next(step.predictor.parameters()).clone()
    for update in range(1, 7):
        with torch.no_grad():
            for p in network.parameters():
                p.add_(1.0)
        step.after_update()
        assert torch.allclose(next(step.predictor.parameters()), first + update // 3 * 3)
    assert set(step.losses(batch_of([0]), 0.0)) >= {"embedding_pull", "embedding_consistency"}


def test_the_recipe_says_how_often_the_partner_is_renewed():
    items = [{"id": 0, "name": "ground"}, {"id": 1, "name": "disc", "isthing": True}]
    fields = {"data": DataSpec(root=".", channels=1, categories=items, task="instances")}
    fields["model"] = CustomUNetSpec(depth=2, width=4, embedding=EmbeddingSpec())
    train = {"steps": 4, "scale": 1.0, "ema": 0, "precision": "float32"}
    step = build_module(Recipe(**fields, train=train, instances={"partner_every": 3}), 0).step
    assert (step.every, step.average.momentum) == (3, 0)
    assert build_module(Recipe(**fields, train=train), 0).step.every == 1
    with pytest.raises(ValidationError, match="partner_every: after 5 steps, and there are 4"):
        Recipe(**fields, train=train, instances={"partner_every": 5})


@pytest.mark.parametrize(
    "loss", [EmbeddingLossSpec(consistency=ConsistencySpec(weight=0)), EmbeddingLossSpec(zero="background")]
)
def test_without_consistency_the_teacher_is_not_asked(loss, monkeypatch):
    step = step_of(loss=loss)
    monkeypatch.setattr(step.average.network, "both", None)
    assert "embedding_consistency" not in step.losses(batch_of([0]), 0.0)


def test_where_pixels_are_unlabelled_the_teacher_is_asked_whatever_0_means():
    batch = batch_of(range(2))
    batch.targets[INSTANCES][:, :20][batch.targets[INSTANCES][:, :20] == 0] = UNLABELLED
    terms = step_of(loss=EmbeddingLossSpec(zero="background")).losses(batch, 0.0)
    assert terms["embedding_consistency"] > 0 and terms["embedding_unlabelled_push"] > 0


def test_the_pass_is_compiled_where_it_is_asked_for(monkeypatch):
    passes = []
    monkeypatch.setattr(torch, "compile", lambda both: lambda images: passes.append(len(images)) or both(images))
    plain = step_of()
    step = EmbeddingStep(plain.network, plain.embedding, plain.loss, compiled=True)
    plain.losses(batch_of(range(2)), 0.0)
    assert passes == []
    step.losses(batch_of(range(2)), 0.0)
    assert passes == [2]


def test_a_pool_is_refused_where_objects_are_told_apart():
    data = DataSpec(root=".", task="instances", target="instances")
    recipe = Recipe(data=data, selftrain={"method": {"kind": "mean_teacher"}})
    pool = Index(Path(), pl.DataFrame([["a.png"]], schema={"image": pl.String}, orient="row"), TWO)
    with pytest.raises(UsageError, match="a semantic recipe"):
        _checked(pool, recipe, None)


def test_a_network_that_trains_at_a_coarser_stride():
    spec = UNetSpec(encoder="resnet10t", encoder_weights="none", decoder_channels=(16, 16, 8, 8, 8), output_stride=4)
    step = step_of(spec.model_copy(update={"embedding": EmbeddingSpec(channels=4)}))
    terms = step.losses(batch_of(range(2), size=64), 0.5)
    sum(terms.values()).backward()
    assert all(value.isfinite() for value in terms.values())
    assert terms["embedding_consistency"] > 0


def test_a_batch_without_instances_is_an_error():
    batch = batch_of([0])._replace(targets={})
    with pytest.raises(DataError, match="instances for each image"):
        step_of().losses(batch, 0.0)


def test_images_with_nothing_labelled_train_on():
    batch = batch_of(range(2))
    batch.targets[INSTANCES].zero_()
    terms = step_of().losses(batch, 0.0)
    sum(terms.values()).backward()
    assert terms["embedding_pull"].item() == terms["embedding_object"].item() == 0
    assert terms["embedding_consistency"] > 0


def clustered(embeddings, inside, least=12):
    """Return ids (H, W) of clusters of average linkage, those of fewer pixels left out."""
    found = np.zeros(inside.shape, np.int64)
    if np.count_nonzero(inside) < least:
        return found
    parted = AgglomerativeClustering(n_clusters=None, distance_threshold=1.5, linkage="average")
    labels = parted.fit_predict(embeddings[:, inside].T)
    found[inside] = np.where(np.bincount(labels)[labels] < least, 0, labels + 1)
    return found


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_discs_are_told_apart():
    # touching and overlapping discs, every second of which isn't drawn in the truth that is learned from
    step = step_of(momentum=0.99).train()
    optimizer = torch.optim.AdamW(step.network.parameters(), lr=1e-2)
    steps = 400
    for number in range(steps):
        batch = batch_of(range(4 * number, 4 * number + 4), size=32, count=3)
        instances = batch.targets[INSTANCES]
        batch.targets[INSTANCES] = torch.where(instances % 2 == 0, 0, instances)
        optimizer.zero_grad()
        sum(step.losses(batch, number / steps).values()).backward()
        optimizer.step()
        step.after_update()
    right = ours = true = 0
    for seed in range(100_000, 100_010):
        image, truth = discs(seed, size=32, count=3)
        found = embed(step.predictor, image)
        inside = found.probabilities.argmax(0) == 1
        instances = clustered(found.embeddings, inside)
        matched = truly_matched(instances, truth.numpy())
        right, ours, true = right + matched.sum(), ours + len(matched), true + len(np.unique(truth)) - 1
    precision, recall = right / ours, right / true
    print(f"precision {precision:.3f}, recall {recall:.3f} at IoU .5 of {true} discs")
    assert precision > 0.7
    assert recall > 0.7
