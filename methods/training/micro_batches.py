"""Micro-batches: a batch in several forward and backward passes, where memory does not hold it at once.

How many images a pass takes is a setting of the machine, ``DIRA_BENCH_MICRO_BATCH`` (per process), and no part of any
identity; so it is accepted only where it changes no number but by the order of floating-point sums:

* batch norm takes statistics over a part of the batch (``norm_splits``): a micro-batch must hold whole parts. MoCo-v2
  and restoration alone under the paper's ``norm_splits: 4`` may be cut at 64 of 256 images and no finer;
* SimSiam's heads and Barlow Twins' heads and correlation take statistics over the whole batch: they cannot be cut.

Whoever wants smaller parts nonetheless asks for another method: a larger ``norm_splits`` or a smaller batch in the
entry's options, which is identity.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import fields, replace

import torch
from torch import Tensor, nn

from harness.errors import ConfigurationError
from methods.networks.normalisation import SplitBatchNorm2d
from methods.phases import TrainedConfiguration
from methods.terms.bound import Views

VARIABLE = "DIRA_BENCH_MICRO_BATCH"


def micro_batch(configuration: TrainedConfiguration, objective: nn.Module, processes: int) -> int:
    """Return how many images a pass takes: the process's whole part of the batch unless the environment says less.

    If it says less, split batch norms inside ``objective`` are told how many images a part has.

    Raises:
        ConfigurationError: If the setting is no number, or would change the phase's numbers.
    """
    whole = configuration.batch // processes
    text = os.environ.get(VARIABLE, "").strip()
    if not text:
        return whole
    if not text.isdecimal() or int(text) < 1:
        raise ConfigurationError(f'found {VARIABLE}="{text}"; expected a number of images; correct or unset it')
    wanted = int(text)
    if wanted >= whole:
        return whole
    norms = [m for m in objective.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    whole_batch = [
        m for m in norms if not isinstance(m, SplitBatchNorm2d) and any(p.requires_grad for p in m.parameters())
    ]
    part = configuration.batch // configuration.norm_splits
    if whole_batch or wanted % part or whole % wanted:
        advice = (
            "this phase normalises over the whole batch and cannot be cut"
            if whole_batch
            else f"expected a multiple of {part} (batch {configuration.batch} over norm_splits "
            f"{configuration.norm_splits}) that divides {whole}"
        )
        raise ConfigurationError(
            f"found {VARIABLE}={wanted}; {advice}; unset it, use more processes, or give the entry other options "
            "(norm_splits, or a smaller batch in its profile), which is another method"
        )
    for norm in norms:
        if isinstance(norm, SplitBatchNorm2d):
            norm.images_in_part = part
    return wanted


def cut(views: Views, size: int) -> Iterator[Views]:
    """Yield consecutive micro-batches of ``size`` images; a batch that needs no cutting is yielded as it is."""
    whole = len(views.query)
    if size >= whole:
        yield views
        return
    for start in range(0, whole, size):
        rows = slice(start, start + size)
        parts = {f.name: value[rows] for f in fields(views) if isinstance(value := getattr(views, f.name), Tensor)}
        yield replace(views, rows=rows, **parts)


class OneUpdate:
    """Lets several passes update running statistics as one pass would: by the mean of their statistics.

    The update is linear, so each pass starts from the statistics before the step and their results are averaged.
    """

    def __init__(self, statistics: list[Tensor]) -> None:
        self._statistics = statistics
        self._before = [value.clone() for value in statistics]
        self._sums = [torch.zeros_like(value) for value in statistics]
        self._passes = 0

    def after_pass(self) -> None:
        """Remember what a pass made of the statistics and put them back."""
        torch._foreach_add_(self._sums, self._statistics)
        torch._foreach_copy_(self._statistics, self._before)
        self._passes += 1

    def finish(self) -> None:
        """Set the statistics to the mean over passes."""
        torch._foreach_div_(self._sums, self._passes)
        torch._foreach_copy_(self._statistics, self._sums)
