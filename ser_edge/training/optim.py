"""Optimizers and schedules: AdamW, Muon, cosine, one-cycle."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, OneCycleLR

from ser_edge.config.recipe import Recipe

_COEFFICIENTS: Final = (3.4445, -4.7750, 2.0315)
_ROUNDS: Final = 5
_TINY: Final = 1e-7


class Muon(Optimizer):
    """Momentum whose steps are made orthogonal.

    Jordan et al. 2024, https://kellerjordan.github.io/posts/muon: every direction that a matrix can
    learn in gets a step of the same size, also those whose gradients are small. Kernels of
    convolutions are matrices from what they see to their channels.
    A group with ``orthogonal`` false is stepped as AdamW (Loshchilov & Hutter 2019,
    arXiv 1711.05101).

    Parameters
    ----------
    groups : iterable of dict
        Parameter groups with ``params``, ``orthogonal`` and, where it differs, ``weight_decay``.
    lr : float
        For both: an orthogonal step is scaled to the size of AdamW's (Liu et al. 2025,
        arXiv 2502.16982).
    weight_decay : float
    momentum : float
        Nesterov's, of orthogonal groups.
    betas : (float, float)
        Of the others.
    """

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        lr: float,
        weight_decay: float = 0.0,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.999),
    ) -> None:
        defaults = {
            "lr": lr,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "betas": betas,
            "orthogonal": False,
        }
        super().__init__(groups, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            step = self._orthogonal if group["orthogonal"] else self._adamw
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    step(parameter, group)
        return loss

    def _orthogonal(self, parameter: torch.Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        mean, gradient = state["momentum"], parameter.grad
        assert gradient is not None
        mean.lerp_(gradient, 1 - group["momentum"])
        ahead = gradient.lerp(mean, group["momentum"])
        step = orthogonal(ahead.flatten(1))
        scale = 0.2 * max(step.shape) ** 0.5
        parameter.add_(step.view(parameter.shape), alpha=-group["lr"] * scale)

    def _adamw(self, parameter: torch.Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros(())
            state["mean"] = torch.zeros_like(parameter)
            state["square"] = torch.zeros_like(parameter)
        gradient = parameter.grad
        assert gradient is not None
        state["step"] += 1
        first, second = group["betas"]
        state["mean"].lerp_(gradient, 1 - first)
        state["square"].lerp_(gradient.square(), 1 - second)
        steps = float(state["step"])
        root = (state["square"] / (1 - second**steps)).sqrt_().add_(1e-8)
        parameter.addcdiv_(state["mean"], root, value=-group["lr"] / (1 - first**steps))


def orthogonal(matrix: torch.Tensor) -> torch.Tensor:
    """The nearest matrix whose singular values are all about 1 (0.7 to 1.2).

    Newton and Schulz's iteration with Jordan's coefficients: matrix products alone.

    Parameters
    ----------
    matrix : Tensor
        ``float32 (rows, columns)``.
    """
    a, b, c = _COEFFICIENTS
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / (x.norm() + _TINY)
    for _ in range(_ROUNDS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    found: torch.Tensor = x.T if tall else x
    return found


def image_optimizer(recipe: Recipe, parameters: Sequence[nn.Parameter], steps: int) -> Any:
    """A recipe, trained parameters and the number of steps -> optimizer and schedule."""
    optimizer = _optimizer(recipe, parameters)
    if recipe.schedule == "one-cycle":
        # Smith & Topin 2017, arXiv 1708.07120; momentum falls while the rate rises.
        start = max(recipe.warmup, 1 / steps)
        return each_step(optimizer, OneCycleLR(optimizer, recipe.lr, steps, pct_start=start))
    rise = max(1, round(recipe.warmup * steps))
    return each_step(optimizer, LambdaLR(optimizer, lambda step: rise_and_fall(step, rise, steps)))


def _optimizer(recipe: Recipe, parameters: Sequence[nn.Parameter]) -> Optimizer:
    matrices, others = decayed(parameters)
    undecayed = {"params": others, "weight_decay": 0.0}
    if recipe.optimizer == "adamw":
        decay = {"params": matrices, "weight_decay": recipe.weight_decay}
        return torch.optim.AdamW([decay, undecayed], lr=recipe.lr)
    # The last layer's matrix says what each emotion is, not a change of features.
    kernels = {"params": [p for p in matrices if p.ndim > 2], "orthogonal": True}
    last = {"params": [p for p in matrices if p.ndim == 2]}
    return Muon([kernels, last, undecayed], recipe.lr, recipe.weight_decay)


def each_step(optimizer: Any, schedule: Any) -> dict[str, Any]:
    """An optimizer and a schedule that moves at every step, as Lightning takes them."""
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def decayed(parameters: Sequence[nn.Parameter]) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Parameters whose weights are decayed, and the others.

    Norms and biases are not: that only moves the scale that a norm undoes.
    """
    return [p for p in parameters if p.ndim > 1], [p for p in parameters if p.ndim <= 1]


def rise_and_fall(step: int, rise: int, steps: int) -> float:
    """Share of the learning rate: up in ``rise`` steps, then down a half cosine to 0."""
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + float(np.cos(np.pi * (step - rise) / max(1, steps - rise))))
