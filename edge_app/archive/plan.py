"""What is to be scored: inputs -> numbered clips in shards, written once and never changed.

A shard is so many clips whose answers become one Parquet file; the plan has a row group for each.
"""

from __future__ import annotations

import glob
import hashlib
import io
import itertools
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

from edge_app.archive.storage import Folder, absolute, files_at, is_uri, one_line, open_file
from edge_app.inputs import IMAGE_SUFFIXES, STANDARD_INPUT, expand
from ser_edge.audio.decode import files_below, sound_suffixes

PLAN: Final = "_plan.parquet"
ORDER: Final = "_archive.json"
"""Written last: where it is, the plan is whole. Readers of Parquet skip ``_`` files."""

DEFAULT_SHARD_SIZE: Final = 500
"""Clips: some ten seconds' work of a core, which a killed worker loses at most."""

MAX_SHARD_SIZE: Final = 100_000

_VERSION: Final = 1
_PARQUET: Final = frozenset({".parquet"})
_GLOB_PROBLEM: Final = "a URI may not be a glob: give the folder, or a list"


@dataclass(frozen=True)
class Columns:
    """Which columns of Parquet files hold the clips; dots go into structs (``audio.bytes``).

    Parameters
    ----------
    path : str, optional
        Paths or URIs of sounds. Relative ones start where the program was started.
    sound : str, optional
        The bytes of sound files. One of both.
    name : str, optional
        With ``sound``: names of the clips in the result; else ``<file>#<row>``.

    Raises
    ------
    ValueError
        Neither, both, or a name without sounds.
    """

    path: str | None = None
    sound: str | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        if (self.path is None) == (self.sound is None):
            raise ValueError("for Parquet files, name the column of paths or the one of sounds")
        if self.name is not None and self.sound is None:
            raise ValueError("a column of names needs one of sounds; a path is a name itself")


@dataclass(frozen=True)
class Clip:
    """One clip of the plan.

    Parameters
    ----------
    number : int
        From 0, in the plan's order; unique.
    path : bytes
        Of the sound or of the Parquet file, as the file system has it: it need not be UTF-8.
    row, group : int, optional
        In a Parquet file: its row, and the row group where that is.
    """

    number: int
    path: bytes
    row: int | None = None
    group: int | None = None


@dataclass(frozen=True)
class Order:
    """All that the scores depend on; it is stored beside the results.

    Parameters
    ----------
    inputs : tuple of str
        As they were given, made absolute.
    model : str
        Name of the IR, and its precision.
    model_sha256 : str
        Of its manifest, which has hashes of the weights.
    columns : Columns, optional
        Where the inputs are Parquet files.
    listed : str
        File with further inputs, a line each; ``-`` for standard input, empty where there is none.
    shard_size : int
        Clips in a shard, at most.
    labels, profile : str
        Names and hashes of the label grouping and the profile; empty where there is none.

    Raises
    ------
    ValueError
        A shard size out of range.
    """

    inputs: tuple[str, ...]
    model: str
    model_sha256: str
    columns: Columns | None = None
    listed: str = ""
    shard_size: int = DEFAULT_SHARD_SIZE
    labels: str = ""
    profile: str = ""

    def __post_init__(self) -> None:
        if not 1 <= self.shard_size <= MAX_SHARD_SIZE:
            raise ValueError(
                f"the shard size is {self.shard_size}, allowed: 1 to {MAX_SHARD_SIZE} clips"
            )


@dataclass(frozen=True)
class Planned:
    """An order with its plan: ``clips`` in ``shards``, of which ``twice`` were named again."""

    order: Order
    sha256: str
    clips: int
    shards: int
    twice: int


class Plan:
    """The plan in a folder, open for reading."""

    def __init__(self, folder: Folder) -> None:
        from pyarrow import parquet

        self._file = parquet.ParquetFile(folder.open(PLAN))
        groups = self._file.metadata
        self.sizes = [groups.row_group(n).num_rows for n in range(groups.num_row_groups)]

    def clips(self, shard: int) -> list[Clip]:
        """The clips of a shard, in their order."""
        return [Clip(**row) for row in self._file.read_row_group(shard).to_pylist()]


def plan(folder: Folder, order: Order) -> Planned:
    """The plan of an order: the one in the folder, or a new one.

    Parameters
    ----------
    folder : Folder
        For the results.
    order : Order
        Its inputs are read only where there is no plan yet.

    Raises
    ------
    ValueError
        The folder holds something else or the results of another order; there is no clip; an
        input is not a Parquet file, or has no such column. Nothing has been written then.
    OSError
        Something cannot be read or written.
    """
    found = read_order(folder)
    if found is not None:
        _check_same(order, found.order, folder.where)
        return found
    if any(not name.startswith((".", "_")) for name in folder.names()):
        raise ValueError(f"{folder.where}: it has other files in it, give a new folder")
    listed = _names_in(order.listed) if order.listed else ()
    names = itertools.chain(order.inputs, map(absolute, listed))
    seen = _Seen()
    clips = (
        _files(_sounds(names), seen) if order.columns is None else _rows(names, order.columns, seen)
    )
    content, sizes = _table(_shards(clips, order.shard_size))
    if not sizes:
        raise ValueError("there is no clip to score")
    planned = Planned(
        order, hashlib.sha256(content).hexdigest(), sum(sizes), len(sizes), seen.twice
    )
    folder.write(PLAN, content)
    folder.write(ORDER, (json.dumps(_order_dict(planned), indent=2) + "\n").encode())
    return planned


def read_order(folder: Folder) -> Planned | None:
    """The order and plan in a folder; None where there is none.

    Raises
    ------
    ValueError
        It was written by another version, or damaged.
    """
    try:
        content = folder.read(ORDER)
    except FileNotFoundError:
        return None
    where = f"{folder.where}/{ORDER}"
    try:
        values = json.loads(content)
        version = values.pop("version")
        if version != _VERSION:
            raise ValueError(f"{where}: version {version}, this program reads {_VERSION}")
        values.pop("ser_edge")
        order = values.pop("order")
        columns = order.pop("columns")
        return Planned(
            Order(
                inputs=tuple(order.pop("inputs")),
                columns=None if columns is None else Columns(**columns),
                **order,
            ),
            **values,
        )
    except (TypeError, KeyError, AttributeError, json.JSONDecodeError) as error:
        raise ValueError(f"{where}: it is damaged: {one_line(error)}") from None


# ----------------------------------------------------------------------------------- the clips


class _Seen:
    """Names so far."""

    def __init__(self) -> None:
        self._names: set[bytes] = set()
        self.twice = 0

    def add(self, name: bytes) -> int | None:
        """Its number, or None if it was there before."""
        number = len(self._names)
        self._names.add(name)
        if len(self._names) > number:
            return number
        self.twice += 1
        return None


def _names_in(listed: str) -> Iterator[str]:
    """Lines of a list; empty ones are skipped."""
    if listed == STANDARD_INPUT:
        yield from _lines(sys.stdin.buffer)
    else:
        with open_file(listed) as file:
            yield from _lines(io.BytesIO(file.read()))


def _lines(lines: Iterable[bytes]) -> Iterator[str]:
    for line in lines:
        if name := line.rstrip(b"\r\n"):
            yield os.fsdecode(name)  # names of files are bytes, not always UTF-8


def _sounds(names: Iterable[str]) -> Iterator[str]:
    for name in names:
        if not is_uri(name):
            yield from expand([name])
        elif glob.has_magic(name.partition("?")[0]):
            raise ValueError(f"{name}: {_GLOB_PROBLEM}")
        else:
            yield from files_at(name, sound_suffixes() | IMAGE_SUFFIXES)


def _tables(names: Iterable[str]) -> Iterator[str]:
    for name in names:
        if is_uri(name):
            if glob.has_magic(name.partition("?")[0]):
                raise ValueError(f"{name}: {_GLOB_PROBLEM}")
            yield from files_at(name, _PARQUET)
        elif os.path.isdir(name):
            yield from map(str, files_below(Path(name), _PARQUET))
        elif os.path.lexists(name) or not glob.has_magic(name):
            yield name
        else:
            yield from sorted(glob.glob(name, recursive=True))


def _files(names: Iterable[str], seen: _Seen) -> Iterator[Clip]:
    for name in names:
        path = os.fsencode(name)
        number = seen.add(path)
        if number is not None:
            yield Clip(number, path)


def _rows(names: Iterable[str], columns: Columns, seen: _Seen) -> Iterator[Clip]:
    tables = _Seen()
    number = itertools.count()
    for table in _tables(names):
        path = os.fsencode(table)
        if tables.add(path) is None:
            continue
        file = _opened_table(table, columns)
        if columns.path is not None:
            yield from _files(_paths(file, columns.path, table), seen)
            continue
        row = itertools.count()
        for group in range(file.metadata.num_row_groups):
            for _ in range(file.metadata.row_group(group).num_rows):
                yield Clip(next(number), path, next(row), group)


def _opened_table(name: str, columns: Columns) -> Any:
    """A Parquet file that has the columns."""
    import pyarrow
    from pyarrow import parquet, types

    try:
        file = parquet.ParquetFile(open_file(name))
    except FileNotFoundError:
        raise ValueError(f"{name}: there is no such file") from None
    except (OSError, pyarrow.ArrowInvalid) as error:
        raise ValueError(f"{name}: it is not a Parquet file: {one_line(error)}") from None
    texts = (types.is_string, types.is_large_string)
    binaries = (types.is_binary, types.is_large_binary)
    numbers = (types.is_integer,)
    for column, kinds, what in (
        (columns.path, texts, "text"),
        (columns.sound, binaries, "binary"),
        (columns.name, texts + numbers, "text or whole numbers"),
    ):
        if column is None:
            continue
        found = _type_of(file.schema_arrow, column)
        if found is None:
            there = ", ".join(file.schema_arrow.names)
            raise ValueError(f"{name}: it has no column {column!r}; columns there: {there}")
        if not any(is_kind(found) for is_kind in kinds):
            raise ValueError(f"{name}: column {column!r} is {found}, it should be {what}")
    return file


def _type_of(schema: Any, column: str) -> Any:
    """The type of a column, dots going into structs; None where it is not there."""
    from pyarrow import types

    first, *inner = column.split(".")
    if first not in schema.names:
        return None
    kind = schema.field(first).type
    for name in inner:
        if not types.is_struct(kind) or kind.get_field_index(name) < 0:
            return None
        kind = kind.field(name).type
    return kind


def values_of(batch: Any, column: str) -> list[Any]:
    """A column of a batch of rows as Python values, dots going into structs."""
    from pyarrow import compute

    first, *inner = column.split(".")
    values = batch.column(first)
    return list((compute.struct_field(values, inner) if inner else values).to_pylist())


def _paths(file: Any, column: str, table: str) -> Iterator[str]:
    row = itertools.count()
    for batch in file.iter_batches(columns=[column]):
        for value in values_of(batch, column):
            place = f"{table}#{next(row)}"
            # One without a path gets its row in the result, and there is no such file.
            yield absolute(value or f"{place} (no path)")


# ----------------------------------------------------------------------------------- the shards


def _shards(clips: Iterable[Clip], size: int) -> Iterator[list[Clip]]:
    """Clips -> shards; those of a Parquet file lie within one row group, which is read once."""
    for _, together in itertools.groupby(
        clips, key=lambda clip: None if clip.row is None else (clip.path, clip.group)
    ):
        while shard := list(itertools.islice(together, size)):
            yield shard


def _table(shards: Iterable[Sequence[Clip]]) -> tuple[bytes, list[int]]:
    """The plan as Parquet, and the sizes of its shards."""
    import pyarrow
    from pyarrow import parquet

    schema = pyarrow.schema(
        [
            pyarrow.field("number", pyarrow.int64()),
            pyarrow.field("path", pyarrow.binary()),
            pyarrow.field("row", pyarrow.int64()),
            pyarrow.field("group", pyarrow.int32()),
        ]
    )
    out = pyarrow.BufferOutputStream()
    sizes: list[int] = []
    with parquet.ParquetWriter(
        out, schema, compression="zstd", write_statistics=False, store_schema=False
    ) as writer:
        for shard in shards:
            columns = {
                field.name: [getattr(clip, field.name) for clip in shard] for field in fields(Clip)
            }
            writer.write_table(pyarrow.table(columns, schema=schema), row_group_size=len(shard))
            sizes.append(len(shard))
    return bytes(out.getvalue()), sizes


# ----------------------------------------------------------------------------------- the order


def _order_dict(planned: Planned) -> dict[str, Any]:
    from ser_edge import __version__

    return {"version": _VERSION, "ser_edge": __version__, **asdict(planned)}


def _check_same(asked: Order, there: Order, where: str) -> None:
    for field in fields(Order):
        new, old = getattr(asked, field.name), getattr(there, field.name)
        if new != old:
            raise ValueError(
                f"{where}: it holds the results of another order ({field.name}: "
                f"{_shown(old)}; now {_shown(new)}); give a new folder"
            )


def _shown(value: object) -> str:
    text = " ".join(value) if isinstance(value, tuple) else str(value or "none")
    return text if len(text) <= 80 else text[:77] + "..."
