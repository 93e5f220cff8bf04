"""Pixel embeddings as a network gives them half way through its training: discs that may hide each other.

A small U-Net sees a noisy gray image and its pixels' coordinates and learns to pull pixels of a disc together and to
push discs apart (De Brabandere et al. 2017, δ_v 0.5 and δ_d 1.5). It is stopped long before the discs are parted.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional

PULL, PUSH = 0.5, 1.5


@dataclass(frozen=True)
class Case:
    """An image whose discs are to be found.

    Attributes:
        embeddings: (E, H, W) float32.
        truth: (H, W) int32 ids without 0.
    """

    embeddings: np.ndarray
    truth: np.ndarray


def cases(network: nn.Module, size: tuple[int, int], counts: tuple[int, ...], rng: np.random.Generator) -> list[Case]:
    """Return a case for each count of instances."""
    found = []
    for count in counts:
        image, truth = discs(size, count, rng)
        with torch.inference_mode():
            found.append(Case(network(_input(image[None]))[0].numpy(), truth))
    return found


def discs(size: tuple[int, int], count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return an image (H, W) float32 and its id map without 0: the ground is 1, discs cover up to half of it."""
    height, width = size
    rows, columns = np.indices(size)
    image, truth = np.zeros(size, np.float32), np.ones(size, np.int32)
    middle = np.sqrt(0.5 * height * width / count / np.pi)
    for number in range(2, count + 1):
        radius, gray = middle * rng.uniform(0.7, 1.3), rng.uniform(0.3, 1)
        distance = (rows - rng.uniform(0, height)) ** 2 + (columns - rng.uniform(0, width)) ** 2
        inside = distance <= max(radius, 1) ** 2
        image[inside], truth[inside] = gray, number
    return image + rng.normal(0, 0.05, size).astype(np.float32), truth


def trained(channels: int, steps: int, seed: int) -> nn.Module:
    """Return a network after some steps on 64×128 images with 5 to 50 discs."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network = _UNet(channels)
    optimizer = torch.optim.Adam(network.parameters(), 2e-3)
    for _ in range(steps):
        pairs = [discs((64, 128), int(rng.integers(5, 51)), rng) for _ in range(2)]
        embeddings = network(_input(np.stack([image for image, _ in pairs])))
        losses = [_loss(e, torch.from_numpy(truth)) for e, (_, truth) in zip(embeddings, pairs, strict=True)]
        optimizer.zero_grad()
        torch.stack(losses).mean().backward()
        optimizer.step()
    return network.eval()


def _loss(embeddings: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    points = embeddings.flatten(1).T
    ids, owner = torch.unique(truth.flatten(), return_inverse=True)
    count = torch.bincount(owner, minlength=len(ids)).unsqueeze(1)
    means = torch.zeros(len(ids), points.shape[1]).index_add(0, owner, points) / count
    away = (points - means[owner]).square().sum(1).add(1e-8).sqrt()
    pulled = functional.relu(away - PULL).square().unsqueeze(1)
    pull = (torch.zeros(len(ids), 1).index_add(0, owner, pulled) / count).mean()
    apart = (means[:, None] - means[None]).square().sum(2).add(1e-8).sqrt()
    other = ~torch.eye(len(ids), dtype=torch.bool)
    return pull + functional.relu(2 * PUSH - apart[other]).square().mean() + 1e-3 * means.norm(dim=1).mean()


def _input(images: np.ndarray) -> torch.Tensor:
    n, height, width = images.shape
    rows, columns = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    place = torch.stack([rows, columns]).expand(n, -1, -1, -1)
    return torch.cat([torch.from_numpy(images)[:, None], place], 1).float()


class _UNet(nn.Module):
    def __init__(self, channels: int, width: int = 16) -> None:
        super().__init__()
        sizes = [width, 2 * width, 4 * width]
        self.down = nn.ModuleList(_block(i, o) for i, o in zip([3, *sizes], sizes, strict=False))
        self.up = nn.ModuleList(_block(i + o, o) for i, o in ((4 * width, 2 * width), (2 * width, width)))
        self.head = nn.Conv2d(width, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kept = []
        for level, block in enumerate(self.down):
            x = block(functional.max_pool2d(x, 2) if level else x)
            kept.append(x)
        for block, skip in zip(self.up, kept[-2::-1], strict=True):
            x = block(torch.cat([functional.interpolate(x, scale_factor=2.0), skip], 1))
        return self.head(x)


def _block(before: int, after: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (before, after):
        layers += [nn.Conv2d(channels, after, 3, padding=1), nn.GroupNorm(4, after), nn.ReLU()]
    return nn.Sequential(*layers)
