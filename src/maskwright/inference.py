"""Network and image to probabilities: padding, views, scales, tiles, averaging. Knows of no files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from maskwright.augment.dihedral import factors, inverse
from maskwright.data.intensity import resize, working_size
from maskwright.data.tensors import image_tensor
from maskwright.errors import RecipeError, problem
from maskwright.fusion import FUSIONS, Fusion, MeanFusion
from maskwright.tiling import TileBlender, tile_grid
from maskwright.types import Array, Probabilities

Key = TypeVar("Key")

STRIDE = 32
"""Networks see sides that are multiples of this."""


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
        networks: in evaluation mode, on the images' device. One with an attribute `fixed_size`, (H, W), is for images
            of that size alone.
        images: (N, C, H, W) float32, standardised; any size (padded, then cut back).
        tta: names of `augment.dihedral.DIHEDRAL`; each view is undone by its inverse.
        pad: replicate, zero or reflect; see the recipe's `predict.pad`.
        precision: `bfloat16` runs the networks under autocast; the softmax is always float32.

    Returns:
        (N, K, H, W) float32, summing to 1 over K.

    Raises:
        RecipeError: a network of a fixed size met another one.
    """
    height, width = images.shape[2:]
    padded = _padded(images, pad)
    total: torch.Tensor | None = None
    autocast = torch.autocast(images.device.type, torch.bfloat16, enabled=precision == "bfloat16")
    with torch.inference_mode(), autocast:
        for network in networks:
            for view in tta:
                seen = turned(padded, view)
                _check_size(network, seen)
                probabilities = turned(network(seen).float().softmax(1), inverse(view))
                total = probabilities if total is None else total.add_(probabilities)
        assert total is not None, "no network or no view"
        count = len(networks) * len(tta)
        mean = total.div_(count) if count > 1 else total
    return mean[..., :height, :width]


def turned(maps: torch.Tensor, view: str) -> torch.Tensor:
    """Return (..., H, W) maps flipped or turned, as `augment.dihedral.apply` does arrays; themselves if nothing is."""
    transpose, *flips = factors(view)
    if transpose:
        last = maps.dim() == 4 and maps.is_contiguous(memory_format=torch.channels_last)
        layout = torch.channels_last if last else torch.contiguous_format
        maps = maps.transpose(-2, -1).contiguous(memory_format=layout)
    axes = [axis for axis, flip in zip((-2, -1), flips, strict=True) if flip]
    return maps.flip(axes) if axes else maps


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
    blend: str = "linear",
) -> Probabilities:
    """Return the (K, H, W) probabilities of one (C, H, W) image cut into overlapping tiles of `tile` pixels a side."""
    side = -(-tile // STRIDE) * STRIDE
    tiles = tile_grid((image.shape[1], image.shape[2]), (side, side), overlap)
    blender = None
    for start in range(0, len(tiles), batch):
        group = tiles[start : start + batch]
        stack = torch.stack([image[:, *t.slices] for t in group])
        parts = infer(networks, stack, tta=tta, pad=pad, precision=precision).cpu().numpy()
        blender = blender or TileBlender(parts.shape[1], (image.shape[1], image.shape[2]), blend)
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
    blend: str = "linear",
    scales: Sequence[float] = (1.0,),
    scale_weights: Sequence[float] | None = None,
    fusion: str = "mean",
) -> Iterator[tuple[Key, Probabilities]]:
    """Yield (key, (K, h, w) probabilities) for standardised (h, w, C) arrays, neighbours of one size together.

    At each scale the array is resized (area average when shrinking, bilinear when growing), predicted, and its
    probabilities are resized back in the same way. With `fusion` other than mean, what is fused are the networks, each
    with its views and scales averaged.
    """
    weights = tuple(scale_weights or [1.0] * len(scales))
    way = _Way(
        device, tile, overlap, batch, tuple(tta), pad, precision, channels_last, blend, tuple(scales), weights, fusion
    )
    waiting: list[tuple[Key, Array]] = []
    for key, image in images:
        large = max(image.shape[:2]) > tile
        if waiting and (large or len(waiting) == batch or waiting[0][1].shape != image.shape):
            yield from way.flush(networks, waiting)
            waiting = []
        waiting.append((key, image))
        if large:
            yield from way.flush(networks, waiting)
            waiting = []
    if waiting:
        yield from way.flush(networks, waiting)


def pick_device(accelerator: str = "auto") -> torch.device:
    """Return the device that the recipe's `accelerator` means."""
    if accelerator != "cpu" and torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("cpu")


@dataclass(frozen=True)
class _Way:
    """How networks are applied to standardised images of one size; see `infer_stream`."""

    device: torch.device
    tile: int
    overlap: float
    batch: int
    tta: tuple[str, ...]
    pad: str
    precision: str
    channels_last: bool
    blend: str
    scales: tuple[float, ...]
    weights: tuple[float, ...]
    fusion: str

    def flush(
        self, networks: Sequence[nn.Module], waiting: Sequence[tuple[Key, Array]]
    ) -> Iterator[tuple[Key, Probabilities]]:
        """Yield what `infer_stream` does for images of one size."""
        keys, images = [key for key, _ in waiting], [image for _, image in waiting]
        if self.fusion == "mean" or len(networks) == 1:
            yield from zip(keys, self._at_all_scales(networks, images), strict=True)
            return
        fusions = [FUSIONS[self.fusion]() for _ in images]
        for network in networks:
            _add(fusions, self._at_all_scales([network], images))
        yield from zip(keys, (fusion.result() for fusion in fusions), strict=True)

    def _at_all_scales(self, networks: Sequence[nn.Module], images: Sequence[Array]) -> Iterable[Probabilities]:
        if self.scales == (1.0,):
            return self._whole(networks, images)
        size = (images[0].shape[0], images[0].shape[1])
        fusions = [MeanFusion() for _ in images]
        for scale, weight in zip(self.scales, self.weights, strict=True):
            other = working_size(size, scale)
            found = self._whole(networks, [_resized(image, other) for image in images])
            _add(fusions, ([_maps_resized(p, size) for p in found]), weight)
        return [fusion.result() for fusion in fusions]

    def _whole(self, networks: Sequence[nn.Module], images: Sequence[Array]) -> Iterable[Probabilities]:
        """Return the probabilities of images of one size as they are, large ones by tiles."""
        views = {"tta": self.tta, "pad": self.pad, "precision": self.precision}
        if max(images[0].shape[:2]) > self.tile:
            tiles = {"tile": self.tile, "overlap": self.overlap, "batch": self.batch, "blend": self.blend}
            tensors = (image_tensor(image).to(self.device) for image in images)
            return [infer_tiled(networks, tensor, **tiles, **views) for tensor in tensors]  # type: ignore[arg-type]
        stack = torch.from_numpy(np.stack(images).transpose(0, 3, 1, 2)).to(self.device)
        if self.channels_last:
            stack = stack.contiguous(memory_format=torch.channels_last)
        return [found.cpu().numpy() for found in infer(networks, stack, **views)]  # type: ignore[arg-type]


def _add(fusions: Sequence[Fusion], maps: Iterable[Probabilities], weight: float = 1.0) -> None:
    for fusion, probabilities in zip(fusions, maps, strict=True):
        fusion.add(probabilities, weight)


def _resized(image: Array, size: tuple[int, int]) -> Array:
    return image if image.shape[:2] == size else resize(np.ascontiguousarray(image), size)


def _maps_resized(maps: Probabilities, size: tuple[int, int]) -> Probabilities:
    if maps.shape[1:] == size:
        return maps
    return np.stack([resize(np.ascontiguousarray(plane)[..., None], size)[..., 0] for plane in maps])


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


def _check_size(network: nn.Module, images: torch.Tensor) -> None:
    """Raise RecipeError if a network says that it is for one size, and this is another."""
    fixed, size = getattr(network, "fixed_size", None), tuple(images.shape[2:])
    if fixed is not None and size != tuple(fixed):
        raise RecipeError(
            problem(
                f"images of {fixed[0]} × {fixed[1]}, the one size that this network is for",
                f"{size[0]} × {size[1]}",
                where="predict",
                next_move="set train.scale to its size; leave quarter turns and transpositions out of predict.tta "
                "where it isn't square, and other factors than 1 out of predict.scales",
            )
        )
