"""The losses of the steps since the curve's last row, and their means."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

from methods.training.processes import Processes


class Means(Protocol):
    """Takes the losses of each step by name, ``total`` among them."""

    def add(self, losses: Mapping[str, Tensor]) -> None:
        """Take note of a step's losses, scalars of this process."""
        ...

    def finite(self) -> bool:
        """Say whether every total so far was finite."""
        ...

    def means(self) -> dict[str, float]:
        """Return name → mean over the steps."""
        ...

    def clear(self) -> None:
        """Begin anew."""
        ...

    def state(self) -> dict[str, object]:
        """Return what ``load`` takes."""
        ...

    def load(self, state: Mapping[str, object]) -> None:
        """Carry on from a state."""
        ...


class SumsOnDevice:
    """Sums in float32 on the device, over all processes: nobody waits for a number until one is asked for."""

    def __init__(self, processes: Processes, device: torch.device) -> None:
        self._processes, self._device = processes, device
        self.sums: dict[str, Tensor] = {}
        self.steps = 0

    def add(self, losses: Mapping[str, Tensor]) -> None:
        """Add a step's losses, means over all processes."""
        together = torch.stack([value.float() for value in losses.values()])
        self._processes.average_([together])
        for name, value in zip(losses, together.unbind(), strict=True):
            self.sums[name] = self.sums[name] + value if name in self.sums else value
        self.steps += 1

    def finite(self) -> bool:
        """Say whether the sum of the totals is finite."""
        return math.isfinite(float(self.sums["total"]))

    def means(self) -> dict[str, float]:
        """Return name → mean over the steps."""
        return {name: float(value) / self.steps for name, value in self.sums.items()}

    def clear(self) -> None:
        """Begin anew."""
        self.sums, self.steps = {}, 0

    def state(self) -> dict[str, object]:
        """Return sums and steps."""
        return {"sums": self.sums, "steps": self.steps}

    def load(self, state: Mapping[str, object]) -> None:
        """Carry on from a state."""
        sums, steps = state["sums"], state["steps"]
        if not isinstance(sums, dict) or not isinstance(steps, int):
            raise TypeError("the sums of a checkpoint are no mapping")
        self.sums = {name: value.to(self._device) for name, value in sums.items()}
        self.steps = steps


class Listed:
    """Every loss as a number of its own, summed in float64; for one process.

    Losses stay on the device until a number is asked for, so that nobody waits for one in between.
    """

    def __init__(self) -> None:
        self._listed: dict[str, list[float]] = {}
        self._waiting: dict[str, list[Tensor]] = {}

    @property
    def listed(self) -> dict[str, list[float]]:
        """Name → the losses of every step; this waits for the device."""
        for name, values in self._waiting.items():
            self._listed.setdefault(name, []).extend(torch.stack(values).tolist())
        self._waiting = {}
        return self._listed

    def add(self, losses: Mapping[str, Tensor]) -> None:
        """List a step's losses."""
        for name, value in losses.items():
            self._waiting.setdefault(name, []).append(value.detach())

    def finite(self) -> bool:
        """Say whether every total since this was last asked, or a number was, is finite, and so is the last."""
        unseen = len(self._waiting.get("total", ()))
        return all(math.isfinite(total) for total in self.listed["total"][-max(unseen, 1) :])

    def means(self) -> dict[str, float]:
        """Return name → mean over the steps."""
        return {name: sum(values) / len(values) for name, values in self.listed.items()}

    def clear(self) -> None:
        """Begin anew."""
        self._listed, self._waiting = {}, {}

    def state(self) -> dict[str, object]:
        """Return the lists."""
        return {"listed": self.listed}

    def load(self, state: Mapping[str, object]) -> None:
        """Carry on from a state."""
        listed = state["listed"]
        if not isinstance(listed, dict):
            raise TypeError("the losses of a checkpoint are no mapping")
        self._listed, self._waiting = listed, {}
