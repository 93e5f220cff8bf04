"""Network and image to probabilities: padding, flips, tiles, averaging. Knows of no files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from maskwright.data.tensors import image_tensor
from maskwright.tiling import TileBlender, tile_grid
from maskwright.types import Array, Probabilities

Key = TypeVar("Key")

STRIDE = 32
"""Networks see sides that are multiples of this."""

_VIEWS: dict[str, tuple[int, ...]] = {"identity": (), "flip_lr": (-1,), "flip_ud": (-2,), "rotate_180": (-2, -1)}


def infer(
    networks: Sequence[nn.Module],
    images: torch.Tensor,
    *,
    tta: Sequence[str] = ("identity",),
    pad: str = "replicate",
    precision: str = "float32",
) -> torch.Tensor:
    """Return the mean probabilities of networks and views.

    Args:
        networks: in evaluation mode, on the images' device.
        images: (N, C, H, W) float32, standardised; any size (padded, then cut back).
        tta: names among identity, flip_lr, flip_ud, rotate_180, each its own inverse.
        pad: replicate, zero or reflect; see the recipe's `predict.pad`.
        precision: `bfloat16` runs the networks under autocast; the softmax is always float32.

    Returns:
        (N, K, H, W) float32, summing to 1 over K.
    """
    height, width = images.shape[2:]
    padded = _padded(images, pad)
    total: torch.Tensor | None = None
    autocast = torch.autocast(images.device.type, torch.bfloat16, enabled=precision == "bfloat16")
    with torch.inference_mode(), autocast:
        for network in networks:
            for view in tta:
                axes = _VIEWS[view]
                logits = network(padded.flip(axes) if axes else padded)
                probabilities = logits.float().softmax(1)
                probabilities = probabilities.flip(axes) if axes else probabilities
                total = probabilities if total is None else total.add_(probabilities)
        assert total is not None, "no network or no view"
        count = len(networks) * len(tta)
        mean = total.div_(count) if count > 1 else total
    return mean[..., :height, :width]


def infer_tiled(
    networks: Sequence[nn.Module],
    image: torch.Tensor,
    *,
    tile: int,
    overlap: float,
    batch: int = 4,
    tta: Sequence[str] = ("identity",),
    pad: str = "replicate",
    precision: str = "float32",
) -> Probabilities:
    """Return the (K, H, W) probabilities of one (C, H, W) image cut into overlapping tiles of `tile` pixels a side."""
    side = -(-tile // STRIDE) * STRIDE
    tiles = tile_grid((image.shape[1], image.shape[2]), (side, side), overlap)
    blender = None
    for start in range(0, len(tiles), batch):
        group = tiles[start : start + batch]
        stack = torch.stack([image[:, *t.slices] for t in group])
        parts = infer(networks, stack, tta=tta, pad=pad, precision=precision).cpu().numpy()
        blender = blender or TileBlender(parts.shape[1], (image.shape[1], image.shape[2]))
        for t, part in zip(group, parts, strict=True):
            blender.add(t, part)
    assert blender is not None
    return blender.result()


def infer_stream(
    networks: Sequence[nn.Module],
    images: Iterable[tuple[Key, Array]],
    *,
    device: torch.device,
    tile: int = 1024,
    overlap: float = 0.25,
    batch: int = 4,
    tta: Sequence[str] = ("identity",),
    pad: str = "replicate",
    precision: str = "float32",
    channels_last: bool = False,
) -> Iterator[tuple[Key, Probabilities]]:
    """Yield (key, (K, h, w) probabilities) for standardised (h, w, C) arrays, neighbours of one size together."""
    waiting: list[tuple[Key, Array]] = []
    for key, image in images:
        large = max(image.shape[:2]) > tile
        if waiting and (large or len(waiting) == batch or waiting[0][1].shape != image.shape):
            yield from _flush(networks, waiting, device, tta, pad, precision, channels_last)
            waiting = []
        if large:
            whole = image_tensor(image).to(device)
            sizes = {"tile": tile, "overlap": overlap, "batch": batch}
            yield key, infer_tiled(networks, whole, tta=tta, pad=pad, precision=precision, **sizes)  # type: ignore[arg-type]
            continue
        waiting.append((key, image))
    if waiting:
        yield from _flush(networks, waiting, device, tta, pad, precision, channels_last)


def pick_device(accelerator: str = "auto") -> torch.device:
    """Return the device that the recipe's `accelerator` means."""
    if accelerator != "cpu" and torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("cpu")


def _flush(
    networks: Sequence[nn.Module],
    waiting: list[tuple[Key, Array]],
    device: torch.device,
    tta: Sequence[str],
    pad: str,
    precision: str,
    channels_last: bool,
) -> Iterator[tuple[Key, Probabilities]]:
    stack = torch.from_numpy(np.stack([image for _, image in waiting]).transpose(0, 3, 1, 2)).to(device)
    if channels_last:
        stack = stack.contiguous(memory_format=torch.channels_last)
    found = infer(networks, stack, tta=tta, pad=pad, precision=precision)
    for (key, _), probabilities in zip(waiting, found, strict=True):
        yield key, probabilities.cpu().numpy()


def _padded(images: torch.Tensor, pad: str) -> torch.Tensor:
    """Return (N, C, H, W) images filled up below and to the right; sides that are multiples get nothing."""
    height, width = images.shape[2:]
    below, right = -height % STRIDE, -width % STRIDE
    if pad == "reflect":  # by index: torch reflects at most once
        rows, columns = (
            np.pad(np.arange(n), (0, more), mode="reflect") for n, more in ((height, below), (width, right))
        )
        return images[:, :, torch.from_numpy(rows).to(images.device)][..., torch.from_numpy(columns).to(images.device)]
    return functional.pad(images, (0, right, 0, below), mode="constant" if pad == "zero" else "replicate")
