"""Graphs made cheaper: 8-bit integers by onnxruntime's static quantisation, and OpenVINO's own form."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from maskwright.doors import need
from maskwright.export.manifest import INPUT
from maskwright.types import Array


def quantise(source: Path, target: Path, images: Iterable[Array]) -> None:
    """Write a graph whose convolutions and matrix products take 8-bit integers.

    Weights: signed, one scale a channel, symmetric. Activations: unsigned, one scale a tensor, from the least and the
    largest value that the images give (onnxruntime's MinMax). The softmax stays in float32.

    Args:
        source: graph in float32.
        target: the file to write.
        images: (1, C, H, W) standardised float32, padded: what the ranges are measured on.
    """
    tools: Any = need("onnxruntime.quantization", "export")
    shapes: Any = need("onnxruntime.quantization.shape_inference", "export")
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), _quiet():
        warnings.simplefilter("ignore")
        fused = Path(folder) / "fused.onnx"
        shapes.quant_pre_process(str(source), str(fused), skip_symbolic_shape=True)  # batch norms into convolutions
        tools.quantize_static(
            str(fused),
            str(target),
            _reader(tools, images),
            quant_format=tools.QuantFormat.QDQ,
            op_types_to_quantize=["Conv", "ConvTranspose", "MatMul", "Gemm", "Add", "Concat", "MaxPool"],
            per_channel=True,
            activation_type=tools.QuantType.QUInt8,
            weight_type=tools.QuantType.QInt8,
            calibrate_method=tools.CalibrationMethod.MinMax,
        )


def to_openvino(source: Path, target: Path) -> None:
    """Write a graph in OpenVINO's form, target.xml and .bin; weights stay in float32."""
    openvino: Any = need("openvino", "openvino")
    openvino.save_model(openvino.convert_model(str(source)), str(target), compress_to_fp16=False)


def _reader(tools: Any, images: Iterable[Array]) -> Any:
    """Return onnxruntime's reader of calibration data."""

    class Reader(tools.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = iter(images)

        def get_next(self) -> dict[str, Array] | None:
            image = next(self.left, None)
            return None if image is None else {INPUT: image}

    return Reader()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep onnxruntime's advice on pre-processing, which was followed, from the root logger."""
    level = logging.getLogger().level
    logging.getLogger().setLevel(logging.ERROR)
    try:
        yield
    finally:
        logging.getLogger().setLevel(level)


def spread(count: int, of: int) -> Iterator[int]:
    """Yield at most `count` places of a list of `of`, evenly spaced."""
    most = min(count, of)
    for k in range(most):
        yield (2 * k + 1) * of // (2 * most)
