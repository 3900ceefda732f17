"""Label fractions: prefixes of one permutation of the training units, the same for every method."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from harness.identity import digest
from harness.pixels import Pixels
from tasks.specs import TrialSpec


def training_rows(cases: pd.DataFrame, fraction: float, seed: int, unit: str) -> np.ndarray:
    """Return the rows of the training cases that keep their labels.

    One permutation of the units per seed; a fraction takes the first ``max(1, ⌊f·n⌋)``, so that smaller fractions lie
    inside larger ones. Test is never thinned: the authors' code thins CheXpert's, to 2 of 234 images.

    Args:
        cases: ``harness.pixels.Pixels.cases``.
        fraction: In (0, 1].
        seed: ``harness.seeding.subset_seed``.
        unit: ``image`` or ``patient``.

    Returns:
        Rows in ascending order, int64.
    """
    return _kept(cases[cases["split"] == "train"], fraction, seed, unit)


def validation_rows(cases: pd.DataFrame, labels: str, fraction: float, seed: int, unit: str) -> np.ndarray:
    """Return the rows of the validation cases whose labels may be looked at.

    Args:
        cases: ``harness.pixels.Pixels.cases``.
        labels: ``full``: all of them, under every label fraction; ``same_fraction``: thinned as the training labels.
        fraction: In (0, 1].
        seed: That of the training labels.
        unit: ``image`` or ``patient``.

    Returns:
        Rows, int64; all of them in the order of ``Pixels.rows``, a part in ascending order.
    """
    validation = cases[cases["split"] == "validation"]
    if labels == "full" or validation.empty:
        return validation["row"].to_numpy(np.int64)
    return _kept(validation, fraction, seed, unit)


def _kept(part: pd.DataFrame, fraction: float, seed: int, unit: str) -> np.ndarray:
    names = sorted(part["case"]) if unit == "image" else sorted(part["patient"].unique())
    generator = np.random.Generator(np.random.PCG64(seed))
    order = generator.permutation(len(names))
    # 0.29 · 100 is 28.999…: a whole number of units must not lose one to rounding
    count = max(1, math.floor(fraction * len(names) + 1e-9))
    kept = {names[i] for i in order[:count]}
    column = "case" if unit == "image" else "patient"
    return np.sort(part.loc[part[column].isin(kept), "row"].to_numpy(np.int64))


def evaluated_rows(spec: TrialSpec, pixels: Pixels) -> np.ndarray:
    """Return the validation rows of a trial, by its transfer's ``validation_labels``."""
    labels, unit = spec.transfer.validation_labels, spec.transfer.subset_unit
    return validation_rows(pixels.cases, labels, spec.label_fraction, spec.subset.seed, unit)


def subset_hash(cases: pd.DataFrame, rows: np.ndarray) -> str:
    """Return the SHA-256 of the sorted names of the kept cases."""
    return digest(sorted(cases.set_index("row").loc[rows, "case"]))
