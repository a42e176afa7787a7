"""``edge-app listen --health``: what a monitor gets."""

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

LISTENING = InputStatus("USB mic", "listening", 16_000, heard=3.5)
LOST = InputStatus("USB mic", "lost", 16_000, heard=3.5, lost=1, error="no audio for 3 s")
WORKING = SinkHealth("standard output", True, 7, 0, 0, None)
FAILING = SinkHealth("mqtt://broker:1883/kitchen", False, 7, 3, 0, "Connection refused")


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
    state = {"source": LISTENING, "sinks": (WORKING,)}
    with HealthServer(
        HealthAddress("127.0.0.1", 0), lambda: state["source"], lambda: state["sinks"]
    ) as running:
        yield running, state


@pytest.mark.parametrize(
    ("source", "sinks", "status", "code"),
    [
        (LISTENING, (WORKING,), "ok", 200),
        (LISTENING, (), "ok", 200),
        (LISTENING, (WORKING, FAILING), "degraded", 200),
        (LOST, (WORKING,), "deaf", 503),
        (InputStatus("USB mic"), (WORKING,), "deaf", 503),
    ],
)
def test_it_reports_the_source_and_each_sink(server, source, sinks, status, code):
    running, state = server
    state.update(source=source, sinks=sinks)
    got, body = ask(running.url)
    report = json.loads(body)
    assert (got, report["status"]) == (code, status)
    assert report["source"]["state"] == source.state
    assert report["source"]["error"] == source.error
    assert [(sink["name"], sink["ok"], sink["error"]) for sink in report["sinks"]] == [
        (sink.name, sink.ok, sink.error) for sink in sinks
    ]
    assert report["uptime"] >= 0


def test_head_has_no_body_and_other_paths_are_404(server):
    running, _ = server
    assert ask(running.url, "HEAD") == (200, b"")
    assert ask(running.url.replace("/healthz", "/"))[0] == 404
    assert ask(running.url, "POST")[0] == 501


def test_silent_connections_delay_neither_others_nor_the_end():
    server = HealthServer(HealthAddress("127.0.0.1", 0), lambda: LISTENING, tuple)
    with server:
        port = int(server.url.rpartition(":")[2].partition("/")[0])
        silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(20)]
        assert ask(server.url)[0] == 200
        begun = time.monotonic()
    assert time.monotonic() - begun < 4  # the time limit of a request is 5 s
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
def test_a_wrong_address_is_rejected(text):
    with pytest.raises(ValueError, match="allowed"):
        HealthAddress.parse(text)


def test_a_used_port_is_an_error():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=r"in use|Only one usage"):
            HealthServer(HealthAddress("127.0.0.1", port), lambda: LISTENING, tuple)


@pytest.mark.unit
def test_a_report_is_plain_values():
    report = Health(LISTENING, (FAILING,), 12.34).to_dict()
    assert json.loads(json.dumps(report)) == report
    assert report["uptime"] == 12.3
