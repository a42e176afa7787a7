"""Annotations of answers: on the command line and in the server."""

from __future__ import annotations

import base64
import csv
import io
import json
import logging
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import soundfile

from conftest import ROOT, speechlike
from edge_app import Classifier
from edge_app.cli import main
from edge_app.language.annotations import IS_MEL_IMAGE, Annotator
from edge_app.language.interpretation import Interpreter, describe_scores, prompt
from edge_app.language.llm_client import URL_VARIABLE, Endpoint
from edge_app.language.transcription import (
    RATE,
    Transcriber,
    Transcription,
    TranscriptionError,
    TranscriptPart,
)
from edge_app.server import annotations as server_annotations
from edge_app.server.annotations import NO_TRANSCRIBER
from edge_app.threads import Stopped
from events import until
from language_model import BAD, GOOD, KEY, SLOW, answers, completion, hangs, http, language_model
from serving import CLIP, LONG, StandInLive, form, serving
from whisper_model import LOUD, SOFT


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    status = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return status, out, err


def test_predict_annotates_on_request(environment, whisper, capsys, tmp_path):
    options = ("--transcribe", whisper, "--interpret", "--format", "jsonl")
    silent, broken = tmp_path / "silent.wav", tmp_path / "broken.wav"
    soundfile.write(silent, np.zeros(RATE, np.float32), RATE)
    broken.write_bytes(b"no sound")
    status, out, _ = run(capsys, "predict", CLIP, broken, silent, *options)
    annotated, failed, silence = map(json.loads, out.splitlines())
    assert status == 1
    assert annotated["transcription"] in (LOUD, SOFT)
    assert annotated["transcription_parts"][0]["text"] == annotated["transcription"]
    assert annotated["transcription_reason"] is None
    assert annotated["interpretation"].startswith("From the scores alone: ")
    assert annotated["interpretation_source"] == "scores"
    assert "no language model is set" in annotated["interpretation_reason"]
    assert set(failed) == {"file", "error"}
    assert (silence["transcription"], silence["transcription_parts"]) == ("", [])
    assert list(annotated)[:10] == list(Classifier().predict(CLIP).to_dict())


def test_predict_does_not_annotate_by_default(environment, capsys, classifier):
    environment("http://127.0.0.1:1/v1")  # an endpoint alone requests nothing
    _, out, _ = run(capsys, "predict", CLIP, "--format", "jsonl")
    assert list(json.loads(out)) == list(classifier.predict(CLIP).to_dict())
    _, out, _ = run(capsys, "predict", CLIP, "--format", "csv")
    assert out.splitlines()[0].endswith("device,model,profile,error")


def test_standard_input_is_read_again_for_the_transcription(whisper, monkeypatch, capsys):
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


def test_predict_continues_without_the_language_model(environment, capsys, tmp_path):
    image = tmp_path / "silence.png"
    from PIL import Image

    spec = Classifier().manifest.spec
    Image.fromarray(np.zeros(spec.shape, np.uint8)).save(image)
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
            capsys, "predict", CLIP, LONG, image, tmp_path / "none.wav", "--interpret",
            "--interpret-seconds", "0.2", "--format", "csv",
        )  # fmt: skip
    rows = list(csv.DictReader(io.StringIO(out)))
    assert status == 1  # because of the missing file alone
    assert [row["interpretation"] for row in rows] == [""] * 4
    reasons = [row["interpretation_reason"] for row in rows]
    assert ["no answer" in reason for reason in reasons] == [True, True, False, False]
    assert "the next request is in" in reasons[2]
    assert KEY not in out + err


def test_the_table_shows_annotations_below_the_answer(environment, capsys):
    with language_model(answers(http(completion("One.\nTwo.")))) as model:
        environment(model.url)
        _, out, _ = run(capsys, "predict", CLIP, "--interpret")
    assert out.splitlines()[-1] == "  interpretation: One. Two."
    with language_model(BAD["500"][0]) as model:
        environment(model.url)
        _, out, _ = run(capsys, "predict", CLIP, "--interpret")
    wanted = "  interpretation: none: the language model: it failed (500)"
    assert out.splitlines()[-1] == wanted


def test_a_mel_image_has_no_transcription(whisper, classifier, tmp_path):
    annotator = Annotator(Transcriber(whisper), None)
    answer = classifier.predict(CLIP)
    values = annotator.annotate(answer, str(tmp_path / "x.png"), True).to_dict()
    assert (values["transcription"], values["transcription_reason"]) == (None, IS_MEL_IMAGE)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--transcribe", "nowhere"), "--transcribe: "),
        (("--language", "en"), "--language goes with --transcribe"),
        (("--interpret", "--interpret-seconds", "0"), "allowed: 0.1 to 600"),
        (("--interpret", "--format", "audacity"), "has no place for transcriptions"),
    ],
)
def test_wrong_usage(environment, capsys, options, message):
    environment("http://127.0.0.1:1/v1")
    with pytest.raises(SystemExit) as ended:
        main(["predict", str(CLIP), *options])
    assert ended.value.code == 2
    err = capsys.readouterr().err
    assert message in err
    assert KEY not in err


@pytest.mark.parametrize("command", ["predict", "serve"])
def test_a_wrong_endpoint_is_wrong_usage(environment, capsys, command):
    environment(f"http://user:{KEY}@host")
    more = [str(CLIP), "--interpret"] if command == "predict" else ["--port=0"]
    with pytest.raises(SystemExit) as ended:
        main([command, *more])
    assert ended.value.code == 2
    err = capsys.readouterr().err
    assert f"{URL_VARIABLE} should be like" in err
    assert KEY not in err


def test_the_command_line_imports_little():
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


def serving_annotations(
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
    """Stand-in for a Transcriber that waits for ``go`` or, if obedient, for ``stop``."""

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
        return Transcription((TranscriptPart(0.0, 1.0, "Go."),), "en", "slow")


def in_background(work: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    done: list[Any] = []
    thread = threading.Thread(target=lambda: done.append(work()))
    thread.start()
    return thread, done


def test_a_server_without_annotations(classifier):
    with serving_annotations(classifier) as server:
        answer = server.send("/process_audio", CLIP.read_bytes()).json
        assert server.get("/v1/models").json["words"] == {
            "transcription": None, "interpretation": "scores",
        }  # fmt: skip
    assert answer["Emotion Probabilities"] == classifier.predict(CLIP).to_dict()["scores"]
    assert (answer["Transcription"], answer["Transcription Reason"]) == (None, NO_TRANSCRIBER)
    assert answer["LLM Interpretation"] == describe_scores(classifier.predict(CLIP))
    assert answer["LLM Interpretation Source"] == "scores"
    assert answer["LLM Interpretation Reason"]


def test_a_server_with_annotations(classifier, whisper):
    with (
        language_model(GOOD) as model,
        serving_annotations(classifier, model.url, Transcriber(whisper)) as server,
    ):
        answer = server.send("/process_audio", CLIP.read_bytes()).json
        silence = io.BytesIO()
        soundfile.write(silence, np.zeros(RATE, np.int16), RATE, format="WAV")
        empty = server.send("/process_audio", silence.getvalue()).json
        image = server.send("/v1/image", CLIP.read_bytes()).body
        of_image = server.send("/process_audio", image, kind="image/png").json
        services = server.get("/v1/models").json["words"]
        metrics = server.get("/metrics").body.decode()
    assert answer["Transcription"] in (LOUD, SOFT)
    assert answer["Transcription Parts"][0]["text"] == answer["Transcription"]
    assert answer["LLM Interpretation"] == "It sounds calm, perhaps."
    assert answer["LLM Interpretation Source"] == "llm"
    assert answer["Transcription Reason"] is answer["LLM Interpretation Reason"] is None
    facts = json.loads(model.request(0)["messages"][1]["content"])
    assert facts["words"] == answer["Transcription Parts"]
    assert (empty["Transcription"], empty["Transcription Parts"]) == ("", [])
    assert of_image["Transcription Reason"] == IS_MEL_IMAGE
    assert services == {"transcription": "tiny-table", "interpretation": "llm"}
    assert 'ser_edge_words_total{field="transcription",outcome="missing"} 1.0' in metrics
    assert 'ser_edge_words_total{field="interpretation",outcome="there"} 3.0' in metrics


def test_the_server_transcribes_the_upload(classifier, whisper):
    loud, soft = (io.BytesIO() for _ in range(2))
    voice = speechlike(3.0, RATE)
    soundfile.write(loud, voice / np.abs(voice).max() * 0.9, RATE, format="WAV")
    soundfile.write(soft, voice / np.abs(voice).max() * 0.01, RATE, format="WAV")
    with serving_annotations(classifier, None, Transcriber(whisper)) as server:
        sent = [server.send("/process_audio", s.getvalue()).json for s in (loud, soft)]
    assert [answer["Transcription"] for answer in sent] == [LOUD, SOFT]


def pieces_of(content: bytes) -> Iterator[bytes]:
    """Each 12 bytes: as they are, in base64 and in hexadecimal."""
    for at in range(0, len(content) - 12, 12):
        piece = content[at : at + 12]
        if len(set(piece)) > 6:  # silence and headers may occur by chance
            yield from (piece, base64.b64encode(piece), piece.hex().encode())


def test_only_text_is_sent_to_the_language_model(classifier, monkeypatch):
    connected: list[Any] = []
    connect = socket.socket.connect

    def recorded(self: socket.socket, address: Any) -> None:
        connected.append(address)
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", recorded)
    content = CLIP.read_bytes()
    with (
        language_model(GOOD) as model,
        serving_annotations(classifier, model.url) as server,
    ):
        answer = server.send("/process_audio", content, "private-name.wav").json
    assert answer["LLM Interpretation"] == "It sounds calm, perhaps."
    assert set(connected) == {("127.0.0.1", server.port), ("127.0.0.1", model.port)}
    (request,) = model.received
    wanted = prompt(classifier.predict(CLIP), None)
    assert model.request() == {"model": "small", "messages": wanted, "stream": False}
    assert b"private-name" not in request
    looked = 0
    for piece in pieces_of(content):
        looked += 1
        assert piece not in request
    assert looked > 1000


@pytest.mark.parametrize("name", [*SLOW, *BAD])
def test_a_bad_endpoint_costs_only_the_interpretation(classifier, name, caplog):
    caplog.set_level(logging.DEBUG)
    behave = SLOW[name] if name in SLOW else BAD[name][0]
    with (
        language_model(behave) as model,
        serving_annotations(classifier, model.url, seconds=0.3 if name in SLOW else 30) as server,
    ):
        sent = server.send("/process_audio", CLIP.read_bytes())
        others = [server.get(path).body.decode() for path in ("/v1/models", "/metrics", "/readyz")]
        assert server.get("/healthz").status == 200
    answer = sent.json
    assert sent.status == 200
    assert answer["Emotion Probabilities"] == classifier.predict(CLIP).to_dict()["scores"]
    assert (answer["LLM Interpretation"], answer["LLM Interpretation Source"]) == (None, None)
    assert answer["LLM Interpretation Reason"].startswith("the language model: ")
    everything = sent.body.decode() + "".join(others) + caplog.text
    for secret in (KEY, model.url, f":{model.port}", "hidden"):
        assert secret not in everything


def test_the_server_pauses_requests_after_failures_and_logs_once(classifier, caplog):
    with language_model(hangs) as model:
        interpreter = Interpreter(Endpoint(model.url, "small", KEY, 0.3), lambda: 0.0)
        with serving(classifier, StandInLive, interpreter=interpreter) as server:
            reasons = [
                server.send("/process_audio", CLIP.read_bytes()).json["LLM Interpretation Reason"]
                for _ in range(5)
            ]
        assert len(model.received) <= 2
    assert ["within" in reason for reason in reasons] == [True, True, False, False, False]
    assert all("the next request is in" in reason for reason in reasons[2:])
    logged = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len([record for record in logged if "language model" in record.getMessage()]) == 1


def test_annotations_that_wait_do_not_block_predictions(classifier):
    slow = Slow()
    with (
        language_model(hangs) as model,
        serving_annotations(
            classifier, model.url, slow, at_once=1, per_client=1, workers=1
        ) as server,
    ):
        thread, done = in_background(lambda: server.send("/process_audio", CLIP.read_bytes()))
        assert slow.begun.acquire(timeout=60)
        server.until_free()  # its slot is released
        assert server.app.service.admission.bytes == len(CLIP.read_bytes())  # still counted
        assert server.send("/v1/predict", CLIP.read_bytes()).status == 200
        slow.go.set()
        assert model.asked.acquire(timeout=60)  # now it waits for the language model
        assert server.app.service.admission.bytes == 0
        assert server.send("/v1/predict", CLIP.read_bytes()).status == 200
        assert not done
        model.close()  # closes the connection
        thread.join(60)
    assert done[0].json["Transcription"] == "Go."
    assert done[0].json["LLM Interpretation Reason"].endswith("the connection was lost")


def test_one_file_is_transcribed_at_a_time_and_few_wait(classifier, monkeypatch):
    monkeypatch.setattr(server_annotations, "MAX_TRANSCRIPTIONS", 2)
    slow = Slow()
    with serving_annotations(classifier, None, slow) as server:
        asked = [
            in_background(lambda: server.send("/process_audio", CLIP.read_bytes()))
            for _ in range(2)
        ]
        assert slow.begun.acquire(timeout=60)
        until(lambda: server.app.service.annotations._transcriptions == 2)
        answer = server.send("/process_audio", CLIP.read_bytes()).json
        assert answer["Transcription Reason"].startswith("2 files wait for a transcription")
        assert not slow.begun.acquire(timeout=0.1)
        slow.go.set()
        for thread, _ in asked:
            thread.join(60)
    assert [done[0].json["Transcription"] for _, done in asked] == ["Go.", "Go."]


def test_open_requests_to_the_language_model_are_limited(classifier, monkeypatch):
    monkeypatch.setattr(server_annotations, "MAX_INTERPRETATIONS", 1)
    with language_model(hangs) as model, serving_annotations(classifier, model.url) as server:
        thread, _ = in_background(lambda: server.send("/process_audio", CLIP.read_bytes()))
        assert model.asked.acquire(timeout=60)
        answer = server.send("/process_audio", CLIP.read_bytes()).json
        assert "1 requests to the language model are open" in answer["LLM Interpretation Reason"]
        model.close()
        thread.join(60)


@pytest.mark.parametrize("limits", [{"transcribe_seconds": 0.2}, {"answer_seconds": 2.0}])
def test_a_slow_transcription_is_missing(classifier, limits):
    slow = Slow()
    with serving_annotations(classifier, None, slow, **limits) as server:
        answer = server.send("/process_audio", CLIP.read_bytes()).json
        assert "it was not transcribed within" in answer["Transcription Reason"]
        assert answer["LLM Interpretation Source"] == "scores"
        assert slow.stopped.acquire(timeout=60)  # Whisper is cancelled
        slow.go.set()
        # The next file is transcribed.
        assert server.send("/process_audio", CLIP.read_bytes()).json["Transcription"] == "Go."


def test_a_client_that_disconnects_stops_whisper(classifier):
    slow = Slow()
    with serving_annotations(classifier, None, slow) as server:
        content = CLIP.read_bytes()
        with socket.create_connection((server.host, server.port), timeout=30) as raw:
            kind, body = form(content, "clip.wav", "audio/wav")
            raw.sendall(
                f"POST /process_audio HTTP/1.1\r\nHost: {server.host}:{server.port}\r\n"
                f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
                + body
            )
            assert slow.begun.acquire(timeout=60)
        assert slow.stopped.acquire(timeout=60)
        until(lambda: server.app.service.admission.bytes == 0)


@pytest.mark.parametrize("where", ["transcription", "interpretation"])
def test_a_stopping_server_answers_without_annotations(classifier, where):
    slow = Slow(obedient=False)  # a device that hangs
    with language_model(hangs) as model:
        transcriber = slow if where == "transcription" else None
        with serving_annotations(classifier, model.url, transcriber) as server:
            thread, done = in_background(lambda: server.send("/process_audio", CLIP.read_bytes()))
            begun = slow.begun if where == "transcription" else model.asked
            assert begun.acquire(timeout=60)
        # The server has stopped, although Whisper has not.
        thread.join(60)
        assert server.app.service.busy is (where == "transcription")
        slow.go.set()
    answer = done[0].json
    field = "Transcription" if where == "transcription" else "LLM Interpretation"
    assert (answer[field], answer[f"{field} Reason"]) == (None, "the server is stopping")
    assert answer["Emotion Probabilities"]


def test_a_failure_of_whisper_costs_only_the_transcription(classifier):
    class Fails:
        name = "fails"

        def transcribe(self, blocks: Any, *_: Any) -> Transcription:
            next(iter(blocks))
            raise TranscriptionError("Whisper failed: it was reset")

    with serving_annotations(classifier, None, Fails()) as server:
        for _ in range(2):
            sent = server.send("/process_audio", CLIP.read_bytes())
            assert sent.status == 200
            assert sent.json["Transcription Reason"] == "Whisper failed: it was reset"
