"""A graph file opened by a runtime: standardised images in, probabilities out. Imports without torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from maskwright.doors import need
from maskwright.errors import DataError, problem
from maskwright.export.manifest import INPUT, OUTPUT, Format, Precision
from maskwright.types import Array, Probabilities

_HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}
"""What OpenVINO is told: left alone, it takes bf16 where the processor has it."""


class Session(NamedTuple):
    """A graph that is ready; calls from several threads at once are allowed.

    Attributes:
        run: (N, C, H, W) standardised float32 → (N, K, H, W) float32, summing to 1 over K.
        runs_in: the arithmetic that the runtime says it uses.
    """

    run: Callable[[Array], Probabilities]
    runs_in: str


def open_session(path: Path, form: Format, precision: Precision, *, threads: int | None = None) -> Session:
    """Open a graph.

    Args:
        path: of the graph.
        form: of the file.
        precision: that it was exported for.
        threads: of one call; None: what the runtime finds right, one a core.

    Raises:
        UsageError: the runtime isn't installed.
        DataError: the runtime can't read the file, or can't compute in this precision here.
    """
    try:
        if form == "openvino":
            return _open_openvino(path, precision, threads)
        return _open_onnx(path, precision, threads)
    except RuntimeError as error:  # the base of both runtimes' own errors
        raise DataError(
            problem(
                f"a graph that {'openvino' if form == 'openvino' else 'onnxruntime'} reads",
                " ".join(str(error).split())[:300],
                where=str(path),
                next_move="export again with the versions that are installed here",
            )
        ) from None


def _open_onnx(path: Path, precision: Precision, threads: int | None) -> Session:
    runtime: Any = need("onnxruntime", "export")
    options = runtime.SessionOptions()
    options.log_severity_level = 3  # errors
    if threads is not None:
        options.intra_op_num_threads = threads
    wanted = ("CUDAExecutionProvider", "CPUExecutionProvider")
    providers = [name for name in wanted if name in runtime.get_available_providers()]
    try:
        session = runtime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # its errors have no base of their own
        raise RuntimeError(str(error)) from None
    place = session.get_providers()[0].removesuffix("ExecutionProvider").lower()

    def run(images: Array) -> Probabilities:
        found: Probabilities = session.run([OUTPUT], {INPUT: images})[0]
        return found

    arithmetic = "8-bit integers where quantised, else float32" if precision == "int8" else "float32"
    return Session(run, f"{arithmetic}, onnxruntime {runtime.__version__} on {place}")


def _open_openvino(path: Path, precision: Precision, threads: int | None) -> Session:
    openvino: Any = need("openvino", "openvino")
    core = openvino.Core()
    settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": _HINTS[precision], "PERFORMANCE_HINT": "LATENCY"}
    if threads is not None:
        settings["INFERENCE_NUM_THREADS"] = threads
    if precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise RuntimeError("this processor has no bfloat16 arithmetic")
    compiled = core.compile_model(core.read_model(str(path)), "CPU", settings)
    real = str(compiled.get_property("INFERENCE_PRECISION_HINT").to_string())

    def run(images: Array) -> Probabilities:
        request = compiled.create_infer_request()
        found: Probabilities = request.infer({INPUT: images})[OUTPUT]
        return found

    said = {"f32": "float32", "bf16": "bfloat16", "f16": "float16"}.get(real, real)
    arithmetic = f"8-bit integers where quantised, else {said}" if precision == "int8" else said
    return Session(run, f"{arithmetic}, openvino {openvino.__version__.split('-')[0]} on cpu")
