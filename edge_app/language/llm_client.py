"""A chat completion from an OpenAI-compatible endpoint: URL, key and model from the environment.

A request costs at most its time limit, a megabyte and one thread, also if the server hangs, sends
slowly, redirects or never stops sending. Nothing that the server sends becomes part of an error
message. Python's ``http.client`` is used because common HTTP clients limit the time between two
bytes, not that of the whole exchange. It is imported where it is used, to keep start-up fast.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import unicodedata
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from typing import Final, NoReturn
from urllib.parse import SplitResult, urlsplit

from ser_edge import __version__

URL_VARIABLE: Final = "SER_EDGE_LLM_URL"
KEY_VARIABLE: Final = "SER_EDGE_LLM_KEY"
MODEL_VARIABLE: Final = "SER_EDGE_LLM_MODEL"

DEFAULT_SECONDS: Final = 20.0

MAX_BYTES: Final = 2**20
"""Size of a response; reasoning models include their reasoning."""

MAX_CHARACTERS: Final = 4000
"""Length of the text in a response."""

_SECRET_CHARACTERS: Final = 12  # a shorter key (ollama, none) may be an ordinary word of the text
_PATH: Final = "/chat/completions"
_DEFAULT_BASE: Final = "/v1"  # Ollama, llama.cpp, vLLM; OpenVINO Model Server has /v3
_END_OF_REASONING: Final = "</think>"

_STATUS: Final[Mapping[int, str]] = {
    401: f"it rejects the key (${KEY_VARIABLE})",
    403: f"it rejects the key (${KEY_VARIABLE})",
    404: f"it has no such path or model (${URL_VARIABLE}, ${MODEL_VARIABLE})",
    429: "it has too many requests, or the account has no credit left",
}


class EndpointError(Exception):
    """No usable answer. The message is one sentence without secrets.

    Parameters
    ----------
    message : str
    unreachable : bool
        There is no connection or no answer in time: a retry soon is unlikely to help.
    """

    def __init__(self, message: str, unreachable: bool = False) -> None:
        super().__init__(f"the language model: {message}")
        self.unreachable = unreachable


@dataclass(frozen=True)
class Endpoint:
    """A language model behind HTTP.

    Parameters
    ----------
    url : str
        ``http`` or ``https``: a base URL as for OpenAI clients, such as
        ``http://127.0.0.1:11434/v1``, or the full URL up to ``/chat/completions``. Without a path,
        ``/v1``.
    model : str
        Name of the model on the server.
    key : str or None
        Sent as a bearer token.
    seconds : float
        Time limit for request and response together; 0.1 to 600.

    Raises
    ------
    ValueError
        A value is not allowed; the message never contains the key or the URL.
    """

    url: str = field(repr=False)  # the query may contain a secret
    model: str
    key: str | None = field(default=None, repr=False)
    seconds: float = DEFAULT_SECONDS

    def __post_init__(self) -> None:
        parts = _parts(self.url)
        if parts is None:
            raise ValueError(
                f"{URL_VARIABLE} should be like http://127.0.0.1:11434/v1: http or https, a host, "
                f"no user, no fragment (the key goes in {KEY_VARIABLE})"
            )
        if not self.model.strip() or not self.model.isprintable():
            raise ValueError(f"{MODEL_VARIABLE} should name the model, such as llama3.2")
        if self.key is not None and not (self.key and _is_header_text(self.key)):
            raise ValueError(f"{KEY_VARIABLE} should be printable ASCII without spaces")
        if not 0.1 <= self.seconds <= 600:
            raise ValueError(f"seconds is {self.seconds}, allowed: 0.1 to 600")

    @property
    def origin(self) -> str:
        """Scheme, host and port: the part of the URL that may be shown."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"

    def start(self, messages: Sequence[Mapping[str, str]]) -> Exchange:
        """Send the request in a thread; the answer is ``Exchange.text``."""
        return Exchange(self, messages)

    def timeout_error(self) -> EndpointError:
        """The error for no answer in time."""
        return EndpointError(f"no answer within {self.seconds:g} s", unreachable=True)


def endpoint_from_environment(seconds: float = DEFAULT_SECONDS) -> Endpoint | None:
    """The endpoint that environment variables describe; None if they describe none.

    Raises
    ------
    ValueError
        A variable is missing or wrong.
    """
    url, key, model = (
        os.environ.get(name, "").strip() for name in (URL_VARIABLE, KEY_VARIABLE, MODEL_VARIABLE)
    )
    if not url:
        return None
    if not model:
        raise ValueError(f"{URL_VARIABLE} is set, {MODEL_VARIABLE} is not: set it to a model name")
    return Endpoint(url, model, key or None, seconds)


class Exchange:
    """A request in a thread of its own that can be cancelled at any time.

    Attributes
    ----------
    text : Future of str
        The answer, or EndpointError. Whoever waits for it limits the time and calls :meth:`end`.
    """

    def __init__(self, endpoint: Endpoint, messages: Sequence[Mapping[str, str]]) -> None:
        self.text: Future[str] = Future()
        self._endpoint = endpoint
        # No temperature and no length, which some models reject: time and size are limited here.
        request = {"model": endpoint.model, "messages": list(messages), "stream": False}
        self._body = json.dumps(request).encode()
        self._lock = threading.Lock()
        self._ended = False
        self._socket: socket.socket | None = None
        threading.Thread(target=self._run, name="endpoint", daemon=True).start()

    def end(self) -> None:
        """Close the connection, which ends the thread. Does nothing if it has ended."""
        with self._lock:
            self._ended = True
            if self._socket is not None:
                with contextlib.suppress(OSError):
                    # Also for TLS: SSLSocket.shutdown() is not safe while another thread reads.
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def _run(self) -> None:
        try:
            text, error = self._exchange(), None
        except EndpointError as failure:
            text, error = "", failure
        except Exception as other:  # whatever the server sends is neither raised nor shown
            text, error = "", EndpointError(f"it failed ({type(other).__name__})")
        with self._lock:
            if self._socket is not None:
                self._socket.close()
        with contextlib.suppress(InvalidStateError):  # the waiter has cancelled it
            if error is None:
                self.text.set_result(text)
            else:
                self.text.set_exception(error)

    def _exchange(self) -> str:
        import ssl
        from http.client import HTTPException

        try:
            return read_text(self._answer(), self._endpoint.key)
        except TimeoutError:
            raise self._endpoint.timeout_error() from None
        except ConnectionRefusedError:
            raise EndpointError("nothing listens at its address", unreachable=True) from None
        except socket.gaierror:
            raise EndpointError(
                "the name of its host cannot be resolved", unreachable=True
            ) from None
        except ssl.SSLCertVerificationError as error:
            raise EndpointError(f"its certificate is not trusted: {error.verify_message}") from None
        except ssl.SSLError:
            raise EndpointError("it does not speak TLS (https)") from None
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else "the connection was lost"
            raise EndpointError(reason, unreachable=True) from None
        except HTTPException:
            raise EndpointError("its response is incomplete or not HTTP") from None

    def _answer(self) -> bytes:
        """The body of a response with status 200."""
        from http.client import HTTPConnection, IncompleteRead

        url = urlsplit(self._endpoint.url)
        path = url.path.rstrip("/") or _DEFAULT_BASE
        path = path if path.endswith(_PATH) else path + _PATH
        headers = {
            "Content-Type": "application/json",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": f"ser-edge/{__version__}",
            "Connection": "close",
        }
        if self._endpoint.key is not None:
            headers["Authorization"] = f"Bearer {self._endpoint.key}"
        connection = HTTPConnection(str(url.hostname), url.port)
        connection.sock = self._connect(url)
        target = f"{path}?{url.query}" if url.query else path
        connection.request("POST", target, self._body, headers)
        with connection.getresponse() as response:
            _check_status(response.status)
            body = response.read(MAX_BYTES + 1)
            if len(body) > MAX_BYTES:
                raise EndpointError(f"its response is larger than {MAX_BYTES >> 20} MB")
            if response.length:  # it announced more than it sent
                raise IncompleteRead(b"")
            return body

    def _connect(self, url: SplitResult) -> socket.socket:
        is_tls = url.scheme == "https"
        host = str(url.hostname)
        port = url.port or (443 if is_tls else 80)
        plain = socket.create_connection((host, port), self._endpoint.seconds)
        self._hold(plain)
        if not is_tls:
            return plain
        import ssl

        tls = ssl.create_default_context().wrap_socket(
            plain, server_hostname=host, do_handshake_on_connect=False
        )
        self._hold(tls)
        tls.do_handshake()
        return tls

    def _hold(self, opened: socket.socket) -> None:
        with self._lock:
            self._socket = opened
            if self._ended:
                opened.close()
                raise EndpointError("the request was cancelled")


def read_text(body: bytes, key: str | None = None) -> str:
    """The text of a chat completion.

    Parameters
    ----------
    body : bytes
        JSON with ``choices[0].message.content``.
    key : str, optional
        API key: a text that contains it is rejected.

    Raises
    ------
    EndpointError
        The body is not a chat completion, a refusal, empty, or too long.
    """
    try:
        message = json.loads(body)["choices"][0]["message"]
        content, refusal = message.get("content"), message.get("refusal")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        _no_completion()
    if content is None and isinstance(refusal, str):
        raise EndpointError("it declines to answer")
    if content is None:
        content = ""
    if not isinstance(content, str):
        _no_completion()
    text = _printable(content.rpartition(_END_OF_REASONING)[2])
    if not text:
        raise EndpointError("its answer is empty")
    if len(text) > MAX_CHARACTERS:
        raise EndpointError(f"its answer has {len(text)} characters, allowed: {MAX_CHARACTERS}")
    if key is not None and len(key) >= _SECRET_CHARACTERS and key in text:
        raise EndpointError("its answer contains the key")
    return text


def _no_completion() -> NoReturn:
    raise EndpointError("its response is not a chat completion")


def _printable(text: str) -> str:
    """Text without control characters, surrogates and marks that change the text direction."""
    bidi = {*map(chr, range(0x202A, 0x202F)), *map(chr, range(0x2066, 0x206A))}
    kept = (
        c
        for c in text
        if c == "\n" or not (unicodedata.category(c) in ("Cc", "Cs", "Co") or c in bidi)
    )
    return "".join(kept).strip()


def _check_status(status: int) -> None:
    if status == 200:
        return
    if 300 <= status < 400:  # following would send the key to an address that the server chooses
        raise EndpointError(f"it redirects ({status}), which is not followed: set ${URL_VARIABLE}")
    reason = _STATUS.get(status, "it failed" if status >= 500 else "it rejects the request")
    raise EndpointError(f"{reason} ({status})")


def _parts(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        valid = (
            parts.scheme in ("http", "https")
            and bool(parts.hostname)
            and parts.username is None
            and not parts.fragment
            and _is_header_text(url)
            and parts.port != 0
        )
    except ValueError:  # a port that is not a number, an incomplete IPv6 address
        return None
    return parts if valid else None


def _is_header_text(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text
