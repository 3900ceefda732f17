"""Which images a step sees, and how their views get to the device."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from harness.errors import DataError
from harness.packed import Packed, SideStream
from harness.seeding import seed
from methods.phases import ImageViews
from methods.terms.bound import Views
from methods.training.pairs import Pairs
from methods.training.processes import Processes
from methods.training.trained import Trained
from methods.view_parameters import uniforms
from methods.views import make_views
from methods.views_on_device import make_packed, pack_views

ALONE = Processes()


class Order:
    """The order in which a phase sees the training images: a permutation per epoch, incomplete batches dropped.

    Attributes:
        steps_per_epoch: Whole batches in one pass.
    """

    def __init__(self, rows: np.ndarray, batch: int, order_seed: int) -> None:
        if len(rows) < batch:
            raise DataError(
                f"found {len(rows)} training images in the cohort; expected at least one batch of {batch}; "
                "enlarge the cohort or reduce the profile's batch"
            )
        self._rows, self._batch, self._seed = rows, batch, order_seed
        self.steps_per_epoch = len(rows) // batch
        self._epoch: tuple[int, np.ndarray] = (-1, rows)

    def batch(self, step: int) -> tuple[int, np.ndarray]:
        """Return the epoch and the rows ``(B,)`` of a step."""
        epoch, position = divmod(step, self.steps_per_epoch)
        if self._epoch[0] != epoch:
            shuffle = np.random.Generator(np.random.PCG64(seed(self._seed, epoch)))
            self._epoch = (epoch, shuffle.permutation(self._rows))
        start = position * self._batch
        return epoch, self._epoch[1][start : start + self._batch]

    def sha256(self) -> str:
        """Return the hash of the first epoch's order."""
        order = np.concatenate([self.batch(step)[1] for step in range(self.steps_per_epoch)])
        return hashlib.sha256(order.tobytes()).hexdigest()


def first_batch_sha256(order: Order, augment_seed: int) -> str:
    """Return the hash of what determines the first batch: its rows and every number its views are made from."""
    epoch, rows = order.batch(0)
    return hashlib.sha256(rows.tobytes() + uniforms(augment_seed, epoch, rows).tobytes()).hexdigest()


class _Steps(Dataset):
    """Item i = the views of step ``first + i``, uint8; made in a worker process or in this one alike."""

    def __init__(
        self,
        images: np.ndarray,
        order: Order,
        first: int,
        last: int,
        augment_seed: int,
        views: ImageViews,
        pairs: Pairs,
        processes: Processes,
    ) -> None:
        self._images, self._order, self._first, self._last = images, order, first, last
        self._seed, self._views, self._pairs, self._processes = augment_seed, views, pairs, processes

    def __len__(self) -> int:
        return self._last - self._first

    def __getitem__(self, item: int) -> tuple[Tensor, ...]:
        epoch, rows = self._order.batch(self._first + item)
        rows = self._processes.part(rows)
        partners = self._pairs.of(rows, self._seed, epoch)
        made = make_views(self._images, rows, self._seed, epoch, self._views, partners)
        return tuple(torch.from_numpy(view) for view in made)


def batches(
    images: np.ndarray,
    order: Order,
    first: int,
    last: int,
    augment_seed: int,
    views: ImageViews,
    device: torch.device,
    workers: int,
    pairs: Pairs,
    processes: Processes,
) -> Iterator[tuple[Tensor, ...]]:
    """Yield query, key and target, float32 ``(B, 1, P, P)`` in [0, 1] on the device, of steps first … last − 1.

    On a CPU the views are made by OpenCV, in this process or in ``workers`` others. For a GPU a thread gathers rows and
    draws a step ahead, one copy brings both over, and the views are made there in one batch. Either way the same
    numbers choose the augmentation. Of several processes each gets its own part of every batch.
    """
    if device.type == "cuda":

        def pack(step: int) -> Packed:
            epoch, rows = order.batch(step)
            rows = processes.part(rows)
            chosen = pairs.of(rows, augment_seed, epoch)
            others = None if chosen is rows else images[chosen]
            return pack_views(images[rows], rows, augment_seed, epoch, views, others, pinned=True)

        yield from made_ahead(packed_ahead(pack, first, last), partial(make_packed, views=views), device)
        return
    steps = _Steps(images, order, first, last, augment_seed, views, pairs, processes)
    unused = torch.Generator().manual_seed(0)  # without one of its own a loader draws from the global generator
    loader = DataLoader(steps, batch_size=None, num_workers=workers, shuffle=False, generator=unused)
    for made in loader:
        yield tuple(as_float(view) for view in made)


def packed_ahead(pack: Callable[[int], Packed], first: int, last: int) -> Iterator[Packed]:
    """Yield what steps first … last − 1 are made from, read and drawn by one thread a step ahead."""
    with ThreadPoolExecutor(1) as thread:
        waiting = None
        for step in range(first, last):
            following = thread.submit(pack, step)
            if waiting is not None:
                yield waiting.result()
            waiting = following
        if waiting is not None:
            yield waiting.result()


def made_ahead(
    packed: Iterator[Packed], make: Callable[[Sequence[Tensor]], tuple[Tensor, ...]], device: torch.device
) -> Iterator[tuple[Tensor, ...]]:
    """Yield the batches of a device, each brought over by one copy and made beside the step before it.

    Args:
        packed: What each is made from.
        make: Makes a batch of what came over; it must not wait for the device.
        device: Where.
    """
    aside = SideStream(device)
    waiting = None
    for one in packed:
        with aside.work():
            following = make(one.to(device))
        mark = aside.mark()
        if waiting is not None:
            aside.hand_over(*waiting)
            yield waiting[0]
        waiting = (following, mark)
    if waiting is not None:
        aside.hand_over(*waiting)
        yield waiting[0]


def as_float(view: Tensor) -> Tensor:
    """Turn uint8 ``(B, P, P)`` into float32 ``(B, 1, P, P)`` in [0, 1]."""
    return view.unsqueeze(1).float().div_(255)


def memory_layout(dimensions: int, channels_last: bool) -> torch.memory_format:
    """Return how images or volumes of a network lie in memory."""
    if not channels_last:
        return torch.contiguous_format
    return torch.channels_last if dimensions == 2 else torch.channels_last_3d


def place(module: nn.Module, device: torch.device, layout: torch.memory_format) -> None:
    """Bring a module to a device and its weights into a memory layout, in place.

    ``Module.to`` gives the layout to tensors of rank 4 and 5 alike, and so refuses a 3D objective for two buffers of
    rank 4: the mean and deviation, ``(1, 3, 1, 1)``, that 2D images are normalised with.
    """
    if layout is not torch.channels_last_3d:
        module.to(device, memory_format=layout)
        return
    module.to(device)
    for weight in module.parameters():
        if weight.dim() == 5:
            weight.data = weight.data.contiguous(memory_format=layout)


def as_views(objective: Trained, made: tuple[Tensor, ...], step_seed: int, channels_last: bool) -> Views:
    """Make the network's input of one batch: query, key, target and, in 3D, words."""
    query, key, target = made[:3]
    layout = memory_layout(objective.backbone.dimensions, channels_last)
    return Views(
        objective.as_input(query).contiguous(memory_format=layout),
        objective.as_input(key).contiguous(memory_format=layout),
        target,
        step_seed,
        words=made[3] if len(made) > 3 else None,
    )
