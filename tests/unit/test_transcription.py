"""Transcription: chunks of speech, and the Whisper pipeline with a tiny model."""

from __future__ import annotations

import re
import shutil
import threading
from importlib import metadata
from typing import Any

import numpy as np
import pytest

from edge_app.language.transcription import (
    RATE,
    Transcriber,
    Transcription,
    TranscriptionError,
    chunks,
    merge_spans,
    speech_spans,
)
from edge_app.threads import Stopped
from events import prediction
from whisper_model import LOUD, SOFT, make_whisper


def tone(seconds: float, amplitude: float = 0.5) -> np.ndarray:
    t = np.arange(round(seconds * RATE)) / RATE
    return (amplitude * np.sin(2 * np.pi * 300 * t)).astype(np.float32)


def test_all_segments_but_silence_are_speech():
    answer = prediction({"sad": 1.0}, "sad", (0, 1, "silence"), (1, 2, "sad"), (2, 3, "unknown"))
    assert speech_spans(answer) == [(1, 2), (2, 3)]


@pytest.mark.parametrize(
    ("speech", "wanted"),
    [
        ([], []),
        ([(1.0, 3.0)], [(0.7, 3.3)]),
        ([(0.1, 3.0)], [(0.0, 3.3)]),
        ([(1.0, 3.0), (3.4, 5.0)], [(0.7, 5.3)]),  # a short pause
        ([(1.0, 3.0), (9.0, 11.0)], [(0.7, 11.3)]),  # a pause within a chunk
        ([(1.0, 14.0), (15.0, 17.0)], [(0.7, 14.3), (14.7, 17.3)]),  # long enough
        ([(1.0, 5.0), (25.0, 40.0)], [(0.7, 5.3), (24.7, 40.3)]),  # too long together
    ],
)
def test_spans_are_merged_up_to_whispers_window(speech, wanted):
    assert [(round(a, 6), round(b, 6)) for a, b in merge_spans(speech)] == wanted


@pytest.mark.parametrize("block", [1000, 2**19])
def test_long_speech_is_cut_where_it_is_quietest(block):
    sound = tone(70.0)
    for quiet in (24.0, 47.0):  # seconds; too short to count as pauses
        sound[round(quiet * RATE) : round((quiet + 0.1) * RATE)] *= 0.01
    blocks = [sound[at : at + block] for at in range(0, sound.size, block)]
    cut = list(chunks(blocks, [(0.0, 70.0)]))
    assert [start for start, _ in cut] == pytest.approx([0.0, 24.05, 47.05], abs=0.06)
    assert np.array_equal(np.concatenate([chunk for _, chunk in cut]), sound)
    assert max(chunk.size for _, chunk in cut) <= 28 * RATE


def test_long_pauses_are_left_out_and_times_kept():
    sound = np.arange(60 * RATE, dtype=np.float32)
    cut = list(chunks([sound], [(2.0, 16.0), (40.0, 41.0), (59.5, 60.0)]))
    assert [(round(start, 2), round(chunk.size / RATE, 2)) for start, chunk in cut] == [
        (1.7, 14.6),
        (39.7, 20.3),
    ]
    assert all(chunk[0] == round(start * RATE) for start, chunk in cut)


def test_a_recording_that_ends_before_its_speech():
    assert list(chunks([tone(0.1)], [(0.0, 0.1), (50.0, 60.0)])) == []
    assert list(chunks([], [(0.0, 1.0)])) == []


def test_whisper_transcribes_speech(whisper):
    transcriber = Transcriber(whisper)
    assert (transcriber.name, transcriber.device) == ("tiny-table", "CPU")
    sound = np.concatenate([tone(13.0), np.zeros(5 * RATE, np.float32), tone(2.0, 0.01)])
    result = transcriber.transcribe([sound], [(0.0, 13.0), (18.0, 20.0)])
    assert [part.text for part in result.parts] == [LOUD, SOFT]
    assert [round(part.start, 1) for part in result.parts] == [0.0, 17.7]
    assert result.text == f"{LOUD} {SOFT}"
    assert (result.language, result.model) == ("en", "tiny-table")
    assert transcriber.transcribe([sound], []) == Transcription((), None, "tiny-table")
    assert Transcriber(whisper, language="de").transcribe([sound], [(0, 1)]).language == "de"


def test_whisper_stops_between_two_tokens(whisper, tmp_path):
    endless = Transcriber(make_whisper(tmp_path / "endless", endless=True))
    assert endless.transcribe([tone(3.0)], [(0, 3)]).text.count("loud") == 45  # 224 tokens
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        endless.transcribe([tone(3.0)], [(0, 3)], stop)
    pipeline = endless._pipeline  # stopped by its own first token

    class Stops:
        def generate(self, *arguments: Any, streamer: Any, **more: Any) -> Any:
            def stop_and_stream(token: str) -> Any:
                stop.set()
                return streamer(token)

            made = pipeline.generate(*arguments, streamer=stop_and_stream, **more)
            counted.append(str(made.texts[0]).count("loud"))
            return made

    counted: list[int] = []
    stop = threading.Event()
    endless._pipeline = Stops()
    with pytest.raises(Stopped):
        endless.transcribe([tone(3.0)], [(0, 3)], stop)
    assert counted[0] < 10


def test_a_failure_of_whisper_is_one_sentence(whisper):
    transcriber = Transcriber(whisper)
    with pytest.raises(TranscriptionError, match=r"^Whisper failed: .+"):
        transcriber._generate(np.empty(0, np.float32), threading.Event())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"language": "fr"}, "language is 'fr', tiny-table supports: de, en"),
        ({"device": "TPU"}, "device 'TPU' is none that can be asked for"),
        ({"device": "MYRIAD"}, "device 'MYRIAD' cannot run the model"),
        ({"device": "MYRIAD", "fallback": "NOWHERE"}, "'NOWHERE' is none"),
    ],
)
def test_a_wrong_option_is_reported(whisper, options, message):
    with pytest.raises((ValueError, RuntimeError), match=re.escape(message)):
        Transcriber(whisper, **options)


def test_a_fallback_takes_over(whisper, caplog):
    assert Transcriber(whisper, "MYRIAD", fallback="CPU").device == "CPU"
    assert "CPU takes over" in caplog.text


def test_a_folder_without_a_model_is_rejected(whisper, tmp_path):
    with pytest.raises(ValueError, match="is not a Whisper model for OpenVINO: openvino_en"):
        Transcriber(tmp_path)
    broken = tmp_path / "broken"
    shutil.copytree(whisper, broken)
    (broken / "generation_config.json").write_text("[1]")
    with pytest.raises(ValueError, match=r"generation_config\.json cannot be read"):
        Transcriber(broken)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (None, "transcription needs the extra transcribe: pip install 'ser-edge[transcribe]'"),
        ("2024.1.0.0", "openvino-genai 2024.1.0 needs openvino 2024.1.0, but "),
    ],
)
def test_a_missing_or_mismatched_package_is_reported(monkeypatch, tmp_path, found, message):
    def version(_: str) -> str:
        if found is None:
            raise metadata.PackageNotFoundError
        return found

    monkeypatch.setattr(metadata, "version", version)
    with pytest.raises(ValueError, match=re.escape(message)):
        Transcriber(tmp_path)
