"""Label fractions: prefixes of one permutation of the training units, the same for every method."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from harness.identity import digest


def training_rows(cases: pd.DataFrame, fraction: float, seed: int, unit: str) -> np.ndarray:
    """Return the rows of the training cases that keep their labels.

    One permutation of the units per seed; a fraction takes the first ``max(1, ⌊f·n⌋)``, so that smaller fractions lie
    inside larger ones. Validation and test are never thinned: the authors' code thins CheXpert's, to 2 of 234 images.

    Args:
        cases: ``harness.pixels.Pixels.cases``.
        fraction: In (0, 1].
        seed: ``harness.seeding.subset_seed``.
        unit: ``image`` or ``patient``.

    Returns:
        Rows in ascending order, int64.
    """
    train = cases[cases["split"] == "train"]
    names = sorted(train["case"]) if unit == "image" else sorted(train["patient"].unique())
    generator = np.random.Generator(np.random.PCG64(seed))
    order = generator.permutation(len(names))
    # 0.29 · 100 is 28.999…: a whole number of units must not lose one to rounding
    count = max(1, math.floor(fraction * len(names) + 1e-9))
    kept = {names[i] for i in order[:count]}
    column = "case" if unit == "image" else "patient"
    return np.sort(train.loc[train[column].isin(kept), "row"].to_numpy(np.int64))


def subset_hash(cases: pd.DataFrame, rows: np.ndarray) -> str:
    """Return the SHA-256 of the sorted names of the kept cases."""
    return digest(sorted(cases.set_index("row").loc[rows, "case"]))
