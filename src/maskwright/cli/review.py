"""What of a run is worth a person's look: `review`."""

from __future__ import annotations

import os
import secrets
import shlex
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from maskwright.artifacts import RunFolder
from maskwright.cli.console import progress, result, say, table
from maskwright.errors import UsageError, problem

if TYPE_CHECKING:
    from maskwright.review import Agreement, Desk

Flag = Parameter(negative=())

TOKEN = "MASKWRIGHT_REVIEW_TOKEN"
"""Environment variable with the token."""

_AT_ONCE = 200


def review(
    run: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8765,
    token: str | None = None,
    no_token: Annotated[bool, Flag] = False,
    anonymous: Annotated[bool, Flag] = False,
    agreement: Annotated[bool, Flag] = False,
    static: Path | None = None,
    most: int = 200,
    replies: Annotated[Path | None, Parameter(name="--import")] = None,
    napari: Annotated[bool, Flag] = False,
    check: Annotated[bool, Flag] = False,
    json: Annotated[bool, Flag] = False,
) -> None:
    """Decide in the browser on what a run isn't sure of: masks, copies, strangers, predictions. Needs no torch.

    Serves a page on this machine: one item at a time, the one whose answer is worth the most first, one key an answer.
    With --napari, the same in a window of napari, with its tools to draw.
    Each answer is appended to RUN/decisions.jsonl at once; the next maskwright run on the folder carries them out.

    Examples: maskwright review runs/teeth
              maskwright review runs/teeth --napari
              maskwright review runs/teeth --agreement
              maskwright review runs/teeth --static review.html
              maskwright review runs/teeth --import review-answers.json

    Args:
        run: run folder; audited at least, predicted for suspect masks and predictions to judge.
        host: address to listen at; others than this machine's own need --token.
        port: to listen at; 0 takes a free one and says which.
        token: password of 16 characters or more that every request must carry, in the place of one that is made up; it
            goes unencrypted over the network. Better in the environment variable MASKWRIGHT_REVIEW_TOKEN, for others
            see what is typed.
        no_token: answer to everybody who is logged in on this machine.
        anonymous: hide file names.
        agreement: print how far reviewers agree, and end.
        static: write the page as one file that works from disk instead, and end.
        most: items in that file.
        replies: take the answers that such a page saved, and end.
        napari: open a window of napari instead of serving a page.
        check: see that the queue can be read and the address is free, or the window can be opened, and end.
        json: write the queue's size and answers, what was imported, or the agreement as JSON to stdout.
    """
    token = token or os.environ.get(TOKEN) or None
    _check(host, token, most, no_token=no_token)
    _check_ways({"--agreement": agreement, "--import": replies, "--static": static, "--napari": napari})
    desk = _desk(run, anonymous=anonymous)
    found: dict[str, Any] = {"run": str(run)}
    if agreement:
        found["agreement"] = _print_agreement(desk)
    elif replies is not None:
        found |= _import(desk, replies)
    elif static is not None:
        found |= _write(desk, static, most)
    elif napari:
        _view(desk, check=check)
    else:
        _serve(desk, host, port, "" if no_token else _token(token), check=check)
    result(found | desk.progress(), as_json=json)  # as it is now that it is over


def _desk(run: Path, *, anonymous: bool) -> Desk:
    from maskwright.review import Desk, Reviewed, build_queue

    source = Reviewed.of(run)
    with progress():
        return Desk(source, build_queue(source), anonymous=anonymous)


def _say_one_candidate(desk: Desk) -> None:
    """Say why no two labels of an image without a mask are offered, where the run keeps but one of each."""
    from maskwright.review.answers import OF_POOL
    from maskwright.review.sources import label_folders

    if any(item.kind in OF_POOL for item in desk.items) and not label_folders(desk.run.folder.root):
        say(
            "images without masks have one prediction each here, so that there is no A or B to choose: the "
            "pseudo-labels of several folds and rounds are kept by maskwright selftrain --method pseudo_labels"
        )


def _token(given: str | None) -> str:
    """Return the token that requests must carry; on a shared machine, others may reach what listens to it alone."""
    return given or secrets.token_urlsafe(24)


def _check(host: str, token: str | None, most: int, *, no_token: bool) -> None:
    from maskwright.review.guard import is_loopback

    if token is not None and no_token:
        next_move = "leave one of them out"
        raise UsageError(problem("a token, or none", "both", where="--token, --no-token", next_move=next_move))
    if token is not None and (
        len(token) < 16 or not token.isascii() or not token.replace("-", "").replace("_", "").isalnum()
    ):
        next_move = "such as that of: python -c 'import secrets; print(secrets.token_urlsafe())'"
        expected = "16 or more letters, digits, - and _"
        raise UsageError(problem(expected, f"{len(token)} characters", where="--token", next_move=next_move))
    if token is None and not is_loopback(host):
        next_move = "add --token, or leave --host out and reach this machine by an SSH tunnel"
        raise UsageError(problem("an address of this machine alone", host, where="--host", next_move=next_move))
    if most < 1:
        raise UsageError(problem("at least one item", f"{most}", where="--most", next_move="give a larger number"))


def _check_ways(ways: Mapping[str, object]) -> None:
    if len(given := [name for name, wanted in ways.items() if wanted]) > 1:
        next_move = "leave the others out, and give the command once for each"
        raise UsageError(problem("one way to review", ", ".join(given), where="review", next_move=next_move))


def _serve(desk: Desk, host: str, port: int, token: str, *, check: bool) -> None:
    from maskwright.cli.listening import listen
    from maskwright.doors import need
    from maskwright.review import build_review

    uvicorn: Any = need("uvicorn", "serve")
    with listen(host, port) as place:
        address = f"http://{f'[{host}]' if ':' in host else host}:{place.getsockname()[1]}/"
        known = desk.progress()
        more = f"?token={token}" if token else ""
        say(f"{known['total']} items, {known['decided']} answered; open {address}{more}  (Ctrl-C ends)")
        _say_one_candidate(desk)
        if check:
            return
        config = uvicorn.Config(
            build_review(desk, token=token),
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=5,
            limit_concurrency=_AT_ONCE,
        )
        for number in (signal.SIGTERM, signal.SIGINT):  # uvicorn hands them on when it has ended
            signal.signal(number, lambda *_: None)
        uvicorn.Server(config).run(sockets=[place])
    _say_answered(desk)


def _view(desk: Desk, *, check: bool) -> None:
    from maskwright.napari.window import check_window, show_window

    check_window()
    known = desk.progress()
    say(f"{known['total']} items, {known['decided']} answered; close the window to end")
    _say_one_candidate(desk)
    if not check:
        show_window(desk)
        _say_answered(desk)


def _say_answered(desk: Desk) -> None:
    known = desk.progress()
    say(f"{known['decided']} of {known['total']} items answered, in {desk.run.folder.decisions}")
    if known["decided"]:
        say(f"carry them out: {carried_out(desk.run.folder.root)}")


def carried_out(run: Path) -> str:
    """Return what carries out what was decided."""
    if not RunFolder(run).recipe.is_file():
        return "give the command that made this folder again, with --redo"
    return f"maskwright run --recipe {shlex.quote(f'{run}/recipe.yaml')} --out {shlex.quote(str(run))} --redo"


def _import(desk: Desk, path: Path) -> dict[str, Any]:
    from maskwright.review import import_replies

    with progress():
        found = import_replies(desk, path)
    say(f"{found.taken} answers taken, {found.known} were there before, {len(found.refused)} can't be taken")
    if found.overruled:
        say(f"  {found.overruled} of them don't count, for somebody else answered later; --agreement compares both")
    for item, why in found.refused[:20]:
        say(f"  item {item}: {why}")
    if found.taken:
        say(f"carry them out: {carried_out(desk.run.folder.root)}")
    refused = [list(pair) for pair in found.refused]
    return {"taken": found.taken, "known": found.known, "refused": refused, "overruled": found.overruled}


def _write(desk: Desk, path: Path, most: int) -> dict[str, Any]:
    from maskwright.review import write_static

    with progress():
        count = write_static(desk, path, most=most)
    megabytes = path.stat().st_size / 1e6
    say(f"{count} items in {path} ({megabytes:.1f} MB); the page saves a file of answers for --import")
    _say_one_candidate(desk)
    return {"written": str(path), "items": count}


def _print_agreement(desk: Desk) -> list[dict[str, Any]]:
    from maskwright.review import agreement

    rows: list[Agreement] = agreement(desk.log())
    if not rows:
        say("no two reviewers have answered the same item")
        return []
    cells = [
        (
            f"{r.first}, {r.second}",
            r.kind or "all",
            str(r.items),
            f"{r.share:.0%}",
            "" if r.kappa != r.kappa else f"{r.kappa:.2f}",
        )
        for r in rows
    ]
    table("Agreement", ("reviewers", "kind", "items", "alike", "Cohen's kappa"), cells, words=(0, 1))
    return [vars(row) for row in rows]
