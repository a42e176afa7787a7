"""Access control by host name, origin and token; security headers for browsers."""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from typing import Final
from urllib.parse import parse_qs, urlsplit

from edge_app.server.errors import (
    BODY_READ,
    AsgiApp,
    ErrorResponse,
    Message,
    Receive,
    RejectedError,
    Scope,
    Send,
)
from edge_app.server.metrics import Metrics
from edge_app.server.settings import ServerSettings
from edge_app.server.streams import SUBPROTOCOL

TOKEN_PROTOCOL: Final = "token."
"""Browsers cannot set headers on a WebSocket: they offer the subprotocols ``ser-edge`` and
``token.<TOKEN>``, and the server selects ``ser-edge``."""

PUBLIC: Final = frozenset({"/", "/healthz", "/readyz", "/openapi.json"})
"""Paths without secrets, which need no token; so do the page's files."""

PUBLIC_FOLDER: Final = "/static/"

_CONTENT_POLICY: Final = (
    "default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self'; "
    "img-src 'self' data: blob:; media-src blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = (
    ("content-security-policy", _CONTENT_POLICY),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("permissions-policy", "microphone=(self), camera=(), geolocation=()"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
)
_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class AccessMiddleware:
    """Rejects unknown hosts, foreign origins and wrong tokens before the body is read.

    Parameters
    ----------
    app : ASGI application
    settings : ServerSettings
    metrics : Metrics
    """

    def __init__(self, app: AsgiApp, settings: ServerSettings, metrics: Metrics) -> None:
        self._app = app
        self._settings = settings
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or reject it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        cache = b"no-cache" if _is_public(scope["path"]) else b"no-store"

        async def with_headers(message: Message) -> None:
            if message["type"].endswith("response.start"):
                headers = list(message.get("headers", ()))
                headers += [(name.encode(), value.encode()) for name, value in _HEADERS]
                headers.append((b"cache-control", cache))
                message = {**message, "headers": headers}
            await send(message)

        async def track_body() -> Message:
            message = await receive()
            if message["type"] == "http.request" and not message.get("more_body"):
                scope[BODY_READ] = True
            return message

        try:
            self._check_host(scope)
            self._check_origin(scope)
            self._check_token(scope)
        except RejectedError as error:
            self._metrics.rejected.labels(error.reason).inc()
            if scope["type"] == "websocket":
                await receive()  # the connect message
            await ErrorResponse.of(error)(scope, receive, with_headers)
            return
        await self._app(scope, track_body, with_headers)

    def _check_host(self, scope: Scope) -> None:
        hosts = _values(scope, b"host")
        name = _hostname(hosts[0]) if len(hosts) == 1 else ""
        if not self._settings.accepts_host(name):
            raise RejectedError(
                421,
                f"the Host header is {', '.join(hosts)[:80]!r}, not a name of this server; "
                "allowed: its address, localhost, or a name given with --allow-host",
                "host",
            )

    def _check_origin(self, scope: Scope) -> None:
        if scope["type"] == "http" and scope["method"] in _SAFE_METHODS:
            return
        own = _authority(_values(scope, b"host")[0])
        for origin in _values(scope, b"origin"):
            if origin in self._settings.origins:
                continue
            try:
                parts = urlsplit(origin)
                same = parts.scheme in ("http", "https") and _authority(parts.netloc) == own
            except ValueError:
                same = False
            if not same:
                raise RejectedError(
                    403,
                    f"pages from {origin[:80]!r} may not use this server; allowed: its own page, "
                    "or an origin given with --allow-origin",
                    "origin",
                )

    def _check_token(self, scope: Scope) -> None:
        token = self._settings.token
        if token is None or _is_public(scope["path"]):
            return
        matches = [hmac.compare_digest(sent.encode(), token.encode()) for sent in _tokens(scope)]
        if not any(matches):
            raise RejectedError(
                401,
                "this server needs a token: the header Authorization: Bearer TOKEN, for a "
                f"WebSocket also ?token=TOKEN or the subprotocols {SUBPROTOCOL}, "
                f"{TOKEN_PROTOCOL}TOKEN",
                "token",
            )


def _is_public(path: str) -> bool:
    return path in PUBLIC or path.startswith(PUBLIC_FOLDER)


def _values(scope: Scope, name: bytes) -> list[str]:
    headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
    return [value.decode("latin-1") for key, value in headers if key == name]


def _authority(text: str) -> str:
    """Host and port, without the default ports of http and https."""
    text = text.lower()
    for port in (":80", ":443"):
        if text.endswith(port):
            return text.removesuffix(port)
    return text


def _hostname(host: str) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _tokens(scope: Scope) -> list[str]:
    tokens = [
        value[7:].strip()
        for value in _values(scope, b"authorization")
        if value[:7].lower() == "bearer "
    ]
    if scope["type"] == "websocket":
        query = scope.get("query_string", b"").decode("latin-1")
        tokens += parse_qs(query).get("token", [])
        tokens += [
            protocol.removeprefix(TOKEN_PROTOCOL)
            for protocol in scope.get("subprotocols", ())
            if protocol.startswith(TOKEN_PROTOCOL)
        ]
    return tokens
