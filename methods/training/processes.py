"""Several processes that train one phase together, a device each: who holds which part of a batch.

Process r of W holds the r-th of W consecutive parts of every global batch. A phase's numbers do not depend on W but for
the order in which floating-point sums are taken:

* gradients are averaged (``torch.nn.parallel.DistributedDataParallel``), and every loss is a mean over equal parts or,
  like Barlow Twins' correlation, gathers the global batch itself;
* ``norm_splits`` P is a property of the phase, not of the machines: with P = 1 batch norm takes its statistics over
  the global batch (synchronised), with P > 1 over each of P parts of it, of which every process holds P / W;
* MoCo's keys are shuffled over the global batch, and its queue takes the keys of all processes;
* running statistics of batch norm are averaged before anything reads them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from harness.errors import ConfigurationError
from methods.phases import TrainedConfiguration

Rows = TypeVar("Rows", np.ndarray, Tensor)


@dataclass(frozen=True)
class Processes:
    """This process among those that train together; alone it is 0 of 1.

    Attributes:
        rank: From 0; 0 writes the files.
        count: How many.
    """

    rank: int = 0
    count: int = 1

    def part(self, whole: Rows) -> Rows:
        """Return this process's consecutive part of the rows of a batch."""
        size = len(whole) // self.count
        return whole[self.rank * size : (self.rank + 1) * size]

    def gather(self, part: Tensor) -> Tensor:
        """Return the parts of all processes one below the other; no gradient passes."""
        if self.count == 1:
            return part
        parts = [torch.empty_like(part, memory_format=torch.contiguous_format) for _ in range(self.count)]
        distributed.all_gather(parts, part.contiguous())
        return torch.cat(parts)

    def average_(self, values: Iterable[Tensor]) -> None:
        """Replace each tensor by its mean over the processes."""
        if self.count == 1:
            return
        for value in values:
            distributed.all_reduce(value)
            value.div_(self.count)

    def leaders(self, flag: bool, device: torch.device) -> bool:
        """Return what process 0 says."""
        if self.count == 1:
            return flag
        said = torch.tensor([float(flag)], device=device)
        distributed.broadcast(said, 0)
        return bool(said.item())


def joined() -> Processes:
    """Return this process among those of the default group, or alone where there is none."""
    if not distributed.is_available() or not distributed.is_initialized():
        return Processes()
    return Processes(distributed.get_rank(), distributed.get_world_size())


def check(configuration: TrainedConfiguration, processes: Processes, dimensions: int) -> None:
    """Refuse a number of processes that would change a phase's numbers.

    Raises:
        ConfigurationError: If the batch, or ``norm_splits`` above 1, is no multiple of it, or the phase is 3D.
    """
    if processes.count > 1 and dimensions != 2:
        raise ConfigurationError(
            f"found {processes.count} processes for a network of {dimensions} dimensions; expected one, "
            'for volumes are not shared out; use "dira-bench run"'
        )
    count, batch, splits = processes.count, configuration.batch, configuration.norm_splits
    if batch % count or (splits > 1 and splits % count):
        raise ConfigurationError(
            f"found {count} processes for batch {batch} and norm_splits {splits}; expected a divisor of both "
            "(norm_splits 1 divides over any number); start another number of processes"
        )


def data_parallel(module: nn.Module, trained: Iterable[nn.Parameter], processes: Processes) -> nn.Module:
    """Wrap a module so that the gradients of ``trained`` are averaged over the processes.

    Parameters that take no part in its forward pass, or belong to another optimiser, must not be among them: the
    averaging waits for each. Buffers are left alone.
    """
    if processes.count == 1:
        return module
    chosen = {id(parameter) for parameter in trained}
    others = [p for p in module.parameters() if p.requires_grad and id(p) not in chosen]
    for parameter in others:
        parameter.requires_grad_(False)
    try:
        return DistributedDataParallel(module, broadcast_buffers=False, gradient_as_bucket_view=True)
    finally:
        for parameter in others:
            parameter.requires_grad_(True)


def running_statistics(module: nn.Module) -> list[Tensor]:
    """Return the running means and variances of every batch norm inside."""
    norms = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    return [value for m in norms if m.running_mean is not None for value in (m.running_mean, m.running_var)]
