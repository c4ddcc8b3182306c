"""ASGI middleware: limits on requests and one-line errors for MLflow's server, security headers for all answers.

MLflow quotes the whole input and a stack trace in its errors, and two kinds of requests break it (no content type,
lists nested too deeply). `PlainErrors` answers `{"error": "one sentence"}` instead, with a 4xx status, or 500 if the
server itself failed.
"""

import json
import sys
import traceback
from collections.abc import Callable
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LARGEST_BODY = 64 * 2**20  # bytes: a full batch of 96x96 RGB images with decimals
_JSON = "application/json"
_LONGEST = 300  # characters of an error sentence

_TOO_LONG = "integer string conversion"  # part of Python's error about an integer of thousands of digits

_FORM = 'the request must be {"inputs": [image, ...]} with at least one image'
# Part of one of MLflow's error messages → the sentence that replaces it.
_MEANINGS = {
    "valid JSON": f"the request is not valid JSON: {_FORM}",
    "exactly one of the input fields": _FORM,
    "One of ": _FORM,
    "model signature": _FORM,
    "pandas": _FORM,
    "inhomogeneous": "the images, or the rows of an image, differ in length: send images of one size",
    "could not convert": "a pixel is not a number: pixels must be in 0-255",
    "too large to convert": "a pixel is not a number: pixels must be in 0-255",
}

_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}


class PlainErrors:
    """Limits the size of an application's requests, and replaces its errors by one sentence.

    Args:
        app: the application; each of its answers is held in memory as a whole.
        quick: a shortcut past the application: returns the JSON answer to a JSON body, or None to ask the application.
    """

    def __init__(self, app: ASGIApp, quick: Callable[[bytes], str | None] = lambda body: None) -> None:
        self._app, self._quick = app, quick

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        answer = await self._answer(scope, receive)
        if isinstance(answer, Response):
            await answer(scope, receive, send)
            return
        for message in answer:
            await send(message)

    async def _answer(self, scope: Scope, receive: Receive) -> list[Message] | Response:
        request = Request(scope)
        kind = request.headers.get("content-type", "").lower()
        if request.method == "POST" and kind.split(";")[0].strip() != _JSON:
            return refusal(f"the content type must be {_JSON}", 415)
        body = await bounded_body(receive, LARGEST_BODY)
        if body is None:
            return refusal(f"the request is larger than {LARGEST_BODY >> 20} MiB: send fewer images at once", 413)
        try:
            if request.method == "POST" and kind == _JSON:
                known = await run_in_threadpool(self._quick, body)
                if known is not None:
                    return Response(known, media_type=_JSON)
            sent = await self._ask(scope, body)
        except RecursionError:
            return refusal(_FORM, 400)
        except Exception as error:  # the client gets JSON, the terminal gets the traceback
            if _TOO_LONG in str(error):
                return refusal("a pixel has thousands of digits: pixels must be in 0-255", 400)
            traceback.print_exc(file=sys.stderr)
            return refusal("the server failed; its terminal says why", 500)
        status = sent[0]["status"]
        return (
            sent if status < 400 else refusal(_sentence(b"".join(part.get("body", b"") for part in sent[1:])), status)
        )

    async def _ask(self, scope: Scope, body: bytes) -> list[Message]:
        sent: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            sent.append(message)

        await self._app(scope, receive, send)
        return sent


class SecurityHeaders:
    """Adds headers to every answer: the page may load nothing from other hosts, and no site may show it in a frame."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        await self._app(scope, receive, send_with_headers)


def refusal(why: str, status: int) -> JSONResponse:
    """Return `{"error": why}` with a 4xx or 5xx status."""
    return JSONResponse({"error": why}, status)


async def bounded_body(receive: Receive, largest: int) -> bytes | None:
    """Return a request's body, or None if it is larger than `largest` bytes; no more than that is kept in memory."""
    body, more, fits = bytearray(), True, True
    while more:
        message = await receive()
        part = message.get("body", b"")
        fits = fits and len(body) + len(part) <= largest
        if fits:
            body.extend(part)  # beyond the limit, read and drop: a client reads no answer before it has sent all
        more = message.get("more_body", False)
    return bytes(body) if fits else None


def _sentence(answer: bytes) -> str:
    """Reduce one of MLflow's error answers to one sentence."""
    text = answer.decode("utf-8", "replace")
    try:
        found = json.loads(text)
        told: Any = found.get("message") or found["detail"]
    except (ValueError, KeyError, TypeError, AttributeError):
        told = text  # some errors are plain text
    # MLflow wraps errors: the innermost one names the cause
    innermost = str(told).rsplit("Error: ", 1)[-1].strip()
    known = (meaning for part, meaning in _MEANINGS.items() if part in str(told))
    return next(known, " ".join(innermost.split("\n")[0].split())[:_LONGEST])
