"""From one format to another: `convert`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from maskwright.cli.console import progress, result, say


def convert(
    source: Path,
    out: Path,
    *,
    to: str,
    source_format: Annotated[str, Parameter(name="--from")] = "auto",
    settings: Annotated[tuple[str, ...], Parameter(name=["--set"], negative=())] = (),
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Write a data folder in another format: labels, instances and category names as they are.

    Examples: maskwright convert EXPORT FOLDER --to folder · maskwright convert FOLDER OUT --to coco

    Args:
        source: data folder in any format that is read (COCO, VOC, LabelMe, CVAT, Cityscapes, …).
        out: new folder.
        to: format to write; a wrong one is answered with the list.
        source_format: format of the source where it isn't recognised, or two fit.
        settings: any field of the recipe's data section, such as data.map='{"car": "vehicle", "sky": null}'.
        json: write what was done as JSON to stdout.
    """
    from maskwright.data.convert import convert as write
    from maskwright.recipe import Recipe, apply_settings
    from maskwright.recipe.data import DataSpec

    recipe = Recipe(data=DataSpec(root=str(source)))
    recipe = apply_settings(recipe, [f"data.format={source_format}", *settings])
    with progress():
        count = write(recipe.data, out, to)
    say(f"{count} images written to {out} as {to}")
    result({"images": count, "format": to, "out": str(out)}, as_json=json)
