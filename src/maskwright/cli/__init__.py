"""The command line: `maskwright COMMAND`. Loads no torch before a command needs it."""

from __future__ import annotations

import errno
import importlib
import inspect
import sys

import cyclopts

from maskwright.errors import MaskwrightError, problem

COMMANDS = {
    "demo": ("run", "See it all work on a small made-up data set."),
    "run": ("run", "Do everything on your own folder, from audit to report."),
    "audit": ("stages", "Look for what is wrong with a data folder."),
    "split": ("stages", "Cut grouped, stratified folds and a held-out part."),
    "train": ("stages", "Train the folds of a recipe."),
    "selftrain": ("selftrain", "As run, and learn from images without masks where that pays."),
    "watch": ("watch", "See how far every task of a run is, in one table."),
    "fuse": ("fuse", "Fuse runs or input scales into one, with fitted weights."),
    "predict": ("predict", "Predict new images with the networks of a run."),
    "export": ("export", "Write a run's networks as files that run without torch."),
    "serve": ("serve", "Answer images over HTTP with what export wrote."),
    "postprocess": ("stages", "Clean up the labels of a run, or a folder of label files."),
    "tune": ("tune", "Choose a run's post-processing anew, from other candidates."),
    "evaluate": ("evaluate", "Score a run, or any folder of label files against another."),
    "measure": ("measure", "Measure areas, counts and lengths of what label files show."),
    "submit": ("submit", "Write label files as one file that challenges take."),
    "report": ("stages", "Write the report of a run anew."),
    "review": ("review", "Decide in the browser on what a run isn't sure of."),
    "query": ("query", "Choose which images to label next, for Label Studio or CVAT."),
    "curve": ("curve", "Score against number of labels: label more, or self-train?"),
    "compare": ("compare", "Put runs side by side: recipes, scores, paired differences."),
    "convert": ("convert", "Write a data folder in another format."),
    "doctor": ("doctor", "Explain image and mask files, and say how a recipe reads them."),
    "preview": ("preview", "Draw what the network will see: training crops of a recipe."),
    "models": ("models", "List all networks and what they cost."),
    "weights": ("weights", "Bring pretrained weights here, and list them."),
    "schema": ("recipes", "Write the JSON Schema of recipes."),
}
"""Name → (module of this folder, what --help says): a command is imported when it is called."""

_HELP = """From a folder of images with few masks to the best segmentation model they can give, with honest numbers.

Start with `maskwright demo`, then `maskwright run --data FOLDER`, where FOLDER holds images/ and masks/ (index PNG, \
the same names). Every command has --help.

Exit codes: 0 done, 1 failed, 2 wrong use, recipe or data, 130 interrupted (the same command goes on).
"""
_WRONG_PLACE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOENT)
_POOL = ("--pool", "--unlabeled", "--unlabelled")
"""Options that are asked for and not there."""
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


def build_app(called: str | None = None) -> cyclopts.App:
    """Return the application with all commands; the one that is called shows its whole docstring as help."""
    app = cyclopts.App(
        name="maskwright",
        help=_HELP,
        version=_version,
        help_format="plaintext",
        result_action="return_value",
        suppress_keyboard_interrupt=False,  # `main` says how to go on
    )
    for place, (name, (module, line)) in enumerate(COMMANDS.items()):
        text = _described(module, name) if name == called else line
        app.command(f"maskwright.cli.{module}:{name}", name=name, help=text, sort_key=place)
    return app


def _described(module: str, name: str) -> str | None:
    """Return what a command's docstring says before its arguments, each paragraph a line, to be broken as wide as the
    terminal is; lines of examples stay. None for one that has commands of its own, and a text for each.
    """
    command = getattr(importlib.import_module(f"maskwright.cli.{module}"), name)
    if isinstance(command, cyclopts.App):
        return None
    paragraphs = (inspect.getdoc(command) or "").split("\n\nArgs:")[0].split("\n\n")
    return "\n\n".join(text if "\n  " in text else text.replace("\n", " ") for text in paragraphs)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    try:
        build_app(words[0] if words else None)(words, exit_on_error=False, print_error=True)
    except MaskwrightError as error:
        failed(str(error))
        return error.exit_code
    except cyclopts.CycloptsError:
        if any(word.split("=")[0] in _POOL for word in words):
            failed("images without masks need no option: they lie in unlabeled/ beside images/ (see --data)")
        return 2
    except KeyboardInterrupt:
        failed("interrupted; the same command goes on from the last checkpoint")
        return 130
    except BrokenPipeError:
        return 1
    except OSError as error:
        failed(_explain(error))
        return 2 if error.errno in _WRONG_PLACE else 1
    return 0


def failed(message: str) -> None:
    """Print an error."""
    from maskwright.cli.console import complain

    complain(message)


def _explain(error: OSError) -> str:
    """Return the four parts of what the operating system refused."""
    next_move = "see that the disk works and is there; the same command goes on"
    if error.errno in _WRONG_PLACE:
        next_move = "give another folder with --out, or the right to read and write there"
    elif error.errno in _NO_ROOM:
        next_move = "free some room, or give a folder on another disk with --out; the same command goes on"
    where = str(error.filename2 or error.filename or "unknown")
    return problem(
        "a path that can be read and written", error.strerror or str(error), where=where, next_move=next_move
    )


def _version() -> str:
    from importlib.metadata import version

    return version("maskwright")


def entry() -> None:
    """Entry point of the installed command."""
    sys.exit(main())
