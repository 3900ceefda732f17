"""A trial that was interrupted goes on at the step that its checkpoint was written after.

The mechanism is that of pretraining phases (``harness.checkpoints``). The end of the training is a checkpoint as well,
so an evaluation of many test images that is interrupted does not train again.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

from harness.checkpoints import Checkpoints
from harness.contracts import Context
from harness.identity import digest
from tasks.inputs.loading import OrderHash, Samples
from tasks.transfer.training import FineTuning

FORM = 1  # of what an interrupted trial leaves; another form is left aside and training restarts


class Resuming:
    """The checkpoint of one trial.

    Args:
        raw: The trial's spec.
        context: Of the attempt.
    """

    def __init__(self, raw: Mapping[str, object], context: Context) -> None:
        self._checkpoints = Checkpoints(context, {"form": FORM, "trial": digest(raw)})
        self._tuning: FineTuning | None = None
        self._seen = OrderHash()

    def take_up(self, tuning: FineTuning, seen: OrderHash, order: Iterator[Samples]) -> None:
        """Carry on where an earlier attempt was interrupted, if it was.

        Args:
            tuning: At step 0; moved on.
            seen: What was trained on; moved on.
            order: Which samples each step has, from the first one on.
        """
        self._tuning, self._seen = tuning, seen
        state = self._checkpoints.load()
        if state is not None:
            tuning.load(state)
            seen.again(itertools.islice(order, tuning.result.steps), state["first_batch"])

    def after_step(self) -> None:
        """Write a checkpoint if it is time.

        Raises:
            Preempted: If the attempt was asked to leave; the checkpoint is whole.
        """
        leaving = self._checkpoints.leaving
        if leaving or self._checkpoints.due:
            self._save()
        if leaving:
            self._checkpoints.leave()

    def after_training(self) -> None:
        """Write what was trained, unless it was so short that training again costs less."""
        if self._checkpoints.worthwhile:
            self._save()

    def between_parts(self) -> None:
        """Look up between parts of an evaluation, which is begun anew when the trial goes on.

        Raises:
            Preempted: If the attempt was asked to leave; the checkpoint is whole.
        """
        if self._checkpoints.leaving:
            self._save()
            self._checkpoints.leave()

    def _save(self) -> None:
        if self._tuning is not None:
            self._checkpoints.save({**self._tuning.state(), "first_batch": self._seen.first})
