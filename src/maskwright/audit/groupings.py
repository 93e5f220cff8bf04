"""Groups that nobody named: columns of meta.csv, and what file names say of sequences, checked by how images look."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from maskwright.data.formats.files import name_of

_NAMED = re.compile(
    r"(?<![a-z])(patient|subject|person|case|donor|animal|specimen|slide|biopsy|study|series|sequence|seq|video|clip|scene"
    r"|session|flight|track|drive|site|plot|field|panorama|sol|frame|group|batch|well|plate)s?(?![a-z])"
)
_REGEXES = (
    r"([^/]+)[_\-][^/_\-]+$",  # all but the last word
    r"([^/_\-]+[_\-][^/_\-]+)[_\-][^/]*$",  # two words of three or more
    r"([^/_\-]+)[_\-][^/]*$",  # the first word
    r"([^/]*[^/\d])\d+$",  # what stands before a running number
)
_BLOCKS = tuple(rf"([^/]*\d)\d{{{digits}}}\D*$" for digits in (1, 2, 3))
_SHARE, _ABOVE_CHANCE, _FEWEST = 0.5, 0.2, 8

Groups = Sequence[str | None]


@dataclass(frozen=True)
class Grouping:
    """A way to put images into groups.

    Attributes:
        option: what asks for it on the command line, such as `--group patient`.
        what: for people, such as `column patient`.
        groups: of each image, None where there is none.
    """

    option: str
    what: str
    groups: Groups


def column_groupings(columns: Mapping[str, Groups], without: str | None = None) -> list[Grouping]:
    """Return the columns of meta.csv that are called after something whose images belong together.

    Such as patient, sequence, site; with two values or more, of which some have several images.

    Args:
        columns: name → value of each image, None where there is none.
        without: a column that isn't asked, such as the part.

    Example:
        >>> found = column_groupings({"patient ID": ["1", "1", "2"], "grade": ["a", "b", "a"]})
        >>> [grouping.option for grouping in found]
        ["--group 'patient ID'"]
    """
    found = []
    for name, groups in columns.items():
        if name != without and _NAMED.search(name.lower()) and _divides(groups):
            option = f"--group {name}" if re.fullmatch(r"[\w.-]+", name) else f"--group '{name}'"
            found.append(Grouping(option, f"column {name}", groups))
    return found


def name_groupings(images: Sequence[str]) -> list[Grouping]:
    """Return the ways in which file names fall into groups: all match, in two groups or more, some of them larger.

    Args:
        images: paths of the index.

    Example:
        >>> [g.groups for g in name_groupings(["images/a_1.png", "images/a_2.png", "images/b_1.png"])]
        [['a', 'a', 'b']]
    """
    return _matched(images, _REGEXES)


def block_groupings(images: Sequence[str]) -> list[Grouping]:
    """Return blocks of 10, 100 and 1000 running numbers: what keeps frames of one long sequence mostly together.

    Args:
        images: paths of the index.
    """
    return _matched(images, _BLOCKS)


def _matched(images: Sequence[str], expressions: Sequence[str]) -> list[Grouping]:
    names = [name_of(image) for image in images]
    found: list[Grouping] = []
    for expression in expressions:
        matches = [re.search(expression, name) for name in names]
        groups = [None if match is None else match[1] for match in matches]
        if None in groups or not _divides(groups):
            continue
        if all(_refinement(groups, other.groups) != (True, True) for other in found):
            found.append(Grouping(f"--group-regex '{expression}'", "file names", groups))
    return found


def refines(fine: Groups, coarse: Groups) -> bool:
    """Tell whether each group of `fine` lies in one group of `coarse`, images without either left aside."""
    return _refinement(fine, coarse)[0]


def looks_grouped(groups: Groups, nearest: npt.NDArray[np.int64], sample: npt.NDArray[np.int64]) -> bool:
    """Tell whether images look like those of their own group: far more nearest neighbours share it than by chance.

    Args:
        groups: of each image.
        nearest: (S,) position of the image that looks most like each of the sample.
        sample: (S,) positions.
    """
    sizes = Counter(groups)
    pairs = [(groups[i], groups[j]) for i, j in zip(sample, nearest, strict=True) if groups[i] is not None]
    if len(pairs) < _FEWEST:
        return False
    same = float(np.mean([a == b for a, b in pairs]))
    chance = float(np.mean([(sizes[a] - 1) / (len(groups) - 1) for a, _ in pairs]))
    error = float(np.sqrt(chance * (1 - chance) / len(pairs)))
    return same >= _SHARE and same >= chance + max(_ABOVE_CHANCE, 4 * error)


def _divides(groups: Groups) -> bool:
    sizes = Counter(group for group in groups if group not in (None, ""))
    return len(sizes) >= 2 and sum(sizes.values()) >= 1.25 * len(sizes)


def _refinement(first: Groups, second: Groups) -> tuple[bool, bool]:
    """Tell whether the first grouping refines the second, and the second the first."""
    pairs = {(a, b) for a, b in zip(first, second, strict=True) if a is not None and b is not None}
    return len({a for a, _ in pairs}) == len(pairs), len({b for _, b in pairs}) == len(pairs)
