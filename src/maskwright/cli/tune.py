"""The post-processing of a trained run, chosen anew: `tune`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from maskwright.artifacts import RunFolder, read_json
from maskwright.cli.console import progress, result, say, table
from maskwright.cli.finished import finished
from maskwright.cli.stages import Flag
from maskwright.errors import UsageError, problem
from maskwright.recipe import apply_settings, load_recipe

_SECTION = "postprocess."


def tune(
    run: Path,
    *,
    settings: Annotated[tuple[str, ...], Parameter(name=["--set"], negative=())] = (),
    redo: Annotated[bool, Flag] = False,
    json: Annotated[bool, Flag] = False,
) -> None:
    """Choose the post-processing of a trained run: steps, thresholds and sizes, on its out-of-fold predictions.

    Nested: each fold's chain is chosen on the other folds and scored on its own. Only a chain whose gain is clearly
    above zero on folds that did not choose it is adopted; `maskwright predict RUN IMAGES` then applies it. Nothing is
    trained or predicted anew; scores and report are. Also printed: what a search scored on its own images would claim.

    What is tried is the recipe's section postprocess; --set changes it, and the run's recipe with it. Its fields:
    search: candidates, a list. Each has a kind (smooth, favour, crf, threshold, select, staged, majority, opening,
    closing, fill_holes, minimum_area, largest, split) and lists of values; `share: [...]` gives sizes relative to the
    image, `by_category: true` searches each category on its own. budget: chains that a search may try. metric: such as
    mean_dice or pooled_miou (what adds up from pixels, so none of boundaries). chain: fixed steps; null: search.

    Examples: maskwright tune runs/teeth
              maskwright tune runs/teeth --set postprocess.metric=pooled_miou --set postprocess.budget=400
              maskwright tune runs/teeth --set 'postprocess.search=[{kind: threshold, value: [0.3, 0.4, 0.6]},
                {kind: fill_holes}, {kind: minimum_area, share: [0.0001, 0.001]}]'

    Args:
        run: run folder whose trainings are finished.
        settings: a field of postprocess as key=value; may be repeated.
        redo: search again though nothing has changed.
        json: write what was chosen as JSON to stdout.
    """
    from maskwright import pipeline

    if others := [setting for setting in settings if not setting.strip().startswith(_SECTION)]:
        next_move = "change other fields with maskwright run --recipe RUN/recipe.yaml --set … --out NEW_FOLDER"
        raise UsageError(problem(f"fields of {_SECTION}", ", ".join(others), where="--set", next_move=next_move))
    folder = finished(run, "predict", redo=False)
    recipe = load_recipe(folder.recipe)
    wanted = apply_settings(recipe, settings)
    until = "evaluate" if recipe.report.price_of_leaks else "report"  # the price is a training: it is left for `run`
    states = pipeline.progress_of(run)
    if redo or wanted != recipe or any(states[task] != "done" for task in ("tune", "evaluate", until)):
        with progress():
            pipeline.run(wanted, run, since="tune", until=until, anew="tune" if redo else None, redo=True)
    tuned = read_json(RunFolder(run).tuned)
    show_tuned(tuned)
    result(tuned, as_json=json)


def show_tuned(tuned: Mapping[str, Any]) -> None:
    """Print the chain, what it gains, what a naive search would have claimed, and what each fold chose."""
    from maskwright.report.tuned_sections import chain_words, fold_rows, gain_rows, vanished

    say(f"chain: {chain_words(tuned['chain'])}")
    if tuned["gain"] is None:
        say(f"chosen on: {tuned['fitted_on']}")
        return
    if not tuned["adopted"] and tuned["best"]:
        say(f"refused, the gain is not there: {chain_words(tuned['best'])}")
    table(f"Gain in {tuned['metric']}, of {tuned['tried']} chains", *gain_rows(tuned))
    table("What each fold's search chose on the others", *fold_rows(tuned), words=(0, 1))
    say(vanished(tuned))
