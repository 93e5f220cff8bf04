"""What label files measure: `measure`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from maskwright.artifacts import write_table
from maskwright.cli.console import progress, result, say, table
from maskwright.errors import UsageError, problem

if TYPE_CHECKING:
    from maskwright.measure import Measured

_SHOWN = 5


def measure(
    prediction: Path,
    *,
    out: Path,
    objects: Path | None = None,
    instances: Path | None = None,
    images: Path | None = None,
    spacing: str | None = None,
    names: Path | None = None,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Measure areas, counts, lengths and outlines of what label files show, in pixels or millimetres. Needs no torch.

    Objects are 8-connected components, or what id maps number. Lengths are maximum Feret diameters; perimeters and
    equivalent diameters are those of scikit-image. The background is not measured. Sizes of pixels are taken from
    --spacing, the run's data.spacing, or the images (TIFF, OME, DICOM), and never guessed: without one the unit is px.

    Examples: maskwright measure labels --out areas.csv --names runs/teeth
              maskwright measure labels --out areas.csv --objects teeth.csv --images scans

    Args:
        prediction: folder of label files, or a run folder.
        out: table with a row an image and category: .csv or .parquet.
        objects: table with a row an object.
        instances: folder of id maps of the same names, which say what is one object.
        images: folder of the images, which state how large their pixels are.
        spacing: millimetres of a pixel, or its height and width: 0.5 or 0.5,0.25.
        names: the run that predicted the labels, or a classes.json (default: what is in or beside the folder).
        json: write the rows of --out as JSON to stdout.
    """
    from maskwright.data.spacing import parse_spacing
    from maskwright.measure import measure_folder

    for path in (out, objects):
        _check_new(path)
    size = None if spacing is None else parse_spacing(spacing)
    if objects is not None and objects.resolve() == out.resolve():
        raise UsageError(problem("two files", str(out), where="--out and --objects", next_move="name another for one"))
    with progress():
        found = measure_folder(prediction, instances=instances, images=images, spacing=size, named_by=names)
    write_table(out, found.per_image)
    say(f"{found.per_image.height} rows in {out}")
    if objects is not None:
        write_table(objects, found.per_object)
        say(f"{found.per_object.height} objects in {objects}")
    _show(found)
    result(found.per_image.to_dicts(), as_json=json)


def _show(found: Measured) -> None:
    """Print which images are measured in pixels, and the sums of each category."""
    import polars as pl

    if bare := found.without_spacing:
        listed = ", ".join(bare[:_SHOWN]) + (" …" if len(bare) > _SHOWN else "")
        say(f"note: measured in pixels, as nothing states how large they are: {len(bare)} images ({listed})")
    by_category = found.per_image.group_by("category", "unit", maintain_order=True).agg(
        pl.col("count", "area", "sum_feret_max").sum()
    )
    rows = [
        (
            row["category"],
            str(row["count"]),
            f"{row['area']:.6g} {row['unit']}²",
            f"{row['sum_feret_max']:.6g} {row['unit']}",
        )
        for row in by_category.iter_rows(named=True)
    ]
    table("Measured", ("category", "objects", "area", "lengths"), rows)


def _check_new(path: Path | None) -> None:
    if path is not None and (path.exists() or path.suffix not in (".csv", ".parquet")):
        got = "a file that stands already" if path.exists() else path.name
        next_move = "give another name; nothing is overwritten"
        raise UsageError(problem("a new file NAME.csv or NAME.parquet", got, where=str(path), next_move=next_move))
