"""A shard of the plan -> one Parquet file of answers, the same whichever worker makes it.

A row is the answer of ``edge-app predict --format jsonl``, with ``clip`` before it (its number in
the plan) and ``error`` after it (why there is no answer).
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO, Final

from edge_app.archive.attempts import Attempts
from edge_app.archive.plan import Clip, Columns, Order, Plan, Planned, values_of
from edge_app.archive.storage import Folder, NamedBytes, is_uri, open_file, sound_at
from edge_app.classifier import Classifier
from edge_app.inference.devices import DeviceError
from edge_app.inference.model_store import find_model
from edge_app.inputs import source_of
from ser_edge.audio.decode import AudioError
from ser_edge.labels import Grouping
from ser_edge.manifest import Manifest
from ser_edge.profiles import Profile

DEVICE_PATIENCE: Final = 3
"""Clips in turn that a device may fail on, each tried twice, before the device is given up."""

_META: Final = b"ser_edge"
_ROWS_AT_ONCE: Final = 16  # of sounds in Parquet files, held in memory
_STREAMED: Final = 2**20  # bytes of a Parquet file that are read ahead


@dataclass(frozen=True)
class ClassifierSpec:
    """How each worker makes its classifier: the parameters of :class:`edge_app.Classifier`."""

    model: str
    device: str = "CPU"
    precision: str = "FP16"
    labels: Grouping | None = None
    profile: Profile | None = None
    hint: str = "throughput"
    threads: int = 1
    fallback: str | None = None

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise ValueError(f"threads are {self.threads}, allowed: 1 or more")

    def order(self, **inputs: Any) -> Order:
        """An order for this classifier's scores; ``inputs`` are the other fields of :class:`Order`.

        Raises
        ------
        ValueError
            There is no such model, it is damaged, or a field is out of range.
        """
        manifest = find_model(self.model, self.precision).manifest
        return Order(
            model=f"{manifest.name} {manifest.precision}",
            model_sha256=_digest_of(manifest),
            labels=_fingerprint(self.labels),
            profile=_fingerprint(self.profile),
            **inputs,
        )

    def classifier(self, order: Order) -> Classifier:
        """The classifier, if its model is the one of the order.

        Raises
        ------
        ValueError
            The model is missing, damaged, or another one.
        DeviceError
            The device is missing or cannot run the model.
        """
        made = Classifier(
            self.model,
            self.device,
            self.precision,
            self.labels,
            self.profile,
            hint=self.hint,
            threads=self.threads,
            fallback=self.fallback,
        )
        if _digest_of(made.manifest) != order.model_sha256:
            raise ValueError(
                f"the model {self.model} of {platform.node()} differs from the order's: "
                "install the same release of ser-edge, or the same .xml, on all machines"
            )
        return made


@dataclass(frozen=True)
class Tally:
    """Result of a shard: its clips, and how many of them have an error."""

    shard: int
    clips: int
    failed: int


class Scorer:
    """Scores shards, one after the other, with one classifier.

    Parameters
    ----------
    out : str
        Path or URI of the folder that holds the plan.
    planned : Planned
    spec : ClassifierSpec

    Raises
    ------
    ValueError, DeviceError
        As :meth:`ClassifierSpec.classifier`.
    OSError
        The plan cannot be read.
    """

    def __init__(self, out: str, planned: Planned, spec: ClassifierSpec) -> None:
        self._spec = spec
        self._planned = planned
        self._folder = Folder(out)
        self._plan = Plan(self._folder)
        self._classifier = spec.classifier(planned.order)
        self._device_failures = 0

    def score(self, shard: int) -> Tally:
        """Make the file of a shard, if it is not there yet.

        Raises
        ------
        DeviceError
            The device failed on several clips in turn; nothing of the shard is written.
        OSError
            The folder cannot be written.
        """
        # Where a machine died after it had written, Ray asks again.
        done = tally_of(self._folder, shard, self._planned.sha256, self._plan.sizes[shard])
        if done is not None:
            return done
        attempts = Attempts(self._folder, shard)
        rows = []
        for clip, name, sound in _sounds(self._plan.clips(shard), self._planned.order.columns):
            if clip.number in attempts.fatal:
                error = f"{name}: the process that read it died, several times"
                rows.append(_failed(clip, name, error))
                continue
            with attempts.at(clip.number):
                rows.append(self._row(clip, name, sound))
        failed = sum(1 for row in rows if row["error"] is not None)
        tally = Tally(shard, len(rows), failed)
        content = _part(rows, self._classifier.labels, self._planned.sha256, tally)
        self._folder.write(part_name(shard), content)
        attempts.done()
        return tally

    def _row(self, clip: Clip, name: str, sound: Callable[[], str | BinaryIO]) -> dict[str, Any]:
        try:
            answer = self._answer(sound)
        except AudioError as error:
            return _failed(clip, name, str(error))
        except DeviceError as error:
            self._device_failures += 1
            if self._device_failures >= DEVICE_PATIENCE:
                raise
            return _failed(clip, name, f"{name}: {error}")
        self._device_failures = 0
        return {"clip": clip.number, **answer, "file": _text(answer["file"]), "error": None}

    def _answer(self, sound: Callable[[], str | BinaryIO]) -> dict[str, Any]:
        try:
            return self._classifier.predict(sound()).to_dict()
        except DeviceError:  # a driver that failed may work again
            self._classifier = self._spec.classifier(self._planned.order)
            return self._classifier.predict(sound()).to_dict()


def _digest_of(manifest: Manifest) -> str:
    return hashlib.sha256(json.dumps(manifest.to_rt_info(), sort_keys=True).encode()).hexdigest()


def _fingerprint(chosen: Grouping | Profile | None) -> str:
    """A name and a hash, which tells apart two of one name and does not reveal their content."""
    if chosen is None:
        return ""
    return f"{chosen.name} {hashlib.sha256(repr(chosen).encode()).hexdigest()[:16]}"


# ----------------------------------------------------------------------------------- the sounds

_Sound = tuple[Clip, str, Callable[[], "str | BinaryIO"]]


def _sounds(clips: Sequence[Clip], columns: Columns | None) -> Iterator[_Sound]:
    """Clips -> their names, and a function that gives the sound or raises AudioError."""
    if clips[0].row is not None:
        assert columns is not None
        assert columns.sound is not None
        yield from _sounds_in_rows(clips, columns.sound, columns.name)
        return
    for clip in clips:
        path = os.fsdecode(clip.path)
        yield clip, path, partial(sound_at if is_uri(path) else source_of, path)


def _sounds_in_rows(clips: Sequence[Clip], column: str, names: str | None) -> Iterator[_Sound]:
    table, first, group = os.fsdecode(clips[0].path), clips[0], clips[0].group
    assert first.row is not None
    assert group is not None
    wanted = [column] if names is None else [column, names]
    rows = _rows(table, group, first.row, len(clips), wanted)
    for clip in clips:
        shown = f"{table}#{clip.row}"
        try:
            content, *name = next(rows)
        except StopIteration:
            why = f"the rest of row group {group} of the Parquet file cannot be read"
            yield clip, shown, partial(_unreadable, shown, why)
            continue
        if name and name[0] is not None:
            shown = str(name[0])
        yield clip, shown, partial(_in_memory, content, shown)


def _rows(
    table: str, group: int, first: int, count: int, columns: Sequence[str]
) -> Iterator[tuple[Any, ...]]:
    """Some rows of a row group of a Parquet file, read as a stream; fewer where it is damaged."""
    import pyarrow
    from pyarrow import parquet

    with suppress(OSError, pyarrow.ArrowInvalid), open_file(table) as opened:
        file = parquet.ParquetFile(opened, buffer_size=_STREAMED, pre_buffer=False)
        start = first - sum(file.metadata.row_group(n).num_rows for n in range(group))
        batches = file.iter_batches(_ROWS_AT_ONCE, row_groups=[group], columns=list(columns))
        rows = (
            row
            for batch in batches
            for row in zip(*(values_of(batch, column) for column in columns), strict=True)
        )
        yield from itertools.islice(rows, start, start + count)


def _unreadable(name: str, why: str) -> BinaryIO:
    raise AudioError(name, why)


def _in_memory(content: bytes | None, name: str) -> BinaryIO:
    if content is None:
        raise AudioError(name, "the row holds no sound")
    return NamedBytes(content, name)


# ----------------------------------------------------------------------------------- the rows


def part_name(shard: int) -> str:
    """Name of the file of a shard."""
    return f"part-{shard:06d}.parquet"


def tally_of(folder: Folder, shard: int, plan_sha256: str, clips: int) -> Tally | None:
    """The tally in a shard's file; None where it is missing, not whole, or of another plan.

    Raises
    ------
    OSError
        It is there and cannot be read.
    """
    import pyarrow
    from pyarrow import parquet

    try:
        with folder.open(part_name(shard)) as file:
            footer = parquet.read_metadata(file)
        found = json.loads(footer.metadata[_META])
    except FileNotFoundError:
        return None
    except (pyarrow.ArrowInvalid, KeyError, TypeError, ValueError):
        return None
    if (found["plan"], found["shard"], footer.num_rows) != (plan_sha256, shard, clips):
        return None
    return Tally(shard, clips, found["failed"])


def _failed(clip: Clip, name: str, error: str) -> dict[str, Any]:
    return {"clip": clip.number, "file": _text(name), "error": _text(error)}


def _text(name: str) -> str:
    """A name of a file, made UTF-8 where it is not: Parquet has no other text."""
    return name.encode(errors="surrogateescape").decode(errors="backslashreplace")


def _part(rows: Sequence[dict[str, Any]], labels: Sequence[str], plan: str, tally: Tally) -> bytes:
    import pyarrow
    from pyarrow import parquet

    meta = json.dumps({"plan": plan, "shard": tally.shard, "failed": tally.failed})
    schema = _schema(labels).with_metadata({_META: meta.encode()})
    out = pyarrow.BufferOutputStream()
    parquet.write_table(
        pyarrow.Table.from_pylist(list(rows), schema=schema), out, compression="zstd"
    )
    return bytes(out.getvalue())


def _schema(labels: Sequence[str]) -> Any:
    """Columns of the result: those of ``Prediction.to_dict`` between ``clip`` and ``error``."""
    import pyarrow as pa

    scores = pa.struct([(label, pa.float64()) for label in labels])
    answer = [("emotion", pa.string()), ("confidence", pa.float64()), ("scores", scores)]
    span = pa.struct([("start", pa.float64()), ("end", pa.float64()), *answer])
    return pa.schema(
        [
            ("clip", pa.int64()),
            ("file", pa.string()),
            *answer,
            ("duration", pa.float64()),
            ("device", pa.string()),
            ("model", pa.string()),
            ("profile", pa.string()),
            ("windows", pa.list_(span)),
            ("segments", pa.list_(span)),
            ("error", pa.string()),
        ]
    )
