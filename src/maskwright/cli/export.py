"""Networks as files that need no torch: `export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from maskwright.artifacts import RunFolder
from maskwright.cli.console import progress, result, say
from maskwright.errors import UsageError, problem

if TYPE_CHECKING:
    from maskwright.export.manifest import Manifest

Flag = Parameter(negative=())


def export(
    run: Path,
    *,
    out: Path,
    format: Literal["onnx", "openvino"] = "onnx",
    precision: Literal["fp32", "bf16", "int8"] = "fp32",
    members: Annotated[list[int] | None, Parameter(consume_multiple=True, negative=())] = None,
    checkpoint: Literal["last", "best", "topk"] | None = None,
    check: int = 8,
    redo: Annotated[bool, Flag] = False,
    json: Annotated[bool, Flag] = False,
) -> None:
    """Write the networks of a run as files that onnxruntime or OpenVINO runs, without torch.

    A folder of one graph a fold, and manifest.json with all that stands around them: value range, mean and deviation,
    scale, tiles, views, post-processing, categories. It takes the run's place: maskwright predict FOLDER IMAGES, and
    maskwright serve FOLDER. At the end it is compared with the run on some of its images; one that gives other
    probabilities than the run's networks in float32 (by more than .001) is an error, and nothing is left.

    Lower precisions state what they cost: mean Dice against float32, on the held-out part, else out-of-fold.

    Args:
        run: run folder.
        out: new folder.
        format: onnx is run by onnxruntime, openvino by OpenVINO.
        precision: fp32; bf16 (format openvino, on processors that have it); int8, measured on 16 training images.
        members: folds whose networks are exported and averaged (default: all).
        checkpoint: which checkpoint of each fold (default: the recipe's).
        check: images of the run that are compared; 0: none, and nothing is said of a lower precision's cost.
        redo: replace an export in that folder.
        json: write the manifest as JSON to stdout.
    """
    from maskwright.cli.finished import checkpoints, say_categories_alone
    from maskwright.export.write import export_run

    folder = RunFolder(run)
    if folder.fused.is_file():
        next_move = "export its runs one by one"
        raise UsageError(problem("the folder of one run", "one of fused runs", where=str(run), next_move=next_move))
    checkpoints(folder, "last")
    say_categories_alone(folder, "exported")
    with progress():
        manifest = export_run(
            run,
            out,
            form=format,
            precision=precision,
            members=members,
            checkpoint=checkpoint,
            images=check,
            redo=redo,
        )
    _tell(manifest)
    say(f"{len(manifest.graphs)} graph(s) and manifest.json in {out}\nlicence: {manifest.licence}")
    result(manifest.model_dump(mode="json", by_alias=True), as_json=json)


def _tell(manifest: Manifest) -> None:
    """Print what the check and the loss came to."""
    say(f"runs in {manifest.runs_in}")
    if manifest.fixed_size is not None:
        say(f"fixed to images of {manifest.fixed_size[0]} × {manifest.fixed_size[1]} at working size")
    if (check := manifest.check) is not None:
        bound = "" if check.bound is None else f" (bound {check.bound:g})"
        say(
            f"checked on {check.images} images of the run: probabilities at most {check.largest_difference:.2g} from "
            f"torch's in float32{bound}; {check.labels_differ:.4%} of the pixels have another category, "
            f"{check.clear_labels_differ:.4%} where the margin is {check.margin:g} or more"
        )
        if check.recipe_precision != "float32":
            say(
                f"the recipe predicts in {check.recipe_precision}: against that, {check.predict_labels_differ:.4%} of "
                "the pixels have another category"
            )
    if (loss := manifest.loss) is not None:
        where = {"holdout": "held-out", "oof": "out-of-fold", "training": "training"}[loss.part]
        say(
            f"mean Dice of {loss.images} {where} images: {loss.dice:.4f}, float32 {loss.fp32:.4f}, "
            f"change {loss.change:+.4f} [{loss.low:+.4f}, {loss.high:+.4f}]"
        )
