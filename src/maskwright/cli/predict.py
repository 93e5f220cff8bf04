"""New images: `predict`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from maskwright.artifacts import RunFolder, is_export, read_json
from maskwright.cli.console import progress, result, say
from maskwright.cli.finished import checkpoints, refuse
from maskwright.errors import UsageError, problem
from maskwright.recipe import apply_settings, load_recipe

if TYPE_CHECKING:
    from maskwright.predict import Shard

Flag = Parameter(negative=())


def predict(
    run: Path,
    images: Path,
    *,
    out: Path,
    settings: Annotated[tuple[str, ...], Parameter(name=["--set"], negative=())] = (),
    checkpoint: Literal["last", "best", "topk"] | None = None,
    overlays: Annotated[bool, Flag] = False,
    probabilities: Annotated[bool, Flag] = False,
    uncertainty: Annotated[bool, Flag] = False,
    shards: int | None = None,
    shard: int | None = None,
    redo: Annotated[bool, Flag] = False,
    json: Annotated[bool, Flag] = False,
) -> None:
    """Predict new images with the networks of a run, or of several fused: an index PNG with category ids for each.

    The mean of all folds' networks, with the run's post-processing. Images that have their label file already are
    passed over, so the same command goes on after an interruption. TIFFs too large for the memory go by windows.

    Examples: maskwright predict runs/teeth photos --out labels --uncertainty
              maskwright predict runs/teeth archive --out labels --shards 20 --shard 7

    Args:
        run: run folder, or a folder that `maskwright fuse` or `maskwright export` made; the last needs no torch.
        images: folder of images, or one image.
        out: folder for the label files.
        settings: any field of the recipe's predict section, such as predict.tile=512 or predict.never=[water].
        checkpoint: which checkpoint of each fold (default: the recipe's); topk: the mean of those that train.keep kept.
        overlays: also write pictures with the labels drawn over the images.
        probabilities: also write the probability maps.
        uncertainty: also write maps of the entropy and, of several networks, of their disagreement (0 certain, 255 as
            uncertain as can be), and predictions.parquet with their means, a row an image.
        shards: predict one of so many parts of the images, and write its rows to predictions-K-of-N.parquet; all parts
            may be predicted at the same time, on machines that share the folder.
        shard: which part, from 1 on.
        redo: replace label files in the folder that were made by another run or with other settings.
        json: write the list of files as JSON to stdout.
    """
    from maskwright.predict import predict_folder

    source, chain, spec = _source(run, settings, checkpoint)
    with progress():
        files = predict_folder(
            source,
            images,
            out,
            spec=spec,
            chain=chain,
            overlays=overlays,
            probabilities=probabilities,
            uncertainty=uncertainty,
            shard=_shard(shards, shard),
            redo=redo,
        )
    say(f"{len(files)} label files in {out}")
    result({"files": [str(f) for f in files]}, as_json=json)


def _source(run: Path, settings: tuple[str, ...], checkpoint: str | None) -> tuple[Any, Any, Any]:
    """Return what predicts, the chain, and the section of the recipe where one decides."""
    folder = RunFolder(run)
    given = {"--checkpoint": checkpoint, "--set": settings or None}
    if folder.fused.is_file():
        from maskwright.pipeline.fuse import load_fused

        refuse(given, "leave it out: the weights were fitted with each run's own", "fused runs")
        return (*load_fused(folder), None)
    if is_export(run):
        from maskwright.export.runner import Runner

        refuse(given, "leave it out: manifest.json says what was exported", "an export")
        runner = Runner(run)
        return runner.source(), runner.manifest.chain, None
    from maskwright.pipeline.stages import read_chain

    recipe = apply_settings(load_recipe(folder.recipe), _of_predict(settings))
    chain = read_chain(read_json(folder.tuned)["chain"]) if folder.tuned.is_file() else ()
    return checkpoints(folder, checkpoint or recipe.predict.checkpoint), chain, recipe.predict


def _of_predict(settings: tuple[str, ...]) -> list[str]:
    if other := [text for text in settings if not text.startswith("predict.")]:
        next_move = "other fields decide how networks are trained, tuned and scored: maskwright run --recipe"
        raise UsageError(problem("fields predict.*", ", ".join(other), where="--set", next_move=next_move))
    return list(settings)


def _shard(count: int | None, number: int | None) -> Shard | None:
    from maskwright.predict import Shard

    if count is None and number is None:
        return None
    if count is None or number is None:
        next_move = "give both, as --shards 20 --shard 7"
        got = "--shards alone" if number is None else "--shard alone"
        raise UsageError(problem("--shards N and --shard K", got, where="predict", next_move=next_move))
    return Shard(number, count)
