"""The routes: classification, stream, status, the page, and errors as JSON."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from fastapi import FastAPI, Request, Response, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from edge_app.inference.runtime import DeviceError
from edge_app.server import schemas
from edge_app.server.assets import Asset, read_assets
from edge_app.server.errors import ClientGoneError, ErrorResponse, RejectedError
from edge_app.server.metrics import CONTENT_TYPE
from edge_app.server.service import Service
from ser_edge import __version__
from ser_edge.audio.base import AudioError

_LOG = logging.getLogger("edge_app.server")
_CLIENT_GONE: Final = 499  # as in nginx; for the metrics alone, since no client reads it
_ICON: Final = "icon.svg"


def build_routes(service: Service) -> FastAPI:
    """The routes of a service, with the page and error handlers."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await service.stop()

    # FastAPI's documentation pages load scripts from a CDN, so they are off.
    app = FastAPI(
        title="ser-edge",
        version=__version__,
        description=schemas.DESCRIPTION,
        license_info={"name": "Apache-2.0; weights: their own, see GET /v1/models"},
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    _add_errors(app, service)
    _add_pages(app, read_assets())
    _add_files(app, service)
    _add_stream(app, service)
    _add_status(app, service)
    _restore_nulls(app)
    return app


def _add_files(app: FastAPI, service: Service) -> None:
    @app.post(
        "/process_audio",
        tags=["sounds"],
        summary="An audio file in a form -> probabilities, transcription, interpretation",
        description="A missing value is null, with a reason beside it. An interpretation's source "
        "is `llm`, a language model, or `scores`, a plain sentence made from the probabilities.",
        responses=schemas.sound_answers(schemas.json_answer(schemas.PROCESSED, "the answer")),
        openapi_extra=schemas.request_body(schemas.FORM_BODY),
    )
    async def process_audio(request: Request) -> JSONResponse:
        return JSONResponse(await service.process(request))

    @app.post(
        "/v1/predict",
        tags=["sounds"],
        summary="An audio file or mel image -> emotion and scores, over time",
        responses=schemas.sound_answers(schemas.json_answer(schemas.PREDICTION, "the answer")),
        openapi_extra=schemas.request_body(schemas.FORM_BODY, schemas.RAW_BODY),
    )
    async def predict(request: Request) -> JSONResponse:
        return JSONResponse(await service.predict(request))

    @app.post(
        "/v1/image",
        tags=["sounds"],
        summary="An audio file -> the mel image of one of its windows, as the network gets it",
        description="8-bit grey PNG, the lowest band in the first row. /v1/predict takes it in "
        "place of an audio file.",
        response_class=Response,
        responses=schemas.sound_answers({"content": {"image/png": {}}, "description": "the image"}),
        openapi_extra=schemas.request_body(schemas.FORM_BODY, schemas.RAW_BODY),
    )
    async def image(request: Request, start: float = 0.0) -> Response:
        return Response(await service.image(request, start), media_type="image/png")


def _add_stream(app: FastAPI, service: Service) -> None:
    @app.websocket("/v1/stream")
    async def stream(socket: WebSocket) -> None:
        try:
            await service.streams.serve(socket)
        except RejectedError as error:
            service.metrics.rejected.labels(error.reason).inc()
            await ErrorResponse.of(error)(socket.scope, socket.receive, socket._send)

    @app.get("/v1/stream", include_in_schema=False)
    async def no_stream() -> None:
        raise RejectedError(426, "this is a WebSocket: ws://.../v1/stream?rate=16000", "type")


def _add_status(app: FastAPI, service: Service) -> None:
    @app.get("/v1/models", tags=["server"], summary="The loaded model, and the limits")
    async def models() -> dict[str, Any]:
        return service.models()

    @app.get("/healthz", tags=["server"], summary="Whether the process runs")
    async def healthz() -> dict[str, Any]:
        return service.health()

    @app.get("/readyz", tags=["server"], summary="Whether it accepts requests; 503 if not")
    async def readyz() -> JSONResponse:
        await service.engine.check()
        state = service.readiness()
        return JSONResponse(state, 200 if state["ready"] else 503)

    @app.get("/metrics", tags=["server"], summary="Metrics for Prometheus")
    async def metrics() -> Response:
        return Response(service.metrics.text(), headers={"content-type": CONTENT_TYPE})


def _restore_nulls(app: FastAPI) -> None:
    """Put nulls back into the examples: FastAPI leaves them out."""
    document = app.openapi()
    for path, example in (
        ("/v1/predict", schemas.PREDICTION),
        ("/process_audio", schemas.PROCESSED),
    ):
        answer = document["paths"][path]["post"]["responses"]["200"]
        answer["content"]["application/json"]["example"] = dict(example)


def _add_pages(app: FastAPI, assets: dict[str, Asset]) -> None:
    def answer(name: str, request: Request) -> Response:
        asset = assets.get(name)
        if asset is None:
            raise HTTPException(404)
        headers = {"etag": asset.etag, "content-type": asset.media_type}
        if request.headers.get("if-none-match") == asset.etag:
            return Response(status_code=304, headers=headers)
        return Response(asset.content, headers=headers)

    @app.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    async def page(request: Request) -> Response:
        return answer("index.html", request)

    @app.get("/static/{name}", include_in_schema=False)
    async def static(name: str, request: Request) -> Response:
        return answer(name, request)

    @app.get("/favicon.ico", include_in_schema=False)
    async def favicon(request: Request) -> Response:
        return answer(_ICON, request)


def _add_errors(app: FastAPI, service: Service) -> None:
    def reject(error: RejectedError) -> ErrorResponse:
        service.metrics.rejected.labels(error.reason).inc()
        return ErrorResponse.of(error)

    async def rejected(request: Request, error: Exception) -> Any:
        assert isinstance(error, RejectedError)
        return reject(error)

    async def not_audio(request: Request, error: Exception) -> Any:
        return reject(RejectedError(422, str(error), "sound"))

    async def device(request: Request, error: Exception) -> Any:
        service.metrics.failures.inc()
        _LOG.error("the device failed: %s", error)
        return reject(RejectedError(503, str(error), "device", retry_after=30))

    async def query(request: Request, error: Exception) -> Any:
        problems: list[dict[str, Any]] = getattr(error, "errors", list)()
        message = "; ".join(f"{p['loc'][-1]}: {p['msg']}" for p in problems) or "wrong parameters"
        return reject(RejectedError(422, message, "query"))

    app.add_exception_handler(RejectedError, rejected)
    app.add_exception_handler(AudioError, not_audio)
    app.add_exception_handler(DeviceError, device)
    app.add_exception_handler(ClientGoneError, _client_gone)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, query)
    app.add_exception_handler(Exception, _internal_error)


async def _client_gone(request: Request, error: Exception) -> Any:
    return Response(status_code=_CLIENT_GONE)


async def _http_error(request: Request, error: Exception) -> Any:
    assert isinstance(error, HTTPException)
    path, method = request.url.path, request.method
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow") or (error.headers or {}).get("allow", "")
        message = f"{path} does not support {method}, allowed: {allowed or 'another method'}"
        return ErrorResponse(405, message, error.headers)
    if error.status_code == 404:
        return ErrorResponse(404, f"there is no {path[:80]!r}; see GET /openapi.json")
    return ErrorResponse(error.status_code, str(error.detail), error.headers)


async def _internal_error(request: Request, error: Exception) -> Any:
    return ErrorResponse(500, "internal error; see the log of the server")
