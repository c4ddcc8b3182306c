"""MLflow's scoring server with bounded requests and readable refusals.

MLflow quotes the whole input and a stack trace in its errors, and two kinds of requests break it (no content type,
lists nested too deeply); here each refusal is `{"error": "one sentence"}` with a status of 4xx.
"""

import json
import sys
import traceback
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LARGEST_BODY = 64 * 2**20  # bytes: a full batch of 96x96 RGB images with decimals
_JSON = "application/json"
_SHOWN = 300  # characters of a sentence

_FORM = 'the request must be {"inputs": [image, ...]} with at least one image'
# What MLflow says, in part → what it means here.
_MEANINGS = {
    "valid JSON": f"the request is no valid JSON: {_FORM}",
    "exactly one of the input fields": _FORM,
    "One of ": _FORM,
    "model signature": _FORM,
    "pandas": _FORM,
    "inhomogeneous": "the images, or the rows of one, differ in length",
    "could not convert": "a pixel is no number: pixels lie in 0-255",
    "too large to convert": "a pixel is no number: pixels lie in 0-255",
}


class Sentences:
    """Wraps an application: requests of a bounded size in, and of its errors a sentence out.

    Args:
        app: answers requests; its bodies are held in memory.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        answer = await self._answer(scope, receive)
        if isinstance(answer, JSONResponse):
            await answer(scope, receive, send)
            return
        for message in answer:
            await send(message)

    async def _answer(self, scope: Scope, receive: Receive) -> list[Message] | JSONResponse:
        request = Request(scope)
        if request.method == "POST" and request.headers.get("content-type", "").split(";")[0].strip() != _JSON:
            return refusal(f"the content type must be {_JSON}", 415)
        body = await bounded_body(receive, LARGEST_BODY)
        if body is None:
            return refusal(f"the request is larger than {LARGEST_BODY >> 20} MiB: send fewer images at once", 413)
        try:
            sent = await self._ask(scope, body)
        except RecursionError:
            return refusal(_FORM, 400)
        except Exception:  # whatever it is, the client gets JSON, and the server's owner the rest
            traceback.print_exc(file=sys.stderr)
            return refusal("the server failed; its terminal says why", 500)
        status = sent[0]["status"]
        return sent if status < 400 else refusal(sentence(b"".join(part.get("body", b"") for part in sent[1:])), status)

    async def _ask(self, scope: Scope, body: bytes) -> list[Message]:
        sent: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            sent.append(message)

        await self._app(scope, receive, send)
        return sent


def refusal(why: str, status: int) -> JSONResponse:
    """A sentence with a status."""
    return JSONResponse({"error": why}, status)


async def bounded_body(receive: Receive, largest: int) -> bytes | None:
    """A request's body; None where it is larger than `largest` bytes. No more than that is ever held."""
    body, more, fits = bytearray(), True, True
    while more:
        message = await receive()
        part = message.get("body", b"")
        fits = fits and len(body) + len(part) <= largest
        if fits:
            body.extend(part)  # the rest is read and dropped, so that the client gets to read the answer
        more = message.get("more_body", False)
    return bytes(body) if fits else None


def sentence(answer: bytes) -> str:
    """What is wrong, out of MLflow's error."""
    text = answer.decode("utf-8", "replace")
    try:
        told: Any = json.loads(text)["message"]
    except (ValueError, KeyError, TypeError):
        told = text  # some refusals are plain text
    # MLflow wraps errors: the innermost one says what is wrong
    innermost = str(told).rsplit("Error: ", 1)[-1].strip()
    known = (meaning for part, meaning in _MEANINGS.items() if part in str(told))
    return next(known, " ".join(innermost.split("\n")[0].split())[:_SHOWN])
