"""Kaggle's run lengths: a CSV with ImageId and EncodedPixels, a row an object (or a class), and the images."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path, PurePosixPath

import polars as pl

from maskwright.artifacts import write_table
from maskwright.data.formats.files import find_images, in_number_order, name_of, whole_number
from maskwright.data.formats.lookup import no_files
from maskwright.data.formats.one_class import FOREGROUND, object_masks, one_class
from maskwright.data.formats.rows import Content, Records, Row, Source
from maskwright.data.formats.runlength import mask_to_pairs, pairs_to_mask
from maskwright.data.formats.shapes import Region, bitmap, paint
from maskwright.data.formats.sidecars import meta_of, read_classes, read_meta, write_classes, write_meta
from maskwright.data.images import SUFFIXES, size_of
from maskwright.data.written import place_image
from maskwright.errors import DataError, UsageError, problem
from maskwright.types import IGNORE, Category

READS = ("*",)
_PIXELS = "encodedpixels"
_IMAGES = ("imageid", "image_id", "image", "id", "img_id", "filename")
_CLASSES = ("classid", "class_id", "class", "label", "category")
_JOINED = re.compile(r"^(imageid|image_id|image|id)_(classid|class_id|class|label)$")
_NONE = ("", "-1")


def recognise(root: Path) -> bool:
    """Tell whether a CSV in the folder has a column EncodedPixels and one that names images."""
    return bool(_tables(root))


def read(root: Path) -> Source:
    """Return the rows: images anywhere below the folder, found by the names in the CSV; the others are unlabelled.

    Rows with EncodedPixels are objects; an image with nothing but empty ones is labelled and empty. Where there is a
    class (`ClassId`, or `Image_Label` and the like, joined by the last `_`), classes are categories in the order of
    their names. Objects that come later lie above.

    Raises:
        DataError: a CSV can't be read, two of them name the same image, or a name fits two images.
    """
    table = _read_tables(root)
    found = _by_stem(root)
    names = sorted(table["category"].drop_nulls().unique().to_list(), key=in_number_order)
    named = tuple(Category(p, name, isthing=True, values=(p,)) for p, name in enumerate(names, 1))
    several = (FOREGROUND[0], *named) if names else FOREGROUND
    ids = {c.name: c.id for c in several}
    meta = read_meta(root / "meta.csv")
    groups = table.group_by("image", maintain_order=True).agg("pixels", "category", pl.col("source").first())
    labels = {image: rest for image, *rest in groups.iter_rows()}
    rows = []
    for stem, path in sorted(found.items()):
        name = name_of(path)
        if stem not in labels:
            rows.append(Row(path, None, None, "unlabeled", meta_of(meta, name)))
            continue
        pixels, named_rows, source = labels[stem]
        render = partial(_render, root / path, pixels, named_rows, source, ids)
        place = (f"@/masks/{name}.png", f"@/instances/{name}.png")
        rows.append(Row(path, *place, _part(name), meta_of(meta, name), render))
    stated, ignore = read_classes(root / "classes.json")
    leftovers = [f"{source}: {image}" for image, (*_, source) in labels.items() if image not in found]
    return Source("rle_csv", rows, several if names else stated or several, ignore, leftovers)


def write(root: Path, records: Records) -> None:
    """Write records as images/ and train.csv, a row an object; classes.json holds the names of the two categories.

    Raises:
        UsageError: there are more categories than background and one other, labels that are no objects, or two images
            of one name, which a CSV doesn't tell apart.
    """
    categories = one_class(records.categories, "rle_csv")
    rows, meta, known = list[tuple[str, str]](), {}, dict[str, str]()
    for record in records:
        stem = PurePosixPath(record.name).name
        if (other := known.setdefault(stem, record.name)) != record.name:
            next_move = "rename one of them, or choose a format that has folders"
            raise UsageError(
                problem("one image a name", f"{other} and {record.name}", where="--to rle_csv", next_move=next_move)
            )
        masks = object_masks(record, "rle_csv")
        place_image(root / "images", record.name.removeprefix("unlabeled/"), record.image)
        if masks is not None:
            rows += [(stem, mask_to_pairs(mask)) for mask in masks] or [(stem, "")]
        meta[stem] = record.meta
    schema = {"ImageId": pl.String, "EncodedPixels": pl.String}
    write_table(root / "train.csv", pl.DataFrame(rows, schema=schema, orient="row"))
    write_classes(root / "classes.json", categories, IGNORE)
    write_meta(root / "meta.csv", meta)


def _tables(root: Path) -> dict[Path, tuple[str, str, str | None]]:
    """Return {CSV: names of its columns of images, pixels, and classes}; submissions are no labels."""
    found = {}
    for path in sorted(root.glob("*.csv")):
        if "submission" in path.name.lower() or (columns := _columns(path)) is None:
            continue
        found[path] = columns
    return found


def _columns(path: Path) -> tuple[str, str, str | None] | None:
    try:
        with open(path, encoding="utf-8-sig") as file:
            header = [word.strip().strip('"') for word in file.readline(4096).rstrip("\r\n").split(",")]
    except (OSError, UnicodeDecodeError):
        return None
    lower = {name.lower(): name for name in header}
    joined = next((lower[name] for name in lower if _JOINED.match(name)), None)
    image = next((lower[name] for name in _IMAGES if name in lower), joined)
    if _PIXELS not in lower or image is None:
        return None
    category = next((lower[name] for name in _CLASSES if name in lower), None)
    return image, lower[_PIXELS], category or (joined if image == joined else None)


def _read_tables(root: Path) -> pl.DataFrame:
    """Return the rows of every CSV: image (name without suffix), category or null, pixels, source."""
    tables = []
    for path, (image, pixels, category) in _tables(root).items():
        try:
            table = pl.read_csv(path, infer_schema=False)
        except (pl.exceptions.PolarsError, OSError) as error:
            next_move = "mend the file, or move it out of the folder"
            raise DataError(
                problem("a CSV", str(error).splitlines()[0], where=str(path), next_move=next_move)
            ) from None
        name, label = pl.col(image), pl.lit(None, pl.String) if category is None else pl.col(category)
        if category == image:
            parts = pl.col(image).str.extract_groups(r"^(?<name>.*)_(?<label>[^_]*)$")
            name, label = parts.struct.field("name"), parts.struct.field("label")
        suffixes = rf"(?i)({'|'.join(re.escape(s) for s in SUFFIXES)})$"
        tables.append(
            table.select(
                name.str.strip_chars().str.replace(suffixes, "").alias("image"),
                label.str.strip_chars().replace("", None).alias("category"),
                pl.col(pixels).fill_null("").str.strip_chars().alias("pixels"),
                pl.lit(path.name).alias("source"),
            )
        )
    if not tables:
        raise no_files(f"a CSV with {_PIXELS} and images", root)
    whole = pl.concat(tables)
    bare = whole.filter(pl.col("category").is_null() & ~pl.col("pixels").is_in(_NONE))
    if bare.height and whole["category"].null_count() < whole.height:
        image, source = bare.select("image", "source").row(0)
        next_move = "fill in the class, or remove the row"
        raise DataError(problem("a class for every object", "none", where=f"{source}: {image}", next_move=next_move))
    twice = whole.group_by("image").agg(pl.col("source").unique()).filter(pl.col("source").list.len() > 1).sort("image")
    if twice.height:
        image, sources = twice.row(0)
        next_move = "keep one of the two files in the folder"
        got = f"{image} in {', '.join(sorted(sources))}"
        raise DataError(problem("each image in one CSV", got, where=str(root), next_move=next_move))
    return whole


def _by_stem(root: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for path in find_images(root):
        place = path.relative_to(root).as_posix()
        if "masks" in path.relative_to(root).parts[:-1]:
            continue
        if (other := found.setdefault(path.stem, place)) != place:
            next_move = "rename or remove one of the two"
            raise DataError(problem("one image a name", f"{other} and {place}", where=str(root), next_move=next_move))
    return found


def _part(name: str) -> str | None:
    return name.split("/", 1)[0] if "/" in name else None


def _render(
    image: Path, pixels: Sequence[str], names: Sequence[str | None], source: str, ids: dict[str, int]
) -> Content:
    height, width = size_of(image)[:2]
    regions = []
    for text, name in zip(pixels, names, strict=True):
        where = f"{source}: {image.stem}"
        if text in _NONE:
            continue
        _check_rise(text, where)
        mask = pairs_to_mask(text, (height, width), where=where)
        regions.append(Region(name or FOREGROUND[1].name, bitmap(mask, (height, width))))
    return paint(regions, (height, width), ids, ignore=IGNORE)


def _check_rise(text: str, where: str) -> None:
    """Some competitions count starts from the end of the run before: the same columns, other pixels."""
    starts = text.split()[::2]
    numbers = [whole_number(word) for word in starts]
    if any(b is not None and (a is None or a >= b) for a, b in pairwise(numbers)):
        raise DataError(
            problem(
                "runs in the order of their pixels, each counted from the first pixel",
                text[:40],
                where=where,
                next_move="if starts are counted from the run before, convert the file first",
            )
        )
