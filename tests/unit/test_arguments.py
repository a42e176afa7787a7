"""``ser_edge.arguments``: errors in one sentence, with suggestions."""

from __future__ import annotations

import pytest

from ser_edge.arguments import ArgumentParser, did_you_mean


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
        (["predict", "-n", "x", "a"], "app predict", "argument -n: invalid int value: 'x'"),
    ],
)
def test_an_error_is_one_sentence_with_a_suggestion(arguments, prog, message, capsys):
    with pytest.raises(SystemExit) as ended:
        parser().parse_args(arguments)
    out, err = capsys.readouterr()
    assert (ended.value.code, out) == (2, "")
    assert err == f"{prog}: error: {message} (see `{prog} --help`)\n"


def test_valid_arguments_are_parsed_as_ever(monkeypatch):
    assert parser().parse_args(["predict", "a", "--form", "csv"]).format == "csv"
    monkeypatch.setattr("sys.argv", ["app", "predict", "a"])
    assert parser().parse_args().sound == "a"


def test_a_description_keeps_its_lines():
    assert "one\n  two" in ArgumentParser(description="one\n  two").format_help()


def test_suggestions_ignore_case():
    assert did_you_mean("gpu.o", ["CPU", "GPU.0"]) == "; did you mean GPU.0?"
    assert did_you_mean("xyz", ["CPU", "GPU.0"]) == ""
