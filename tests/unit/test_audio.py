from __future__ import annotations

import io
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from conftest import SAMPLES, speechlike
from ser_edge.audio import decode
from ser_edge.audio.decode import AudioError

RATE = 16_000


def wav(path: Path, subtype: str = "PCM_16", rate: int = RATE, channels: int = 1, **how) -> Path:
    sound = speechlike(1.0, rate)
    soundfile.write(path, np.repeat(sound[:, None], channels, axis=1), rate, subtype, **how)
    return path


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    n = min(len(a), len(b))
    return float(np.corrcoef(a[:n], b[:n])[0, 1])


@pytest.mark.parametrize("format", ["WAV", "WAVEX"])
@pytest.mark.parametrize(
    ("subtype", "tolerance"),
    [
        ("PCM_U8", 0.01),
        ("PCM_16", 1e-4),
        ("PCM_24", 1e-6),
        ("PCM_32", 1e-6),
        ("FLOAT", 0),
        ("DOUBLE", 1e-7),
    ],
)
def test_wav_of_every_depth(tmp_path, format, subtype, tolerance):
    path = wav(tmp_path / "a.wav", subtype, format=format)
    loaded = decode.load(path, RATE)
    assert loaded.dtype == np.float32
    assert loaded.shape == (RATE,)
    np.testing.assert_allclose(loaded, speechlike(1.0, RATE), atol=tolerance + 1e-9)


@pytest.mark.parametrize(
    ("suffix", "format", "subtype", "rate"),
    [
        ("flac", "FLAC", "PCM_16", 44_100),
        ("flac", "FLAC", "PCM_24", 96_000),
        ("ogg", "OGG", "VORBIS", 44_100),
        ("opus", "OGG", "OPUS", 48_000),
        ("mp3", "MP3", "MPEG_LAYER_III", 44_100),
    ],
)
@pytest.mark.parametrize("as_object", [False, True])
def test_compressed_formats(tmp_path, suffix, format, subtype, rate, as_object):
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, speechlike(2.0, rate), rate, subtype, format=format)
    source = io.BytesIO(path.read_bytes()) if as_object else path
    loaded = decode.load(source, RATE)
    assert abs(len(loaded) / RATE - 2.0) < 0.1
    lag = 0 if suffix != "mp3" else len(loaded) - 2 * RATE  # the encoder's delay, if it is there
    assert max(correlation(loaded[k:], speechlike(2.0, RATE)) for k in (0, lag)) > 0.95


@pytest.mark.parametrize("length", [0, 0xFFFF_FFFF, 0x7FFF_F000])
@pytest.mark.parametrize("extended", [False, True])
def test_wav_from_a_pipe_is_read_to_the_end(tmp_path, length, extended):
    how = {"format": "WAVEX"} if extended else {}
    raw = bytearray(wav(tmp_path / "a.wav", **how).read_bytes())
    at = raw.index(b"data") + 4
    raw[at : at + 4] = struct.pack("<I", length)
    raw[4:8] = struct.pack("<I", length)
    loaded = decode.load(io.BytesIO(bytes(raw)), RATE)
    np.testing.assert_allclose(loaded, speechlike(1.0, RATE), atol=1e-4)


def test_wav_without_samples_but_with_a_chunk_after_has_no_samples(tmp_path):
    raw = wav(tmp_path / "a.wav").read_bytes()
    at = raw.index(b"data")
    end = b"LIST" + struct.pack("<I", 4) + b"INFO"
    raw = raw[:at] + b"data" + struct.pack("<I", 0) + end
    raw = raw[:4] + struct.pack("<I", len(raw) - 8) + raw[8:]
    with pytest.raises(AudioError, match="no samples"):
        decode.load(io.BytesIO(raw), RATE)


@pytest.mark.parametrize("rate", [8_000, 11_025, 24_414, 48_000, 192_000])
def test_rates(tmp_path, rate):
    loaded = decode.load(wav(tmp_path / "a.wav", "FLOAT", rate), RATE)
    assert abs(len(loaded) - RATE) <= 2
    t = np.arange(RATE) / RATE
    soundfile.write(tmp_path / "tone.wav", np.sin(2 * np.pi * 1000 * np.arange(rate) / rate), rate)
    tone = decode.load(tmp_path / "tone.wav", RATE)
    middle = slice(2000, 14_000)
    np.testing.assert_allclose(tone[middle], np.sin(2 * np.pi * 1000 * t)[middle], atol=2e-3)


@pytest.mark.parametrize("channels", [1, 2, 6, 8])
def test_channels_are_averaged(tmp_path, channels):
    gains = np.arange(1, channels + 1) / channels
    sound = speechlike(0.5, RATE)
    soundfile.write(tmp_path / "a.wav", sound[:, None] * gains, RATE, "FLOAT")
    loaded = decode.load(tmp_path / "a.wav", RATE)
    np.testing.assert_allclose(loaded, sound * gains.mean(), atol=1e-6)


def test_long_files_come_in_blocks_and_lose_nothing(tmp_path):
    sound = speechlike(35.0, 44_100)
    soundfile.write(tmp_path / "a.wav", sound, 44_100, "FLOAT")
    blocks = list(decode.read_blocks(tmp_path / "a.wav", RATE))
    assert len(blocks) >= 3
    assert max(map(len, blocks)) <= 12 * RATE
    import soxr

    whole = soxr.resample(sound, 44_100, RATE)
    together = np.concatenate(blocks)
    assert abs(len(together) - len(whole)) <= 1
    np.testing.assert_allclose(together[: len(whole)], whole[: len(together)], atol=1e-4)


@pytest.mark.parametrize("rate", [8_000, 22_050, 24_414, 44_100, 48_000, 192_000])
def test_a_sound_in_one_block_and_in_many_are_the_same_to_the_last_bit(tmp_path, monkeypatch, rate):
    for kind in ("PCM_16", "FLOAT"):
        file = wav(tmp_path / f"{kind}.wav", kind, rate)
        at_once = decode.load(file, RATE)
        with monkeypatch.context() as small:
            small.setattr(decode, "_BLOCK_SAMPLES", 4096)
            assert len(list(decode.read_blocks(file, RATE))) > 1
            np.testing.assert_array_equal(decode.load(file, RATE), at_once)


class Pipe(io.RawIOBase):
    """A stream that can only be read on, a little at a time."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def read(self, size: int = -1) -> bytes:
        return self._data.read(min(size, 777) if size > 0 else size)


def test_a_pipe_that_cannot_seek(tmp_path):
    path = wav(tmp_path / "a.wav")
    np.testing.assert_array_equal(
        decode.load(Pipe(path.read_bytes()), RATE), decode.load(path, RATE)
    )


def test_a_file_object_stays_open_and_is_read_from_its_start(tmp_path):
    with open(wav(tmp_path / "a.wav"), "rb") as file:
        first = decode.load(file, RATE)
        np.testing.assert_array_equal(first, decode.load(file, RATE))
        assert not file.closed


def test_a_spooled_file_and_a_text_file(tmp_path):
    path = wav(tmp_path / "a.wav")
    with tempfile.SpooledTemporaryFile() as spooled:
        spooled.write(path.read_bytes())
        assert decode.load(spooled, RATE).size == RATE
    with pytest.raises(AudioError, match="<stream>: it is opened as text"):
        decode.load(io.StringIO("sound"), RATE)


@pytest.mark.parametrize("suffix", [".raw", ".txt", "", ".mp3"])
def test_the_content_counts_not_the_suffix(tmp_path, suffix):
    path = wav(tmp_path / "a.wav").rename(tmp_path / f"b{suffix}")
    assert decode.load(path, RATE).size == RATE


def test_a_silent_clip_is_fine(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(RATE), RATE)
    assert not decode.load(tmp_path / "a.wav", RATE).any()


def broken(tmp_path: Path, how: str) -> Path:
    path = tmp_path / "bad.wav"
    good = wav(tmp_path / "good.wav").read_bytes()
    header = good.index(b"data")
    if how == "folder":
        path.mkdir()
    elif how == "empty":
        path.touch()
    elif how == "text":
        path.write_text("this is no sound\n" * 50)
    elif how == "random":
        path.write_bytes(np.random.default_rng(0).bytes(4000))
    elif how == "cut header":
        path.write_bytes(good[: header - 12])
    elif how == "cut before data":
        path.write_bytes(good[:header])
    elif how == "cut flac":
        soundfile.write(tmp_path / "a.flac", speechlike(3, RATE), RATE)
        path.write_bytes((tmp_path / "a.flac").read_bytes()[:20])
    elif how == "half flac":
        soundfile.write(tmp_path / "a.flac", speechlike(3, RATE), RATE)
        whole = (tmp_path / "a.flac").read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    elif how == "no samples":
        soundfile.write(path, np.zeros(0), RATE)
    elif how in ("nan", "inf", "huge"):
        sound = speechlike(1, RATE)
        sound[RATE // 2] = {"nan": np.nan, "inf": np.inf, "huge": 1e30}[how]
        soundfile.write(path, sound, RATE, "FLOAT")
    elif how == "low rate":
        soundfile.write(path, np.zeros(100), 4000)
    elif how == "high rate":
        soundfile.write(path, np.zeros(100), 384_000)
    elif how == "channels":
        soundfile.write(path, np.zeros((100, 12)), RATE)
    return path


@pytest.mark.parametrize(
    ("how", "cause"),
    [
        ("missing", "there is no such file"),
        ("folder", "it is a folder"),
        ("empty", "it is empty"),
        ("text", "it is not sound"),
        ("random", "it is not sound"),
        ("cut header", "cut off or damaged inside its WAV header"),
        ("cut before data", "cut off or damaged inside its WAV header|no samples"),
        ("cut flac", "cut off or damaged inside its FLAC header"),
        ("half flac", "it is truncated, it ends before the"),
        ("no samples", "it has no samples"),
        ("nan", r"NaN or infinite samples \(first at 0.500 s\)"),
        ("inf", r"NaN or infinite samples \(first at 0.500 s\)"),
        ("huge", "samples beyond"),
        ("low rate", "its rate is 4000 Hz, allowed: 8000 to 192000"),
        ("high rate", "its rate is 384000 Hz"),
        ("channels", "it has 12 channels, allowed: 1 to 8"),
    ],
)
def test_bad_sounds_are_named_with_their_cause(tmp_path, how, cause):
    path = broken(tmp_path, how)
    with pytest.raises(AudioError, match=cause) as caught:
        decode.load(path, RATE)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    assert caught.value.file == str(path)


def test_an_unreadable_name():
    with pytest.raises(AudioError, match="cannot be opened"):
        decode.load("a\0b.wav", RATE)


def test_the_error_survives_a_process_pool():
    import pickle

    error = pickle.loads(pickle.dumps(AudioError("a.wav", "it is empty")))
    assert (error.file, error.cause, str(error)) == ("a.wav", "it is empty", "a.wav: it is empty")


def encode(path: Path, format: str, codec: str, rate: int, title: str = "") -> Path:
    import av

    sound = speechlike(2.0, rate)
    with av.open(str(path), "w", format=format) as container:
        if title:
            container.metadata["title"] = title
        track = container.add_stream(codec, rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(sound[None], format="fltp", layout="mono")
        frame.sample_rate = rate
        for packet in [*track.encode(frame), *track.encode(None)]:
            container.mux(packet)
    return path


@pytest.mark.component
@pytest.mark.parametrize(
    ("name", "format", "codec", "rate"),
    [
        ("a.m4a", "mp4", "aac", 44_100),
        ("a.webm", "webm", "libopus", 48_000),
        ("a.aac", "adts", "aac", 16_000),
        ("a.mka", "matroska", "aac", 44_100),
    ],
)
def test_media_containers(tmp_path, name, format, codec, rate):
    path = encode(tmp_path / name, format, codec, rate)
    loaded = decode.load(path, RATE)
    assert abs(len(loaded) / RATE - 2.0) < 0.15
    best = max(correlation(loaded[k:], speechlike(2.0, RATE)) for k in range(0, 2400, 4))
    assert best > 0.9


@pytest.mark.parametrize(("name", "format"), [("a.m4a", "mp4"), ("a.mka", "matroska")])
def test_tags_that_are_no_utf8_are_no_reason_to_refuse(tmp_path, name, format):
    """Releases of PyAV before 19 have to be told so, later ones refuse to be told."""
    path = encode(tmp_path / name, format, "aac", 16_000, title="a title of ours")
    content = path.read_bytes()
    assert b"a title of ours" in content
    path.write_bytes(
        content.replace(b"a title of ours", b"\xff\xfe title \xe4\xf6\xfc\xff\xff\xff")
    )
    assert len(decode.load(path, RATE)) > RATE


def test_media_without_the_extra_says_what_to_install(tmp_path, monkeypatch):
    path = encode(tmp_path / "a.m4a", "mp4", "aac", 44_100)
    monkeypatch.setattr(decode, "media_installed", lambda: False)
    with pytest.raises(AudioError, match=r"M4A/MP4 needs the extra media: pip install"):
        decode.load(path, RATE)


def test_a_cut_off_media_file_is_an_error_or_a_shorter_sound(tmp_path):
    whole = encode(tmp_path / "a.webm", "webm", "libopus", 48_000).read_bytes()
    (tmp_path / "b.webm").write_bytes(whole[:60])
    with pytest.raises(AudioError):
        decode.load(tmp_path / "b.webm", RATE)
    (tmp_path / "c.webm").write_bytes(whole[: len(whole) // 2])
    assert decode.load(tmp_path / "c.webm", RATE).size < 2 * RATE


@pytest.mark.parametrize(
    ("seconds", "starts"),
    [
        (0.01, [0]),
        (4.0, [0]),
        (5.0, [0]),
        (5.001, [0, 0.001]),
        (7.5, [0, 2.5]),
        (8.7, [0, 2.5, 3.7]),
        (12.5, [0, 2.5, 5, 7.5]),
        (31.0, [*np.arange(0, 26, 2.5), 26.0]),
    ],
)
@pytest.mark.parametrize("block", [999, 80_000, 10**9])
def test_windows_cover_the_sound_and_end_with_it(seconds, starts, block):
    sound = np.arange(round(seconds * RATE), dtype=np.float32)
    blocks = [sound[i : i + block] for i in range(0, len(sound), block)]
    found = list(decode.windows(blocks, 80_000, 40_000))
    assert [window.start for window in found] == [round(start * RATE) for start in starts]
    for window in found:
        np.testing.assert_array_equal(window.waveform, sound[window.start : window.start + 80_000])


def test_windows_refuse_an_impossible_hop():
    with pytest.raises(ValueError, match="hop is 0"):
        list(decode.windows([], 80_000, 0))


def test_levels():
    sound = np.concatenate([np.zeros(800), np.full(800, 0.1), np.full(100, 1.0)])
    found = decode.levels(sound.astype(np.float32), RATE)
    np.testing.assert_allclose(found, [-200, -20, 10 * np.log10(100 / 800)], atol=1e-3)


@pytest.mark.parametrize(
    ("array", "cause"),
    [
        (np.zeros(0), "no samples"),
        (np.zeros((2, 2, 2)), "shape"),
        (np.array(["a"]), "shape"),
        (np.full(10, np.nan), "NaN"),
        (np.zeros((10, 9)), "9 channels"),
    ],
)
def test_bad_waveforms(array, cause):
    with pytest.raises(AudioError, match=cause):
        decode.as_mono(array, RATE, RATE)


@pytest.mark.parametrize("dtype", ["int16", "int32", "uint8", "float64"])
def test_waveforms_of_integers_are_scaled(dtype):
    sound = speechlike(0.5, RATE).astype(np.float64)
    if dtype == "uint8":
        array = np.rint(sound * 128 + 128).astype(np.uint8)
    elif dtype == "float64":
        array = sound
    else:
        array = np.rint(sound * -float(np.iinfo(dtype).min)).astype(dtype)
    np.testing.assert_allclose(decode.as_mono(array, RATE, RATE), sound, atol=0.005)


@pytest.mark.component
def test_healthy_sounds_leave_nothing_on_stderr():
    """mpg123 prints notes of its own; a good file must not cause any."""
    code = (
        "import sys; from ser_edge.audio.decode import load\nfor f in sys.argv[1:]: load(f, 16000)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, *map(str, SAMPLES)], capture_output=True, text=True, check=True
    )
    assert run.stderr == ""


def encoded(format: str, subtype: str, seconds: float, rate: int = 44_100) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, speechlike(seconds, rate), rate, subtype, format=format)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("format", "subtype"), [("MP3", "MPEG_LAYER_III"), ("OGG", "VORBIS"), ("OGG", "OPUS")]
)
def test_sounds_glued_together_are_heard_to_the_end(format, subtype):
    """cat a.mp3 b.mp3, and what internet radio leaves: the first header tells of the first part."""
    rate = 48_000 if subtype == "OPUS" else 44_100
    glued = encoded(format, subtype, 3.0, rate) + encoded(format, subtype, 4.0, rate)
    assert decode.load(io.BytesIO(glued), RATE).size / RATE == pytest.approx(7.0, abs=0.2)


def test_an_mp3_of_varying_bit_rate_without_a_count_is_heard_to_the_end():
    """Its length would be guessed from the first frame, here a silent one of few bytes."""
    sound = np.concatenate(
        [np.zeros(44_100), 0.3 * np.random.default_rng(0).standard_normal(441_000)]
    )
    buffer = io.BytesIO()
    soundfile.write(
        buffer, sound, 44_100, "MPEG_LAYER_III", format="MP3", bitrate_mode="VARIABLE",
        compression_level=0.1,
    )  # fmt: skip
    whole = buffer.getvalue()
    at = whole.find(b"Xing")
    assert 0 < at < 64
    without = whole[:at] + bytes(4) + whole[at + 4 :]
    assert decode.load(io.BytesIO(without), RATE).size / RATE == pytest.approx(11.0, abs=0.2)


def test_flac_from_a_pipe_has_no_length():
    raw = bytearray(encoded("FLAC", "PCM_16", 12.0))
    assert raw[:4] == b"fLaC"
    raw[21] &= 0xF0  # total samples: 36 bits from byte 21 on
    raw[22:26] = bytes(4)
    assert decode.load(io.BytesIO(bytes(raw)), RATE).size / RATE == pytest.approx(12.0, abs=0.01)


def test_rf64_from_a_pipe():
    raw = bytearray(encoded("RF64", "PCM_16", 1.0))
    assert raw[:4] == b"RF64"
    at = raw.index(b"ds64") + 8
    raw[at : at + 24] = bytes(24)
    assert decode.load(io.BytesIO(bytes(raw)), RATE).size == pytest.approx(RATE, abs=2)


def test_channels_that_change_and_unknown_codecs_are_named(tmp_path):
    stereo = tmp_path / "b.aac"
    import av

    with av.open(str(stereo), "w", format="adts") as container:
        track = container.add_stream("aac", rate=16_000, layout="stereo")
        frame = av.AudioFrame.from_ndarray(
            np.stack([speechlike(2.0, 16_000)] * 2), format="fltp", layout="stereo"
        )
        frame.sample_rate = 16_000
        for packet in [*track.encode(frame), *track.encode(None)]:
            container.mux(packet)
    mono = encode(tmp_path / "a.aac", "adts", "aac", 16_000)
    glued = io.BytesIO(mono.read_bytes() + stereo.read_bytes())
    with pytest.raises(AudioError, match="it changes its channels after 2"):
        decode.load(glued, RATE)
    matroska = encode(tmp_path / "a.mka", "matroska", "aac", 16_000).read_bytes()
    with pytest.raises(AudioError, match="Matroska file is in a codec unknown here"):
        decode.load(io.BytesIO(matroska.replace(b"A_AAC", b"A_ZZZ")), RATE)


def test_formats_of_old_samplers_are_refused(tmp_path):
    soundfile.write(tmp_path / "a.sds", speechlike(1, RATE), RATE, format="SDS")
    with pytest.raises(AudioError, match="it is SDS"):
        decode.load(tmp_path / "a.sds", RATE)


class Failing(io.BytesIO):
    def read(self, size: int | None = -1) -> bytes:
        if self.tell() + (size or 0) > 50_000:
            raise OSError(5, "Input/output error")
        return super().read(size)


def test_a_disk_that_fails_while_it_is_read(tmp_path, capfd):
    raw = wav(tmp_path / "a.wav", "FLOAT", 48_000).read_bytes()
    with pytest.raises(AudioError, match="it cannot be read: Input/output error"):
        decode.load(Failing(raw), RATE)
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("source", "cause"),
    [("closed", "it cannot be read"), ("write only", "it cannot be read")],
)
def test_file_objects_that_cannot_be_read(tmp_path, source, cause):
    path = wav(tmp_path / "a.wav")
    file = open(path, "rb" if source == "closed" else "ab")  # noqa: SIM115
    if source == "closed":
        file.close()
    with pytest.raises(AudioError, match=cause):
        decode.load(file, RATE)
    file.close()


def test_a_waveform_of_which_nothing_is_left():
    with pytest.raises(AudioError, match="no samples left at 16000 Hz"):
        decode.as_mono([0.1], 192_000, RATE)


@pytest.mark.parametrize("rate", [None, [1], 0, -5, float("nan"), 10**9])
def test_impossible_rates_of_a_waveform(rate):
    with pytest.raises(AudioError, match="its rate is"):
        decode.as_mono(np.zeros(100), rate, RATE)


def test_many_channels_at_a_high_rate_take_little_memory():
    sizes = []
    buffer = io.BytesIO()
    soundfile.write(buffer, np.zeros((192_000 * 5, 8), np.float32), 192_000, format="FLAC")
    import tracemalloc

    tracemalloc.start()
    sizes = [block.size for block in decode.read_blocks(buffer, RATE)]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sum(sizes) == pytest.approx(5 * RATE, abs=2)
    assert peak < 20e6
