"""All networks and what they cost: `models`."""

from __future__ import annotations

import re
from typing import Annotated, Any

from cyclopts import Parameter

from maskwright.cli.console import progress, result, say, table
from maskwright.errors import RecipeError, UsageError, problem

_STRIDE = 32
Flag = Parameter(negative=())


def models(
    *,
    size: str = "256x256",
    kind: str | None = None,
    encoder: str | None = None,
    channels: int = 3,
    classes: int = 2,
    time: Annotated[bool, Flag] = False,
    batch: int = 2,
    json: Annotated[bool, Flag] = False,
) -> None:
    """List all networks with their parameters and multiply-adds, and with --time what a training step takes here.

    Networks with an encoder are counted with resnet18 unless --encoder names another one; the decoder's channels are
    the defaults. An encoder that doesn't fit a kind is said and left out.

    Args:
        size: of an image, as HEIGHTxWIDTH in pixels, rounded up to 32s.
        kind: only these, comma-separated.
        encoder: timm name.
        channels: of the images.
        classes: of the labels.
        time: also time training steps (forward, backward, update; float32) on the CPU.
        batch: images of a timed step.
        json: write the table as JSON to stdout.
    """
    from maskwright.models.cost import example_specs
    from maskwright.progress import track

    height, width = _sides(size)
    specs = example_specs(encoder)
    wanted = list(specs) if kind is None else [word.strip() for word in kind.split(",")]
    if unknown := [word for word in wanted if word not in specs]:
        raise UsageError(
            problem("kinds of networks", ", ".join(unknown), where="--kind", next_move=f"known: {', '.join(specs)}")
        )
    with progress():
        costs = {name: _cost(specs[name], (height, width), channels, classes, batch if time else 0)
                 for name in track(wanted, "networks")}  # fmt: skip
    rows = [{"kind": name, **cost} for name, cost in costs.items() if not isinstance(cost, str)]
    left_out = {name: cost for name, cost in costs.items() if isinstance(cost, str)}
    head = ("kind", "encoder", "parameters", "multiply-adds", *(["seconds a step"] if time else []))
    table(f"Networks for images of {height}×{width}×{channels}, {classes} categories", head, [_row(r) for r in rows])
    for name, why in left_out.items():
        say(f"{name}: {why}")
    about = {"size": [height, width], "channels": channels, "classes": classes, "batch": batch if time else None}
    result({**about, "models": rows, "left_out": left_out}, as_json=json)


def _cost(spec: Any, sides: tuple[int, int], channels: int, classes: int, batch: int) -> dict[str, Any] | str:
    """Return what a network costs, or why it can't be built."""
    from maskwright.models.cost import measure_cost

    try:
        cost = measure_cost(spec, sides, in_channels=channels, classes=classes, batch=batch)
    except RecipeError as error:
        return str(error).splitlines()[0]
    return {
        "encoder": getattr(spec, "encoder", None),
        "parameters": cost.parameters,
        "multiply_adds": cost.multiply_adds,
        "step_seconds": cost.step_seconds,
    }


def _row(row: dict[str, Any]) -> tuple[str, ...]:
    cells = (
        row["kind"],
        row["encoder"] or "–",
        f"{row['parameters'] / 1e6:.2f} M",
        f"{row['multiply_adds'] / 1e9:.2f} G",
    )
    return cells if row["step_seconds"] is None else (*cells, f"{row['step_seconds']:.2f}")


def _sides(size: str) -> tuple[int, int]:
    """Return height and width of `HxW`, in 32s."""
    found = re.fullmatch(r"(\d+)(?:[x×](\d+))?", size.strip().lower())
    if found is None or int(found[1]) == 0 or found[2] == "0":
        raise UsageError(problem("HEIGHTxWIDTH", size, where="--size", next_move="for example --size 256x512"))
    sides = [-(-int(side or found[1]) // _STRIDE) * _STRIDE for side in found.groups()]
    return sides[0], sides[1]
