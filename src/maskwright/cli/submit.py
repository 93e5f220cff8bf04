"""What challenges take: `submit`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from maskwright.cli.console import progress, result, say


def submit(
    prediction: Path,
    *,
    to: str,
    out: Path,
    rows: Literal["object", "class"] = "object",
    pixels: Literal["index", "color"] = "index",
    instances: Path | None = None,
    names: Path | None = None,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Write label files as one file that challenges take. Needs no torch.

    Examples: maskwright submit labels --to rle_csv --out submission.csv --names runs/teeth
              maskwright submit labels --to png_zip --out submission.zip
              maskwright submit runs/streets --to cityscapes --out ids

    Args:
        prediction: folder of label files, or a run folder.
        to: rle_csv (Kaggle: ImageId, EncodedPixels; ClassId with several categories), npz (masks (N, H, W) and names)
            png_zip, or cityscapes (a folder of NAME_instanceIds.png, from panoptic predictions of its categories).
        out: the file, of cityscapes the folder.
        rows: of rle_csv: a row an object, or a row an image and category.
        pixels: of png_zip: category ids, or the categories' colours.
        instances: folder of id maps of the same names that say what is one object (default: 8-connected components).
        names: the run that predicted the labels, or a classes.json (default: what is in or beside the folder).
        json: write what was done as JSON to stdout.
    """
    with progress():
        if to == "cityscapes":
            from maskwright.panoptic.files import submit_cityscapes

            count = submit_cityscapes(prediction, out)
        else:
            from maskwright.data.submissions import write_submission

            count = write_submission(prediction, out, to, rows=rows, pixels=pixels, instances=instances, named_by=names)
    say(f"{count} images in {out}")
    result({"images": count, "out": str(out), "format": to}, as_json=json)
