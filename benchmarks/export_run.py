"""Exports of a finished run: their masks against those of the run's own networks, and what lower precisions cost.

Each form is exported by the command. Masks are compared after the whole chain, on as many images of the run as --images
says, against the networks in float32; `as predict runs` counts against the precision that `maskwright predict` uses for
this recipe on this machine. What a precision costs is mean Dice beside float32's on images that no exported network
learned from, paired over groups.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import record
from benchmarks.record import Comparison, Row

FORMS = {"ONNX float32": ("onnx", "fp32"), "ONNX 8 bits": ("onnx", "int8"), "OpenVINO bfloat16": ("openvino", "bf16")}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks export_run", description=__doc__)
    parser.add_argument("run", type=Path, help="finished run folder")
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--only", nargs="*", default=list(FORMS), choices=list(FORMS))
    arguments = parser.parse_args()
    rows = record.read("export_run")
    for name in arguments.only:
        with tempfile.TemporaryDirectory() as folder:
            words = [str(arguments.run), "--out", str(Path(folder) / "export"), "--check", str(arguments.images)]
            words += ["--format", FORMS[name][0], "--precision", FORMS[name][1], "--json"]
            command = [sys.executable, "-m", "maskwright", "export", *words]
            manifest = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
        rows |= rows_of(f"{arguments.run.name}, {name}", manifest)
        record.write("export_run", rows, rivals=("onnx", "onnxscript", "onnxruntime", "openvino"))


def rows_of(name: str, manifest: dict[str, Any]) -> dict[str, Row]:
    """Return the row of an export's masks and, of lower precisions, that of their cost."""
    check, loss = manifest["check"], manifest["loss"]
    exact = manifest["precision"] == "fp32"
    found = {
        f"{name}: masks": Row(
            figure=check["labels_differ"],
            unit=f"share of the pixels of {check['images']} images whose category differs",
            against="the run's networks in float32",
            target=f"none whose two best categories are {check['margin']:g} or more apart" if exact else "",
            reached=check["clear_labels_differ"] == 0 if exact else None,
            details={
                "clear pixels that differ": check["clear_labels_differ"],
                "largest difference of a probability": check["largest_difference"],
                "as predict runs": {check["recipe_precision"]: check["predict_labels_differ"]},
                "runs in": manifest["runs_in"],
            },
        )
    }
    if loss is not None:
        found[f"{name}: cost"] = Row(
            figure=loss["dice"],
            unit=f"mean Dice, {loss['images']} images, {loss['part']}",
            against="float32",
            other=loss["fp32"],
            comparison=Comparison(
                kind="difference", value=loss["change"], low=loss["low"], high=loss["high"], n=loss["images"]
            ),
        )
    return found


if __name__ == "__main__":
    main()
