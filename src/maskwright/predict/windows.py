"""Images too large to be held: predicted in bands of tiles, cleaned up window by window, written as they come."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from types import TracebackType

import numpy as np
import torch
from torch import nn

from maskwright.checkpoint import Trained
from maskwright.data.intensity import Intensity, standardise, to_working, working_size
from maskwright.data.resample import enlarged, needed, resized_window
from maskwright.data.tensors import image_tensor
from maskwright.data.windows import BLOCK, TiffWindows
from maskwright.errors import DataError, problem
from maskwright.inference import STRIDE
from maskwright.postprocess import apply_chain, apply_steps, reach
from maskwright.postprocess.chain import CATEGORY_STEPS, LABEL_STEPS
from maskwright.predict.bands import Band, Rows, Sums
from maskwright.predict.networks import Networks
from maskwright.predict.uncertainty import Uncertainty, to_gray
from maskwright.processes import free_memory
from maskwright.progress import report
from maskwright.recipe.predict import PostprocessStep, PredictSpec
from maskwright.tiling import Tile, tile_grid
from maskwright.types import Array, LabelMap, Probabilities

_COLUMNS = 4 * BLOCK
_WHOLE_BYTES = 24
"""Bytes a pixel that steps on the whole label map take: component numbers, and the nearest pixel in two numbers."""


class Windows:
    """One large image and the networks that predict it.

    Args:
        trained: averaged.
        path: a TIFF that `TiffWindows` reads.
        spec: tiles, views, categories that are never predicted.
        chain: post-processing. Its first steps that look at surroundings are applied by windows; what comes after
            them, on the whole label map in memory.
        uncertain: also keep maps of the uncertainty at working size, in a file that goes with this object.
        accelerator: as of the recipe.

    Raises:
        DataError: the file can't be read by windows, or the steps, or a row of tiles, need more memory than there is.
    """

    def __init__(
        self,
        trained: Sequence[Trained],
        path: Path,
        spec: PredictSpec,
        *,
        chain: Sequence[PostprocessStep] = (),
        uncertain: bool = False,
        accelerator: str = "auto",
    ) -> None:
        first, self.spec, self.path = trained[0], spec, path
        self.categories = first.categories
        self.own = Networks(trained, spec, accelerator)
        self.networks = self.own.networks
        self.uncertain, self.maps, self._sums = uncertain, dict[str, Array](), dict[str, float]()
        count, self.halo = reach(chain, len(first.categories))
        self.local, self.rest = tuple(chain[:count]), tuple(chain[count:])
        self.file = TiffWindows(path)
        try:
            self.size = self.file.size
            self.working = working_size(self.size, first.scale)
            side = -(-spec.tile // STRIDE) * STRIDE
            self.tiles = tile_grid(self.working, (side, side), spec.overlap)
            self.file.keep = _kept(self.file, self.working, self.tiles)
            self._check_memory()
        except DataError:
            self.file.close()
            raise
        self.read = _reader(self.file, first.intensity, self.working)

    def __enter__(self) -> Windows:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.maps.clear()
        self.file.close()

    def bands(self, networks: Sequence[nn.Module]) -> Iterator[Band]:
        """Yield the mean probabilities of some networks at working size, from top to bottom, each row once.

        They are those that `inference.infer_tiled` returns for the whole image.
        """
        lines = [list(group) for _, group in groupby(self.tiles, key=lambda tile: tile.top)]
        sums = Sums(len(self.categories), lines[0][0].height, self.working[1], self.spec.blend)
        for number, line in enumerate(lines):
            for tile, part in self._inferred(networks, line):
                sums.add(tile, part)
            following = lines[number + 1][0].top if number + 1 < len(lines) else self.working[0]
            top = line[0].top
            for rows in sums.finished(following - top):
                yield Band(top, rows)
                top += rows.shape[1]

    def labels(self) -> Iterator[LabelMap]:
        """Yield (h, W) label maps at the image's size, from top to bottom, each `BLOCK` rows but the last."""
        found = self._local_labels(self._averaged())
        if not self.rest:
            yield from found
            return
        whole, row = np.empty(self.size, np.uint8), 0
        for part in found:
            whole[row : row + len(part)] = part
            row += len(part)
        whole = apply_steps(whole, self.rest, categories=len(self.categories))
        for top in range(0, self.size[0], BLOCK):
            yield whole[top : top + BLOCK]

    def means(self) -> dict[str, float | None]:
        """Return the means of the uncertainty maps, when all labels are through; {} if none was asked for."""
        return {kind: total / (self.working[0] * self.working[1]) for kind, total in self._sums.items()}

    def _averaged(self) -> Iterator[Band]:
        """Yield the bands of all networks, without the categories that are never predicted."""
        alone = [[network] for network in self.networks] if self.uncertain else [self.networks]
        for bands in zip(*(self.bands(networks) for networks in alone), strict=True):
            members = [band.rows for band in bands]
            mean = sum(members[1:], start=members[0]) / np.float32(len(members)) if len(members) > 1 else members[0]
            mean, top = self.own.allowed(mean), bands[0].top
            if self.uncertain:
                self._note(top, Uncertainty.of(mean, [self.own.allowed(rows) for rows in members]))
            yield Band(top, mean)
            report(f"predict {self.path.name}", top + mean.shape[1], self.working[0])

    def _note(self, top: int, found: Uncertainty) -> None:
        for kind, rows in (("entropy", found.entropy), ("disagreement", found.disagreement)):
            if rows is not None:
                if kind not in self.maps:
                    with tempfile.TemporaryFile() as file:
                        self.maps[kind] = np.memmap(file, np.uint8, "w+", shape=self.working)
                self.maps[kind][top : top + len(rows)] = to_gray(rows)
                self._sums[kind] = self._sums.get(kind, 0.0) + float(rows.sum(dtype=np.float64))

    def _local_labels(self, bands: Iterator[Band]) -> Iterator[LabelMap]:
        """Yield the labels after the steps that look at surroundings alone."""
        height, width = self.size
        known = Rows(bands)
        for top in range(0, height, BLOCK):
            first, last = max(0, top - self.halo), min(height, top + BLOCK + self.halo)
            rows, start = known.between(*needed(first, last - first, self.working[0], height))
            label = np.empty((min(BLOCK, height - top), width), np.uint8)
            for left in range(0, width, _COLUMNS):
                begin, end = max(0, left - self.halo), min(width, left + _COLUMNS + self.halo)
                window = Tile(first, begin, last - first, end - begin)
                part = apply_chain(enlarged(rows, start, self.working, self.size, window), self.local)
                core = part[top - first : top - first + len(label), left - begin : left - begin + _COLUMNS]
                label[:, left : left + core.shape[1]] = core
            yield label

    def _inferred(self, networks: Sequence[nn.Module], line: Sequence[Tile]) -> Iterator[tuple[Tile, Probabilities]]:
        for begin in range(0, len(line), self.spec.batch):
            group = line[begin : begin + self.spec.batch]
            stack = torch.stack([image_tensor(self.read(tile)) for tile in group])
            views = {"tta": self.spec.tta, "pad": self.spec.pad, "precision": self.own.first.precision}
            yield from zip(group, self.own.room.infer(networks, stack, self.own.device, **views), strict=True)

    def _check_memory(self) -> None:
        pixels, free = self.size[0] * self.size[1], free_memory()
        if self.spec.scales != (1.0,) or (self.spec.fusion != "mean" and len(self.networks) > 1):
            raise self._refused(
                "one input scale and the mean of the networks, where an image is predicted by windows",
                f"predict.scales {list(self.spec.scales)}, predict.fusion {self.spec.fusion}",
                "add --set predict.scales=[1] --set predict.fusion=mean, or cut the image into pieces",
            )
        if needs_all := [step.kind for step in self.rest if type(step) not in {**LABEL_STEPS, **CATEGORY_STEPS}]:
            raise self._refused(
                "post-processing that an image can be given by windows",
                f"{', '.join(needs_all)}, which looks at the probabilities of the whole image",
                "cut the image into pieces, or use a run whose chain has none of it",
            )
        rows = self.tiles[0].height + 3 * BLOCK + 2 * self.halo  # sums of a row of tiles; what waits for their labels
        members = len(self.networks) if self.uncertain else 1
        band = 4 * self.working[1] * rows * (len(self.categories) + 1) * members + self.file.keep
        if free is not None and band > free:
            raise self._refused(
                f"{band / 1e9:.1f} GB of memory for a row of tiles of {self.tiles[0].height} pixels",
                f"{free / 1e9:.1f} GB",
                "use smaller tiles with --set predict.tile=512, or cut the image into pieces",
            )
        if self.rest and free is not None and band + pixels * _WHOLE_BYTES > free:
            raise self._refused(
                f"{(band + pixels * _WHOLE_BYTES) / 1e9:.1f} GB of memory for {', '.join(s.kind for s in self.rest)}, "
                "which looks at the whole label map",
                f"{free / 1e9:.1f} GB",
                "use a machine with more memory, cut the image into pieces, or use a run whose chain has none of it",
            )

    def _refused(self, expected: str, got: str, next_move: str) -> DataError:
        return DataError(problem(expected, got, where=str(self.path), next_move=next_move))


def _reader(file: TiffWindows, intensity: Intensity, working: tuple[int, int]) -> Callable[[Tile], Array]:
    """Return what reads a window of the standardised working image."""

    def stretched(window: Tile) -> Array:
        return to_working(file.read(window), intensity)

    def read(window: Tile) -> Array:
        return standardise(resized_window(stretched, file.size, working, window), intensity)

    return read


def _kept(file: TiffWindows, working: tuple[int, int], tiles: Sequence[Tile]) -> int:
    """Return the bytes of tiles or strips below one and a half rows of tiles, so that none is decoded twice."""
    rows: int = min(file.size[0], round(1.5 * tiles[0].height * file.size[0] / working[0]) + 2 * BLOCK)
    return max(1 << 26, min(1 << 31, rows * file.size[1] * file.channels * int(file.dtype.itemsize)))
