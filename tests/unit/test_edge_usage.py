"""``edge-app``: what is wrong with a command line is one sentence on stderr, and a status."""

from __future__ import annotations

import importlib.util
import io
import shlex
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from conftest import speechlike
from edge_app.cli import main
from edge_app.commands import COMMANDS, make_parser
from edge_app.inference import occlusion
from ser_edge.emotions import EMOTIONS
from ser_edge.profiles import Profile

# A command line, its exit status, and what the sentence says. Files: see `folder` below.
TABLE = [
    ("fly", 2, "unknown command 'fly', allowed: predict, listen, serve"),
    ("pedict clip.wav", 2, "unknown command 'pedict'; did you mean predict?"),
    ("predict", 2, "the following arguments are required: PATH"),
    ("predict --presicion INT8 clip.wav", 2, "--presicion; did you mean --precision?"),
    ("predict --precision FP32 clip.wav", 2, "'FP32', allowed: FP16, INT8"),
    ("predict --format xml clip.wav", 2, "'xml', allowed: table, jsonl, csv, audacity"),
    ("predict -m none clip.wav", 2, "there is no model 'none' in FP16; models here: compact"),
    ("predict -m compakt clip.wav", 2, "did you mean compact?"),
    ("predict -d TOASTER clip.wav", 2, "device 'TOASTER' is none that can be asked for, allowed: "),
    ("predict -d GPUU clip.wav", 2, "did you mean GPU?"),
    ("predict -d AUTO:TOASTER clip.wav", 2, "allowed: "),
    ("predict --fallback TOASTER clip.wav", 2, "allowed: "),
    ("predict --threads 0 clip.wav", 2, "threads are 0, allowed: 1 or more"),
    ("predict --labels valance clip.wav", 2, "did you mean valence?"),
    ("predict --labels labels.txt clip.wav", 2, "labels labels.txt"),
    ("predict --profile nobody clip.wav", 2, "no profile 'nobody' in"),
    ("predict --profile nobody.json clip.wav", 2, "nobody.json: No such file"),
    ("predict --profile a/b clip.wav", 2, "a profile's name is 'a/b'"),
    ("predict --profile other.json clip.wav", 2, "means nothing to compact"),
    ("predict --format audacity clip.wav silent.wav", 2, "--format audacity is for one sound"),
    ("predict -q -v clip.wav", 2, "not allowed with argument"),
    ("bench --seconds=0", 2, "--seconds is 0, allowed: above 0"),
    ("bench --seconds=-1", 2, "allowed: above 0"),
    ("bench --seconds=inf", 2, "allowed: above 0"),
    ("bench --seconds=nan", 2, "allowed: above 0"),
    ("bench none.wav", 1, "none.wav: there is no such file"),
    ("embed clip.wav --out a.txt", 2, "--out is 'a.txt', its name should end in .npy"),
    ("embed clip.wav --out no/a.npy", 2, "there is no folder 'no'"),
    ("enroll clip.wav", 2, "the following arguments are required: --name"),
    ("enroll --name anna", 2, "the following arguments are required: CLIP"),
    ("enroll --name anna clip.wav", 2, "clips are 1, 8 are needed, one for each emotion"),
    ("enroll --name ../anna clip.wav", 2, "a profile's name is '../anna', allowed:"),
    ("enroll --name anna -m none a b c d e f g h", 2, "no model 'none'"),
    ("explain clip.wav --out why.jpg", 2, "the image is a PNG: its name should end in .png"),
    ("explain clip.wav --out none/why.png", 2, "there is no folder 'none'"),
    ("explain clip.wav --emotion bored", 2, "emotion is 'bored', allowed: neutral"),
    ("explain clip.wav --emotion hapy", 2, "did you mean happy?"),
    ("explain clip.wav --at 12", 2, "at is 12 s, allowed: 0 to 2.000 s"),
    ("explain clip.wav --at noon", 2, "invalid float value"),
    ("explain clip.wav -m none", 2, "no model 'none'"),
    ("explain why.png --out ./why.png", 2, "the very file to be explained"),
    ("explain none.wav", 1, "none.wav: there is no such file"),
    ("explain empty", 1, "there is no sound in this folder"),
    ("explain silent.wav", 1, "silent.wav: it is silent there"),
    ("explain clip.wav --out folder.png", 1, "folder.png: Is a directory"),
    ("listen - --every minute", 2, "'minute', allowed: window, segment, change"),
    ("listen - --rate 100", 2, "rate is 100, allowed: 8000 to 192000 Hz"),
    ("listen - --rate 16000 --sink fax", 2, "there is no sink 'fax', allowed"),
    ("listen - --health box", 2, "'box' is not an address, allowed: PORT or HOST:PORT"),
    ("listen - --health 70000", 2, "port is 70000, allowed: 0 to 65535"),
    ("listen - --sink jsonl", 1, "say so with --rate 16000"),
    ("serve --port 99999", 2, "--port is 99999, allowed: 0 to 65535"),
    ("serve --max-upload 0", 2, "upload_bytes is 0"),
    ("serve --max-seconds nan", 2, "sound_seconds is nan"),
    ("serve --certificate box.pem", 2, "--certificate and --key go together"),
    ("serve --certificate x.pem --key x.key", 2, "x.pem"),
    ("serve --token-file no/such", 2, "no/such"),
    ("archive --out out", 2, "nothing to score: name files, folders or globs, or give --list"),
    ("archive x", 2, "the following arguments are required: --out"),
    ("archive x --out out --threads 0", 2, "threads are 0"),
    ("archive x --out out -m nothing", 2, "there is no model 'nothing'"),
    ("archive x --out out --labels nothing", 2, "nothing"),
    ("archive x --out out --name-column id", 2, "name the column"),
    ("archive x --out out --shard-size 0", 2, "the shard size is 0"),
    ("archive x --out out --actors 0", 2, "actors are 0"),
    ("completion tcsh", 2, "'tcsh', allowed: bash, zsh, fish"),
]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files that the command lines name; standard input has 999 zero bytes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)  # the extra archive
    monkeypatch.setattr(occlusion, "PATCH_BANDS", 20)
    monkeypatch.setattr(occlusion, "PATCH_SECONDS", 2.0)
    soundfile.write("clip.wav", speechlike(2.0, 16_000), 16_000)
    soundfile.write("silent.wav", np.zeros(16_000), 16_000)
    Path("why.png").write_bytes(b"mine")
    Path("folder.png").mkdir()
    Path("empty").mkdir()
    Path("labels.txt").write_text("a: sad")
    other = Profile("other", "else", "1" * 64, EMOTIONS, 1.0, 24, (0.0,) * 8)
    Path("other.json").write_text(other.to_json())
    Path("zeros").write_bytes(bytes(999))
    return tmp_path


@pytest.mark.parametrize(("line", "status", "message"), TABLE, ids=[row[0] for row in TABLE])
def test_a_wrong_command_line_gives_one_sentence(folder, capfd, line, status, message):
    arguments = shlex.split(line)
    with open("zeros") as stdin, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", stdin)
        try:
            code = main(arguments)
        except SystemExit as ended:
            code = ended.code
    out, err = capfd.readouterr()
    assert (code, out) == (status, "")
    *before, sentence = err.splitlines()
    assert before == []
    prog = f"edge-app {arguments[0]}" if arguments[0] in COMMANDS else "edge-app"
    assert sentence.startswith(f"{prog}: error: ")
    assert sentence.endswith(f" (see `{prog} --help`)") == (status == 2)
    assert message in sentence
    assert Path("why.png").read_bytes() == b"mine"
    assert not Path("out").exists()


def test_without_arguments_it_shows_its_help(capsys):
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 0
    assert capsys.readouterr().out == make_parser([]).format_help()


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_each_command_has_examples(command, capsys):
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert f"  edge-app {command}" in out.split("examples:\n")[1].replace("<(", "  ")


@pytest.mark.parametrize("command", ["predict", "listen"])
def test_help_says_that_a_file_and_a_stream_differ(command, capsys):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    other = {"predict": "listen", "listen": "predict"}[command]
    said = " ".join(capsys.readouterr().out.split())
    assert f"For the same file {other} gives somewhat different segments and scores" in said


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environment", "coloured"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
)
def test_errors_are_red_in_a_terminal_that_wants_it(folder, monkeypatch, environment, coloured):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    out = Terminal()
    monkeypatch.setattr("sys.stderr", out)
    assert main(["embed", "empty"]) == 1
    assert ("\x1b[1;31merror\x1b[0m: empty: " in out.getvalue()) == coloured
    assert ("\x1b" in out.getvalue()) == (environment.get("TERM") != "dumb")


def test_loading_is_shown_from_the_first_second_on(folder, monkeypatch):
    from edge_app.commands import options

    class Slow(options.Classifier):
        def __init__(self, *values, **named):
            time.sleep(1.0)
            super().__init__(*values, **named)

    out = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stderr", out)
    monkeypatch.setattr(options, "Classifier", Slow)
    assert main(["predict", "--format", "jsonl", "clip.wav"]) == 0
    assert "\r\x1b[Kloading compact on CPU ... " in out.getvalue()
    assert out.getvalue().endswith("\x1b[K")
