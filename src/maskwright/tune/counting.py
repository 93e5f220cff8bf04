"""Counts of many chains on many images: what chains begin with alike is computed once an image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial

from maskwright.metrics import Counts, overlap_table
from maskwright.postprocess import apply_chain, apply_probability_steps, apply_steps
from maskwright.postprocess.chain import FOREGROUND_STEPS, PROBABILITY_STEPS
from maskwright.processes import cores
from maskwright.recipe.predict import PostprocessStep
from maskwright.types import Array, LabelMap, Probabilities

Chain = tuple[PostprocessStep, ...]
Read = Callable[[int], tuple[Probabilities, LabelMap]]
"""Row number → (probabilities at full size, truth) of an image; called from several threads."""

ReadImage = Callable[[int], Array]
"""Row number → the (H, W, channels) image, for steps that look at it; called from several threads."""

_KEPT_BYTES = 512 << 20
"""Probabilities and truth of so many images are kept between calls; the others are read again."""


class ChainCounts:
    """True and false pixels of every chain that was asked for, on every image.

    Attributes:
        rows: number of images.
        categories: number of categories.
        found: chain → counts of shape (rows, categories).
    """

    def __init__(
        self, read: Read, rows: int, categories: int, *, image: ReadImage | None = None, threads: int | None = None
    ) -> None:
        self.rows, self.categories = rows, categories
        self.found: dict[Chain, Counts] = {}
        self._read, self._image_of = read, image
        self._kept: dict[int, tuple[Probabilities, LabelMap]] = {}
        self._room = _KEPT_BYTES
        self._threads = threads or cores()

    def missing(self, chains: Iterable[Chain]) -> list[Chain]:
        """Return the chains that have not been counted, each once."""
        return [chain for chain in dict.fromkeys(chains) if chain not in self.found]

    def add(self, chains: Sequence[Chain]) -> Iterator[int]:
        """Apply chains to each image and count; yields the number of each image that is done, in order."""
        rows: list[list[Counts]] = []
        with ThreadPoolExecutor(self._threads) as pool:
            for row, counts in enumerate(pool.map(lambda row: self._counted(row, chains), range(self.rows))):
                rows.append(counts)
                yield row
        self.found |= {chain: Counts.stack([counts[place] for counts in rows]) for place, chain in enumerate(chains)}

    def of_row(self, row: int, chain: Chain) -> Counts:
        """Return the (categories,) counts of an image under a chain that was counted."""
        found = self.found[chain]
        return Counts(found.tp[row], found.fp[row], found.fn[row])

    def forget_images(self) -> None:
        """Give back the memory of images; what was counted stays."""
        self._kept, self._room = {}, _KEPT_BYTES

    def _counted(self, row: int, chains: Sequence[Chain]) -> list[Counts]:
        probabilities, truth = self._image(row)
        image = None if self._image_of is None else partial(self._image_of, row)
        found = {  # one label map after the other: of large images, all of them are more than there is room for
            chain: Counts.from_table(overlap_table(truth, label, self.categories))
            for chain, label in labels_of(probabilities, chains, image=image)
        }
        return [found[chain] for chain in chains]

    def _image(self, row: int) -> tuple[Probabilities, LabelMap]:
        if row in self._kept:
            return self._kept[row]
        probabilities, truth = self._read(row)
        if (size := probabilities.nbytes + truth.nbytes) <= self._room:
            self._room -= size
            self._kept[row] = probabilities, truth
        return probabilities, truth


def labels_of(
    probabilities: Probabilities, chains: Iterable[Chain], *, image: Callable[[], Array] | None = None
) -> Iterator[tuple[Chain, LabelMap]]:
    """Yield the label map of every chain, as `apply_chain` gives it; steps that several begin with are taken once.

    Args:
        probabilities: (C, H, W) float in 0..1.
        chains: each once.
        image: reads the (H, W, channels) image; called at most once, and only if a step looks at it.
    """
    source = None if image is None else cache(image)
    heads: dict[Chain, dict[Chain, list[Chain]]] = {}
    for chain in chains:
        smoothing = _leading(chain, PROBABILITY_STEPS)
        deciding = smoothing + _leading(chain[smoothing:], FOREGROUND_STEPS)
        heads.setdefault(chain[:smoothing], {}).setdefault(chain[smoothing:deciding], []).append(chain)
    for smoothing_steps, decisions in heads.items():
        refined = apply_probability_steps(probabilities, smoothing_steps, image=source)
        for decision, members in decisions.items():
            label = apply_chain(refined, decision)
            yield from _tails(label, len(smoothing_steps) + len(decision), members, len(probabilities))


def _leading(chain: Chain, kinds: Iterable[type]) -> int:
    known = set(kinds)
    return next((place for place, step in enumerate(chain) if type(step) not in known), len(chain))


def _tails(label: LabelMap, depth: int, chains: Sequence[Chain], categories: int) -> Iterator[tuple[Chain, LabelMap]]:
    """Yield the label maps of chains that agree in their first steps, whose result is `label`."""
    branches: dict[PostprocessStep, list[Chain]] = {}
    for chain in chains:
        if len(chain) == depth:
            yield chain, label
        else:
            branches.setdefault(chain[depth], []).append(chain)
    for step, members in branches.items():
        yield from _tails(apply_steps(label, (step,), categories=categories), depth + 1, members, categories)
