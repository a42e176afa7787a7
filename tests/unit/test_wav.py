"""Plain WAVs, read without libsndfile: the same samples, and nothing that is odd."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import soundfile

from conftest import speechlike
from ser_edge.audio import decode
from ser_edge.audio.base import MAX_SECONDS, AudioError
from ser_edge.audio.wav import pcm_wav

RATE = 16_000


def wav(
    channels: int = 1, rate: int = RATE, seconds: float = 0.5, subtype: str = "PCM_16"
) -> bytes:
    sound = np.stack([speechlike(seconds, rate, seed) for seed in range(channels)], axis=1)
    sound[:4, 0] = 1.0, -1.0, 0.999999, -0.999999  # the ends of the scale
    buffer = io.BytesIO()
    soundfile.write(buffer, sound, rate, subtype, format="WAV")
    return buffer.getvalue()


def made(*chunks: tuple[bytes, bytes], stated: dict[bytes, int] | None = None) -> bytes:
    """A RIFF of chunks, their lengths as ``stated`` or as they are."""
    body = b"WAVE"
    for name, content in chunks:
        length = (stated or {}).get(name, len(content))
        body += name + struct.pack("<I", length) + content + bytes(len(content) % 2)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def layout(
    kind: int = 1, channels: int = 1, rate: int = RATE, step: int = 2, bits: int = 16
) -> tuple[bytes, bytes]:
    return b"fmt ", struct.pack("<HHIIHH", kind, channels, rate, rate * step, step, bits)


SAMPLES = (b"data", struct.pack("<4h", 0, 1000, -32768, 32767))


@pytest.mark.parametrize("channels", [1, 2, 8])
@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000])
def test_samples_are_those_of_libsndfile(channels, rate):
    data = wav(channels, rate)
    expected, _ = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    found = pcm_wav(io.BytesIO(data))
    assert found is not None
    assert (found.rate, found.channels, found.frames) == (rate, channels, len(expected))
    blocks = list(found.blocks(io.BytesIO(data), 1000))
    assert [len(block) for block in blocks[:-1]] == [1000] * (len(blocks) - 1)
    assert all(block.dtype == np.float32 for block in blocks)
    np.testing.assert_array_equal(np.concatenate(blocks), expected)


@pytest.mark.parametrize(
    "chunks",
    [
        (layout(), SAMPLES),
        (layout(), (b"LIST", b"INFOodd"), SAMPLES, (b"id3 ", bytes(11))),
        ((b"JUNK", bytes(28)), layout(), SAMPLES),
        ((b"fmt ", layout()[1] + bytes(2)), SAMPLES),
    ],
    ids=["plain", "tags", "junk first", "longer fmt"],
)
def test_other_chunks_are_passed_over(chunks):
    found = pcm_wav(io.BytesIO(made(*chunks)))
    assert found is not None
    (block,) = found.blocks(io.BytesIO(made(*chunks)), 100)
    np.testing.assert_array_equal(block[:, 0] * 2**15, [0, 1000, -32768, 32767])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"RIFF",
        wav()[:30],
        wav(subtype="PCM_24"),
        wav(subtype="FLOAT"),
        wav(subtype="ULAW"),
        b"RIFX" + wav()[4:],
        made(SAMPLES),
        made(SAMPLES, layout()),
        made(layout()),
        made(layout(), layout(), SAMPLES),
        made(layout(kind=0xFFFE), SAMPLES),
        made(layout(channels=0, step=0), SAMPLES),
        made(layout(channels=3, step=6), SAMPLES),
        made(layout(step=4), SAMPLES),
        made(layout(bits=12), SAMPLES),
        made((b"fmt ", layout()[1][:8] + bytes(8)), SAMPLES),
        made((b"fmt ", layout()[1][:14]), SAMPLES),
        made(layout(), SAMPLES, stated={b"data": 0}),
        made(layout(), SAMPLES, stated={b"data": 10}),
        made(layout(), SAMPLES, stated={b"data": 0xFFFF_FFFF}),
        made(layout(), *[(b"JUNK", b"")] * 10_000, SAMPLES),
    ],
)
def test_what_is_odd_is_left_to_libsndfile(data):
    assert pcm_wav(io.BytesIO(data)) is None


def test_a_plain_wav_needs_no_libsndfile(monkeypatch):
    expected = decode.load(io.BytesIO(wav(2, 48_000)), RATE)
    monkeypatch.setattr(decode, "_Sound", None)
    np.testing.assert_array_equal(decode.load(io.BytesIO(wav(2, 48_000)), RATE), expected)


def test_a_file_that_becomes_shorter_ends_there():
    data = wav()
    found = pcm_wav(io.BytesIO(data))
    assert found is not None
    blocks = list(found.blocks(io.BytesIO(data[: found.start + 2 * 1500 + 1]), 1000))
    assert [len(block) for block in blocks] == [1000, 500]


def test_a_disk_that_fails_is_named():
    class Failing(io.BytesIO):
        name = "clip.wav"

        def read(self, size: int | None = -1) -> bytes:
            if size is not None and size > 1000:
                raise OSError(5, "Input/output error")
            return super().read(size)

    with pytest.raises(AudioError, match=r"clip\.wav: it cannot be read: Input/output error"):
        decode.load(Failing(wav()), RATE)


def test_a_day_and_more_is_refused_at_once(tmp_path):
    path = tmp_path / "days.wav"
    samples = 2 * 8_000 * (MAX_SECONDS + 1)
    head = made(layout(rate=8_000), (b"data", b""), stated={b"data": samples})
    with open(path, "wb") as file:
        file.write(head)
        file.truncate(len(head) + samples)
    with pytest.raises(AudioError, match="too long, allowed: up to 24 hours"):
        decode.load(path, RATE)
