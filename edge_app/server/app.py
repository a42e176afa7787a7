"""The routes."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any, Final

from fastapi import FastAPI, Request, Response, WebSocket
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from edge_app.classifier import Classifier
from edge_app.inference.model_store import model_names
from edge_app.inference.runtime import DeviceError
from edge_app.language.annotations import Missing, Words
from edge_app.language.interpretation import Interpreter
from edge_app.language.transcription import Transcriber
from edge_app.results import Prediction
from edge_app.server import schemas
from edge_app.server.access import Guard
from edge_app.server.admission import Gate, Place
from edge_app.server.annotations import WordService
from edge_app.server.assets import Asset, read_assets
from edge_app.server.errors import (
    AsgiApp,
    ClientGoneError,
    ErrorResponse,
    Receive,
    RefusedError,
    Scope,
    Send,
)
from edge_app.server.inference import Engine, MakeLive, make_live, stopping
from edge_app.server.metrics import CONTENT_TYPE, Measured, Metrics
from edge_app.server.settings import ServerSettings
from edge_app.server.streams import Streams
from edge_app.server.uploads import Upload, read_upload
from ser_edge import __version__
from ser_edge.audio.base import AudioError
from ser_edge.audio.files import sound_suffixes
from ser_edge.labels import GROUPINGS

_LOG = logging.getLogger("edge_app.server")
_CLIENT_GONE: Final = 499  # nginx' number; nobody reads it, but the metrics show it
_ICON: Final = "icon.svg"


class Served:
    """A classifier with its limits, threads, streams and counters: an ASGI application.

    Parameters
    ----------
    classifier : Classifier
    settings : ServerSettings
    live : function
        Makes what listens to a stream.
    transcriber : Transcriber, optional
        Writes down what is said.
    interpreter : Interpreter, optional
        Says what it might mean; plain sentences unless told.
    """

    def __init__(
        self,
        classifier: Classifier,
        settings: ServerSettings,
        live: MakeLive = make_live,
        transcriber: Transcriber | None = None,
        interpreter: Interpreter | None = None,
    ) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.gate = Gate(settings)
        self.words = WordService(
            transcriber, interpreter or Interpreter(None), self.gate, settings.transcribe_seconds
        )
        self.engine = Engine(classifier, settings, live)
        self.streams = Streams(self.engine, settings, self.metrics)
        self.stopping = False
        self._begun = time.monotonic()
        manifest = classifier.manifest
        self.metrics.model.labels(manifest.name, classifier.device, manifest.precision).set(1)
        self.metrics.inside.set_function(lambda: self.gate.inside)
        self.metrics.held.set_function(lambda: self.gate.bytes)
        self.metrics.streams.set_function(lambda: self.streams.count)
        routes = _routes(self, read_assets())
        paths = frozenset(
            path for route in routes.routes if (path := getattr(route, "path", "")).count("{") == 0
        )
        guarded: AsgiApp = Guard(routes, settings, self.metrics)
        self.routes = routes
        self._app = Measured(guarded, self.metrics, paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        await self._app(scope, receive, send)

    async def stop(self, seconds: float = 1.0) -> None:
        """Take nothing on any more, and end the streams well."""
        self.stopping = True
        self.engine.begin_to_stop()
        self.words.stop()
        await self.streams.stop(seconds)
        self.engine.stop()

    @property
    def busy(self) -> bool:
        """Whether a thread is still at work on a sound."""
        return self.engine.busy or self.words.busy

    def enter(self, request: Request) -> Place:
        """A place for a request with a sound."""
        if self.stopping:
            raise stopping()
        return self.gate.enter(request.client.host if request.client else "?")

    def health(self) -> dict[str, Any]:
        """What ``/healthz`` says."""
        return {
            "status": "ok",
            "version": __version__,
            "uptime": round(time.monotonic() - self._begun, 1),
        }

    def readiness(self) -> dict[str, Any]:
        """What ``/readyz`` says."""
        failed = self.engine.device_error
        ready = not self.stopping and failed is None
        reason = "the server is stopping" if self.stopping else failed
        return {
            "ready": ready,
            **({} if ready else {"error": reason}),
            "requests": {"open": self.gate.inside, "most": self.settings.at_once},
            "streams": {"open": self.streams.count, "most": self.settings.streams},
        }

    def models(self) -> dict[str, Any]:
        """What ``/v1/models`` says."""
        classifier = self.engine.classifier
        manifest = classifier.manifest
        spec = manifest.spec
        settings = self.settings
        return {
            "models": [
                {
                    "name": manifest.name,
                    "precision": manifest.precision,
                    "device": classifier.device,
                    "labels": list(classifier.labels),
                    "profile": None if classifier.profile is None else classifier.profile.name,
                    "image": {**asdict(spec), "frames": spec.frames},
                    "temperature": manifest.calibration.temperature,
                    "threshold": manifest.calibration.threshold,
                    "corpora": list(manifest.corpora),
                    "licence": manifest.licence,
                    "metrics": dict(manifest.metrics),
                    "weights_sha256": manifest.weights_sha256,
                    "git_revision": manifest.git_revision,
                }
            ],
            "installed": model_names(),
            "limits": {
                "upload_bytes": settings.upload_bytes,
                "sound_seconds": settings.sound_seconds,
                "streams": settings.streams,
                "suffixes": sorted(sound_suffixes() | {".png"}),
            },
            "groupings": sorted(GROUPINGS),
            "words": self.words.describe(),
            "version": __version__,
        }

    async def predict(self, request: Request) -> dict[str, Any]:
        """Answer a sound."""
        answer, _ = await self._predict(request)
        return answer.to_dict()

    async def process(self, request: Request) -> dict[str, Any]:
        """Answer a sound in a form, with words.

        Its place is given back once the emotion is known: words take none from other sounds.
        """
        end = time.monotonic() + self.settings.answer_seconds
        answer, upload = await self._predict(request, form_only=True)
        gone = _gone(request)
        said = await self.words.transcription(upload, answer, end - time.monotonic(), gone)
        del upload
        meant = await self.words.interpretation(answer, said, end - time.monotonic(), gone)
        for name, field in (("transcription", said), ("interpretation", meant)):
            outcome = "missing" if isinstance(field, Missing) else "there"
            self.metrics.words.labels(name, outcome).inc()
        return schemas.processed(answer, Words(said, meant))

    async def _predict(
        self, request: Request, form_only: bool = False
    ) -> tuple[Prediction, Upload]:
        with self.enter(request) as place:
            upload = await read_upload(request, place, self.settings, form_only)
            answer = await self.engine.predict(upload, place, _gone(request))
        self.metrics.answers.labels(answer.emotion).inc()
        self.metrics.sound.inc(answer.duration)
        return answer, upload

    async def image(self, request: Request, start: float) -> bytes:
        """The mel image of a window, as PNG."""
        with self.enter(request) as place:
            upload: Upload = await read_upload(request, place, self.settings)
            if upload.is_mel_image:
                raise RefusedError(422, f"{upload.name}: it is a mel image already", "type")
            return await self.engine.image(upload, start, place, _gone(request))


def create_app(
    classifier: Classifier,
    settings: ServerSettings,
    live: MakeLive = make_live,
    transcriber: Transcriber | None = None,
    interpreter: Interpreter | None = None,
) -> Served:
    """A classifier -> an ASGI application, for uvicorn or any other server.

    Parameters
    ----------
    classifier : Classifier
    settings : ServerSettings
    live : function
        Makes what listens to a stream; :class:`edge_app.live.session.Live` unless told.
    transcriber, interpreter
        As :class:`Served` takes them.

    Returns
    -------
    Served
    """
    return Served(classifier, settings, live, transcriber, interpreter)


def _gone(request: Request) -> Any:
    async def wait() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    return wait


def _routes(served: Served, assets: dict[str, Asset]) -> FastAPI:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await served.stop()

    # FastAPI's own pages of documentation load their scripts from a CDN.
    app = FastAPI(
        title="ser-edge",
        version=__version__,
        description=schemas.DESCRIPTION,
        license_info={"name": "Apache-2.0; weights: their own, see GET /v1/models"},
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    _add_errors(app, served)
    _add_pages(app, assets)

    @app.post(
        "/process_audio",
        tags=["sounds"],
        summary="A sound in a form -> probabilities, what is said, what it might mean",
        description="What is missing is null, with a reason beside it. An interpretation's source "
        "is `llm`, a language model, or `scores`, a plain sentence made from the probabilities.",
        responses=schemas.sound_answers(schemas.json_answer(schemas.PROCESSED, "what is heard")),
        openapi_extra=schemas.request_body(schemas.FORM_BODY),
    )
    async def process_audio(request: Request) -> JSONResponse:
        return JSONResponse(await served.process(request))

    @app.post(
        "/v1/predict",
        tags=["sounds"],
        summary="A sound or a mel image -> an emotion, with scores, over time",
        responses=schemas.sound_answers(schemas.json_answer(schemas.PREDICTION, "what is heard")),
        openapi_extra=schemas.request_body(schemas.FORM_BODY, schemas.RAW_BODY),
    )
    async def predict(request: Request) -> JSONResponse:
        return JSONResponse(await served.predict(request))

    @app.post(
        "/v1/image",
        tags=["sounds"],
        summary="A sound -> the mel image of one of its windows, as the network sees it",
        description="8-bit grey PNG, the lowest band in the first row. It may be sent to "
        "/v1/predict in place of the sound.",
        response_class=Response,
        responses=schemas.sound_answers({"content": {"image/png": {}}, "description": "the image"}),
        openapi_extra=schemas.request_body(schemas.FORM_BODY, schemas.RAW_BODY),
    )
    async def image(request: Request, start: float = 0.0) -> Response:
        return Response(await served.image(request, start), media_type="image/png")

    @app.websocket("/v1/stream")
    async def stream(socket: WebSocket) -> None:
        try:
            await served.streams.serve(socket)
        except RefusedError as refused:
            served.metrics.refused.labels(refused.reason).inc()
            await ErrorResponse.of(refused)(socket.scope, socket.receive, socket._send)

    @app.get("/v1/stream", include_in_schema=False)
    async def no_stream() -> None:
        raise RefusedError(426, "this is a WebSocket: ws://.../v1/stream?rate=16000", "type")

    @app.get("/v1/models", tags=["server"], summary="The model that is loaded, and the limits")
    async def models() -> dict[str, Any]:
        return served.models()

    @app.get("/healthz", tags=["server"], summary="Whether the process lives")
    async def healthz() -> dict[str, Any]:
        return served.health()

    @app.get("/readyz", tags=["server"], summary="Whether it takes on work; 503 if not")
    async def readyz() -> JSONResponse:
        await served.engine.check()
        state = served.readiness()
        return JSONResponse(state, 200 if state["ready"] else 503)

    @app.get("/metrics", tags=["server"], summary="Counters for Prometheus")
    async def metrics() -> Response:
        return Response(served.metrics.text(), headers={"content-type": CONTENT_TYPE})

    _restore_nulls(app)
    return app


def _restore_nulls(app: FastAPI) -> None:
    """FastAPI leaves null out of examples, where it is half of what they are there to say."""
    described = app.openapi()
    for path, example in (
        ("/v1/predict", schemas.PREDICTION),
        ("/process_audio", schemas.PROCESSED),
    ):
        answer = described["paths"][path]["post"]["responses"]["200"]
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


def _add_errors(app: FastAPI, served: Served) -> None:
    def refuse(refused: RefusedError) -> ErrorResponse:
        served.metrics.refused.labels(refused.reason).inc()
        return ErrorResponse.of(refused)

    async def refused(request: Request, error: Exception) -> Any:
        assert isinstance(error, RefusedError)
        return refuse(error)

    async def not_sound(request: Request, error: Exception) -> Any:
        return refuse(RefusedError(422, str(error), "sound"))

    async def device(request: Request, error: Exception) -> Any:
        served.metrics.failures.inc()
        _LOG.error("the device failed: %s", error)
        return refuse(RefusedError(503, str(error), "device", retry_after=30))

    async def gone(request: Request, error: Exception) -> Any:
        return Response(status_code=_CLIENT_GONE)

    async def http(request: Request, error: Exception) -> Any:
        assert isinstance(error, HTTPException)
        path, method = request.url.path, request.method
        if error.status_code == 405:
            allowed = (error.headers or {}).get("Allow") or (error.headers or {}).get("allow", "")
            message = f"{method} is not for {path}, allowed: {allowed or 'another method'}"
            return ErrorResponse(405, message, error.headers)
        if error.status_code == 404:
            return ErrorResponse(404, f"there is no {path[:80]!r}; GET /openapi.json says what is")
        return ErrorResponse(error.status_code, str(error.detail), error.headers)

    async def query(request: Request, error: Exception) -> Any:
        problems: list[dict[str, Any]] = getattr(error, "errors", list)()
        said = "; ".join(f"{p['loc'][-1]}: {p['msg']}" for p in problems) or "wrong parameters"
        return refuse(RefusedError(422, said, "query"))

    async def fault(request: Request, error: Exception) -> Any:
        return ErrorResponse(500, "something went wrong in the server; its log says what")

    from fastapi.exceptions import RequestValidationError

    app.add_exception_handler(RefusedError, refused)
    app.add_exception_handler(AudioError, not_sound)
    app.add_exception_handler(DeviceError, device)
    app.add_exception_handler(ClientGoneError, gone)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RequestValidationError, query)
    app.add_exception_handler(Exception, fault)
