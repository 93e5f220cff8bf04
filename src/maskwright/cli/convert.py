"""From one format to another: `convert`."""

from __future__ import annotations

import json as notation
import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from maskwright.cli.console import progress, result, say
from maskwright.cli.options import listed
from maskwright.errors import UsageError, problem

if TYPE_CHECKING:
    from maskwright.data.convert import Converted


def convert(
    source: Path,
    out: Path,
    *,
    to: str,
    source_format: Annotated[str, Parameter(name="--from")] = "auto",
    classes: str | None = None,
    ignore: str | None = None,
    settings: Annotated[tuple[str, ...], Parameter(name=["--set"], negative=())] = (),
    size: str | None = None,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Write a data folder in another format: labels, instances and category names as they are.

    Examples: maskwright convert EXPORT FOLDER --to folder · maskwright convert FOLDER OUT --to coco

    Args:
        source: data folder in any format that is read (COCO, VOC, LabelMe, CVAT, Cityscapes, …).
        out: new folder.
        to: format to write; a wrong one is answered with the list.
        source_format: format of the source where it isn't recognised, or two fit.
        classes: all; binary (everything but 0 is foreground); or names, comma-separated (the rest becomes background).
        ignore: mask values or category names whose pixels count as nothing, comma-separated.
        settings: any field of the recipe's data section, such as
            data.map='{"background": "background", "car": "vehicle", "sky": null}'; the map names every category of the
            source, also the background that annotation tools leave unsaid.
        size: WIDTHxHEIGHT of the image of one of ImageScope's XML files, which is then the source, without its image.
        json: write what was done as JSON to stdout.
    """
    from maskwright.data.convert import convert as write
    from maskwright.data.convert import convert_alone
    from maskwright.recipe import Recipe, apply_settings
    from maskwright.recipe.data import DataSpec

    if size is not None:
        _check_alone(source, to)
        done = convert_alone(source, _parsed(size), out)
    else:
        recipe = Recipe(data=DataSpec(root=str(source)))
        names = [str(word) for word in listed(classes) or ()]
        shortcuts = {
            "data.format": source_format,
            "data.classes": classes if classes in (None, "all", "binary") else names,
            "data.ignore": listed(ignore),
        }
        stated = [f"{key}={notation.dumps(value)}" for key, value in shortcuts.items() if value is not None]
        recipe = apply_settings(recipe, [*stated, *settings])
        with progress():
            done = write(recipe.data, out, to)
    say(f"{done.images} images written to {out} as {to}")
    for line in _summary(done):
        say(f"  {line}")
    result(asdict(done) | {"format": to, "out": str(out)}, as_json=json)


def _check_alone(source: Path, to: str) -> None:
    if not source.is_file() or to != "folder":
        got = f"--to {to}" if source.is_file() else "a folder, whose images state their sizes"
        next_move = "leave --size out, or give the XML file and --to folder"
        raise UsageError(problem("one XML file, written --to folder", got, where="--size", next_move=next_move))


def _parsed(size: str) -> tuple[int, int]:
    match = re.fullmatch(r"([0-9]{1,9})[x×]([0-9]{1,9})", size)
    if match is None:
        raise UsageError(problem("WIDTHxHEIGHT", size, where="--size", next_move="for example --size 1000x800"))
    return int(match[2]), int(match[1])


def _summary(done: Converted) -> list[str]:
    """Return what the written folder holds, a line each."""
    lines = [f"{done.labelled} labelled, {done.unlabelled} unlabelled"]
    if done.unlabelled:
        lines[0] += " (no label file and no annotation names them)"
    if done.empty:
        lines.append(f"{done.empty} of the labelled hold nothing but background: nothing is drawn on them")
    whole = sum(done.pixels.values()) + done.ignored
    if whole:
        shares = [f"{name} {count / whole:.2%}" for name, count in done.pixels.items()]
        lines.append(f"pixels: {', '.join(shares)}; ignored {done.ignored / whole:.2%}")
    if done.objects:
        lines.append(f"objects: {done.objects}")
    return [*lines, *(f"note: {note}" for note in done.notes)]
