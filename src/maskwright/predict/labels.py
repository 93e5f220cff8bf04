"""Label files in, label files out: clean-up without a network."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from maskwright.artifacts import write_bytes
from maskwright.data.images import read_values
from maskwright.errors import DataError, problem
from maskwright.postprocess import fill_holes, remove_small
from maskwright.predict.files import named_images
from maskwright.progress import track
from maskwright.tasks import lock


def clean_folder(labels: Path, out: Path, *, minimum_area: int = 0, holes: int | None = None) -> list[Path]:
    """Write cleaned copies of the label files below a folder.

    Args:
        labels: folder of index PNGs, values up to 255; 255 is ignored and never changes.
        out: folder for the copies; nested folders are kept.
        minimum_area: components with fewer pixels take the label around them.
        holes: fill holes of at most this many pixels in value 1; None: don't.

    Returns:
        the files written.

    Raises:
        DataError: values over 255, or a file of that name stands in `out` already.
        UsageError: another process writes into `out`.
    """
    named = named_images(labels)
    written = []
    with lock(out):
        if standing := [name for name, _ in named if (out / f"{name}.png").exists()]:
            raise DataError(
                problem(
                    "a folder without files of these names",
                    f"{len(standing)}, such as {standing[0]}.png",
                    where=str(out),
                    next_move="give a new folder: nothing is overwritten",
                )
            )
        for name, path in track(named, "clean up"):
            values = read_values(path)
            if values.size and not 0 <= values.min() <= values.max() <= 255:
                raise DataError(
                    problem(
                        "values from 0 to 255",
                        f"{values.max()}",
                        where=str(path),
                        next_move="give semantic label files",
                    )
                )
            label = values.astype(np.uint8)
            label = remove_small(label, minimum_area) if minimum_area > 0 else label
            label = label if holes is None else fill_holes(label, 1, pixels=holes)
            buffer = io.BytesIO()
            Image.fromarray(label).save(buffer, "PNG")
            write_bytes(out / f"{name}.png", buffer.getvalue())
            written.append(out / f"{name}.png")
    return written
