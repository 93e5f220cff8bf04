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
from maskwright.data.images import orientation_of, read_ids, read_image, size_of
from maskwright.data.intensity import resize_label
from maskwright.data.written import place_image, write_array
from maskwright.decisions import Decision, append_decisions, read_decisions, settled
from maskwright.errors import DataError, UsageError, problem
from maskwright.pictures import to_rgb8
from maskwright.progress import track
from maskwright.recipe.data import DataSpec
from maskwright.review.answers import written_mask, written_seen
from maskwright.review.query import Chosen
from maskwright.review.source import Reviewed
from maskwright.review.sources import delivering
from maskwright.types import IGNORE, Categories, LabelMap

QUERIES = "queries"
_SHOWN_BY_TOOLS = (".png", ".jpg", ".jpeg")
_LARGEST_EXPORT = 8 << 30
_COLUMNS = ("order", "file", "image", "worth", "uncertainty", "rank", "novelty", "need", "category", "nearest", "group")


@dataclass(frozen=True)
class Imported:
    """What an export came to.

    Attributes:
        taken: images that have a mask by it now.
        unchanged: of these, whose mask is the suggested one, pixel by pixel: never scored, and with several folds not
            learned from, as networks of all folds made it.
        known: images whose mask by an earlier import is the same.
        missing: images that were asked for and have no mask in it.
        strangers: images in it that were never asked for.
    """

    taken: tuple[str, ...]
    unchanged: tuple[str, ...]
    known: tuple[str, ...]
    missing: tuple[str, ...]
    strangers: tuple[str, ...]


def asked(run: Reviewed) -> dict[str, str]:
    """Return file name → image of all that was asked for."""
    found = dict[str, str]()
    for path in sorted((run.folder.root / QUERIES).glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            found |= {row["file"]: row["image"] for row in csv.DictReader(file)}
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
        rows.append(_row(order, path.name, one))
    certainty = {one.candidate.image: 1 - one.candidate.uncertainty for one in chosen}
    TOOLS[tool](folder, _suggestions(run, files, certainty), run.index.categories)
    hidden = ("image", "nearest", "group") if anonymous else ()
    write_text(folder / "query.csv", _table(rows, [c for c in _COLUMNS if c not in hidden]))
    write_text(run.folder.root / QUERIES / f"{number}.csv", _table(rows, _COLUMNS))  # last: now it is asked for
    return folder


def import_labels(run: Reviewed, export: Path, *, by: str) -> Imported:
    """Take the masks of an annotation tool's export as decisions: the next round learns from them.

    A mask that is the suggested one, pixel by pixel, is never scored, and learned from by trainings alone that are
    scored on none of the images that its networks have learned from: none of several folds. Pixels that no shape covers
    are background, in a run that has one; in others they don't count. Numbers of objects aren't taken.

    Args:
        run: whose pool it is.
        export: a file, zip or folder, in any form that is read as data.
        by: who labelled.

    Raises:
        UsageError: nothing was asked for, or the run learns from instances.
        DataError: the export can't be read, or has other categories or sizes.
    """
    files = {file: image for file, image in asked(run).items() if image in run.rows}  # others are in the folder no more
    _check_import(run, export, files)
    images = {PurePosixPath(file).stem: image for file, image in files.items()}
    taken, unchanged, known, strangers = list[str](), list[str](), list[str](), list[str]()
    lines, answers = list[Decision](), settled(read_decisions(run.folder.decisions))
    shared = {"by": by, "kind": "query", "id": secrets.token_hex(8), "reason": f"labelled, {export.name}"}
    with TemporaryDirectory(prefix=".import-", dir=run.folder.root / QUERIES) as scratch:
        for stem, label in _labels_of(run, export, Path(scratch), files):
            if (image := images.get(stem)) is None:
                strangers.append(stem)
                continue
            if label.shape != run.size(image):
                got, wanted = (f"{w}×{h}" for h, w in (label.shape, run.size(image)))
                next_move = "label the images as they were exported, not smaller copies"
                raise DataError(problem(f"a mask of {wanted} pixels", got, where=stem, next_move=next_move))
            same = _is_suggested(run, image, label)
            file, before = written_mask(run, label), answers.get((image, "mask"))
            if before is not None and before.file == file and not before.by_policy:
                known.append(image)
                continue
            about = {"image": image, "action": "drawn_mask", "file": file}
            if same:
                about |= {"made_by": "prediction", "seen": written_seen(run, *delivering(run))}
            lines.append(Decision.model_validate(shared | about))
            taken.append(image)
            unchanged += [image] if same else []
    if lines:
        append_decisions(run.folder.decisions, lines)
    missing = [image for image in images.values() if image not in {*taken, *known} and (image, "mask") not in answers]
    return Imported(*map(tuple, (taken, unchanged, known, missing, strangers)))


def place_picture(run: Reviewed, image: str, folder: Path, name: str, *, anew: bool = False) -> Path:
    """Write an image as annotation tools show it, 8 bits and upright; a copy of the file where that is so."""
    source = run.path(run.index.table["image"][run.rows[image]])
    plain = source.suffix.lower() in _SHOWN_BY_TOOLS and orientation_of(source) == 1 and size_of(source)[3] == "uint8"
    if plain and not anew:
        return place_image(folder, name, source)
    return write_array(folder / f"{name}.png", to_rgb8(read_image(source)))


def _suggestions(run: Reviewed, files: Mapping[str, str], certainty: Mapping[str, float]) -> Iterator[Suggested]:
    for image, file in files.items():
        objects = run.folder.predictions / "instances" / f"{name_of(image)}.png"
        numbers = read_ids(objects) if objects.is_file() else None
        yield Suggested(file, suggested_label(run, image), numbers, certainty[image])


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
        next_move = "convert it (maskwright convert EXPORT FOLDER --to folder), and name that in data.further"
        raise UsageError(
            problem("a run that learns from masks", "instance maps", where="--import", next_move=next_move)
        )


def _labels_of(run: Reviewed, export: Path, scratch: Path, files: Mapping[str, str]) -> Iterator[tuple[str, LabelMap]]:
    """Yield (name, label in the run's categories) of the images that an export has a mask of."""
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
            yield PurePosixPath(name_of(row.image)).name, table[read_label(plain / row.mask, theirs)]


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


def _is_suggested(run: Reviewed, image: str, label: LabelMap) -> bool:
    return run.prediction(image) is not None and bool(np.array_equal(label, suggested_label(run, image)))
