"""``ser_edge.commandline.arguments``: errors in one sentence, with suggestions."""

from __future__ import annotations

import pytest

from ser_edge.commandline.arguments import ArgumentParser, did_you_mean


def parser() -> ArgumentParser:
    found = ArgumentParser(prog="app")
    found.add_argument("--version", action="store_true")
    command = found.add_subparsers(required=True, metavar="COMMAND").add_parser("predict")
    command.add_argument("sound")
    command.add_argument("--format", choices=["json", "csv"])
    command.add_argument("-n", type=int)
    return found


@pytest.mark.parametrize(
    ("arguments", "prog", "message"),
    [
        (["predct"], "app", "unknown command 'predct'; did you mean predict?"),
        (["zzz"], "app", "unknown command 'zzz', allowed: predict"),
        ([], "app", "the following arguments are required: COMMAND"),
        (["--verison", "predict", "a"], "app", "unknown option --verison; did you mean --version?"),
        (["predict"], "app predict", "the following arguments are required: sound"),
        (["predict", "a", "b"], "app predict", "unexpected argument 'b'"),
        (["predict", "a", "b", "--zzz=3"], "app predict", "unknown option --zzz"),
        (
            ["predict", "--fromat=json", "a"],
            "app predict",
            "unknown option --fromat; did you mean --format?",
        ),
        (
            ["predict", "--format", "jsn", "a"],
            "app predict",
            "argument --format: unknown value 'jsn', allowed: json, csv; did you mean json?",
        ),
        (
            ["predict", "--format", "mp3", "a"],
            "app predict",
            "argument --format: unknown value 'mp3', allowed: json, csv",
        ),
        (["predict", "--fromat", "json"], "app predict", "unknown option --fromat; did you mean"),
        (["predict", "a", "-z"], "app predict", "unknown option -z"),
        (["predict", "-n", "x", "a"], "app predict", "argument -n: invalid int value: 'x'"),
    ],
)
def test_an_error_is_one_sentence_with_a_suggestion(arguments, prog, message, capsys):
    with pytest.raises(SystemExit) as ended:
        parser().parse_args(arguments)
    out, err = capsys.readouterr()
    assert (ended.value.code, out) == (2, "")
    assert err.startswith(f"{prog}: error: {message}")
    assert err.endswith(f" (see `{prog} --help`)\n")
    assert err.count("\n") == 1


def test_valid_arguments_are_parsed_as_ever(monkeypatch):
    assert parser().parse_args(["predict", "a", "--form", "csv"]).format == "csv"
    assert parser().parse_args(["predict", "--", "--a"]).sound == "--a"
    assert parser().parse_args(["predict", "-- a"]).sound == "-- a"
    monkeypatch.setattr("sys.argv", ["app", "predict", "a"])
    assert parser().parse_args().sound == "a"


def test_a_message_of_several_lines_becomes_one(capsys):
    with pytest.raises(SystemExit):
        parser().error("a.yaml: while parsing\n  expected a mapping")
    assert "a.yaml: while parsing expected a mapping (see" in capsys.readouterr().err


def test_help_keeps_the_lines_of_a_description_and_names_what_must_be_given():
    found = ArgumentParser(prog="app", description="one\n  two")
    found.add_argument("--fold", required=True, metavar="F", choices=["1"])
    found.add_argument("--quiet", action="store_true")
    found.add_argument("first")
    found.add_argument("more", nargs="+", metavar="100%")
    text = found.format_help()
    assert text.startswith("usage: app first 100% [...] --fold F [options]\n")
    assert "one\n  two" in text
    assert parser().format_help().startswith("usage: app COMMAND [options]\n")


def test_suggestions_ignore_case():
    assert did_you_mean("gpu.o", ["CPU", "GPU.0"]) == "; did you mean GPU.0?"
    assert did_you_mean("xyz", ["CPU", "GPU.0"]) == ""
