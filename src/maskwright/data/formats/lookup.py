"""Finding the images that annotation files name, and those that none of them names."""

from __future__ import annotations

import posixpath
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePosixPath

from maskwright.artifacts import IMPORTED
from maskwright.data.formats.files import find_images, inside, name_of
from maskwright.data.formats.rows import Content, Row
from maskwright.data.images import size_of
from maskwright.errors import DataError, problem

PARTS = ("train", "training", "val", "valid", "validation", "test", "testing", "dev")
LARGEST = 1 << 28
"""Pixels up to which a size is believed that an annotation file states and the image doesn't have."""

_LISTED = 10
_LABELS = {"masks", "labels", "instances", "annotations", "scribbles", "segmentationclass", "segmentationobject"}


class Images:
    """The image files below a data folder, found by what annotation files call them.

    Args:
        root: the data folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.paths = [path.relative_to(root).as_posix() for path in find_images(root)]
        self.known = set(self.paths)
        self._by_name: dict[str, list[str]] = defaultdict(list)
        for path in self.paths:
            self._by_name[PurePosixPath(path).name].append(path)

    def find(self, stated: str, *, where: Path, hint: str = "", apart: str = "") -> str | None:
        """Return an image's path relative to the root, None if there is no such file.

        It is looked for at the stated path below the root, the annotation file's folder and images/, then among the
        files of its name: the one whose path ends with what is stated, that lies beside or below the annotation file,
        or in a folder called as `hint`.
        A path that leads out of the folder is not followed; only its file name counts.

        Args:
            stated: what the annotation file says.
            where: the annotation file.
            hint: a part or folder that decides between files of one name.
            apart: a folder that holds labels, in which nothing is looked for.

        Raises:
            DataError: several files fit, or the file is a link that leads out of the folder.
        """
        text = posixpath.normpath(stated.replace("\\", "/"))
        beside = where.parent.relative_to(self.root).as_posix() if where.is_relative_to(self.root) else "."
        for path in (text, posixpath.normpath(posixpath.join(beside, text)), posixpath.join("images", text)):
            if path in self.known and not (apart and path.startswith(f"{apart}/")):
                return inside(self.root, path, where=where)
        named = [p for p in self.called(PurePosixPath(text).name) if not (apart and p.startswith(f"{apart}/"))]
        fitting = _narrow(named, text, beside, hint)
        if len(fitting) > 1:
            raise DataError(
                problem(
                    f"one image called {stated}",
                    ", ".join(fitting[:_LISTED]),
                    where=str(where),
                    next_move="state the image's path relative to the data folder, or leave only one of them there",
                )
            )
        return inside(self.root, fitting[0], where=where) if fitting else None

    def called(self, name: str) -> list[str]:
        """Return the paths of all files of a name."""
        return list(self._by_name.get(name, ()))

    def others(self, named: Iterable[str], labels: Iterable[str] = ()) -> list[str]:
        """Return the images that no annotation file names.

        A folder called masks, labels or the like holds none. Nor does one in which every file has the name of an image
        that lies elsewhere: these are masks or previews, unless the folder is `images` or `unlabeled`.

        Args:
            named: paths of those that are named.
            labels: paths of image files that are known to be labels.
        """
        taken = set(named) | set(labels)
        stems = {PurePosixPath(path).stem for path in named}
        rest = defaultdict(list)
        for path in self.paths:
            if path not in taken:
                rest[posixpath.dirname(path)].append(path)
        places = {posixpath.dirname(path) for path in named}
        return sorted(
            path
            for folder, paths in rest.items()
            if folder in places
            or folder.split("/")[0] in ("images", "unlabeled")
            or not (_LABELS & set(folder.lower().split("/")) or all(PurePosixPath(p).stem in stems for p in paths))
            for path in paths
        )


def part_of(path: str) -> str | None:
    """Return the part that an image's folders name, None if none does.

    Example:
        >>> part_of("images/train/a.png"), part_of("val2017/b.png"), part_of("photos/c.png")
        ('train', 'val', None)
    """
    folders = [part.lower().rstrip("0123456789") for part in PurePosixPath(path).parts[:-1]]
    return next((folder for folder in folders if folder in PARTS), None)


def labelled_row(
    image: str, render: Callable[[], Content], part: str | None = None, *, known: Sequence[str] = ("masks", "instances")
) -> Row:
    """Return the row of an image whose labels are rendered.

    Args:
        image: its path.
        render: returns mask and instances.
        part: as `Row.part`.
        known: which of `masks` and `instances` there are.
    """
    name = name_of(image)
    mask, instances = (f"{IMPORTED}{what}/{name}.png" if what in known else None for what in ("masks", "instances"))
    return Row(image, mask, instances, part, render=render)


def bare_row(image: str) -> Row:
    """Return the row of an image without labels."""
    return Row(image, part="unlabeled" if image.startswith("unlabeled/") else part_of(image))


def no_files(expected: str, root: Path) -> DataError:
    """Return the error about a folder that lacks the annotation files of the format that it is said to be in."""
    next_move = "choose another format with --set data.format=NAME (convert: --from NAME)"
    return DataError(problem(expected, "none", where=str(root), next_move=next_move))


def absent(missing: Sequence[str], *, where: str) -> DataError:
    """Return the error about images that are named and not there."""
    listed = ", ".join(missing[:_LISTED]) + (" …" if len(missing) > _LISTED else "")
    return DataError(
        problem(
            "the images that the annotations name",
            f"{len(missing)} that are nowhere in the folder: {listed}",
            where=where,
            next_move="put them into images/, or remove them from the annotations",
        )
    )


def canvas_size(stated: tuple[int, int] | None, image: Path, *, where: str) -> tuple[int, int]:
    """Return the size (H, W) on which labels are drawn: the stated one, else the image's.

    Raises:
        DataError: no size is stated and the image can't be read, or it is no size an image of ours can have.
    """
    if stated is None:
        height, width, _, _ = size_of(image)
        return height, width
    height, width = stated
    if height < 1 or width < 1 or (height * width > LARGEST and stated not in _sizes(image)):
        raise DataError(
            problem(
                f"the image's size, or one of at most {LARGEST >> 20} megapixels",
                f"{width}×{height}",
                where=where,
                next_move="correct the size, or export the annotations again",
            )
        )
    return stated


def _sizes(image: Path) -> list[tuple[int, int]]:
    try:
        height, width, _, _ = size_of(image)
    except DataError:
        return []
    return [(height, width), (width, height)]


def _narrow(named: list[str], text: str, beside: str, hint: str) -> list[str]:
    """Return the fittest of several files of one name."""
    tests: list[Callable[[str], bool]] = [
        lambda path: f"/{path}".endswith(f"/{text}"),
        lambda path: path.startswith(f"{beside}/"),
        lambda path: bool(hint) and (hint in PurePosixPath(path).parts or part_of(path) == hint),
    ]
    for test in tests:
        if len(named) > 1:
            named = [path for path in named if test(path)] or named
    return named
