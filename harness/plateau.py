"""A learning rate that falls when the validation loss no longer does, counted as Keras or as PyTorch counts. No torch.

Both count validations without a better loss. Keras' ``ReduceLROnPlateau`` (2.2.4, which the 3D code asks for, and 3)
acts in the validation in which there are ``patience`` of them, and a loss is better if it is lower by more than
``min_delta``. PyTorch's acts one validation later, and a loss is better if it is lower by more than the share
``min_delta`` of the best one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from harness.spec import Frozen

Counting = Literal["keras", "torch"]
TORCH_LEAST_CHANGE = 1e-8  # PyTorch leaves out a fall of the rate by less


class PlateauRule(Frozen):
    """When the rate falls, and how far.

    Attributes:
        factor: What the rate is multiplied by.
        patience: Validations without a better loss.
        min_delta: Least fall of the loss that counts as better; under ``torch`` as a share of the best loss.
        min_lr: The rate never falls below it.
        counting: ``keras`` or ``torch``; see the module.
    """

    factor: float = Field(gt=0.0, le=1.0)
    patience: int = Field(ge=0)
    min_delta: float = Field(default=0.0, ge=0.0)
    min_lr: float = Field(default=0.0, ge=0.0)
    counting: Counting = "torch"

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> PlateauRule:
        """Read the rule out of a schedule, whose other keys are not its own."""
        return cls.model_validate({name: given[name] for name in cls.model_fields if name in given})


def patience_is_out(waited: int, patience: int, counting: Counting) -> bool:
    """Say whether so many validations without a better loss are the end of a patience.

    Keras' ``EarlyStopping`` stops with the validation that fills the patience, the loop of the 2D benchmark with the
    next one, as PyTorch's plateau does.

    Example:
        >>> patience_is_out(5, 5, "keras"), patience_is_out(5, 5, "torch")
        (True, False)
    """
    return waited >= patience if counting == "keras" else waited > patience


class Plateau:
    """A factor of the learning rate, 1 at first, that a rule makes smaller."""

    def __init__(self, rate: float, rule: PlateauRule) -> None:
        """Start at 1.

        Args:
            rate: The learning rate that is multiplied.
            rule: When and how far it falls.
        """
        self._rate, self._rule = rate, rule
        self._current, self._best, self._since = 1.0, math.inf, 0

    def factor_after(self, loss: float) -> float:
        """Take note of a validation's loss and return the factor from now on; NaN is no better loss."""
        if loss < self._to_beat():
            self._best, self._since = loss, 0
            return self._current
        self._since += 1
        if patience_is_out(self._since, self._rule.patience, self._rule.counting):
            self._current, self._since = self._lower(), 0
        return self._current

    def _to_beat(self) -> float:
        if self._rule.counting == "keras":
            return self._best - self._rule.min_delta
        return self._best * (1.0 - self._rule.min_delta)

    def _lower(self) -> float:
        """Return the next factor; a rate that starts below the least one stays."""
        lower = max(self._current * self._rule.factor, min(self._current, self._rule.min_lr / self._rate))
        too_little = self._rate * (self._current - lower) <= TORCH_LEAST_CHANGE
        return self._current if self._rule.counting == "torch" and too_little else lower

    @property
    def current(self) -> float:
        """The factor now."""
        return self._current

    def state(self) -> list[float]:
        """Return what ``load`` takes."""
        return [self._current, self._best, float(self._since)]

    def load(self, state: Sequence[float]) -> None:
        """Carry on from a state."""
        self._current, self._best, self._since = state[0], state[1], int(state[2])
