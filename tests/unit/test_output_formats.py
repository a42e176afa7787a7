"""Output formats: answers, errors and events, byte for byte."""

from __future__ import annotations

import io
import json

import pytest

from conftest import ROOT
from edge_app import Event, Prediction, Segment, WindowPrediction
from edge_app.language.annotations import Annotations, Missing
from edge_app.language.interpretation import Interpretation
from edge_app.language.transcription import Transcription, TranscriptPart
from edge_app.output.formats import FORMATS, AnswerWriter
from events import LABELS, event

GOLDEN = json.loads((ROOT / "tests" / "golden" / "output_formats.json").read_text())
SCORES = {"calm": 0.25, "angry": 0.625, "sad": 0.125}
FIELDS = (
    "transcription", "transcription_reason",
    "interpretation", "interpretation_source", "interpretation_reason",
)  # fmt: skip

SHORT = Prediction(
    "a, b.wav", "angry", 0.625, SCORES, 3.2, "CPU", "compact",
    (WindowPrediction(0.0, 3.2, "angry", 0.625, SCORES),),
    segments=(Segment(0.0, 3.2, "angry", 0.625, SCORES),),
)  # fmt: skip
LONG = Prediction(
    'calls/"x".flac', "unknown", 0.4, {"calm": 0.4, "angry": 1 / 3, "sad": 0.8 / 3}, 3725.25,
    "GPU", "compact",
    (
        WindowPrediction(0.0, 5.0, "calm", 0.4, SCORES),
        WindowPrediction(2.5, 7.5, "sad", 0.5, SCORES),
    ),
    "anna",
    (
        Segment(0.0, 1.25, "silence", 0.4, SCORES),
        Segment(1.25, 3700.0, "angry", 0.625, SCORES),
        Segment(3700.0, 3725.25, "unknown", 0.4, SCORES),
    ),
)  # fmt: skip
COMPLETE = Annotations(
    Transcription(
        (TranscriptPart(0.0, 1.5, "Good\nevening,"), TranscriptPart(2.0, 3.0, "all.")), "en", "w"
    ),
    Interpretation("It sounds\n\ncalm.", "llm"),
)
FAILED = Annotations(
    Missing("Whisper failed: it was reset"), Interpretation("It sounds calm.", "llm")
)
EMPTY = Annotations(Transcription((), "en", "w"), Missing("the language model: it failed (500)"))
ANSWERS = {
    "plain": ((), [(SHORT, None), (LONG, None)]),
    "annotated": (FIELDS, [(SHORT, COMPLETE), (LONG, FAILED), (SHORT, EMPTY)]),
}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("kind", ANSWERS)
def test_answers_and_errors_equal_the_golden_output(name, kind, capsys):
    fields, answers = ANSWERS[kind]
    out = io.StringIO()
    writer = AnswerWriter(out, FORMATS[name](LABELS, fields))
    for prediction, extra in answers:
        writer.answer(prediction, extra)
    writer.error("no.wav", "no.wav: there is no such file")
    assert out.getvalue() == GOLDEN[name][kind]
    assert capsys.readouterr().err == GOLDEN[name][f"{kind} stderr"]


@pytest.mark.parametrize("name", FORMATS)
def test_events_equal_the_golden_output(name):
    form = FORMATS[name](LABELS)
    source = 'USB "mic", 2\nb'
    lines = [form.event(event(3, source=source))]
    lines.append(form.event(event(3, "change", emotion="silence", source=source)))
    assert form.events_header + "".join(lines) == GOLDEN[name]["events"]


def test_a_json_line_holds_the_whole_event():
    line = FORMATS["jsonl"](LABELS).event(event(3))
    assert Event(**json.loads(line)) == event(3)


@pytest.mark.parametrize("name", FORMATS)
def test_an_event_is_one_line_for_any_source_name(name):
    line = FORMATS[name](LABELS).event(event(source='a\nb\t"c",\r\udcff'))
    assert line.endswith("\n")
    assert line.count("\n") == 1
    assert "\r" not in line
