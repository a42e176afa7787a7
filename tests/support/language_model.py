"""Servers that behave like a language model, well or badly."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from edge_app.language.llm_client import KEY_VARIABLE

KEY = "sk-secret-0123456789abcdef"
ELSEWHERE = "http://127.0.0.1:1/elsewhere?token=hidden"

Behave = Callable[[socket.socket, threading.Event], None]
"""What a server does with a connection after the request; the Event is set when the test ends."""


def completion(text: object, **more: object) -> bytes:
    """Body of a chat completion."""
    message = {"role": "assistant", "content": text, **more}
    return json.dumps({"id": "1", "choices": [{"index": 0, "message": message}]}).encode()


def http(body: bytes, status: str = "200 OK", *headers: str, length: int | None = None) -> bytes:
    """An HTTP response as bytes."""
    size = len(body) if length is None else length
    head = [f"HTTP/1.1 {status}", "Content-Type: application/json", f"Content-Length: {size}"]
    return "\r\n".join([*head, *headers, "", ""]).encode() + body


def answers(content: bytes) -> Behave:
    """Sends these bytes and closes the connection."""

    def behave(connection: socket.socket, _: threading.Event) -> None:
        connection.sendall(content)

    return behave


def hangs(connection: socket.socket, over: threading.Event) -> None:
    """Never sends anything."""
    over.wait(60)


def sends_endlessly(first: bytes, piece: bytes, pause: float = 0.0) -> Behave:
    """Sends without end."""

    def behave(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(first)
        while not over.is_set():
            connection.sendall(piece)
            if pause:
                time.sleep(pause)

    return behave


class LanguageModel:
    """A real server on a free port that records all requests.

    Attributes
    ----------
    received : list of bytes
        Head and body of each request.
    asked : Semaphore
        Released for each request.
    """

    def __init__(self, behave: Behave) -> None:
        self.received: list[bytes] = []
        self.asked = threading.Semaphore(0)
        self._behave = behave
        self._over = threading.Event()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self._threads = [threading.Thread(target=self._serve)]
        self._threads[0].start()

    def request(self, number: int = -1) -> Any:
        """The JSON body of a request."""
        return json.loads(self.received[number].partition(b"\r\n\r\n")[2])

    def close(self) -> None:
        self._over.set()
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve_one, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _serve_one(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.settimeout(30)
            request = b""
            while not _whole(request):
                piece = connection.recv(65536)
                if not piece:
                    break
                request += piece
            self.received.append(request)
            self.asked.release()
            self._behave(connection, self._over)


def _whole(request: bytes) -> bool:
    head, end, body = request.partition(b"\r\n\r\n")
    lengths = [
        int(line.partition(b":")[2])
        for line in head.splitlines()
        if line.lower().startswith(b"content-length:")
    ]
    return bool(end) and len(body) >= (lengths or [0])[0]


@contextlib.contextmanager
def language_model(behave: Behave) -> Iterator[LanguageModel]:
    """A language model with this behaviour, closed at the end."""
    model = LanguageModel(behave)
    try:
        yield model
    finally:
        model.close()


GOOD = answers(http(completion("It sounds calm, perhaps.")))

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
BAD: dict[str, tuple[Any, str]] = {
    "500": (answers(http(b'{"error": "boom"}', "500 Oops")), "it failed (500)"),
    "503 with the key": (answers(http(KEY.encode(), f"503 {KEY}")), "it failed (503)"),
    "401": (answers(http(b"", "401 No")), f"it rejects the key (${KEY_VARIABLE}) (401)"),
    "404": (answers(http(b"", "404 No")), "it has no such path or model"),
    "429": (answers(http(b"", "429 No")), "it has too many requests"),
    "400": (answers(http(b"", "400 No")), "it rejects the request (400)"),
    "204": (answers(http(b"", "204 No")), "it rejects the request (204)"),
    "noise": (answers(bytes(range(256)) * 9), "its response is incomplete or not HTTP"),
    "another protocol": (answers(b"SSH-2.0-OpenSSH_9.2\r\n"), "incomplete or not HTTP"),
    "nothing": (answers(b""), "the connection was lost"),
    "headers without an end": (
        sends_endlessly(b"HTTP/1.1 200 OK\r\n", b"X-More: of this\r\n"), "incomplete or not HTTP",
    ),
    "a header without an end": (
        sends_endlessly(b"HTTP/1.1 200 OK\r\nX-Long: ", b"x" * 1000), "incomplete or not HTTP",
    ),
    "html": (answers(http(b"<html>hello</html>")), "not a chat completion"),
    "binary": (answers(http(bytes(range(256)))), "not a chat completion"),
    "compressed": (
        answers(http(b"\x1f\x8b\x08\x00\x00", "200 OK", "Content-Encoding: gzip")),
        "not a chat completion",
    ),
    "another json": (answers(http(b'{"choices": []}')), "not a chat completion"),
    "a list": (answers(http(b"[[[]]]")), "not a chat completion"),
    "a number": (answers(http(b"1" * 5000)), "not a chat completion"),
    "nested": (answers(http(b"[" * 200_000)), "not a chat completion"),
    "content is a list": (answers(http(completion([1]))), "not a chat completion"),
    "refusal": (answers(http(completion(None, refusal="No."))), "it declines to answer"),
    "empty": (answers(http(completion(" \n\x00 "))), "its answer is empty"),
    "reasoning only": (answers(http(completion("<think>Hm.</think>"))), "its answer is empty"),
    "null": (answers(http(completion(None))), "its answer is empty"),
    "long": (answers(http(completion("x" * 4001))), "4001 characters, allowed: 4000"),
    "contains the key": (answers(http(completion(f"It is {KEY}!"))), "its answer contains the key"),
    "cut off": (answers(http(completion("yes"), length=9999)), "incomplete or not HTTP"),
    "chunks cut off": (answers(CHUNKED + b"ff\r\n{"), "incomplete or not HTTP"),
    "wrong chunks": (answers(CHUNKED + b"zz\r\n{}\r\n"), "incomplete or not HTTP"),
    "huge": (
        sends_endlessly(http(b"", length=10**12), b" " * 65536), "its response is larger than 1 MB",
    ),
    "huge in chunks": (
        sends_endlessly(CHUNKED, b"10000\r\n%s\r\n" % (b" " * 65536)), "larger than 1 MB",
    ),
    "redirects": (
        answers(http(b"", "307 Go", f"Location: {ELSEWHERE}")), "it redirects (307), which is not",
    ),
}  # fmt: skip

SLOW = {
    "hangs": hangs,
    "drips its head": sends_endlessly(b"H", b"T", 0.01),
    "drips its body": sends_endlessly(http(b"", length=10**6), b" ", 0.01),
    "drips chunks": sends_endlessly(CHUNKED, b"1\r\n \r\n", 0.01),
    "sends 100 without end": sends_endlessly(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.001),
}
