"""MLflow's scoring server with bounded requests and readable refusals.

MLflow quotes the whole input and a stack trace in its errors; here each refusal is `{"error": "one sentence"}`.
"""

import json
import re
from typing import Any

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LARGEST_BODY = 64 * 2**20  # bytes: a full batch of 96x96 RGB images with decimals
_SHOWN = 300  # characters of a sentence
_FINAL = 500  # from here on it is the server's fault


class Sentences:
    """Wraps an application: requests of a bounded size in, and of its errors a sentence out.

    Args:
        app: answers requests; its bodies are held in memory.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        body = await bounded_body(receive, LARGEST_BODY)
        if body is None:
            limit = f"the request is larger than {LARGEST_BODY >> 20} MiB: send fewer images at once"
            await JSONResponse({"error": limit}, 413)(scope, receive, send)
            return
        status, headers, answer = await self._ask(scope, body)
        if status >= 400:
            await JSONResponse({"error": sentence(answer)}, status)(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    async def _ask(self, scope: Scope, body: bytes) -> tuple[int, Any, bytes]:
        sent: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            sent.append(message)

        await self._app(scope, receive, send)
        start, *parts = sent
        return start["status"], start["headers"], b"".join(part.get("body", b"") for part in parts)


async def bounded_body(receive: Receive, largest: int) -> bytes | None:
    """A request's body; None where it is larger than `largest` bytes, which are all that is kept of it."""
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return b""
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        more = message.get("more_body", False)
        if size > largest:
            return None
    return b"".join(parts)


def sentence(answer: bytes) -> str:
    """What is wrong, out of MLflow's error."""
    text = answer.decode("utf-8", "replace")
    try:
        text = json.loads(text)["message"]
    except (ValueError, KeyError, TypeError):
        pass  # some refusals are plain text
    # MLflow wraps errors: the innermost one says what is wrong
    innermost = text.rsplit("Error: ", 1)[-1]
    if "valid JSON" in text:
        innermost = "the request is no valid JSON"
    plain = " ".join(re.split(r"\n|IMPORTANT:", innermost.strip())[0].split())
    return plain[:_SHOWN]
