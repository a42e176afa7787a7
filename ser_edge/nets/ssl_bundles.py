"""Large networks pretrained on speech, from torchaudio: sounds -> features of clips."""

from __future__ import annotations

import urllib.error
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from types import MappingProxyType
from typing import Any, Final, Protocol

import torch
from torch import nn
from tqdm import tqdm

from ser_edge.audio.resample_torch import resample
from ser_edge.data.datasets import INT16_PEAK, Int16

MEAN: Final = "mean"
"""In place of a layer's number: the mean of all."""

_URL: Final = "https://download.pytorch.org/torchaudio/models/"
_SHORTEST_SECONDS: Final = 0.1
_INSTALL: Final = "pip install 'ser-edge[speech-encoders]'"


class Bundle(Protocol):
    """What is used of a ``torchaudio.pipelines`` bundle.

    The network must have ``extract_features(waveforms, num_layers=)``, which gives a list of
    ``(N, time, size)``, one a layer, and lengths.
    """

    @property
    def sample_rate(self) -> float: ...
    def get_model(self) -> nn.Module: ...


@dataclass(frozen=True)
class RandomBundle:
    """A few tiny layers of random weights, to try every command; its answers mean nothing.

    Its fields are named as those of torchaudio's bundles.
    """

    _model_type: str
    _params: Mapping[str, Any]
    _normalize_waveform: bool
    sample_rate: float = 16_000

    def get_model(self) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return untrained(self)


_TINY: Final = MappingProxyType(
    {
        "extractor_mode": "layer_norm",
        "extractor_conv_layer_config": [(16, 10, 5), (16, 8, 8), (16, 4, 4), (16, 2, 2)],
        "extractor_conv_bias": True,
        "encoder_embed_dim": 32,
        "encoder_projection_dropout": 0.1,
        "encoder_pos_conv_kernel": 16,
        "encoder_pos_conv_groups": 4,
        "encoder_num_layers": 3,
        "encoder_num_heads": 4,
        "encoder_attention_dropout": 0.1,
        "encoder_ff_interm_features": 64,
        "encoder_ff_interm_dropout": 0.0,
        "encoder_dropout": 0.1,
        "encoder_layer_norm_first": True,
        "encoder_layer_drop": 0.0,
        "aux_num_out": None,
    }
)
_RANDOM: Final = MappingProxyType(
    {
        "RANDOM_WAV2VEC2": RandomBundle("Wav2Vec2", _TINY, True),
        "RANDOM_WAVLM": RandomBundle(
            "WavLM",
            {
                **_TINY,
                "extractor_mode": "group_norm",
                "extractor_conv_bias": False,
                "encoder_layer_norm_first": False,
                "encoder_num_buckets": 32,
                "encoder_max_distance": 64,
            },
            False,
        ),
    }
)
"""Built as XLSR-53 and as WavLM base are, but tiny."""


def _torchaudio() -> Any:
    """The package, imported where a speech encoder is asked for and nowhere else.

    Raises
    ------
    ValueError
        It is not installed, or was built for another torch.
    """
    try:
        import torchaudio.models
        import torchaudio.pipelines
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] != "torchaudio":
            raise
        raise ValueError(f"speech encoders need torchaudio: {_INSTALL}") from None
    except OSError as error:
        raise ValueError(
            f"torchaudio {version('torchaudio')} does not load beside torch {torch.__version__} "
            f"({error}); versions that fit together: {_INSTALL}"
        ) from None
    return torchaudio


def bundle_names() -> list[str]:
    """Names of torchaudio's bundles that give features, and of those with random weights."""
    pipelines = _torchaudio().pipelines
    kinds = pipelines.Wav2Vec2Bundle
    names = vars(pipelines)
    return sorted([*_RANDOM, *(name for name, value in names.items() if isinstance(value, kinds))])


def find_bundle(name: str) -> Bundle:
    """The bundle of that name.

    Raises
    ------
    ValueError
        There is none; the message names those that there are.
    """
    if name not in bundle_names():
        raise ValueError(f"bundle is {name!r}, allowed: {', '.join(bundle_names())}")
    bundle: Bundle = _RANDOM.get(name) or getattr(_torchaudio().pipelines, name)
    return bundle


def untrained(bundle: Any) -> nn.Module:
    """The network of a bundle with random weights; nothing is downloaded.

    torchaudio gives it only together with its weights, so this reads the bundle's own description.
    """
    models = _torchaudio().models
    factories = {"Wav2Vec2": models.wav2vec2_model, "WavLM": models.wavlm_model}
    net: nn.Module = factories[bundle._model_type](**bundle._params)
    return net


def normalizes(bundle: Any) -> bool:
    """Whether the network of a bundle wants waveforms of mean 0 and variance 1."""
    return bool(bundle._normalize_waveform)


def load_bundle(bundle: Bundle, name: str) -> nn.Module:
    """The pretrained network, in evaluation mode; downloaded the first time.

    Raises
    ------
    ValueError
        It cannot be downloaded; the message says what from where belongs in which folder.
    """
    try:
        return bundle.get_model().eval()
    except (urllib.error.URLError, OSError) as error:
        file = str(getattr(bundle, "_path", f"{name.lower()}.pth"))
        url = file if file.startswith("https") else _URL + file
        folder = f"{torch.hub.get_dir()}/checkpoints"
        raise ValueError(
            f"the pretrained weights of {name} cannot be downloaded ({error}): on a machine with "
            f"internet fetch {url}, and put it here as {url.rsplit('/', 1)[-1]} in {folder} "
            "(TORCH_HOME moves that)"
        ) from None


@torch.no_grad()
def clip_features(
    net: nn.Module,
    bundle_rate: float,
    sounds: Sequence[Int16],
    rate: int,
    layer: str,
    *,
    device: str = "cpu",
    progress: bool = False,
) -> torch.Tensor:
    """Mean over time of a layer, or of all layers, for every sound.

    Parameters
    ----------
    net : nn.Module
        As :func:`load_bundle` gives it.
    bundle_rate : float
        Sample rate that it wants.
    sounds : sequence of ndarray
        ``int16 (samples,)``, as :func:`ser_edge.data.datasets.load_sounds` gives them.
    rate : int
        Their sample rate.
    layer : str
        Number of a layer from 1 up, or :data:`MEAN`.
    device : str
    progress : bool
        Show a bar.

    Returns
    -------
    Tensor
        ``float32 (clips, size)``.

    Raises
    ------
    ValueError
        There is no such layer.
    """
    if layer != MEAN and not (layer.isdecimal() and int(layer) > 0):
        raise ValueError(f"layer is {layer!r}, allowed: {MEAN}, or a number from 1 up")
    source: Any = net.to(device)
    shortest = round(_SHORTEST_SECONDS * bundle_rate)
    found = []
    for sound in tqdm(sounds, desc="features", unit="clip", disable=not progress):
        waveform = torch.from_numpy(sound).to(device).float()[None] / INT16_PEAK
        if rate != bundle_rate:
            waveform = resample(waveform, rate, round(bundle_rate))
        waveform = nn.functional.pad(waveform, (0, max(0, shortest - waveform.shape[1])))
        try:
            layers = source.extract_features(
                waveform, num_layers=None if layer == MEAN else int(layer)
            )[0]
        except ValueError as error:  # torchaudio: more layers than there are
            raise ValueError(f"layer is {layer}, the network has fewer: {error}") from None
        wanted = torch.stack(layers if layer == MEAN else layers[-1:])
        found.append(wanted.mean(dim=(0, 1, 2)).float().cpu())
    return torch.stack(found)
