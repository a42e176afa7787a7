"""Bad days: broken sounds through the real edge-app, and files made to hang or to fill memory."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile

from conftest import ROOT, speechlike
from malformed_sounds import MUTATIONS, encode, good_clips, kinds, malformed
from ser_edge.audio import containers, decode, files
from ser_edge.audio.base import AudioError, SoundTooLongError
from ser_edge.markdown import documents

RATE = 16_000
EMPTY_OGG_PAGE = b"OggS\0\0" + bytes(20) + b"\0"


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    """benchmarks/malformed.py as a module."""
    spec = importlib.util.spec_from_file_location("malformed", ROOT / "benchmarks" / "malformed.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["malformed"] = module  # its dataclasses look there for their annotations
    spec.loader.exec_module(module)
    return module


def encoded(format: str, subtype: str | None = None, seconds: float = 1.0) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, speechlike(seconds, RATE), RATE, subtype, format=format)
    return buffer.getvalue()


def padded(path: Path, head: bytes, size: int) -> Path:
    """A file with this head and zeros to the size, which take no place on the disk."""
    with open(path, "wb") as file:
        file.write(head)
        file.truncate(size)
    return path


# ---------------------------------------------------------------------- broken by rule, real app


@pytest.mark.component
def test_each_broken_sound_is_answered_or_refused(benchmark, small_model, tmp_path, monkeypatch):
    """The figures are of benchmarks/; here the limit on time leaves room for a busy machine."""
    document = tmp_path / "doc.md"
    document.write_text("before <!-- malformed:begin --> old <!-- malformed:end --> after")
    words = ["--count", 150, "--clips", 1, "--limit", 60, "--model", small_model, "--seed", 3,
             "--out", tmp_path / "a.json", "--into", document]  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["malformed.py", *map(str, words)])
    assert benchmark.main() == 0
    result = json.loads((tmp_path / "a.json").read_text())
    assert result["files"] == 150
    assert result["trouble"] == []
    assert result["results"]["answer"] > 30
    assert result["results"]["error"] > 50
    assert sum(result["results"].values()) == 150
    text = document.read_text()
    assert "| **all** | 150 |" in text
    assert text.startswith("before <!--")
    assert text.endswith("--> after")
    assert "old" not in text


PROGRAM = """
import json, os, sys, time
for file in sys.argv[1:]:
    name = os.path.basename(file)
    if name == "crash": os._exit(139)
    if name == "hang": time.sleep(600)
    found = {"file": file, "error": f"{file}: it is bad"}
    if name == "good": found = {"file": file, "scores": {"a": 0.5, "b": 0.5}, "duration": 1.0}
    if name == "scores": found = {"file": file, "scores": {"a": 2.0}, "duration": 1.0}
    if name == "twice": found = {"file": file, "error": f"{file}: in {file}"}
    if name == "other": found = {"file": "another", "error": "another: no"}
    print("Traceback" if name == "text" else json.dumps(found), flush=True)
    if name == "good": time.sleep(1)  # so that its memory can be looked at
"""


@pytest.mark.system
def test_the_watcher_sees_crashes_hangs_and_lies(benchmark, tmp_path):
    names = ["good", "bad", "crash", "good", "hang", "scores", "twice", "other", "text", "bad"]
    files = [str(tmp_path / str(i) / name) for i, name in enumerate(names)]
    command = [sys.executable, "-S", "-c", PROGRAM]
    outcomes = list(benchmark.watch(command, files, 8.0, tmp_path / "log"))
    assert [outcome.file for outcome in outcomes] == files
    assert [outcome.result for outcome in outcomes] == [
        "answer", "error", "crash", "answer", "hang", "wrong", "wrong", "wrong", "wrong", "error",
    ]  # fmt: skip
    assert outcomes[2].said == "exit status 139"
    if Path("/proc/self/clear_refs").exists():
        assert outcomes[0].megabytes > 1


def test_broken_sounds_hang_on_their_seed_alone():
    good = [encode(speechlike(0.5, RATE), RATE, kind) for kind in ("wav-16", "flac", "mp3")]
    first = list(malformed(good, 60, seed=1))
    for one, again in zip(first, malformed(good, 90, seed=1), strict=False):
        assert (one.name, len(one.content)) == (again.name, len(again.content))
        # libsndfile draws the serial number of an Ogg itself
        assert one.content == again.content or one.content.startswith(b"OggS")
    other = list(malformed(good, 60, seed=2))
    assert sum(a.content != b.content for a, b in zip(first, other, strict=True)) > 40
    assert {broken.mutation for broken in first} == set(MUTATIONS)
    pairs = {(m.mutation, m.kind) for m in malformed(good, 3 * len(MUTATIONS))}
    assert len(pairs) == 3 * len(MUTATIONS)


@pytest.mark.parametrize("kind", kinds())
def test_a_file_does_not_hang_on_the_clock(kind):
    """libsndfile writes the second into the head of floats."""
    first = encode(speechlike(0.2, RATE), RATE, kind).content
    assert b"PEAK" not in first[:128] or first.partition(b"PEAK")[2][8:12] == bytes(4)


def test_good_clips_are_good_and_of_every_kind(tmp_path):
    clips = good_clips([str(ROOT / "samples" / "man-even.wav")])
    assert {clip.kind for clip in clips} == set(kinds())
    for clip in clips:
        assert decode.load(io.BytesIO(clip.content), RATE).size > 0.3 * RATE, clip.kind


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"good": [], "count": 1}, "no clips to break"),
        ({"good": ["one"], "count": 0}, "count is 0"),
    ],
)
def test_what_cannot_be_broken(how, message):
    with pytest.raises(ValueError, match=message):
        list(malformed(**how))
    with pytest.raises(ValueError, match="kind is 'vinyl', allowed: wav-16"):
        encode(speechlike(0.5, RATE), RATE, "vinyl")


@pytest.mark.parametrize("text", ["", "<!-- a:end --> <!-- a:begin -->", "<!-- a:begin -->" * 2])
def test_a_document_without_a_place_for_the_table(tmp_path, text):
    (tmp_path / "a.md").write_text(text)
    with pytest.raises(ValueError, match=r"it should have one <!-- a:begin --> and, below it"):
        documents.check_document(tmp_path / "a.md", "a")


# --------------------------------------------------------- files made to hang or to fill memory


def loaded_or_said(path: Path) -> int | str:
    """The number of samples at 16 kHz; or what is said, one line that names the file once."""
    try:
        return decode.load(path, RATE).size
    except AudioError as error:
        said = str(error)
    assert "\n" not in said
    assert said.count(str(path)) == 1
    return said


@contextmanager
def few_reads(most: int) -> Iterator[None]:
    """Fail where more than so many bytes are asked for, or very often: what takes long does so."""
    total = calls = 0
    read = containers.View.readinto

    def counted(self, buffer):
        nonlocal total, calls
        total += len(buffer)
        calls += 1
        return read(self, buffer)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(containers.View, "readinto", counted)
        yield
    assert total <= most
    assert calls <= 3 * containers.MOST_READS


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("wav", b"RIFF\xff\xff\xff\x7fWAVE"),
        ("ogg", None),
        ("mkv", b"\x1a\x45\xdf\xa3\x80"),
        ("flv", b"FLV\x01\x04\0\0\0\x09\0\0\0\0"),
        ("m4a", b"\0\0\0\x20ftypM4A " + bytes(20)),
        ("mp3", b"\xff\xfb\x90\x64"),
        ("flac", None),
    ],
)
def test_ten_gigabytes_of_zeros_are_not_read(tmp_path, name, head):
    if head is None:
        head = encoded("FLAC") if name == "flac" else encoded("OGG", "VORBIS")
    path = padded(tmp_path / name, head, 10 * 2**30)
    with few_reads(3 * containers.MOST_READ):
        found = loaded_or_said(path)
    if isinstance(found, int):
        assert found == pytest.approx(RATE, abs=100)


@pytest.mark.parametrize(
    ("head", "part", "cause"),
    [
        (b"RIFF\xff\xff\xff\x7fWAVE", b"junk\0\0\0\0", "damaged inside its WAV header"),
        (b"", EMPTY_OGG_PAGE, "header is damaged|inside its Ogg header"),
        (
            b"",
            b"OggS\0\2" + EMPTY_OGG_PAGE[6:] + EMPTY_OGG_PAGE,
            r"\d+ sounds glued together, allowed: 4096",
        ),
        (b"", b"ID3\x03\0\0\0\0\0\0", "inside its MP3 header"),
        (b"\xff\xfb\x90\x64", b"\xff" * 64, "header is damaged|not sound"),
    ],
)
def test_headers_of_endless_small_parts_end(head, part, cause):
    with few_reads(2 * containers.MOST_READ), pytest.raises(AudioError, match=cause):
        decode.load(io.BytesIO(head + part * 2**18), RATE)


def test_a_picture_in_an_mp3_is_not_read(tmp_path):
    """libmpg123 keeps two copies of a tag: 540 MB for the largest."""
    size = 2**28 - 1
    path = tmp_path / "a.mp3"
    padded(path, b"ID3\x03\0\0\x7f\x7f\x7f\x7fAPIC", size + 10)
    with open(path, "ab") as file:
        file.write(encoded("MP3"))
    with few_reads(2**20):
        assert decode.load(path, RATE).size == pytest.approx(RATE, rel=0.1)


@pytest.mark.parametrize("kind", ["flac", "vorbis", "wav-16", "aac"])
def test_sounds_behind_an_id3_tag(kind):
    if kind == "aac":
        pytest.importorskip("av")
    tag = b"ID3\x03\0\0\0\0\0\x14" + bytes(20)
    sound = encode(speechlike(1.0, RATE), RATE, kind).content
    assert decode.load(io.BytesIO(tag + sound), RATE).size == pytest.approx(RATE, rel=0.1)
    footed = b"ID3\x04\0\x10\0\0\0\x14" + bytes(30)
    assert decode.load(io.BytesIO(footed + sound), RATE).size == pytest.approx(RATE, rel=0.1)


def test_a_sound_of_days_is_refused_at_once(tmp_path):
    head = encoded("WAV", "PCM_16")[:40] + b"\xff\xff\xff\xff"
    path = padded(tmp_path / "a.wav", head, 10 * 2**30)
    with few_reads(2**20), pytest.raises(AudioError, match="too long, allowed: up to 24 hours"):
        decode.load(path, RATE)


@pytest.mark.parametrize("format", ["WAV", "FLAC", "OGG", "MP3"])
def test_whatever_the_header_says_too_long_is_rejected(format):
    def samples(seconds):
        file = io.BytesIO(encoded(format, seconds=seconds))
        return sum(block.size for block in decode.read_blocks(file, RATE, max_seconds=3))

    assert samples(2.5) == pytest.approx(2.5 * RATE, rel=0.1)
    with pytest.raises(SoundTooLongError, match=r"^<stream>: it is too long, allowed: up to 3 s$"):
        samples(4.0)


@pytest.mark.component
def test_hours_of_silence_in_a_small_flac_take_little_memory():
    import tracemalloc

    buffer = io.BytesIO()
    with soundfile.SoundFile(buffer, "w", RATE, 1, format="FLAC") as file:
        for _ in range(60):
            file.write(np.zeros(60 * RATE, np.int16))
    assert len(buffer.getvalue()) < 10**6
    tracemalloc.start()
    seconds = sum(block.size for block in decode.read_blocks(buffer, RATE)) / RATE
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seconds == 3600
    assert peak < 20e6


def test_an_m4a_of_thousands_of_tracks():
    pytest.importorskip("av")
    good = encode(speechlike(1.0, RATE), RATE, "m4a").content
    at, track = good.index(b"moov") - 4, good.index(b"trak") - 4
    size = struct.unpack(">I", good[at : at + 4])[0]
    one = struct.unpack(">I", good[track : track + 4])[0]

    def tracks(count: int) -> io.BytesIO:
        moov = good[at:track] + good[track : track + one] * count + good[track + one : at + size]
        moov = struct.pack(">I", len(moov)) + moov[4:]
        return io.BytesIO(good[:at] + moov + good[at + size :])

    assert decode.load(tracks(30), RATE).size == pytest.approx(RATE, rel=0.15)
    with pytest.raises(AudioError, match="M4A/MP4 header"):
        decode.load(tracks(3000), RATE)


# ------------------------------------------------------------------- odd paths and moving files


class Endless(io.RawIOBase):
    """A stream that never ends, as /dev/zero or a microphone."""

    def __init__(self, head: bytes) -> None:
        self.given = 0
        self._head = head

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if size == 0:
            return b""
        block = bytes(size) if self.given else self._head + bytes(size - len(self._head))
        self.given += size
        return block


@pytest.mark.parametrize(
    ("head", "cause", "most"),
    [
        (b"", "it is not sound that can be read here", 2**20),
        (b"RIFF", "over 0 GB came and no end", 9 * 2**20),
    ],
)
def test_streams_without_an_end_are_given_up(monkeypatch, head, cause, most):
    monkeypatch.setattr(files, "_MAX_SPOOL", 8 * 2**20)
    stream = Endless(head)
    with pytest.raises(AudioError, match=cause):
        decode.load(stream, RATE)
    assert stream.given <= most


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no such devices here")
@pytest.mark.parametrize("path", ["/dev/zero", "/dev/full", "/dev/null"])
def test_devices_are_no_sounds(path):
    with pytest.raises(AudioError, match="it is not a regular file"):
        decode.load(path, RATE)


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.wav")
    with pytest.raises(AudioError, match="it is not a regular file"):
        decode.load(tmp_path / "a.wav", RATE)


def test_a_file_that_may_not_be_read(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(encoded("WAV"))
    path.chmod(0)
    user = os.geteuid()
    if user == 0:  # who may read everything
        os.seteuid(65_534)
    try:
        with pytest.raises(AudioError, match="it cannot be opened: Permission denied"):
            decode.load(path, RATE)
    finally:
        os.seteuid(user)


@pytest.mark.parametrize("format", ["WAV", "FLAC", "MP3"])
@pytest.mark.parametrize("change", ["shorter", "empty", "other", "longer"])
def test_a_file_that_changes_while_it_is_read(tmp_path, format, change):
    path = tmp_path / "a"
    good = encoded(format, seconds=40.0)
    path.write_bytes(good)
    blocks = decode.read_blocks(path, RATE)
    first = next(blocks)
    if change == "longer":
        with open(path, "ab") as file:
            file.write(good)
    elif change == "other":
        path.write_bytes(np.random.default_rng(0).bytes(len(good)))
    else:
        os.truncate(path, 0 if change == "empty" else len(good) - 5000)
    rest = said = None
    try:
        rest = sum(block.size for block in blocks)
    except AudioError as error:
        said = str(error)
    assert said is None or (said.startswith(f"{path}: ") and "\n" not in said)
    assert rest is None or 0 < (first.size + rest) / RATE < 81


def test_a_seek_far_beyond_the_end_is_the_end():
    view = containers.View(io.BytesIO(b"abc"), 0, 3)
    assert view.seek(2**70) == 2**70
    assert view.read(10) == b""
    assert view.failure is None
    view.seek(1)
    assert view.read(10) == b"bc"


def test_a_view_ends_where_nothing_comes_of_it():
    view = containers.View(io.BytesIO(bytes(100)), 0, 100)
    for _ in range(containers.MOST_READS):
        view.seek(0)
        assert len(view.read(1)) == 1
    view.seek(0)
    assert view.read(1) == b""
    assert view.spent
    view.renew()
    assert not view.spent
    assert len(view.read(1)) == 1


def test_an_ogg_page_that_is_damaged_does_not_end_the_chain():
    first, second = encoded("OGG", "VORBIS", 2.0), encoded("OGG", "VORBIS", 3.0)
    broken = bytearray(first)
    broken[first.rindex(b"OggS")] ^= 1
    starts = [view._start for view in containers.views(io.BytesIO(bytes(broken) + second))]
    assert starts == [0, len(first)]
    loaded = decode.load(io.BytesIO(bytes(broken) + second), RATE)
    assert loaded.size / RATE > 3.0


def test_messages_do_not_repeat_ffmpegs_numbers(tmp_path):
    pytest.importorskip("av")
    path = tmp_path / "a.webm"
    path.write_bytes(encode(speechlike(0.5, RATE), RATE, "webm-opus").content[:60])
    with pytest.raises(AudioError) as caught:
        decode.load(path, RATE)
    assert "Errno" not in str(caught.value)
    assert str(caught.value).count(str(path)) == 1


def test_junk_is_not_searched_byte_by_byte():
    """MP3's decoder reads junk byte by byte: 290 kB of it took seconds."""
    head = encoded("MP3")[:100]
    junk = np.random.default_rng(1).integers(0, 255, 400_000, np.uint8).tobytes()
    with few_reads(2**22), pytest.raises(AudioError):
        decode.load(io.BytesIO(head + junk), RATE)
