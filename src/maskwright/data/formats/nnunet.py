"""nnU-Net's raw layout: imagesTr/NAME_0000.png beside labelsTr/NAME.png, imagesTs/, and dataset.json."""

from __future__ import annotations

from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from maskwright.artifacts import write_json
from maskwright.data.formats.files import by_name, read_json_file
from maskwright.data.formats.rows import Content, Record, Records, Row, Source
from maskwright.data.formats.sidecars import meta_of, read_classes, read_meta, write_classes, write_meta
from maskwright.data.images import SUFFIXES, read_image
from maskwright.data.written import write_array
from maskwright.errors import DataError, UsageError, problem
from maskwright.types import IGNORE, Array, Category

READS = ("imagesTr", "labelsTr", "imagesTs", "labelsTs", "dataset.json", "classes.json", "meta.csv")


def recognise(root: Path) -> bool:
    """Tell whether dataset.json lies beside imagesTr/ and labelsTr/."""
    return (root / "dataset.json").is_file() and (root / "imagesTr").is_dir() and (root / "labelsTr").is_dir()


def read(root: Path) -> Source:
    """Return the rows; images of imagesTs/ without a file in labelsTs/ are unlabelled.

    An image of one file is that file; one of three files (channels 0000 to 0002) is rendered as RGB. A label of
    dataset.json called ignore is ignored. classes.json, which nnU-Net doesn't know, goes before dataset.json.

    Raises:
        DataError: files that are no images (.nii.gz, …), regions in place of labels, or another number of channels.
    """
    tree = read_json_file(root / "dataset.json")
    ending = str(tree.get("file_ending", ".nii.gz")) if isinstance(tree, dict) else ""
    if ending.lower() not in SUFFIXES:
        raise DataError(
            problem(
                f"images ({', '.join(SUFFIXES)})",
                f"{ending or 'no file_ending'}; volumes and their slices are not read",
                where=f"{root}/dataset.json",
                next_move="write the slices as PNG or TIFF and state file_ending",
            )
        )
    meta = read_meta(root / "meta.csv")
    rows, leftovers = list[Row](), list[str]()
    for folder, labels in (("imagesTr", "labelsTr"), ("imagesTs", "labelsTs")):
        masks = by_name(root, labels)
        cases = _cases(root, folder)
        for name, channels in sorted(cases.items()):
            part = meta_of(meta, name).get("part") or _part(folder, labelled=name in masks)
            rows.append(_row(root, name, channels, masks.get(name), part, meta_of(meta, name)))
        leftovers += [path for name, path in sorted(masks.items()) if name not in cases]
    categories, ignore = read_classes(root / "classes.json")
    if categories is None:
        categories, ignore = _categories(tree, root)
    return Source("nnunet", rows, categories, ignore, leftovers)


def write(root: Path, records: Records) -> None:
    """Write records as PNG: labels are positions, from 0 on as nnU-Net wants them; objects are not kept.

    nnU-Net wants label 0 to be called background: where the first category is another, positions begin with 1, and no
    pixel is background. classes.json holds what dataset.json has no place for: ids, colours, things.

    Raises:
        UsageError: images that PNG doesn't hold, of different channels, or two whose names differ in folders' `/` only.
    """
    items = records.categories.items
    shift = 0 if items[0].name == "background" else 1
    top = len(items) + shift
    names = {} if shift == 0 else {"background": 0}
    names |= {c.name: position + shift for position, c in enumerate(items)}
    known, channels, meta, labelled = dict[str, str](), set[int](), {}, 0
    for record in records:
        name = _flat(record, known)
        if record.label is None and record.instances is not None:
            raise _refused("masks", f"objects alone ({record.name})", "choose a format that holds objects")
        pixels = _pixels(record)
        channels.add(pixels.shape[2])
        folder = "imagesTs" if record.label is None else "imagesTr"
        write_array(root / folder / f"{name}_0000.png", pixels)
        if record.label is not None:
            values = np.where(record.label == IGNORE, top, record.label.astype(np.int32) + shift)
            write_array(root / "labelsTr" / f"{name}.png", values)
            labelled += 1
        own_part = record.part not in (None, "unlabeled")
        meta[name] = {**record.meta, **({"part": str(record.part)} if own_part else {})}
    if len(channels) > 1:
        raise _refused("images of one kind", "gray and RGB ones", "convert the images to one kind")
    for folder in ("imagesTr", "labelsTr"):
        (root / folder).mkdir(exist_ok=True)
    tree = {
        "channel_names": {"0": "R", "1": "G", "2": "B"} if channels == {3} else {"0": "gray"},
        "labels": {**names, "ignore": top},
        "numTraining": labelled,
        "file_ending": ".png",
    }
    write_json(root / "dataset.json", tree)
    write_classes(root / "classes.json", records.categories, top, first=shift)
    write_meta(root / "meta.csv", meta)


def _part(folder: str, *, labelled: bool) -> str | None:
    if folder == "imagesTr":
        return None
    return "test" if labelled else "unlabeled"


def _cases(root: Path, folder: str) -> dict[str, dict[int, str]]:
    """Return {case: {channel: path}}."""
    cases: dict[str, dict[int, str]] = {}
    for name, path in by_name(root, folder).items():
        case, _, channel = name.rpartition("_")
        if not case or not (len(channel) == 4 and channel.isdecimal()):
            raise DataError(
                problem(
                    "names that end in a channel, as a_0000",
                    PurePosixPath(path).name,
                    where=f"{root}/{folder}",
                    next_move="rename the file, or move it out of the folder",
                )
            )
        cases.setdefault(case, {})[int(channel)] = path
    return cases


def _row(
    root: Path, name: str, channels: dict[int, str], mask: str | None, part: str | None, meta: dict[str, str]
) -> Row:
    if list(channels) == [0]:
        return Row(channels[0], mask, None, part, meta)
    if sorted(channels) != [0, 1, 2]:
        raise DataError(
            problem(
                "one channel, or three that are RGB",
                ", ".join(f"{c:04d}" for c in sorted(channels)),
                where=f"{root}: {name}",
                next_move="leave one or three of them in the folder, numbered from 0000",
            )
        )
    paths = [root / channels[c] for c in range(3)]
    return Row(f"@/images/{name}.png", mask, None, part, meta, partial(_render, paths))


def _render(paths: list[Path]) -> Content:
    planes = [read_image(path) for path in paths]
    if len({plane.shape for plane in planes}) > 1 or planes[0].shape[2] != 1 or len({p.dtype for p in planes}) > 1:
        raise DataError(
            problem(
                "three gray channels of one size and type",
                ", ".join(f"{plane.shape} {plane.dtype}" for plane in planes),
                where=", ".join(path.name for path in paths),
                next_move="mend the files",
            )
        )
    return Content(image=np.concatenate(planes, 2))


def _categories(tree: dict[str, Any], root: Path) -> tuple[tuple[Category, ...], tuple[int, ...]]:
    labels = tree.get("labels")
    whole = isinstance(labels, dict) and all(isinstance(value, int) for value in labels.values())
    if not isinstance(labels, dict) or not whole:
        raise DataError(
            problem(
                'labels like {"background": 0, "tumour": 1}',
                f"{str(labels)[:80]}; regions, which join labels, are not read",
                where=f"{root}/dataset.json",
                next_move="state one number a label",
            )
        )
    kept = {name: value for name, value in labels.items() if name != "ignore"}
    found = tuple(Category(value, str(name), (0, 0, 0), values=(value,)) for name, value in kept.items())
    return found, tuple(value for name, value in labels.items() if name == "ignore")


def _flat(record: Record, known: dict[str, str]) -> str:
    name = record.name.removeprefix("unlabeled/").replace("/", "__")
    if (other := known.setdefault(name, record.name)) != record.name:
        raise _refused("one image a name", f"{other} and {record.name}", "rename one of them")
    return name


def _pixels(record: Record) -> Array:
    pixels = read_image(record.image) if isinstance(record.image, Path) else record.image
    if pixels.dtype not in (np.uint8, np.uint16):
        raise _refused("images of 8 or 16 bits", f"{pixels.dtype} ({record.name})", "convert the images")
    return pixels


def _refused(expected: str, got: str, next_move: str) -> UsageError:
    return UsageError(problem(expected, got, where="--to nnunet", next_move=next_move))
