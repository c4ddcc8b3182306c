"""The application: MLflow's scoring server, and a page that people use in front of it.

GET  /             the page, with /page.css and /page.js
GET  /about        what the page shows of the champion
GET  /card         the model card
GET  /examples/N   pictures to click
POST /predict      a picture file as the body → class bars or an overlay
POST /invocations  arrays as JSON → predictions; MLflow's, as are /ping, /health and /version
"""

import base64
from pathlib import Path
from typing import Any

import numpy as np
from markdown_it import MarkdownIt
from PIL import Image
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from terracyte.core.errors import InputError
from terracyte.predict.predictor import Predictor
from terracyte.promote.champion import CARD
from terracyte.rendering import formats
from terracyte.rendering.pictures import PALETTE, overlaid
from terracyte.serve import uploads
from terracyte.serve.answers import answers
from terracyte.serve.examples import Example, picture, png
from terracyte.serve.sentences import Sentences, bounded_body, refusal

_PAGE = Path(__file__).with_name("page")
_MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable("table")
_CARD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Model card: {}</title><link rel="icon" href="data:,"><link rel="stylesheet" href="page.css"></head>
<body><p><a href="./">Back</a></p>{}</body></html>
"""
_HOSTS = ["127.0.0.1", "localhost"]  # another name means that a foreign page found a way to this machine
_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}


def application(predictor: Predictor, folder: Path, mlflow: ASGIApp, examples: list[Example]) -> Starlette:
    """The application.

    Args:
        predictor: the champion.
        folder: its folder, for the model card.
        mlflow: MLflow's scoring server of the same champion.
        examples: pictures to click.
    """
    site, scoring = _Site(predictor, folder / CARD, examples), Sentences(mlflow)
    routes = [
        _file("/", "page.html", "text/html"),
        _file("/page.css", "page.css", "text/css"),
        _file("/page.js", "page.js", "text/javascript"),
        Route("/about", site.about),
        Route("/card", site.card),
        Route("/examples/{number:int}", site.example),
        Route("/predict", site.predict, methods=["POST"]),
        *(Route(path, scoring) for path in ("/invocations", "/ping", "/health", "/version")),
    ]
    middleware = [Middleware(_Headers), Middleware(TrustedHostMiddleware, allowed_hosts=_HOSTS)]
    return Starlette(routes=routes, middleware=middleware)


class _Site:
    """The page's own requests."""

    def __init__(self, predictor: Predictor, card: Path, examples: list[Example]) -> None:
        self._predictor, self._card, self._examples = predictor, card, examples

    async def about(self, _: Request) -> Response:
        return JSONResponse(_about(self._predictor, self._card.exists(), self._examples))

    async def card(self, _: Request) -> Response:
        if not self._card.exists():
            return refusal("there is no card", 404)
        text = _MARKDOWN.render(self._card.read_text("utf-8"))
        return HTMLResponse(_CARD.format(self._predictor.task.name, text))

    async def example(self, request: Request) -> Response:
        number = request.path_params["number"]
        if number >= len(self._examples):
            return refusal("there is no such example", 404)
        return Response(self._examples[number].png, media_type="image/png")

    async def predict(self, request: Request) -> Response:
        body = await bounded_body(request.receive, uploads.LARGEST_FILE)
        if body is None:
            return refusal(f"the file is larger than {uploads.LARGEST_FILE >> 20} MiB: choose a smaller one", 413)
        try:
            return JSONResponse(await run_in_threadpool(_shown, self._predictor, body))
        except InputError as error:
            return refusal(str(error), 400)


class _Headers:
    """Adds `_HEADERS` to every answer: the page loads nothing from elsewhere and is shown in no frame."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_more(message: Message) -> None:
            if message["type"] == "http.response.start":
                more = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
                message = {**message, "headers": [*message.get("headers", []), *more]}
            await send(message)

        await self._app(scope, receive, send_more)


def _file(path: str, name: str, kind: str) -> Route:
    content = (_PAGE / name).read_bytes()

    async def show(_: Request) -> Response:
        return Response(content, media_type=kind)

    return Route(path, show)


def _about(predictor: Predictor, card: bool, examples: list[Example]) -> dict[str, Any]:
    task, record = predictor.task, predictor.record
    height, width, channels = task.image_shape
    return {
        "task": task.name,
        "variant": record["variant"],
        "title": record.get("title", ""),
        "metric": formats.words(record.get("metric", "")),
        "score": record.get("together", record.get("score")),
        "dense": task.dense,
        "size": [width, height],
        "channels": channels,
        "classes": _legend(predictor),
        "card": card,
        "examples": [{"title": each.title, "url": f"examples/{n}"} for n, each in enumerate(examples)],
        "largest_file": uploads.LARGEST_FILE,
    }


def _legend(predictor: Predictor) -> list[dict[str, str]]:
    dense = predictor.task.dense
    colours = [PALETTE[k % len(PALETTE)] if dense else "" for k in predictor.task.scored_classes]
    return [{"name": name, "colour": each} for name, each in zip(predictor.classes, colours, strict=True)]


def _shown(predictor: Predictor, content: bytes) -> dict[str, Any]:
    """What the page shows of a picture file.

    Raises:
        InputError: it is no picture, or too large.
    """
    image, note = uploads.decode(predictor.task, content)
    (answer,) = answers(predictor, image[None])
    mask = answer.pop("mask", None)
    pictures = {"image": _uri(picture(image))}
    if mask is not None:
        pictures["overlay"] = _uri(overlaid(image, np.array(mask)))
    return {**answer, **pictures, "note": note}


def _uri(picture: Image.Image) -> str:
    return f"data:image/png;base64,{base64.b64encode(png(picture)).decode('ascii')}"
