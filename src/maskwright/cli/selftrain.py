"""Learning from images without labels: `selftrain`."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import yaml
from cyclopts import Parameter

from maskwright.cli.console import progress, result, say
from maskwright.cli.options import RUN, Options, typed_command
from maskwright.cli.rounds import print_protocols, say_kept
from maskwright.cli.run import print_summary, say_plan, summary_of
from maskwright.data.kind import task_of
from maskwright.errors import UsageError, problem
from maskwright.recipe import Recipe, apply_settings, load_recipe
from maskwright.recipe.selftrain import PseudoLabelsSpec
from maskwright.recipe.unlabelled import OURS, OURS_LENGTH

ROUNDS = 1
"""Rounds of `selftrain` where neither --rounds nor the recipe says how many."""


def selftrain(
    options: Options = Options(),  # noqa: B008
    *,
    rounds: Annotated[int | None, Parameter(group=RUN)] = None,
    method: Annotated[str | None, Parameter(group=RUN)] = None,
    protocols: Annotated[bool, Parameter(group=RUN, negative=())] = False,
) -> None:
    """Do what `run` does, and learn from the images without masks, too, where that pays.

    After the supervised training each fold's network goes on, and learns besides from what its average makes of images
    without masks; or its labels are made beforehand (`--method pseudo_labels`), each fold's network for its own fold.
    The new networks are adopted where the interval of their out-of-fold gain lies above 0. Otherwise the supervised
    ones are delivered. It says which, and why.

    Examples: maskwright selftrain --data teeth --classes binary --minutes 8
              maskwright selftrain --data mars --rounds 2 --method pseudo_labels --set selftrain.method.pixels.value=.8
              maskwright selftrain --data camvid --method unimatch

    Args:
        options: as of `run`.
        rounds: at most so many (default 1); a round that doesn't pay is the last.
        method: pseudo_labels, or a teacher that labels while the training runs: fixmatch, unimatch, unimatch_v2,
            mean_teacher, dacs, or for a pool of another domain sac and norm_adaptation; left out, where the recipe
            doesn't say either: fixmatch with an average as the teacher, thresholds of each category and boxes;
            where objects are told apart, pseudo_labels.
        protocols: train by all four protocols instead (labelled images alone; both mixed; pretrained on pseudo-labels,
            then on real ones, or on both) and print their table.
    """
    recipe = recipe_of(options, rounds, method, protocols=protocols)
    out = options.folder(recipe)
    if protocols:
        result(_run_protocols(recipe, out, redo=options.redo), as_json=options.json)
        return
    summary = run_rounds(recipe, out, redo=options.redo)
    result(summary, as_json=options.json)


def recipe_of(options: Options, rounds: int | None, method: str | None, *, protocols: bool = False) -> Recipe:
    """Return the recipe with rounds, as many as are asked for, else as it has, else `ROUNDS`, and with their method.

    Args:
        options: of the command line.
        rounds: asked for.
        method: its kind, where one is asked for; else what recipe or settings say; else `OURS`, or pseudo_labels where
            objects are told apart.
        protocols: all protocols are run, which are those of pseudo-labels.
    """
    if method is not None:  # before the settings, which may set its fields
        recipe = _with_kind(options, method).to_recipe()
    else:
        recipe = options.to_recipe() if protocols else with_method(options)
    wanted = rounds if rounds is not None else recipe.selftrain.rounds
    if wanted < 1 and (rounds is not None or any(map(_says_rounds, options.settings))):
        raise UsageError(
            problem(
                "one round or more",
                str(wanted),
                where="selftrain.rounds",
                next_move="leave it out, or train without rounds: maskwright run",
            )
        )
    wanted = wanted or ROUNDS  # the recipe of a finished `run` says 0
    pairs = [f"selftrain.rounds={wanted}"]
    if method is not None and method != recipe.selftrain.method.kind:
        pairs.append(f'selftrain.method={{"kind": "{method}"}}')
    return apply_settings(recipe, pairs)


def _with_kind(options: Options, method: str) -> Options:
    """Return options whose settings begin with a method, unless the recipe file has it already, with its fields."""
    if options.recipe is not None and load_recipe(options.recipe).selftrain.method.kind == method:
        return options
    return replace(options, settings=(f'selftrain.method={{"kind": "{method}"}}', *options.settings))


def with_method(options: Options) -> Recipe:
    """Return the recipe that options describe, with `OURS` where nothing else is said and no objects are told apart."""
    written = frozenset[str]() if options.recipe is None else load_recipe(options.recipe).selftrain.model_fields_set
    if "method" in written or any(map(_says_how, options.settings)) or _tells_objects_apart(options):
        return options.to_recipe()
    if options.recipe is not None and load_recipe(options.recipe).selftrain.protocol != "mixed":
        return options.to_recipe()  # which belongs to pseudo-labels
    ours = settings = [
        f"selftrain.method={OURS.model_dump_json()}",
        *([] if "length" in written else [f"selftrain.length={OURS_LENGTH}"]),
    ]
    for setting in options.settings:
        path, _, text = setting.partition("=")
        whole = path.strip() == "selftrain"  # it replaces the section
        again = ours[: 1 if whole and "length" in (yaml.safe_load(text) or {}) else None]
        settings = [*settings, setting, *(again if whole else ())]
    return replace(options, settings=tuple(settings)).to_recipe()


def _tells_objects_apart(options: Options) -> bool:
    """Tell what the task is, whatever settings say of rounds: fields of the default method are none of others."""
    others = tuple(setting for setting in options.settings if not setting.strip().startswith("selftrain"))
    return task_of(replace(options, settings=others).to_recipe().data) != "semantic"


def _says_how(setting: str) -> bool:
    """Tell whether a setting names the method: itself, a field that only the default has, or what belongs to it."""
    path, _, text = setting.partition("=")
    match path.strip().split("."):
        case ["selftrain"]:
            said = yaml.safe_load(text)
            return isinstance(said, dict) and ("method" in said or said.get("protocol", "mixed") != "mixed")
        case ["selftrain", "protocol"]:
            return text.strip() != "mixed"
        case ["selftrain", "method"]:
            return True
        case ["selftrain", "method", field, *_]:
            return field == "kind" or field in PseudoLabelsSpec.model_fields.keys() - type(OURS).model_fields.keys()
    return False


def _says_rounds(setting: str) -> bool:
    path, _, text = setting.partition("=")
    if path.strip() == "selftrain":
        said = yaml.safe_load(text)
        return isinstance(said, dict) and "rounds" in said
    return path.strip() == "selftrain.rounds"


def _run_protocols(recipe: Recipe, out: Path, *, redo: bool) -> dict[str, Any]:
    from maskwright.pipeline.protocols import METRICS, OF_OBJECTS, run_protocols

    with progress():
        found = run_protocols(recipe, out, redo=redo, command=typed_command())
    for part, words in (("oof", "out of fold"), ("holdout", "held out")):
        for metric in (m for m in (OF_OBJECTS, *METRICS) if f"{part}/{m}" in found["mixed"]):
            print_protocols(found, f"{part}/{metric}", f"Protocols: {metric}, {words}")
    say_kept(found)
    say(f"scores: {out / 'protocols.json'}")
    return {"run": str(out), "protocols": found}


def run_rounds(recipe: Recipe, out: Path, *, redo: bool) -> dict[str, Any]:
    """Run everything and say what came of the rounds; return the summary."""
    from maskwright import pipeline

    started, command = time.perf_counter(), typed_command()
    with progress():
        folder = pipeline.run(recipe, out, until="plan", redo=redo, command=command)
    say_plan(folder)
    with progress():
        folder = pipeline.run(recipe, out, redo=redo, command=command)
    summary = summary_of(folder) | {"seconds": round(time.perf_counter() - started, 1)}
    print_summary(summary)
    return summary
