"""Whether a trial leaves the weights it fine-tuned: a wish of the one who runs it, which changes no number.

``DIRA_BENCH_KEEP_WEIGHTS=none`` (the default) keeps none: a ResNet-50 is 94 MB and there are hundreds of trials, while
predictions and evidence maps, from which every score can be computed again, are kept anyway. ``best`` keeps the weights
that were evaluated on test, ``all`` those of every evaluation too. They lie in the attempt's folder as safetensors,
hashed in its record like everything there. Never part of a trial's identity.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from safetensors.torch import save_file
from torch import nn

from harness.errors import ConfigurationError
from harness.whole_files import replacing

Evaluate = Callable[[], tuple[float, float]]  # validation loss and metric
VARIABLE = "DIRA_BENCH_KEEP_WEIGHTS"
CHOICES = ("none", "best", "all")


class KeptWeights:
    """Writes weights into an attempt's folder, as far as they are asked for."""

    def __init__(self, folder: Path, wish: str | None = None) -> None:
        self.folder = folder
        self.wish = (wish or os.environ.get(VARIABLE) or "none").strip().lower()
        if self.wish not in CHOICES:
            raise ConfigurationError(f'{VARIABLE} is "{self.wish}"; expected {", ".join(CHOICES)}; set one of them')

    def watching(
        self, evaluate: Callable[[], tuple[float, float]], model: nn.Module, before: int = 0
    ) -> Callable[[], tuple[float, float]]:
        """Return ``evaluate`` so that under ``all`` each evaluated state is written.

        Args:
            evaluate: Evaluates the model.
            model: Whose weights are written.
            before: Evaluations of an earlier attempt; they count, and lie in its folder.
        """
        self._evaluations = before

        def watched() -> tuple[float, float]:
            found = evaluate()
            self._evaluations += 1
            if self.wish == "all":
                self._write(model, f"weights_evaluation_{self._evaluations:03d}")
            return found

        return watched

    def selected(self, model: nn.Module) -> None:
        """Write the weights that are evaluated on test, unless none are asked for."""
        if self.wish != "none":
            self._write(model, "weights_best")

    def _write(self, model: nn.Module, name: str) -> None:
        tensors = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
        with replacing(self.folder / f"{name}.safetensors", durable=False) as partial:
            save_file(tensors, partial)
