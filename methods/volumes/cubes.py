"""The cubes of a discovery: read, distorted and put into batches."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from harness.errors import DataError
from harness.packed import Packed, loaders
from harness.seeding import seed
from methods.phases import CubeViews
from methods.training.batches import Order, made_ahead
from methods.training.processes import Processes
from methods.volumes.discovery import CUBES, TABLE
from methods.volumes.transforms import distort
from methods.volumes.words import unit


class Cubes:
    """The folder of a discovery, opened for reading."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if not (folder / TABLE).is_file() or not (folder / CUBES).is_file():
            raise DataError(
                f"no {CUBES} and {TABLE} in {folder}; expected the folder of a finished discovery; run it again"
            )

    @cached_property
    def volumes(self) -> np.ndarray:
        """The cubes ``(N, X, Y, Z)``, a read-only memory map."""
        array: np.ndarray = np.load(self.folder / CUBES, mmap_mode="r")
        return array

    @cached_property
    def table(self) -> pd.DataFrame:
        """The table of cubes, by row."""
        return pd.read_csv(self.folder / TABLE, dtype={"case": str, "patient": str, "split": str})

    @cached_property
    def words(self) -> np.ndarray:
        """The word of each cube, int64 ``(N,)``."""
        return self.table["word"].to_numpy(dtype=np.int64)

    def rows(self, split: str) -> np.ndarray:
        """Return the rows of a split."""
        return self.table.loc[self.table["split"] == split, "row"].to_numpy(dtype=np.int64)


def make_cubes(
    volumes: np.ndarray, words: np.ndarray, rows: np.ndarray, stream_seed: int, epoch: int, views: CubeViews
) -> tuple[Tensor, Tensor, Tensor]:
    """Make distorted cubes, what they were, and their words.

    Args:
        volumes: The cubes, as stored.
        words: The word of each.
        rows: Which, ``(B,)``.
        stream_seed: With epoch and row it determines the distortion.
        epoch: Which pass over the data.
        views: The phase's ``views``: ``painting``.

    Returns:
        float32 ``(B, 1, X, Y, Z)`` in [0, 1], the same before the elastic deformation, and int64 ``(B,)``.
    """
    clean = unit(volumes[rows])
    distorted = np.stack(
        [
            distort(cube, np.random.Generator(np.random.PCG64(seed(stream_seed, epoch, int(row)))), views.painting)
            for cube, row in zip(clean, rows, strict=True)
        ]
    )
    return torch.from_numpy(distorted)[:, None], torch.from_numpy(clean)[:, None], torch.from_numpy(words[rows])


class _Steps(Dataset):
    """Item i = the cubes of step ``first + i``; made in a worker process or in this one alike."""

    def __init__(
        self,
        cubes: Cubes,
        order: Order,
        first: int,
        last: int,
        stream_seed: int,
        views: CubeViews,
        processes: Processes,
    ) -> None:
        self._cubes, self._order, self._first, self._last = cubes, order, first, last
        self._seed, self._views, self._processes = stream_seed, views, processes

    def __len__(self) -> int:
        return self._last - self._first

    def __getitem__(self, item: int) -> tuple[Tensor, ...]:
        epoch, rows = self._order.batch(self._first + item)
        rows = self._processes.part(rows)
        return make_cubes(self._cubes.volumes, self._cubes.words, rows, self._seed, epoch, self._views)


def cube_batches(
    cubes: Cubes,
    order: Order,
    first: int,
    last: int,
    stream_seed: int,
    views: CubeViews,
    device: torch.device,
    workers: int,
    processes: Processes,
) -> Iterator[tuple[Tensor, ...]]:
    """Yield query, key (the query once more), target and words of steps first … last − 1, on the device.

    For a GPU other processes make the cubes unless it is said how many, and one copy brings a step's over.
    """
    steps = _Steps(cubes, order, first, last, stream_seed, views, processes)
    unused = torch.Generator().manual_seed(0)  # without one of its own a loader draws from the global generator
    loader = DataLoader(
        steps, batch_size=None, num_workers=loaders(workers, device.type), shuffle=False, generator=unused
    )
    if device.type == "cpu":
        for query, target, words in loader:
            yield query, query, target, words
        return
    pinned = device.type == "cuda"
    packed = (Packed.of([part.numpy() for part in made], pinned=pinned) for made in loader)
    for query, target, words in made_ahead(packed, tuple, device):
        yield query, query, target, words


def first_batch_sha256(order: Order, stream_seed: int) -> str:
    """Return the hash of what determines the first batch: its rows and the seed of every distortion."""
    epoch, rows = order.batch(0)
    seeds = np.array([seed(stream_seed, epoch, int(row)) for row in rows], dtype=np.int64)
    return hashlib.sha256(rows.tobytes() + seeds.tobytes()).hexdigest()
