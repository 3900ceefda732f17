"""Validation during pretraining: the phase's own losses on held-out images, always with the same views."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from methods.phases import ImageViews
from methods.training.batches import as_float, as_views
from methods.training.pairs import Pairs
from methods.training.processes import Processes
from methods.training.trained import Trained
from methods.views import make_views
from methods.views_on_device import make_packed, pack_views


class HeldOutLosses(Protocol):
    """What a training is validated by."""

    def losses(self, objective: Trained, precision: torch.dtype | None, channels_last: bool) -> dict[str, float]:
        """Return losses on held-out images by name, ``total`` among them; none where nothing is held out."""
        ...


class Batched:
    """Losses on batches that are always the same.

    An incomplete last batch is dropped, unless it is the only one. Batches of up to ``KEEP`` images are kept in memory.
    Of several processes each takes its part of every batch; an only, incomplete batch loses what they do not divide.
    """

    KEEP = 1024

    def __init__(self, rows: np.ndarray, batch: int, device: torch.device, processes: Processes) -> None:
        self._processes, self._device = processes, device
        whole = max(batch, len(rows) // batch * batch)
        self._parts = [rows[start : start + batch] for start in range(0, min(whole, len(rows)), batch)]
        self._kept: list[tuple[Tensor, ...]] = []
        self._keeps = len(rows) <= self.KEEP

    def _made(self, part: np.ndarray) -> tuple[Tensor, ...]:
        """Return what ``as_views`` takes of some rows."""
        raise NotImplementedError

    def _batches(self) -> Iterator[tuple[Tensor, ...]]:
        if self._kept:
            yield from self._kept
            return
        for whole in self._parts:
            made = self._made(self._processes.part(whole))
            if self._keeps:
                self._kept.append(made)
            yield made

    @torch.no_grad()
    def losses(self, objective: Trained, precision: torch.dtype | None, channels_last: bool) -> dict[str, float]:
        """Return each term's loss by role and their weighted sum as ``total``, means over images.

        The objective is in ``eval`` meanwhile: running statistics, queue and momentum encoder stay as they are.
        """
        if not self._parts:
            return {}
        sums: dict[str, Tensor] = {}
        images = 0
        objective.eval()
        try:
            for made in self._batches():
                views = as_views(objective, made, 0, channels_last)
                with torch.autocast(self._device.type, precision or torch.bfloat16, enabled=precision is not None):
                    total, losses, _ = objective(views)
                size = len(views.query)
                images += size
                for name, value in {**losses, "total": total}.items():
                    sums[name] = sums.get(name, torch.zeros((), device=self._device)) + value.float() * size
        finally:
            objective.train()
        self._processes.average_(sums.values())
        return {name: float(value) / images for name, value in sums.items()}


class Validation(Batched):
    """The views of the validation images, drawn once from a seed of their own.

    The authors draw new random views at every validation; here a falling loss is the network's doing.
    """

    def __init__(
        self,
        images: np.ndarray,
        rows: np.ndarray,
        batch: int,
        stream_seed: int,
        views: ImageViews,
        device: torch.device,
        pairs: Pairs,
        processes: Processes,
    ) -> None:
        super().__init__(rows, batch, device, processes)
        self._pairs, self._images, self._seed, self._views = pairs, images, stream_seed, views

    def _made(self, part: np.ndarray) -> tuple[Tensor, ...]:
        partners = self._pairs.of(part, self._seed, 0)
        if self._device.type == "cuda":
            others = None if partners is part else self._images[partners]
            packed = pack_views(self._images[part], part, self._seed, 0, self._views, others, pinned=True)
            return make_packed(packed.to(self._device), self._views)
        raw = make_views(self._images, part, self._seed, 0, self._views, partners)
        return tuple(as_float(torch.from_numpy(view)) for view in raw)
