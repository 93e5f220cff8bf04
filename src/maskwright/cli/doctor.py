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
    """Explain image or mask files: type, size, depth, values, what they look like, their partners, what reads them.

    Examples: maskwright doctor teeth/masks/a.png teeth/images/a.jpg

    Args:
        files: images or masks of any type; for a folder use `maskwright audit`.
        json: write the same as JSON to stdout.
    """
    from maskwright.audit.doctor import examine

    if not files:
        raise DataError(problem("a file", "none", where="the command line", next_move="maskwright doctor FILE"))
    found = []
    for path in files:
        found.append(examine(path))
        say(_block(found[-1]))
    result([asdict(d) | {"path": str(d.path), "partners": _plain(d)} for d in found], as_json=json)
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


def _plain(found: Diagnosis) -> list[dict[str, object]]:
    return [asdict(partner) | {"path": str(partner.path)} for partner in found.partners]


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
    if found.fault is None:
        listed = found.values[:_FEW] if found.distinct > _MANY else found.values
        more = f" … and {found.distinct - len(listed)} more" if found.distinct > len(listed) else ""
        rows.append(("whole", "yes, all pixels could be read"))
        rows.append(("values", ", ".join(f"{value} ({pixels} px)" for value, pixels in listed) + more))
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
