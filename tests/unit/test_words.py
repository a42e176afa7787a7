"""Words beside an emotion: what is said, what it might mean, and that neither can do harm."""

from __future__ import annotations

import base64
import csv
import io
import json
import logging
import re
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from conftest import ROOT, SAMPLES, speechlike
from edge_app import Classifier, Prediction
from edge_app.cli import main
from edge_app.language.annotations import Wording
from edge_app.language.interpretation import Interpreter, plain_sentence, question
from edge_app.language.llm_client import (
    KEY_VARIABLE,
    MODEL_VARIABLE,
    URL_VARIABLE,
    Endpoint,
    EndpointError,
    endpoint_from_environment,
    read_text,
)
from edge_app.language.transcription import (
    RATE,
    Said,
    Transcriber,
    Transcription,
    TranscriptionError,
    pieces,
    speech_of,
    stretches,
)
from edge_app.results import Segment
from edge_app.server import annotations as server_words
from edge_app.server.annotations import NO_TRANSCRIBER
from edge_app.threads import Stopped
from ser_edge.emotions import EMOTIONS
from serving import StandInLive, serving
from wordtools import (
    LOUD,
    SOFT,
    LanguageModel,
    answers,
    completion,
    goes_on,
    hangs,
    http,
    language_model,
    make_whisper,
)

KEY = "sk-secret-0123456789abcdef"
CLIP = next(path for path in SAMPLES if path.name == "man-even.wav")
LONG = next(path for path in SAMPLES if path.name == "man-long.ogg")
GOOD = answers(http(completion("It sounds calm, perhaps.")))
ELSEWHERE = "http://127.0.0.1:1/elsewhere?token=hidden"


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier()


@pytest.fixture(scope="module")
def answer(classifier: Classifier) -> Prediction:
    return classifier.predict(LONG)


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("openvino_genai", reason="no openvino-genai (extra transcribe)")
    return make_whisper(tmp_path_factory.mktemp("whisper") / "tiny-table")


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Name an endpoint, or none."""

    def name(url: str | None = None, model: str | None = "small", key: str | None = KEY) -> None:
        values = {URL_VARIABLE: url, MODEL_VARIABLE: model, KEY_VARIABLE: key}
        for variable, value in values.items():
            if value is None or url is None:
                monkeypatch.delenv(variable, raising=False)
            else:
                monkeypatch.setenv(variable, value)

    name()
    return name


def of(scores: dict[str, float], emotion: str, *segments: tuple[float, float, str]) -> Prediction:
    """An answer with these scores and segments."""
    whole = {label: scores.get(label, 0.0) for label in EMOTIONS}
    parts = tuple(Segment(start, end, said, 0.5, whole) for start, end, said in segments)
    seconds = parts[-1].end if parts else 3.0
    return Prediction(
        "clip.wav", emotion, max(whole.values()), whole, seconds, "CPU", "m", (), None, parts
    )


def tone(seconds: float, amplitude: float = 0.5) -> np.ndarray:
    t = np.arange(round(seconds * RATE)) / RATE
    return (amplitude * np.sin(2 * np.pi * 300 * t)).astype(np.float32)


# ----------------------------------------------------------------------------- the plain sentence


@pytest.mark.parametrize(
    ("prediction", "told"),
    [
        (
            of({"angry": 0.6, "sad": 0.3, "calm": 0.1}, "angry", (0, 3, "angry")),
            "From the scores alone: the voice sounds most like angry (60%), then sad (30%) and "
            "calm (10%).",
        ),
        (
            of({"sad": 0.3, "calm": 0.25, "happy": 0.2}, "unknown"),
            "From the scores alone: no emotion stands out; the nearest are sad (30%), calm (25%) "
            "and happy (20%).",
        ),
        (
            of(dict.fromkeys(EMOTIONS, 0.125), "unknown", (0, 3, "silence")),
            "From the scores alone: there is no voice to hear anything in.",
        ),
        (
            of(
                {"sad": 0.5, "calm": 0.3, "happy": 0.2},
                "sad",
                *((i * 3.0, i * 3.0 + 3, ("sad", "calm")[i % 2]) for i in range(7)),
            ),
            "From the scores alone: the voice sounds most like sad (50%), then calm (30%) and "
            "happy (20%). Over time: sad from 0:00:00.0, calm from 0:00:03.0, sad from 0:00:06.0, "
            "calm from 0:00:09.0, sad from 0:00:12.0, and 2 more.",
        ),
    ],
)
def test_the_plain_sentence_says_what_the_scores_say(prediction, told):
    assert plain_sentence(prediction) == told
    made = Interpreter(None).interpret(prediction, None)
    assert (made.text, made.source) == (told, "scores")


# --------------------------------------------------------------------------- asking a real server


def ask(model: LanguageModel, prediction: Prediction, seconds: float = 30.0, **more: Any) -> str:
    endpoint = Endpoint(more.pop("url", model.url), "small", KEY, seconds)
    return Interpreter(endpoint).interpret(prediction, more.pop("words", None)).text


@pytest.mark.component
def test_a_good_answer(answer):
    said = Transcription((Said(0.0, 2.0, "Good evening."),), "en", "w")
    with language_model(GOOD) as model:
        assert ask(model, answer, words=said) == "It sounds calm, perhaps."
    (request,) = model.received
    assert request.startswith(b"POST /v1/chat/completions HTTP/1.1\r\n")
    assert f"authorization: bearer {KEY}".encode() in request.lower()
    asked = model.question()
    assert set(asked) == {"model", "messages", "stream"}
    assert (asked["model"], asked["stream"]) == ("small", False)
    facts = json.loads(asked["messages"][1]["content"])
    assert facts["words"] == [{"start": 0.0, "end": 2.0, "text": "Good evening."}]
    assert facts["emotion"] == answer.emotion
    assert len(facts["timeline"]) == len(answer.segments)


@pytest.mark.component
def test_no_key_no_header(answer):
    with language_model(GOOD) as model:
        Interpreter(Endpoint(model.url, "small")).interpret(answer, None)
    assert b"authorization" not in model.received[0].lower()


@pytest.mark.component
@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("", "/v1/chat/completions"),
        ("/", "/v1/chat/completions"),
        ("/v3/", "/v3/chat/completions"),
        ("/openai/chat/completions", "/openai/chat/completions"),
        ("/v1?api-version=2", "/v1/chat/completions?api-version=2"),
    ],
)
def test_addresses_may_be_given_as_clients_take_them(answer, path, target):
    with language_model(GOOD) as model:
        ask(model, answer, url=f"http://127.0.0.1:{model.port}{path}")
    assert model.received[0].split()[1].decode() == target


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
BAD: dict[str, tuple[Any, str]] = {
    "500": (answers(http(b'{"error": "boom"}', "500 Oops")), "it failed (500)"),
    "503 with the key": (answers(http(KEY.encode(), f"503 {KEY}")), "it failed (503)"),
    "401": (answers(http(b"", "401 No")), f"it refuses the key (${KEY_VARIABLE}) (401)"),
    "404": (answers(http(b"", "404 No")), "it has no such path or model"),
    "429": (answers(http(b"", "429 No")), "it has too many requests"),
    "400": (answers(http(b"", "400 No")), "it refuses the question (400)"),
    "204": (answers(http(b"", "204 No")), "it refuses the question (204)"),
    "noise": (answers(bytes(range(256)) * 9), "what it answers is not whole, or no HTTP"),
    "another protocol": (answers(b"SSH-2.0-OpenSSH_9.2\r\n"), "not whole, or no HTTP"),
    "nothing": (answers(b""), "the connection broke"),
    "headers without an end": (
        goes_on(b"HTTP/1.1 200 OK\r\n", b"X-More: of this\r\n"), "not whole, or no HTTP",
    ),
    "a header without an end": (
        goes_on(b"HTTP/1.1 200 OK\r\nX-Long: ", b"x" * 1000), "not whole, or no HTTP",
    ),
    "html": (answers(http(b"<html>hello</html>")), "no chat completion"),
    "binary": (answers(http(bytes(range(256)))), "no chat completion"),
    "compressed": (
        answers(http(b"\x1f\x8b\x08\x00\x00", "200 OK", "Content-Encoding: gzip")),
        "no chat completion",
    ),
    "another json": (answers(http(b'{"choices": []}')), "no chat completion"),
    "a list": (answers(http(b"[[[]]]")), "no chat completion"),
    "a number": (answers(http(b"1" * 5000)), "no chat completion"),
    "nested": (answers(http(b"[" * 200_000)), "no chat completion"),
    "content is a list": (answers(http(completion([1]))), "no chat completion"),
    "refusal": (answers(http(completion(None, refusal="No."))), "it refuses to answer"),
    "empty": (answers(http(completion(" \n\x00 "))), "it answers without a word"),
    "thinks only": (answers(http(completion("<think>Hm.</think>"))), "it answers without a word"),
    "null": (answers(http(completion(None))), "it answers without a word"),
    "long": (answers(http(completion("x" * 4001))), "4001 characters, allowed: 4000"),
    "says the key": (answers(http(completion(f"It is {KEY}!"))), "its text says the key"),
    "cut off": (answers(http(completion("yes"), length=9999)), "not whole, or no HTTP"),
    "chunks cut off": (answers(CHUNKED + b"ff\r\n{"), "not whole, or no HTTP"),
    "wrong chunks": (answers(CHUNKED + b"zz\r\n{}\r\n"), "not whole, or no HTTP"),
    "huge": (
        goes_on(http(b"", length=10**12), b" " * 65536), "its answer is over 1 MB",
    ),
    "huge in chunks": (
        goes_on(CHUNKED, b"10000\r\n%s\r\n" % (b" " * 65536)), "its answer is over 1 MB",
    ),
    "redirects": (
        answers(http(b"", "307 Go", f"Location: {ELSEWHERE}")), "it redirects (307), which is not",
    ),
}  # fmt: skip


@pytest.mark.component
@pytest.mark.parametrize("name", BAD)
def test_what_it_does_wrong_is_one_harmless_sentence(answer, name, caplog):
    behave, words = BAD[name]
    with language_model(behave) as model, pytest.raises(EndpointError) as error:
        ask(model, answer)
    said = str(error.value)
    assert said.startswith("the language model: ")
    assert words in said
    assert "\n" not in said
    for secret in (KEY, "hidden", str(model.port)):
        assert secret not in said + caplog.text


SLOW = {
    "hangs": hangs,
    "drips its head": goes_on(b"H", b"T", 0.01),
    "drips its body": goes_on(http(b"", length=10**6), b" ", 0.01),
    "drips chunks": goes_on(CHUNKED, b"1\r\n \r\n", 0.01),
    "goes on with 100": goes_on(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.001),
}


@pytest.mark.component
@pytest.mark.parametrize("name", SLOW)
def test_what_takes_too_long_ends_and_its_thread_too(answer, name):
    with language_model(SLOW[name]) as model:
        with pytest.raises(EndpointError, match=r"no answer within 0\.3 s"):
            ask(model, answer, seconds=0.3)
        # While the model goes on: it is the client's side that has hung up.
        for thread in threading.enumerate():
            if thread.name == "endpoint":
                thread.join(30)
                assert not thread.is_alive()


@pytest.mark.component
def test_tls_that_is_none_and_tls_that_hangs(answer):
    with language_model(hangs) as model:
        url = model.url.replace("http:", "https:")
        with pytest.raises(EndpointError, match=r"no answer within 0\.3 s"):
            ask(model, answer, 0.3, url=url)
    # A ClientHello has no end of a head, so the model waits for more: let it answer at once.
    listening = socket.create_server(("127.0.0.1", 0))

    def speak() -> None:
        connection, _ = listening.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            connection.recv(65536)

    thread = threading.Thread(target=speak)
    thread.start()
    endpoint = Endpoint(f"https://127.0.0.1:{listening.getsockname()[1]}", "m")
    with listening, pytest.raises(EndpointError, match="it does not speak TLS"):
        Interpreter(endpoint).interpret(answer, None)
    thread.join(30)


@pytest.mark.system
def test_a_certificate_that_nobody_signed(answer, tmp_path):
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl to make a certificate with")
    certificate, key = tmp_path / "x.pem", tmp_path / "x.key"
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
         "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out",
         certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    heard: list[bytes] = []
    listening = socket.create_server(("127.0.0.1", 0))

    def speak() -> None:
        connection, _ = listening.accept()
        with connection:
            try:
                with context.wrap_socket(connection, server_side=True) as tls:
                    heard.append(tls.recv(65536))
            except OSError:
                return

    thread = threading.Thread(target=speak)
    thread.start()
    endpoint = Endpoint(f"https://localhost:{listening.getsockname()[1]}", "m", KEY)
    with listening, pytest.raises(EndpointError, match="its certificate is not trusted: self"):
        Interpreter(endpoint).interpret(answer, None)
    thread.join(30)
    assert heard in ([], [b""])  # neither key nor words were sent


@pytest.mark.component
def test_nobody_there(answer):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    endpoint = Endpoint(f"http://127.0.0.1:{port}/v1", "small")
    with pytest.raises(EndpointError, match="nothing listens at its address"):
        Interpreter(endpoint).interpret(answer, None)


@pytest.mark.component
def test_who_does_not_answer_is_let_alone_and_then_asked_again(answer, caplog):
    now = [0.0]
    with language_model(hangs) as model:
        interpreter = Interpreter(Endpoint(model.url, "small", KEY, 0.2), lambda: now[0])
        for _ in range(2):
            with pytest.raises(EndpointError, match="no answer within"):
                interpreter.interpret(answer, None)
        now[0] = 10.0
        for _ in range(5):
            with pytest.raises(EndpointError, match="it is asked again in 20 s"):
                interpreter.interpret(answer, None)
        assert len(model.received) <= 2
        now[0] = 31.0
        with pytest.raises(EndpointError, match="no answer within"):
            interpreter.interpret(answer, None)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]  # said once


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<think>Hm, sad?</think>\n\nSad.\n", "Sad."),
        ("one\ntwo", "one\ntwo"),
        ("a\ud800b", "ab"),
        ("red\x1b[31m\x07\r", "red[31m"),
        ("turned \u202egnp.exe\u2066", "turned gnp.exe"),
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),  # text stays text
        ("क्‍ष 🙂", "क्‍ष 🙂"),
    ],
)
def test_what_is_shown_of_a_text(text, shown):
    assert read_text(completion(text)) == shown


# --------------------------------------------------------------------------------- the environment


@pytest.mark.parametrize(
    ("url", "model", "key", "words"),
    [
        ("ftp://host/v1", "m", KEY, "http or https"),
        ("127.0.0.1:11434", "m", KEY, "http or https"),
        (f"http://user:{KEY}@host/v1", "m", None, "no user"),
        ("http://host/v1#x", "m", KEY, "no fragment"),
        ("http://host:99999/v1", "m", KEY, "should be like"),
        ("http://[::1/v1", "m", KEY, "should be like"),
        ("http://host/a b", "m", KEY, "should be like"),
        ("http://host/v1", None, KEY, f"{MODEL_VARIABLE} is not: name the model"),
        ("http://host/v1", "m", f"{KEY}\r\nX-Evil: 1", "printable ASCII without spaces"),
        ("http://host/v1", "m", f"{KEY}é", "printable ASCII"),
    ],
)
def test_a_wrong_environment_is_said_without_its_secrets(environment, url, model, key, words):
    environment(url, model, key)
    with pytest.raises(ValueError, match=re.escape(words)) as error:
        endpoint_from_environment()
    assert KEY not in str(error.value)


def test_an_endpoint_shows_no_secrets(environment):
    environment("https://host.example:8443/v1?key=hidden")
    endpoint = endpoint_from_environment()
    assert endpoint is not None
    assert KEY not in repr(endpoint)
    assert "hidden" not in repr(endpoint) + endpoint.place
    assert endpoint.place == "https://host.example:8443"
    environment()
    assert endpoint_from_environment() is None


@pytest.mark.parametrize("seconds", [0.0, 601.0, float("nan")])
def test_seconds_that_make_no_sense(seconds):
    with pytest.raises(ValueError, match=r"allowed: 0\.1 to 600"):
        Endpoint("http://host", "m", seconds=seconds)


# ----------------------------------------------------------------------- only text leaves


def test_a_question_is_bounded_whatever_was_heard():
    segments = [(float(i), i + 1.0, "sad") for i in range(5000)]
    said = Transcription(tuple(Said(i, i + 1.0, "word " * 400) for i in range(5000)), "en", "w")
    asked = question(of({"sad": 1.0}, "sad", *segments), said)
    assert len(json.dumps(asked)) < 25_000
    facts = json.loads(asked[1]["content"])
    assert facts["timeline_left_out"] == 4960


def test_a_question_names_neither_file_nor_person(classifier):
    heard = classifier.predict(CLIP)
    named = Prediction(**{**vars(heard), "file": "/home/anna/therapy.wav", "profile": "anna"})
    assert question(named, None) == question(heard, None)
    assert "anna" not in json.dumps(question(named, None))


def pieces_of(content: bytes) -> Iterator[bytes]:
    """12 bytes each, as they are and as base64 and hexadecimal digits would show them."""
    for at in range(0, len(content) - 12, 12):
        piece = content[at : at + 12]
        if len(set(piece)) > 6:  # silence and headers are nothing to tell by
            yield from (piece, base64.b64encode(piece), piece.hex().encode())


@pytest.mark.component
def test_only_text_leaves_the_server(classifier, monkeypatch):
    connected: list[Any] = []
    connect = socket.socket.connect

    def recorded(self: socket.socket, address: Any) -> None:
        connected.append(address)
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", recorded)
    content = CLIP.read_bytes()
    with (
        language_model(GOOD) as model,
        serving_words(classifier, model.url) as server,
    ):
        told = server.send("/process_audio", content, "private-name.wav").json
    assert told["LLM Interpretation"] == "It sounds calm, perhaps."
    assert set(connected) == {("127.0.0.1", server.port), ("127.0.0.1", model.port)}
    (request,) = model.received
    wanted = question(classifier.predict(CLIP), None)
    assert model.question() == {"model": "small", "messages": wanted, "stream": False}
    assert b"private-name" not in request
    looked = 0
    for piece in pieces_of(content):
        looked += 1
        assert piece not in request
    assert looked > 1000


# ------------------------------------------------------------------------------------- cutting


@pytest.mark.parametrize(
    ("speech", "wanted"),
    [
        ([], []),
        ([(1.0, 3.0)], [(0.7, 3.3)]),
        ([(0.1, 3.0)], [(0.0, 3.3)]),
        ([(1.0, 3.0), (3.4, 5.0)], [(0.7, 5.3)]),  # a breath
        ([(1.0, 3.0), (9.0, 11.0)], [(0.7, 11.3)]),  # a pause is heard, too
        ([(1.0, 14.0), (15.0, 17.0)], [(0.7, 14.3), (14.7, 17.3)]),  # long enough
        ([(1.0, 5.0), (25.0, 40.0)], [(0.7, 5.3), (24.7, 40.3)]),  # too long together
    ],
)
def test_speech_is_put_together_up_to_whispers_window(speech, wanted):
    assert [(round(a, 6), round(b, 6)) for a, b in stretches(speech)] == wanted


@pytest.mark.parametrize("block", [1000, 2**19])
def test_a_sound_is_cut_where_it_is_quietest_and_nothing_is_lost(block):
    sound = tone(70.0)
    for quiet in (24.0, 47.0):  # seconds: pauses too short to be one
        sound[round(quiet * RATE) : round((quiet + 0.1) * RATE)] *= 0.01
    blocks = [sound[at : at + block] for at in range(0, sound.size, block)]
    cut = list(pieces(blocks, [(0.0, 70.0)]))
    assert [start for start, _ in cut] == pytest.approx([0.0, 24.05, 47.05], abs=0.06)
    assert np.array_equal(np.concatenate([piece for _, piece in cut]), sound)
    assert max(piece.size for _, piece in cut) <= 28 * RATE


def test_pauses_are_left_out_and_places_kept():
    sound = np.arange(60 * RATE, dtype=np.float32)
    cut = list(pieces([sound], [(2.0, 16.0), (40.0, 41.0), (59.5, 60.0)]))
    assert [(round(start, 2), round(piece.size / RATE, 2)) for start, piece in cut] == [
        (1.7, 14.6),
        (39.7, 20.3),
    ]
    assert all(piece[0] == round(start * RATE) for start, piece in cut)


def test_a_sound_that_ends_before_its_speech_does():
    assert list(pieces([tone(0.1)], [(0.0, 0.1), (50.0, 60.0)])) == []
    assert list(pieces([], [(0.0, 1.0)])) == []


# ------------------------------------------------------------- the real pipeline, a table as model


def test_whisper_hears_what_is_there(whisper):
    transcriber = Transcriber(whisper)
    assert (transcriber.name, transcriber.device) == ("tiny-table", "CPU")
    sound = np.concatenate([tone(13.0), np.zeros(5 * RATE, np.float32), tone(2.0, 0.01)])
    said = transcriber.transcribe([sound], [(0.0, 13.0), (18.0, 20.0)])
    assert [part.text for part in said.parts] == [LOUD, SOFT]
    assert [round(part.start, 1) for part in said.parts] == [0.0, 17.7]
    assert said.text == f"{LOUD} {SOFT}"
    assert (said.language, said.model) == ("en", "tiny-table")
    assert transcriber.transcribe([sound], []) == Transcription((), None, "tiny-table")
    assert Transcriber(whisper, language="de").transcribe([sound], [(0, 1)]).language == "de"


def test_whisper_stops_between_two_words(whisper, tmp_path):
    endless = Transcriber(make_whisper(tmp_path / "endless", endless=True))
    assert endless.transcribe([tone(3.0)], [(0, 3)]).text.count("loud") == 45  # 224 tokens
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        endless.transcribe([tone(3.0)], [(0, 3)], stop)
    heard = endless._pipeline  # told to stop by its own first word

    class Stops:
        def generate(self, *words: Any, streamer: Any, **more: Any) -> Any:
            def go_on(word: str) -> Any:
                stop.set()
                return streamer(word)

            made = heard.generate(*words, streamer=go_on, **more)
            counted.append(str(made.texts[0]).count("loud"))
            return made

    counted: list[int] = []
    stop = threading.Event()
    endless._pipeline = Stops()
    with pytest.raises(Stopped):
        endless.transcribe([tone(3.0)], [(0, 3)], stop)
    assert counted[0] < 10


def test_whisper_fails_in_a_sentence(whisper):
    transcriber = Transcriber(whisper)
    with pytest.raises(TranscriptionError, match=r"^Whisper failed: .+"):
        transcriber._hear(np.empty(0, np.float32), threading.Event())


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"language": "fr"}, "language is 'fr', tiny-table knows: de, en"),
        ({"device": "TPU"}, "device 'TPU' is none that can be asked for"),
        ({"device": "MYRIAD"}, "device 'MYRIAD' cannot run the model"),
        ({"device": "MYRIAD", "fallback": "NOWHERE"}, "'NOWHERE' is none"),
    ],
)
def test_what_whisper_cannot_be(whisper, more, words):
    with pytest.raises((ValueError, RuntimeError), match=re.escape(words)):
        Transcriber(whisper, **more)


def test_a_fallback_takes_over(whisper, caplog):
    assert Transcriber(whisper, "MYRIAD", fallback="CPU").device == "CPU"
    assert "CPU takes over" in caplog.text


def test_a_folder_that_is_no_model(whisper, tmp_path):
    with pytest.raises(ValueError, match="is no Whisper model for OpenVINO: it has no openvino_en"):
        Transcriber(tmp_path)
    broken = tmp_path / "broken"
    shutil.copytree(whisper, broken)
    (broken / "generation_config.json").write_text("[1]")
    with pytest.raises(ValueError, match=r"generation_config\.json cannot be read"):
        Transcriber(broken)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (None, "needs the extra transcribe: pip install 'ser-edge[transcribe]'"),
        ("2024.1.0.0", "openvino-genai 2024.1.0 needs openvino 2024.1.0, here is "),
    ],
)
def test_without_the_extra_or_with_another_release(monkeypatch, tmp_path, found, words):
    def version(_: str) -> str:
        if found is None:
            raise metadata.PackageNotFoundError
        return found

    monkeypatch.setattr(metadata, "version", version)
    with pytest.raises(ValueError, match=re.escape(words)):
        Transcriber(tmp_path)


# ------------------------------------------------------------------------------ the command line


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    status = main([str(word) for word in words])
    out, err = capsys.readouterr()
    return status, out, err


def test_predict_says_words_where_they_are_asked_for(environment, whisper, capsys, tmp_path):
    options = ("--transcribe", whisper, "--interpret", "--format", "jsonl")
    silent, broken = tmp_path / "silent.wav", tmp_path / "broken.wav"
    soundfile.write(silent, np.zeros(RATE, np.float32), RATE)
    broken.write_bytes(b"no sound")
    status, out, _ = run(capsys, "predict", CLIP, broken, silent, *options)
    heard, failed, nothing = map(json.loads, out.splitlines())
    assert status == 1
    assert heard["transcription"] in (LOUD, SOFT)
    assert heard["transcription_parts"][0]["text"] == heard["transcription"]
    assert heard["transcription_reason"] is None
    assert heard["interpretation"].startswith("From the scores alone: ")
    assert heard["interpretation_source"] == "scores"
    assert "no language model is set" in heard["interpretation_reason"]
    assert set(failed) == {"file", "error"}
    assert (nothing["transcription"], nothing["transcription_parts"]) == ("", [])
    assert list(heard)[:10] == list(Classifier().predict(CLIP).to_dict())


def test_predict_without_them_is_as_it_was(environment, capsys, classifier):
    environment("http://127.0.0.1:1/v1")  # an endpoint alone asks for nothing
    _, out, _ = run(capsys, "predict", CLIP, "--format", "jsonl")
    assert list(json.loads(out)) == list(classifier.predict(CLIP).to_dict())
    _, out, _ = run(capsys, "predict", CLIP, "--format", "csv")
    assert out.splitlines()[0].endswith("device,model,profile,error")


def test_predict_from_standard_input_is_read_once_more(whisper, monkeypatch, capsys):
    class Pipe(io.RawIOBase):
        name = "<stdin>"

        def __init__(self, content: bytes) -> None:
            self._left = io.BytesIO(content)

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            return self._left.readinto(buffer)

    class Stdin:
        buffer = io.BufferedReader(Pipe(CLIP.read_bytes()))

    monkeypatch.setattr(sys, "stdin", Stdin)
    status, out, _ = run(capsys, "predict", "-", CLIP, "--transcribe", whisper, "--format", "jsonl")
    piped, named = map(json.loads, out.splitlines())
    assert status == 0
    assert (piped["file"], named["file"]) == ("<stdin>", str(CLIP))
    assert piped["transcription"] == named["transcription"] in (LOUD, SOFT)


@pytest.mark.component
def test_predict_asks_the_model_and_goes_on_without_it(environment, capsys, tmp_path):
    picture = tmp_path / "silence.png"
    from PIL import Image

    spec = Classifier().manifest.spec
    Image.fromarray(np.zeros(spec.shape, np.uint8)).save(picture)
    with language_model(GOOD) as model:
        environment(model.url)
        status, out, _ = run(capsys, "predict", CLIP, "--interpret", "--format", "csv")
    (row,) = csv.DictReader(io.StringIO(out))
    assert status == 0
    assert (row["interpretation"], row["interpretation_source"]) == (
        "It sounds calm, perhaps.", "llm",
    )  # fmt: skip
    assert "transcription" not in row
    with language_model(hangs) as model:
        environment(model.url)
        status, out, err = run(
            capsys, "predict", CLIP, LONG, picture, tmp_path / "none.wav", "--interpret",
            "--interpret-seconds", "0.2", "--format", "csv",
        )  # fmt: skip
    rows = list(csv.DictReader(io.StringIO(out)))
    assert status == 1  # for the file that is not there alone
    assert [row["interpretation"] for row in rows] == [""] * 4
    reasons = [row["interpretation_reason"] for row in rows]
    assert ["no answer" in reason for reason in reasons] == [True, True, False, False]
    assert "it is asked again" in reasons[2]
    assert KEY not in out + err


@pytest.mark.component
def test_the_table_shows_words_below_their_sound(environment, capsys):
    with language_model(answers(http(completion("One.\nTwo.")))) as model:
        environment(model.url)
        _, out, _ = run(capsys, "predict", CLIP, "--interpret")
    assert out.splitlines()[-1] == "  interpretation: One. Two."
    with language_model(BAD["500"][0]) as model:
        environment(model.url)
        _, out, _ = run(capsys, "predict", CLIP, "--interpret")
    wanted = "  interpretation: none: the language model: it failed (500)"
    assert out.splitlines()[-1] == wanted


def test_a_picture_has_no_words(whisper, classifier, tmp_path):
    wording = Wording(Transcriber(whisper), None)
    told = wording.of(classifier.predict(CLIP), str(tmp_path / "x.png"), True).to_dict()
    assert (told["transcription"], told["transcription_reason"]) == (
        None, "a mel image holds no words",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--transcribe", "nowhere"), "--transcribe: "),
        (("--language", "en"), "--language goes with --transcribe"),
        (("--interpret", "--interpret-seconds", "0"), "allowed: 0.1 to 600"),
        (("--interpret", "--format", "audacity"), "has no place for transcriptions"),
    ],
)
def test_wrong_usage(environment, capsys, options, words):
    environment("http://127.0.0.1:1/v1")
    with pytest.raises(SystemExit) as ended:
        main(["predict", str(CLIP), *options])
    assert ended.value.code == 2
    err = capsys.readouterr().err
    assert words in err
    assert KEY not in err


@pytest.mark.parametrize("command", ["predict", "serve"])
def test_a_wrong_endpoint_is_wrong_usage(environment, capsys, command):
    environment(f"http://user:{KEY}@host")
    words = ("predict", str(CLIP), "--interpret") if command == "predict" else ("serve", "--port=0")
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    assert ended.value.code == 2
    err = capsys.readouterr().err
    assert f"{URL_VARIABLE} should be like" in err
    assert KEY not in err


@pytest.mark.component
def test_the_command_line_stays_light():
    code = "import sys, edge_app.commands.predict; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout.split()
    assert "edge_app.language.llm_client" in loaded
    heavy = {
        "http.client",
        "ssl",
        "importlib.metadata",
        "openvino_genai",
        "edge_app.language.annotations",
    }
    assert not heavy & set(loaded)


# ------------------------------------------------------------------------------------ the server


def serving_words(
    classifier: Classifier,
    url: str | None = None,
    transcriber: Any = None,
    seconds: float = 30.0,
    **settings: Any,
) -> Any:
    endpoint = None if url is None else Endpoint(url, "small", KEY, seconds)
    return serving(
        classifier, StandInLive, transcriber=transcriber, interpreter=Interpreter(endpoint),
        **settings,
    )  # fmt: skip


class Slow:
    """Stands in for a Transcriber: it waits until it is let go, or told to stop."""

    name = "slow"

    def __init__(self, obedient: bool = True) -> None:
        self.begun = threading.Semaphore(0)
        self.go = threading.Event()
        self.stopped = threading.Semaphore(0)
        self._obedient = obedient

    def transcribe(self, blocks: Any, speech: Any, stop: threading.Event) -> Transcription:
        self.begun.release()
        while not self.go.wait(0.01):
            if stop.is_set() and self._obedient:
                self.stopped.release()
                raise Stopped
        return Transcription((Said(0.0, 1.0, "Go."),), "en", "slow")


def in_background(work: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    done: list[Any] = []
    thread = threading.Thread(target=lambda: done.append(work()))
    thread.start()
    return thread, done


@pytest.mark.component
def test_the_server_without_either(classifier):
    with serving_words(classifier) as server:
        told = server.send("/process_audio", CLIP.read_bytes()).json
        assert server.get("/v1/models").json["words"] == {
            "transcription": None, "interpretation": "scores",
        }  # fmt: skip
    assert told["Emotion Probabilities"] == classifier.predict(CLIP).to_dict()["scores"]
    assert (told["Transcription"], told["Transcription Reason"]) == (None, NO_TRANSCRIBER)
    assert told["LLM Interpretation"] == plain_sentence(classifier.predict(CLIP))
    assert told["LLM Interpretation Source"] == "scores"
    assert told["LLM Interpretation Reason"]


@pytest.mark.component
def test_the_server_with_both(classifier, whisper):
    with (
        language_model(GOOD) as model,
        serving_words(classifier, model.url, Transcriber(whisper)) as server,
    ):
        told = server.send("/process_audio", CLIP.read_bytes()).json
        silence = io.BytesIO()
        soundfile.write(silence, np.zeros(RATE, np.int16), RATE, format="WAV")
        nothing = server.send("/process_audio", silence.getvalue()).json
        picture = server.send("/v1/image", CLIP.read_bytes()).body
        of_picture = server.send("/process_audio", picture, kind="image/png").json
        described = server.get("/v1/models").json["words"]
        metrics = server.get("/metrics").body.decode()
    assert told["Transcription"] in (LOUD, SOFT)
    assert told["Transcription Parts"][0]["text"] == told["Transcription"]
    assert told["LLM Interpretation"] == "It sounds calm, perhaps."
    assert told["LLM Interpretation Source"] == "llm"
    assert told["Transcription Reason"] is told["LLM Interpretation Reason"] is None
    facts = json.loads(model.question(0)["messages"][1]["content"])
    assert facts["words"] == told["Transcription Parts"]
    assert (nothing["Transcription"], nothing["Transcription Parts"]) == ("", [])
    assert of_picture["Transcription Reason"] == "a mel image holds no words"
    assert described == {"transcription": "tiny-table", "interpretation": "llm"}
    assert 'ser_edge_words_total{field="transcription",outcome="missing"} 1.0' in metrics
    assert 'ser_edge_words_total{field="interpretation",outcome="there"} 3.0' in metrics


@pytest.mark.component
def test_whisper_in_the_server_hears_the_sound_that_was_sent(classifier, whisper):
    loud, soft = (io.BytesIO() for _ in range(2))
    voice = speechlike(3.0, RATE)
    soundfile.write(loud, voice / np.abs(voice).max() * 0.9, RATE, format="WAV")
    soundfile.write(soft, voice / np.abs(voice).max() * 0.01, RATE, format="WAV")
    with serving_words(classifier, None, Transcriber(whisper)) as server:
        heard = [server.send("/process_audio", s.getvalue()).json for s in (loud, soft)]
    assert [told["Transcription"] for told in heard] == [LOUD, SOFT]


@pytest.mark.component
@pytest.mark.parametrize("name", [*SLOW, *BAD])
def test_a_bad_endpoint_costs_the_server_nothing_but_the_field(classifier, name, caplog):
    caplog.set_level(logging.DEBUG)
    behave = SLOW[name] if name in SLOW else BAD[name][0]
    with (
        language_model(behave) as model,
        serving_words(classifier, model.url, seconds=0.3 if name in SLOW else 30) as server,
    ):
        sent = server.send("/process_audio", CLIP.read_bytes())
        others = [server.get(path).body.decode() for path in ("/v1/models", "/metrics", "/readyz")]
        assert server.get("/healthz").status == 200
    told = sent.json
    assert sent.status == 200
    assert told["Emotion Probabilities"] == classifier.predict(CLIP).to_dict()["scores"]
    assert (told["LLM Interpretation"], told["LLM Interpretation Source"]) == (None, None)
    assert told["LLM Interpretation Reason"].startswith("the language model: ")
    everything = sent.body.decode() + "".join(others) + caplog.text
    for secret in (KEY, model.url, f":{model.port}", "hidden"):
        assert secret not in everything


@pytest.mark.component
def test_the_server_asks_no_model_that_does_not_answer_and_says_so_once(classifier, caplog):
    with language_model(hangs) as model:
        standing = Interpreter(Endpoint(model.url, "small", KEY, 0.3), lambda: 0.0)
        with serving(classifier, StandInLive, interpreter=standing) as server:
            reasons = [
                server.send("/process_audio", CLIP.read_bytes()).json["LLM Interpretation Reason"]
                for _ in range(5)
            ]
        assert len(model.received) <= 2
    assert ["within" in reason for reason in reasons] == [True, True, False, False, False]
    assert all("it is asked again in" in reason for reason in reasons[2:])
    told = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len([record for record in told if "language model" in record.getMessage()]) == 1


@pytest.mark.component
def test_emotions_are_answered_while_words_wait(classifier):
    slow = Slow()
    with (
        language_model(hangs) as model,
        serving_words(classifier, model.url, slow, at_once=1, per_client=1, workers=1) as server,
    ):
        thread, done = in_background(lambda: server.send("/process_audio", CLIP.read_bytes()))
        assert slow.begun.acquire(timeout=60)
        server.until_free()  # it has no place any more
        assert server.served.gate.bytes == len(CLIP.read_bytes())  # but its bytes count
        assert server.send("/v1/predict", CLIP.read_bytes()).status == 200
        slow.go.set()
        assert model.asked.acquire(timeout=60)  # now it waits for the model
        assert server.served.gate.bytes == 0
        assert server.send("/v1/predict", CLIP.read_bytes()).status == 200
        assert not done
        model.close()  # it hangs up
        thread.join(60)
    assert done[0].json["Transcription"] == "Go."
    assert done[0].json["LLM Interpretation Reason"].endswith("the connection broke")


@pytest.mark.component
def test_one_sound_is_written_down_at_a_time_and_the_most_wait(classifier, monkeypatch):
    monkeypatch.setattr(server_words, "WAITING", 2)
    slow = Slow()
    with serving_words(classifier, None, slow) as server:
        asked = [
            in_background(lambda: server.send("/process_audio", CLIP.read_bytes()))
            for _ in range(2)
        ]
        assert slow.begun.acquire(timeout=60)
        while server.served.words._waiting < 2:
            threading.Event().wait(0.01)
        told = server.send("/process_audio", CLIP.read_bytes()).json
        assert told["Transcription Reason"].startswith("2 sounds are being written down")
        assert not slow.begun.acquire(timeout=0.1)
        slow.go.set()
        for thread, _ in asked:
            thread.join(60)
    assert [done[0].json["Transcription"] for _, done in asked] == ["Go.", "Go."]


@pytest.mark.component
def test_questions_are_not_asked_without_end(classifier, monkeypatch):
    monkeypatch.setattr(server_words, "ASKING", 1)
    with language_model(hangs) as model, serving_words(classifier, model.url) as server:
        thread, _ = in_background(lambda: server.send("/process_audio", CLIP.read_bytes()))
        assert model.asked.acquire(timeout=60)
        told = server.send("/process_audio", CLIP.read_bytes()).json
        assert "1 questions already" in told["LLM Interpretation Reason"]
        model.close()
        thread.join(60)


@pytest.mark.component
@pytest.mark.parametrize("limits", [{"transcribe_seconds": 0.2}, {"answer_seconds": 2.0}])
def test_a_transcription_that_takes_too_long_is_left_out(classifier, limits):
    slow = Slow()
    with serving_words(classifier, None, slow, **limits) as server:
        told = server.send("/process_audio", CLIP.read_bytes()).json
        assert "it was not written down within" in told["Transcription Reason"]
        assert told["LLM Interpretation Source"] == "scores"
        assert slow.stopped.acquire(timeout=60)  # and Whisper is told
        slow.go.set()
        # The next has its turn.
        assert server.send("/process_audio", CLIP.read_bytes()).json["Transcription"] == "Go."


@pytest.mark.component
def test_who_hangs_up_stops_whisper(classifier):
    slow = Slow()
    with serving_words(classifier, None, slow) as server:
        content = CLIP.read_bytes()
        with socket.create_connection((server.host, server.port), timeout=30) as raw:
            kind, body = multipart(content)
            raw.sendall(
                f"POST /process_audio HTTP/1.1\r\nHost: {server.host}:{server.port}\r\n"
                f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
                + body
            )
            assert slow.begun.acquire(timeout=60)
        assert slow.stopped.acquire(timeout=60)
        while server.served.gate.bytes:
            threading.Event().wait(0.01)


def multipart(content: bytes) -> tuple[str, bytes]:
    from serving import form

    return form(content, "clip.wav", "audio/wav")


@pytest.mark.component
@pytest.mark.parametrize("where", ["transcription", "interpretation"])
def test_a_server_that_stops_answers_without_words(classifier, where):
    slow = Slow(obedient=False)  # a device that hangs
    with language_model(hangs) as model:
        transcriber = slow if where == "transcription" else None
        with serving_words(classifier, model.url, transcriber) as server:
            thread, done = in_background(lambda: server.send("/process_audio", CLIP.read_bytes()))
            begun = slow.begun if where == "transcription" else model.asked
            assert begun.acquire(timeout=60)
        # The server has stopped, though Whisper has not.
        thread.join(60)
        assert server.served.busy is (where == "transcription")
        slow.go.set()
    told = done[0].json
    field = "Transcription" if where == "transcription" else "LLM Interpretation"
    assert (told[field], told[f"{field} Reason"]) == (None, "the server is stopping")
    assert told["Emotion Probabilities"]


@pytest.mark.component
def test_whisper_that_fails_costs_the_field(classifier):
    class Fails:
        name = "fails"

        def transcribe(self, blocks: Any, *_: Any) -> Transcription:
            next(iter(blocks))
            raise TranscriptionError("Whisper failed: it was reset")

    with serving_words(classifier, None, Fails()) as server:
        for _ in range(2):
            sent = server.send("/process_audio", CLIP.read_bytes())
            assert sent.status == 200
            assert sent.json["Transcription Reason"] == "Whisper failed: it was reset"


def test_speech_is_what_is_no_silence():
    heard = of({"sad": 1.0}, "sad", (0, 1, "silence"), (1, 2, "sad"), (2, 3, "unknown"))
    assert speech_of(heard) == [(1, 2), (2, 3)]
