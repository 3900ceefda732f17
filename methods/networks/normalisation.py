"""Batch norm over parts of the batch, as several devices without synchronised batch norm have it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class SplitBatchNorm2d(nn.BatchNorm2d):
    """Batch norm whose training statistics are taken over each of ``splits`` consecutive parts of the batch.

    MoCo's shuffled batch norm needs parts: on one device a plain batch norm leaks which keys share a batch. Same
    parameters and buffers as ``BatchNorm2d`` (running statistics are the mean over parts), and the same in ``eval``.
    """

    splits: int = 1

    def forward(self, input: Tensor) -> Tensor:
        """Normalise ``(B, C, H, W)``, with ``B`` a multiple of ``splits``."""
        if not self.training:
            return super().forward(input)
        batch, channels, height, width = input.shape
        mean, variance = self.running_mean.repeat(self.splits), self.running_var.repeat(self.splits)
        folded = input.reshape(self.splits, batch // self.splits, channels, height, width).transpose(0, 1)
        folded = folded.reshape(batch // self.splits, self.splits * channels, height, width)
        output = F.batch_norm(
            folded,
            mean,
            variance,
            self.weight.repeat(self.splits),
            self.bias.repeat(self.splits),
            True,
            self.momentum,
            self.eps,
        )
        with torch.no_grad():
            self.running_mean.copy_(mean.view(self.splits, channels).mean(0))
            self.running_var.copy_(variance.view(self.splits, channels).mean(0))
            self.num_batches_tracked.add_(1)
        output = output.reshape(batch // self.splits, self.splits, channels, height, width).transpose(0, 1)
        return output.reshape(batch, channels, height, width)


def split_batch_norm(module: nn.Module, splits: int) -> None:
    """Turn every ``BatchNorm2d`` inside ``module`` into a split one, in place; ``splits`` = 1 changes nothing."""
    if splits == 1:
        return
    for found in module.modules():
        if type(found) is nn.BatchNorm2d:
            found.__class__ = SplitBatchNorm2d
            found.splits = splits
