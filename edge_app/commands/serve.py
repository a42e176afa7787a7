"""``edge-app serve``: a page, an HTTP interface and a WebSocket around a classifier."""

from __future__ import annotations

import argparse
import os
import secrets
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edge_app.commands import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK
from edge_app.commands.interrupts import leaving_on_interrupt
from edge_app.commands.options import (
    add_answer_options,
    add_model_options,
    add_transcription_options,
    make_classifier,
    make_interpreter,
    make_transcriber,
    wrong_usage,
)
from edge_app.commands.terminal import complain
from edge_app.threads import cores

if TYPE_CHECKING:
    from edge_app.classifier import Classifier
    from edge_app.language.interpretation import Interpreter
    from edge_app.server.settings import ServerSettings

TOKEN_VARIABLE: Final = "SER_EDGE_TOKEN"

_DESCRIPTION: Final = f"""\
Serve a page in the browser, an HTTP interface and a WebSocket: files, recordings and live sound
-> emotions. Nothing that is sent is stored, and nothing is fetched from elsewhere.

examples:
  edge-app serve --open                               # this machine only: http://127.0.0.1:8000/
  edge-app serve --host 0.0.0.0 --port 8080           # with a token, which is printed
  {TOKEN_VARIABLE}=... edge-app serve --host 0.0.0.0 --allow-host box.example.org
  edge-app serve --host 0.0.0.0 --certificate box.pem --key box.key   # https, for microphones
  edge-app serve --transcribe whisper-base-ov         # POST /process_audio: transcribes too
  curl -F file=@clip.wav http://127.0.0.1:8000/v1/predict
  curl --data-binary @clip.wav -H 'Content-Type: audio/wav' http://127.0.0.1:8000/v1/predict

Everything else: docs/how-to/server.md.

exit status: 0 stopped by a signal, 1 the port is not available, 2 wrong usage
"""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Describe the command to its parser."""
    command.description = _DESCRIPTION
    command.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)"
    )
    command.add_argument(
        "--port", type=int, default=8000, help="0 takes a free one (default: 8000)"
    )
    command.add_argument("--open", action="store_true", help="open the page in the browser")
    add_model_options(command)
    add_answer_options(command)
    add_transcription_options(command)
    access = command.add_argument_group("access control")
    access.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help=f"holds the token that clients must send (default: ${TOKEN_VARIABLE}; where --host "
        "is not this machine and there is none, one is generated and printed)",
    )
    access.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a further host name of this machine; may be repeated",
    )
    access.add_argument(
        "--allow-origin",
        action="append",
        default=[],
        metavar="URL",
        help="a further page that may send requests, such as https://panel.local; may be repeated",
    )
    access.add_argument("--certificate", type=Path, metavar="PEM", help="serve https")
    access.add_argument("--key", type=Path, metavar="PEM", help="of the certificate")
    limits = command.add_argument_group("limits")
    for name, kind, default, text in (
        ("--max-upload", float, 32.0, "MB of one file"),
        ("--max-seconds", float, 600.0, "length of one sound"),
        ("--transcribe-seconds", float, 30.0, "to transcribe one sound, waiting included"),
        ("--at-once", int, 16, "files at the same time; others get 503"),
        ("--per-client", int, 12, "of those from one address; others get 429"),
        ("--streams", int, 4, "WebSockets at the same time"),
        ("--workers", int, 2, "threads that decode and classify"),
    ):
        limits.add_argument(name, type=kind, default=default, help=f"{text} (default: {default:g})")
    command.set_defaults(service=True)


def run(options: argparse.Namespace) -> int:
    try:
        with leaving_on_interrupt():
            from edge_app.server.app import create_app
            from edge_app.server.lifecycle import bind
            from edge_app.server.lifecycle import run as run_server
            from edge_app.server.settings import is_loopback
    except ModuleNotFoundError as error:
        wrong_usage(options, f"this needs the extra serve: pip install 'ser-edge[serve]' ({error})")
    _check_addresses(options)
    token = _token(options)
    generated = token is None and not is_loopback(options.host)
    settings = _settings(options, secrets.token_urlsafe(18) if generated else token)
    interpreter = make_interpreter(options)
    try:
        listening = bind(options.host, options.port)
    except OSError as error:
        cause = error.strerror or error
        complain(options, f"cannot listen on {options.host} port {options.port}: {cause}")
        return EXIT_FAILED
    with listening:
        classifier = make_classifier(options)
        # Half of the cores at most: predictions must not wait for transcriptions.
        transcriber = make_transcriber(options, options.threads or max(1, cores() // 2))
        url = _url(options, listening.getsockname()[1])
        secret = f"#token={settings.token}" if settings.token else ""
        # The user's own token is not for the log.
        lines = _started(f"{url}{secret if generated else ''}", classifier, interpreter)

        def started() -> None:
            print(*lines, sep="\n", flush=True)
            if options.open:
                import webbrowser

                webbrowser.open(url + secret)

        app = create_app(classifier, settings, transcriber=transcriber, interpreter=interpreter)
        ended = run_server(app, listening, options.certificate, options.key, started)
    return EXIT_INTERRUPTED if ended == signal.SIGINT else EXIT_OK


def _started(url: str, classifier: Classifier, interpreter: Interpreter) -> list[str]:
    """What is printed once the server answers."""
    model = f"model {classifier.manifest.name} on {classifier.device}"
    lines = [f"{url}  ({model}; Ctrl-C stops)"]
    if (endpoint := interpreter.endpoint) is not None:
        lines.append(
            "scores, segments and transcriptions of POST /process_audio go to "
            f"{endpoint.model!r} at {endpoint.origin}, sounds do not"
        )
    return lines


def _check_addresses(options: argparse.Namespace) -> None:
    if not 0 <= options.port <= 65535:
        wrong_usage(options, f"--port is {options.port}, allowed: 0 to 65535")
    if (options.certificate is None) != (options.key is None):
        wrong_usage(options, "--certificate and --key go together")
    if options.certificate is not None:
        _check_certificate(options)


def _check_certificate(options: argparse.Namespace) -> None:
    import ssl

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(options.certificate, options.key)
    except (OSError, ValueError) as error:  # SSLError is an OSError
        wrong_usage(
            options,
            f"--certificate {str(options.certificate)!r} with --key {str(options.key)!r}: "
            f"{error.strerror if isinstance(error, OSError) else error}",
        )


def _token(options: argparse.Namespace) -> str | None:
    if options.token_file is not None:
        try:
            return str(options.token_file.read_text(encoding="utf-8")).strip()
        except (OSError, UnicodeDecodeError) as error:
            wrong_usage(options, f"--token-file {str(options.token_file)!r}: {error}")
    return os.environ.get(TOKEN_VARIABLE, "").strip() or None


def _settings(options: argparse.Namespace, token: str | None) -> ServerSettings:
    from edge_app.server.settings import ServerSettings

    values: dict[str, Any] = {
        "upload_bytes": round(options.max_upload * 2**20),
        "sound_seconds": options.max_seconds,
    }
    values["held_bytes"] = max(128 * 2**20, values["upload_bytes"])
    try:
        return ServerSettings(
            host=options.host,
            token=token,
            names=tuple(options.allow_host),
            origins=tuple(origin.rstrip("/") for origin in options.allow_origin),
            at_once=options.at_once,
            per_client=options.per_client,
            streams=options.streams,
            workers=options.workers,
            transcribe_seconds=options.transcribe_seconds,
            **values,
        )
    except (ValueError, OverflowError) as error:
        wrong_usage(options, str(error))


def _url(options: argparse.Namespace, port: int) -> str:
    host = options.host
    if host in ("0.0.0.0", "::"):
        host = socket.gethostname()
    if ":" in host:
        host = f"[{host}]"
    scheme = "http" if options.certificate is None else "https"
    return f"{scheme}://{host}:{port}/"
