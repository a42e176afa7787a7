"""The module of speech encoders: waveforms -> loss; two stages with their learning rates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch.nn import functional

from ser_edge.config.ssl import SSLRecipe
from ser_edge.data.audio_augment import SoundAugment
from ser_edge.data.datasets import (
    AllSoundWindows,
    Clip,
    TrainingData,
    TrainingSounds,
    babble_bank,
    load_sounds,
)
from ser_edge.nets.ssl import SpeechNet, build_speech_net
from ser_edge.nets.ssl_bundles import find_bundle
from ser_edge.training.base_module import BaseModule
from ser_edge.training.optim import decayed, each_step, rise_and_fall
from ser_edge.training.setup import SplitClips, class_weights


class SSLModule(BaseModule):
    """A network pretrained on speech in training: first its head alone, then more of it.

    Parameters
    ----------
    recipe, net, validation, class_weights, data
        As :class:`ser_edge.training.base_module.BaseModule` takes them.
    sound : SoundAugment
        Makes windows of waveforms, and changes them where the recipe says so.
    """

    large: ClassVar[bool] = True
    recipe: SSLRecipe
    net: SpeechNet

    def __init__(
        self,
        recipe: SSLRecipe,
        net: SpeechNet,
        validation: Sequence[Clip],
        class_weights: torch.Tensor,
        data: str,
        sound: SoundAugment,
    ) -> None:
        super().__init__(recipe, net, validation, class_weights, data)
        self._sound = sound

    def on_train_epoch_start(self) -> None:
        super().on_train_epoch_start()
        # From the epoch alone, so that a resumed run is in the right stage.
        if self.current_epoch < self.recipe.frozen_epochs:
            self.net.freeze()
        else:
            self.net.unfreeze(self.recipe.top_layers)

    def loss(self, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
        waveforms, lengths, _, labels = batch
        with torch.autocast(self.device.type, enabled=False):
            windows = self._sound(waveforms, lengths)
        return functional.cross_entropy(
            self(windows),
            labels,
            weight=self._class_weights,  # type: ignore[arg-type]
            label_smoothing=self.recipe.label_smoothing,
        )

    def configure_optimizers(self) -> Any:
        recipe = self.recipe
        steps = int(self.trainer.estimated_stepping_batches)
        frozen = steps * recipe.frozen_epochs // recipe.epochs

        def share(step: int, frozen_lr: float, unfrozen_lr: float) -> float:
            """Of ``recipe.lr``; each stage rises and falls by itself."""
            lr, first, last = (
                (frozen_lr, 0, frozen) if step < frozen else (unfrozen_lr, frozen, steps)
            )
            rise = max(1, round(recipe.warmup * (last - first)))
            return lr / recipe.lr * rise_and_fall(step - first, rise, last - first)

        def of_head(step: int) -> float:
            return share(step, recipe.lr, recipe.head_lr)

        def of_encoder(step: int) -> float:
            return share(step, 0.0, recipe.encoder_lr)

        groups: list[dict[str, Any]] = []
        rates: list[Callable[[int], float]] = []
        # What is frozen has no gradient, and no state of the optimiser until it has one.
        for parameters, rate in (
            (self.net.head(), of_head),
            (self.net.top(recipe.top_layers), of_encoder),
        ):
            for part, decay in zip(decayed(parameters), (recipe.weight_decay, 0.0), strict=True):
                groups.append({"params": part, "weight_decay": decay})
                rates.append(rate)
        optimizer = torch.optim.AdamW(groups, lr=recipe.lr)
        return each_step(optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, rates))

    def finish(self, clips: SplitClips) -> dict[str, Any]:
        """Move to where it is scored; nothing is done to the weights."""
        self.net.to(self.trainer.strategy.root_device)
        return {"layer_weights": tuple(round(weight, 5) for weight in self.net.layer_weights)}


def build_ssl_module(
    recipe: SSLRecipe,
    clips: SplitClips,
    data: str,
    *,
    sounds: Sequence[Path],
    pretrained: bool,
    progress: bool,
) -> tuple[SSLModule, TrainingData]:
    """A recipe and clips -> module and tensors.

    ``sounds`` are folders with the recordings; the weights are not ``pretrained`` where those of a
    checkpoint follow.

    Raises
    ------
    ValueError
        Recordings, windows and recipe do not fit, or there are no weights.
    """
    spec = recipe.image
    net = build_speech_net(recipe, find_bundle(recipe.bundle), pretrained=pretrained)
    parts = {"training": clips.training, **clips.scored}
    together = iter(
        load_sounds(sounds, [c for part in parts.values() for c in part], spec, progress=progress)
    )
    loaded = {name: [next(together) for _ in part] for name, part in parts.items()}
    dataset = TrainingSounds(clips.training, loaded["training"], spec, recipe.seed)
    augment = SoundAugment(recipe.sound, spec, babble_bank(dataset, recipe.sound.babble, spec))
    module = SSLModule(
        recipe, net, clips.scored.get("validation", []), class_weights(clips.training, recipe),
        data, augment,
    )  # fmt: skip
    windows = {n: AllSoundWindows(part, loaded[n], spec) for n, part in clips.scored.items()}
    return module, TrainingData(dataset, windows, recipe.batch_size // recipe.accumulation)
