"""Who may come in: by which name, from which page, with which token. And what browsers are told."""

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
    RefusedError,
    Scope,
    Send,
)
from edge_app.server.metrics import Metrics
from edge_app.server.settings import ServerSettings
from edge_app.server.streams import SUBPROTOCOL

TOKEN_PROTOCOL: Final = "token."
"""A browser cannot set headers on a WebSocket: it offers the subprotocols ``ser-edge`` and
``token.<TOKEN>``, and gets ``ser-edge``."""

PUBLIC: Final = frozenset({"/", "/healthz", "/readyz", "/openapi.json"})
"""What needs no token, beside the page's own files: none of it says anything secret."""

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


class Guard:
    """Refuses strange names, strange pages and wrong tokens before anything is read.

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
        """Pass a request on, or refuse it."""
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

        async def noted() -> Message:
            message = await receive()
            if message["type"] == "http.request" and not message.get("more_body"):
                scope[BODY_READ] = True
            return message

        try:
            self._check_name(scope)
            self._check_page(scope)
            self._check_token(scope)
        except RefusedError as refused:
            self._metrics.refused.labels(refused.reason).inc()
            if scope["type"] == "websocket":
                await receive()  # its connect
            await ErrorResponse.of(refused)(scope, receive, with_headers)
            return
        await self._app(scope, noted, with_headers)

    def _check_name(self, scope: Scope) -> None:
        hosts = _values(scope, b"host")
        name = _hostname(hosts[0]) if len(hosts) == 1 else ""
        if not self._settings.knows(name):
            raise RefusedError(
                421,
                f"the Host header says {', '.join(hosts)[:80]!r}, which is not a name of this "
                "server; allowed: its address, localhost, or a name given with --allow-host",
                "host",
            )

    def _check_page(self, scope: Scope) -> None:
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
                raise RefusedError(
                    403,
                    f"a page of {origin[:80]!r} may not use this server; allowed: its own page, or "
                    "an origin given with --allow-origin",
                    "origin",
                )

    def _check_token(self, scope: Scope) -> None:
        token = self._settings.token
        if token is None or _is_public(scope["path"]):
            return
        matches = [hmac.compare_digest(said.encode(), token.encode()) for said in _tokens(scope)]
        if not any(matches):
            raise RefusedError(
                401,
                "this server needs its token: the header Authorization: Bearer TOKEN, for a "
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
    """Host and port, the ports of http and https left out."""
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
    said = [
        value[7:].strip()
        for value in _values(scope, b"authorization")
        if value[:7].lower() == "bearer "
    ]
    if scope["type"] == "websocket":
        query = scope.get("query_string", b"").decode("latin-1")
        said += parse_qs(query).get("token", [])
        said += [
            protocol.removeprefix(TOKEN_PROTOCOL)
            for protocol in scope.get("subprotocols", ())
            if protocol.startswith(TOKEN_PROTOCOL)
        ]
    return said
