"""The server: what it answers, what it refuses, and that it stays well."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from prometheus_client.parser import text_string_to_metric_families
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from conftest import ROOT, SAMPLES, speechlike
from edge_app import Classifier, DeviceError, Prediction
from edge_app.cli import main
from edge_app.server import errors as refusals
from edge_app.server import inference, schemas
from edge_app.server.admission import harmless_name
from edge_app.server.settings import ServerSettings, is_loopback
from serving import Running, StandInLive, form, serving

TOKEN = "a-token-of-20-letters"
CLIP = next(path for path in SAMPLES if path.name == "man-even.wav")
LONG = next(path for path in SAMPLES if path.name == "man-long.ogg")


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier()


@pytest.fixture(scope="module")
def server(classifier: Classifier) -> Iterator[Running]:
    with serving(classifier, upload_bytes=4 * 2**20, sound_seconds=60) as running:
        yield running


class Stuck(Classifier):
    """Waits until it is let go: what a slow device looks like."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = threading.Semaphore(0)
        self.go = threading.Event()

    def predict(self, *words: Any, **named: Any) -> Prediction:
        self.begun.release()
        assert self.go.wait(60)
        return super().predict(*words, **named)


def wav(seconds: float, rate: int = 16_000) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, speechlike(seconds, rate), rate, format="WAV")
    return file.getvalue()


def pcm(seconds: float, rate: int = 16_000, gain: float = 1.0) -> bytes:
    return (speechlike(seconds, rate) * gain * 32767).astype("<i2").tobytes()


# ------------------------------------------------------------------------------------ answers


@pytest.mark.parametrize("path", [CLIP, LONG], ids=lambda path: path.name)
@pytest.mark.parametrize("way", ["form", "raw"])
def test_the_answer_is_the_classifiers(server, classifier, path, way):
    content = path.read_bytes()
    if way == "form":
        answer = server.send("/v1/predict", content, path.name, "audio/x-anything")
    else:
        answer = server.ask("POST", "/v1/predict", content, Content_Type="audio/wav")
    wanted = classifier.predict(path).to_dict()
    assert answer.status == 200
    assert answer.json == {**wanted, "file": path.name if way == "form" else "upload"}


def test_a_mel_image_from_the_server_is_answered_as_its_window(server, classifier):
    content = LONG.read_bytes()
    picture = server.send("/v1/image?start=2.4", content)
    assert picture.headers["content-type"] == "image/png"
    window = classifier.predict(LONG).to_dict()["windows"][1]
    answer = server.send("/v1/predict", picture.body, "any-name.wav", "image/png").json
    assert window["start"] == 2.5
    assert (answer["file"], answer["scores"]) == ("any-name.wav", window["scores"])


def test_process_audio_has_the_agreed_fields(server, classifier):
    answer = server.send("/process_audio", CLIP.read_bytes(), "clip.wav", "audio/wav").json
    assert answer["Emotion Probabilities"] == classifier.predict(CLIP).to_dict()["scores"]
    assert answer["Transcription"] is None
    for field in (
        "Transcription",
        "LLM Interpretation",
    ):  # more in test_words.py
        assert answer[f"{field} Reason"]
    assert list(answer) == list(schemas.PROCESSED)


def test_models_says_what_is_loaded(server, classifier):
    (model,) = server.get("/v1/models").json["models"]
    assert model["labels"] == list(classifier.labels)
    assert model["licence"] == classifier.manifest.licence
    assert model["image"]["frames"] == classifier.manifest.spec.frames


def test_openapi_has_examples_that_are_true(server, classifier):
    described = server.get("/openapi.json").json
    paths = {"/process_audio", "/v1/predict", "/v1/image", "/v1/models", "/healthz", "/readyz"}
    assert paths <= set(described["paths"])
    predict = described["paths"]["/v1/predict"]["post"]
    example = predict["responses"]["200"]["content"]["application/json"]["example"]
    real = classifier.predict(CLIP).to_dict()
    assert list(example) == list(real)
    assert list(example["scores"]) == list(real["scores"])
    assert example["windows"][0].keys() == real["windows"][0].keys()
    assert {"413", "415", "422", "429", "503"} <= set(predict["responses"])
    assert set(predict["requestBody"]["content"]) > {"multipart/form-data", "audio/*"}


def test_metrics_are_prometheus_and_count(classifier):
    with serving(classifier) as server:
        server.send("/v1/predict", CLIP.read_bytes())
        server.send("/v1/predict", b"no sound")
        server.get("/nowhere/1")
        server.get("/nowhere/2")
        text = server.get("/metrics").body.decode()
    samples = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert samples["ser_edge_requests_total", "/v1/predict", "200"] == 1
    assert samples["ser_edge_requests_total", "/v1/predict", "422"] == 1
    assert samples["ser_edge_requests_total", "404", "other"] == 2
    assert samples["ser_edge_answers_total", classifier.predict(CLIP).emotion] == 1
    assert samples["ser_edge_refused_total", "sound"] == 1
    assert samples["ser_edge_model_info", "CPU", "FP16", "compact"] == 1
    assert samples["process_resident_memory_bytes",] > 1e6


def test_a_name_of_a_file_is_only_ever_said_back(server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answer = server.send("/v1/predict", CLIP.read_bytes(), "../../etc/passwd")
    assert answer.json["file"] == "passwd"
    assert not list(tmp_path.iterdir())


@pytest.mark.unit
@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("clip.wav", "clip.wav"),
        ("/etc/passwd", "passwd"),
        ("C:\\fakepath\\clip.wav", "clip.wav"),
        ("..", "upload"),
        ("a/..", "upload"),
        ("", "upload"),
        (None, "upload"),
        ("two\r\nlines\x00\u202e.wav", "twolines.wav"),
        ("Frühling 春.wav", "Frühling 春.wav"),
        ("x" * 500, "x" * 120),
    ],
)
def test_names_are_harmless(said, kept):
    assert harmless_name(said) == kept


def test_nothing_goes_to_disk(server, monkeypatch):
    def no_file(*_: object, **__: object) -> None:
        raise AssertionError("a temporary file")

    for name in ("SpooledTemporaryFile", "TemporaryFile", "NamedTemporaryFile", "mkstemp"):
        monkeypatch.setattr(tempfile, name, no_file)
    answer = server.send("/v1/predict", wav(55, rate=32_000))  # 3.5 MB; others spool from 1 MB
    assert answer.status == 200


# ------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("path", "content", "kind", "status", "words"),
    [
        ("/v1/predict", b"<html>", "text/html", 415, "clip.wav: it is text/html, allowed: audio/"),
        ("/process_audio", b"{}", "application/json", 415, "application/json, allowed"),
        ("/v1/predict", b"no sound at all", "audio/wav", 422, "clip.wav: it is not sound"),
        ("/v1/predict", b"", "audio/wav", 422, "clip.wav: it is empty"),
        ("/v1/predict", CLIP.read_bytes()[:30], "audio/wav", 422, "cut off or damaged"),
        ("/v1/predict", b"\x89PNG\r\n\x1a\nxx", "image/png", 422, "clip.wav: "),
        ("/v1/image?start=x", CLIP.read_bytes(), "audio/wav", 422, "start: "),
    ],
)
def test_what_is_no_sound_is_refused_by_name(server, path, content, kind, status, words):
    answer = server.send(path, content, kind=kind)
    assert answer.status == status
    assert set(answer.json) == {"error"}
    assert words in answer.json["error"]


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "words"),
    [
        ("GET", "/no/such", {}, 404, "there is no '/no/such'"),
        ("GET", "/static/..%2fapp.py", {}, 404, "there is no"),
        ("GET", "/static/nothing.js", {}, 404, "there is no"),
        ("DELETE", "/healthz", {}, 405, "allowed: GET"),
        ("GET", "/v1/predict", {}, 405, "allowed: POST"),
        ("GET", "/v1/stream", {}, 426, "WebSocket"),
        ("POST", "/process_audio", {"Content_Type": "audio/wav"}, 415, "multipart/form-data"),
        ("POST", "/v1/predict", {"Content_Type": "multipart/form-data"}, 422, "boundary"),
        ("POST", "/v1/predict", {"Content_Type": "text/plain"}, 415, "it is text/plain"),
    ],
)
def test_wrong_requests_say_what_is_allowed(server, method, path, headers, status, words):
    answer = server.ask(method, path, b"x" if method == "POST" else None, **headers)
    assert answer.status == status
    assert words in answer.json["error"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (form(b"abc", "x", "audio/wav", field="other")[1], "no field 'file'"),
        (form(b"abc", "x", "audio/wav")[1][:-12], "cut off"),
        (b"not a form at all", "damaged"),
        (form(b"a", "x", "audio/wav")[1][:-9] + form(b"b", "x", "audio/wav")[1], "several fields"),
    ],
)
def test_wrong_forms(server, body, words):
    answer = server.ask("POST", "/v1/predict", body, Content_Type=form(b"", "", "")[0])
    assert answer.status == 422
    assert words in answer.json["error"]


@contextlib.contextmanager
def blunt(server: Running, *lines: str) -> Iterator[socket.socket]:
    """A connection that has sent a head of its own."""
    with socket.create_connection((server.host, server.port), timeout=30) as raw:
        head = "\r\n".join([*lines, f"Host: {server.host}:{server.port}", "", ""])
        raw.sendall(head.encode())
        yield raw


def status_of(raw: socket.socket) -> int:
    head = b""
    while b"\r\n" not in head:
        piece = raw.recv(4096)
        assert piece, "the connection was closed without an answer"
        head += piece
    return int(head.split()[1])


POST = "POST /v1/predict HTTP/1.1"
WAVE = "Content-Type: audio/wav"


def test_too_large_by_its_own_word_is_refused_before_it_is_read(server):
    with blunt(server, POST, WAVE, "Content-Length: 99999999999") as raw:
        assert status_of(raw) == 413


def test_too_large_is_refused_while_it_is_read(server):
    with blunt(server, POST, WAVE, "Transfer-Encoding: chunked") as raw:
        piece = b"x" * 2**18
        for _ in range(4 * 4 + 1):  # 256 kB over the limit, and more to come
            raw.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
        assert status_of(raw) == 413


def test_a_refusal_does_not_linger_where_nothing_more_can_come(server, monkeypatch):
    """The request is over at once, also where the client keeps its connection open."""
    monkeypatch.setattr(refusals, "_LINGER_SECONDS", 600)
    sent = b"no sound"
    with blunt(server, POST, WAVE, f"Content-Length: {len(sent)}") as raw:
        raw.sendall(sent)
        assert status_of(raw) == 422
        rest = b"x"
        while rest:
            rest = raw.recv(4096)  # up to the close


def test_too_long_is_refused_while_it_is_decoded(server, monkeypatch):
    blocks = []
    real = inference.decode.read_blocks

    def counted(*words: Any) -> Iterator[np.ndarray]:
        for block in real(*words):
            blocks.append(block.size)
            yield block

    monkeypatch.setattr(inference.decode, "read_blocks", counted)
    file = io.BytesIO()
    soundfile.write(file, np.zeros(16_000 * 1800, np.int16), 16_000, format="FLAC")  # half an hour
    answer = server.send("/v1/predict", file.getvalue())
    assert answer.status == 413
    assert answer.json["error"] == "clip.wav: it is too long, allowed: up to 60 s"
    assert sum(blocks) < 16_000 * 120


@pytest.mark.parametrize("what", ["gap", "all"])
def test_too_slow_is_refused(classifier, what):
    limits = {"stall_seconds": 0.2} if what == "gap" else {"upload_seconds": 0.3}
    with (
        serving(classifier, **limits) as server,
        blunt(server, POST, WAVE, "Content-Length: 100000") as raw,
    ):
        if what == "all":
            with contextlib.suppress(OSError):
                for _ in range(8):
                    raw.sendall(b"x")
                    threading.Event().wait(0.05)
        assert status_of(raw) == 408
        server.until_free()


def test_more_than_there_are_places_for_is_refused_and_says_when_to_come_back(classifier):
    with (
        serving(classifier, at_once=2, per_client=1) as server,
        blunt(server, POST, WAVE, "Content-Length: 1000") as first,
    ):
        first.sendall(b"x")
        while not server.served.gate.inside:
            threading.Event().wait(0.01)
        answer = server.send("/v1/predict", CLIP.read_bytes())
        assert (answer.status, answer.headers["retry-after"]) == (429, "1")
        assert "1 requests" in answer.json["error"]
        assert server.get("/healthz").status == 200


def test_all_places_taken_is_503_and_they_come_back(classifier):
    with serving(classifier, at_once=1) as server:
        with blunt(server, POST, WAVE, "Content-Length: 1000") as first:
            first.sendall(b"x")
            while not server.served.gate.inside:
                threading.Event().wait(0.01)
            answer = server.send("/v1/predict", CLIP.read_bytes())
            assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        server.until_free()  # the first was cut
        assert server.served.gate.bytes == 0
        assert server.send("/v1/predict", CLIP.read_bytes()).status == 200


def test_memory_is_one_for_all(classifier):
    with (
        serving(classifier, upload_bytes=2**20, held_bytes=2**20) as server,
        blunt(server, POST, WAVE, "Content-Length: 900000") as first,
    ):
        first.sendall(b"x" * 800_000)
        while server.served.gate.bytes < 800_000:
            threading.Event().wait(0.01)
        answer = server.send("/v1/predict", wav(20))
        assert answer.status == 503
        assert "hold" in answer.json["error"]


def test_an_answer_that_takes_too_long_is_given_up_and_the_server_lives():
    slow = Stuck()
    with serving(slow, answer_seconds=0.3, workers=1) as server:
        answer = server.send("/v1/predict", CLIP.read_bytes())
        assert answer.status == 503
        assert "longer than 0.3 s" in answer.json["error"]
        assert server.served.gate.inside == 1  # the thread still has it
        slow.go.set()
        server.until_free()


def test_the_loop_is_not_blocked_while_a_sound_is_heard():
    slow = Stuck()
    with serving(slow) as server:
        answers: list[int] = []
        asking = threading.Thread(
            target=lambda: answers.append(server.send("/v1/predict", CLIP.read_bytes()).status)
        )
        asking.start()
        assert slow.begun.acquire(timeout=60)
        assert server.get("/healthz").json["status"] == "ok"
        assert not answers
        slow.go.set()
        asking.join(60)
    assert answers == [200]


def test_a_device_that_fails_is_said_in_readyz_until_it_works(classifier, monkeypatch):
    def fails(*_: object, **__: object) -> None:
        raise DeviceError("GPU gave scores that are not finite")

    with serving(classifier) as server:
        with monkeypatch.context() as broken:
            broken.setattr(classifier, "predict", fails)
            answer = server.send("/v1/predict", CLIP.read_bytes())
        assert (answer.status, answer.json["error"]) == (503, "GPU gave scores that are not finite")
        ready = server.get("/readyz")
        assert (ready.status, ready.json["ready"]) == (503, False)
        assert server.get("/healthz").status == 200
        assert server.send("/v1/predict", CLIP.read_bytes()).status == 200
        assert server.get("/readyz").status == 200


def test_readyz_tries_a_device_that_failed(classifier, monkeypatch):
    # Where a balancer sends nobody any more, no request would find out that it works again.
    working = threading.Event()

    def logits(image: np.ndarray) -> np.ndarray:
        if not working.is_set():
            raise DeviceError("GPU failed: it was reset")
        return np.zeros(8, np.float32)

    monkeypatch.setattr(inference, "_CHECK_SECONDS", 0.0)
    with serving(classifier) as server:
        monkeypatch.setattr(classifier.network, "logits", logits)
        server.served.engine.device_error = "GPU failed: it was reset"
        assert server.get("/readyz").status == 503
        working.set()
        assert server.get("/readyz").status == 200


def test_a_fault_of_ours_says_nothing_of_the_inside(classifier, monkeypatch, caplog):
    def fails(*_: object, **__: object) -> None:
        raise KeyError("secret")

    with serving(classifier) as server:
        monkeypatch.setattr(classifier, "predict", fails)
        answer = server.send("/v1/predict", CLIP.read_bytes())
        assert answer.status == 500
        assert "secret" not in answer.json["error"]
        assert server.served.gate.inside == 0


# -------------------------------------------------------------------------------- who may come in


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("localhost:1234", 200),
        ("[::1]:80", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("192.168.1.5", 421),
        ("", 421),
        ("[", 421),
    ],
)
def test_only_its_own_names_reach_it(server, host, status):
    assert server.get("/healthz", Host=host).status == status


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (None, 200),
        ("own", 200),
        ("https://evil.example", 403),
        ("null", 403),
        ("http://127.0.0.1:1", 403),
        ("https://panel.local", 200),
    ],
)
def test_only_its_own_pages_may_send(classifier, origin, status):
    with serving(classifier, origins=("https://panel.local",)) as server:
        headers = {} if origin is None else {"Origin": origin}
        if origin == "own":
            headers = {"Origin": server.url.rstrip("/")}
        assert server.send("/v1/predict", CLIP.read_bytes(), **headers).status == status
        if status == 200:
            with connect(f"{server.ws}/v1/stream?rate=16000", additional_headers=headers):
                pass
        else:
            with pytest.raises(InvalidStatus) as refused:
                connect(f"{server.ws}/v1/stream?rate=16000", additional_headers=headers)
            assert refused.value.response.status_code == 403


def test_a_token_is_asked_for_everywhere_but_on_the_page(classifier):
    with serving(classifier, token=TOKEN) as server:
        for path in ("/", "/static/app.js", "/healthz", "/readyz"):
            assert server.get(path).status == 200
        for path in ("/v1/models", "/metrics", "/no/such"):
            answer = server.get(path)
            assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
            assert server.get(path, Authorization="Bearer wrong").status == 401
            assert server.get(path, Authorization=f"Bearer {TOKEN}x").status == 401
            assert server.get(path, Authorization=f"Basic {TOKEN}").status == 401
            assert server.get(path, Authorization=f"Bearer {TOKEN}").status != 401
        assert server.send("/v1/predict", CLIP.read_bytes()).status == 401
        stream = f"{server.ws}/v1/stream?rate=16000"
        with pytest.raises(InvalidStatus) as refused:
            connect(stream)
        assert refused.value.response.status_code == 401
        assert b"token" in refused.value.response.body
        with connect(f"{stream}&token={TOKEN}"):
            pass
        with connect(stream, subprotocols=["ser-edge", f"token.{TOKEN}"]) as socket_:
            assert socket_.subprotocol == "ser-edge"
        with connect(stream, additional_headers={"Authorization": f"Bearer {TOKEN}"}):
            pass
        assert server.get(f"/v1/models?token={TOKEN}").status == 401  # a query is logged by proxies


@pytest.mark.unit
@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"host": "0.0.0.0"}, "needs a token"),
        ({"host": "box.local"}, "needs a token"),
        ({"token": "short"}, "at least 16"),
        ({"token": "with a space in it, and more"}, "letters, digits"),
        ({"at_once": 0}, "at_once is 0, allowed: 1"),
        ({"upload_bytes": 2**30}, "held_bytes"),
        ({"sound_seconds": float("nan")}, "sound_seconds is nan"),
    ],
)
def test_settings_say_what_is_allowed(values, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        ServerSettings(**values)


@pytest.mark.unit
def test_settings_do_not_print_the_token():
    assert TOKEN not in repr(ServerSettings(token=TOKEN))


@pytest.mark.unit
@pytest.mark.parametrize(
    ("host", "own"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True),
     ("0.0.0.0", False), ("10.0.0.1", False), ("localhost.evil.example", False), ("", False)],
)  # fmt: skip
def test_loopback(host, own):
    assert is_loopback(host) is own


@pytest.mark.unit
def test_beyond_loopback_addresses_are_known_and_names_are_not():
    settings = ServerSettings(host="0.0.0.0", token=TOKEN, names=("Box.example",))
    known = ["192.168.1.5", "::1", "localhost", "box.example", socket.gethostname().lower()]
    assert [name for name in known if not settings.knows(name)] == []
    assert not settings.knows("evil.example")


# ------------------------------------------------------------------------------------ the page


def test_the_page_comes_with_a_policy_and_all_its_files(server):
    page = server.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert "unsafe" not in page.headers["content-security-policy"]
    wanted = set(re.findall(r'(?:src|href)="(static/[^"]+)"', page.body.decode()))
    wanted |= {f"static/{path.name}" for path in (ROOT / "edge_app/server/web").glob("*.js")}
    assert len(wanted) > 8
    for path in wanted:
        answer = server.get(f"/{path}")
        assert answer.status == 200
        assert answer.headers["x-content-type-options"] == "nosniff"
        again = server.get(f"/{path}", If_None_Match=answer.headers["etag"])
        assert (again.status, again.body) == (304, b"")


@pytest.mark.unit
def test_the_page_fetches_nothing_from_elsewhere():
    for path in (ROOT / "edge_app/server/web").iterdir():
        addresses = re.findall(r"(?:https?:)?//[a-z0-9.]+\.[a-z]+[^\s\"'`<]*", path.read_text())
        assert [a for a in addresses if "www.w3.org/2000/svg" not in a] == [], path.name


# ------------------------------------------------------------------------------------ the stream


def events_until_close(socket_: ClientConnection) -> tuple[list[Any], int | None, str | None]:
    """All messages, then the code and the reason of the close."""
    messages: list[Any] = []
    with contextlib.suppress(ConnectionClosed):
        while True:
            message = socket_.recv(timeout=60)
            messages.append(json.loads(message) if isinstance(message, str) else message)
    return messages, socket_.protocol.close_code, socket_.protocol.close_reason


def test_a_stream_gives_events_in_order_and_the_open_segment_at_its_end(server):
    with connect(f"{server.ws}/v1/stream?rate=16000") as socket_:
        socket_.send(pcm(1.0) + bytes(2 * 16_000))  # speech, then silence
        socket_.send("end")
        events, code, _ = events_until_close(socket_)
    assert code == 1000
    kinds = [(event["kind"], event["emotion"]) for event in events]
    loud = events[0]["emotion"]
    assert kinds == [
        ("window", loud), ("change", loud), ("window", loud),
        ("window", "silence"), ("segment", loud), ("change", "silence"), ("window", "silence"),
        ("segment", "silence"),
    ]  # fmt: skip
    assert list(events[0]) == [
        "kind", "start", "end", "time", "emotion", "confidence", "scores", "source", "device",
        "model",
    ]  # fmt: skip


def test_messages_may_be_cut_in_the_middle_of_a_sample(classifier):
    made: list[StandInLive] = []

    def make(*words: Any) -> StandInLive:
        made.append(StandInLive(*words))
        return made[-1]

    sound = pcm(2.0)
    with (
        serving(classifier, make) as server,
        connect(f"{server.ws}/v1/stream?rate=8000") as socket_,
    ):
        for at in range(0, len(sound), 3001):
            socket_.send(sound[at : at + 3001])
        socket_.send("end")
        events_until_close(socket_)
    assert sum(made[0].samples) == len(sound) // 2
    assert max(made[0].samples) <= 8000  # a second at most, so that others are heard, too


def test_with_image_each_window_is_followed_by_its_picture(server, classifier):
    with connect(f"{server.ws}/v1/stream?rate=16000&image=1") as socket_:
        for _ in range(2):
            socket_.send(pcm(0.5))
        socket_.send("end")
        messages, _, _ = events_until_close(socket_)
    rows, frames = classifier.manifest.spec.shape
    pictures = [message for message in messages if isinstance(message, bytes)]
    assert [len(picture) for picture in pictures] == [rows * frames] * 2


@pytest.mark.parametrize(
    "rate", ["", "?rate=", "?rate=x", "?rate=7999", "?rate=192001", "?rate=-1"]
)
def test_a_wrong_rate_is_refused(server, rate):
    with pytest.raises(InvalidStatus) as refused:
        connect(f"{server.ws}/v1/stream{rate}")
    assert refused.value.response.status_code == 422
    assert b"allowed: 8000 to 192000" in refused.value.response.body


def test_text_that_is_not_the_end_is_an_error(server):
    with connect(f"{server.ws}/v1/stream?rate=16000") as socket_:
        socket_.send('{"what": "is this"}')
        messages, code, _ = events_until_close(socket_)
    assert code == 1003
    assert "allowed: 'end'" in messages[-1]["error"]


def test_a_message_that_is_too_large_ends_the_stream(server):
    with connect(f"{server.ws}/v1/stream?rate=16000") as socket_:
        with contextlib.suppress(ConnectionClosed):
            socket_.send(bytes(2**20 + 2))
        assert events_until_close(socket_)[1] == 1009
    assert server.get("/healthz").status == 200


def test_streams_have_places_and_silence_frees_them(classifier):
    with serving(classifier, streams=1, idle_seconds=0.3) as server:
        stream = f"{server.ws}/v1/stream?rate=16000"
        with connect(stream) as first:
            with pytest.raises(InvalidStatus) as refused:
                connect(stream)
            assert refused.value.response.status_code == 503
            assert refused.value.response.headers["Retry-After"]
            messages, code, reason = events_until_close(first)
            assert (code, reason) == (1008, "nothing came for 0.3 s")
            assert messages == [{"error": reason}]
        with connect(stream):
            pass


def test_a_stream_that_is_cut_leaves_its_place(classifier):
    with serving(classifier, streams=1) as server:
        with connect(f"{server.ws}/v1/stream?rate=16000") as socket_:
            socket_.send(pcm(0.5))
            socket_.recv(timeout=60)
            socket_.socket.shutdown(socket.SHUT_RDWR)
        while server.get("/readyz").json["streams"]["open"]:
            threading.Event().wait(0.02)


def test_a_device_that_fails_is_said_to_the_stream(classifier):
    class Fails(StandInLive):
        def feed(self, samples: np.ndarray) -> list[Any]:
            raise DeviceError("MYRIAD failed: it was pulled out")

    with (
        serving(classifier, Fails) as server,
        connect(f"{server.ws}/v1/stream?rate=16000") as socket_,
    ):
        socket_.send(pcm(0.5))
        messages, code, _ = events_until_close(socket_)
        ready = server.get("/readyz")
    assert code == 1011
    assert messages == [{"error": "MYRIAD failed: it was pulled out"}]
    assert (ready.status, ready.json["error"]) == (503, "MYRIAD failed: it was pulled out")


def test_the_real_live_path_answers_a_stream(classifier):
    with (
        serving(classifier, inference.make_live) as server,
        connect(f"{server.ws}/v1/stream?rate=16000&image=1") as socket_,
    ):
        for _ in range(8):
            socket_.send(pcm(1.0))
        socket_.send("end")
        messages, code, _ = events_until_close(socket_)
    assert code == 1000
    assert any(isinstance(m, dict) and m["kind"] == "window" for m in messages)
    rows, frames = classifier.manifest.spec.shape
    assert any(isinstance(m, bytes) and len(m) == rows * frames for m in messages)


# ------------------------------------------------------------------------------------ the command


def command(*words: str, **environment: str) -> subprocess.Popen[str]:
    code = "import sys; from edge_app.cli import main; sys.exit(main(sys.argv[1:]))"
    return subprocess.Popen(
        [sys.executable, "-c", code, "serve", *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
        env={**os.environ, **environment},
    )  # fmt: skip


def test_sigterm_sends_the_open_segment_closes_the_stream_and_ends_well():
    with command("--port", "0") as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().split()[0]
            with connect(f"{url.replace('http', 'ws')}v1/stream?rate=16000") as socket_:
                socket_.send(pcm(3.0))
                assert json.loads(socket_.recv(timeout=60))["kind"] in ("window", "change")
                process.send_signal(signal.SIGTERM)
                messages, code_, reason = events_until_close(socket_)
            assert messages[-1]["kind"] == "segment"
            assert (code_, reason) == (1001, "the server is stopping")
            _, errors = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 0
    assert "Traceback" not in errors


def test_sigterm_does_not_wait_for_a_thread_that_never_ends():
    code = (
        "import sys, threading; from edge_app import Classifier;"
        "wait = threading.Event().wait;"
        "Classifier.predict = lambda *words: (print('begun', flush=True), wait());"
        "from edge_app.cli import main; sys.exit(main(['serve', '--port', '0']))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        cwd=ROOT,
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            host, port = process.stdout.readline().split()[0].split("/")[2].split(":")
            sound = CLIP.read_bytes()
            with socket.create_connection((host, int(port)), timeout=60) as raw:
                head = f"{POST}\r\n{WAVE}\r\nHost: {host}\r\nContent-Length: {len(sound)}\r\n\r\n"
                raw.sendall(head.encode() + sound)
                assert process.stdout.readline() == "begun\n"
                process.send_signal(signal.SIGTERM)
                assert status_of(raw) == 503  # who waits is told
                process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("--host", "203.0.113.1", "--port", "0"), 1, "cannot listen on 203.0.113.1"),
        (("--model", "nothing", "--port", "0"), 2, "there is no model 'nothing'"),
    ],
)
def test_wrong_usage(words, status, said, capsys, monkeypatch):
    monkeypatch.delenv("SER_EDGE_TOKEN", raising=False)
    assert ended(*words) == status
    assert said in capsys.readouterr().err


def test_a_short_token_and_a_port_that_is_taken_are_said(capsys, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert ended("--port", str(taken.getsockname()[1])) == 1
    assert "cannot listen on 127.0.0.1" in capsys.readouterr().err
    monkeypatch.setenv("SER_EDGE_TOKEN", "short")
    assert ended() == 2
    assert "at least 16" in capsys.readouterr().err


def ended(*words: str) -> object:
    """Exit status of ``edge-app serve``, which should not come to serve anything."""
    try:
        return main(["serve", *words])
    except SystemExit as error:
        return error.code


def test_beyond_this_machine_a_token_is_made_and_printed_once():
    with command("--host", "0.0.0.0", "--port", "0") as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            port, token = re.findall(r":(\d+)/#token=(\S+)", line)[0]
            process.send_signal(signal.SIGTERM)
            rest, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert len(token) >= 16
    assert int(port) > 0
    assert token not in rest + errors


def test_help_teaches_by_examples_and_needs_no_extra():
    code = (
        "import sys; from edge_app.cli import main\n"
        "try: main(['serve', '--help'])\n"
        "finally: print(sorted({'fastapi', 'uvicorn'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert "examples:" in done.stdout
    assert done.stderr.strip() == "[]"


def test_without_the_extra_it_says_which():
    code = (
        "import sys; sys.modules['uvicorn'] = None\nfrom edge_app.cli import main; main(['serve'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 2
    assert "pip install 'ser-edge[serve]'" in done.stderr


@pytest.mark.system
def test_https_with_a_certificate(tmp_path: Path):
    import shutil
    import ssl
    import urllib.request

    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl to make a certificate with")
    certificate, key = tmp_path / "box.pem", tmp_path / "box.key"
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
         "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out",
         certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    words = ("--port", "0", "--certificate", str(certificate), "--key", str(key))
    with command(*words) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().split()[0]
            assert url.startswith("https://")
            trust = ssl.create_default_context(cafile=str(certificate))
            with urllib.request.urlopen(f"{url}healthz", context=trust, timeout=60) as answer:
                assert json.load(answer)["status"] == "ok"
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 0
