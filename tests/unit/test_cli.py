"""``ser-edge`` itself: help, suggestions, exit statuses, and the scripts that open its verbs."""

from __future__ import annotations

import argparse

import pytest

from conftest import ROOT
from ser_edge import __version__
from ser_edge.cli import compare, main
from ser_edge.cli.errors import CommandError

SCRIPTS = {
    "data.py": "corpora",
    "download.py": "download",
    "enrolment.py": "profiles",
    "evaluate.py": "evaluate",
    "experiments.py": "experiments",
    "explore.py": "explore",
    "export_ir.py": "export",
    "features.py": "features",
    "finetune.py": "finetune",
    "finetune_speech.py": "finetune-ssl",
    "mlp_baseline.py": "baseline",
    "package_model.py": "package",
    "render.py": "render",
    "robustness.py": "robustness",
    "teach.py": "teach",
    "train.py": "train",
}


def test_without_arguments_it_prints_help(here, capfd):
    assert main.main([]) == 0
    out, err = capfd.readouterr()
    assert err == ""
    assert all(f"\n  {name} " in out and verb.help in out for name, verb in main.VERBS.items())
    with pytest.raises(SystemExit) as ended:
        main.main(["--help"])
    assert (ended.value.code, capfd.readouterr().out) == (0, out)


def test_version(capfd):
    with pytest.raises(SystemExit) as ended:
        main.main(["--version"])
    assert (ended.value.code, capfd.readouterr().out) == (0, f"ser-edge {__version__}\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian", "a"], "ser-edge: error: unknown command 'trian'; did you mean train?"),
        (["xyz"], "ser-edge: error: unknown command 'xyz', allowed: download, corpora, "),
        (["--verison"], "ser-edge: error: unknown option --verison; did you mean --version?"),
        (["--quiet", "train"], "ser-edge: error: unknown option --quiet"),
    ],
)
def test_an_unknown_verb_or_option(arguments, message, capfd):
    with pytest.raises(SystemExit) as ended:
        main.main(arguments)
    out, err = capfd.readouterr()
    assert (ended.value.code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(message)
    assert err.endswith(" (see `ser-edge --help`)\n")


@pytest.mark.parametrize("name", main.VERBS)
def test_a_verb_explains_itself_by_example(name, here):
    done = here(name, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    usage, description, *_ = done.stdout.split("\n\n")
    assert usage.startswith(f"usage: ser-edge {name} ")
    assert usage.count("\n") == 0
    assert description
    assert f"\n  ser-edge {name} " in done.stdout.partition("example")[2]
    assert "exit status: 0 success" in done.stdout
    assert "--quiet" in done.stdout
    assert "--verbose" in done.stdout


@pytest.mark.parametrize(("script", "verb"), SCRIPTS.items())
def test_a_script_is_its_verb(script, verb, here):
    assert here(script, "--help") == here(verb, "--help")


def test_every_other_script_is_a_developers_tool():
    others = {path.name for path in (ROOT / "scripts").glob("[a-z]*.py")} - {*SCRIPTS}
    assert others == {
        "draw_answer.py", "environment.py", "legacy_env.py", "lock.py",
        "make_samples.py", "score_archive.py", "test_newest.py", "test_pythons.py",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("images runs --folds 1", "evaluate images runs --folds 1"),
        ("--compare a b --out c.html", "compare a b --out c.html"),
        ("--out c.html --compare a b", "compare a b --out c.html"),
        ("--corpus a b -m compact --into d", "crosscorpus a b -m compact --into d"),
        ("-m x --unlabelled dir --precision INT8", "listen dir --precision INT8 -m x"),
        ("--unlabelled=dir -m x", "listen dir -m x"),
        ("images runs --compare a b", "compare a b images runs"),  # an error of compare
    ],
)
def test_what_evaluate_py_could_do_besides_is_a_verb_now(given, wanted, here, monkeypatch):
    called = []
    monkeypatch.setattr(main, "main", lambda arguments: called.append(arguments) or 0)
    assert here("evaluate.py", *given.split()).returncode == 0
    assert called == [wanted.split()]


# ----------------------------------------------------------------------------------- exit statuses


def raising(error: BaseException):
    def run(options: argparse.Namespace) -> int:
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (ValueError("a: no"), 2, "ser-edge compare: error: a: no (see `ser-edge compare --help`)"),
        (FileNotFoundError(2, "No such file", "a"), 2, "No such file: 'a'"),
        (CommandError("it broke"), 1, "ser-edge compare: error: it broke"),
        (CommandError("early", 3), 3, "ser-edge compare: error: early"),
        (
            ModuleNotFoundError(name="torch.nn"),
            2,
            "it needs torch.nn: pip install 'ser-edge[train]",
        ),
        (KeyboardInterrupt(), 130, "ser-edge compare: interrupted"),
    ],
)
def test_an_error_is_one_sentence_and_a_status(here, monkeypatch, error, status, message):
    monkeypatch.setattr(compare, "run", raising(error))
    done = here("compare", "a", "b")
    assert (done.returncode, done.stdout) == (status, "")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_extra_is_that_of_the_verb(here, monkeypatch):
    from ser_edge.cli import explore, features

    monkeypatch.setattr(features, "run", raising(ModuleNotFoundError(name="librosa")))
    assert "'ser-edge[features]'" in here("features", "a", "b.csv").stderr
    monkeypatch.setattr(explore, "_make", raising(ModuleNotFoundError(name="librosa")))
    assert "'ser-edge[explore]'" in here("explore", "clip", "a").stderr
    assert "'ser-edge[explore,train]'" in here("explore", "augment", "a").stderr


def test_a_module_of_our_own_that_is_missing_is_a_defect(monkeypatch):
    monkeypatch.setattr(compare, "run", raising(ModuleNotFoundError(name="ser_edge.metrics")))
    with pytest.raises(ModuleNotFoundError):
        main.main(["compare", "a", "b"])


def test_an_interrupted_training_is_interrupted_and_can_be_resumed(here, monkeypatch):
    """Lightning takes Ctrl-C for itself and exits with 1."""
    from ser_edge.cli import evaluate

    def run(options: argparse.Namespace) -> int:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            raise SystemExit(1)  # noqa: B904

    monkeypatch.setattr(evaluate, "run", run)
    done = here("evaluate", "images", "runs")
    assert done.returncode == 130
    assert done.stderr == "ser-edge evaluate: interrupted; the same command resumes\n"


@pytest.mark.parametrize("error", [ValueError("no"), CommandError("no")])
def test_verbose_shows_where_an_error_comes_from(here, monkeypatch, error):
    monkeypatch.setattr(compare, "run", raising(error))
    assert "Traceback" in here("compare", "a", "b", "--verbose").stderr


def test_quiet_and_verbose_work_on_both_levels_of_a_verb():
    parser = main.make_parser(["corpora"])
    for line in ("corpora -q check a", "corpora check a -q", "corpora check -q a"):
        assert parser.parse_args(line.split()).quiet
    assert not parser.parse_args(["corpora", "list"]).quiet
