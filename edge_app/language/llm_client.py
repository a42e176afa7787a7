"""One question to an OpenAI-compatible endpoint: an address, a key, a model, from the environment.

Whatever it does (hang, drip, redirect, lie, answer without an end), it costs so many seconds, a
megabyte, and one thread that ends then. Nothing it sends is ever part of an error. Python's own
``http.client`` does the talking: clients that are installed separately limit the time between two
bytes, not that of the whole. It is imported where it is used, since few need it.
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

MOST_BYTES: Final = 2**20
"""Of an answer; those of models that think aloud hold that, too."""

MOST_CHARACTERS: Final = 4000
"""Of the text in it."""

_SECRET_CHARACTERS: Final = 12  # a shorter key (ollama, none) is a word that may be said
_PATH: Final = "/chat/completions"
_DEFAULT_BASE: Final = "/v1"  # Ollama, llama.cpp, vLLM; OpenVINO Model Server has /v3
_END_OF_THOUGHT: Final = "</think>"

_STATUS: Final[Mapping[int, str]] = {
    401: f"it refuses the key (${KEY_VARIABLE})",
    403: f"it refuses the key (${KEY_VARIABLE})",
    404: f"it has no such path or model (${URL_VARIABLE}, ${MODEL_VARIABLE})",
    429: "it has too many requests, or the account is used up",
}


class EndpointError(Exception):
    """No answer that can be used. One sentence, which holds nothing secret.

    Parameters
    ----------
    message : str
    away : bool
        Nobody is there, or nobody answers in time: another try soon is a waste of time.
    """

    def __init__(self, message: str, away: bool = False) -> None:
        super().__init__(f"the language model: {message}")
        self.away = away


@dataclass(frozen=True)
class Endpoint:
    """Where a language model is asked.

    Parameters
    ----------
    url : str
        ``http`` or ``https``; as clients of OpenAI's interface take it, such as
        ``http://127.0.0.1:11434/v1``, or whole, to ``/chat/completions``. Without a path, ``/v1``.
    model : str
        Its name there.
    key : str or None
        Sent as a bearer token.
    seconds : float
        For a question and its answer together; 0.1 to 600.

    Raises
    ------
    ValueError
        The message says what is allowed and never holds the key or the address.
    """

    url: str = field(repr=False)  # a query may hold a secret
    model: str
    key: str | None = field(default=None, repr=False)
    seconds: float = DEFAULT_SECONDS

    def __post_init__(self) -> None:
        parts = _parts(self.url)
        if parts is None:
            raise ValueError(
                f"{URL_VARIABLE} should be like http://127.0.0.1:11434/v1: http or https, a host, "
                f"no user, no fragment (a key belongs in {KEY_VARIABLE})"
            )
        if not self.model.strip() or not self.model.isprintable():
            raise ValueError(f"{MODEL_VARIABLE} should name the model, such as llama3.2")
        if self.key is not None and not (self.key and _is_header_text(self.key)):
            raise ValueError(f"{KEY_VARIABLE} should be printable ASCII without spaces")
        if not 0.1 <= self.seconds <= 600:
            raise ValueError(f"seconds for an answer are {self.seconds}, allowed: 0.1 to 600")

    @property
    def place(self) -> str:
        """Scheme, host and port: what of the address may be shown."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"

    def start(self, messages: Sequence[Mapping[str, str]]) -> Exchange:
        """Ask, in a thread; the answer is ``Exchange.text``."""
        return Exchange(self, messages)

    def too_slow(self) -> EndpointError:
        """It has not answered in time."""
        return EndpointError(f"no answer within {self.seconds:g} s", away=True)


def endpoint_from_environment(seconds: float = DEFAULT_SECONDS) -> Endpoint | None:
    """The endpoint that the environment names; None where it names none.

    Raises
    ------
    ValueError
        It names one wrongly.
    """
    url, key, model = (
        os.environ.get(name, "").strip() for name in (URL_VARIABLE, KEY_VARIABLE, MODEL_VARIABLE)
    )
    if not url:
        return None
    if not model:
        raise ValueError(f"{URL_VARIABLE} is set, {MODEL_VARIABLE} is not: name the model to ask")
    return Endpoint(url, model, key or None, seconds)


class Exchange:
    """A question under way in a thread of its own, which can be ended from outside at any time.

    Attributes
    ----------
    text : Future of str
        The answer, or EndpointError. It is for who waits to stop waiting in time, and to say so by
        :meth:`end`.
    """

    def __init__(self, endpoint: Endpoint, messages: Sequence[Mapping[str, str]]) -> None:
        self.text: Future[str] = Future()
        self._endpoint = endpoint
        # No temperature and no length, which some models refuse: time and bytes are limited here.
        question = {"model": endpoint.model, "messages": list(messages), "stream": False}
        self._body = json.dumps(question).encode()
        self._lock = threading.Lock()
        self._ended = False
        self._socket: socket.socket | None = None
        threading.Thread(target=self._run, name="endpoint", daemon=True).start()

    def end(self) -> None:
        """Hang up; the thread ends then. No harm where it has ended."""
        with self._lock:
            self._ended = True
            if self._socket is not None:
                with contextlib.suppress(OSError):
                    # Of a TLS socket, too: its own shutdown() is not made for two threads.
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def _run(self) -> None:
        try:
            text, error = self._exchange(), None
        except EndpointError as refused:
            text, error = "", refused
        except Exception as other:  # what it sends must not be able to do harm; nor be shown
            text, error = "", EndpointError(f"it failed ({type(other).__name__})")
        with self._lock:
            if self._socket is not None:
                self._socket.close()
        with contextlib.suppress(InvalidStateError):  # who waited has cancelled it
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
            raise self._endpoint.too_slow() from None
        except ConnectionRefusedError:
            raise EndpointError("nothing listens at its address", away=True) from None
        except socket.gaierror:
            raise EndpointError("the name of its host is not known here", away=True) from None
        except ssl.SSLCertVerificationError as error:
            raise EndpointError(f"its certificate is not trusted: {error.verify_message}") from None
        except ssl.SSLError:
            raise EndpointError("it does not speak TLS (https)") from None
        except OSError as error:
            said = os.strerror(error.errno) if error.errno else "the connection broke"
            raise EndpointError(said, away=True) from None
        except HTTPException:
            raise EndpointError("what it answers is not whole, or no HTTP") from None

    def _answer(self) -> bytes:
        """The body of a good answer."""
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
            body = response.read(MOST_BYTES + 1)
            if len(body) > MOST_BYTES:
                raise EndpointError(f"its answer is over {MOST_BYTES >> 20} MB")
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
                raise EndpointError("nobody waits for it any more")


def read_text(body: bytes, key: str | None = None) -> str:
    """The text in an answer of OpenAI's interface.

    Parameters
    ----------
    body : bytes
        JSON with ``choices[0].message.content``.
    key : str, optional
        That no text may hold, if it is long enough to be one.

    Raises
    ------
    EndpointError
        It is no such answer, or a refusal, or empty, or too long.
    """
    try:
        message = json.loads(body)["choices"][0]["message"]
        content, refusal = message.get("content"), message.get("refusal")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        _no_completion()
    if content is None and isinstance(refusal, str):
        raise EndpointError("it refuses to answer")
    if content is None:
        content = ""
    if not isinstance(content, str):
        _no_completion()
    text = _shown(content.rpartition(_END_OF_THOUGHT)[2])
    if not text:
        raise EndpointError("it answers without a word")
    if len(text) > MOST_CHARACTERS:
        raise EndpointError(f"its text has {len(text)} characters, allowed: {MOST_CHARACTERS}")
    if key is not None and len(key) >= _SECRET_CHARACTERS and key in text:
        raise EndpointError("its text says the key")
    return text


def _no_completion() -> NoReturn:
    raise EndpointError("what it answers is no chat completion")


def _shown(text: str) -> str:
    """Text without controls, surrogates, and marks that turn the direction of what follows."""
    turning = {*map(chr, range(0x202A, 0x202F)), *map(chr, range(0x2066, 0x206A))}
    kept = (
        c
        for c in text
        if c == "\n" or not (unicodedata.category(c) in ("Cc", "Cs", "Co") or c in turning)
    )
    return "".join(kept).strip()


def _check_status(status: int) -> None:
    if status == 200:
        return
    if 300 <= status < 400:  # where to would be for it to say, and the key would go along
        raise EndpointError(f"it redirects ({status}), which is not followed: set ${URL_VARIABLE}")
    said = _STATUS.get(status, "it failed" if status >= 500 else "it refuses the question")
    raise EndpointError(f"{said} ({status})")


def _parts(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        fine = (
            parts.scheme in ("http", "https")
            and bool(parts.hostname)
            and parts.username is None
            and not parts.fragment
            and _is_header_text(url)
            and parts.port != 0
        )
    except ValueError:  # a port that is no number, half an IPv6 address
        return None
    return parts if fine else None


def _is_header_text(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text
