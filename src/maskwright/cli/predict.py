"""New images: `predict`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from maskwright.artifacts import LOCK, RunFolder, is_export, read_json, write_json
from maskwright.cli.console import progress, result, say
from maskwright.cli.finished import checkpoints, recipe_of, refuse, telling_networks
from maskwright.errors import UsageError, problem
from maskwright.progress import track
from maskwright.recipe import apply_settings

if TYPE_CHECKING:
    from maskwright.predict import Shard
    from maskwright.recipe import Recipe
    from maskwright.recipe.predict import PostprocessStep
    from maskwright.types import LabelMap

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
    stream: Annotated[bool, Flag] = False,
    redo: Annotated[bool, Flag] = False,
    json: Annotated[bool, Flag] = False,
) -> None:
    """Predict new images with the networks of a run, or of several fused: an index PNG with category ids for each.

    The mean of all folds' networks, with the run's post-processing. Images that have their label file already are
    passed over, so the same command goes on after an interruption. TIFFs too large for the memory go by windows. Runs
    that tell objects apart also write instances/ (ids, with segments.csv) and panoptic/ with panoptic.json.

    Example: maskwright predict runs/teeth archive --out labels --uncertainty --shards 20 --shard 7

    Args:
        run: run folder, or a folder that `maskwright fuse` or `maskwright export` made; the last needs no torch.
        images: folder of images, or one image.
        out: folder for the label files.
        settings: any field of the recipe's predict section, such as predict.tile=512 or predict.never=[water].
        checkpoint: which checkpoint of each fold (default: the recipe's); topk: the mean of those that train.keep kept.
        overlays: also write pictures with the labels drawn over the images.
        probabilities: also write the probability maps.
        uncertainty: also write maps of entropy and, of several networks, disagreement, and their means as a table.
        shards: predict one of so many parts of the images, with a table of its own; all may run at the same time.
        shard: which part, from 1 on.
        stream: IMAGES are frames of one size, or a video file: label them one by one and say how long each takes.
        redo: replace label files in the folder that were made by another run or with other settings.
        json: write the list of files as JSON to stdout.
    """
    from maskwright.predict import predict_folder

    source, chain, recipe = _source(run, settings, checkpoint)
    flags = {"redo": redo, "overlays": overlays, "probabilities": probabilities, "uncertainty": uncertainty}
    if stream:
        given = {"shards": shards, "shard": shard} | {name: on or None for name, on in flags.items()}
        _check_stream(run, recipe, given)
        return _stream(source, images, out, recipe, chain, as_json=json)
    with progress():
        files = predict_folder(
            source,
            images,
            out,
            spec=None if recipe is None else recipe.predict,
            chain=chain,
            shard=_shard(shards, shard),
            accelerator="auto" if recipe is None else recipe.train.accelerator,
            **flags,
        )
    say(f"{len(files)} label files in {out}")
    result({"files": [str(f) for f in files]}, as_json=json)


def _source(run: Path, settings: tuple[str, ...], checkpoint: str | None) -> tuple[Any, Any, Any]:
    """Return what predicts, the chain, and the recipe where one decides."""
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
    from maskwright.tasks import check_fresh

    recipe = apply_settings(recipe_of(folder), _of_predict(settings))
    check_fresh(folder.root, "tune")
    stated = recipe.postprocess.chain or ()
    chain = read_chain(read_json(folder.tuned)["chain"]) if folder.tuned.is_file() else stated
    kind = checkpoint or recipe.predict.checkpoint
    if recipe.tells_instances:
        from maskwright.instances.source import object_source
        from maskwright.pipeline.object_ways import Ways
        from maskwright.pipeline.objectness import Judges

        tuned = read_json(folder.tuned) if folder.tuned.is_file() else {}
        judges = Judges.from_plain(tuned)
        found, judge = telling_networks(folder, recipe, kind), None if judges is None else judges.whole
        ways = Ways.from_plain(tuned, recipe.data.to_categories())
        source = object_source(found.paths, recipe, judge, middles=ways.whole, asked=found.things)
        return source, chain, recipe
    return checkpoints(folder, kind), chain, recipe


def _stream(
    checkpoints: list[Path],
    frames: Path,
    out: Path,
    recipe: Recipe,
    chain: tuple[PostprocessStep, ...],
    *,
    as_json: bool,
) -> None:
    from maskwright.predict import load_ensemble
    from maskwright.predict.files import write_label
    from maskwright.predict.stream import frames_of, predict_stream
    from maskwright.tasks import lock

    trained, files = load_ensemble(checkpoints), list[Path]()
    with lock(out):
        if standing := sorted(path.name for path in out.iterdir() if path.name != LOCK):
            next_move = "give another --out"
            raise UsageError(problem("a new folder", f"one with {standing[0]}", where=str(out), next_move=next_move))

        def write(name: str, label: LabelMap) -> None:
            files.append(out / f"{name}.png")
            write_label(files[-1], label, trained[0].categories)

        with progress():
            latency = predict_stream(
                trained,
                track(frames_of(frames), "stream"),
                recipe.predict,
                write,
                chain=chain,
                accelerator=recipe.train.accelerator,
            )
        write_json(out / "latency.json", asdict(latency))
    for line in latency.skipped:
        say(f"left out: {line}")
    say(f"{latency.frames} label files in {out}")
    say(
        f"a frame took {latency.median:.1f} ms (median), {latency.p99:.1f} ms (99th percentile), at most "
        f"{latency.longest:.1f} ms; the network {latency.network:.1f} ms; {latency.frames_per_second:.1f} frames/s"
    )
    result({"files": [str(f) for f in files], "latency": asdict(latency)}, as_json=as_json)


def _check_stream(run: Path, recipe: Recipe | None, given: dict[str, Any]) -> None:
    if recipe is not None and recipe.tells_instances:
        next_move = "predict the frames as images, without --stream"
        raise UsageError(problem("a semantic run", recipe.data.task, where="--stream", next_move=next_move))
    if named := [f"--{name}" for name, value in given.items() if value is not None]:
        next_move = "predict the frames as images, without --stream, for these"
        raise UsageError(problem("--stream alone", ", ".join(named), where="predict", next_move=next_move))
    if recipe is None:
        wanted, got = "a run folder with --stream", "fused runs or an export"
        raise UsageError(problem(wanted, got, where=str(run), next_move="name the run itself"))


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
