"""What metrics measure on the two masks of each case, while a trial has them at hand; and how far its pixels lie apart.

No torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from harness.metrics import Metric
from tasks.patch_options import Patches

MEASURED = "measured_"  # in a trial's arrays, before the name of a metric that was taken from the masks of each case


class Measures:
    """The values of each case, for metrics that are taken from masks (``harness.metrics.OfMasks``).

    Args:
        metrics: Of the task; the others are passed over.
        spacing: Millimetres between neighbouring pixels along each axis.
    """

    def __init__(self, metrics: Iterable[Metric], spacing: Sequence[float]) -> None:
        self._measured = {metric.name: metric.of_masks for metric in metrics if metric.of_masks is not None}
        self._spacing = tuple(spacing)
        self._found: dict[str, list[float]] = {name: [] for name in self._measured}

    def add(self, predicted: np.ndarray, true: np.ndarray) -> None:
        """Measure some cases: predictions and masks, bool ``(B, *S)``, in the order of the cases."""
        for name, way in self._measured.items():
            if way is not None:
                pairs = zip(predicted, true, strict=True)
                self._found[name] += [float(way.one(one, other, self._spacing)) for one, other in pairs]

    @property
    def values(self) -> dict[str, np.ndarray]:
        """Name of a metric → its value of each case, float64 ``(N,)``."""
        return {name: np.array(found) for name, found in self._found.items()}


def spacing_of(given: Sequence[float] | None, patches: Patches | None) -> tuple[float, ...] | None:
    """Return how many millimetres lie between neighbouring pixels along each axis; None where nobody says.

    Args:
        given: What the entry says (``options.transfer.metric.spacing_mm``).
        patches: How patches are cut; those of resampled scans have a known spacing.
    """
    if given is not None:
        return tuple(given)
    if patches is None or patches.spacing_mm is None:
        return None
    cut = patches.crop or patches.shape
    return tuple(patches.spacing_mm * before / after for before, after in zip(cut, patches.shape, strict=True))


def patches_of(manifest: Mapping[str, object]) -> Patches | None:
    """Return how a cohort's patches were cut, by its manifest; None in 2D."""
    configuration = manifest["configuration"]
    said = configuration.get("patches") if isinstance(configuration, Mapping) else None
    return None if said is None else Patches.model_validate(said)
