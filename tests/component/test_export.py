"""Package and export through the real scripts; the shipped IRs are held to the old runtime."""

from __future__ import annotations

import hashlib
import json
import pyexpat
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from conftest import ROOT, SMALL
from edge_app.cli import main
from edge_app.inference.model_store import DEFAULT_MODEL, ModelError, find_model, read_manifest
from ser_edge.config.hardware import Hardware
from ser_edge.config.recipe import Recipe
from ser_edge.corpora import CORPORA
from ser_edge.data.render import render
from ser_edge.export import convert
from ser_edge.export.convert import ExportDriftError
from ser_edge.export.package import package
from ser_edge.manifest import seal_of, sealed
from ser_edge.training import fit as training

SHIPPED = [
    ROOT / "ir" / DEFAULT_MODEL / precision / f"{DEFAULT_MODEL}.xml"
    for precision in ("FP16", "INT8")
]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images, a run on all, a run on fold 1, and the model packaged from them."""
    import soundfile

    from conftest import speechlike

    folder = tmp_path_factory.mktemp("export")
    for actor in (1, 2, 4, 9):
        for emotion in (1, 4, 5):
            sound = speechlike(1.2, 16_000, seed=10 * actor + emotion)
            path = folder / "corpus" / f"03-01-{emotion:02d}-01-01-01-{actor:02d}.wav"
            path.parent.mkdir(exist_ok=True)
            soundfile.write(path, sound, 16_000)
    scan = CORPORA["ravdess"].scan(folder / "corpus")
    render(scan.utterances, folder / "images", SMALL, workers=1, progress=False)
    recipe = Recipe(
        name="tiny", width=0.25, epochs=2, batch_size=4, lr=0.01, freq_mask=2, time_mask=10,
        ema=0.0, precision="32-true", image=SMALL,
    )  # fmt: skip
    for name, fold in (("all", "all"), ("fold1", "1")):
        training.train(
            training.Sources(folder / "images"),
            folder / name,
            recipe,
            fold,
            hardware=Hardware("cpu"),
            progress=False,
        )
    package(folder / "all", [folder / "fold1"], folder / "models" / "tiny")
    return folder


def run(workplace: Path, *words: object) -> subprocess.CompletedProcess[str]:
    script = [
        sys.executable, ROOT / "scripts" / "export_ir.py", "tiny", "--models",
        workplace / "models", "--images", workplace / "images", *words,
    ]  # fmt: skip
    return subprocess.run(list(map(str, script)), capture_output=True, text=True, check=False)


def test_a_model_folder_holds_weights_figures_and_calibration(workplace):
    folder = workplace / "models" / "tiny"
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["calibration"].keys() == {"temperature", "threshold"}
    assert metrics["folds"].keys() == {"fold 1, seed 1"}
    assert metrics["summary"]["uar_mean"] == metrics["pooled_test"]["uar"]
    assert (folder / "weights.safetensors").read_bytes() == (
        workplace / "all" / "weights.safetensors"
    ).read_bytes()


@pytest.mark.system
def test_export_writes_both_irs_with_the_manifest_inside(workplace, tmp_path):
    done = run(workplace, "--ir", tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.search(r"ONNX beside PyTorch: same label on \d", done.stdout)
    assert re.search(r"IR INT8 beside IR FP16", done.stdout)
    weights = (workplace / "models" / "tiny" / "weights.safetensors").read_bytes()
    for precision in ("FP16", "INT8"):
        xml = tmp_path / "tiny" / precision / "tiny.xml"
        manifest = read_manifest(xml)
        assert manifest.name == "tiny"
        assert manifest.precision == precision
        assert manifest.spec == SMALL
        assert manifest.corpora == ("ravdess",)
        assert manifest.weights_sha256 == hashlib.sha256(weights).hexdigest()
        assert "uar_mean" in manifest.metrics
    assert sorted(p.name for p in tmp_path.iterdir()) == ["tiny"]
    assert b"FakeQuantize" in (tmp_path / "tiny" / "INT8" / "tiny.xml").read_bytes()


def test_drift_exits_1_says_where_and_leaves_the_old_ir(workplace, tmp_path, monkeypatch):
    old = tmp_path / "tiny" / "FP16" / "tiny.xml"
    old.parent.mkdir(parents=True)
    old.write_text("the old one")

    def other(xml, clips):
        return np.random.default_rng(0).standard_normal((len(clips), 8))

    monkeypatch.setattr(convert, "_run_ir", other)
    with pytest.raises(ExportDriftError, match=r"IR FP16 beside ONNX.*Farthest off: 03-01-0\d"):
        convert.export(
            workplace / "models" / "tiny", workplace / "images", tmp_path, progress=lambda _: None
        )
    assert old.read_text() == "the old one"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["tiny"]


@pytest.mark.system
def test_the_command_reports_drift(workplace, tmp_path):
    """The command itself, with a network whose answers are made to differ by a hair's breadth."""
    code = (
        "import sys\n"
        "from ser_edge.cli.main import main\n"
        "from ser_edge.export import convert\n"
        "convert.SAME_LABEL_SHARE = 1.01\n"
        "sys.exit(main(['export', *sys.argv[1:]]))\n"
    )
    words = ["tiny", "--models", workplace / "models", "--images", workplace / "images"]
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, words), "--ir", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "drift: ONNX beside PyTorch" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_old_ir_comes_back_if_the_new_one_cannot_be_put_in_place(tmp_path):
    target = tmp_path / "ir"
    target.mkdir()
    (target / "old").touch()
    (tmp_path / "work").mkdir()
    with pytest.raises(OSError, match="missing"):
        convert._replace_folder(tmp_path / "work" / "missing", target)
    assert (target / "old").exists()


def step(name: str, labels: list[int], uar: float) -> convert.Step:
    return convert.Step(name, np.eye(8)[labels] * 1.0, uar)


@pytest.mark.parametrize(("uar", "drifts"), [(0.60, False), (0.591, False), (0.589, True)])
def test_int8_may_lose_one_point_of_uar(workplace, uar, drifts):
    before, after = step("IR FP16", [0, 1], 0.6), step("IR INT8", [0, 2], uar)
    clips = clips_of(workplace)[:2]
    comparison = convert.compare(before, after)
    assert comparison.same_label == 0.5
    if drifts:
        with pytest.raises(ExportDriftError, match=r"at most 0\.0100 may be lost"):
            convert._check_uar(comparison, before, after, clips)
    else:
        convert._check_uar(comparison, before, after, clips)


def clips_of(workplace: Path):
    from ser_edge.data.datasets import load_clips
    from ser_edge.data.render import read_index

    spec, rows = read_index(workplace / "images")
    return load_clips(workplace / "images", rows, spec)


def test_folds_of_another_recipe_are_refused(workplace, tmp_path):
    config = (workplace / "fold1" / "config.yaml").read_text()
    other = tmp_path / "fold"
    other.mkdir()
    for path in (workplace / "fold1").glob("*.*"):
        if path.is_file():
            (other / path.name).write_bytes(path.read_bytes())
    (other / "config.yaml").write_text(config.replace("lr: 0.01", "lr: 0.02"))
    with pytest.raises(ValueError, match="has other lr than"):
        package(workplace / "all", [other], tmp_path / "model")
    with pytest.raises(ValueError, match="not with --fold all"):
        package(workplace / "fold1", [workplace / "fold1"], tmp_path / "model")
    with pytest.raises(ValueError, match="given twice"):
        package(workplace / "all", [workplace / "fold1"] * 2, tmp_path / "model")
    with pytest.raises(ValueError, match="no finished run"):
        package(workplace / "all", [tmp_path / "none"], tmp_path / "model")


@pytest.mark.parametrize("xml", SHIPPED, ids=("FP16", "INT8"))
def test_shipped_irs_are_fit_for_the_old_runtime(xml):
    convert.check_old_runtime(xml)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('version="opset1"', 'version="opset14"', r"is of opset14"),
        ("<dim>8</dim>", "<dim>-1</dim>", r"has the shape \[-1,-1\]"),
    ],
)
def test_newer_opsets_and_dynamic_shapes_are_found(small_model, tmp_path, before, after, message):
    text = small_model.read_text()
    assert before in text
    path = tmp_path / "a.xml"
    path.write_text(text.replace(before, after))
    with pytest.raises(ExportDriftError, match=message):
        convert.check_old_runtime(path)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda t: t[: len(t) // 2], "it is damaged, not an OpenVINO IR"),
        (lambda t: "<html/>", "it is not an OpenVINO IR: its root is <html>"),
        (lambda t: t.replace("model_info", "other_info"), "it has no model_info"),
        (lambda t: re.sub(r"<mel_image [^>]*/>", "", t), "model_info lacks mel_image"),
        (lambda t: re.sub(r"<labels [^>]*/>", "", t), "model_info lacks labels"),
        (lambda t: t.replace("&quot;version&quot;: 1", "&quot;version&quot;: 7"), "of version 7"),
        (lambda t: re.sub('<temperature value="1.0"', '<temperature value="hot"', t), "'hot'"),
        (lambda t: re.sub('<temperature value="1.0"', '<temperature value="0"', t), "temperature"),
        (lambda t: re.sub('<temperature value="1.0"', '<temperature value="1e-320"', t), "0.01"),
        (lambda t: t.replace("&quot;seconds&quot;: 5.0", "&quot;seconds&quot;: Infinity"), "inf"),
        (lambda t: t.replace("&quot;power&quot;: 2.0", f"&quot;power&quot;: {10**400}"), "large"),
        (
            lambda t: re.sub('<mel_image value="[^"]*"', f'<mel_image value="{"[" * 10**5}"', t),
            "not",
        ),
        (lambda t: '<?xml version="1.0" encoding="foo"?>' + t.split("?>", 1)[1], "encoding"),
    ],
)
def test_irs_that_do_not_say_what_they_are(small_model, tmp_path, edit, message):
    path = tmp_path / "a.xml"
    path.write_text(edit(small_model.read_text()))
    path.with_suffix(".bin").write_bytes(small_model.with_suffix(".bin").read_bytes())
    with pytest.raises(ModelError, match=message) as caught:
        read_manifest(path)
    assert str(path) in str(caught.value)


def refused(path: Path, small_model: Path, xml: bytes, weights: bytes | None = None) -> str:
    """What is said of an IR, by the command: one line that names a file of it, and status 2."""
    path.write_bytes(xml)
    good = small_model.with_suffix(".bin").read_bytes()
    path.with_suffix(".bin").write_bytes(good if weights is None else weights)
    with pytest.raises(ModelError) as caught:
        find_model(str(path))
    assert "\n" not in str(caught.value)
    assert str(path.with_suffix("")) in str(caught.value)
    return str(caught.value)


def test_any_flipped_bit_of_an_ir_is_found(small_model, tmp_path):
    """In the .xml a bit can make another network of it, and OpenVINO would compute that."""
    good = small_model.read_bytes()
    random = np.random.default_rng(0)
    name = good.index(b"<xml_sha256")  # what lies here says whether there is a seal at all
    for at in random.integers(0, len(good), 150):
        if name <= at < name + len('<xml_sha256 value="'):
            continue
        bad = bytearray(good)
        bad[at] ^= 1 << int(random.integers(8))
        refused(tmp_path / "a.xml", small_model, bytes(bad))


def test_an_xml_whose_padding_became_another(small_model, tmp_path):
    bad = small_model.read_bytes().replace(b'pads_begin="1, 1"', b'pads_begin="0, 1"', 1)
    assert bad != small_model.read_bytes()
    said = refused(tmp_path / "a.xml", small_model, bad)
    assert said.endswith("a.xml: it is damaged, or was changed after it was written")
    unsealed = re.sub(rb"<xml_sha256 [^>]*/>", b"", bad)
    (tmp_path / "a.xml").write_bytes(unsealed)
    assert find_model(str(tmp_path / "a.xml")).manifest.xml_sha256 == ""  # of before: not checked


def test_line_ends_that_git_has_changed_are_no_damage(small_model, tmp_path):
    (tmp_path / "a.xml").write_bytes(small_model.read_bytes().replace(b"\n", b"\r\n"))
    (tmp_path / "a.bin").write_bytes(small_model.with_suffix(".bin").read_bytes())
    assert find_model(str(tmp_path / "a.xml")).manifest.name == "small"


def test_a_seal_can_be_put_on_again(small_model):
    good = small_model.read_bytes()
    assert sealed(good) == good
    seal = seal_of(good).encode()
    assert seal in good
    assert seal_of(good.replace(seal, b"0" * 64)).encode() == seal
    assert sealed(re.sub(rb"\s*<xml_sha256 [^>]*/>", b"", good)).count(b"<xml_sha256 ") == 1
    with pytest.raises(ValueError, match="it has no model_info"):
        sealed(b"<net />")


@pytest.mark.parametrize("xml", SHIPPED, ids=lambda path: path.parent.name)
def test_what_is_shipped_is_sealed(xml):
    manifest = read_manifest(xml)
    assert len(manifest.bin_sha256) == len(manifest.xml_sha256) == 64


def bomb() -> bytes:
    lines = ['<!ENTITY a0 "lol">']
    lines += [f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 10)]
    return f'<?xml version="1.0"?><!DOCTYPE net [{"".join(lines)}]><net name="&a9;"/>'.encode()


@pytest.mark.parametrize(
    ("xml", "message"),
    [
        (lambda good: b"", "it is damaged, not an OpenVINO IR: no element found"),
        (lambda good: bomb(), "it is damaged, not an OpenVINO IR: limit on input amplification"),
        (
            lambda good: good.replace(b"<layers>", b"<layers>" + b"<a>" * 10**5 + b"</a>" * 10**5),
            "its elements lie more than 64 deep",
        ),
        (lambda good: good + b" " * 2**25, "it has 32 MB, allowed: 16"),
    ],
)
def test_xml_made_to_hang_or_to_crash(small_model, tmp_path, xml, message):
    if message.endswith("amplification") and pyexpat.version_info < (2, 4, 1):
        xml, message = (lambda good: b"<net"), "it is damaged"  # expat has no guard yet
    assert message in refused(tmp_path / "a.xml", small_model, xml(small_model.read_bytes()))


@pytest.mark.parametrize("weights", [b"", b"half"])
def test_weights_that_are_cut_off_or_of_another_model(small_model, tmp_path, weights):
    good = small_model.with_suffix(".bin").read_bytes()
    bad = good[: len(good) // 2] if weights else b""
    said = refused(tmp_path / "a.xml", small_model, small_model.read_bytes(), bad)
    assert said.endswith("a.bin: it is damaged or belongs to another a.xml")
    other = SHIPPED[0].with_suffix(".bin").read_bytes()
    said = refused(tmp_path / "a.xml", small_model, small_model.read_bytes(), other)
    assert "belongs to another a.xml" in said


def test_a_bin_of_gigabytes_is_not_read(small_model, tmp_path):
    path = tmp_path / "a.xml"
    path.write_bytes(small_model.read_bytes())
    with open(path.with_suffix(".bin"), "wb") as file:
        file.truncate(2**33)
    with pytest.raises(ModelError, match=r"a\.bin: it has 8192 MB, allowed: 1024"):
        find_model(str(path))


def test_the_command_refuses_a_damaged_ir_with_2_and_one_line(small_model, tmp_path, capsys):
    path = tmp_path / "a.xml"
    path.write_bytes(small_model.read_bytes()[:-1000])
    path.with_suffix(".bin").write_bytes(small_model.with_suffix(".bin").read_bytes())
    with pytest.raises(SystemExit) as ended:
        main(["predict", "-m", str(path), "clip.wav"])
    assert ended.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert f"error: {path}: it is damaged" in err.splitlines()[-1]
    assert "Traceback" not in err


def test_names_that_are_far_too_long():
    for name in ("a" * 300, "a" * 300 + ".xml"):
        with pytest.raises(ModelError, match="there is no"):
            find_model(name)


def test_damaged_weights_are_named(small_model, tmp_path):
    path = tmp_path / "a.xml"
    path.write_bytes(small_model.read_bytes())
    with pytest.raises(ModelError, match=r"a\.bin: there is no such file"):
        read_manifest(path)
    weights = bytearray(small_model.with_suffix(".bin").read_bytes())
    weights[100] ^= 1
    path.with_suffix(".bin").write_bytes(weights)
    with pytest.raises(ModelError, match=r"a\.bin: it is damaged or belongs to another"):
        read_manifest(path)
