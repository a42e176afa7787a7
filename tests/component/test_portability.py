"""What Windows and macOS lack is used nowhere in predict, listen and serve: hidden, they work.

Untried on the systems themselves.
"""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request

from conftest import ROOT, SAMPLES

# What the standard library and others use themselves is imported before it is hidden from us.
HIDE = """
import asyncio, ctypes, http.server, importlib, json, logging, multiprocessing.connection
import os, pkgutil, select, shutil, signal, socket, ssl, subprocess, sys, tempfile, uuid, webbrowser
import concurrent.futures.process, http.client, urllib.request, xml.etree.ElementTree
import numpy, openvino, PIL.Image, soundfile, soxr
import fastapi, multipart, prometheus_client, uvicorn, uvicorn.loops.auto
import uvicorn.lifespan.on, uvicorn.protocols.http.h11_impl
import uvicorn.protocols.websockets.auto, websockets.sync.server

for name in ("fcntl", "grp", "pty", "pwd", "resource", "syslog", "termios", "tty"):
    sys.modules[name] = None
MISSING = {
    os: "chown chroot ctermid eventfd fchmod fchown fdatasync fork forkpty fstatvfs getegid "
    "geteuid getgid getgroups getloadavg getpgid getpgrp getpriority getsid getuid killpg lchown "
    "mkfifo memfd_create mknod nice openpty posix_fadvise posix_fallocate posix_spawn posix_spawnp "
    "pread preadv pwrite pwritev readv register_at_fork sched_getaffinity sched_setaffinity "
    "sched_yield sendfile setgid setpgid setsid setuid statvfs sync sysconf tcgetpgrp ttyname "
    "uname wait wait3 wait4 waitid writev O_CLOEXEC O_DIRECTORY O_NOFOLLOW O_NONBLOCK",
    select: "epoll poll",
    signal: "SIGALRM SIGCHLD SIGHUP SIGKILL SIGPIPE SIGQUIT SIGUSR1 SIGUSR2 alarm getitimer pause "
    "pthread_kill pthread_sigmask setitimer sigpending sigwait sigtimedwait",
    socket: "SO_REUSEPORT MSG_DONTWAIT sethostname",
}
for module, names in MISSING.items():
    for name in names.split():
        if hasattr(module, name):
            delattr(module, name)
"""


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HIDE + code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


COMMAND = "from edge_app.cli import main\nsys.exit(main(sys.argv[1:]))"


def test_every_module_is_imported():
    code = (
        "import edge_app\n"
        "for found in pkgutil.walk_packages(edge_app.__path__, 'edge_app.'):\n"
        "    if found.name != 'edge_app.__main__':\n"
        "        importlib.import_module(found.name); print(found.name)\n"
    )
    with start(code) as process:
        out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, "")
    assert {"edge_app.live.microphone", "edge_app.archive.runner"} <= set(out.split())


def test_predict():
    with start(COMMAND, "predict", "--format", "jsonl", *SAMPLES[:2]) as process:
        out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, "")
    assert [json.loads(line)["model"] for line in out.splitlines()] == ["compact"] * 2


def test_listen_into_a_file(tmp_path):
    wav = next(path for path in SAMPLES if path.suffix == ".wav")
    out = tmp_path / "events.jsonl"
    for _ in range(2):  # the second time it is continued
        with open(wav, "rb") as sound:
            process = subprocess.run(
                [sys.executable, "-c", HIDE + COMMAND, "listen", "-", "--sink", f"jsonl:{out}"],
                stdin=sound, capture_output=True, text=True, cwd=ROOT, check=False, timeout=120,
            )  # fmt: skip
        assert (process.returncode, process.stderr) == (0, "")
    events = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(events) >= 2
    assert len({event["start"] for event in events}) == len(events) / 2


def test_serve():
    with start(COMMAND, "serve", "--port", "0") as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().split()[0]
            request = urllib.request.Request(
                f"{url}v1/predict", SAMPLES[0].read_bytes(), {"Content-Type": "audio/wav"}
            )
            with urllib.request.urlopen(request, timeout=60) as answer:
                assert json.load(answer)["model"] == "compact"
            process.terminate()
            _, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 0
    assert "Traceback" not in err
