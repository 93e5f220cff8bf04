"""`maskwright serve` under 20 concurrent clients: nothing lost, memory flat, latency.

A network without training, exported once; the service runs in a process of its own, as the command starts it. Clients
send whole images one after the other and compare each answer with the runner's own.
"""

import argparse
import http.client
import io
import json
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks import record
from benchmarks.predict import images
from benchmarks.record import Row
from benchmarks.training_step import recipe_of
from maskwright.data.categories import to_ids
from maskwright.data.images import read_image
from maskwright.data.intensity import Intensity
from maskwright.export.graphs import write_graph
from maskwright.export.manifest import SCHEMA, GraphSpec, Manifest, sha256, write_manifest
from maskwright.export.runner import Runner
from maskwright.recipe.predict import PredictSpec
from maskwright.train.fit import build_module

CLIENTS = 20
GROWTH = 0.05


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks serve", description=__doc__)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--encoder", default="resnet10t")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        make_export(folder / "export", arguments.encoder)
        files = [path for _, path in images(folder, 6)]
        runner = Runner(folder / "export")
        expected = {path: to_ids(runner.label(read_image(path)), runner.categories) for path in files}
        del runner
        row = measure(folder / "export", expected, arguments.seconds)
    record.write("serve", {f"{arguments.encoder} U-Net, 512², {CLIENTS} clients": row}, rivals=("onnxruntime",))


def make_export(out: Path, encoder: str) -> None:
    """Write an export of an untrained network."""
    recipe = recipe_of(encoder, "[64, 32, 16, 16, 8]", 2, 64, precision="float32", steps=1)
    torch.manual_seed(0)
    out.mkdir()
    network = build_module(recipe, 0).step.network.eval()
    shape = write_graph(network, out / "a.onnx", channels=3, fixed=None)
    intensity, categories = Intensity.of(recipe.data), recipe.data.to_categories()
    graph = GraphSpec(
        file="a.onnx", sha256={"a.onnx": sha256(out / "a.onnx")}, fold=0, checkpoint="none", checkpoint_sha256=""
    )
    tree = {
        "schema": SCHEMA,
        "maskwright": "none",
        "versions": {},
        "made": "now",
        "format": "onnx",
        "precision": "fp32",
        "runs_in": "onnxruntime",
        "graphs": [graph.model_dump()],
        **vars(intensity),
        "scale": 1.0,
        "multiple": 32,
        "smallest": shape.smallest,
        "fixed_size": shape.size,
        "fixed_batch": shape.batch,
        "predict": PredictSpec(tta=("identity",)).model_dump(mode="json"),
        "chain": [],
        "categories": [{"id": c.id, "name": c.name, "color": c.color, "isthing": c.isthing} for c in categories.items],
        "left_out": [],
        "licence": "none",
    }
    write_manifest(out, Manifest.model_validate(tree))


def measure(export: Path, expected: dict[Path, np.ndarray], seconds: float) -> Row:
    """Return latencies, what was lost, and the service's memory at the start and at the end."""
    command = [sys.executable, "-m", "maskwright", "serve", str(export), "--port", "0", "--waiting", str(2 * CLIENTS)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    line = process.stderr.readline()
    found = re.search(r":(\d+) ", line)
    assert found, line
    port, latencies, wrong = int(found[1]), list[float](), list[str]()
    time.sleep(1)
    for path, label in expected.items():
        check(port, path, label, latencies, wrong)
    run_clients(port, expected, 5, latencies, wrong)  # every buffer is there
    latencies.clear()
    start = memory(process.pid)
    begun = time.perf_counter()
    run_clients(port, expected, seconds, latencies, wrong)
    took, end = time.perf_counter() - begun, memory(process.pid)
    health = ask(port, "/health", None)
    process.send_signal(signal.SIGTERM)
    code = process.wait(60)
    growth = end / start - 1
    millis = np.array(latencies) * 1e3
    return Row(
        figure=float(np.median(millis)),
        unit="ms median latency",
        target=f"nothing lost in {seconds:g} s, memory grows by at most {GROWTH:.0%}",
        reached=not wrong and growth <= GROWTH and code == 0,
        details={
            "p99 ms": float(np.percentile(millis, 99)),
            "requests": len(latencies),
            "images a second": len(latencies) / took,
            "lost or wrong": len(wrong),
            "first of them": wrong[:1],
            "MiB at the start": round(start / 2**20, 1),
            "MiB at the end": round(end / 2**20, 1),
            "exit code after SIGTERM": code,
            "health": json.loads(health[1]),
        },
    )


def run_clients(
    port: int, expected: dict[Path, np.ndarray], seconds: float, latencies: list[float], wrong: list[str]
) -> None:
    """Let all clients ask until the time is over."""
    until, items = time.monotonic() + seconds, list(expected.items())

    def client(number: int) -> None:
        turn = number
        while time.monotonic() < until:
            check(port, *items[turn % len(items)], latencies, wrong)
            turn += 1

    threads = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def check(port: int, path: Path, expected: np.ndarray, latencies: list[float], wrong: list[str]) -> None:
    """Send an image, note how long the answer took, and whether it was the right one."""
    data = path.read_bytes()
    started = time.perf_counter()
    try:
        status, body = ask(port, "/predict", data)
    except OSError as error:
        wrong.append(repr(error))
        return
    latencies.append(time.perf_counter() - started)
    if status != 200:
        wrong.append(f"{status}: {body[:200]!r}")
    elif not np.array_equal(np.asarray(Image.open(io.BytesIO(body))), expected):
        wrong.append(f"another mask for {path.name}")


def ask(port: int, path: str, body: bytes | None) -> tuple[int, bytes]:
    """Return status and body of the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        connection.request("GET" if body is None else "POST", path, body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def memory(process: int) -> int:
    """Return the resident bytes of a process."""
    text = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    found = re.search(r"VmRSS:\s+(\d+) kB", text)
    assert found
    return int(found[1]) * 1024
