"""Recipe files: what differs from a base, names and options of earlier releases, wrong values."""

import argparse
from pathlib import Path

import pytest
import yaml

from ser_edge.config import recipe as recipes
from ser_edge.config.recipe import Recipe
from ser_edge.config.ssl import SSLRecipe, is_ssl_recipe

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def write(tmp_path):
    """``write(name, text)`` -> path of a recipe file."""

    def make(name: str, text: str) -> Path:
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return make


def test_a_file_says_what_differs_from_its_base(write):
    write("a.yaml", "name: a\nepochs: 7\nsound: {noise: 0.5, gain: 6}\nimage: {n_mels: 64}\n")
    write("b.yaml", "base: a.yaml\nname: b\nsound: {noise: 0.1}\n")
    found = Recipe.read(write("c.yaml", "base: b.yaml\nlr: 0.1\nimage: {hop_length: 320}\n"))
    assert (found.name, found.epochs, found.lr) == ("b", 7, 0.1)
    assert (found.sound.noise, found.sound.gain) == (0.1, 6.0)
    assert (found.image.n_mels, found.image.hop_length) == (64, 320)


def test_what_is_written_is_read_again_and_needs_no_base(write):
    found = Recipe.read(ROOT / "configs" / "compact.yaml")
    text = found.to_yaml()
    assert "base" not in yaml.safe_load(text)
    assert Recipe.read(write("all.yaml", text)) == found


def test_the_plain_recipe_spells_out_the_defaults():
    assert Recipe.read(ROOT / "configs" / "plain.yaml") == Recipe(name="plain")
    values = yaml.safe_load((ROOT / "configs" / "plain.yaml").read_text())
    assert values.keys() == yaml.safe_load(Recipe().to_yaml()).keys()


@pytest.mark.parametrize("name", ["plain", "compact", "student", "wavlm", "xlsr53"])
def test_shipped_recipes_are_read(name):
    path = ROOT / "configs" / f"{name}.yaml"
    kind = SSLRecipe if is_ssl_recipe(path) else Recipe
    assert kind.read(path).name == name
    assert is_ssl_recipe(path) == (name in ("wavlm", "xlsr53"))


def test_the_kind_of_a_recipe_is_known_by_its_base_too(write, tmp_path):
    write("a.yaml", "bundle: HUBERT_BASE\n")
    assert is_ssl_recipe(write("b.yaml", "base: a.yaml\n"))
    assert not is_ssl_recipe(write("c.yaml", "name: c\n"))
    assert not is_ssl_recipe(tmp_path / "none.yaml")


def test_files_of_earlier_releases_are_read(write):
    assert Recipe.read(ROOT / "models" / "compact" / "config.yaml").nonspeech_head == 1500
    old = "name: a\ngate: 20\nmixup: 0.0\ncopypaste: 0\nadversarial: 0.0\n"
    assert Recipe.read(write("old.yaml", old)) == Recipe(name="a", nonspeech_head=20)
    assert Recipe.read(write("new.yaml", "base: old.yaml\nnonspeech_head: 5\n")).nonspeech_head == 5
    speech = SSLRecipe.read(write("s.yaml", "bundle: B\npieces: 2\nclip: 0.5\ncheckpointing: true"))
    assert speech.accumulate_grad_batches == 2
    assert (speech.gradient_clip_val, speech.gradient_checkpointing) == (0.5, True)


@pytest.mark.parametrize(
    ("words", "changes"),
    [
        (["--nonspeech-head", "9"], {"nonspeech_head": 9}),
        (["--gate", "9"], {"nonspeech_head": 9}),
        (["--label-smoothing", "0", "--attention"], {"label_smoothing": 0.0, "attention": True}),
        (["--sound-noise", "0.5"], {}),
    ],
)
def test_options_override_the_file(words, changes):
    parser = argparse.ArgumentParser()
    recipes.add_options(parser)
    found = recipes.from_options(parser.parse_args(words))
    assert {name: getattr(found, name) for name in changes} == changes
    assert found.sound.noise == (0.0 if changes else 0.5)


def test_old_names_of_options_are_taken():
    parser = argparse.ArgumentParser()
    recipes.add_options(parser, SSLRecipe)
    words = ["--pieces", "4", "--clip", "2", "--checkpointing"]
    found = recipes.overridden(SSLRecipe(), parser.parse_args(words))
    assert (found.accumulate_grad_batches, found.gradient_clip_val) == (4, 2.0)
    assert found.gradient_checkpointing
    assert "--pieces" not in parser.format_help()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mixup: 0.2", r"mixup is 0\.2, allowed: 0; it was removed: recipes with it scored worse"),
        ("adversarial: 1", "adversarial is 1, allowed: 0; it was removed"),
        ("base: [a]", r"base is \['a'\], it should be a file"),
        ("base: bad.yaml", r"bad\.yaml: base files in a circle"),
        ("base: none.yaml", r"none\.yaml: No such file"),
        ("- 1", "it should be a mapping of recipe fields"),
        ("name: [", "while parsing"),
        ("deep: 1", "unknown deep; known: name, channels, "),
        ("epochs: many", "epochs is 'many', it should be of type int"),
        ("epochs: 2.5", r"epochs is 2\.5, it should be of type int"),
        ("epochs: 0", "epochs is 0, allowed: 1 or more"),
        ("pretrained: 1", "pretrained is 1, it should be of type bool"),
        ("lr: true", "lr is True, it should be of type float"),
        ("lr: .nan", "lr is nan, allowed: above 0 to 1"),
        ("ema: 1.0", r"ema is 1\.0, allowed: 0 to below 1"),
        ("batch_size: 7", "batch_size is 7, allowed: an even number"),
        ("gate: -1", "nonspeech_head is -1, allowed: 0 to 100000"),
        ("optimizer: sgd", "optimizer is 'sgd', allowed: adamw, muon"),
        ("schedule: linear", "schedule is 'linear', allowed: cosine, one-cycle"),
        ("class_weights: yes", "class_weights is True"),
        ("input_channels: 2", "input_channels is 2, allowed: 1 or 3"),
        ("crop: 0.5", r"crop is 0\.5, allowed: 0, 1 to seconds"),
        ("image: 3", "image should be a mapping"),
        ("image: {n_mels: -3}", "n_mels is -3"),
        ("sound: loud", "sound should be a mapping of strengths"),
        ("sound: {hiss: 1}", "unknown hiss in sound; known: noise, babble"),
        ("sound: {noise: 2}", r"sound\.noise is 2\.0, allowed: 0 to 1"),
        ("sound: {noise: much}", r"sound\.noise is 'much', it should be of type float"),
    ],
)
def test_a_wrong_file_is_named(write, text, message):
    with pytest.raises(ValueError, match=rf"bad\.yaml: .*{message}|^\S*{message}"):
        Recipe.read(write("bad.yaml", text))
