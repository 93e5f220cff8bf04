"""Pretrained weights on this machine: `weights fetch`, `list`, `bundle`, `add`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import cyclopts
from cyclopts import Parameter

from maskwright.cli.console import progress, result, say, table
from maskwright.errors import UsageError, problem

Flag = Parameter(negative=())

weights = cyclopts.App(
    name="weights",
    help="""Bring pretrained weights of encoders onto this machine, and list them.

    `fetch` is the only thing in maskwright that goes to a network. For a machine without one: `bundle` on a machine
    that has one, carry the file, `add` it there. Everything lies in Hugging Face's own cache (HF_HOME).""",
    help_format="plaintext",
)


@weights.command
def fetch(
    *names: str,
    source: Annotated[str | None, Parameter(name="--from")] = None,
    json: Annotated[bool, Flag] = False,
) -> None:
    """Bring the pretrained weights of encoders into the cache.

    Examples: maskwright weights fetch resnet18 efficientnet_b3 hf:facebook/sam-vit-base

    Args:
        names: of timm, or hf:OWNER/NAME.
        source: address of a mirror of Hugging Face's hub or of a file; or a file, or a folder of files or of a cache.
        json: write the paths as JSON to stdout.
    """
    from maskwright.models import hub

    _check_named(names, "fetch")
    with progress():
        paths = {name: hub.fetch(name, source) for name in names}
    for name, path in paths.items():
        say(f"{name}: {path}")
    result({"weights": paths}, as_json=json)


@weights.command(name="list")
def list_(*, json: Annotated[bool, Flag] = False) -> None:
    """List the weights in the cache.

    Args:
        json: write the list as JSON to stdout.
    """
    from maskwright.models import hub

    found = hub.list_cached()
    rows = [(item.repository, f"{item.size / 1e6:.1f} MB", str(item.path)) for item in found]
    table(f"Weights in {hub.cache_folder()}", ("weights", "size", "file"), rows)
    result({"folder": str(hub.cache_folder()), "weights": hub.describe_cached(found)}, as_json=json)


@weights.command
def bundle(*names: str, out: Path, json: Annotated[bool, Flag] = False) -> None:
    """Pack cached weights into one file for a machine without a network.

    Args:
        names: of encoders whose weights are cached.
        out: file to write.
        json: write what was packed as JSON to stdout.
    """
    from maskwright.models import hub

    _check_named(names, "bundle")
    with progress():
        items = hub.bundle(names, out)
    say(f"{len(items)} file(s) of weights in {out}; on the other machine: maskwright weights add {out.name}")
    result({"file": str(out), "weights": hub.describe_cached(items)}, as_json=json)


@weights.command
def add(file: Path, *, json: Annotated[bool, Flag] = False) -> None:
    """Unpack a file that `weights bundle` wrote into the cache.

    Args:
        file: the bundle.
        json: write the paths as JSON to stdout.
    """
    from maskwright.models import hub

    with progress():
        paths = hub.add(file)
    for path in paths:
        say(str(path))
    result({"weights": paths}, as_json=json)


def _check_named(names: tuple[str, ...], command: str) -> None:
    if not names:
        next_move = f"maskwright weights {command} resnet18"
        raise UsageError(problem("names of encoders", "none", where="the command line", next_move=next_move))
