"""A small HTTP service on an export: an image in, its labels out. Imports without torch.

POST /predict takes the image as the body or as the one file of a form, and answers as `?format=` or the header Accept
says. What can't be answered gets a status and JSON `{"error": …}`: 413 too large, 415 no image, 422 an image that can't
be read, 408 too slow, 503 too many waiting. GET /health says that it runs.
"""

from __future__ import annotations

import asyncio
import math
import sys
import tempfile
import traceback
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tifffile

from maskwright.data.images import read_image, size_of, stated_size
from maskwright.doors import need
from maskwright.errors import DataError, MaskwrightError
from maskwright.export.answers import ANSWERS, Answer
from maskwright.export.runner import Runner
from maskwright.types import Array

_KINDS = {
    b"\x89PNG\r\n\x1a\n": ".png",
    b"\xff\xd8\xff": ".jpg",
    b"II*\x00": ".tif",
    b"MM\x00*": ".tif",
    b"II+\x00": ".tif",
    b"MM\x00+": ".tif",
}
"""How files begin that are taken."""
_ACCEPTED = {"image/png": "png", "application/json": "coco"}


@dataclass(frozen=True)
class Limits:
    """What the service takes on; at worst it holds `(running + waiting) · bytes` of requests.

    Attributes:
        bytes: of a request's body.
        pixels: of an image.
        running: images that are predicted at a time; a runtime uses all cores for one.
        waiting: requests that may wait for that; more are refused.
        seconds: that a request may take to arrive.
    """

    bytes: int = 32 << 20
    pixels: int = 1 << 25
    running: int = 1
    waiting: int = 32
    seconds: float = 30.0


class Refused(Exception):  # noqa: N818
    """A request that can't be answered."""

    def __init__(self, status: int, expected: str, got: str, next_move: str) -> None:
        super().__init__(f"expected {expected}, got {got}; {next_move}")
        self.status = status


def build_service(runner: Runner, limits: Limits = Limits()) -> Any:
    """Return the ASGI application.

    Raises:
        UsageError: starlette or python-multipart isn't installed.
    """
    applications, routing = need("starlette.applications", "serve"), need("starlette.routing", "serve")
    need("python_multipart", "serve")
    service = _Service(runner, limits)
    routes = [
        routing.Route("/predict", service.predict, methods=["POST"]),
        routing.Route("/health", service.health, methods=["GET"]),
    ]
    return applications.Starlette(routes=routes, lifespan=service.lifespan)


class _Service:
    """The state between requests: who runs, who waits."""

    def __init__(self, runner: Runner, limits: Limits) -> None:
        self.runner, self.limits = runner, limits
        self.inside = self.answered = self.refused = 0
        self.pool = ThreadPoolExecutor(limits.running, thread_name_prefix="predict")
        self.responses: Any = need("starlette.responses", "serve")
        self.requests: Any = need("starlette.requests", "serve")

    @asynccontextmanager
    async def lifespan(self, application: Any) -> AsyncIterator[None]:
        """Let what runs end before the service does."""
        yield
        self.pool.shutdown(wait=True)

    async def health(self, request: Any) -> Any:
        """Answer that the service runs, on what, and how busy it is."""
        manifest = self.runner.manifest
        return self.responses.JSONResponse(
            {
                "status": "ok",
                "made": manifest.made,
                "runs_in": self.runner.runs_in,
                "categories": self.runner.categories.names,
                "inside": self.inside,
                "answered": self.answered,
                "refused": self.refused,
            }
        )

    async def predict(self, request: Any) -> Any:
        """Answer with the labels of the image, or say why not."""
        try:
            answer = await self._answered(request)
        except Refused as error:
            self.refused += 1
            more = {"Retry-After": "1"} if error.status == 503 else {}
            return self.responses.JSONResponse({"error": str(error)}, status_code=error.status, headers=more)
        except self.requests.ClientDisconnect:  # nobody is there to be answered
            self.refused += 1
            return self.responses.Response(status_code=400)
        except Exception:
            traceback.print_exc(file=sys.stderr)
            text = "the service failed on this image; its log says where"
            return self.responses.JSONResponse({"error": text}, status_code=500)
        self.answered += 1
        return self.responses.Response(answer.body, media_type=answer.media_type)

    async def _answered(self, request: Any) -> Answer:
        form = _form(request)
        most = self.limits.running + self.limits.waiting
        if self.inside >= most:
            raise Refused(503, f"at most {most} requests at a time", "one more", "try again in a second")
        self.inside += 1
        try:
            data = await self._read(request)
            if await request.is_disconnected():
                raise self.requests.ClientDisconnect
            return await asyncio.get_running_loop().run_in_executor(self.pool, self._label, data, form)
        finally:
            self.inside -= 1

    async def _read(self, request: Any) -> bytes:
        """Return the image's bytes out of a request."""
        try:
            async with asyncio.timeout(self.limits.seconds):
                body = await _body(request, self.limits.bytes)
        except TimeoutError:
            seconds = f"{self.limits.seconds:g} seconds"
            raise Refused(408, f"a request that arrives in {seconds}", "a slower one", "send it again") from None
        if not request.headers.get("content-type", "").startswith("multipart/form-data"):
            return body
        return await _file_of_form(request, body)

    def _label(self, data: bytes, form: str) -> Answer:
        """Return the answer to an image file's bytes; runs in a thread."""
        suffix = next((kind for start, kind in _KINDS.items() if data.startswith(start)), None)
        if not data:
            raise Refused(422, "an image", "an empty body", "send the file's bytes, or a form with one file")
        if suffix is None:
            raise Refused(415, "a PNG, JPEG or TIFF", "another file", "send the image in one of these formats")
        with tempfile.NamedTemporaryFile(suffix=suffix) as file:
            file.write(data)
            file.flush()
            image = self._image(Path(file.name), data)
        try:
            return ANSWERS[form](self.runner.label(image), self.runner.categories)
        except MaskwrightError as error:  # a graph of a fixed size
            raise Refused(422, *_parts(error)) from None

    def _image(self, path: Path, data: bytes) -> Array:
        """Return the decoded image, once its header is known to be harmless."""
        most = self.limits.pixels
        try:
            height, width = stated_size(data) or size_of(path)[:2]
            if height * width > most:
                raise Refused(413, f"at most {most:,} pixels", f"{height} × {width}", "send it smaller, or in parts")
            if path.suffix == ".tif" and (values := _values(path)) > 4 * most:
                raise Refused(413, f"at most {4 * most:,} values", f"{values:,} in all pages", "send a single page")
            return read_image(path)
        except DataError as error:
            expected, got, _ = _parts(error)
            got = got.replace(repr(str(path)), "the file").replace(str(path), "the file")
            raise Refused(422, expected, got, "send the whole file of a readable image") from None


def _values(path: Path) -> int:
    """Return how many numbers the first series of a TIFF holds: all pages of one size."""
    try:
        with tifffile.TiffFile(path) as tiff:
            return math.prod(tiff.series[0].shape)
    except Exception:  # what is wrong with it is said by who reads it
        return 0


def _form(request: Any) -> str:
    """Return the form of the answer: of `?format=`, else of the header Accept, else png."""
    asked = request.query_params.get("format")
    if asked is not None:
        if asked not in ANSWERS:
            raise Refused(422, f"a format among {', '.join(ANSWERS)}", asked[:40], "name one of them")
        return str(asked)
    accepted = [word.partition(";")[0].strip() for word in request.headers.get("accept", "").split(",")]
    return next((_ACCEPTED[word] for word in accepted if word in _ACCEPTED), "png")


async def _body(request: Any, most: int) -> bytes:
    """Return the body; of one that is too large so much is read, and dropped, that most clients hear the answer."""
    stated = request.headers.get("content-length", "")
    parts, size = list[bytes](), 0
    async for chunk in request.stream():
        size += len(chunk)
        if size <= most:
            parts.append(chunk)
        elif parts:
            parts.clear()
        if size > 2 * most:
            break
    if size > most:
        got = f"{int(stated) if stated.isdigit() else size:,}"
        raise Refused(413, f"at most {most:,} bytes", got, "send a smaller or more compressed image")
    return b"".join(parts)


async def _file_of_form(request: Any, body: bytes) -> bytes:
    """Return the one file of a form."""
    parsers: Any = need("starlette.formparsers", "serve")

    async def stream() -> AsyncIterator[bytes]:
        yield body

    try:
        parser = parsers.MultiPartParser(request.headers, stream(), max_files=1, max_fields=16)
        parser.spool_max_size = len(body) + 1
        form = await parser.parse()
    except (parsers.MultiPartException, KeyError) as error:
        text = getattr(error, "message", "no boundary in its header")
        raise Refused(422, "a whole form with one file", str(text), "send the file's bytes as the body") from None
    try:
        files = [value for value in form.values() if not isinstance(value, str)]
        if len(files) != 1:
            raise Refused(422, "a form with one file", f"{len(files)}", "send the image as a file of the form")
        return bytes(await files[0].read())
    finally:
        await form.close()


def _parts(error: MaskwrightError) -> tuple[str, str, str]:
    """Return what was expected, what came, and the next move, without the place, which is none of the client's."""
    lines = str(error).splitlines()
    expected, _, got = lines[0].removeprefix("expected ").partition(", got ")
    return expected, got, lines[-1].partition("next:")[2].strip()
