"""What a folder really holds of a corpus: every recording is read and looked at as it is stored."""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np
from tqdm import tqdm

from ser_edge.audio.base import AudioError
from ser_edge.audio.decode import load_stored
from ser_edge.audio.windows import levels
from ser_edge.corpora import CORPORA
from ser_edge.corpora.base import Problem, Scan, Utterance
from ser_edge.decision import SILENCE_DB
from ser_edge.emotions import EMOTIONS

LONG_S: Final = 5.0
"""A mel image's length: what is longer becomes several windows."""

FULL_SCALE: Final = 32767 / 32768
"""The largest sample of a 16-bit recording."""

CLIPPED_SHARE: Final = 1e-3
"""A clip is clipped where so large a share of its samples is at full scale: a peak that was
normalised to full scale touches it in a sample or two."""


@dataclass(frozen=True)
class Recording:
    """An utterance's sound as it is stored.

    ``seconds`` is its duration, ``level`` the RMS of its loudest 50 ms in dB re full scale,
    ``clipped`` the share of its samples at full scale.
    """

    utterance: Utterance
    sha256: str
    seconds: float
    rate: int
    channels: int
    level: float
    clipped: float

    @property
    def is_silent(self) -> bool:
        return self.level < SILENCE_DB

    @property
    def is_clipped(self) -> bool:
        return self.clipped >= CLIPPED_SHARE


@dataclass(frozen=True)
class Durations:
    """In seconds; ``long_share`` of the clips is longer than :data:`LONG_S`."""

    total: float
    least: float
    median: float
    most: float
    long_share: float


@dataclass(frozen=True)
class Twins:
    """Recordings that are the same bytes."""

    utterances: tuple[Utterance, ...]

    @property
    def contradict(self) -> bool:
        """Whether they are said to be of different emotions or speakers."""
        return len({(u.emotion, u.speaker) for u in self.utterances}) > 1


@dataclass(frozen=True)
class Inspection:
    """All that was found, in the order of the scan."""

    corpus: str
    folder: Path
    scan: Scan
    recordings: tuple[Recording, ...]
    unreadable: tuple[Problem, ...]

    @property
    def is_sound(self) -> bool:
        """Whether everything can be read and nothing contradicts itself."""
        return not self.unreadable and not any(twins.contradict for twins in self.twins)

    @property
    def speakers(self) -> tuple[str, ...]:
        return tuple(sorted({u.speaker for u in self.scan.utterances}))

    @property
    def emotions(self) -> tuple[str, ...]:
        """Those that occur, in their order."""
        found = {u.emotion for u in self.scan.utterances}
        return tuple(emotion for emotion in EMOTIONS if emotion in found)

    @property
    def counts(self) -> Mapping[tuple[str, str], int]:
        """Speaker and emotion -> clips."""
        return Counter((u.speaker, u.emotion) for u in self.scan.utterances)

    @property
    def durations(self) -> Durations | None:
        """None where nothing could be read."""
        seconds = [recording.seconds for recording in self.recordings]
        if not seconds:
            return None
        long = sum(s > LONG_S for s in seconds) / len(seconds)
        return Durations(sum(seconds), min(seconds), median(seconds), max(seconds), long)

    @property
    def rates(self) -> Mapping[int, int]:
        """Rate in Hz -> clips."""
        return Counter(recording.rate for recording in self.recordings)

    @property
    def channels(self) -> Mapping[int, int]:
        """Number of channels -> clips."""
        return Counter(recording.channels for recording in self.recordings)

    @property
    def silent(self) -> tuple[Recording, ...]:
        return tuple(recording for recording in self.recordings if recording.is_silent)

    @property
    def clipped(self) -> tuple[Recording, ...]:
        """The worst first."""
        found = [recording for recording in self.recordings if recording.is_clipped]
        return tuple(sorted(found, key=lambda recording: -recording.clipped))

    @property
    def twins(self) -> tuple[Twins, ...]:
        by_bytes: dict[str, list[Utterance]] = {}
        for recording in self.recordings:
            by_bytes.setdefault(recording.sha256, []).append(recording.utterance)
        return tuple(Twins(tuple(group)) for group in by_bytes.values() if len(group) > 1)


def inspect(
    corpus: str, folder: Path, scan: Scan, *, workers: int = 1, progress: bool = True
) -> Inspection:
    """Read every recording of a scan.

    Parameters
    ----------
    corpus : str
        Name in the registry.
    folder : Path
        What was scanned.
    scan : Scan
    workers : int
        Threads.
    progress : bool
        Show a bar.

    Returns
    -------
    Inspection
        What cannot be read is in ``unreadable``. Files that the scan left out are not read.
    """
    recordings: list[Recording] = []
    unreadable: list[Problem] = []
    with ThreadPoolExecutor(workers) as pool:
        for utterance, found in zip(
            scan.utterances,
            tqdm(
                pool.map(_recording_or_problem, scan.utterances),
                total=len(scan.utterances),
                unit="clip",
                desc="reading",
                disable=not progress,
            ),
            strict=True,
        ):
            if isinstance(found, str):
                unreadable.append(Problem(utterance.path, found))
            else:
                recordings.append(found)
    return Inspection(corpus, folder, scan, tuple(recordings), tuple(unreadable))


def recording_of(utterance: Utterance) -> Recording:
    """Read one recording.

    Raises
    ------
    AudioError
        It cannot be read.
    """
    try:
        sound = utterance.path.read_bytes()
    except OSError as error:
        raise AudioError(str(utterance.path), error.strerror or str(error)) from None
    file = io.BytesIO(sound)
    file.name = str(utterance.path)
    parts = load_stored(file)
    loudest = max(
        float(levels(part.samples.mean(axis=1, dtype=np.float32), round(part.rate)).max())
        for part in parts
    )
    full = sum(int(np.count_nonzero(np.abs(part.samples) >= FULL_SCALE)) for part in parts)
    return Recording(
        utterance,
        hashlib.sha256(sound).hexdigest(),
        sum(len(part.samples) / part.rate for part in parts),
        round(parts[0].rate),
        parts[0].samples.shape[1],
        loudest,
        full / sum(part.samples.size for part in parts),
    )


def _recording_or_problem(utterance: Utterance) -> Recording | str:
    try:
        return recording_of(utterance)
    except AudioError as error:
        return error.cause


def to_dict(inspection: Inspection) -> dict[str, Any]:
    """The inspection as plain values, ready for JSON; paths are below the folder."""

    def below(path: Path) -> str:
        inside = path.is_relative_to(inspection.folder)
        return (path.relative_to(inspection.folder) if inside else path).as_posix()

    durations = inspection.durations
    return {
        "corpus": inspection.corpus,
        "folder": str(inspection.folder),
        "sound": inspection.is_sound,
        "clips": len(inspection.scan.utterances),
        "speakers": {
            speaker: {
                emotion: inspection.counts[speaker, emotion] for emotion in inspection.emotions
            }
            for speaker in inspection.speakers
        },
        "durations": None
        if durations is None
        else {
            "total_s": round(durations.total, 3),
            "min_s": round(durations.least, 3),
            "median_s": round(durations.median, 3),
            "max_s": round(durations.most, 3),
            "longer_than_5_s": round(durations.long_share, 4),
        },
        "rates": {str(rate): count for rate, count in sorted(inspection.rates.items())},
        "channels": {str(n): count for n, count in sorted(inspection.channels.items())},
        "silent": [
            {"file": below(r.utterance.path), "level_db": round(r.level, 1)}
            for r in inspection.silent
        ],
        "clipped": [
            {"file": below(r.utterance.path), "share": round(r.clipped, 5)}
            for r in inspection.clipped
        ],
        "duplicates": [
            {
                "files": {below(u.path): u.emotion for u in twins.utterances},
                "contradict": twins.contradict,
            }
            for twins in inspection.twins
        ],
        "unreadable": {below(p.path): p.cause for p in inspection.unreadable},
        "left_out": [
            {"file": below(p.path), "kind": p.kind, "cause": p.cause}
            for p in inspection.scan.problems
        ],
    }


SHOWN: Final = 10
"""So many of a kind are named in a terminal; JSON has them all."""


def table(inspection: Inspection) -> str:
    """The inspection as text for a terminal."""
    return "\n".join(_lines(inspection))


def _lines(inspection: Inspection) -> Iterator[str]:
    scan, emotions, counts = inspection.scan, inspection.emotions, inspection.counts
    published = CORPORA[inspection.corpus].clips
    yield (
        f"{inspection.corpus} in {inspection.folder}: {len(scan.utterances)} clips, "
        f"{len(inspection.speakers)} speakers, {len(emotions)} emotions"
        + (f" ({published} clips are published)" if published else "")
    )
    if scan.utterances:
        wide = max(map(len, ("speaker", *inspection.speakers)))
        row = f"{{:<{wide}}}" + " {:>9}" * (len(emotions) + 1)
        yield row.format("speaker", *emotions, "all")
        for speaker in inspection.speakers:
            numbers = [counts[speaker, emotion] for emotion in emotions]
            yield row.format(speaker, *numbers, sum(numbers))
        sums = [sum(counts[s, emotion] for s in inspection.speakers) for emotion in emotions]
        yield row.format("all", *sums, sum(sums))
    durations = inspection.durations
    if durations is not None:
        yield (
            f"durations: {durations.least:.2f} s to {durations.most:.2f} s, median "
            f"{durations.median:.2f} s, {durations.long_share:.1%} longer than {LONG_S:.0f} s, "
            f"{durations.total / 3600:.2f} h in all"
        )
        yield f"rates: {_counted(inspection.rates, ' Hz')}"
        yield f"channels: {_counted(inspection.channels, '')}"
    yield from _listed(
        f"silent (loudest 50 ms below {SILENCE_DB:.0f} dB)",
        [f"{r.utterance.path}: {r.level:.0f} dB" for r in inspection.silent],
    )
    yield from _listed(
        f"clipped ({CLIPPED_SHARE:.1%} or more of the samples at full scale)",
        [f"{r.utterance.path}: {r.clipped:.2%}" for r in inspection.clipped],
    )
    yield from _listed(
        "the same bytes",
        [
            ("CONTRADICTORY: " if twins.contradict else "")
            + ", ".join(f"{u.path} ({u.emotion})" for u in twins.utterances)
            for twins in sorted(inspection.twins, key=lambda twins: not twins.contradict)
        ],
    )
    yield from _listed("unreadable", [str(problem) for problem in inspection.unreadable])
    yield from _listed("left out", [str(problem) for problem in scan.problems])
    for emotion, count in sorted(scan.other_emotions.items()):
        yield f"  of these {emotion}, which is none of the eight: {count}"


def _counted(counts: Mapping[int, int], unit: str) -> str:
    return ", ".join(f"{key}{unit} ({count} clips)" for key, count in sorted(counts.items()))


def _listed(title: str, lines: Sequence[str]) -> Iterator[str]:
    yield f"{title}: {len(lines) or 'none'}"
    for line in lines[:SHOWN]:
        yield f"  {line}"
    if len(lines) > SHOWN:
        yield f"  and {len(lines) - SHOWN} more; --json names them all"
