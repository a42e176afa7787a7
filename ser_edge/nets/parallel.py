"""Layers that give several processes together what one process would give.

Batch normalisation and dropout see a batch as a whole. Where a batch is divided among processes,
these look at all of it, so that a distributed run reaches the figures of a single one.
"""

from __future__ import annotations

import torch
from torch import distributed, nn
from torch.distributed.nn import functional as differentiable

from ser_edge.data.distributed import rows


class SharedDropout(nn.Dropout):
    """Dropout whose mask is drawn for the whole batch, of which a process keeps its rows."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training or self.p == 0:
            return x
        draws = rows(lambda n: torch.rand(n, *x.shape[1:], device=x.device), len(x))
        return torch.where(draws >= self.p, x / (1 - self.p), 0.0)


class SharedBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation over the parts of a batch in all processes, on any device.

    ``torch.nn.SyncBatchNorm`` is the same and faster, but for GPUs alone.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training or not distributed.is_initialized():
            return super().forward(x)
        values = x.float()
        count = values.numel() // values.shape[1] * distributed.get_world_size()
        shape = (1, -1, 1, 1)
        mean = _sum(values.sum(dim=(0, 2, 3))) / count
        centred = values - mean.view(shape)
        variance = _sum(centred.square().sum(dim=(0, 2, 3))) / count
        with torch.no_grad():
            assert self.running_mean is not None
            assert self.running_var is not None
            assert self.num_batches_tracked is not None
            momentum = 0.1 if self.momentum is None else self.momentum
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, momentum)
            self.running_var.lerp_(variance * (count / (count - 1)), momentum)
        scale = torch.rsqrt(variance + self.eps) * self.weight
        result: torch.Tensor = centred * scale.view(shape) + self.bias.view(shape)
        return result.to(x.dtype)


def _sum(values: torch.Tensor) -> torch.Tensor:
    """Over all processes; gradients flow back to each."""
    result: torch.Tensor = differentiable.all_reduce(values)  # type: ignore[no-untyped-call]
    return result


def share_dropout(net: nn.Module) -> None:
    """Turn every dropout of a network into a :class:`SharedDropout`, in place."""
    for name, module in list(net.named_modules()):
        if type(module) is nn.Dropout:
            net.set_submodule(name, SharedDropout(module.p))


def share_batch_norm(net: nn.Module) -> None:
    """Turn every 2-d batch normalisation into a :class:`SharedBatchNorm2d`, in place."""
    for name, module in list(net.named_modules()):
        if type(module) is nn.BatchNorm2d:
            shared = SharedBatchNorm2d(module.num_features, module.eps, module.momentum)
            shared.load_state_dict(module.state_dict())
            net.set_submodule(name, shared)
