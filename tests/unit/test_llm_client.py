"""Chat completions: good and bad servers, limits, and no secrets in errors."""

from __future__ import annotations

import json
import re
import socket
import ssl
import threading

import pytest

from edge_app.language.interpretation import Interpreter
from edge_app.language.llm_client import (
    MODEL_VARIABLE,
    Endpoint,
    EndpointError,
    endpoint_from_environment,
    read_text,
)
from edge_app.language.transcription import Transcription, TranscriptPart
from events import prediction
from language_model import BAD, GOOD, KEY, SLOW, LanguageModel, completion, hangs, language_model

ANSWER = prediction({"sad": 0.6, "calm": 0.4}, "sad", (0, 3, "sad"), (3, 5, "calm"))


def ask(
    model: LanguageModel,
    seconds: float = 30.0,
    url: str | None = None,
    transcription: Transcription | None = None,
) -> str:
    endpoint = Endpoint(url or model.url, "small", KEY, seconds)
    return Interpreter(endpoint).interpret(ANSWER, transcription).text


@pytest.mark.component
def test_a_chat_completion_is_requested():
    transcription = Transcription((TranscriptPart(0.0, 2.0, "Good evening."),), "en", "w")
    with language_model(GOOD) as model:
        assert ask(model, transcription=transcription) == "It sounds calm, perhaps."
    (sent,) = model.received
    assert sent.startswith(b"POST /v1/chat/completions HTTP/1.1\r\n")
    assert f"authorization: bearer {KEY}".encode() in sent.lower()
    request = model.request()
    assert set(request) == {"model", "messages", "stream"}
    assert (request["model"], request["stream"]) == ("small", False)
    facts = json.loads(request["messages"][1]["content"])
    assert facts["words"] == [{"start": 0.0, "end": 2.0, "text": "Good evening."}]
    assert facts["emotion"] == ANSWER.emotion
    assert len(facts["timeline"]) == len(ANSWER.segments)


@pytest.mark.component
def test_without_a_key_there_is_no_header():
    with language_model(GOOD) as model:
        Interpreter(Endpoint(model.url, "small")).interpret(ANSWER, None)
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
def test_base_urls_and_full_urls_are_accepted(path, target):
    with language_model(GOOD) as model:
        ask(model, url=f"http://127.0.0.1:{model.port}{path}")
    assert model.received[0].split()[1].decode() == target


@pytest.mark.component
@pytest.mark.parametrize("name", BAD)
def test_a_bad_response_is_one_sentence_without_secrets(name, caplog):
    behave, message = BAD[name]
    with language_model(behave) as model, pytest.raises(EndpointError) as error:
        ask(model)
    text = str(error.value)
    assert text.startswith("the language model: ")
    assert message in text
    assert "\n" not in text
    for secret in (KEY, "hidden", str(model.port)):
        assert secret not in text + caplog.text


@pytest.mark.component
@pytest.mark.parametrize("name", SLOW)
def test_a_slow_server_times_out_and_its_thread_ends(name):
    with language_model(SLOW[name]) as model:
        with pytest.raises(EndpointError, match=r"no answer within 0\.3 s"):
            ask(model, seconds=0.3)
        # The server is still sending: the client has closed the connection.
        for thread in threading.enumerate():
            if thread.name == "endpoint":
                thread.join(30)
                assert not thread.is_alive()


@pytest.mark.component
def test_a_server_without_tls_and_one_that_hangs_in_the_handshake():
    with language_model(hangs) as model:
        url = model.url.replace("http:", "https:")
        with pytest.raises(EndpointError, match=r"no answer within 0\.3 s"):
            ask(model, 0.3, url=url)
    # A ClientHello has no end of headers, for which the stand-in waits: respond at once.
    listening = socket.create_server(("127.0.0.1", 0))

    def respond() -> None:
        connection, _ = listening.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            connection.recv(65536)

    thread = threading.Thread(target=respond)
    thread.start()
    endpoint = Endpoint(f"https://127.0.0.1:{listening.getsockname()[1]}", "m")
    with listening, pytest.raises(EndpointError, match="it does not speak TLS"):
        Interpreter(endpoint).interpret(ANSWER, None)
    thread.join(30)


@pytest.mark.system
def test_an_untrusted_certificate_is_rejected(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    received: list[bytes] = []
    listening = socket.create_server(("127.0.0.1", 0))

    def respond() -> None:
        connection, _ = listening.accept()
        with connection:
            try:
                with context.wrap_socket(connection, server_side=True) as tls:
                    received.append(tls.recv(65536))
            except OSError:
                return

    thread = threading.Thread(target=respond)
    thread.start()
    endpoint = Endpoint(f"https://localhost:{listening.getsockname()[1]}", "m", KEY)
    with listening, pytest.raises(EndpointError, match="its certificate is not trusted: self"):
        Interpreter(endpoint).interpret(ANSWER, None)
    thread.join(30)
    assert received in ([], [b""])  # neither the key nor the prompt was sent


@pytest.mark.component
def test_nothing_listens():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    endpoint = Endpoint(f"http://127.0.0.1:{port}/v1", "small")
    with pytest.raises(EndpointError, match="nothing listens at its address"):
        Interpreter(endpoint).interpret(ANSWER, None)


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
def test_the_text_of_a_completion(text, shown):
    assert read_text(completion(text)) == shown


@pytest.mark.parametrize(
    ("url", "model", "key", "message"),
    [
        ("ftp://host/v1", "m", KEY, "http or https"),
        ("127.0.0.1:11434", "m", KEY, "http or https"),
        (f"http://user:{KEY}@host/v1", "m", None, "no user"),
        ("http://host/v1#x", "m", KEY, "no fragment"),
        ("http://host:99999/v1", "m", KEY, "should be like"),
        ("http://[::1/v1", "m", KEY, "should be like"),
        ("http://host/a b", "m", KEY, "should be like"),
        ("http://host/v1", None, KEY, f"{MODEL_VARIABLE} is not: set it to a model name"),
        ("http://host/v1", "m", f"{KEY}\r\nX-Evil: 1", "printable ASCII without spaces"),
        ("http://host/v1", "m", f"{KEY}é", "printable ASCII"),
    ],
)
def test_a_wrong_environment_is_reported_without_secrets(environment, url, model, key, message):
    environment(url, model, key)
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        endpoint_from_environment()
    assert KEY not in str(error.value)


def test_an_endpoint_shows_no_secrets(environment):
    environment("https://host.example:8443/v1?key=hidden")
    endpoint = endpoint_from_environment()
    assert endpoint is not None
    assert KEY not in repr(endpoint)
    assert "hidden" not in repr(endpoint) + endpoint.origin
    assert endpoint.origin == "https://host.example:8443"
    environment()
    assert endpoint_from_environment() is None


@pytest.mark.parametrize("seconds", [0.0, 601.0, float("nan")])
def test_a_wrong_time_limit_is_rejected(seconds):
    with pytest.raises(ValueError, match=r"allowed: 0\.1 to 600"):
        Endpoint("http://host", "m", seconds=seconds)
