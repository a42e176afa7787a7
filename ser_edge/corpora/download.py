"""Archives of a corpus: fetched with resume and checksum (pooch), then unpacked."""

from __future__ import annotations

import time
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

_CHUNK: Final = 2**14  # what a broken connection delivered of a chunk is lost
_TIMEOUT_S: Final = 60
_TRIES: Final = 5


class DownloadError(RuntimeError):
    """An archive that could not be fetched or unpacked; the message says what to do."""


@dataclass(frozen=True)
class Archive:
    """A file to fetch: its address, its checksum (``"md5:..."``) and its size in bytes."""

    url: str
    checksum: str
    size: int

    @property
    def name(self) -> str:
        """File name: the last part of the address."""
        return PurePosixPath(self.url.split("?")[0]).name


def fetch(
    archive: Archive, folder: Path, *, progress: bool = True, tries: int = _TRIES, wait: float = 2.0
) -> Path:
    """Fetch one archive, or find it already there and whole.

    What a broken connection left is kept as ``<name>.part`` and continued, in this run and the
    next. The file gets its name only when its checksum is right.

    Parameters
    ----------
    archive : Archive
    folder : Path
        Where it goes; made if need be.
    progress : bool
        Show a bar.
    tries : int
        Connections in a row that bring nothing before it gives up.
    wait : float
        Seconds before the second such try; doubled each time.

    Returns
    -------
    Path
        ``folder / archive.name``.

    Raises
    ------
    DownloadError
        The server cannot be reached, answers with an error, or sends other bytes.
    """
    import pooch
    import requests

    def download(url: str, output_file: str, _pooch: Any) -> None:
        part = folder / f"{archive.name}.part"
        _continue(url, part, archive.size, progress=progress, tries=tries, wait=wait)
        # pooch checks what it was given and gives it its name; wrong bytes must not be continued.
        part.replace(output_file)

    pooch.get_logger().setLevel("ERROR")
    try:
        found = pooch.retrieve(
            archive.url,
            known_hash=archive.checksum,
            fname=archive.name,
            path=folder,
            downloader=download,
        )
    except requests.RequestException as error:
        raise DownloadError(f"{archive.url}: {error}") from None
    except ValueError as error:
        if "hash" not in str(error).lower():
            raise
        raise DownloadError(
            f"{archive.url}: what came has not the checksum {archive.checksum}; it was thrown away"
        ) from None
    except OSError as error:
        raise DownloadError(f"{folder}: {error.strerror or error}") from None
    return Path(found)


def _continue(url: str, part: Path, size: int, *, progress: bool, tries: int, wait: float) -> None:
    """Fetch what ``part`` lacks of ``size`` bytes, over as many connections as it takes."""
    import requests
    from tqdm import tqdm

    failures = 0
    if part.exists() and part.stat().st_size > size:
        part.unlink()
    with tqdm(
        total=size,
        unit="B",
        unit_scale=True,
        unit_divisor=1024,
        desc=part.stem,
        disable=not progress,
    ) as bar:
        while True:
            have = part.stat().st_size if part.exists() else 0
            bar.update(have - bar.n)
            if have >= size:
                return
            error: requests.RequestException | None = None
            try:
                _append(url, part, have, bar)
            except requests.HTTPError as failure:
                if failure.response.status_code < 500 and failure.response.status_code != 429:
                    raise
                error = failure
            except requests.RequestException as failure:
                error = failure
            if part.exists() and part.stat().st_size > have:
                failures = 0
                continue
            failures += 1
            if failures >= tries:
                raise error or requests.ConnectionError(
                    f"it ends after {have} of {size} bytes, {tries} times in a row"
                )
            time.sleep(wait * 2 ** (failures - 1))


def _append(url: str, part: Path, have: int, bar: Any) -> None:
    import requests

    headers = {"Range": f"bytes={have}-", "Accept-Encoding": "identity"} if have else {}
    with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT_S) as response:
        response.raise_for_status()
        whole = response.status_code != 206  # the server knows no ranges: from the start
        with open(part, "wb" if whole else "ab") as file:
            if whole:
                bar.update(-bar.n)
            for chunk in response.iter_content(_CHUNK):
                file.write(chunk)
                bar.update(len(chunk))


def unpack(archive: Path, folder: Path, *, progress: bool = True) -> int:
    """Unpack an archive; files that are there in the right size stay, so it can be repeated.

    Returns
    -------
    int
        Files in the archive.

    Raises
    ------
    DownloadError
        It is no ZIP archive, is damaged, or names files outside ``folder``.
    """
    from tqdm import tqdm

    try:
        with zipfile.ZipFile(archive) as bundle:
            members = [member for member in bundle.infolist() if not member.is_dir()]
            for member in tqdm(members, desc=archive.stem, unit="file", disable=not progress):
                target = folder / member.filename
                if not target.resolve().is_relative_to(folder.resolve()):
                    raise DownloadError(f"{archive}: {member.filename} would lie outside {folder}")
                if target.is_file() and target.stat().st_size == member.file_size:
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                unfinished = target.with_name(f".{target.name}.part")
                unfinished.write_bytes(bundle.read(member))
                unfinished.replace(target)
    except (zipfile.BadZipFile, EOFError) as error:
        raise DownloadError(f"{archive}: {error}") from None
    return len(members)
