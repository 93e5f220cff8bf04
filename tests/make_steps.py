"""A network of a few weights, and batches for it, for the tests of steps that learn from a pool."""

from __future__ import annotations

import torch
from torch import nn

from maskwright.losses import build_levels
from maskwright.recipe import Recipe, apply_settings
from maskwright.train.batch import Batch, PoolBatch
from maskwright.train.unlabelled import build_step

N, M, C, H, W = 2, 3, 3, 8, 12


def number(value):
    return float(value.detach())


class Toy(nn.Module):
    """An encoder with two maps, a decoder, batch norm; logits at half size in training if asked."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = ToyEncoder()
        self.head = nn.Conv2d(8, C, 1)

    def forward(self, images):
        first, second = self.encoder(images)
        return self.head(torch.cat([first, second], 1))


class ToyEncoder(nn.Module):
    """Images to two maps of four channels."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, images):
        first = self.norm(self.one(images)).relu()
        return [first, self.two(first)]


RECIPE = Recipe.model_validate(
    {
        "data": {"root": ".", "categories": [{"id": i, "name": n} for i, n in enumerate("abc")], "channels": 1},
        "train": {"batch": N, "crop": [32, 32], "steps": 10},
        "loss": [{"kind": "cross_entropy"}],
    }
)


def make(method, *settings):
    torch.manual_seed(0)
    recipe = apply_settings(RECIPE, [f"selftrain.method={method}", *settings])
    network = Toy().train()
    step = build_step(network, build_levels((), recipe.loss, recipe.data.to_categories()), recipe, momentum=0)
    return step.train(), network


def make_batch(views=1, *, boxes=False, order=None, valid=None):
    generator = torch.Generator().manual_seed(1)
    clean = torch.randn(M, 1, 1, H, W, generator=generator)
    noisy = clean.repeat(1, views, 1, 1, 1) + 0.3 * torch.randn(M, views, 1, H, W, generator=generator)
    inside = torch.rand(M, 1, H, W, generator=generator) < 0.8 if valid is None else valid
    drawn = {}
    if boxes:
        drawn["boxes"] = torch.tensor([[[1, 2, 4, 5], [0, 0, 0, 0]], [[0, 0, 8, 3], [2, 2, 2, 2]], [[0, 0, 0, 0]] * 2])
        drawn["boxes"] = drawn["boxes"][:, :views]
    if order is not None:
        drawn["order"] = order
    pool = PoolBatch(clean, noisy, inside, torch.zeros(M, 1, 2, 3), drawn)
    images = torch.randn(N, 1, H, W, generator=generator)
    return Batch(images, torch.randint(0, C, (N, H, W), generator=generator), {}, None, pool)


def plain_term(logits, labels, kept, valid):
    """Cross-entropy of kept pixels over the number of valid ones."""
    own = logits.log_softmax(1)
    total = logits.new_zeros(())
    for n, y, x in kept.nonzero().tolist():
        total = total - own[n, labels[n, y, x], y, x]
    return total / valid.sum()
