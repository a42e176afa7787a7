"""Windows and speech -> segments: the same for a file at once and a stream bit by bit."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from edge_app.results import SILENCE, WindowPrediction
from edge_app.segmentation.segments import (
    CHANGE,
    LAG,
    SEGMENT,
    Timeline,
    TimelineSettings,
    segments_of,
)
from edge_app.segmentation.vad import SpeechSpan

LABELS = ("calm", "happy", "angry")


def window(end, emotion, score=0.8, length=5.0):
    rest = (1 - score) / (len(LABELS) - 1)
    named = emotion if emotion in LABELS else LABELS[0]
    scores = {label: score if label == named else rest for label in LABELS}
    if emotion == "unknown":
        scores = {"calm": 0.34, "happy": 0.33, "angry": 0.33}
    return WindowPrediction(max(0.0, end - length), end, emotion, max(scores.values()), scores)


def windows(emotions, hop=0.5):
    """One letter a hop: c, h, a, u."""
    names = {label[0]: label for label in (*LABELS, "unknown")}
    return [window((k + 1) * hop, names[letter]) for k, letter in enumerate(emotions)]


def shown(segments):
    return [(round(one.start, 2), round(one.end, 2), one.emotion) for one in segments]


def random_case(seed):
    random = np.random.default_rng(seed)
    hop = float(random.choice([0.5, 0.1, 1.0, 2.5]))
    count = int(random.integers(1, 60))
    made, letter = [], "c"
    for k in range(count):
        if random.random() < 0.25:
            letter = str(random.choice([*"chau"]))
        one = windows(letter)[0]
        scores = random.dirichlet(np.ones(3)) * 0.3
        scores = {
            label: float(0.7 * one.scores[label] + extra)
            for label, extra in zip(LABELS, scores, strict=True)
        }
        end = (k + 1) * hop
        emotion = "unknown" if letter == "u" else max(scores, key=scores.__getitem__)
        if random.random() < 0.05:
            emotion = SILENCE
        made.append(WindowPrediction(max(0.0, end - 5), end, emotion, max(scores.values()), scores))
    speech, at = [], float(random.exponential(2.0)) * (random.random() < 0.8)
    while at < count * hop:
        stop = at + 0.2 + float(random.exponential(4.0))
        speech.append(SpeechSpan(at, min(stop, count * hop)))
        at = stop + 0.3 + float(random.exponential(2.0))
    settings = TimelineSettings(
        smoothing=float(random.choice([0.0, 1.0, 3.0])),
        margin=float(random.choice([0.0, 0.05, 0.2])),
        min_duration=float(random.choice([0.0, 1.0, 2.0])),
        min_speech=float(random.choice([0.0, 0.5])),
    )
    return random, made, speech, settings


@pytest.mark.parametrize("seed", range(80))
def test_a_stream_says_what_a_file_says(seed):
    """However late the VAD decides and in however many spans it reports."""
    random, made, speech, settings = random_case(seed)
    at_once = segments_of(made, speech, settings)
    timeline, turns = Timeline(LABELS, settings), []
    until = 0.0
    for one in made:
        late = max(until, one.end - float(random.choice([0.0, 0.2, 0.6, 1.5])))
        new = [
            SpeechSpan(max(span.start, until), min(span.end, late))
            for span in speech
            if span.start < late and span.end > until
        ]
        turns += timeline.feed(one, new, late)
        until = late
    end = made[-1].end
    rest = [SpeechSpan(max(span.start, until), span.end) for span in speech if span.end > until]
    turns += timeline.feed(None, rest)
    turns += timeline.finish(end)
    assert shown(turn.segment for turn in turns if turn.kind == SEGMENT) == shown(at_once)


@pytest.mark.parametrize("seed", range(80))
def test_segments_fill_the_time_and_are_silent_where_nobody_speaks(seed):
    _, made, speech, settings = random_case(seed)
    segments = segments_of(made, speech, settings)
    assert segments[0].start == 0.0
    assert segments[-1].end == pytest.approx(made[-1].end)
    for one, other in itertools.pairwise(segments):
        assert one.end == other.start
        assert one.emotion != other.emotion
    for one in segments:
        assert one.end > one.start
        assert one.emotion in (*LABELS, "unknown", SILENCE)
        assert tuple(one.scores) == LABELS
        assert sum(one.scores.values()) == pytest.approx(1.0)
        assert one.confidence == max(one.scores.values())
        spoken = sum(max(0, min(s.end, one.end) - max(s.start, one.start)) for s in speech)
        expected = 0.0 if one.emotion == SILENCE else one.end - one.start
        assert spoken == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(40))
def test_changes_announce_the_segments(seed):
    """Each change is to something else, and segments are those announced or their relabelling."""
    _, made, speech, settings = random_case(seed)
    timeline, turns = Timeline(LABELS, settings), []
    turns += timeline.feed(None, speech)
    for one in made:
        turns += timeline.feed(one)
    turns += timeline.finish(made[-1].end)
    said = [turn.segment.emotion for turn in turns if turn.kind == CHANGE]
    assert all(one != other for one, other in itertools.pairwise(said))
    announced = None
    for turn in turns:
        if turn.kind == CHANGE:
            announced = turn.segment.emotion
            assert turn.segment.start <= turn.segment.end
        elif turn.segment.emotion == SILENCE:
            assert announced == SILENCE


def test_one_emotion_between_silences():
    segments = segments_of(windows("c" * 6 + "a" * 10 + "c" * 4), [SpeechSpan(3.1, 7.9)])
    assert shown(segments) == [(0, 3.1, SILENCE), (3.1, 7.9, "angry"), (7.9, 10.0, SILENCE)]
    assert segments[1].confidence == pytest.approx(0.8, abs=0.1)
    assert segments[0].confidence == pytest.approx(1 / 3)


def test_another_emotion_begins_in_the_middle_of_its_first_window():
    segments = segments_of(windows("c" * 20 + "a" * 20), [SpeechSpan(0.0, 20.0)])
    assert [one.emotion for one in segments] == ["calm", "angry"]
    first_angry = 10.5 - 2.5
    # Smoothing with a time constant of 1 s takes a hop or two.
    assert first_angry <= segments[0].end <= first_angry + 1.0


def test_a_flicker_changes_nothing():
    segments = segments_of(
        windows("c" * 10 + "a" + "c" * 5 + "h" + "c" * 10), [SpeechSpan(0.0, 13.5)]
    )
    assert [one.emotion for one in segments] == ["calm"]


def test_a_narrow_lead_changes_nothing():
    def close(end, lead):
        scores = {"calm": 0.4, "happy": 0.2, "angry": 0.4 + lead}
        total = sum(scores.values())
        scores = {label: score / total for label, score in scores.items()}
        return WindowPrediction(max(0, end - 5), end, max(scores, key=scores.get), 0.4, scores)

    begun = windows("c" * 10)
    for lead, expected in ((0.02, ["calm"]), (0.2, ["calm", "angry"])):
        later = [close(5.5 + 0.5 * k, lead) for k in range(20)]
        found = segments_of(begun + later, [SpeechSpan(0.0, 15.0)])
        assert [one.emotion for one in found] == expected


def test_an_early_mistake_leaves_no_fragment():
    """The first second of an utterance is often misheard; its middle comes to lie before it."""
    segments = segments_of(windows("c" * 10 + "hhhh" + "a" * 12), [SpeechSpan(5.0, 13.0)])
    assert shown(segments)[:2] == [(0, 5.0, SILENCE), (5.0, 13.0, "angry")]


def test_where_the_model_is_not_sure_it_is_unknown():
    segments = segments_of(windows("u" * 20), [SpeechSpan(0.0, 10.0)])
    assert [one.emotion for one in segments] == ["unknown"]


def test_speech_too_short_to_be_certain_still_has_its_segment():
    segments = segments_of(windows("c" * 20), [SpeechSpan(4.0, 4.4)])
    assert [one.emotion for one in segments] == [SILENCE, "unknown", SILENCE]
    segments = segments_of(windows("c" * 20), [SpeechSpan(4.0, 4.8)])
    assert [one.emotion for one in segments] == [SILENCE, "calm", SILENCE]


def test_windows_of_a_file_half_a_window_apart():
    made = [window(5.0 + 2.5 * k, letter) for k, letter in enumerate(["calm"] * 4 + ["angry"] * 4)]
    segments = segments_of(made, [SpeechSpan(0.0, 22.5)])
    assert [one.emotion for one in segments] == ["calm", "angry"]
    assert segments[0].end == pytest.approx(12.5, abs=2.5)


def test_a_long_file_is_not_looked_through_for_each_window(monkeypatch):
    held, feed = [], Timeline.feed

    def counted(timeline, *given):
        turns = feed(timeline, *given)
        held.append(len(timeline._speech))
        return turns

    monkeypatch.setattr(Timeline, "feed", counted)
    speech = [SpeechSpan(4.0 * k, 4.0 * k + 2.0) for k in range(1000)]
    made = [window(5.0 + 2.5 * k, "calm") for k in range(1600)]
    assert len(segments_of(made, speech)) == 2 * len(speech)
    assert max(held) <= 4


def test_no_windows_no_segments():
    assert segments_of([], []) == ()


def test_the_end_may_lie_behind_the_last_window():
    segments = segments_of(windows("c" * 10), [SpeechSpan(0.0, 5.0)], duration=5.3)
    assert shown(segments) == [(0, 5.0, "calm"), (5.0, 5.3, SILENCE)]


def test_no_event_before_the_vad_is_certain():
    timeline = Timeline(LABELS)
    assert timeline.feed(window(1.0, "calm"), [], until=0.0) == []
    turns = timeline.feed(None, [], until=1.0 - LAG)
    assert [(turn.kind, turn.segment.emotion) for turn in turns] == [(CHANGE, SILENCE)]
    assert timeline.emotion == SILENCE


def test_a_reset_begins_where_asked():
    timeline = Timeline(LABELS)
    timeline.feed(window(5.0, "calm"), [SpeechSpan(0.0, 5.0)])
    timeline.finish(5.0)
    timeline.reset(100.0)
    timeline.feed(window(101.0, "calm"))
    assert shown(turn.segment for turn in timeline.finish(101.0)) == [(100.0, 101.0, SILENCE)]


@pytest.mark.parametrize(
    ("name", "value"),
    [("smoothing", -1.0), ("margin", 1.5), ("min_duration", 31.0), ("min_speech", float("nan"))],
)
def test_settings_out_of_range(name, value):
    with pytest.raises(ValueError, match=f"{name} is {value:g}, allowed: 0 to"):
        TimelineSettings(**{name: value})
