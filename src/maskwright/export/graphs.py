"""A network as an ONNX graph: standardised images in, probabilities out, for any number and size where that works."""

from __future__ import annotations

import copy
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from maskwright.doors import need
from maskwright.errors import DataError, problem
from maskwright.export.manifest import INPUT, OUTPUT
from maskwright.export.sessions import open_session
from maskwright.inference import STRIDE

CLOSE = 1e-3
"""By which a probability of a graph may differ from the network's."""
_COLORS = re.compile(r"\x1b\[[0-9;]*m")
_LARGEST = 1_900_000_000
"""Bytes of weights up to which they are a part of the graph's file; protobuf ends at 2 GiB."""


@dataclass(frozen=True)
class Shape:
    """What a graph takes.

    Attributes:
        size: (height, width) if it takes no other; None: any multiple of `STRIDE`, from `smallest` on.
        batch: number of images if it takes no other; None: any.
        smallest: sides below are padded by repeating the border.
    """

    size: tuple[int, int] | None
    batch: int | None
    smallest: int


class Probabilities(nn.Module):
    """A network and the softmax behind it, in float32 whatever the network's arithmetic."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return (N, K, H, W) of (N, C, H, W)."""
        logits: torch.Tensor = self.network(images)
        return logits.float().softmax(1)


def write_graph(network: nn.Module, path: Path, *, channels: int, fixed: tuple[int, int] | None) -> Shape:
    """Write a network as ONNX and see that onnxruntime computes what it does.

    Tried in this order, until one can be written and gives the network's numbers: any number of images of any size;
    any number of one size; one image of one size.

    Args:
        network: in evaluation mode.
        path: of the graph; weights of 1.9 GB and more lie beside it.
        channels: of the images.
        fixed: (height, width) that will do if not every size does; None: every size has to.

    Raises:
        DataError: none can; says what each came to.
        UsageError: a package is missing.
    """
    for package in ("onnx", "onnxscript", "onnxruntime"):
        need(package, "export")
    bare = copy.deepcopy(network).to(device="cpu", memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    module = Probabilities(bare.float()).eval()
    failures = []
    for shape in _shapes(network, fixed):
        try:
            _write(module, path, shape, channels)
            _verify(module, path, shape, channels)
        except Exception as error:  # exporters raise whatever they meet
            failures.append(f"{_told(shape)}: {_line(error)}")
            continue
        return shape
    raise DataError(
        problem(
            "a network that can be written as ONNX",
            "one that can't:" + "".join(f"\n    {line}" for line in failures),
            where=type(network).__name__,
            next_move="take another kind of network, or bring all images of the run to one size (train.scale=[H, W])",
        )
    )


def _shapes(network: nn.Module, fixed: tuple[int, int] | None) -> Iterator[Shape]:
    smallest = int(getattr(network, "smallest", STRIDE))
    yield Shape(None, None, smallest)
    if fixed is not None:
        yield Shape(fixed, None, smallest)
        yield Shape(fixed, 1, smallest)


def _write(module: nn.Module, path: Path, shape: Shape, channels: int) -> None:
    dimensions: dict[int, Any] = {}
    if shape.batch is None:
        dimensions[0] = torch.export.Dim("n", min=1, max=4096)
    if shape.size is None:
        least, most = shape.smallest // STRIDE, 4096
        dimensions[2] = STRIDE * torch.export.Dim("h", min=least, max=most)
        dimensions[3] = STRIDE * torch.export.Dim("w", min=least, max=most)
    example = _example(shape, channels, count=shape.batch or 2, steps=(4, 5))
    with warnings.catch_warnings(), torch.no_grad(), _Pooling():
        warnings.simplefilter("ignore")  # deprecations inside the exporter; `_verify` looks at the numbers
        program = torch.onnx.export(
            module,
            (example,),
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=(dimensions,) if dimensions else None,
            dynamo=True,
            optimize=True,
            verbose=False,
        )
    assert program is not None
    size = sum(p.numel() * p.element_size() for p in (*module.parameters(), *module.buffers()))
    program.save(path, external_data=size > _LARGEST)


def _verify(module: nn.Module, path: Path, shape: Shape, channels: int) -> None:
    """Raise ValueError if onnxruntime gives other probabilities, for another number and size than those traced."""
    session = open_session(path, "onnx", "fp32")
    images = _example(shape, channels, count=shape.batch or 1, steps=(5, 6))
    with torch.inference_mode():
        expected = module(images).numpy()
    found = session.run(images.numpy())
    if found.shape != expected.shape or not (difference := float(np.abs(found - expected).max())) <= CLOSE:
        got = found.shape if found.shape != expected.shape else f"differ by {difference:.2g}"
        raise ValueError(f"expected the network's probabilities {expected.shape}, got {got}")


_POOLINGS = (functional.adaptive_avg_pool2d, torch._C._nn.adaptive_avg_pool2d)
"""As modules and networks call it, and what that calls."""


class _Pooling(TorchFunctionMode):
    """Adaptive mean pooling as two matrix products, whose matrices follow the size; the exporter's own is for one."""

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        options = kwargs or {}
        if function in _POOLINGS:
            return _pooled(*args, **options)
        if function is functional.interpolate and options.get("mode") == "area" and options.get("size") is not None:
            return _pooled(args[0], options["size"])  # the same sums
        return function(*args, **options)


def _pooled(maps: torch.Tensor, output_size: int | tuple[int | None, int | None]) -> torch.Tensor:
    cells = (output_size, output_size) if isinstance(output_size, int) else output_size
    if cells == (1, 1):
        return maps.mean((2, 3), keepdim=True)
    rows, columns = (_cell_means(side, count or side) for side, count in zip(maps.shape[2:], cells, strict=True))
    return rows @ maps @ columns.T


def _cell_means(side: int, count: int) -> torch.Tensor:
    """Return (count, side): row i averages the pixels from ⌊i · side / count⌋ to below ⌈(i + 1) · side / count⌉."""
    pixels, cells = torch.arange(side), torch.arange(count)
    starts, ends = cells * side // count, ((cells + 1) * side + count - 1) // count
    inside = ((pixels >= starts[:, None]) & (pixels < ends[:, None])).float()
    return inside / inside.sum(1, keepdim=True)


def _example(shape: Shape, channels: int, *, count: int, steps: tuple[int, int]) -> torch.Tensor:
    """Return standardised noise of a size that the shape allows."""
    sides = shape.size or tuple(max(shape.smallest, STRIDE * n) for n in steps)
    return torch.randn(count, channels, *sides, generator=torch.Generator().manual_seed(0))


def _told(shape: Shape) -> str:
    size = "any size" if shape.size is None else f"{shape.size[0]} × {shape.size[1]}"
    return f"{'any number of images' if shape.batch is None else f'{shape.batch} image(s)'}, {size}"


def _line(error: BaseException) -> str:
    """Return what an exporter failed at first, in a line: the errors around it tell how its steps are called."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in _COLORS.sub("", str(error)).splitlines() if line.strip()]
    return f"{type(error).__name__}: {' '.join(lines)[:300]}"
