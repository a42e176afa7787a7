"""Any torchvision classification network, fitted to the one-channel mel image."""

from __future__ import annotations

import urllib.error
from typing import Any, Final

import torch
import torchvision
from torch import nn

from ser_edge.config.recipe import Recipe

_VIRIDIS: Final = (
    (0.267004, 0.004874, 0.329415),
    (0.229739, 0.322361, 0.545706),
    (0.127568, 0.566949, 0.550556),
    (0.369214, 0.788888, 0.382914),
    (0.993248, 0.906157, 0.143936),
)
"""Matplotlib's viridis at 0, 1/4, 1/2, 3/4 and 1: the colours of a plotted spectrogram."""

_IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
_IMAGENET_DEVIATION: Final = (0.229, 0.224, 0.225)

# Second heads that torchvision adds in training; they only complicate the loss.
_EXTRA: Final = {
    "inception_v3": {"aux_logits": False, "init_weights": True},
    "googlenet": {"aux_logits": False, "init_weights": True},
}


def zoo_names() -> list[str]:
    """Names of torchvision's classification networks."""
    return [str(name) for name in torchvision.models.list_models(module=torchvision.models)]


def build_zoo_net(recipe: Recipe, classes: int) -> nn.Module:
    """Make one of :func:`zoo_names` for the recipe's mel image.

    Parameters
    ----------
    recipe : Recipe
        ``net``, ``image``, ``dropout`` (before the last layer), ``input_size``,
        ``input_channels`` and ``pretrained`` are used.
    classes : int

    Returns
    -------
    nn.Module
        Takes ``float32 (N, 1, n_mels, frames)`` grey levels, gives ``(N, classes)``.

    Raises
    ------
    ValueError
        The network does not take images of this size, or its pretrained weights cannot be
        downloaded.
    """
    if recipe.width != 1.0:
        raise ValueError(f"width is {recipe.width}, {recipe.net} has one width: 1.0")
    net = _fitted(recipe, classes)
    _try(net, recipe)
    if recipe.pretrained:
        _load_pretrained(net.net, recipe.net)
    _set_dropout(net.net, recipe.dropout)
    return net


class _Grey(nn.Module):
    """Grey levels scaled; speech images average about 60 with a deviation of about 60."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return (image - 60.0) * (1.0 / 60.0)


class _Colours(nn.Module):
    """Grey levels -> an image in colours as a plot shows it, scaled as ImageNet's images are.

    The colour map is straight between five of viridis's colours; a sum of ramps gives just that.
    """

    knots: torch.Tensor
    bends: torch.Tensor
    black: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        colours = torch.tensor(_VIRIDIS)
        ramps = len(_VIRIDIS) - 1
        slopes = (colours[1:] - colours[:-1]) * ramps
        bends = torch.cat([slopes[:1], slopes[1:] - slopes[:-1]])
        deviation = torch.tensor(_IMAGENET_DEVIATION)
        self.register_buffer("knots", (torch.arange(ramps) / ramps).view(1, -1, 1, 1))
        self.register_buffer("bends", (bends / deviation).t()[:, :, None, None].contiguous())
        self.register_buffer("black", (colours[0] - torch.tensor(_IMAGENET_MEAN)) / deviation)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        ramps = torch.relu(image * (1.0 / 255.0) - self.knots)
        return nn.functional.conv2d(ramps, self.bends, self.black)


class _Resize(nn.Module):
    """Bilinear resizing as two matrix products, which every runtime and opset knows."""

    rows: torch.Tensor
    columns: torch.Tensor

    def __init__(self, shape: tuple[int, int], size: int) -> None:
        super().__init__()
        self.register_buffer("rows", _interpolation(shape[0], size))
        self.register_buffer("columns", _interpolation(shape[1], size).t().contiguous())

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.matmul(torch.matmul(self.rows, image), self.columns)


class _Fitted(nn.Module):
    """A torchvision network behind what makes its input of a mel image."""

    def __init__(self, net: nn.Module, recipe: Recipe) -> None:
        super().__init__()
        self.resize: nn.Module = (
            _Resize(recipe.image.shape, recipe.input_size) if recipe.input_size else nn.Identity()
        )
        self.scale: nn.Module = _Colours() if recipe.input_channels == 3 else _Grey()
        self.net = net

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.net(self.scale(self.resize(image)))
        return logits


def _fitted(recipe: Recipe, classes: int) -> _Fitted:
    net = torchvision.models.get_model(
        recipe.net, weights=None, num_classes=classes, **_EXTRA.get(recipe.net, {})
    )
    if recipe.input_channels == 1:
        name, first = next((n, m) for n, m in net.named_modules() if isinstance(m, nn.Conv2d))
        one = nn.Conv2d(
            1,
            first.out_channels,
            first.kernel_size,  # type: ignore[arg-type]
            first.stride,  # type: ignore[arg-type]
            first.padding,  # type: ignore[arg-type]
            bias=first.bias is not None,
        )
        nn.init.kaiming_normal_(one.weight, mode="fan_out", nonlinearity="relu")
        net.set_submodule(name, one)
    return _Fitted(net, recipe)


@torch.no_grad()
def _try(net: _Fitted, recipe: Recipe) -> None:
    height, width = recipe.image.shape
    try:
        net.eval()(torch.zeros(1, 1, height, width))
    except (RuntimeError, AssertionError, ValueError) as error:
        cause = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(
            f"net {recipe.net} does not take images of {height} x {width} at input_size "
            f"{recipe.input_size} ({cause}); input_size 224 fits most"
        ) from None
    net.train()  # Lightning trains a network in the mode it is given in


def _load_pretrained(net: nn.Module, name: str) -> None:
    """Take over ImageNet's weights: all but the last layer's, the first layer's summed to grey."""
    weights: Any = torchvision.models.get_model_weights(name).DEFAULT
    try:
        state = weights.get_state_dict(progress=True, check_hash=True)
    except (urllib.error.URLError, OSError) as error:
        file = weights.url.rsplit("/", 1)[-1]
        folder = f"{torch.hub.get_dir()}/checkpoints"
        raise ValueError(
            f"pretrained weights of {name} cannot be downloaded ({error}): on a machine with "
            f"internet fetch {weights.url}, put it here as {file} in {folder} (TORCH_HOME moves "
            "that), or train from scratch with --no-pretrained"
        ) from None
    own = net.state_dict()
    taken = {}
    for key, value in state.items():
        if key not in own:
            continue  # a second head, left out above
        if own[key].shape == value.shape:
            taken[key] = value
        elif value.ndim == 4 and value.shape[1] == 3 and own[key].shape[1] == 1:
            taken[key] = value.sum(dim=1, keepdim=True)  # what it answers to a grey image
    fresh = {key.rsplit(".", 1)[0] for key in set(own) - set(taken)}
    if len(fresh) > 1:
        raise ValueError(f"pretrained weights of {name} do not fit {', '.join(sorted(fresh))}")
    net.load_state_dict(taken, strict=False)


def _set_dropout(net: nn.Module, dropout: float) -> None:
    """Set the share of the last dropout; where there is none, put one before the last layer."""
    own = [module for module in net.modules() if type(module) is nn.Dropout]
    if own:
        own[-1].p = dropout
        return
    name, last = [(n, m) for n, m in net.named_modules() if isinstance(m, nn.Linear)][-1]
    net.set_submodule(name, nn.Sequential(nn.Dropout(dropout), last))


def _interpolation(inputs: int, outputs: int) -> torch.Tensor:
    """``float32 (outputs, inputs)``: weights of linear interpolation between pixel centres."""
    centre = ((torch.arange(outputs) + 0.5) * inputs / outputs - 0.5).clamp(0, inputs - 1)
    return (1 - (centre[:, None] - torch.arange(inputs)[None]).abs()).clamp(min=0)
