"""Networks by name, from a recipe to a running IR."""

from __future__ import annotations

import urllib.error

import numpy as np
import pytest
import torch

from conftest import SMALL
from edge_app.inference.model_store import ModelFiles
from edge_app.inference.runtime import Network
from ser_edge.config.hardware import Hardware
from ser_edge.config.recipe import Recipe
from ser_edge.corpora import CORPORA
from ser_edge.data.datasets import load_clips
from ser_edge.data.render import read_index, render
from ser_edge.decision import Calibration
from ser_edge.export.onnx import to_onnx
from ser_edge.export.openvino import check_old_runtime, save_ir, to_openvino
from ser_edge.manifest import Manifest
from ser_edge.mel.spec import MelImageSpec
from ser_edge.nets import build_net, zoo_names
from ser_edge.nets import torchvision as zoo
from ser_edge.runs.inference import load_net, window_logits
from ser_edge.training import fit as training

TESTED = ("densenet121", "resnet18", "mobilenet_v3_small", "efficientnet_b0")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory):
    import soundfile

    from conftest import speechlike

    folder = tmp_path_factory.mktemp("nets")
    for actor in (1, 9, 2):
        for emotion in (1, 5):
            path = folder / "corpus" / f"03-01-{emotion:02d}-01-01-01-{actor:02d}.wav"
            path.parent.mkdir(exist_ok=True)
            soundfile.write(path, speechlike(1.0, 16_000, seed=actor + emotion), 16_000)
    scan = CORPORA["ravdess"].scan(folder / "corpus")
    render(scan.utterances, folder / "images", SMALL, workers=1, progress=False)
    return folder / "images"


@pytest.mark.system
@pytest.mark.parametrize("name", TESTED)
def test_from_training_to_a_running_ir(name, images, tmp_path):
    recipe = Recipe(
        net=name, input_size=32, epochs=1, batch_size=2, dropout=0.1, ema=0.0, freq_mask=2,
        time_mask=10, precision="32-true", image=SMALL,
    )  # fmt: skip
    training.fit(
        training.Sources(images),
        tmp_path / "run",
        recipe,
        "1",
        hardware=Hardware("cpu"),
        progress=False,
    )
    kept, net = load_net(tmp_path / "run")
    assert kept == recipe
    to_onnx(net, SMALL.shape, tmp_path / "net.onnx")
    manifest = Manifest(name, SMALL, Calibration(), corpora=("none",), weights_sha256="0" * 64)
    model = to_openvino(tmp_path / "net.onnx")
    xml = save_ir(model, tmp_path / name / "FP16" / f"{name}.xml", manifest)
    check_old_runtime(xml)  # the Neural Compute Stick's runtime reads it too
    running = Network(ModelFiles(xml, manifest), "CPU", None)
    clips = load_clips(images, read_index(images)[1], SMALL)
    expected = window_logits(net, clips)
    found = np.stack([running.logits(clip.images[0]) for clip in clips])
    np.testing.assert_allclose(found, expected, atol=0.02 * np.abs(expected).max())


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ["squeezenet1_1", "vit_b_16", "convnext_tiny", "googlenet"])
def test_other_families(name, channels):
    recipe = Recipe(net=name, input_size=224, input_channels=channels)
    net = build_net(recipe)
    assert net.training
    with torch.no_grad():
        assert net.eval()(torch.rand(1, 1, 80, 395) * 255).shape == (1, 8)


def test_names_are_torchvisions():
    assert {*TESTED, "swin_t", "regnet_y_400mf"} <= set(zoo_names())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"net": "vit_b_16"}, "does not take images of 80 x 395 at input_size 0"),
        ({"net": "resnet18", "width": 2.0}, "resnet18 has one width"),
        ({"net": "compact", "pretrained": True}, "pretrained is True, net compact takes only"),
        ({"net": "compact", "input_size": 224}, "input_size is 224"),
        ({"net": "resnet19"}, "net is 'resnet19', allowed: compact, compact-.*resnet18"),
    ],
)
def test_recipes_that_make_no_network(values, message):
    with pytest.raises(ValueError, match=message):
        build_net(Recipe(**values))


def test_resizing_is_torchs():
    spec = MelImageSpec()
    image = torch.rand(1, 1, *spec.shape)
    expected = torch.nn.functional.interpolate(image, (224, 224), mode="bilinear")
    found = zoo._Resize(spec.shape, 224)(image)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_colours_are_viridis():
    """At a quarter of white viridis is (0.2297, 0.3224, 0.5457): matplotlib's table."""
    grey = torch.tensor([0.0, 63.75, 127.5, 255.0]).view(1, 1, 1, 4)
    coloured = zoo._Colours()(grey)[0, :, 0].t()
    unscaled = coloured * torch.tensor([0.229, 0.224, 0.225]) + torch.tensor([0.485, 0.456, 0.406])
    expected = torch.tensor(
        [[0.2670, 0.0049, 0.3294], [0.2297, 0.3224, 0.5457], [0.1276, 0.5669, 0.5506],
         [0.9932, 0.9062, 0.1439]]
    )  # fmt: skip
    torch.testing.assert_close(unscaled, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("channels", [1, 3])
def test_pretrained_weights_are_taken_over(channels, monkeypatch):
    """With another network's weights in place of the download."""
    import torchvision

    source = torchvision.models.resnet18(num_classes=1000)
    weights = torchvision.models.get_model_weights("resnet18").DEFAULT
    monkeypatch.setattr(type(weights), "get_state_dict", lambda *_, **__: source.state_dict())
    net = build_net(
        Recipe(net="resnet18", pretrained=True, input_channels=channels, dropout=0.5)
    ).net
    torch.testing.assert_close(net.layer4[1].conv2.weight, source.layer4[1].conv2.weight)
    first = source.conv1.weight if channels == 3 else source.conv1.weight.sum(1, keepdim=True)
    torch.testing.assert_close(net.conv1.weight, first)
    assert net.fc[0].p == 0.5
    assert net.fc[1].out_features == 8


def test_without_internet_the_error_says_what_to_do(monkeypatch):
    def refuse(*_, **__):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", refuse)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", refuse)
    with pytest.raises(ValueError, match=r"cannot be downloaded .*no route.* put it here as resn"):
        build_net(Recipe(net="resnet18", pretrained=True))
