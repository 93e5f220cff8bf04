"""The terms of embeddings written as they are in the papers: an instance at a time, nothing clever."""

from __future__ import annotations

import math

import torch


def regions_of(embeddings, instances, *, zero="unlabelled"):
    """Return the (n, E) embeddings of each instance and those of 0, both as lists."""
    points, ids = embeddings.flatten(1).T, instances.flatten()
    found = [points[ids == i] for i in ids[ids > 0].unique()]
    rest = points[ids == 0]
    if zero == "background" and len(rest):
        return found, [rest], rest[:0]
    return found, [], rest[:0] if zero == "ignore" else rest


def pull(embeddings, instances, margin, **options):
    found, more, _ = regions_of(embeddings, instances, **options)
    each = [
        torch.stack([((e - part.mean(0)).norm() - margin).clamp(min=0) ** 2 for e in part]).mean()
        for part in found + more
    ]
    return torch.stack(each).mean() if each else torch.zeros(())


def push(embeddings, instances, margin, **options):
    found, more, _ = regions_of(embeddings, instances, **options)
    means = [part.mean(0) for part in found + more]
    each = [
        (2 * margin - (one - other).norm()).clamp(min=0) ** 2
        for i, one in enumerate(means)
        for j, other in enumerate(means)
        if i != j
    ]
    return torch.stack(each).mean() if each else torch.zeros(())


def unlabelled_push(embeddings, instances, margin, **options):
    found, _, rest = regions_of(embeddings, instances, **options)
    each = [(margin - (part.mean(0) - e).norm()).clamp(min=0) ** 2 for part in found for e in rest]
    return torch.stack(each).mean() if each else torch.zeros(())


def soft_mask(embeddings, centre, margin, threshold):
    distance = (embeddings.flatten(1).T - centre).norm(dim=1)
    two_sigma_squared = margin**2 / -math.log(threshold)
    return torch.exp(-(distance**2) / two_sigma_squared)


def dice(p, q):
    return 2 * (p * q).sum() / ((p**2).sum() + (q**2).sum()).clamp(min=1e-6)


def objects(embeddings, instances, margin, threshold, *, zero="unlabelled"):
    ids = instances.flatten()
    known = ids >= 0 if zero != "ignore" else ids > 0
    each = []
    for i in ids[ids > 0].unique():
        centre = embeddings.flatten(1).T[ids == i].mean(0)
        mask = soft_mask(embeddings, centre, margin, threshold)
        each.append(1 - dice(mask[known], (ids == i).to(mask)[known]))
    return torch.stack(each).mean() if each else torch.zeros(())


def norm(embeddings, instances, **options):
    found, more, _ = regions_of(embeddings, instances, **options)
    return torch.stack([part.mean(0).norm() for part in found + more]).mean() if found + more else torch.zeros(())
