"""The ASGI application: routes behind access control and metrics."""

from __future__ import annotations

from edge_app.classifier import Classifier
from edge_app.language.interpretation import Interpreter
from edge_app.language.transcription import Transcriber
from edge_app.server.access import AccessMiddleware
from edge_app.server.errors import Receive, Scope, Send
from edge_app.server.inference import MakeLive, make_live
from edge_app.server.metrics import MetricsMiddleware
from edge_app.server.routes import build_routes
from edge_app.server.service import Service
from edge_app.server.settings import ServerSettings


class ServerApp:
    """An ASGI application for a service.

    Parameters
    ----------
    service : Service
    """

    def __init__(self, service: Service) -> None:
        self.service = service
        routes = build_routes(service)
        paths = frozenset(
            path for route in routes.routes if "{" not in (path := getattr(route, "path", ""))
        )
        protected = AccessMiddleware(routes, service.settings, service.metrics)
        self._app = MetricsMiddleware(protected, service.metrics, paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        await self._app(scope, receive, send)


def create_app(
    classifier: Classifier,
    settings: ServerSettings,
    live: MakeLive = make_live,
    transcriber: Transcriber | None = None,
    interpreter: Interpreter | None = None,
) -> ServerApp:
    """A classifier -> an ASGI application, for uvicorn or any other server.

    Parameters and errors are those of :class:`edge_app.server.service.Service`.
    """
    return ServerApp(Service(classifier, settings, live, transcriber, interpreter))
