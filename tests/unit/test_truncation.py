"""A sound file that is cut off is said to be: a warning with what was read, or an error."""

from __future__ import annotations

import io
import logging
import struct

import numpy as np
import pytest
import soundfile

from conftest import speechlike
from ser_edge.audio import decode
from ser_edge.audio.truncation import truncation

RATE, SECONDS = 16_000, 8.0


def sound(format: str, subtype: str | None = None) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, speechlike(SECONDS, RATE), RATE, subtype, format=format)
    return file.getvalue()


def matroska(codec: str, format: str) -> bytes:
    av = pytest.importorskip("av")
    file = io.BytesIO()
    with av.open(file, "w", format=format) as container:
        stream = container.add_stream(codec, rate=48_000, layout="mono")
        for block in speechlike(SECONDS, 48_000).reshape(-1, 960):
            frame = av.AudioFrame.from_ndarray(block[None], format="fltp", layout="mono")
            frame.sample_rate = 48_000
            resampled = av.AudioResampler(format=stream.codec_context.format).resample(frame)
            for packet in (packet for each in resampled for packet in stream.encode(each)):
                container.mux(packet)
        container.mux(stream.encode(None))
    return file.getvalue()


FILES = {
    "wav": lambda: sound("WAV"),
    "float": lambda: sound("WAV", "FLOAT"),
    "aiff": lambda: sound("AIFF"),
    "au": lambda: sound("AU"),
    "mp3": lambda: sound("MP3"),
    "vorbis": lambda: sound("OGG", "VORBIS"),
    "opus": lambda: sound("OGG", "OPUS"),
    "webm": lambda: matroska("libopus", "webm"),
}


@pytest.mark.parametrize("kind", FILES)
def test_what_is_cut_gives_a_warning_and_what_is_whole_none(kind, tmp_path, caplog):
    whole = FILES[kind]()
    path = tmp_path / "a.sound"
    with caplog.at_level(logging.WARNING):
        path.write_bytes(whole)
        assert decode.load(path, RATE).size == pytest.approx(SECONDS * RATE, abs=100)
        assert caplog.messages == []
        path.write_bytes(whole[: len(whole) * 6 // 10])
        read = decode.load(path, RATE).size / RATE
    assert 3 < read < 7
    [message] = caplog.messages
    assert message.startswith(f"{path}: it is truncated (")
    assert message.endswith(f"), {read:.2f} s were read")
    if kind in ("wav", "float", "aiff", "au"):
        assert f"({len(whole) * 6 // 10} of {len(whole)} bytes)" in message


def test_a_flac_that_is_cut_is_an_error(tmp_path):
    whole = sound("FLAC")
    with pytest.raises(decode.AudioError, match=r"truncated, it ends before the 8\.00 s"):
        decode.load(io.BytesIO(whole[: len(whole) // 2]), RATE)


@pytest.mark.parametrize("length", [0, 0x7FFF_F000, 0xFFFF_FFFF])
def test_a_wav_of_a_pipe_says_no_length(length, caplog):
    samples = np.zeros(RATE, "<i2").tobytes()
    head = struct.pack(
        "<4sI8sIHHIIHH", b"RIFF", length, b"WAVEfmt ", 16, 1, 1, RATE, 2 * RATE, 2, 16
    )
    wav = head + struct.pack("<4sI", b"data", length) + samples
    assert decode.load(io.BytesIO(wav), RATE).size == RATE
    assert caplog.messages == []


@pytest.mark.parametrize(
    "content",
    [
        b"", b"OggS", b"RIFF", b"FORM\0\0\0\0AIFF", b".snd", b"\x1a\x45\xdf\xa3",
        b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\x01" + b"\xff" * 7,  # a segment of unknown size
        b"\xff\xfb\x90\x00" + bytes(32) + b"Xing\0\0\0\1", b"ID3", b"no sound",
    ],
)  # fmt: skip
def test_odd_files_are_no_problem(content):
    expected = "its last Ogg page is missing" if content == b"OggS" else None
    assert truncation(io.BytesIO(content)) == expected
