"""Exported networks against the same networks in eager PyTorch, float32, channels last: forward passes on one batch.

Beside them our own bfloat16 and what OpenVINO and 8-bit integers make of it. The networks are untrained, their batch
norms measured on the batch, so that most pixels have a small margin: the hardest case for equal masks. `clear differ`
is the share of the pixels whose category differs although float32's two best are .001 or more apart.
"""

import argparse
import copy
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks import record
from benchmarks.record import Row
from benchmarks.rig import PAIRS, compare, inverse
from benchmarks.training_step import recipe_of
from maskwright.export.check import MARGIN
from maskwright.export.graphs import Probabilities, write_graph
from maskwright.export.sessions import open_session
from maskwright.export.variants import quantise, to_openvino
from maskwright.train.fit import build_module
from maskwright.types import Array

Forward = Callable[[], Array]
TARGETS = {"resnet18": 1.2, "efficientnet_b0": 1.0}
MEMBERS = 3


class Averaged(nn.Module):
    """Several networks and the mean of their probabilities, as one."""

    def __init__(self, networks: list[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(Probabilities(network) for network in networks)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        mean = torch.stack([member(images) for member in self.members]).mean(0)
        return mean.clamp_min(1e-12).log()  # the graph's own softmax gives the mean back


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks export", description=__doc__)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--only", default="", help="rows whose name contains this")
    arguments = parser.parse_args()
    rows = record.read("export")
    stack = torch.randn(arguments.batch, 3, arguments.side, arguments.side, generator=torch.Generator().manual_seed(0))
    with tempfile.TemporaryDirectory() as folder:
        for encoder, target in TARGETS.items():
            network = warmed(encoder, stack)
            eager = eager_of(network, stack, torch.float32)
            for name, make in variants(network, stack, Path(folder) / encoder).items():
                key = f"{name}: {encoder} U-Net, {arguments.batch} × {arguments.side}²"
                if arguments.only in key:
                    rows[key] = row_of(make(), eager, arguments.batch, target if name == "ONNX float32" else None)
        key = f"one graph of {MEMBERS} members: resnet18 U-Net, {arguments.batch} × {arguments.side}²"
        if arguments.only in key:
            rows[key] = together_row(stack, Path(folder))
    record.write("export", rows, rivals=("onnx", "onnxscript", "onnxruntime", "openvino"))


def warmed(encoder: str, stack: torch.Tensor) -> nn.Module:
    """Return a network in evaluation mode whose batch norms have seen the batch."""
    channels = "[256, 128, 64, 32, 16]"
    recipe = recipe_of(encoder, channels, 2, 64, precision="float32", steps=1)
    network: nn.Module = build_module(recipe, 0).step.network.train()
    with torch.no_grad():
        for _ in range(20):
            network(stack[:, :, :128, :128])
    return network.eval().requires_grad_(False)


def eager_of(network: nn.Module, stack: torch.Tensor, precision: torch.dtype) -> Forward:
    """Return the forward pass in PyTorch, channels last, with the softmax."""
    module = copy.deepcopy(network).to(memory_format=torch.channels_last)
    images = stack.contiguous(memory_format=torch.channels_last)

    def forward() -> Array:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
            found: Array = module(images).float().softmax(1).numpy()
            return found

    return forward


def variants(network: nn.Module, stack: torch.Tensor, base: Path) -> dict[str, Callable[[], Forward]]:
    """Return what is compared, by name; each is made when it is called."""
    images = np.ascontiguousarray(stack.numpy())
    base.mkdir()

    def opened(name: str, form: str, precision: str) -> Forward:
        session = open_session(base / name, form, precision)  # type: ignore[arg-type]
        return lambda: session.run(images)

    def onnx() -> Forward:
        if not (base / "a.onnx").is_file():
            write_graph(network, base / "a.onnx", channels=3, fixed=None)
        return opened("a.onnx", "onnx", "fp32")

    def int8() -> Forward:
        onnx()
        quantise(base / "a.onnx", base / "int8.onnx", [images[:1]])
        return opened("int8.onnx", "onnx", "int8")

    def openvino(precision: str) -> Forward:
        onnx()
        to_openvino(base / "a.onnx", base / "a.xml")
        return opened("a.xml", "openvino", precision)

    return {
        "ONNX float32": onnx,
        "our bfloat16": lambda: eager_of(network, stack, torch.bfloat16),
        "ONNX 8 bits": int8,
        "OpenVINO float32": lambda: openvino("fp32"),
        "OpenVINO bfloat16": lambda: openvino("bf16"),
    }


def row_of(ours: Forward, eager: Forward, batch: int, target: float | None) -> Row:
    """Return the speed and how far the probabilities and masks are apart."""
    found, expected = ours(), eager()
    differ = found.argmax(1) != expected.argmax(1)
    top = np.partition(expected, -2, axis=1)
    clear = differ & (top[:, -1] - top[:, -2] >= MARGIN)
    took, other, times = compare(ours, eager, pairs=PAIRS)
    speed = inverse(times)
    reached = None
    if target is not None:
        reached = bool(speed.value >= target and not clear.any())
    return Row(
        figure=batch / took,
        unit="images/s",
        against="eager float32, channels last",
        other=batch / other,
        comparison=speed,
        target="" if target is None else f"≥ {target} ×, masks differing only where the margin is under .001",
        reached=reached,
        details={
            "threads": torch.get_num_threads(),
            "largest difference": float(np.abs(found - expected).max()),
            "masks differ": float(differ.mean()),
            "clear differ": float(clear.mean()),
        },
    )


def together_row(stack: torch.Tensor, folder: Path) -> Row:
    """Return what one graph of several networks takes against a call of each."""
    networks, images = [warmed("resnet18", stack) for _ in range(MEMBERS)], np.ascontiguousarray(stack.numpy())
    for number, network in enumerate(networks):
        write_graph(network, folder / f"{number}.onnx", channels=3, fixed=None)
    write_graph(Averaged(networks), folder / "all.onnx", channels=3, fixed=None)
    alone = [open_session(folder / f"{number}.onnx", "onnx", "fp32") for number in range(MEMBERS)]
    whole = open_session(folder / "all.onnx", "onnx", "fp32")
    took, other, times = compare(
        lambda: whole.run(images), lambda: sum(session.run(images) for session in alone), pairs=PAIRS
    )
    return Row(
        figure=len(stack) / took,
        unit="images/s",
        against="a graph each",
        other=len(stack) / other,
        comparison=inverse(times),
        details={"threads": torch.get_num_threads()},
    )
