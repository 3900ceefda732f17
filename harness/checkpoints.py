"""Where an interrupted training goes on: one file in the folder of its item that outlives attempts.

A checkpoint is written when an attempt is asked to leave, and otherwise by the clock: at first after a minute, then so
seldom that writing costs about a hundredth of the time, however large the state is. So what ends sooner writes none. It
replaces the one before in one step; none of this changes a number.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from harness.contracts import Context, Preempted
from harness.errors import CheckpointError
from harness.whole_files import replacing

CHECKPOINT = "checkpoint.pt"
SECONDS = 60.0  # of training before the first checkpoint, and at least between two
SHARE = 0.01  # of the time that writing may cost


class Checkpoints:
    """The checkpoint of one training.

    Args:
        context: Of the attempt.
        marks: What the training is, the form of its state included; a checkpoint of another one is left aside.
        name: Of the file.
    """

    def __init__(self, context: Context, marks: Mapping[str, str | int], name: str = CHECKPOINT) -> None:
        self._context, self._marks, self._path = context, dict(marks), context.resume / name
        self._begun = self._saved = time.monotonic()
        self._cost = 0.0

    def load(self) -> dict[str, Any] | None:
        """Return the state that an earlier attempt left, on the CPU; None if it is absent, damaged or another one's."""
        if not self._path.is_file():
            return None
        try:
            state = load_state(self._path)
        except CheckpointError:
            return None
        return state if all(state.get(key) == value for key, value in self._marks.items()) else None

    @property
    def due(self) -> bool:
        """Whether it is time for the next one."""
        return time.monotonic() - self._saved >= max(SECONDS, self._cost / SHARE)

    @property
    def worthwhile(self) -> bool:
        """Whether so much was trained that its end deserves a checkpoint, before a long evaluation."""
        return time.monotonic() - self._begun >= SECONDS

    def save(self, state: Mapping[str, object]) -> None:
        """Write a state: tensors and plain values."""
        begun = time.monotonic()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self._path, {**self._marks, **state})
        self._saved = time.monotonic()
        self._cost = self._saved - begun

    @property
    def leaving(self) -> bool:
        """Whether this attempt was asked to leave."""
        return self._context.leaving()

    def leave(self) -> None:
        """End the attempt, whose checkpoint is whole.

        Raises:
            Preempted: Always.
        """
        raise Preempted


def write_atomically(path: Path, data: Mapping[str, object]) -> None:
    """Save with ``torch.save`` beside ``path``, flush to disk, and rename."""
    with replacing(path) as partial, partial.open("wb") as stream:  # a stream: a path's name would enter the bytes
        torch.save(data, stream)


def load_state(path: Path) -> dict[str, Any]:
    """Read what ``write_atomically`` wrote, tensors and plain values only (``weights_only``).

    Raises:
        CheckpointError: If the file is missing or damaged.
    """
    if not path.is_file():
        raise CheckpointError(
            f"no {path.name} in {path.parent}; expected the folder of a finished phase; rerun the pretraining"
        )
    try:
        loaded: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises whatever the bytes lead it to
        raise CheckpointError(
            f"{path} is damaged ({type(error).__name__}); expected a state this harness wrote; delete it and rerun"
        ) from error
    if not isinstance(loaded, dict):
        raise CheckpointError(f"{path} holds a {type(loaded).__name__}; expected a state this harness wrote; rerun")
    return loaded
