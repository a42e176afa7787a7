"""The service behind the routes: a classifier with its limits, threads, streams and metrics."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

from starlette.requests import Request

from edge_app.classifier import Classifier
from edge_app.inference.model_store import model_names
from edge_app.language.annotations import Annotations, Missing
from edge_app.language.interpretation import Interpreter
from edge_app.language.transcription import Transcriber
from edge_app.results import Prediction
from edge_app.server import schemas
from edge_app.server.admission import AdmissionControl, Slot
from edge_app.server.annotations import AnnotationService
from edge_app.server.errors import RejectedError
from edge_app.server.inference import Engine, MakeLive, make_live, stopping
from edge_app.server.metrics import Metrics
from edge_app.server.settings import ServerSettings
from edge_app.server.streams import Streams
from edge_app.server.uploads import Upload, read_upload
from ser_edge import __version__
from ser_edge.audio.files import sound_suffixes
from ser_edge.labels import GROUPINGS


class Service:
    """What the routes need: a classifier with its limits, threads, streams and metrics.

    Parameters
    ----------
    classifier : Classifier
    settings : ServerSettings
    live : function
        Makes the live session of a stream.
    transcriber : Transcriber, optional
        Without one, ``/process_audio`` gives no transcription.
    interpreter : Interpreter, optional
        By default interpretations are plain sentences made from the scores.
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
        self.admission = AdmissionControl(settings)
        self.annotations = AnnotationService(
            transcriber,
            interpreter or Interpreter(None),
            self.admission,
            settings.transcribe_seconds,
        )
        self.engine = Engine(classifier, settings, live)
        self.streams = Streams(self.engine, settings, self.metrics)
        self.stopping = False
        self._begun = time.monotonic()
        manifest = classifier.manifest
        self.metrics.model.labels(manifest.name, classifier.device, manifest.precision).set(1)
        self.metrics.open_requests.set_function(lambda: self.admission.open_requests)
        self.metrics.held.set_function(lambda: self.admission.bytes)
        self.metrics.streams.set_function(lambda: self.streams.count)

    async def stop(self, seconds: float = 1.0) -> None:
        """Accept no more requests and end the streams."""
        self.stopping = True
        self.engine.begin_to_stop()
        self.annotations.stop()
        await self.streams.stop(seconds)
        self.engine.stop()

    @property
    def busy(self) -> bool:
        """Whether a thread is still working on a file."""
        return self.engine.busy or self.annotations.busy

    def admit(self, request: Request) -> Slot:
        """A slot for a request with a file."""
        if self.stopping:
            raise stopping()
        return self.admission.admit(request.client.host if request.client else "?")

    def health(self) -> dict[str, Any]:
        """Response of ``/healthz``."""
        return {
            "status": "ok",
            "version": __version__,
            "uptime": round(time.monotonic() - self._begun, 1),
        }

    def readiness(self) -> dict[str, Any]:
        """Response of ``/readyz``."""
        failed = self.engine.device_error
        ready = not self.stopping and failed is None
        reason = "the server is stopping" if self.stopping else failed
        return {
            "ready": ready,
            **({} if ready else {"error": reason}),
            "requests": {"open": self.admission.open_requests, "most": self.settings.at_once},
            "streams": {"open": self.streams.count, "most": self.settings.streams},
        }

    def models(self) -> dict[str, Any]:
        """Response of ``/v1/models``."""
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
            "words": self.annotations.describe(),
            "version": __version__,
        }

    async def predict(self, request: Request) -> dict[str, Any]:
        """Response of ``/v1/predict``."""
        answer, _ = await self._predict(request)
        return answer.to_dict()

    async def process(self, request: Request) -> dict[str, Any]:
        """Response of ``/process_audio``.

        The slot is released when the emotion is known: annotations need none.
        """
        end = time.monotonic() + self.settings.answer_seconds
        answer, upload = await self._predict(request, form_only=True)
        gone = _gone(request)
        transcription = await self.annotations.transcription(
            upload, answer, end - time.monotonic(), gone
        )
        del upload
        interpretation = await self.annotations.interpretation(
            answer, transcription, end - time.monotonic(), gone
        )
        for name, field in (("transcription", transcription), ("interpretation", interpretation)):
            outcome = "missing" if isinstance(field, Missing) else "there"
            self.metrics.annotations.labels(name, outcome).inc()
        return schemas.processed(answer, Annotations(transcription, interpretation))

    async def _predict(
        self, request: Request, form_only: bool = False
    ) -> tuple[Prediction, Upload]:
        with self.admit(request) as slot:
            upload = await read_upload(request, slot, self.settings, form_only)
            answer = await self.engine.predict(upload, slot, _gone(request))
        self.metrics.answers.labels(answer.emotion).inc()
        self.metrics.sound.inc(answer.duration)
        return answer, upload

    async def image(self, request: Request, start: float) -> bytes:
        """The mel image of a window, as PNG."""
        with self.admit(request) as slot:
            upload: Upload = await read_upload(request, slot, self.settings)
            if upload.is_mel_image:
                raise RejectedError(422, f"{upload.name}: it is already an image", "type")
            return await self.engine.image(upload, start, slot, _gone(request))


def _gone(request: Request) -> Any:
    async def wait() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    return wait
