"""``edge-app`` as a process: Ctrl-C, what is imported, warnings, completion in a shell."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conftest import ROOT, SAMPLES
from edge_app.commands import make_parser
from ser_edge.cli.main import make_parser as make_ser_edge_parser
from ser_edge.commandline import completion

CODE = "import sys; from edge_app.cli import main; sys.exit(main())"


def start(code: str, *arguments: object, **more: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, **more,
    )  # fmt: skip


# Stops for a minute: in an import of a command, in one of serve, in OpenVINO's compiler.
SLEEPS = {
    "import": (
        "import sys, importlib.abc\n"
        "class Slow(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == sys.argv[-1]:\n"
        "            print('here', flush=True)\n"
        "            import time\n"
        "            try: time.sleep(60)\n"
        "            except BaseException: raise ImportError('numpy makes this of it') from None\n"
        "sys.meta_path.insert(0, Slow())\n"
        "name = sys.argv.pop(); sys.argv.append('x'); arguments = sys.argv[1:-1]\n"
        "sys.argv[-1] = name\n"
        "from edge_app.cli import main; sys.exit(main(arguments))"
    ),
    "load": (
        "import sys, time; from edge_app.cli import main; from edge_app.commands import options\n"
        "options.Classifier = lambda *_, **__: (print('here', flush=True), time.sleep(60))\n"
        "sys.exit(main())"
    ),
}


@pytest.mark.parametrize(
    ("how", "arguments"),
    [
        ("import", ("predict", SAMPLES[0], "numpy")),
        ("import", ("serve", "--port", "0", "fastapi")),
        ("import", ("listen", "-", "edge_app.live.health")),
        ("load", ("predict", SAMPLES[0])),
    ],
)
@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_ctrl_c_is_quiet_from_the_beginning(how, arguments):
    with start(SLEEPS[how], *arguments) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "here\n"
            time.sleep(0.1)
            begun = time.monotonic()
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=30)
        finally:
            process.kill()
    assert (process.returncode, err) == (130, "")
    assert time.monotonic() - begun < 5


def test_ctrl_c_while_sounds_are_processed_is_quiet(tmp_path):
    listed = [SAMPLES[0]] * 5000
    with start(CODE, "predict", "--format", "jsonl", *listed) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline()
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, err) == (130, "")


def test_version_and_help_import_little():
    code = f"import sys\ntry: {CODE[12:]}\nfinally: print(*sys.modules, file=sys.stderr)"
    for arguments in (("--version",), ("--help",), ()):
        with start(code, *arguments) as process:
            _, err = process.communicate(timeout=60)
        loaded = set(err.splitlines()[-1].split())
        ours = {name for name in loaded if name.startswith("edge_app")}
        assert ours - {"edge_app", "edge_app.cli"} == {
            "edge_app.commands", "edge_app.commands.interrupts"
        }  # fmt: skip
        assert not loaded & {"numpy", "openvino", "logging", "subprocess"}


def cut(tmp_path: Path) -> Path:
    wav = next(path for path in SAMPLES if path.suffix == ".wav")
    path = tmp_path / "cut.wav"
    path.write_bytes(wav.read_bytes()[: wav.stat().st_size // 2])
    return path


@pytest.mark.parametrize(
    ("option", "kinds"), [("", ["warning"]), ("-q", []), ("-v", ["info", "warning"])]
)
@pytest.mark.parametrize("format", ["table", "jsonl", "csv", "audacity"])
def test_a_truncated_sound_is_named_on_stderr(tmp_path, option, kinds, format):
    path = cut(tmp_path)
    with start(CODE, "predict", *option.split(), "--format", format, path) as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert out
    lines = err.splitlines()
    assert [line.split(": ")[:2] for line in lines] == [["edge-app predict", k] for k in kinds]
    if kinds:
        assert f"warning: {path}: it is truncated (" in lines[-1]
        assert lines[-1].endswith(" s were read")


# --------------------------------------------------------------------------------------- completion


COMPLETE = """
source <("$PYTHON" -m $MODULE completion bash)
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
_$MODULE
printf "%s\\n" "${COMPREPLY[@]}"
"""


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("edge-app pre", {"predict"}),
        ("edge-app predict --prec", {"--precision"}),
        ("edge-app predict --precision ", {"FP16", "INT8"}),
        ("edge-app predict --format j", {"jsonl"}),
        ("edge-app predict READ", set()),  # files, which bash completes by itself
        ("edge-app predict --profiles ", set()),
        ("edge-app completion ", {"bash", "zsh", "fish"}),
        ("ser-edge tra", {"train"}),
        ("ser-edge train --fo", {"--fold"}),
        ("ser-edge corpora che", {"check"}),
    ],
)
@pytest.mark.skipif(os.name == "nt", reason="bash")
def test_bash_completes(line, expected):
    words = line.split(" ")
    done = subprocess.run(
        ["bash", "-c", COMPLETE, "bash", *words],
        env={**os.environ, "PYTHON": sys.executable, "MODULE": words[0].replace("-", "_")},
        capture_output=True, text=True, cwd=ROOT, check=True, timeout=60,
    )  # fmt: skip
    assert set(done.stdout.split()) == expected
    assert done.stderr == ""


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_read_their_scripts(shell, tmp_path):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    path = tmp_path / "completion"
    for make in (make_parser, make_ser_edge_parser):
        path.write_text(completion.script(make(), shell))
        done = subprocess.run([shell, "-n", path], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_completes():
    code = f"{sys.executable} -m edge_app completion fish | source; "
    code += "complete -C 'edge-app predict --precision '"
    done = subprocess.run(
        ["fish", "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout.split() == ["FP16", "INT8"]
