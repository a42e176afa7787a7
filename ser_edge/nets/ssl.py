"""A network pretrained on speech with a head for emotions: waveforms -> logits."""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from ser_edge.config.ssl import SSLRecipe
from ser_edge.emotions import EMOTIONS
from ser_edge.nets.ssl_bundles import Bundle, load_bundle, normalizes, untrained

_EPSILON: Final = 1e-5
"""As in ``torch.nn.functional.layer_norm``, by which these networks were normalised."""


def build_speech_net(recipe: SSLRecipe, bundle: Bundle, *, pretrained: bool) -> SpeechNet:
    """The recipe's network: pretrained, or with random weights in whose place a run's will come.

    Raises
    ------
    ValueError
        The weights cannot be downloaded, or the bundle takes another sample rate.
    """
    if bundle.sample_rate != recipe.image.sample_rate:
        raise ValueError(
            f"{recipe.bundle} takes {bundle.sample_rate:g} Hz, the recipe's windows have "
            f"{recipe.image.sample_rate} Hz"
        )
    encoder = load_bundle(bundle, recipe.bundle) if pretrained else untrained(bundle)
    inner = getattr(encoder, "model", encoder)  # torchaudio wraps those that it normalises for
    net = SpeechNet(
        inner,
        normalize=normalizes(bundle),
        dropout=recipe.dropout,
        gradient_checkpointing=recipe.gradient_checkpointing,
    )
    if recipe.top_layers > net.layers:
        raise ValueError(
            f"top_layers is {recipe.top_layers}, {recipe.bundle} has {net.layers} layers"
        )
    return net


class SpeechNet(nn.Module):
    """Transformer features of a waveform, weighted over layers, averaged over time -> logits.

    Every layer is averaged over the moments with sound, and brought to mean 0 and variance 1 over
    its features, so that weights of layers mean what they say whatever a layer's scale is. Then
    the layers, the transformer's input among them, are added with learnt weights (as in SUPERB,
    Yang et al. 2021, arXiv 2105.01051), and one linear layer gives the logits.

    Parameters
    ----------
    encoder : nn.Module
        A ``torchaudio.models.Wav2Vec2Model``: wav2vec 2.0, HuBERT or WavLM.
    normalize : bool
        Bring each waveform to mean 0 and variance 1 first.
    dropout : float
        Share of features that is dropped in training.
    gradient_checkpointing : bool
        What is inside a layer is computed again on the way back.
    classes : int

    Notes
    -----
    Takes ``float32 (N, samples)``. Zeros before and after the sound of a row are padding: no norm
    and no attention sees them and no mean holds them, so a clip gives the same logits in a window
    of any length.

    torchaudio's own ``extract_features`` is not used: it has no checkpointing, WavLM's takes no
    padding, the BASE networks' first norm is over the padding too, and its wrapper normalises all
    waveforms of a batch as if they were one. On a single clip without padding the two give the
    same, which a test holds this one to.
    """

    def __init__(
        self,
        encoder: nn.Module,
        *,
        normalize: bool,
        dropout: float = 0.0,
        gradient_checkpointing: bool = False,
        classes: int = len(EMOTIONS),
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self._parts.aux = None  # letters of a bundle that was trained to write
        self._normalize, self._checkpointing = normalize, gradient_checkpointing
        self._first_trained = self.layers
        size = self._parts.encoder.transformer.layer_norm.normalized_shape[0]
        self.weigh = nn.Parameter(torch.zeros(self.layers + 1))
        self.dropout = nn.Dropout(dropout)
        self.classify = nn.Linear(size, classes)
        self.freeze()

    @property
    def _parts(self) -> Any:
        """The encoder, whose parts torch's types do not know."""
        return self.encoder

    @property
    def layers(self) -> int:
        """Of the transformer."""
        return len(self._parts.encoder.transformer.layers)

    @property
    def layer_weights(self) -> list[float]:
        """How much each layer counts, the transformer's input first; they sum to 1."""
        return [float(w) for w in torch.softmax(self.weigh.detach().float(), dim=0)]

    def head(self) -> list[nn.Parameter]:
        """What is not pretrained."""
        return [self.weigh, *self.classify.parameters()]

    def top(self, layers: int) -> list[nn.Parameter]:
        """Parameters that :meth:`unfreeze` trains."""
        return [p for part in self._trainable(layers) for p in part.parameters()]

    def freeze(self) -> None:
        """Train the head alone."""
        self.encoder.requires_grad_(False)
        self._first_trained = self.layers
        self.train(self.training)

    def unfreeze(self, layers: int) -> None:
        """Train so many layers from above with the head; 0: all, and what leads to them.

        The convolutions that read the waveform stay as they are.
        """
        self.freeze()
        for part in self._trainable(layers):
            part.requires_grad_(True)
        self._first_trained = self.layers - (layers or self.layers)
        self.train(self.training)

    def _trainable(self, layers: int) -> list[nn.Module]:
        inner = self._parts.encoder
        if layers:
            return list(inner.transformer.layers[-layers:])
        transformer = inner.transformer
        before = [inner.feature_projection, transformer.pos_conv_embed, transformer.layer_norm]
        return [*before, *transformer.layers]

    def train(self, mode: bool = True) -> SpeechNet:
        """As always, but nothing is dropped in what is frozen."""
        super().train(mode)
        self._parts.feature_extractor.eval()
        if self._first_trained:
            self._parts.encoder.eval()
            for layer in self._parts.encoder.transformer.layers[self._first_trained :]:
                layer.train(mode)
        return self

    def forward(self, waveforms: torch.Tensor) -> torch.Tensor:
        """``float32 (N, samples)`` -> logits, ``(N, classes)``."""
        pooled = self.pooled(waveforms)
        features = (torch.softmax(self.weigh, dim=0)[:, None] * pooled).sum(dim=1)
        logits: torch.Tensor = self.classify(self.dropout(features))
        return logits

    def pooled(self, waveforms: torch.Tensor) -> torch.Tensor:
        """The mean over time of the transformer's input and every layer, brought to one scale.

        Returns
        -------
        Tensor
            ``float32 (N, layers + 1, size)``.
        """
        parts = self._parts
        with torch.no_grad():
            sound = _between_zeros(waveforms)
            if self._normalize:
                waveforms = _standardised(waveforms, sound)
            features, valid = _convolved(parts.feature_extractor.conv_layers, waveforms, sound)
        transformer = parts.encoder.transformer
        with self._grad(self._first_trained == 0):
            x = parts.encoder.feature_projection(features)
            x = x.masked_fill(~valid[:, :, None], 0.0)
            x = x + transformer.pos_conv_embed(x)
            if transformer.layer_norm_first:
                x = transformer.layer_norm(x)
            x = transformer.dropout(x)
        means = [_mean(x, valid)]
        bias: torch.Tensor | None = None
        masks = _masks(transformer.layers[0], valid)
        for number, layer in enumerate(transformer.layers):
            with self._grad(number >= self._first_trained):
                x, bias = self._through(layer, x, bias, masks)
                means.append(_mean(x, valid))
        pooled = torch.stack(means, dim=1)
        return functional.layer_norm(pooled, pooled.shape[-1:], eps=_EPSILON)

    def _grad(self, trained: bool) -> Any:
        return torch.set_grad_enabled(torch.is_grad_enabled() and trained)

    def _through(
        self, layer: nn.Module, x: torch.Tensor, bias: torch.Tensor | None, masks: dict[str, Any]
    ) -> Any:
        """One layer, WavLM's bias of relative positions handed on from the first."""
        if self._checkpointing and torch.is_grad_enabled():
            return checkpoint(layer, x, position_bias=bias, **masks, use_reentrant=False)
        return layer(x, position_bias=bias, **masks)


def _masks(layer: Any, valid: torch.Tensor) -> dict[str, Any]:
    """What keeps attention off the padding, as a layer of that kind takes it."""
    if getattr(layer.attention, "has_position_bias", False):  # WavLM adds this to its bias
        off = torch.zeros_like(valid, dtype=torch.float32).masked_fill(~valid, -torch.inf)
        return {"key_padding_mask": off}
    count, length = valid.shape
    return {"attention_mask": valid[:, None, None].expand(count, 1, length, length)}


def _convolved(
    layers: Any, waveforms: torch.Tensor, sound: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The convolutions that read waveforms.

    Returns
    -------
    features : Tensor
        ``(N, moments, size)``.
    valid : Tensor
        Which of them depend on sound alone, ``bool (N, moments)``; where none does, all.
    """
    x, step, reach = waveforms[:, None], 1, 1
    valid = torch.ones_like(waveforms, dtype=torch.bool)
    for layer in layers:
        x = layer.conv(x)
        reach += (layer.kernel_size - 1) * step
        step *= layer.stride
        start = torch.arange(x.shape[2], device=x.device) * step
        valid = (start >= sound[:, :1]) & (start + reach <= sound[:, 1:])
        valid = valid | ~valid.any(dim=1, keepdim=True)
        if isinstance(layer.layer_norm, nn.GroupNorm):  # of the BASE networks, over time
            x = _normed_over_time(x, valid, layer.layer_norm)
        elif layer.layer_norm is not None:
            x = layer.layer_norm(x)
        x = functional.gelu(x)
    return x.transpose(1, 2), valid


def _normed_over_time(x: torch.Tensor, valid: torch.Tensor, norm: nn.GroupNorm) -> torch.Tensor:
    """A norm of each channel by itself, of which only the moments with sound are the measure."""
    share = (valid / valid.sum(dim=1, keepdim=True))[:, None]
    mean = (x.float() * share).sum(dim=2, keepdim=True)
    variance = ((x.float() - mean).square() * share).sum(dim=2, keepdim=True)
    return (x - mean) * torch.rsqrt(variance + norm.eps) * norm.weight[:, None] + norm.bias[:, None]


def _between_zeros(waveforms: torch.Tensor) -> torch.Tensor:
    """First sample of each row's sound and the one after its last, ``int64 (N, 2)``.

    A row of zeros is all sound: it has to be something.
    """
    sounding = (waveforms != 0).int()
    length = waveforms.shape[1]
    first, last = sounding.argmax(dim=1), length - sounding.flip(1).argmax(dim=1)
    silent = sounding.amax(dim=1) == 0
    return torch.stack([first.masked_fill(silent, 0), last.masked_fill(silent, length)], dim=1)


def _standardised(waveforms: torch.Tensor, sound: torch.Tensor) -> torch.Tensor:
    """Each row's sound with mean 0 and variance 1, by itself; its padding stays 0."""
    place = torch.arange(waveforms.shape[1], device=waveforms.device)
    inside = (place >= sound[:, :1]) & (place < sound[:, 1:])
    count = inside.sum(dim=1, keepdim=True)
    centred = (waveforms - waveforms.sum(dim=1, keepdim=True) / count) * inside
    variance = centred.square().sum(dim=1, keepdim=True) / count
    return centred * torch.rsqrt(variance + _EPSILON)


def _mean(x: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Over the moments with sound, ``float32 (N, size)``."""
    weights = valid / valid.sum(dim=1, keepdim=True)
    return (weights[:, :, None] * x.float()).sum(dim=1)  # no product that autocast would round
