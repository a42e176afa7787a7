"""The live path: sound in, events out, by samples and not by the clock."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from datetime import datetime, timedelta, timezone

import numpy as np
import pytest

from conftest import ROOT, SAMPLES, speechlike
from edge_app import Classifier
from edge_app.live.session import Live, LiveSettings
from edge_app.results import SILENCE
from edge_app.segmentation.segments import segments_of
from edge_app.segmentation.vad import VoiceActivityDetector, joined
from ser_edge.audio import decode
from ser_edge.audio.base import AudioError
from ser_edge.audio.resample import as_mono
from ser_edge.mel.image import log_mel, mel_image

RATE = 16_000


@pytest.fixture(scope="module")
def classifier():
    return Classifier()


@pytest.fixture(scope="module")
def talk():
    """Silence, speech, silence, speech, silence; 16 kHz."""
    parts = [np.zeros(2 * RATE, np.float32)]
    for path in (SAMPLES[0], SAMPLES[-1]):
        parts += [decode.load(path, RATE), np.zeros(3 * RATE, np.float32)]
    noise = 1e-4 * np.random.default_rng(0).standard_normal(sum(map(len, parts)))
    return (np.concatenate(parts) + noise).astype(np.float32)


def events_of(live, sound, size):
    found = []
    for first in range(0, len(sound), size):
        found += live.feed(sound[first : first + size])
    return found + live.finish()


def plain(events):
    return [(e.kind, round(e.start, 4), round(e.end, 4), e.emotion) for e in events]


def test_windows_segments_and_changes(classifier, talk):
    events = events_of(Live(classifier, RATE, "kitchen"), talk, 1_600)
    windows = [event for event in events if event.kind == "window"]
    segments = [event for event in events if event.kind == "segment"]
    seconds = talk.size / RATE
    assert [w.end for w in windows] == [1 + 0.5 * k for k in range(len(windows))]
    assert len(windows) == int((seconds - 1) / 0.5) + 1
    assert all(w.end - w.start == min(5.0, w.end) for w in windows)
    assert segments[0].start == 0.0
    assert segments[-1].end == pytest.approx(seconds)
    for one, other in itertools.pairwise(segments):
        assert one.end == other.start
    said = [segment.emotion for segment in segments]
    assert said[0] == said[-1] == SILENCE
    assert said.count(SILENCE) == 3
    assert {event.emotion for event in events if event.kind == "change"} >= {SILENCE}
    for event in events:
        assert event.source == "kitchen"
        assert event.device == classifier.device
        assert sum(event.scores.values()) == pytest.approx(1.0)
        assert datetime.fromisoformat(event.time).tzinfo is not None


@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_how_the_sound_is_cut_changes_nothing(classifier, talk, rate):
    sound = as_mono(talk, RATE, rate)[: 9 * rate]
    whole = plain(events_of(Live(classifier, rate), sound, sound.size))
    assert plain(events_of(Live(classifier, rate), sound, 4_321)) == whole
    assert len(whole) > 10


def test_a_window_is_what_the_classifier_says_of_the_same_five_seconds(classifier, talk):
    live = Live(classifier, RATE)
    spec, asked = classifier.manifest.spec, 0
    for first in range(0, talk.size, RATE // 2):
        for event in live.feed(talk[first : first + RATE // 2]):
            if event.kind == "window":
                part = talk[round(event.start * RATE) : round(event.end * RATE)]
                np.testing.assert_array_equal(live.image, mel_image(part, spec))
                if event.emotion != SILENCE:
                    (answer,) = classifier.predict_images([mel_image(part, spec)])
                    assert event.confidence == answer.confidence
                    asked += 1
    assert asked > 5


def test_a_stream_says_what_a_file_says(classifier, talk):
    events = events_of(Live(classifier, RATE), talk, 999)
    windows = [event for event in events if event.kind == "window"]
    vad = VoiceActivityDetector(classifier.manifest.spec)
    speech = vad.feed(log_mel(talk, classifier.manifest.spec))
    segments = segments_of(windows, joined([*speech, *vad.finish()]), duration=talk.size / RATE)
    live = [event for event in events if event.kind == "segment"]
    assert [(round(s.start, 6), round(s.end, 6), s.emotion) for s in segments] == [
        (round(s.start, 6), round(s.end, 6), s.emotion) for s in live
    ]


def test_where_nobody_speaks_the_network_is_not_asked(classifier, monkeypatch):
    monkeypatch.setattr(classifier, "predict_images", None)  # calling it would fail
    noise = 0.05 * np.random.default_rng(1).standard_normal(20 * RATE)
    events = events_of(Live(classifier, RATE), noise, 8_000)
    assert {event.emotion for event in events} == {SILENCE}
    assert [event.kind for event in events if event.kind != "window"] == ["change", "segment"]


def test_timestamps_follow_the_samples(classifier):
    """A clock that jumps moves the time of day, not the seconds; without jumps both agree."""
    begun = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
    fed = 0

    def clock():
        return begun + timedelta(seconds=fed / 44_100)

    live = Live(classifier, 44_100, clock=clock)
    silence = np.zeros(4_410, dtype=np.int16)
    for _ in range(600):
        fed += silence.size
        for event in live.feed(silence):
            told = (datetime.fromisoformat(event.time) - begun).total_seconds()
            assert told == pytest.approx(event.end, abs=0.001)
    assert live.seconds == 60.0


@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_after_finish_time_goes_on_and_after_reset_it_begins(classifier, talk, rate):
    live, sound = Live(classifier, rate), as_mono(talk, RATE, rate)
    first = events_of(live, sound, 8_000)
    again = events_of(live, sound, 8_000)
    shift = talk.size / RATE
    assert [e.kind for e in again] == [e.kind for e in first]
    for one, other in zip(first, again, strict=True):
        assert other.end == pytest.approx(one.end + shift)
        assert other.emotion == one.emotion or one.kind == "change"
    live.reset()
    assert live.seconds == 0.0
    assert live.image is None
    assert plain(events_of(live, sound, 8_000)) == plain(first)


def test_a_stream_shorter_than_a_second(classifier):
    events = events_of(Live(classifier, RATE), speechlike(0.4, RATE), 1_000)
    assert [event.kind for event in events if event.kind == "window"] == []
    assert sum(e.end - e.start for e in events if e.kind == "segment") == pytest.approx(0.4)
    assert Live(classifier, RATE).finish() == []


def test_coarser_labels(talk):
    events = events_of(Live(Classifier(labels="valence"), RATE), talk[: 6 * RATE], 8_000)
    assert all(set(e.scores) == {"negative", "neutral", "positive"} for e in events)


def test_bad_sound_is_refused_and_nothing_of_it_is_taken(classifier):
    live = Live(classifier, RATE, "kitchen")
    with pytest.raises(AudioError, match=r"^kitchen: it has NaN"):
        live.feed([0.0, float("nan")])
    assert live.seconds == 0.0


@pytest.mark.parametrize("rate", [0, 7_999, 192_001])
def test_a_rate_that_is_not_allowed(classifier, rate):
    with pytest.raises(ValueError, match=f"rate is {rate}, allowed"):
        Live(classifier, rate)


@pytest.mark.parametrize("hop", [0.0, -1.0, 0.51, 6.0])
def test_a_hop_that_is_not_allowed(classifier, hop):
    with pytest.raises(ValueError, match="hop is"):
        Live(classifier, RATE, settings=LiveSettings(hop=hop))


@pytest.mark.component
def test_the_benchmark_of_a_hop_runs(tmp_path):
    """Its time is no test; that it still knows the classifier is."""
    out = tmp_path / "live.json"
    command = [sys.executable, ROOT / "benchmarks" / "live.py", "--hops", "12", "--out", out]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode in (0, 1), done.stderr
    assert "median" in done.stdout
    told = json.loads(out.read_text())
    assert told["hops"] == 12
    assert 0 < told["without_network_median_ms"] < told["median_ms"]
