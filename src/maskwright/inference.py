"""Network and image to probabilities: padding, views, scales, tiles, averaging. Knows of no files."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from maskwright.augment.dihedral import factors, inverse
from maskwright.data.tensors import image_tensor
from maskwright.errors import RecipeError, UsageError, problem
from maskwright.models import EmbeddingNetwork
from maskwright.passes import Key, stream, tiled
from maskwright.progress import report
from maskwright.tiling import Tile, aligned_grid, border_distances
from maskwright.types import Array, Probabilities

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


class Room:
    """How many images a device takes at a time, found out by running short: what follows is taken in such parts."""

    def __init__(self) -> None:
        self.most: int | None = None

    def infer(
        self, networks: Sequence[nn.Module], images: torch.Tensor, device: torch.device | None = None, **how: Any
    ) -> Probabilities:
        """Return what `infer` does, as an array.

        Args:
            networks: as of `infer`.
            images: as of `infer`, on any device.
            device: of the networks; None: of the images.
            how: as of `infer`.

        Raises:
            UsageError: there is no memory for a single image.
        """
        parts: list[Probabilities] = []
        start = 0
        while start < len(images):
            part = images[start : start + (self.most or len(images))]
            found = _unless_short(networks, part if device is None else part.to(device), how)
            if found is None:
                self._retreat(len(part), images.device if device is None else device)
            else:
                parts.append(found)
                start += len(part)
        return np.concatenate(parts) if len(parts) > 1 else parts[0]

    def _retreat(self, count: int, device: torch.device) -> None:
        """Take half as many at a time, and say so."""
        free_memory()
        if count == 1:
            raise UsageError(
                problem(
                    "memory for one image or tile at a time",
                    "not enough",
                    where=f"the device {device}, in prediction",
                    next_move="use smaller tiles, such as --set predict.tile=512, or the processor: put "
                    "CUDA_VISIBLE_DEVICES= before the command",
                )
            )
        self.most = count // 2
        report("out of memory", self.most, count, f"images or tiles are now predicted {self.most} at a time")


def free_memory() -> None:
    """Give back what a failed attempt held; its objects must be out of reach by now."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


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
    device: torch.device | None = None,
    room: Room | None = None,
) -> Probabilities:
    """Return the (K, H, W) probabilities of one (C, H, W) image cut into overlapping tiles of `tile` pixels a side.

    With a `device` the tiles alone go there; a batch of them that there is no memory for is taken in parts.
    """
    own = room or Room()

    def forward(group: Sequence[Tile]) -> Probabilities:
        stack = torch.stack([image[:, *t.slices] for t in group])
        return own.infer(networks, stack, device, tta=tta, pad=pad, precision=precision)

    size, side = (image.shape[1], image.shape[2]), -(-tile // STRIDE) * STRIDE
    return tiled(forward, size, side=side, overlap=overlap, batch=batch, blend=blend)


class Embedded(NamedTuple):
    """What a network with embeddings says of one image.

    Attributes:
        probabilities: (K, H, W) float32, summing to 1 over K.
        embeddings: (E, H, W) float32.
    """

    probabilities: Array
    embeddings: Array


def embed(
    network: EmbeddingNetwork,
    image: torch.Tensor,
    *,
    pad: str = "replicate",
    precision: str = "float32",
    channels_last: bool = False,
) -> Embedded:
    """Return the probabilities and embeddings of one image, of one pass.

    Args:
        network: in evaluation mode, on the image's device.
        image: (C, H, W) float32, standardised; any size (padded, then cut back).
        pad: replicate, zero or reflect; see the recipe's `predict.pad`.
        precision: `bfloat16` runs the network under autocast.
        channels_last: memory format of the network.
    """
    height, width = image.shape[1:]
    padded = _padded(image[None], pad)
    padded = padded.contiguous(memory_format=torch.channels_last) if channels_last else padded
    autocast = torch.autocast(image.device.type, torch.bfloat16, enabled=precision == "bfloat16")
    with torch.inference_mode(), autocast:
        logits, embeddings = network.both(padded)
        assert isinstance(logits, torch.Tensor), "the network is in training mode"
        maps = logits.float().softmax(1), embeddings.float()
    return Embedded(*(found[0, :, :height, :width].cpu().numpy() for found in maps))


def embed_tiled(
    network: EmbeddingNetwork,
    image: torch.Tensor,
    *,
    tile: int,
    overlap: float,
    pad: str = "replicate",
    precision: str = "float32",
    channels_last: bool = False,
) -> Embedded:
    """Return the probabilities and embeddings of one (C, H, W) image cut into tiles of `tile` pixels a side.

    A mean of two embeddings may be a third instance's, so nothing is averaged: each pixel has what is said of it in the
    tile in which it lies farthest from the border. Tiles begin at multiples of `STRIDE`: that then is what is said of
    it in the whole image, as long as the network sees no farther than half of the overlap and looks at nothing else.
    What pools or normalises over the whole tile (attention, pyramid pooling, squeeze and excitation, instance and group
    normalisation) gives the same object other embeddings in another tile.

    Args:
        network: in evaluation mode, on the image's device.
        image: (C, H, W) float32, standardised.
        tile: rounded up to multiples of `STRIDE`.
        overlap: least share of a tile that overlaps its neighbour.
        pad: see `embed`.
        precision: see `embed`.
        channels_last: see `embed`.
    """
    height, width = image.shape[1:]
    padded, side = _padded(image[None], pad)[0], -(-tile // STRIDE) * STRIDE
    size = (padded.shape[1], padded.shape[2])
    nearest, maps = np.zeros(size, np.float32), list[Array]()
    for one in aligned_grid(size, side, overlap, STRIDE):
        found = embed(network, padded[:, *one.slices], pad=pad, precision=precision, channels_last=channels_last)
        maps = maps or [np.empty((len(part), *size), np.float32) for part in found]
        depth = border_distances(one, size)
        nearer = depth > nearest[one.slices]
        nearest[one.slices][nearer] = depth[nearer]
        for whole, part in zip(maps, found, strict=True):
            whole[:, *one.slices][:, nearer] = part[:, nearer]
    return Embedded(*(whole[:, :height, :width] for whole in maps))


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
    room: Room | None = None,
) -> Iterator[tuple[Key, Probabilities]]:
    """Yield (key, (K, h, w) probabilities) for standardised (h, w, C) arrays, neighbours of one size together.

    At each scale the array is resized (`data.intensity.resize`), predicted, and its
    probabilities are resized back in the same way. With `fusion` other than mean, what is fused are the networks, each
    with its views and scales averaged. `room` knows of former calls how many images the device takes at a time.
    """
    views = _Views(device, tile, overlap, batch, tuple(tta), pad, precision, channels_last, blend, room or Room())
    groups = [networks] if fusion == "mean" else [[network] for network in networks]
    members = [partial(views.predict, group) for group in groups]
    yield from stream(
        members, images, tile=tile, batch=batch, scales=scales, scale_weights=scale_weights, fusion=fusion
    )


def pick_device(accelerator: str = "auto") -> torch.device:
    """Return the device that the recipe's `accelerator` means."""
    if accelerator != "cpu" and torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("cpu")


@dataclass(frozen=True)
class _Views:
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
    room: Room

    def predict(self, networks: Sequence[nn.Module], images: Sequence[Array]) -> Iterable[Probabilities]:
        """Return the probabilities of images of one size as they are, large ones by tiles."""
        views: dict[str, Any] = {"tta": self.tta, "pad": self.pad, "precision": self.precision}
        if max(images[0].shape[:2]) > self.tile:
            views |= {"tile": self.tile, "overlap": self.overlap, "batch": self.batch, "blend": self.blend}
            tensors = map(image_tensor, images)
            return [infer_tiled(networks, tensor, **views, device=self.device, room=self.room) for tensor in tensors]
        stack = torch.from_numpy(np.stack(images).transpose(0, 3, 1, 2))
        if self.channels_last:
            stack = stack.contiguous(memory_format=torch.channels_last)
        return list(self.room.infer(networks, stack, self.device, **views))


def _unless_short(networks: Sequence[nn.Module], images: torch.Tensor, how: dict[str, Any]) -> Probabilities | None:
    """Return the probabilities, None if the memory ran out; what was held then is out of reach."""
    try:
        found: Probabilities = infer(networks, images, **how).cpu().numpy()
    except torch.OutOfMemoryError:
        return None
    return found


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
