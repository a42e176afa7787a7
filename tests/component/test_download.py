"""The download against a real local HTTP server that breaks off, lies, or fails."""

from __future__ import annotations

import hashlib
import io
import os
import re
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from conftest import ROOT
from ser_edge.corpora import CORPORA
from ser_edge.corpora.download import Archive, DownloadError, fetch, unpack


def make_zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as bundle:
        for actor in (1, 2):
            name = f"Actor_{actor:02d}/03-01-05-01-01-01-{actor:02d}.wav"
            bundle.writestr(name, os.urandom(200_000))
    return buffer.getvalue()


@dataclass
class Server:
    """Serves ``content``; ``cut`` bytes a connection at the most, ``failures`` times a status."""

    content: bytes
    cut: int | None = None
    ranges: bool = True
    failures: int = 0
    status: int = 503
    requests: list[str | None] = field(default_factory=list)
    url: str = ""

    def archive(self, content: bytes | None = None) -> Archive:
        right = self.content if content is None else content
        return Archive(f"{self.url}/a.zip", f"md5:{hashlib.md5(right).hexdigest()}", len(right))


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server(make_zip())

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            state.requests.append(wanted)
            if state.failures:
                state.failures -= 1
                self.send_error(state.status)
                return
            start = 0
            if wanted and state.ranges:
                start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
                self.send_response(206)
                self.send_header(
                    "Content-Range", f"bytes {start}-{len(state.content) - 1}/{len(state.content)}"
                )
            else:
                self.send_response(200)
            body = state.content[start:]
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: state.cut])
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    service = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{service.server_port}"
    thread = threading.Thread(target=service.serve_forever, daemon=True)
    thread.start()
    yield state
    service.shutdown()
    service.server_close()
    thread.join()


def get(archive: Archive, folder, **how):
    return fetch(archive, folder, progress=False, wait=0.01, **how)


def test_a_whole_download_and_no_second_one(server, tmp_path):
    archive = server.archive()
    path = get(archive, tmp_path)
    assert path == tmp_path / "a.zip"
    assert path.read_bytes() == server.content
    get(archive, tmp_path)
    assert len(server.requests) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["a.zip"]


def test_a_connection_that_breaks_off_is_continued(server, tmp_path):
    server.cut = 150_000
    assert get(server.archive(), tmp_path).read_bytes() == server.content
    chunk = 2**14
    first = 150_000 // chunk * chunk
    assert server.requests == [None, f"bytes={first}-", f"bytes={2 * first}-"]


def test_the_next_run_goes_on_where_the_last_gave_up(server, tmp_path):
    archive = server.archive()
    (tmp_path / "a.zip.part").write_bytes(server.content[:123_456])
    assert get(archive, tmp_path).read_bytes() == server.content
    assert server.requests == ["bytes=123456-"]


def test_a_server_without_ranges_starts_over(server, tmp_path):
    server.ranges = False
    (tmp_path / "a.zip.part").write_bytes(b"x" * 1000)
    assert get(server.archive(), tmp_path).read_bytes() == server.content


def test_wrong_bytes_are_refused_and_nothing_stays(server, tmp_path):
    right = bytes(reversed(server.content))
    with pytest.raises(DownloadError, match="has not the checksum md5:"):
        get(server.archive(right), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_wrong_bytes_left_by_a_former_run_do_not_stay_for_ever(server, tmp_path):
    (tmp_path / "a.zip.part").write_bytes(b"x" * 1000)
    with pytest.raises(DownloadError, match="has not the checksum"):
        get(server.archive(), tmp_path)
    assert get(server.archive(), tmp_path).read_bytes() == server.content


def test_a_busy_server_is_asked_again(server, tmp_path):
    server.failures = 3
    assert get(server.archive(), tmp_path).read_bytes() == server.content


@pytest.mark.parametrize(("status", "asked"), [(404, 1), (503, 5)])
def test_errors_end_it_with_a_sentence(server, tmp_path, status, asked):
    server.failures, server.status = 99, status
    with pytest.raises(DownloadError, match=f"{status}"):
        get(server.archive(), tmp_path)
    assert len(server.requests) == asked


def test_nobody_there(tmp_path):
    archive = Archive("http://127.0.0.1:9/a.zip", "md5:" + "0" * 32, 10)
    with pytest.raises(DownloadError, match=r"127\.0\.0\.1"):
        get(archive, tmp_path, tries=2)


def test_unpacking_can_be_repeated(server, tmp_path):
    archive = tmp_path / "a.zip"
    archive.write_bytes(server.content)
    assert unpack(archive, tmp_path / "out", progress=False) == 2
    found = sorted((tmp_path / "out").rglob("*.wav"))
    before = [path.stat().st_mtime_ns for path in found]
    found[0].write_bytes(b"cut")
    unpack(archive, tmp_path / "out", progress=False)
    assert found[0].stat().st_size == 200_000
    assert found[1].stat().st_mtime_ns == before[1]
    assert len(CORPORA["ravdess"].scan(tmp_path / "out").utterances) == 2


@pytest.mark.unit
@pytest.mark.parametrize("content", [b"no zip", b"PK\x03\x04" + bytes(100)])
def test_what_is_no_archive(tmp_path, content):
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(DownloadError, match=r"a\.zip"):
        unpack(tmp_path / "a.zip", tmp_path / "out", progress=False)


@pytest.mark.unit
def test_an_archive_cannot_write_outside(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as bundle:
        bundle.writestr("../evil.txt", "x")
    with pytest.raises(DownloadError, match="would lie outside"):
        unpack(tmp_path / "a.zip", tmp_path / "out", progress=False)
    assert not (tmp_path / "evil.txt").exists()


@pytest.mark.unit
def test_the_official_archives():
    speech, song = CORPORA["ravdess"].archives
    assert speech.url == ("https://zenodo.org/records/1188976/files/Audio_Speech_Actors_01-24.zip")
    assert song.name == "Audio_Song_Actors_01-24.zip"
    assert all(re.fullmatch("md5:[0-9a-f]{32}", a.checksum) for a in (speech, song))


def test_the_script_says_what_went_wrong(tmp_path):
    """No network here, or a proxy that refuses: one line, exit 1, no traceback."""
    environment = {**os.environ, "HTTPS_PROXY": "http://127.0.0.1:9", "NO_PROXY": ""}
    run = subprocess.run(
        [sys.executable, ROOT / "scripts/download.py", "ravdess", "--quiet", "--tries", "2",
         "--out", tmp_path],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
        timeout=120,
    )  # fmt: skip
    assert run.returncode == 1
    assert "zenodo.org" in run.stderr
    assert "Traceback" not in run.stderr
