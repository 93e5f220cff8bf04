"""What `query` chose as a folder for an annotation tool, and the finished export as decisions.

`queries/N.csv` in the run folder says what was asked for: an image that somebody is labelling isn't asked for again.
"""

from __future__ import annotations

import csv
import difflib
import io
import secrets
import shutil
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

import numpy as np

from maskwright.artifacts import write_text
from maskwright.data.categories import read_label, recognise_categories
from maskwright.data.convert import convert
from maskwright.data.formats import TOOLS, read_source
from maskwright.data.formats.annotated import LABEL_FOLDERS, Suggested
from maskwright.data.formats.files import find_files, name_of
from maskwright.data.formats.pieces import BACKGROUND_NAMES
from maskwright.data.images import orientation_of, read_ids, read_image, read_objects, size_of
from maskwright.data.intensity import resize_label
from maskwright.data.written import place_image, write_array
from maskwright.decisions import Decision, append_decisions, read_decisions, settled
from maskwright.errors import DataError, UsageError, problem
from maskwright.pictures import to_rgb8
from maskwright.progress import track
from maskwright.recipe.data import DataSpec
from maskwright.review.answers import written_mask, written_objects, written_seen
from maskwright.review.query import Chosen
from maskwright.review.source import Reviewed, digest_of
from maskwright.review.sources import delivering
from maskwright.types import IGNORE, Array, Categories, LabelMap

QUERIES = "queries"
_SHOWN_BY_TOOLS = (".png", ".jpg", ".jpeg")
_LARGEST_EXPORT = 8 << 30
_COLUMNS = ("order", "file", "image", "worth", "uncertainty", "rank", "novelty", "need", "category", "nearest", "group")
_OURS = ("suggested", "maker")
"""Columns of `queries/N.csv` alone: the digest of the mask that was suggested, and whose networks' it is."""


@dataclass(frozen=True)
class Imported:
    """What an export came to.

    Attributes:
        taken: images that have a mask by it now.
        unchanged: of these, whose mask is the suggested one, pixel by pixel and object by object: never scored, and
            with several folds not learned from, as networks of all folds made it.
        corrected: of these, image → share of its pixels that are otherwise than suggested; they count whole.
        known: images whose mask by an earlier import is the same.
        missing: images that were asked for and have no mask in it.
        strangers: images in it that were never asked for.
    """

    taken: tuple[str, ...]
    unchanged: tuple[str, ...]
    corrected: dict[str, float]
    known: tuple[str, ...]
    missing: tuple[str, ...]
    strangers: tuple[str, ...]


def asked(run: Reviewed) -> dict[str, str]:
    """Return file name → image of all that was asked for."""
    return {file: row["image"] for file, row in _queried(run).items()}


def _queried(run: Reviewed) -> dict[str, dict[str, str]]:
    """Return file name → its row of all that was asked for."""
    found = dict[str, dict[str, str]]()
    for path in sorted((run.folder.root / QUERIES).glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            found |= {row["file"]: row for row in csv.DictReader(file)}
    return found


def write_query(
    run: Reviewed, chosen: Sequence[Chosen], tool: str, *, out: Path | None = None, anonymous: bool = False
) -> Path:
    """Write a folder for an annotation tool: images/, query.csv, and the task with the predicted masks suggested.

    Args:
        run: whose pool it is.
        chosen: in the order in which they are to be labelled, which is that of the file names.
        tool: one of `TOOLS`.
        out: a new or empty folder; default: queries/N in the run folder.
        anonymous: the folder names no file of the data folder, and pictures are written anew, without metadata.

    Returns:
        the folder.

    Raises:
        UsageError: the folder holds something.
        DataError: an image can't be read.
    """
    number = _free(run)
    folder = out or run.folder.root / QUERIES / f"{number}"
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        got, next_move = "one that holds files", "give another --out; nothing is overwritten"
        raise UsageError(problem("a new or empty folder", got, where=str(folder), next_move=next_move))
    digits = len(str(max(100, len(chosen))))
    files, rows = dict[str, str](), list[dict[str, object]]()
    for order, one in enumerate(track(chosen, "query: images for the tool", len(chosen)), 1):
        image = one.candidate.image
        stem = "" if anonymous else "-" + PurePosixPath(name_of(image)).name
        path = place_picture(run, image, folder / "images", f"{number}-{order:0{digits}d}{stem}", anew=anonymous)
        files[image] = path.name
        suggested = {"suggested": "-".join(_suggested(run, image)), "maker": _maker(run)}
        rows.append(_row(order, path.name, one) | suggested)
    certainty = {one.candidate.image: 1 - one.candidate.uncertainty for one in chosen}
    TOOLS[tool](folder, _suggestions(run, files, certainty), run.index.categories)
    hidden = ("image", "nearest", "group") if anonymous else ()
    write_text(folder / "query.csv", _table(rows, [c for c in _COLUMNS if c not in hidden]))
    write_text(run.folder.root / QUERIES / f"{number}.csv", _table(rows, _COLUMNS + _OURS))  # last: now it is asked for
    return folder


def import_labels(run: Reviewed, export: Path, *, by: str) -> Imported:
    """Take the masks of an annotation tool's export as decisions: the next round learns from them.

    A mask that is the suggested one, pixel by pixel and object by object, is never scored, and learned from by
    trainings alone that are scored on none of the images that its networks have learned from: none of several folds.
    One that was changed counts whole, and its line says what it began with. Pixels that no shape covers are background,
    in a run that has one; in others they don't count. Objects are taken by runs that tell them apart beside masks.

    Args:
        run: whose pool it is.
        export: a file, zip or folder, in any form that is read as data.
        by: who labelled.

    Raises:
        UsageError: nothing was asked for, or the run learns from instances.
        DataError: the export can't be read, or has other categories or sizes.
    """
    rows = {file: row for file, row in _queried(run).items() if row["image"] in run.rows}  # others are there no more
    files = {file: row["image"] for file, row in rows.items()}
    _check_import(run, export, files)
    given = {PurePosixPath(file).stem: row for file, row in rows.items()}
    images = {stem: row["image"] for stem, row in given.items()}
    taken, unchanged, known, strangers = list[str](), list[str](), list[str](), list[str]()
    corrected = dict[str, float]()
    lines, answers = list[Decision](), settled(read_decisions(run.folder.decisions))
    shared = {"by": by, "kind": "query", "id": secrets.token_hex(8), "reason": f"labelled, {export.name}"}
    with TemporaryDirectory(prefix=".import-", dir=run.folder.root / QUERIES) as scratch:
        for stem, label, numbers in _labels_of(run, export, Path(scratch), files):
            if (image := images.get(stem)) is None:
                strangers.append(stem)
                continue
            if label.shape != run.size(image):
                got, wanted = (f"{w}×{h}" for h, w in (label.shape, run.size(image)))
                next_move = "label the images as they were exported, not smaller copies"
                raise DataError(problem(f"a mask of {wanted} pixels", got, where=stem, next_move=next_move))
            file, before = written_mask(run, label), answers.get((image, "mask"))
            objects = None if numbers is None else written_objects(run, numbers)
            if before is not None and (before.file, before.objects) == (file, objects) and not before.by_policy:
                known.append(image)
                continue
            said = _whose(run, image, given[stem], label, numbers)
            about = {"image": image, "action": "drawn_mask", "file": file, "objects": objects}
            lines.append(Decision.model_validate(shared | about | said))
            taken.append(image)
            if "made_by" in said:
                unchanged.append(image)
            elif "value" in said:
                corrected[image] = float(said["value"])
    if lines:
        append_decisions(run.folder.decisions, lines)
    missing = [image for image in images.values() if image not in {*taken, *known} and (image, "mask") not in answers]
    return Imported(tuple(taken), tuple(unchanged), corrected, tuple(known), tuple(missing), tuple(strangers))


def place_picture(run: Reviewed, image: str, folder: Path, name: str, *, anew: bool = False) -> Path:
    """Write an image as annotation tools show it, 8 bits and upright; a copy of the file where that is so."""
    source = run.path(run.index.table["image"][run.rows[image]])
    plain = source.suffix.lower() in _SHOWN_BY_TOOLS and orientation_of(source) == 1 and size_of(source)[3] == "uint8"
    if plain and not anew:
        return place_image(folder, name, source)
    return write_array(folder / f"{name}.png", to_rgb8(read_image(source)))


def _suggestions(run: Reviewed, files: Mapping[str, str], certainty: Mapping[str, float]) -> Iterator[Suggested]:
    for image, file in files.items():
        yield Suggested(file, suggested_label(run, image), _suggested_objects(run, image), certainty[image])


def _suggested_objects(run: Reviewed, image: str) -> Array | None:
    file = run.folder.predictions / "instances" / f"{name_of(image)}.png"
    numbers = read_ids(file) if file.is_file() else None
    return numbers if numbers is not None and numbers.shape == run.size(image) else None


def suggested_label(run: Reviewed, image: str) -> LabelMap:
    """Return the (H, W) label that the run predicts of an image, at its size; all ignored where there is none."""
    file, size = run.prediction(image), run.size(image)
    found = np.full(size, IGNORE, np.uint8) if file is None else run.label_file(file)
    return found if found.shape == size else np.asarray(resize_label(found, size), np.uint8)


def _free(run: Reviewed) -> int:
    """Return the number of a query that nobody made or began."""
    stems = [path.stem for path in (run.folder.root / QUERIES).glob("*")]
    return 1 + max((int(stem) for stem in stems if stem.isdecimal()), default=0)


def _row(order: int, file: str, one: Chosen) -> dict[str, object]:
    candidate = one.candidate
    numbers = {"worth": one.worth, "uncertainty": candidate.uncertainty, "rank": one.rank, "novelty": one.novelty}
    return (
        {"order": order, "file": file, "image": candidate.image}
        | {key: f"{value:.4f}" for key, value in (numbers | {"need": candidate.need}).items()}
        | {"category": candidate.category, "nearest": one.nearest, "group": candidate.group or ""}
    )


def _table(rows: Sequence[Mapping[str, object]], columns: Sequence[str]) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def _check_import(run: Reviewed, export: Path, files: Mapping[str, str]) -> None:
    again = f"choose images first: maskwright query {run.folder.root}"
    if not files:
        raise UsageError(
            problem("a run of which images were asked for", "none", where=str(run.folder.root), next_move=again)
        )
    if not export.exists():
        next_move = "give the file, zip or folder that the annotation tool wrote"
        raise UsageError(problem("an export", "nothing", where=str(export), next_move=next_move))
    if run.index.target != "masks":
        next_move = "put its file in the place of the task's in the query's folder, convert that (maskwright convert "
        next_move += "QUERY LABELLED --to folder), and name LABELLED in data.further"
        raise UsageError(
            problem("a run that learns from masks", "instance maps", where="--import", next_move=next_move)
        )


def _labels_of(
    run: Reviewed, export: Path, scratch: Path, files: Mapping[str, str]
) -> Iterator[tuple[str, LabelMap, Array | None]]:
    """Yield (name, label in the run's categories, objects' numbers) of the images that an export has a mask of.

    Only things have numbers; there are none where the run, or the export, doesn't tell objects apart.
    """
    raw, plain = scratch / "export", scratch / "plain"
    _unpacked(export, raw)
    there = {path.stem for path in find_files(raw) if _is_picture(path.relative_to(raw))}
    for file, image in files.items():
        if (stem := PurePosixPath(file).stem) not in there:
            place_picture(run, image, raw / "images", stem, anew=file.endswith(".png"))
    try:
        if not any(row.mask or row.instances for row in read_source(raw).rows):
            next_move = "export as CVAT for images 1.1, Label Studio JSON, COCO or masks, and give that"
            raise DataError(
                problem("masks in a form that is read as data", "none", where=str(raw), next_move=next_move)
            )
        convert(DataSpec(root=str(raw)), plain, "folder")
    except DataError as error:  # which names a folder that is gone by the time it is read
        raise DataError(str(error).replace(str(raw), str(export))) from None
    source = read_source(plain, "folder")
    theirs = recognise_categories(source, plain, DataSpec(root=str(plain)))
    table = _positions(theirs, run.index.categories, export)
    for row in source.rows:
        if row.mask is not None:
            label, numbers = table[read_label(plain / row.mask, theirs)], None
            if run.index.both and row.instances is not None:
                counted = np.isin(label, run.index.categories.things)
                numbers = np.where(counted, read_objects(plain / row.instances), 0)
            yield PurePosixPath(name_of(row.image)).name, label, numbers


def _is_picture(path: Path) -> bool:
    """Tell whether a file of an export is an image that was labelled, not a mask of one."""
    return path.suffix.lower() in _SHOWN_BY_TOOLS and not LABEL_FOLDERS & {part.lower() for part in path.parts[:-1]}


def _unpacked(export: Path, folder: Path) -> None:
    """Copy an export, unpacked.

    Raises:
        DataError: it is broken, locked, or too large.
    """
    folder.mkdir(parents=True)
    if export.is_dir():
        shutil.copytree(export, folder, dirs_exist_ok=True, symlinks=True)
        return
    if export.suffix.lower() != ".zip" and not zipfile.is_zipfile(export):
        shutil.copyfile(export, folder / export.name)
        return
    next_move = "unpack it yourself, and give the folder"
    try:
        with zipfile.ZipFile(export) as packed:
            if sum(member.file_size for member in packed.infolist()) > _LARGEST_EXPORT:
                raise DataError(problem("at most 8 GB unpacked", "more", where=str(export), next_move=next_move))
            packed.extractall(folder)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise DataError(problem("a whole zip", str(error), where=str(export), next_move=next_move)) from None


def _positions(theirs: Categories, ours: Categories, export: Path) -> LabelMap:
    """Return the (256,) table from positions in the export to those of the run."""
    table = np.full(256, IGNORE, np.uint8)
    known = {name.casefold(): place for place, name in enumerate(ours.names)}
    background = next((known[name] for name in BACKGROUND_NAMES if name in known), IGNORE)
    for place, name in enumerate(theirs.names):
        if name.casefold() in known:
            table[place] = known[name.casefold()]
        elif name.casefold() in BACKGROUND_NAMES:
            table[place] = background
        else:
            near = difflib.get_close_matches(name, ours.names, 1, 0.5)
            next_move = (
                f"did you mean {near[0]}? rename the label in the tool" if near else "rename the label in the tool"
            )
            raise DataError(
                problem(f"labels among {', '.join(ours.names)}", name, where=str(export), next_move=next_move)
            )
    return table


def _whose(
    run: Reviewed, image: str, given: Mapping[str, str], label: LabelMap, numbers: Array | None
) -> dict[str, str | float]:
    """Return what a line says of a mask besides: that it is a prediction, or which one a person began with."""
    digests, now = _digests(label, numbers), _suggested(run, image)
    then = given.get("suggested", "").split("-") if given.get("suggested") else now
    if now and _alike(digests, now):
        return {"made_by": "prediction", "seen": written_seen(run, *delivering(run))}
    if then and _alike(digests, then):  # of networks that are gone, nobody knows what they have learned from
        return {"made_by": "prediction"}
    if not then:
        return {}
    changed = {"value": float((label != suggested_label(run, image)).mean())} if then == now else {}
    return {"begun_with": f"prediction, {given.get('maker') or _maker(run)}"} | changed


def _suggested(run: Reviewed, image: str) -> list[str]:
    """Return the digests of what the run suggests of an image, none where it suggests nothing."""
    if run.prediction(image) is None:
        return []
    label, numbers = suggested_label(run, image), _suggested_objects(run, image)
    if numbers is None or not run.index.both:
        return _digests(label, None)
    counted = np.isin(label, run.index.categories.things)
    return _digests(
        label, np.where(counted, numbers.astype(np.int64) * 256 + label + 1, 0)
    )  # a shape each: see Suggested


def _digests(label: LabelMap, numbers: Array | None) -> list[str]:
    """Return the digest of a label and, of objects, that of which pixels belong together, whatever the numbers."""
    if numbers is None:
        return [digest_of(label)]
    _, first, which = np.unique(numbers, return_index=True, return_inverse=True)
    order = np.argsort(np.argsort(first)).astype(np.uint32)
    return [digest_of(label), digest_of(order[which.reshape(label.shape)])]


def _alike(found: Sequence[str], suggested: Sequence[str]) -> bool:
    """Tell whether two have the same digests; objects count where both tell them apart."""
    return all(one == other for one, other in zip(found, suggested, strict=False))


def _maker(run: Reviewed) -> str:
    """Return in words whose networks predict the pool."""
    number, fold = delivering(run)
    return f"round {number}, {'all folds' if fold is None else f'fold {fold}'}"
