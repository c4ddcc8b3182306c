"""The web application: a page for people, and an address for programs that speaks as MLflow's scoring server does.

GET  /             the page, with /page.css and /page.js
GET  /about        what the page shows about the champion, as JSON
GET  /card         the model card
GET  /examples/N   the example pictures, as PNG
POST /predict      a picture file as the body → probabilities or shares, and the picture with an overlay, as JSON
POST /invocations  arrays as JSON → predictions
GET  /ping, /health  an empty answer, while the server runs

Whatever is refused, and a failure of the server, is answered by `{"error": "one sentence"}`; requests under a foreign
host name get Starlette's plain text.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markdown_it import MarkdownIt
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from terracyte.core import listening
from terracyte.core.errors import InputError
from terracyte.ingest.sources.pictures import KINDS
from terracyte.predict.predictor import Predictor
from terracyte.promote.champion import CARD
from terracyte.rendering import formats
from terracyte.rendering.pictures import colour_of, data_uri, from_array, overlaid
from terracyte.serve import pixels, uploads
from terracyte.serve.answers import answers
from terracyte.serve.examples import Example
from terracyte.serve.middleware import SecurityHeaders, bounded_body, refusal

_JSON = "application/json"
_LARGEST_BODY = 64 * 2**20  # bytes: a full batch of 96x96 RGB images with decimals
_PAGE = Path(__file__).with_name("page")
_MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable("table")
_CARD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Model card: {}</title><link rel="icon" href="data:,"><link rel="stylesheet" href="page.css"></head>
<body><p><a href="./">Back</a></p>{}</body></html>
"""


def application(
    predictor: Predictor,
    folder: Path,
    examples: list[Example],
    hosts: Sequence[str] = listening.names(listening.HOST),
) -> Starlette:
    """Create the web application.

    Args:
        predictor: the champion.
        folder: the champion's folder, for the model card.
        examples: the example pictures that the page offers.
        hosts: accepted values of the Host header; others are refused (DNS rebinding from a foreign page).
    """
    site = _Site(predictor, folder / CARD, examples)
    routes = [
        _fixed("/", (_PAGE / "page.html").read_bytes(), "text/html"),
        _fixed("/page.css", (_PAGE / "page.css").read_bytes(), "text/css"),
        _fixed("/page.js", (_PAGE / "page.js").read_bytes(), "text/javascript"),
        Route("/about", site.about),
        Route("/card", site.card),
        *(_fixed(f"/examples/{number}", each.png, "image/png") for number, each in enumerate(examples)),
        Route("/predict", site.predict, methods=["POST"]),
        Route("/invocations", site.invocations, methods=["POST"]),
        *(_fixed(path, b"", "text/plain") for path in ("/ping", "/health")),
    ]
    middleware = [Middleware(SecurityHeaders), Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))]
    handlers = {InputError: _refused, HTTPException: _refused, Exception: _failed}
    return Starlette(routes=routes, middleware=middleware, exception_handlers=handlers)


class _Site:
    """Handlers of the page's own requests."""

    def __init__(self, predictor: Predictor, card: Path, examples: list[Example]) -> None:
        self._predictor, self._card, self._examples = predictor, card, examples

    async def about(self, _: Request) -> Response:
        return JSONResponse(_about(self._predictor, self._card.exists(), self._examples))

    async def card(self, _: Request) -> Response:
        if not self._card.exists():
            return refusal("the champion has no model card", 404)
        text = _MARKDOWN.render(self._card.read_text("utf-8"))
        return HTMLResponse(_CARD.format(self._predictor.task.name, text))

    async def predict(self, request: Request) -> Response:
        body = await bounded_body(request.receive, uploads.LARGEST_FILE)
        if body is None:
            return refusal(f"the file is larger than {uploads.LARGEST_FILE >> 20} MiB: choose a smaller one", 413)
        return JSONResponse(await run_in_threadpool(_predict, self._predictor, body))

    async def invocations(self, request: Request) -> Response:
        kind = request.headers.get("content-type", "")
        if kind.split(";")[0].strip().lower() != _JSON:
            return refusal(f"the content type must be {_JSON}", 415)
        body = await bounded_body(request.receive, _LARGEST_BODY)
        if body is None:
            return refusal(f"the request is larger than {_LARGEST_BODY >> 20} MiB: send fewer images at once", 413)
        return JSONResponse(await run_in_threadpool(_score, self._predictor, body))


def _fixed(path: str, content: bytes, kind: str) -> Route:
    async def show(_: Request) -> Response:
        return Response(content, media_type=kind)

    return Route(path, show)


def _about(predictor: Predictor, card: bool, examples: list[Example]) -> dict[str, Any]:
    task, record = predictor.task, predictor.record
    height, width, _ = task.image_shape
    colours = [colour_of(k) if task.dense else "" for k in task.scored_classes]
    return {
        "task": task.name,
        "variant": record["variant"],
        "title": record.get("title", ""),
        "metric": formats.words(record.get("metric", "")),
        "score": record.get("together", record.get("score")),
        "dense": task.dense,
        "size": [width, height],
        "kinds": KINDS,
        "classes": [{"name": name, "colour": each} for name, each in zip(predictor.classes, colours, strict=True)],
        "card": card,
        "examples": [{"title": each.title, "url": f"examples/{n}"} for n, each in enumerate(examples)],
        "largest_file": uploads.LARGEST_FILE,
    }


def _predict(predictor: Predictor, content: bytes) -> dict[str, Any]:
    """Return the prediction for a picture file as the page shows it, with the picture and an overlay of the mask.

    Raises:
        InputError: the file is no readable picture, or too large.
    """
    image, region, note = uploads.decode(predictor.task, content)
    (answer,) = answers(predictor, image[None], [region])
    mask = answer.pop("mask", None)
    image = image if mask is None else image[region]
    pictures = {"image": data_uri(from_array(image), "png")}
    if mask is not None:
        pictures["overlay"] = data_uri(overlaid(image, np.array(mask)), "png")
    return {**answer, **pictures, "note": note}


def _score(predictor: Predictor, body: bytes) -> dict[str, Any]:
    """Return the answer to a request as MLflow's scoring server has it.

    Raises:
        InputError: see `pixels.read`.
    """
    return {"predictions": answers(predictor, pixels.read(body, predictor.task.image_shape))}


async def _refused(_: Request, error: Exception) -> Response:
    """Answer a request that is refused."""
    if isinstance(error, HTTPException):  # there is no such address, or it has another method
        return refusal(error.detail, error.status_code)
    return refusal(str(error), 400)


async def _failed(_: Request, error: Exception) -> Response:
    """Answer a request at which the server fails; uvicorn writes the traceback to the terminal."""
    return refusal("the server failed; its terminal says why", 500)
