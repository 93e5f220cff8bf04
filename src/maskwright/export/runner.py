"""Images to probabilities and labels by an export: NumPy, OpenCV and a runtime. Imports without torch.

The same steps as `inference` does in torch: what stands around the networks is shared with it as far as it is NumPy.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np

from maskwright.augment import dihedral
from maskwright.data.intensity import standardise, to_working
from maskwright.errors import DataError, problem
from maskwright.export.manifest import read_manifest
from maskwright.export.sessions import Session, open_session
from maskwright.postprocess import apply_chain
from maskwright.predict.files import to_full_size
from maskwright.tiling import TileBlender, tile_grid
from maskwright.types import Array, LabelMap, Probabilities

Key = TypeVar("Key")

_MODES = {"replicate": "edge", "zero": "constant", "reflect": "reflect"}


class Runner:
    """An export, opened; its methods may be called from several threads at once.

    Args:
        folder: of the export.
        threads: of one call of a graph; None: one a core.
        members: folds whose networks are averaged; None: all that were exported.

    Raises:
        DataError: no export, or files that aren't the exported ones.
        UsageError: the runtime isn't installed.

    Attributes:
        manifest: what the export says of itself.
        categories: of the labels.
        runs_in: the arithmetic that is used here.
    """

    def __init__(self, folder: Path, *, threads: int | None = None, members: Collection[int] | None = None) -> None:
        self.manifest = read_manifest(folder)
        self.categories = self.manifest.to_categories()
        graphs = [graph for graph in self.manifest.graphs if members is None or graph.fold in members]
        self._sessions = [
            open_session(folder / graph.file, self.manifest.format, self.manifest.precision, threads=threads)
            for graph in graphs
        ]
        total = sum(graph.weight for graph in graphs)
        self._shares = [graph.weight / total for graph in graphs]
        self.runs_in = self._sessions[0].runs_in

    def label(self, image: Array) -> LabelMap:
        """Return the (H, W) label map of an image as `read_image` returns it; positions of the categories."""
        return self.finish(self.probabilities(image), (image.shape[0], image.shape[1]))

    def probabilities(self, image: Array) -> Probabilities:
        """Return the (K, h, w) probabilities of an image as `read_image` returns it, at working size."""
        ((_, found),) = self.stream([(None, self.prepare(image))])
        return found

    def prepare(self, image: Array) -> Array:
        """Return an image as the networks see it: (h, w, C) float32, standardised, at working size."""
        intensity = self.manifest.intensity
        return standardise(to_working(image, intensity, self.manifest.scale), intensity)

    def finish(self, probabilities: Probabilities, size: tuple[int, int]) -> LabelMap:
        """Return the label map at (H, W) of probabilities at working size: enlarged, then the chain."""
        return apply_chain(to_full_size(probabilities, size), self.manifest.chain)

    def stream(self, images: Iterable[tuple[Key, Array]]) -> Iterator[tuple[Key, Probabilities]]:
        """Yield (key, (K, h, w) probabilities) for prepared (h, w, C) images, neighbours of one size together."""
        spec, waiting = self.manifest.predict, list[tuple[Key, Array]]()
        for key, image in images:
            large = max(image.shape[:2]) > spec.tile
            if waiting and (large or len(waiting) == spec.batch or waiting[0][1].shape != image.shape):
                yield from self._together(waiting)
                waiting = []
            if large:
                yield key, self._tiled(image.transpose(2, 0, 1))
                continue
            waiting.append((key, image))
        if waiting:
            yield from self._together(waiting)

    def _together(self, waiting: list[tuple[Key, Array]]) -> Iterator[tuple[Key, Probabilities]]:
        stack = np.stack([image.transpose(2, 0, 1) for _, image in waiting])
        yield from zip([key for key, _ in waiting], self._mean(stack), strict=True)

    def _tiled(self, image: Array) -> Probabilities:
        """Return the (K, h, w) probabilities of one (C, h, w) image cut into overlapping tiles."""
        spec, size = self.manifest.predict, (image.shape[1], image.shape[2])
        side = -(-spec.tile // self.manifest.multiple) * self.manifest.multiple
        tiles = tile_grid(size, (side, side), spec.overlap)
        blender: TileBlender | None = None
        for start in range(0, len(tiles), spec.batch):
            group = tiles[start : start + spec.batch]
            parts = self._mean(np.stack([image[:, *t.slices] for t in group]))
            blender = blender or TileBlender(parts.shape[1], size)
            for t, part in zip(group, parts, strict=True):
                blender.add(t, part)
        assert blender is not None
        return blender.result()

    def _mean(self, images: Array) -> Probabilities:
        """Return the (N, K, H, W) mean probabilities of networks and views of (N, C, H, W) images."""
        height, width = images.shape[2:]
        padded, views = self._padded(images), self.manifest.predict.tta
        total: Probabilities | None = None
        for session, share in zip(self._sessions, self._shares, strict=True):
            for view in views:
                found = self._run(session, dihedral.apply(padded, view, (2, 3)))
                found = dihedral.apply(found, dihedral.inverse(view), (2, 3))
                found = found * np.float32(share / len(views)) if len(self._shares) * len(views) > 1 else found
                total = found if total is None else total + found
        assert total is not None, "no network or no view"
        return total[..., :height, :width]

    def _run(self, session: Session, images: Array) -> Probabilities:
        """Return the probabilities of images that fill multiples, brought to the size and number that a graph takes."""
        height, width = images.shape[2:]
        more = [max(0, self.manifest.smallest - side) for side in (height, width)]
        whole = np.pad(images, ((0, 0), (0, 0), (0, more[0]), (0, more[1])), mode="edge") if any(more) else images
        count = self.manifest.fixed_batch or len(whole)
        parts = []
        for start in range(0, len(whole), count):
            part = whole[start : start + count]
            short = count - len(part)
            filled = np.concatenate([part, np.repeat(part[-1:], short, axis=0)]) if short else part
            parts.append(session.run(filled)[: len(part), :, :height, :width])
        return np.concatenate(parts) if len(parts) > 1 else parts[0]

    def _padded(self, images: Array) -> Array:
        """Return (N, C, H, W) images filled up to the multiple."""
        padded, fixed = filled_up(images, self.manifest.multiple, self.manifest.predict.pad), self.manifest.fixed_size
        if fixed is not None and padded.shape[2:] != fixed:
            height, width = images.shape[2:]
            raise DataError(
                problem(
                    f"images of {fixed[0]} × {fixed[1]} at working size, which the graph is fixed to",
                    f"{height} × {width}",
                    where="the export's manifest",
                    next_move="give images of the run's size, or predict with the run itself",
                )
            )
        return padded


def filled_up(images: Array, multiple: int, pad: str) -> Array:
    """Return (N, C, H, W) images filled up below and to the right; sides that are multiples get nothing.

    Args:
        images: standardised.
        multiple: of pixels.
        pad: replicate, zero or reflect; see the recipe's `predict.pad`.
    """
    height, width = images.shape[2:]
    more = ((0, 0), (0, 0), (0, -height % multiple), (0, -width % multiple))
    return np.pad(images, more, mode=_MODES[pad])  # type: ignore[call-overload,no-any-return]
