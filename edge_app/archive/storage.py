"""Where archives lie: a folder on disk or in an object store, by path or URI (``s3://...``)."""

from __future__ import annotations

import io
import os
import uuid
from collections.abc import Collection, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, BinaryIO, Final
from urllib.parse import quote

from ser_edge.audio.decode import AudioError
from ser_edge.files import UNFINISHED

if TYPE_CHECKING:
    import pyarrow.fs

_SCHEME: Final = "://"
_WHOLE_ON_CLOSE: Final = frozenset({"s3", "gcs", "abfs"})
"""File systems of pyarrow on which a file is not there before it has been written."""


class NamedBytes(io.BytesIO):
    """Bytes of a sound, with a name for messages."""

    def __init__(self, content: bytes, name: str) -> None:
        super().__init__(content)
        self.name = name


class Folder:
    """Files of one folder, each written whole or not at all.

    Parameters
    ----------
    where : str
        A path, or a URI that pyarrow knows. It need not exist yet.

    Raises
    ------
    ValueError
        A URI of a kind that pyarrow does not know.
    """

    def __init__(self, where: str) -> None:
        self.where = absolute(where)
        self._fs, self._root = _located(where)

    @property
    def path(self) -> str | None:
        """On disk, its path; else None."""
        return self._root if self._fs.type_name == "local" else None

    def open(self, name: str) -> Any:
        """A file of it, open for random access, as pyarrow reads.

        Raises
        ------
        OSError
            It is missing or cannot be read.
        """
        return self._fs.open_input_file(self._at(name))

    def read(self, name: str) -> bytes:
        """The content of a file; OSError as :meth:`open`."""
        with self.open(name) as file:
            return bytes(file.read())

    def write(self, name: str, content: bytes) -> None:
        """Write a file, in place of the one that may be there."""
        path = self._at(name)
        parent, base = path.rsplit("/", 1)
        self._fs.create_dir(parent, recursive=True)
        if self._fs.type_name in _WHOLE_ON_CLOSE:
            with self._fs.open_output_stream(path) as stream:
                stream.write(content)
            return
        # Containers have the same process numbers, so the name is random.
        temporary = f"{parent}/.{base}.{uuid.uuid4().hex}{UNFINISHED}"
        try:
            with self._fs.open_output_stream(temporary) as stream:
                stream.write(content)
            self._fs.move(temporary, path)
        except BaseException:
            with suppress(OSError):
                self._fs.delete_file(temporary)
            raise

    def names(self, below: str = "") -> list[str]:
        """Names of its files, or of those in a folder inside it, sorted; none where it is not."""
        from pyarrow import fs

        where = f"{self._root}/{below}" if below else self._root
        found = self._fs.get_file_info(fs.FileSelector(where, allow_not_found=True))
        return sorted(info.base_name for info in found if info.type == fs.FileType.File)

    def delete(self, name: str) -> None:
        """Delete a file, if it is there."""
        with suppress(FileNotFoundError):
            self._fs.delete_file(self._at(name))

    def _at(self, name: str) -> str:
        return f"{self._root}/{name}"


def is_uri(name: str) -> bool:
    """Whether it is a URI, not a path."""
    return _SCHEME in name


def absolute(name: str) -> str:
    """A path or glob that means the same in every process; a URI as it is."""
    # resolve() would follow links, and a link is a name of its own.
    return name if is_uri(name) else os.path.abspath(name)  # noqa: PTH100


def open_file(name: str) -> Any:
    """A file by path or URI, as pyarrow reads; OSError where it cannot be read."""
    system, path = _located(name)
    return system.open_input_file(path)


def files_at(uri: str, suffixes: Collection[str]) -> Iterator[str]:
    """URIs of the files below a URI with one of the suffixes, sorted; of a file, itself.

    Raises
    ------
    ValueError
        A kind of URI that pyarrow does not know.
    OSError
        What is there cannot be listed.
    """
    from pyarrow import fs

    system, path = _located(uri)
    if system.get_file_info(path).type != fs.FileType.Directory:
        yield uri
        return
    base, mark, options = uri.partition("?")  # such as the endpoint of a store of one's own
    base = base.rstrip("/")
    for info in sorted(
        system.get_file_info(fs.FileSelector(path, recursive=True)), key=lambda info: info.path
    ):
        inside = info.path[len(path.rstrip("/")) :]
        if (
            info.type == fs.FileType.File
            and os.path.splitext(info.base_name)[1].lower() in suffixes
            and "/." not in inside  # hidden, as on disk
        ):
            yield base + quote(inside) + mark + options


def sound_at(uri: str) -> BinaryIO:
    """The sound at a URI, read into memory.

    Raises
    ------
    AudioError
        It is missing or cannot be read.
    """
    try:
        with open_file(uri) as file:
            return NamedBytes(file.read(), uri)
    except FileNotFoundError:
        raise AudioError(uri, "there is no such file") from None
    except (OSError, ValueError) as error:
        raise AudioError(uri, f"it cannot be read: {one_line(error)}") from None


def one_line(error: BaseException) -> str:
    """An error's message, in one line."""
    return " ".join(str(error).split()) or type(error).__name__


def _located(where: str) -> tuple[pyarrow.fs.FileSystem, str]:
    import pyarrow
    from pyarrow import fs

    if not is_uri(where):
        return fs.LocalFileSystem(), absolute(where)
    try:
        system, path = fs.FileSystem.from_uri(where)
    except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError) as error:
        raise ValueError(
            f"{where}: pyarrow does not open it, allowed: a path, s3://, gs://, abfs://, hdfs:// "
            f"or file:// ({one_line(error)})"
        ) from None
    return system, path.rstrip("/")
