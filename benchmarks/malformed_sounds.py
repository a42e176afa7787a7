"""Sounds that are broken, made by rule from good ones: what a bad day brings to the edge app.

A good clip is stored in every format that can be written here, then its bytes are damaged as disks,
cut uploads, wrong programs and ill will damage them. Besides, there are sounds that a program wrote
properly, yet of things that no voice has: 96 channels, NaN, no sample at all. All follows from the
clips and a seed, but for the serial numbers and dates that encoders put in.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
import soundfile

from ser_edge.audio.decode import load
from ser_edge.audio.files import media_installed
from ser_edge.evaluation.robustness.degradation import random_of

Float32 = npt.NDArray[np.float32]

SECONDS: Final = (0.4, 3.0)
"""Length of the good clips: short, for what is broken lies in the bytes, not in the voice."""

_RATES: Final = (8_000, 11_025, 16_000, 22_050, 44_100, 48_000)
_OPUS_RATES: Final = (8_000, 16_000, 24_000, 48_000)
_LIES: Final = (0, 1, 2, 96, 48_000, 2**16, 2**24, 2**31 - 1, 2**31, 2**32 - 16, 2**32 - 1)
_SIZE_MARKS: Final = (
    b"RIFF", b"RF64", b"ds64", b"fmt ", b"fact", b"data", b"PEAK", b"LIST", b"FORM", b"COMM",
    b"SSND", b"desc", b"fLaC", b"OggS", b"vorbis", b"OpusHead", b"OpusTags", b"Xing", b"Info",
    b"ID3", b"LAME", b"moov", b"trak", b"mdia", b"stbl", b"stsd", b"stsz", b"stts", b"stsc",
    b"stco", b"esds", b"mp4a", b"mdat", b"\x1a\x45\xdf\xa3", b"\x16\x54\xae\x6b",
)  # fmt: skip
"""Beside these, formats keep sizes and counts; the last two are Matroska's header and tracks."""

_HEADER_BYTES: Final = 200


@dataclass(frozen=True)
class Good:
    """A good clip as a file: ``kind`` names its container and codec."""

    kind: str
    suffix: str
    content: bytes


@dataclass(frozen=True)
class Malformed:
    """A broken sound: ``name`` of the file, how it was broken, of what, and its bytes."""

    name: str
    mutation: str
    kind: str
    content: bytes


Mutation: TypeAlias = "Callable[[Good, Good, np.random.Generator], bytes]"
"""A good clip, another good clip, generator -> bytes."""


def malformed(good: Sequence[Good], count: int, seed: int = 0) -> Iterator[Malformed]:
    """Broken sounds: the mutations and the kinds of clip in turn, so that all meet.

    Parameters
    ----------
    good : sequence of Good
        From :func:`good_clips`.
    count : int
        1 or more; the first few are the same however many are asked for.
    seed : int

    Yields
    ------
    Malformed
        One in ten has the suffix of another format.

    Raises
    ------
    ValueError
        No clips, or a count that is not allowed.
    """
    if not good:
        raise ValueError("there are no clips to break")
    if count < 1:
        raise ValueError(f"count is {count}, allowed: 1 or more")
    names = list(MUTATIONS)
    suffixes = sorted({clip.suffix for clip in good})
    for number in range(count):
        random = random_of(seed, str(number))
        mutation = names[number % len(names)]
        # Each round of mutations begins one clip further on, so that all pairs meet.
        clip = good[sum(divmod(number, len(names))) % len(good)]
        other = good[int(random.integers(len(good)))]
        content = MUTATIONS[mutation](clip, other, random)
        suffix = str(random.choice(suffixes)) if random.random() < 0.1 else clip.suffix
        name = f"{number:05d}-{mutation}-{clip.kind}.{suffix}"
        yield Malformed(name, mutation, clip.kind, content)


# -------------------------------------------------------------------------------- the good clips


def good_clips(sounds: Sequence[str], seed: int = 0) -> list[Good]:
    """Every sound in every format that can be written here, and as it lies on disk.

    Parameters
    ----------
    sounds : sequence of str
        Paths of good sounds.
    seed : int

    Returns
    -------
    list of Good
        0.4 to 3 s each, at different rates. M4A, WebM, AAC and Matroska only where PyAV is
        installed.

    Raises
    ------
    AudioError
        A sound cannot be read.
    """
    clips: list[Good] = []
    for path in sounds:
        random = random_of(seed, "clip", str(len(clips)))
        for kind in [*_SNDFILE, *(_FFMPEG if media_installed() else ())]:
            rates = _OPUS_RATES if "opus" in kind else _RATES
            rate = int(random.choice(rates))
            seconds = random.uniform(*SECONDS)
            samples = load(path, rate)[: round(seconds * rate)]
            clips.append(encode(samples, rate, kind, channels=int(random.integers(1, 3))))
    return clips


def encode(samples: Float32, rate: int, kind: str, channels: int = 1) -> Good:
    """A waveform as a file of one of :func:`kinds`.

    Raises
    ------
    ValueError
        There is no such kind, or it does not take the rate.
    """
    samples = np.repeat(samples[:, None], channels, axis=1)
    if kind in _SNDFILE:
        suffix, format, subtype = _SNDFILE[kind]
        buffer = io.BytesIO()
        soundfile.write(buffer, samples, rate, subtype, format=format)
        return Good(kind, suffix, _timeless(buffer.getvalue()))
    if kind in _FFMPEG:
        suffix, format, codec = _FFMPEG[kind]
        return Good(kind, suffix, _by_ffmpeg(samples, rate, format, codec))
    raise ValueError(f"kind is {kind!r}, allowed: {', '.join(kinds())}")


def kinds() -> tuple[str, ...]:
    """Names of the formats that :func:`encode` writes; the last ones need PyAV."""
    return (*_SNDFILE, *_FFMPEG)


def _by_ffmpeg(samples: Float32, rate: int, format: str, codec: str) -> bytes:
    import av

    buffer = io.BytesIO()
    layout = "stereo" if samples.shape[1] == 2 else "mono"
    with av.open(buffer, "w", format=format) as container:
        track = container.add_stream(codec, rate=rate, layout=layout)
        track.bit_rate = 64_000
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(samples.T), format="fltp", layout=layout
        )
        frame.sample_rate = rate
        for packet in [*track.encode(frame), *track.encode(None)]:
            container.mux(packet)
    return buffer.getvalue()


_SNDFILE: Final[Mapping[str, tuple[str, str, str]]] = MappingProxyType(
    {
        "wav-16": ("wav", "WAV", "PCM_16"),
        "wav-float": ("wav", "WAV", "FLOAT"),
        "wavex-24": ("wav", "WAVEX", "PCM_24"),
        "rf64": ("wav", "RF64", "PCM_16"),
        "wav-adpcm": ("wav", "WAV", "IMA_ADPCM"),
        "flac": ("flac", "FLAC", "PCM_16"),
        "vorbis": ("ogg", "OGG", "VORBIS"),
        "opus": ("opus", "OGG", "OPUS"),
        "mp3": ("mp3", "MP3", "MPEG_LAYER_III"),
        "aiff": ("aiff", "AIFF", "PCM_16"),
        "caf": ("caf", "CAF", "ALAC_16"),
    }
)
"""Kind -> suffix and libsndfile's format and subtype."""

_FFMPEG: Final[Mapping[str, tuple[str, str, str]]] = MappingProxyType(
    {
        "m4a": ("m4a", "mp4", "aac"),
        "aac": ("aac", "adts", "aac"),
        "webm-opus": ("webm", "webm", "libopus"),
        "mka-aac": ("mka", "matroska", "aac"),
        "wma": ("wma", "asf", "wmav2"),
    }
)
"""Kind -> suffix and ffmpeg's muxer and encoder."""


# --------------------------------------------------------------------------------- bytes at fault


def _truncated(good: Good, other: Good, random: np.random.Generator) -> bytes:
    return good.content[: int(random.integers(1, len(good.content)))]


def _cut_in_header(good: Good, other: Good, random: np.random.Generator) -> bytes:
    return good.content[: int(random.integers(1, _HEADER_BYTES))]


def _beheaded(good: Good, other: Good, random: np.random.Generator) -> bytes:
    return good.content[int(random.integers(1, len(good.content) // 2)) :]


def _flipped(good: Good, other: Good, random: np.random.Generator) -> bytes:
    raw = np.frombuffer(good.content, np.uint8).copy()
    where = random.integers(0, len(raw), int(2 ** random.uniform(0, 8)))
    raw[where] ^= (1 << random.integers(0, 8, len(where))).astype(np.uint8)
    return bytes(raw)


def _header_flipped(good: Good, other: Good, random: np.random.Generator) -> bytes:
    head = Good(good.kind, good.suffix, good.content[:_HEADER_BYTES])
    return _flipped(head, other, random) + good.content[_HEADER_BYTES:]


def _lying(good: Good, other: Good, random: np.random.Generator) -> bytes:
    """A number somewhere in the header becomes another."""
    at = int(random.integers(0, min(_HEADER_BYTES, len(good.content))))
    order = "<I" if random.random() < 0.5 else ">I"
    lie = struct.pack(order, int(random.choice(_LIES)))
    return good.content[:at] + lie + good.content[at + 4 :]


def _wrong_size(good: Good, other: Good, random: np.random.Generator) -> bytes:
    """A size or a count beside one of the marks that formats put before such becomes another."""
    found = [
        (mark, at) for mark in _SIZE_MARKS for at in _places(good.content, mark, atmost=4)
    ]  # as a rule there are some: every container has a mark
    if not found:
        return _lying(good, other, random)
    mark, at = found[int(random.integers(len(found)))]
    # RIFF keeps the size behind the name, MP4 before it, the others' counts a little further.
    near = int(random.choice([-4, 0, 0, 0, 4, 8, 12]))
    at = max(0, at - 4 if near < 0 else at + len(mark) + near)
    order = "<I" if good.suffix in ("wav", "ogg", "opus", "wma") else ">I"
    lie = struct.pack(order, int(random.choice(_LIES)))
    return good.content[:at] + lie + good.content[at + 4 :]


def _places(content: bytes, mark: bytes, atmost: int) -> list[int]:
    places: list[int] = []
    at = content.find(mark)
    while at >= 0 and len(places) < atmost:
        places.append(at)
        at = content.find(mark, at + 1)
    return places


def _overwritten(good: Good, other: Good, random: np.random.Generator) -> bytes:
    at = int(random.integers(0, len(good.content)))
    return (
        good.content[:at] + random.bytes(int(random.integers(1, 2000))) + good.content[at + 500 :]
    )


def _zeroed(good: Good, other: Good, random: np.random.Generator) -> bytes:
    """A block that never reached the disk: 4 kB of zeros."""
    at = int(random.integers(0, len(good.content)))
    return good.content[:at] + bytes(4096) + good.content[at + 4096 :]


def _gap(good: Good, other: Good, random: np.random.Generator) -> bytes:
    """Some bytes in the middle are missing."""
    a, b = sorted(random.integers(0, len(good.content), 2))
    return good.content[: int(a)] + good.content[int(b) :]


def _swapped(good: Good, other: Good, random: np.random.Generator) -> bytes:
    """Two blocks in each other's place."""
    a, b, c = sorted(int(x) for x in random.integers(0, len(good.content), 3))
    content = good.content
    return content[:a] + content[b:c] + content[a:b] + content[c:]


def _repeated(good: Good, other: Good, random: np.random.Generator) -> bytes:
    a, b = sorted(int(x) for x in random.integers(0, len(good.content), 2))
    return good.content[:b] + good.content[a:b] * int(random.integers(1, 5)) + good.content[b:]


def _glued(good: Good, other: Good, random: np.random.Generator) -> bytes:
    return good.content + other.content


def _glued_to_itself(good: Good, other: Good, random: np.random.Generator) -> bytes:
    return good.content * int(random.integers(2, 5))


def _random_tail(good: Good, other: Good, random: np.random.Generator) -> bytes:
    return good.content + random.bytes(int(random.integers(1, 20_000)))


def _random_inside(good: Good, other: Good, random: np.random.Generator) -> bytes:
    """The header is true, all after it is noise."""
    at = int(random.integers(12, _HEADER_BYTES))
    return good.content[:at] + random.bytes(max(1, len(good.content) - at))


def _foreign_body(good: Good, other: Good, random: np.random.Generator) -> bytes:
    """The head of one file, the body of another."""
    at = int(random.integers(4, _HEADER_BYTES))
    return good.content[:at] + other.content[at:]


def _text(good: Good, other: Good, random: np.random.Generator) -> bytes:
    """Opened as text and written back: bytes beyond ASCII have become question marks."""
    return good.content.decode("latin-1").encode("ascii", "replace")


def _line_ends(good: Good, other: Good, random: np.random.Generator) -> bytes:
    """Transferred as text: every LF has become CR LF."""
    return good.content.replace(b"\n", b"\r\n")


def _huge_tag(good: Good, other: Good, random: np.random.Generator) -> bytes:
    """An ID3 tag before the sound whose size is another than it says."""
    says = int(random.choice([0, 10, 1000, 2**21 - 1, 2**28 - 1]))
    size = bytes(says >> shift & 127 for shift in (21, 14, 7, 0))
    return b"ID3\x03\0\0" + size + bytes(int(random.choice([0, 10, 1000]))) + good.content


def _empty(good: Good, other: Good, random: np.random.Generator) -> bytes:
    """Nothing, or a byte or two."""
    return good.content[: int(random.integers(0, 3))]


def _noise(good: Good, other: Good, random: np.random.Generator) -> bytes:
    """No sound at all, yet with the first bytes of one."""
    return good.content[: int(random.integers(0, 13))] + random.bytes(
        int(random.integers(1, 30_000))
    )


# ------------------------------------------------------------------ well written, but what sound?


def _odd_wav(good: Good, other: Good, random: np.random.Generator) -> bytes:
    """A WAV whose ``fmt`` chunk says channels, rates, bits and codecs that no voice has."""
    tag = int(random.choice([0, 1, 1, 1, 2, 3, 6, 7, 17, 49, 80, 85, 255, 0xFFFE, 0xFFFF]))
    channels = int(random.choice([0, 1, 2, 9, 96, 255, 1024, 1025, 65_535]))
    rate = int(random.choice([0, 1, 7_999, 16_000, 192_001, 2**31 - 1, 2**31, 2**32 - 1]))
    bits = int(random.choice([0, 1, 4, 8, 12, 16, 24, 32, 33, 64, 65_535]))
    align = int(random.choice([0, 1, 2, channels * bits // 8, 65_535])) & 0xFFFF
    body = random.bytes(int(random.integers(0, 4000)))
    form = struct.pack("<HHIIHH", tag, channels, rate, rate * align & 0xFFFF_FFFF, align, bits)
    chunks = b"fmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", len(body)) + body
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def _many_channels(good: Good, other: Good, random: np.random.Generator) -> bytes:
    channels = int(random.choice([9, 16, 96, 255, 1024]))
    return _written(np.zeros((int(random.integers(1, 200)), channels), np.float32), 48_000, "WAV")


def _odd_rate(good: Good, other: Good, random: np.random.Generator) -> bytes:
    rate = int(random.choice([1, 100, 4_000, 7_999, 192_001, 384_000, 655_350]))
    format = str(random.choice(["WAV", "FLAC"]))
    return _written(np.zeros((200, 1), np.float32), rate, format)


def _few_samples(good: Good, other: Good, random: np.random.Generator) -> bytes:
    samples = random.uniform(-0.5, 0.5, (int(random.integers(0, 4)), 1)).astype(np.float32)
    rate = int(random.choice([8_000, 16_000, 44_100, 192_000]))
    return _written(samples, rate, str(random.choice(["WAV", "FLAC", "OGG", "MP3"])))


def _no_numbers(good: Good, other: Good, random: np.random.Generator) -> bytes:
    """Samples that are not finite, or far beyond full scale."""
    samples = random.uniform(-0.5, 0.5, (3000, 1)).astype(np.float32)
    where = random.integers(0, len(samples), int(random.choice([1, 100, 10_000])))
    samples[where] = random.choice(np.array([np.nan, np.inf, -np.inf, 1e10, 3e38, 1e-42]))
    return _written(samples, 16_000, "WAV", "FLOAT")


def _written(samples: Float32, rate: int, format: str, subtype: str | None = None) -> bytes:
    buffer = io.BytesIO()
    try:
        soundfile.write(buffer, samples, rate, subtype, format=format)
    except soundfile.LibsndfileError:  # FLAC and MP3 do not take every rate: then as WAV
        buffer = io.BytesIO()
        soundfile.write(buffer, samples, rate, subtype, format="WAV")
    return _timeless(buffer.getvalue())


def _timeless(content: bytes) -> bytes:
    """A file without the second in which libsndfile wrote its floats (PEAK: id, size, version)."""
    head, peak, rest = content.partition(b"PEAK")
    if not peak or len(head) > _HEADER_BYTES:
        return content
    return head + peak + rest[:8] + bytes(4) + rest[12:]


MUTATIONS: Final[Mapping[str, Mutation]] = MappingProxyType(
    {
        "truncated": _truncated,
        "cut-in-header": _cut_in_header,
        "beheaded": _beheaded,
        "flipped": _flipped,
        "header-flipped": _header_flipped,
        "lying": _lying,
        "wrong-size": _wrong_size,
        "overwritten": _overwritten,
        "zeroed": _zeroed,
        "gap": _gap,
        "swapped": _swapped,
        "repeated": _repeated,
        "glued": _glued,
        "glued-to-itself": _glued_to_itself,
        "random-tail": _random_tail,
        "random-inside": _random_inside,
        "foreign-body": _foreign_body,
        "text": _text,
        "line-ends": _line_ends,
        "huge-tag": _huge_tag,
        "empty": _empty,
        "noise": _noise,
        "odd-wav": _odd_wav,
        "many-channels": _many_channels,
        "odd-rate": _odd_rate,
        "few-samples": _few_samples,
        "no-numbers": _no_numbers,
    }
)
"""Name -> how a clip is broken."""
