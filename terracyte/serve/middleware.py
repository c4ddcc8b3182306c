"""Bounded requests, security headers, and refusals of one sentence."""

from starlette.datastructures import MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}


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
