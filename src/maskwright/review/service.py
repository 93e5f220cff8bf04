"""The review as a service on this machine: a page, its items, their pictures; answers in. Loads one item at a time.

No address names a file: items go by their place in the queue, pictures by their item.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import Any

from maskwright.doors import need
from maskwright.errors import MaskwrightError, UsageError, problem
from maskwright.review.agreement import agreement
from maskwright.review.desk import Desk
from maskwright.review.guard import HEADERS, Guard
from maskwright.review.page import ASSETS, asset, page_of, shown_categories
from maskwright.review.pictures import digest_shown, image_bytes, label_bytes
from maskwright.review.reply import read_reply, tidied

SHOWN = "X-Label-Digest"
"""Header of a label: what an answer that takes it says that it saw."""

_KEPT = 24
_MOST_BYTES = 8 << 20
_TOO_MUCH = object()


def build_review(desk: Desk, *, token: str = "") -> Any:
    """Return the ASGI application.

    Args:
        desk: queue and log.
        token: that every request must carry; empty: none.

    Raises:
        UsageError: starlette isn't installed.
    """
    applications, routing = need("starlette.applications", "serve"), need("starlette.routing", "serve")
    service = _Service(desk)
    routes = [
        routing.Route("/", service.page),
        routing.Route("/static/{name}", service.asset),
        routing.Route("/api/state", service.state),
        routing.Route("/api/next", service.next),
        routing.Route("/api/item/{place}", service.item),
        routing.Route("/api/image/{place}/{which}", service.image),
        routing.Route("/api/label/{place}/{which}", service.label),
        routing.Route("/api/agreement", service.agreement),
        routing.Route("/api/decide", service.decide, methods=["POST"]),
        routing.Route("/api/undo", service.undo, methods=["POST"]),
    ]
    return _guarded(applications.Starlette(routes=routes), Guard(token))


class _Service:
    """The answers to requests; what reads files runs in threads."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.responses: Any = need("starlette.responses", "serve")
        self.pool: Any = need("starlette.concurrency", "serve").run_in_threadpool
        self.images = lru_cache(_KEPT)(lambda place, which, side: image_bytes(desk.run, desk.item(place), which, side))

    async def page(self, request: Any) -> Any:
        return self.responses.HTMLResponse(page_of(self.desk))

    async def asset(self, request: Any) -> Any:
        name = request.path_params["name"]
        if name not in ASSETS:
            return self._refused("a part of the page", 404)
        return self.responses.Response(asset(name), media_type=f"{ASSETS[name]}; charset=utf-8")

    async def state(self, request: Any) -> Any:
        def found() -> dict[str, Any]:
            return {"categories": shown_categories(self.desk.run.index.categories), **self.desk.progress(_by(request))}

        return await self._json(found)

    async def next(self, request: Any) -> Any:
        second, after = request.query_params.get("second") == "1", request.query_params.get("after", "")
        place = int(after) if after.isdecimal() and len(after) < 9 else -1
        return await self._json(lambda: {"place": self.desk.next(_by(request), second=second, after=place)})

    async def item(self, request: Any) -> Any:
        return await self._json(lambda: self.desk.described(_number(request, "place"), _by(request)))

    async def image(self, request: Any) -> Any:
        place, which = _number(request, "place"), _number(request, "which")

        def read() -> bytes:
            if which >= len(self.desk.item(place).images):
                raise _missing("an image", which)
            return self.images(place, which, _side(request))

        return await self._bytes(read, "image/jpeg")

    async def label(self, request: Any) -> Any:
        place, which = _number(request, "place"), _number(request, "which")

        def read() -> Any:
            item, answers = self.desk.item(place), self.desk.answers(place)
            if which >= max(1, len(item.suggestions)):
                raise _missing("a label", which)
            shown = digest_shown(self.desk.run, item, which, answers)
            data = label_bytes(self.desk.run, item, which, answers, _side(request))
            return self.responses.Response(data, media_type="image/png", headers={SHOWN: shown})

        return await self._answer(read)

    async def agreement(self, request: Any) -> Any:
        def rows() -> dict[str, Any]:
            found = [vars(row) for row in agreement(self.desk.log())]
            return {"rows": [row | {"kappa": None if row["kappa"] != row["kappa"] else row["kappa"]} for row in found]}

        return await self._json(rows)

    async def decide(self, request: Any) -> Any:
        value = await _body(request)
        if value is _TOO_MUCH:
            return self._refused(
                "too much was drawn for one answer: undo some strokes, save, and go on from there", 413
            )
        return await self._json(lambda: {"id": self.desk.decide(read_reply(value).model_copy(update={"time": ""}))})

    async def undo(self, request: Any) -> Any:
        value = await _body(request)
        by = value.get("by") if isinstance(value, dict) else None

        def taken() -> dict[str, Any]:
            known = read_reply({"item": "0" * 16, "answer": "undo", "by": by})
            return {"place": self.desk.undo(known.by)}

        return await self._json(taken)

    async def _json(self, make: Callable[[], dict[str, Any]]) -> Any:
        return await self._answer(lambda: self.responses.JSONResponse(make()))

    async def _bytes(self, make: Callable[[], bytes], kind: str) -> Any:
        return await self._answer(lambda: self.responses.Response(make(), media_type=kind))

    async def _answer(self, make: Callable[[], Any]) -> Any:
        try:
            return await self.pool(make)
        except MaskwrightError as error:
            return self._refused(self.desk.told(error), 422)
        except Exception:
            traceback.print_exc(file=sys.stderr)
            return self._refused("the review failed on this; the command's output says where", 500)

    def _refused(self, text: str, status: int) -> Any:
        return self.responses.JSONResponse({"error": text}, status_code=status)


def _guarded(application: Any, guard: Guard) -> Any:
    """Return an ASGI application that asks a guard first, and puts its headers on every answer."""

    async def guarded(scope: Any, receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
        if scope["type"] != "http":
            await application(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        query = scope["query_string"].decode("latin-1")
        more = [(name.encode(), value.encode()) for name, value in HEADERS.items()]

        async def sealed(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = message | {"headers": [*message["headers"], *more]}
            await send(message)

        why = guard.refusal(scope["method"], headers, query)
        if why is not None:
            body = json.dumps({"error": why}).encode()
            kind = [(b"content-type", b"application/json")]
            await sealed({"type": "http.response.start", "status": 403, "headers": kind})
            await send({"type": "http.response.body", "body": body})
            return
        if (cookie := guard.cookie(query, headers.get("host", ""))) is not None:
            more.append((b"set-cookie", cookie.encode()))
        await application(scope, receive, sealed)

    return guarded


async def _body(request: Any) -> Any:
    """Return the JSON of a request; None: it is none."""
    data = b""
    async for chunk in request.stream():
        data += chunk
        if len(data) > _MOST_BYTES:
            return _TOO_MUCH
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _number(request: Any, name: str) -> int:
    """Return a number of the address; one that no item has, where it is none."""
    text = request.path_params[name]
    return int(text) if text.isdecimal() and text.isascii() and len(text) < 10 else 10**9


def _by(request: Any) -> str:
    return tidied(str(request.query_params.get("by", ""))[:80])


def _side(request: Any) -> int:
    text = request.query_params.get("side", "")
    return int(text) if text.isdecimal() and len(text) < 6 else 1024


def _missing(what: str, which: int) -> UsageError:
    return UsageError(problem(f"{what} of the item", str(which), where="the review", next_move="reload the page"))
