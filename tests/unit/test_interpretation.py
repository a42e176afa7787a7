"""Interpretation: plain sentences, the prompt, and pauses after failures."""

from __future__ import annotations

import json
import logging
from dataclasses import replace

import pytest

from edge_app.language.interpretation import Interpreter, describe_scores, prompt
from edge_app.language.llm_client import Endpoint, EndpointError
from edge_app.language.transcription import Transcription, TranscriptPart
from events import prediction
from language_model import KEY, hangs, language_model
from ser_edge.emotions import EMOTIONS

ANSWER = prediction({"sad": 1.0}, "sad", (0, 3, "sad"))


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (
            prediction({"angry": 0.6, "sad": 0.3, "calm": 0.1}, "angry", (0, 3, "angry")),
            "From the scores alone: the voice sounds most like angry (60%), then sad (30%) and "
            "calm (10%).",
        ),
        (
            prediction({"sad": 0.3, "calm": 0.25, "happy": 0.2}, "unknown"),
            "From the scores alone: no emotion stands out; the nearest are sad (30%), calm (25%) "
            "and happy (20%).",
        ),
        (
            prediction(dict.fromkeys(EMOTIONS, 0.125), "unknown", (0, 3, "silence")),
            "From the scores alone: there is no voice in the recording.",
        ),
        (
            prediction(
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
def test_plain_sentences_describe_scores_and_timeline(answer, text):
    assert describe_scores(answer) == text
    result = Interpreter(None).interpret(answer, None)
    assert (result.text, result.source) == (text, "scores")


@pytest.mark.component
def test_requests_pause_after_failures(caplog):
    now = [0.0]
    with language_model(hangs) as model:
        interpreter = Interpreter(Endpoint(model.url, "small", KEY, 0.2), lambda: now[0])
        for _ in range(2):
            with pytest.raises(EndpointError, match="no answer within"):
                interpreter.interpret(ANSWER, None)
        now[0] = 10.0
        for _ in range(5):
            with pytest.raises(EndpointError, match="the next request is in 20 s"):
                interpreter.interpret(ANSWER, None)
        assert len(model.received) <= 2
        now[0] = 31.0
        with pytest.raises(EndpointError, match="no answer within"):
            interpreter.interpret(ANSWER, None)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]  # logged once


def test_the_prompt_is_bounded():
    segments = [(float(i), i + 1.0, "sad") for i in range(5000)]
    parts = tuple(TranscriptPart(i, i + 1.0, "word " * 400) for i in range(5000))
    messages = prompt(prediction({"sad": 1.0}, "sad", *segments), Transcription(parts, "en", "w"))
    assert len(json.dumps(messages)) < 25_000
    facts = json.loads(messages[1]["content"])
    assert facts["timeline_left_out"] == 4960


def test_the_prompt_names_neither_file_nor_person():
    named = replace(ANSWER, file="/home/anna/therapy.wav", profile="anna")
    assert prompt(named, None) == prompt(ANSWER, None)
    assert "anna" not in json.dumps(prompt(named, None))
