"""An export as a service: `serve`."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from maskwright.cli.console import say
from maskwright.cli.listening import listen
from maskwright.errors import UsageError, problem


def serve(
    export: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    running: int = 1,
    waiting: int = 32,
    megabytes: float = 32,
    megapixels: float = 33.5,
    threads: int | None = None,
    check: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Serve an export over HTTP: POST an image to /predict, get its labels; GET /health. Needs no torch.

    The image is the body of the request, or the one file of a form; PNG, JPEG or TIFF. The answer is an index PNG with
    category ids; with ?format=coco (or Accept: application/json) COCO's run lengths; with ?format=panoptic COCO
    panoptic, its PNG as base64. Errors are JSON: 413 too large, 415 no image, 422 unreadable, 503 too many waiting.
    SIGTERM and Ctrl-C let what runs end.

    Example: maskwright serve teeth-export
             curl --data-binary @image.png http://127.0.0.1:8000/predict > label.png

    Args:
        export: folder that maskwright export made.
        host: address to listen at; 0.0.0.0 is every one of this machine. There is no password and no encryption: put a
            proxy in front of it where others can reach it.
        port: to listen at; 0 takes a free one and says which.
        running: images predicted at a time; one uses all cores.
        waiting: requests that may wait; more get 503.
        megabytes: most bytes of a request, in 2^20.
        megapixels: most pixels of an image, in 10^6.
        threads: of the runtime for one image (default: one a core).
        check: see that the export is whole and the address free, and end.
    """
    from maskwright.doors import need
    from maskwright.export.runner import Runner
    from maskwright.export.service import Limits, build_service

    uvicorn: Any = need("uvicorn", "serve")
    limits = Limits(round(megabytes * (1 << 20)), round(megapixels * 1e6), running, waiting)
    if min(limits.bytes, limits.pixels, limits.running) < 1 or limits.waiting < 0:
        raise UsageError(
            problem("limits above 0", "less", where="the command line", next_move="see maskwright serve --help")
        )
    runner = Runner(export, threads=threads)
    with listen(host, port) as place:
        say(f"{export} on http://{host}:{place.getsockname()[1]} (POST /predict, GET /health); {runner.runs_in}")
        if check:
            return
        config = uvicorn.Config(
            build_service(runner, limits), log_level="warning", access_log=False, timeout_graceful_shutdown=30
        )
        for number in (signal.SIGTERM, signal.SIGINT):  # uvicorn hands them on when it has ended
            signal.signal(number, lambda *_: None)
        uvicorn.Server(config).run(sockets=[place])
    say("ended")
