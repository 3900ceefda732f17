"""Batch norm over parts of the batch, as several devices without synchronised batch norm have it."""

from __future__ import annotations

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional as F


class SplitBatchNorm2d(nn.BatchNorm2d):
    """Batch norm whose training statistics are taken over each of ``splits`` consecutive parts of the batch.

    MoCo's shuffled batch norm needs parts: on one device a plain batch norm leaks which keys share a batch. Same
    parameters and buffers as ``BatchNorm2d`` (running statistics are the mean over parts), and the same in ``eval``.
    """

    splits: int = 1
    images_in_part: int | None = None  # set where a batch comes in micro-batches, which hold fewer parts

    def forward(self, input: Tensor) -> Tensor:
        """Normalise ``(B, C, H, W)``, with ``B`` a multiple of ``splits``; the layout in memory stays as it is.

        Each part is normalised by itself. Folding the parts into the channels instead would take one call, and two
        transposing copies of the whole batch where channels lie last.
        """
        if not self.training:
            return super().forward(input)
        splits = len(input) // self.images_in_part if self.images_in_part else self.splits
        means, variances = (value.repeat(splits, 1) for value in (self.running_mean, self.running_var))
        parts = [
            F.batch_norm(part, mean, variance, self.weight, self.bias, True, self.momentum, self.eps)
            for part, mean, variance in zip(input.chunk(splits), means, variances, strict=True)
        ]
        with torch.no_grad():
            self.running_mean.copy_(means.mean(0))
            self.running_var.copy_(variances.mean(0))
            self.num_batches_tracked.add_(1)
        return torch.cat(parts)


class SumOverProcesses(torch.autograd.Function):
    """The sum of a tensor over all processes; so is its gradient, for every process's loss depends on the sum."""

    @staticmethod
    def forward(context: object, part: Tensor) -> Tensor:
        """Return the sum."""
        whole = part.clone()
        distributed.all_reduce(whole)
        return whole

    @staticmethod
    def backward(context: object, gradient: Tensor) -> Tensor:
        """Return the sum of the gradients."""
        whole = gradient.clone()
        distributed.all_reduce(whole)
        return whole


class SharedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch norm whose training statistics are taken over the batches of all processes.

    For a CPU, where torch's ``SyncBatchNorm`` does not run. Same parameters and buffers; the same in ``eval``.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalise ``(B, C, …)``; every process must hold as many images."""
        if not self.training:
            return super().forward(input)
        dimensions = [d for d in range(input.dim()) if d != 1]
        shape = [1, -1] + [1] * (input.dim() - 2)
        processes, values = distributed.get_world_size(), input.float()
        mean = SumOverProcesses.apply(values.mean(dimensions)) / processes
        centred = values - mean.view(shape)
        variance = SumOverProcesses.apply(centred.square().mean(dimensions)) / processes
        if self.running_mean is not None:
            with torch.no_grad():
                count = input.numel() // input.shape[1] * processes
                self.running_mean.lerp_(mean, self.momentum)
                self.running_var.lerp_(variance * count / (count - 1), self.momentum)
                self.num_batches_tracked.add_(1)
        output = centred * torch.rsqrt(variance + self.eps).view(shape)
        if self.affine:
            output = output * self.weight.view(shape) + self.bias.view(shape)
        return output.to(input.dtype)

    def _check_input_dim(self, input: Tensor) -> None:
        """Take any number of dimensions."""


def split_batch_norm(module: nn.Module, splits: int, processes: int = 1) -> None:
    """Turn every ``BatchNorm2d`` inside ``module`` into a split one, in place; ``splits`` = 1 changes nothing.

    Args:
        module: Where.
        splits: Parts of the global batch.
        processes: How many processes share the batch, a divisor of ``splits``; each holds as many parts.
    """
    if splits == 1:
        return
    for found in module.modules():
        if type(found) is nn.BatchNorm2d:
            found.__class__ = SplitBatchNorm2d
            found.splits = splits // processes


def share_batch_norm(module: nn.Module, device: torch.device) -> None:
    """Let every batch norm that is not split take its statistics over all processes, in place."""
    for found in module.modules():
        if type(found) in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d):
            if device.type == "cuda":
                found.__class__, found.process_group = nn.SyncBatchNorm, None
            else:
                found.__class__ = SharedBatchNorm


def constants_of(network: nn.Module) -> dict[str, float]:
    """Return ``eps`` and ``momentum`` of a network's first batch norm, for heads on it; PyTorch's if it has none."""
    for layer in network.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            return {"eps": layer.eps, "momentum": layer.momentum}
    return {}
