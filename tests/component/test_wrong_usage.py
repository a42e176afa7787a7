"""Wrong usage of every verb of ``ser-edge``: one sentence, the right exit status, nothing left."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile

from conftest import ROOT, SMALL, Done, speechlike
from ser_edge.baseline.table import Clip, FeatureTable, write_table
from ser_edge.config.recipe import Recipe
from ser_edge.corpora import CORPORA
from ser_edge.data.render import render

RECIPE = Recipe(
    name="tiny", width=0.25, epochs=1, batch_size=8, freq_mask=2, time_mask=10, image=SMALL
)
TRAIN = "--config tiny.yaml --quiet --accelerator cpu"

WRONG: tuple[tuple[str, str], ...] = (
    # ------------------------------------------------------------------------------- data
    ("download tess", "unknown value 'tess', allowed: ravdess"),
    ("download ravdess --tries 0", "--tries: it is 0, allowed: 1 or more"),
    ("corpora", "the following arguments are required: list | check"),
    ("corpora chek", "unknown command 'chek'; did you mean check?"),
    ("corpora check nowhere", "nowhere: there is no such folder"),
    ("corpora check empty", "empty: no ravdess recording in it"),
    ("corpora check empty --corpus ravdes", "did you mean ravdess?"),
    ("corpora check empty --workers 0", "--workers: it is 0, allowed: 1 or more"),
    ("corpora list --into notes.csv", "it should have one <!-- corpora:begin -->"),
    ("render nowhere out", "nowhere: there is no such folder"),
    ("render . out --n-mels 0", "n_mels is 0, allowed"),
    ("render . out --corpus x", "unknown value 'x', allowed: crema-d, "),
    ("render . out --workers few", "--workers: it is 'few', allowed: whole numbers"),
    ("render empty out", "empty: no ravdess recording in it"),
    ("render empty out --config none.yaml", "none.yaml: No such file"),
    ("explore", "the following arguments are required: augment | clip | corpus"),
    ("explore augment {sound} --config nowhere.yaml", "nowhere.yaml: No such file"),
    ("explore augment {sound} --others nowhere -q", "nowhere: there is no such"),
    ("explore corpus nowhere", "nowhere: there is no such folder"),
    ("explore corpus empty", "empty: no ravdess recording in it"),
    ("explore corpus nowhere --workers 0", "--workers: it is 0, allowed: 1 or more"),
    # --------------------------------------------------------------------------- training
    (f"train images out {TRAIN}", "required: --fold"),
    (f"train images out --fold 6 {TRAIN}", "unknown value '6', allowed: 1, 2, "),
    (f"train images out --fold 2 --n-mels 40 {TRAIN}", "the recipe wants"),
    (f"train images out --fold 1 --lr 7 {TRAIN}", "lr is 7.0, allowed: above 0 to 1"),
    (f"train images out --fold 1 --lrr 7 {TRAIN}", "unknown option --lrr; did you mean --lr?"),
    (f"train images out --fold 1 --net huge {TRAIN}", "net is 'huge', allowed: compact"),
    (f"train lonely out --fold 5 {TRAIN}", "no speaker to"),
    (f"train images out --fold 1 --channels song {TRAIN}", "no clip of song"),
    (f"train images out --fold 1 --devices none {TRAIN}", "devices is 'none', allowed: auto, or 1"),
    (f"train images out --fold 1 --workers -1 {TRAIN}", "workers is -1, allowed: 0 and more"),
    (f"train images out --fold 1 {TRAIN} --accelerator gpu", "accelerator 'gpu', devices 'auto': "),
    (f"train images out --fold 1 --track comet {TRAIN}", "track has 'comet', allowed: tensorboard"),
    ("finetune empty anna", "empty: no labelled recording in it"),
    ("finetune nowhere anna", "nowhere: there is no such folder"),
    ("finetune voice anna -q --from nowhere", "config.yaml: No such file"),
    ("finetune-ssl images out", "required: --sounds"),
    ("finetune-ssl images out --sounds empty", "rendered as"),
    ("finetune-ssl images out --sounds empty --fold 1 --folds 2", "not allowed with argument"),
    ("teach images images corpus t.csv --fold 1 --l2 1", "--l2 is for a bundle's head"),
    ("experiments nowhere.yaml . out", "nowhere.yaml: No such file"),
    ("experiments nowhere.yaml . out --jobs 0", "jobs is 0, allowed: 1 or more"),
    ("experiments nowhere.yaml . out --track comet", "track has 'comet', allowed: tensorboard"),
    # ------------------------------------------------------------------------- evaluation
    ("evaluate", "the following arguments are required: IMAGES, RUNS"),
    ("evaluate images", "the following arguments are required: RUNS"),
    ("evaluate images runs --folds 6", "unknown value '6', allowed: 1, 2, 3, 4, 5"),
    (f"evaluate images runs --edge {TRAIN}", "give their folders with --sounds"),
    (f"evaluate images runs --sounds none {TRAIN}", "none: there is no such folder"),
    (f"evaluate images runs --lr 7 {TRAIN}", "lr is 7.0, allowed: above 0 to 1"),
    (f"evaluate images runs --n-mels 40 {TRAIN}", "the recipe wants"),
    (f"evaluate images runs --devices 0 {TRAIN}", "devices is '0'"),
    (f"evaluate images runs --track comet {TRAIN}", "track has 'comet', allowed: tensorboard"),
    (f"evaluate nowhere runs {TRAIN}", "there is no spec.json"),
    ("evaluate images runs --out x", "unknown option --out"),
    ("evaluate images runs -m compact", "unknown option -m"),
    ("compare a", "the following arguments are required: B"),
    ("compare a b c", "unexpected argument 'c'"),
    ("compare a b", "a/predictions.csv: No such file"),
    ("crosscorpus images -d CPU", "unknown option -d"),
    ("crosscorpus images -m empty", "neither a run nor a model"),
    ("robustness", "give one of: RUNS --sounds DIR, -m MODEL"),
    ("robustness empty -m compact", "give one of: "),
    ("robustness empty", "give their folders with --sounds"),
    ("robustness empty --sounds nowhere", "there is no finished fold in it"),
    ("robustness empty --sounds corpus --clips x", "go with -m"),
    ("robustness empty --sounds corpus --only hail", "'hail', allowed: gain-20"),
    ("robustness empty --sounds corpus --precision INT3", "precision is 'INT3'"),
    ("robustness empty --sounds corpus --seed -1", "--seed: it is -1, allowed: 0 or more"),
    ("robustness empty --sounds corpus --unknown-share 2", "unknown share is 2.0"),
    ("robustness -m compact", "-m goes with --not-speech, --clips DIR or both"),
    ("robustness -m nobody --not-speech", "there is no model 'nobody'"),
    ("robustness -m compact -d TOASTER --not-speech", "TOASTER"),
    ("robustness -m compact --not-speech --at-most 3", "--at-most goes with --clips"),
    ("robustness -m compact --clips corpus --at-most 0", "at most is 0"),
    ("robustness -m compact --clips none", "none: there is no such folder"),
    ("robustness -m compact --clips empty", "there is no sound in it"),
    ("robustness -m compact --not-speech --sounds x", "go with RUNS"),
    ("robustness -m compact --clips x --unknown-share 0.1", "go with RUNS"),
    ("listen nowhere", "nowhere: there is no such folder"),
    ("listen empty", "no sound in it"),
    ("listen corpus -m nobody", "there is no model 'nobody'"),
    ("listen corpus -d TOASTER", "TOASTER"),
    ("listen corpus --precision INT3", "precision is 'INT3'"),
    ("profiles nowhere.csv", "nowhere.csv: No such file"),
    ("profiles nowhere.csv --seed -1", "--seed: it is -1, allowed: 0 or more"),
    # ------------------------------------------------------------------------- deployment
    ("package out --final nowhere --folds nowhere", "nowhere: no finished run lies there"),
    ("package out --final nowhere", "required: --folds"),
    ("export compact --models {root}/models --images nowhere", "there is no spec.json"),
    ("export tiny --models nowhere --images images", "config.yaml: No such file"),
    ("export tiny --int8 half", "unknown value 'half', allowed: auto, plain, accuracy-control"),
    # ------------------------------------------------------------------- classic features
    ("features nowhere t.csv", "nowhere: there is no such folder"),
    ("features empty t.csv", "empty: no ravdess recording in it"),
    ("features corpus t.txt", "t.txt: its suffix should be .csv or .parquet"),
    ("features corpus t.csv --n-mels 5", "n_mfcc is 40, allowed: up to n_mels, 5"),
    ("features corpus t.csv --workers 0", "--workers: it is 0, allowed: 1 or more"),
    ("features corpus notes.csv", "no table of features as "),
    ("baseline none.csv", "none.csv: No such file"),
    ("baseline table.csv --labels 9", "labels are '9', allowed: 7, 6, 4"),
    ("baseline table.csv --folds 7", "fold is '7', allowed"),
    ("baseline table.csv --folds all", "fold all has nobody"),
    ("baseline table.csv --solvers x", "solver is 'x'"),
    ("baseline table.csv --seeds 0", "--seeds: it is 0, allowed: 1 or more"),
    ("baseline table.csv --workers 0", "--workers: it is 0, allowed: 1 or more"),
    ("baseline table.csv --columns x*", "no column is called 'x*'"),
    ("baseline table.csv --into table.csv", "it should have one <!-- mlp-baseline:begin -->"),
)
"""Arguments in :func:`workplace`, and what is said; the exit status is 2."""

FAILED: tuple[tuple[str, str], ...] = (
    ("explore clip nowhere.wav --out x.html", "nowhere.wav: there is no such file"),
    ("explore augment nowhere.wav -q --out x.html", "nowhere.wav: there is no such file"),
    ("render corpus notes.csv/out -q --workers 1", "Not a directory"),
    ("features voice t.csv --corpus own -q --workers 1", "none of the 1 clips can be read"),
)
"""The same for exit status 1: the command line is right, the work failed."""


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a little of everything."""
    folder = tmp_path_factory.mktemp("workplace")
    for name in ("corpus", "empty", "voice/sad"):
        (folder / name).mkdir(parents=True)
    for actor in (1, 2, 4, 9):
        sound = folder / "corpus" / f"03-01-05-01-01-01-{actor:02d}.wav"
        soundfile.write(sound, speechlike(0.5, 16_000, actor), 16_000)
    scan = CORPORA["ravdess"].scan(folder / "corpus").utterances
    render(scan, folder / "images", SMALL, workers=1, progress=False)
    render(scan[:1], folder / "lonely", SMALL, workers=1, progress=False)
    (folder / "voice" / "sad" / "1.wav").write_bytes(b"no sound")
    (folder / "tiny.yaml").write_text(RECIPE.to_yaml())
    (folder / "notes.csv").write_text("my,notes\n1,2\n")
    clip = Clip(
        file="a.wav", corpus="ravdess", utterance="a", speaker="ravdess-01", sex="female",
        emotion="sad", intensity="normal", statement="s", repetition=1, channel="speech",
        language="en", seconds=1.0, key="0" * 16,
    )  # fmt: skip
    write_table(FeatureTable((clip,), ("mfcc_01_mean",), [[0.5]]), folder / "table.csv")
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def run(
    here: Callable[..., Done], workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], Done]:
    """Run a command line in the workplace, which it must leave as it is."""

    def run(line: str) -> Done:
        monkeypatch.chdir(workplace)
        before = content(workplace)
        names = {"root": ROOT, "sound": ROOT / "samples" / "man-even.wav"}
        done = here(*shlex.split(line.format(**names)))
        assert content(workplace) == before
        assert "Traceback" not in done.stderr
        return done

    return run


@pytest.mark.parametrize(("line", "message"), WRONG, ids=lambda text: text)
def test_wrong_usage_is_one_sentence_and_exit_status_2(run, line, message):
    done = run(line)
    assert (done.returncode, done.stdout) == (2, "")
    *before, error = done.stderr.splitlines()
    assert message in error
    assert error.startswith(f"ser-edge {line.split()[0]}")
    assert "--help`)" in error
    assert all(line.startswith("left out: ") for line in before)


@pytest.mark.parametrize(("line", "message"), FAILED, ids=lambda text: text)
def test_work_that_fails_ends_with_1(run, line, message):
    done = run(line)
    assert done.returncode == 1
    assert message in done.stderr.splitlines()[-1]
