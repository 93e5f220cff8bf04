"""What a single file is: `doctor`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from maskwright.cli.console import result, say
from maskwright.errors import DataError, problem

if TYPE_CHECKING:
    from maskwright.audit.doctor import Diagnosis

_MANY, _FEW = 64, 4


def doctor(*files: Path, json: Annotated[bool, Parameter(negative=())] = False) -> None:
    """Explain image, mask or annotation files: type, size, values, what they look like or hold, what reads them.

    Examples: maskwright doctor teeth/masks/a.png teeth/images/a.jpg · maskwright doctor export/instances.json

    Args:
        files: images or masks of any type, or annotations (JSON, XML, CSV); for a folder use `maskwright audit`.
        json: write the same as JSON to stdout.
    """
    from maskwright.audit.doctor import examine

    if not files:
        raise DataError(problem("a file", "none", where="the command line", next_move="maskwright doctor FILE"))
    found = []
    for path in files:
        found.append(examine(path))
        say(_block(found[-1]))
    result([_plain(d) for d in found], as_json=json)
    if faults := [d.fault for d in found if d.fault is not None]:
        rest = f" ({len(found) - len(faults)} of {len(found)} can)" if len(found) > 1 else ""
        raise DataError(
            faults[0]
            if len(faults) == 1
            else problem(
                f"files that can be read{rest}",
                f"{len(faults)} that can't",
                where=", ".join(str(d.path) for d in found if d.fault is not None),
                next_move="see what is said of each above",
            )
        )


def _plain(found: Diagnosis) -> dict[str, object]:
    """Return what is said of one file with paths as text."""
    partners = [asdict(partner) | {"path": str(partner.path)} for partner in found.partners]
    export = None if found.export is None else asdict(found.export)
    if export is not None and export["folder"] is not None:
        export["folder"] = str(export["folder"])
    return asdict(found) | {"path": str(found.path), "partners": partners, "export": export}


def _block(found: Diagnosis) -> str:
    """Return what is said of one file."""
    rows: list[tuple[str, str]] = []
    if (header := found.header) is not None:
        palette = "" if header.palette is None else f" of {header.palette} colours"
        pages = f", {header.pages} pages" if header.pages > 1 else ""
        size = f"{header.width}×{header.height} pixels, {header.channels} channel(s) of {header.bits} bit"
        rows.append(("file", f"{header.format}, {header.mode}{palette}, {size}{pages}"))
    if found.orientation != 1:
        rows.append(("EXIF", f"orientation {found.orientation}"))
    if (export := found.export) is not None:
        rows.append(("file", f"annotations, as {' or '.join(export.formats)} has them"))
        rows += [("holds", ", ".join(filter(None, export.holds)))] if export.holds else []
        if export.fault is not None:
            rows.append(("whole", "no, or not readable:"))
            rows += [("", line.strip()) for line in export.fault.splitlines()]
        elif export.folder is None:
            rows.append(("note", "no folder around it is read so: put the images beside it"))
        else:
            rows.append(("reads", f"{export.rows}: maskwright audit --data {export.folder}"))
    elif found.fault is None:
        listed = found.values[:_FEW] if found.distinct > _MANY else found.values
        more = f" … and {found.distinct - len(listed)} more" if found.distinct > len(listed) else ""
        rows.append(("whole", "yes, all pixels could be read"))
        names = [f" {name}" if name else "" for name in found.names] or [""] * len(listed)
        told = [f"{value}{name} ({pixels} px)" for (value, pixels), name in zip(listed, names, strict=False)]
        rows.append(("values", ", ".join(told) + more))
    else:
        rows.append(("whole", "no, or not readable:"))
        rows += [("", line.strip()) for line in found.fault.splitlines()]
    if found.appearance is not None:
        rows.append(("looks like", f"{found.appearance.kind}: {found.appearance.why}"))
    rows += [("partner", f"{partner.path}: {partner.detail}") for partner in found.partners]
    rows += [("recipe", line) for line in found.recipe]
    if "data.classes: binary" in found.recipe:
        rows.append(("", "or on the command line: --classes binary"))
    rows += [("note", line) for line in found.advice]
    return "\n".join([str(found.path), *(f"  {name:<10}  {text}" for name, text in rows)])
