#!/usr/bin/env python3
"""Many clients at once, well-behaved and not: does ``edge-app serve`` answer all that it accepts?

Each client sends one request after another, drawn at random: sounds (raw and in forms), path-like
file names, wrong types, what is no sound, what is too large, slow uploads, connections cut in the
middle, connections that never say anything, and live streams. Every request that is sent whole
must be answered: with what it deserves, or with 429 or 503. Afterwards the server must be ready,
with every place free, and answer as before.

examples:
  benchmarks/serverload.py                                  # 200 clients for a minute
  benchmarks/serverload.py --clients 40 --seconds 3 --out /tmp/load.json
  benchmarks/serverload.py --url http://127.0.0.1:8000/     # a server that runs already

exit status: 0 all answered and healthy, 1 not
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ser_edge.files import write_whole
from ser_edge.provenance import provenance

ROOT = Path(__file__).resolve().parent.parent
SOUNDS = sorted(path for path in (ROOT / "samples").iterdir() if path.is_file())
BUSY = {429, 503}
ANSWER_SECONDS = 90.0  # more than the server's own limits
BOUNDARY = "serverload"


@dataclass
class Tally:
    """What happened, by kind of request."""

    statuses: dict[str, Counter[str]] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def add(self, kind: str, outcome: str) -> None:
        self.statuses.setdefault(kind, Counter())[outcome] += 1


@dataclass(frozen=True)
class Target:
    """The server."""

    host: str
    port: int

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(self.host, self.port)

    def head(self, method: str, path: str, length: int, kind: str) -> bytes:
        lines = [
            f"{method} {path} HTTP/1.1",
            f"Host: {self.host}:{self.port}",
            f"Content-Type: {kind}",
            f"Content-Length: {length}",
            "Connection: close",
        ]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    async def ask(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        kind: str = "audio/wav",
        pause: float = 0.0,
    ) -> tuple[int, bytes]:
        """A whole request; with ``pause``, its body in eight pieces with waits between them."""
        reader, writer = await self.open()
        try:
            writer.write(self.head(method, path, len(body), kind))
            step = max(1, len(body) // 8) if pause else max(1, len(body))
            # The server may answer before it has read all, and then stop reading.
            with contextlib.suppress(ConnectionError):
                for at in range(0, len(body), step):
                    writer.write(body[at : at + step])
                    await writer.drain()
                    if pause:
                        await asyncio.sleep(pause)
            return await answer_of(reader)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


async def answer_of(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Status and body."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
    body = await reader.readexactly(int(length[1])) if length else b""
    return int(head.split()[1]), body


def form(content: bytes, name: str, kind: str = "audio/wav") -> bytes:
    """A form with one file."""
    head = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
        f"Content-Type: {kind}\r\n\r\n"
    )
    return head.encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()


FORM = f"multipart/form-data; boundary={BOUNDARY}"
Behaviour = Callable[[Target, random.Random], Awaitable[tuple[int, bytes] | None]]


async def raw(target: Target, draw: random.Random) -> tuple[int, bytes]:
    """A sound as the body."""
    return await target.ask("POST", "/v1/predict", draw.choice(SOUNDS).read_bytes())


async def in_form(target: Target, draw: random.Random) -> tuple[int, bytes]:
    """A sound in a form."""
    path = draw.choice(SOUNDS)
    return await target.ask("POST", "/process_audio", form(path.read_bytes(), path.name), FORM)


async def path_name(target: Target, draw: random.Random) -> tuple[int, bytes]:
    """A file name that would be a path."""
    name = draw.choice(["../../etc/passwd", "/etc/passwd", "..\\..\\passwd", "a/../../passwd"])
    return await target.ask("POST", "/v1/predict", form(SOUNDS[0].read_bytes(), name), FORM)


async def wrong_type(target: Target, draw: random.Random) -> tuple[int, bytes]:
    """A type that is not taken."""
    return await target.ask("POST", "/v1/predict", form(b"<html>", "x.html", "text/html"), FORM)


async def no_sound(target: Target, draw: random.Random) -> tuple[int, bytes]:
    """Bytes that are no sound."""
    return await target.ask("POST", "/v1/predict", draw.randbytes(draw.randrange(1, 20_000)))


async def too_large(target: Target, draw: random.Random) -> tuple[int, bytes]:
    """A body over the limit, by its own word."""
    reader, writer = await target.open()
    try:
        writer.write(target.head("POST", "/v1/predict", 2**33, "audio/wav") + bytes(2**16))
        return await answer_of(reader)
    finally:
        writer.close()


async def slow(target: Target, draw: random.Random) -> tuple[int, bytes]:
    """A sound in eight pieces, a second or so in all."""
    return await target.ask(
        "POST", "/v1/predict", SOUNDS[0].read_bytes(), pause=draw.uniform(0.05, 0.3)
    )


async def cut(target: Target, draw: random.Random) -> None:
    """A connection that is cut in the middle of the body."""
    sound = draw.choice(SOUNDS).read_bytes()
    _, writer = await target.open()
    with contextlib.suppress(ConnectionError):
        writer.write(target.head("POST", "/v1/predict", len(sound), "audio/wav"))
        writer.write(sound[: draw.randrange(len(sound))])
        await writer.drain()
        await asyncio.sleep(draw.uniform(0, 0.1))
    writer.transport.abort()


async def cut_after(target: Target, draw: random.Random) -> None:
    """A whole request from a client that does not wait for the answer."""
    sound = draw.choice(SOUNDS).read_bytes()
    _, writer = await target.open()
    with contextlib.suppress(ConnectionError):
        writer.write(target.head("POST", "/v1/predict", len(sound), "audio/wav") + sound)
        await writer.drain()
        await asyncio.sleep(draw.uniform(0, 0.1))
    writer.transport.abort()


async def silent(target: Target, draw: random.Random) -> None:
    """A connection that says half a header and waits."""
    _, writer = await target.open()
    writer.write(b"POST /v1/predict HTTP/1.1\r\nHost: ")
    await asyncio.sleep(draw.uniform(0, 1))
    writer.transport.abort()


async def stream(target: Target, draw: random.Random) -> tuple[int, bytes]:
    """Two seconds of live sound at once; 101 and the number of events, or the refusal."""
    from websockets.asyncio.client import connect
    from websockets.exceptions import InvalidStatus

    try:
        url = f"ws://{target.host}:{target.port}/v1/stream?rate=16000"
        async with connect(url, open_timeout=ANSWER_SECONDS) as socket:
            await socket.send(draw.randbytes(2 * 2 * 16_000))
            await socket.send("end")
            events = [message async for message in socket]
    except InvalidStatus as refused:
        return refused.response.status_code, bytes(refused.response.body)
    return 101, str(len(events)).encode()


KINDS: dict[Behaviour, tuple[int, frozenset[int]]] = {
    raw: (6, frozenset({200})),
    in_form: (4, frozenset({200})),
    path_name: (1, frozenset({200})),
    wrong_type: (1, frozenset({415})),
    no_sound: (1, frozenset({422, 200})),  # random bytes are an MP3 now and then
    too_large: (1, frozenset({413})),
    slow: (2, frozenset({200, 408})),
    cut: (2, frozenset()),
    cut_after: (1, frozenset()),
    silent: (1, frozenset()),
}
"""Behaviour -> how often, and the statuses that it deserves."""


async def client(
    target: Target, kinds: dict[Any, Any], end: float, seed: int, tally: Tally
) -> None:
    """One request after another until the time is over."""
    draw = random.Random(seed)
    names, weights = list(kinds), [often for often, _ in kinds.values()]
    while time.monotonic() < end:
        behave = draw.choices(names, weights)[0]
        kind, allowed = behave.__name__, kinds[behave][1]
        begun = time.monotonic()
        try:
            found = await asyncio.wait_for(behave(target, draw), ANSWER_SECONDS)
        except (OSError, EOFError, asyncio.TimeoutError) as error:
            tally.add(kind, "unanswered")
            tally.wrong.append(f"{kind}: not answered ({type(error).__name__})")
            continue
        if found is None:
            tally.add(kind, "cut")
            continue
        status, body = found
        tally.add(kind, str(status))
        if status in allowed:
            tally.seconds.append(time.monotonic() - begun)
        if status not in allowed | BUSY:
            tally.wrong.append(f"{kind}: {status} {body[:200]!r}")
        elif behave is path_name and status == 200 and json.loads(body)["file"] != "passwd":
            tally.wrong.append(f"{kind}: the file is called {json.loads(body)['file']!r}")
        if status in BUSY:
            await asyncio.sleep(draw.uniform(0.02, 0.2))  # less patient than Retry-After asks


async def memory(target: Target) -> float | None:
    """The server's resident memory in MB, as it says itself (Linux)."""
    _, text = await target.ask("GET", "/metrics")
    found = re.search(rb"^process_resident_memory_bytes (\S+)", text, re.MULTILINE)
    return round(float(found[1]) / 2**20, 1) if found else None


async def afterwards(target: Target, tally: Tally) -> None:
    """Whether the server is as before."""
    end = time.monotonic() + ANSWER_SECONDS
    while True:
        status, body = await target.ask("GET", "/readyz")
        state = json.loads(body)
        if status == 200 and not state["requests"]["open"] and not state["streams"]["open"]:
            break
        if time.monotonic() > end:
            tally.wrong.append(f"not ready afterwards: {state}")
            return
        await asyncio.sleep(0.2)
    status, body = await target.ask("POST", "/v1/predict", SOUNDS[0].read_bytes())
    if status != 200:
        tally.wrong.append(f"afterwards a sound gave {status} {body[:200]!r}")


async def load(target: Target, clients: int, seconds: float, seed: int) -> dict[str, Any]:
    """All clients at once -> the report."""
    tally = Tally()
    kinds: dict[Any, Any] = {**KINDS, stream: (1, frozenset({101}))}
    await target.ask("POST", "/v1/predict", SOUNDS[0].read_bytes())  # warm
    before = await memory(target)
    end = time.monotonic() + seconds
    await asyncio.gather(
        *(client(target, kinds, end, seed * 100_003 + number, tally) for number in range(clients))
    )
    await afterwards(target, tally)
    after = await memory(target)
    times = sorted(tally.seconds)
    served = {
        f"p{share}": round(times[min(len(times) - 1, len(times) * share // 100)], 3)
        for share in (50, 95, 100)
        if times
    }
    total = Counter[str]()
    for counts in tally.statuses.values():
        total += counts
    return {
        "clients": clients,
        "seconds": seconds,
        "seed": seed,
        "requests": sum(total.values()),
        "statuses": dict(sorted(total.items())),
        "by_kind": {kind: dict(sorted(found.items())) for kind, found in tally.statuses.items()},
        "seconds_of_those_served": served,
        "memory_mb": {"before": before, "after": after},
        "wrong": tally.wrong[:20],
        "ok": not tally.wrong,
    }


@contextlib.contextmanager
def target_of(url: str | None) -> Iterator[Target]:
    """A server that runs already, or one of our own."""
    if url is not None:
        parts = urlsplit(url)
        yield Target(parts.hostname or "127.0.0.1", parts.port or 80)
        return
    code = "import sys; from edge_app.cli import main; sys.exit(main(['serve', '--port', '0']))"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            parts = urlsplit(process.stdout.readline().split()[0])
            assert parts.hostname is not None
            assert parts.port is not None
            yield Target(parts.hostname, parts.port)
        finally:
            process.terminate()
            process.wait(30)


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--url", help="of a server without a token (default: start one)")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    options = parser.parse_args()
    with target_of(options.url) as target:
        report = asyncio.run(load(target, options.clients, options.seconds, options.seed))
    text = json.dumps({**report, "provenance": provenance()}, indent=2)
    print(text)
    write_whole(options.out, text + "\n")
    return 0 if report["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
