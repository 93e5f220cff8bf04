"""Images to probabilities and labels by an export: NumPy, OpenCV and a runtime. Imports without torch.

The same steps as `inference` does in torch: what stands around the networks is shared with it as far as it is NumPy.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from maskwright.artifacts import MANIFEST
from maskwright.augment import dihedral
from maskwright.data.images import read_image
from maskwright.data.intensity import standardise, to_working
from maskwright.errors import DataError, problem
from maskwright.export.manifest import read_manifest, sha256
from maskwright.export.sessions import Session, open_session
from maskwright.passes import Key, stream, tiled, without
from maskwright.postprocess import Image, apply_chain
from maskwright.predict.files import Files, Predicted, Source, never_predicted, read_ahead, to_full_size
from maskwright.predict.memory import Need, check_memory
from maskwright.tiling import Tile
from maskwright.types import Array, LabelMap, Probabilities

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
        self._never = never_predicted(self.categories, self.manifest.predict)
        self._made_by = {"export": sha256(folder / MANIFEST), "graphs": [graph.file for graph in graphs]}
        self.runs_in = self._sessions[0].runs_in

    def label(self, image: Array) -> LabelMap:
        """Return the (H, W) label map of an image as `read_image` returns it; positions of the categories."""
        return self.finish(self.probabilities(image), (image.shape[0], image.shape[1]), image)

    def probabilities(self, image: Array) -> Probabilities:
        """Return the (K, h, w) probabilities of an image as `read_image` returns it, at working size."""
        ((_, found),) = self.stream([(None, self.prepare(image))])
        return found

    def prepare(self, image: Array) -> Array:
        """Return an image as the networks see it: (h, w, C) float32, standardised, at working size."""
        intensity = self.manifest.intensity
        return standardise(to_working(image, intensity, self.manifest.scale), intensity)

    def finish(self, probabilities: Probabilities, size: tuple[int, int], image: Image | None = None) -> LabelMap:
        """Return the label map at (H, W) of probabilities at working size: enlarged, then the chain.

        Args:
            probabilities: (K, h, w).
            size: (H, W) of the image.
            image: or what reads it, for steps that look at it.
        """
        return apply_chain(to_full_size(probabilities, size), self.manifest.chain, image=image)

    def stream(self, images: Iterable[tuple[Key, Array]]) -> Iterator[tuple[Key, Probabilities]]:
        """Yield (key, (K, h, w) probabilities) for prepared (h, w, C) images, neighbours of one size together."""
        spec = self.manifest.predict
        groups = [self._sessions] if spec.fusion == "mean" else [[session] for session in self._sessions]
        found = stream(
            [partial(self._predict, group) for group in groups],
            images,
            tile=spec.tile,
            batch=spec.batch,
            scales=spec.scales,
            scale_weights=spec.scale_weights,
            fusion=spec.fusion,
        )
        for key, probabilities in found:
            yield key, without(probabilities, self._never)

    def source(self) -> Source:
        """Return what `predict_folder` takes."""
        return Source(self.categories, self.files, self._made_by)

    def files(self, files: Files, unreadable: list[str] | None = None) -> Predicted:
        """Yield (name, (H, W) of the image, (K, h, w) probabilities at working size) for named image files.

        Files that can't be read are passed over and added to `unreadable`; without that list they are a DataError.
        """

        about = self.manifest
        need = Need(about.scale, about.channels, len(self.categories), about.predict.scales)

        def read(item: tuple[str, Path]) -> tuple[tuple[str, tuple[int, int]], Array]:
            image = read_image(item[1])
            size = (image.shape[0], image.shape[1])
            check_memory(item[1], size, need)
            return (item[0], size), self.prepare(image)

        for (name, size), found in self.stream(read_ahead(read, files, unreadable)):
            yield name, size, found

    def _predict(self, sessions: Sequence[Session], images: Sequence[Array]) -> Iterable[Probabilities]:
        """Return the mean probabilities of images of one size as they are, large ones by tiles."""
        spec, arrays = self.manifest.predict, [image.transpose(2, 0, 1) for image in images]
        size = (images[0].shape[0], images[0].shape[1])
        if max(size) <= spec.tile:
            return self._mean(sessions, np.stack(arrays))

        def forward(array: Array, group: Sequence[Tile]) -> Probabilities:
            return self._mean(sessions, np.stack([array[:, *t.slices] for t in group]))

        side = -(-spec.tile // self.manifest.multiple) * self.manifest.multiple
        how = {"side": side, "overlap": spec.overlap, "batch": spec.batch}
        return [tiled(partial(forward, array), size, **how, blend=spec.blend) for array in arrays]  # type: ignore[arg-type]

    def _mean(self, sessions: Sequence[Session], images: Array) -> Probabilities:
        """Return the (N, K, H, W) mean probabilities of networks and views of (N, C, H, W) images."""
        height, width = images.shape[2:]
        spec = self.manifest.predict
        padded, views = filled_up(images, self.manifest.multiple, spec.pad), spec.tta
        total: Probabilities | None = None
        for session in sessions:
            for view in views:
                found = self._run(session, dihedral.apply(padded, view, (2, 3)))
                found = dihedral.apply(found, dihedral.inverse(view), (2, 3))
                total = found if total is None else np.add(total, found, out=total)
        assert total is not None, "no network or no view"
        count = len(sessions) * len(views)
        mean = np.divide(total, np.float32(count), out=total) if count > 1 else total
        return mean[..., :height, :width]

    def _run(self, session: Session, images: Array) -> Probabilities:
        """Return the probabilities of images that fill multiples, brought to the size and number that a graph takes."""
        height, width = images.shape[2:]
        whole = grown(images, self.manifest.smallest)
        if (fixed := self.manifest.fixed_size) is not None and whole.shape[2:] != fixed:
            raise DataError(
                problem(
                    f"images that fill {fixed[0]} × {fixed[1]} pixels at working size, which the graph is fixed to",
                    f"{height} × {width}",
                    where="the export's manifest",
                    next_move="give images of the run's size, or predict with the run itself",
                )
            )
        count = self.manifest.fixed_batch or len(whole)
        parts = []
        for start in range(0, len(whole), count):
            part = whole[start : start + count]
            short = count - len(part)
            filled = np.concatenate([part, np.repeat(part[-1:], short, axis=0)]) if short else part
            parts.append(session.run(filled)[: len(part), :, :height, :width])
        return np.concatenate(parts) if len(parts) > 1 else parts[0]


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


def grown(images: Array, smallest: int) -> Array:
    """Return (N, C, H, W) images whose sides have at least `smallest` pixels, the border repeated below and right."""
    more = [max(0, smallest - side) for side in images.shape[2:]]
    return np.pad(images, ((0, 0), (0, 0), (0, more[0]), (0, more[1])), mode="edge") if any(more) else images
