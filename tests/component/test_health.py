"""``edge-app listen --health``: what a monitor is told."""

from __future__ import annotations

import json
import socket
import time
import urllib.error
import urllib.request

import pytest

from edge_app.live.health import Health, HealthAddress, HealthServer
from edge_app.live.sources import InputStatus
from edge_app.output.delivery import SinkHealth

HEARS = InputStatus("USB mic", "listening", 16_000, heard=3.5)
LOST = InputStatus("USB mic", "lost", 16_000, heard=3.5, lost=1, error="no sound for 3 s")
WELL = SinkHealth("standard output", True, 7, 0, 0, None)
AWAY = SinkHealth("mqtt://broker:1883/kitchen", False, 7, 3, 0, "Connection refused")


def ask(url, method="GET"):
    request = urllib.request.Request(url, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


@pytest.fixture
def server():
    state = {"source": HEARS, "sinks": (WELL,)}
    with HealthServer(
        HealthAddress("127.0.0.1", 0), lambda: state["source"], lambda: state["sinks"]
    ) as running:
        yield running, state


@pytest.mark.parametrize(
    ("source", "sinks", "status", "code"),
    [
        (HEARS, (WELL,), "ok", 200),
        (HEARS, (), "ok", 200),
        (HEARS, (WELL, AWAY), "degraded", 200),
        (LOST, (WELL,), "deaf", 503),
        (InputStatus("USB mic"), (WELL,), "deaf", 503),
    ],
)
def test_it_says_how_the_source_and_each_sink_do(server, source, sinks, status, code):
    running, state = server
    state.update(source=source, sinks=sinks)
    got, body = ask(running.url)
    said = json.loads(body)
    assert (got, said["status"]) == (code, status)
    assert said["source"]["state"] == source.state
    assert said["source"]["error"] == source.error
    assert [(sink["name"], sink["ok"], sink["error"]) for sink in said["sinks"]] == [
        (sink.name, sink.ok, sink.error) for sink in sinks
    ]
    assert said["uptime"] >= 0


def test_head_has_no_body_and_elsewhere_there_is_nothing(server):
    running, _ = server
    assert ask(running.url, "HEAD") == (200, b"")
    assert ask(running.url.replace("/healthz", "/"))[0] == 404
    assert ask(running.url, "POST")[0] == 501


def test_who_says_nothing_holds_up_neither_the_others_nor_the_end():
    server = HealthServer(HealthAddress("127.0.0.1", 0), lambda: HEARS, tuple)
    with server:
        port = int(server.url.rpartition(":")[2].partition("/")[0])
        silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(20)]
        assert ask(server.url)[0] == 200
        begun = time.monotonic()
    assert time.monotonic() - begun < 4  # a request may take 5 s to come
    for each in silent:
        each.close()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port)).close()


@pytest.mark.unit
@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("8001", "127.0.0.1", 8001),
        ("0", "127.0.0.1", 0),
        ("0.0.0.0:8001", "0.0.0.0", 8001),
        ("[::1]:8001", "::1", 8001),
        ("box.local:80", "box.local", 80),
    ],
)
def test_an_address(text, host, port):
    assert HealthAddress.parse(text) == HealthAddress(host, port)


@pytest.mark.unit
@pytest.mark.parametrize("text", ["", "box", ":80", "box:", "80:box", "-1", "65536", "box:99999"])
def test_what_is_no_address(text):
    with pytest.raises(ValueError, match="allowed"):
        HealthAddress.parse(text)


def test_a_port_that_is_taken_is_an_error():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=r"in use|Only one usage"):
            HealthServer(HealthAddress("127.0.0.1", port), lambda: HEARS, tuple)


@pytest.mark.unit
def test_what_it_says_is_plain_values():
    said = Health(HEARS, (AWAY,), 12.34).to_dict()
    assert json.loads(json.dumps(said)) == said
    assert said["uptime"] == 12.3
