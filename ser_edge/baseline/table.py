"""Corpora -> tables of features: CSV or Parquet, a row a clip.

Every clip's numbers go into a journal beside the table as soon as they are there, so a killed run
resumes where it was; the table itself is written at the end, whole. What a finished table holds is
not computed again either, as long as sound, settings and librosa are the same.
"""

from __future__ import annotations

import base64
import binascii
import csv
import hashlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from ser_edge.audio import decode
from ser_edge.audio.base import AudioError
from ser_edge.baseline.features import FeatureSpec, features, librosa
from ser_edge.corpora import Problem, Utterance
from ser_edge.files import whole_file
from ser_edge.processes import process_pool

Float32 = npt.NDArray[np.float32]

SUFFIXES: Final = (".csv", ".parquet")

JOURNAL: Final = ".part"
"""Suffix of what an unfinished run has computed."""

_COMPRESSION: Final = "zstd"


@dataclass(frozen=True)
class Clip:
    """What a row says besides its features.

    ``file`` is the path below the corpus's folder, ``seconds`` the duration; ``key`` tells sound,
    settings and librosa apart. The others are those of :class:`ser_edge.corpora.Utterance`.
    """

    file: str
    utterance: str
    corpus: str
    speaker: str
    sex: str
    emotion: str
    intensity: str
    statement: str
    repetition: int
    channel: str
    language: str
    seconds: float
    key: str


@dataclass(frozen=True)
class FeatureTable:
    """Clips in the order of their files and their features, ``float32 (clips, names)``."""

    clips: tuple[Clip, ...]
    names: tuple[str, ...]
    values: Float32


@dataclass(frozen=True)
class Computed:
    """A clip's features before it is known what the corpus says of it."""

    key: str
    seconds: float
    values: Float32


@dataclass(frozen=True)
class Report:
    """What a run did: clips computed and found done, what could not be read."""

    made: int
    found: int
    problems: tuple[Problem, ...]


class UnfinishedError(RuntimeError):
    """A run that ended early; the same command resumes it."""


def check_output(path: Path) -> None:
    """Check that a table can be written to a name, before anything is computed.

    Raises
    ------
    ValueError
        Its suffix is neither of both, or Parquet is asked for and pyarrow is not there.
    """
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{path}: its suffix should be {' or '.join(SUFFIXES)}")
    if path.suffix == ".parquet":
        _parquet()


def extract(
    utterances: Sequence[Utterance],
    root: Path,
    out: Path,
    spec: FeatureSpec,
    *,
    workers: int | None = None,
    progress: bool = True,
) -> Report:
    """Compute the features of utterances and write the table.

    Parameters
    ----------
    utterances : sequence of Utterance
    root : Path
        The corpus's folder; files are named below it.
    out : Path
        The table; what it or its journal hold already and fits is kept.
    spec : FeatureSpec
    workers : int, optional
        Processes; one a core if not given, 0 for none but this one.
    progress : bool
        Show a bar.

    Returns
    -------
    Report
        Unreadable clips are in ``problems`` and missing from the table.

    Raises
    ------
    ValueError
        A wrong suffix, a missing library, or ``out`` is something else than such a table.
    UnfinishedError
        A process was killed, or no clip could be read.
    """
    check_output(out)
    librosa()
    identity = spec.identity()
    journal = out.with_name(out.name + JOURNAL)
    known = {**_in_table(out, spec), **dict(_in_journal(journal, len(spec.names)))}
    rows: dict[str, Clip] = {}
    values: dict[str, Float32] = {}
    problems: list[Problem] = []
    found = 0

    def keep(utterance: Utterance, computed: Computed) -> None:
        name = _below(utterance.path, root)
        rows[name] = _clip(utterance, name, computed)
        values[name] = computed.values

    out.parent.mkdir(parents=True, exist_ok=True)
    if workers != 0:
        # librosa compiles its functions at their first call and keeps them in a folder. Here, once:
        # processes that fill that folder at the same time have ended with a segmentation fault.
        features(np.sin(np.arange(spec.sample_rate, dtype=np.float32)), spec)
    with (
        process_pool(workers) as pool,
        tqdm(total=len(utterances), unit="clip", desc="features", disable=not progress) as bar,
        open(journal, "a") as log,
    ):
        log.write("\n")  # what a killed run wrote last may lack its end
        jobs: dict[Future[Computed], Utterance] = {}
        for utterance in utterances:
            try:
                done = known.get(_key(_bytes(utterance.path), identity)) if known else None
            except AudioError as error:
                problems.append(Problem(utterance.path, error.cause))
                bar.update()
                continue
            if done is None:
                jobs[pool.submit(compute, utterance.path, spec)] = utterance
            else:
                keep(utterance, done)
                found += 1
                bar.update()
        for job in as_completed(jobs):
            bar.update()
            try:
                computed = job.result()
            except AudioError as error:
                problems.append(Problem(jobs[job].path, error.cause))
                continue
            except BrokenProcessPool:
                raise UnfinishedError(
                    "a process was killed (is there too little memory?); the same command resumes"
                ) from None
            keep(jobs[job], computed)
            log.write(_journal_line(computed))
            log.flush()
    if not rows:
        journal.unlink()
        raise UnfinishedError(
            f"none of the {len(utterances)} clips can be read, the first: {problems[0]}"
        )
    names = sorted(rows)
    table = FeatureTable(
        tuple(rows[name] for name in names), spec.names, np.stack([values[name] for name in names])
    )
    write_table(table, out)
    journal.unlink()
    return Report(
        len(rows) - found, found, tuple(sorted(problems, key=lambda problem: problem.path))
    )


def compute(path: Path, spec: FeatureSpec) -> Computed:
    """Read a sound and compute its features.

    Raises
    ------
    AudioError
        It cannot be read, or gives numbers that are not finite.
    """
    sound = _bytes(path)
    file = io.BytesIO(sound)
    file.name = str(path)
    waveform = decode.load(file, spec.sample_rate)
    values = features(waveform, spec)
    if not np.isfinite(values).all():
        raise AudioError(str(path), "its features are not finite")
    seconds = round(waveform.size / spec.sample_rate, 4)
    return Computed(_key(sound, spec.identity()), seconds, values)


def write_table(table: FeatureTable, path: Path) -> None:
    """Write CSV or Parquet, by the suffix, whole or not at all; the same bytes every time.

    Raises
    ------
    ValueError
        As :func:`check_output`.
    """
    check_output(path)
    with whole_file(path) as temporary:
        if path.suffix == ".csv":
            with open(temporary, "w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow([*_CLIP_FIELDS, *table.names])
                for clip, values in zip(table.clips, table.values, strict=True):
                    # The shortest digits that give the same float32 again.
                    writer.writerow([*asdict(clip).values(), *map(str, values)])
        else:
            arrow = _parquet()
            columns = {
                **{name: [getattr(clip, name) for clip in table.clips] for name in _CLIP_FIELDS},
                **dict(zip(table.names, np.ascontiguousarray(table.values.T), strict=True)),
            }
            arrow.parquet.write_table(arrow.table(columns), temporary, compression=_COMPRESSION)


def read_table(path: Path) -> FeatureTable:
    """Read what :func:`write_table` wrote.

    Raises
    ------
    ValueError
        There is no such file, it is something else or broken; the message names it.
    """
    check_output(path)
    try:
        with open(path, "rb"):
            pass  # pyarrow's message for a missing file is its path alone
        return _read_csv(path) if path.suffix == ".csv" else _read_parquet(path)
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror or error}") from None
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path}: no table of features as scripts/features.py writes it: {error}"
        ) from None


_CLIP_FIELDS: Final = tuple(field.name for field in fields(Clip))
_NUMBERS: Final[Mapping[str, Any]] = {"repetition": int, "seconds": float}


def _read_csv(path: Path) -> FeatureTable:
    with open(path, newline="", encoding="utf-8") as file:
        reader = csv.reader(file)
        names = _feature_names(next(reader, []))
        clips: list[Clip] = []
        values: list[Float32] = []
        for row in reader:
            if len(row) != len(_CLIP_FIELDS) + len(names):
                raise ValueError(f"line {reader.line_num} has {len(row)} cells")
            cells = dict(zip(_CLIP_FIELDS, row, strict=False))
            clips.append(Clip(**{key: _NUMBERS.get(key, str)(cells[key]) for key in cells}))
            values.append(np.array(row[len(_CLIP_FIELDS) :], dtype=np.float32))
    return _table(clips, names, values)


def _read_parquet(path: Path) -> FeatureTable:
    table = _parquet().parquet.read_table(path)
    names = _feature_names(table.column_names)
    clips = table.select(list(_CLIP_FIELDS)).to_pylist()
    values = np.stack([table.column(name).to_numpy() for name in names], axis=1)
    return _table([Clip(**row) for row in clips], names, list(values.astype(np.float32)))


def _feature_names(columns: Sequence[str]) -> tuple[str, ...]:
    if tuple(columns[: len(_CLIP_FIELDS)]) != _CLIP_FIELDS or len(columns) <= len(_CLIP_FIELDS):
        raise ValueError(f"its columns should begin with {', '.join(_CLIP_FIELDS)}")
    return tuple(columns[len(_CLIP_FIELDS) :])


def _table(clips: list[Clip], names: tuple[str, ...], values: list[Float32]) -> FeatureTable:
    if not clips:
        raise ValueError("it has no rows")
    return FeatureTable(tuple(clips), names, np.stack(values))


def _parquet() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise ValueError(
            "Parquet needs pyarrow: pip install 'ser-edge[parquet]'; .csv needs nothing"
        ) from None
    return pyarrow


def _in_table(path: Path, spec: FeatureSpec) -> dict[str, Computed]:
    """What an earlier run finished; of other features nothing."""
    if not path.exists():
        return {}
    table = read_table(path)  # raises where a file that is none of ours would be overwritten
    if table.names != spec.names:
        return {}
    return {
        clip.key: Computed(clip.key, clip.seconds, values)
        for clip, values in zip(table.clips, table.values, strict=True)
    }


def _in_journal(path: Path, size: int) -> Iterator[tuple[str, Computed]]:
    """What an unfinished run computed; a last line that was cut off is skipped."""
    if not path.exists():
        return
    for line in path.read_text(errors="replace").splitlines():
        try:
            entry = json.loads(line)
            values = np.frombuffer(base64.b64decode(entry["values"], validate=True), "<f4")
            computed = Computed(str(entry["key"]), float(entry["seconds"]), values)
        except (ValueError, KeyError, TypeError, binascii.Error):
            continue
        if values.size == size:
            yield computed.key, computed


def _journal_line(computed: Computed) -> str:
    packed = base64.b64encode(computed.values.astype("<f4").tobytes()).decode()
    return json.dumps({"key": computed.key, "seconds": computed.seconds, "values": packed}) + "\n"


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise AudioError(str(path), error.strerror or str(error)) from None


def _key(sound: bytes, identity: str) -> str:
    return hashlib.sha256(sound + identity.encode()).hexdigest()[:16]


def _below(path: Path, root: Path) -> str:
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()


def _clip(utterance: Utterance, name: str, computed: Computed) -> Clip:
    return Clip(
        file=name,
        utterance=utterance.name,
        corpus=utterance.corpus,
        speaker=utterance.speaker,
        sex=utterance.sex,
        emotion=utterance.emotion,
        intensity=utterance.intensity,
        statement=utterance.statement,
        repetition=utterance.repetition,
        channel=utterance.channel,
        language=utterance.language,
        seconds=computed.seconds,
        key=computed.key,
    )
