"""Pictures of sounds that are no speech, put among the clips of a training batch."""

from __future__ import annotations

import torch

from ser_edge.draws import Some
from ser_edge.melimage import UInt8


class Exposure:
    """Replaces some rows of a batch by pictures whose target is the same for all classes.

    Outlier exposure (Hendrycks et al. 2019, arXiv 1812.04606): the cross-entropy to the uniform
    distribution, with as much weight as the rows are many. A clip with noise over it stays a clip:
    only what holds no speech at all is an outlier.

    Parameters
    ----------
    pictures : ndarray
        ``uint8 (count, 1, n_mels, frames)``, one or more (:func:`ser_edge.outliers.pictures`).
    share : float
        Probability of each row, 0 to 1.
    class_weights : Tensor
        ``float32 (classes,)``: those of the loss. Targets are divided by them, so that the loss
        is still least where all scores are the same.
    """

    # No nn.Module, and the pictures no buffer: they would be averaged with the weights and sent
    # around among the processes at every step.

    def __init__(self, pictures: UInt8, share: float, class_weights: torch.Tensor) -> None:
        self._pictures, self._share = torch.from_numpy(pictures), share
        self._target = (1 / class_weights) / (1 / class_weights).sum()

    def __call__(
        self, images: torch.Tensor, targets: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Expose a batch.

        Parameters
        ----------
        images : Tensor
            ``float32 (N, 1, n_mels, frames)``.
        targets : Tensor
            ``float32 (N, classes)``.

        Returns
        -------
        images, targets : Tensor
        replaced : Tensor
            ``bool (N,)``.
        """
        device = images.device
        some = Some(len(images), self._share, device)
        drawn = some.rows(lambda n: torch.randint(len(self._pictures), (n,), device=device))
        pictures = self._pictures[drawn.cpu()].to(device, images.dtype)
        even = self._target.to(device).expand(len(drawn), -1)
        replaced = torch.zeros(len(images), dtype=torch.bool, device=device)
        return (
            images.index_copy(0, some.index, pictures),
            targets.index_copy(0, some.index, even),
            replaced.index_fill(0, some.index, True),
        )
