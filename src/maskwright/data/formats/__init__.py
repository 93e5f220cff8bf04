"""Data layouts, one file a format. Each entry recognises a folder and reads it into rows."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from maskwright.artifacts import IMPORTED, RECORDS
from maskwright.data.formats import (
    ade20k,
    bdd100k,
    cityscapes,
    coco,
    coco_panoptic,
    cvat,
    dicom,
    dsb2018,
    folder,
    geojson,
    gtav,
    imagescope,
    kitti,
    label_studio,
    labelme,
    labelme_xml,
    layers,
    mapillary,
    mots,
    nnunet,
    npz,
    open_images,
    pairs,
    rle_csv,
    synthia,
    unity_solo,
    via,
    voc,
    yolo,
)
from maskwright.data.formats.annotated import Suggested
from maskwright.data.formats.files import homes, name_of
from maskwright.data.formats.rows import Content, Record, Records, Row, Source
from maskwright.data.images import turn_like
from maskwright.errors import DataError, problem
from maskwright.types import Categories

__all__ = ["FORMATS", "TOOLS", "Content", "Record", "Records", "Row", "Source", "entries", "read_source", "recognised"]

_PARTS_OF_ONE = {"images", "image", "imgs", "img", "masks", "mask", "instances", "labels", "annotations", "unlabeled"}
"""Names of folders that are a part of a data set rather than one."""
_LOOKED_INTO, _NAMED = 64, 8


@dataclass(frozen=True)
class Format:
    """One layout.

    Attributes:
        recognise: tells from names and, where names don't decide, a look at one file whether a folder is in this
            layout; never raises.
        read: makes the rows.
        fits: tells from its beginning and its end whether one file holds annotations of this format; never raises.
            None where labels are images, or files of other kinds.
        reads: names or patterns (`*.json`) in the data folder of what the rows are made from; a change of anything
            else there is no change of the data.
        renders: whether rows may have images or labels that are no files.
        stored: whether rendered labels lie as the image's file stores its pixels, as masks in files do; they are
            turned with the image then. Shapes are drawn on the upright image.
        write: writes records into an empty folder so that `read` returns the same labels; None where a format holds
            less than we know, such as polygons alone.
    """

    recognise: Callable[[Path], bool]
    read: Callable[[Path], Source]
    fits: Callable[[Path], bool] | None = None
    reads: tuple[str, ...] = ("*",)
    renders: bool = True
    stored: bool = True
    write: Callable[[Path, Records], None] | None = None


FORMATS: dict[str, Format] = {
    "folder": Format(folder.recognise, folder.read, reads=folder.READS, renders=False, write=folder.write),
    "coco": Format(
        coco.recognise,
        coco.read,
        fits=coco.fits,
        stored=False,
        write=coco.write,
    ),
    "coco_panoptic": Format(
        coco_panoptic.recognise,
        coco_panoptic.read,
        fits=coco_panoptic.fits,
        write=coco_panoptic.write,
    ),
    "labelme": Format(labelme.recognise, labelme.read, fits=labelme.fits, stored=False, write=labelme.write),
    "labelme_xml": Format(labelme_xml.recognise, labelme_xml.read, fits=labelme_xml.fits, stored=False),
    "via": Format(via.recognise, via.read, fits=via.fits, stored=False),
    "cvat": Format(cvat.recognise, cvat.read, fits=cvat.fits, stored=False),
    "voc": Format(voc.recognise, voc.read, write=voc.write),
    "label_studio": Format(label_studio.recognise, label_studio.read, fits=label_studio.fits, stored=False),
    "geojson": Format(geojson.recognise, geojson.read, fits=geojson.fits, stored=False),
    "imagescope": Format(imagescope.recognise, imagescope.read, fits=imagescope.fits, stored=False),
    "yolo": Format(yolo.recognise, yolo.read, stored=False),
    "pairs": Format(pairs.recognise, pairs.read, reads=pairs.READS, renders=False),
    "layers": Format(layers.recognise, layers.read, reads=layers.READS),
    "cityscapes": Format(cityscapes.recognise, cityscapes.read, reads=cityscapes.READS),
    "gtav": Format(gtav.recognise, gtav.read, reads=gtav.READS, renders=False),
    "synthia": Format(synthia.recognise, synthia.read, reads=synthia.READS),
    "bdd100k": Format(bdd100k.recognise, bdd100k.read, reads=bdd100k.READS),
    "kitti": Format(kitti.recognise, kitti.read, reads=kitti.READS),
    "mapillary": Format(mapillary.recognise, mapillary.read, reads=mapillary.READS),
    "mots": Format(mots.recognise, mots.read, reads=mots.READS),
    "ade20k": Format(ade20k.recognise, ade20k.read, reads=ade20k.READS),
    "open_images": Format(open_images.recognise, open_images.read, reads=open_images.READS),
    "unity_solo": Format(unity_solo.recognise, unity_solo.read, reads=unity_solo.READS),
    "dicom": Format(dicom.recognise, dicom.read, reads=dicom.READS),
    "nnunet": Format(nnunet.recognise, nnunet.read, reads=nnunet.READS, write=nnunet.write),
    "dsb2018": Format(dsb2018.recognise, dsb2018.read, reads=dsb2018.READS, write=dsb2018.write),
    "rle_csv": Format(rle_csv.recognise, rle_csv.read, fits=rle_csv.fits, reads=rle_csv.READS, write=rle_csv.write),
    "npz": Format(npz.recognise, npz.read, reads=npz.READS, write=npz.write),
}
"""Name → layout. A folder that none of the others recognises is read as `folder`, if it has images/ or unlabeled/."""


TOOLS: dict[str, Callable[[Path, Iterable[Suggested], Categories], None]] = {
    "label_studio": label_studio.write_tasks,
    "cvat": cvat.write_tasks,
}
"""Annotation tool → what writes a task with suggested masks for it."""


def read_source(root: Path, format_name: str = "auto") -> Source:
    """Return what lies in a data folder.

    Raises:
        DataError: no such folder, or no layout, or more than one, fits it.
    """
    check_there(root)
    _check_known(format_name)
    fitting = recognised(root) if format_name == "auto" else [format_name]
    if len(fitting) == 1:
        layout = FORMATS[fitting[0]]
        source = layout.read(root)
        _check_names(source.rows, root)
        return replace(source, rows=[_upright(row, root) for row in source.rows]) if layout.stored else source
    found = sorted(p.name + ("/" if p.is_dir() else "") for p in root.iterdir())
    listing = ", ".join(found[:12]) + (" …" if len(found) > 12 else "") if found else "an empty folder"
    raise DataError(
        problem(
            "a folder with images/ beside masks/ and/or instances/ (same names; masks as index PNG)",
            listing if not fitting else f"more than one reading: {', '.join(fitting)}",
            where=str(root),
            next_move=_one_of_several(root) if fitting else _elsewhere(root),
        )
    )


def check_there(root: Path) -> None:
    """Raise DataError where there is no such data folder."""
    if not root.is_dir():
        got = "a file" if root.exists() else "nothing"
        raise DataError(problem("a data folder", got, where=str(root), next_move="check the path given as --data"))


def _one_of_several(root: Path) -> str:
    """Return the next move where several layouts fit a folder, as they do one that holds several data folders."""
    chosen = "choose one with --set data.format=NAME (convert: --from NAME)"
    inner = _inside(root)
    return f"{inner}, or {chosen}" if inner else chosen


def _check_known(name: str) -> None:
    if name != "auto" and name not in FORMATS:
        near = difflib.get_close_matches(name, FORMATS, 1, 0.5)
        next_move = f"did you mean {near[0]}?" if near else "use one of these, or leave it out"
        raise DataError(problem(f"one of {', '.join(FORMATS)}", name, where="data.format, --from", next_move=next_move))


def _elsewhere(root: Path) -> str:
    """Return the next move where no layout fits a folder: the folder above or those in it, if these are read."""
    if root.name.lower() in _PARTS_OF_ONE and any(root.iterdir()) and len(recognised(root.parent)) == 1:
        return f"give the folder above, which holds all of it: {root.parent}"
    return _inside(root) or "move the images into images/ and their masks into masks/ under the same names"


def _inside(root: Path) -> str:
    """Return which data folders lie in a folder, as a next move; nothing where none does."""
    inner = [f"{path.name}/" for path in homes(root)[1 : _LOOKED_INTO + 1] if len(recognised(path)) == 1]
    if not inner:
        return ""
    named = ", ".join(inner[:_NAMED]) + (f" and {len(inner) - _NAMED} more" if len(inner) > _NAMED else "")
    rest = "; data.further in a recipe adds others to it" if len(inner) > 1 else ""
    return f"give one of the data folders in it: {named}{rest}"


def recognised(root: Path) -> list[str]:
    """Return the layouts that fit a data folder."""
    fitting = [name for name, layout in FORMATS.items() if layout.recognise(root)]
    return fitting or (["folder"] if folder.has_images(root) else [])


def entries(root: Path, format_name: str = "auto") -> list[Path]:
    """Return what lies in a data folder and is read: everything else there decides nothing; run folders neither."""
    names = recognised(root) if format_name == "auto" else [format_name]
    patterns = {pattern for name in names for pattern in FORMATS[name].reads}
    found = {path for pattern in patterns for path in root.glob(pattern) if not path.name.startswith(".")}
    return sorted(path for path in found if not (path / RECORDS).is_dir())


def renders(root: Path, format_name: str = "auto") -> bool:
    """Tell whether images or labels of a data folder may have to be written as files."""
    names = recognised(root) if format_name == "auto" else [format_name]
    return any(FORMATS[name].renders for name in names)


def _upright(row: Row, root: Path) -> Row:
    """Return a row whose rendered labels are turned as the EXIF orientation of its image says."""
    image, render = root / row.image, row.render
    if render is None or row.image.startswith(IMPORTED):
        return row

    def turned() -> Content:
        made = render()
        arrays = (array if array is None else turn_like(array, image) for array in (made.mask, made.instances))
        return Content(made.image, *arrays)

    return replace(row, render=turned)


def _check_names(rows: list[Row], root: Path) -> None:
    """`images/unlabeled/a` would be called as `unlabeled/a` is."""
    known: dict[str, str] = {}
    for row in rows:
        other = known.setdefault(name_of(row.image), row.image)
        if other != row.image:
            raise DataError(
                problem(
                    "one image a name",
                    f"{other} and {row.image}, both called {name_of(row.image)}",
                    where=str(root),
                    next_move="rename one of the two, or its folder",
                )
            )
