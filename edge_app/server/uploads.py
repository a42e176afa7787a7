"""The body of a request -> a file in memory, checked while it comes in. Nothing goes to disk.

Starlette's own form parser writes what is larger than a megabyte to a temporary file; here
python-multipart's parser hands the bytes of the one field ``file`` to memory.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Callable
from typing import Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from edge_app.server.admission import Slot, safe_name
from edge_app.server.errors import ClientGoneError, RejectedError
from edge_app.server.settings import ServerSettings
from ser_edge.audio.containers import container_of, is_png
from ser_edge.audio.files import media_installed

FIELD: Final = "file"
SOUNDS: Final = "WAV, FLAC, Ogg Vorbis or Opus, MP3"

_FORM: Final = "multipart/form-data"
_FORM_EXTRA: Final = 64 * 1024  # headers of the parts, and small fields beside the file
_TYPES: Final = frozenset(
    {
        "",
        "application/octet-stream",
        "application/ogg",
        "application/x-www-form-urlencoded",  # what curl --data-binary sends by default
        "image/png",
        "video/mp4",
        "video/ogg",
        "video/webm",
        "video/x-matroska",
        "video/x-ms-asf",
    }
)
_ALLOWED: Final = "allowed: audio/*, image/png (a mel image), application/octet-stream"


class Upload(io.BytesIO):
    """A file in memory. Its ``name`` is what answers call it."""

    name: str = ""

    @property
    def is_mel_image(self) -> bool:
        """Whether it begins as a PNG does, whatever its name says."""
        return is_png(bytes(self.getbuffer()[:16]))


async def read_upload(
    request: Request, slot: Slot, settings: ServerSettings, form_only: bool = False
) -> Upload:
    """Read a request's sound.

    Parameters
    ----------
    request : Request
        ``multipart/form-data`` with a field ``file``, or the sound itself.
    slot : Slot
        Counts the bytes.
    settings : ServerSettings
    form_only : bool
        Reject a sound that is not in a form.

    Returns
    -------
    Upload

    Raises
    ------
    RejectedError
        408 too slow, 413 too large, 415 of a wrong type, 422 no such field or empty, 503 no memory
        left.
    ClientGoneError
        It hung up.
    """
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    is_form = kind.decode("latin-1").lower() == _FORM
    most = settings.upload_bytes + (_FORM_EXTRA if is_form else 0)
    _check_claim(request, most, settings)
    chunks = _chunks(request, most, settings)
    if is_form:
        upload = await _of_form(chunks, options.get(b"boundary", b""), slot, settings)
    elif form_only:
        raise RejectedError(
            415,
            f"the body is {_said(kind)}, allowed: {_FORM} with a field {FIELD}",
            "type",
        )
    else:
        _check_type(kind, "the body")
        upload = Upload()
        async for chunk in chunks:
            slot.reserve(len(chunk))
            upload.write(chunk)
        upload.name = safe_name(None)
    if not upload.tell():
        raise RejectedError(422, f"{upload.name}: it is empty, allowed: {SOUNDS}", "empty")
    upload.seek(0)
    _check_content(upload)
    return upload


def _check_claim(request: Request, most: int, settings: ServerSettings) -> None:
    """Reject what says itself that it is too large, before any of it is read."""
    claimed = request.headers.get("content-length", "")
    if claimed.isdigit() and int(claimed) > most:
        raise _too_large(settings)


def _too_large(settings: ServerSettings) -> RejectedError:
    size = settings.upload_bytes / 2**20
    return RejectedError(413, f"the file is too large, allowed: up to {size:g} MB", "size")


async def _chunks(request: Request, most: int, settings: ServerSettings) -> AsyncIterator[bytes]:
    """The body as it comes, no more of it than is allowed, no slower."""
    loop = asyncio.get_running_loop()
    end = loop.time() + settings.upload_seconds
    stream = request.stream()
    size = 0
    while True:
        left = end - loop.time()
        try:
            if left <= 0:
                raise asyncio.TimeoutError
            chunk = await asyncio.wait_for(stream.__anext__(), min(left, settings.stall_seconds))
        except StopAsyncIteration:
            return
        except ClientDisconnect:
            raise ClientGoneError from None
        except asyncio.TimeoutError:
            raise RejectedError(
                408,
                f"the file arrived too slowly, allowed: {settings.upload_seconds:g} s in all and "
                f"no gap over {settings.stall_seconds:g} s",
                "slow",
            ) from None
        size += len(chunk)
        if size > most:
            raise _too_large(settings)
        yield chunk


async def _of_form(
    chunks: AsyncIterator[bytes], boundary: bytes, slot: Slot, settings: ServerSettings
) -> Upload:
    if not boundary:
        raise RejectedError(
            422, f"{_FORM} without a boundary; let the client's library set it", "form"
        )
    try:
        form = _Form(boundary, slot, settings)
        async for chunk in chunks:
            form.feed(chunk)
        form.finish()
    except FormParserError as error:
        raise RejectedError(422, f"the form is damaged: {error}", "form") from None
    if form.upload is None:
        raise RejectedError(422, f"the form has no field {FIELD!r} with a sound", "form")
    return form.upload


class _Form:
    """A form as it comes in; only its field ``file`` is kept."""

    def __init__(self, boundary: bytes, slot: Slot, settings: ServerSettings) -> None:
        self.upload: Upload | None = None
        self._slot = slot
        self._settings = settings
        self._field = self._value = b""
        self._headers: dict[bytes, bytes] = {}
        self._current: Upload | None = None
        self._ended = False
        collect: dict[str, Callable[..., None]] = {
            "on_part_begin": self._part_begins,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_ends,
            "on_headers_finished": self._headers_end,
            "on_part_data": self._data,
            "on_part_end": self._part_ends,
            "on_end": self._ends,
        }
        self._parser = MultipartParser(boundary, collect)  # type: ignore[arg-type]

    def feed(self, chunk: bytes) -> None:
        self._parser.write(chunk)

    def finish(self) -> None:
        self._parser.finalize()
        if not self._ended:
            raise RejectedError(422, "the form is cut off: its last boundary is missing", "form")

    def _part_begins(self) -> None:
        self._headers.clear()
        self._field = self._value = b""
        self._current = None

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_ends(self) -> None:
        self._headers[self._field.lower()] = self._value
        self._field = self._value = b""

    def _headers_end(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        if options.get(b"name") != FIELD.encode():
            return
        if self.upload is not None:
            raise RejectedError(422, f"the form has several fields {FIELD!r}, allowed: one", "form")
        name = safe_name(options.get(b"filename", b"").decode("utf-8", "replace"))
        kind, _ = parse_options_header(self._headers.get(b"content-type", b""))
        _check_type(kind, name)
        self.upload = self._current = Upload()
        self.upload.name = name

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._current is None:
            return
        self._slot.reserve(end - start)
        self._current.write(data[start:end])
        if self._current.tell() > self._settings.upload_bytes:
            raise _too_large(self._settings)

    def _part_ends(self) -> None:
        self._current = None

    def _ends(self) -> None:
        self._ended = True


def _said(kind: bytes) -> str:
    return kind.decode("latin-1")[:80] or "of no stated type"


def _check_type(kind: bytes, name: str) -> None:
    stated = kind.decode("latin-1").lower()
    if stated not in _TYPES and not stated.startswith("audio/"):
        raise RejectedError(415, f"{name}: it is {_said(kind)}, {_ALLOWED}", "type")


def _check_content(upload: Upload) -> None:
    """What is sound or not is for the decoder to say; here what cannot be decoded *here*."""
    container = container_of(upload)
    upload.seek(0)
    if (
        container is not None
        and container.demuxer is not None
        and container.name != "Ogg"
        and not media_installed()
    ):
        raise RejectedError(
            415, f"{upload.name}: {container.name} cannot be read here, allowed: {SOUNDS}", "type"
        )
